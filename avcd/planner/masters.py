"""Which masters should exist: one for each closed calibration session, and those that were delivered."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from dataclasses import replace

from avcd.association import at_most, coherent, flat_is_too_short, judge, readout_values
from avcd.frame import Candidate, Criterion, Frame, ImageType, InputRef, Master, Need, Outcome, ProductKind
from avcd.named_defects import Area, within_window
from avcd.naming import slug
from avcd.planner.building import PlanBuilder, from_candidate, from_frame, from_product
from avcd.planner.naming import number
from avcd.sections import Section

_DELIVERED = {
    ImageType.MASTER_BIAS: "bias",
    ImageType.MASTER_DARK: "dark",
    ImageType.MASTER_FLAT: "flat",
}


def plan_masters(builder: PlanBuilder) -> None:
    """Add every master bias, dark, bad pixel mask and flat, each with the masters it needs itself."""
    for frame in sorted(builder.frames.values(), key=lambda one: one.id):
        kind = _DELIVERED.get(frame.image_type)
        if kind:
            builder.offer(
                kind,
                frame.subject,
                Candidate(
                    id=frame.id,
                    origin="frame",
                    like=frame,
                    bias_included=frame.bias_included,
                    n_combined=frame.n_combined,
                ),
                frame.id,
            )
    for frame in builder.snapshot.frames:
        kind = _DELIVERED.get(frame.image_type)
        if kind and frame.id in builder.snapshot.rejected:
            rejected = Candidate(id=frame.id, origin="frame", like=frame, bias_included=frame.bias_included)
            builder.withheld[kind].append((rejected, "rejected"))
    for place, frames in _sessions(builder, ImageType.BIAS):
        _plan_bias(builder, place, frames)
    for image_type in (ImageType.DARK, ImageType.DARK_FLAT):
        for place, frames in _sessions(builder, image_type):
            _plan_dark(builder, place, frames)
    for master in list(builder.offered.values()):
        if master.kind == "dark":
            _plan_bad_pixels(builder, master)
    for place, frames in _sessions(builder, ImageType.FLAT):
        _plan_flat(builder, place, frames)


def _sessions(builder: PlanBuilder, image_type: ImageType) -> Iterator[tuple[str, list[Frame]]]:
    """The frames of each master: a session's, in as many parts as its temperatures and sizes make.

    Yields
    ------
    (place, frames)
        The session's id, with a number where it has several parts; frames in time order.
    """
    for session, frames in builder.members(image_type):
        parts = coherent(frames, builder.rules)
        for nth, part in enumerate(parts, 1):
            yield session if len(parts) == 1 else f"{session}/{nth}", part


def representative(frames: list[Frame]) -> Frame:
    """The frame that stands for a session: the middle one in time, with the median of the exposures."""
    middle = frames[len(frames) // 2]
    exposures = [one.exposure_s for one in frames if one.exposure_s is not None]
    return replace(middle, exposure_s=statistics.median(exposures) if exposures else None, cards=())


def _members(builder: PlanBuilder, kind: ProductKind, place: str, frames: list[Frame]) -> tuple[list[Frame], str]:
    """The frames that a master is made of, and what is to be said of the others; none where they are too few."""
    short = {one.id: why for one in frames if (why := flat_is_too_short(one, builder.rules))}
    fit = [one for one in frames if one.id not in short] if kind is ProductKind.MASTER_FLAT else frames
    why = "".join(f"; {len(frames) - len(fit)} {one}" for one in list(short.values())[:1] if len(fit) < len(frames))
    minimum = int(builder.recipe(kind).parameters["minimum_frames"])
    if len(fit) < minimum:
        reason = f"{len(fit)} of at least {minimum} frames{why}"
        builder.block(kind, f"{kind}:{place}", reason, frames[0], [from_frame("raw", one) for one in frames])
        return [], reason
    chosen = at_most(fit, builder.rules.for_frame(fit[0]).masters.most_frames)
    few = f"; {len(chosen)} of {len(fit)} frames, evenly spaced" if len(chosen) < len(fit) else ""
    return chosen, f"{few}{why}".removeprefix("; ")


def _plan_bias(builder: PlanBuilder, place: str, frames: list[Frame]) -> None:
    frames, left = _members(builder, ProductKind.MASTER_BIAS, place, frames)
    if not frames:
        return
    like = representative(frames)
    spec = builder.spec(
        ProductKind.MASTER_BIAS,
        f"master_bias:{place}",
        [from_frame("raw", one) for one in frames],
        like,
        values=readout_values(like, builder.rules),
        stem=f"bias-{slug(like.instrument)}-bin{like.binning or 'x'}",
        calib_level=3,
        exposure_s=like.exposure_s,
        reason=left,
    )
    builder.offer_built(f"master_bias:{place}", spec, like, len(frames))


def _plan_dark(builder: PlanBuilder, place: str, frames: list[Frame]) -> None:
    frames, left = _members(builder, ProductKind.MASTER_DARK, place, frames)
    if not frames:
        return
    like = representative(frames)
    choice = builder.choose("bias", like)
    builder.associate(place, like, [choice], {})
    bias = choice.candidate
    inputs = [from_frame("raw", one) for one in frames]
    if bias:
        inputs.append(from_candidate("bias", bias))
    spec = builder.spec(
        ProductKind.MASTER_DARK,
        f"master_dark:{place}",
        inputs,
        like,
        stem=f"dark-{slug(like.instrument)}-bin{like.binning or 'x'}-{number(like.exposure_s)}s",
        values={"exposure_s": like.exposure_s, **readout_values(like, builder.rules)},
        calib_level=3,
        exposure_s=like.exposure_s,
        reason=_told("" if bias else "no bias matches: the bias stays in the dark", left),
    )
    builder.offer_built(f"master_dark:{place}", spec, like, len(frames), bias_included=bias is None)


def _plan_bad_pixels(builder: PlanBuilder, master: Master) -> None:
    dark = master.candidate
    like = dark.like
    spec = builder.spec(
        ProductKind.BAD_PIXEL_MASK,
        f"bad_pixel_mask:{builder.places[dark.id]}",
        [from_candidate("dark", dark)],
        like,
        values={"named": _named_areas(builder, like)},
        stem=f"badpixels-{slug(like.instrument)}-bin{like.binning or 'x'}-{number(like.exposure_s)}s",
        calib_level=3,
        exposure_s=like.exposure_s,
        subject=master.subject,
    )
    if spec:
        builder.mask(dark.id, spec.id)


def _named_areas(builder: PlanBuilder, like: Frame) -> list[list[int | None]] | None:
    """What observers name of a frame's detector, in the pixels of the part that is kept; None: nothing."""
    areas: list[Area] = []
    for one in builder.recipe(ProductKind.BAD_PIXEL_MASK).named:
        if one.concerns(like.telescope, like.instrument, like.detector):
            areas += one.for_binning(like.binning)
    column, row = (int(part) for part in (like.window or "0,0").split(","))
    if like.trim_section:
        kept = Section.parse(like.trim_section)
        column, row = column + kept.x_first - 1, row + kept.y_first - 1
    if (column or row or like.trim_section) and like.naxis1 and like.naxis2:
        areas = within_window(areas, column, row, like.naxis1, like.naxis2)
    return sorted([list(one) for one in areas], key=str) or None


def _plan_flat(builder: PlanBuilder, place: str, frames: list[Frame]) -> None:
    frames, left = _members(builder, ProductKind.MASTER_FLAT, place, frames)
    if not frames:
        return
    like = representative(frames)
    slot = f"master_flat:{place}"
    raw = [from_frame("raw", one) for one in frames]
    masters, tier, missing = flat_masters(builder, like, place)
    if not masters:
        reason = "; ".join(f"{kind}: {why}" for kind, why in missing.items())
        builder.block(ProductKind.MASTER_FLAT, slot, reason, like, raw)
        return
    levels = builder.rules.for_frame(like).flat
    spec = builder.spec(
        ProductKind.MASTER_FLAT,
        slot,
        raw + masters,
        like,
        values={
            "lowest_level": levels.lowest_level,
            "highest_level": levels.highest_level,
            "saturation_adu": like.saturation_adu,
            **readout_values(like, builder.rules),
        },
        stem=f"flat-{slug(like.filter, 'nofilter')}-{slug(like.instrument)}-bin{like.binning or 'x'}",
        filter=like.filter,
        calib_level=3,
        exposure_s=like.exposure_s,
        reason=_told(tier, left),
    )
    builder.offer_built(slot, spec, like, len(frames))


def _told(*reasons: str) -> str:
    return "; ".join(one for one in reasons if one)


def flat_masters(builder: PlanBuilder, like: Frame, place: str) -> tuple[list[InputRef], str, Mapping[str, str]]:
    """What a flat is calibrated with: a dark of its exposure where there is one, else the bias alone.

    Returns
    -------
    (inputs, tier, missing)
        Empty inputs when neither matches, with the reason against each kind.
    """
    choices = {kind: builder.choose(kind, like) for kind in ("bias", "dark")}
    bias, dark = choices["bias"].candidate, choices["dark"].candidate
    missing: dict[str, str] = {}
    if not bias and (not dark or dark.bias_included is False):
        missing = {
            kind: "its bias is missing" if choice.candidate else builder.refusal(kind, like)
            for kind, choice in choices.items()
        }
    builder.associate(place, like, choices.values(), missing)
    if dark and (dark.bias_included is not False or bias):
        inputs = [from_candidate("dark", dark)]
        if dark.bias_included is not True and bias:
            inputs.append(from_candidate("bias", bias))
        return inputs, f"dark: {choices['dark'].tier}", {}
    if bias:
        return [from_candidate("bias", bias)], "bias only: no dark of the flat's exposure", {}
    return [], "", missing


def need_of(builder: PlanBuilder, frame: Frame, kind: str) -> Need:
    """The verdicts on every master of one kind for a frame: those that may not serve fail by their standing."""
    need = judge(frame, kind, builder.candidates[kind], builder.rules)
    why = {one.id: reason for one, reason in builder.withheld[kind]}
    judged = judge(frame, kind, [one for one, _ in builder.withheld[kind]], builder.rules).candidates
    failed = [
        replace(
            one,
            outcome=Outcome.FAIL,
            tier=None,
            tier_rank=None,
            criteria=(*one.criteria, Criterion("standing", "serving", why[one.candidate_id], None, Outcome.FAIL)),
        )
        for one in judged
    ]
    if not failed:
        return need
    words = need.relaxation
    if need.chosen is None and judged[0].outcome is Outcome.PASS:
        first = judged[0].candidate_id
        words = (
            f"{first[:12]} would fit: it is {why[first]}"
            if why[first] != "its job died"
            else f"{first[:12]} would fit: {why[first]}"
        )
    return replace(need, candidates=(*need.candidates, *failed), relaxation=words)


def mask_reference(builder: PlanBuilder, dark_id: str) -> list[InputRef]:
    """The bad pixel mask that belongs to a master dark, as input; empty when there is none."""
    identity = builder.bad_pixels_of_dark.get(dark_id)
    return [from_product("bad_pixels", identity)] if identity else []
