"""Noise measured on a detector's own frames, against what was put in."""

from __future__ import annotations

import numpy as np
import pytest

from avcd.reduction.noise import clipped_sigma, exact_median, mad_sigma, read_noise_from_biases


def test_scatter_is_found_despite_outliers():
    values = np.random.default_rng(1).normal(50, 4, 100_000)
    values[::100] = 9000
    values[1] = np.nan
    assert mad_sigma(values) == pytest.approx(4, rel=0.03)
    assert clipped_sigma(values) == pytest.approx(4, rel=0.03)


@pytest.mark.parametrize("kind", [np.float32, np.float64, int])
@pytest.mark.parametrize("size", [1, 2, 50, 30_001])
def test_clipping_is_numpys_step_by_step(kind, size):
    values = np.random.default_rng(size).normal(50, 7, size).astype(kind).astype(float if kind is int else kind)
    values[::40] *= 9
    before = values.copy()
    kept = values.astype(np.float64)
    for _ in range(5):
        kept = kept[np.abs(kept - kept.mean()) <= 3 * kept.std()]
    assert clipped_sigma(values) == kept.std()
    np.testing.assert_array_equal(values, before)


def test_read_noise_comes_back_whatever_the_fixed_pattern():
    rng = np.random.default_rng(2)
    pattern = 1000 + rng.normal(0, 100, (400, 500)) + np.arange(500) * 3.0
    first, second = (pattern + rng.normal(0, 6, pattern.shape) for _ in range(2))
    first[::50, ::50] += 5000  # cosmic rays
    assert read_noise_from_biases(first, second) == pytest.approx(6, rel=0.005)


def test_read_noise_of_whole_numbers():
    rng = np.random.default_rng(3)
    first, second = (np.rint(1000 + rng.normal(0, 3, (500, 500))).astype(np.float32) for _ in range(2))
    # Rounding adds a twelfth of a step squared.
    assert read_noise_from_biases(first, second) == pytest.approx(np.sqrt(9 + 1 / 12), rel=0.005)


def test_nothing_to_measure_is_not_a_number():
    assert np.isnan(mad_sigma(np.array([np.nan])))
    assert np.isnan(clipped_sigma(np.array([])))
    assert clipped_sigma(np.full((3, 3), 7.0)) == 0


@pytest.mark.parametrize("size", [1, 2, 999, 1_000_000, 1_000_001])
@pytest.mark.parametrize("kind", ["normal", "whole", "equal", "two halves", "sorted"])
def test_the_median_of_many_is_numpys(size, kind):
    rng = np.random.default_rng(size)
    values = rng.normal(1000, 12, size).astype(np.float32)
    if kind == "whole":
        values = np.rint(values)
    elif kind == "equal":
        values[:] = 7
    elif kind == "two halves":  # nothing lies in the middle
        values[: size // 2] += 1e4
    elif kind == "sorted":
        values.sort()
    before = values.copy()
    assert exact_median(values) == float(np.median(values))
    np.testing.assert_array_equal(values, before)
