"""A composite as files: pictures with their tags, a cube, and the record of all that was done."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from avcd.cards import sign, with_world
from avcd.compose.captions import captioned_size
from avcd.compose.colour import RgbImage
from avcd.compose.filters import wavelength_nm
from avcd.compose.mixing import COLOURS
from avcd.compose.pictures import PICTURES, Tags, picture_bytes
from avcd.compose.skytags import content_tags, packet, sky_tags
from avcd.errors import ProcessingError
from avcd.frame import CalibLevel
from avcd.products import ImageContent, write_image_fits

FORMS = (*PICTURES, "fits", "json")


@dataclass(frozen=True)
class About:
    """What a composite is, beside its pixels."""

    identity: str
    kind: str
    recipe: str
    parameters: Mapping[str, Any]
    inputs: Sequence[Mapping[str, str]]
    wcs: WCS | None = None
    target: str | None = None
    telescope: str | None = None
    caption: str | None = None
    header: fits.Header = field(default_factory=fits.Header)


def forms_of(text: str) -> tuple[str, ...]:
    """ "png,tiff" as its parts.

    Raises
    ------
    ProcessingError
        One is no form of pictures.
    """
    found = tuple(dict.fromkeys(one.strip() for one in text.split(",") if one.strip()))
    wrong = [one for one in found if one not in FORMS]
    if wrong or not found:
        raise ProcessingError(f"formats {text!r}: give some of {', '.join(FORMS)}, separated by commas")
    return found


def colour_files(image: RgbImage, about: About, forms: Sequence[str]) -> dict[str, bytes]:
    """Suffix to content of each form, in their order; the same composite gives the same bytes."""
    found: dict[str, bytes] = {}
    for form in forms:
        if form == "json":
            found[".json"] = _record(image, about)
        elif form == "fits":
            found[".fits"] = _cube(image, about)
        else:
            tags, quality = _tags(image, about, form), int(about.parameters["jpeg_quality"])
            found[f".{form}"] = picture_bytes(form, image.rgb, about.caption, tags, quality)
    return found


def _tags(image: RgbImage, about: About, form: str) -> Tags:
    shape = (image.rgb.shape[0], image.rgb.shape[1])
    whole, offset = shape, (0, 0)
    if about.caption and form != "tiff":
        whole, offset = captioned_size(shape, about.caption)
    bands = [(colour, name) for colour in COLOURS for name in image.record.get("channels", {}).get(colour, {})]
    content = content_tags(
        about.target,
        about.telescope,
        [name for _, name in bands],
        [colour for colour, _ in bands],
        [wavelength_nm(name) for _, name in bands],
    )
    text = "; ".join(f"{colour} {names}" for colour, names in image.assignment.items())
    return Tags(packet({**content, **sky_tags(about.wcs, whole, offset)}), text)


def _record(image: RgbImage, about: About) -> bytes:
    """All that was done, as JSON."""
    whole = {
        "id": about.identity,
        "kind": about.kind,
        "recipe": about.recipe,
        "target_name": about.target,
        "telescope": about.telescope,
        "assignment": image.assignment,
        "parameters": dict(about.parameters),
        "inputs": [dict(one) for one in about.inputs],
        "done": image.record,
        "steps": image.steps,
        "notes": image.notes,
        "wcs": None if about.wcs is None else dict(about.wcs.to_header(relax=True).items()),
        "shape": list(image.rgb.shape[:2]),
    }
    text = json.dumps(whole, indent=1, sort_keys=True, ensure_ascii=False, default=_plain)
    return (text + "\n").encode()


def _plain(value: Any) -> Any:
    if hasattr(value, "item"):
        return value.item()
    return str(value)


def _cube(image: RgbImage, about: About) -> bytes:
    """The picture as FITS, shape (3, ny, nx), values from 0 to 1."""
    name, _, version = about.recipe.partition(" ")
    header = about.header
    if about.wcs is not None:
        header = with_world(header, about.wcs, rms_arcsec=None, matched=None)
        header["WCSAXES"] = 3
    steps = [*image.steps, *image.notes]
    header = sign(header, about.identity, about.kind, name, int(version), CalibLevel.COMBINED, steps)
    header["CTYPE3"] = ("RGB", "red, green, blue")
    header["CRPIX3"], header["CRVAL3"], header["CDELT3"] = 1.0, 1.0, 1.0
    if about.target:
        header["OBJECT"] = (about.target.encode("ascii", "replace").decode(), "target")
    data = np.ascontiguousarray(np.moveaxis(image.rgb, -1, 0), dtype=np.float32)
    content = ImageContent(data, "", header=header, provenance=about.inputs, parameters=about.parameters)
    stream = io.BytesIO()
    write_image_fits(content, stream)
    return stream.getvalue()
