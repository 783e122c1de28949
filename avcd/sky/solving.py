"""Plate solving: which stars of the reference catalogue a frame shows, and the world coordinates that follow.

Hinted and offline: the header's pointing and scale start the search, any rotation and either parity are tried.
Triangles of detected stars vote for how the frame lies on the sky; each candidate is refined into a TAN or TAN-SIP
solution, which is accepted only when so many meetings of stars could not be chance, everything that was searched being
counted in: a false solution is worse than none. Delivered world coordinates are held against the stars first.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from avcd.frame import Wcs
from avcd.sky.convergence import Match, Search, converge
from avcd.sky.detection import SourceFlag, Sources
from avcd.sky.fitting import Model, SkyToPixel, fit_to_pixels
from avcd.sky.geometry import project_shapes, unproject_shapes
from avcd.sky.matching import Similarity, propose_similarities
from avcd.sky.reference import ReferenceStars, Stars
from avcd.sky.solutions import CERTAIN, FEWEST, Hint, Solution, centre_of, hint_from, scale_of, solution_of
from avcd.sky.verifying import check_delivered

__all__ = ["Hint", "Solution", "hint_from", "solve_field", "stars_of"]

_SCALE_TOLERANCE = 0.12  # 10 per cent, and some for what a lens does
_NO_DOUBT = np.log(1e-14)  # from which on nothing better is looked for
_REFERENCE_LIMIT = 20_000
_PROPOSALS = 6
_NEAR_PART = 0.3  # of the field: pointings are mostly this good
_APART = 0.006  # of the side: sources nearer than this to a brighter one are parts of it, or hide in its wings


def solve_field(
    sources: Sources,
    shape: tuple[int, ...],
    hint: Hint,
    reference: ReferenceStars | Sequence[ReferenceStars],
    *,
    radius_deg: float | None = None,
    max_sip_order: int = 3,
    closely: bool = False,
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
    closely
        Whether delivered world coordinates are refined wherever the stars lie significantly closer by that.

    Returns
    -------
    Solution
        SOLVED; DELIVERED or REFINED when the hint brought world coordinates that hold; REFUSED with the reason when
        nothing could be trusted; NONE when there was nothing to start from.
    """
    references = list(reference) if isinstance(reference, Sequence) else [reference]
    xy = stars_of(sources)
    first: Solution | None = None
    for one in references:
        found = _solve_with(xy, shape, hint, one, radius_deg, max_sip_order, closely)
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
    closely: bool,
) -> Solution:
    if hint.wcs is not None:
        checked = check_delivered(xy, shape, hint.wcs, reference, max_sip_order, closely=closely)
        if checked is not None:
            return checked
    scale = hint.scale_arcsec or (scale_of(hint.wcs) if hint.wcs is not None else None)
    centre = centre_of(hint, shape)
    if centre is None:
        return Solution(Wcs.NONE, reason="the header has no pointing")
    if scale is None:
        return Solution(Wcs.NONE, reason="the scale is not known: neither card, focal length nor profile gives it")
    if len(xy) < FEWEST:
        return Solution(Wcs.REFUSED, matched=0, reason=f"{len(xy)} stars detected, at least {FEWEST} are needed")
    best, seen = _search(xy, shape, centre, scale, hint.factors, reference, radius_deg, max_sip_order)
    if best is not None and best.evidence.log_probability < CERTAIN:
        return solution_of(Wcs.SOLVED, best, reference)
    if seen < FEWEST:
        reason = f"about {seen} {reference.name} stars in the field, at least {FEWEST} are needed"
        return Solution(Wcs.REFUSED, matched=0, in_field=seen, reason=reason)
    matched = 0 if best is None else len(best.pixels)
    reason = f"no match with {reference.name} beyond chance ({matched} stars met)"
    chance = None if best is None else float(np.exp(best.evidence.log_probability))
    return Solution(Wcs.REFUSED, matched=matched, in_field=seen, chance=chance, reason=reason)


def stars_of(sources: Sources) -> np.ndarray:
    """Positions of what may be stars, (n, 2), the brightest first; knots of nebulae only where there is little else."""
    xy = np.column_stack([sources.x, sources.y]).astype(np.float64)
    point_like = (np.asarray(sources.flags) & SourceFlag.EXTENDED) == 0
    return xy[point_like] if point_like.sum() >= 4 * FEWEST else xy


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
            if start is None:  # another attempt begins
                if best is not None and best.evidence.log_probability < CERTAIN:
                    return best, seen
                continue
            found = converge(xy, shape, stars, start, search, max_sip_order)
            if found is None or not found.sound or len(found.pixels) < FEWEST:
                continue
            if abs(np.log(found.fit.scale_arcsec / here)) > np.log1p(_SCALE_TOLERANCE):
                continue
            if best is None or found.evidence.log_probability < best.evidence.log_probability:
                best = found
            if best.evidence.log_probability < _NO_DOUBT:
                return best, seen
        if best is not None and best.evidence.log_probability < CERTAIN:
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
    half_deg = math.hypot(*shape) / 2 * scale / 3600
    field_deg2 = shape[0] * shape[1] * (scale / 3600) ** 2
    middle = np.array([(shape[1] - 1) / 2, (shape[0] - 1) / 2])
    near = min(_NEAR_PART * side * scale / 3600, far_deg)
    for off, ours, theirs, spread in (
        (near, 24, 25, False),
        (far_deg, 24, 25, False),
        (far_deg, 40, 40, True),
    ):
        stars = reference.cone(*centre, off + half_deg * (1 + _SCALE_TOLERANCE), _REFERENCE_LIMIT)
        cone_deg2 = max(
            min(2 * np.pi * (1 - np.cos(np.radians(off + half_deg))) * np.degrees(1) ** 2, reference.area_deg2),
            field_deg2,
        )
        expected = round(len(stars) * field_deg2 / cone_deg2)
        yield stars, None, expected
        if len(stars) < FEWEST:
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
    pixels = offsets + np.array([(shape[1] - 1) / 2, (shape[0] - 1) / 2])
    return fit_to_pixels(pixels, ra, dec, (float(ra[0]), float(dec[0])), scale * max(shape) / 2, Model.SIMILARITY)
