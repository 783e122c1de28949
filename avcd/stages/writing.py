"""From a stage's arrays to the files of its product."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.io import fits

from avcd.errors import ProductError
from avcd.frame import Frame, Wcs
from avcd.products import ImageContent, verify_fits, verify_picture, write_image_fits, write_table_fits
from avcd.reduction.planes import MaskedImage
from avcd.stages.output import Output, OutputFile, Work
from avcd.stages.replacing import compare_with_provisional

if TYPE_CHECKING:
    from astropy.table import Table


def provenance(work: Work) -> list[dict[str, str]]:
    """The rows of a product's PROVENANCE table: role, id, name and content (a frame's pixels, a product's file)."""
    return [
        {
            "role": one.role,
            "id": one.id,
            "name": PurePosixPath(one.relative_path).name if one.frame is None else frame_name(one.frame),
            "sha256": one.sha256 if one.frame is None else one.frame.pixel_sha256,
        }
        for one in work.claim.inputs
    ]


def frame_name(frame: Frame) -> str:
    """A frame by what it is: which of its files was there first must not change the product's bytes."""
    return " ".join(str(part) for part in (frame.image_type, frame.filter, frame.date_obs) if part)


def image_output(
    work: Work,
    ccd: MaskedImage,
    header: fits.Header,
    metrics: Mapping[str, Any],
    *,
    warnings: tuple[str, ...] | list[str] = (),
    tables: Mapping[str, Table] | None = None,
    planes: Mapping[str, np.ndarray] | None = None,
    wcs: Wcs = Wcs.NONE,
    s_ra: float | None = None,
    s_dec: float | None = None,
) -> Output:
    """A product in avcd's FITS format: SCI, MASK, UNCERT, further planes, PROVENANCE and further tables.

    Where it replaces a provisional one, what changed is among its metrics.
    """
    spec = work.claim.spec
    replaced = compare_with_provisional(work, ccd, header)
    content = ImageContent(
        data=ccd.data,
        unit=ccd.unit,
        mask=ccd.mask,
        uncertainty=ccd.uncertainty,
        header=header,
        provenance=provenance(work),
        parameters=dict(spec.parameters),
        tables=tables or {},
        planes=planes or {},
    )
    file = OutputFile(spec.path, lambda stream: write_image_fits(content, stream), verify_fits)
    measured = clean({**metrics, **replaced.metrics})
    return Output((file,), measured, wcs, (*warnings, *replaced.warnings), s_ra, s_dec)


def table_output(
    work: Work, table: Table, name: str, header: fits.Header, metrics: Mapping[str, Any], *, wcs: Wcs = Wcs.NONE
) -> Output:
    """A product that is a table, in a FITS file with an empty primary."""
    spec = work.claim.spec
    rows = provenance(work)
    file = OutputFile(
        spec.path,
        lambda stream: write_table_fits(table, name, header, rows, dict(spec.parameters), stream),
        verify_fits,
    )
    return Output((file,), clean(metrics), wcs)


def picture_output(
    work: Work, pictures: Mapping[str, bytes], metrics: Mapping[str, Any], warnings: tuple[str, ...] = ()
) -> Output:
    """A product of pictures: suffix (``.png``, ``.tiff``) to bytes, the one the spec's path names first.

    A record (``.json``) or a cube (``.fits``) may go with them.
    """
    path = PurePosixPath(work.claim.spec.path)
    ordered = sorted(pictures.items(), key=lambda one: one[0] != path.suffix)
    files = tuple(
        OutputFile(str(path.with_suffix(suffix)), partial(_write, data), verifier_of(suffix))
        for suffix, data in ordered
    )
    return Output(files, clean(metrics), Wcs.NONE, warnings)


def verifier_of(suffix: str) -> Callable[[Path], str | None]:
    """What checks a file of a composite."""
    known: Mapping[str, Callable[[Path], str | None]] = {".fits": verify_fits, ".json": verify_record}
    return known.get(suffix, verify_picture)


def verify_record(path: Path) -> None:
    """Check that a record can be read.

    Raises
    ------
    ProductError
        It cannot.
    """
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ProductError(f"{path.name} is no readable record: {error}") from error


def _write(data: bytes, stream: Any) -> None:
    stream.write(data)


def clean(metrics: Mapping[str, Any]) -> dict[str, float | int | str | bool | None]:
    """Metrics as the catalogue keeps them: plain numbers, NaN as unknown."""
    found: dict[str, float | int | str | bool | None] = {}
    for name, value in metrics.items():
        if hasattr(value, "item"):
            value = value.item()
        found[name] = None if isinstance(value, float) and value != value else value
    return found
