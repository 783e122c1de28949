"""`avcd cosmic`: by which method, and what was taken away as files of their own."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

from avcd.frame import MaskBit
from cli_calls import Call
from exposures import make_night


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    return make_night(tmp_path_factory.mktemp("night"))


@pytest.fixture
def call(night, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    found = Call(capsys)
    for number in (1, 2):
        assert found("imarith", night / f"m42-{number}.fits", "--subtract", 1000, "-o", f"m42-{number}.fits").code == 0
    return found


def test_difference_and_mask_are_written_where_they_are_asked_for(call, tmp_path):
    said = call("cosmic", "m42-1.fits", "-o", "clean.fits", "--difference", "taken.fits", "--mask", "struck.fits")
    assert said.code == 0, said.err
    assert said.out.split() == ["clean.fits", "taken.fits", "struck.fits"]
    with fits.open("clean.fits") as clean, fits.open("m42-1.fits") as before:
        struck = (clean["MASK"].data & MaskBit.COSMIC_RAY) != 0
        assert struck[41, 25:55].all()
        np.testing.assert_array_equal(fits.getdata("struck.fits"), struck.astype(np.float32))
        difference = fits.getdata("taken.fits")
        np.testing.assert_array_equal(difference[~struck], 0)
        np.testing.assert_allclose(clean[0].data + difference, before[0].data, rtol=1e-6)
        assert np.median(difference[41, 25:55]) == pytest.approx(3000, rel=0.1)
    assert fits.getheader("taken.fits")["BUNIT"] == "adu"
    again = call("cosmic", "m42-1.fits", "-o", "clean.fits", "--difference", "taken.fits", "--mask", "struck.fits")
    assert again.err.count("is there already") == 3


def test_of_several_files_each_part_has_its_directory(call, tmp_path):
    said = call("cosmic", "m42-1.fits", "m42-2.fits", "-o", "clean", "--mask", "masks")
    assert said.code == 0, said.err
    assert sorted(path.name for path in (tmp_path / "masks").iterdir()) == ["m42-1_mask.fits", "m42-2_mask.fits"]
    assert (tmp_path / "clean" / "m42-2_clean.fits").exists()
    assert call("cosmic", "m42-1.fits", "m42-2.fits", "-o", "clean", "--mask", "one.fits").code == 2


def test_a_running_median_strikes_more_than_lacosmic_and_has_its_own_parameters(call):
    assert call("cosmic", "m42-1.fits", "-o", "by-lacosmic.fits").code == 0
    said = call(
        "cosmic", "m42-1.fits", "--method", "median", "--set", "cosmic_median_grow_px=3", "-o", "by-median.fits"
    )
    assert said.code == 0, said.err
    struck = {}
    for name in ("by-lacosmic", "by-median"):
        with fits.open(f"{name}.fits") as hdus:
            struck[name] = (hdus["MASK"].data & MaskBit.COSMIC_RAY) != 0
            assert struck[name][41, 25:55].all()
    assert np.count_nonzero(struck["by-median"]) > np.count_nonzero(struck["by-lacosmic"])
    wrong = call("cosmic", "m42-1.fits", "--method", "median", "--set", "cosmic_sigma_clip=3.0", "-o", "x.fits")
    assert wrong.code == 2
    assert "cosmic_median_box_px" in wrong.err


def test_reduce_takes_the_method_as_a_parameter(call, night):
    said = call("reduce", "m42-1.fits", "--set", "cosmic_rays=median", "-o", "reduced.fits")
    assert said.code == 0, said.err
    with fits.open("reduced.fits") as hdus:
        values = {row["name"]: row["value"] for row in hdus["PARAMETERS"].data}
    assert values["cosmic_rays"] == '"median"'
    wrong = call("reduce", "m42-1.fits", "--set", "cosmic_rays=mode", "-o", "reduced.fits")
    assert wrong.code == 2
    assert "lacosmic, median, none" in wrong.err
