"""Bad pixel masks from files that are named, and images repaired by them: no job, no catalogue."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from avcd.cards import describe, inherit
from avcd.config import Limits
from avcd.errors import FrameError, ProcessingError, ProductError, UsageError
from avcd.frame import (
    CalibLevel,
    Frame,
    ImageType,
    InputRef,
    MaskBit,
    ProductKind,
    ProductSpec,
    ProductStatus,
    product_identity,
)
from avcd.headers.pixels import read_pixels
from avcd.headers.profiles import load_profiles
from avcd.headers.reading import read_file
from avcd.named_defects import read_named_defects
from avcd.products import ImageContent, publish, read_image_product, verify_fits, write_image_fits
from avcd.recipes import Recipe
from avcd.reduction.combine import ArraySource, combine_frames
from avcd.reduction.defects import Defects, add_named, as_product, find_bad_pixels, find_bad_response
from avcd.reduction.planes import CCDData
from avcd.reduction.repair import repair_pixels

_DARKS = (ImageType.DARK, ImageType.DARK_FLAT, ImageType.MASTER_DARK, ImageType.BIAS, ImageType.MASTER_BIAS)
_FLATS = (ImageType.FLAT, ImageType.MASTER_FLAT)
_TOKEN = "writing"


@dataclass(frozen=True)
class Image:
    """One file's image: where it is, what its header says, its pixels with the mask it brings."""

    path: Path
    frame: Frame
    ccd: CCDData
    header: fits.Header


@dataclass(frozen=True)
class Made:
    """An output: where it is, whether it was there already, figures, and what a person should know."""

    path: Path
    already: bool = False
    metrics: Mapping[str, float] = field(default_factory=dict)
    warnings: Sequence[str] = ()


def read_image(path: Path) -> Image:
    """The image of a file, raw or one of avcd's own products.

    Raises
    ------
    FrameError
        It cannot be read, or holds no image or several.
    """
    found = read_file(path, path.name, load_profiles(), Limits())
    frames = [(one.member, hdu, frame) for one in found.members for hdu, frame in one.frames]
    if not frames:
        raise FrameError(f"{path}: {found.members[0].reason or 'there is no image in it'}")
    member, hdu, frame = frames[0]
    if frame.product_id is not None and not member:
        content = read_image_product(path)
        return Image(path, frame, content.to_ccd(), content.header)
    if len(frames) > 1:
        raise FrameError(f"{path}: there are {len(frames)} images in it; name a file of one")
    data, header = read_pixels(path, member, hdu)
    return Image(path, frame, CCDData(data, unit="adu"), header)


def make_mask(
    paths: Sequence[Path], named: Path | None, binning: str | None, out: Path, recipe: Recipe, *, force: bool
) -> Made:
    """A bad pixel mask from darks, flats and a list of an observer, written to a file.

    Several darks are combined by their clipped mean first; of flats one is taken by itself, of two their ratio.

    Raises
    ------
    UsageError
        The frames cannot be used together, or ``out`` is there and was made otherwise.
    """
    images = [read_image(path) for path in paths]
    sizes = {one.ccd.data.shape for one in images}
    if len(sizes) > 1:
        raise UsageError(f"the images differ in size: {sorted(sizes)}; a mask is for one detector in one binning")
    darks = [one for one in images if one.frame.image_type in _DARKS]
    flats = [one for one in images if one.frame.image_type in _FLATS]
    others = [one for one in images if one not in darks and one not in flats]
    if others and not (named and len(images) == 1):
        raise UsageError(f"{others[0].path}: is neither dark nor flat but {others[0].frame.image_type}")
    if len(flats) > 2:
        raise UsageError(f"{len(flats)} flats: name one, or two of different light, whose ratio is looked at")
    like = (darks or flats or others)[0]
    areas = () if named is None else read_named_defects(named).for_binning(binning or like.frame.binning)
    parameters = {**recipe.parameters, "named": [list(one) for one in areas]}
    refs = tuple(sorted((InputRef(_role(one, darks, flats), one.frame.id, "frame") for one in images), key=str))
    spec = _spec(recipe, parameters, refs, like.frame, out)
    if _is_done(out, {"AVCDID": spec.id}, force=force):
        return Made(out, already=True)
    parts: list[Defects] = []
    if darks:
        parts.append(find_bad_pixels(_combined(darks), recipe.parameters))
    if flats:
        other = flats[1].ccd if len(flats) > 1 else None
        parts.append(find_bad_response(flats[0].ccd, other, recipe.parameters))
    found = _joined(parts, like.ccd.data.shape)
    notes: list[str] = []
    if named is not None:
        found, notes = add_named(found, areas)
    rows = _provenance(images, {ref.id: ref.role for ref in refs})
    content = ImageContent(
        data=found.ccd.data,
        unit="",
        mask=found.ccd.mask,
        header=describe(inherit(like.header, keep_world=False), spec),
        provenance=rows,
        parameters=parameters,
    )
    _write(out, content)
    return Made(out, False, found.metrics, [f"{named}: {note}" for note in notes])


def repair_image(path: Path, mask_path: Path, out: Path, parameters: Mapping[str, Any], *, force: bool) -> Made:
    """An image with its bad pixels replaced from their neighbours, written to a file.

    Parameters
    ----------
    mask_path
        One of avcd's masks, or any image: there, what is not zero is bad.
    parameters
        repair, repair_radius_px, repair_least_neighbours.

    Raises
    ------
    ProcessingError
        The mask is of another size.
    """
    image, bad = read_image(path), read_image(mask_path)
    inputs = [image, bad]
    identity = hashlib.sha256(repr([image.frame.id, bad.frame.id, sorted(parameters.items())]).encode()).hexdigest()
    if _is_done(out, {"AVCDREP": identity}, force=force):
        return Made(out, already=True)
    plane = bad.ccd.mask
    if plane is None:
        plane = np.where(bad.ccd.data != 0, np.uint16(MaskBit.USER), np.uint16(0))
    if plane.shape != image.ccd.data.shape:
        raise ProcessingError(f"the mask has shape {plane.shape}, the image {image.ccd.data.shape}")
    ccd = image.ccd
    ccd.mask = plane if ccd.mask is None else ccd.mask | plane
    ccd.mask = np.asarray(ccd.mask) | np.where(np.isfinite(ccd.data), np.uint16(0), np.uint16(MaskBit.NON_FINITE))
    found, metrics = repair_pixels(ccd, parameters)
    header = inherit(image.header, keep_world=True)
    header["AVCDREP"] = (identity, "")
    header["HISTORY"] = (
        f"bad pixels replaced: {parameters['repair']}, {metrics['repaired_px']:.0f} mended, "
        f"{metrics['unrepaired_px']:.0f} left"
    )
    _write(
        out,
        ImageContent(
            data=np.asarray(found.data),
            unit=str(found.unit),
            mask=found.mask,
            uncertainty=None if found.uncertainty is None else found.uncertainty.array,
            header=header,
            provenance=_provenance(inputs, {image.frame.id: "image", bad.frame.id: "bad_pixels"}),
            parameters=dict(parameters),
        ),
    )
    return Made(out, False, metrics)


def _role(image: Image, darks: Iterable[Image], flats: Iterable[Image]) -> str:
    return "dark" if image in darks else "flat" if image in flats else "like"


def _spec(
    recipe: Recipe, parameters: Mapping[str, Any], refs: tuple[InputRef, ...], like: Frame, out: Path
) -> ProductSpec:
    kind = ProductKind.BAD_PIXEL_MASK
    return ProductSpec(
        id=product_identity(kind, recipe.name, recipe.version, parameters, refs),
        kind=kind,
        slot="",
        recipe=recipe.name,
        recipe_version=recipe.version,
        parameters=parameters,
        inputs=refs,
        status=ProductStatus.FINAL,
        path=out.name,
        telescope=like.telescope,
        instrument=like.instrument,
        exposure_s=like.exposure_s,
        calib_level=CalibLevel.COMBINED,
    )


def _combined(darks: Sequence[Image]) -> CCDData:
    if len(darks) == 1:
        return darks[0].ccd
    found = combine_frames([ArraySource(one.ccd.data, one.ccd.mask) for one in darks])
    return CCDData(found.data, unit="adu", mask=found.mask & np.uint16(MaskBit.NO_DATA))


def _joined(parts: Sequence[Defects], shape: tuple[int, ...]) -> Defects:
    mask = np.zeros(shape, np.uint16)
    counts: dict[str, float] = {}
    for one in parts:
        mask |= np.asarray(one.ccd.mask)
        counts |= {name: counts.get(name, 0.0) + value for name, value in one.metrics.items()}
    return as_product(mask, counts)


def _provenance(images: Sequence[Image], roles: Mapping[str, str]) -> list[dict[str, str]]:
    return [
        {"role": roles[one.frame.id], "id": one.frame.id, "name": one.path.name, "sha256": one.frame.pixel_sha256}
        for one in images
    ]


def _is_done(out: Path, wanted: Mapping[str, str], *, force: bool) -> bool:
    """Whether a file is there that was made of the same inputs in the same way.

    Raises
    ------
    UsageError
        It is there and is something else.
    """
    if force or not out.exists():
        return False
    try:
        header = read_image_product(out).header
        verify_fits(out)
    except ProductError:
        header = fits.Header()
    if all(header.get(key) == value for key, value in wanted.items()):
        return True
    raise UsageError(f"{out} is there, and is not what these files would give; --force replaces it")


def _write(out: Path, content: ImageContent) -> None:
    publish(out.absolute().parent, out.name, lambda stream: write_image_fits(content, stream), verify_fits, _TOKEN)
