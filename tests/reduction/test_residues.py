"""What calibration leaves in a frame: put in by a known amount, told by that amount; nothing where nothing is left."""

from __future__ import annotations

import numpy as np
import pytest

from avcd.reduction.calibrate import Detector, Masters, reduce_frame
from avcd.reduction.combine import ArraySource
from avcd.reduction.masters import build_master_bias, build_master_dark, build_master_flat
from avcd.reduction.planes import MaskedImage
from avcd.reduction.residues import measure_hot_residue, measure_sky_gradient
from avcd.simulate.camera import Camera

SECONDS = 60.0
SKY_E = 700.0
SHAPE = (400, 420)


@pytest.fixture(scope="module")
def camera() -> Camera:
    return Camera(*SHAPE, 5, hot_fraction=2e-3)


@pytest.fixture(scope="module")
def masters(camera, parameters) -> Masters:
    random = np.random.default_rng(2)

    def taken(exposure_s, light=0.0, filter_name=None):
        return [
            ArraySource(camera.expose(light, exposure_s, random, filter_name).counts.astype(np.float32))
            for _ in range(5)
        ]

    bias = build_master_bias(taken(0), parameters["master_bias"]).ccd
    dark = build_master_dark(taken(SECONDS), bias, parameters["master_dark"]).ccd
    flat = build_master_flat(taken(4, 32000, "Red"), bias, None, parameters["master_flat"]).ccd
    return Masters(bias, dark, SECONDS, False, True, flat)


def stars(number=60) -> np.ndarray:
    random = np.random.default_rng(4)
    y, x = np.indices(SHAPE)
    light = np.zeros(SHAPE)
    for row, column, peak in zip(
        random.uniform(5, 395, number), random.normal(300, 60, number), random.uniform(500, 30000, number), strict=True
    ):  # crowded to one side: a cluster
        light += peak * np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * 1.8**2))
    return light


def reduced(camera, masters, parameters, **changes):
    random = np.random.default_rng(7)
    frame = camera.expose(SKY_E + stars(), SECONDS, random, "Red").counts
    used = Masters(**{**vars(masters), **changes})
    params = {**parameters["reduced"], "cosmic_rays": False}
    return reduce_frame(
        MaskedImage(frame, unit="adu"), used, Detector(camera.gain_e_per_adu, 8.0, None, 65535), SECONDS, params
    )


def scaled(dark: MaskedImage, factor: float) -> MaskedImage:
    return MaskedImage(dark.data * np.float32(factor), unit="adu", mask=dark.mask, uncertainty=dark.uncertainty)


def test_a_well_calibrated_frame_keeps_no_hot_pixels_and_no_slope(camera, masters, parameters):
    found = reduced(camera, masters, parameters).metrics
    assert found["hot_residue_px"] > 200
    assert abs(found["hot_residue"]) < 0.03
    assert found["sky_gradient"] < 0.01
    assert found["sky_gradient_sigma"] < 0.2


@pytest.mark.parametrize(("factor", "residue"), [(0.5, 1.0), (0.8, 0.25), (2.0, -0.5)])
def test_hot_pixels_that_the_dark_left_are_told_by_how_much(factor, residue, camera, masters, parameters):
    """A dark of another temperature holds the same hot pixels, all of them weaker or stronger by one factor."""
    found = reduced(camera, masters, parameters, dark=scaled(masters.dark, factor)).metrics
    assert found["hot_residue"] == pytest.approx(residue, abs=0.04)
    assert found["hot_residue_sigma"] > 10


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("slope", [0.05, -0.05, 0.2])
def test_a_slope_that_the_flat_left_is_told_by_how_much(slope, axis, camera, masters, parameters):
    ramp = 1 + slope * np.linspace(-0.5, 0.5, SHAPE[axis])
    ramp = ramp[:, None] if axis == 0 else ramp[None, :]
    flat = MaskedImage(masters.flat.data / ramp.astype(np.float32), unit="", mask=masters.flat.mask)
    found = reduced(camera, masters, parameters, flat=flat).metrics
    assert found["sky_gradient"] == pytest.approx(abs(slope), abs=0.01)
    noise = np.sqrt(SKY_E + 64)
    assert found["sky_gradient_sigma"] == pytest.approx(abs(slope) * SKY_E / noise, rel=0.25)
    assert found["sky_gradient"] > 3 * found["sky_gradient_error"]


@pytest.mark.parametrize("slope", [0.0, 0.06])
@pytest.mark.parametrize(("row", "column"), [(120, 300), (200, 210), (60, 60)])
def test_a_nebula_is_no_slope(row, column, slope):
    random = np.random.default_rng(3)
    y, x = np.indices(SHAPE)
    sky = random.normal(700, 27, SHAPE) + 400 * np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * 50.0**2))
    sky += 700 * slope * (x / SHAPE[1] - 0.5)
    assert measure_sky_gradient(sky, np.zeros(SHAPE, bool))["sky_gradient"] == pytest.approx(slope, abs=0.02)


def test_what_cannot_be_measured_is_left_out():
    flat = np.random.default_rng(1).normal(5, 1, (100, 100))
    nothing = np.zeros((100, 100), bool)
    assert measure_hot_residue(flat, flat, nothing) == {}  # no pixel is hot
    assert measure_hot_residue(flat[:5, :5], flat[:5, :5], nothing[:5, :5]) == {}
    assert measure_sky_gradient(flat, ~nothing) == {}
    assert measure_sky_gradient(flat - 50, nothing) == {}  # no sky above zero
    assert measure_sky_gradient(flat[:2, :2], nothing[:2, :2]) == {}


def test_pixels_that_say_nothing_take_no_part(camera, masters):
    dark = masters.dark.data
    hot = camera.hot_pixels
    left = dark * 3 + np.random.default_rng(1).normal(0, 3, SHAPE)
    half = hot & (np.cumsum(hot).reshape(SHAPE) % 2 == 0)
    left[half] = 1e6  # saturated in the frame
    assert measure_hot_residue(left, dark, half)["hot_residue"] == pytest.approx(3, rel=0.05)


def test_values_that_are_none_disturb_nothing(camera, masters):
    random = np.random.default_rng(1)
    dark, mask = masters.dark.data.copy(), np.zeros(SHAPE, bool)
    frame = 700 + dark * 0.5 + random.normal(0, 5, SHAPE).astype(np.float32)
    holes = random.random(SHAPE) < 0.002
    frame[holes] = np.nan
    frame[::50, ::50] = np.inf
    dark[5::60, 5::60] = np.nan
    dark[7::60, 7::60] = -np.inf
    assert measure_hot_residue(frame, dark, mask)["hot_residue"] == pytest.approx(0.5, abs=0.03)
    assert measure_sky_gradient(frame, mask)["sky_gradient"] < 0.01
