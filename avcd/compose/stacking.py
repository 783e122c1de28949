"""Stacking registered frames of one filter: one exposure scale, one background, outliers rejected, masks obeyed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from avcd.compose.registration import Registration
from avcd.compose.resampling import resample
from avcd.errors import ProcessingError
from avcd.frame import MaskBit

_STRIP = 64  # rows combined at once


@dataclass(frozen=True)
class StackInput:
    """One frame of a stack. ``exposure_s`` None: taken as the reference's."""

    data: np.ndarray
    mask: np.ndarray | None
    uncertainty: np.ndarray | None
    exposure_s: float | None
    registration: Registration


@dataclass(frozen=True)
class Stacked:
    """A stack: the mean of a single exposure's values, its uncertainty, mask plane, and frames per pixel."""

    data: np.ndarray
    mask: np.ndarray
    uncertainty: np.ndarray | None
    coverage: np.ndarray
    metrics: Mapping[str, float]
    warnings: tuple[str, ...]


def stack_images(inputs: Sequence[StackInput], shape: tuple[int, int], params: Mapping[str, Any]) -> Stacked:
    """Combine registered frames.

    Every frame is scaled to the first one's exposure and brought to its background; at each pixel values outside
    ``low_sigma`` and ``high_sigma`` of the median are rejected, the scatter being the larger of the robust scatter of
    the values and their own uncertainties (two or three values cannot tell their scatter); what is left is averaged,
    with the inverse of each frame's sky variance for weights.

    Parameters
    ----------
    inputs
        In any order of which the first gives exposure and background.
    shape
        Of the result, (ny, nx).
    params
        Of the recipe: method, low_sigma, high_sigma, match_background, weighted.

    Returns
    -------
    Stacked

    Raises
    ------
    ProcessingError
        No frame is given.
    """
    if not inputs:
        raise ProcessingError("no frame of this stack could be registered")
    scales = _exposure_scales(inputs)
    layers, noises, levels = [], [], []
    for one, scale in zip(inputs, scales, strict=True):
        moved = resample(one.data, one.mask, one.uncertainty, one.registration, shape)
        good = moved.weight > 0
        values = np.where(good, moved.data * scale, np.nan).astype(np.float32)
        level, noise = _sky(values)
        levels.append(level)
        noises.append(noise)
        spread = None if moved.uncertainty is None else moved.uncertainty * np.float32(scale)
        layers.append((values, spread, moved.mask))
    if params["match_background"]:
        layers = [
            (values - np.float32(level - levels[0]), spread, mask)
            for (values, spread, mask), level in zip(layers, levels, strict=True)
        ]
    weights = np.array([1.0 / noise**2 if noise > 0 else 0.0 for noise in noises])
    if not params["weighted"] or not weights.any():
        weights = np.ones(len(inputs))
    return _combine(layers, weights / weights.max(), shape, params, noises, levels)


def _exposure_scales(inputs: Sequence[StackInput]) -> list[float]:
    first = inputs[0].exposure_s
    return [first / one.exposure_s if first and one.exposure_s else 1.0 for one in inputs]


def _sky(values: np.ndarray) -> tuple[float, float]:
    """Level and scatter of the sky: median and median absolute deviation of a sample."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0, 0.0
    sample = finite[:: max(1, finite.size // 250_000)]
    level = float(np.median(sample))
    return level, 1.4826 * float(np.median(np.abs(sample - level)))


def _combine(
    layers: Sequence[tuple[np.ndarray, np.ndarray | None, np.ndarray]],
    weights: np.ndarray,
    shape: tuple[int, int],
    params: Mapping[str, Any],
    noises: Sequence[float],
    levels: Sequence[float],
) -> Stacked:
    data, spread = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    coverage = np.zeros(shape, np.uint16)
    rejected = offered = 0
    for start in range(0, shape[0], _STRIP):
        rows = slice(start, min(start + _STRIP, shape[0]))
        values = np.stack([layer[0][rows] for layer in layers])
        own = np.stack(
            [
                layer[1][rows] if layer[1] is not None else np.full_like(layer[0][rows], noise)
                for layer, noise in zip(layers, noises, strict=True)
            ]
        )
        there = np.isfinite(values)
        kept = there & ~_outliers(values, own, float(params["low_sigma"]), float(params["high_sigma"]))
        offered += int(there.sum())
        rejected += int((there & ~kept).sum())
        share = np.where(kept, weights[:, None, None], 0.0)
        total = share.sum(axis=0)
        safe = np.where(total > 0, total, 1.0)
        mean = (np.where(kept, values, 0.0) * share).sum(axis=0) / safe
        if params["method"] == "median":
            mean = _median(np.where(kept, values, np.nan))
        data[rows] = np.where(total > 0, mean, 0.0)
        spread[rows] = np.sqrt((np.where(kept, own.astype(np.float64) ** 2, 0.0) * share**2).sum(axis=0)) / safe
        coverage[rows] = kept.sum(axis=0)
    mask = np.bitwise_or.reduce([layer[2] & ~np.uint16(MaskBit.NO_DATA) for layer in layers])
    mask[coverage > 0] = 0
    mask[coverage == 0] |= np.uint16(MaskBit.NO_DATA)
    if len(layers) > 2:
        mask[(coverage > 0) & (coverage * 2 < len(layers))] |= np.uint16(MaskBit.FEW_INPUTS)
    metrics = {
        "rejected_fraction": rejected / offered if offered else 0.0,
        "background": levels[0],
        "noise": _sky(np.where(coverage > 0, data, np.nan))[1],
        "noise_of_one": float(np.median(noises)),
        "coverage": float(coverage.mean()) / len(layers),
    }
    notes = ("a stack of one frame: nothing could be rejected",) if len(layers) == 1 else ()
    return Stacked(data, mask, spread, coverage, metrics, notes)


def _median(values: np.ndarray) -> np.ndarray:
    """The median along the first axis of what is finite; 0 where nothing is."""
    ordered = np.sort(values, axis=0)
    count = np.isfinite(ordered).sum(axis=0)
    low = np.take_along_axis(ordered, (np.maximum(count - 1, 0) // 2)[None], 0)[0]
    high = np.take_along_axis(ordered, (np.minimum(count // 2, np.maximum(count - 1, 0)))[None], 0)[0]
    return np.where(count > 0, (low + high) / 2, 0.0)


def _outliers(values: np.ndarray, own: np.ndarray, low_sigma: float, high_sigma: float) -> np.ndarray:
    """Which values lie too far from the median of their pixel."""
    if values.shape[0] < 2:
        return np.zeros(values.shape, bool)
    centre = _median(values)
    if values.shape[0] == 2:
        # Of two values that disagree, the brighter is the cosmic ray or the satellite: light only ever adds.
        centre = np.nanmin(np.where(np.isfinite(values), values, np.inf), axis=0)
        centre = np.where(np.isfinite(centre), centre, 0.0)
    departure = values - centre
    robust = 1.4826 * _median(np.abs(departure)) if values.shape[0] > 3 else np.zeros_like(centre)
    # Stars' cores differ by more than noise from frame to frame: seeing moves light about.
    seeing = 0.15 * np.abs(centre - np.median(centre))
    scatter = np.maximum(np.maximum(own, robust), 0) + seeing
    widen = np.sqrt(2.0) if values.shape[0] == 2 else 1.0
    with np.errstate(invalid="ignore"):
        return (departure > high_sigma * widen * scatter) | (departure < -low_sigma * widen * scatter)
