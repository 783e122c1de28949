"""The quality of files that are named, each by itself and against the others of its camera and filter."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from astropy.wcs import WCS

from avcd.compose.registration import RegistrationInput, register
from avcd.errors import AvcdError
from avcd.frame import ProductKind
from avcd.inspection import limits_of
from avcd.recipes import load_recipes
from avcd.sky.detection import Sources
from avcd.sky.relative import Member, compare_frames
from avcd.standalone.inputs import FrameFile
from avcd.standalone.measured import Measured, measure_file
from avcd.standalone.planning import check_memory
from avcd.views.quality import quality_row

_STARS = 150


@dataclass(frozen=True)
class _Seen:
    """What is kept of a file: its stars and figures, none of its pixels."""

    name: str
    about: Mapping[str, Any]
    alike: tuple[object, ...]
    figures: Mapping[str, Any]
    sources: Sources
    shape: tuple[int, int]
    wcs: WCS | None
    exposure_s: float | None


def judge_files(
    files: Iterable[FrameFile], limit_bytes: int, fail: Callable[[str, Exception], None]
) -> list[dict[str, Any]]:
    """One row of figures and faults for each file, in their order.

    Parameters
    ----------
    limit_bytes
        A frame that needs more is refused; one is held at a time.
    fail
        Called with the name of a file that could not be measured, and why.
    """
    recipes = load_recipes()
    search, limits = recipes[ProductKind.SOURCES].parameters, limits_of(recipes[ProductKind.STACK].parameters)
    seen: list[_Seen] = []
    for file in files:
        try:
            check_memory(file.frame, limit_bytes)
            seen.append(
                _seen(measure_file(file, float(search["detection_sigma"]), int(search["detection_minimum_px"])))
            )
        except (AvcdError, OSError) as error:
            fail(file.name, error)
    relative: dict[str, dict[str, float]] = {}
    for group in _groups(seen):
        relative |= _compared(group)
    return [quality_row(one.about, {**one.figures, **relative.get(one.name, {})}, limits) for one in seen]


def _seen(found: Measured) -> _Seen:
    frame, (ny, nx) = found.frame, found.ccd.data.shape
    names = ("telescope", "night", "target_name", "filter", "date_obs", "exposure_s")
    return _Seen(
        name=found.file.name,
        about={"id": found.file.id, "path": found.file.name, **{name: getattr(frame, name) for name in names}},
        alike=(frame.camera, ny, nx, frame.target_name, frame.filter, found.file.unit),
        figures=found.figures,
        sources=replace(found.sources, background=np.empty((0, 0)), background_rms=np.empty((0, 0))),
        shape=(ny, nx),
        wcs=found.wcs,
        exposure_s=frame.exposure_s,
    )


def _groups(seen: Sequence[_Seen]) -> list[list[_Seen]]:
    """Those of one camera, size, target, filter and unit, which can be compared."""
    groups: dict[tuple[object, ...], list[_Seen]] = {}
    for one in seen:
        groups.setdefault(one.alike, []).append(one)
    return [group for group in groups.values() if len(group) > 1]


def _compared(group: Sequence[_Seen]) -> dict[str, dict[str, float]]:
    """The figures of each file against the others, by its name."""
    richest = int(np.argmax([len(one.sources) for one in group]))
    registrations = register(
        [
            RegistrationInput(
                np.broadcast_to(np.float32(0), one.shape),  # by stars and world coordinates alone
                None,
                one.wcs,
                np.column_stack([one.sources.x, one.sources.y])[:_STARS],
            )
            for one in group
        ],
        richest,
    )
    members = [
        Member(
            one.sources,
            one.shape,
            found.to_frame if found.method != "failed" else None,
            one.exposure_s,
            one.figures.get("fwhm_px"),
            one.figures["background"],
            one.figures["noise"],
        )
        for one, found in zip(group, registrations, strict=True)
    ]
    compared = compare_frames(members, group[richest].shape)
    return {one.name: found.as_metrics() for one, found in zip(group, compared, strict=True)}
