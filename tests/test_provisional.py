"""Provisional, then final: frames whose flats come in the morning, from the drop directory to the figures."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from PIL import Image

from avcd.simulate import Size, make_night
from homes import make_home, rows, run_until_idle


@pytest.fixture(scope="module")
def homes(tmp_path_factory):
    """A home that had its flats a day late, its rows before they came, and one that had them in time."""
    night = make_night(tmp_path_factory.mktemp("truth"), size=Size.small())
    frames = [one for one in night.frames if one.drop == "itelescope" and one.filter in (None, "Red")]
    frames = [one for one in frames if "NGC" not in one.relative_path]
    flats = [one for one in frames if one.image_type.startswith("Flat")]
    assert len(flats) == 3

    def put(home, some):
        for one in some:
            path = home.path / "drop" / one.relative_path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(one.data)
        code, said = run_until_idle(home)
        assert code == 0, said

    late, prompt = (make_home(tmp_path_factory.mktemp(name)) for name in ("late", "prompt"))
    put(late, [one for one in frames if one not in flats])
    before = rows(late, "products")
    put(late, flats)
    put(prompt, frames)
    return late, before, prompt


def of_kind(found, kind, status):
    return [one for one in found if (one["kind"], one["status"]) == (kind, status)]


def test_without_a_flat_everything_says_that_it_is_provisional(homes):
    late, before, _ = homes
    reduced, stacks = of_kind(before, "reduced", "provisional"), of_kind(before, "stack", "provisional")
    assert (len(reduced), len(stacks)) == (2, 1)
    assert not of_kind(before, "reduced", "final")
    for one in reduced + stacks:
        header = fits.getheader(late.archive / one["path"])
        assert header["AVCDSTAT"] == "provisional"
        assert "provisional:" in "".join(header["HISTORY"])
    pictures = of_kind(before, "preview", "provisional")
    assert len(pictures) == 3
    for one in pictures:
        with Image.open(late.archive / one["path"]) as picture:
            strip = np.asarray(picture)[picture.width :]  # below the square frame
        assert strip.size
        assert strip.max() > 200


def test_the_flats_make_them_final_and_what_changed_is_recorded(homes):
    late, before, _ = homes
    after = rows(late, "products")
    was = {one["id"] for one in of_kind(before, "reduced", "provisional")}
    final = of_kind(after, "reduced", "final")
    assert {one["metrics"]["provisional_id"] for one in final} == was
    assert {one["id"] for one in of_kind(after, "reduced", "superseded")} == was
    for one in final + of_kind(after, "stack", "final"):
        metrics = one["metrics"]
        assert metrics["provisional_stars_matched"] >= 10
        # Dividing by a flat of median one moves no star much, and the vignetting out of every pixel.
        assert abs(metrics["provisional_zero_point_shift_mag"]) < 0.1
        assert abs(metrics["provisional_median_difference"]) < 0.02 * metrics["background"]
        assert metrics["provisional_rms_difference"] > 0.01 * metrics["background"]


def test_the_bytes_are_those_of_a_home_that_never_had_a_provisional_one(homes):
    late, _, prompt = homes
    mine = {one["id"]: one for one in rows(late, "products") if one["status"] == "final"}
    theirs = {one["id"]: one for one in rows(prompt, "products")}
    assert mine.keys() == theirs.keys()
    assert {key: one["sha256"] for key, one in mine.items()} == {key: one["sha256"] for key, one in theirs.items()}
    assert not any(name.startswith("provisional") for one in theirs.values() for name in one["metrics"])
