"""Plate solving: which stars of the reference catalogue a frame shows, and the world coordinates that follow.

Hinted and offline: the header's pointing and scale start the search, any rotation and either parity are tried.
Triangles of detected stars are matched to triangles of reference stars; each match proposes a similarity; the one under
which most stars meet is refined into a TAN or TAN-SIP solution. It is accepted only when so many meetings could not be
chance: a false solution is worse than none.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.utils.exceptions import AstropyUserWarning
from astropy.wcs import WCS, FITSFixedWarning
from astropy.wcs.utils import fit_wcs_from_points
from scipy.spatial import cKDTree
from scipy.stats import binom
from scipy.stats import f as f_distribution

from avcd.frame import Frame, Wcs
from avcd.sky.detection import Sources
from avcd.sky.matching import propose_similarities
from avcd.sky.reference import ReferenceStars, Stars

_SCALE_TOLERANCE = 0.10
_FEWEST = 6  # matched stars; fewer leave no redundancy beside the four to six numbers of the fit
_CHANCE = 1e-9  # of so many meetings by accident, over all hypotheses tried
_SIGNIFICANT = 1e-3  # of the F test that lets distortion in
_REFERENCE_LIMIT = 4000


@dataclass(frozen=True)
class Hint:
    """Where a search begins. ``wcs`` is what the telescope delivered, if anything."""

    ra_deg: float | None
    dec_deg: float | None
    scale_arcsec: float | None
    wcs: WCS | None = None


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


@dataclass(frozen=True)
class _Match:
    """A fit and the stars it rests on."""

    wcs: WCS
    image: np.ndarray
    sky: SkyCoord
    rms_px: float
    in_field: int
    chance: float


def hint_from(frame: Frame, wcs: WCS | None) -> Hint:
    """The hint that a catalogued frame's values give."""
    return Hint(frame.s_ra, frame.s_dec, frame.pixel_scale_arcsec, wcs)


def solve_field(
    sources: Sources,
    shape: tuple[int, int],
    hint: Hint,
    reference: ReferenceStars,
    *,
    radius_deg: float | None = None,
    max_sip_order: int = 3,
) -> Solution:
    """Solve one frame.

    Parameters
    ----------
    sources
        Detected stars with ``xy`` of shape (n, 2), 0-based, the brightest first.
    shape
        (ny, nx) [px].
    hint
        Pointing and scale; the scale may be off by 10 %, the pointing by ``radius_deg``.
    reference
        Where reference stars come from.
    radius_deg
        How far the true centre may be from the hint; None: one and a half fields.
    max_sip_order
        Highest order of distortion tried; 0 for none.

    Returns
    -------
    Solution
        SOLVED; DELIVERED or REFINED when the hint brought world coordinates that hold; REFUSED with the reason when
        nothing could be trusted; NONE when there was nothing to start from.
    """
    xy = np.column_stack([sources.x, sources.y]).astype(np.float64)
    if hint.wcs is not None:
        checked = _check_delivered(xy, shape, hint.wcs, reference, max_sip_order)
        if checked is not None:
            return checked
    scale = hint.scale_arcsec or (_scale_of(hint.wcs) if hint.wcs is not None else None)
    centre = _centre_of(hint, shape)
    if centre is None:
        return Solution(Wcs.NONE, reason="the header has no pointing")
    if scale is None:
        return Solution(Wcs.NONE, reason="the scale is not known: neither card, focal length nor profile gives it")
    if len(xy) < _FEWEST:
        return Solution(Wcs.REFUSED, matched=0, reason=f"{len(xy)} stars detected, at least {_FEWEST} are needed")
    return _search(xy, shape, centre, scale, reference, radius_deg, max_sip_order)


def _search(
    xy: np.ndarray,
    shape: tuple[int, int],
    centre: tuple[float, float],
    scale: float,
    reference: ReferenceStars,
    radius_deg: float | None,
    max_sip_order: int,
) -> Solution:
    half_deg = np.hypot(*shape) / 2 * scale / 3600
    far = radius_deg if radius_deg is not None else 1.5 * max(shape) * scale / 3600
    best: _Match | None = None
    seen = 0
    for off in sorted({min(0.25 * half_deg, far), far}):
        stars = reference.cone(*centre, off + half_deg * (1 + _SCALE_TOLERANCE), _REFERENCE_LIMIT)
        expected = len(stars) * (half_deg / (off + half_deg)) ** 2 * 2 / np.pi
        seen = max(seen, round(expected))
        if len(stars) < _FEWEST:
            continue
        plane = _project(stars, centre)
        count = int(np.clip(1.5 * expected + 10, 15, 60))
        for matrix in propose_similarities(xy[:count], plane / scale * 3600, count, _SCALE_TOLERANCE):
            found = _refine(xy, shape, stars, matrix, centre, scale)
            if found is not None and (best is None or found.chance < best.chance):
                best = found
            if best is not None and best.chance < _CHANCE * 1e-3:
                break
        if best is not None and best.chance < _CHANCE:
            break
    if best is None or best.chance >= _CHANCE or len(best.image) < _FEWEST:
        if seen < _FEWEST:
            reason = f"about {seen} {reference.name} stars in the field, at least {_FEWEST} are needed"
        else:
            matched = 0 if best is None else len(best.image)
            reason = f"no match with {reference.name} beyond chance ({matched} stars met)"
        return Solution(Wcs.REFUSED, matched=0 if best is None else len(best.image), in_field=seen, reason=reason)
    return _solution(Wcs.SOLVED, best, shape, max_sip_order)


def _solution(state: Wcs, match: _Match, shape: tuple[int, int], max_sip_order: int) -> Solution:
    wcs, order, rms_px = _with_distortion(match, shape, max_sip_order)
    return Solution(
        state,
        wcs,
        rms_arcsec=rms_px * _scale_of(wcs),
        matched=len(match.image),
        in_field=match.in_field,
        sip_order=order,
        chance=match.chance,
    )


def _check_delivered(
    xy: np.ndarray, shape: tuple[int, int], wcs: WCS, reference: ReferenceStars, max_sip_order: int
) -> Solution | None:
    """Hold delivered world coordinates against the stars; None when they are wrong and a search should decide."""
    centre = _centre_of(Hint(None, None, None, wcs), shape)
    scale = _scale_of(wcs)
    if centre is None or not 0 < scale < 3600:
        return None
    half_deg = np.hypot(*shape) / 2 * scale / 3600
    stars = reference.cone(*centre, half_deg, _REFERENCE_LIMIT)
    inside, predicted = _inside(stars, wcs, shape)
    if not len(inside):
        return Solution(
            Wcs.DELIVERED, wcs, matched=0, in_field=0, reason=f"not verified: no {reference.name} star in the field"
        )
    wide = max(5.0, 5.0 / scale)  # px: five arc seconds, or five pixels
    pairs = _pairs(xy, predicted, wide)
    chance = _chance_of(len(pairs[0]), len(predicted), len(xy), wide, shape, free=0, trials=1)
    if len(pairs[0]) >= _FEWEST and chance < _CHANCE:
        match = _converge(xy, shape, stars, wcs, trials=1)
        if match is None:
            return None
        shift = np.sqrt(((xy[pairs[0]] - predicted[pairs[1]]) ** 2).sum(axis=1).mean())
        if shift <= max(1.0, 1.5 * match.rms_px):
            return Solution(Wcs.DELIVERED, wcs, shift * scale, len(pairs[0]), len(predicted), chance=chance)
        return _solution(Wcs.REFINED, match, shape, max_sip_order)
    if len(predicted) < _FEWEST or len(xy) < _FEWEST:
        # Too few to prove it either way: kept when the few that should be there are, near a detection.
        if len(pairs[0]) * 2 >= len(predicted) and len(xy):
            note = f"not verified: {len(pairs[0])} of {len(predicted)} {reference.name} stars of the field were found"
            return Solution(Wcs.DELIVERED, wcs, matched=len(pairs[0]), in_field=len(predicted), reason=note)
        note = f"the delivered world coordinates fit {len(pairs[0])} of {len(predicted)} {reference.name} stars"
        return Solution(Wcs.REFUSED, matched=len(pairs[0]), in_field=len(predicted), reason=note)
    return None


def _centre_of(hint: Hint, shape: tuple[int, int]) -> tuple[float, float] | None:
    if hint.ra_deg is not None and hint.dec_deg is not None:
        return hint.ra_deg, hint.dec_deg
    if hint.wcs is None:
        return None
    ra, dec = hint.wcs.all_pix2world((shape[1] - 1) / 2, (shape[0] - 1) / 2, 0)
    return (float(ra), float(dec)) if np.isfinite(ra) and np.isfinite(dec) else None


def _scale_of(wcs: WCS) -> float:
    """Arc seconds a pixel."""
    return float(np.sqrt(abs(np.linalg.det(wcs.pixel_scale_matrix)))) * 3600


def _project(stars: Stars, centre: tuple[float, float]) -> np.ndarray:
    """Gnomonic projection on the tangent plane at ``centre``, degrees, shape (n, 2): east and north."""
    ra, dec = np.radians(stars.ra_deg - centre[0]), np.radians(stars.dec_deg)
    here = np.radians(centre[1])
    cosine = np.sin(here) * np.sin(dec) + np.cos(here) * np.cos(dec) * np.cos(ra)
    safe = np.where(cosine > 0.01, cosine, np.nan)
    east = np.cos(dec) * np.sin(ra) / safe
    north = (np.cos(here) * np.sin(dec) - np.sin(here) * np.cos(dec) * np.cos(ra)) / safe
    return np.degrees(np.column_stack([east, north]))


def _tan(matrix: np.ndarray, centre: tuple[float, float], scale: float, shape: tuple[int, int]) -> WCS:
    """World coordinates of a mapping (2, 3) from pixels to the tangent plane in units of ``scale``, moved to the frame's
    centre."""
    middle = np.array([(shape[1] - 1) / 2, (shape[0] - 1) / 2])
    first = WCS(naxis=2)
    first.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    first.wcs.crval = centre
    linear = matrix[:, :2] * scale / 3600
    # The pixel of the hint's position; it may lie outside of the frame.
    first.wcs.crpix = np.linalg.solve(matrix[:, :2], -matrix[:, 2]) + 1
    first.wcs.cd = linear
    first.wcs.set()
    ra, dec = first.all_pix2world(*middle, 0)
    near = np.array(first.all_pix2world(*(middle[:, None] + np.array([[0, 1, 0], [0, 0, 1]])), 0))
    moved = WCS(naxis=2)
    moved.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    moved.wcs.crval = [float(ra), float(dec)]
    moved.wcs.crpix = middle + 1
    steps = _project(Stars(near[0], near[1], np.zeros(3)), (float(ra), float(dec)))
    moved.wcs.cd = (steps[1:] - steps[0]).T
    moved.wcs.set()
    return moved


def _refine(
    xy: np.ndarray, shape: tuple[int, int], stars: Stars, matrix: np.ndarray, centre: tuple[float, float], scale: float
) -> _Match | None:
    return _converge(xy, shape, stars, _tan(matrix, centre, scale, shape), trials=100_000)


def _inside(stars: Stars, wcs: WCS, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Indices and pixel positions of the reference stars that fall on the frame."""
    x, y = wcs.all_world2pix(stars.ra_deg, stars.dec_deg, 0, quiet=True)
    x, y = np.asarray(x), np.asarray(y)
    with np.errstate(invalid="ignore"):
        inside = np.flatnonzero((x >= 0) & (y >= 0) & (x <= shape[1] - 1) & (y <= shape[0] - 1))
    return inside, np.column_stack([x[inside], y[inside]])


def _pairs(xy: np.ndarray, predicted: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Mutual nearest neighbours within a radius: indices into ``xy`` and ``predicted``."""
    if not len(xy) or not len(predicted):
        return np.empty(0, int), np.empty(0, int)
    distance, nearest = cKDTree(xy).query(predicted, distance_upper_bound=radius)
    _, back = cKDTree(predicted).query(xy)
    good = np.flatnonzero(np.isfinite(distance))
    good = good[back[nearest[good]] == good]
    return nearest[good], good


def _converge(xy: np.ndarray, shape: tuple[int, int], stars: Stars, wcs: WCS, trials: int) -> _Match | None:
    """Match and fit in turn, with a shrinking radius, until the same stars stay."""
    radius = max(6.0, 0.006 * max(shape))
    kept: tuple[int, ...] = ()
    for _ in range(12):
        inside, predicted = _inside(stars, wcs, shape)
        # No more detections than stars could be: each further one is a chance to meet by accident.
        brightest = xy[: max(30, 4 * len(inside))]
        ours, theirs = _pairs(brightest, predicted, radius)
        if len(ours) < 4:
            return None
        sky = SkyCoord(stars.ra_deg[inside[theirs]] * u.deg, stars.dec_deg[inside[theirs]] * u.deg)
        wcs = _linear_fit(brightest[ours], sky, shape)
        residual = _residuals(wcs, brightest[ours], sky)
        rms = float(np.sqrt((residual**2).sum(axis=1).mean()))
        signature = tuple(int(one) for one in ours)
        smallest = float(np.clip(3 * np.median(np.hypot(*residual.T)) * 1.2, 1.0, radius))
        if signature == kept and smallest >= radius * 0.95:
            break
        kept, radius = signature, max(smallest, radius * 0.5)
    inside, predicted = _inside(stars, wcs, shape)
    chance = _chance_of(len(ours), len(predicted), len(brightest), radius, shape, free=3, trials=trials)
    return _Match(wcs, brightest[ours], sky, rms, len(predicted), chance)


def _chance_of(
    met: int, references: int, detections: int, radius: float, shape: tuple[int, int], *, free: int, trials: int
) -> float:
    """How often so many reference stars would meet a detection by accident, over all hypotheses tried.

    Detections scattered at random cover a part p of the frame with their circles; each reference star falls into one
    with that probability; ``free`` meetings are given away to the fit. The binomial tail times the trials.
    """
    covered = 1 - np.exp(-detections * np.pi * radius**2 / (shape[0] * shape[1]))
    tail = float(binom.sf(met - free - 1, max(references - free, 0), covered)) if met > free else 1.0
    return min(1.0, tail * trials)


def _linear_fit(xy: np.ndarray, sky: SkyCoord, shape: tuple[int, int]) -> WCS:
    """A TAN solution by least squares on the tangent plane: what `_fit` finds, at a fraction of its cost."""
    middle = _middle(sky)
    centre = float(middle.ra.deg), float(middle.dec.deg)
    plane = _project(Stars(sky.ra.deg, sky.dec.deg, np.zeros(len(xy))), centre)
    design = np.column_stack([xy, np.ones(len(xy))])
    coefficients, *_ = np.linalg.lstsq(design, plane, rcond=None)
    return _tan(coefficients.T, centre, 3600.0, shape)


def _fit(xy: np.ndarray, sky: SkyCoord, shape: tuple[int, int], order: int) -> WCS:
    """A TAN, or TAN-SIP, solution through matched stars (Shupe et al. 2005, ASP 347, 491, for SIP)."""
    # The reference point is the frame's centre, about which distortion is symmetric.
    centre = SkyCoord(*(_linear_fit(xy, sky, shape).wcs.crval * u.deg))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)
        warnings.simplefilter("ignore", AstropyUserWarning)
        warnings.simplefilter("ignore", RuntimeWarning)
        found = fit_wcs_from_points((xy[:, 0], xy[:, 1]), sky, proj_point=centre, sip_degree=order or None)
    found.pixel_shape = (shape[1], shape[0])
    return found


def _middle(sky: SkyCoord) -> SkyCoord:
    """The mean direction: an average of right ascensions would fail at 0 h and at the poles."""
    x, y, z = (float(np.mean(one)) for one in sky.cartesian.xyz.value)
    return SkyCoord(np.degrees(np.arctan2(y, x)) % 360 * u.deg, np.degrees(np.arctan2(z, np.hypot(x, y))) * u.deg)


def _residuals(wcs: WCS, xy: np.ndarray, sky: SkyCoord) -> np.ndarray:
    x, y = wcs.all_world2pix(sky.ra.deg, sky.dec.deg, 0, quiet=True)
    return xy - np.column_stack([x, y])


def _with_distortion(match: _Match, shape: tuple[int, int], max_order: int) -> tuple[WCS, int, float]:
    """The simplest solution that a higher order does not improve beyond chance (F test on the residuals)."""
    best, order = _fit(match.image, match.sky, shape, 0), 0
    rms = float(np.sqrt((_residuals(best, match.image, match.sky) ** 2).sum(axis=1).mean()))
    count = 2 * len(match.image)
    squares, terms = rms**2 * len(match.image), 6
    for candidate in range(2, max_order + 1):
        more = 6 + 2 * sum(n + 1 for n in range(2, candidate + 1))
        if count < 3 * more:
            break
        wcs = _fit(match.image, match.sky, shape, candidate)
        residual = _residuals(wcs, match.image, match.sky)
        if not np.isfinite(residual).all():
            continue
        new = float((residual**2).sum())
        if new >= squares:
            continue
        ratio = ((squares - new) / (more - terms)) / (new / (count - more))
        if f_distribution.sf(ratio, more - terms, count - more) < _SIGNIFICANT:
            best, order, squares, terms = wcs, candidate, new, more
            rms = float(np.sqrt(new / len(match.image)))
    return best, order, rms
