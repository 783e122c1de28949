"""From settled paths to rows: read a file, record what is in it.

Drop directories are read, never written. Twice is once: the catalogue's constraints see to it.
"""

from __future__ import annotations

import logging
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from avcd.catalog import Catalog
from avcd.catalog.types import printable_path
from avcd.config import Limits
from avcd.errors import InputError
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
        return reading, catalog.record_reading(
            root, reading, found.st_size, found.st_mtime_ns, now, ctime_ns=found.st_ctime_ns
        )
    except InputError as error:
        reading = _without_content(reading.relative_path, str(error), FrameStatus.UNREADABLE)
        return reading, catalog.record_reading(
            root, reading, found.st_size, found.st_mtime_ns, now, ctime_ns=found.st_ctime_ns
        )


def _without_content(relative_path: str, reason: str, status: FrameStatus = FrameStatus.IGNORED) -> FileReading:
    member = MemberReading(member="", sha256=None, size=0, status=status, reason=reason)
    return FileReading(relative_path=relative_path, members=(member,))


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _identity(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
