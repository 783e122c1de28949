"""The frames of one observation in one filter: registered, scaled, combined with rejection."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from astropy.io import fits
from astropy.nddata import StdDevUncertainty
from astropy.wcs import WCS

from avcd.cards import describe, inherit, with_world
from avcd.compose.registration import Registration, RegistrationInput, register
from avcd.compose.stacking import StackInput, stack_images
from avcd.errors import ProcessingError
from avcd.frame import Wcs
from avcd.reduction.planes import CCDData
from avcd.sky.detection import Sources, detect_sources
from avcd.stages.inputs import read_product
from avcd.stages.output import Output, Work
from avcd.stages.screening import member_of, screen_frames
from avcd.stages.writing import image_output
from avcd.work import JobInput

_SOLVED = (Wcs.SOLVED, Wcs.DELIVERED, Wcs.REFINED)
_STARS = 150  # enough to register on, and no slower for a rich field


def detect_stars(ccd: CCDData) -> Sources:
    """The stars of a reduced frame or stack, to register and to compare it by."""
    noise = None if ccd.uncertainty is None else ccd.uncertainty.array
    return detect_sources(ccd.data, ccd.mask, noise=noise, saturation=None, sigma=5.0, minimum_px=5)


def registration_input(ccd: CCDData, one: JobInput, sources: Sources | None = None) -> RegistrationInput:
    """What registration looks at: pixels, mask, the world coordinates if they can be trusted, and the stars."""
    wcs = ccd.wcs if one.wcs in _SOLVED else None
    found = detect_stars(ccd) if sources is None else sources
    stars = np.column_stack([found.x, found.y])[:_STARS]
    return RegistrationInput(ccd.data, ccd.mask, wcs, stars)


def combine_observation(work: Work) -> Output:
    """A stack; frames that could not be registered are named in its warnings and left out."""
    ordered = sorted(work.inputs("reduced"), key=_start)
    frames = [read_product(work, one) for one in ordered]
    reference = reference_index(frames, ordered)
    shapes = {one.data.shape for one in frames}
    if len(shapes) > 1:
        raise ProcessingError(f"the frames of this stack differ in size: {sorted(shapes)}")
    members = [member_of(ccd, detect_stars(ccd), _exposure(one)) for ccd, one in zip(frames, ordered, strict=True)]
    found = register(
        [
            registration_input(ccd, one, member.sources)
            for ccd, one, member in zip(frames, ordered, members, strict=True)
        ],
        reference,
    )
    screened = screen_frames(ordered, members, found, frames[reference].data.shape, work.claim.spec.parameters)
    used = [index for index, one in enumerate(found) if one.method != "failed" and index not in screened.left_out]
    stacked = stack_images(
        [
            StackInput(
                data=frames[index].data,
                mask=frames[index].mask,
                uncertainty=frames[index].uncertainty.array if frames[index].uncertainty is not None else None,
                exposure_s=_exposure(ordered[index]),
                registration=found[index],
            )
            for index in used
        ],
        frames[reference].data.shape,
        work.claim.spec.parameters,
    )
    notes = [
        *stacked.warnings,
        *screened.warnings,
        *(_note(one, ordered[index]) for index, one in enumerate(found) if one.warning),
    ]
    uncertainty = None if stacked.uncertainty is None else StdDevUncertainty(stacked.uncertainty)
    ccd = CCDData(stacked.data, unit=frames[reference].unit, mask=stacked.mask, uncertainty=uncertainty)
    header, state = _header(work, frames[reference], ordered[reference], len(used))
    metrics = {
        **stacked.metrics,
        "frames": len(ordered),
        "frames_used": len(used),
        "frames_screened_out": len(screened.left_out),
        **{
            f"registered_by_{name}": sum(one.method == name for one in found)
            for name in sorted({one.method for one in found})
        },
    }
    planes = {"COUNT": stacked.coverage} if work.claim.spec.parameters["counts"] else {}
    output = image_output(work, ccd, header, metrics, warnings=tuple(notes), planes=planes, wcs=state)
    return replace(output, input_metrics=screened.input_metrics)


def reference_index(frames: list[CCDData], ordered: list[JobInput]) -> int:
    """The frame that gives the grid: the first that is solved, else the first."""
    return next((index for index, one in enumerate(ordered) if one.wcs in _SOLVED), 0)


def _start(one: JobInput) -> tuple[str, str]:
    """Reduced frames are named by target, filter and start of exposure: in the order of time."""
    return one.relative_path.rsplit("/", 1)[-1], one.id


def _exposure(one: JobInput) -> float | None:
    return one.spec.exposure_s if one.spec else None


def _note(found: Registration, one: JobInput) -> str:
    return f"{one.relative_path.rsplit('/', 1)[-1]}: {found.warning}"


def _header(work: Work, reference: CCDData, one: JobInput, combined: int) -> tuple[fits.Header, Wcs]:
    source = fits.Header(reference.header)
    wcs = reference.wcs
    if one.wcs in _SOLVED and isinstance(wcs, WCS):
        header = with_world(source, wcs, rms_arcsec=None, matched=None)
    else:
        header = inherit(source, keep_world=False)
    applied = [
        kind
        for letter, kind in (("B", "bias"), ("D", "dark"), ("F", "flat"))
        if letter in str(source.get("CALSTAT", ""))
    ]
    return describe(header, work.claim.spec, applied=applied, combined=combined), (
        one.wcs if one.wcs in _SOLVED else Wcs.NONE
    )
