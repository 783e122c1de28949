"""Stacking registered frames of one filter: one exposure scale, one background, outliers rejected, masks obeyed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from avcd.compiling import kernels, threads
from avcd.compose.coadding import in_order
from avcd.compose.layers import MAD_TO_SIGMA, TERMS, Layer, measure_image
from avcd.compose.mapping import PixelMap, Registration
from avcd.compose.resampling import SECOND_CHOICE, UNUSABLE, Resampled, Way
from avcd.errors import ProcessingError
from avcd.frame import MaskBit
from avcd.sorting import middle_network, sorting_network

METHODS = ("mean", "median", "sum")
_MOST_ROWS = 64
_FEWEST_ROWS = 4
_SAMPLED_ROWS = 256  # of the grid, brought onto it at once where only some are looked at
_BYTES_PER_VALUE = (
    12  # of a frame's pixel in a strip: value, variance, mask; the window of one frame is little beside all of them
)
_PLAIN_COPIES = 4  # of them where loops are not compiled
_SAMPLES = 250_000  # enough to tell a background to a hundredth of its noise
# Stars' cores differ by more than noise from frame to frame, as seeing and the grid move light about.
_SEEING = 0.15


@dataclass(frozen=True)
class StackInput:
    """One frame of a stack: ``data``, ``mask``, ``uncertainty`` (ny, nx), where it lies, and its exposure.

    ``exposure_s`` None: taken as the reference's. ``transparency`` is how much of the reference's light of the same stars it
    has, exposures and gains being equal: its values are brought up by that, its noise with them. Arrays may be mapped
    from files: they are read by windows.
    """

    data: Any
    mask: Any
    uncertainty: Any
    exposure_s: float | None
    registration: Registration
    transparency: float = 1.0


@dataclass(frozen=True)
class Stacked:
    """A stack: values as of one exposure, their uncertainty, mask plane, how many frames each pixel is made of, and their weight."""

    data: np.ndarray
    mask: np.ndarray
    uncertainty: np.ndarray | None
    coverage: np.ndarray
    weight: np.ndarray
    metrics: Mapping[str, float]
    warnings: tuple[str, ...]


def stack_images(
    inputs: Sequence[StackInput], shape: tuple[int, int], params: Mapping[str, Any], memory_bytes: int = 512 * 2**20
) -> Stacked:
    """Combine registered frames.

    Every frame is scaled to the reference's exposure and transparency and, by the median difference where they overlap, brought to its
    background. At each pixel values further than ``low_sigma`` and ``high_sigma`` from the median are rejected, a sigma
    being the larger of the values' robust scatter and of their own uncertainty (two or three values cannot tell their
    scatter), widened where seeing moves light about. Of two values that disagree, the brighter is rejected: light only
    ever adds. What is left is averaged, weighted by the inverse of each frame's variance. Saturated pixels and replaced
    cosmic rays serve only where no frame has better.

    Parameters
    ----------
    inputs
        In any order. The frame that is the reference (registered as "identity"), else the first, gives exposure and
        background. A single one that is the reference passes through unchanged.
    shape
        Of the result, (ny, nx).
    params
        Of the recipe: ``method`` ("mean", "median" or "sum" of what survives; the sum is that of all frames, those that were rejected
        being taken as the mean), ``low_sigma``, ``high_sigma``, ``interpolation``, ``match_background``, ``weighted``.
    memory_bytes
        What strips may use, beside the results.

    Returns
    -------
    Stacked
        Where no frame has data: 0, NO_DATA. FEW_INPUTS where less than half of the frames survived. ``uncertainty``
        is propagated from the frames' own, or from their measured noise where they have none.

    Raises
    ------
    ProcessingError
        No frame is given, or a parameter has no meaning.
    """
    if not inputs:
        raise ProcessingError("no frame of this stack could be registered")
    if params["method"] not in METHODS:
        raise ProcessingError(f"method is {params['method']!r}, none of {', '.join(METHODS)}")
    base = next((index for index, one in enumerate(inputs) if one.registration.method == "identity"), 0)
    way = Way.of(params["interpolation"], float(shape[0]) * shape[1] * len(inputs))
    layers = _layers(inputs, base, shape, params, way)
    stacked = _combine(layers, shape, params, way, memory_bytes)
    if len(inputs) == 1 and layers[0].pixels.is_identity and inputs[0].data.shape == shape:
        stacked = _passed_through(inputs[0], stacked)
    return stacked


def _layers(
    inputs: Sequence[StackInput], base: int, shape: tuple[int, int], params: Mapping[str, Any], way: Way
) -> list[Layer]:
    first = inputs[base].exposure_s

    def layer(index: int) -> Layer:
        one = inputs[index]
        scale = (first / one.exposure_s if first and one.exposure_s else 1.0) / one.transparency
        noise, edges = measure_image(one.data, one.mask)
        pixels = PixelMap.of(one.registration, shape, one.data.shape)
        return Layer(one.data, one.mask, one.uncertainty, pixels, scale, noise, edges=edges)

    layers = list(in_order(layer, range(len(inputs))))
    noises = np.array([one.scale * one.noise for one in layers])
    known = noises > 0
    # A frame without any noise (made, not taken) is worth as much as the others.
    typical = np.median(noises[known]) if known.any() else 1.0
    noises = np.where(known, noises, typical)
    weights = (noises.min() / noises) ** 2 if params["weighted"] else np.ones(len(layers))
    layers = [
        replace(one, noise=float(noise / one.scale), weight=float(weight))
        for one, noise, weight in zip(layers, noises, weights, strict=True)
    ]
    return _levelled(layers, base, shape, way) if params["match_background"] else layers


def _levelled(layers: Sequence[Layer], base: int, shape: tuple[int, int], way: Way) -> list[Layer]:
    """Layers with how much brighter their background is than the base's: the median difference of what both see."""
    every = max(1, int(np.sqrt(shape[0] * shape[1] / _SAMPLES)))
    reference = _sampled(layers[base], shape, way, every)

    def level(index: int) -> Layer:
        own = _sampled(layers[index], shape, way, every) if index != base else None
        if own is None or reference is None:
            return layers[index]
        difference = (own - reference)[np.isfinite(own) & np.isfinite(reference)]
        offset = float(np.median(difference)) if difference.size else 0.0
        return replace(layers[index], sky=np.array([offset, *[0.0] * (TERMS - 1)]))

    return list(in_order(level, range(len(layers))))


def _sampled(layer: Layer, shape: tuple[int, int], way: Way, every: int) -> np.ndarray | None:
    """A layer's values on every so many-th row and column of the grid, NaN where there is none; None where it has nothing."""
    if layer.overlap((0, shape[0]), (0, shape[1])) is None:
        return None
    band = every * max(1, _SAMPLED_ROWS // every)
    found = []
    for start in range(0, shape[0], band):
        part = layer.block((start, min(start + band, shape[0])), (0, shape[1]), way, every)
        values = part.data * np.float32(layer.scale) - np.float32(layer.sky[0])
        found.append(np.where(part.weight > 0, values, np.float32(np.nan)))
    return np.concatenate(found)


@dataclass(frozen=True)
class _Frames:
    """The frames of some rows, as they stand on the grid; shape (n, rows, columns).

    Where a frame has nothing ``bits`` is NO_DATA and ``values`` nothing to rely on; the ``variance`` of those whose own is not known is
    nothing to rely on either.
    """

    values: np.ndarray
    variance: np.ndarray
    bits: np.ndarray

    @classmethod
    def read(cls, layers: Sequence[Layer], rows: tuple[int, int], width: int, way: Way) -> _Frames:
        size = len(layers), rows[1] - rows[0], width
        values, bits = np.empty(size, np.float32), np.empty(size, np.uint16)
        known = any(one.uncertainty is not None for one in layers)
        variance = np.empty(size if known else (size[0], 1, 1), np.float32)
        cover = np.empty(size[1:], np.float32)
        for index, layer in enumerate(layers):
            if layer.overlap(rows, (0, width)) is None:
                values[index], bits[index] = 0, MaskBit.NO_DATA
                continue
            own = None if layer.uncertainty is None else variance[index]
            layer.block(rows, (0, width), way, into=Resampled(values[index], bits[index], own, cover))
        return cls(values, variance, bits)


@dataclass(frozen=True)
class _Rates:
    """What is done to the values of each frame; shape (n,)."""

    has_variance: np.ndarray
    noise: np.ndarray
    scales: np.ndarray
    skies: np.ndarray
    weights: np.ndarray

    @classmethod
    def of(cls, layers: Sequence[Layer]) -> _Rates:
        return cls(
            np.array([one.uncertainty is not None for one in layers]),
            np.array([one.noise * one.pixels.scale**2 for one in layers], np.float32),
            np.array([one.scale for one in layers], np.float32),
            np.array([one.sky[0] for one in layers], np.float32),
            np.array([one.weight for one in layers], np.float64),
        )


def _combine(
    layers: Sequence[Layer], shape: tuple[int, int], params: Mapping[str, Any], way: Way, memory_bytes: int
) -> Stacked:
    data, spread, weight = (np.zeros(shape, np.float32) for _ in range(3))
    mask, coverage = np.zeros(shape, np.uint16), np.zeros(shape, np.uint16)
    level = _level(layers, shape, way)
    bytes_per_row = len(layers) * shape[1] * _BYTES_PER_VALUE * (1 if way.compiled else _PLAIN_COPIES)
    height = int(np.clip(memory_bytes // ((threads() + 2) * bytes_per_row), _FEWEST_ROWS, _MOST_ROWS))
    rates = _Rates.of(layers)
    compiled = kernels("compose.clipping") if way.compiled is not None else None
    networks = sorting_network(len(layers)), middle_network(len(layers))

    def strip(start: int) -> np.ndarray:
        rows = slice(start, min(start + height, shape[0]))
        frames = _Frames.read(layers, (start, rows.stop), shape[1], way)
        counts = np.zeros(2, np.int64)
        into = data[rows], spread[rows], mask[rows], coverage[rows], weight[rows]
        if compiled is not None:
            planes = (one.reshape(len(layers), -1) for one in (frames.values, frames.variance, frames.bits))
            compiled.combine_pixels(
                *planes, rates.has_variance, rates.noise, rates.scales, rates.skies, rates.weights, *networks, level,
                float(params["low_sigma"]), float(params["high_sigma"]), _SEEING, METHODS.index(params["method"]), int(SECOND_CHOICE),
                int(MaskBit.NO_DATA), int(MaskBit.FEW_INPUTS), *(one.reshape(-1) for one in into), counts,
            )  # fmt: skip
        else:
            _combine_plainly(frames, rates, level, params, *into, counts)
        return counts

    offered, rejected = np.sum(list(in_order(strip, range(0, shape[0], height))), axis=0)
    background, noise = _sky(data[coverage > 0])
    metrics = {
        "rejected_fraction": rejected / offered if offered else 0.0,
        "background": background,
        "noise": noise,
        "noise_of_one": float(np.median([layer.noise * layer.scale for layer in layers])),
        "coverage": float(coverage.mean()) / len(layers),
    }
    notes = ("a stack of one frame: nothing could be rejected",) if len(layers) == 1 else ()
    return Stacked(data, mask, spread, coverage, weight, metrics, notes)


def _combine_plainly(
    frames: _Frames, rates: _Rates, level: float, params: Mapping[str, Any], data: np.ndarray, spread: np.ndarray,
    mask: np.ndarray, coverage: np.ndarray, weight: np.ndarray, counts: np.ndarray,
) -> None:  # fmt: skip
    """What `avcd.compose.clipping.combine_pixels` does."""
    bits, each = frames.bits, np.s_[:, None, None]
    lit = (bits & np.uint16(MaskBit.NO_DATA)) == 0
    values = frames.values * rates.scales[each] - rates.skies[each]
    known = rates.has_variance[each]
    noise = np.where(known, np.sqrt(np.where(known & lit, frames.variance, 0)), rates.noise[each]) * rates.scales[each]
    own = np.where(lit, noise, 0)
    best = lit & ((bits & SECOND_CHOICE) == 0)
    there = np.where(best.any(axis=0), best, lit)
    kept = there & ~_outliers(np.where(there, values, np.nan), own, level, params)
    counts += int(there.sum()), int((there & ~kept).sum())
    data[...], spread[...], weight[...] = _average(values, own, kept, rates.weights, params["method"])
    coverage[...] = kept.sum(axis=0)
    few = (kept.sum(axis=0) * 2 < len(values)) & (len(values) > 2)
    joined = np.bitwise_or.reduce(np.where(kept, bits, 0), axis=0) | np.where(few, int(MaskBit.FEW_INPUTS), 0)
    lost = np.bitwise_or.reduce(bits, axis=0) | int(MaskBit.NO_DATA)
    mask[...] = np.where(kept.any(axis=0), joined, lost)


def _average(
    values: np.ndarray, own: np.ndarray, kept: np.ndarray, weights: np.ndarray, method: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What survives, averaged along the first axis, its uncertainty and weight; 0 where nothing does."""
    share = np.where(kept, weights[:, None, None], 0.0)
    total = share.sum(axis=0)
    safe = np.where(total > 0, total, 1.0)
    spread = np.sqrt((np.where(kept, own, 0.0).astype(np.float64) ** 2 * share**2).sum(axis=0)) / safe
    mean = (np.where(kept, values, 0.0) * share).sum(axis=0) / safe
    if method == "sum":
        return mean * len(values), spread * len(values), total
    if method == "mean":
        return mean, spread, total
    # The median of three or more Gaussian values scatters by this much more than their mean.
    wider = np.where(kept.sum(axis=0) > 2, np.sqrt(np.pi / 2), 1.0)
    return _median(np.where(kept, values, np.nan)), spread * wider, total


def _level(layers: Sequence[Layer], shape: tuple[int, int], way: Way) -> float:
    """The sky's level in the stack, above which light is a star's."""
    every = max(1, int(np.sqrt(shape[0] * shape[1] * len(layers) / _SAMPLES)))
    found = in_order(lambda index: _sampled(layers[index], shape, way, every), range(len(layers)))
    return _sky(np.concatenate([one[np.isfinite(one)] for one in found if one is not None] or [np.zeros(0)]))[0]


def _sky(values: np.ndarray) -> tuple[float, float]:
    """Level and scatter of the sky: median and median absolute deviation of a sample."""
    if not values.size:
        return 0.0, 0.0
    sample = values[:: max(1, values.size // 250_000)]
    level = float(np.median(sample))
    return level, MAD_TO_SIGMA * float(np.median(np.abs(sample - level)))


def _median(values: np.ndarray) -> np.ndarray:
    """The median along the first axis of what is not NaN; 0 where nothing is."""
    ordered = np.sort(values, axis=0)  # NaN last
    count = np.isfinite(ordered).sum(axis=0)
    low = np.take_along_axis(ordered, (np.maximum(count - 1, 0) // 2)[None], 0)[0]
    high = np.take_along_axis(ordered, (np.minimum(count // 2, np.maximum(count - 1, 0)))[None], 0)[0]
    return np.where(count > 0, (low + high) / 2, 0.0)


def _outliers(values: np.ndarray, own: np.ndarray, level: float, params: Mapping[str, Any]) -> np.ndarray:
    """Which values lie too far from the median of their pixel; NaN where there is no value."""
    count = np.isfinite(values).sum(axis=0)
    if values.shape[0] < 2:
        return np.zeros(values.shape, bool)
    centre = _median(values)
    two = count == 2
    if two.any():
        lower = np.where(np.isfinite(values), values, np.inf).min(axis=0)
        centre = np.where(two, lower, centre)
    departure = values - centre
    robust = np.where(count > 3, 1.4826 * _median(np.abs(departure)), 0.0) if values.shape[0] > 3 else 0.0
    scatter = np.maximum(own, robust) + _SEEING * np.abs(centre - level)
    scatter = scatter * np.where(two, np.sqrt(2.0), 1.0)
    with np.errstate(invalid="ignore"):
        far = (departure > float(params["high_sigma"]) * scatter) | (departure < -float(params["low_sigma"]) * scatter)
    return np.asarray(far & (count > 1))


def _passed_through(one: StackInput, stacked: Stacked) -> Stacked:
    """The frame as it is, its unusable pixels too: there is nothing to put in their place."""
    found = np.asarray(one.data[:], dtype=np.float32)
    finite = np.isfinite(found)
    data = np.where(finite, found, 0).astype(np.float32)
    mask = np.zeros(data.shape, np.uint16) if one.mask is None else np.array(one.mask[:], dtype=np.uint16)
    mask[~finite] |= np.uint16(MaskBit.NON_FINITE)
    spread = stacked.uncertainty if one.uncertainty is None else np.array(one.uncertainty[:], dtype=np.float32)
    coverage = (finite & ((mask & UNUSABLE) == 0)).astype(np.uint16)
    weight = coverage.astype(np.float32)
    return Stacked(data, mask, spread, coverage, weight, stacked.metrics, stacked.warnings)
