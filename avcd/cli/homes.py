"""Commands that make a home: init, demo."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from avcd.errors import StorageError, UsageError

if TYPE_CHECKING:
    from avcd.config import Home


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("init")(init)
    app.command("demo")(demo)


def init(directory: Annotated[Path, typer.Argument(metavar="DIR", help="Made if it is not there.")]) -> None:
    """Make an observatory's home: avcd.toml, drop/, archive/, the catalogue. What is there already stays."""
    home = make_home(directory)
    typer.echo(f"{home.path} is a home now: frames go into {home.path / 'drop'}, settings are in avcd.toml")


def make_home(directory: Path, text: str | None = None) -> Home:
    """Write a home's files and directories, leaving alone what exists, and bring its catalogue to this version.

    Parameters
    ----------
    text
        Of avcd.toml; None: every setting at its default.

    Raises
    ------
    UsageError, StorageError
        ``directory`` is a file, or cannot be made.
    """
    from avcd.catalog import Catalog
    from avcd.config import CONFIG_NAME, example_toml, load_home

    try:
        directory.mkdir(parents=True, exist_ok=True)
        settings = directory / CONFIG_NAME
        if not settings.exists():
            settings.write_text(text or example_toml(), encoding="utf-8")
        home = load_home(directory)
        for one in (*home.roots.values(), home.archive):
            one.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise UsageError(f"{error.filename} is there and no directory") from None
    except OSError as error:
        raise StorageError(f"cannot make {error.filename}: {error.strerror}") from None
    catalog = Catalog(home.database_url)
    try:
        catalog.upgrade()
    finally:
        catalog.close()
    return home


def demo(
    directory: Annotated[
        Path, typer.Argument(metavar="[DIR]", help="A directory that is not there yet, or is empty.")
    ] = Path("avcd-demo"),
    seed: Annotated[int, typer.Option(help="Another number makes another night.")] = 20260115,
) -> None:
    """Simulate a small observatory's night under the real sky, drop its frames in, process and show them."""
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise UsageError(f"{directory} is there already; name another directory, or remove it first")
    from avcd.cli.demonstration import run_demo

    raise typer.Exit(run_demo(directory, seed))
