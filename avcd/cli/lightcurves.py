"""The command lightcurve: the brightness of a star over all frames that show it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from avcd.cli.lists import FilterName, Night, Since, Telescope, Until
from avcd.cli.options import HomeOption, ListFormatOption, load_home_for, open_catalog, print_rows
from avcd.errors import FrameError, UsageError
from avcd.views.tables import ListFormat

if TYPE_CHECKING:
    from avcd.config import Home


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("lightcurve")(lightcurve)


def lightcurve(
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET", help="RA,DEC as 05:35:17.3,-05:23:28 or 83.822,-5.391; or a name of targets.toml."
        ),
    ],
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FILE…]", help="Source tables, as avcd stars writes them; else the home's."),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="OUT", help="Draw it too: a file that ends with .png, .svg or .csv."),
    ] = None,
    telescope: Telescope = None,
    night: Night = None,
    filter_name: FilterName = None,
    since: Since = None,
    until: Until = None,
    chosen: Annotated[
        str | None, typer.Option("--columns", metavar="A,B", help="What to show; --format json shows what there is.")
    ] = None,
    form: ListFormatOption = ListFormat.TABLE,
    force: Annotated[bool, typer.Option("--force", help="Replace the picture, if it is there.")] = False,
    home: HomeOption = None,
) -> None:
    """The brightness of a star in every frame that shows it, against an ensemble of comparison stars.

    Each camera and filter has its own: stars that are in most of the frames and do not vary. A check star is measured as the
    target is. By the frames' zero points where they have one, else relative to the ensemble.
    """
    from avcd.headers.targets import load_targets
    from avcd.views.lightcurves import KEYS, SHOWN, place_of

    if plot is not None:
        from avcd.views.plots import check_plot_name

        check_plot_name("--plot", plot, force=force)
    filters = {"telescope": telescope, "night": night, "filter": filter_name, "since": since, "until": until}
    if paths:
        given = [name for name, value in filters.items() if value is not None]
        if given:
            raise UsageError(f"--{given[0]} chooses among a home's frames; of files name those you want")
        place = place_of(target, load_targets(home))
        tables = [(path, str(path)) for path in paths]
    else:
        loaded = load_home_for(home)
        place = place_of(target, load_targets(loaded.path))
        tables = _of_home(loaded, filters)
    failed, rows = _measured(tables, place)
    if plot is not None and rows:
        from avcd.views.plots import draw_light_curve, write_csv

        if plot.suffix.lower() == ".csv":
            write_csv(plot, rows, KEYS)
        else:
            draw_light_curve(plot, rows, target)
        typer.echo(f"avcd: {plot}", err=True)
    print_rows(rows, form, SHOWN, chosen=chosen, every=KEYS, expected=not failed)
    if failed:
        raise typer.Exit(1)


def _of_home(home: Home, filters: dict[str, Any]) -> list[tuple[Path, str]]:
    """The source tables of the solved frames of a home, by path and name; their places are looked at when they are read."""
    with open_catalog(home) as catalog:
        products = catalog.products(**filters, type="sources", status="final,provisional")
        return [(home.archive / one["path"], one["path"]) for one in products if one["wcs"] not in ("none", "refused")]


def _measured(tables: Iterable[tuple[Path, str]], place: tuple[float, float]) -> tuple[bool, list[dict[str, Any]]]:
    """Whether a table could not be read, and the rows of the others."""
    from avcd.views.lightcurves import light_curve_rows, read_source_table

    failed = False

    def readable() -> Iterator[Any]:
        nonlocal failed
        for path, name in tables:
            try:
                yield read_source_table(path, name)
            except FrameError as error:
                failed = True
                typer.echo(f"avcd: {error}", err=True)

    rows = light_curve_rows(readable(), *place)
    return failed, rows
