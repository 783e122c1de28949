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
