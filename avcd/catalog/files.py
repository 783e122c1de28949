"""Files: what lies in the drop directories, and the frames found in them."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from sqlalchemy import Connection, Text, and_, delete, literal, or_, select, type_coerce, update
from sqlalchemy.exc import DataError

from avcd.catalog.facts import bump_cameras, touch_groups
from avcd.catalog.models import file_frames, files, frames, job_inputs, jobs
from avcd.catalog.rows import frame_to_row
from avcd.catalog.session import Database, chunks, insert_new, upsert
from avcd.catalog.types import stored_path
from avcd.errors import InputError
from avcd.frame import FileReading, Frame, JobState, MemberReading

# Stored spelling of the path, size [bytes], mtime [ns], ctime [ns], present, status, reason.
Recorded = tuple[str, int, int, int | None, bool, str, str]
_PAGE = 1_000


class Files(Database):
    """The part of the catalogue that ingestion writes."""

    def known_files(self, root: str) -> dict[str, tuple[int, int]]:
        """Every path that is there, as last read: relative path to (size [bytes], mtime [ns])."""
        return self._known(root, present=True)

    def absent_files(self, root: str) -> dict[str, tuple[int, int]]:
        """Every path that was there once and is not now, as `known_files`."""
        return self._known(root, present=False)

    def _known(self, root: str, *, present: bool) -> dict[str, tuple[int, int]]:
        columns = files.c.relative_path, files.c.size, files.c.mtime_ns
        wanted = select(*columns).where(files.c.root == root, files.c.member == "", files.c.present.is_(present))
        with self.read() as connection:
            return {path: (size, mtime_ns) for path, size, mtime_ns in connection.execute(wanted)}

    def recorded(self, root: str, below: str = "") -> Generator[Recorded]:
        """Every path ever read at or below a directory, one after the other in the order of `stored_path`.

        A single transaction that is held until the last one is taken; only some hundreds are in memory.
        """
        path = type_coerce(files.c.relative_path, Text)
        columns = (
            path,
            files.c.size,
            files.c.mtime_ns,
            files.c.ctime_ns,
            files.c.present,
            files.c.status,
            files.c.reason,
        )
        with self.read() as connection:
            # SQLite compares bytes anyway, and has them in this order in the index; PostgreSQL must be told to.
            ordered = path.collate("C") if connection.dialect.name == "postgresql" else files.c.relative_path
            wanted = select(*columns).where(files.c.root == root, files.c.member == "").order_by(ordered)
            if below:
                first = stored_path(below)
                # "0" comes right after "/": what begins with the directory's name and a slash.
                inside = and_(ordered > literal(first + "/", Text), ordered < literal(first + "0", Text))
                wanted = wanted.where(or_(files.c.relative_path == below, inside))
            for row in connection.execution_options(yield_per=_PAGE).execute(wanted):
                yield tuple(row)

    def record_reading(
        self, root: str, reading: FileReading, size: int, mtime_ns: int, now: float, *, ctime_ns: int | None = None
    ) -> int:
        """Record what was found at one path, whole or not at all; the same reading again changes nothing.

        What the path held before, if it was something else, is no longer linked to it; its frames stay.

        Parameters
        ----------
        root
            Logical name of the drop directory.
        size, mtime_ns, ctime_ns
            Of the file itself, as they were while it was read.
        now
            Seconds since the epoch.

        Returns
        -------
        int
            The number of frames that were not in the catalogue.

        Raises
        ------
        InputError
            A value does not fit the catalogue; nothing is recorded.
        """

        def work(connection: Connection) -> int:
            found = [one for member in reading.members for _, one in member.frames]
            unavailable = _without_file(connection, [one.id for one in found])
            changes = _record_frames(connection, found, now)
            _record_members(connection, root, reading, size, mtime_ns, ctime_ns, now)
            touch_groups(connection, changes.groups)
            changes.cameras |= _forget_dead_jobs(connection, unavailable - changes.new)
            bump_cameras(connection, changes.cameras)
            return len(changes.new)

        try:
            return self.write(work)
        except (DataError, OverflowError) as error:
            reason = str(getattr(error, "orig", error)).splitlines()[0]
            raise InputError(f"a value does not fit the catalogue: {reason}") from None

    def mark_absent(self, root: str, relative_paths: Iterable[str]) -> None:
        """Note that these paths are gone; what was read from them stays known."""
        self._mark(root, relative_paths, present=False)

    def mark_present(self, root: str, relative_paths: Iterable[str]) -> None:
        """Note that these paths are back as they were (a share mounted again); jobs that died for want of them may run."""
        self._mark(root, relative_paths, present=True)

    def _mark(self, root: str, relative_paths: Iterable[str], *, present: bool) -> None:
        paths = list(relative_paths)

        def work(connection: Connection) -> None:
            for some in chunks(paths):
                here = and_(files.c.root == root, files.c.relative_path.in_(some))
                if present:
                    held = select(file_frames.c.frame).join(files).where(here)
                    lost = _without_file(connection, connection.execute(held).scalars())
                    bump_cameras(connection, _forget_dead_jobs(connection, lost))
                # Members stay absent that went before the archive itself did: they have no frame any more.
                linked = files.c.id.in_(select(file_frames.c.file))
                back = or_(files.c.member == "", linked) if present else files.c.present
                connection.execute(update(files).where(here, back).values(present=present))

        if paths:
            self.write(work)


@dataclass
class _Changes:
    """What a reading changed."""

    new: set[str] = field(default_factory=set)
    cameras: set[str] = field(default_factory=set)
    groups: set[str | None] = field(default_factory=set)


def _record_frames(connection: Connection, found: Iterable[Frame], now: float) -> _Changes:
    """Insert frames that are not known, improve those that are."""
    changes = _Changes()
    # In one order, so that two writers never wait for each other.
    for frame in sorted({one.id: one for one in found}.values(), key=lambda one: one.id):
        row = frame_to_row(frame)
        if insert_new(connection, frames, {**row, "first_seen": now}, "id"):
            changes.new.add(frame.id)
            changes.cameras.add(row["camera"])
            changes.groups |= {frame.obs_id, frame.session_id}
        else:
            _improve_frame(connection, row, changes)
    return changes


def _improve_frame(connection: Connection, row: Mapping[str, Any], changes: _Changes) -> None:
    """Overwrite a known frame's values where the new reading takes precedence.

    A newer version of the same profile always does; otherwise the reading that says more, so that the order in which
    two copies arrive does not matter.
    """
    same_profile = frames.c.profile == row["profile"]
    newer = and_(same_profile, frames.c.profile_version < row["profile_version"])
    older = and_(same_profile, frames.c.profile_version > row["profile_version"])
    prevails = or_(newer, and_(~older, frames.c.precedence < row["precedence"]))
    held = select(frames.c.camera, frames.c.obs_id, frames.c.session_id).where(frames.c.id == row["id"], prevails)
    before = connection.execute(held.with_for_update()).first()
    if before is None:
        return
    connection.execute(update(frames).where(frames.c.id == row["id"]).values(**row))
    changes.cameras |= {before.camera, row["camera"]}
    changes.groups |= {before.obs_id, before.session_id, row["obs_id"], row["session_id"]}


def _record_members(
    connection: Connection,
    root: str,
    reading: FileReading,
    size: int,
    mtime_ns: int,
    ctime_ns: int | None,
    now: float,
) -> None:
    here = and_(files.c.root == root, files.c.relative_path == reading.relative_path)
    known = {row.member: row for row in connection.execute(select(files).where(here))}
    for member in reading.members:
        before = known.pop(member.member, None)
        row = _file_row(root, reading.relative_path, member, mtime_ns)
        row["ctime_ns"] = ctime_ns
        if member.member == "":
            row["size"] = size
        arrived = before.first_seen if before is not None and before.sha256 == member.sha256 else now
        upsert(connection, files, ("root", "relative_path", "member"), {**row, "first_seen": arrived})
        file_id = connection.execute(select(files.c.id).where(here, files.c.member == member.member)).scalar_one()
        _link(connection, file_id, {hdu: frame.id for hdu, frame in member.frames})
    for gone in known.values():  # members an archive no longer has
        connection.execute(update(files).where(files.c.id == gone.id).values(present=False))
        _link(connection, gone.id, {})


def _file_row(root: str, relative_path: str, member: MemberReading, mtime_ns: int) -> dict[str, Any]:
    return {
        "root": root,
        "relative_path": relative_path,
        "member": member.member,
        "name": PurePosixPath(member.member or relative_path).name,
        "sha256": member.sha256,
        "size": member.size,
        "mtime_ns": mtime_ns,
        "present": True,
        "status": str(member.status),
        "reason": member.reason,
    }


def _link(connection: Connection, file_id: int, by_hdu: Mapping[int, str]) -> None:
    """Make these, and no others, the frames of a file."""
    held = select(file_frames.c.hdu, file_frames.c.frame).where(file_frames.c.file == file_id)
    before = {row.hdu: row.frame for row in connection.execute(held)}
    stale = [hdu for hdu, frame in before.items() if by_hdu.get(hdu) != frame]
    for some in chunks(stale):
        connection.execute(delete(file_frames).where(file_frames.c.file == file_id, file_frames.c.hdu.in_(some)))
    rows = [{"file": file_id, "hdu": hdu, "frame": frame} for hdu, frame in by_hdu.items() if before.get(hdu) != frame]
    upsert(connection, file_frames, ("file", "hdu"), rows)


def _without_file(connection: Connection, frame_ids: Iterable[str]) -> set[str]:
    """Those of the frames that no present file holds."""
    wanted = set(frame_ids)
    for some in chunks(sorted(wanted)):
        held = select(file_frames.c.frame).join(files).where(files.c.present, file_frames.c.frame.in_(some))
        wanted -= set(connection.execute(held).scalars())
    return wanted


def _forget_dead_jobs(connection: Connection, frame_ids: Iterable[str]) -> set[str]:
    """Drop the dead jobs that read frames whose files are back; returns the cameras to plan again."""
    found: set[str] = set()
    for some in chunks(sorted(frame_ids)):
        readers = select(job_inputs.c.job).where(job_inputs.c.id.in_(some), job_inputs.c.origin == "frame")
        dead = delete(jobs).where(jobs.c.state == JobState.DEAD, jobs.c.id.in_(readers)).returning(jobs.c.camera)
        found |= set(connection.execute(dead).scalars())
    return found
