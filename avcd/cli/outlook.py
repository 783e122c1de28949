"""Commands that look ahead: gaps, impact, rules."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from avcd.cli.lists import Columns, FilterName, Limit, Since, Target, Telescope, Until
from avcd.cli.options import HomeOption, ListFormatOption, load_home_for, open_catalog, print_rows
from avcd.errors import UsageError
from avcd.views.tables import ListFormat


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("gaps")(gaps)


def gaps(
    night: Annotated[
        str | None,
        typer.Option(metavar="DATE", help="Only what is worth taking in this night (its evening's date): for frames that "
                     "are near enough in time to be served by it."),
    ] = None,
    telescope: Telescope = None,
    target: Target = None,
    filter_name: FilterName = None,
    since: Since = None,
    until: Until = None,
    chosen: Columns = None,
    limit: Limit = None,
    check: Annotated[bool, typer.Option("--check", help="Exit code 1 where anything is listed, for scripts.")] = False,
    form: ListFormatOption = ListFormat.TABLE,
    home: HomeOption = None,
) -> None:  # fmt: skip
    """The calibration frames to take, those first that free most science frames for each; as of the last plan."""
    import datetime

    from avcd.association import load_rules
    from avcd.views.gaps import KEYS, gap_rows, gaps_as_text

    if night is not None:
        try:
            night = datetime.date.fromisoformat(night.strip()).isoformat()
        except ValueError:
            raise UsageError(f"--night: {night!r} is no date such as 2026-01-15") from None
    filters = {"telescope": telescope, "target": target, "filter": filter_name, "since": since, "until": until}
    loaded = load_home_for(home)
    rules = load_rules(loaded.path)
    with open_catalog(loaded) as catalog:
        behind = catalog.cameras_behind()
        rows = gap_rows(catalog.lacking(**filters), rules, night)[:limit]
    if behind:
        typer.echo(f"avcd: {', '.join(behind)}: changed since the last plan, which this is as of", err=True)
    if form is ListFormat.TABLE and chosen is None:
        sys.stdout.write(gaps_as_text(rows))
    else:
        print_rows(rows, form, KEYS, chosen=chosen, every=KEYS, expected=False)
    if not rows:
        typer.echo("avcd: no calibration frames are missing", err=True)
    elif check:
        raise typer.Exit(1)
