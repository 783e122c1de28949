"""From settled paths to rows: read files, record what is in them.

Drop directories are read, never written. Twice is once: the catalogue's constraints see to it.
"""

from __future__ import annotations

import gc
import itertools
import logging
import os
import stat
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import NamedTuple

from avcd.catalog import Catalog
from avcd.catalog.recording import FoundFile, found_file, found_files
from avcd.catalog.types import printable_path
from avcd.config import Limits
from avcd.errors import InputError
from avcd.frame import FileReading, FrameStatus, MemberReading
from avcd.headers.archives import FRAME_KINDS, kind_of
from avcd.headers.profiles import Profiles, load_profiles
from avcd.headers.reading import OpenFile, content_of, open_file, understand
from avcd.uncollected import uncollected

log = logging.getLogger("avcd.ingest")
_PORTION = 100  # files read by one process at a time
_RECORDED = 1000  # files in one transaction
_AHEAD = 3 * _RECORDED // _PORTION  # portions under way: readers have work while a transaction is written
_CARDS = 10_000  # of files that are understood together
_SMALL = 1 << 16  # [bytes] of a file that is fetched with others before any of them is looked at
_FEW = 400  # not worth starting processes for


@dataclass(frozen=True, slots=True)
class Drop:
    """A drop directory: its logical name, where it is on this host, what it says of its frames."""

    root: str
    base: Path
    profile: str | None = None
    site: str | None = None


@dataclass(frozen=True, slots=True)
class IngestResult:
    """What became of one path."""

    settled: bool  # false: it changed while it was read, and nothing was recorded
    new_frames: int = 0
    status: FrameStatus | None = None  # of the file itself; None: it was gone, or not settled
    reason: str = ""


class PathReading(NamedTuple):
    """One path as it was read; without ``found`` it was gone, or it changed meanwhile (``settled`` is false)."""

    relative_path: str
    settled: bool
    found: FoundFile | None = None
    status: FrameStatus | None = None
    reason: str = ""


def read_path(drop: Drop, relative_path: str, profiles: Profiles, limits: Limits) -> PathReading:
    """Read one file of a drop directory, as `read_paths`."""
    (found,) = read_paths(drop, [relative_path], profiles, limits)
    return found


def read_paths(drop: Drop, relative_paths: Iterable[str], profiles: Profiles, limits: Limits) -> list[PathReading]:
    """Read files of a drop directory. Bad content is a status with its reason, never an exception.

    Each step is taken for many files before the next, in half to two thirds of the time: a processor's cache holds one step, not all.

    Parameters
    ----------
    relative_paths
        Below the drop directory, as `os.scandir` spells them (bytes that are no UTF-8 as surrogates).
    """
    found: list[PathReading] = []
    opened: list[_Path] = []
    cards = 0
    paths = iter(relative_paths)
    while portion := [_fetch(drop, one) for one in itertools.islice(paths, _PORTION)]:
        for one in portion:
            opened.append(_open(drop, one, limits))
            last = opened[-1].opened
            cards += last.cards if last else 0
            if cards > _CARDS:
                found += _understood(drop, opened, profiles)
                opened, cards = [], 0
    return found + _understood(drop, opened, profiles)


def record_paths(catalog: Catalog, root: str, readings: Sequence[PathReading], now: float) -> list[IngestResult]:
    """Record what was read, in one transaction; one by one, where a value of one does not fit the catalogue.

    Parameters
    ----------
    root
        Logical name of the drop directory.
    readings
        Of as many paths, no path twice.
    now
        Seconds since the epoch.
    """
    catalog.mark_absent(root, [one.relative_path for one in readings if one.settled and one.found is None])
    found = [one.found for one in readings if one.found is not None]
    try:
        new = dict(zip((one.relative_path for one in found), catalog.record_files(root, found, now), strict=True))
    except InputError as error:
        if len(readings) > 1:
            return [result for one in readings for result in record_paths(catalog, root, [one], now)]
        # The catalogue cannot hold what it says: that it cannot is recorded, so that the file is accounted for.
        readings = [_refused(readings[0], str(error))]
        catalog.record_files(root, [one.found for one in readings if one.found is not None], now)
        new = {}
    return [
        IngestResult(one.settled, new.get(one.relative_path, 0), one.status if one.found else None, one.reason)
        for one in readings
    ]


def ingest_path(
    catalog: Catalog, drop: Drop, relative_path: str, profiles: Profiles, limits: Limits, now: float
) -> IngestResult:
    """Read one file of a drop directory and record what is in it; see `read_path` and `record_paths`."""
    (result,) = record_paths(catalog, drop.root, [read_path(drop, relative_path, profiles, limits)], now)
    return result


class Ingestor:
    """Reads many files and records what is in them; other processes read while this one records.

    Parameters
    ----------
    home
        Whose profiles count.
    limits
        What is too large to unpack.
    processes
        That read, from the first time on that there is much to read; by default one for every processor, because they
        and this one wait for each other now and then; 0 for none.
    """

    def __init__(self, catalog: Catalog, home: Path, limits: Limits, *, processes: int | None = None) -> None:
        self._catalog = catalog
        self._home = home
        self._limits = limits
        self._count = (os.cpu_count() or 1) if processes is None else processes
        self._pool: ProcessPoolExecutor | None = None
        self._profiles: Profiles | None = None

    def __enter__(self) -> Ingestor:
        return self

    def __exit__(self, *_error: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def take(self, paths: Iterable[tuple[Drop, str]]) -> Iterator[tuple[Drop, str, IngestResult]]:
        """Read and record some files.

        Parameters
        ----------
        paths
            Drop directory and relative path of each, no path twice; asked for no sooner than there is time to read them.

        Yields
        ------
        (Drop, str, IngestResult)
            In the order of ``paths``.
        """
        coming = iter(paths)
        first = list(itertools.islice(coming, _FEW))
        if self._pool is None and self._count and len(first) == _FEW:
            self._pool = ProcessPoolExecutor(self._count, _context(), _begin_reader, (self._home, self._limits))
        yield from _recorded(self._catalog, self._read(_portions(itertools.chain(first, coming))))

    def _read(self, portions: Iterator[tuple[Drop, list[str]]]) -> Iterator[tuple[Drop, list[PathReading]]]:
        """What the portions hold, in their order; never more than some of them are under way."""
        under_way: deque[tuple[Drop, list[str], Future[list[PathReading]] | None]] = deque()
        while True:
            for drop, names in itertools.islice(portions, _AHEAD - len(under_way)):
                under_way.append((drop, names, self._submit(drop, names)))
            if not under_way:
                return
            drop, names, future = under_way.popleft()
            yield drop, self._result(drop, names, future)

    def _submit(self, drop: Drop, names: list[str]) -> Future[list[PathReading]] | None:
        try:
            return None if self._pool is None else self._pool.submit(_read_elsewhere, drop, names)
        except BrokenProcessPool:
            return None

    def _result(self, drop: Drop, names: list[str], future: Future[list[PathReading]] | None) -> list[PathReading]:
        try:
            if future is not None:
                return future.result()
        except BrokenProcessPool:
            log.warning("a process that read files died; %d files are read again", len(names))
            self._pool = None
        if self._profiles is None:
            self._profiles = load_profiles(self._home)
        return read_paths(drop, names, self._profiles, self._limits)


def _portions(paths: Iterable[tuple[Drop, str]]) -> Iterator[tuple[Drop, list[str]]]:
    """Paths of one drop directory together, so many at a time."""
    for drop, some in itertools.groupby(paths, key=lambda one: one[0]):
        names = (name for _, name in some)
        while portion := list(itertools.islice(names, _PORTION)):
            yield drop, portion


_reader: tuple[Profiles, Limits]  # of a process that only reads


def _begin_reader(home: Path, limits: Limits) -> None:
    global _reader
    _reader = load_profiles(home), limits
    # Rows are made by the thousand and handed on: nothing of them is worth looking through for circles.
    gc.freeze()
    gc.set_threshold(100_000)


def _context() -> BaseContext:
    """How readers are started: as copies of this process where that is safe, because loading all anew takes seconds."""
    alone = (
        sys.platform == "linux" and threading.active_count() == 1 and len(list(Path("/proc/self/task").iterdir())) == 1
    )
    return get_context("fork" if alone else "spawn")


def _read_elsewhere(drop: Drop, names: list[str]) -> list[PathReading]:
    return read_paths(drop, names, *_reader)


def _recorded(
    catalog: Catalog, portions: Iterable[tuple[Drop, list[PathReading]]]
) -> Iterator[tuple[Drop, str, IngestResult]]:
    """Write down what was read, some portions in one transaction."""
    with uncollected():
        for drop, some in itertools.groupby(portions, key=lambda one: one[0]):
            readings = (reading for _, portion in some for reading in portion)
            while batch := list(itertools.islice(readings, _RECORDED)):
                results = record_paths(catalog, drop.root, batch, time.time())
                yield from ((drop, one.relative_path, result) for one, result in zip(batch, results, strict=True))


class _Path(NamedTuple):
    """One path on its way to a reading."""

    relative_path: str
    stat: os.stat_result | None  # None: it was gone, or it changed meanwhile (``settled`` is false)
    content: bytes | None = None
    opened: OpenFile | None = None
    reading: FileReading | None = None
    settled: bool = True


def _fetch(drop: Drop, relative_path: str) -> _Path:
    """One path; of a small file that is neither an archive nor ignored with its bytes."""
    path = f"{drop.base}/{relative_path}"
    before = _stat(path)
    if before is None:
        return _Path(relative_path, None)
    if not stat.S_ISREG(before.st_mode):
        return _Path(relative_path, before, reading=_without_content(relative_path, "not a regular file"))
    if before.st_size > _SMALL or kind_of(relative_path) not in FRAME_KINDS:
        return _Path(relative_path, before)
    try:
        fetched = _Path(relative_path, before, content_of(path))
    except OSError:
        return _Path(relative_path, before)  # why, is said when it is tried again
    return _if_settled(fetched, path)


def _open(drop: Drop, fetched: _Path, limits: Limits) -> _Path:
    """One path with its HDUs."""
    relative_path, before, content, _, reading, _ = fetched
    if before is None or reading is not None:
        return fetched
    path = f"{drop.base}/{relative_path}"
    try:
        opened = _Path(relative_path, before, opened=open_file(path, relative_path, limits, content=content))
    except Exception as error:
        opened = _Path(relative_path, before, reading=_failed(relative_path, error))
    return opened if content is not None else _if_settled(opened, path)


def _if_settled(one: _Path, path: str) -> _Path:
    """What was read, if it was the same file all the time."""
    before, after = one.stat, _stat(path)
    if before is None or after is None or _identity(before) != _identity(after):
        return _Path(one.relative_path, None, settled=False)
    return one


def _understood(drop: Drop, opened: Sequence[_Path], profiles: Profiles) -> list[PathReading]:
    """What is in the files, in the form of rows."""
    contents = [one.opened for one in opened if one.opened]
    try:
        readings = iter(understand(contents, profiles, profile=drop.profile, site=drop.site))
    except Exception as error:
        if len(opened) > 1:  # whichever it is, the others are understood
            return [reading for one in opened for reading in _understood(drop, [one], profiles)]
        readings = iter([_failed(opened[0].relative_path, error)])
    whole = [(one, next(readings) if one.opened else one.reading) for one in opened]
    rows = iter(
        found_files(
            [
                (reading, one.stat.st_size, one.stat.st_mtime_ns, one.stat.st_ctime_ns)
                for one, reading in whole
                if one.stat and reading
            ]
        )
    )
    return [
        PathReading(one.relative_path, True, next(rows), reading.members[0].status, reading.members[0].reason)
        if one.stat and reading
        else PathReading(one.relative_path, one.settled)
        for one, reading in whole
    ]


def _failed(relative_path: str, error: Exception) -> FileReading:
    """A defect in reading must not end the daemon: the file is unreadable, with the trace."""
    log.error("%s could not be read", printable_path(relative_path), exc_info=error)
    reason = f"avcd failed to read it: {type(error).__name__}: {error}"
    return _without_content(relative_path, reason, FrameStatus.UNREADABLE)


def _refused(reading: PathReading, reason: str) -> PathReading:
    before = reading.found
    assert before is not None
    own = before.members[0]
    empty = _without_content(reading.relative_path, reason, FrameStatus.UNREADABLE)
    found = found_file(empty, own["size"], own["mtime_ns"], own["ctime_ns"])
    return reading._replace(found=found, status=FrameStatus.UNREADABLE, reason=reason)


def _without_content(relative_path: str, reason: str, status: FrameStatus = FrameStatus.IGNORED) -> FileReading:
    member = MemberReading(member="", sha256=None, size=0, status=status, reason=reason)
    return FileReading(relative_path=relative_path, members=(member,))


def _stat(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)  # noqa: PTH116 - a third of the time of a Path's own
    except FileNotFoundError:
        return None


def _identity(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
