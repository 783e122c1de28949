"""The gain of a detector, measured on pairs of its flats: photons scatter by the square root of their number."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from avcd.errors import ProcessingError
from avcd.reduction.noise import difference_sigma

_TILE_PX = 64  # over which a flat's light and noise are the same everywhere
_FEWEST_PX = 100


def gain_from_flats(first: np.ndarray, second: np.ndarray, bias: np.ndarray | float, read_noise_adu: float) -> float:
    """The gain from two flats of one level: their light over the variance of their difference.

    The second flat is scaled to the first, so that a lamp that drifts leaves none of the flat's pattern in the
    difference; light and variance are measured tile by tile, and the middle of the tiles' gains is taken.

    Parameters
    ----------
    first, second : shape (ny, nx), adu
        Of one filter, neither saturated nor faint; not changed.
    bias : shape (ny, nx) or float, adu
        What the pixels read without light.
    read_noise_adu
        One standard deviation of a single frame.

    Returns
    -------
    float
        [e/adu]

    References
    ----------
    Howell, Handbook of CCD Astronomy, 2nd ed., section 4.3.

    Raises
    ------
    ProcessingError
        The shapes differ, or the flats hold no light whose noise stands out from the read noise.
    """
    if first.shape != second.shape:
        raise ProcessingError(f"flats of different sizes: {first.shape} and {second.shape}")
    light = [np.asarray(one, dtype=np.float64) - bias for one in (first, second)]
    levels = [float(np.nanmedian(one)) for one in light]
    if min(levels) <= 0:
        raise ProcessingError(
            f"the flats hold no light above their bias (medians {levels[0]:.4g}, {levels[1]:.4g} adu)"
        )
    ratio = levels[0] / levels[1]
    difference = light[0] - ratio * light[1]
    found = []
    for rows in _tiles(first.shape[0]):
        for columns in _tiles(first.shape[1]):
            part = rows, columns
            good = np.isfinite(difference[part])
            if np.count_nonzero(good) < _FEWEST_PX:
                continue
            variance = difference_sigma(difference[part][good]) ** 2 - (1 + ratio**2) * read_noise_adu**2
            photons = np.median(light[0][part][good]) + ratio**2 * np.median(light[1][part][good])
            if variance > 0 and photons > 0:
                found.append(photons / variance)
    if not found:
        raise ProcessingError("the flats' noise does not stand out from the read noise: take brighter ones")
    return float(np.median(found))


def _tiles(size: int) -> list[slice]:
    edges = np.linspace(0, size, max(1, round(size / _TILE_PX)) + 1).astype(int)
    return [slice(int(start), int(stop)) for start, stop in pairwise(edges)]
