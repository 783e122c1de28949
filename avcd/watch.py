"""Drop directories: which files have settled, and hints from the file system that something moved.

Hints may be lost, doubled or early; the periodic rescan is the truth. A file is settled when its size and times stood
still for a while: transfer programs write in pieces, pause, rename, and set times back.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver
from watchdog.observers.polling import PollingObserver

log = logging.getLogger("avcd.watch")


Key = TypeVar("Key", bound=Hashable)  # what names a file to whoever asks


@dataclass(frozen=True, slots=True)
class _Sighting:
    size: int
    mtime_ns: int
    ctime_ns: int
    still_since: float


class SettledFiles(Generic[Key]):
    """Which files have stood still long enough to be complete. Pure: it looks at no file and knows no real clock.

    A file is settled when it was modified, changed (ctime) and last seen changing at least ``quiet_s`` ago. So a file
    that lay there before the daemon started is settled at the first sight, one with an old modification time that a
    transfer set is not, and one with a time in the future (a clock ahead) counts from its first sighting.

    Parameters
    ----------
    quiet_s
        How long [s].
    clock
        Seconds since the epoch, comparable with files' times.

    Examples
    --------
    >>> now = [100.0]
    >>> files = SettledFiles(quiet_s=5, clock=lambda: now[0])
    >>> files.observe("a.fits", 2880, mtime_ns=99 * 10**9, ctime_ns=99 * 10**9)
    False
    >>> now[0] = 104.0
    >>> files.observe("a.fits", 2880, mtime_ns=99 * 10**9, ctime_ns=99 * 10**9)
    True
    """

    def __init__(self, quiet_s: float, clock: Callable[[], float]) -> None:
        self._quiet_s = quiet_s
        self._clock = clock
        self._seen: dict[Key, _Sighting] = {}

    def observe(self, path: Key, size: int, mtime_ns: int, ctime_ns: int) -> bool:
        """Note a file as it is now.

        Returns
        -------
        bool
            Whether it is settled; it is then forgotten, until it is observed again.
        """
        now = self._clock()
        before = self._seen.get(path)
        state = size, mtime_ns, ctime_ns
        if before is None:
            times = max(mtime_ns, ctime_ns) / 1e9
            still_since = times if times <= now else now
        elif (before.size, before.mtime_ns, before.ctime_ns) != state:
            still_since = now
        else:
            # A clock set back must not hold a file up for as long as it was ahead.
            still_since = min(before.still_since, now)
        if now - still_since >= self._quiet_s:
            self._seen.pop(path, None)
            return True
        self._seen[path] = _Sighting(size, mtime_ns, ctime_ns, still_since)
        return False

    def forget(self, path: Key) -> None:
        """A file is gone."""
        self._seen.pop(path, None)

    def pending(self) -> list[Key]:
        """The files observed that have not settled yet."""
        return list(self._seen)

    def next_due(self) -> float | None:
        """When the next one settles if it stands still (seconds since the epoch); None without any."""
        return min((one.still_since + self._quiet_s for one in self._seen.values()), default=None)


class DropWatcher:
    """Hints that something happened in a drop directory.

    Parameters
    ----------
    roots
        Logical name to directory.
    modes
        Logical name to "native" (the system's events), "polling" (for network shares) or "rescan" (none).
    on_hint
        Called with (root, relative path) from a thread of the watcher, for files and for directories.
    poll_s
        Between two looks of a polling watch [s].
    """

    def __init__(
        self,
        roots: Mapping[str, Path],
        modes: Mapping[str, str],
        on_hint: Callable[[str, str], None],
        *,
        poll_s: float = 10.0,
    ) -> None:
        self._roots = dict(roots)
        self._modes = modes
        self._on_hint = on_hint
        self._poll_s = poll_s
        self._observers: dict[str, tuple[BaseObserver, tuple[int, int]]] = {}

    def start(self) -> None:
        """Begin to watch. A directory that is not there is watched from a later `refresh` on."""
        self.refresh()

    def refresh(self) -> None:
        """Watch again what is there and is not watched: a directory that came late, vanished, or was replaced."""
        for root, base in self._roots.items():
            mode = self._modes.get(root, "native")
            if mode == "rescan":
                continue
            identity = _identity(base)
            held = self._observers.get(root)
            if held is not None and held[1] == identity and _is_alive(held[0]):
                continue
            if held is not None:
                del self._observers[root]
                _end(held[0])
            if identity is not None:
                self._watch(root, base, mode, identity)

    def _watch(self, root: str, base: Path, mode: str, identity: tuple[int, int]) -> None:
        observer = Observer() if mode == "native" else PollingObserver(timeout=self._poll_s)
        try:
            observer.schedule(_Handler(root, base, self._on_hint), str(base), recursive=True)
            observer.start()
        except OSError as error:
            why = error.strerror or str(error)
            if error.errno in (errno.ENOSPC, errno.EMFILE):
                why += "; the system's limit of watches is reached (fs.inotify.max_user_watches)"
            log.warning("drop directory %s (%s) is not watched, only rescanned: %s", root, base, why)
            if observer.is_alive():
                _end(observer)
            return
        self._observers[root] = observer, identity

    def stop(self) -> None:
        """End every watch."""
        held, self._observers = self._observers, {}
        for observer, _ in held.values():
            _end(observer)


def _identity(base: Path) -> tuple[int, int] | None:
    """Which directory lies at a path now, None without one."""
    try:
        found = base.stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if base.is_dir() else None


def _is_alive(observer: BaseObserver) -> bool:
    """Whether it still watches: the part that watches one directory ends by itself when that vanishes."""
    return observer.is_alive() and all(emitter.is_alive() for emitter in observer.emitters)


def _end(observer: BaseObserver) -> None:
    observer.stop()
    observer.join(timeout=10)


class _Handler(FileSystemEventHandler):
    """Passes on what may have changed a file. Opening and reading are no hints: avcd itself does both."""

    _TELLING = frozenset({"created", "deleted", "modified", "moved", "closed", "attrib"})

    def __init__(self, root: str, base: Path, on_hint: Callable[[str, str], None]) -> None:
        self._root = root
        self._base = base
        self._on_hint = on_hint

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Called by watchdog, in its thread."""
        if event.event_type not in self._TELLING or (event.is_directory and event.event_type == "modified"):
            return
        for raw in (event.src_path, event.dest_path):
            path = os.fsdecode(raw) if raw else ""
            try:
                relative = Path(path).relative_to(self._base).as_posix()
            except ValueError:  # moved out of the drop directory, or no second path
                continue
            if relative != ".":
                self._on_hint(self._root, relative)
