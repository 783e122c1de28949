"""The sky's gradient in a picture: a tilted plane, fitted so that objects do not pull it."""

from __future__ import annotations

import numpy as np

_BLOCKS = 16  # on each side
_ROUNDS = 6


def subtract_plane(data: np.ndarray, good: np.ndarray) -> np.ndarray:
    """An image less the plane of its sky; for pictures, not for measurements.

    Parameters
    ----------
    data : ndarray, shape (ny, nx)
        Finite everywhere; not changed.
    good : ndarray of bool
        Pixels that take part.

    Returns
    -------
    ndarray
        The plane is zero in the image's middle, so that the level stays. A plane cannot follow a nebula, and blocks
        that rise above it are left out of its fit.
    """
    ny, nx = data.shape
    if min(ny, nx) < 2 * _BLOCKS:
        return data
    points = []
    for rows in np.array_split(np.arange(ny), _BLOCKS):
        for columns in np.array_split(np.arange(nx), _BLOCKS):
            part = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            values = data[part][good[part]]
            if values.size:
                points.append((columns.mean() / nx - 0.5, rows.mean() / ny - 0.5, np.median(values)))
    x, y, level = np.array(points).T
    terms = np.column_stack([np.ones_like(x), x, y])
    kept = np.ones(len(x), bool)
    for _ in range(_ROUNDS):
        if kept.sum() < 8:
            return data
        plane = np.linalg.lstsq(terms[kept], level[kept], rcond=None)[0]
        rest = level - terms @ plane
        scatter = 1.4826 * np.median(np.abs(rest[kept] - np.median(rest[kept])))
        # Objects only ever brighten: what is above goes sooner than what is below.
        now = (rest < 1.5 * scatter) & (rest > -3 * scatter)
        if (now == kept).all():
            break
        kept = now
    across = plane[1] * ((np.arange(nx) + 0.5) / nx - 0.5)
    along = plane[2] * ((np.arange(ny) + 0.5) / ny - 0.5)
    return np.asarray(data - across[None, :] - along[:, None], dtype=np.float32)
