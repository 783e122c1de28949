"""World coordinates that somebody else found, held against the stars: kept, refined, or not believed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from astropy.wcs import WCS
from scipy.stats import f as f_distribution

from avcd.frame import Wcs
from avcd.sky.chance import weigh_match
from avcd.sky.convergence import Match, Search, converge, inside, map_of, pair
from avcd.sky.fitting import SkyToPixel
from avcd.sky.reference import ReferenceStars
from avcd.sky.solutions import CERTAIN, FEWEST, Hint, Solution, centre_of, scale_of, solution_of

_LIMIT = 20_000  # reference stars
_STAY_PX = 1.0  # world coordinates that stars move by less are kept
_CHANCE_CLOSER = 1e-4  # of a fit that is closer by its freedom alone
_WIDE_PX, _WIDE_ARCSEC = 5.0, 5.0  # how far off delivered ones may be and still be refined


@dataclass(frozen=True)
class Held:
    """What the stars say of world coordinates: how many should be there, how many are, the chance of that, a better fit.

    ``nearest_px`` is the root mean square distance of those that were found.
    """

    expected: int
    met: int
    log_chance: float
    nearest_px: float
    match: Match | None

    @property
    def certain(self) -> bool:
        """Whether this is no chance."""
        return self.log_chance < CERTAIN


def hold(
    xy: np.ndarray, shape: tuple[int, ...], wcs: WCS, reference: ReferenceStars, max_sip_order: int
) -> Held | None:
    """Hold world coordinates against the stars; None where they make no sense at all.

    Parameters
    ----------
    xy : ndarray, shape (n, 2)
        The frame's stars, the brightest first.
    """
    centre, scale = centre_of(Hint(None, None, None, wcs), shape), scale_of(wcs)
    if centre is None or not 0 < scale < 3600:
        return None
    stars = reference.cone(*centre, 1.1 * math.hypot(*shape) / 2 * scale / 3600, _LIMIT)
    delivered = map_of(wcs, shape)
    if not np.isfinite(delivered.coefficients).all():
        return None
    predicted = delivered(stars.ra_deg, stars.dec_deg) if len(stars) else np.empty((0, 2))
    predicted = predicted[inside(predicted, shape)]
    wide = max(_WIDE_PX, _WIDE_ARCSEC / scale)
    reaches = (1.5, 3.0, wide)
    log_chance = min(
        weigh_match(predicted, xy, shape, reach, np.log(len(reaches))).log_probability for reach in reaches
    )
    ours, theirs = pair(xy, predicted, wide)
    nearest = float(np.sqrt(((xy[ours] - predicted[theirs]) ** 2).sum(axis=1).mean())) if len(ours) else np.inf
    match = None
    if log_chance < CERTAIN:
        search = Search(wide * scale / 3600, 0.01, scale)
        match = converge(xy, shape, stars, delivered, search, max_sip_order, rough=False)
        if match is not None and (not match.sound or len(match.pixels) < FEWEST):
            match = None
    return Held(len(predicted), len(ours), log_chance, nearest, match)


def check_delivered(
    xy: np.ndarray,
    shape: tuple[int, ...],
    wcs: WCS,
    reference: ReferenceStars,
    max_sip_order: int,
    *,
    closely: bool = False,
) -> Solution | None:
    """Judge what the telescope delivered: kept, refined, refused; None when it is wrong and a search should decide.

    Parameters
    ----------
    closely
        Whether it is refined wherever the stars lie significantly closer by it, not only where it is off by a pixel.
    """
    held = hold(xy, shape, wcs, reference, max_sip_order)
    if held is None:
        return None
    name = reference.name
    if held.certain:
        match = held.match
        if match is not None and (
            _moved_px(wcs, match.fit.wcs, shape) > max(_STAY_PX, 1.5 * match.fit.rms_px)
            or (closely and _is_closer(map_of(wcs, shape), match))
        ):
            return solution_of(Wcs.REFINED, match, reference)
        residual = held.nearest_px if held.match is None else _residual_px(map_of(wcs, shape), held.match)
        matched = held.met if held.match is None else len(held.match.pixels)
        return Solution(
            Wcs.DELIVERED, wcs, residual * scale_of(wcs), matched, held.expected,
            chance=float(np.exp(held.log_chance)), reference=name,
        )  # fmt: skip
    if not held.expected:
        note = f"not verified: no {name} star in the field"
        return Solution(Wcs.DELIVERED, wcs, matched=0, in_field=0, reason=note)
    if held.expected < FEWEST or len(xy) < FEWEST:
        # Too few to prove it either way: kept when the few that should be there are, near a detection.
        if held.met * 2 >= held.expected and len(xy):
            note = f"not verified: {held.met} of {held.expected} {name} stars of the field were found"
            return Solution(Wcs.DELIVERED, wcs, matched=held.met, in_field=held.expected, reason=note)
        note = f"the delivered world coordinates fit {held.met} of {held.expected} {name} stars"
        return Solution(Wcs.REFUSED, matched=held.met, in_field=held.expected, reason=note)
    return None


def agreement_arcsec(xy: np.ndarray, shape: tuple[int, ...], wcs: WCS, reference: ReferenceStars) -> float:
    """How far the stars lie from their reference by world coordinates, root mean square; infinite where they do not fit."""
    held = hold(xy, shape, wcs, reference, 0)
    if held is None or held.match is None:
        return math.inf
    return _residual_px(map_of(wcs, shape), held.match) * scale_of(wcs)


def _is_closer(delivered: SkyToPixel, match: Match) -> bool:
    """Whether a fit leaves less than the delivered coordinates, beyond what its freedom explains: an F test."""
    stars, free = len(match.pixels), match.fit.model.parameters
    left = 2 * stars - free
    after = stars * match.fit.rms_px**2
    gained = stars * _residual_px(delivered, match) ** 2 - after
    if left <= 0 or after <= 0:
        return False
    return bool(f_distribution.sf(gained / free / (after / left), free, left) < _CHANCE_CLOSER)


def _residual_px(delivered: SkyToPixel, match: Match) -> float:
    distance = delivered(match.ra_deg, match.dec_deg) - match.pixels
    return float(np.sqrt((distance**2).sum(axis=1).mean()))


def _moved_px(one: WCS, other: WCS, shape: tuple[int, ...]) -> float:
    """The root mean square distance between two world coordinates over the frame."""
    x, y = (a.ravel() for a in np.meshgrid(np.linspace(0, shape[1] - 1, 5), np.linspace(0, shape[0] - 1, 5)))
    back = map_of(one, shape)(*other.all_pix2world(x, y, 0))
    return float(np.sqrt(((back - np.column_stack([x, y])) ** 2).sum(axis=1).mean()))
