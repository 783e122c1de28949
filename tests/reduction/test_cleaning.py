"""Cosmic rays put into a frame are found in any unit, and nothing else is touched."""

from __future__ import annotations

import numpy as np
import pytest

from avcd.frame import MaskBit
from avcd.reduction.cleaning import clean_cosmic_rays
from avcd.reduction.planes import MaskedImage

SEARCH = {"cosmic_sigma_clip": 4.5, "cosmic_sigma_fraction": 0.3, "cosmic_object_limit": 5.0, "cosmic_iterations": 4}
GAIN = 2.0


def struck_frame() -> tuple[np.ndarray, np.ndarray]:
    """Electrons with stars and tracks, and where the tracks are."""
    rng = np.random.default_rng(2)
    y, x = np.indices((200, 210))
    light = np.full(x.shape, 300.0)
    for row, column in rng.uniform(10, 190, (30, 2)):
        light += 20000 * np.exp(-((y - row) ** 2 + (x - column) ** 2) / 10)
    where = np.zeros(x.shape, bool)
    for row, column in rng.integers(20, 170, (25, 2)):
        where[row, column : column + 4] = True
    where &= light < 400
    data = rng.poisson(light) + rng.normal(0, 8, light.shape)
    return np.where(where, data + 3000, data).astype(np.float32), where


@pytest.mark.parametrize(("unit", "gain"), [("electron", None), ("electron", GAIN), ("adu", GAIN), ("adu", None)])
def test_cosmic_rays_are_found_in_any_unit(unit, gain):
    data, where = struck_frame()
    scale = GAIN if unit == "adu" else 1.0
    noise = np.full(data.shape, 3.0)
    ccd = MaskedImage(data / np.float32(scale), unit=unit, uncertainty=noise)
    found, count = clean_cosmic_rays(ccd, SEARCH, gain_e_per_adu=gain, read_noise_e=8.0)
    marked = (found.mask & MaskBit.COSMIC_RAY) != 0
    assert count == np.count_nonzero(marked)
    assert marked[where].mean() > (0.95 if gain or unit == "electron" else 0.9)
    assert np.count_nonzero(marked & ~where) < 0.2 * np.count_nonzero(where)
    np.testing.assert_array_equal(found.data[~marked], ccd.data[~marked])
    assert np.median(found.data[where & marked]) == pytest.approx(300 / scale, rel=0.1)
    assert found.unit == unit
    np.testing.assert_array_equal(found.uncertainty, noise)


def test_masked_and_broken_pixels_stay_what_they_are():
    data, _ = struck_frame()
    data[5, 5] = np.nan
    mask = np.zeros(data.shape, np.uint16)
    mask[100, :] = MaskBit.HOT
    found, _ = clean_cosmic_rays(MaskedImage(data, unit="electron", mask=mask), SEARCH, saturation=18000)
    assert found.mask[5, 5] & MaskBit.NON_FINITE
    assert (found.mask[100] & MaskBit.HOT).all()
    assert np.isfinite(found.data).all()
