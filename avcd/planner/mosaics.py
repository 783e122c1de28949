"""Which fields make a mosaic: panels of one target, by their names, and pointings of one observation that lie apart."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from avcd.config import Processing
from avcd.frame import Frame, ProductKind, ProductSpec, ProductStatus
from avcd.naming import slug
from avcd.planner.building import PlanBuilder, from_product


@dataclass(frozen=True)
class FieldStack:
    """The stack of one field of an observation, and a frame of it."""

    spec: ProductSpec
    like: Frame
    field: int  # of its observation's fields, counted from zero


def target_of_panel(processing: Processing) -> Callable[[str | None], str | None]:
    """A function from a panel's name (M31_x1_y2) to its target (M31); None for what is no panel."""
    pattern = re.compile(processing.mosaic_panels, re.IGNORECASE)

    def found(name: str | None) -> str | None:
        match = pattern.fullmatch(name) if name and processing.mosaics else None
        return match["target"] if match else None

    return found


def fields_of(frames: Sequence[Frame], apart: float) -> list[list[Frame]]:
    """Frames of one observation by where they point.

    Parameters
    ----------
    frames
        In time order.
    apart
        Pointings further from the first of a field than this part of the frame's shorter side belong to another; 0: never.

    Returns
    -------
    list of list of Frame
        In the order in which the fields were begun; frames whose pointing or scale is not known belong to the first.
    """
    found: list[list[Frame]] = []
    for one in frames:
        near = (index for index, members in enumerate(found) if _is_near(members[0], one, apart))
        place = next(near, None)
        if place is None:
            found.append([one])
        else:
            found[place].append(one)
    return found


def _is_near(first: Frame, one: Frame, apart: float) -> bool:
    sides = [side for side in (first.naxis1, first.naxis2) if side]
    if apart <= 0 or not sides or None in (first.s_ra, first.s_dec, one.s_ra, one.s_dec, first.pixel_scale_arcsec):
        return True
    a, b = (np.radians([frame.s_ra or 0.0, frame.s_dec or 0.0]) for frame in (first, one))
    half = np.sin((b[1] - a[1]) / 2) ** 2 + np.cos(a[1]) * np.cos(b[1]) * np.sin((b[0] - a[0]) / 2) ** 2
    distance = 2 * np.arcsin(min(1.0, float(np.sqrt(half))))
    return bool(np.degrees(distance) * 3600 <= apart * min(sides) * float(first.pixel_scale_arcsec or 0.0))


def plan_mosaics(builder: PlanBuilder, stacks: Mapping[str, Sequence[FieldStack]]) -> None:
    """Add the mosaics of all observations' stacks: one a target and filter.

    Parameters
    ----------
    stacks
        Of each observation.
    """
    if not builder.processing.mosaics:
        return
    target_of = target_of_panel(builder.processing)
    panels: dict[str, list[str]] = {}
    for subject in sorted(stacks):
        name = target_of(stacks[subject][0].like.target_name) if stacks[subject] else None
        if name is not None:
            panels.setdefault(name, []).append(subject)
        else:
            _plan_group(builder, stacks[subject], None)
    for name in sorted(panels):
        for group in _seasons(panels[name], stacks, builder.processing.mosaic_days):
            _plan_group(builder, [one for subject in group for one in stacks[subject]], name)


def _seasons(subjects: Sequence[str], stacks: Mapping[str, Sequence[FieldStack]], days: float) -> list[list[str]]:
    """Observations in groups between which more days pass than that."""

    def day(subject: str) -> int:
        night = stacks[subject][0].like.night
        return datetime.date.fromisoformat(night).toordinal() if night else 0

    found: list[list[str]] = []
    for subject in sorted(subjects, key=lambda one: (day(one), one)):
        if found and day(subject) - day(found[-1][-1]) <= days:
            found[-1].append(subject)
        else:
            found.append([subject])
    return found


def _plan_group(builder: PlanBuilder, stacks: Sequence[FieldStack], name: str | None) -> None:
    by_filter: dict[str | None, list[FieldStack]] = {}
    for one in stacks:
        by_filter.setdefault(one.spec.filter, []).append(one)
    for band in sorted(by_filter, key=str):
        members = by_filter[band]
        if len({(one.like.target_name, one.field) for one in members}) > 1:
            _plan_mosaic(builder, members, name or members[0].like.target_name, band)


def _plan_mosaic(builder: PlanBuilder, members: Sequence[FieldStack], name: str | None, band: str | None) -> None:
    like = members[0].like
    provisional = [one for one in members if one.spec.status is ProductStatus.PROVISIONAL]
    observations = tuple(sorted({one for member in members for one in member.spec.observations}))
    builder.spec(
        ProductKind.MOSAIC,
        f"mosaic:{slug(name, 'no-target')}:{members[0].spec.subject}:{band or '-'}",
        [from_product("tile", one.spec.id) for one in members],
        like,
        stem=f"{slug(name, 'no-target')}-{slug(band, 'nofilter')}-mosaic",
        status=ProductStatus.PROVISIONAL if provisional else ProductStatus.FINAL,
        reason=f"{len(provisional)} of {len(members)} stacks are provisional" if provisional else "",
        target_name=name,
        filter=band,
        exposure_s=sum(one.spec.exposure_s or 0.0 for one in members),
        calib_level=3,
        observations=observations,
    )
