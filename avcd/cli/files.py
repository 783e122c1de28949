"""Commands on files alone, without a home: header."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from avcd.cli.options import FormatOption, print_rows
from avcd.errors import InputError
from avcd.views.tables import Format

_CARD = ("keyword", "value", "comment")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("header")(header)


def header(
    paths: Annotated[list[Path], typer.Argument(metavar="FILE…", help="FITS files, also .gz, .bz2, .zip, .fz.")],
    keys: Annotated[
        str | None,
        typer.Option(
            "--keys", "-k", metavar="KEY,KEY…", help="One line for each file, with the values of these cards."
        ),
    ] = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """The header of each file's first image, read from no more of the file than the header's own blocks; needs no home."""
    failed = False
    chosen = [one.strip().upper() for one in keys.split(",") if one.strip()] if keys else []

    def rows() -> Iterator[dict[str, Any]]:
        nonlocal failed
        from avcd.headers.quick import read_header

        for path in paths:
            try:
                found = read_header(path)
            except (InputError, OSError) as error:
                reason = error.strerror if isinstance(error, OSError) else None
                typer.echo(f"avcd: {path}: {reason or error}", err=True)
                failed = True
                continue
            if chosen:
                cards = found.by_keyword
                yield {"file": str(path)} | {key: cards[key].value if key in cards else None for key in chosen}
            else:
                yield from ({"file": str(path), **card._asdict()} for card in found.cards)

    one_file = len(paths) == 1
    columns = ("file", *chosen) if chosen else _CARD if one_file else ("file", *_CARD)
    print_rows(rows(), form, columns, expected=not failed)
    if failed:
        raise typer.Exit(1)
