"""A camera of two detectors whose images lie in one file: one exposure, and each detector calibrated by its own."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from astropy.io import fits

from homes import make_home, rows, run_until_idle

LEVELS = {"CHIP1": 300.0, "CHIP2": 900.0}  # of the bias, and of the sky above it
SKY = {"CHIP1": 50.0, "CHIP2": 120.0}


def write(path, kind, moment, sky, rng, *, packed=False):
    """One exposure: what both detectors share stands in the empty primary HDU."""
    primary = fits.PrimaryHDU()
    cards = {"TELESCOP": "Twin", "INSTRUME": "TwinCam", "IMAGETYP": kind, "EXPTIME": 0.0 if kind == "BIAS" else 60.0,
             "DATE-OBS": moment, "OBJECT": "M 1" if kind == "LIGHT" else "", "SET-TEMP": -100.0, "XBINNING": 1, "YBINNING": 1}  # fmt: skip
    primary.header.update(cards)
    hdus = [primary]
    for name, level in LEVELS.items():
        pixels = rng.normal(level + (SKY[name] if sky else 0), 2, (40, 44)).round().astype(np.uint16)
        hdus.append((fits.CompImageHDU if packed else fits.ImageHDU)(pixels, name=name))
    fits.HDUList(hdus).writeto(path)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    made = make_home(tmp_path_factory.mktemp("twin"))
    rng, drop = np.random.default_rng(3), made.path / "drop"
    for number in range(5):
        write(drop / f"bias{number}.fits", "BIAS", f"2026-01-15T18:0{number}:00", False, rng)
        write(drop / f"dark{number}.fits", "DARK", f"2026-01-15T18:1{number}:00", False, rng)
    write(drop / "light.fits.fz", "LIGHT", "2026-01-15T20:00:00", True, rng, packed=True)
    code, said = run_until_idle(made)
    assert code == 0, said
    return made


def test_each_detectors_image_is_a_frame_of_one_exposure(home):
    frames = rows(home, "frames")
    assert len(frames) == 22
    light = [one for one in frames if one["image_type"] == "science"]
    assert [one["detector"] for one in sorted(light, key=lambda one: one["hdu"])] == ["CHIP1", "CHIP2"]
    assert len({one["exposure_id"] for one in light}) == 1
    assert light[0]["exposure_id"] in {one["id"] for one in light}
    assert len({one["exposure_id"] for one in frames}) == 11
    assert {one["obs_id"] for one in light} == {"twin/2026-01-15/m-1"}


def test_each_detector_is_calibrated_by_its_own_masters(home):
    products = rows(home, "products")
    frames = {one["id"]: one for one in rows(home, "frames")}
    masters = [one for one in products if one["kind"] == "master_bias"]
    assert len(masters) == 2
    for one in masters:
        (detector,) = {frames[used["id"]]["detector"] for used in one["inputs"]}
        with fits.open(home.archive / one["path"]) as hdus:
            assert np.median(hdus[0].data) == pytest.approx(LEVELS[detector], abs=1)
    reduced = [one for one in products if one["kind"] == "reduced"]
    assert len(reduced) == 2
    for one in reduced:
        (raw,) = (used["id"] for used in one["inputs"] if used["role"] == "raw")
        with fits.open(home.archive / one["path"]) as hdus:
            assert np.median(hdus[0].data) == pytest.approx(SKY[frames[raw]["detector"]], abs=1.5)


def test_why_knows_the_masters_of_the_frames_own_detector(home):
    light = next(one for one in rows(home, "frames") if one["image_type"] == "science" and one["detector"] == "CHIP2")
    words = [sys.executable, "-m", "avcd", "why", light["id"], "--format", "json", "--home", str(home.path)]
    said = json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
    bias = next(one for one in rows(home, "products") if one["id"] == said["needs"]["bias"]["chosen"])
    frames = {one["id"]: one for one in rows(home, "frames")}
    assert {frames[one["id"]]["detector"] for one in bias["inputs"]} == {"CHIP2"}
