"""Gaia DR3 as reference stars of small fields, for places and for magnitudes.

The archive is asked through an object that is handed in, a tile of the sky at a time; without one only what is kept
already is used, and nothing touches the network. Positions are moved to the epoch that is asked for by the stars' proper
motions.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
from astropy.coordinates import angular_separation

from avcd.sky.reference import Stars
from avcd.sky.tiles import Bounds, Tiles, answer_of

_EPOCH = 2016.0  # of DR3's positions
_WIDEST_DEG = 2.5  # wider cones are for brighter catalogues
_FAINTEST_MAG = 18.0
_COLUMNS = (
    "ra", "dec", "pmra", "pmdec", "phot_g_mean_mag", "phot_bp_mean_mag", "phot_rp_mean_mag",
)  # fmt: skip
_MAS_PER_DEG = 3.6e6
_OWN = ("G", "BP", "RP")
# G less the magnitude as a polynomial of BP - RP, the constant first, and the colours that it holds for: Riello et al. 2021
# (A&A 649, A3, table C.2), Johnson-Cousins; single stars scatter by 0.03 to 0.04 mag.
_JOHNSON = {
    "V": ((-0.02704, 0.01424, -0.2156, 0.01426), (-0.5, 5.0)),
    "R": ((-0.02275, 0.3961, -0.1243, -0.01396, 0.003775), (0.0, 4.0)),
    "I": ((0.01753, 0.76, -0.0991), (-0.5, 4.5)),
}


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
    band
        Of the magnitudes, one of ``bands``: G, BP and RP as measured, V, R and I from them.
    timeout_s
        How long the archive may take for a tile; None: as long as it likes.
    """

    name = "Gaia DR3"
    area_deg2 = 41253.0
    bands = (*_OWN, *_JOHNSON)

    def __init__(
        self,
        directory: Path,
        archive: GaiaArchive | None = None,
        epoch: float = _EPOCH,
        band: str = "G",
        timeout_s: float | None = None,
    ) -> None:
        self.band = band
        self._made_of = (directory, archive, epoch)
        self._timeout_s = timeout_s
        self._years = epoch - _EPOCH
        self._archive = archive
        self._tiles = Tiles(directory, "gaia-dr3-bands", len(_COLUMNS), None if archive is None else self._ask)

    def in_band(self, band: str) -> GaiaStars:
        """The same stars with magnitudes in another band; those that have none in it are left out."""
        return GaiaStars(*self._made_of, band=band, timeout_s=self._timeout_s)

    def cone(self, ra_deg: float, dec_deg: float, radius_deg: float, limit: int | None = None) -> Stars:
        """The stars within ``radius_deg`` of a position, the brightest first, at most ``limit``; none in wide cones.

        Raises
        ------
        TransientError
            The archive does not answer.
        """
        if radius_deg > _WIDEST_DEG:
            return Stars(np.empty(0), np.empty(0), np.empty(0))
        ra, dec, across, north, *mags = self._tiles.around(ra_deg, dec_deg, radius_deg).T
        across, north = np.nan_to_num(across), np.nan_to_num(north)  # a motion that is not known
        moved = dec + north * self._years / _MAS_PER_DEG
        turned = ra + across * self._years / _MAS_PER_DEG / np.maximum(np.cos(np.radians(dec)), 1e-6)
        mag = magnitudes(self.band, *mags)
        distance = angular_separation(*np.radians((ra_deg, dec_deg)), np.radians(turned), np.radians(moved))
        near = np.flatnonzero((distance <= np.radians(radius_deg)) & np.isfinite(mag))
        near = near[np.argsort(mag[near], kind="stable")][:limit]
        return Stars(turned[near] % 360.0, moved[near], mag[near])

    def _ask(self, tile: Bounds) -> np.ndarray:
        """The stars of one tile, shape (n, 7); NaN for what is not known of one."""
        archive = self._archive
        assert archive is not None
        query = (
            f"SELECT {', '.join(_COLUMNS)} FROM gaiadr3.gaia_source WHERE phot_g_mean_mag < {_FAINTEST_MAG:g} "
            f"AND dec >= {tile.south:.6f} AND dec < {tile.north:.6f} AND ra >= {tile.west:.6f} AND ra < {tile.east:.6f}"
        )
        table = answer_of("the Gaia archive", lambda: archive.launch_job_async(query).get_results(), self._timeout_s)
        return np.column_stack([np.ma.filled(np.ma.asarray(table[name]).astype(float), np.nan) for name in _COLUMNS])


def magnitudes(band: str, g: np.ndarray, bp: np.ndarray, rp: np.ndarray) -> np.ndarray:
    """Magnitudes in a band from Gaia's three; NaN where a colour is not known or is none that the relation holds for.

    Parameters
    ----------
    band
        G, BP, RP, or Johnson's V, Cousins's R and I.
    """
    if band in _OWN:
        return (g, bp, rp)[_OWN.index(band)]
    constants, (bluest, reddest) = _JOHNSON[band]
    colour = bp - rp
    with np.errstate(invalid="ignore"):
        known = (colour >= bluest) & (colour <= reddest)
    return np.where(known, g - np.polynomial.polynomial.polyval(colour, constants), np.nan)
