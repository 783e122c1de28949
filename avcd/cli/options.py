"""Options that several commands share, and what they open: the home and its catalogue."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from avcd.errors import UsageError
from avcd.views.tables import Format, ListFormat, refuse_unknown, write_rows

if TYPE_CHECKING:
    from avcd.catalog import Catalog
    from avcd.config import Home
    from avcd.headers.again import Translator

HomeOption = Annotated[
    Path | None,
    typer.Option(
        "--home",
        metavar="DIR",
        help="The observatory's home. Else AVCD_HOME, the current directory if it has an avcd.toml, "
        "the user's data directory.",
        show_default=False,
    ),
]
FormatOption = Annotated[Format, typer.Option("--format", "-f", help="How to print.")]
ListFormatOption = Annotated[
    ListFormat, typer.Option("--format", "-f", help="How to print; votable and fits are for other programs.")
]
ReasonOption = Annotated[str, typer.Option("--reason", "-r", help="Why; kept in the catalogue.")]
IdArgument = Annotated[
    str, typer.Argument(metavar="ID", help="A frame's or product's id, its file name, or an unambiguous beginning.")
]


def load_home_for(home: Path | None) -> Home:
    """The home and its settings."""
    from avcd.config import load_home

    return load_home(home)


def load_translator(home: Home) -> Translator:
    """How the home's frames are translated from their headers and names."""
    from avcd.headers.again import Translator
    from avcd.headers.profiles import load_profiles

    return Translator(load_profiles(home.path), {one.name: (one.profile, one.site) for one in home.settings.drop})


@contextmanager
def open_catalog(home: Home) -> Iterator[Catalog]:
    """The home's catalogue, of the right version."""
    from avcd.catalog import Catalog

    catalog = Catalog(home.database_url)
    try:
        catalog.check()
        yield catalog
    finally:
        catalog.close()


def find_one(catalog: Catalog, text: str) -> tuple[str, str]:
    """The one frame or product that ``text`` names: ("frame" or "product", id).

    Raises
    ------
    UsageError
        None, or several.
    """
    found = catalog.find(text)
    if not found:
        raise UsageError(f"no frame or product is named {text!r}; see: avcd frames, avcd products")
    if len(found) > 1:
        shown = ", ".join(f"{kind} {identity[:12]}" for kind, identity in found[:8])
        more = f" and {len(found) - 8} more" if len(found) > 8 else ""
        raise UsageError(f"{text!r} may mean any of {shown}{more}; say more of it")
    return found[0]


def print_rows(
    rows: Iterable[Any],
    form: Format | ListFormat,
    columns: Sequence[str],
    *,
    chosen: str | None = None,
    every: Sequence[str] | None = None,
    expected: bool = True,
) -> int:
    """Print rows to standard output.

    Parameters
    ----------
    chosen
        Keys separated by commas, for every format.
    every
        All keys of these rows, which csv, votable and fits show of an empty list too; None: ``columns``.
    expected
        Whether finding nothing is worth exit code 1.

    Returns
    -------
    int
        How many there were.

    Raises
    ------
    typer.Exit
        With code 1: there were none.
    """
    keys = [one.strip() for one in chosen.split(",") if one.strip()] if chosen else None
    try:
        count = _write(rows, form, columns, keys, every)
    except KeyError as error:
        raise UsageError(f"--columns: there is no {error.args[0]}; --format json shows all there are") from None
    if not count and expected:
        typer.echo("avcd: nothing found", err=True)
        raise typer.Exit(1)
    return count


def _write(
    rows: Iterable[Any],
    form: Format | ListFormat,
    columns: Sequence[str],
    keys: list[str] | None,
    every: Sequence[str] | None,
) -> int:
    if form not in (ListFormat.VOTABLE, ListFormat.FITS):
        return write_rows(rows, Format(form), sys.stdout, columns, chosen=keys, every=every)
    from avcd.views.exchange import write_fits, write_votable

    if form is ListFormat.FITS and sys.stdout.isatty():
        raise UsageError("--format fits is binary: send it to a file, as in: avcd frames --format fits > frames.fits")
    writer = write_votable if form is ListFormat.VOTABLE else write_fits
    refuse_unknown(keys, every)
    return writer(rows, sys.stdout.buffer, every or columns, keys)


def user_name() -> str:
    """Who gives the command, for the catalogue."""
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as containers have
        return f"uid {os.getuid()}"
