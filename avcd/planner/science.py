"""Which products the science frames should have: reduced frames, source tables, stacks, composites, previews."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from avcd.association import applied_need, readout_values
from avcd.compose.mixing import Mix, choose_mix
from avcd.frame import (
    LENDER,
    CalibLevel,
    Candidate,
    Frame,
    ImageType,
    InputRef,
    Need,
    ProductKind,
    ProductSpec,
    ProductStatus,
)
from avcd.naming import slug
from avcd.planner.building import PlanBuilder, from_candidate, from_frame, from_product
from avcd.planner.masters import mask_reference, need_of
from avcd.planner.mosaics import FieldStack, fields_of, plan_mosaics
from avcd.planner.siblings import Lenders, lenders_of_unsolved, offer_lenders, unsolved_with

NEEDED = ("bias", "dark", "flat")


@dataclass(frozen=True)
class Calibration:
    """What one science frame is calibrated with, and what is missing."""

    inputs: tuple[InputRef, ...]
    missing: Mapping[str, str]  # kind to reason


def calibration_of(builder: PlanBuilder, frame: Frame) -> Calibration:
    """Choose a master of every kind for a science frame, and put together what serves it.

    A master dark that still holds the bias stands for the bias too; a frame its vendor calibrated needs nothing.
    """
    done = set(frame.calibration)
    if frame.calib_level >= CalibLevel.CALIBRATED:
        done |= set(NEEDED)
    if done >= set(NEEDED):
        return Calibration((), {})
    choices = {kind: builder.choose(kind, frame) for kind in NEEDED}
    chosen = {kind: choices[kind].candidate for kind in NEEDED}
    inputs: list[InputRef] = []
    missing: dict[str, str] = {}
    dark = chosen["dark"]
    dark_serves = dark is not None and not _needs_bias_in_vain(dark, chosen["bias"])
    if dark and dark.bias_included is True and dark_serves and "dark" not in done:
        done.add("bias")
    for kind in NEEDED:
        candidate = chosen[kind]
        if kind in done:
            continue
        if candidate is None or (kind == "dark" and not dark_serves):
            missing[kind] = "its bias is missing" if candidate else builder.refusal(kind, frame)
        else:
            inputs.append(from_candidate(kind, candidate))
    if dark and "dark" not in done and dark_serves:
        inputs += mask_reference(builder, dark.id)
    builder.associate(frame.id, frame, [choices[kind] for kind in NEEDED if kind not in done], missing)
    return Calibration(tuple(inputs), missing)


def _needs_bias_in_vain(dark: Candidate, bias: Candidate | None) -> bool:
    """A dark whose bias was removed is of no use to a frame that has no bias of its own."""
    return dark.bias_included is False and bias is None


def explain_needs(builder: PlanBuilder, frame: Frame) -> list[Need]:
    """Every need of a frame with every candidate's verdict, the bad pixel mask's following that of its dark."""
    if frame.image_type is ImageType.FLAT:
        return [need_of(builder, frame, kind) for kind in ("bias", "dark")]
    if frame.image_type in (ImageType.DARK, ImageType.DARK_FLAT):
        return [need_of(builder, frame, "bias")]
    if frame.image_type is not ImageType.SCIENCE:
        return []
    needs = {kind: applied_need(frame, kind) or need_of(builder, frame, kind) for kind in NEEDED}
    dark = needs["dark"]
    if dark.applied:  # bad pixels are known from the dark: a frame that has its dark needs neither
        return [*needs.values(), replace(dark, kind="bad_pixels")]
    masks = [
        replace(verdict, candidate_id=builder.bad_pixels_of_dark[verdict.candidate_id])
        for verdict in dark.candidates
        if verdict.candidate_id in builder.bad_pixels_of_dark
    ]
    chosen = builder.bad_pixels_of_dark.get(dark.chosen or "")
    return [*needs.values(), Need("bad_pixels", chosen, dark.tier if chosen else None, tuple(masks), dark.relaxation)]


def plan_science(builder: PlanBuilder) -> None:
    """Add what every observation should have, and what several have together."""
    alone = {subject: _Observation.of(builder, subject, frames) for subject, frames in builder.observations().items()}
    for subject, one in alone.items():
        offer_lenders(builder, subject, one.members, one.reduced)
    lenders = Lenders(builder.lenders.values())
    stacks: dict[str, list[FieldStack]] = {}
    for subject, one in alone.items():
        _plan_by_siblings(builder, lenders, subject, one)
        # There are no members where all of them were rejected since.
        if one.members and builder.processing.stacks:
            stacks[subject] = _plan_combined(builder, subject, one.members, one.reduced)
    plan_mosaics(builder, {subject: found for subject, found in stacks.items() if found})


@dataclass(frozen=True)
class _Observation:
    """The frames of a complete observation, and its reduced frames, by the frames' ids."""

    members: list[Frame]
    reduced: dict[str, ProductSpec]
    stacked: Callable[[Frame], bool]

    @classmethod
    def of(cls, builder: PlanBuilder, subject: str, frames: Sequence[Frame]) -> _Observation:
        """Plan the reduced frames of an observation, complete or not, each solved by itself."""
        many = int(builder.recipe(ProductKind.REDUCED).parameters["cosmic_rays_stacked"])
        closure = builder.snapshot.closures.get(subject)
        members = set(closure.members) if closure else set()
        like = Counter(_stack_of(frame) for frame in frames)

        def stacked(frame: Frame) -> bool:
            return 0 < many <= like[_stack_of(frame)]

        reduced: dict[str, ProductSpec] = {}
        for frame in frames:
            spec = _plan_reduced(builder, subject, frame, closed=frame.id in members, stacked=stacked(frame))
            if spec:
                reduced[frame.id] = spec
        return cls([one for one in frames if one.id in members], reduced, stacked)


def _stack_of(frame: Frame) -> tuple[str | None, str | None, str, str]:
    """What frames of an observation have in common that are stacked: the filter and the detector's geometry."""
    return frame.filter, frame.binning, str(frame.naxis1), str(frame.naxis2)


def _plan_by_siblings(builder: PlanBuilder, lenders: Lenders, subject: str, one: _Observation) -> None:
    """Put in the place of reduced frames that could not be solved alone those that may be by another's stars.

    Of several lenders the first serves whose stars are not known to be of no help; if none are, the first.
    """
    for frame, offered in list(lenders_of_unsolved(builder, lenders, subject, one.members, one.reduced)):
        alone, first = one.reduced[frame.id], None
        stacked = one.stacked(frame)
        for lender in offered:
            by = [from_product(LENDER, lender)]
            again = _plan_reduced(builder, subject, frame, closed=True, stacked=stacked, siblings=by)
            if again is None:
                continue
            if not unsolved_with(builder, again.id):
                one.reduced[frame.id] = again
                break
            first = first or lender
            builder.drop(again.id)
        else:
            if first is None:  # each was rejected, or its job died
                continue
            by = [from_product(LENDER, first)]
            again = _plan_reduced(builder, subject, frame, closed=True, stacked=stacked, siblings=by)
            assert again is not None
            one.reduced[frame.id] = again
        builder.drop(alone.id)


def _plan_reduced(
    builder: PlanBuilder,
    subject: str,
    frame: Frame,
    *,
    closed: bool,
    stacked: bool,
    siblings: Sequence[InputRef] = (),
) -> ProductSpec | None:
    slot = f"reduced:{frame.id}"
    raw = from_frame("raw", frame)
    calibration = calibration_of(builder, frame)
    provisional = bool(calibration.missing)
    reason = "; ".join(f"{kind}: {why}" for kind, why in calibration.missing.items())
    if provisional and not (closed and builder.processing.provisional):
        builder.block(ProductKind.REDUCED, slot, reason, frame, [raw])
        return None
    values = {
        "exposure_s": frame.exposure_s,
        "gain_e_per_adu": frame.gain_e_per_adu,
        "read_noise_e": frame.read_noise_e,
        "saturation_adu": frame.saturation_adu,
        "pedestal_adu": frame.pedestal_adu,
        "pixel_scale_arcsec": frame.pixel_scale_arcsec,
        **readout_values(frame, builder.rules),
        # A stack rejects cosmic rays better than any look at one frame.
        "cosmic_rays": "none" if stacked else None,
    }
    status = ProductStatus.PROVISIONAL if provisional else ProductStatus.FINAL
    about: dict[str, Any] = {
        "target_name": frame.target_name,
        "filter": frame.filter,
        "exposure_s": frame.exposure_s,
        "observations": (subject,),
    }
    stem = f"{_stem(frame)}-{slug((frame.date_obs or 'no-date')[:19].replace(':', ''))}"
    spec = builder.spec(
        ProductKind.REDUCED,
        slot,
        [raw, *calibration.inputs, *siblings],
        frame,
        stem=stem,
        values=values,
        status=status,
        reason=reason,
        **about,
    )
    if spec and builder.processing.sources:
        table = builder.spec(
            ProductKind.SOURCES,
            f"sources:{frame.id}",
            [from_product("reduced", spec.id)],
            frame,
            stem=stem,
            status=status,
            **about,
        )
        if table and not siblings:
            builder.sources[frame.id] = table.id
    return spec


def _stem(frame: Frame) -> str:
    return f"{slug(frame.target_name, 'no-target')}-{slug(frame.filter, 'nofilter')}"


def _plan_combined(
    builder: PlanBuilder, subject: str, frames: list[Frame], reduced: Mapping[str, ProductSpec]
) -> list[FieldStack]:
    """The stacks of a closed observation, one a field, filter and detector geometry, and its colour composite."""
    groups: dict[tuple[int, str | None, str | None, str, str], list[Frame]] = {}
    for number, members in enumerate(fields_of(_without_twins(frames, reduced), builder.processing.mosaic_apart)):
        for frame in members:
            groups.setdefault((number, *_stack_of(frame)), []).append(frame)
    found: list[FieldStack] = []
    stacks: dict[str, tuple[int, ProductSpec]] = {}
    for key in sorted(groups, key=lambda one: (one[0], str(one[1:]))):
        members = [one for one in groups[key] if one.id in reduced]
        if not members:
            continue
        spec = _plan_stack(builder, subject, key, members, [reduced[one.id] for one in members], len(groups[key]))
        if spec is None:
            continue
        found.append(FieldStack(spec, members[0], key[0]))
        # Two geometries of one filter: the one with more frames goes into the composite, which shows the first field.
        if key[0] == 0 and key[1] and (key[1] not in stacks or stacks[key[1]][0] < len(members)):
            stacks[key[1]] = (len(members), spec)
    _plan_rgb(builder, subject, frames[0], {name: spec for name, (_, spec) in stacks.items()})
    return found


def _without_twins(frames: list[Frame], reduced: Mapping[str, ProductSpec]) -> list[Frame]:
    """The frames less those that show another's exposure: a light delivered raw and calibrated counts once.

    The raw one counts where all its calibrations are there, else the one that its vendor calibrated.
    """

    def exposure(frame: Frame) -> tuple[object, ...]:
        return frame.t_min, frame.exposure_s, frame.filter, frame.binning, frame.naxis1, frame.naxis2

    raw = {exposure(one): one for one in frames if one.calib_level == CalibLevel.RAW and one.t_min is not None}
    twins = {one.id: raw[exposure(one)] for one in frames if one.calib_level > CalibLevel.RAW and exposure(one) in raw}
    left_out = set()
    for identity, other in twins.items():
        spec = reduced.get(other.id)
        complete = spec is not None and spec.status is ProductStatus.FINAL
        left_out.add(identity if complete or identity not in reduced else other.id)
    return [one for one in frames if one.id not in left_out]


def _plan_stack(
    builder: PlanBuilder,
    subject: str,
    key: tuple[int, str | None, str | None, str, str],
    members: list[Frame],
    inputs: list[ProductSpec],
    wanted: int,
) -> ProductSpec | None:
    missing = wanted - len(members)
    provisional = missing or any(one.status is ProductStatus.PROVISIONAL for one in inputs)
    return builder.spec(
        ProductKind.STACK,
        ":".join(["stack", subject, *(part or "-" for part in key[1:]), *([f"field{key[0] + 1}"] if key[0] else [])]),
        [from_product("reduced", one.id) for one in inputs],
        members[0],
        stem=_stem(members[0]) + (f"-field{key[0] + 1}" if key[0] else ""),
        status=ProductStatus.PROVISIONAL if provisional else ProductStatus.FINAL,
        reason=f"{missing} of {wanted} frames have no reduced frame" if missing else "",
        target_name=members[0].target_name,
        filter=members[0].filter,
        exposure_s=sum(one.exposure_s or 0.0 for one in members),
        calib_level=3,
        observations=(subject,),
    )


def _plan_rgb(builder: PlanBuilder, subject: str, like: Frame, stacks: Mapping[str, ProductSpec]) -> None:
    """The composites that the settings name, as far as the filters make them; of two that would be alike the first."""
    made: list[Mix] = []
    for composite in builder.processing.composites:
        mix = choose_mix(composite, sorted(stacks))
        if mix is None or mix in made:
            continue
        made.append(mix)
        used = [(name, stacks[name]) for name in mix.filters]
        provisional = any(one.status is ProductStatus.PROVISIONAL for _, one in used)
        plain = composite in ("broadband", "auto")
        builder.spec(
            ProductKind.RGB,
            f"rgb:{subject}" if plain else f"rgb:{subject}:{composite}",
            [from_product(f"stack {name}", spec.id) for name, spec in used],
            like,
            stem=f"{slug(like.target_name, 'no-target')}-{'rgb' if plain else slug(composite.replace('/', '-'))}",
            suffix=".png",
            values={"composite": composite},
            status=ProductStatus.PROVISIONAL if provisional else ProductStatus.FINAL,
            target_name=like.target_name,
            calib_level=3,
            observations=(subject,),
        )


def plan_previews(builder: PlanBuilder) -> None:
    """A picture of every usable image frame, and of every master, reduced frame, stack and composite."""
    for frame in sorted(builder.frames.values(), key=lambda one: one.id):
        if frame.image_type.is_picture:
            builder.spec(
                ProductKind.PREVIEW,
                f"preview:{frame.id}",
                [from_frame("image", frame)],
                frame,
                stem=f"raw-{frame.image_type}-{slug((frame.date_obs or 'no-date')[:19].replace(':', ''))}",
                suffix=".png",
                target_name=frame.target_name,
                filter=frame.filter,
                calib_level=frame.calib_level,
                observations=(frame.obs_id,) if frame.obs_id else (),
            )
    by_id = {one.id: one for one in builder.snapshot.frames}
    for spec in list(builder.specs.values()):
        if spec.kind in (ProductKind.SOURCES, ProductKind.PREVIEW):
            continue
        raw = next((by_id[one.id] for one in spec.inputs if one.id in by_id), None)
        like = raw or Frame(id=spec.id, telescope=spec.telescope, instrument=spec.instrument, night=spec.night)
        builder.spec(
            ProductKind.PREVIEW,
            f"preview:{spec.slot}",
            [from_product("image", spec.id)],
            like,
            night=spec.night,
            stem=spec.path.rsplit("/", 1)[-1].rsplit("-", 1)[0] + f"-{spec.kind}",
            suffix=".png",
            status=ProductStatus.FINAL if spec.status is ProductStatus.HELD else spec.status,
            subject=spec.subject,
            target_name=spec.target_name,
            filter=spec.filter,
            calib_level=spec.calib_level,
            observations=spec.observations,
        )
