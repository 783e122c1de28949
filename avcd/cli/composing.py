"""The commands resample, stack and mosaic: images of files brought onto one grid; without a home."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from avcd.cli.processing import (
    FilesArgument,
    ForceOption,
    MasterOutOption,
    MemoryOption,
    OutOption,
    SetOption,
    start_session,
)


class _Resampling(StrEnum):
    NEAREST = "nearest"
    BILINEAR = "bilinear"
    LANCZOS3 = "lanczos3"
    ADAPTIVE = "adaptive"
    EXACT = "exact"


class _Scaling(StrEnum):
    NONE = "none"
    AUTO = "auto"
    EXPOSURE = "exposure"
    ZERO_POINT = "zero_point"


class _Combination(StrEnum):
    MEAN = "mean"
    MEDIAN = "median"
    SUM = "sum"


class _Match(StrEnum):
    NONE = "none"
    LEVEL = "level"
    PLANE = "plane"
    CURVED = "curved"


class _Engine(StrEnum):
    AVCD = "avcd"
    SWARP = "swarp"
    MONTAGE = "montage"


class _Interpolation(StrEnum):
    NEAREST = "nearest"
    BILINEAR = "bilinear"
    LANCZOS3 = "lanczos3"


GridOption = Annotated[
    Path | None,
    typer.Option(
        "--grid",
        metavar="FILE",
        help="The grid: an image, or a text file of header cards; else the best for the files.",
    ),
]
ScaleOption = Annotated[
    float | None,
    typer.Option(
        "--pixel-scale", min=1e-4, metavar="ARCSEC", help="Side of the best grid's pixels; else the finest image's."
    ),
]
NorthOption = Annotated[
    bool, typer.Option("--north-up", help="Turn the best grid so that north is up; else as most images are.")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for name, command in (("resample", resample), ("stack", stack), ("mosaic", mosaic)):
        app.command(name)(command)


def resample(
    paths: FilesArgument,
    out: OutOption,
    grid: GridOption = None,
    pixel_scale: ScaleOption = None,
    north_up: NorthOption = False,
    method: Annotated[
        _Resampling,
        typer.Option(
            "--method", "-m", help="Interpolation; adaptive and exact are reproject's, slower, for coarser grids."
        ),
    ] = _Resampling.LANCZOS3,
    scale: Annotated[
        _Scaling, typer.Option("--scale", help="Bring all to the brightness of the first, by what headers say.")
    ] = _Scaling.NONE,
    cut: Annotated[bool, typer.Option("--cut", help="Write only the part of the grid that each image covers.")] = False,
    force: ForceOption = False,
    mem_limit: MemoryOption = "2 GiB",
) -> None:
    """Bring images with world coordinates onto one grid; flux is kept, masks and uncertainties are carried."""
    session = start_session(force, mem_limit, paths)
    from avcd.standalone.composing import GridOptions, find_grid, plan_resample, scales_between
    from avcd.standalone.outputs import place_outputs

    files = session.open_all(paths)
    found = find_grid(GridOptions(grid, pixel_scale, north_up), files)
    factors = dict(zip((one.name for one in files), scales_between(files, scale), strict=True))
    limit = session.memory_bytes
    session.run_files(
        files,
        place_outputs(out, files, "resampled", several=len(paths) > 1),
        lambda file, place: (
            plan_resample(file, place, found, method, factors[file.name], cut=cut, limit_bytes=limit), []
        ),
    )  # fmt: skip
    session.end()


def stack(
    paths: FilesArgument,
    out: MasterOutOption,
    method: Annotated[
        _Combination, typer.Option("--method", "-m", help="What becomes of what is not rejected.")
    ] = _Combination.MEAN,
    interpolation: Annotated[
        _Interpolation, typer.Option("--interpolation", help="How frames are brought onto the grid of the first.")
    ] = _Interpolation.BILINEAR,
    changes: SetOption = None,
    force: ForceOption = False,
    mem_limit: MemoryOption = "2 GiB",
) -> None:
    """Stack frames of one field and filter: registered on world coordinates or stars, scaled, outliers rejected."""
    session = start_session(force, mem_limit, paths)
    from avcd.standalone.composing import plan_stack
    from avcd.standalone.outputs import check_out_file

    check_out_file(out)
    files = session.open_all(paths)
    said = (f"method={method}", f"interpolation={interpolation}", *(changes or ()))
    session.run_one(out, lambda: (plan_stack(files, out, said, session.memory_bytes), ()))
    session.end()


def mosaic(
    paths: FilesArgument,
    out: MasterOutOption,
    grid: GridOption = None,
    pixel_scale: ScaleOption = None,
    north_up: NorthOption = False,
    match: Annotated[
        _Match, typer.Option("--match", help="Backgrounds are matched by levels, planes, or curved surfaces; or not.")
    ] = _Match.PLANE,
    interpolation: Annotated[
        _Interpolation, typer.Option("--interpolation", help="How images are brought onto the grid.")
    ] = _Interpolation.LANCZOS3,
    scale: Annotated[
        _Scaling, typer.Option("--scale", help="Bring all to the brightness of the first, by what headers say.")
    ] = _Scaling.AUTO,
    engine: Annotated[
        _Engine, typer.Option("--engine", help="Who adds up: avcd, or another program that is installed.")
    ] = _Engine.AVCD,
    changes: SetOption = None,
    force: ForceOption = False,
    mem_limit: MemoryOption = "1 GiB",
) -> None:
    """Join images of many fields into one without seams, larger than memory if need be: written strip by strip."""
    session = start_session(force, mem_limit, paths)
    from avcd.standalone.composing import GridOptions, MosaicOptions, plan_mosaic
    from avcd.standalone.outputs import check_out_file

    check_out_file(out)
    files = session.open_all(paths)
    said = (f"match={match}", f"interpolation={interpolation}", f"scale={scale}",
            *((f"scale_arcsec={pixel_scale}",) if pixel_scale else ()), *(changes or ()))  # fmt: skip
    options = MosaicOptions(GridOptions(grid, pixel_scale, north_up), engine, said)
    session.run_one(out, lambda: (plan_mosaic(files, out, options, session.memory_bytes), ()))
    session.end()
