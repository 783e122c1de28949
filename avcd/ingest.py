"""From settled paths to rows: read a file, record what is in it; walk a drop directory, see what changed.

Drop directories are read, never written. Twice is once: the catalogue's constraints see to it.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from avcd.catalog import Catalog
from avcd.catalog.types import printable_path
from avcd.config import Limits
from avcd.errors import InputError, StorageError
from avcd.frame import FileReading, FrameStatus, MemberReading
from avcd.headers.profiles import Profiles
from avcd.headers.reading import read_file

log = logging.getLogger("avcd.ingest")


@dataclass(frozen=True, slots=True)
class IngestResult:
    """What became of one path."""

    settled: bool  # false: it changed while it was read, and nothing was recorded
    new_frames: int = 0
    status: FrameStatus | None = None  # of the file itself; None: it was gone, or not settled
    reason: str = ""


def ingest_path(
    catalog: Catalog,
    root: str,
    base: Path,
    relative_path: str,
    profiles: Profiles,
    limits: Limits,
    now: float,
    *,
    profile: str | None = None,
    site: str | None = None,
) -> IngestResult:
    """Read one file of a drop directory and record what is in it.

    Parameters
    ----------
    root, base
        The drop directory's logical name, and where it is on this host.
    relative_path
        Below ``base``, as `os.scandir` spells it (bytes that are no UTF-8 as surrogates).
    now
        Seconds since the epoch.
    profile, site
        What the drop directory says of its frames, if it does.

    Returns
    -------
    IngestResult
        Bad content is a status with its reason, never an exception.
    """
    path = base / relative_path
    before = _stat(path)
    if before is None:
        catalog.mark_absent(root, [relative_path])
        return IngestResult(settled=True)
    if not stat.S_ISREG(before.st_mode):
        reading = _without_content(relative_path, "not a regular file")
    else:
        reading = _read(path, relative_path, profiles, limits, profile, site)
        after = _stat(path)
        if after is None or _identity(before) != _identity(after):
            return IngestResult(settled=False)
    reading, new = _record(catalog, root, reading, before, now)
    return IngestResult(True, new, reading.members[0].status, reading.members[0].reason)


def _read(
    path: Path, relative_path: str, profiles: Profiles, limits: Limits, profile: str | None, site: str | None
) -> FileReading:
    try:
        return read_file(path, relative_path, profiles, limits, profile=profile, site=site)
    except Exception as error:  # a defect in reading must not end the daemon: the file is unreadable, with the trace
        log.exception("%s could not be read", printable_path(relative_path))
        reason = f"avcd failed to read it: {type(error).__name__}: {error}"
        return _without_content(relative_path, reason, FrameStatus.UNREADABLE)


def _record(
    catalog: Catalog, root: str, reading: FileReading, found: os.stat_result, now: float
) -> tuple[FileReading, int]:
    """Record a reading; where the catalogue cannot hold it, that it cannot, so that the file is accounted for."""
    try:
        return reading, catalog.record_reading(root, reading, found.st_size, found.st_mtime_ns, now)
    except InputError as error:
        reading = _without_content(reading.relative_path, str(error), FrameStatus.UNREADABLE)
        return reading, catalog.record_reading(root, reading, found.st_size, found.st_mtime_ns, now)


def _without_content(relative_path: str, reason: str, status: FrameStatus = FrameStatus.IGNORED) -> FileReading:
    member = MemberReading(member="", sha256=None, size=0, status=status, reason=reason)
    return FileReading(relative_path=relative_path, members=(member,))


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _identity(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


@dataclass
class Scan:
    """What one look at a whole drop directory found.

    Attributes
    ----------
    changed
        (relative path, status) of every regular file that the catalogue does not know as it is now.
    gone
        Relative paths that were there and are not.
    returned
        Relative paths that were marked as gone and are there again, unchanged.
    refused
        Relative paths of what can never be read as a file (directories without permission, broken links, pipes),
        newly recorded with their reasons.
    found
        How many files there are.
    """

    changed: list[tuple[str, os.stat_result]] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    returned: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    found: int = 0
    _directories: dict[str, set[str]] = field(default_factory=dict)

    @property
    def moved(self) -> bool:
        """Whether the catalogue was changed by this scan."""
        return bool(self.gone or self.returned or self.refused)

    def directories_with(self, name: str) -> list[str]:
        """The relative directories ("." for the drop directory itself) that hold a file of this name."""
        return sorted(self._directories.get(name, ()))

    def _note(self, relative_path: str) -> None:
        path = PurePosixPath(relative_path)
        self._directories.setdefault(path.name, set()).add(str(path.parent))
        self.found += 1


def scan_root(catalog: Catalog, root: str, base: Path, known: Mapping[str, tuple[int, int]], now: float) -> Scan:
    """Look at every file of a drop directory and compare it with the catalogue.

    What is gone, or back as it was, is recorded at once; what is new or changed is returned, to be ingested when it
    has settled. Files below a directory that cannot be listed just now are not taken for gone.

    Parameters
    ----------
    known
        `Catalog.known_files` of this root.
    now
        Seconds since the epoch.

    Raises
    ------
    StorageError
        The drop directory itself cannot be listed; nothing is recorded then, so that a share that is away is not taken
        for an empty one.
    """
    scan = Scan()
    there: set[str] = set()
    closed: list[str] = []
    absent: dict[str, tuple[int, int]] | None = None
    for entry in _walk(base):
        there.add(entry.relative_path)
        if entry.reason:
            if entry.is_directory:
                closed.append(entry.relative_path)
            _refuse(catalog, root, entry, known, now, scan)
            continue
        scan._note(entry.relative_path)
        assert entry.stat is not None
        state = entry.stat.st_size, entry.stat.st_mtime_ns
        if known.get(entry.relative_path) == state:
            continue
        if absent is None and entry.relative_path not in known:
            absent = catalog.absent_files(root)
        if (absent or {}).get(entry.relative_path) == state and entry.relative_path not in known:
            scan.returned.append(entry.relative_path)
        else:
            scan.changed.append((entry.relative_path, entry.stat))
    hidden = tuple(one + "/" for one in closed)
    scan.gone = sorted(one for one in set(known) - there if not one.startswith(hidden))
    catalog.mark_present(root, scan.returned)
    catalog.mark_absent(root, scan.gone)
    return scan


@dataclass(frozen=True, slots=True)
class _Entry:
    relative_path: str
    stat: os.stat_result | None
    reason: str = ""  # why it is no file to be read
    status: FrameStatus = FrameStatus.UNREADABLE
    is_directory: bool = False


def _walk(base: Path) -> Iterator[_Entry]:
    """Everything below a directory that is no readable directory, by name; a link is followed, but never in a circle."""
    seen: set[tuple[int, int]] = set()
    try:
        top = base.stat()
        os.scandir(base).close()
    except OSError as error:
        raise StorageError(f"drop directory {base} cannot be listed: {error.strerror}") from None
    seen.add((top.st_dev, top.st_ino))
    waiting = [""]
    while waiting:
        directory = waiting.pop()
        try:
            with os.scandir(base / directory) as listing:
                entries = sorted(listing, key=lambda one: one.name)
        except OSError as error:
            if not isinstance(error, FileNotFoundError):
                yield _Entry(directory, None, f"directory cannot be listed: {error.strerror}", is_directory=True)
            continue
        for one in entries:
            relative_path = f"{directory}/{one.name}" if directory else one.name
            try:
                found = one.stat()
            except OSError as error:
                # Between the listing and now it may have gone: then it is not there. A broken link is.
                if one.is_symlink() or not isinstance(error, FileNotFoundError):
                    yield _Entry(relative_path, None, f"cannot be read: {error.strerror}")
                continue
            if stat.S_ISDIR(found.st_mode):
                if (found.st_dev, found.st_ino) not in seen:
                    seen.add((found.st_dev, found.st_ino))
                    waiting.append(relative_path)
            elif stat.S_ISREG(found.st_mode):
                yield _Entry(relative_path, found)
            else:
                yield _Entry(relative_path, None, "not a regular file", FrameStatus.IGNORED)


def _refuse(
    catalog: Catalog, root: str, entry: _Entry, known: Mapping[str, tuple[int, int]], now: float, scan: Scan
) -> None:
    """Record what cannot be read as a file, once. What was read before stays as it was read: this may pass."""
    if entry.relative_path in known:
        return
    reading = _without_content(entry.relative_path, entry.reason, entry.status)
    catalog.record_reading(root, reading, 0, 0, now)
    scan.refused.append(entry.relative_path)
