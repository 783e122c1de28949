"""Does a watch of a directory tell of what happens there? Asked of the mount, and of a canary.

A file system that is shared over a network tells this machine what this machine does, and nothing of what others do:
no canary of ours can notice that, so such file systems are known by their names. Everything else is measured: a file
is opened (nothing is written), or, where that is allowed, a canary is written, and the time is taken until the watch
tells of it.
"""

from __future__ import annotations

import itertools
import logging
import os
import queue
import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers.api import BaseObserver

from avcd.naming import CANARY_PREFIX

_MOUNTS = Path("/proc/self/mountinfo")
_TIMEOUT_S = 2.0  # a watch that works answers within milliseconds
_CANDIDATES = 16  # files tried before a directory counts as one without a file that may be opened
# Changes that other machines make (or the host of a virtual machine) arrive without an event. All of fuse.* besides.
_REMOTE = frozenset(
    {
        "9p", "acfs", "afs", "autofs", "beegfs", "ceph", "cifs", "coda", "davfs", "drvfs", "fuse", "gfs2", "gpfs", "lustre",
        "ncpfs", "nfs", "nfs4", "ocfs2", "orangefs", "prl_fs", "pvfs2", "smb2", "smb3", "smbfs", "vboxsf", "virtiofs", "vmhgfs",
        "wslfs",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sounding:
    """How a watch answered: ``latency_s`` after the canary's deed, None for never; ``how`` is empty where none was possible."""

    how: str
    latency_s: float | None = None

    @property
    def silent(self) -> bool:
        """Whether the canary did something and the watch said nothing."""
        return bool(self.how) and self.latency_s is None

    def __str__(self) -> str:
        if not self.how:
            return "not measured, for there is no file in it yet"
        if self.latency_s is None:
            return f"no event within {_TIMEOUT_S:g} s ({self.how})"
        return f"events after {1e3 * self.latency_s:.1f} ms ({self.how})"


def remote_file_system(path: Path, mounts: Path = _MOUNTS) -> str | None:
    """The type of the file system a directory lies on, if it is one whose events do not tell what other machines do.

    Parameters
    ----------
    path
        The directory.
    mounts
        The kernel's table of mounts, as in proc(5).

    Returns
    -------
    str or None
        As "nfs4" or "fuse.sshfs"; None for a local file system, or where there is no such table.
    """
    try:
        lines = os.fsdecode(mounts.read_bytes()).splitlines()
    except OSError:
        return None
    place = os.path.realpath(path) + "/"
    found, longest = "", -1
    for line in lines:
        before, _, after = line.partition(" - ")
        fields = before.split()
        if len(fields) < 5 or not after:
            continue
        mounted = _unescaped(fields[4]).rstrip("/") + "/"
        # Of two mounts on one directory the later one hides the earlier.
        if place.startswith(mounted) and len(mounted) >= longest:
            found, longest = after.split()[0], len(mounted)
    return found if found in _REMOTE or found.startswith("fuse.") else None


def _unescaped(text: str) -> str:
    """A path as the table of mounts writes it: blanks and such as three octal digits."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)


def sound(base: Path, make_observer: Callable[[], BaseObserver], *, may_write: bool) -> Sounding:
    """Measure how soon a watch of a directory tells of something done there.

    Parameters
    ----------
    base
        The directory.
    make_observer
        Makes the kind of watch to be measured.
    may_write
        Whether a hidden file may be written there, to be deleted at once; otherwise a file that is there is opened.

    Raises
    ------
    OSError
        The directory cannot be watched.
    """
    listener = _Listener()
    observer = make_observer()
    try:
        observer.schedule(listener, str(base), recursive=False)
        observer.start()
        return _write(base, listener) if may_write else _open(base, listener)
    finally:
        end(observer)


def _is_news(record: logging.LogRecord) -> bool:
    return "when the thread is inactive" not in record.getMessage()


# An event that is on its way while its watch is stopped is no error, as watchdog has it.
logging.getLogger("watchdog.observers.inotify").addFilter(_is_news)


def end(observer: BaseObserver) -> None:
    """Stop an observer, whether or not it was started, and wait for it."""
    observer.stop()
    if observer.is_alive():
        observer.join(timeout=10)


class _Listener(FileSystemEventHandler):
    def __init__(self) -> None:
        self._told: queue.SimpleQueue[tuple[str, float]] = queue.SimpleQueue()

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Called by watchdog, in its thread."""
        self._told.put((os.fsdecode(event.src_path), time.monotonic()))

    def heard(self, path: Path, since: float) -> float | None:
        """How long after ``since`` something of ``path`` was told [s]; None if it is not told in time."""
        end = since + _TIMEOUT_S
        while (left := end - time.monotonic()) > 0:
            try:
                told, at = self._told.get(timeout=left)
            except queue.Empty:
                return None
            if told == str(path):
                return max(at - since, 0.0)
        return None


def _write(base: Path, listener: _Listener) -> Sounding:
    path = base / f"{CANARY_PREFIX}{secrets.token_hex(8)}"
    start = time.monotonic()
    try:
        path.touch(exist_ok=False)
    except OSError:
        return _open(base, listener)
    try:
        return Sounding("a canary written", listener.heard(path, start))
    finally:
        path.unlink(missing_ok=True)


def _open(base: Path, listener: _Listener) -> Sounding:
    with os.scandir(base) as listing:
        names = [one.name for one in itertools.islice(_files(listing), _CANDIDATES)]
    for name in names:
        path = base / name
        start = time.monotonic()
        try:
            os.close(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC))
        except OSError:
            continue
        return Sounding("a file opened", listener.heard(path, start))
    return Sounding("")


def _files(listing: Iterable[os.DirEntry[str]]) -> Iterator[os.DirEntry[str]]:
    return (one for one in listing if one.is_file(follow_symlinks=False))
