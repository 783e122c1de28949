"""Registrations: where a frame's pixels lie on a grid, and that mapping as a coarse net from which pixels are interpolated."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS
from astropy.wcs.utils import wcs_to_celestial_frame

_STEP_PX = 32  # between the points at which a mapping is evaluated exactly
_SMALLEST_STEP_PX = 4
_TOLERANCE_PX = 0.004  # of the interpolated position
_EDGE_PX = 16  # between the points of a frame by which its place on the grid is found
Box = tuple[int, int, int, int]  # rows from, before; columns from, before


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
            x, y = across(*self.worlds, x, y)
        if self.matrix is not None:
            (a, b, c), (d, e, f) = self.matrix
            x, y = a * x + b * y + c, d * x + e * y + f
        return np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)

    def to_reference(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The reverse of `to_frame`.

        Raises
        ------
        ValueError
            The registration failed.
        """
        if self.matrix is None and self.worlds is None:
            raise ValueError("a failed registration has no mapping")
        if self.matrix is not None:
            x, y = np.tensordot(
                np.linalg.inv(self.matrix[:, :2]), np.stack([x - self.matrix[0, 2], y - self.matrix[1, 2]]), 1
            )
        if self.worlds is not None:
            x, y = across(self.worlds[1], self.worlds[0], x, y)
        return np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)


def across(here: WCS, there: WCS, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixel positions of one image as those of another, by way of the sky.

    Parameters
    ----------
    here, there
        Celestial world coordinates, of any frame (ICRS, FK5, galactic …) and order of axes.
    x, y
        0-based positions in ``here``, of any shape.

    Returns
    -------
    tuple of ndarray
        0-based positions in ``there``; NaN where that point of the sky has none.
    """
    ours, theirs = wcs_to_celestial_frame(here), wcs_to_celestial_frame(there)
    first = here.all_pix2world(np.stack([np.ravel(x), np.ravel(y)], axis=1), 0)
    longitude, latitude = first[:, here.wcs.lng], first[:, here.wcs.lat]
    if not ours.is_equivalent_frame(theirs):
        known = np.isfinite(longitude) & np.isfinite(latitude)
        sky = SkyCoord(longitude[known], latitude[known], unit="deg", frame=ours).transform_to(theirs)
        longitude[known], latitude[known] = sky.spherical.lon.deg, sky.spherical.lat.deg
    second = np.empty_like(first)
    second[:, there.wcs.lng], second[:, there.wcs.lat] = longitude, latitude
    found = there.all_world2pix(second, 0, quiet=True)
    # A point on the far side of the sphere has a place in some projections' formulae, but none in the image.
    return found[:, 0].reshape(np.shape(x)), found[:, 1].reshape(np.shape(y))


@dataclass(frozen=True)
class Net:
    """A mapping at points ``step`` pixels apart, the first at (``row``, ``column``) of the reference.

    ``x``, ``y`` the frame's positions, ``area`` how many of the frame's pixels one of the reference covers; shape (rows, columns),
    at least two by two; NaN where there is no position.
    """

    row: int
    column: int
    step: int
    x: np.ndarray
    y: np.ndarray
    area: np.ndarray


@dataclass(frozen=True)
class PixelMap:
    """The frame's position of every pixel of the reference that the frame covers.

    The mapping is evaluated on a net and interpolated bilinearly between: exact for similarities; the net of others is
    made as fine as is needed for an error far below a hundredth of a pixel.

    Attributes
    ----------
    shape
        Of the reference, (ny, nx).
    box
        The part of the reference outside of which the frame has nothing: rows from and before, columns from and before.
    """

    registration: Registration
    shape: tuple[int, int]
    box: Box
    net: Net = field(repr=False)

    @classmethod
    def of(
        cls, registration: Registration, shape: tuple[int, int], frame_shape: tuple[int, int] | None = None
    ) -> PixelMap:
        """The map of a frame.

        Parameters
        ----------
        registration
            Not failed.
        shape, frame_shape
            Of the reference and of the frame, (ny, nx); of a frame whose shape is not told the whole reference is mapped.

        Raises
        ------
        ValueError
            The registration failed.
        """
        box = (0, shape[0], 0, shape[1]) if frame_shape is None else _covered(registration, shape, frame_shape)
        step = _STEP_PX
        net = _net(registration, box, step)
        while step > _SMALLEST_STEP_PX and _error_px(registration, net) > _TOLERANCE_PX:
            step //= 2
            net = _net(registration, box, step)
        return cls(registration, shape, box, net)

    @property
    def is_identity(self) -> bool:
        """Whether the frame is the reference itself."""
        return self.registration.method == "identity"

    @property
    def is_empty(self) -> bool:
        """Whether the frame lies beside the reference."""
        return self.box[0] >= self.box[1] or self.box[2] >= self.box[3]

    @cached_property
    def scale(self) -> float:
        """The side of a pixel of the reference in the frame's pixels: the median."""
        known = self.net.area[np.isfinite(self.net.area)]
        return float(np.sqrt(np.median(known))) if known.size else 1.0

    def overlap(self, shape: tuple[int, int]) -> float:
        """The part of the reference, from 0 to 1, that a frame of ``shape`` (ny, nx) covers; good to some per cent."""
        inside = (self.net.x >= 0) & (self.net.x <= shape[1] - 1) & (self.net.y >= 0) & (self.net.y <= shape[0] - 1)
        area = (self.box[1] - self.box[0]) * (self.box[3] - self.box[2])
        return float(inside.mean()) * area / (self.shape[0] * self.shape[1])

    def window(
        self, rows: tuple[float, float], columns: tuple[float, float], shape: tuple[int, int], margin: int
    ) -> Box:
        """The part of a frame of ``shape`` that the reference's rows and columns from and to (both included) need.

        Returns
        -------
        tuple
            Rows from and before, columns from and before, within the frame; empty (0, 0, 0, 0) where they need nothing.
        """
        net = self.net
        down = _span(rows, net.row, net.step, net.x.shape[0])
        along = _span(columns, net.column, net.step, net.x.shape[1])
        x, y = net.x[down, along], net.y[down, along]
        known = np.isfinite(x) & np.isfinite(y)
        if not known.any():
            return 0, 0, 0, 0
        found = []
        for values, size in ((y[known], shape[0]), (x[known], shape[1])):
            first, last = int(np.floor(values.min())) - margin, int(np.ceil(values.max())) + margin + 1
            found += [max(first, 0), min(last, size)]
        top, bottom, left, right = found
        return (top, bottom, left, right) if top < bottom and left < right else (0, 0, 0, 0)

    def positions(self, y: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The frame's x and y, and the pixel area ratio, of the reference's rows ``y`` and columns ``x``; NaN outside of the box.

        Returns
        -------
        tuple of ndarray, each of shape (len(y), len(x))
        """
        net = self.net
        down, part = _between(y, net.row, net.step, net.x.shape[0])
        along, share = _between(x, net.column, net.step, net.x.shape[1])
        found = []
        beyond = ~(_on_net(y, net.row, net)[:, None] & _on_net(x, net.column, net, axis=1))
        for values in (net.x, net.y, net.area):
            lines = values[down] + (values[down + 1] - values[down]) * part[:, None]
            found.append(np.where(beyond, np.nan, lines[:, along] + (lines[:, along + 1] - lines[:, along]) * share))
        return found[0], found[1], found[2]


def _between(values: np.ndarray, origin: int, step: int, nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """The node before each value, and how far it is to the next."""
    place = (values - origin) / step
    node = np.clip(np.floor(place).astype(np.int64), 0, nodes - 2)
    return node, place - node


def _on_net(values: np.ndarray, origin: int, net: Net, axis: int = 0) -> np.ndarray:
    """Which rows or columns the net reaches, give or take a pixel."""
    place = (values - origin) / net.step
    last = net.x.shape[axis] - 1
    return np.asarray((place * net.step >= -1.0) & ((place - last) * net.step <= 1.0))


def _span(ends: tuple[float, float], origin: int, step: int, nodes: int) -> slice:
    """The nodes around a range."""
    first = int(np.clip(np.floor((ends[0] - origin) / step), 0, nodes - 2))
    last = int(np.clip(np.floor((ends[1] - origin) / step), 0, nodes - 2))
    return slice(first, last + 2)


def _covered(registration: Registration, shape: tuple[int, int], frame_shape: tuple[int, int]) -> Box:
    """The part of the reference that a frame may reach; a pixel too much on each side rather than one too few."""
    ny, nx = frame_shape
    rows = np.unique(np.append(np.arange(-0.5, ny - 0.5, max(_EDGE_PX, ny / 32)), ny - 0.5))
    columns = np.unique(np.append(np.arange(-0.5, nx - 0.5, max(_EDGE_PX, nx / 32)), nx - 0.5))
    x, y = registration.to_reference(*np.meshgrid(columns, rows))
    known = np.isfinite(x) & np.isfinite(y)
    if not known.any():
        return 0, 0, 0, 0
    found = []
    for values, size in ((y[known], shape[0]), (x[known], shape[1])):
        found += [int(np.clip(np.floor(values.min()) - 1, 0, size)), int(np.clip(np.ceil(values.max()) + 2, 0, size))]
    top, bottom, left, right = found
    return (top, bottom, left, right) if top < bottom and left < right else (0, 0, 0, 0)


def _net(registration: Registration, box: Box, step: int) -> Net:
    top, bottom, left, right = box
    rows, columns = (
        first + step * np.arange(max(-(-(last - 1 - first) // step), 1) + 1)
        for first, last in ((top, bottom), (left, right))
    )
    across_x, across_y = np.meshgrid(columns.astype(np.float64), rows.astype(np.float64))
    x, y = registration.to_frame(across_x, across_y)
    x_y, x_x = np.gradient(x, float(step))
    y_y, y_x = np.gradient(y, float(step))
    return Net(top, left, step, x, y, np.abs(x_x * y_y - x_y * y_x))


def _error_px(registration: Registration, net: Net) -> float:
    """How far the middles of the net's meshes are from where they should be: at most, of some of them."""
    thin = np.s_[:: max(1, (net.x.shape[0] - 1) // 12), :: max(1, (net.x.shape[1] - 1) // 12)]
    middles = [
        0.25 * (values[:-1, :-1] + values[1:, :-1] + values[:-1, 1:] + values[1:, 1:])[thin]
        for values in (net.x, net.y)
    ]
    rows = (net.row + net.step * (np.arange(net.x.shape[0] - 1) + 0.5))[thin[0]]
    columns = (net.column + net.step * (np.arange(net.x.shape[1] - 1) + 0.5))[thin[1]]
    exact = registration.to_frame(*np.meshgrid(columns, rows))
    error = np.hypot(middles[0] - exact[0], middles[1] - exact[1])
    known = error[np.isfinite(error)]
    return float(known.max()) if known.size else 0.0
