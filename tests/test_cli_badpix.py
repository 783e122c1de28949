"""The command badpix on files: what is found, named, repaired, refused, and left as it is."""

from __future__ import annotations

import re

import numpy as np
import pytest
from astropy.io import fits

from avcd.frame import MaskBit
from avcd.products import read_image_product, verify_fits
from cli_calls import Call

SHAPE = (200, 240)


@pytest.fixture
def call(capsys, tmp_path, monkeypatch):
    """The command line in an empty directory, where no home is."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AVCD_HOME", raising=False)
    return Call(capsys)


@pytest.fixture
def write(tmp_path):
    def write_frame(name: str, word: str, data: np.ndarray, **cards):
        header = fits.Header(
            {"IMAGETYP": word, "EXPTIME": 60.0, "INSTRUME": "FLI", "XBINNING": 1, "YBINNING": 1, **cards}
        )
        path = tmp_path / name
        fits.writeto(path, np.rint(data).astype(np.uint16), header)
        return path

    return write_frame


@pytest.fixture
def frames(write):
    """Two darks with hot pixels, a struck one and a bad column; a flat with a dead pixel; a light."""
    rng = np.random.default_rng(3)

    def dark():
        data = 1000 + rng.normal(0, 5, SHAPE)
        data[20, 30] += 900
        data[:, 77:80] += 30
        return data

    struck = dark()
    struck[99, 99] += 20_000
    flat = rng.poisson(30_000, SHAPE).astype(float)
    flat[150, 160] = 3000
    return {
        "darks": [write(f"dark-{nth}.fits", "Dark Frame", data) for nth, data in enumerate((dark(), struck, dark()))],
        "flat": write("flat.fits", "Flat Field", flat),
        "light": write("light.fit", "Light Frame", 1500 + rng.normal(0, 6, SHAPE)),
    }


def test_darks_flats_and_a_list_make_one_mask(call, frames, tmp_path):
    (tmp_path / "bad.yaml").write_text("bad_rows: [12]\n2x2:\n  bad_columns: [5]\n")
    words = ["badpix", *frames["darks"], frames["flat"], "--named", "bad.yaml", "-o", "mask.fits"]
    said = call(*words)
    assert (said.code, said.out) == (0, "mask.fits\n")
    assert all(one in said.err for one in ("1 hot px", "1 dead px", "3 bad columns", f"{SHAPE[1]} user px"))
    verify_fits(tmp_path / "mask.fits")
    found = read_image_product(tmp_path / "mask.fits")
    truth = np.zeros(SHAPE, np.uint16)
    truth[20, 30] |= int(MaskBit.HOT)
    truth[:, 77:80] |= int(MaskBit.HOT)
    truth[150, 160] |= int(MaskBit.DEAD | MaskBit.RESPONSE)
    truth[11] |= int(MaskBit.USER)
    np.testing.assert_array_equal(found.mask, truth)
    assert sorted(one["role"] for one in found.provenance) == ["dark", "dark", "dark", "flat"]
    assert fits.getheader(tmp_path / "mask.fits", "MASK")["MSKBIT8"] == "RESPONSE"

    before = (tmp_path / "mask.fits").read_bytes()
    assert "is there already" in call(*words).err
    assert call(*words, "--force").code == 0
    assert (tmp_path / "mask.fits").read_bytes() == before
    assert call("badpix", frames["flat"], "-o", "mask.fits").code == 0, "another mask is a new version of this file"
    assert (tmp_path / "mask.fits").read_bytes() != before
    light = frames["light"].read_bytes()
    other = call("badpix", frames["flat"], "-o", "light.fit")
    assert (other.code, "not made by this command" in other.err) == (2, True)
    assert frames["light"].read_bytes() == light


def test_a_changed_parameter_counts(call, frames):
    dim = call("badpix", frames["darks"][0], "-o", "mask.fits", "--set", "hot_sigma=500")
    assert "hot px" not in dim.err
    bright = call("badpix", frames["darks"][0], "-o", "mask.fits")
    assert "1 hot px" in bright.err, "made again: the parameter is part of what the mask is"
    wrong = call("badpix", frames["darks"][0], "-o", "mask.fits", "--set", "hot_sigma=much")
    assert (wrong.code, "looks like" in wrong.err) == (2, True)
    wrong = call("badpix", frames["darks"][0], "-o", "mask.fits", "--set", "hot=5")
    assert (wrong.code, "with a NAME of" in wrong.err) == (2, True)


def test_a_list_alone_is_drawn_on_the_size_of_an_image(call, frames, tmp_path):
    (tmp_path / "bad.yaml").write_text("bad_columns: [3, 900]\n2x2:\n  bad_columns: [5]\n")
    said = call("badpix", frames["light"], "--named", "bad.yaml", "-o", "mask.fits")
    assert "column 900 is not all in an image" in said.err
    mask = read_image_product(tmp_path / "mask.fits").mask
    assert np.flatnonzero(mask.any(axis=0)).tolist() == [2]
    call("badpix", frames["light"], "--named", "bad.yaml", "--binning", "2x2", "-o", "other.fits")
    assert np.flatnonzero(read_image_product(tmp_path / "other.fits").mask.any(axis=0)).tolist() == [4]


@pytest.mark.parametrize("method", ["median", "interpolation"])
def test_images_are_repaired_and_what_cannot_be_stays_masked(method, call, frames, tmp_path):
    (tmp_path / "bad.yaml").write_text("bad_pixels: [[51, 61]]\nbad_rectangles: [[100, 120, 100, 120]]\n")
    call("badpix", frames["light"], "--named", "bad.yaml", "-o", "mask.fits")
    words = ["badpix", frames["light"], "--repair", "mask.fits", "--method", method, "-o", "mended.fits"]
    said = call(*words)
    mended, left = (int(one) for one in re.findall(r"(\d+) (?:mended|left)", said.err))
    assert mended + left == 442
    found = read_image_product(tmp_path / "mended.fits")
    raw = fits.getdata(frames["light"])
    assert found.mask[50, 60] == MaskBit.REPAIRED
    assert found.mask[109, 109] == MaskBit.USER
    assert found.data[109, 109] == raw[109, 109]
    untouched = found.mask == 0
    np.testing.assert_array_equal(found.data[untouched], raw[untouched])
    assert found.header["INSTRUME"] == "FLI"
    assert f"{mended} mended" in str(found.header["HISTORY"])
    assert "is there already" in call(*words).err
    wider = call(*words, "--set", "repair_radius_px=3")
    assert (wider.code, "is there already" in wider.err) == (0, False)


def test_one_bad_image_does_not_stop_the_others(call, frames, write, tmp_path):
    small = write("small.fits", "Light Frame", np.full((20, 20), 100))
    mask = write("mask.fits", "Light Frame", np.zeros(SHAPE))
    (tmp_path / "broken.fits").write_text("no FITS at all")
    images = [small, "broken.fits", "none.fits", frames["light"]]
    said = call("badpix", *images, "--repair", mask, "-o", "mended")
    assert said.code == 1
    assert said.out == "mended/light_repaired.fits\n"
    assert all(name in said.err for name in ("small.fits", "broken.fits", "none.fits"))


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["light"], "neither dark nor flat"),
        (["flat", "flat", "flat"], "3 flats"),
        (["flat", "--named", "none.yaml"], "none.yaml: there is no such file"),
        (["flat", "--repair", "mask.fits", "--named", "bad.yaml"], "go with finding"),
    ],
)
def test_what_makes_no_sense_is_refused(words, reason, call, frames):
    said = call("badpix", *(frames.get(word, word) for word in words), "-o", "out.fits")
    assert said.code != 0
    assert reason in said.err
