"""Files reduced with masters that were named, through the daemon's own stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from avcd.association import readout_values
from avcd.errors import ProcessingError
from avcd.frame import CalibLevel, Frame, ImageType, ProductKind
from avcd.planner.science import NEEDED
from avcd.stages import HeldMasters
from avcd.standalone.inputs import FrameFile, shipped_rules
from avcd.standalone.outputs import Task
from avcd.standalone.planning import check_fits, check_memory, recipe_of, stage_task


@dataclass(frozen=True)
class Calibrations:
    """The masters that were named; of several flats each frame takes the one of its filter. ``held`` in memory."""

    bias: FrameFile | None = None
    dark: FrameFile | None = None
    flats: tuple[FrameFile, ...] = ()
    bad_pixels: FrameFile | None = None
    held: HeldMasters = field(default_factory=HeldMasters)


@dataclass(frozen=True)
class ReduceOptions:
    """How frames are reduced; None: as header and recipe say."""

    gain_e_per_adu: float | None = None
    read_noise_e: float | None = None
    saturation_adu: float | None = None
    cosmic_rays: bool | None = None
    solve: bool = False
    changes: tuple[str, ...] = ()
    memory_bytes: int = 2 * 2**30


def plan_reduction(
    file: FrameFile, out: Path, options: ReduceOptions, calibrations: Calibrations
) -> tuple[Task, list[str]]:
    """The task that reduces one file, and what a person should know beforehand.

    What was done to a frame before it was delivered is not done again. Where a calibration is missing the product says
    that it is provisional.

    Raises
    ------
    UsageError
        A parameter that does not exist.
    ProcessingError
        A master does not fit.
    """
    file = file.with_values(
        gain_e_per_adu=options.gain_e_per_adu,
        read_noise_e=options.read_noise_e,
        saturation_adu=options.saturation_adu,
    )
    file = file.trimmed()
    frame = file.frame
    check_memory(frame, options.memory_bytes)
    chosen, notes, missing = _choose(file, calibrations)
    if frame.image_type not in (ImageType.SCIENCE, ImageType.UNKNOWN):
        notes.append(f"its header says that it is a {frame.image_type} frame; it is reduced as one of the sky")
    for role, master in chosen.items():
        check_fits(master, role, frame)
    values: dict[str, Any] = {
        "exposure_s": frame.exposure_s,
        "gain_e_per_adu": frame.gain_e_per_adu,
        "read_noise_e": frame.read_noise_e,
        "saturation_adu": frame.saturation_adu,
        "pedestal_adu": frame.pedestal_adu,
        "pixel_scale_arcsec": frame.pixel_scale_arcsec,
        **readout_values(frame, shipped_rules()),
        "solve": options.solve,
    }
    if options.cosmic_rays is not None:
        values["cosmic_rays"] = "lacosmic" if options.cosmic_rays else "none"
    recipe = recipe_of(
        ProductKind.REDUCED, options.changes, {name: value for name, value in values.items() if value is not None}
    )
    if missing:
        recipe = recipe.model_copy(update={"parameters": {**recipe.parameters, "provisional": True}})
    task = stage_task(
        recipe,
        [file.as_raw(), *(master.as_master(role) for role, master in chosen.items())],
        out,
        frame,
        options.memory_bytes,
        missing=[f"no {kind} was given" for kind in missing],
        held=calibrations.held,
        target_name=frame.target_name,
        filter=frame.filter,
        exposure_s=frame.exposure_s,
        observations=(frame.obs_id,) if frame.obs_id else (),
    )
    return task, notes


def _choose(file: FrameFile, named: Calibrations) -> tuple[dict[str, FrameFile], list[str], list[str]]:
    """The masters for one frame by role, what is to be said of them, and the kinds that are missing."""
    frame, notes = file.frame, []
    done = set(frame.calibration)
    if frame.calib_level >= CalibLevel.CALIBRATED:
        done |= set(NEEDED)
    chosen = {
        role: one
        for role, one in (
            ("bias", named.bias),
            ("dark", named.dark),
            ("flat", _flat_for(file, named.flats) if "flat" not in done else None),
        )
        if one is not None and role not in done
    }
    given = {"bias": named.bias, "dark": named.dark, "flat": named.flats}
    again = [kind for kind in NEEDED if kind in done and given[kind]]
    if again:
        source = frame.sources.get("calibration") or frame.sources.get("calib_level") or "its header"
        notes.append(f"{', '.join(again)} applied already ({source}): not done again")
    dark = chosen.get("dark")
    if dark is not None:
        if dark.bias_removed is False and "bias" in chosen:
            notes.append(f"{dark.name} holds the bias: --bias is left out")
            del chosen["bias"]
        if dark.bias_removed is False:
            done.add("bias")
        if dark.bias_removed and "bias" not in chosen and "bias" not in done:
            raise ProcessingError(
                f"the bias was removed from {dark.name}, and the frame holds its own: give --bias too"
            )
    if named.bad_pixels is not None:
        chosen["bad_pixels"] = named.bad_pixels
    missing = [kind for kind in NEEDED if kind not in chosen and kind not in done]
    return chosen, notes, missing


def _flat_for(file: FrameFile, flats: Sequence[FrameFile]) -> FrameFile | None:
    """The flat of a frame's filter; one of no recorded filter only where it is the only one."""
    if not flats:
        return None
    fitting = [one for one in flats if one.frame.filter == file.frame.filter]
    if len(fitting) == 1:
        return fitting[0]
    if len(fitting) > 1:
        raise ProcessingError(
            f"{' and '.join(one.name for one in fitting)} are of one filter ({file.frame.filter}): give one of them"
        )
    if len(flats) == 1 and (flats[0].frame.filter is None or file.frame.filter is None):
        return flats[0]
    there = ", ".join(f"{one.name} ({_filter(one.frame)})" for one in flats)
    raise ProcessingError(f"its filter is {_filter(file.frame)}, and there is no flat of it: {there}")


def _filter(frame: Frame) -> str:
    return frame.filter or "not recorded"
