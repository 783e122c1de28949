"""Completion: which observations and calibration sessions are open, and what a closure closed."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any

from sqlalchemy import Connection, and_, delete, exists, func, or_, select

from avcd.catalog.among import among
from avcd.catalog.facts import facts_changed
from avcd.catalog.models import closures, file_frames, files, flags, frames, touched
from avcd.catalog.session import Database, chunks, fetch, insert_new
from avcd.frame import Closure, FrameStatus, ImageType
from avcd.work import Group

RAW_CALIBRATIONS = tuple(str(one) for one in ImageType if one.is_raw_calibration)


class Closures(Database):
    """The part of the catalogue that says what is complete."""

    def open_groups(self) -> list[Group]:
        """The observations and sessions whose usable members differ from those of their last closure.

        Usable are the frames that are read, not rejected and not avcd's own products. A group all of whose frames were
        rejected after its closure is open too, without members.
        """
        with self.read() as connection:
            subjects = sorted(connection.execute(select(touched.c.subject)).scalars())
            return [group for some in chunks(subjects) for group in _open_among(connection, some)]

    def close_group(self, subject: str, members: Iterable[str], rule: str, now: float) -> Closure:
        """Declare a group complete with these members; with the members it was closed with last, nothing happens.

        Returns
        -------
        Closure
            The one that holds now.
        """
        wanted = tuple(sorted(set(members)))

        def work(connection: Connection) -> Closure:
            version = connection.execute(
                select(touched.c.version).where(touched.c.subject == subject).with_for_update()
            ).scalar()
            last = last_closures(connection, [subject]).get(subject)
            if last is None or last.members != wanted:
                revision = 1 if last is None else last.revision + 1
                row = {"subject": subject, "revision": revision, "rule": rule, "closed_at": now}
                if not insert_new(connection, closures, {**row, "members": list(wanted)}, "subject"):
                    # Somebody else closed it at this very moment; theirs holds.
                    return last_closures(connection, [subject])[subject]
                last = Closure(subject, wanted, rule, revision)
                mine = or_(frames.c.obs_id == subject, frames.c.session_id == subject)
                of_group = connection.execute(select(frames.c.camera).where(mine).distinct()).scalars()
                facts_changed(connection, [(camera, subject) for camera in of_group])
            members_now = tuple(sorted(one["id"] for one in _members(connection, [subject])))
            if members_now == wanted:
                same = and_(touched.c.subject == subject, touched.c.version == version)
                connection.execute(delete(touched).where(same))
            return last

        return self.write(work)


def last_closures(connection: Connection, subjects: Iterable[str]) -> dict[str, Closure]:
    """The closure that holds for each of the subjects that has one."""
    found: dict[str, Closure] = {}
    for some in chunks(sorted(subjects)):
        newest = (
            select(closures.c.subject, func.max(closures.c.revision).label("revision"))
            .where(among(closures.c.subject, some))
            .group_by(closures.c.subject)
            .subquery()
        )
        holds = and_(closures.c.subject == newest.c.subject, closures.c.revision == newest.c.revision)
        for row in connection.execute(select(closures).join(newest, holds)):
            found[row.subject] = Closure(row.subject, tuple(row.members), row.rule, row.revision)
    return found


def open_subjects(connection: Connection) -> set[str]:
    """The subjects of the open groups."""
    subjects = sorted(connection.execute(select(touched.c.subject)).scalars())
    return {group.subject for some in chunks(subjects) for group in _open_among(connection, some)}


def _open_among(connection: Connection, subjects: list[str]) -> list[Group]:
    rows: dict[str, list[Mapping[str, Any]]] = {one: [] for one in subjects}
    for row in _members(connection, subjects):
        rows[row["subject"]].append(row)
    before = last_closures(connection, subjects)
    places = _places(connection, subjects)
    found = []
    for subject in subjects:
        members = tuple(sorted(row["id"] for row in rows[subject]))
        closure = before.get(subject)
        if members == (closure.members if closure else ()):
            continue
        found.append(_group(subject, members, rows[subject], places.get(subject, set()), closure))
    return found


def _subject() -> Any:
    return func.coalesce(frames.c.obs_id, frames.c.session_id)


def usable_members() -> Any:
    """The condition under which a frame counts as a member of its group."""
    rejected = exists().where(flags.c.subject == frames.c.id, flags.c.active, flags.c.kind == "reject")
    science = and_(frames.c.obs_id.is_not(None), frames.c.image_type == ImageType.SCIENCE)
    calibration = and_(frames.c.obs_id.is_(None), frames.c.image_type.in_(RAW_CALIBRATIONS))
    return and_(frames.c.status == FrameStatus.OK, frames.c.product_id.is_(None), or_(science, calibration), ~rejected)


def _members(connection: Connection, subjects: list[str]) -> list[dict[str, Any]]:
    names = ("id", "obs_id", "filter", "exposure_s", "t_min", "night", "night_rule", "first_seen", "sequence_total")
    columns = [frames.c[name] for name in (*names, "site_longitude_deg")]
    of_group = or_(frames.c.obs_id.in_(subjects), frames.c.session_id.in_(subjects))
    wanted = select(_subject().label("subject"), *columns).where(of_group, usable_members())
    return [row for row in fetch(connection, wanted.order_by(frames.c.id)) if row["subject"] in set(subjects)]


def _places(connection: Connection, subjects: list[str]) -> dict[str, set[tuple[str, str]]]:
    """(root, directory) of the members' files, by subject."""
    of_group = or_(frames.c.obs_id.in_(subjects), frames.c.session_id.in_(subjects))
    wanted = (
        select(_subject(), files.c.root, files.c.relative_path)
        .join(file_frames, file_frames.c.frame == frames.c.id)
        .join(files, files.c.id == file_frames.c.file)
        .where(of_group, usable_members(), files.c.present)
    )
    found: dict[str, set[tuple[str, str]]] = {}
    for subject, root, relative_path in connection.execute(wanted):
        found.setdefault(subject, set()).add((root, str(PurePosixPath(relative_path).parent)))
    return found


def _group(
    subject: str,
    members: tuple[str, ...],
    rows: list[Mapping[str, Any]],
    places: set[tuple[str, str]],
    closure: Closure | None,
) -> Group:
    starts = sorted(row["t_min"] for row in rows if row["t_min"] is not None)
    gaps = [86400.0 * (after - before) for before, after in itertools.pairwise(starts)]
    first = rows[0] if rows else {}
    longitudes = [row["site_longitude_deg"] for row in rows if row["site_longitude_deg"] is not None]
    return Group(
        subject=subject,
        is_observation=any(row["obs_id"] is not None for row in rows),
        members=members,
        night=first.get("night"),
        night_rule=first.get("night_rule"),
        newest_arrival=max((row["first_seen"] for row in rows), default=0.0),
        longest_exposure_s=max((row["exposure_s"] or 0.0 for row in rows), default=0.0),
        cadence_s=statistics.median(gaps) if gaps else 0.0,
        sequence_total=_sequence_total(rows),
        roots=tuple(sorted(places)),
        site_longitude_deg=longitudes[0] if longitudes else None,
        closure=closure,
    )


def _sequence_total(rows: list[Mapping[str, Any]]) -> int | None:
    """How many frames the group is to have: its filters' sequences together; None unless every frame says so."""
    totals: dict[str | None, int] = {}
    for row in rows:
        if row["sequence_total"] is None:
            return None
        totals[row["filter"]] = max(totals.get(row["filter"], 0), row["sequence_total"])
    return sum(totals.values()) if totals else None
