"""What calibration left in a frame: hot pixels that its dark did not take away, a slope that its flat did not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from avcd.reduction.noise import mad_sigma
from avcd.reduction.survivors import MAD_TO_SIGMA

_HOT_SIGMA = 8.0  # above the pixels around, in the dark's scatter
_MOST_HOT = 4000
_FEWEST_HOT = 20
_STRONG = 3.0  # a hot pixel's excess over the frame's own noise, from which on it says something
_CONTROLS = 4000
_SPARE = 2  # so many more are remembered of a dark, for frames in which some are saturated
_BORDER = 2  # the neighbourhood is five pixels wide
_BLOCKS = 8  # along each side
_FEWEST_BLOCKS = 16
_BLOCK_PX = 10_000  # of a block are looked at, a few more at most
_CLIP = 3.0
_PASSES = 4
_REWEIGHTED = 20
_NEBULA_WEIGHT = 0.1
_MEDIAN_SCATTER = 1.2533  # of a median of normal values, beside that of their mean
_ENOUGH_PX = 200_000


@dataclass(frozen=True)
class HotPixels:
    """A dark's hot pixels, the hottest first, and ordinary ones: flat indices, and how far each stands out, in its unit."""

    hot: np.ndarray
    taken: np.ndarray
    controls: np.ndarray


def find_hot(dark: np.ndarray) -> HotPixels | None:
    """Where a dark is hot, and where it is not; None of one too small to tell.

    Parameters
    ----------
    dark : shape (ny, nx)
    """
    if min(dark.shape) <= 4 * _BORDER:
        return None
    excess = _sticking_out(dark)
    sigma = mad_sigma(excess.ravel()[:: max(1, excess.size // _ENOUGH_PX)])
    inside = np.zeros(dark.shape, bool)
    inside[_BORDER:-_BORDER, _BORDER:-_BORDER] = True
    inside &= np.isfinite(dark)
    hot = np.flatnonzero(inside & (excess > _HOT_SIGMA * max(sigma, 1e-9)))
    hot = hot[np.argsort(-excess.ravel()[hot], kind="stable")[: _SPARE * _MOST_HOT]]
    controls = np.flatnonzero(inside & (np.abs(excess) <= _CLIP * sigma))
    controls = controls[:: max(1, controls.size // (_SPARE * _CONTROLS))]
    return HotPixels(hot, _above_surroundings(dark, hot), controls)


def measure_hot_residue(
    data: np.ndarray, dark: HotPixels | None, unusable: np.ndarray, scale: float = 1.0
) -> dict[str, float]:
    """How much of the hot pixels is left after the dark was subtracted.

    Every pixel that is hot in the dark is compared with those around it, in the dark and in the frame. What sticks out
    of the frame, as a part of what the dark took away, is zero where frame and dark agree, 1 where the dark holds half
    of what it should, negative where it holds too much. The median of all hot pixels is not moved by stars on some.

    Parameters
    ----------
    data : shape (ny, nx)
        The frame after subtraction.
    dark
        As `find_hot` has it, in the unit of the frame.
    unusable : shape (ny, nx), bool
        Pixels that say nothing, such as saturated ones.
    scale
        What the dark was multiplied with before it was subtracted.

    Returns
    -------
    dict
        ``hot_residue``; ``hot_residue_sigma``: it over its error; ``hot_residue_px``: hot pixels it was measured on.
        Empty where fewer than twenty stand above the frame's noise.
    """
    if dark is None:
        return {}
    bad = unusable.ravel()
    usable = ~bad[dark.hot]
    hot, taken = dark.hot[usable][:_MOST_HOT], dark.taken[usable][:_MOST_HOT] * scale
    controls = dark.controls[~bad[dark.controls]]
    controls = controls[:: max(1, controls.size // _CONTROLS)]
    left = _above_surroundings(data, hot)
    strong = taken > _STRONG * mad_sigma(_above_surroundings(data, controls))
    strong &= np.isfinite(left)
    if np.count_nonzero(strong) < _FEWEST_HOT:
        return {}
    parts = left[strong] / taken[strong]
    residue = float(np.median(parts))
    error = _MEDIAN_SCATTER * mad_sigma(parts) / np.sqrt(parts.size)
    return {
        "hot_residue": residue,
        "hot_residue_sigma": abs(residue) / max(error, 1e-9),
        "hot_residue_px": float(parts.size),
    }


def _sticking_out(image: np.ndarray) -> np.ndarray:
    """Each pixel less the middle of the four that lie two away: quick, and good enough to find what is hot."""
    finite = np.nan_to_num(image.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    padded = np.pad(finite, _BORDER, mode="edge")
    middle = slice(_BORDER, -_BORDER)
    around = (padded[: -2 * _BORDER, middle], padded[2 * _BORDER :, middle],
              padded[middle, : -2 * _BORDER], padded[middle, 2 * _BORDER :])  # fmt: skip
    highest, lowest = np.maximum.reduce(around), np.minimum.reduce(around)
    total = around[0] + around[1] + around[2] + around[3]
    return np.asarray(padded[middle, middle] - (total - highest - lowest) / 2)


def _above_surroundings(image: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Pixels less the median of the 24 around each; places as flat indices, none at the border."""
    y, x = np.divmod(places, image.shape[1])
    offsets = [
        (row, column)
        for row in range(-_BORDER, _BORDER + 1)
        for column in range(-_BORDER, _BORDER + 1)
        if (row, column) != (0, 0)
    ]
    around = np.array([image[y + row, x + column] for row, column in offsets])
    return np.asarray(image[y, x] - np.median(around, axis=0), dtype=np.float64)


def measure_sky_gradient(data: np.ndarray, unusable: np.ndarray) -> dict[str, float]:
    """How much the sky rises over a frame: the plane through the clipped medians of its blocks.

    Parameters
    ----------
    data : shape (ny, nx)
        After the flat was divided out. Stars are clipped; blocks that a nebula fills hardly count.
    unusable : shape (ny, nx), bool

    Returns
    -------
    dict
        ``sky_gradient``: from the plane's lowest corner to its highest, relative to the sky; ``sky_gradient_error``;
        ``sky_gradient_sigma``: the same rise in the noise of one pixel. Empty where there is no sky above zero, or too
        few blocks hold any.
    """
    blocks = []
    for rows in np.array_split(np.arange(data.shape[0]), min(_BLOCKS, data.shape[0])):
        for columns in np.array_split(np.arange(data.shape[1]), min(_BLOCKS, data.shape[1])):
            here = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            step = max(1, rows.size * columns.size // _BLOCK_PX)
            values, bad = data[here].ravel()[::step], unusable[here].ravel()[::step]
            level, sigma = _sky(values[~bad])
            blocks.append((rows.mean() / data.shape[0], columns.mean() / data.shape[1], level, sigma))
    y, x, levels, sigmas = np.array(blocks).T
    finite = np.isfinite(levels)
    if np.count_nonzero(finite) < _FEWEST_BLOCKS:
        return {}
    x, y, levels, sigmas = x[finite], y[finite], levels[finite], sigmas[finite]
    plane, residual = _plane(x, y, levels)
    scatter = mad_sigma(residual)
    sky, noise = float(np.median(levels)), float(np.median(sigmas))
    if not (sky > 0 and noise > 0):
        return {}
    rise = float(abs(plane[1]) + abs(plane[2]))
    # Of positions spread evenly over a side the variance is a twelfth; both slopes add up.
    error = scatter * np.sqrt(2 * 12 / levels.size)
    return {
        "sky_gradient": rise / sky,
        "sky_gradient_error": float(error) / sky,
        "sky_gradient_sigma": rise / noise,
    }


def _plane(x: np.ndarray, y: np.ndarray, levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The plane (level, slopes in x and y) that most blocks lie on, and what each departs by from it.

    Least absolute departures, by least squares weighted again and again; a nebula, which only ever adds light, counts
    for less than what is below the plane.
    """
    terms = np.column_stack([np.ones_like(x), x, y])
    weights = np.ones_like(levels)
    least = 0.05 * mad_sigma(levels) + 1e-9
    for _ in range(_REWEIGHTED):
        root = np.sqrt(weights)
        plane = np.linalg.lstsq(terms * root[:, None], levels * root, rcond=None)[0]
        residual = levels - terms @ plane
        weights = 1 / np.maximum(np.abs(residual), least)
        weights[residual > _CLIP * max(mad_sigma(residual), least)] *= _NEBULA_WEIGHT
    return plane, residual


def _sky(values: np.ndarray) -> tuple[float, float]:
    """Level and scatter of the sky in a block: what is left when all that sticks out is clipped."""
    # Sorted once: clipping takes from both ends, and every middle is known by its place.
    kept = np.sort(values[np.isfinite(values)]).astype(np.float64)
    for _ in range(_PASSES):
        if not kept.size:
            return float("nan"), float("nan")
        middle = float(kept[(kept.size - 1) // 2] + kept[kept.size // 2]) / 2
        sigma = _sorted_deviation(kept, middle) * MAD_TO_SIGMA
        first, last = np.searchsorted(kept, (middle - _CLIP * sigma, middle + _CLIP * sigma), side="left")
        last += int(np.searchsorted(kept[last:], middle + _CLIP * sigma, side="right"))
        if last - first == kept.size:
            break
        kept = kept[first:last]
    return middle, sigma


def _sorted_deviation(rising: np.ndarray, middle: float) -> float:
    """The median absolute deviation of rising numbers from their median."""
    above = int(np.searchsorted(rising, middle))
    left, right = middle - rising[:above][::-1], rising[above:] - middle
    return (_smallest(left, right, (rising.size - 1) // 2) + _smallest(left, right, rising.size // 2)) / 2


def _smallest(one: np.ndarray, other: np.ndarray, rank: int) -> float:
    """The number of a rank (from 0) among two arrays that both rise."""
    low, high = max(0, rank + 1 - other.size), min(rank + 1, one.size)
    while low < high:  # how many of the first are among the rank + 1 smallest
        count = (low + high) // 2
        if one[count] < other[rank - count]:
            low = count + 1
        else:
            high = count
    rest = rank + 1 - low
    return float(max(one[low - 1] if low else -np.inf, other[rest - 1] if rest else -np.inf))
