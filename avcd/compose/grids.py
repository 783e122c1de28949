"""Grids to resample onto: as a header says, or the best tangential one for some images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from astropy.wcs.utils import proj_plane_pixel_scales, wcs_to_celestial_frame

from avcd.compose.mapping import across
from avcd.errors import ProcessingError

_EDGE_POINTS = 12  # along each side of an image, from which its place on the grid is found
_LARGEST_SIDE = 500_000  # pixels; more than that is a mistake in somebody's world coordinates


@dataclass(frozen=True)
class Grid:
    """World coordinates and size (ny, nx) of an image that is to be made."""

    wcs: WCS
    shape: tuple[int, int]


def grid_of_header(header: fits.Header, wcs: WCS) -> Grid:
    """The grid that a header describes.

    Parameters
    ----------
    wcs
        The header's celestial world coordinates.

    Raises
    ------
    ProcessingError
        It does not tell the image's size.
    """
    sizes = [header.get(name, header.get(f"Z{name}")) for name in ("NAXIS2", "NAXIS1")]
    if not all(isinstance(one, int) and one > 0 for one in sizes):
        raise ProcessingError("the header has no NAXIS1 and NAXIS2: write the size of the image to be made into them")
    return Grid(wcs, (int(sizes[0]), int(sizes[1])))


def best_grid(
    images: Sequence[tuple[WCS, tuple[int, int]]], scale_arcsec: float | None = None, *, north_up: bool = False
) -> Grid:
    """The tangential grid that holds some images.

    Its middle is that of the images, its pixels are of the finest image's size, and it is turned as most of the images are: then
    hardly any of it stays empty, and frames of one camera are interpolated least.

    Parameters
    ----------
    images
        World coordinates and shape (ny, nx) of each.
    scale_arcsec
        Side of a pixel; None: the finest image's.
    north_up
        Turn it so that north is up and east to the left.

    Raises
    ------
    ProcessingError
        The images lie all over the sky, or the grid would be larger than any picture.
    """
    corners = [_edge(*one) for one in images]
    vectors = np.concatenate([one.cartesian.xyz.value.T for one in corners])
    middle = vectors.mean(axis=0)
    if np.linalg.norm(middle) < 0.5:
        raise ProcessingError("the images lie too far apart on the sky for one tangential grid; name one with --grid")
    place = SkyCoord(*middle, representation_type="cartesian").spherical
    scale = scale_arcsec or min(float(np.mean(proj_plane_pixel_scales(wcs.celestial))) * 3600 for wcs, _ in images)
    turn = 0.0 if north_up else _common_turn([wcs for wcs, _ in images], place.lon.deg, place.lat.deg)
    wcs = _tangential(place.lon.deg, place.lat.deg, scale, turn)
    x, y = wcs.world_to_pixel(SkyCoord(np.concatenate([one.ra.deg for one in corners]),
                                       np.concatenate([one.dec.deg for one in corners]), unit="deg"))  # fmt: skip
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ProcessingError("the images lie too far apart on the sky for one tangential grid; name one with --grid")
    left, bottom = int(np.floor(x.min() + 0.5 + 1e-3)), int(np.floor(y.min() + 0.5 + 1e-3))
    shape = int(np.ceil(y.max() - 0.5 - 1e-3)) - bottom + 1, int(np.ceil(x.max() - 0.5 - 1e-3)) - left + 1
    if max(shape) > _LARGEST_SIDE:
        raise ProcessingError(
            f"the grid would have {shape[1]} x {shape[0]} pixels; name a coarser one with --pixel-scale"
        )
    wcs.wcs.crpix = wcs.wcs.crpix - (left, bottom)
    wcs.wcs.set()
    return Grid(wcs, shape)


def _edge(wcs: WCS, shape: tuple[int, int]) -> SkyCoord:
    """Points along the outer edge of an image's pixels, in ICRS."""
    ny, nx = shape
    part = np.linspace(0, 1, _EDGE_POINTS)
    x = np.concatenate([part, part, np.zeros_like(part), np.ones_like(part)]) * nx - 0.5
    y = np.concatenate([np.zeros_like(part), np.ones_like(part), part, part]) * ny - 0.5
    first = wcs.all_pix2world(np.stack([x, y], axis=1), 0)
    known = np.isfinite(first).all(axis=1)
    if not known.any():
        raise ProcessingError("an image's world coordinates are beside the sky at all its edges")
    frame = wcs_to_celestial_frame(wcs)
    return SkyCoord(first[known, wcs.wcs.lng], first[known, wcs.wcs.lat], unit="deg", frame=frame).icrs


def _tangential(ra_deg: float, dec_deg: float, scale_arcsec: float, turn: float) -> WCS:
    found = WCS(naxis=2)
    found.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    found.wcs.radesys = "ICRS"
    found.wcs.crval = [ra_deg, dec_deg]
    found.wcs.crpix = [1.0, 1.0]
    found.wcs.cdelt = np.array([-1.0, 1.0]) * scale_arcsec / 3600
    found.wcs.pc = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    found.wcs.set()
    return found


def _common_turn(worlds: Sequence[WCS], ra_deg: float, dec_deg: float) -> float:
    """The angle, radians within 45 degrees of nothing, by which the images' columns are turned against north; a right angle is as good as none."""
    plain = _tangential(ra_deg, dec_deg, 1.0, 0.0)
    total = 0j
    for wcs in worlds:
        x, y = (wcs.array_shape[1] / 2, wcs.array_shape[0] / 2) if wcs.array_shape else tuple(wcs.wcs.crpix - 1)
        u, v = across(wcs, plain, np.array([x, x]), np.array([y - 5.0, y + 5.0]))
        along = complex(v[1] - v[0], u[0] - u[1])
        if np.isfinite(along) and along:
            total += (along / abs(along)) ** 4
    return float(np.angle(total) / 4) if abs(total) > 0.5 else 0.0
