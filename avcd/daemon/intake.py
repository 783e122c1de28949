"""From drop directories to the catalogue: hints and rescans in, settled files ingested, in small portions."""

from __future__ import annotations

import logging
import os
import queue
import time
from collections.abc import Callable
from pathlib import Path

from avcd.catalog import Catalog
from avcd.config import Home
from avcd.errors import StorageError
from avcd.headers.profiles import Profiles
from avcd.ingest import ingest_path, scan_root
from avcd.watch import SettledFiles

log = logging.getLogger("avcd.intake")
# One portion: long enough to be efficient, short enough that finished jobs do not wait for their successors.
_PORTION_S = 0.5


class Intake:
    """All drop directories of a home.

    Parameters
    ----------
    home, catalog, profiles
        Where to look, where to write, how to read.
    clock
        Seconds since the epoch, comparable with files' times.
    """

    def __init__(self, home: Home, catalog: Catalog, profiles: Profiles, clock: Callable[[], float]) -> None:
        self._home = home
        self._catalog = catalog
        self._profiles = profiles
        self._clock = clock
        self._drops = {drop.name: drop for drop in home.settings.drop}
        self._hints: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
        self._tracker: SettledFiles[tuple[str, str]] = SettledFiles(home.settings.watch.quiet_s, clock)
        self._ready: dict[tuple[str, str], None] = {}
        self.markers: list[tuple[str, str]] = []
        self.unseen: set[str] = set()  # roots that the last look could not list
        self.found = 0
        self.ingested = 0

    @property
    def pending(self) -> bool:
        """Whether a file is known that is not in the catalogue yet as it is now."""
        return bool(self._ready) or bool(self._tracker.pending()) or not self._hints.empty()

    def next_due(self) -> float | None:
        """When the next file may have settled."""
        return self._clock() if self._ready else self._tracker.next_due()

    def hint(self, root: str, relative_path: str) -> None:
        """Something happened to a file, says the file system; called from the watcher's thread."""
        self._hints.put((root, relative_path))

    def rescan(self) -> bool:
        """Look at every file of every root: the truth, whatever the events said.

        Returns
        -------
        bool
            Whether anything is new, changed or gone.
        """
        moved = False
        markers: list[tuple[str, str]] = []
        for root, base in self._home.roots.items():
            known = self._catalog.known_files(root)
            try:
                scan = scan_root(self._catalog, root, base, known, self._clock())
                self.unseen.discard(root)
            except StorageError as error:
                self.unseen.add(root)
                # A share that is not mounted is no reason to forget what lay on it, nor to skip the others.
                log.warning("drop directory %s cannot be looked at: %s", root, error)
                continue
            self.found += len(scan.changed)
            moved |= scan.moved
            for relative_path, stat in scan.changed:
                self._observe(root, relative_path, stat)
            markers += [(root, one) for one in scan.directories_with(self._home.settings.completion.marker)]
        self.markers = markers
        return moved or bool(self._ready)

    def take(self) -> bool:
        """Ingest what has settled, for at most half a second; returns whether anything was ingested."""
        while not self._hints.empty():
            root, relative_path = self._hints.get()
            self._look(root, relative_path)
        for root, relative_path in self._tracker.pending():
            self._look(root, relative_path)
        end = time.monotonic() + _PORTION_S
        took = False
        while self._ready and time.monotonic() < end:
            (root, relative_path), _ = self._ready.popitem()
            took |= self._ingest(root, relative_path)
        return took

    def _look(self, root: str, relative_path: str) -> None:
        path = self._home.roots[root] / relative_path
        try:
            stat = path.stat()
        except OSError:
            # Gone again, or a directory on its way; the rescan is the truth.
            self._tracker.forget((root, relative_path))
            return
        if path.is_file():
            self._observe(root, relative_path, stat)

    def _observe(self, root: str, relative_path: str, stat: os.stat_result) -> None:
        key = (root, relative_path)
        if key in self._ready:
            return
        if self._tracker.observe(key, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns):
            self._ready[key] = None

    def _ingest(self, root: str, relative_path: str) -> bool:
        drop = self._drops[root]
        base: Path = self._home.roots[root]
        result = ingest_path(
            self._catalog,
            root,
            base,
            relative_path,
            self._profiles,
            self._home.settings.limits,
            self._clock(),
            profile=drop.profile,
            site=drop.site,
        )
        if not result.settled:  # it changed while it was read
            self._look(root, relative_path)
            return False
        self.ingested += 1
        return True
