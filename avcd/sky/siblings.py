"""Stars of frames that are solved already, as reference stars for others of the same field, however small it is."""

from __future__ import annotations

import numpy as np
from astropy.coordinates import angular_separation
from astropy.wcs import WCS

from avcd.sky.detection import SourceFlag, Sources
from avcd.sky.reference import Stars

_MOST = 400
_UNSURE = SourceFlag.EDGE | SourceFlag.EXTENDED | SourceFlag.MASKED


class SolvedStars:
    """The stars of one solved frame. Magnitudes are instrumental: only their order counts."""

    def __init__(self, name: str, ra_deg: np.ndarray, dec_deg: np.ndarray, flux: np.ndarray, area_deg2: float) -> None:
        good = np.flatnonzero(np.isfinite(ra_deg) & np.isfinite(dec_deg) & (flux > 0))
        order = good[np.argsort(-flux[good], kind="stable")][:_MOST]
        self.name = name
        self.area_deg2 = area_deg2
        self._stars = Stars(ra_deg[order] % 360.0, dec_deg[order], -2.5 * np.log10(flux[order]))

    @classmethod
    def of(cls, name: str, sources: Sources, wcs: WCS, shape: tuple[int, ...]) -> SolvedStars:
        """Those of a frame's detections that are whole and star-like, where its world coordinates put them."""
        sure = (np.asarray(sources.flags) & _UNSURE) == 0
        ra, dec = wcs.all_pix2world(sources.x[sure], sources.y[sure], 0) if sure.any() else (np.empty(0), np.empty(0))
        area = abs(float(np.linalg.det(wcs.pixel_scale_matrix))) * shape[0] * shape[1]
        return cls(name, np.asarray(ra), np.asarray(dec), np.asarray(sources.flux)[sure], area)

    def cone(self, ra_deg: float, dec_deg: float, radius_deg: float, limit: int | None = None) -> Stars:
        """The stars within ``radius_deg`` of a position, the brightest first, at most ``limit``."""
        here = self._stars
        distance = angular_separation(
            np.radians(ra_deg), np.radians(dec_deg), np.radians(here.ra_deg), np.radians(here.dec_deg)
        )
        near = np.flatnonzero(distance <= np.radians(radius_deg))[:limit]
        return Stars(here.ra_deg[near], here.dec_deg[near], here.mag[near])
