"""Hints from the file system that something moved in a drop directory."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileAttribEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver
from watchdog.observers.polling import PollingObserver

from avcd.naming import CANARY_PREFIX
from avcd.watch.canary import end, remote_file_system, sound

log = logging.getLogger("avcd.watch")
# What may have changed a file. Opening and reading are no hints, avcd itself does both; unasked for, they do not even
# fill the kernel's queue.
_TELLING: list[type[FileSystemEvent]] = [
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileAttribEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
]


@dataclass
class _Watch:
    """One directory's watch: which directory it is, and what keeps watch."""

    identity: tuple[int, int]
    mode: str
    observer: BaseObserver


class DropWatcher:
    """Hints that something happened in a drop directory.

    A native watch is measured when it begins, see `avcd.watch.canary`. Where the system's events do not arrive, the
    directory is polled, with a warning.

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
    canaries
        The roots that a canary may be written into, to be deleted at once.
    """

    def __init__(
        self,
        roots: Mapping[str, Path],
        modes: Mapping[str, str],
        on_hint: Callable[[str, str], None],
        *,
        poll_s: float = 10.0,
        canaries: Collection[str] = (),
    ) -> None:
        self._roots = dict(roots)
        self._modes = modes
        self._on_hint = on_hint
        self._poll_s = poll_s
        self._canaries = frozenset(canaries)
        self._watches: dict[str, _Watch] = {}
        self._distrusted: set[str] = set()

    @property
    def modes(self) -> dict[str, str]:
        """How each root is watched now: "native", "polling", or "rescan" where there are no hints."""
        return {root: self._watches[root].mode if root in self._watches else "rescan" for root in self._roots}

    def start(self) -> None:
        """Begin to watch. A directory that is not there is watched from a later `refresh` on."""
        self.refresh()

    def refresh(self) -> list[str]:
        """Watch again what is there and is not watched: a directory that came late, vanished, or was replaced.

        Returns
        -------
        list of str
            The roots whose watch has only begun now.
        """
        begun = []
        for root, base in self._roots.items():
            mode = self._modes.get(root, "native")
            if mode == "rescan":
                continue
            identity = _identity(base)
            held = self._watches.get(root)
            if held is not None and held.identity == identity and _is_alive(held):
                continue
            if held is not None:
                del self._watches[root]
                end(held.observer)
            if identity is not None:
                self._watch(root, base, mode, identity)
                begun.append(root)
        return begun

    def distrust(self, root: str, why: str) -> None:
        """Poll a root from now on: its events do not tell all that happens there."""
        held = self._watches.get(root)
        if held is None or held.mode != "native":
            return
        log.warning("drop directory %s (%s) is polled: %s", root, self._roots[root], why)
        self._distrusted.add(root)
        del self._watches[root]
        end(held.observer)
        self._begin(root, self._roots[root], "polling", held.identity)

    def _watch(self, root: str, base: Path, mode: str, identity: tuple[int, int]) -> None:
        if mode == "native":
            why = "" if root in self._distrusted else self._unfit(root, base)
            if why:
                log.warning("drop directory %s (%s) is polled every %g s: %s", root, base, self._poll_s, why)
            if why or root in self._distrusted:
                mode = "polling"
        self._begin(root, base, mode, identity)

    def _unfit(self, root: str, base: Path) -> str:
        """Why native events will not do for a directory; empty where they will."""
        remote = remote_file_system(base)
        if remote:
            return f"on {remote}, events do not tell what other machines do"
        try:
            sounding = sound(base, Observer, may_write=root in self._canaries)
        except OSError as error:
            return _refusal(error)
        if sounding.silent:
            return f"the system's file events do not arrive: {sounding}"
        log.info("drop directory %s (%s): %s", root, base, sounding)
        return ""

    def _begin(self, root: str, base: Path, mode: str, identity: tuple[int, int]) -> None:
        observer = Observer() if mode == "native" else PollingObserver(timeout=self._poll_s)
        try:
            observer.schedule(_Handler(root, base, self._on_hint), str(base), recursive=True, event_filter=[*_TELLING])
            observer.start()
        except OSError as error:
            end(observer)
            if mode == "native":
                log.warning(
                    "drop directory %s (%s) is polled every %g s: %s", root, base, self._poll_s, _refusal(error)
                )
                self._begin(root, base, "polling", identity)
            else:
                log.warning("drop directory %s (%s) is not watched, only rescanned: %s", root, base, _refusal(error))
            return
        self._watches[root] = _Watch(identity, mode, observer)

    def stop(self) -> None:
        """End every watch."""
        held, self._watches = self._watches, {}
        for watch in held.values():
            end(watch.observer)


def _refusal(error: OSError) -> str:
    why = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EMFILE):
        why += "; the system's limit of watches is reached (fs.inotify.max_user_watches, max_user_instances)"
    return why


def _identity(base: Path) -> tuple[int, int] | None:
    """Which directory lies at a path now, None without one."""
    try:
        found = base.stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if base.is_dir() else None


def _is_alive(watch: _Watch) -> bool:
    """Whether it still watches: the part that watches one directory ends by itself when that vanishes."""
    observer = watch.observer
    return observer.is_alive() and all(emitter.is_alive() for emitter in observer.emitters)


class _Handler(FileSystemEventHandler):
    """Passes on what may have changed a file."""

    def __init__(self, root: str, base: Path, on_hint: Callable[[str, str], None]) -> None:
        self._root = root
        self._prefix = f"{base}/" if str(base) != "/" else "/"
        self._on_hint = on_hint

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Called by watchdog, in its thread."""
        if event.is_directory and event.event_type == "modified":
            return
        for raw in (event.src_path, event.dest_path):
            path = os.fsdecode(raw) if raw else ""
            if not path.startswith(self._prefix):  # moved out of the drop directory, itself, or no second path
                continue
            relative_path = path[len(self._prefix) :]
            if not relative_path.rpartition("/")[2].startswith(CANARY_PREFIX):
                self._on_hint(self._root, relative_path)
