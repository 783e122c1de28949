"""Blind engines, the first two for real; what they find is checked, and none is waited for too long."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pytest
from astropy.wcs import WCS
from scenes import sources_of
from skies import REFERENCE, draw_field

from avcd.errors import ProcessingError, TransientError
from avcd.frame import Wcs
from avcd.sky.blind import solve_blind, solve_by_engines
from avcd.sky.engines import INDEX_DIRECTORIES, IndexEngine, SolveField, Widths
from avcd.sky.solving import Hint

SEEDS = (1, 3, 9)  # fields of one to three degrees
HAS_INDEX = any(list(one.glob("index-*.fits")) for one in INDEX_DIRECTORIES)
needs_package = pytest.mark.skipif(
    importlib.util.find_spec("astrometry") is None or not HAS_INDEX,
    reason="the package astrometry, or Debian's astrometry-data-tycho2, is not installed",
)
needs_solve_field = pytest.mark.skipif(
    shutil.which("solve-field") is None or not HAS_INDEX,
    reason="solve-field, or Debian's astrometry-data-tycho2, is not installed",
)


@pytest.mark.parametrize(
    "engine",
    [pytest.param(IndexEngine(), marks=needs_package), pytest.param(SolveField(), marks=needs_solve_field)],
    ids=lambda one: one.name,
)
def test_fields_anywhere_are_solved_without_a_pointing(engine):
    for seed in SEEDS:
        field = draw_field(seed)
        found = solve_blind(
            field.sources, field.camera.shape, Hint(None, None, field.hint.scale_arcsec), [REFERENCE], engine
        )
        assert (found.state, found.reference) == (Wcs.SOLVED, "Tycho-2")
        assert np.median(field.error_px(found.wcs)) < 0.5


@needs_solve_field
def test_ours_agrees_with_solve_field():
    """Centre within half a pixel, scale within a ten-thousandth: each from the same list by its own way."""
    from avcd.sky.solving import solve_field

    for seed in SEEDS[1:]:
        field = draw_field(seed)
        ours = solve_field(field.sources, field.camera.shape, field.hint, REFERENCE).wcs
        xy = np.column_stack([field.sources.x, field.sources.y])
        theirs = SolveField().locate(xy, field.camera.shape, Widths.around(field.hint.scale_arcsec, field.camera.shape))
        middle = (np.array(field.camera.shape[::-1]) - 1) / 2
        back = np.array(theirs.all_world2pix(*ours.all_pix2world(*middle, 0), 0))
        assert np.hypot(*(back - middle)) < 0.5
        scales = [np.sqrt(abs(np.linalg.det(one.pixel_scale_matrix))) for one in (ours, theirs)]
        assert scales[0] / scales[1] == pytest.approx(1, abs=1e-4)


class Fixed:
    """An engine that always gives the same answer."""

    name = "fixed"

    def __init__(self, wcs: WCS | None) -> None:
        self.wcs = wcs

    def locate(self, xy, shape, widths):
        return self.wcs

    def check(self):
        return None


class Failing(Fixed):
    """An engine that always fails."""

    name = "failing"

    def __init__(self, error: Exception) -> None:
        self.error = error

    def locate(self, xy, shape, widths):
        raise self.error


def test_engines_are_asked_in_turn_until_one_is_proven_right():
    field = draw_field(3)
    wrong = field.truth.deepcopy()
    wrong.wcs.crval = [(field.truth.wcs.crval[0] + 40) % 360, field.truth.wcs.crval[1]]
    about = (field.sources, field.camera.shape, field.hint, [REFERENCE])
    bad = [Failing(ProcessingError("not installed")), Failing(TransientError("no answer")), Fixed(wrong), Fixed(None)]
    found = solve_by_engines(*about, [*bad, Fixed(field.truth)])
    assert found.verified
    assert np.median(field.error_px(found.wcs)) < 0.5
    refused = solve_by_engines(*about, bad)
    assert (refused.state, refused.wcs) == (Wcs.REFUSED, None)
    assert all(said in refused.reason for said in ("not installed", "no answer", "fits", "found no match"))
    assert solve_by_engines(*about, []).state is Wcs.REFUSED


def test_what_an_engine_finds_is_held_against_the_stars():
    field = draw_field(3)
    wrong = field.truth.deepcopy()
    wrong.wcs.crval = [(field.truth.wcs.crval[0] + 40) % 360, field.truth.wcs.crval[1]]
    near = field.truth.deepcopy()
    near.wcs.crpix = field.truth.wcs.crpix + 2.0
    states = {}
    for name, wcs in (("wrong", wrong), ("near", near), ("none", None)):
        found = solve_blind(field.sources, field.camera.shape, field.hint, [REFERENCE], Fixed(wcs))
        states[name] = found.state
        assert bool(found.reason) is (found.wcs is None)
        if found.wcs is not None:
            assert np.median(field.error_px(found.wcs)) < 0.5
    assert states == {"wrong": Wcs.REFUSED, "near": Wcs.SOLVED, "none": Wcs.REFUSED}


def test_what_no_reference_star_can_judge_is_said_to_be_so():
    field = draw_field(3)
    found = solve_blind(field.sources, field.camera.shape, field.hint, [], Fixed(field.truth))
    assert (found.state, found.verified) == (Wcs.SOLVED, False)
    assert "verify" in found.reason


def program(tmp_path: Path, text: str) -> str:
    path = tmp_path / "solve-field"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_an_engine_that_does_not_end_is_given_up(tmp_path):
    engine = SolveField(0.2, program(tmp_path, "exec tail -f /dev/null"))
    with pytest.raises(TransientError, match=r"within 0\.2 s"):
        engine.locate(np.ones((10, 2)), (100, 100), Widths())


def test_an_engine_that_fails_says_why(tmp_path):
    with pytest.raises(ProcessingError, match="no index files at all"):
        SolveField(5, program(tmp_path, "echo no index files at all >&2; exit 3")).locate(
            np.ones((10, 2)), (100, 100), Widths()
        )
    with pytest.raises(ProcessingError, match="PATH"):
        SolveField(5, "no-such-program").locate(np.ones((10, 2)), (100, 100), Widths())
    assert SolveField(5, program(tmp_path, "exit 0")).locate(np.ones((10, 2)), (100, 100), Widths()) is None


def test_missing_index_files_are_told_with_what_to_install(tmp_path):
    pytest.importorskip("astrometry", reason="the package astrometry is not installed")
    with pytest.raises(ProcessingError, match="astrometry-data-tycho2"):
        IndexEngine([tmp_path]).locate(np.ones((10, 2)), (100, 100), Widths())


def test_few_stars_are_not_sent_anywhere():
    found = solve_blind(sources_of(np.ones((3, 2))), (100, 100), Hint(None, None, None), [REFERENCE], Fixed(None))
    assert "3 stars detected" in found.reason
