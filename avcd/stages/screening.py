"""The frames of a stack, held against one another: what is wrong with each, and which the recipe leaves out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from avcd.compose.mapping import Registration
from avcd.inspection import Finding, faults_of, inspect, limits_of
from avcd.reduction.planes import CCDData
from avcd.sky.detection import Sources
from avcd.sky.quality import measure_quality
from avcd.sky.relative import RELATIVE_FIGURES, Member, Relative, compare_frames
from avcd.work import JobInput


@dataclass(frozen=True)
class Screened:
    """Indices of frames to be left out, what to tell of them, and the figures of each input by its id."""

    left_out: frozenset[int]
    warnings: tuple[str, ...]
    input_metrics: Mapping[str, Mapping[str, float | None]]


def screen_frames(
    inputs: Sequence[JobInput],
    frames: Sequence[CCDData],
    stars: Sequence[Sources],
    registrations: Sequence[Registration],
    grid: tuple[int, int],
    parameters: Mapping[str, Any],
) -> Screened:
    """Compare the frames of a stack, and judge each by the recipe's limits.

    Parameters
    ----------
    inputs, frames, stars, registrations
        One for each frame, in one order.
    grid
        (ny, nx) of the frame that the others are registered on.
    parameters
        Of the recipe: ``leave_out`` and the limits, ``screen_…``.

    Returns
    -------
    Screened
        A frame with a fault that ``leave_out`` names is left out, unless all have one.

    Raises
    ------
    ConfigError
        A parameter makes no sense.
    """
    limits, unwanted = limits_of(parameters), faults_of(parameters.get("leave_out", ()))
    members = [
        member_of(ccd, found, one.to_frame if one.method != "failed" else None, _exposure(source))
        for ccd, found, one, source in zip(frames, stars, registrations, inputs, strict=True)
    ]
    compared = compare_frames(members, grid)
    findings = [
        inspect({**_own(source), **relative.as_metrics()}, limits)
        for source, relative in zip(inputs, compared, strict=True)
    ]
    left_out = {index for index, found in enumerate(findings) if any(one.fault in unwanted for one in found)}
    notes = [
        f"{_name(inputs[index])}: {_told(one)}{'; left out' if index in left_out and one.fault in unwanted else ''}"
        for index, found in enumerate(findings)
        for one in found
    ]
    if len(left_out) == len(inputs):
        left_out = set()
        notes = [f"{_name(inputs[index])}: {_told(one)}" for index, found in enumerate(findings) for one in found]
        notes.append("every frame has a fault that the recipe leaves out: none was")
    figures = {source.id: _figures(relative) for source, relative in zip(inputs, compared, strict=True)}
    return Screened(frozenset(left_out), tuple(notes), figures if len(inputs) > 1 else {})


def member_of(ccd: CCDData, sources: Sources, to_frame: Any, exposure_s: float | None) -> Member:
    """A frame as the comparison wants it."""
    figures = measure_quality(ccd.data, ccd.mask, sources)
    ny, nx = ccd.data.shape
    return Member(
        sources, (ny, nx), to_frame, exposure_s, figures.get("fwhm_px"), figures["background"], figures["noise"]
    )


def _figures(relative: Relative) -> dict[str, float | None]:
    known = relative.as_metrics()
    return {name: known.get(name) for name in RELATIVE_FIGURES}


def _own(source: JobInput) -> dict[str, Any]:
    """What was measured on a frame by itself: what an earlier comparison said holds no more."""
    return {name: value for name, value in source.metrics.items() if name not in RELATIVE_FIGURES}


def _exposure(source: JobInput) -> float | None:
    return source.spec.exposure_s if source.spec else None


def _told(one: Finding) -> str:
    return f"{one.fault}: {one.evidence}"


def _name(source: JobInput) -> str:
    return source.relative_path.rsplit("/", 1)[-1]
