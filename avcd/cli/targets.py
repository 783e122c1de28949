"""The command resolve: where targets are, by their names."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from avcd.cli.options import FormatOption, HomeOption, load_home_for, open_catalog, print_rows
from avcd.views import columns
from avcd.views.tables import Format


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("resolve")(resolve)


def resolve(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]…", help="Of targets; none: those of all frames that have no pointing."),
    ] = None,
    online: Annotated[
        bool, typer.Option("--online", help="Ask the name server Sesame (CDS) for those that the home does not know.")
    ] = False,
    form: FormatOption = Format.TABLE,
    home: HomeOption = None,
) -> None:
    """Where targets are: by the home's targets.toml, by what was resolved before, and --online by Sesame.

    What Sesame answers is kept in resolved.toml. The daemon gives such positions to frames without a pointing when it
    starts next, and so does avcd db retranslate. Exit code 1 where a name stays unknown.
    """
    from avcd.headers.targets import keep_resolved, load_targets
    from avcd.sesame import ask_sesame
    from avcd.views.targets import look_up

    loaded = load_home_for(home)
    known = load_targets(loaded.path)
    wanted = names or []
    if not wanted:
        with open_catalog(loaded) as catalog:
            wanted = catalog.targets_without_pointing()
    found, new = look_up(wanted, known, ask_sesame if online else None)
    if new:
        keep_resolved(loaded.path, new)
    rows: list[dict[str, Any]] = list(found)
    print_rows(rows, form, columns.TARGETS)
    if any(row["s_ra"] is None for row in rows):
        said = "Sesame does not know them either" if online else "--online asks Sesame; or put them into targets.toml"
        typer.echo(f"avcd: some names are not known: {said}", err=True)
        raise typer.Exit(1)
