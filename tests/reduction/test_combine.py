"""Combination: ccdproc's pixels, bounded memory, outliers gone, and an uncertainty that is true."""

from __future__ import annotations

import tracemalloc

import ccdproc
import numpy as np
import pytest
from astropy.nddata import CCDData
from astropy.stats import mad_std
from hypothesis import given, settings
from hypothesis import strategies as st

from avcd.errors import ProcessingError
from avcd.frame import MaskBit
from avcd.reduction.combine import ArraySource, combine_frames, median_of_valid


def noise(number: int, shape: tuple[int, int] = (60, 70), sigma: float = 10.0, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(100, sigma, (number, *shape)).astype(np.float32)


def sources(stack: np.ndarray, masks: np.ndarray | None = None) -> list[ArraySource]:
    return [ArraySource(one, None if masks is None else masks[index]) for index, one in enumerate(stack)]


@pytest.mark.parametrize("number", [3, 4, 5, 10, 20])
@pytest.mark.parametrize(("method", "name"), [("mean", "average"), ("median", "median")])
def test_the_pixels_are_those_of_ccdproc(number, method, name):
    stack = noise(number)
    stack[number // 2, ::7, ::5] += 4000  # cosmic rays
    found = combine_frames(sources(stack), method=method, low_sigma=5, high_sigma=5)
    expected = ccdproc.combine(
        [CCDData(one, unit="adu") for one in stack],
        method=name,
        sigma_clip=True,
        sigma_clip_low_thresh=5,
        sigma_clip_high_thresh=5,
        sigma_clip_func=np.ma.median,
        sigma_clip_dev_func=mad_std,
    )
    np.testing.assert_allclose(found.data, expected.data, rtol=2e-7, atol=1e-5)


@pytest.mark.parametrize("number", [3, 5, 10])
@pytest.mark.parametrize("spread", [0.0, 3.0])
def test_one_wild_value_among_few_is_rejected(number, spread):
    stack = noise(number, (8, 9), sigma=spread)
    wild = np.unravel_index(np.arange(72), (8, 9))
    stack[np.arange(72) % number, *wild] = 10000
    found = combine_frames(sources(stack))
    assert abs(found.data - 100).max() < 12
    assert (found.count < number).all()


def test_thresholds_are_for_their_own_side():
    stack = np.zeros((9, 2, 1), np.float32)
    stack[:, :, 0] = np.arange(-4, 5)[:, None]
    stack[8, 0], stack[0, 1] = 50, -50
    high_only = combine_frames(sources(stack), low_sigma=100, high_sigma=5)
    assert [high_only.count[0, 0], high_only.count[1, 0]] == [8, 9]
    low_only = combine_frames(sources(stack), low_sigma=5, high_sigma=100)
    assert [low_only.count[0, 0], low_only.count[1, 0]] == [9, 8]


def test_whole_numbers_that_mostly_agree_keep_what_differs_by_a_step():
    rng = np.random.default_rng(5)
    stack = np.rint(rng.normal(100.3, 0.5, (9, 80, 80))).astype(np.float32)  # a quiet camera: mostly 100
    stack[4, 0, :] = 140
    without = combine_frames(sources(stack)).data
    found = combine_frames(sources(stack), floor=0.5)
    assert without[1:].mean() < 100.27  # pulled to the commonest value
    assert found.data[1:].mean() == pytest.approx(100.3, abs=0.01)
    assert (found.count[0] == 8).all()


@pytest.mark.parametrize("method", ["mean", "median", "sum"])
def test_strips_and_memory_never_change_the_result(method):
    stack = noise(6)
    masks = (np.random.default_rng(2).random(stack.shape) < 0.2).astype(np.uint16)
    whole = combine_frames(sources(stack, masks), method=method)
    for memory in (1, 50_000, 400_000):
        parts = combine_frames(sources(stack, masks), method=method, memory_bytes=memory)
        for name in ("data", "uncertainty", "mask", "count"):
            np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name), err_msg=name)


def test_memory_is_bounded_however_many_frames_there_are():
    class Made:
        """Rows made when they are asked for: nothing of the frame is held."""

        shape = (400, 1000)

        def __init__(self, seed: int) -> None:
            self.seed = seed

        def rows(self, start: int, stop: int):
            return np.full((stop - start, 1000), self.seed, np.float32), None

    combine_frames([Made(seed) for seed in range(12)])  # what is loaded and compiled once is not counted
    peaks = {}
    for number in (5, 60):
        tracemalloc.start()
        combine_frames([Made(seed) for seed in range(number)], memory_bytes=8_000_000)
        peaks[number] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    results = 400 * 1000 * (4 + 4 + 2 + 2)
    assert max(peaks.values()) < results + 8_000_000


def test_masked_and_broken_values_take_no_part():
    stack = np.full((4, 5, 5), 100, np.float32)
    masks = np.zeros(stack.shape, np.uint16)
    masks[0], stack[0] = int(MaskBit.HOT), 1e6
    stack[1, 0, 0] = np.nan
    stack[2, 0, 0] = np.inf
    masks[3, 0, 0] = int(MaskBit.DEAD)
    masks[:, 4, 4] = 1
    found = combine_frames(sources(stack, masks))
    assert found.count[0, 0] == 0
    assert found.data[0, 0] == 0
    assert found.mask[0, 0] == MaskBit.NO_DATA
    assert found.mask[4, 4] == MaskBit.NO_DATA
    assert (found.count[1:4] == 3).all()
    assert (found.data[1:4] == 100).all()
    masks[2, 2, 2] = masks[3, 2, 2] = 1
    assert combine_frames(sources(stack, masks)).mask[2, 2] == MaskBit.FEW_INPUTS


@pytest.mark.parametrize("number", [2, 3, 4, 5, 10, 20])
@pytest.mark.parametrize("method", ["mean", "median", "sum"])
def test_the_uncertainty_is_what_the_result_scatters_by(number, method):
    found = combine_frames(sources(noise(number, (200, 200))), method=method)
    truth = found.data.std()
    claimed = np.sqrt(np.mean(np.square(found.uncertainty, dtype=np.float64)))
    if number == 2 or method == "median":
        # Never too small; two values say little, and few values' median scatters less than the factor for many says.
        assert 0.95 < claimed / truth < 1.25
    else:
        assert claimed / truth == pytest.approx(1, abs=0.05)
    if number > 2:  # no pixel claims a precision that it has by luck
        assert found.uncertainty.min() > 0.5 * truth


def test_a_noisy_pixel_keeps_its_own_uncertainty():
    stack = noise(10, (100, 100))
    stack[:, :, 50] = np.random.default_rng(8).normal(100, 200, (10, 100))
    found = combine_frames(sources(stack))
    assert np.median(found.uncertainty[:, 50]) == pytest.approx(200 / np.sqrt(10), rel=0.15)
    assert np.median(found.uncertainty[:, :50]) == pytest.approx(10 / np.sqrt(10), rel=0.1)


def test_a_sum_is_scaled_to_all_frames():
    stack = np.full((4, 3, 3), 7, np.float32)
    masks = np.zeros(stack.shape, np.uint16)
    masks[0, 1, 1] = 1
    assert (combine_frames(sources(stack, masks), method="sum").data == 28).all()


def test_one_frame_is_itself_and_its_uncertainty_unknown():
    stack = noise(1)
    found = combine_frames(sources(stack))
    np.testing.assert_array_equal(found.data, stack[0])
    assert found.uncertainty is None


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.lists(st.floats(-1e4, 1e4, width=32) | st.just(float("nan")), min_size=4, max_size=4), min_size=1, max_size=8
    )
)
def test_the_quick_median_is_the_median(rows):
    stack = np.array(rows, np.float32)[:, None, :]
    found = median_of_valid(stack)[0]
    for column in range(4):
        values = stack[:, 0, column]
        values = values[~np.isnan(values)]
        if values.size:
            assert found[column] == pytest.approx(np.median(values), rel=1e-6)
        else:
            assert np.isnan(found[column])


def test_what_cannot_be_combined_is_refused():
    with pytest.raises(ProcessingError, match="nothing to combine"):
        combine_frames([])
    with pytest.raises(ProcessingError, match="different sizes"):
        combine_frames([ArraySource(np.zeros((3, 4))), ArraySource(np.zeros((4, 3)))])
    with pytest.raises(ValueError, match="mode"):
        combine_frames([ArraySource(np.zeros((3, 4)))], method="mode")
