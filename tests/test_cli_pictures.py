"""The commands rgb, continuum, preview and hips on files: what is made, left as it is, and refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile
from astropy.io import fits
from astropy.wcs import WCS
from fields import SHAPE, Sky, world
from PIL import Image
from pyavm import AVM

from avcd.products import verify_fits
from cli_calls import Call

SHIFTS = {"B": (0.0, 0.0), "V": (3.4, -2.2), "R": (-5.0, 4.0)}


@pytest.fixture
def call(capsys, tmp_path, monkeypatch):
    """The command line in an empty directory, where no home is."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AVCD_HOME", raising=False)
    return Call(capsys)


@pytest.fixture
def night(tmp_path):
    """Three filters of one field, shifted, with world coordinates; and Ha on another grid."""
    sky = Sky(60, seed=8)
    for number, (name, shift) in enumerate(SHIFTS.items()):
        data, _ = sky.frame(shift, seed=number, sky=400.0, noise=6.0, scale=1 + 0.4 * number)
        header = world(shift).to_header()
        header.update({"FILTER": name, "OBJECT": "M 1", "TELESCOP": "T1", "IMAGETYP": "Light Frame", "EXPTIME": 60.0})
        fits.writeto(tmp_path / f"{name}.fits", data, header)
    data, _ = sky.frame((2.0, 1.0), seed=9, sky=60.0, noise=1.0, scale=0.1)
    header = world((2.0, 1.0)).to_header()
    header.update({"FILTER": "Ha", "OBJECT": "M 1", "IMAGETYP": "Light Frame", "EXPTIME": 300.0})
    fits.writeto(tmp_path / "Ha.fits", data, header)
    return sky


def pixels(path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture)


def test_three_filters_make_every_form_of_one_picture(call, night, tmp_path):
    words = ["rgb", "B.fits", "V.fits", "R.fits", "-o", "m1.png", "--also", "tiff", "--also", "jpg", "--also", "fits"]
    said = call(*words)
    assert said.code == 0, said.err
    assert said.out.split() == ["m1.png", "m1.tiff", "m1.jpg", "m1.fits"]
    png = pixels("m1.png")
    assert png.shape == (*SHAPE, 3)
    np.testing.assert_allclose(png / 255, tifffile.imread("m1.tiff") / 65535, atol=0.003)
    verify_fits(tmp_path / "m1.fits")
    with fits.open("m1.fits") as hdus:
        np.testing.assert_allclose(np.moveaxis(hdus[0].data, 0, -1)[::-1], png / 255, atol=0.003)
        header = hdus[0].header
        assert "red: R" in str(header["HISTORY"])
        here = WCS(header, naxis=2).pixel_to_world(50, 60)
        assert [row["role"] for row in hdus["PROVENANCE"].data] == ["stack B", "stack V", "stack R"]
    for name in ("m1.png", "m1.jpg"):
        known = AVM.from_image(name)
        assert known.Subject.Name == ["M 1"]
        assert here.separation(known.to_wcs().pixel_to_world(50, 60)).arcsec < 0.01
    assert here.separation(world(SHIFTS["B"]).pixel_to_world(50, 60)).arcsec < 0.01  # B came first
    record = json.loads((tmp_path / "m1.json").read_text())
    assert record["assignment"] == {"red": "R", "green": "V", "blue": "B"}
    assert set(record["files"]) == {"m1.png", "m1.tiff", "m1.jpg", "m1.fits"}
    assert any("white balance by stars" in one for one in record["steps"])


def test_shifted_filters_are_brought_together(call, night, tmp_path):
    assert call("rgb", "B.fits", "V.fits", "R.fits", "-o", "m1.png").code == 0
    rgb = pixels("m1.png")[::-1].astype(float)
    x, y = np.rint(night.places(SHIFTS["B"])[np.argsort(-night.flux)]).astype(int).T
    inside = (x > 12) & (x < SHAPE[1] - 12) & (y > 12) & (y < SHAPE[0] - 12)
    for column, row in zip(x[inside][:5], y[inside][:5], strict=True):
        peak = rgb[row, column]
        assert peak.min() > 0.6 * peak.max()


def test_the_same_again_is_left_as_it_is_and_damage_is_noticed(call, night, tmp_path):
    words = ["rgb", "B.fits", "V.fits", "R.fits", "-o", "m1.png"]
    assert call(*words).code == 0
    before = {name: (tmp_path / name).read_bytes() for name in ("m1.png", "m1.json")}
    said = call(*words)
    assert (said.code, said.out) == (0, "m1.png\n")
    assert "is there already" in said.err
    (tmp_path / "m1.png").write_bytes(before["m1.png"][:-20])
    assert "is there already" not in call(*words).err
    assert {name: (tmp_path / name).read_bytes() for name in before} == before
    assert call(*words, "--saturation", "0.5").code == 0
    assert (tmp_path / "m1.png").read_bytes() != before["m1.png"]
    assert call("rgb", "V.fits", "R.fits", "-o", "m1.png", "--force").code == 0
    (tmp_path / "other.png").write_bytes(b"mine")
    said = call("rgb", "V.fits", "R.fits", "-o", "other.png")
    assert said.code == 2
    assert "--force" in said.err


def test_palettes_mixes_and_modes_are_options(call, night, tmp_path):
    assert call("rgb", "B.fits", "V.fits", "R.fits", "-o", "a.png", "--filters", "OIII,Ha,SII", "-p", "sho").code == 0
    assert json.loads((tmp_path / "a.json").read_text())["assignment"] == {"red": "SII", "green": "Ha", "blue": "OIII"}
    mix = ["--red", "0.7*R + 0.3*V", "--green", "V", "--blue", "B"]
    assert call("rgb", "B.fits", "V.fits", "R.fits", "-o", "b.png", *mix).code == 0
    assert json.loads((tmp_path / "b.json").read_text())["done"]["channels"]["red"] == {"R": 0.7, "V": 0.3}
    more = ["--mode", "manual", "--interval", "380:900,380:900,380:900", "--stretch", "asinh:0.1"]
    assert call("rgb", "B.fits", "V.fits", "R.fits", "-o", "c.png", *more).code == 0
    assert json.loads((tmp_path / "c.json").read_text())["done"]["tone"]["green"]["limits"] == [380.0, 900.0]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["B.fits", "V.fits", "--palette", "hubble"], "sho"),
        (["B.fits", "V.fits", "--palette", "sho", "--red", "B"], "--palette names a mix"),
        (["B.fits", "V.fits", "--filters", "B"], "2 images"),
        (["B.fits", "V.fits", "--filters", "B,B"], "two of the files are of filter B"),
        (["B.fits", "V.fits", "--set", "mood=1"], "NAME of"),
    ],
)
def test_what_is_wrong_is_said_with_what_to_write(call, night, words, says):
    said = call("rgb", *words, "-o", "m1.png")
    assert said.code == 2
    assert says in said.err


def test_filters_that_make_no_picture_are_named(call, night):
    said = call("rgb", "B.fits", "V.fits", "-o", "m1.png", "--palette", "sho")
    assert said.code == 1
    assert "'sho' of B, V" in said.err
    assert call("rgb", "B.fits", "V.fits", "-o", "m1.gif").code == 2


def test_previews_are_made_in_every_size(call, night, tmp_path):
    said = call("preview", "B.fits", "V.fits", "-o", "small", "--sizes", "100,50")
    assert said.out.split() == ["small/B.png", "small/B.50.png", "small/V.png", "small/V.50.png"]
    assert pixels("small/B.png").shape == (91, 100)
    assert max(pixels("small/B.50.png").shape) <= 50
    assert "is there already" in call("preview", "B.fits", "V.fits", "-o", "small", "--sizes", "100,50").err
    assert "need a directory" in call("preview", "B.fits", "V.fits", "-o", "one.png").err


def test_the_continuum_goes_also_between_different_grids(call, night, tmp_path):
    said = call("continuum", "Ha.fits", "--broad", "R.fits", "-o", "line.fits")
    assert said.code == 0, said.err
    verify_fits(tmp_path / "line.fits")
    with fits.open("line.fits") as hdus:
        factor = float(str(hdus[0].header["HISTORY"]).split("continuum subtracted: ")[1].split()[0])
        rest = hdus[0].data[12:-12, 12:-12]
    assert factor == pytest.approx(0.1 / 1.8, rel=0.04)
    line = fits.getdata("Ha.fits")[12:-12, 12:-12] - 60
    assert np.abs(rest[line > 60]).sum() < 0.25 * line[line > 60].sum()


def test_a_survey_is_made_once_of_images_or_of_a_picture(call, night, tmp_path):
    words = ["hips", "B.fits", "V.fits", "-o", "survey", "--order", "6"]
    said = call(*words)
    assert (said.code, said.out) == (0, "survey\n"), said.err
    assert "several filters, averaged where they overlap: B, V" in said.err
    assert "hips_order           = 6" in (tmp_path / "survey" / "properties").read_text()
    assert "is there already" in call(*words).err
    assert call("rgb", "B.fits", "V.fits", "R.fits", "-o", "m1.png").code == 0
    assert call("hips", "m1.png", "-o", "colours", "--order", "6").code == 0
    assert list((tmp_path / "colours" / "Norder6").rglob("*.png"))
    assert "no HiPS" in call("hips", "B.fits", "-o", tmp_path).err
    Image.new("RGB", (30, 30)).save("plain.png")
    assert "avcd rgb writes pictures that do" in call("hips", "plain.png", "-o", "none").err
    assert "not both" in call("hips", "plain.png", "B.fits", "-o", "none").err


def test_a_picture_of_principal_components_names_its_weights(call, night, tmp_path):
    said = call("rgb", "B.fits", "V.fits", "R.fits", "--palette", "components", "-o", "pca.png")
    assert said.code == 0, said.err
    record = json.loads((tmp_path / "pca.json").read_text())
    assert set(record["done"]["channels"]["green"]) == {"B", "V", "R"}
    assert 0.3 < record["done"]["variance"]["red"] <= 1


def test_a_picture_is_enhanced_where_that_is_asked_for_and_never_a_scientific_one(call, night, tmp_path):
    words = ["rgb", "B.fits", "V.fits", "R.fits", "-o", "m1.png", "--also", "fits"]
    assert call(*words).code == 0
    said = call(*words, "--clahe", "2", "--unsharp", "2:0.5", "--enhance-stars", "1.3")
    assert said.code == 0, said.err
    record = json.loads((tmp_path / "m1.json").read_text())
    assert set(record["done"]["enhancement"]) == {"clahe", "unsharp", "stars"}
    assert "enhanced by clahe: limit 2" in str(fits.getheader("m1.fits")["HISTORY"])
    refused = call(*words, "--mode", "scientific", "--clahe", "2")
    assert refused.code == 2
    assert "as it was measured" in refused.err
    assert call(*words, "--unsharp", "0").code == 2
