"""Several fields on one grid: opened in place, matched, added up, and written as they are added."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from astropy.io import fits

from avcd.cards import describe, inherit, with_world
from avcd.compose.coadding import Strip
from avcd.compose.grids import Grid, best_grid
from avcd.compose.mapping import Registration
from avcd.compose.mosaics import Mosaic, Soundness, StripFigures, Tile, plan_mosaic
from avcd.errors import ProcessingError
from avcd.frame import Wcs
from avcd.products import verify_fits
from avcd.products.strips import Encoded, PlanesContent, encode_rows, write_planes
from avcd.stages.combining import combined_times, scales_of
from avcd.stages.output import Output, OutputFile, Work
from avcd.stages.stacks import SOLVED
from avcd.stages.tiles import OpenImage, open_image
from avcd.stages.writing import clean, provenance

PLANES: Mapping[str, Any] = {
    "SCI": np.float32, "MASK": np.uint16, "UNCERT": np.float32, "WEIGHT": np.float32, "COVERAGE": np.uint16,
}  # fmt: skip
# Of the memory of a job, for strips; the rest is for what is measured beside them.
_STRIPS = 0.5


@dataclass(frozen=True)
class Prepared:
    """A mosaic before its first pixel: what it is made of, its header, and what is known of it already."""

    mosaic: Mosaic
    unit: str
    header: fits.Header
    metrics: dict[str, Any]
    notes: list[str]


def prepare_mosaic(
    images: Sequence[OpenImage],
    names: Sequence[str],
    units: Sequence[str],
    grid: Grid | None,
    params: Mapping[str, Any],
    memory_bytes: int,
) -> Prepared:
    """Put images beside each other on a grid, and match their backgrounds.

    Parameters
    ----------
    images, names, units
        Opened, what they are called, and the units of their pixels.
    grid
        None: the best one for them.
    params
        Of the recipe of mosaics.

    Raises
    ------
    ProcessingError
        An image has no world coordinates, units differ, or none lies on the grid.
    """
    lost = [name for name, one in zip(names, images, strict=True) if one.wcs is None]
    if lost:
        raise ProcessingError(f"{', '.join(lost)}: no world coordinates; solve first, as avcd reduce --solve does")
    if len(set(units)) > 1:
        raise ProcessingError(f"the images differ in unit: {', '.join(sorted(set(units)))}")
    worlds = [one.wcs for one in images if one.wcs is not None]
    if grid is None:
        shapes = [(int(one.data.shape[0]), int(one.data.shape[1])) for one in images]
        grid = best_grid(list(zip(worlds, shapes, strict=True)), float(params["scale_arcsec"]) or None)
    scales, used = scales_of([one.header for one in images], units, params["scale"])
    tiles = [
        Tile(one.data, one.mask, one.uncertainty, Registration("wcs", worlds=(grid.wcs, wcs)), scale)
        for one, wcs, scale in zip(images, worlds, scales, strict=True)
    ]
    mosaic = plan_mosaic(tiles, grid, params, int(memory_bytes * _STRIPS))
    matched = mosaic.matched
    notes = []
    if len(matched.layers) < len(tiles):
        notes.append(f"{len(tiles) - len(matched.layers)} of {len(tiles)} images lie beside the grid: left out")
    if matched.groups > 1:
        notes.append(
            f"the images fall into {matched.groups} parts that do not touch: their backgrounds could not be compared"
        )
    header = with_world(inherit(images[0].header, keep_world=False), grid.wcs, rms_arcsec=None, matched=None)
    header = combined_times(header, [one.header for one in images])
    metrics: dict[str, Any] = {
        "frames": len(images),
        "frames_used": len(matched.layers),
        "overlaps": matched.overlaps,
        "seam_before": matched.before,
        "seam": matched.residual,
    }
    steps = [
        f"{len(matched.layers)} images on one grid, {params['interpolation']}, scaled by {used}",
        f"backgrounds matched in {matched.overlaps} overlaps by {params['match']}: differences of {matched.before:.4g} rms before, "
        f"{matched.residual:.4g} after",
    ]
    for step in steps:
        header["HISTORY"] = step
    return Prepared(mosaic, units[0], header, metrics, notes)


@dataclass
class MosaicWriter:
    """Writes a mosaic while it is made; afterwards ``metrics`` and ``notes`` say what it came to."""

    prepared: Prepared
    header: fits.Header
    provenance: Sequence[Mapping[str, str]]
    parameters: Mapping[str, Any]
    spool: tempfile.TemporaryDirectory[str]
    metrics: dict[str, Any] = field(init=False)
    notes: list[str] = field(init=False)

    def __post_init__(self) -> None:
        """Begin with what is known before the first strip."""
        self.metrics, self.notes = self.prepared.metrics, self.prepared.notes

    def __call__(self, stream: BinaryIO) -> None:
        """Write the file."""
        soundness = Soundness()
        grid = self.prepared.mosaic.grid

        def finish(strip: Strip) -> tuple[int, dict[str, Encoded], StripFigures]:
            planes = (strip.data, strip.mask, strip.uncertainty, strip.weight, strip.coverage)
            encoded = {
                name: encode_rows(plane, PLANES[name], strip.start) for name, plane in zip(PLANES, planes, strict=True)
            }
            return strip.start, encoded, StripFigures.of(strip, grid.shape[0] * grid.shape[1])

        def strips() -> Iterator[tuple[int, Mapping[str, Any]]]:
            for start, encoded, figures in self.prepared.mosaic.strips(finish):
                soundness.add(figures)
                yield start, encoded

        with self.spool:
            write_planes(
                PlanesContent(
                    grid.shape, PLANES, strips(), self.prepared.unit, self.header, self.provenance, self.parameters
                ),
                stream,
            )
        self.metrics |= clean(soundness.metrics())
        self.notes += soundness.warnings()


def opened(
    paths: Callable[[Path], Sequence[OpenImage]],
) -> tuple[tempfile.TemporaryDirectory[str], Sequence[OpenImage]]:
    """Images, and the directory in which those lie that had to be decoded; it is removed where opening fails."""
    spool = tempfile.TemporaryDirectory(prefix="avcd-")
    try:
        return spool, paths(Path(spool.name))
    except BaseException:
        spool.cleanup()
        raise


def assemble_mosaic(work: Work) -> Output:
    """The mosaic of some stacks of one target and filter."""
    ordered = sorted(work.inputs("tile"), key=lambda one: (one.relative_path.rsplit("/", 1)[-1], one.id))
    inputs = [one for one in ordered if one.wcs in SOLVED]
    if len(inputs) < 2:
        raise ProcessingError(
            f"{len(inputs)} of {len(ordered)} stacks have world coordinates to be trusted: a mosaic needs two"
        )
    spool, images = opened(lambda place: [open_image(work.open(one), "", 0, place, product=True) for one in inputs])
    try:
        names = [one.relative_path.rsplit("/", 1)[-1] for one in inputs]
        units = [str(one.header.get("BUNIT", "adu")) for one in images]
        spec = work.claim.spec
        prepared = prepare_mosaic(images, names, units, None, spec.parameters, work.memory_bytes)
    except BaseException:
        spool.cleanup()
        raise
    prepared.notes.extend(
        f"{one.relative_path.rsplit('/', 1)[-1]}: not solved, left out" for one in ordered if one not in inputs
    )
    header = describe(prepared.header, spec, combined=len(inputs))
    writer = MosaicWriter(prepared, header, provenance(work), dict(spec.parameters), spool)
    file = OutputFile(spec.path, writer, verify_fits)
    return Output((file,), writer.metrics, Wcs.REFINED, writer.notes)
