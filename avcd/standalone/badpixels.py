"""Bad pixel masks from files that are named, and images repaired by them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from avcd.association.trimming import readout_values
from avcd.cards import describe, inherit
from avcd.errors import ProcessingError
from avcd.frame import (
    CalibLevel,
    ImageType,
    InputRef,
    MaskBit,
    ProductKind,
    ProductSpec,
    ProductStatus,
    product_identity,
)
from avcd.named_defects import Area, read_named_defects
from avcd.recipes import Recipe
from avcd.reduction.combine import ArraySource, combine_frames
from avcd.reduction.defects import Defects, add_named, as_product, find_bad_pixels, find_bad_response
from avcd.reduction.planes import MaskedImage
from avcd.reduction.repair import repair_pixels
from avcd.standalone.images import Stage, stage_of_image
from avcd.standalone.inputs import FrameFile, shipped_rules
from avcd.standalone.outputs import Task, Writer, paths_of
from avcd.standalone.planning import check_fits, check_memory
from avcd.standalone.readouts import read_image
from avcd.standalone.writing import Signed, writer_of

_DARKS = (ImageType.DARK, ImageType.DARK_FLAT, ImageType.MASTER_DARK, ImageType.BIAS, ImageType.MASTER_BIAS)
_FLATS = (ImageType.FLAT, ImageType.MASTER_FLAT)


def plan_mask(
    files: Sequence[FrameFile], out: Path, named: Path | None, binning: str | None, recipe: Recipe, limit_bytes: int
) -> Task:
    """The task that finds the bad pixels of darks and flats, and adds an observer's list.

    Raw frames lose their overscan first, where their headers say where it is. Several darks are combined by their clipped mean; of flats one is taken by itself, of two their ratio. A list
    alone is drawn on the size of any one image.

    Raises
    ------
    ProcessingError
        The frames cannot be used together.
    """
    files = [one.trimmed() for one in files]
    darks = [one for one in files if one.frame.image_type in _DARKS]
    flats = [one for one in files if one.frame.image_type in _FLATS]
    others = [one for one in files if one not in darks and one not in flats]
    if others and not (named and len(files) == 1):
        raise ProcessingError(f"{others[0].name} is neither dark nor flat but {others[0].frame.image_type}")
    if len(flats) > 2:
        raise ProcessingError(f"{len(flats)} flats: name one, or two of different light, whose ratio is looked at")
    inputs = [*(("dark", one) for one in darks), *(("flat", one) for one in flats), *(("like", one) for one in others)]
    like = inputs[0][1]
    for role, one in inputs:
        check_fits(one, role, like.frame)
    check_memory(like.frame, limit_bytes)
    areas = () if named is None else read_named_defects(named).for_binning(binning or like.frame.binning)
    readouts = [readout_values(one.frame, shipped_rules()) for one in files if one.product is None]
    parameters = {**recipe.parameters, "named": [list(one) for one in areas], **next(filter(None, readouts), {})}
    refs = tuple(InputRef(role, one.id, "frame") for role, one in inputs)
    kind = ProductKind.BAD_PIXEL_MASK
    identity = product_identity(kind, recipe.name, recipe.version, parameters, refs)
    signed = Signed(identity, str(kind), recipe.name, recipe.version, parameters, inputs)
    make = partial(_make_mask, darks, flats, like, areas, signed, limit_bytes)
    return Task(identity, str(kind), out, paths_of([one for _, one in inputs]), make)


def _make_mask(
    darks: Sequence[FrameFile],
    flats: Sequence[FrameFile],
    like: FrameFile,
    areas: Sequence[Area],
    signed: Signed,
    limit_bytes: int,
) -> tuple[Writer, Sequence[str]]:
    first = read_image(like)
    parts: list[Defects] = []
    if darks:
        parts.append(find_bad_pixels(_combined(darks, limit_bytes), signed.parameters))
    if flats:
        other = read_image(flats[1]) if len(flats) > 1 else None
        parts.append(find_bad_response(read_image(flats[0]), other, signed.parameters))
    found = _joined(parts, first.data.shape)
    notes: list[str] = []
    if areas:
        found, notes = add_named(found, areas)
    figures = _figures(found.metrics)
    spec = ProductSpec(
        id=signed.identity,
        kind=ProductKind.BAD_PIXEL_MASK,
        slot="",
        recipe=signed.recipe,
        recipe_version=signed.version,
        parameters=signed.parameters,
        inputs=tuple(InputRef(role, one.id, "frame") for role, one in signed.inputs),
        status=ProductStatus.FINAL,
        path="",
        telescope=like.frame.telescope,
        instrument=like.frame.instrument,
        exposure_s=like.frame.exposure_s,
        calib_level=CalibLevel.COMBINED,
    )
    header = describe(inherit(first.header, keep_world=False), spec, steps=[figures])
    return writer_of(found.ccd, header, signed), [figures, *notes]


def _combined(darks: Sequence[FrameFile], limit_bytes: int) -> MaskedImage:
    frames = [read_image(one) for one in darks]
    if len(frames) == 1:
        return frames[0]
    found = combine_frames([ArraySource(one.data, one.mask) for one in frames], memory_bytes=limit_bytes)
    return MaskedImage(found.data, unit="adu", mask=found.mask & np.uint16(MaskBit.NO_DATA))


def _joined(parts: Sequence[Defects], shape: tuple[int, ...]) -> Defects:
    mask = np.zeros(shape, np.uint16)
    counts: dict[str, float] = {}
    for one in parts:
        mask |= np.asarray(one.ccd.mask)
        counts |= {name: counts.get(name, 0.0) + value for name, value in one.metrics.items()}
    return as_product(mask, counts)


def _figures(metrics: Mapping[str, float]) -> str:
    """What was found, in one sentence."""
    counted = [f"{value:.0f} {name.replace('_px', ' px').replace('_', ' ')}" for name, value in metrics.items()
               if name != "bad_fraction" and value]  # fmt: skip
    return f"bad are {metrics['bad_fraction']:.3%} of the pixels" + (f": {', '.join(counted)}" if counted else "")


def plan_repair(file: FrameFile, out: Path, mask: FrameFile, parameters: Mapping[str, Any], limit_bytes: int) -> Task:
    """The task that replaces an image's bad pixels from their neighbours.

    Parameters
    ----------
    mask
        One of avcd's masks, or any image: there, what is not zero is bad.
    parameters
        repair, repair_radius_px, repair_least_neighbours.

    Raises
    ------
    ProcessingError
        The mask is of another size.
    """
    check_fits(mask, "mask", file.frame)

    def stage(ccd: MaskedImage) -> Stage:
        named = mask.read()
        plane = named.mask
        if plane is None:
            plane = np.where(named.data != 0, np.uint16(MaskBit.USER), np.uint16(0))
        bad = plane if ccd.mask is None else ccd.mask | plane
        bad = bad | np.where(np.isfinite(ccd.data), np.uint16(0), np.uint16(MaskBit.NON_FINITE))
        found, metrics = repair_pixels(replace(ccd, mask=bad), parameters)
        said = (
            f"bad pixels replaced: {parameters['repair']}, {metrics['repaired_px']:.0f} mended, "
            f"{metrics['unrepaired_px']:.0f} left"
        )
        return Stage(found, inherit(ccd.header, keep_world=True), [said], [said])

    return stage_of_image("badpix", [("image", file), ("bad_pixels", mask)], parameters, out, limit_bytes, stage)
