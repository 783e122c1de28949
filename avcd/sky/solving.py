"""Plate solving: which stars of the reference catalogue a frame shows, and the world coordinates that follow.

Hinted and offline: the header's pointing and scale start the search, any rotation and either parity are tried.
Triangles of detected stars vote for how the frame lies on the sky; each candidate is refined into a TAN or TAN-SIP
solution, which is accepted only when so many meetings of stars could not be chance, everything that was searched being
counted in: a false solution is worse than none. Delivered world coordinates are held against the stars first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from astropy.wcs import WCS

from avcd.frame import Frame, Wcs
from avcd.sky.chance import log_searched, weigh_match
from avcd.sky.convergence import Match, Search, converge, inside, map_of, pair
from avcd.sky.detection import SourceFlag, Sources
from avcd.sky.fitting import SkyToPixel, fit_to_pixels
from avcd.sky.geometry import project_shapes, unproject_shapes
from avcd.sky.matching import Similarity, propose_similarities
from avcd.sky.reference import ReferenceStars, Stars

_SCALE_TOLERANCE = 0.12  # 10 per cent, and some for what a lens does
_FEWEST = 6  # matched stars; fewer leave no redundancy beside the four to six numbers of the fit
_CERTAIN = np.log(1e-9)  # probability of any false solution of a frame as good as this
_NO_DOUBT = np.log(1e-14)  # from which on nothing better is looked for
_REFERENCE_LIMIT = 20_000
_PROPOSALS = 10
_NEAR_PART = 0.3  # of the field: pointings are mostly this good
_APART = 0.006  # of the side: sources nearer than this to a brighter one are parts of it, or hide in its wings
_STAY_PX = 1.0  # delivered world coordinates that stars move by less are kept


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
        return self.wcs is not None and self.chance is not None and self.chance < np.exp(_CERTAIN)


def hint_from(frame: Frame, wcs: WCS | None) -> Hint:
    """The hint that a catalogued frame's values give."""
    binning = int(frame.binning[0]) if frame.binning and frame.binning[0].isdigit() else 1
    factors = (float(binning), 1.0 / binning) if binning > 1 else ()
    return Hint(frame.s_ra, frame.s_dec, frame.pixel_scale_arcsec, wcs, factors)


def solve_field(
    sources: Sources,
    shape: tuple[int, ...],
    hint: Hint,
    reference: ReferenceStars | Sequence[ReferenceStars],
    *,
    radius_deg: float | None = None,
    max_sip_order: int = 3,
) -> Solution:
    """Solve one frame.

    Parameters
    ----------
    sources
        Detected stars, positions 0-based, the brightest first.
    shape
        (ny, nx) [px].
    hint
        Pointing and scale; the scale may be off by 10 %, the pointing by ``radius_deg``.
    reference
        Where reference stars come from; of several the next is asked where one proves nothing.
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
    references = [reference] if hasattr(reference, "cone") else list(reference)
    xy = _stars_of(sources)
    first: Solution | None = None
    for one in references:
        found = _solve_with(xy, shape, hint, one, radius_deg, max_sip_order)
        if found.verified or found.state is Wcs.NONE:
            return found
        # What the first says of an unproven frame stands: later ones may cover a part of it only.
        first = first or found
    assert first is not None, "solve_field needs a reference"
    return first


def _solve_with(
    xy: np.ndarray,
    shape: tuple[int, ...],
    hint: Hint,
    reference: ReferenceStars,
    radius_deg: float | None,
    max_sip_order: int,
) -> Solution:
    if hint.wcs is not None:
        checked = _check_delivered(xy, shape, hint.wcs, reference, max_sip_order)
        if checked is not None:
            return checked
    scale = hint.scale_arcsec or (scale_of(hint.wcs) if hint.wcs is not None else None)
    centre = _centre_of(hint, shape)
    if centre is None:
        return Solution(Wcs.NONE, reason="the header has no pointing")
    if scale is None:
        return Solution(Wcs.NONE, reason="the scale is not known: neither card, focal length nor profile gives it")
    if len(xy) < _FEWEST:
        return Solution(Wcs.REFUSED, matched=0, reason=f"{len(xy)} stars detected, at least {_FEWEST} are needed")
    best, seen = _search(xy, shape, centre, scale, hint.factors, reference, radius_deg, max_sip_order)
    if best is not None and best.evidence.log_probability < _CERTAIN:
        return _solution(Wcs.SOLVED, best, reference)
    if seen < _FEWEST:
        reason = f"about {seen} {reference.name} stars in the field, at least {_FEWEST} are needed"
        return Solution(Wcs.REFUSED, matched=0, in_field=seen, reason=reason)
    matched = 0 if best is None else len(best.pixels)
    reason = f"no match with {reference.name} beyond chance ({matched} stars met)"
    return Solution(Wcs.REFUSED, matched=matched, in_field=seen, reason=reason)


def _stars_of(sources: Sources) -> np.ndarray:
    """Positions of what may be stars, (n, 2), the brightest first; knots of nebulae only where there is little else."""
    xy = np.column_stack([sources.x, sources.y]).astype(np.float64)
    point_like = (np.asarray(sources.flags) & SourceFlag.EXTENDED) == 0
    return xy[point_like] if point_like.sum() >= 4 * _FEWEST else xy


def _search(
    xy: np.ndarray,
    shape: tuple[int, ...],
    centre: tuple[float, float],
    scale: float,
    factors: Sequence[float],
    reference: ReferenceStars,
    radius_deg: float | None,
    max_sip_order: int,
) -> tuple[Match | None, int]:
    """The best match around a position, and about how many reference stars there are in the field."""
    best: Match | None = None
    seen = 0
    for factor in (1.0, *factors):
        here = scale * factor
        far = radius_deg if radius_deg is not None else 1.5 * max(shape) * here / 3600
        # What the evidence answers for is everything that may be tried.
        search = Search(far, _SCALE_TOLERANCE * (1 + 2 * len(factors)), here)
        for stars, start, expected in _candidates(xy, shape, centre, here, far, reference):
            seen = max(seen, expected) if factor == 1.0 else seen
            if start is None:
                continue
            found = converge(xy, shape, stars, start, search, max_sip_order)
            if found is None or not found.sound or len(found.pixels) < _FEWEST:
                continue
            if abs(np.log(found.fit.scale_arcsec / here)) > np.log1p(_SCALE_TOLERANCE):
                continue
            if best is None or found.evidence.log_probability < best.evidence.log_probability:
                best = found
            if best.evidence.log_probability < _NO_DOUBT:
                return best, seen
        if best is not None and best.evidence.log_probability < _CERTAIN:
            break
    return best, seen


def _candidates(
    xy: np.ndarray,
    shape: tuple[int, ...],
    centre: tuple[float, float],
    scale: float,
    far_deg: float,
    reference: ReferenceStars,
) -> Iterator[tuple[Stars, SkyToPixel | None, int]]:
    """Ways that the frame may lie, near its pointing first, with few and bright stars first."""
    side = max(shape)
    half_deg = float(np.hypot(*shape)) / 2 * scale / 3600
    field_deg2 = shape[0] * shape[1] * (scale / 3600) ** 2
    middle = np.array([(shape[1] - 1) / 2, (shape[0] - 1) / 2])
    near = min(_NEAR_PART * side * scale / 3600, far_deg)
    for off, ours, theirs, spread in (
        (near, 24, 25, False),
        (far_deg, 24, 25, False),
        (far_deg, 40, 40, True),
        (far_deg, 60, 30, False),
    ):
        stars = reference.cone(*centre, off + half_deg * (1 + _SCALE_TOLERANCE), _REFERENCE_LIMIT)
        cone_deg2 = max(2 * np.pi * (1 - np.cos(np.radians(off + half_deg))) * np.degrees(1) ** 2, field_deg2)
        expected = round(len(stars) * field_deg2 / cone_deg2)
        yield stars, None, expected
        if len(stars) < _FEWEST:
            continue
        plane = project_shapes(stars.ra_deg, stars.dec_deg, *centre) / scale
        number = int(theirs * cone_deg2 / field_deg2)
        picked = _spread(plane, 0.4 * side)[:number] if spread else np.arange(min(number, len(plane)))
        mine = xy[_thinned(xy, _APART * side)]
        mine = mine[_spread(mine, 0.34 * side)] if spread else mine
        for one in propose_similarities(mine[:ours] - middle, plane[picked], side, _SCALE_TOLERANCE, _PROPOSALS):
            yield stars, _start(one, centre, scale, shape), expected


def _thinned(xy: np.ndarray, apart: float, enough: int = 200) -> np.ndarray:
    """Indices of the brightest sources that have no brighter one very near."""
    first = xy[:enough]
    square = ((first[:, None] - first[None]) ** 2).sum(axis=-1)
    close = np.tril(square < apart**2, -1).any(axis=1)
    return np.flatnonzero(~close)


def _spread(points: np.ndarray, cell: float) -> np.ndarray:
    """Indices that take the brightest of every cell first, then the second of every cell, and so on."""
    _, which = np.unique(np.floor(points / cell), axis=0, return_inverse=True)
    order = np.argsort(which.ravel(), kind="stable")
    sorted_cells = which.ravel()[order]
    rank = np.empty(len(points), int)
    rank[order] = np.arange(len(points)) - np.searchsorted(sorted_cells, sorted_cells)
    return np.argsort(rank, kind="stable")


def _start(one: Similarity, centre: tuple[float, float], scale: float, shape: tuple[int, ...]) -> SkyToPixel:
    """A proposal as a map from the sky around it, by the corners of the frame."""
    half = np.array([shape[1], shape[0]]) / 2
    offsets = np.array([(0, 0), (-1, -1), (1, -1), (-1, 1), (1, 1)]) * half
    flat = offsets[:, 0] + 1j * offsets[:, 1]
    plane = (one.turn * (flat.conj() if one.mirrored else flat) + one.shift) * scale
    ra, dec = unproject_shapes(np.column_stack([plane.real, plane.imag]), *centre)
    pixels = offsets + [(shape[1] - 1) / 2, (shape[0] - 1) / 2]
    return fit_to_pixels(pixels, ra, dec, (float(ra[0]), float(dec[0])), scale * max(shape) / 2, 0)


def _solution(state: Wcs, match: Match, reference: ReferenceStars) -> Solution:
    return Solution(
        state,
        match.fit.wcs,
        rms_arcsec=match.fit.rms_px * match.fit.scale_arcsec,
        matched=len(match.pixels),
        in_field=match.in_field,
        sip_order=match.fit.order if match.fit.order > 1 else 0,
        chance=float(np.exp(match.evidence.log_probability)),
        reference=reference.name,
    )


def _check_delivered(
    xy: np.ndarray, shape: tuple[int, ...], wcs: WCS, reference: ReferenceStars, max_sip_order: int
) -> Solution | None:
    """Hold delivered world coordinates against the stars; None when they are wrong and a search should decide."""
    centre = _centre_of(Hint(None, None, None, wcs), shape)
    scale = scale_of(wcs)
    if centre is None or not 0 < scale < 3600:
        return None
    half_deg = np.hypot(*shape) / 2 * scale / 3600
    stars = reference.cone(*centre, 1.1 * half_deg, _REFERENCE_LIMIT)
    delivered = map_of(wcs, shape)
    predicted = delivered(stars.ra_deg, stars.dec_deg)
    predicted = predicted[inside(predicted, shape)]
    if not len(predicted):
        note = f"not verified: no {reference.name} star in the field"
        return Solution(Wcs.DELIVERED, wcs, matched=0, in_field=0, reason=note)
    wide = max(5.0, 5.0 / scale)  # px: five arc seconds, or five pixels
    evidences = [weigh_match(predicted, xy, shape, reach, np.log(3)) for reach in (1.5, 3.0, wide)]
    if min(one.log_probability for one in evidences) < _CERTAIN:
        search = Search(wide * scale / 3600, 0.01, scale)
        match = converge(xy, shape, stars, delivered, search, max_sip_order, rough=False)
        if match is None or not match.sound or len(match.pixels) < _FEWEST:
            return None
        chance = float(np.exp(min(one.log_probability for one in evidences)))
        moved = _moved_px(wcs, match.fit.wcs, shape)
        if moved <= max(_STAY_PX, 1.5 * match.fit.rms_px):
            residual = _residual_px(delivered, match)
            return Solution(
                Wcs.DELIVERED, wcs, residual * scale, len(match.pixels), len(predicted), chance=chance,
                reference=reference.name,
            )  # fmt: skip
        return _solution(Wcs.REFINED, match, reference)
    met = len(pair(xy, predicted, wide)[0])
    if len(predicted) < _FEWEST or len(xy) < _FEWEST:
        # Too few to prove it either way: kept when the few that should be there are, near a detection.
        if met * 2 >= len(predicted) and len(xy):
            note = f"not verified: {met} of {len(predicted)} {reference.name} stars of the field were found"
            return Solution(Wcs.DELIVERED, wcs, matched=met, in_field=len(predicted), reason=note)
        note = f"the delivered world coordinates fit {met} of {len(predicted)} {reference.name} stars"
        return Solution(Wcs.REFUSED, matched=met, in_field=len(predicted), reason=note)
    return None


def _residual_px(delivered: SkyToPixel, match: Match) -> float:
    distance = delivered(match.ra_deg, match.dec_deg) - match.pixels
    return float(np.sqrt((distance**2).sum(axis=1).mean()))


def _moved_px(one: WCS, other: WCS, shape: tuple[int, ...]) -> float:
    """The root mean square distance between two world coordinates over the frame."""
    x, y = (a.ravel() for a in np.meshgrid(np.linspace(0, shape[1] - 1, 5), np.linspace(0, shape[0] - 1, 5)))
    back = map_of(one, shape)(*other.all_pix2world(x, y, 0))
    return float(np.sqrt(((back - np.column_stack([x, y])) ** 2).sum(axis=1).mean()))


def _centre_of(hint: Hint, shape: tuple[int, ...]) -> tuple[float, float] | None:
    if hint.ra_deg is not None and hint.dec_deg is not None:
        return hint.ra_deg, hint.dec_deg
    if hint.wcs is None:
        return None
    ra, dec = hint.wcs.all_pix2world((shape[1] - 1) / 2, (shape[0] - 1) / 2, 0)
    return (float(ra), float(dec)) if np.isfinite(ra) and np.isfinite(dec) else None


def scale_of(wcs: WCS) -> float:
    """Arc seconds a pixel."""
    return float(np.sqrt(abs(np.linalg.det(wcs.pixel_scale_matrix)))) * 3600
