"""Which masters should exist: one for each closed calibration session, and those that were delivered."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import replace

from avcd.association import judge
from avcd.frame import Candidate, Frame, ImageType, InputRef, Master, Need, ProductKind
from avcd.naming import slug
from avcd.planner.building import PlanBuilder, from_candidate, from_frame, from_product
from avcd.planner.naming import number

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
            )
    for session, frames in builder.members(ImageType.BIAS):
        _plan_bias(builder, session, frames)
    for image_type in (ImageType.DARK, ImageType.DARK_FLAT):
        for session, frames in builder.members(image_type):
            _plan_dark(builder, session, frames)
    for master in list(builder.offered.values()):
        if master.kind == "dark":
            _plan_bad_pixels(builder, master)
    for session, frames in builder.members(ImageType.FLAT):
        _plan_flat(builder, session, frames)


def representative(frames: list[Frame]) -> Frame:
    """The frame that stands for a session: the middle one in time, with the median of the exposures."""
    middle = frames[len(frames) // 2]
    exposures = [one.exposure_s for one in frames if one.exposure_s is not None]
    return replace(middle, exposure_s=statistics.median(exposures) if exposures else None, cards=())


def _enough(builder: PlanBuilder, kind: ProductKind, session: str, frames: list[Frame]) -> bool:
    minimum = int(builder.recipe(kind).parameters["minimum_frames"])
    if len(frames) >= minimum:
        return True
    reason = f"{len(frames)} of at least {minimum} frames"
    builder.block(kind, f"{kind}:{session}", reason, frames[0], [from_frame("raw", one) for one in frames])
    return False


def _plan_bias(builder: PlanBuilder, session: str, frames: list[Frame]) -> None:
    if not _enough(builder, ProductKind.MASTER_BIAS, session, frames):
        return
    like = representative(frames)
    spec = builder.spec(
        ProductKind.MASTER_BIAS,
        f"master_bias:{session}",
        [from_frame("raw", one) for one in frames],
        like,
        stem=f"bias-{slug(like.instrument)}-bin{like.binning or 'x'}",
        calib_level=3,
        exposure_s=like.exposure_s,
    )
    if spec:
        builder.offer_built("bias", spec, Candidate(id=spec.id, origin="product", like=like, n_combined=len(frames)))


def _plan_dark(builder: PlanBuilder, session: str, frames: list[Frame]) -> None:
    if not _enough(builder, ProductKind.MASTER_DARK, session, frames):
        return
    like = representative(frames)
    choice = builder.choose("bias", like)
    builder.associate(session, like, [choice], {})
    bias = choice.candidate
    inputs = [from_frame("raw", one) for one in frames]
    if bias:
        inputs.append(from_candidate("bias", bias))
    spec = builder.spec(
        ProductKind.MASTER_DARK,
        f"master_dark:{session}",
        inputs,
        like,
        stem=f"dark-{slug(like.instrument)}-bin{like.binning or 'x'}-{number(like.exposure_s)}s",
        values={"exposure_s": like.exposure_s},
        calib_level=3,
        exposure_s=like.exposure_s,
        reason="" if bias else "no bias matches: the bias stays in the dark",
    )
    if spec:
        builder.offer_built(
            "dark",
            spec,
            Candidate(id=spec.id, origin="product", like=like, bias_included=bias is None, n_combined=len(frames)),
        )


def _plan_bad_pixels(builder: PlanBuilder, master: Master) -> None:
    dark = master.candidate
    like = dark.like
    spec = builder.spec(
        ProductKind.BAD_PIXEL_MASK,
        f"bad_pixel_mask:{dark.like.session_id or dark.id}",
        [from_candidate("dark", dark)],
        like,
        stem=f"badpixels-{slug(like.instrument)}-bin{like.binning or 'x'}-{number(like.exposure_s)}s",
        calib_level=3,
        exposure_s=like.exposure_s,
        subject=master.subject,
    )
    if spec:
        builder.mask(dark.id, spec.id)


def _plan_flat(builder: PlanBuilder, session: str, frames: list[Frame]) -> None:
    if not _enough(builder, ProductKind.MASTER_FLAT, session, frames):
        return
    like = representative(frames)
    slot = f"master_flat:{session}"
    raw = [from_frame("raw", one) for one in frames]
    masters, tier, missing = flat_masters(builder, like)
    if not masters:
        reason = "; ".join(f"{kind}: {why}" for kind, why in missing.items())
        builder.block(ProductKind.MASTER_FLAT, slot, reason, like, raw)
        return
    spec = builder.spec(
        ProductKind.MASTER_FLAT,
        slot,
        raw + masters,
        like,
        stem=f"flat-{slug(like.filter, 'nofilter')}-{slug(like.instrument)}-bin{like.binning or 'x'}",
        filter=like.filter,
        calib_level=3,
        exposure_s=like.exposure_s,
        reason=tier,
    )
    if spec:
        builder.offer_built("flat", spec, Candidate(id=spec.id, origin="product", like=like, n_combined=len(frames)))


def flat_masters(builder: PlanBuilder, like: Frame) -> tuple[list[InputRef], str, Mapping[str, str]]:
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
        missing = {kind: choice.reason or "its bias is missing" for kind, choice in choices.items()}
    builder.associate(like.subject, like, choices.values(), missing)
    if dark and (dark.bias_included is not False or bias):
        inputs = [from_candidate("dark", dark)]
        if dark.bias_included is not True and bias:
            inputs.append(from_candidate("bias", bias))
        return inputs, f"dark: {choices['dark'].tier}", {}
    if bias:
        return [from_candidate("bias", bias)], "bias only: no dark of the flat's exposure", {}
    return [], "", missing


def flat_needs(builder: PlanBuilder, like: Frame) -> dict[str, Need]:
    """The verdicts on every bias and dark for one flat session."""
    return {kind: judge(like, kind, builder.candidates[kind], builder.rules) for kind in ("bias", "dark")}


def mask_reference(builder: PlanBuilder, dark_id: str) -> list[InputRef]:
    """The bad pixel mask that belongs to a master dark, as input; empty when there is none."""
    identity = builder.bad_pixels_of_dark.get(dark_id)
    return [from_product("bad_pixels", identity)] if identity else []
