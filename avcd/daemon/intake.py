"""From drop directories to the catalogue: hints and rescans in, settled files ingested, in small portions.

Whatever comes at once, only so many files are kept in mind: hints beyond that are dropped, and the rescan finds what
they spoke of when there is room again.
"""

from __future__ import annotations

import itertools
import logging
import os
import stat
import threading
import time
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from avcd.catalog import Catalog
from avcd.compiling import threads
from avcd.config import Home
from avcd.daemon.witness import Witness
from avcd.errors import StorageError, TransientError
from avcd.headers.profiles import Profiles
from avcd.ingest import Drop, PathReading, read_path, record_paths
from avcd.scan import Scan, scanning
from avcd.watch import SettledFiles

log = logging.getLogger("avcd.intake")
# One portion: long enough to be efficient, short enough that finished jobs do not wait for their successors.
_PORTION_S = 0.5
_TOGETHER = 200  # files in one transaction
_BACKLOG = 20_000  # files kept in mind
_LARGE = 2**21  # bytes of a file from which on threads are worth starting, and compiled loops their loading
_SLICE_S = 0.02  # of a rescan, between two looks at whether a file is due


class Intake:
    """All drop directories of a home.

    Parameters
    ----------
    home, catalog, profiles
        Where to look, where to write, how to read.
    clock
        Seconds since the epoch, comparable with files' times.
    ticks
        Seconds that are never set.
    distrust
        Called with (root, why) when files came of which no event told.
    backlog
        How many files are kept in mind at once.
    """

    def __init__(
        self,
        home: Home,
        catalog: Catalog,
        profiles: Profiles,
        clock: Callable[[], float],
        *,
        ticks: Callable[[], float] = time.monotonic,
        distrust: Callable[[str, str], None] | None = None,
        backlog: int = _BACKLOG,
    ) -> None:
        self._home = home
        self._catalog = catalog
        self._profiles = profiles
        self._clock = clock
        self._ticks = ticks
        self._backlog = backlog
        self._places = {
            one.name: Drop(one.name, home.roots[one.name], one.profile, one.site) for one in home.settings.drop
        }
        self._witness = Witness(home.roots, distrust or (lambda _root, _why: None), ticks)
        self._lock = threading.Lock()
        self._hints: dict[tuple[str, str], None] = {}
        self._lost = False  # hints were dropped
        self._tracker: SettledFiles[tuple[str, str]] = SettledFiles(home.settings.watch.quiet_s, clock, ticks)
        self._ready: dict[tuple[str, str], None] = {}
        self._scan: Generator[bool] | None = None
        self._more = False  # the last look found more than is kept in mind
        self._taken: set[tuple[str, str]] = set()  # since the rescan began, which does not see their rows
        self._known: set[tuple[str, str]] = set()  # every file counted as found and not ingested yet
        self.markers: list[tuple[str, str]] = []
        self.unseen: set[str] = set()  # roots that the last look could not list
        self.found = 0
        self.ingested = 0
        self.large = False  # whether a large file was among them

    @property
    def pending(self) -> bool:
        """Whether a file is known that is not in the catalogue yet as it is now."""
        return bool(self._ready or len(self._tracker) or self._hints or self._more or self._lost or self._scan)

    @property
    def scanning(self) -> bool:
        """Whether a rescan is under way."""
        return self._scan is not None

    @property
    def wants_rescan(self) -> bool:
        """Whether there is room again for what was passed over."""
        return (self._more or self._lost) and len(self._ready) + len(self._tracker) < self._backlog / 2

    def due_in(self) -> float | None:
        """In how many seconds the next file may have settled, or 0 when there is something to do now; None for never."""
        if self._ready or self._hints or self._scan is not None:
            return 0.0
        due = self._tracker.next_due()
        return None if due is None else max(due - self._ticks(), 0.0)

    def hint(self, root: str, relative_path: str) -> bool:
        """Something happened to a file, says the file system; called from the watcher's thread.

        Returns
        -------
        bool
            Whether it is the first hint since they were last looked at.
        """
        with self._lock:
            first = not self._hints
            if len(self._hints) < self._backlog:
                self._hints[root, relative_path] = None
            else:
                self._lost = True
            return first

    def rescan(self) -> bool:
        """Look at every file of every root: the truth, whatever the events said.

        Returns
        -------
        bool
            Whether anything is new, changed or gone.
        """
        self.close()
        moved = False
        for one in self._look_at_all():
            moved |= one
        return moved or bool(self._ready)

    def watch_began(self, roots: Iterable[str]) -> None:
        """The watches of these roots are new: of what came before no event can have told."""
        self._witness.excuse(*roots)

    def begin_rescan(self) -> None:
        """Have `take` look at every file of every root, a little at a time."""
        if self._scan is None:
            self._scan = self._look_at_all()

    def close(self) -> None:
        """Give up a rescan that is under way, and what it holds of the catalogue."""
        if self._scan is not None:
            self._scan.close()
            self._scan = None

    def _look_at_all(self) -> Generator[bool]:
        """Yields every thousand files, and after each root: whether the catalogue was changed."""
        markers: list[tuple[str, str]] = []
        if self._more or self._lost:  # it was avcd that did not listen
            self._witness.excuse(*self._home.roots)
        self._more = self._lost = False
        self._taken.clear()
        for root, base in self._home.roots.items():
            scan = Scan()
            steps = scanning(
                scan,
                self._catalog,
                root,
                base,
                self._clock(),
                marker=self._home.settings.completion.marker,
                limit=self._backlog,
            )
            try:
                for _ in steps:
                    yield False
            except StorageError as error:
                if root not in self.unseen:
                    # A share that is not mounted is no reason to forget what lay on it, nor to skip the others.
                    log.warning("drop directory %s cannot be looked at: %s", root, error)
                self.unseen.add(root)
                markers += [one for one in self.markers if one[0] == root]
                continue
            if root in self.unseen:
                log.info("drop directory %s is there again", root)
                self.unseen.discard(root)
            self._more |= scan.more
            for relative_path, found in scan.changed:
                if (root, relative_path) in self._taken:
                    continue
                if (root, relative_path) not in self._known:
                    self._witness.saw(root, relative_path)
                self._observe((root, relative_path), found)
            self._witness.judge(root)
            markers += [(root, one) for one in scan.marked]
            yield scan.moved
        self.markers = markers
        self._scan = None

    def take(self) -> bool:
        """Ingest what has settled, for at most half a second; returns whether anything in the catalogue was changed.

        A rescan that was begun is gone on with when nothing is due.
        """
        end = time.monotonic() + _PORTION_S
        took = False
        while time.monotonic() < end:
            self._look_at_hints()
            for key in self._tracker.due():
                self._look(key)
            if self._ready:
                took |= self._ingest(end)
            elif self._scan is not None:
                took |= self._go_on()
            elif not self._hints:
                break
        return took

    def _go_on(self) -> bool:
        """A slice of the rescan."""
        end = time.monotonic() + _SLICE_S
        moved, first = False, True
        while self._scan is not None and (first or time.monotonic() < end):
            first = False
            step = next(self._scan, None)
            if step is None:
                self._scan = None
            else:
                moved |= step
        return moved

    def _look_at_hints(self) -> None:
        with self._lock:
            hints, self._hints = self._hints, {}
        for key in hints:
            self._witness.heard(*key)
            self._look(key)

    def _look(self, key: tuple[str, str]) -> None:
        root, relative_path = key
        try:
            found = (self._home.roots[root] / relative_path).stat()
        except OSError:
            self._forget(key)  # gone again; the rescan is the truth
            return
        if stat.S_ISREG(found.st_mode):
            self._observe(key, found)
        else:
            self._forget(key)

    def _forget(self, key: tuple[str, str]) -> None:
        self._tracker.forget(key)
        if key in self._known and key not in self._ready:
            self._known.remove(key)
            self.found -= 1

    def _observe(self, key: tuple[str, str], found: os.stat_result) -> None:
        if key in self._ready:
            return
        if key not in self._tracker and len(self._tracker) + len(self._ready) >= self._backlog:
            self._lost = True
            return
        if key not in self._known:
            self._known.add(key)
            self.found += 1
        if self._tracker.observe(key, found.st_size, found.st_mtime_ns, found.st_ctime_ns):
            self._ready[key] = None

    def _read(self, drop: Drop, paths: list[str]) -> list[PathReading]:
        """Files read, several at once: while one is hashed the next is on its way from the disk."""
        limits = self._home.settings.limits
        if len(paths) == 1:
            return [read_path(drop, paths[0], self._profiles, limits)]
        with ThreadPoolExecutor(len(paths)) as pool:
            return list(pool.map(lambda path: read_path(drop, path, self._profiles, limits), paths))

    def _ingest(self, end: float) -> bool:
        """Read files of one root that have settled, and record them together."""
        root, _ = next(iter(self._ready))
        drop = self._places[root]
        read: list[PathReading] = []
        keys = iter([one for one in itertools.islice(self._ready, _TOGETHER) if one[0] == root])
        for key in keys:
            large = _is_large(drop.base / key[1])
            self.large |= large
            together = [key, *itertools.islice(keys, threads() - 1)] if large else [key]
            for taken in together:
                del self._ready[taken]
            read += self._read(drop, [path for _, path in together])
            if time.monotonic() >= end:
                break
        try:
            results = record_paths(self._catalog, root, read, self._clock())
        except TransientError:
            self._ready |= {(root, one.relative_path): None for one in read}
            raise
        took = False
        for one, result in zip(read, results, strict=True):
            key = root, one.relative_path
            if not result.settled:  # it changed while it was read
                self._look(key)
                continue
            self._known.discard(key)
            if self._scan is not None:
                self._taken.add(key)
            self.ingested += 1
            took = True
        return took


def _is_large(path: Path) -> bool:
    try:
        return path.stat().st_size >= _LARGE
    except OSError:
        return False  # it is gone, which reading it will tell
