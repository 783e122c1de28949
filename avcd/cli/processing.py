"""Commands on files, without a home: combine, reduce, trim, background, imarith, cosmic, noise."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from avcd.cli.options import FormatOption, print_rows
from avcd.errors import UsageError
from avcd.views.tables import Format

if TYPE_CHECKING:
    from avcd.cli.onfiles import Session
    from avcd.reduction.overscan import Section
    from avcd.standalone.inputs import FrameFile

FilesArgument = Annotated[
    list[Path],
    typer.Argument(metavar="FILE…", help="FITS files, also .gz, .bz2, .fz, .zip; each image in them counts."),
]
OutOption = Annotated[
    Path, typer.Option("--out", "-o", metavar="OUT", help="The file to write; for several files a directory.")
]
MasterOutOption = Annotated[Path, typer.Option("--out", "-o", metavar="OUT", help="The FITS file to write.")]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Make it again though it is there, and replace files of any kind.")
]
MemoryOption = Annotated[str, typer.Option("--mem-limit", metavar="SIZE", help="Memory to use at most, as in '1 GiB'.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Another value for a parameter of the recipe; may be repeated."),
]
GainOption = Annotated[
    float | None, typer.Option("--gain", min=0.001, help="[e/adu] Else the header's; unknown: pixels stay in adu.")
]
ReadNoiseOption = Annotated[float | None, typer.Option("--read-noise", min=0, help="[e] Else the header's.")]
SaturationOption = Annotated[
    float | None, typer.Option("--saturation", min=1, help="[adu] Else the header's, or that of 16-bit pixels.")
]

DarkBiasOption = Annotated[
    bool | None,
    typer.Option(
        "--dark-with-bias/--dark-less-bias",
        help="Whether the dark holds the bias still, where it does not say; else judged by its level.",
    ),
]


class _CombineType(StrEnum):
    BIAS = "bias"
    DARK = "dark"
    FLAT = "flat"
    PLAIN = "plain"


class _Scale(StrEnum):
    NONE = "none"
    MEDIAN = "median"
    MEAN = "mean"
    EXPOSURE = "exposure"


class _Compat(StrEnum):
    ASTEP = "astep"
    ITELESCOPE = "itelescope"


class _CosmicMethod(StrEnum):
    LACOSMIC = "lacosmic"
    MEDIAN = "median"


class _Level(StrEnum):
    MEDIAN = "median"
    MEAN = "mean"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for name, command in (
        ("combine", combine),
        ("reduce", reduce),
        ("trim", trim),
        ("background", background),
        ("imarith", imarith),
        ("cosmic", cosmic),
        ("noise", noise),
    ):
        app.command(name)(command)


def start_session(force: bool = False, mem_limit: str = "2 GiB", paths: Sequence[Path] = ()) -> Session:
    """Begin a command on files; those of ``paths`` are read while the program is still being loaded."""
    from avcd.headers.profiles import load_profiles
    from avcd.reusing import keep_freed_memory
    from avcd.standalone.ahead import Ahead

    keep_freed_memory()
    ahead = Ahead(paths, load_profiles())
    from avcd.cli.onfiles import Session

    return Session.start(force=force, mem_limit=mem_limit, ahead=ahead)


def combine(
    paths: FilesArgument,
    out: MasterOutOption,
    kind: Annotated[
        _CombineType,
        typer.Option("--type", "-t", help="A master as the daemon makes it, or a plain combination of any frames."),
    ],
    method: Annotated[
        str | None,
        typer.Option("--method", "-m", help="mean, median, sum or weighted (by noise); else as the recipe says: mean."),
    ] = None,
    low_sigma: Annotated[
        float | None,
        typer.Option("--low-sigma", min=0, help="Reject below the median by this many sigma (MAD); else 5."),
    ] = None,
    high_sigma: Annotated[
        float | None, typer.Option("--high-sigma", min=0, help="Reject above the median by this many sigma; else 5.")
    ] = None,
    rejection: Annotated[
        str | None,
        typer.Option(
            "--rejection",
            help="mad (about the median), std (about the mean), extrema, range or none; else as the recipe says: mad.",
        ),
    ] = None,
    bias: Annotated[
        Path | None, typer.Option("--bias", metavar="FILE", help="A master bias to subtract from darks and flats.")
    ] = None,
    dark: Annotated[
        Path | None, typer.Option("--dark", metavar="FILE", help="A master dark of the flats' exposure to subtract.")
    ] = None,
    dark_with_bias: DarkBiasOption = None,
    scale: Annotated[
        _Scale,
        typer.Option("--scale", help="Bring plain frames to one median, mean or exposure before they are compared."),
    ] = _Scale.NONE,
    counts: Annotated[
        bool, typer.Option("--counts", help="Write how many frames each pixel kept, as the HDU COUNT.")
    ] = False,
    mixed: Annotated[
        bool, typer.Option("--mixed", help="Combine frames though type, settings or temperatures differ.")
    ] = False,
    changes: SetOption = None,
    force: ForceOption = False,
    mem_limit: MemoryOption = "2 GiB",
) -> None:
    """Combine files into one, pixel by pixel with outliers rejected: a master bias, dark or flat, or a plain combination."""
    session = start_session(force, mem_limit, paths)
    from avcd.compiling import load_beside
    from avcd.standalone.ahead import is_large
    from avcd.standalone.combining import CombineOptions, CombineType, Scale, plan_combination
    from avcd.standalone.outputs import check_out_file

    check_out_file(out)
    if is_large(paths):
        load_beside("reduction.kernels")  # files are still being hashed
    options = CombineOptions(
        CombineType(kind),
        method,
        low_sigma,
        high_sigma,
        rejection,
        counts or None,
        Scale(scale),
        mixed,
        tuple(changes or ()),
        session.memory_bytes,
    )
    masters = session.open_one("--bias", bias), session.open_dark(dark, dark_with_bias)
    files = session.open_all(paths)
    session.run_one(out, lambda: plan_combination(files, out, options, *masters))
    session.end()


def reduce(
    paths: FilesArgument,
    out: OutOption,
    bias: Annotated[Path | None, typer.Option("--bias", metavar="FILE", help="The master bias.")] = None,
    dark: Annotated[
        Path | None,
        typer.Option(
            "--dark", metavar="FILE", help="The master dark; scaled to each exposure if its bias was removed."
        ),
    ] = None,
    dark_with_bias: DarkBiasOption = None,
    flats: Annotated[
        list[Path] | None,
        typer.Option("--flat", metavar="FILE", help="A master flat; of several each frame takes that of its filter."),
    ] = None,
    bad_pixels: Annotated[
        Path | None,
        typer.Option("--bad-pixels", metavar="FILE", help="A bad pixel mask: avcd's, or an image that is not 0 there."),
    ] = None,
    gain: GainOption = None,
    read_noise: ReadNoiseOption = None,
    saturation: SaturationOption = None,
    cosmic_rays: Annotated[
        bool | None,
        typer.Option("--cosmic/--no-cosmic", help="Whether cosmic rays are replaced; else as the recipe says."),
    ] = None,
    solve: Annotated[bool, typer.Option("--solve", help="Solve the field's world coordinates too.")] = False,
    compat: Annotated[
        _Compat | None,
        typer.Option("--compat", help="Name outputs as another program: DATE-CAMS_CAL/x_CAL.fits, or cal-x.fits."),
    ] = None,
    changes: SetOption = None,
    force: ForceOption = False,
    mem_limit: MemoryOption = "2 GiB",
) -> None:
    """Reduce frames with the masters named: bias, dark, flat, gain, cosmic rays; mask and uncertainty carried."""
    session = start_session(force, mem_limit, paths)
    from avcd.compiling import load_beside
    from avcd.stages import HeldMasters
    from avcd.standalone.ahead import is_large
    from avcd.standalone.reducing import Calibrations, ReduceOptions, plan_reduction

    options = ReduceOptions(
        gain, read_noise, saturation, cosmic_rays, solve, tuple(changes or ()), session.memory_bytes
    )
    if is_large(paths):
        load_beside("reduction.fused")  # files are still being hashed
    bias_file, dark_file, bad_file, *flat_files = session.open_at_once(
        lambda: session.open_one("--bias", bias),
        lambda: session.open_dark(dark, dark_with_bias),
        lambda: session.open_one("--bad-pixels", bad_pixels),
        *(partial(session.open_one, "--flat", path) for path in flats or ()),
    )
    found_flats = tuple(one for one in flat_files if one is not None)
    held = HeldMasters(session.memory_bytes // 2)
    calibrations = Calibrations(bias_file, dark_file, found_flats, bad_file, held)
    session.run_each(
        paths,
        out,
        "reduced",
        lambda file, path: plan_reduction(file, path, options, calibrations),
        None if compat is None else compat.value,
    )
    session.end()


def trim(
    paths: FilesArgument,
    out: OutOption,
    section: Annotated[
        str | None,
        typer.Option(
            "--section", metavar="[X1:X2,Y1:Y2]", help="The part to keep; else the header's TRIMSEC or DATASEC."
        ),
    ] = None,
    overscan: Annotated[
        str | None, typer.Option("--overscan", metavar="[X1:X2,Y1:Y2]", help="The overscan; else the header's BIASSEC.")
    ] = None,
    subtract: Annotated[
        bool, typer.Option("--subtract/--no-subtract", help="Whether the overscan's level is subtracted.")
    ] = True,
    method: Annotated[
        _Level, typer.Option("--method", "-m", help="The level of each line of the overscan.")
    ] = _Level.MEDIAN,
    degree: Annotated[
        int | None, typer.Option("--degree", min=0, help="Fit a polynomial of this degree along the lines' levels.")
    ] = None,
    amplifiers: Annotated[
        Path | None,
        typer.Option(
            "--amplifiers",
            metavar="TOML",
            help="A list of several amplifiers' parts of the image; else the header's BIASSECn and DATASECn.",
        ),
    ] = None,
    force: ForceOption = False,
    mem_limit: MemoryOption = "2 GiB",
) -> None:
    """Subtract the overscan and cut it off. Sections are FITS's: the first pixel is 1, both ends belong to them."""
    from avcd.standalone.amplifiers import read_amplifiers
    from avcd.standalone.images import TrimOptions, plan_trim

    if amplifiers is not None and (section or overscan):
        raise UsageError("--amplifiers says where everything is: leave --section and --overscan away")
    session = start_session(force, mem_limit)
    parts = () if amplifiers is None else read_amplifiers(amplifiers)
    options = TrimOptions(_section(section), _section(overscan), subtract, method.value, degree, parts)
    session.run_each(
        paths, out, "trimmed", lambda file, path: (plan_trim(file, path, options, session.memory_bytes), [])
    )
    session.end()


def background(
    paths: FilesArgument,
    out: OutOption,
    box: Annotated[
        int, typer.Option("--box", min=1, help="[px] Side of the mesh's boxes: larger than any object.")
    ] = 64,
    filter_boxes: Annotated[
        int, typer.Option("--filter", min=1, help="[boxes] Side of the median filter over the mesh; 1: none.")
    ] = 3,
    subtract: Annotated[
        bool, typer.Option("--subtract", help="Write the frame less its background, instead of the background.")
    ] = False,
    force: ForceOption = False,
    mem_limit: MemoryOption = "2 GiB",
) -> None:
    """Measure the smooth background under the stars, on a clipped and median-filtered mesh; write it, or subtract it."""
    session = start_session(force, mem_limit, paths)
    from avcd.standalone.images import plan_background

    limit = session.memory_bytes
    session.run_each(
        paths,
        out,
        "subtracted" if subtract else "background",
        lambda file, path: (plan_background(file, path, box, filter_boxes, subtract=subtract, limit_bytes=limit), []),
    )
    session.end()


def imarith(
    paths: FilesArgument,
    out: OutOption,
    add: Annotated[str | None, typer.Option("--add", metavar="X", help="Add a number, or the file X.")] = None,
    subtract: Annotated[str | None, typer.Option("--subtract", metavar="X", help="Subtract a number or file.")] = None,
    multiply: Annotated[
        str | None, typer.Option("--multiply", metavar="X", help="Multiply with a number or file.")
    ] = None,
    divide: Annotated[str | None, typer.Option("--divide", metavar="X", help="Divide by a number or file.")] = None,
    force: ForceOption = False,
    mem_limit: MemoryOption = "2 GiB",
) -> None:
    """Compute with images: each file and a number, or another file. Masks and uncertainties are carried."""
    session = start_session(force, mem_limit, paths)
    from avcd.standalone.images import plan_arithmetic

    given = {"add": add, "subtract": subtract, "multiply": multiply, "divide": divide}
    chosen = [(name, text) for name, text in given.items() if text is not None]
    if len(chosen) != 1:
        raise UsageError("give one of --add, --subtract, --multiply, --divide, with a number or a file")
    operation, text = chosen[0]
    operand = _operand(session, f"--{operation}", text)
    limit = session.memory_bytes
    session.run_each(
        paths, out, operation, lambda file, path: (plan_arithmetic(file, path, operation, operand, limit), [])
    )
    session.end()


def cosmic(
    paths: FilesArgument,
    out: OutOption,
    gain: GainOption = None,
    read_noise: ReadNoiseOption = None,
    saturation: SaturationOption = None,
    method: Annotated[
        _CosmicMethod,
        typer.Option("--method", help="L.A.Cosmic, which spares stars, or a running median (IRAF's), which does not."),
    ] = _CosmicMethod.LACOSMIC,
    difference: Annotated[
        Path | None,
        typer.Option("--difference", metavar="OUT", help="Write what was taken away, too: a file, or a directory."),
    ] = None,
    mask: Annotated[
        Path | None,
        typer.Option("--mask", metavar="OUT", help="Write where pixels were struck, too: a file, or a directory."),
    ] = None,
    changes: SetOption = None,
    force: ForceOption = False,
    mem_limit: MemoryOption = "2 GiB",
) -> None:
    """Find cosmic rays in frames whose bias was subtracted, mask and replace them."""
    session = start_session(force, mem_limit, paths)
    from avcd.standalone.images import CosmicOptions, CosmicPart, plan_cosmic

    options = CosmicOptions(gain, read_noise, saturation, tuple(changes or ()), method.value)
    wanted = {"cleaned": out, "difference": difference, "mask": mask}
    session.run_parts(
        paths,
        {part: place for part, place in wanted.items() if place is not None},
        {"cleaned": "clean", "difference": "difference", "mask": "mask"},
        lambda file, places: plan_cosmic(
            file, {CosmicPart(part): place for part, place in places.items()}, options, session.memory_bytes
        ),
    )
    session.end()


def noise(
    paths: FilesArgument,
    histogram: Annotated[
        Path | None,
        typer.Option(
            "--histogram",
            metavar="OUT",
            help="Write the histogram of the difference of two biases of each camera: .csv, .png or .svg.",
        ),
    ] = None,
    force: ForceOption = False,
    form: FormatOption = Format.TABLE,
) -> None:
    """Read noise and gain of each camera, from the pairs of biases and flats among the files. Changes nothing."""
    from avcd.standalone.measuring import COLUMNS, HISTOGRAM_COLUMNS, difference_rows, measure
    from avcd.views.plots import check_plot_name, draw_histograms, write_csv

    if histogram is not None:
        check_plot_name("--histogram", histogram, force=force)
    session = start_session()
    files = [one.trimmed() for one in session.open_all(paths)]
    rows = list(measure(files, session.warn))
    print_rows(rows, form, COLUMNS, expected=not session.failed)
    if histogram is not None:
        bins = difference_rows(files)
        if not bins:
            raise UsageError("--histogram: there are no two biases of one camera and setting among the files")
        if histogram.suffix.lower() == ".csv":
            write_csv(histogram, bins, HISTOGRAM_COLUMNS)
        else:
            draw_histograms(histogram, bins)
    session.end()


def _section(text: str | None) -> Section | None:
    from avcd.errors import ProcessingError
    from avcd.reduction.overscan import Section

    try:
        return None if text is None else Section.parse(text)
    except ProcessingError as error:
        raise UsageError(str(error)) from None


def _operand(session: Session, option: str, text: str) -> FrameFile | float:
    """A number, or else a file."""
    try:
        number = float(text)
    except ValueError:
        found = session.open_one(option, Path(text))
        assert found is not None
        return found
    if number != number or number in (float("inf"), float("-inf")):
        raise UsageError(f"{option} {text}: a finite number, or a file")
    return number
