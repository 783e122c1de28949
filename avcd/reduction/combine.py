"""Combining frames pixel by pixel with rejection, strip by strip, so that memory does not grow with the frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.stats import chi2

from avcd.errors import ProcessingError
from avcd.frame import MaskBit

METHODS = ("mean", "median", "sum")
# From the median absolute deviation of a normal distribution to its standard deviation.
MAD_TO_SIGMA = 1.482602218505602
# Rows, spread over the frames, on which their typical scatter is measured: the same ones whatever the strips.
_SAMPLE_ROWS = 64
# How many further frames the typical scatter counts for, beside a pixel's own few values.
_PRIOR_FRAMES = 4
# Strips beyond this only fall out of the processor's cache.
_STRIP_BYTES = 4 * 2**20


class FrameSource(Protocol):
    """A frame whose rows can be read a few at a time."""

    @property
    def shape(self) -> tuple[int, int]:
        """(ny, nx)."""
        ...

    def rows(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Rows start to stop: values float32, and a mask plane or None."""
        ...


@dataclass(frozen=True)
class ArraySource:
    """A frame in an array, in memory or memory-mapped."""

    array: np.ndarray
    mask: np.ndarray | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(ny, nx)."""
        return self.array.shape[0], self.array.shape[1]

    def rows(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Rows start to stop."""
        mask = None if self.mask is None else self.mask[start:stop]
        return np.asarray(self.array[start:stop], dtype=np.float32), mask


@dataclass(frozen=True)
class Combined:
    """The result: values, one standard deviation of them, the mask plane, and how many frames each pixel kept."""

    data: np.ndarray
    uncertainty: np.ndarray | None
    mask: np.ndarray
    count: np.ndarray


def combine_frames(
    sources: Sequence[FrameSource],
    *,
    method: str = "mean",
    low_sigma: float = 5.0,
    high_sigma: float = 5.0,
    floor: float = 0.0,
    memory_bytes: int = 512 * 2**20,
) -> Combined:
    """Combine frames, rejecting at each pixel what lies too far from the median of its stack.

    A value is rejected below ``median - low_sigma * s`` or above ``median + high_sigma * s``, where s is the median
    absolute deviation times 1.4826, and at least ``floor``: one pass, as ccdproc clips with a median and mad_std, so
    that a single outlier among three frames is rejected (a mean and standard deviation cannot do that with ten or
    fewer). Of fewer than three nothing is rejected.

    The uncertainty of a mean comes from the scatter of what survived. Clipping cuts that scatter, and that of few
    values is a poor estimate; so a pixel is never taken to be quieter than its own values and the frames' typical
    scatter (which counts for four frames more) together say. A pixel that is noisier keeps its own.

    Parameters
    ----------
    sources
        Frames of one shape; masked or non-finite values do not take part. Order matters only to rounding.
    method
        "mean", "median" or "sum" of what survives; a sum is scaled to the full number of frames.
    floor
        The least s, in the frames' unit: half of the step of whole-numbered pixels. Where most values are equal, the
        deviation is zero and everything else would go, so that a quiet camera's mean would become its commonest value.
    memory_bytes
        Roughly what may be used; it sets the height of the strips and never the result.

    Returns
    -------
    Combined
        data and uncertainty float32 (uncertainty None for one frame), mask uint16 (NO_DATA, FEW_INPUTS), count uint16.

    References
    ----------
    Beers, Flynn & Gebhardt 1990, AJ 100, 32 (the median absolute deviation as a measure of scale).

    Raises
    ------
    ProcessingError
        No frames, or frames of different shapes.
    ValueError
        Unknown method.
    """
    if method not in METHODS:
        raise ValueError(f"{method!r} is none of {METHODS}")
    if not sources:
        raise ProcessingError("nothing to combine")
    shapes = {one.shape for one in sources}
    if len(shapes) > 1:
        raise ProcessingError(f"frames of different sizes cannot be combined: {sorted(shapes)}")
    ny, nx = sources[0].shape
    data = np.empty((ny, nx), np.float32)
    uncertainty = np.empty((ny, nx), np.float32)
    count = np.empty((ny, nx), np.uint16)
    typical = _typical_variance(sources)
    # About eight copies of a strip are alive at once, as float32 or wider.
    height = max(1, min(ny, memory_bytes // (len(sources) * nx * 4 * 8), _STRIP_BYTES // (len(sources) * nx * 4)))
    for start in range(0, ny, height):
        rows = slice(start, min(start + height, ny))
        stack = _stack(sources, rows)
        _reject(stack, low_sigma, high_sigma, floor)
        data[rows], variance, count[rows] = _collapse(stack, method, typical)
        uncertainty[rows] = np.sqrt(variance)
    mask = np.where(count == 0, np.uint16(MaskBit.NO_DATA), np.uint16(0))
    if len(sources) > 2:
        mask[(count > 0) & (count * 2 < len(sources))] |= np.uint16(MaskBit.FEW_INPUTS)
    return Combined(data, None if len(sources) == 1 else uncertainty, mask, count)


def _stack(sources: Sequence[FrameSource], rows: slice) -> np.ndarray:
    """The strip of every frame, with NaN for what does not take part; shape (n, rows, nx)."""
    stack = np.empty((len(sources), rows.stop - rows.start, sources[0].shape[1]), np.float32)
    for layer, source in zip(stack, sources, strict=True):
        values, mask = source.rows(rows.start, rows.stop)
        layer[...] = values
        if mask is not None:
            layer[mask != 0] = np.nan
    stack[~np.isfinite(stack)] = np.nan
    return stack


def median_of_valid(stack: np.ndarray) -> np.ndarray:
    """The median along the first axis of what is not NaN; NaN where nothing is.

    Many times faster than np.nanmedian for stacks of few frames: NaN sort to the end, so that the middle is known
    from the count.
    """
    ordered = np.sort(stack, axis=0)
    valid = np.count_nonzero(~np.isnan(ordered), axis=0)
    last = np.maximum(valid - 1, 0)
    low = np.take_along_axis(ordered, (last // 2)[None], axis=0)[0]
    high = np.take_along_axis(ordered, (np.maximum(valid, 1) // 2)[None], axis=0)[0]
    high = np.where(valid % 2 == 1, low, high)
    return np.asarray((low + high) * np.float32(0.5))


def _typical_variance(sources: Sequence[FrameSource]) -> float:
    """What one frame's values scatter by, squared: the middle of the sample variances of many pixels."""
    number = len(sources)
    if number < 2:
        return 0.0
    ny = sources[0].shape[0]
    starts = sorted({round(start) for start in np.linspace(0, ny - 1, min(ny, _SAMPLE_ROWS))})
    found = []
    for start in starts:
        stack = _stack(sources, slice(start, start + 1))
        complete = ~np.isnan(stack).any(axis=0)
        found.append(np.var(stack[:, complete], axis=0, ddof=1, dtype=np.float64))
    variances = np.concatenate(found)
    if not variances.size:
        return 0.0
    # The median of the variances is not moved by outliers; for normal values it is this part of the true variance.
    return float(np.median(variances) * (number - 1) / chi2.ppf(0.5, number - 1))


def _reject(stack: np.ndarray, low_sigma: float, high_sigma: float, floor: float) -> None:
    """Set rejected values to NaN, in place."""
    if stack.shape[0] < 3:  # of two values none is the outlier
        return
    departure = stack - median_of_valid(stack)
    deviation = median_of_valid(np.abs(departure)) * np.float32(MAD_TO_SIGMA)
    np.maximum(deviation, np.float32(floor), out=deviation)
    with np.errstate(invalid="ignore"):
        stack[(departure < -low_sigma * deviation) | (departure > high_sigma * deviation)] = np.nan


def _collapse(stack: np.ndarray, method: str, typical: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Value, its variance and the count of each pixel."""
    kept = ~np.isnan(stack)
    count = np.count_nonzero(kept, axis=0)
    divisor = np.maximum(count, 1)
    mean = np.add.reduce(stack, axis=0, dtype=np.float64, where=kept) / divisor
    departure = stack - mean.astype(np.float32)
    own = np.add.reduce(np.square(departure, out=departure), axis=0, dtype=np.float64, where=kept)
    own /= np.maximum(count - 1, 1)
    pooled = (own * (divisor - 1) + typical * _PRIOR_FRAMES) / (divisor - 1 + _PRIOR_FRAMES)
    variance = np.maximum(own, pooled) / divisor
    result = mean
    if method == "median":
        result = median_of_valid(stack).astype(np.float64)
        if stack.shape[0] > 2:
            variance *= np.pi / 2  # the median of normal values scatters more than their mean
    elif method == "sum":
        result, variance = mean * stack.shape[0], variance * stack.shape[0] ** 2
    empty = count == 0
    return np.where(empty, 0.0, result), np.where(empty, 0.0, variance), count
