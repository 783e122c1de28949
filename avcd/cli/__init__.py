"""The command line. A command parses, asks, prints; what it asks lies elsewhere and is loaded when it is asked.

Data goes to standard output, everything else to standard error. Exit codes: 0 done, 1 done but something failed or
nothing was found, 2 wrong usage.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from avcd.cli import (
    atlas,
    badpix,
    binning,
    composing,
    details,
    files,
    homes,
    judgement,
    lightcurves,
    lists,
    outlook,
    pictures,
    plots,
    processing,
    quality,
    service,
    solving,
    stars,
    targets,
    upkeep,
)
from avcd.errors import AvcdError


def build(asked: str = "") -> typer.Typer:
    """The command line with all its commands, in the order in which help lists them.

    Parameters
    ----------
    asked
        A command: where there is one of this name, the others are left out, for making them ready takes longer than many of
        them work.
    """
    app = typer.Typer(
        name="avcd",
        help="The always-on data service of an observatory: frames dropped in are catalogued, calibrated, solved, "
        "stacked and shown.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_global_options)
    commands = (homes, service, lists, details, outlook, judgement, files, targets, plots)
    parts = (processing, badpix, solving, stars, quality, lightcurves, composing, pictures, binning, atlas, upkeep)
    for part in (*commands, *parts):
        part.register(app)
    command = [one for one in app.registered_commands if one.name == asked]
    group = [one for one in app.registered_groups if one.name == asked]
    if command or group:
        app.registered_commands, app.registered_groups = command, group
    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        from avcd import __version__

        typer.echo(f"avcd {__version__}")
        raise typer.Exit


def _global_options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    pass


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and end the process with its exit code.

    Parameters
    ----------
    arguments
        Without the program's name; None: those of the process.
    """
    for stream in (sys.stdout, sys.stderr):
        # A file name that the terminal cannot show is no reason to fail.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        words = sys.argv[1:] if arguments is None else list(arguments)
        build(words[0] if words else "")(args=words, prog_name="avcd")
    except AvcdError as error:
        sys.stdout.flush()
        print(f"avcd: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
