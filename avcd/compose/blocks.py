"""Images made smaller, and the few pixels that have nothing to show: what pictures are judged and drawn from."""

from __future__ import annotations

import numpy as np

from avcd.compose.resampling import UNUSABLE

_FILL_PX = 2  # from how far a missing pixel is filled
_SAMPLE = 1_000_000


def usable(data: np.ndarray, mask: np.ndarray | None) -> np.ndarray | None:
    """Where pixels hold light that a picture may show, bool of the data's shape; None where all do."""
    good = np.isfinite(data)
    if mask is not None:
        good &= (mask & UNUSABLE) == 0
    return None if good.all() else good


def block_means(data: np.ndarray, good: np.ndarray | None, step: int) -> np.ndarray:
    """An image of the means of blocks, what is left over at its end being cut off.

    Parameters
    ----------
    data : shape (ny, nx)
        Of any type.
    good : bool, same shape, or None
        Pixels that take part; None: all.
    step
        The side of a block; that of a shorter side is its length.

    Returns
    -------
    ndarray of float32, shape (ny // step, nx // step)
        NaN where a block has no good pixel.
    """
    if step == 1:
        found = data.astype(np.float32)
        return found if good is None else np.where(good, found, np.float32(np.nan))
    values = data if good is None else np.where(good, data, 0)
    total = _block_sums(values, step)
    sides = [min(step, size) for size in data.shape]
    if good is None:
        return total / np.float32(sides[0] * sides[1])
    count = _block_sums(good, step)
    return np.where(count > 0, total / np.maximum(count, 1), np.float32(np.nan))


def _block_sums(values: np.ndarray, step: int) -> np.ndarray:
    high, wide = (min(step, size) for size in values.shape)
    ny, nx = values.shape[0] // high, values.shape[1] // wide
    rows = values[: ny * high, : nx * wide].reshape(ny, high, nx * wide).sum(axis=1, dtype=np.float32)
    found = rows[:, ::wide].copy()
    for offset in range(1, wide):
        found += rows[:, offset::wide]
    return found


def grid_step(shape: tuple[int, ...]) -> int:
    """The distance of pixels on an even grid of about a million of them."""
    return max(1, int(np.sqrt(shape[0] * shape[1] / _SAMPLE)))


def sample(data: np.ndarray, good: np.ndarray | None = None) -> np.ndarray:
    """Good pixels on an even grid, up to about a million: enough for percentiles, as float32 of one dimension."""
    step = grid_step(data.shape)
    values = data[::step, ::step]
    chosen = values.ravel() if good is None else values[good[::step, ::step]]
    return chosen.astype(np.float32)


def filled(data: np.ndarray, good: np.ndarray | None) -> np.ndarray:
    """A float32 image whose missing pixels are the mean of the good ones next to them, or of all where there are none.

    Of holes only the rim is filled; a picture shows the rest as sky. The image itself where nothing is missing.
    """
    if good is None:
        return np.asarray(data, dtype=np.float32)
    found = np.array(data, dtype=np.float32)
    rows, columns = np.nonzero(~good)
    total, weight = np.zeros(len(rows), np.float32), np.zeros(len(rows), np.float32)
    ny, nx = data.shape
    for down in range(-_FILL_PX, _FILL_PX + 1):
        for right in range(-_FILL_PX, _FILL_PX + 1):
            y, x = np.clip(rows + down, 0, ny - 1), np.clip(columns + right, 0, nx - 1)
            share = np.where(good[y, x], np.float32(np.exp(-(down**2 + right**2) / 4.5)), np.float32(0))
            total += share * np.where(share > 0, found[y, x], 0)
            weight += share
    level = sample(found, good)
    middle = np.float32(np.median(level)) if level.size else np.float32(0)
    found[rows, columns] = np.where(weight > 0.3, total / np.maximum(weight, np.float32(1e-6)), middle)
    return found


def opened(plane: np.ndarray) -> np.ndarray:
    """A bool plane without what is narrower than three pixels (an opening by a square of three)."""
    return _spread(~_spread(~plane))


def _spread(plane: np.ndarray) -> np.ndarray:
    """Every true pixel's neighbours true as well."""
    tall = plane.copy()
    tall[1:] |= plane[:-1]
    tall[:-1] |= plane[1:]
    wide = tall.copy()
    wide[:, 1:] |= tall[:, :-1]
    wide[:, :-1] |= tall[:, 1:]
    return wide
