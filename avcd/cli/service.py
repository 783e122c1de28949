"""Commands that do work: run, ingest."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from avcd.cli.options import FormatOption, HomeOption, load_home_for, open_catalog, print_rows
from avcd.errors import UsageError
from avcd.views import columns
from avcd.views.tables import Format

if TYPE_CHECKING:
    from avcd.config import Home


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("run")(run)
    app.command("ingest")(ingest)


def run(
    until_idle: Annotated[
        bool, typer.Option("--until-idle", help="Settle and process all that is there, close it, and end.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Log only what went wrong.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log everything.")] = False,
    home: HomeOption = None,
) -> None:
    """The daemon: watch the drop directories, keep every product made. SIGTERM or Ctrl-C ends it."""
    loaded = load_home_for(home)
    from avcd.daemon import Daemon
    from avcd.views.progress import DaemonBars

    bars = until_idle and not verbose and sys.stderr.isatty()
    start_logging(logging.WARNING if quiet or bars else logging.DEBUG if verbose else logging.INFO)
    if bars:
        with DaemonBars() as shown:
            code = Daemon(loaded, progress=shown.update).run(until_idle=True)
    else:
        code = Daemon(loaded).run(until_idle=until_idle)
    if code:
        typer.echo("avcd: jobs died, or a drop directory cannot be looked at; see: avcd doctor", err=True)
    raise typer.Exit(code)


def start_logging(level: int) -> None:
    """Log to standard error; under systemd without the time, which the journal adds."""
    words = "%(levelname)s %(name)s: %(message)s"
    logging.basicConfig(
        level=level, stream=sys.stderr, format=words if os.environ.get("JOURNAL_STREAM") else f"%(asctime)s {words}"
    )
    for name in ("apscheduler", "alembic", "watchdog", "PIL"):  # what they tell of themselves helps nobody here
        logging.getLogger(name).setLevel(max(level, logging.WARNING))


def ingest(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH…", help="Files or directories below a drop directory.")],
    form: FormatOption = Format.TABLE,
    home: HomeOption = None,
) -> None:
    """Catalogue files of a drop directory once, now, without the daemon. The next run makes their products."""
    loaded = load_home_for(home)
    places = [place for path in paths for place in _places(loaded, path)]
    failed = False

    def rows() -> Iterator[dict[str, Any]]:
        nonlocal failed
        for row in _ingest_rows(loaded, places):
            failed |= row["status"] in ("unreadable", "not settled")
            yield row

    print_rows(rows(), form, columns.INGESTED)
    if failed:
        raise typer.Exit(1)


def _places(home: Home, path: Path) -> Iterator[tuple[str, Path, str]]:
    """(root, its directory, relative path) of every file that ``path`` stands for."""
    # As it is spelled first: what a link inside a drop directory is called there, not where it leads.
    spellings = (Path(os.path.normpath(Path.cwd() / path)), path.resolve())
    found = [(one, *place) for one in spellings for place in home.roots.items() if one.is_relative_to(place[1])]
    if not found:
        known = ", ".join(str(one) for one in home.roots.values())
        raise UsageError(f"{path} lies in no drop directory ({known}); put it there, or add its directory to avcd.toml")
    absolute, root, base = found[0]
    if not os.path.lexists(absolute):
        raise UsageError(f"{path} is not there")
    if not absolute.is_dir():
        yield root, base, absolute.relative_to(base).as_posix()
        return
    for directory, below, names in os.walk(absolute):
        below.sort()
        for name in sorted(names):
            yield root, base, (Path(directory) / name).relative_to(base).as_posix()


def _ingest_rows(home: Home, places: list[tuple[str, Path, str]]) -> Iterator[dict[str, Any]]:
    from avcd.headers.profiles import load_profiles
    from avcd.ingest import ingest_path

    profiles = load_profiles(home.path)
    drops = {drop.name: drop for drop in home.settings.drop}
    with open_catalog(home) as catalog:
        for root, base, relative_path in places:
            drop = drops[root]
            result = ingest_path(
                catalog, root, base, relative_path, profiles, home.settings.limits, time.time(),
                profile=drop.profile, site=drop.site,
            )  # fmt: skip
            yield {
                "root": root,
                "path": os.fsencode(relative_path).decode("utf-8", "backslashreplace"),
                "status": str(result.status or "gone") if result.settled else "not settled",
                "new_frames": result.new_frames,
                "reason": result.reason if result.settled else "it changed while it was read",
            }
