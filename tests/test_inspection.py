"""What is wrong with a frame follows from its figures and the limits, and from nothing that was not measured."""

from __future__ import annotations

import pytest

from avcd.errors import ConfigError
from avcd.frame import ProductKind
from avcd.inspection import Fault, Limits, faults_of, inspect, limits_of
from avcd.recipes import load_recipes

GOOD = {
    "stars": 120, "fwhm_px": 3.0, "ellipticity": 0.05, "elongation": 0.02, "trails": 0.0, "sun_altitude_deg": -35.0,
    "transparency": 0.97, "transparency_scatter": 0.02, "stars_found": 0.98, "stars_expected": 90.0, "hidden_cells": 0.0,
    "cells": 9.0, "fwhm_ratio": 1.1, "sky_ratio": 1.2, "pointing_off_arcmin": 1.5, "pointing_off_fields": 0.02,
}  # fmt: skip


def told(**figures):
    return [one.fault for one in inspect({**GOOD, **figures}, Limits())]


def test_a_good_frame_and_one_without_figures_have_no_fault():
    assert inspect(GOOD, Limits()) == ()
    assert inspect({}, Limits()) == ()
    assert inspect(dict.fromkeys(GOOD), Limits()) == ()
    assert inspect({name: float("nan") for name in GOOD}, Limits()) == ()


@pytest.mark.parametrize(
    ("figures", "fault"),
    [
        ({"transparency": 0.8}, Fault.VEIL),
        ({"transparency": 0.45}, Fault.CLOUDS),
        ({"transparency_scatter": 0.3}, Fault.CLOUDS),
        ({"hidden_cells": 3.0, "transparency": 0.6}, Fault.OCCLUSION),
        ({"elongation": 0.3, "fwhm_ratio": 2.0}, Fault.TRAILING),
        ({"fwhm_ratio": 1.8}, Fault.FOCUS),
        ({"trails": 2.0, "trail_length_px": 400.0, "trail_sigma": 20.0}, Fault.TRAILS),
        ({"sun_altitude_deg": -8.0}, Fault.TWILIGHT),
        ({"sun_altitude_deg": -15.0, "sky_ratio": 3.0}, Fault.TWILIGHT),
        ({"pointing_off_fields": 0.8}, Fault.WRONG_FIELD),
        ({"transparency": 0.0, "stars_found": 0.0}, Fault.WRONG_FIELD),
    ],
)
def test_a_figure_beyond_its_limit_is_one_fault(figures, fault):
    assert told(**figures) == [fault]


@pytest.mark.parametrize(
    "figures",
    [
        {"fwhm_px": 1.2, "fwhm_ratio": 1.8},  # half a pixel more is no focus lost
        {"sun_altitude_deg": -15.0, "sky_ratio": 1.1},
        {"sun_altitude_deg": -40.0, "sky_ratio": 5.0},  # the Moon
        {"ellipticity": 0.5, "elongation": 0.05},  # elongated in every direction: coma, not trailing
    ],
)
def test_what_looks_like_a_fault_and_is_none(figures):
    assert told(**figures) == []


def test_cells_without_stars_count_only_where_no_other_frame_can_tell():
    alone = {"stars": 200, "dead_cells": 4.0, "grid_cells": 16.0, "stars_per_cell": 12.0}
    assert [one.fault for one in inspect(alone, Limits())] == [Fault.OCCLUSION]
    assert told(dead_cells=4.0, grid_cells=16.0) == []


def test_the_shipped_recipe_has_every_limit_and_leaves_nothing_out():
    parameters = load_recipes()[ProductKind.STACK].parameters
    assert limits_of(parameters) == Limits()
    assert {name for name in parameters if name.startswith("screen_")} == {
        f"screen_{one}" for one in Limits.model_fields
    }
    assert faults_of(parameters["leave_out"]) == frozenset()


def test_impossible_limits_and_unknown_faults_are_refused_by_name():
    with pytest.raises(ConfigError, match="screen_veil"):
        limits_of({"screen_veil": 2.0})
    with pytest.raises(ConfigError, match="screen_clowds"):
        limits_of({"screen_clowds": 0.5})
    with pytest.raises(ConfigError, match=r"fog.*clouds, veil"):
        faults_of(["fog"])


def test_a_home_whose_recipe_names_no_fault_is_told_when_it_is_read(tmp_path):
    (tmp_path / "recipes").mkdir()
    recipe = tmp_path / "recipes" / "stack.toml"
    head = 'kind = "stack"\nname = "stack"\nversion = 2\n[parameters]\n'
    recipe.write_text(head + 'leave_out = ["clouds", "trailing"]\nscreen_clouds = 0.4\n')
    parameters = load_recipes(tmp_path)[ProductKind.STACK].parameters
    assert faults_of(parameters["leave_out"]) == {Fault.CLOUDS, Fault.TRAILING}
    assert limits_of(parameters).clouds == 0.4
    recipe.write_text(head + 'leave_out = ["rain"]\n')
    with pytest.raises(ConfigError, match="rain"):
        load_recipes(tmp_path)
