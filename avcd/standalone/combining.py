"""Several files combined into one: a master, as the daemon makes it, or a plain combination of any frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from avcd.association import coherent, readout_values
from avcd.cards import inherit, sign, with_combined
from avcd.errors import ProcessingError, UsageError
from avcd.frame import CalibLevel, Frame, ImageType, ProductKind
from avcd.planner.masters import representative
from avcd.recipes import Recipe, load_recipes
from avcd.reduction.combine import FrameSource, combine_frames
from avcd.reduction.levels import combination_of, weights_by_noise
from avcd.reduction.masters import step_of
from avcd.reduction.planes import MaskedImage
from avcd.reduction.sources import CorrectedSource
from avcd.stages.inputs import row_sources
from avcd.stages.output import Work
from avcd.standalone.inputs import FrameFile, shipped_rules
from avcd.standalone.outputs import Task, Writer, paths_of
from avcd.standalone.planning import changed, check_fits, check_memory, open_path, recipe_of, stage_task
from avcd.standalone.writing import Signed, writer_of
from avcd.work import Claim


class CombineType(StrEnum):
    """What frames are combined into."""

    BIAS = "bias"
    DARK = "dark"
    FLAT = "flat"
    PLAIN = "plain"


class Scale(StrEnum):
    """What frames are brought to before they are compared."""

    NONE = "none"
    MEDIAN = "median"
    MEAN = "mean"
    EXPOSURE = "exposure"


_KINDS = {
    CombineType.BIAS: ProductKind.MASTER_BIAS,
    CombineType.DARK: ProductKind.MASTER_DARK,
    CombineType.FLAT: ProductKind.MASTER_FLAT,
}
_TYPES = {
    CombineType.BIAS: (ImageType.BIAS,),
    CombineType.DARK: (ImageType.DARK, ImageType.DARK_FLAT),
    CombineType.FLAT: (ImageType.FLAT,),
}
# What frames of one master have in common, in the words of `avcd frames`.
_COMMON = ("camera", "binning", "window", "gain", "offset", "readout_mode", "overscan_section", "trim_section")
_EXPOSURE_TOLERANCE = 0.01
_DARK_OF_FLAT_TOLERANCE = 0.1


@dataclass(frozen=True)
class CombineOptions:
    """How frames are combined; None: as the recipe says."""

    type: CombineType
    method: str | None = None
    low_sigma: float | None = None
    high_sigma: float | None = None
    rejection: str | None = None
    counts: bool | None = None
    scale: Scale = Scale.NONE
    mixed: bool = False
    changes: tuple[str, ...] = ()
    memory_bytes: int = 2 * 2**30


def plan_combination(
    files: Sequence[FrameFile], out: Path, options: CombineOptions, bias: FrameFile | None, dark: FrameFile | None
) -> tuple[Task, list[str]]:
    """The task that combines files, and what a person should know beforehand.

    Raises
    ------
    UsageError
        Options that do not go together.
    ProcessingError
        Frames that do not.
    """
    _check_options(options, bias, dark)
    unique = {one.id: one for one in files}
    notes = [f"{len(files) - len(unique)} of the files hold the same frames as others: each counts once"] if len(
        unique
    ) < len(files) else []  # fmt: skip
    ordered = sorted(unique.values(), key=lambda one: (one.frame.t_min or 0.0, one.id))
    if options.type is not CombineType.PLAIN:
        ordered = [one.trimmed() for one in ordered]
    frames = [one.frame for one in ordered]
    check_memory(frames[0], options.memory_bytes * 4)  # of the results alone: frames are read in strips
    _check_common(ordered, options)
    for role, master in (("bias", bias), ("dark", dark)):
        if master is not None:
            check_fits(master, role, frames[0])
    if options.type is CombineType.PLAIN:
        return _plain(ordered, out, options), notes
    recipe = _recipe(frames, options)
    inputs = [one.as_raw() for one in ordered]
    if options.type is CombineType.FLAT and dark is not None:
        notes += _check_dark_of_flat(dark, bias, frames)
        inputs.append(dark.as_master("dark"))
        if dark.bias_removed is False:
            bias = None
    if bias is not None:
        inputs.append(bias.as_master("bias"))
    like = representative(frames)
    about: dict[str, Any] = {"filter": like.filter} if options.type is CombineType.FLAT else {}
    task = stage_task(
        recipe,
        inputs,
        out,
        like,
        options.memory_bytes,
        calib_level=CalibLevel.COMBINED,
        exposure_s=like.exposure_s,
        **about,
    )
    return task, notes


def _check_options(options: CombineOptions, bias: FrameFile | None, dark: FrameFile | None) -> None:
    if bias is not None and options.type in (CombineType.BIAS, CombineType.PLAIN):
        raise UsageError(f"--bias: nothing is subtracted from frames of --type {options.type}; see: avcd reduce --help")
    if dark is not None and options.type is not CombineType.FLAT:
        raise UsageError("--dark goes with --type flat alone")
    if options.scale is not Scale.NONE and options.type is not CombineType.PLAIN:
        said = (
            "flats are always scaled by their medians" if options.type is CombineType.FLAT else "these are not scaled"
        )
        raise UsageError(f"--scale goes with --type plain alone: {said}")


def _check_common(files: Sequence[FrameFile], options: CombineOptions) -> None:
    """Refuse frames that do not belong together."""
    sizes = {(one.frame.naxis1, one.frame.naxis2) for one in files}
    if len(sizes) > 1:
        raise ProcessingError(f"the frames differ in size: {', '.join(f'{x} x {y}' for x, y in sorted(sizes))} pixels")
    if options.mixed or options.type is CombineType.PLAIN:
        return
    wrong = [one for one in files if one.frame.image_type not in (*_TYPES[options.type], ImageType.UNKNOWN)]
    if wrong:
        raise ProcessingError(
            f"{wrong[0].name} is no {options.type} but a {wrong[0].frame.image_type} frame; leave it out, "
            "or combine it all the same with --mixed"
        )
    differing = [name for name in _COMMON if len({getattr(one.frame, name) for one in files}) > 1]
    if options.type is CombineType.FLAT and len({one.frame.filter for one in files}) > 1:
        differing.append("filter")
    if options.type is CombineType.DARK:
        seconds = [one.frame.exposure_s for one in files if one.frame.exposure_s is not None]
        if seconds and max(seconds) > min(seconds) * (1 + _EXPOSURE_TOLERANCE) + 1e-3:
            differing.append("exposure_s")
    if len(coherent([one.frame for one in files], shipped_rules())) > 1:
        differing.append("ccd_temperature_c")
    if differing:
        values = "; ".join(f"{name} {', '.join(sorted({_shown(one, name) for one in files}))}" for name in differing)
        raise ProcessingError(f"the frames differ in {values}: combine those that agree, or all of them with --mixed")


def _shown(file: FrameFile, name: str) -> str:
    value = getattr(file.frame, name)
    return "not recorded" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _recipe(frames: Sequence[Frame], options: CombineOptions) -> Recipe:
    like = representative(list(frames))
    values: dict[str, Any] = {}
    readout = readout_values(like, shipped_rules())
    if options.type is CombineType.DARK:
        values["exposure_s"] = like.exposure_s
    elif options.type is CombineType.FLAT:
        levels = shipped_rules().for_frame(like).flat
        values = {
            "lowest_level": levels.lowest_level,
            "highest_level": levels.highest_level,
            "saturation_adu": like.saturation_adu,
        }
    known = {name: value for name, value in {**values, **readout}.items() if value is not None}
    return recipe_of(_KINDS[options.type], (*_given(options), *options.changes), known)


def _given(options: CombineOptions) -> list[str]:
    """The options that are parameters, as ``--set`` has them."""
    words = {name: getattr(options, name) for name in ("method", "rejection", "low_sigma", "high_sigma")}
    found = [f"{name}={value}" for name, value in words.items() if value is not None]
    return found if options.counts is None else [*found, f"counts={str(options.counts).lower()}"]


def _check_dark_of_flat(dark: FrameFile, bias: FrameFile | None, frames: Sequence[Frame]) -> list[str]:
    """A flat's dark is subtracted as it is: its exposure must be the flats'."""
    seconds = [one.exposure_s for one in frames if one.exposure_s is not None]
    exposure = dark.frame.exposure_s
    if not seconds or exposure is None or any(abs(one - exposure) > _DARK_OF_FLAT_TOLERANCE * one for one in seconds):
        span = f"{min(seconds):g} to {max(seconds):g} s" if seconds else "unknown"
        raise ProcessingError(
            f"the dark {dark.name} of {exposure if exposure is None else f'{exposure:g}'} s is not of the flats' "
            f"exposure ({span}); take one that is, or give --bias alone"
        )
    if dark.bias_removed is False:
        return [f"{dark.name} holds the bias: --bias is left out"] if bias is not None else []
    if dark.bias_removed and bias is None:
        raise ProcessingError(f"the bias was removed from {dark.name}, and the flats hold theirs: give --bias too")
    return []


def _plain(files: Sequence[FrameFile], out: Path, options: CombineOptions) -> Task:
    shipped = load_recipes()[ProductKind.MASTER_BIAS].parameters
    own = {name: shipped[name] for name in (*combination_of(shipped), "counts")}
    parameters = {**changed(own, (*_given(options), *options.changes)), "scale": str(options.scale)}
    units = {one.unit for one in files}
    if len(units) > 1:
        raise ProcessingError(f"the frames differ in unit: {', '.join(sorted(units))}")
    if options.scale is Scale.EXPOSURE and not all(one.frame.exposure_s for one in files):
        raise ProcessingError("--scale exposure: not every frame records its exposure; use --scale median")
    signed = Signed.of("combine", [("frame", one) for one in files], parameters)
    make = partial(_combine_plainly, list(files), signed, options.memory_bytes)
    return Task(signed.identity, signed.kind, out, paths_of(files), make)


def _combine_plainly(files: list[FrameFile], signed: Signed, limit_bytes: int) -> tuple[Writer, Sequence[str]]:
    parameters = signed.parameters
    inputs = tuple(one.as_raw() for one in files)
    work = Work(Claim(job_id="", token="", attempt=1, spec=signed.as_spec(), inputs=inputs), open_path, limit_bytes)
    with row_sources(work, inputs) as sources:
        factors = _factors(files, sources, Scale(parameters["scale"]))
        step = step_of(sources[0]) * min(factors)
        scaled = [CorrectedSource(one, factor=factor) for one, factor in zip(sources, factors, strict=True)]
        combined = combine_frames(
            scaled,
            **combination_of(parameters),
            floor=step / 2,
            weights=weights_by_noise(scaled) if parameters["method"] == "weighted" else None,
            memory_bytes=limit_bytes,
        )
    header = files[0].read().header
    ccd = MaskedImage(combined.data, files[0].unit, combined.mask, combined.uncertainty)
    exposures = [one.frame.exposure_s for one in files]
    total = sum(one for one in exposures if one is not None) if None not in exposures else None
    steps = [f"{parameters['method']} of {len(files)} frames, scaled by {parameters['scale']}"]
    header = with_combined(
        inherit(header, keep_world=True), len(files), total if parameters["method"] == "sum" else None
    )
    header = sign(header, signed.identity, signed.kind, signed.recipe, signed.version, CalibLevel.COMBINED, steps)
    notes = ["fewer than three frames: outliers could not be rejected"] if len(files) < 3 else []
    return writer_of(ccd, header, signed, {"COUNT": combined.count} if parameters["counts"] else None), notes


def _factors(files: Sequence[FrameFile], sources: Sequence[FrameSource], scale: Scale) -> list[float]:
    """What each frame is multiplied with."""
    if scale is Scale.NONE:
        return [1.0] * len(files)
    if scale is Scale.EXPOSURE:
        levels = [float(one.frame.exposure_s or 0.0) for one in files]
    else:
        levels = [_level(one, scale) for one in sources]
    for file, level in zip(files, levels, strict=True):
        if not level > 0:
            raise ProcessingError(f"{file.name} has a level of {level:.4g}: it cannot be scaled by {scale}")
    reference = levels[0] if scale is Scale.EXPOSURE else float(np.median(levels))
    return [reference / one for one in levels]


def _level(source: FrameSource, scale: Scale) -> float:
    values, mask = source.rows(0, source.shape[0])
    good = values[np.isfinite(values) if mask is None else np.isfinite(values) & (mask == 0)]
    if not good.size:
        return float("nan")
    return float(np.median(good)) if scale is Scale.MEDIAN else float(np.mean(good, dtype=np.float64))
