"""Bad pixels replaced from their neighbours: what comes back, and what stays masked."""

from __future__ import annotations

import numpy as np
import pytest

from avcd.frame import MaskBit
from avcd.reduction.planes import MaskedImage
from avcd.reduction.repair import repair_pixels

HOT, DEAD = int(MaskBit.HOT), int(MaskBit.DEAD)


def params(method: str, reach: int = 2) -> dict:
    return {"repair": method, "repair_radius_px": reach, "repair_least_neighbours": 4}


def frame(mask: np.ndarray, seed: int = 1) -> tuple[MaskedImage, np.ndarray]:
    """A slope with noise of two, wild where it is masked; and the slope."""
    y, x = np.indices(mask.shape)
    truth = 500 + 0.5 * x + 0.2 * y
    data = truth + np.random.default_rng(seed).normal(0, 2, mask.shape)
    data[mask != 0] = 60_000
    sigma = np.full(mask.shape, 2, np.float32)
    return MaskedImage(data.astype(np.float32), unit="adu", mask=mask, uncertainty=sigma), truth


def scattered(shape=(200, 220), number=900) -> np.ndarray:
    inner = np.zeros((shape[0] - 2, shape[1] - 2), np.uint16)
    inner.flat[np.random.default_rng(5).choice(inner.size, number, replace=False)] = HOT
    return np.pad(inner, 1)  # beside an edge there is no line between two sides


@pytest.mark.parametrize("method", ["median", "interpolation"])
def test_the_truth_comes_back_within_the_uncertainty_that_is_claimed(method):
    ccd, truth = frame(scattered())
    before = ccd.data.copy()
    found, metrics = repair_pixels(ccd, params(method))
    at = ccd.mask != 0
    assert metrics == {"repaired_px": 900.0, "unrepaired_px": 0.0}
    residual = found.data[at] - truth[at]
    assert abs(residual.mean()) < 0.3
    assert residual.std() < 2.5
    assert (np.abs(residual) < 3 * found.uncertainty[at]).mean() > 0.9
    assert (found.mask[at] == MaskBit.REPAIRED).all()
    assert not found.mask[~at].any()
    np.testing.assert_array_equal(found.data[~at], ccd.data[~at])
    np.testing.assert_array_equal(ccd.data, before)


def test_columns_side_by_side_are_crossed_by_a_straight_line():
    mask = np.zeros((60, 80), np.uint16)
    mask[:, 40:43] = DEAD
    ccd, truth = frame(mask)
    found, metrics = repair_pixels(ccd, params("interpolation", 3))
    assert metrics["unrepaired_px"] == 0
    assert abs(np.mean(found.data[:, 40:43] - truth[:, 40:43])) < 0.6


@pytest.mark.parametrize("method", ["median", "interpolation"])
def test_what_cannot_be_repaired_keeps_its_value_and_stays_masked(method):
    mask = np.zeros((30, 40), np.uint16)
    mask[5:16, 10:21] = HOT | DEAD  # its middle has no good neighbour within two pixels
    ccd, _ = frame(mask)
    found, metrics = repair_pixels(ccd, params(method))
    assert found.mask[10, 15] == HOT | DEAD
    assert found.data[10, 15] == 60_000
    assert metrics["unrepaired_px"] == np.count_nonzero(found.mask & np.uint16(HOT)) > 0
    assert metrics["unrepaired_px"] + metrics["repaired_px"] == 121


def test_fewer_good_neighbours_than_asked_for_mend_nothing():
    mask = np.zeros((5, 5), np.uint16)
    mask[...] = HOT
    mask[0, :3] = 0  # three good ones
    ccd, _ = frame(mask)
    assert repair_pixels(ccd, params("median"))[1]["repaired_px"] == 0
    mask[0, 3] = 0
    ccd, _ = frame(mask)
    found, _ = repair_pixels(ccd, params("median"))
    assert found.mask[3, 2] == HOT
    assert found.mask[1, 1] == MaskBit.REPAIRED


def test_only_good_pixels_are_made_use_of_and_stars_are_left():
    mask = np.zeros((20, 20), np.uint16)
    mask[10, 10] = HOT
    mask[10, 11] = int(MaskBit.SATURATED)
    mask[9, 9] = int(MaskBit.COSMIC_RAY)
    ccd, truth = frame(mask)
    found, metrics = repair_pixels(ccd, params("median"))
    assert found.data[10, 10] == pytest.approx(truth[10, 10], abs=6)
    assert (found.mask[10, 11], found.mask[9, 9]) == (MaskBit.SATURATED, MaskBit.COSMIC_RAY)
    assert found.data[10, 11] == 60_000
    assert metrics["repaired_px"] == 1


def test_a_method_there_is_not_is_refused():
    ccd, _ = frame(np.zeros((5, 5), np.uint16))
    with pytest.raises(ValueError, match="mode"):
        repair_pixels(ccd, params("mode"))
