"""Images of several files brought onto one grid: each alone, stacked, or as a mosaic."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from avcd.cards import inherit, sign, with_combined, with_world
from avcd.compose.engines import ENGINES, mosaic_by
from avcd.compose.grids import Grid, best_grid, grid_of_header
from avcd.compose.mapping import PixelMap, Registration
from avcd.compose.peers import METHODS as PEERS
from avcd.compose.peers import resample_by_reproject
from avcd.compose.resampling import INTERPOLATIONS, Resampled, resample
from avcd.errors import ProcessingError, UsageError
from avcd.frame import CalibLevel, MaskBit, ProductKind
from avcd.products import ImageContent, celestial_wcs, write_image_fits
from avcd.stages.combining import combined_times, scales_of
from avcd.stages.mosaics import MosaicWriter, Prepared, opened, prepare_mosaic
from avcd.stages.stacks import StackFrame, combine_registered, detect_stars, register_frames
from avcd.stages.tiles import OpenImage, open_image
from avcd.standalone.inputs import FrameFile
from avcd.standalone.outputs import Task, Writer, paths_of
from avcd.standalone.planning import changed, check_memory, recipe_of
from avcd.standalone.writing import Signed

RESAMPLINGS = (*INTERPOLATIONS, *PEERS)
_FITS = (".fits", ".fit", ".fts", ".fz", ".gz", ".bz2")
# Of a grid's pixel while one image is brought onto it: its planes, and what is between them.
_BYTES_PER_PIXEL = 60
# Of a stack's pixel: its planes, and one frame while its stars are looked for.
_BYTES_PER_STACKED = 50


@dataclass(frozen=True)
class GridOptions:
    """Which grid: as an image or a header's text file says, or the best one, perhaps with north up."""

    path: Path | None = None
    scale_arcsec: float | None = None
    north_up: bool = False


def find_grid(options: GridOptions, files: Sequence[FrameFile]) -> Grid:
    """The grid that is asked for.

    Raises
    ------
    UsageError
        The options contradict one another, or the file that is named describes no grid.
    ProcessingError
        An image without world coordinates, where the grid is to be found from them.
    """
    if options.path is not None:
        if options.scale_arcsec is not None or options.north_up:
            raise UsageError("--grid says all of the grid: leave --pixel-scale and --north-up out")
        return _grid_of_file(options.path)
    found = []
    for file in files:
        wcs = celestial_wcs(_header_of(file))
        if wcs is None:
            raise ProcessingError(f"{file.name}: no world coordinates; solve first, as avcd reduce --solve does")
        found.append((wcs, (int(file.frame.naxis2 or 0), int(file.frame.naxis1 or 0))))
    if not found:
        raise UsageError("no image is left to make a grid for")
    return best_grid(found, options.scale_arcsec, north_up=options.north_up)


def _header_of(file: FrameFile) -> fits.Header:
    """A file's header; pixels are read only where they must be decoded on the way."""
    with tempfile.TemporaryDirectory(prefix="avcd-") as place:
        return open_image(file.path, file.member, file.hdu, Path(place), product=file.product is not None).header


def _grid_of_file(path: Path) -> Grid:
    try:
        if path.name.lower().endswith(_FITS):
            with fits.open(path) as hdus:
                headers = [one.header.copy() for one in hdus if one.header.get("NAXIS", 0) >= 2]
        else:
            headers = [fits.Header.fromtextfile(str(path))]
    except (OSError, ValueError, fits.VerifyError) as error:
        raise UsageError(f"--grid {path}: {error}; name an image, or a text file of header cards") from None
    for header in headers:
        wcs = celestial_wcs(header)
        if wcs is not None:
            try:
                return grid_of_header(header, wcs)
            except ProcessingError as error:
                raise UsageError(f"--grid {path}: {error}") from None
    raise UsageError(f"--grid {path}: no celestial world coordinates in it")


def _said(grid: Grid) -> dict[str, Any]:
    """A grid among a product's parameters."""
    return {"grid": str(grid.wcs.to_header_string(relax=True)).strip(), "grid_shape": list(grid.shape)}


def plan_resample(
    file: FrameFile, out: Path, grid: Grid, method: str, scale: float, *, cut: bool, limit_bytes: int
) -> Task:
    """The task that brings an image onto a grid.

    Parameters
    ----------
    method
        Of `RESAMPLINGS`.
    scale
        What its values are multiplied with.
    cut
        Whether only the part of the grid is written that the image covers.
    """
    if method not in RESAMPLINGS:
        raise UsageError(f"--method {method!r} is none of {', '.join(RESAMPLINGS)}")
    check_memory(file.frame, limit_bytes)
    parameters = {**_said(grid), "method": method, "scale": scale, "cut": cut}
    signed = Signed.of("resample", [("frame", file)], parameters)
    make = partial(_resample, file, grid, method, scale, cut, signed, limit_bytes)
    return Task(signed.identity, signed.kind, out, (file.path,), make)


def _resample(
    file: FrameFile, grid: Grid, method: str, scale: float, cut: bool, signed: Signed, limit_bytes: int
) -> tuple[Writer, Sequence[str]]:
    ccd = file.read()
    wcs = celestial_wcs(ccd.header)
    if wcs is None:
        raise ProcessingError("it has no world coordinates; solve it first, as avcd reduce --solve does")
    registration = Registration("wcs", worlds=(grid.wcs, wcs))
    ny, nx = ccd.data.shape
    box = PixelMap.of(registration, grid.shape, (ny, nx)).box
    if box[0] >= box[1] or box[2] >= box[3]:
        raise ProcessingError("it lies beside the grid: nothing of it would be seen")
    covered = _part(grid, box)
    area = covered.shape if cut else grid.shape
    if area[0] * area[1] * _BYTES_PER_PIXEL > limit_bytes:
        raise ProcessingError(
            f"a grid of {area[1]} x {area[0]} pixels needs more memory: raise --mem-limit, or say --cut"
        )
    way = resample if method in INTERPOLATIONS else resample_by_reproject
    found = way(
        ccd.data, ccd.mask, ccd.uncertainty, Registration("wcs", worlds=(covered.wcs, wcs)), covered.shape, method
    )
    if cut:
        grid = covered
    else:
        found = _in_place(found, grid.shape, box)
    header = with_world(inherit(ccd.header, keep_world=False), grid.wcs, rms_arcsec=None, matched=None)
    steps = [f"brought onto a grid of {grid.shape[1]} x {grid.shape[0]} pixels: {method}, flux kept, times {scale:.6g}"]
    header = sign(
        header,
        signed.identity,
        signed.kind,
        signed.recipe,
        signed.version,
        max(file.frame.calib_level, CalibLevel.RAW),
        steps,
    )
    factor = np.float32(scale)
    content = ImageContent(
        np.where(found.weight > 0, found.data * factor, np.float32(np.nan)),
        file.unit,
        found.mask,
        None if found.uncertainty is None else found.uncertainty * factor,
        header,
        signed.provenance,
        signed.parameters,
        planes={"WEIGHT": found.weight},
    )
    return partial(write_image_fits, content), []


def _part(grid: Grid, box: tuple[int, int, int, int]) -> Grid:
    """A part of a grid, with the world coordinates of its own pixels."""
    wcs = grid.wcs.deepcopy()
    wcs.wcs.crpix = wcs.wcs.crpix - (box[2], box[0])
    wcs.wcs.set()
    return Grid(wcs, (box[1] - box[0], box[3] - box[2]))


def _in_place(found: Resampled, shape: tuple[int, int], box: tuple[int, int, int, int]) -> Resampled:
    """A part of a grid within the whole of it."""

    def whole(plane: np.ndarray, value: float) -> np.ndarray:
        image = np.full(shape, value, plane.dtype)
        image[box[0] : box[1], box[2] : box[3]] = plane
        return image

    return Resampled(
        whole(found.data, 0),
        whole(found.mask, int(MaskBit.NO_DATA)),
        None if found.variance is None else whole(found.variance, 0),
        whole(found.weight, 0),
    )


def scales_between(files: Sequence[FrameFile], how: str) -> list[float]:
    """What each file's values are multiplied with, so that stars have one brightness; the first has one.

    Raises
    ------
    UsageError
        The headers do not say what is needed.
    """
    try:
        return (
            scales_of([_header_of(one) for one in files], [one.unit for one in files], how)[0]
            if how != "none"
            else [1.0] * len(files)
        )
    except ProcessingError as error:
        raise UsageError(f"--scale: {error}") from None


def plan_stack(files: Sequence[FrameFile], out: Path, changes: Sequence[str], limit_bytes: int) -> Task:
    """The task that stacks the files' images, one field of one filter, on the grid of the first.

    Raises
    ------
    UsageError
        A parameter that does not exist.
    ProcessingError
        Frames of several units, or more than memory holds.
    """
    parameters = dict(recipe_of(ProductKind.STACK, changes).parameters)
    units = {one.unit for one in files}
    if len(units) > 1:
        raise ProcessingError(f"the frames differ in unit: {', '.join(sorted(units))}")
    ordered = sorted({one.id: one for one in files}.values(), key=lambda one: (one.frame.t_min or 0.0, one.id))
    largest = max((one.frame.naxis1 or 0) * (one.frame.naxis2 or 0) for one in ordered)
    if largest * _BYTES_PER_STACKED > limit_bytes:
        raise ProcessingError(
            f"frames of this size need about {-(-largest * _BYTES_PER_STACKED // 2**20)} MiB; raise --mem-limit"
        )
    signed = Signed.of("stack", [("frame", one) for one in ordered], parameters)
    return Task(signed.identity, signed.kind, out, paths_of(ordered), partial(_stack, ordered, signed, limit_bytes))


def _stack(files: Sequence[FrameFile], signed: Signed, limit_bytes: int) -> tuple[Writer, Sequence[str]]:
    with tempfile.TemporaryDirectory(prefix="avcd-") as spool:
        frames = [_stack_frame(one, Path(spool)) for one in files]
        registered = register_frames(frames, [one.image.wcs is not None for one in frames])
        combined = combine_registered(frames, registered, (), signed.parameters, limit_bytes // 2)
    stacked = combined.stacked
    notes = [
        *stacked.warnings,
        *(f"{files[index].name}: {one.warning}" for index, one in enumerate(combined.registrations) if one.warning),
    ]
    like = frames[combined.reference]
    header = with_combined(inherit(like.image.header, keep_world=True), len(combined.used), None)
    header = combined_times(header, [frames[index].image.header for index in combined.used])
    steps = [f"{signed.parameters['method']} of {len(combined.used)} of {len(files)} frames, registered and clipped"]
    header = sign(header, signed.identity, signed.kind, signed.recipe, signed.version, CalibLevel.COMBINED, steps)
    content = ImageContent(
        stacked.data, like.unit, stacked.mask, stacked.uncertainty, header, signed.provenance, signed.parameters,
        planes={"WEIGHT": stacked.weight, "COVERAGE": stacked.coverage},
    )  # fmt: skip
    return partial(write_image_fits, content), notes


def _stack_frame(file: FrameFile, spool: Path) -> StackFrame:
    """A file's image, its stars found; its pixels are let go."""
    ccd = file.read()
    sources = detect_stars(ccd)
    stars = replace(sources, background=np.empty((0, 0)), background_rms=np.empty((0, 0)))
    image = open_image(file.path, file.member, file.hdu, spool, product=file.product is not None)
    return StackFrame(
        replace(image, header=ccd.header, wcs=celestial_wcs(ccd.header)), ccd.unit, stars, file.frame.exposure_s
    )


@dataclass(frozen=True)
class MosaicOptions:
    """How a mosaic is made: of what grid, with which changes of the recipe, by whose program."""

    grid: GridOptions
    engine: str = "avcd"
    changes: tuple[str, ...] = ()


def plan_mosaic(files: Sequence[FrameFile], out: Path, options: MosaicOptions, limit_bytes: int) -> Task:
    """The task that joins the files' images, many fields, into one.

    Raises
    ------
    UsageError
        A parameter or an engine that does not exist, a grid that is none.
    """
    if options.engine not in ENGINES:
        raise UsageError(f"--engine {options.engine!r} is none of {', '.join(ENGINES)}")
    parameters = changed(recipe_of(ProductKind.MOSAIC, ()).parameters, options.changes)
    ordered = sorted({one.id: one for one in files}.values(), key=lambda one: (one.frame.t_min or 0.0, one.id))
    said: Mapping[str, Any] = {"engine": options.engine, "north_up": options.grid.north_up, **parameters}
    grid = find_grid(options.grid, ordered) if options.grid.path is not None or options.grid.north_up else None
    if grid is not None:
        said = {**said, **_said(grid)}
    signed = Signed.of("mosaic", [("tile", one) for one in ordered], said)
    make = partial(_mosaic, ordered, grid, options.engine, signed, limit_bytes)
    return Task(signed.identity, signed.kind, out, paths_of(ordered), make)


def _mosaic(
    files: Sequence[FrameFile], grid: Grid | None, engine: str, signed: Signed, limit_bytes: int
) -> tuple[Writer, Sequence[str]]:
    def open_all(place: Path) -> list[OpenImage]:
        return [open_image(one.path, one.member, one.hdu, place, product=one.product is not None) for one in files]

    spool, images = opened(open_all)
    try:
        names, units = [one.name for one in files], [one.unit for one in files]
        prepared = prepare_mosaic(images, names, units, grid, signed.parameters, limit_bytes)
        header = with_combined(prepared.header, len(files), None)
        header = sign(header, signed.identity, signed.kind, signed.recipe, signed.version, CalibLevel.COMBINED, [])
        if engine != "avcd":
            return _by_engine(engine, prepared, header, signed, spool)
    except BaseException:
        spool.cleanup()
        raise
    writer = MosaicWriter(prepared, header, signed.provenance, dict(signed.parameters), spool)
    return writer, writer.notes


def _by_engine(
    engine: str,
    prepared: Prepared,
    header: fits.Header,
    signed: Signed,
    spool: tempfile.TemporaryDirectory[str],
) -> tuple[Writer, Sequence[str]]:
    with spool:
        layers = prepared.mosaic.matched.layers
        data, weight = mosaic_by(engine, layers, prepared.mosaic.grid, signed.parameters)
    header["HISTORY"] = f"added up by {engine}, which matched the backgrounds in its own way"
    mask = np.where(np.isfinite(data), 0, int(MaskBit.NO_DATA)).astype(np.uint16)
    content = ImageContent(
        data, prepared.unit, mask, None, header, signed.provenance, signed.parameters, planes={"WEIGHT": weight}
    )
    return partial(write_image_fits, content), prepared.notes
