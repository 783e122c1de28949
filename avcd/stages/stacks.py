"""The frames of one observation in one filter: registered, scaled, combined with rejection."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from avcd.cards import describe, inherit, with_world
from avcd.compose.registration import Registration, RegistrationInput, register
from avcd.compose.stacking import Stacked, StackInput, stack_images
from avcd.compose.transparency import transparency
from avcd.errors import ProcessingError
from avcd.frame import Wcs
from avcd.reduction.planes import MaskedImage
from avcd.sky.detection import SourceFlag, Sources, detect_sources
from avcd.stages.combining import combined_times
from avcd.stages.inputs import read_product
from avcd.stages.output import Output, Work
from avcd.stages.screening import member_of, screen_frames
from avcd.stages.tiles import OpenImage, open_image
from avcd.stages.writing import image_output
from avcd.work import JobInput

SOLVED = (Wcs.SOLVED, Wcs.DELIVERED, Wcs.REFINED)
_STARS = 150  # enough to register on, and no slower for a rich field


def detect_stars(ccd: MaskedImage) -> Sources:
    """The stars of a reduced frame or stack, to register and to compare it by."""
    return detect_sources(ccd.data, ccd.mask, noise=ccd.uncertainty, saturation=None, sigma=5.0, minimum_px=5)


@dataclass(frozen=True)
class Seen:
    """What registration looks at, and the fluxes of its stars, unsaturated ones alone with a flux above zero."""

    image: RegistrationInput
    flux: np.ndarray


@dataclass(frozen=True)
class StackFrame:
    """A frame of a stack: its planes, which stay in its file and are read by windows, its unit, its stars, its exposure."""

    image: OpenImage
    unit: str
    sources: Sources
    exposure_s: float | None


def look_at(ccd: MaskedImage | OpenImage, sources: Sources, *, trusted: bool) -> Seen:
    """Pixels, mask, the world coordinates if they can be trusted, and the stars."""
    found = sources
    stars = np.column_stack([found.x, found.y])[:_STARS]
    saturated = (found.flags & SourceFlag.SATURATED) != 0
    flux = np.where(saturated, 0.0, found.flux)[:_STARS]
    return Seen(RegistrationInput(ccd.data, ccd.mask, ccd.wcs if trusted else None, stars), flux)


def registration_input(ccd: MaskedImage, one: JobInput) -> RegistrationInput:
    """What registration looks at, of one of a job's inputs."""
    return look_at(ccd, detect_stars(ccd), trusted=one.wcs in SOLVED).image


@dataclass(frozen=True)
class Registered:
    """Frames registered on one of them."""

    seen: Sequence[Seen]
    registrations: list[Registration]
    reference: int


@dataclass(frozen=True)
class Combined:
    """A stack, its frames' registrations, and which frame gave the grid."""

    stacked: Stacked
    registrations: list[Registration]
    used: list[int]
    reference: int


def register_frames(frames: Sequence[StackFrame], trusted: Sequence[bool]) -> Registered:
    """Register frames on the first whose world coordinates can be trusted, else on the first.

    Raises
    ------
    ProcessingError
        The frames differ in size.
    """
    reference = next((index for index, one in enumerate(trusted) if one), 0)
    shapes = {one.image.data.shape for one in frames}
    if len(shapes) > 1:
        raise ProcessingError(f"the frames of this stack differ in size: {sorted(shapes)}")
    seen = [look_at(one.image, one.sources, trusted=known) for one, known in zip(frames, trusted, strict=True)]
    return Registered(seen, register([one.image for one in seen], reference), reference)


def combine_registered(
    frames: Sequence[StackFrame],
    registered: Registered,
    left_out: Collection[int],
    params: Mapping[str, Any],
    memory_bytes: int,
) -> Combined:
    """Combine frames that are registered, less some by their index."""
    found, reference = registered.registrations, registered.reference
    used = [index for index, one in enumerate(found) if one.method != "failed" and index not in left_out]
    exposures = [one.exposure_s for one in frames]
    inputs = [
        StackInput(
            data=frames[index].image.data,
            mask=frames[index].image.mask,
            uncertainty=frames[index].image.uncertainty,
            exposure_s=exposures[index],
            registration=found[index],
            transparency=_transparency(registered, exposures, index) if params["weighted"] else 1.0,
        )
        for index in used
    ]
    ny, nx = frames[reference].image.data.shape
    stacked = stack_images(inputs, (ny, nx), params, memory_bytes)
    light = [one.transparency for one in inputs]
    stacked = replace(stacked, metrics={**stacked.metrics, "least_transparency": min(light)})
    return Combined(stacked, found, used, reference)


def _transparency(registered: Registered, exposures: Sequence[float | None], index: int) -> float:
    """Of a frame beside the reference; one where the stars do not tell."""
    seen, reference = registered.seen, registered.reference
    if index == reference:
        return 1.0
    first, second = exposures[reference], exposures[index]
    per_time = first / second if first and second else 1.0
    base, one = seen[reference], seen[index]
    if base.image.stars_xy is None or one.image.stars_xy is None:
        return 1.0
    found = registered.registrations[index]
    ratio = transparency(base.image.stars_xy, base.flux, one.image.stars_xy, one.flux * per_time, found)
    return 1.0 if ratio is None else ratio


def combine_observation(work: Work) -> Output:
    """A stack; frames that could not be registered are named in its warnings and left out."""
    ordered = sorted(work.inputs("reduced"), key=_start)
    frames, members = [], []
    with tempfile.TemporaryDirectory(prefix="avcd-") as spool:
        for one in ordered:
            ccd = read_product(work, one)
            members.append(member_of(ccd, detect_stars(ccd), _exposure(one)))
            image = open_image(work.open(one), "", 0, Path(spool), product=True)
            frames.append(
                StackFrame(
                    replace(image, header=ccd.header, wcs=ccd.wcs), ccd.unit, members[-1].sources, _exposure(one)
                )
            )
        registered = register_frames(frames, [one.wcs in SOLVED for one in ordered])
        grid, parameters = frames[registered.reference].image.data.shape, work.claim.spec.parameters
        screened = screen_frames(ordered, members, registered.registrations, grid, parameters)
        combined = combine_registered(frames, registered, screened.left_out, parameters, work.memory_bytes // 2)
    stacked, found, reference = combined.stacked, combined.registrations, combined.reference
    notes = [
        *stacked.warnings,
        *screened.warnings,
        *(_note(one, ordered[index]) for index, one in enumerate(found) if one.warning),
    ]
    ccd = MaskedImage(stacked.data, frames[reference].unit, stacked.mask, stacked.uncertainty)
    header, state = _header(work, frames[reference].image, ordered[reference], len(combined.used))
    header = combined_times(header, [frames[index].image.header for index in combined.used])
    metrics = {
        **stacked.metrics,
        "frames": len(ordered),
        "frames_used": len(combined.used),
        "frames_screened_out": len(screened.left_out),
        **{
            f"registered_by_{name}": sum(one.method == name for one in found)
            for name in sorted({one.method for one in found})
        },
    }
    planes = {"WEIGHT": stacked.weight, "COVERAGE": stacked.coverage}
    output = image_output(work, ccd, header, metrics, warnings=tuple(notes), wcs=state, planes=planes)
    return replace(output, input_metrics=screened.input_metrics)


def reference_index(frames: Sequence[MaskedImage], ordered: Sequence[JobInput]) -> int:
    """The frame that gives the grid: the first that is solved, else the first."""
    return next((index for index, one in enumerate(ordered) if one.wcs in SOLVED), 0)


def _start(one: JobInput) -> tuple[str, str]:
    """Reduced frames are named by target, filter and start of exposure: in the order of time."""
    return one.relative_path.rsplit("/", 1)[-1], one.id


def _exposure(one: JobInput) -> float | None:
    return one.spec.exposure_s if one.spec else None


def _note(found: Registration, one: JobInput) -> str:
    return f"{one.relative_path.rsplit('/', 1)[-1]}: {found.warning}"


def _header(work: Work, reference: OpenImage, one: JobInput, combined: int) -> tuple[fits.Header, Wcs]:
    source = fits.Header(reference.header)
    wcs = reference.wcs
    if one.wcs in SOLVED and isinstance(wcs, WCS):
        header = with_world(source, wcs, rms_arcsec=None, matched=None)
    else:
        header = inherit(source, keep_world=False)
    applied = [
        kind
        for letter, kind in (("B", "bias"), ("D", "dark"), ("F", "flat"))
        if letter in str(source.get("CALSTAT", ""))
    ]
    return describe(header, work.claim.spec, applied=applied, combined=combined), (
        one.wcs if one.wcs in SOLVED else Wcs.NONE
    )
