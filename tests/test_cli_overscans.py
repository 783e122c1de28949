"""Commands that measure raw files: what was read out beside the image takes no part."""

from __future__ import annotations

import json

import numpy as np
import pytest
from astropy.io import fits

from avcd.frame import MaskBit
from avcd.products import read_image_product
from cli_calls import Call

IMAGE = (256, 300)
OVERSCAN = 24
GAIN, READ_NOISE_ADU = 1.6, 5.0
CARDS = {"BIASSEC": "[1:24,1:256]", "TRIMSEC": "[25:324,1:256]"}


@pytest.fixture
def call(capsys, tmp_path, monkeypatch):
    """The command line in an empty directory, where no home is."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AVCD_HOME", raising=False)
    return Call(capsys)


@pytest.fixture
def write(tmp_path):
    """What writes a frame with its overscan at the left, the whole above a level of its own."""
    rng = np.random.default_rng(11)

    def write_frame(name: str, word: str, light: np.ndarray | float, level: float):
        image = np.zeros((IMAGE[0], OVERSCAN + IMAGE[1]))
        image[:, OVERSCAN:] = light
        counts = level + image + rng.normal(0, READ_NOISE_ADU, image.shape)
        header = fits.Header(
            {"IMAGETYP": word, "EXPTIME": 60.0, "INSTRUME": "FLI", "XBINNING": 1, "YBINNING": 1, **CARDS}
        )
        if word == "Flat Field":
            header["FILTER"] = "R"
        fits.writeto(tmp_path / name, np.rint(counts).astype(np.uint16), header)
        return name

    return write_frame


def test_noise_and_gain_are_those_of_the_image_whatever_the_level(write, call):
    rng = np.random.default_rng(5)
    biases = [write(f"bias-{nth}.fits", "Bias Frame", 0, 1000 + 30 * nth) for nth in range(4)]
    flats = [
        write(f"flat-{nth}.fits", "Flat Field", rng.poisson(GAIN * 20000, IMAGE) / GAIN, 1500 - 200 * nth)
        for nth in range(4)
    ]
    said = call("noise", *biases, *flats, "--format", "json")
    (row,) = json.loads(said.out)
    assert row["read_noise_adu"] == pytest.approx(READ_NOISE_ADU, rel=0.02)
    assert row["gain_e_per_adu"] == pytest.approx(GAIN, rel=0.02)


def test_a_mask_is_of_the_image_alone(write, call, tmp_path):
    rng = np.random.default_rng(6)

    def glow():
        light = rng.normal(20, 2, IMAGE)
        light[20, 30] += 900
        return light

    # The overscan is so far below the rest that it would be seen as bad columns.
    darks = [write(f"dark-{nth}.fits", "Dark Frame", glow() + 500, 1000 + 100 * nth) for nth in range(3)]
    said = call("badpix", *darks, "-o", "mask.fits")
    assert said.code == 0, said.err
    found = read_image_product(tmp_path / "mask.fits")
    assert found.mask.shape == IMAGE
    assert np.argwhere(found.mask).tolist() == [[20, 30]]
    assert found.mask[20, 30] == MaskBit.HOT
    assert not {"BIASSEC", "TRIMSEC"} & set(found.header)
    assert found.parameters["trim"] == CARDS["TRIMSEC"]
    whole = call("badpix", *darks, "-o", "mask.fits")
    assert "is there already" in whole.err


def quarters(rng) -> tuple[np.ndarray, np.ndarray, list[tuple[str, str]]]:
    """A raw image of two amplifiers with their strips between them, the sky in it, and where each part and its overscan is."""
    sky = rng.poisson(400, (128, 160)).astype(float)
    strip = np.zeros((128, 16))
    left, right = (np.hstack(parts) + level for parts, level in (
        ((sky[:, :80], strip), 900), ((strip, sky[:, 80:]), 1400)))  # fmt: skip
    parts = [("[1:80,1:128]", "[81:96,1:128]"), ("[113:192,1:128]", "[97:112,1:128]")]
    return np.hstack([left, right]) + rng.normal(0, 3, (128, 192)), sky, parts


def test_several_amplifiers_become_one_image(call, tmp_path):
    counts, sky, parts = quarters(np.random.default_rng(8))
    header = fits.Header({"IMAGETYP": "Light Frame", "EXPTIME": 60.0, "INSTRUME": "FLI", "XBINNING": 1, "YBINNING": 1,
                          "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 83.8, "CRVAL2": -5.4, "CRPIX1": 120.0,
                          "CRPIX2": 64.0, "CDELT1": -1e-4, "CDELT2": 1e-4})  # fmt: skip
    fits.writeto(tmp_path / "plain.fits", np.rint(counts).astype(np.uint16), header)
    for number, (image, overscan) in enumerate(parts, 1):
        header[f"DATASEC{number}"], header[f"BIASSEC{number}"] = image, overscan
    fits.writeto(tmp_path / "said.fits", np.rint(counts).astype(np.uint16), header)
    listed = "".join(f'[[amplifier]]\nimage = "{image}"\noverscan = "{overscan}"\n' for image, overscan in parts)
    (tmp_path / "amplifiers.toml").write_text(listed)
    assert call("trim", "said.fits", "-o", "a.fits").code == 0
    assert call("trim", "plain.fits", "--amplifiers", "amplifiers.toml", "-o", "b.fits").code == 0
    found, other = (read_image_product(tmp_path / name) for name in ("a.fits", "b.fits"))
    np.testing.assert_array_equal(found.data, other.data)
    assert found.data.shape == sky.shape
    for part in (np.s_[:, :80], np.s_[:, 80:]):
        assert np.mean(found.data[part] - sky[part]) == pytest.approx(0, abs=0.2)
    assert found.header["CRPIX1"] == 120 - 32, "the strips between the parts are no sky"
    assert found.header["SATURATE"] == pytest.approx(65535 - 1400, abs=2)
    assert not {"BIASSEC1", "DATASEC2"} & set(found.header)


@pytest.mark.parametrize(
    ("text", "said"),
    [("[[amplifier]]\n", "amplifier 1"), ('[[amplifier]]\nimage = "here"\n', "no part of an image"), ("x = [", "TOML"),
     ('[[amplifiers]]\nimage = "[1:2,1:2]"\n', "a list of"), (None, "No such file"),
     ('[[amplifier]]\nimage = "[1:9000,1:2]"\n', "reaches beyond")],
)  # fmt: skip
def test_a_list_that_has_no_meaning_says_what_is_wrong(text, said, call, write, tmp_path):
    write("light.fits", "Light Frame", 100, 1000)
    if text is not None:
        (tmp_path / "amplifiers.toml").write_text(text)
    found = call("trim", "light.fits", "--amplifiers", "amplifiers.toml", "-o", "out.fits")
    assert found.code != 0
    assert said in found.err
    assert not (tmp_path / "out.fits").exists()
    both = call("trim", "light.fits", "--amplifiers", "amplifiers.toml", "--section", "[1:5,1:5]", "-o", "out.fits")
    assert (both.code, "leave --section" in both.err) == (2, True)
