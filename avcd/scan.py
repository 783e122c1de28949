"""A look at a whole drop directory, compared with the catalogue: what is new, changed, gone, back, or no file at all.

Both sides come in one order, that of the bytes of their paths, and are merged as they come: what a look needs does not
grow with what the directory holds, its largest single directory apart.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from avcd.catalog import Catalog
from avcd.catalog.files import Recorded
from avcd.catalog.types import given_path, stored_path
from avcd.errors import StorageError
from avcd.frame import FileReading, FrameStatus, MemberReading
from avcd.naming import CANARY_PREFIX

_STEP = 1_000  # files between two points at which a scan may be interrupted


class Standing(Enum):
    """How something in a drop directory stands to what the catalogue says of it."""

    UNCHANGED = "unchanged"
    CHANGED = "changed"  # new, or not as it was read
    RETURNED = "returned"  # marked as gone, and there again as it was
    REFUSED = "refused"  # can never be read as a file, and that is not recorded yet
    GONE = "gone"


class Sight(NamedTuple):
    """One path, and how it stands. ``status`` and ``reason`` are those recorded, or of what is refused."""

    relative_path: str
    standing: Standing
    stat: os.stat_result | None
    status: str
    reason: str


class _Entry(NamedTuple):
    relative_path: str
    stat: os.stat_result | None  # None: no file that can be read, for this reason
    reason: str = ""
    status: FrameStatus = FrameStatus.UNREADABLE


@dataclass
class Scan:
    """What one look at a drop directory found.

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
    marked
        The relative directories ("." for the drop directory itself) that hold a marker file.
    more
        Whether there were more changed files than asked for: another look finds them.
    """

    changed: list[tuple[str, os.stat_result]] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    returned: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    found: int = 0
    marked: list[str] = field(default_factory=list)
    more: bool = False

    @property
    def moved(self) -> bool:
        """Whether the catalogue was changed by this scan."""
        return bool(self.gone or self.returned or self.refused)


def scan_root(
    catalog: Catalog, root: str, base: Path, now: float, *, marker: str | None = None, limit: int | None = None
) -> Scan:
    """Look at every file of a drop directory and compare it with the catalogue.

    What is gone, or back as it was, is recorded; what is new or changed is returned, to be ingested when it has
    settled. Files below a directory that cannot be listed just now are not taken for gone.

    Parameters
    ----------
    root, base
        The drop directory's logical name, and where it is on this host.
    now
        Seconds since the epoch.
    marker
        Name of the files that mark a directory.
    limit
        Return no more changed files than this; None: all.

    Raises
    ------
    StorageError
        The drop directory itself cannot be listed; nothing is recorded then, so that a share that is away is not taken
        for an empty one.
    """
    scan = Scan()
    for _ in scanning(scan, catalog, root, base, now, marker=marker, limit=limit):
        pass
    return scan


def scanning(
    scan: Scan,
    catalog: Catalog,
    root: str,
    base: Path,
    now: float,
    *,
    marker: str | None = None,
    limit: int | None = None,
) -> Iterator[None]:
    """`scan_root` in steps of a thousand files: fills ``scan``, which is whole, and recorded, at the end."""
    with closing(compare_root(catalog, root, base)) as sights:
        for sight in sights:
            if sight.stat is not None:
                _count(scan, sight, marker)
                if sight.standing is Standing.CHANGED:
                    if limit is None or len(scan.changed) < limit:
                        scan.changed.append((sight.relative_path, sight.stat))
                    else:
                        scan.more = True
                elif sight.standing is Standing.RETURNED:
                    scan.returned.append(sight.relative_path)
                if scan.found % _STEP == 0:
                    yield
            elif sight.standing is Standing.GONE:
                scan.gone.append(sight.relative_path)
            elif sight.standing is Standing.REFUSED:
                record_refusal(catalog, root, sight, now)
                scan.refused.append(sight.relative_path)
    catalog.mark_present(root, scan.returned)
    catalog.mark_absent(root, scan.gone)


def _count(scan: Scan, sight: Sight, marker: str | None) -> None:
    scan.found += 1
    if marker and sight.relative_path.endswith(marker):
        directory, _, name = sight.relative_path.rpartition("/")
        if name == marker:
            scan.marked.append(directory or ".")


def record_refusal(catalog: Catalog, root: str, sight: Sight, now: float) -> None:
    """Record what cannot be read as a file, so that it is accounted for."""
    member = MemberReading(member="", sha256=None, size=0, status=FrameStatus(sight.status), reason=sight.reason)
    catalog.record_reading(root, FileReading(relative_path=sight.relative_path, members=(member,)), 0, 0, now)


def compare_root(catalog: Catalog, root: str, base: Path, below: str = "") -> Generator[Sight]:
    """Everything at or below a directory of a drop directory, and everything the catalogue knows there; records nothing.

    Parameters
    ----------
    root, base
        The drop directory's logical name, and where it is on this host.
    below
        Relative path of the directory; empty for the drop directory itself.

    Raises
    ------
    StorageError
        The directory cannot be listed, or went away meanwhile.
    """
    closed: dict[str, str] = {}
    missing: dict[str, Recorded] = {}
    top = _top(base / below)
    with closing(catalog.recorded(root, below)) as recorded:
        for entry, known in _paired(_walk(base, below, closed), recorded, missing):
            yield _sight(entry, known)
    if _top(base / below) != top:
        raise StorageError(f"{base / below} went away while it was looked at")
    for directory, reason in closed.items():
        was = missing.pop(stored_path(directory), None)
        standing = Standing.REFUSED if was is None else Standing.UNCHANGED
        yield Sight(directory, standing, None, str(FrameStatus.UNREADABLE), reason)
    hidden = tuple(f"{stored_path(one)}/" for one in closed)
    for path, row in missing.items():
        relative_path = given_path(path)
        # What came while the look was under way is not gone.
        if not path.startswith(hidden) and not (base / relative_path).is_file():
            yield Sight(relative_path, Standing.GONE, None, row[5], row[6])


def _paired(
    entries: Iterable[_Entry], recorded: Iterator[Recorded], missing: dict[str, Recorded]
) -> Iterator[tuple[_Entry, Recorded | None]]:
    """What is there with what is recorded of it; what is recorded as present and is not there goes to ``missing``."""
    row = next(recorded, None)
    for entry in entries:
        path = entry[0]
        if not path.isascii():
            path = stored_path(path)
        while row is not None and row[0] < path:
            if row[4]:
                missing[row[0]] = row
            row = next(recorded, None)
        if row is not None and row[0] == path:
            yield entry, row
            row = next(recorded, None)
        else:
            yield entry, None
    while row is not None:
        if row[4]:
            missing[row[0]] = row
        row = next(recorded, None)


def _sight(entry: _Entry, known: Recorded | None) -> Sight:
    path, found, reason, status = entry
    if found is None:
        # What was read before stays as it was read: this may pass.
        if known is not None and known[4]:
            return Sight(path, Standing.UNCHANGED, None, known[5], known[6])
        return Sight(path, Standing.REFUSED, None, str(status), reason)
    if known is None:
        return Sight(path, Standing.CHANGED, found, "", "")
    _, size, mtime_ns, ctime_ns, present, recorded_status, recorded_reason = known
    if (
        size != found.st_size
        or mtime_ns != found.st_mtime_ns
        or (ctime_ns is not None and ctime_ns != found.st_ctime_ns)
    ):
        return Sight(path, Standing.CHANGED, found, recorded_status, recorded_reason)
    standing = Standing.UNCHANGED if present else Standing.RETURNED
    return Sight(path, standing, found, recorded_status, recorded_reason)


def _top(directory: Path) -> tuple[int, int]:
    """Which directory lies at a path, and that it can be listed."""
    try:
        os.scandir(directory).close()
        found = directory.stat()
    except OSError as error:
        raise StorageError(f"drop directory {directory} cannot be listed: {error.strerror}") from None
    return found.st_dev, found.st_ino


def _walk(base: Path, below: str, closed: dict[str, str]) -> Iterator[_Entry]:
    """Everything below a directory that is no readable directory, in the order of `stored_path`.

    A link is followed, but never in a circle. Directories that cannot be listed go to ``closed``, with the reason.
    """
    seen = {_top(base / below)}
    waiting = [iter(_listing(base, below, closed))]
    while waiting:
        step = next(waiting[-1], None)
        if step is None:
            waiting.pop()
            continue
        relative_path, entry, is_directory = step
        try:
            found = entry.stat()
        except OSError as error:
            # Between the listing and now it may have gone: then it is not there. A broken link is.
            if entry.is_symlink() or not isinstance(error, FileNotFoundError):
                yield _Entry(relative_path, None, f"cannot be read: {error.strerror}")
            continue
        if stat.S_ISREG(found.st_mode):
            yield _Entry(relative_path, found)
        elif is_directory:
            if (found.st_dev, found.st_ino) not in seen:
                seen.add((found.st_dev, found.st_ino))
                waiting.append(iter(_listing(base, relative_path, closed)))
        elif not stat.S_ISDIR(found.st_mode):
            yield _Entry(relative_path, None, "not a regular file", FrameStatus.IGNORED)


def _listing(base: Path, directory: str, closed: dict[str, str]) -> list[tuple[str, os.DirEntry[str], bool]]:
    """What a directory holds: relative path, entry, whether it is a directory."""
    try:
        with os.scandir(base / directory) as listing:
            entries = [(one, _is_directory(one)) for one in listing if not one.name.startswith(CANARY_PREFIX)]
    except FileNotFoundError:  # it went
        return []
    except OSError as error:
        closed[directory] = f"directory cannot be listed: {error.strerror}"
        return []
    # What lies in a directory has its name and a slash before it: that decides where it comes.
    entries.sort(key=lambda one: stored_path(one[0].name) + "/" if one[1] else stored_path(one[0].name))
    prefix = f"{directory}/" if directory else ""
    return [(prefix + one.name, one, is_directory) for one, is_directory in entries]


def _is_directory(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads nowhere, or in a circle
        return False
