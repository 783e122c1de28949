"""Registrations: where a frame's pixels lie on the reference, and that mapping read out row by row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy.wcs import WCS

_NODE_PX = 32  # between the points at which a mapping is evaluated exactly
OUTSIDE = -1e6  # a position that no frame holds


@dataclass(frozen=True)
class Registration:
    """How to get from the reference frame's pixels to a frame's own.

    ``method`` is "wcs", "stars", "correlation", "identity" or "failed". ``worlds`` are the reference's and the frame's world
    coordinates, for "wcs". ``matrix``, shape (2, 3), maps (x, y, 1) to (x, y): of the reference to the frame, or,
    after ``worlds``, to the frame as its stars say. ``rms_px`` is the residual of the ``matched`` stars in two
    dimensions; both None where no stars were compared. ``warning`` says what an observer should know.
    """

    method: str
    matrix: np.ndarray | None = None
    worlds: tuple[WCS, WCS] | None = None
    rms_px: float | None = None
    matched: int | None = None
    warning: str = ""

    def to_frame(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The frame's pixel positions of reference positions; any shape, 0-based, NaN where there is none.

        Raises
        ------
        ValueError
            The registration failed.
        """
        if self.matrix is None and self.worlds is None:
            raise ValueError("a failed registration has no mapping")
        if self.worlds is not None:
            here, there = self.worlds
            ra, dec = here.all_pix2world(x, y, 0)
            x, y = there.all_world2pix(ra, dec, 0, quiet=True)
        if self.matrix is not None:
            (a, b, c), (d, e, f) = self.matrix
            x, y = a * x + b * y + c, d * x + e * y + f
        return np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)


class PixelMap:
    """The frame's position of every pixel of the reference, made once and read by rows.

    The mapping is evaluated on a coarse grid and interpolated bilinearly between: exact for similarities; for world
    coordinates with distortions the error stays far below a hundredth of a pixel.

    Parameters
    ----------
    registration
        Not failed.
    shape
        Of the reference, (ny, nx).

    Raises
    ------
    ValueError
        The registration failed.
    """

    def __init__(self, registration: Registration, shape: tuple[int, int]) -> None:
        self.shape = shape
        self.is_identity = registration.method == "identity"
        self._rows, self._columns = (_nodes(size) for size in shape)
        x, y = registration.to_frame(*np.meshgrid(self._columns, self._rows))
        area = _area(x, y, self._rows, self._columns)
        lost = ~(np.isfinite(x) & np.isfinite(y))
        self._coarse = (np.where(lost, OUTSIDE, x), np.where(lost, OUTSIDE, y), np.nan_to_num(area, nan=0.0))

    def overlap(self, shape: tuple[int, int]) -> float:
        """The part of the reference, from 0 to 1, that a frame of ``shape`` (ny, nx) covers; good to some per cent."""
        x, y = self._coarse[:2]
        return float(((x >= 0) & (x <= shape[1] - 1) & (y >= 0) & (y <= shape[0] - 1)).mean())

    def rows(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """x, y and the pixel area ratio for the reference's rows from ``start`` to before ``stop``.

        Returns
        -------
        tuple of ndarray, each of shape (stop - start, nx)
            The third is how many of the frame's pixels one pixel of the reference covers.
        """
        y = np.arange(start, stop, dtype=np.float64)
        last = max(len(self._rows) - 2, 0)
        index = np.clip(np.searchsorted(self._rows, y, side="right") - 1, 0, last)
        used = slice(index[0], index[-1] + 2)
        nodes = self._rows[used]
        index = index - index[0]
        if len(nodes) == 1:
            part = np.zeros((len(y), 1))
        else:
            part = ((y - nodes[index]) / (nodes[index + 1] - nodes[index]))[:, None]
        columns = np.arange(self.shape[1])
        found = []
        for coarse in self._coarse:
            wide = np.stack([np.interp(columns, self._columns, row) for row in coarse[used]])
            below = wide[index]
            found.append(below + (wide[np.minimum(index + 1, len(nodes) - 1)] - below) * part)
        return found[0], found[1], found[2]


def _nodes(size: int) -> np.ndarray:
    return np.unique(np.append(np.arange(0, size, _NODE_PX), size - 1)).astype(np.float64)


def _area(x: np.ndarray, y: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The determinant of the mapping at its nodes; one where the reference is a line."""
    if min(x.shape) < 2:
        return np.ones_like(x)
    x_y, x_x = np.gradient(x, rows, columns)
    y_y, y_x = np.gradient(y, rows, columns)
    return np.abs(x_x * y_y - x_y * y_x)
