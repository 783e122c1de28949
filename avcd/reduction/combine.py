"""Combining frames pixel by pixel with rejection, strip by strip, so that memory does not grow with the frames."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from threading import local
from types import ModuleType

import numpy as np

from avcd.compiling import kernels, threads
from avcd.errors import ProcessingError
from avcd.frame import MaskBit
from avcd.reduction.sources import ArraySource, FileSource, FrameSource, read_rows
from avcd.reduction.survivors import (
    MAD_TO_SIGMA,
    PRIOR_FRAMES,
    REJECTIONS,
    Rejection,
    collapse,
    gamma_median,
    median_of_valid,
)
from avcd.sorting import middle_network, sorting_network

__all__ = [
    "MAD_TO_SIGMA",
    "METHODS",
    "ArraySource",
    "Combined",
    "FileSource",
    "FrameSource",
    "combine_frames",
    "median_of_valid",
]

METHODS = ("mean", "median", "sum", "weighted")
# Rows, spread over the frames, on which their typical scatter is measured: the same ones whatever the strips.
_SAMPLE_ROWS = 64
# Strips beyond this only fall out of the processor's cache; lower ones than this cost more in reading than they save.
_STRIP_BYTES = 4 * 2**20
_COMPILED_STRIP_BYTES = 8 * 2**20
_STRIP_ROWS = 8
# Values in all from which compiled loops are worth their loading, a second.
_WORTH_COMPILING = 4_000_000
_RESULT_BYTES = 12  # a pixel: value, uncertainty, mask, count
_PLAIN_COPIES = 8  # of a strip, as float32 or wider, alive at once


@dataclass(frozen=True)
class Combined:
    """The result: values, one standard deviation of them, the mask plane, and how many frames each pixel kept."""

    data: np.ndarray
    uncertainty: np.ndarray | None
    mask: np.ndarray
    count: np.ndarray


@dataclass(frozen=True)
class _Plan:
    """All that decides the result of a strip."""

    sources: Sequence[FrameSource]
    method: str
    how: Rejection
    scale: Sequence[float] | None
    offset: Sequence[float] | None
    weights: np.ndarray | None
    propagate: bool
    typical: float = 0.0

    def fill(self, rows: slice, stack: np.ndarray) -> None:
        """The strip of every frame, scaled and shifted, with NaN for what is masked; shape (n, rows, nx)."""
        for index, (layer, source) in enumerate(zip(stack, self.sources, strict=True)):
            mask = read_rows(source, rows.start, rows.stop, layer)
            if self.scale is not None:
                layer *= np.float32(self.scale[index])
            if self.offset is not None:
                layer += np.float32(self.offset[index])
            if mask is not None:
                layer[mask != 0] = np.nan

    def stack(self, rows: slice) -> np.ndarray:
        """A strip of every frame, with NaN for what does not take part."""
        stack = np.empty((len(self.sources), rows.stop - rows.start, self.sources[0].shape[1]), np.float32)
        self.fill(rows, stack)
        stack[~np.isfinite(stack)] = np.nan
        return stack

    def variances(self, rows: slice) -> np.ndarray | None:
        """The variances of the values of a strip, where they are to make that of the result."""
        if not self.propagate:
            return None
        found = []
        for index, source in enumerate(self.sources):
            own = source.uncertainty_rows(rows.start, rows.stop)  # type: ignore[attr-defined]
            factor = 1.0 if self.scale is None else self.scale[index]
            found.append(np.square(np.asarray(own, np.float64) * factor))
        return np.stack(found)


def combine_frames(
    sources: Sequence[FrameSource],
    *,
    method: str = "mean",
    rejection: str = "mad",
    low_sigma: float = 5.0,
    high_sigma: float = 5.0,
    floor: float = 0.0,
    lowest: int = 1,
    highest: int = 1,
    low_level: float = -np.inf,
    high_level: float = np.inf,
    scale: Sequence[float] | None = None,
    offset: Sequence[float] | None = None,
    weights: Sequence[float] | None = None,
    propagate: bool = False,
    memory_bytes: int = 512 * 2**20,
) -> Combined:
    """Combine frames, rejecting at each pixel what lies too far from the median of its stack.

    With the rejection "mad" a value is rejected below ``median - low_sigma * s`` or above ``median + high_sigma * s``,
    where s is the median absolute deviation times 1.4826, and at least ``floor``: one pass, as ccdproc clips with a
    median and mad_std, so that a single outlier among three frames is rejected (a mean and standard deviation, the
    rejection "std", cannot do that with ten or fewer). Of fewer than three nothing is rejected.

    The uncertainty of a mean comes from the scatter of what survived. Clipping cuts that scatter, and that of few
    values is a poor estimate; so a pixel is never taken to be quieter than its own values and the frames' typical
    scatter (which counts for four frames more) together say. A pixel that is noisier keeps its own.

    Where Numba is installed and the frames are large, compiled loops do the work for the rejections "mad" and "none",
    in several threads; the result is the same to the last bit.

    Parameters
    ----------
    sources
        Frames of one shape; masked or non-finite values do not take part. Order matters only to rounding.
    method
        "mean", "median", "weighted" (a mean) or "sum" of what survives; a sum is scaled to the full number of frames.
    rejection
        "mad", "std", "extrema" (the ``lowest`` and ``highest`` so many valid values, unless none would be left),
        "range" (below ``low_level`` or above ``high_level``) or "none".
    floor
        The least s, in the frames' unit: half of the step of whole-numbered pixels. Where most values are equal, the
        deviation is zero and everything else would go, so that a quiet camera's mean would become its commonest value.
    scale, offset
        One number a frame: its values are multiplied by the one, then the other is added, before anything is rejected.
    weights
        One positive number a frame, for "weighted".
    propagate
        Whether the uncertainty comes from those of the frames' values (`ArraySource.uncertainty`) and not from their
        scatter.
    memory_bytes
        What may be used, the result included; it sets the height of the strips and never the result.

    Returns
    -------
    Combined
        data and uncertainty float32 (uncertainty None for one frame, unless it is propagated), mask uint16 (NO_DATA,
        FEW_INPUTS), count uint16.

    References
    ----------
    Beers, Flynn & Gebhardt 1990, AJ 100, 32 (the median absolute deviation as a measure of scale).

    Raises
    ------
    ProcessingError
        No frames, frames of different shapes, or frames without the uncertainties that are to be propagated.
    ValueError
        Unknown method or rejection; factors, offsets or weights that are not one for each frame.
    """
    how = Rejection(rejection, low_sigma, high_sigma, floor, lowest, highest, low_level, high_level)
    plan = _checked(_Plan(sources, method, how, scale, offset, _weights(method, weights), propagate))
    plan = replace(plan, typical=_typical_variance(plan))
    ny, nx = sources[0].shape
    result = Combined(
        np.empty((ny, nx), np.float32),
        np.empty((ny, nx), np.float32),
        np.empty((ny, nx), np.uint16),
        np.empty((ny, nx), np.uint16),
    )
    compiled = _kernels_for(plan)
    if compiled is None:
        _run_plain(plan, result, memory_bytes)
    else:
        _run_compiled(plan, result, memory_bytes, compiled)
    return result if len(sources) > 1 or propagate else Combined(result.data, None, result.mask, result.count)


def _weights(method: str, weights: Sequence[float] | None) -> np.ndarray | None:
    if method != "weighted":
        return None
    if weights is None or not all(one > 0 and np.isfinite(one) for one in weights):
        raise ValueError("a weighted mean needs a positive weight for each frame")
    return np.asarray(weights, np.float64)


def _checked(plan: _Plan) -> _Plan:
    """The plan, if it can be carried out."""
    if plan.method not in METHODS:
        raise ValueError(f"{plan.method!r} is none of {METHODS}")
    if plan.how.by not in REJECTIONS:
        raise ValueError(f"{plan.how.by!r} is none of {tuple(REJECTIONS)}")
    if not plan.sources:
        raise ProcessingError("nothing to combine")
    shapes = {one.shape for one in plan.sources}
    if len(shapes) > 1:
        raise ProcessingError(f"frames of different sizes cannot be combined: {sorted(shapes)}")
    for name in ("scale", "offset", "weights"):
        given = getattr(plan, name)
        if given is not None and len(given) != len(plan.sources):
            raise ValueError(f"{len(given)} numbers as {name} of {len(plan.sources)} frames")
    if plan.propagate and any(getattr(one, "uncertainty", None) is None for one in plan.sources):
        raise ProcessingError("uncertainties cannot be propagated: not every frame has them")
    return plan


def _typical_variance(plan: _Plan) -> float:
    """What one frame's values scatter by, squared: the middle of the sample variances of many pixels."""
    number = len(plan.sources)
    if number < 2:
        return 0.0
    ny = plan.sources[0].shape[0]
    starts = sorted({round(start) for start in np.linspace(0, ny - 1, min(ny, _SAMPLE_ROWS))})

    def variances_at(start: int) -> np.ndarray:
        stack = plan.stack(slice(start, start + 1))
        complete = ~np.isnan(stack).any(axis=0)
        return np.asarray(np.var(stack[:, complete], axis=0, ddof=1, dtype=np.float64))

    variances = np.concatenate([variances_at(start) for start in starts])
    if not variances.size:
        return 0.0
    # The median of the variances is not moved by outliers; for normal values it is this part of the true variance.
    return float(np.median(variances) * (number - 1) / (2 * gamma_median(number)))


def _mask_of(count: np.ndarray, number: int) -> np.ndarray:
    mask = np.where(count == 0, np.uint16(MaskBit.NO_DATA), np.uint16(0))
    if number > 2:
        mask[(count > 0) & (count * 2 < number)] |= np.uint16(MaskBit.FEW_INPUTS)
    return mask


def _strips(plan: _Plan, memory_bytes: int, row_bytes: int, strip_bytes: int, fewest: int) -> Iterable[slice]:
    """Strips that keep to the memory; ``row_bytes`` is what one row of a strip takes, in all that work at once."""
    ny, nx = plan.sources[0].shape
    left = max(memory_bytes - ny * nx * _RESULT_BYTES, memory_bytes // 4)
    cached = max(fewest, strip_bytes // (len(plan.sources) * nx * 4))
    height = max(1, min(ny, left // row_bytes, cached))
    return (slice(start, min(start + height, ny)) for start in range(0, ny, height))


def _run_plain(plan: _Plan, result: Combined, memory_bytes: int) -> None:
    """Strip after strip by NumPy."""
    number, nx = len(plan.sources), plan.sources[0].shape[1]
    assert result.uncertainty is not None
    for rows in _strips(plan, memory_bytes, number * nx * 4 * _PLAIN_COPIES, _STRIP_BYTES, 1):
        stack = plan.stack(rows)
        REJECTIONS[plan.how.by](stack, plan.how)
        result.data[rows], variance, result.count[rows] = collapse(
            stack, plan.method, plan.typical, plan.weights, plan.variances(rows)
        )
        result.uncertainty[rows] = np.sqrt(variance)
        result.mask[rows] = _mask_of(result.count[rows], number)


def _kernels_for(plan: _Plan) -> ModuleType | None:
    """The compiled loops, where there are any for this and they are worth it."""
    ny, nx = plan.sources[0].shape
    known = plan.how.by in ("mad", "none") and plan.method != "weighted" and not plan.propagate
    return kernels("reduction.kernels") if known and len(plan.sources) * ny * nx >= _WORTH_COMPILING else None


def _run_compiled(plan: _Plan, result: Combined, memory_bytes: int, compiled: ModuleType) -> None:
    """Strips by compiled loops in a few threads; each pixel is one thread's alone."""
    number, nx = len(plan.sources), plan.sources[0].shape[1]
    workers = threads()
    # Beside the stack of a strip: one frame's rows as they are read, and what correcting them takes.
    strips = list(_strips(plan, memory_bytes, workers * nx * 4 * (number + 4), _COMPILED_STRIP_BYTES, _STRIP_ROWS))
    height = strips[0].stop
    networks = sorting_network(number), middle_network(number)
    clip = plan.how.by == "mad" and number > 2
    limits = plan.how.low_sigma, plan.how.high_sigma, plan.how.floor
    scratch = local()

    def combine(rows: slice) -> None:
        if not hasattr(scratch, "stack"):
            scratch.stack = np.empty(number * height * nx, np.float32)
        size = rows.stop - rows.start
        stack = scratch.stack[: number * size * nx].reshape(number, size, nx)
        plan.fill(rows, stack)
        assert result.uncertainty is not None
        into = (one[rows].reshape(-1) for one in (result.data, result.uncertainty, result.count, result.mask))
        compiled.combine_strip(
            stack.reshape(number, -1), *networks, clip, *limits, plan.typical, PRIOR_FRAMES, METHODS.index(plan.method),
            *into, int(MaskBit.NO_DATA), int(MaskBit.FEW_INPUTS),
        )  # fmt: skip

    _each(combine, strips, workers)


def _each(work: Callable[[slice], None], strips: Sequence[slice], workers: int) -> None:
    """Do all the strips, in as many threads; the first error is raised."""
    if workers == 1 or len(strips) == 1:
        for one in strips:
            work(one)
        return
    with ThreadPoolExecutor(min(workers, len(strips))) as pool:
        for _ in pool.map(work, strips):
            pass
