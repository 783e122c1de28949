"""The background: an injected one found again under stars, holes and broken pixels."""

from __future__ import annotations

import numpy as np
import pytest

from avcd.errors import ProcessingError
from avcd.frame import MaskBit
from avcd.reduction.background import estimate_background, subtract_background
from avcd.reduction.planes import MaskedImage


def truth(shape=(300, 320)) -> np.ndarray:
    y, x = np.indices(shape)
    return 200 + 0.2 * x - 0.1 * y + 15 * np.sin(y / 90)


def starry(level: np.ndarray, seed: int = 3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    data = level + rng.normal(0, 4, level.shape)
    y, x = np.indices(level.shape)
    for row, column in rng.uniform(5, 295, (120, 2)):
        data += rng.uniform(100, 20000) * np.exp(-((y - row) ** 2 + (x - column) ** 2) / 8)
    return data.astype(np.float32)


def test_the_background_is_found_under_stars():
    level = truth()
    found = estimate_background(MaskedImage(starry(level), unit="adu"), box_px=32)
    assert abs(found.level - level)[16:-16, 16:-16].max() < 5
    assert np.median(found.level - level) == pytest.approx(0, abs=0.7)
    assert np.median(found.scatter) == pytest.approx(4, rel=0.25)
    assert found.median == pytest.approx(np.median(level), rel=0.05)


def test_a_bright_object_that_fills_a_box_is_filtered():
    level = np.full((320, 320), 100.0)
    data = level + np.random.default_rng(1).normal(0, 2, level.shape)
    data[130:156, 130:156] += 5000
    unfiltered = estimate_background(MaskedImage(data, unit="adu"), box_px=16, filter_boxes=1).level
    found = estimate_background(MaskedImage(data, unit="adu"), box_px=16, filter_boxes=5).level
    assert unfiltered.max() > 3000
    assert abs(found - 100).max() < 5


def test_masked_and_broken_pixels_take_no_part():
    level = truth()
    data = level.copy()
    mask = np.zeros(data.shape, np.uint16)
    data[::2, ::2], mask[::2, ::2] = 60000, MaskBit.HOT
    data[1, 1:300:7] = np.nan
    found = estimate_background(MaskedImage(data, unit="adu", mask=mask), box_px=32)
    assert np.isfinite(found.level).all()
    assert abs(found.level - level)[16:-16, 16:-16].max() < 5


def test_subtraction_leaves_stars_mask_and_uncertainty():
    level = truth()
    stars = starry(np.zeros(level.shape))
    mask = (np.arange(level.size).reshape(level.shape) % 91 == 0).astype(np.uint16)
    ccd = MaskedImage(level + stars, unit="adu", mask=mask, uncertainty=np.full(level.shape, 4.0))
    found = subtract_background(ccd, estimate_background(ccd, box_px=32))
    assert np.median(found.data) == pytest.approx(np.median(stars), abs=0.7)
    np.testing.assert_array_equal(found.mask, mask)
    np.testing.assert_array_equal(found.uncertainty, ccd.uncertainty)


def test_what_has_no_background_is_refused():
    with pytest.raises(ProcessingError, match="no pixel"):
        estimate_background(MaskedImage(np.full((20, 20), np.nan), unit="adu"))
    with pytest.raises(ProcessingError, match="at least 1"):
        estimate_background(MaskedImage(np.ones((20, 20)), unit="adu"), box_px=0)
    background = estimate_background(MaskedImage(np.ones((20, 20)), unit="adu"))
    with pytest.raises(ProcessingError, match="shape"):
        subtract_background(MaskedImage(np.ones((20, 21)), unit="adu"), background)
