"""Stages on single files that are no recipe of the daemon: trim, background, image arithmetic, cosmic rays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from avcd.cards import inherit, pedestal_of, sections_of, sign, trimmed_header, with_pedestal, with_saturation
from avcd.errors import ProcessingError
from avcd.frame import CalibLevel, MaskBit, ProductKind
from avcd.reduction.amplifiers import Amplifier, amplifiers_of
from avcd.reduction.arithmetic import calculate
from avcd.reduction.background import estimate_background, subtract_background
from avcd.reduction.cleaning import clean_cosmic_rays
from avcd.reduction.overscan import Section, subtract_overscan, trim
from avcd.reduction.planes import MaskedImage
from avcd.standalone.amplifiers import joined
from avcd.standalone.inputs import FrameFile
from avcd.standalone.outputs import Task, Writer, paths_of
from avcd.standalone.planning import changed, check_fits, check_memory, recipe_of
from avcd.standalone.writing import Signed, writer_of

_SAID = {"add": "added", "subtract": "subtracted", "multiply": "multiplied with", "divide": "divided by"}


@dataclass(frozen=True)
class Stage:
    """What a stage leaves: pixels, header, and sentences for HISTORY and for people."""

    ccd: MaskedImage
    header: fits.Header
    steps: Sequence[str]
    notes: Sequence[str] = ()


def stage_of_image(
    command: str,
    inputs: Sequence[tuple[str, FrameFile]],
    parameters: Mapping[str, Any],
    out: Path,
    limit_bytes: int,
    stage: Callable[[MaskedImage], Stage],
) -> Task:
    """The task of a command that works on one image, the first of its inputs."""
    first = inputs[0][1]
    check_memory(first.frame, limit_bytes)
    known = {name: value for name, value in parameters.items() if value is not None}
    signed = Signed.of(command, inputs, known)
    return Task(
        signed.identity, signed.kind, out, paths_of([one for _, one in inputs]), partial(_make, first, signed, stage)
    )


def _make(file: FrameFile, signed: Signed, stage: Callable[[MaskedImage], Stage]) -> tuple[Writer, Sequence[str]]:
    made = stage(file.read())
    level = max(file.frame.calib_level, CalibLevel.RAW)
    header = sign(made.header, signed.identity, signed.kind, signed.recipe, signed.version, level, made.steps)
    return writer_of(made.ccd, header, signed), made.notes


@dataclass(frozen=True)
class TrimOptions:
    """What is cut off, and the overscan that is subtracted before; None: as the header says."""

    section: Section | None = None
    overscan: Section | None = None
    subtract: bool = True
    method: str = "median"
    degree: int | None = None
    amplifiers: tuple[Amplifier, ...] = ()


def plan_trim(file: FrameFile, out: Path, options: TrimOptions, limit_bytes: int) -> Task:
    """The task that subtracts a file's overscan and cuts it off.

    Raises
    ------
    ProcessingError
        Neither header nor options say what to do.
    """
    raw_header = file.read().header
    biassec, trimsec = sections_of(raw_header)
    amplifiers = options.amplifiers
    if not amplifiers and options.section is None and options.overscan is None:
        amplifiers = amplifiers_of(raw_header)
    if amplifiers:
        return _plan_joining(file, out, amplifiers, options, limit_bytes)
    section = options.section or (Section.parse(trimsec) if trimsec else None)
    overscan = (options.overscan or (Section.parse(biassec) if biassec else None)) if options.subtract else None
    if section is None and overscan is None:
        raise ProcessingError(
            "its header names neither overscan nor the part to keep (BIASSEC, TRIMSEC, DATASEC); give --overscan or "
            "--section, as in --section '[1:2048,1:2048]'"
        )
    parameters = {
        "section": str(section) if section else None,
        "overscan": str(overscan) if overscan else None,
        "method": options.method if overscan else None,
        "degree": options.degree if overscan else None,
    }

    def stage(ccd: MaskedImage) -> Stage:
        header = inherit(ccd.header, keep_world=True)
        steps, found, saturation = [], ccd, file.frame.saturation_adu
        if overscan is not None:
            found = subtract_overscan(ccd, overscan, method=options.method, degree=options.degree)
            level = float(np.nanmedian(ccd.data - found.data))
            how = f"{options.method} of each line"
            how += "" if options.degree is None else f", polynomial of degree {options.degree}"
            steps.append(f"overscan {overscan} subtracted: {how}, {level:.2f} in the middle")
            saturation = None if saturation is None else saturation - level
        if section is not None:
            found = trim(found, section)
            header = trimmed_header(header, section.x_first, section.y_first)
            steps.append(f"trimmed to {section}")
        if saturation is not None and found.unit == "adu":
            header = with_saturation(header, saturation)  # else it would be known by the raw file's 16 bits alone
        return Stage(found, with_pedestal(header, pedestal_of(ccd.header)), steps)

    return stage_of_image("trim", [("frame", file)], parameters, out, limit_bytes, stage)


def _plan_joining(
    file: FrameFile, out: Path, amplifiers: Sequence[Amplifier], options: TrimOptions, limit_bytes: int
) -> Task:
    """The task that makes one image of what several amplifiers read."""
    chosen = [one if options.subtract else Amplifier(one.image) for one in amplifiers]
    parameters = {
        "amplifiers": [str(one) for one in chosen],
        "method": options.method if options.subtract else None,
        "degree": options.degree if options.subtract else None,
    }

    def stage(ccd: MaskedImage) -> Stage:
        found, header, level, steps = joined(ccd, chosen, method=options.method, degree=options.degree)
        saturation = file.frame.saturation_adu
        if saturation is not None and found.unit == "adu":
            header = with_saturation(header, saturation - level)
        return Stage(found, with_pedestal(header, pedestal_of(ccd.header)), steps)

    return stage_of_image("trim", [("frame", file)], parameters, out, limit_bytes, stage)


def plan_background(
    file: FrameFile, out: Path, box_px: int, filter_boxes: int, *, subtract: bool, limit_bytes: int
) -> Task:
    """The task that measures a file's background, or subtracts it."""
    parameters = {"box_px": box_px, "filter_boxes": filter_boxes, "subtract": subtract}

    def stage(ccd: MaskedImage) -> Stage:
        found = estimate_background(ccd, box_px=box_px, filter_boxes=filter_boxes)
        header = with_pedestal(inherit(ccd.header, keep_world=True), pedestal_of(ccd.header))
        said = f"background of boxes of {box_px} px: median {found.median:.6g}, scatter {found.sigma:.6g} {ccd.unit}"
        if subtract:
            return Stage(subtract_background(ccd, found), header, [f"{said}; subtracted"])
        return Stage(MaskedImage(found.level, unit=ccd.unit), header, [said])

    return stage_of_image("background", [("frame", file)], parameters, out, limit_bytes, stage)


def plan_arithmetic(file: FrameFile, out: Path, operation: str, operand: FrameFile | float, limit_bytes: int) -> Task:
    """The task that computes with a file and a number, or another file.

    Raises
    ------
    ProcessingError
        The other file is of another size.
    """
    inputs = [("frame", file)]
    parameters: dict[str, Any] = {"operation": operation}
    if isinstance(operand, FrameFile):
        check_fits(operand, "operand", file.frame)
        inputs.append(("operand", operand))
        named = operand.path.name
    else:
        parameters["number"] = operand
        named = f"{operand:g}"

    def stage(ccd: MaskedImage) -> Stage:
        second = _with_pedestal_added(operand.read()) if isinstance(operand, FrameFile) else operand
        found = calculate(_with_pedestal_added(ccd), operation, second)
        unknown = ccd.uncertainty is not None and found.uncertainty is None
        notes = [f"{named} has no uncertainty: that of the result is not known"] if unknown else []
        return Stage(found, inherit(ccd.header, keep_world=True), [f"{_SAID[operation]}: {named}"], notes)

    return stage_of_image("imarith", inputs, parameters, out, limit_bytes, stage)


def _with_pedestal_added(ccd: MaskedImage) -> MaskedImage:
    pedestal = pedestal_of(ccd.header)
    return calculate(ccd, "add", pedestal) if pedestal else ccd


@dataclass(frozen=True)
class CosmicOptions:
    """What is known of the detector (None: as the header says), how is searched, and changes of the search's parameters."""

    gain_e_per_adu: float | None = None
    read_noise_e: float | None = None
    saturation_adu: float | None = None
    changes: tuple[str, ...] = ()
    method: str = "lacosmic"


class CosmicPart(StrEnum):
    """What of a search for cosmic rays is written."""

    CLEANED = "cleaned"
    DIFFERENCE = "difference"
    MASK = "mask"


def plan_cosmic(
    file: FrameFile, outs: Mapping[CosmicPart, Path], options: CosmicOptions, limit_bytes: int
) -> list[Task]:
    """The tasks that mask and replace a file's cosmic rays: one for each part that is to be written, of one search.

    The difference is what was taken away, in the frame's unit; the mask is 1 where a pixel was struck, else 0.

    Raises
    ------
    UsageError
        A parameter that does not exist.
    """
    frame = file.frame
    shipped = recipe_of(ProductKind.REDUCED, ()).parameters
    by_median = options.method == "median"
    search = changed(
        {
            name: value
            for name, value in shipped.items()
            if name.startswith("cosmic_")
            and not name.startswith("cosmic_rays")
            and name.startswith("cosmic_median_") == by_median
        },
        options.changes,
    )
    gain = options.gain_e_per_adu or (frame.gain_e_per_adu if file.unit == "adu" else None)
    noise = frame.read_noise_e if options.read_noise_e is None else options.read_noise_e
    saturation = frame.saturation_adu if options.saturation_adu is None else options.saturation_adu
    if saturation is not None and file.unit == "electron":
        saturation *= options.gain_e_per_adu or frame.gain_e_per_adu or 1.0
    known = {"gain_e_per_adu": gain, "read_noise_e": noise, "saturation": saturation}
    if by_median:
        search["method"] = options.method

    @cache
    def cleaned() -> tuple[MaskedImage, Stage]:
        ccd, notes = _with_pedestal_added(file.read()), []
        if gain is None and file.unit == "adu":
            notes.append("the gain is not known: faint cosmic rays are not found; give --gain")
        elif noise is None:
            notes.append("the read noise is not known: the frame's scatter stands for it; give --read-noise")
        if frame.calib_level < CalibLevel.CALIBRATED and not frame.calibration:
            notes.append("the frame holds its bias: its noise is taken for larger than it is; reduce it first")
        found, struck = clean_cosmic_rays(
            ccd, search, gain_e_per_adu=gain, read_noise_e=noise, saturation=saturation, method=options.method
        )
        said = [f"cosmic rays replaced: {struck} pixels"]
        return ccd, Stage(found, inherit(ccd.header, keep_world=True), said, notes)

    def part(wanted: CosmicPart, _: MaskedImage) -> Stage:
        before, made = cleaned()
        if wanted is CosmicPart.CLEANED:
            return made
        struck = (np.asarray(made.ccd.mask) & np.uint16(MaskBit.COSMIC_RAY)) != 0
        if wanted is CosmicPart.MASK:
            return Stage(MaskedImage(struck.astype(np.float32), unit=""), made.header, made.steps)
        taken = np.where(struck, before.data - made.ccd.data, 0).astype(np.float32)
        return Stage(MaskedImage(taken, unit=made.ccd.unit), made.header, made.steps)

    return [
        stage_of_image(
            "cosmic",
            [("frame", file)],
            {**search, **known, **({} if wanted is CosmicPart.CLEANED else {"part": str(wanted)})},
            out,
            limit_bytes,
            partial(part, wanted),
        )
        for wanted, out in outs.items()
    ]
