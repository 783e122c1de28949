"""The frames of a stack, held against one another: what is wrong with each, and which the recipe leaves out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from avcd.compose.mapping import Registration
from avcd.inspection import Finding, faults_of, inspect, limits_of
from avcd.reduction.planes import MaskedImage
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
    members: Sequence[Member],
    registrations: Sequence[Registration],
    grid: tuple[int, int],
    parameters: Mapping[str, Any],
) -> Screened:
    """Compare the frames of a stack, and judge each by the recipe's limits.

    Parameters
    ----------
    inputs, members, registrations
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
        replace(one, to_frame=found.to_frame if found.method != "failed" else None)
        for one, found in zip(members, registrations, strict=True)
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


def member_of(ccd: MaskedImage, sources: Sources, exposure_s: float | None) -> Member:
    """A frame as the comparison wants it, yet to be registered; it holds no pixels."""
    figures = measure_quality(ccd.data, ccd.mask, sources)
    ny, nx = ccd.data.shape
    stars = replace(sources, background=np.empty((0, 0)), background_rms=np.empty((0, 0)))
    return Member(stars, (ny, nx), None, exposure_s, figures.get("fwhm_px"), figures["background"], figures["noise"])


def _figures(relative: Relative) -> dict[str, float | None]:
    known = relative.as_metrics()
    return {name: known.get(name) for name in RELATIVE_FIGURES}


def _own(source: JobInput) -> dict[str, Any]:
    """What was measured on a frame by itself: what an earlier comparison said holds no more."""
    return {name: value for name, value in source.metrics.items() if name not in RELATIVE_FIGURES}


def _told(one: Finding) -> str:
    return f"{one.fault}: {one.evidence}"


def _name(source: JobInput) -> str:
    return source.relative_path.rsplit("/", 1)[-1]
