"""The command plot: what was measured, over time."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from avcd.cli.lists import FilterName, Night, Since, Target, Telescope, Type, Until
from avcd.cli.options import HomeOption, load_home_for, open_catalog
from avcd.errors import UsageError


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("plot")(plot)


def plot(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="FIGURE…",
            help="As gain_e_per_adu, read_noise_adu, level, fwhm_px: names of avcd products --format json.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="OUT", help="A file that ends with .png, .svg or .csv.")],
    telescope: Telescope = None,
    night: Night = None,
    target: Target = None,
    filter_name: FilterName = None,
    kind: Type = None,
    since: Since = None,
    until: Until = None,
    force: Annotated[bool, typer.Option("--force", help="Replace OUT, if it is there.")] = False,
    home: HomeOption = None,
) -> None:
    """Draw figures of the products that serve over time: gain, read noise, bias level, sharpness of stars, …

    One panel for each, one colour for each camera and filter. Pictures need the extra plot; CSV does not.
    """
    from avcd.views.plots import check_plot_name, draw_series, write_csv

    check_plot_name("-o", out, force=force)
    filters = {"telescope": telescope, "night": night, "target": target, "filter": filter_name, "type": kind,
               "since": since, "until": until}  # fmt: skip
    with open_catalog(load_home_for(home)) as catalog:
        rows = catalog.series(names, **filters)
        missing = [name for name in names if not any(row["metric"] == name for row in rows)]
        if missing:
            known = ", ".join(catalog.measured_names())
            raise UsageError(f"{', '.join(missing)}: not measured on any of these products; there are {known}")
    if out.suffix.lower() == ".csv":
        write_csv(out, rows, ("metric", "mjd", "night", "camera", "filter", "value", "product"))
    else:
        draw_series(out, rows, names)
    typer.echo(out)
