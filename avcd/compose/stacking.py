"""Stacking registered frames of one filter: one exposure scale, one background, outliers rejected, masks obeyed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from avcd.compose.mapping import PixelMap, Registration
from avcd.compose.resampling import SECOND_CHOICE, UNUSABLE, Resampled, resample_rows
from avcd.errors import ProcessingError
from avcd.frame import MaskBit

_STRIP = 64  # rows combined at once: memory is that of the frames handed in and of these rows
_SAMPLED_ROWS = 96  # enough to tell a background to a hundredth of its noise
# Stars' cores differ by more than noise from frame to frame, as seeing and the grid move light about.
_SEEING = 0.15
_MAD = 1.4826


@dataclass(frozen=True)
class StackInput:
    """One frame of a stack: ``data``, ``mask``, ``uncertainty`` (ny, nx), where it lies, and its exposure.

    ``exposure_s`` None: taken as the reference's. Arrays may be mapped from files: they are read by rows.
    """

    data: np.ndarray
    mask: np.ndarray | None
    uncertainty: np.ndarray | None
    exposure_s: float | None
    registration: Registration


@dataclass(frozen=True)
class Stacked:
    """A stack: values as of one exposure, their uncertainty, mask plane, and how many frames each pixel is made of."""

    data: np.ndarray
    mask: np.ndarray
    uncertainty: np.ndarray | None
    coverage: np.ndarray
    metrics: Mapping[str, float]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class _Layer:
    """A frame ready to be read on the stack's grid, and what is done to its values."""

    source: StackInput
    pixels: PixelMap
    scale: float
    noise: float  # of the frame's own pixels, scaled
    offset: float = 0.0
    weight: float = 1.0

    def rows(self, start: int, stop: int, interpolation: str) -> Resampled:
        one = self.source
        found = resample_rows(one.data, one.mask, one.uncertainty, self.pixels, start, stop, interpolation)
        scale = np.float32(self.scale)
        spread = None if found.uncertainty is None else found.uncertainty * scale
        return Resampled(found.data * scale - np.float32(self.offset), found.mask, spread, found.weight)


def stack_images(inputs: Sequence[StackInput], shape: tuple[int, int], params: Mapping[str, Any]) -> Stacked:
    """Combine registered frames.

    Every frame is scaled to the reference's exposure and, by the median difference where they overlap, brought to its
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
        Of the recipe: ``method`` ("mean" or "median" of what survives), ``low_sigma``, ``high_sigma``,
        ``interpolation``, ``match_background``, ``weighted``.

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
    if params["method"] not in ("mean", "median"):
        raise ProcessingError(f"method is {params['method']!r}, neither mean nor median")
    base = next((index for index, one in enumerate(inputs) if one.registration.method == "identity"), 0)
    layers = _layers(inputs, base, shape, params)
    stacked = _combine(layers, shape, params)
    if len(inputs) == 1 and layers[0].pixels.is_identity and inputs[0].data.shape == shape:
        stacked = _passed_through(inputs[0], stacked)
    return stacked


def _layers(inputs: Sequence[StackInput], base: int, shape: tuple[int, int], params: Mapping[str, Any]) -> list[_Layer]:
    first = inputs[base].exposure_s
    layers = []
    for one in inputs:
        scale = first / one.exposure_s if first and one.exposure_s else 1.0
        layers.append(_Layer(one, PixelMap(one.registration, shape), scale, scale * _noise(one)))
    noises = np.array([layer.noise for layer in layers])
    known = noises > 0
    # A frame without any noise (made, not taken) is worth as much as the others.
    noises = np.where(known, noises, np.median(noises[known]) if known.any() else 1.0)
    weights = (noises.min() / noises) ** 2 if params["weighted"] else np.ones(len(layers))
    offsets = _offsets(layers, base, shape, params) if params["match_background"] else [0.0] * len(layers)
    return [
        _Layer(layer.source, layer.pixels, layer.scale, float(noise), offset, float(weight))
        for layer, noise, offset, weight in zip(layers, noises, offsets, weights, strict=True)
    ]


def _noise(one: StackInput) -> float:
    """The noise of a frame's own pixels, from neighbours' differences: nebulae and gradients do not count.

    Measured before resampling, which smooths every frame by another amount.
    """
    sample = slice(0, None, max(1, one.data.shape[0] // (4 * _SAMPLED_ROWS)))
    data = np.asarray(one.data[sample], dtype=np.float32)
    good = np.isfinite(data)
    if one.mask is not None:
        good &= one.mask[sample] == 0
    # Not the next pixel but the one after: cameras and Bayer cells correlate neighbours.
    difference = (data[:, 2:] - data[:, :-2])[good[:, 2:] & good[:, :-2]]
    return float(_MAD * np.median(np.abs(difference)) / np.sqrt(2)) if difference.size else 0.0


def _offsets(layers: Sequence[_Layer], base: int, shape: tuple[int, int], params: Mapping[str, Any]) -> list[float]:
    """How much brighter each layer's background is than the base's: the median difference of what both see."""

    def sampled(layer: _Layer) -> np.ndarray:
        rows = range(0, shape[0], max(1, shape[0] // _SAMPLED_ROWS))
        found = [layer.rows(row, row + 1, params["interpolation"]) for row in rows]
        return np.concatenate([np.where(one.weight > 0, one.data, np.nan).ravel() for one in found])

    reference = sampled(layers[base])
    offsets = []
    for index, layer in enumerate(layers):
        difference = np.zeros(1) if index == base else sampled(layer) - reference
        difference = difference[np.isfinite(difference)]
        offsets.append(float(np.median(difference)) if difference.size else 0.0)
    return offsets


def _combine(layers: Sequence[_Layer], shape: tuple[int, int], params: Mapping[str, Any]) -> Stacked:
    data, spread = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    mask, coverage = np.zeros(shape, np.uint16), np.zeros(shape, np.uint16)
    rejected = offered = 0
    level = _level(layers, shape, params)
    for start in range(0, shape[0], _STRIP):
        rows = slice(start, min(start + _STRIP, shape[0]))
        found = [layer.rows(rows.start, rows.stop, params["interpolation"]) for layer in layers]
        values = np.stack([one.data for one in found])
        own = np.stack(
            [
                np.full_like(one.data, layer.noise) if one.uncertainty is None else one.uncertainty
                for layer, one in zip(layers, found, strict=True)
            ]
        )
        bits = np.stack([one.mask for one in found])
        seen = np.stack([one.weight > 0 for one in found])
        best = seen & ((bits & SECOND_CHOICE) == 0)
        there = np.where(best.any(axis=0), best, seen)
        kept = there & ~_outliers(np.where(there, values, np.nan), own, level, params)
        offered += int(there.sum())
        rejected += int((there & ~kept).sum())
        data[rows], spread[rows] = _average(values, own, kept, layers, params["method"])
        coverage[rows] = kept.sum(axis=0)
        mask[rows] = np.bitwise_or.reduce(np.where(kept, bits, 0), axis=0)
        mask[rows] |= np.where(kept.any(axis=0), 0, np.bitwise_or.reduce(bits, axis=0)).astype(np.uint16)
    mask[coverage == 0] |= np.uint16(MaskBit.NO_DATA)
    if len(layers) > 2:
        mask[(coverage > 0) & (coverage * 2 < len(layers))] |= np.uint16(MaskBit.FEW_INPUTS)
    background, noise = _sky(data[coverage > 0])
    metrics = {
        "rejected_fraction": rejected / offered if offered else 0.0,
        "background": background,
        "noise": noise,
        "noise_of_one": float(np.median([layer.noise for layer in layers])),
        "coverage": float(coverage.mean()) / len(layers),
    }
    notes = ("a stack of one frame: nothing could be rejected",) if len(layers) == 1 else ()
    return Stacked(data, mask, spread, coverage, metrics, notes)


def _average(
    values: np.ndarray, own: np.ndarray, kept: np.ndarray, layers: Sequence[_Layer], method: str
) -> tuple[np.ndarray, np.ndarray]:
    """What survives, averaged along the first axis, and its uncertainty; 0 where nothing does."""
    weights = np.array([layer.weight if method == "mean" else 1.0 for layer in layers], np.float64)
    share = np.where(kept, weights[:, None, None], 0.0)
    total = share.sum(axis=0)
    safe = np.where(total > 0, total, 1.0)
    spread = np.sqrt((np.where(kept, own, 0.0).astype(np.float64) ** 2 * share**2).sum(axis=0)) / safe
    if method == "mean":
        return (np.where(kept, values, 0.0) * share).sum(axis=0) / safe, spread
    # The median of three or more Gaussian values scatters by this much more than their mean.
    return _median(np.where(kept, values, np.nan)), spread * np.where(kept.sum(axis=0) > 2, np.sqrt(np.pi / 2), 1.0)


def _level(layers: Sequence[_Layer], shape: tuple[int, int], params: Mapping[str, Any]) -> float:
    """The sky's level in the stack, above which light is a star's."""
    rows = range(0, shape[0], max(1, shape[0] // 16))
    found = [layer.rows(row, row + 1, params["interpolation"]) for layer in layers for row in rows]
    return _sky(np.concatenate([one.data[one.weight > 0] for one in found]))[0]


def _sky(values: np.ndarray) -> tuple[float, float]:
    """Level and scatter of the sky: median and median absolute deviation of a sample."""
    if not values.size:
        return 0.0, 0.0
    sample = values[:: max(1, values.size // 250_000)]
    level = float(np.median(sample))
    return level, _MAD * float(np.median(np.abs(sample - level)))


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
    robust = np.where(count > 3, _MAD * _median(np.abs(departure)), 0.0) if values.shape[0] > 3 else 0.0
    scatter = np.maximum(own, robust) + _SEEING * np.abs(centre - level)
    scatter = scatter * np.where(two, np.sqrt(2.0), 1.0)
    with np.errstate(invalid="ignore"):
        return (departure > float(params["high_sigma"]) * scatter) | (departure < -float(params["low_sigma"]) * scatter)


def _passed_through(one: StackInput, stacked: Stacked) -> Stacked:
    """The frame as it is, its unusable pixels too: there is nothing to put in their place."""
    finite = np.isfinite(one.data)
    data = np.where(finite, one.data, 0).astype(np.float32)
    mask = np.zeros(data.shape, np.uint16) if one.mask is None else np.array(one.mask, dtype=np.uint16)
    mask[~finite] |= np.uint16(MaskBit.NON_FINITE)
    spread = stacked.uncertainty if one.uncertainty is None else np.array(one.uncertainty, dtype=np.float32)
    coverage = (finite & ((mask & UNUSABLE) == 0)).astype(np.uint16)
    return Stacked(data, mask, spread, coverage, stacked.metrics, stacked.warnings)
