"""Commands that do work: run, ingest."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from avcd.cli.options import FormatOption, HomeOption, load_home_for, load_translator, open_catalog, print_rows
from avcd.errors import UsageError
from avcd.views import columns
from avcd.views.tables import Format

if TYPE_CHECKING:
    from avcd.catalog import Catalog
    from avcd.config import Home
    from avcd.ingest import Ingestor
    from avcd.scan import Sight

_BESIDE = 1_000  # rows of a directory's other files that wait until what has changed is read


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
    again: Annotated[
        bool, typer.Option("--again", help="Read files of a directory that have not changed, too.")
    ] = False,
    form: FormatOption = Format.TABLE,
    home: HomeOption = None,
) -> None:
    """Catalogue files of a drop directory once, now, without the daemon. The next run makes their products.

    Of a directory, files that have not changed since they were read are not read again: json and csv list them, a table
    counts them.
    """
    loaded = load_home_for(home)
    places = [_place(loaded, path) for path in paths]
    failed = False
    unchanged = 0

    def rows() -> Iterator[dict[str, Any]]:
        nonlocal failed, unchanged
        for row in _ingest_rows(loaded, places, again):
            failed |= row["status"] in ("unreadable", "not settled")
            if form is Format.TABLE and not row["read"] and row["status"] in ("ok", "ignored"):
                unchanged += 1
            else:
                yield row

    if not print_rows(rows(), form, columns.INGESTED, expected=False) and not unchanged:
        typer.echo("avcd: nothing found", err=True)
        raise typer.Exit(1)
    if unchanged:
        typer.echo(f"avcd: {unchanged} files have not changed since they were read", err=True)
    if failed:
        raise typer.Exit(1)


def _place(home: Home, path: Path) -> tuple[str, Path, str]:
    """(root, its directory, relative path) of what ``path`` stands for; the relative path of the root itself is empty."""
    # As it is spelled first: what a link inside a drop directory is called there, not where it leads.
    spellings = (Path(os.path.normpath(Path.cwd() / path)), path.resolve())
    found = [(one, *place) for one in spellings for place in home.roots.items() if one.is_relative_to(place[1])]
    if not found:
        known = ", ".join(str(one) for one in home.roots.values())
        raise UsageError(f"{path} lies in no drop directory ({known}); put it there, or add its directory to avcd.toml")
    absolute, root, base = found[0]
    if not os.path.lexists(absolute):
        raise UsageError(f"{path} is not there")
    relative_path = absolute.relative_to(base).as_posix()
    return root, base, "" if relative_path == "." else relative_path


def _ingest_rows(home: Home, places: list[tuple[str, Path, str]], again: bool) -> Iterator[dict[str, Any]]:
    with open_catalog(home) as catalog, ExitStack() as stack:
        take = _Taking(home, catalog, stack)
        for root, base, relative_path in places:
            if (base / relative_path).is_dir():
                yield from take.directory(root, base, relative_path, again)
            else:
                yield from take.files([(root, relative_path)])


class _Taking:
    """Reads files into the catalogue. What reading needs is loaded with the first file that is read."""

    def __init__(self, home: Home, catalog: Catalog, stack: ExitStack) -> None:
        self._home = home
        self._catalog = catalog
        self._stack = stack
        self._ingestor: Ingestor | None = None

    def files(self, paths: Iterable[tuple[str, str]]) -> Iterator[dict[str, Any]]:
        """Read files, whether or not they have changed."""
        from avcd.ingest import Drop, Ingestor

        if self._ingestor is None:
            # Noted before the first frame is read: what it is read by.
            self._catalog.outdate(load_translator(self._home))
            made = Ingestor(self._catalog, self._home.path, self._home.settings.limits)
            self._ingestor = self._stack.enter_context(made)
        roots = self._home.roots
        drops = {one.name: Drop(one.name, roots[one.name], one.profile, one.site) for one in self._home.settings.drop}
        for drop, relative_path, result in self._ingestor.take((drops[root], path) for root, path in paths):
            if result.settled:
                status, reason = str(result.status or "gone"), result.reason
            else:
                status, reason = "not settled", "it changed while it was read"
            yield _ingested(drop.root, relative_path, status, reason, result.new_frames)

    def directory(self, root: str, base: Path, below: str, again: bool) -> Iterator[dict[str, Any]]:
        """Read what has changed at or below a directory, and record what is gone."""
        from avcd.scan import compare_root

        sights = compare_root(self._catalog, root, base, below)
        for sight in sights:
            if not _is_to_be_read(sight, again):
                yield self._noted(root, sight)
                continue
            beside: list[dict[str, Any]] = []
            yield from self.files(self._changed(root, sight, sights, again, beside))
            yield from beside

    def _changed(
        self, root: str, first: Sight, sights: Iterator[Sight], again: bool, beside: list[dict[str, Any]]
    ) -> Iterator[tuple[str, str]]:
        """What is to be read, from ``first`` on, until too much else was seen, of which the rows are put ``beside``."""
        yield root, first.relative_path
        while len(beside) < _BESIDE and (sight := next(sights, None)) is not None:
            if _is_to_be_read(sight, again):
                yield root, sight.relative_path
            else:
                beside.append(self._noted(root, sight))

    def _noted(self, root: str, sight: Sight) -> dict[str, Any]:
        """The row of what need not be read, or cannot be; what has changed by that is recorded."""
        from avcd.scan import Standing, record_refusal

        path, standing, _, status, reason = sight
        if standing is Standing.UNCHANGED:
            return _ingested(root, path, status, reason, read=False)
        if standing is Standing.RETURNED:
            self._catalog.mark_present(root, [path])
            return _ingested(root, path, status, reason)
        if standing is Standing.GONE:
            self._catalog.mark_absent(root, [path])
            return _ingested(root, path, "gone", "it is there no more")
        record_refusal(self._catalog, root, sight, time.time())
        return _ingested(root, path, status, reason)


def _is_to_be_read(sight: Sight, again: bool) -> bool:
    from avcd.scan import Standing

    return sight.standing is Standing.CHANGED or (again and sight.stat is not None)


def _ingested(
    root: str, relative_path: str, status: str, reason: str, new_frames: int = 0, *, read: bool = True
) -> dict[str, Any]:
    shown = relative_path if relative_path.isascii() else os.fsencode(relative_path).decode("utf-8", "backslashreplace")
    return {"root": root, "path": shown, "status": status, "new_frames": new_frames, "reason": reason, "read": read}
