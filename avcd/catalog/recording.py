"""What was read becomes rows: many files in one transaction, each of them whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import Connection, and_, delete, or_, select, update
from sqlalchemy.exc import DataError

from avcd.catalog.among import among
from avcd.catalog.facts import facts_changed, group_of, touch_groups
from avcd.catalog.models import file_frames, files, frames, job_inputs, jobs
from avcd.catalog.rows import frames_to_rows
from avcd.catalog.session import Database, chunks, insert_ignoring, upsert
from avcd.catalog.translating import active_corrections, note_outdated
from avcd.errors import InputError
from avcd.frame import FileReading, JobState, MemberReading

_Path = tuple[str, str]  # relative path, member


class FoundFile(NamedTuple):
    """One path as it was read, in the form of rows: quick to hand from one process to another.

    Attributes
    ----------
    relative_path
        Below the drop directory.
    members
        Rows of the file itself and of its members, less what only the catalogue knows.
    frames
        Rows of the frames in it.
    links
        (member, HDU, frame's id).
    """

    relative_path: str
    members: tuple[Mapping[str, Any], ...]
    frames: tuple[Mapping[str, Any], ...]
    links: tuple[tuple[str, int, str], ...]


def found_file(reading: FileReading, size: int, mtime_ns: int, ctime_ns: int | None = None) -> FoundFile:
    """A reading as rows.

    Parameters
    ----------
    size, mtime_ns, ctime_ns
        Of the file itself, as they were while it was read.
    """
    return found_files([(reading, size, mtime_ns, ctime_ns)])[0]


def found_files(read: Sequence[tuple[FileReading, int, int, int | None]]) -> list[FoundFile]:
    """As `found_file`, for many at a time, which is quicker."""
    within = [
        [(one.member, hdu, frame) for one in reading.members for hdu, frame in one.frames] for reading, *_ in read
    ]
    rows = iter(frames_to_rows([frame for some in within for _, _, frame in some]))
    return [
        FoundFile(
            reading.relative_path,
            tuple([_member_row(reading.relative_path, one, size, mtime, ctime) for one in reading.members]),
            tuple([{**next(rows), "read_path": _joined(reading.relative_path, member)} for member, _, _ in some]),
            tuple([(member, hdu, frame.id) for member, hdu, frame in some]),
        )
        for (reading, size, mtime, ctime), some in zip(read, within, strict=True)
    ]


def _member_row(
    relative_path: str, one: MemberReading, size: int, mtime_ns: int, ctime_ns: int | None
) -> dict[str, Any]:
    return {
        "relative_path": relative_path, "member": one.member, "name": (one.member or relative_path).rpartition("/")[2],
        "sha256": one.sha256, "size": size if one.member == "" else one.size, "mtime_ns": mtime_ns, "ctime_ns": ctime_ns,
        "present": True, "status": str(one.status), "reason": one.reason,
    }  # fmt: skip


def _joined(relative_path: str, member: str) -> str:
    return f"{relative_path}/{member}" if member else relative_path


class Recording(Database):
    """The part of the catalogue that writes down what was read."""

    def record_reading(
        self, root: str, reading: FileReading, size: int, mtime_ns: int, now: float, *, ctime_ns: int | None = None
    ) -> int:
        """Record what was found at one path, as `record_files`; returns the number of new frames."""
        (new,) = self.record_files(root, [found_file(reading, size, mtime_ns, ctime_ns)], now)
        return new

    def record_files(self, root: str, found: Sequence[FoundFile], now: float) -> list[int]:
        """Record what was found at some paths, whole or not at all; the same again changes nothing.

        What a path held before, if it was something else, is no longer linked to it; its frames stay.

        Parameters
        ----------
        root
            Logical name of the drop directory.
        found
            No path twice.
        now
            Seconds since the epoch.

        Returns
        -------
        list of int
            For each path, the number of its frames that were not in the catalogue.

        Raises
        ------
        InputError
            A value does not fit the catalogue; nothing is recorded.
        """

        def work(connection: Connection) -> list[int]:
            changes = _record_frames(connection, root, found, now)
            _record_files(connection, root, found, now)
            touch_groups(connection, changes.groups)
            changes.planned |= forget_dead_jobs(connection, changes.returned)
            facts_changed(connection, changes.planned)
            counts = []
            for one in found:  # a frame that lies in two of the files is new in the first
                counts.append(len(changes.new & {row["id"] for row in one.frames}))
                changes.new -= {row["id"] for row in one.frames}
            return counts

        try:
            return self.write(work)
        except (DataError, OverflowError) as error:
            reason = str(getattr(error, "orig", error)).splitlines()[0]
            raise InputError(f"a value does not fit the catalogue: {reason}") from None


@dataclass
class _Changes:
    """What readings changed."""

    new: set[str] = field(default_factory=set)
    returned: set[str] = field(default_factory=set)  # known frames of which no file was present
    planned: set[tuple[str, str]] = field(default_factory=set)  # (camera, subject) to plan again
    groups: set[str | None] = field(default_factory=set)

    def touch(self, row: Mapping[str, Any]) -> None:
        self.planned.add(group_of(row))
        self.groups |= {row["obs_id"], row["session_id"]}


def _record_frames(connection: Connection, root: str, found: Iterable[FoundFile], now: float) -> _Changes:
    """Insert frames that are not known, improve those that are."""
    changes = _Changes()
    # In one order, so that two writers never wait for each other.
    rows = sorted(({**row, "read_root": root} for one in found for row in one.frames), key=lambda row: str(row["id"]))
    known = _known_precedences(connection, {row["id"] for row in rows})
    changes.returned = without_file(connection, known)
    first: dict[str, dict[str, Any]] = {}
    again = []
    for row in rows:
        if row["id"] not in known and row["id"] not in first:
            first[row["id"]] = {**row, "first_seen": now}
            changes.touch(row)
        else:
            again.append(row)
    if first:
        done = insert_ignoring(connection, frames, list(first.values()))
        if done != len(first):  # another daemon was faster with some of them
            again += list(first.values())
    changes.new = set(first)
    for row in again:
        before = known.get(row["id"])
        if (
            before is None
            or before < (row["profile"], row["profile_version"], row["precedence"])
            or before[0] != row["profile"]
        ):
            _improve_frame(connection, row, changes)
    return changes


def _known_precedences(connection: Connection, ids: Iterable[str]) -> dict[str, tuple[str, int, str]]:
    """Of the frames that are in the catalogue: profile, its version, precedence."""
    columns = frames.c.id, frames.c.profile, frames.c.profile_version, frames.c.precedence
    found: dict[str, tuple[str, int, str]] = {}
    for some in chunks(sorted(ids)):
        for row in connection.execute(select(*columns).where(among(frames.c.id, some))):
            found[row[0]] = (row[1], row[2], row[3])
    return found


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
    before = connection.execute(held.with_for_update()).mappings().first()
    if before is None:
        return
    if active_corrections(connection, [row["id"]]):
        # What was corrected stays so: the frame is translated again with the name that says more.
        place = {name: row[name] for name in ("read_root", "read_path")}
        connection.execute(update(frames).where(frames.c.id == row["id"]).values(**place))
        note_outdated(connection, row["id"])
        return
    values = {name: value for name, value in row.items() if name != "first_seen"}
    connection.execute(update(frames).where(frames.c.id == row["id"]).values(**values))
    changes.touch(dict(before))
    changes.touch(row)


def _record_files(connection: Connection, root: str, found: Sequence[FoundFile], now: float) -> None:
    known = {(row.relative_path, row.member): row for row in _rows_at(connection, root, found)}
    rows = []
    for one in found:
        for member in one.members:
            before = known.get((one.relative_path, member["member"]))
            arrived = before.first_seen if before is not None and before.sha256 == member["sha256"] else now
            rows.append({"root": root, **member, "first_seen": arrived})
    upsert(connection, files, ("root", "relative_path", "member"), rows)
    numbers = {(row.relative_path, row.member): row.id for row in _rows_at(connection, root, found)}
    links: dict[int, dict[int, str]] = {}
    for one in found:
        for member_name, hdu, frame in one.links:
            links.setdefault(numbers[one.relative_path, member_name], {})[hdu] = frame
    there = {(row["relative_path"], row["member"]) for row in rows}
    gone = [row.id for path, row in known.items() if path not in there]  # members an archive no longer has
    for some in chunks(gone):
        connection.execute(update(files).where(among(files.c.id, some)).values(present=False))
    _link(connection, links, {row.id for row in known.values()})


def _rows_at(connection: Connection, root: str, found: Iterable[FoundFile]) -> Iterator[Any]:
    columns = files.c.id, files.c.relative_path, files.c.member, files.c.sha256, files.c.first_seen
    for some in chunks(sorted({one.relative_path for one in found})):
        here = select(*columns).where(files.c.root == root, among(files.c.relative_path, some))
        yield from connection.execute(here).all()


def _link(connection: Connection, links: Mapping[int, Mapping[int, str]], known: set[int]) -> None:
    """Make these, and no others, the frames of files; ``known`` are the files that may hold some already."""
    before: dict[tuple[int, int], str] = {}
    for some in chunks(sorted(known)):
        held = select(file_frames.c.file, file_frames.c.hdu, file_frames.c.frame).where(among(file_frames.c.file, some))
        before |= {(row.file, row.hdu): row.frame for row in connection.execute(held)}
    for (file, hdu), frame in before.items():
        if links.get(file, {}).get(hdu) != frame:
            connection.execute(delete(file_frames).where(file_frames.c.file == file, file_frames.c.hdu == hdu))
    rows = [
        {"file": file, "hdu": hdu, "frame": frame}
        for file, by_hdu in links.items()
        for hdu, frame in by_hdu.items()
        if before.get((file, hdu)) != frame
    ]
    upsert(connection, file_frames, ("file", "hdu"), rows)


def without_file(connection: Connection, frame_ids: Iterable[str]) -> set[str]:
    """Those of the frames that no present file holds."""
    wanted = set(frame_ids)
    for some in chunks(sorted(wanted)):
        held = select(file_frames.c.frame).join(files).where(files.c.present, among(file_frames.c.frame, some))
        wanted -= set(connection.execute(held).scalars())
    return wanted


def forget_dead_jobs(connection: Connection, frame_ids: Iterable[str]) -> set[tuple[str, str]]:
    """Drop the dead jobs that read frames whose files are back; returns the groups to plan again."""
    found: set[tuple[str, str]] = set()
    for some in chunks(sorted(frame_ids)):
        readers = select(job_inputs.c.job).where(among(job_inputs.c.id, some), job_inputs.c.origin == "frame")
        dead = delete(jobs).where(jobs.c.state == JobState.DEAD, jobs.c.id.in_(readers))
        gone = connection.execute(dead.returning(jobs.c.camera, jobs.c.subject))
        found |= {(row.camera, row.subject) for row in gone}
    return found
