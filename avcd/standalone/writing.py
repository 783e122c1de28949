"""Products of commands that the daemon has no stage for: their identity, what they say of themselves, their file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from astropy.io import fits

from avcd.frame import InputRef, ProductKind, ProductSpec, ProductStatus, product_identity
from avcd.products import ImageContent, write_image_fits
from avcd.reduction.planes import MaskedImage
from avcd.stages.writing import frame_name
from avcd.standalone.inputs import FrameFile
from avcd.standalone.outputs import Writer

# Raised when a command makes other pixels of the same input: what is there already is then made again.
_VERSIONS = {
    "trim": 1,
    "background": 1,
    "imarith": 1,
    "cosmic": 1,
    "combine": 1,
    "badpix": 1,
    "continuum": 1,
    "stars": 1,
    "resample": 1,
    "stack": 1,
    "mosaic": 1,
    "solve": 1,
    "bin": 1,
}


@dataclass(frozen=True)
class Signed:
    """What a product is: its id, the command and the parameters that make it, and its inputs by role."""

    identity: str
    kind: str
    recipe: str
    version: int
    parameters: Mapping[str, Any]
    inputs: Sequence[tuple[str, FrameFile]]

    @classmethod
    def of(cls, command: str, inputs: Sequence[tuple[str, FrameFile]], parameters: Mapping[str, Any]) -> Signed:
        """The product that a command makes of files."""
        kind, version = f"file_{command}", _VERSIONS[command]
        refs = tuple(InputRef(role, one.id, "frame") for role, one in inputs)
        identity = product_identity(kind, command, version, parameters, refs)
        return cls(identity, kind, command, version, parameters, inputs)

    @property
    def provenance(self) -> list[dict[str, str]]:
        """The rows of the PROVENANCE table."""
        return [
            {
                "role": role,
                "id": one.id,
                "name": one.path.name if one.product else frame_name(one.frame),
                "sha256": one.sha256 if one.product else one.frame.pixel_sha256,
            }
            for role, one in self.inputs
        ]

    def as_spec(self) -> ProductSpec:
        """For what wants a spec, and looks at its inputs alone."""
        refs = tuple(InputRef(role, one.id, "frame") for role, one in self.inputs)
        return ProductSpec(
            id=self.identity,
            kind=ProductKind.STACK,
            slot="",
            recipe=self.recipe,
            recipe_version=self.version,
            parameters=self.parameters,
            inputs=refs,
            status=ProductStatus.FINAL,
            path="",
        )


def writer_of(
    ccd: MaskedImage, header: fits.Header, signed: Signed, planes: Mapping[str, np.ndarray] | None = None
) -> Writer:
    """What writes a product into a stream."""
    content = ImageContent(
        data=ccd.data,
        unit=ccd.unit,
        mask=ccd.mask,
        uncertainty=ccd.uncertainty,
        header=header,
        provenance=signed.provenance,
        parameters=signed.parameters,
        planes=planes or {},
    )
    return partial(write_image_fits, content)
