"""Bad pixels that were put into a dark are found, and little else."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.nddata import CCDData

from avcd.frame import MaskBit
from avcd.reduction.defects import find_bad_pixels


def dark(shape=(256, 300), glow: float = 0.0) -> np.ndarray:
    y, x = np.indices(shape)
    smooth = 20 + glow * np.exp(-(((x - shape[1]) / 120) ** 2) - (y / 100) ** 2)  # amplifier glow in a corner
    return (smooth + np.random.default_rng(4).normal(0, 2, shape)).astype(np.float32)


@pytest.mark.parametrize("glow", [0.0, 300.0])
def test_hot_and_dead_pixels_are_found_also_on_a_glow(glow, parameters):
    data = dark(glow=glow)
    rng = np.random.default_rng(5)
    places = rng.choice(data.size, 120, replace=False)
    hot, dead = places[:80], places[80:]
    data.flat[hot] += 60
    data.flat[dead] -= 60
    found = find_bad_pixels(CCDData(data, unit="adu"), parameters["bad_pixel_mask"])
    mask = found.ccd.mask
    assert ((mask.flat[hot] & MaskBit.HOT) > 0).mean() > 0.97
    assert ((mask.flat[dead] & MaskBit.DEAD) > 0).mean() > 0.97
    others = np.ones(data.size, bool)
    others[places] = False
    assert np.count_nonzero(mask.ravel()[others]) < 10
    assert found.metrics["hot_px"] == pytest.approx(80, abs=10)
    np.testing.assert_array_equal(found.ccd.data, mask)


@pytest.mark.parametrize("width", [1, 2, 7, 20])
@pytest.mark.parametrize("level", [8, -8])
def test_bad_columns_are_found_also_side_by_side(width, level, parameters):
    data = dark()
    data[:, 100 : 100 + width] += level  # four sigma: no pixel of them is bad by itself
    found = find_bad_pixels(CCDData(data, unit="adu"), parameters["bad_pixel_mask"])
    assert found.metrics["bad_columns"] == width
    bit = MaskBit.HOT if level > 0 else MaskBit.DEAD
    assert ((found.ccd.mask[:, 100 : 100 + width] & bit) > 0).all()
    assert np.count_nonzero(found.ccd.mask[:, :100]) < 50


def test_a_bad_row_is_found(parameters):
    data = dark()
    data[77] += 8
    found = find_bad_pixels(CCDData(data, unit="adu"), parameters["bad_pixel_mask"])
    assert (found.metrics["bad_rows"], found.metrics["bad_columns"]) == (1, 0)
    assert (found.ccd.mask[77] & MaskBit.HOT).all()


def test_a_clean_dark_has_no_bad_pixels(parameters):
    found = find_bad_pixels(CCDData(dark(), unit="adu"), parameters["bad_pixel_mask"])
    assert found.metrics["bad_fraction"] == 0


def test_pixels_without_a_value_are_dead(parameters):
    data = dark()
    data[5, 6] = np.nan
    mask = np.zeros(data.shape, np.uint16)
    mask[8, 9] = int(MaskBit.NO_DATA)
    data[8, 9] = 1e9
    found = find_bad_pixels(CCDData(data, unit="adu", mask=mask), parameters["bad_pixel_mask"])
    assert np.argwhere(found.ccd.mask).tolist() == [[5, 6], [8, 9]]
    assert found.ccd.mask[5, 6] == MaskBit.DEAD
