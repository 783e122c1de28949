"""Stars of frames that are solved already, as reference stars for others of the same field, however small it is."""

from __future__ import annotations

import numpy as np
from astropy.coordinates import angular_separation
from astropy.wcs import WCS

from avcd.sky.detection import SourceFlag, Sources
from avcd.sky.geometry import mean_direction, project
from avcd.sky.reference import Stars

_MOST = 400
_UNSURE = SourceFlag.EDGE | SourceFlag.EXTENDED | SourceFlag.MASKED


class SolvedStars:
    """The stars of one solved frame. Magnitudes are instrumental: only their order counts."""

    def __init__(self, name: str, ra_deg: np.ndarray, dec_deg: np.ndarray, flux: np.ndarray) -> None:
        good = np.flatnonzero(np.isfinite(ra_deg) & np.isfinite(dec_deg) & (flux > 0))
        order = good[np.argsort(-flux[good], kind="stable")][:_MOST]
        self.name = name
        self._stars = Stars(ra_deg[order] % 360.0, dec_deg[order], -2.5 * np.log10(flux[order]))
        self.centre = mean_direction(self._stars.ra_deg, self._stars.dec_deg) if len(order) else (0.0, 0.0)
        plane = project(self._stars.ra_deg, self._stars.dec_deg, *self.centre) / 3600
        self.area_deg2 = float(np.prod(np.ptp(plane, axis=0))) if len(order) > 1 else 0.0

    @classmethod
    def of(cls, name: str, sources: Sources, wcs: WCS) -> SolvedStars:
        """Those of a frame's detections, where its world coordinates put them."""
        ra, dec = wcs.all_pix2world(sources.x, sources.y, 0) if len(sources) else (np.empty(0), np.empty(0))
        return cls.of_table(name, np.asarray(ra), np.asarray(dec), sources.flux, sources.flags)

    @classmethod
    def of_table(
        cls, name: str, ra_deg: np.ndarray, dec_deg: np.ndarray, flux: np.ndarray, flags: np.ndarray
    ) -> SolvedStars:
        """Those of a source table that are whole and star-like."""
        sure = (np.asarray(flags) & _UNSURE) == 0
        return cls(name, ra_deg[sure], dec_deg[sure], np.asarray(flux)[sure])

    def cone(self, ra_deg: float, dec_deg: float, radius_deg: float, limit: int | None = None) -> Stars:
        """The stars within ``radius_deg`` of a position, the brightest first, at most ``limit``."""
        here = self._stars
        distance = angular_separation(
            np.radians(ra_deg), np.radians(dec_deg), np.radians(here.ra_deg), np.radians(here.dec_deg)
        )
        near = np.flatnonzero(distance <= np.radians(radius_deg))[:limit]
        return Stars(here.ra_deg[near], here.dec_deg[near], here.mag[near])
