"""L.A.Cosmic: astroscrappy's own mask, by compiled loops where there are any.

The first iteration looks at the whole frame. What a later one decides about a pixel depends on nothing farther away
than `avcd.reduction.laplacian.HALO`; where the cleaning has changed nothing within that distance, it decides as before,
and is not asked again.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from types import ModuleType

import astroscrappy
import astroscrappy.utils
import numpy as np

from avcd.compiling import kernels, threads

_FIRST_TILE = (112, 496)
_LATER_TILE = (48, 112)
# A cleaned pixel lies at most this far from the hit that made it be cleaned anew.
_CLEANED = 2
# From here on compiled loops are worth their loading, a second.
_WORTH_COMPILING = 200_000
_SHARES = 8  # of the tiles for each thread, so that none waits long for the others


def detect_cosmic_rays(
    data: np.ndarray,
    mask: np.ndarray,
    read_noise: float,
    saturation: float,
    *,
    sigma_clip: float,
    sigma_fraction: float,
    object_limit: float,
    iterations: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Pixels struck by cosmic rays and the cleaned frame, as `astroscrappy.detect_cosmics` gives them.

    Parameters
    ----------
    data : ndarray of float32, shape (ny, nx)
        Electrons, with the sky.
    mask : ndarray of bool, shape (ny, nx)
        Known bad pixels.
    read_noise, saturation
        Electrons.
    sigma_clip, sigma_fraction, object_limit, iterations
        The limit for a hit, the part of it for its neighbours, the least contrast with the fine structure, and the
        most iterations.

    Returns
    -------
    struck : ndarray of bool
    cleaned : ndarray of float32
        Struck pixels from the mean of their good neighbours within two pixels.

    References
    ----------
    van Dokkum 2001, PASP 113, 1420.
    """
    values = np.ascontiguousarray(data, dtype=np.float32)
    compiled = _kernels_for(values)
    if compiled is None:
        struck, cleaned = astroscrappy.detect_cosmics(
            values, inmask=mask, gain=1.0, readnoise=read_noise, satlevel=saturation,
            sigclip=sigma_clip, sigfrac=sigma_fraction, objlim=object_limit, niter=iterations,
        )  # fmt: skip
        return struck, cleaned
    ignored = _ignored(values, mask, np.float32(saturation), compiled)
    square = np.float32(read_noise) * np.float32(read_noise)
    clean, variance = values.copy(), values + square
    struck = np.zeros(values.shape, np.uint8)
    found = np.zeros(values.shape, np.uint8)
    limits = np.float32(sigma_clip), np.float32(sigma_fraction) * np.float32(sigma_clip), np.float32(object_limit)
    tiles = _tiles(values.shape, _FIRST_TILE)
    for _ in range(iterations):
        _share(lambda some: compiled.detect_in_tiles(clean, variance, ignored, some, *limits, found), tiles)
        places = compiled.newly_found(found, struck)
        if not len(places):
            break
        if compiled.clean_around(clean, variance, struck, ignored, places, np.nan, np.nan):
            level = _middle(values[ignored == 0])
            compiled.clean_around(clean, variance, struck, ignored, places, level, level + square)
        tiles = _touched(_tiles(values.shape, _LATER_TILE), places, values.shape, compiled.HALO + _CLEANED)
    return struck.astype(bool), clean


def _kernels_for(values: np.ndarray) -> ModuleType | None:
    """The compiled loops, where this frame is one for them."""
    compiled = kernels("reduction.laplacian") if values.size >= _WORTH_COMPILING else None
    if compiled is None or min(values.shape) < compiled.NARROWEST or not np.isfinite(values).all():
        return None
    return compiled


def _ignored(values: np.ndarray, mask: np.ndarray, saturation: np.float32, compiled: ModuleType) -> np.ndarray:
    """What takes no part, uint8: bad pixels and their neighbours, and the surroundings of saturated stars' cores."""
    ignored = np.ascontiguousarray(mask, dtype=np.uint8)
    if ignored.any():
        ignored = np.asarray(astroscrappy.utils.dilate3(ignored), np.uint8)
    full = values >= saturation
    if full.any():
        rows, columns = np.nonzero(full)
        around = np.empty(rows.size, np.float32)
        compiled.separable_median7_at(values, rows, columns, around)
        # A large saturated patch is a star, single pixels are none.
        full[rows, columns] = around > np.float32(float(saturation) / 10.0)
        ignored = ignored | np.asarray(astroscrappy.utils.dilate5(full.astype(np.uint8), 2), np.uint8)
    return ignored


def _middle(values: np.ndarray) -> np.float32:
    """The median, the lower one of two; 0 of nothing."""
    if not values.size:
        return np.float32(0)
    middle = (values.size - 1) // 2
    return np.float32(np.partition(values, middle)[middle])


def _tiles(shape: tuple[int, ...], size: tuple[int, int]) -> np.ndarray:
    """First and last row and column of the parts of a frame, shape (n, 4); none is too narrow for the kernels."""
    rows, columns = (
        np.linspace(0, length, max(1, length // side) + 1).round().astype(np.int64)
        for length, side in zip(shape, size, strict=True)
    )
    return np.array([(*row, *column) for row in pairwise(rows) for column in pairwise(columns)])


def _touched(tiles: np.ndarray, places: np.ndarray, shape: tuple[int, ...], reach: int) -> np.ndarray:
    """The tiles within reach of some places."""
    starts, ends = np.unique(tiles[:, :2], axis=0), np.unique(tiles[:, 2:], axis=0)
    touched = np.zeros((len(starts), len(ends)), bool)
    low, high = np.maximum(places - reach, 0), np.minimum(places + reach, np.array(shape) - 1)
    first_row, last_row = (np.searchsorted(starts[:, 1], one[:, 0], side="right") for one in (low, high))
    first_column, last_column = (np.searchsorted(ends[:, 1], one[:, 1], side="right") for one in (low, high))
    # A reach is shorter than a tile: there are at most two along either axis.
    for row in (first_row, last_row):
        for column in (first_column, last_column):
            touched[row, column] = True
    return tiles[touched.reshape(-1)]


def _share(work: Callable[[np.ndarray], None], tiles: np.ndarray) -> None:
    """Do the tiles in as many threads as are worth it; each tile writes its own pixels alone."""
    workers = threads()
    if workers == 1 or len(tiles) < 2 * workers:
        work(tiles)
        return
    with ThreadPoolExecutor(workers) as pool:
        for _ in pool.map(work, np.array_split(tiles, min(len(tiles), workers * _SHARES))):
            pass
