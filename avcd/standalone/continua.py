"""Continuum subtraction of files that are named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from avcd.cards import inherit
from avcd.compose.resampling import resample
from avcd.products import celestial_wcs
from avcd.reduction.planes import MaskedImage
from avcd.stages.continuum import Continuum, subtract_continuum
from avcd.standalone.grids import registrations, saturated_plane
from avcd.standalone.images import Stage, stage_of_image
from avcd.standalone.inputs import FrameFile
from avcd.standalone.outputs import Task
from avcd.standalone.planning import check_memory


def plan_continuum(
    narrow: FrameFile, broad: FrameFile, out: Path, factor: float | None, match: bool, limit_bytes: int
) -> Task:
    """The task that subtracts the continuum of a narrowband file.

    Raises
    ------
    ProcessingError
        There is too little memory.
    """
    check_memory(broad.frame, limit_bytes)
    parameters = {"factor": factor, "match_widths": match}

    def stage(ccd: MaskedImage) -> Stage:
        second, notes = _on_grid(ccd, narrow, broad)
        ccd = replace(ccd, mask=saturated_plane(ccd, narrow))
        found = subtract_continuum(ccd, second, factor=factor, match_widths=match)
        said = _said(found, broad.path.name)
        return Stage(found.ccd, inherit(ccd.header, keep_world=True), said, [said[0], *notes])

    inputs = [("narrowband", narrow), ("broadband", broad)]
    return stage_of_image("continuum", inputs, parameters, out, limit_bytes, stage)


def _on_grid(ccd: MaskedImage, narrow: FrameFile, broad: FrameFile) -> tuple[MaskedImage, list[str]]:
    """The broadband image on the narrowband one's grid, and notes."""
    second = broad.read()
    frames = [ccd, second]
    planes = [saturated_plane(ccd, narrow), saturated_plane(second, broad)]
    worlds = [one.wcs or celestial_wcs(one.header) for one in frames]
    found, notes = registrations(frames, planes, worlds, [narrow.name, broad.name], 0)
    moved = resample(second.data, planes[1], second.uncertainty, found[1], (ccd.data.shape[0], ccd.data.shape[1]))
    return MaskedImage(moved.data, second.unit, moved.mask, moved.uncertainty), notes


def _said(found: Continuum, name: str) -> list[str]:
    how = "as given" if found.stars is None else f"+- {found.factor_error:.2g}, of {found.stars} stars"
    steps = [f"continuum subtracted: {found.factor:.6g} ({how}) times {name}"]
    steps.append(f"sky subtracted: {found.sky_narrow:.6g}, of the broadband {found.sky_broad:.6g}")
    if found.blurred:
        steps.append(f"the {found.blurred}band image blurred by {found.blurred_px:.2f} px, to the other's stars")
    return steps
