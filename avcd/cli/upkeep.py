"""Commands that look after a home: doctor, db, config."""

from __future__ import annotations

import sys
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from avcd.cli.options import FormatOption, HomeOption, load_home_for, load_translator, open_catalog, print_rows
from avcd.views import columns
from avcd.views.tables import Format, write_one


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("doctor")(doctor)
    database = typer.Typer(help="The catalogue's database.", no_args_is_help=True, rich_markup_mode=None)
    database.command("upgrade")(upgrade)
    database.command("status")(status)
    database.command("retranslate")(retranslate)
    database.command("copy")(copy)
    database.command("backup")(backup)
    app.add_typer(database, name="db")
    settings = typer.Typer(help="The home's settings.", no_args_is_help=True, rich_markup_mode=None)
    settings.command("show")(show)
    app.add_typer(settings, name="config")


def doctor(form: FormatOption = Format.TABLE, home: HomeOption = None) -> None:
    """Is all well? Settings, catalogue, directories, disk, daemon, bad files, dead jobs. Exit code 1 if not."""
    from avcd.cli.checks import check_home

    rows = list(check_home(home))
    print_rows(rows, form, columns.CHECKS)
    if any(row["outcome"] == "fail" for row in rows):
        raise typer.Exit(1)


def upgrade(home: HomeOption = None) -> None:
    """Create the catalogue's tables, or bring them to this version."""
    from avcd.catalog import Catalog

    catalog = Catalog(load_home_for(home).database_url)
    try:
        before, head = catalog.version()
        catalog.upgrade()
    finally:
        catalog.close()
    typer.echo(f"the catalogue is of version {head}" + (" already" if before == head else ""))


def status(form: FormatOption = Format.TABLE, home: HomeOption = None) -> None:
    """The catalogue's version and the one this avcd needs. Exit code 1 if they differ."""
    from avcd.catalog import Catalog

    catalog = Catalog(load_home_for(home).database_url)
    try:
        version, head = catalog.version()
    finally:
        catalog.close()
    row = {"database": catalog.url.render_as_string(), "version": version, "needed": head}
    if form is Format.JSON:
        write_one(row, form, sys.stdout)
    else:
        print_rows([row], form, tuple(row))
    if version != head:
        typer.echo("avcd: run: avcd db upgrade", err=True)
        raise typer.Exit(1)


def retranslate(
    everything: Annotated[
        bool, typer.Option("--all", help="Every frame, not only those whose instrument's profile has changed.")
    ] = False,
    home: HomeOption = None,
) -> None:
    """Work out frames' values again from their stored headers, after profiles or sites changed; files are not needed.

    The daemon does so by itself when it starts. While one runs this is refused: it would go on with what it knows.
    """
    from avcd.daemon.lock import HomeLock

    loaded = load_home_for(home)
    translator = load_translator(loaded)
    looked = changed = 0
    with HomeLock(loaded.lock_path), open_catalog(loaded) as catalog:
        catalog.outdate(translator, everything=everything)
        while True:
            some, different = catalog.translate_outdated(translator)
            if not some:
                break
            looked, changed = looked + some, changed + different
    typer.echo(f"{looked} frames were translated again, {changed} came out otherwise")


def copy(
    url: Annotated[
        str, typer.Argument(metavar="URL", help="An empty database: sqlite:///FILE, postgresql://USER@HOST/NAME.")
    ],
    form: FormatOption = Format.TABLE,
    home: HomeOption = None,
) -> None:
    """Copy the catalogue to another database, SQLite or PostgreSQL, and compare every table. The daemon must not run.

    All or nothing: a copy that fails leaves the other database empty. Prints rows and digests of both sides.
    """
    from avcd.catalog import Catalog
    from avcd.catalog.copying import copy_catalog
    from avcd.daemon.lock import HomeLock

    loaded = load_home_for(home)
    with (
        HomeLock(loaded.lock_path),
        closing(Catalog(loaded.database_url)) as source,
        closing(Catalog(loaded.resolve_url(url))) as target,
    ):
        tables = copy_catalog(source, target)
        name = target.url.render_as_string()
    rows = [{**asdict(one), "equal": one.copied_digest == one.digest} for one in tables]
    print_rows(rows, form, columns.COPIED)
    typer.echo(
        f'avcd: copied; to work with it, set [database] url to "{name}" in {loaded.path / "avcd.toml"}', err=True
    )


def backup(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="Where to; must not be there yet.")],
    home: HomeOption = None,
) -> None:
    """Copy a SQLite catalogue of this moment to a file, while the daemon works. For PostgreSQL use pg_dump."""
    from avcd.catalog import Catalog
    from avcd.catalog.copying import backup_catalog

    with closing(Catalog(load_home_for(home).database_url)) as catalog:
        size = backup_catalog(catalog, path)
    typer.echo(f"{path}: the catalogue of this moment, {size / 2**20:.1f} MiB, checked")


def show(form: FormatOption = Format.TABLE, home: HomeOption = None) -> None:
    """Every setting: its value, its default, its meaning."""
    from avcd.views.settings import setting_rows

    print_rows(setting_rows(load_home_for(home).settings), form, columns.SETTINGS)
