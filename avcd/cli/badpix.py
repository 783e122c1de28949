"""The command badpix: masks of bad pixels from files, and images repaired by them; without a home."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from avcd.cli.options import FormatOption, print_rows
from avcd.errors import AvcdError, UsageError
from avcd.views.tables import Format

if TYPE_CHECKING:
    from avcd.stages.badpixels import Made

_COLUMNS = ("file", "already", "bad_fraction", "hot_px", "dead_px", "bad_columns", "bad_rows", "partial_columns",
            "response_px", "user_px")  # fmt: skip
_REPAIRED = ("file", "already", "repaired_px", "unrepaired_px")
_REPAIR_PARAMETERS = ("repair_radius_px", "repair_least_neighbours")


class _Repair(StrEnum):
    MEDIAN = "median"
    INTERPOLATION = "interpolation"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("badpix")(badpix)


def badpix(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="FILE…", help="Darks and flats, raw or masters; with --repair, images."),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="OUT", help="The file to write; for several images a directory.")
    ],
    named: Annotated[
        Path | None,
        typer.Option("--named", metavar="YAML", help="Also bad: columns, rows, rectangles and pixels of this list."),
    ] = None,
    binning: Annotated[
        str | None, typer.Option("--binning", metavar="NxM", help="Which section of the list; else the header's.")
    ] = None,
    mask: Annotated[
        Path | None,
        typer.Option("--repair", metavar="MASK", help="Find nothing: replace what MASK names from its neighbours."),
    ] = None,
    method: Annotated[
        _Repair, typer.Option("--method", help="How to repair: median of the box around, or a straight line across.")
    ] = _Repair.MEDIAN,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="Another value for a parameter of the recipe; may be repeated."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Make it again though it is there.")] = False,
    form: FormatOption = Format.TABLE,
) -> None:
    """Find bad pixels, columns and rows in darks and flats, add an observer's own; or repair images by such a mask.

    Hot and dead pixels and bad columns, whole or in part, come from darks; odd response from one flat, or the ratio
    of two. What was made of the same files in the same way before is left as it is.
    """
    from avcd.frame import ProductKind
    from avcd.recipes import load_recipes
    from avcd.stages.badpixels import make_mask, repair_image

    recipes = load_recipes()
    if mask is None:
        recipe = recipes[ProductKind.BAD_PIXEL_MASK]
        recipe = recipe.model_copy(update={"parameters": _changed(recipe.parameters, changes)})
        try:
            made = make_mask(paths, named, binning, out, recipe, force=force)
        except OSError as error:
            raise UsageError(f"{error.filename}: {error.strerror}") from None
        _warn(made)
        print_rows([_row(made)], form, _COLUMNS)
        return
    if named is not None or binning is not None:
        raise UsageError("--named and --binning go with finding: make a mask with them, then --repair with that mask")
    shipped = recipes[ProductKind.REDUCED].parameters
    parameters = _changed({name: shipped[name] for name in _REPAIR_PARAMETERS}, changes) | {"repair": str(method)}
    places = [out / f"{_stem(path)}.fits" if len(paths) > 1 or out.is_dir() else out for path in paths]
    if len(set(places)) < len(places):
        raise UsageError("two of the images have the same name, and would be written to one file")
    rows = []
    for path, place in zip(paths, places, strict=True):
        try:
            made = repair_image(path, mask, place, parameters, force=force)
        except (AvcdError, OSError) as error:
            typer.echo(f"avcd: {path}: {error}", err=True)
            continue
        rows.append(_row(made))
    print_rows(rows, form, _REPAIRED, expected=False)
    if len(rows) < len(paths):
        raise typer.Exit(1)


def _changed(parameters: Any, changes: list[str] | None) -> dict[str, Any]:
    """The recipe's parameters with those of the command."""
    found = dict(parameters)
    for change in changes or ():
        name, sign, value = change.partition("=")
        if not sign or name not in found:
            raise UsageError(f"--set {change}: wanted is NAME=VALUE; there are {', '.join(sorted(found))}")
        try:
            found[name] = type(found[name])(value)
        except ValueError:
            raise UsageError(f"--set {change}: {value!r} is no number such as {found[name]}") from None
    return found


def _stem(path: Path) -> str:
    """A name without what tells the kind of file."""
    name = path.name
    for suffix in (".gz", ".bz2", ".fz", ".zip", ".fits", ".fit", ".fts"):
        name = name.removesuffix(suffix)
    return name


def _warn(made: Made) -> None:
    for text in made.warnings:
        typer.echo(f"avcd: {text}", err=True)


def _row(made: Made) -> dict[str, Any]:
    return {"file": str(made.path), "already": made.already, **made.metrics}
