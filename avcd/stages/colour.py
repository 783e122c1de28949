"""The colour composite of one observation, from its stacks."""

from __future__ import annotations

from avcd.compose.colour import Channel, compose_rgb, png_bytes, tiff16_bytes
from avcd.compose.registration import register
from avcd.compose.resampling import resample
from avcd.errors import ProcessingError
from avcd.frame import ProductStatus
from avcd.stages.inputs import read_product
from avcd.stages.output import Output, Work
from avcd.stages.stacks import reference_index, registration_input
from avcd.stages.writing import picture_output


def compose_colour(work: Work) -> Output:
    """A composite as PNG and 16-bit TIFF; the stacks are brought onto the grid of the first that is solved.

    A provisional one says so below the PNG and in the TIFF's description.

    Raises
    ------
    ProcessingError
        Fewer than two stacks could be registered.
    """
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
    image = compose_rgb(channels, work.claim.spec.parameters)
    notes += image.notes
    metrics = {
        "filters": ",".join(one.filter for one in channels),
        **{f"channel_{colour}": names for colour, names in image.assignment.items()},
    }
    mark = "provisional" if work.claim.spec.status is ProductStatus.PROVISIONAL else None
    pictures = {
        ".png": png_bytes(image.rgb, caption=mark),
        ".tiff": tiff16_bytes(image.rgb, description=mark),
    }
    return picture_output(work, pictures, metrics, tuple(notes))
