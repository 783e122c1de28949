"""Which solved frame lends its stars to one of the same field that could not be solved alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from avcd.frame import Frame, ProductKind, ProductSpec, Wcs
from avcd.planner.building import PlanBuilder

_UNSOLVED = (Wcs.REFUSED, Wcs.NONE)
_SOLVED = (Wcs.SOLVED, Wcs.REFINED)


def siblings_of_unsolved(
    builder: PlanBuilder, frames: Sequence[Frame], reduced: Mapping[str, ProductSpec]
) -> Iterator[tuple[Frame, Frame]]:
    """Every frame of a complete observation that could not be solved alone, with the one whose stars may solve it.

    Only when all of them have been tried: else each that is solved later would be the better sibling, and everything
    would be made again for it. The nearest in time of the frames whose headers do not say that they look elsewhere.

    Parameters
    ----------
    frames
        The members of the observation's closure.
    reduced
        Their reduced frames, solved each by itself, by the frames' ids.
    """
    parameters = builder.recipe(ProductKind.REDUCED).parameters
    if not (parameters["solve"] and parameters["solve_siblings"]):
        return
    facts = {frame.id: builder.snapshot.products.get(reduced[frame.id].id) for frame in frames if frame.id in reduced}
    if any(fact is None for fact in facts.values()):
        return
    state = {identity: fact.wcs for identity, fact in facts.items() if fact is not None}
    solved = [frame for frame in frames if state.get(frame.id) in _SOLVED]
    for frame in frames:
        near = [one for one in solved if state.get(frame.id) in _UNSOLVED and may_overlap(one, frame)]
        if near:
            yield frame, min(near, key=lambda one: (abs((one.t_min or 0.0) - (frame.t_min or 0.0)), one.id))


def may_overlap(one: Frame, other: Frame) -> bool:
    """Whether headers leave it possible that two frames of a target share a part of the sky."""
    places = (one.s_ra, one.s_dec, other.s_ra, other.s_dec)
    if not one.pixel_scale_arcsec or not one.naxis1 or not one.naxis2 or None in places:
        return True
    ra, dec, other_ra, other_dec = (math.radians(place) for place in places if place is not None)
    half = math.sin((dec - other_dec) / 2) ** 2
    half += math.cos(dec) * math.cos(other_dec) * math.sin((ra - other_ra) / 2) ** 2
    apart_deg = math.degrees(2 * math.asin(math.sqrt(min(half, 1.0))))
    return apart_deg < 1.5 * math.hypot(one.naxis1, one.naxis2) * one.pixel_scale_arcsec / 3600
