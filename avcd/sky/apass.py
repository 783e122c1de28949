"""APASS DR9 (Henden et al. 2015, AAS 225, 336.16) from VizieR, as stars of known magnitude for zero points."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
from astropy.coordinates import angular_separation

from avcd.errors import TransientError
from avcd.sky.reference import Stars
from avcd.sky.tiles import Bounds, Tiles, answer_of

_CATALOGUE = "II/336/apass9"
_PLACES = ("RAJ2000", "DEJ2000")
_WIDEST_DEG = 2.5


class VizierArchive(Protocol):
    """What asks VizieR: astroquery's ``VizierClass`` with the columns of `Apass.columns` and no limit of rows."""

    def query_constraints(self, **constraints: Any) -> Any:
        """A list of tables, empty where no row meets the constraints."""
        ...


class Apass:
    """APASS DR9 behind the interface of reference stars, to magnitude 17; positions of J2000, without proper motions.

    Parameters
    ----------
    directory, archive, timeout_s
        As of `avcd.sky.gaia.GaiaStars`.
    band
        Of the magnitudes: B and V are Johnson's, g, r and i Sloan's.
    """

    name = "APASS DR9"
    area_deg2 = 41253.0
    bands = ("V", "B", "g", "r", "i")
    columns = (*_PLACES, "Vmag", "Bmag", "g'mag", "r'mag", "i'mag")

    def __init__(
        self,
        directory: Path,
        archive: VizierArchive | None = None,
        band: str = "V",
        timeout_s: float | None = None,
    ) -> None:
        self.band = band
        self._directory = directory
        self._archive = archive
        self._timeout_s = timeout_s
        self._tiles = Tiles(directory, "apass-dr9", len(self.columns), None if archive is None else self._ask)

    def in_band(self, band: str) -> Apass:
        """The same stars with magnitudes in another band; those that have none in it are left out."""
        return Apass(self._directory, self._archive, band, self._timeout_s)

    def cone(self, ra_deg: float, dec_deg: float, radius_deg: float, limit: int | None = None) -> Stars:
        """The stars within ``radius_deg`` of a position, the brightest first, at most ``limit``; none in wide cones.

        Raises
        ------
        TransientError
            VizieR does not answer.
        """
        if radius_deg > _WIDEST_DEG:
            return Stars(np.empty(0), np.empty(0), np.empty(0))
        ra, dec, *mags = self._tiles.around(ra_deg, dec_deg, radius_deg).T
        mag = mags[self.bands.index(self.band)]
        distance = angular_separation(*np.radians((ra_deg, dec_deg)), np.radians(ra), np.radians(dec))
        near = np.flatnonzero((distance <= np.radians(radius_deg)) & np.isfinite(mag))
        near = near[np.argsort(mag[near], kind="stable")][:limit]
        return Stars(ra[near], dec[near], mag[near])

    def _ask(self, tile: Bounds) -> np.ndarray:
        archive = self._archive
        assert archive is not None
        bounds = {
            "RAJ2000": f">={tile.west:.6f} & <{tile.east:.6f}",
            "DEJ2000": f">={tile.south:.6f} & <{tile.north:.6f}",
        }
        tables = answer_of("VizieR", lambda: archive.query_constraints(catalog=_CATALOGUE, **bounds), self._timeout_s)
        if not len(tables):
            return np.empty((0, len(self.columns)))
        table = tables[0]
        # A prime is no character of a VOTable's names: what is asked for as g'mag comes as g_mag.
        found = {_plain(name): name for name in table.colnames}
        missing = [name for name in self.columns if _plain(name) not in found]
        if missing:
            raise TransientError(f"VizieR's answer lacks {', '.join(missing)} of {_CATALOGUE}")
        wanted = [np.ma.asarray(table[found[_plain(name)]]).astype(float) for name in self.columns]
        return np.column_stack([np.ma.filled(one, np.nan) for one in wanted])


def _plain(name: str) -> str:
    return "".join(one for one in name if one.isalnum())
