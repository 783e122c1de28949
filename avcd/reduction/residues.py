"""What calibration left in a frame: hot pixels that its dark did not take away, a slope that its flat did not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from avcd.reduction.applying import each_strip
from avcd.reduction.noise import mad_sigma
from avcd.reduction.survivors import MAD_TO_SIGMA
from avcd.sorting import middle_network

Look = Callable[[np.ndarray], np.ndarray]

_HOT_SIGMA = 8.0  # above the pixels around, in the dark's scatter
_MOST_HOT = 4000
_FEWEST_HOT = 20
_STRONG = 3.0  # a hot pixel's excess over the frame's own noise, from which on it says something
_USUAL = 4000
_BORDER = 2  # the neighbourhood is five pixels wide
_BLOCKS = 8  # along each side
_FEWEST_BLOCKS = 16
_BLOCK_PX = 5_000  # of a block are looked at
_CLIP = 3.0
_PASSES = 4
_REWEIGHTED = 20
_NEBULA_WEIGHT = 0.1
_MEDIAN_SCATTER = 1.2533  # of a median of normal values, beside that of their mean
_ENOUGH_PX = 200_000


@dataclass(frozen=True)
class HotPixels:
    """The pixels of a dark that its frames are judged by, as flat indices: hot ones, hottest first, and usual ones."""

    hot: np.ndarray
    usual: np.ndarray


def find_hot_pixels(dark: np.ndarray) -> HotPixels:
    """The hottest pixels of a dark, and some that are like most.

    Parameters
    ----------
    dark : shape (ny, nx)
        Any factor of it gives the same.
    """
    nothing = np.zeros(0, np.intp)
    if min(dark.shape) <= 4 * _BORDER:
        return HotPixels(nothing, nothing)
    excess = _sticking_out(dark)
    sigma = mad_sigma(excess.ravel()[:: max(1, excess.size // _ENOUGH_PX)])
    flat = excess.ravel()
    hot = np.flatnonzero(flat > _HOT_SIGMA * max(sigma, 1e-9))
    hot = hot[np.isfinite(dark.ravel()[hot])]
    hot = hot[np.argsort(-flat[hot], kind="stable")[: 2 * _MOST_HOT]]  # some are saturated in a frame
    usual = np.arange(0, flat.size, max(1, flat.size // (4 * _USUAL)))
    usual = usual[(np.abs(flat[usual]) <= _CLIP * sigma) & _inside(usual, dark.shape)]
    return HotPixels(hot, usual[:: max(1, usual.size // _USUAL)])


def _inside(places: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Which flat indices are so far from the border that all pixels around them are there."""
    y, x = np.divmod(places, shape[1])
    return (y >= _BORDER) & (y < shape[0] - _BORDER) & (x >= _BORDER) & (x < shape[1] - _BORDER)


def measure_hot_residue(
    data: np.ndarray, dark: np.ndarray, unusable: np.ndarray, found: HotPixels | None = None
) -> dict[str, float]:
    """How much of the hot pixels is left after the dark was subtracted.

    Every pixel that is hot in the dark is compared with those around it, in the dark and in the frame. What sticks out
    of the frame, as a part of what the dark took away, is zero where frame and dark agree, 1 where the dark holds half
    of what it should, negative where it holds too much. The median of all hot pixels is not moved by stars on some.

    Parameters
    ----------
    data, dark : shape (ny, nx), one unit
        The frame after subtraction, and what was subtracted.
    unusable : shape (ny, nx), bool
        Pixels that say nothing, such as saturated ones.
    found
        The dark's hot pixels, where they are known already.

    Returns
    -------
    dict
        ``hot_residue``; ``hot_residue_sigma``: it over its error; ``hot_residue_px``: hot pixels it was measured on.
        Empty where fewer than twenty stand above the frame's noise.
    """
    return hot_residue_at(
        found or find_hot_pixels(dark),
        data.shape[1],
        lambda places: data.ravel()[places],
        lambda places: dark.ravel()[places],
        lambda places: unusable.ravel()[places],
    )


def hot_residue_at(pixels: HotPixels, columns: int, data: Look, dark: Look, unusable: Look) -> dict[str, float]:
    """`measure_hot_residue`, of a frame that is only looked at where a dark is hot.

    Parameters
    ----------
    pixels
        Of the dark.
    columns
        How wide the frame is.
    data, dark, unusable
        From flat indices, of any shape, to the frame's values there, the dark's, and whether they say nothing.
    """
    hot, usual = (
        places[~unusable(places) & np.isfinite(data(places))] if places.size else places
        for places in (pixels.hot, pixels.usual)
    )
    hot = hot[:_MOST_HOT]
    if hot.size < _FEWEST_HOT or not usual.size:
        return {}
    taken, left = _above_surroundings(dark, hot, columns), _above_surroundings(data, hot, columns)
    strong = taken > _STRONG * mad_sigma(_above_surroundings(data, usual, columns))
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
    """Each pixel less the middle of the four that lie two away: quick, and good enough to find what is hot; 0 at the border."""
    found = np.zeros(image.shape, np.float32)
    ny = image.shape[0]

    def work(rows: slice) -> None:
        top, bottom = max(rows.start, _BORDER), min(rows.stop, ny - _BORDER)
        if top >= bottom:
            return
        beside = slice(_BORDER, -_BORDER)
        here = image[top:bottom]
        around = (image[top - _BORDER : bottom - _BORDER, beside], image[top + _BORDER : bottom + _BORDER, beside],
                  here[:, : -2 * _BORDER], here[:, 2 * _BORDER :])  # fmt: skip
        with np.errstate(all="ignore"):  # what is no number is nothing that sticks out
            highest, lowest = np.maximum.reduce(around), np.minimum.reduce(around)
            total = around[0] + around[1] + around[2] + around[3]
            found[top:bottom, beside] = here[:, beside] - (total - highest - lowest) / 2

    each_strip(image.shape, work)
    return found


def _above_surroundings(look: Look, places: np.ndarray, columns: int) -> np.ndarray:
    """Pixels less the median of the 24 around each; places as flat indices, none at the border."""
    offsets = [
        row * columns + column
        for row in range(-_BORDER, _BORDER + 1)
        for column in range(-_BORDER, _BORDER + 1)
        if (row, column) != (0, 0)
    ]
    around = np.array(look(places[None, :] + np.array(offsets)[:, None]))
    unknown = np.isnan(around).any(axis=0)
    spare = np.empty(places.size, around.dtype)
    for first, second in middle_network(len(offsets)).tolist():
        np.minimum(around[first], around[second], out=spare)
        np.maximum(around[first], around[second], out=around[second])
        around[first] = spare
    middle = (around[(len(offsets) - 1) // 2] + around[len(offsets) // 2]) / 2
    middle[unknown] = np.nan
    return np.asarray(look(places) - middle, dtype=np.float64)


def measure_sky_gradient(data: np.ndarray, unusable: np.ndarray) -> dict[str, float]:
    """How much the sky rises over a frame: the plane through the clipped medians of its blocks.

    Parameters
    ----------
    data : shape (ny, nx)
        After the flat was divided out. Stars are clipped; blocks that a nebula fills hardly count.
    unusable : shape (ny, nx), bool or a mask plane

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
            level, sigma = _sky(data[here], unusable[here])
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


def _sky(values: np.ndarray, unusable: np.ndarray) -> tuple[float, float]:
    """Level and scatter of the sky in a block: what is left when all that sticks out is clipped."""
    # Of both axes: a whole row or column that is bad, or stands out, is met no oftener than it should be.
    step = max(1, round((values.size / _BLOCK_PX) ** 0.5))
    kept = np.sort(values[::step, ::step][unusable[::step, ::step] == 0])
    if kept.size and not (np.isfinite(kept[0]) and np.isfinite(kept[-1])):  # in order, these tell of all
        kept = kept[np.isfinite(kept)]
    kept = kept.astype(np.float64)
    for _ in range(_PASSES):
        if not kept.size:
            return float("nan"), float("nan")
        half = (kept.size - 1) // 2, kept.size // 2
        middle = float(kept[half[0]] + kept[half[1]]) / 2
        departure = kept - middle  # in order, as the values are: what is clipped lies at both ends
        sigma = float(_nth_smallest(departure, half[0]) + _nth_smallest(departure, half[1])) / 2 * MAD_TO_SIGMA
        first = int(np.searchsorted(departure, -_CLIP * sigma))
        last = int(np.searchsorted(departure, _CLIP * sigma, "right"))
        if last - first == kept.size:
            break
        kept = kept[first:last]
    return middle, sigma


def _nth_smallest(departure: np.ndarray, number: int) -> float:
    """The value of that number (from 0) among the sizes of departures that are in ascending order themselves.

    So many values that are the smallest lie side by side: of all such runs the one whose larger end is the smallest.
    """
    return float(np.maximum(-departure[: departure.size - number], departure[number:]).min())
