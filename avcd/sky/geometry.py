"""Planes that the sky is laid out on: gnomonic for world coordinates, stereographic for looking at shapes."""

from __future__ import annotations

import numpy as np

_ARCSEC = 3600.0
_HORIZON = 1e-6


def _local(
    ra_deg: np.ndarray, dec_deg: np.ndarray, ra0_deg: float, dec0_deg: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unit vectors seen from a direction: east, north, and towards it."""
    ra, dec = np.radians(np.asarray(ra_deg) - ra0_deg), np.radians(dec_deg)
    here = np.radians(dec0_deg)
    east = np.cos(dec) * np.sin(ra)
    north = np.sin(dec) * np.cos(here) - np.cos(dec) * np.sin(here) * np.cos(ra)
    towards = np.sin(dec) * np.sin(here) + np.cos(dec) * np.cos(here) * np.cos(ra)
    return east, north, towards


def project(ra_deg: np.ndarray, dec_deg: np.ndarray, ra0_deg: float, dec0_deg: float) -> np.ndarray:
    """Gnomonic projection on the tangent plane.

    Parameters
    ----------
    ra_deg, dec_deg : ndarray, shape (n,)
    ra0_deg, dec0_deg
        The point of tangency.

    Returns
    -------
    ndarray, shape (n, 2)
        [arcsec], east and north positive; NaN for positions a quarter of the sky away or more.
    """
    east, north, towards = _local(ra_deg, dec_deg, ra0_deg, dec0_deg)
    depth = np.where(towards > _HORIZON, towards, np.nan)
    return np.degrees(np.stack([east / depth, north / depth], axis=-1)) * _ARCSEC


def project_shapes(ra_deg: np.ndarray, dec_deg: np.ndarray, ra0_deg: float, dec0_deg: float) -> np.ndarray:
    """Stereographic projection: small shapes stay similar to themselves however far from the centre, the scale grows.

    Returns
    -------
    ndarray, shape (n, 2)
        [arcsec], east and north positive.
    """
    east, north, towards = _local(ra_deg, dec_deg, ra0_deg, dec0_deg)
    depth = np.where(towards > _HORIZON - 1, (1 + towards) / 2, np.nan)
    return np.degrees(np.stack([east / depth, north / depth], axis=-1)) * _ARCSEC


def unproject(plane_arcsec: np.ndarray, ra0_deg: float, dec0_deg: float) -> tuple[np.ndarray, np.ndarray]:
    """The inverse of `project`: right ascension and declination, degrees."""
    east, north = np.moveaxis(np.radians(np.asarray(plane_arcsec) / _ARCSEC), -1, 0)
    return _towards(east, north, ra0_deg, dec0_deg)


def unproject_shapes(plane_arcsec: np.ndarray, ra0_deg: float, dec0_deg: float) -> tuple[np.ndarray, np.ndarray]:
    """The inverse of `project_shapes`."""
    east, north = np.moveaxis(np.radians(np.asarray(plane_arcsec) / _ARCSEC), -1, 0)
    shrink = 1.0 - (east**2 + north**2) / 4.0
    return _towards(east / shrink, north / shrink, ra0_deg, dec0_deg)


def _towards(east: np.ndarray, north: np.ndarray, ra0_deg: float, dec0_deg: float) -> tuple[np.ndarray, np.ndarray]:
    here = np.radians(dec0_deg)
    across = np.cos(here) - north * np.sin(here)
    ra = ra0_deg + np.degrees(np.arctan2(east, across))
    dec = np.degrees(np.arctan2(np.sin(here) + north * np.cos(here), np.hypot(east, across)))
    return ra % 360.0, dec


def mean_direction(ra_deg: np.ndarray, dec_deg: np.ndarray) -> tuple[float, float]:
    """The mean of directions: an average of right ascensions would fail at 0 h and at the poles."""
    ra, dec = np.radians(ra_deg), np.radians(dec_deg)
    x, y, z = (float(np.mean(one)) for one in (np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)))
    return float(np.degrees(np.arctan2(y, x)) % 360), float(np.degrees(np.arctan2(z, np.hypot(x, y))))
