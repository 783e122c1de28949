"""What a plate solution starts from, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy.wcs import WCS

from avcd.frame import Frame, Wcs
from avcd.sky.convergence import Match
from avcd.sky.reference import ReferenceStars

FEWEST = 6  # matched stars; fewer leave no redundancy beside the four to six numbers of the fit
CERTAIN = float(np.log(1e-7))  # probability of any false solution of a frame as good as this


@dataclass(frozen=True)
class Hint:
    """Where a search begins. ``wcs`` is what the telescope delivered, if anything.

    ``factors`` are what the scale may be wrong by as a whole: a binning that was counted twice, or not at all.
    """

    ra_deg: float | None
    dec_deg: float | None
    scale_arcsec: float | None
    wcs: WCS | None = None
    factors: tuple[float, ...] = ()


@dataclass(frozen=True)
class Solution:
    """The outcome: a state, the world coordinates if any, their figures, and the reason where there are none."""

    state: Wcs
    wcs: WCS | None = None
    rms_arcsec: float | None = None
    matched: int | None = None
    in_field: int | None = None
    sip_order: int = 0
    chance: float | None = None
    reason: str = ""
    reference: str = ""

    @property
    def verified(self) -> bool:
        """Whether the stars prove it."""
        return self.wcs is not None and self.chance is not None and self.chance < np.exp(CERTAIN)


def hint_from(frame: Frame, wcs: WCS | None) -> Hint:
    """The hint that a catalogued frame's values give."""
    binning = int(frame.binning[0]) if frame.binning and frame.binning[0].isdigit() else 1
    factors = (float(binning), 1.0 / binning) if binning > 1 else ()
    return Hint(frame.s_ra, frame.s_dec, frame.pixel_scale_arcsec, wcs, factors)


def solution_of(state: Wcs, match: Match, reference: ReferenceStars) -> Solution:
    """A fit as the outcome."""
    return Solution(
        state,
        match.fit.wcs,
        rms_arcsec=match.fit.rms_px * match.fit.scale_arcsec,
        matched=len(match.pixels),
        in_field=match.in_field,
        sip_order=match.fit.model.sip_order,
        chance=float(np.exp(match.evidence.log_probability)),
        reference=reference.name,
    )


def centre_of(hint: Hint, shape: tuple[int, ...]) -> tuple[float, float] | None:
    """Where the frame's centre should be, degrees; None where nothing says so."""
    if hint.ra_deg is not None and hint.dec_deg is not None:
        return hint.ra_deg, hint.dec_deg
    if hint.wcs is None:
        return None
    ra, dec = hint.wcs.all_pix2world((shape[1] - 1) / 2, (shape[0] - 1) / 2, 0)
    return (float(ra), float(dec)) if np.isfinite(ra) and np.isfinite(dec) else None


def scale_of(wcs: WCS) -> float:
    """Arc seconds a pixel."""
    return float(np.sqrt(abs(np.linalg.det(wcs.pixel_scale_matrix)))) * 3600
