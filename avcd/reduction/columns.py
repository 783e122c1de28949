"""Bad columns and rows of a detector: what stands out as a line though no pixel of it does by itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from avcd.reduction.noise import mad_sigma

_NEIGHBOURS = 51  # columns whose running median says what a column should be: half of them may be bad
_MEDIAN_SCATTER = 1.2533  # of a median of normal values, beside that of their mean
_LEAST = 1e-12
_ENOUGH = 200_000
_MOST_SEGMENTS = 8  # of one column
_PASSES = 4  # of finding the ends of a segment from its level, and its level from its ends
_CAP_SIGMA = 3.0  # what one pixel may say about where a segment ends: a hot pixel shall not say more


@dataclass(frozen=True)
class Segment:
    """A part of a column that is bad: rows ``start`` to ``stop`` (excluded), 0-based; too bright, or too dark."""

    column: int
    start: int
    stop: int
    bright: bool


def find_bad_lines(data: np.ndarray, axis: int, limit: float) -> tuple[np.ndarray, np.ndarray]:
    """Whole columns (axis 0) or rows (axis 1) that lie above and below those around them.

    The median of each is compared with the running median of 51 around it, in units of the scatter of all: a broad
    glow is no defect, and up to two dozen bad columns side by side do not hide one another. What was found is left
    out of a second running median, which else it would pull, so that good columns beside a wide run stay good.

    Parameters
    ----------
    data : shape (ny, nx), finite
    limit
        In standard deviations of a column's median.

    Returns
    -------
    above, below : ndarray of bool
        One for each column (row).
    """
    medians = np.median(data, axis=axis)
    # The scatter of medians of pure noise, below which a quiet detector's would make everything stand out.
    floor = _MEDIAN_SCATTER * mad_sigma(_thinned(data)) / np.sqrt(data.shape[axis])
    bad = np.zeros(medians.size, bool)
    for _ in range(2):
        departure = medians - _smooth(medians, bad)
        sigma = max(mad_sigma(departure[~bad]), floor, _LEAST)
        above, below = departure > limit * sigma, departure < -limit * sigma
        bad = above | below
        if not bad.any() or bad.all():
            break
    return above, below


def find_partial_columns(data: np.ndarray, limit: float, shortest_px: int) -> tuple[list[Segment], float]:
    """Parts of columns that lie above or below what is beside them, as traps and broken gates make them.

    Medians of short blocks of each column are compared with the running median of the blocks of 51 columns around
    it, and their means over ever longer windows with the scatter of all such means. The ends of what stands out
    are where the sum of the pixels' departures, less half the segment's level, is largest: the most likely ones for
    a step in normal noise. As with whole columns, there is a second look without what the first one found.

    Parameters
    ----------
    data : shape (ny, nx), finite
    limit
        In standard deviations of the window's mean.
    shortest_px
        Of a segment.

    Returns
    -------
    segments, sigma
        Also of columns that are bad as a whole; and the scatter of a pixel, in the data's unit.
    """
    height = max(1, shortest_px // 2)
    edges = [*range(0, max(data.shape[0] - height + 1, 1), height), data.shape[0]]
    if len(edges) > 2 and edges[-1] - edges[-2] < height:
        del edges[-2]
    heights = np.diff(edges)
    blocks = np.array([np.median(data[start:stop], axis=0) for start, stop in pairwise(edges)])
    bad = np.zeros(blocks.shape, bool)
    found: list[Segment] = []
    for _ in range(2):
        around = np.array([_smooth(row, out) for row, out in zip(blocks, bad, strict=True)])
        departure = blocks - around
        sigma = mad_sigma(_thinned(data - np.repeat(around, heights, axis=0)))
        windows = _windows(departure, _MEDIAN_SCATTER * sigma / np.sqrt(height))
        columns = np.zeros(data.shape[1], bool)
        for length, scatter in windows:
            columns |= np.any(np.abs(_means(departure, length)) > limit * scatter, axis=0)
        found = []
        for column in np.flatnonzero(columns):
            pixels = data[:, column] - np.repeat(around[:, column], heights)
            found += _segments(int(column), pixels, departure[:, column].copy(), edges, windows, limit, sigma)
        for one in found:
            bad[np.searchsorted(edges, one.start, "right") - 1 : np.searchsorted(edges, one.stop), one.column] = True
        if not found:
            break
    return [one for one in found if one.stop - one.start >= height], sigma


def _smooth(values: np.ndarray, bad: np.ndarray) -> np.ndarray:
    """The running median of neighbours; what is bad stands for the straight line between the good ones beside it."""
    width = min(values.size // 2 * 2 - 1, _NEIGHBOURS)
    if width < 3 or bad.all():
        return np.full_like(values, np.median(values))
    if bad.any():
        good = np.flatnonzero(~bad)
        values = np.interp(np.arange(values.size), good, values[good])
    from scipy.ndimage import median_filter  # longer in loading than most frames in reducing

    padded = np.pad(values, width // 2, mode="reflect", reflect_type="odd")  # carries a slope on beyond the edge
    return np.asarray(median_filter(padded, width)[width // 2 : -(width // 2)])


def _windows(departure: np.ndarray, floor: float) -> list[tuple[int, float]]:
    """Lengths of windows, in blocks, and the scatter of the means over them."""
    found = []
    length = 2
    while length <= departure.shape[0]:
        scatter = mad_sigma(_thinned(_means(departure, length))) if departure.size else 0.0
        found.append((length, max(scatter, floor / np.sqrt(length), _LEAST)))
        length *= 2
    return found


def _thinned(values: np.ndarray) -> np.ndarray:
    """So many of the values as give a scatter to a quarter of a percent, from everywhere in the frame."""
    return values.ravel()[:: max(1, values.size // _ENOUGH) | 1]  # an odd step: not always the same columns


def _means(values: np.ndarray, length: int) -> np.ndarray:
    """Means over windows along the first axis."""
    sums = np.cumsum(values, axis=0, dtype=np.float64)
    sums[length:] -= sums[:-length].copy()
    return np.asarray(sums[length - 1 :] / length)


def _segments(
    column: int,
    pixels: np.ndarray,
    departure: np.ndarray,
    edges: list[int],
    windows: list[tuple[int, float]],
    limit: float,
    sigma: float,
) -> Iterator[Segment]:
    """The segments of one column, what stands out most first."""
    for _ in range(_MOST_SEGMENTS):
        means = [_means(departure, length) / scatter for length, scatter in windows]
        best = max(range(len(means)), key=lambda nth: np.abs(means[nth]).max())
        first = int(np.abs(means[best]).argmax())
        if np.abs(means[best][first]) <= limit:
            return
        last = first + windows[best][0]
        sign = float(np.sign(means[best][first]))
        start, stop = _ends(pixels * sign, edges[first], edges[last], sigma)
        if stop > start:
            yield Segment(column, start, stop, sign > 0)
        departure[first:last] = 0
        departure[np.searchsorted(edges, start, "right") - 1 : np.searchsorted(edges, stop, "left")] = 0


def _ends(values: np.ndarray, start: int, stop: int, sigma: float) -> tuple[int, int]:
    """The run of rows that a step upwards most probably covers, near the one given; empty where there is none."""
    for _ in range(_PASSES):
        level = float(np.median(values[start:stop]))
        if not level > 0:
            return start, start
        reach = max(stop - start, 1)
        low, high = max(0, start - reach), min(values.size, stop + reach)
        near = np.clip(values[low:high], -_CAP_SIGMA * sigma, level + _CAP_SIGMA * sigma) - level / 2
        sums = np.concatenate([[0.0], np.cumsum(near, dtype=np.float64)])
        gain = sums - np.minimum.accumulate(sums)
        end = int(gain.argmax())
        found = low + int(sums[: end + 1].argmin()), low + end
        if found == (start, stop) or found[1] <= found[0]:
            return found
        start, stop = found
    return start, stop
