"""Colour composites of files that are named: their filters, one grid for all, and the picture with its record."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from avcd.cards import inherit
from avcd.compose.colour import Channel, compose_rgb
from avcd.compose.resampling import resample
from avcd.errors import UsageError
from avcd.frame import InputRef, ProductKind, product_identity
from avcd.products import celestial_wcs
from avcd.recipes import Recipe
from avcd.stages.colourfiles import About, colour_files
from avcd.standalone.grids import finest, registrations, saturated_plane
from avcd.standalone.inputs import FrameFile
from avcd.standalone.outputs import paths_of
from avcd.standalone.pictures import SUFFIXES, PictureTask
from avcd.standalone.planning import check_memory
from avcd.standalone.writing import Signed

_KIND = str(ProductKind.RGB)


def plan_composite(
    files: Sequence[FrameFile],
    names: Sequence[str],
    out: Path,
    forms: Sequence[str],
    recipe: Recipe,
    mix: Mapping[str, str],
    limit_bytes: int,
) -> PictureTask:
    """The task that makes a colour picture of files.

    Parameters
    ----------
    files
        One image a filter.
    names
        The filters, in the order of the files; empty: as the headers say.
    out
        The first picture; what else is made stands beside it.
    forms
        What else: "png", "jpg", "tiff", "fits".
    recipe
        Of composites.
    mix
        composite, or red, green, blue and perhaps luminance; and what the picture is enhanced by.

    Raises
    ------
    UsageError
        The filters are not known, or ``out`` is no picture.
    """
    filters = filters_of(files, names)
    for one in files:
        check_memory(one.frame, limit_bytes)
    suffix = out.suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(f"-o {out}: name a picture that ends with {', '.join(SUFFIXES)}")
    paths = {SUFFIXES[suffix]: out}
    paths |= {form: out.with_suffix(f".{form}") for form in forms if form not in paths}
    parameters = {name: value for name, value in recipe.parameters.items() if name != "formats"}
    parameters |= {name: value for name, value in mix.items() if value}
    parameters["forms"] = ",".join(paths)
    inputs = [(f"stack {name}", one) for name, one in zip(filters, files, strict=True)]
    refs = tuple(InputRef(role, one.id, "frame") for role, one in inputs)
    identity = product_identity(_KIND, recipe.name, recipe.version, parameters, refs)
    signed = Signed(identity, _KIND, recipe.name, recipe.version, parameters, inputs)
    make = partial(_make, files, filters, signed, tuple(paths))
    return PictureTask(identity, _KIND, paths, out.with_suffix(".json"), paths_of(files), make)


def filters_of(files: Sequence[FrameFile], names: Sequence[str]) -> list[str]:
    """The filter of each file.

    Raises
    ------
    UsageError
        A header names none, or two name the same.
    """
    if names:
        if len(names) != len(files):
            raise UsageError(f"--filters names {len(names)} filters for {len(files)} images; name one for each")
        found = list(names)
    else:
        found = [one.frame.filter or "" for one in files]
    unknown = [one.name for one, name in zip(files, found, strict=True) if not name]
    if unknown:
        raise UsageError(f"{unknown[0]}: its header names no filter; give --filters, one for each file in their order")
    twice = [name for name in found if found.count(name) > 1]
    if twice:
        raise UsageError(
            f"two of the files are of filter {twice[0]}; stack them first, or give --filters, one for each file in order"
        )
    return found


def _make(
    files: Sequence[FrameFile], filters: Sequence[str], signed: Signed, forms: Sequence[str]
) -> tuple[dict[str, bytes], Mapping[str, Any], Sequence[str]]:
    frames = [one.read() for one in files]
    worlds = [one.wcs or celestial_wcs(one.header) for one in frames]
    planes = [saturated_plane(ccd, file) for ccd, file in zip(frames, files, strict=True)]
    reference = finest(worlds)
    found, notes = registrations(frames, planes, worlds, filters, reference)
    shape = (frames[reference].data.shape[0], frames[reference].data.shape[1])
    channels = []
    for ccd, plane, name, registration in zip(frames, planes, filters, found, strict=True):
        if registration.method == "identity":
            channels.append(Channel(name, np.asarray(ccd.data), plane))
        else:
            moved = resample(ccd.data, plane, None, registration, shape)
            channels.append(Channel(name, moved.data, moved.mask))
    image = compose_rgb(channels, signed.parameters)
    first = files[reference].frame
    about = About(
        identity=signed.identity,
        kind=signed.kind,
        recipe=f"{signed.recipe} {signed.version}",
        parameters=signed.parameters,
        inputs=signed.provenance,
        wcs=worlds[reference],
        target=first.target_name,
        telescope=first.telescope,
        header=inherit(frames[reference].header, keep_world=False),
    )
    made = colour_files(image, about, [*forms, "json"])
    record = json.loads(made.pop(".json"))
    return {suffix[1:]: data for suffix, data in made.items()}, record, [*notes, *image.notes]
