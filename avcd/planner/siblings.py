"""Which solved frame lends its stars to one of the same field that could not be solved alone.

Of its own observation first; else one of any other night and filter, which its observation offers once it is complete
and all its reduced frames were tried.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from avcd.frame import Candidate, Frame, ProductKind, ProductSpec, Wcs
from avcd.planner.building import PlanBuilder
from avcd.planner.mosaics import fields_of

_UNSOLVED = (Wcs.REFUSED, Wcs.NONE)
_SOLVED = (Wcs.SOLVED, Wcs.REFINED)
_MOST = 3  # lenders that are tried for one frame
_APART = 0.5  # of the shorter side: pointings further apart are fields of their own
_NEAR = 0.5  # of the diagonal: frames nearer than this share most of their stars


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


def lenders_of_unsolved(
    builder: PlanBuilder, subject: str, frames: Sequence[Frame], reduced: Mapping[str, ProductSpec]
) -> Iterator[tuple[Frame, list[str]]]:
    """Every frame of a complete observation that could not be solved alone, with the source tables that may solve it.

    Only when all of them have been tried: else each that is solved later would be the better sibling, and everything
    would be made again for it. First comes the nearest in time of the frames of its own observation whose headers do not
    say that they look elsewhere; then what other observations offer: one that shares most of the field before others, one
    taken before the frame before those that came later (so that later nights change nothing), the nearest in time first.

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
    others = [one.candidate for one in builder.lenders.values() if one.subject != subject]
    for frame in unsolved:
        near = [one for one in solved if may_overlap(one, frame) and one.id in builder.sources]
        own = min(near, key=lambda one: (_days(one, frame), one.id), default=None)
        found = [] if own is None else [builder.sources[own.id]]
        fitting = [one for one in others if _may_share(one.like, frame)]
        found += [one.id for one in sorted(fitting, key=lambda one: _rank(one, frame))]
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
    apart = _diagonals_apart(one, other)
    return apart is None or apart < 1.5


def _may_share(one: Frame, other: Frame) -> bool:
    """Whether a frame of another observation shows the same field: by place, or where that is not known by name."""
    apart = _diagonals_apart(one, other)
    return one.target_name == other.target_name is not None if apart is None else apart < 1.5


def _rank(one: Candidate, frame: Frame) -> tuple[bool, bool, float, str]:
    apart = _diagonals_apart(one.like, frame)
    after = (one.like.t_min or 0.0) > (frame.t_min or 0.0)
    return apart is None or apart > _NEAR, after, _days(one.like, frame), one.id


def _days(one: Frame, other: Frame) -> float:
    return abs((one.t_min or 0.0) - (other.t_min or 0.0))


def _diagonals_apart(one: Frame, other: Frame) -> float | None:
    """How far apart two frames point, in diagonals of the first; None where their headers do not say."""
    places = (one.s_ra, one.s_dec, other.s_ra, other.s_dec)
    if not one.pixel_scale_arcsec or not one.naxis1 or not one.naxis2 or None in places:
        return None
    ra, dec, other_ra, other_dec = (math.radians(place) for place in places if place is not None)
    half = math.sin((dec - other_dec) / 2) ** 2
    half += math.cos(dec) * math.cos(other_dec) * math.sin((ra - other_ra) / 2) ** 2
    apart_deg = math.degrees(2 * math.asin(math.sqrt(min(half, 1.0))))
    return apart_deg * 3600 / (math.hypot(one.naxis1, one.naxis2) * one.pixel_scale_arcsec)
