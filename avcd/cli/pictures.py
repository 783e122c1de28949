"""Commands that make pictures of files, without a home: rgb, preview, continuum."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from avcd.cli.processing import FilesArgument, ForceOption, MemoryOption, OutOption, SetOption, start_session
from avcd.errors import UsageError


class _Mode(StrEnum):
    BALANCED = "balanced"
    SCIENTIFIC = "scientific"
    SDSS = "sdss"
    MANUAL = "manual"


class _Stretch(StrEnum):
    ASINH = "asinh"
    LINEAR = "linear"


class _Balance(StrEnum):
    AUTO = "auto"
    STARS = "stars"
    GREY = "grey"
    NONE = "none"


class _Form(StrEnum):
    PNG = "png"
    JPG = "jpg"
    TIFF = "tiff"
    FITS = "fits"


PictureOption = Annotated[
    Path, typer.Option("--out", "-o", metavar="OUT", help="The picture to write: .png, .jpg, .tiff, .fits.")
]
FiltersOption = Annotated[
    str | None,
    typer.Option("--filters", metavar="A,B,C", help="The filter of each file, in their order; else the headers'."),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("rgb")(rgb)
    app.command("preview")(preview)
    app.command("continuum")(continuum)


def rgb(
    paths: FilesArgument,
    out: PictureOption,
    filters: FiltersOption = None,
    palette: Annotated[
        str | None,
        typer.Option(
            "--palette",
            "-p",
            metavar="NAME",
            help="auto, sho, hoo, natural, span, components, jwst-nircam …, or R/G/B: three filters.",
        ),
    ] = None,
    red: Annotated[
        str | None, typer.Option("--red", metavar="MIX", help="A mix of one's own, as in '0.8*Ha + 0.2*SII'.")
    ] = None,
    green: Annotated[str | None, typer.Option("--green", metavar="MIX", help="The same for green.")] = None,
    blue: Annotated[str | None, typer.Option("--blue", metavar="MIX", help="The same for blue.")] = None,
    luminance: Annotated[
        str | None, typer.Option("--luminance", metavar="FILTER", help="The filter that carries the brightness.")
    ] = None,
    mode: Annotated[
        _Mode, typer.Option("--mode", help="Neutral sky and white stars; or as measured, by one of three stretches.")
    ] = _Mode.BALANCED,
    stretch: Annotated[
        str | None,
        typer.Option(
            "--stretch", metavar="NAME", help="asinh or linear; of scientific and manual also sqrt, log, power:0.5 …"
        ),
    ] = None,
    interval: Annotated[
        str | None,
        typer.Option("--interval", metavar="RANGE", help="Of scientific and manual: 5%:99.7%, zscale, minmax, 10:500."),
    ] = None,
    saturation: Annotated[
        float | None, typer.Option("--saturation", min=0, help="Of the colours; 1: as they are; else 1.3.")
    ] = None,
    gamma: Annotated[float | None, typer.Option("--gamma", min=0.1, help="Above 1 brightens what is dim.")] = None,
    balance: Annotated[
        _Balance | None, typer.Option("--white", help="What is white: the typical star, all light together, nothing.")
    ] = None,
    clahe: Annotated[
        float | None,
        typer.Option(
            "--clahe",
            min=1,
            metavar="LIMIT",
            help="Equalise local contrast, at most LIMIT times as steep; 2 is moderate.",
        ),
    ] = None,
    unsharp: Annotated[
        str | None,
        typer.Option(
            "--unsharp", metavar="RADIUS:AMOUNT", help="Sharpen: what a blur of RADIUS px takes, added AMOUNT times."
        ),
    ] = None,
    enhance_stars: Annotated[
        float | None,
        typer.Option(
            "--enhance-stars", min=0, metavar="FACTOR", help="Stars' light times FACTOR; below 1 they step back."
        ),
    ] = None,
    forms: Annotated[
        list[_Form] | None, typer.Option("--also", help="Write this form too, beside OUT; may be repeated.")
    ] = None,
    changes: SetOption = None,
    force: ForceOption = False,
    mem_limit: MemoryOption = "2 GiB",
) -> None:
    """Make a colour picture of images in several filters, brought onto one grid, with a record of all that was done.

    Which filter goes where is chosen by wavelength, or named by a palette or a mix.
    """
    from avcd.compose.enhancing import Enhancement
    from avcd.compose.mixing import choose_mix
    from avcd.errors import ProcessingError
    from avcd.frame import ProductKind
    from avcd.standalone.colouring import plan_composite
    from avcd.standalone.events import open_images_or_bands
    from avcd.standalone.planning import recipe_of

    session = start_session(force, mem_limit)
    mix = {"red": red or "", "green": green or "", "blue": blue or "", "luminance": luminance or ""}
    if palette and any(mix.values()):
        raise UsageError("--palette names a mix; leave it away, or --red, --green, --blue and --luminance")
    if palette:
        try:
            choose_mix(palette, ())
        except ProcessingError as error:
            raise UsageError(f"--palette {error}") from None
    values = {
        "mode": mode.value,
        "saturation": saturation,
        "gamma": gamma,
        "white_balance": balance.value if balance else None,
        "intervals": interval,
        ("stretch" if mode is _Mode.BALANCED else "stretches"): stretch,
    }
    given = [f"{name}={value}" for name, value in values.items() if value is not None]
    recipe = recipe_of(ProductKind.RGB, [*given, *(changes or ())])
    enhanced = {"clahe": clahe, "unsharp": unsharp, "enhance_stars": enhance_stars}
    more = {name: f"{value}" for name, value in enhanced.items() if value is not None}
    try:
        Enhancement.of({**recipe.parameters, **more})
    except ProcessingError as error:
        raise UsageError(str(error)) from None
    mix["composite"] = "" if any(mix.values()) else palette or "auto"
    names = [one.strip() for one in filters.split(",")] if filters else []
    files = session.open_all(paths, open_images_or_bands)
    if not session.failed:  # a picture without one of its filters would be another than was asked for
        also = [one.value for one in forms or ()]
        session.run_one(
            out, lambda: (plan_composite(files, names, out, also, recipe, mix | more, session.memory_bytes), ())
        )
    session.end()


def preview(
    paths: FilesArgument,
    out: OutOption,
    sizes: Annotated[
        str | None,
        typer.Option("--sizes", metavar="A,B…", help="[px] The longest side of each picture; else 1024,256."),
    ] = None,
    changes: SetOption = None,
    force: ForceOption = False,
    mem_limit: MemoryOption = "2 GiB",
) -> None:
    """Draw small grey pictures of images, in several sizes: zscale for the sky, asinh up to the brightest star."""
    from avcd.frame import ProductKind
    from avcd.standalone.planning import recipe_of
    from avcd.standalone.previewing import place_previews, plan_preview

    session = start_session(force, mem_limit)
    given = [f"sizes_px=[{sizes}]"] if sizes else []
    recipe = recipe_of(ProductKind.PREVIEW, [*given, *(changes or ())])
    session.run_placed(
        paths,
        lambda files: place_previews(out, files, several=len(paths) > 1),
        lambda file, path: (plan_preview(file, path, recipe, session.memory_bytes), ()),
    )
    session.end()


def continuum(
    paths: FilesArgument,
    out: OutOption,
    broad: Annotated[
        Path, typer.Option("--broad", "-b", metavar="FILE", help="The broadband image of the same field.")
    ],
    factor: Annotated[
        float | None, typer.Option("--factor", min=0, help="What the broadband is scaled by; else measured on stars.")
    ] = None,
    match: Annotated[
        bool, typer.Option("--match/--no-match", help="Whether the sharper image is blurred to the other's stars.")
    ] = True,
    force: ForceOption = False,
    mem_limit: MemoryOption = "2 GiB",
) -> None:
    """Subtract the stars' continuum from narrowband images: what is left is the light of the line alone.

    The broadband image is brought onto each one's grid, its stars to the same width, and scaled so that the typical star
    vanishes. Masks and uncertainties are carried; where either is saturated, the mask says so.
    """
    from avcd.standalone.continua import plan_continuum

    session = start_session(force, mem_limit)
    second = session.open_one("--broad", broad)
    assert second is not None
    session.run_each(
        paths,
        out,
        "continuum",
        lambda file, path: (plan_continuum(file, second, path, factor, match, session.memory_bytes), ()),
    )
    session.end()
