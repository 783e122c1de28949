"""Real images of three surveys in colour: the order of stars' colours, and the dust before the galactic centre."""

from __future__ import annotations

import json

import numpy as np
import pytest
from astropy.io import fits
from PIL import Image

from cli_calls import Call

pytestmark = pytest.mark.shared


@pytest.fixture
def call(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AVCD_HOME", raising=False)
    return Call(capsys)


def pixels(path) -> np.ndarray:
    """The picture from 0 to 1, row 0 at the bottom."""
    with Image.open(path) as picture:
        return np.asarray(picture)[::-1] / 255


def test_stars_of_the_sdss_have_the_order_of_their_colours(call, shared_data):
    paths = [shared_data / "sdss-gri" / f"reprojected_sdss_{name}.fits.bz2" for name in "gri"]
    assert "two of the files are of filter g" in call("rgb", *paths, "-o", "sdss.png").err  # their headers are wrong
    assert call("rgb", *paths, "--filters", "g,r,i", "-o", "sdss.png").code == 0
    rgb = pixels("sdss.png")
    g, _, i = (fits.getdata(path).astype(float) for path in paths)
    rows, columns = np.nonzero((g > 0.5) & (i > 0.5) & (g < 8) & (i < 8))
    truth = np.log(i[rows, columns] / g[rows, columns])
    found = np.log(rgb[rows, columns, 0] / rgb[rows, columns, 2])
    assert len(rows) > 500
    assert np.corrcoef(truth, found)[0, 1] > 0.9
    sky = np.median(rgb, axis=(0, 1))
    assert np.ptp(sky) < 0.02


def test_the_galactic_centre_is_red_and_three_grids_are_one(call, shared_data, tmp_path):
    paths = sorted((shared_data / "2mass-jhk").glob("*.fits"))
    assert call("rgb", *paths, "--filters", "H,J,K", "--palette", "2mass", "-o", "centre.png").code == 0
    record = json.loads((tmp_path / "centre.json").read_text())
    assert record["assignment"] == {"red": "K", "green": "H", "blue": "J"}
    rgb = pixels("centre.png")
    ny, nx = rgb.shape[:2]
    light = rgb - np.percentile(rgb, 10, axis=(0, 1))
    middle = light[ny // 2 - 90 : ny // 2, nx // 2 - 40 : nx // 2 + 40].sum(axis=(0, 1))
    corner = light[-120:, -120:].sum(axis=(0, 1))
    assert middle[0] / middle[2] > 2 * corner[0] / corner[2]


def test_raw_frames_of_one_night_make_a_picture_too(call, shared_data):
    paths = sorted((shared_data / "prompt5-m1").glob("*.fits"))
    said = call("rgb", *paths, "-o", "m1.png")
    assert said.code == 0, said.err
    rgb = pixels("m1.png")
    assert np.median(rgb) < 0.2
    assert np.ptp(np.median(rgb, axis=(0, 1))) < 0.03
