"""The command quality: how good frames are, and what is wrong with them; of a home, or of files that are named."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from avcd.cli.lists import Cone, FilterName, Night, Since, Target, Telescope, Until, Where
from avcd.cli.options import FormatOption, HomeOption, load_home_for, open_catalog, print_rows
from avcd.cli.processing import MemoryOption, start_session
from avcd.errors import UsageError
from avcd.views.tables import Format

if TYPE_CHECKING:
    from avcd.config import Home


class _By(StrEnum):
    FRAME = "frame"
    NIGHT = "night"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("quality")(quality)


def quality(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FILE…]", help="Measure these files, without a home; else the home's reduced frames."),
    ] = None,
    by: Annotated[_By, typer.Option("--by", help="One line a frame, or one a night and filter.")] = _By.FRAME,
    faulty: Annotated[bool, typer.Option("--faulty", help="Only frames with a fault.")] = False,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="OUT.svg", help="Draw the night too; of several, one file each."),
    ] = None,
    telescope: Telescope = None,
    night: Night = None,
    target: Target = None,
    filter_name: FilterName = None,
    since: Since = None,
    until: Until = None,
    cone: Cone = None,
    where: Where = None,
    chosen: Annotated[
        str | None, typer.Option("--columns", metavar="A,B", help="What to show; --format json shows what there is.")
    ] = None,
    form: FormatOption = Format.TABLE,
    mem_limit: MemoryOption = "2 GiB",
    home: HomeOption = None,
) -> None:
    """How good frames are: stars, width, ellipticity, background, zero point, transparency; and what is wrong with each.

    Every fault names its evidence. None leaves a frame out of anything, unless the recipe of stacks says so.
    """
    from avcd.views.quality import KEYS, NIGHT_KEYS, NIGHT_SHOWN, SHOWN, night_rows

    if plot is not None and plot.suffix.lower() != ".svg":
        raise UsageError(f"--plot {plot}: name a file that ends with .svg")
    filters = {
        "telescope": telescope, "night": night, "target": target, "filter": filter_name, "since": since, "until": until,
        "cone": cone, "where": where,
    }  # fmt: skip
    failed = False
    if paths:
        given = [name for name, value in filters.items() if value is not None]
        if given:
            raise UsageError(f"--{given[0]} chooses among a home's frames; of files name those you want")
        from avcd.standalone.judging import judge_files

        session = start_session(mem_limit=mem_limit)
        rows = judge_files(session.open_all(paths), session.memory_bytes, session.fail)
        failed = session.failed
    else:
        rows = _of_home(load_home_for(home), filters)
    if plot is not None and rows:
        _draw(rows, plot)
    if faulty:
        rows = [row for row in rows if row["faults"]]
    if by is _By.NIGHT:
        print_rows(night_rows(rows), form, NIGHT_SHOWN, chosen=chosen, every=NIGHT_KEYS, expected=not failed)
    else:
        print_rows(rows, form, SHOWN, chosen=chosen, every=KEYS, expected=not failed)
    if failed:
        raise typer.Exit(1)


def _of_home(home: Home, filters: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of a home's reduced frames that serve."""
    from avcd.frame import ProductKind
    from avcd.inspection import limits_of
    from avcd.recipes import load_recipes
    from avcd.views.quality import product_rows

    limits = limits_of(load_recipes(home.path)[ProductKind.STACK].parameters)
    with open_catalog(home) as catalog:
        products = list(catalog.products(**filters, type="reduced", status="final,provisional"))
        nights = sorted({one["night"] for one in products if one["night"]})
        frames = catalog.frames(type="science", since=nights[0], until=nights[-1]) if nights else ()
        moments = {one["id"]: one["date_obs"] for one in frames}
    return product_rows(products, moments, limits)


def _draw(rows: list[dict[str, Any]], plot: Path) -> None:
    """One picture for each telescope and night."""
    from avcd.naming import slug
    from avcd.views.charts import night_svg

    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["telescope"] or "no telescope", row["night"] or "no night"), []).append(row)
    for (telescope, night), members in sorted(groups.items()):
        path = plot if len(groups) == 1 else plot.with_stem(f"{plot.stem}-{slug(telescope)}-{slug(night)}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(night_svg(members, f"{telescope}, night {night}"), encoding="utf-8")
        typer.echo(f"avcd: {path}", err=True)
