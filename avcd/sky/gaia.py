"""Gaia DR3 as reference stars for small fields, kept by tiles of the sky so that each is asked for once.

The archive is asked through an object that is handed in; without one only what is kept already is used, and nothing
touches the network. Positions are moved to the epoch that is asked for by the stars' proper motions.
"""

from __future__ import annotations

import os
import secrets
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from astropy.coordinates import angular_separation

from avcd.errors import TransientError
from avcd.sky.reference import Stars

_EPOCH = 2016.0  # of DR3's positions
_TILE_DEG = 0.5
_WIDEST_DEG = 2.5  # wider cones are for brighter catalogues
_FAINTEST_MAG = 18.0
_COLUMNS = ("ra", "dec", "pmra", "pmdec", "phot_g_mean_mag")
_MAS_PER_DEG = 3.6e6


class GaiaArchive(Protocol):
    """What asks the archive: astroquery's ``Gaia``, or anything with its ``launch_job_async``."""

    def launch_job_async(self, query: str, **options: Any) -> Any:
        """Run a query in ADQL; the job's ``get_results()`` is a table."""
        ...


class GaiaStars:
    """Gaia DR3 behind the interface of reference stars.

    Parameters
    ----------
    directory
        Where tiles are kept; made when the first one is.
    archive
        What asks for tiles that are not there; None: they hold no stars.
    epoch
        Julian year that positions are wanted for.
    """

    name = "Gaia DR3"
    area_deg2 = 41253.0

    def __init__(self, directory: Path, archive: GaiaArchive | None = None, epoch: float = _EPOCH) -> None:
        self._directory = directory
        self._archive = archive
        self._years = epoch - _EPOCH

    def cone(self, ra_deg: float, dec_deg: float, radius_deg: float, limit: int | None = None) -> Stars:
        """The stars within ``radius_deg`` of a position, the brightest first, at most ``limit``; none in wide cones.

        Raises
        ------
        TransientError
            The archive does not answer.
        """
        if radius_deg > _WIDEST_DEG:
            return Stars(np.empty(0), np.empty(0), np.empty(0))
        rows = np.concatenate([self._tile(*one) for one in _tiles(ra_deg, dec_deg, radius_deg)])
        ra, dec, across, north, mag = rows.T
        moved = dec + north * self._years / _MAS_PER_DEG
        turned = ra + across * self._years / _MAS_PER_DEG / np.maximum(np.cos(np.radians(dec)), 1e-6)
        distance = angular_separation(*np.radians((ra_deg, dec_deg)), np.radians(turned), np.radians(moved))
        near = np.flatnonzero(distance <= np.radians(radius_deg))
        near = near[np.argsort(mag[near], kind="stable")][:limit]
        return Stars(turned[near] % 360.0, moved[near], mag[near])

    def _tile(self, band: int, column: int) -> np.ndarray:
        path = self._directory / f"gaia-dr3-{band:03d}-{column:03d}.npy"
        if path.is_file():
            return np.asarray(np.load(path))
        if self._archive is None:
            return np.empty((0, len(_COLUMNS)))
        rows = _ask(self._archive, band, column)
        self._directory.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{secrets.token_hex(4)}.part")
        with part.open("wb") as stream:
            np.save(stream, rows)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
        return rows


def _ask(archive: GaiaArchive, band: int, column: int) -> np.ndarray:
    """The stars of one tile, shape (n, 5), the proper motions that are not known being zero."""
    south, west, wide = _bounds(band, column)
    query = (
        f"SELECT {', '.join(_COLUMNS)} FROM gaiadr3.gaia_source WHERE phot_g_mean_mag < {_FAINTEST_MAG:g} "
        f"AND dec >= {south:.6f} AND dec < {south + _TILE_DEG:.6f} AND ra >= {west:.6f} AND ra < {west + wide:.6f}"
    )
    try:
        with redirect_stdout(sys.stderr):  # the client tells of its progress
            table = archive.launch_job_async(query).get_results()
    except Exception as error:  # the client hands on whatever its transport raises
        raise TransientError(f"the Gaia archive does not answer: {error}; try again, or leave --gaia away") from error
    columns = [np.ma.filled(np.ma.asarray(table[name]).astype(float), 0.0) for name in _COLUMNS]
    return np.nan_to_num(np.column_stack(columns))


def _bounds(band: int, column: int) -> tuple[float, float, float]:
    """Southern and western edge of a tile, and its width in right ascension, degrees."""
    south = band * _TILE_DEG - 90.0
    number = _columns(band)
    return south, column * 360.0 / number, 360.0 / number


def _columns(band: int) -> int:
    nearest = min(abs(band * _TILE_DEG - 90.0), abs((band + 1) * _TILE_DEG - 90.0))
    return max(1, int(np.ceil(360.0 * np.cos(np.radians(nearest)) / _TILE_DEG)))


def _tiles(ra_deg: float, dec_deg: float, radius_deg: float) -> list[tuple[int, int]]:
    """Every tile that a cone touches, and perhaps a few beside it."""
    found = []
    low = int(np.floor((max(dec_deg - radius_deg, -90.0) + 90.0) / _TILE_DEG))
    high = int(np.floor((min(dec_deg + radius_deg, 89.999999) + 90.0) / _TILE_DEG))
    for band in range(low, high + 1):
        number = _columns(band)
        edge = max(abs(band * _TILE_DEG - 90.0), abs((band + 1) * _TILE_DEG - 90.0), abs(dec_deg) + radius_deg)
        cosine = np.cos(np.radians(min(edge, 90.0)))
        reach = radius_deg / cosine if cosine > 1e-3 else 180.0
        if reach >= 90.0:
            found += [(band, one) for one in range(number)]
            continue
        first = int(np.floor((ra_deg - reach) * number / 360.0))
        last = int(np.floor((ra_deg + reach) * number / 360.0))
        found += [(band, one % number) for one in range(first, min(last, first + number - 1) + 1)]
    return found
