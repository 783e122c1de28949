"""Which solved frame lends its stars to one of the same field that could not be solved alone.

Of its own observation first; else one of any other night and filter, which its observation offers once it is complete
and all its reduced frames were tried.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from avcd.frame import Candidate, Frame, Master, ProductKind, ProductSpec, Wcs
from avcd.planner.building import PlanBuilder
from avcd.planner.mosaics import fields_of

_UNSOLVED = (Wcs.REFUSED, Wcs.NONE)
_SOLVED = (Wcs.SOLVED, Wcs.REFINED)
_MOST = 3  # lenders that are tried for one frame
_APART = 0.5  # of the shorter side: pointings further apart are fields of their own
_OVERLAP, _NEAR = 1.5, 0.5  # diagonals: frames nearer than this may share some stars, most of their stars


def offer_lenders(
    builder: PlanBuilder, subject: str, frames: Sequence[Frame], reduced: Mapping[str, ProductSpec]
) -> None:
    """Let the deepest solved frame of each field of a complete observation lend its stars to those of others.

    Parameters
    ----------
    frames
        The members of the observation's closure.
    reduced
        Their reduced frames, solved each by itself, by the frames' ids.
    """
    state = _states(builder, frames, reduced)
    solved = [frame for frame in frames if state.get(frame.id) in _SOLVED]
    for members in fields_of([one for one in solved if one.id in builder.sources], _APART):
        best = min(members, key=lambda one: (-(one.exposure_s or 0.0), one.t_min or 0.0, one.id))
        builder.lend(subject, Candidate(id=builder.sources[best.id], origin="product", like=best))


class Lenders:
    """What observations offer, by place and time; arranged once for all frames of a plan."""

    def __init__(self, offers: Iterable[Master]) -> None:
        offered = sorted(offers, key=lambda one: one.candidate.id)
        like = [one.candidate.like for one in offered]
        self._ids = [one.candidate.id for one in offered]
        self._subjects = np.array([one.subject for one in offered], object)
        self._names = np.array([one.target_name for one in like], object)
        self._times = np.array([one.t_min or 0.0 for one in like])
        places = [(one.s_ra, one.s_dec, _diagonal_deg(one)) for one in like]
        known = np.array([[np.nan if value is None else value for value in one] for one in places]).reshape(-1, 3)
        self._ra, self._dec = np.radians(known[:, :2].T)
        self._diagonal = known[:, 2]

    def serving(self, subject: str, frame: Frame) -> list[str]:
        """Those of other observations that may show a frame's field, the best first, as many as are tried.

        By place, or where that is not known by name: one that shares most of the field goes before others, one taken
        before the frame before those that came later (so that later nights change nothing), the nearest in time first.
        """
        if not self._ids:
            return []
        ra, dec = (np.nan if value is None else math.radians(value) for value in (frame.s_ra, frame.s_dec))
        half = np.sin((self._dec - dec) / 2) ** 2
        half += np.cos(self._dec) * np.cos(dec) * np.sin((self._ra - ra) / 2) ** 2
        apart = np.degrees(2 * np.arcsin(np.sqrt(np.minimum(half, 1.0)))) / self._diagonal
        unknown = np.isnan(apart)
        may = apart < _OVERLAP
        if unknown.any() and frame.target_name is not None:
            may |= unknown & (self._names == frame.target_name)
        found = np.flatnonzero(may & (self._subjects != subject))
        days = self._times[found] - (frame.t_min or 0.0)
        order = np.lexsort((np.abs(days), days > 0, ~(apart[found] <= _NEAR)))
        return [self._ids[index] for index in found[order[:_MOST]]]


def lenders_of_unsolved(
    builder: PlanBuilder,
    lenders: Lenders,
    subject: str,
    frames: Sequence[Frame],
    reduced: Mapping[str, ProductSpec],
) -> Iterator[tuple[Frame, list[str]]]:
    """Every frame of a complete observation that could not be solved alone, with the source tables that may solve it.

    Only when all of them have been tried: else each that is solved later would be the better sibling, and everything
    would be made again for it. First comes the nearest in time of the frames of its own observation whose headers do not
    say that they look elsewhere; then what other observations offer.

    Parameters
    ----------
    frames, reduced
        As of `offer_lenders`.
    """
    state = _states(builder, frames, reduced)
    unsolved = [frame for frame in frames if state.get(frame.id) in _UNSOLVED]
    if not unsolved:
        return
    solved = [frame for frame in frames if state.get(frame.id) in _SOLVED]
    for frame in unsolved:
        near = [one for one in solved if may_overlap(one, frame) and one.id in builder.sources]
        own = min(near, key=lambda one: (_days(one, frame), one.id), default=None)
        found = [] if own is None else [builder.sources[own.id]]
        found += lenders.serving(subject, frame)
        if found:
            yield frame, found[:_MOST]


def unsolved_with(builder: PlanBuilder, identity: str) -> bool:
    """Whether a product was made and has no world coordinates."""
    fact = builder.snapshot.products.get(identity)
    return fact is not None and fact.wcs in _UNSOLVED


def _states(builder: PlanBuilder, frames: Sequence[Frame], reduced: Mapping[str, ProductSpec]) -> dict[str, Wcs]:
    """What became of each frame alone; of none as long as one was not tried, or where the recipe does not want it."""
    parameters = builder.recipe(ProductKind.REDUCED).parameters
    if not (parameters["solve"] and parameters["solve_siblings"]):
        return {}
    facts = {frame.id: builder.snapshot.products.get(reduced[frame.id].id) for frame in frames if frame.id in reduced}
    if any(fact is None for fact in facts.values()):
        return {}
    return {identity: fact.wcs for identity, fact in facts.items() if fact is not None}


def may_overlap(one: Frame, other: Frame) -> bool:
    """Whether headers leave it possible that two frames of a target share a part of the sky."""
    diagonal_deg, places = _diagonal_deg(one), (one.s_ra, one.s_dec, other.s_ra, other.s_dec)
    if diagonal_deg is None or None in places:
        return True
    ra, dec, other_ra, other_dec = (math.radians(place) for place in places if place is not None)
    half = math.sin((dec - other_dec) / 2) ** 2
    half += math.cos(dec) * math.cos(other_dec) * math.sin((ra - other_ra) / 2) ** 2
    return math.degrees(2 * math.asin(math.sqrt(min(half, 1.0)))) < _OVERLAP * diagonal_deg


def _days(one: Frame, other: Frame) -> float:
    return abs((one.t_min or 0.0) - (other.t_min or 0.0))


def _diagonal_deg(one: Frame) -> float | None:
    if not one.pixel_scale_arcsec or not one.naxis1 or not one.naxis2:
        return None
    return math.hypot(one.naxis1, one.naxis2) * one.pixel_scale_arcsec / 3600
