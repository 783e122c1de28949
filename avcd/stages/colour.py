"""The colour composite of one observation, from its stacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from astropy.wcs import WCS

from avcd.compose.colour import Channel, compose_rgb
from avcd.compose.registration import register
from avcd.compose.resampling import resample
from avcd.errors import ProcessingError
from avcd.frame import ProductStatus
from avcd.stages.colourfiles import About, colour_files, forms_of
from avcd.stages.inputs import read_product
from avcd.stages.output import Output, Work
from avcd.stages.stacks import reference_index, registration_input
from avcd.stages.writing import picture_output, provenance


def compose_colour(work: Work) -> Output:
    """A composite in the recipe's forms; the stacks are brought onto the grid of the first that is solved.

    A provisional one says so below the picture and in the TIFF's description.

    Raises
    ------
    ProcessingError
        Fewer than two stacks could be registered, or they do not make this composite.
    """
    spec = work.claim.spec
    forms = forms_of(str(spec.parameters["formats"]))
    ordered = sorted((one for one in work.claim.inputs if one.role.startswith("stack ")), key=lambda one: one.role)
    stacks = [read_product(work, one) for one in ordered]
    reference = reference_index(stacks, ordered)
    found = register([registration_input(ccd, one) for ccd, one in zip(stacks, ordered, strict=True)], reference)
    shape = stacks[reference].data.shape
    channels, notes = [], []
    for ccd, one, registration in zip(stacks, ordered, found, strict=True):
        name = one.role.removeprefix("stack ")
        if registration.warning:
            notes.append(f"{name}: {registration.warning}")
        if registration.method == "failed":
            continue
        moved = resample(ccd.data, ccd.mask, None, registration, shape)
        channels.append(Channel(name, moved.data, moved.mask))
    if len(channels) < 2:
        raise ProcessingError("no composite: " + "; ".join(notes))
    image = compose_rgb(channels, _possible(spec.parameters, channels, len(ordered)))
    notes += image.notes
    metrics = {
        "filters": ",".join(one.filter for one in channels),
        **{f"channel_{colour}": names for colour, names in image.assignment.items()},
    }
    about = About(
        identity=spec.id,
        kind=str(spec.kind),
        recipe=f"{spec.recipe} {spec.recipe_version}",
        parameters=spec.parameters,
        inputs=provenance(work),
        wcs=_trusted(stacks[reference].wcs, ordered[reference].wcs),
        target=spec.target_name,
        telescope=spec.telescope,
        caption="provisional" if spec.status is ProductStatus.PROVISIONAL else None,
    )
    return picture_output(work, colour_files(image, about, forms), metrics, tuple(notes))


def _possible(params: Mapping[str, Any], channels: Sequence[Channel], wanted: int) -> Mapping[str, Any]:
    """The parameters; with a stack missing, any composite of the rest is better than none."""
    return params if len(channels) == wanted else {**params, "composite": "auto"}


def _trusted(wcs: WCS | None, state: str | None) -> WCS | None:
    return wcs if state in ("solved", "delivered", "refined") else None
