"""Rejections, weights, scaling, propagated uncertainties: against ccdproc and masked NumPy; compiled loops bit by bit."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.nddata import CCDData
from ccdproc import Combiner
from scipy.special import gammaincinv

from avcd.compiling import available
from avcd.errors import ProcessingError
from avcd.frame import MaskBit
from avcd.reduction import combine
from avcd.reduction.combine import ArraySource, combine_frames
from avcd.reduction.sources import FileSource
from avcd.reduction.survivors import gamma_median
from avcd.sorting import middle_network, sorting_network

# ccdproc says so where every frame is masked.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:All-NaN slice"),
    pytest.mark.filterwarnings("ignore:Input data contains invalid values"),
    pytest.mark.filterwarnings("ignore:Degrees of freedom"),
]
SHAPE = (60, 70)
COUNTS = (1, 2, 3, 4, 5, 7, 10, 20, 33)


def made(number: int, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Frames with outliers, masked pixels, NaN and infinities; and pixels of which nothing is left."""
    rng = np.random.default_rng(seed)
    stack = np.rint(rng.normal(1000, 12, (number, *SHAPE))).astype(np.float32)
    struck = rng.random(stack.shape) < 0.02
    stack[struck] += rng.uniform(100, 30000, struck.sum())
    stack[rng.random(stack.shape) < 0.01] = np.nan
    stack[rng.random(stack.shape) < 0.002] = np.inf
    masks = (rng.random(stack.shape) < 0.05).astype(np.uint16)
    masks[:, 3, 4] = 1
    masks[1:, 5, 6] = 1
    return stack, masks


def sources(stack, masks=None, uncertainties=None):
    return [
        ArraySource(
            one,
            None if masks is None else masks[index],
            None if uncertainties is None else uncertainties[index],
        )
        for index, one in enumerate(stack)
    ]


def combiner(stack, masks=None) -> Combiner:
    bad = ~np.isfinite(stack) | (False if masks is None else masks != 0)
    # ccdproc clips by the values of masked pixels too, unless they are NaN.
    return Combiner(
        [
            CCDData(np.where(one, np.nan, frame).astype(np.float64), unit="adu", mask=one)
            for frame, one in zip(stack, bad, strict=True)
        ]
    )


@pytest.fixture(params=["plain", "compiled"])
def engine(request, monkeypatch):
    """Both ways in which frames are combined, however small they are."""
    if request.param == "plain":
        monkeypatch.setattr(combine, "kernels", lambda name: None)
    elif not available():
        pytest.skip("Numba is not installed")
    monkeypatch.setattr(combine, "_WORTH_COMPILING", 0)
    return request.param


@pytest.mark.parametrize("number", [3, 4, 5, 10, 20])
@pytest.mark.parametrize("method", ["mean", "median", "sum"])
def test_masked_stacks_come_out_as_ccdproc_has_them(engine, number, method):
    stack, masks = made(number)
    found = combine_frames(sources(stack, masks), method=method)
    reference = combiner(stack, masks)
    reference.sigma_clipping(low_thresh=5, high_thresh=5, func="median", dev_func="mad_std")
    expected = {
        "mean": reference.average_combine,
        "median": reference.median_combine,
        "sum": reference.average_combine,
    }[method]()
    good = found.count > 0
    factor = number if method == "sum" else 1
    np.testing.assert_allclose(found.data[good], expected.data[good] * factor, rtol=3e-7)
    np.testing.assert_array_equal(found.count, (~reference.data_arr.mask).sum(axis=0))
    assert (found.mask[~good] == MaskBit.NO_DATA).all()
    assert not found.data[~good].any()


@pytest.mark.parametrize("number", [3, 5, 10, 20])
def test_clipping_about_the_mean_is_that_of_ccdproc(number):
    stack, masks = made(number)
    found = combine_frames(sources(stack, masks), rejection="std", low_sigma=1.5, high_sigma=2)
    reference = combiner(stack, masks)
    reference.sigma_clipping(low_thresh=1.5, high_thresh=2, func="mean", dev_func="std")
    np.testing.assert_array_equal(found.count, (~reference.data_arr.mask).sum(axis=0))
    good = found.count > 0
    np.testing.assert_allclose(found.data[good], reference.average_combine().data[good], rtol=3e-7)


@pytest.mark.parametrize(("lowest", "highest"), [(1, 1), (0, 2), (2, 0), (2, 3)])
def test_the_lowest_and_highest_go_as_in_ccdproc(lowest, highest):
    stack, _ = made(10)
    stack[~np.isfinite(stack)] = 900
    stack += np.random.default_rng(1).random(stack.shape).astype(np.float32)  # without ties
    found = combine_frames(sources(stack), rejection="extrema", lowest=lowest, highest=highest)
    reference = combiner(stack)
    reference.clip_extrema(nlow=lowest, nhigh=highest)
    assert (found.count == 10 - lowest - highest).all()
    np.testing.assert_allclose(found.data, reference.average_combine().data, rtol=3e-7)


def test_extrema_are_those_of_the_valid_values_and_never_all_of_them():
    stack = np.array([1, 2, 3, 4, 5], np.float32)[:, None, None] * np.ones((1, 1, 3), np.float32)
    masks = np.zeros(stack.shape, np.uint16)
    masks[4, 0, 1] = 1
    masks[2:, 0, 2] = 1
    found = combine_frames(sources(stack, masks), rejection="extrema")
    assert found.data.tolist() == [[3.0, 2.5, 1.5]]
    assert found.count.tolist() == [[3, 2, 2]]


def test_levels_reject_as_in_ccdproc():
    stack, masks = made(7)
    found = combine_frames(sources(stack, masks), rejection="range", low_level=980, high_level=1030)
    reference = combiner(stack, masks)
    reference.minmax_clipping(min_clip=980, max_clip=1030)
    np.testing.assert_array_equal(found.count, (~reference.data_arr.mask).sum(axis=0))
    good = found.count > 0
    np.testing.assert_allclose(found.data[good], reference.average_combine().data[good], rtol=3e-7)


@pytest.mark.parametrize("rejection", ["mad", "none"])
def test_a_weighted_mean_is_that_of_masked_numpy(rejection):
    stack, masks = made(6)
    weights = [1.0, 2.0, 0.5, 4.0, 1.0, 3.0]
    found = combine_frames(sources(stack, masks), method="weighted", weights=weights, rejection=rejection)
    reference = combiner(stack, masks)
    if rejection == "mad":
        reference.sigma_clipping(low_thresh=5, high_thresh=5, func="median", dev_func="mad_std")
    values = np.ma.array(reference.data_arr.data, mask=reference.data_arr.mask)
    expected = np.ma.average(values, axis=0, weights=np.array(weights))
    good = found.count > 0
    np.testing.assert_allclose(found.data[good], expected.data[good], rtol=3e-7)


def test_a_weighted_means_uncertainty_is_its_scatter():
    stack = np.random.default_rng(4).normal(100, 10, (12, 200, 200)).astype(np.float32)
    found = combine_frames(sources(stack), method="weighted", weights=[5.0, *[1.0] * 11])
    assert np.sqrt(np.mean(np.square(found.uncertainty))) == pytest.approx(found.data.std(), rel=0.05)


def test_frames_are_scaled_and_shifted_before_anything_is_rejected(engine):
    stack, masks = made(8)
    factors, offsets = np.linspace(0.5, 2, 8), np.linspace(-300, 300, 8)
    there = np.stack(
        [
            (one * np.float32(factor)) + np.float32(shift)
            for one, factor, shift in zip(stack, factors, offsets, strict=True)
        ]
    )
    expected = combine_frames(sources(there, masks))
    found = combine_frames(sources(stack, masks), scale=factors.tolist(), offset=offsets.tolist())
    for name in ("data", "uncertainty", "mask", "count"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)


@pytest.mark.parametrize("method", ["mean", "weighted", "sum"])
def test_propagated_uncertainties_are_the_scatter_of_many_realisations(method):
    rng = np.random.default_rng(5)
    sigmas = np.array([3.0, 5.0, 8.0, 4.0, 6.0])[:, None, None] * np.ones((5, 30, 40))
    weights = (1 / sigmas[:, 0, 0] ** 2).tolist() if method == "weighted" else None
    masks = np.zeros(sigmas.shape, np.uint16)
    masks[2, :10] = 1
    made = [
        combine_frames(
            sources(rng.normal(500, sigmas).astype(np.float32), masks, sigmas),
            method=method, rejection="none", weights=weights, propagate=True,
        )
        for _ in range(100)
    ]  # fmt: skip
    scatter = np.std([one.data for one in made], axis=0)
    for part in (np.s_[:10], np.s_[10:]):
        claimed = np.sqrt(np.mean(np.square(made[0].uncertainty[part])))
        assert claimed == pytest.approx(np.sqrt(np.mean(np.square(scatter[part]))), rel=0.03)


@pytest.mark.skipif(not available(), reason="Numba is not installed")
@pytest.mark.parametrize("number", COUNTS)
@pytest.mark.parametrize("method", ["mean", "median", "sum"])
@pytest.mark.parametrize("rejection", ["mad", "none"])
def test_compiled_loops_change_no_bit(monkeypatch, number, method, rejection):
    stack, masks = made(number)
    found = {}
    for name, least in (("plain", 10**12), ("compiled", 0)):
        monkeypatch.setattr(combine, "_WORTH_COMPILING", least)
        found[name] = combine_frames(sources(stack, masks), method=method, rejection=rejection, floor=0.5)
    for name in ("data", "mask", "count") + (("uncertainty",) if number > 1 else ()):
        one, other = getattr(found["plain"], name), getattr(found["compiled"], name)
        assert one.tobytes() == other.tobytes(), name


@pytest.mark.skipif(not available(), reason="Numba is not installed")
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_and_strips_change_no_bit(monkeypatch, threads):
    stack, masks = made(9)
    monkeypatch.setattr(combine, "_WORTH_COMPILING", 0)
    whole = combine_frames(sources(stack, masks))
    monkeypatch.setattr(combine, "threads", lambda: threads)
    for memory in (1, 60_000, 300_000):
        found = combine_frames(sources(stack, masks), memory_bytes=memory)
        for name in ("data", "uncertainty", "mask", "count"):
            assert getattr(found, name).tobytes() == getattr(whole, name).tobytes(), name


@pytest.mark.parametrize("number", range(1, 40))
def test_the_networks_sort(number):
    values = np.random.default_rng(number).integers(0, 9, (number, 200))
    for network, places in (
        (sorting_network(number), range(number)),
        (middle_network(number), {(number - 1) // 2, number // 2}),
    ):
        work = values.copy()
        for first, second in network:
            work[[first, second]] = np.sort(work[[first, second]], axis=0)
        for place in places:
            np.testing.assert_array_equal(work[place], np.sort(values, axis=0)[place])


@pytest.mark.parametrize(("kind", "zero"), [(">i2", 0), (">i2", 32768), (">f4", 0), ("|u1", 0)])
def test_rows_of_a_file_are_its_pixels(tmp_path, kind, zero):
    rng = np.random.default_rng(6)
    shape = (300, 200)
    pixels = (
        rng.normal(0, 1e4, shape)
        if kind == ">f4"
        else rng.integers(*np.array([0, 256] if kind == "|u1" else [-32768, 32768]), shape)
    )
    path = tmp_path / "pixels"
    path.write_bytes(b"header" + pixels.astype(kind).tobytes())
    source = FileSource(path, 6, shape, kind, zero)
    expected = (pixels.astype(kind).astype(np.float64) + zero).astype(np.float32)
    np.testing.assert_array_equal(source.rows(0, 300)[0], expected)
    np.testing.assert_array_equal(source.rows(17, 60)[0], expected[17:60])
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ProcessingError, match="changed while it was read"):
        source.rows(290, 300)


def test_what_cannot_be_done_is_refused():
    frames = sources(np.zeros((3, 4, 5), np.float32))
    with pytest.raises(ValueError, match="guess"):
        combine_frames(frames, rejection="guess")
    with pytest.raises(ValueError, match="2 numbers as scale of 3 frames"):
        combine_frames(frames, scale=[1, 2])
    with pytest.raises(ValueError, match="positive weight"):
        combine_frames(frames, method="weighted", weights=[1, 0, 1])
    with pytest.raises(ProcessingError, match="not every frame has them"):
        combine_frames(frames, propagate=True)


def test_the_medians_of_sample_variances_are_scipys():
    frames = np.arange(2, 80)
    np.testing.assert_allclose([gamma_median(one) for one in frames], gammaincinv((frames - 1) / 2, 0.5), rtol=1e-14)
