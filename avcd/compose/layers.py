"""One image as it takes part in a stack or mosaic: its planes, its place on the grid, and what is done to its values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from avcd.compose.mapping import PixelMap
from avcd.compose.resampling import UNUSABLE, Resampled, Way, resample_block

MAD_TO_SIGMA = 1.482602218505602
TERMS = 6  # of a background of second order: 1, x, y, x², xy, y²
_SAMPLED_ROWS = 128
_FULL_LINE = 0.5  # of a line's pixels usable, for the image to begin there


@dataclass(frozen=True)
class Layer:
    """An image ready to be read on a grid.

    Attributes
    ----------
    data, mask, uncertainty
        Shape (ny, nx), or None; they may be mapped from a file: only the windows that are needed are read, by slices.
    pixels
        Its place on the grid.
    scale
        What its values are multiplied with.
    noise
        Of its own pixels as they stand, one standard deviation.
    weight
        Of the image among the others.
    sky : ndarray, shape (6,)
        The background that is subtracted after scaling, in the grid's pixels: of 1, x, y, x², xy, y².
    edges : ndarray, shape (4,)
        First and last row and column with data.
    """

    data: Any
    mask: Any
    uncertainty: Any
    pixels: PixelMap
    scale: float = 1.0
    noise: float = 0.0
    weight: float = 1.0
    sky: np.ndarray = field(default_factory=lambda: np.zeros(TERMS))
    edges: np.ndarray = field(default_factory=lambda: np.zeros(4))

    def block(
        self, rows: tuple[int, int], columns: tuple[int, int], way: Way, every: int = 1, into: Resampled | None = None
    ) -> Resampled:
        """A part of the grid, the values as they stand; written to ``into``, where that is given."""
        return resample_block(
            self.data, self.mask, self.uncertainty, self.pixels, rows, columns, way, every, self.edges, into
        )

    def overlap(self, rows: tuple[int, int], columns: tuple[int, int]) -> tuple[int, int, int, int] | None:
        """What a part of the grid and the box of this layer have in common."""
        top, bottom, left, right = self.pixels.box
        found = max(rows[0], top), min(rows[1], bottom), max(columns[0], left), min(columns[1], right)
        return found if found[0] < found[1] and found[2] < found[3] else None

    def sky_at(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """The background that is subtracted, at the grid's rows ``y`` and columns ``x``; shape (len(y), len(x))."""
        down, along = y[:, None].astype(np.float64), x[None, :].astype(np.float64)
        a = self.sky
        return np.asarray(a[0] + a[1] * along + a[2] * down + (a[3] * along + a[4] * down) * along + a[5] * down * down)


def measure_image(data: Any, mask: Any) -> tuple[float, np.ndarray]:
    """The noise of an image's own pixels, and its first and last row and column with data.

    Measured before resampling, which smooths every image by another amount, and from neighbours' differences: nebulae and
    gradients do not count.

    Returns
    -------
    noise : float
        One standard deviation; 0 where there is none.
    edges : ndarray, shape (4,)
    """
    ny, nx = data.shape
    rows = np.arange(0, ny, max(1, ny // _SAMPLED_ROWS))
    sample = np.stack([np.asarray(data[row : row + 1], dtype=np.float32)[0] for row in rows])
    good = np.isfinite(sample)
    clean = good
    if mask is not None:
        bits = np.stack([np.asarray(mask[row : row + 1], dtype=np.uint16)[0] for row in rows])
        good = good & ((bits & UNUSABLE) == 0)
        clean = clean & (bits == 0)
    # Not the next pixel but the one after: cameras and Bayer cells correlate neighbours.
    difference = (sample[:, 2:] - sample[:, :-2])[clean[:, 2:] & clean[:, :-2]]
    noise = float(MAD_TO_SIGMA * np.median(np.abs(difference)) / np.sqrt(2)) if difference.size else 0.0
    lines = rows[good.mean(axis=1) >= _FULL_LINE * max(good.mean(), 1e-9)]
    columns = np.flatnonzero(good.mean(axis=0) >= _FULL_LINE * max(good.mean(), 1e-9))
    last_row = ny - 1 if lines.size and lines[-1] == rows[-1] else (lines[-1] if lines.size else 0)
    if not lines.size or not columns.size:
        return noise, np.array([0.0, ny - 1.0, 0.0, nx - 1.0])
    return noise, np.array([lines[0], last_row, columns[0], columns[-1]], dtype=np.float64)
