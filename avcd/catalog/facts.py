"""What follows from every change of a fact: the group is planned again, and may be open again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table, select, update
from sqlalchemy.dialects import postgresql, sqlite

from avcd.catalog.models import cameras, touched, unplanned
from avcd.catalog.session import insert_ignoring

EVERYTHING = "*"  # the subject that stands for all of a camera


def group_of(row: Mapping[str, Any]) -> tuple[str, str]:
    """The camera and the subject that a frame's row is planned with."""
    return row["camera"], row["obs_id"] or row["session_id"] or ""


def facts_changed(connection: Connection, groups: Iterable[tuple[str, str]]) -> None:
    """Have groups planned again.

    Parameters
    ----------
    groups
        (camera, subject): an observation or session, "" for the camera's frames of neither, "*" for all it has.
    """
    changed = sorted(set(groups))  # in one order, so that two writers never wait for each other
    for name in sorted({camera for camera, _ in changed}):
        insert_ignoring(connection, cameras, {"name": name, "revision": 0})
        connection.execute(update(cameras).where(cameras.c.name == name).values(revision=cameras.c.revision + 1))
    _count(connection, unplanned, [{"camera": camera, "subject": subject} for camera, subject in changed])


def lock_camera(connection: Connection, name: str) -> int:
    """Hold a camera's row until the transaction ends, so that its jobs and products change one after the other.

    Without it, two transactions that each make one input of a job exist would both see the other's missing, and the
    job would wait for ever.

    Returns
    -------
    int
        The camera's revision; 0 when it has no facts.
    """
    held = select(cameras.c.revision).where(cameras.c.name == name).with_for_update()
    return connection.execute(held).scalar() or 0


def touch_groups(connection: Connection, subjects: Iterable[str | None]) -> None:
    """Note that the members of these groups changed."""
    _count(connection, touched, [{"subject": one} for one in sorted({one for one in subjects if one is not None})])


def _count(connection: Connection, table: Table, keys: Sequence[Mapping[str, Any]]) -> None:
    """Count a change of each key: what is made meanwhile from the facts before must not wipe the change out."""
    if not keys:
        return
    statement = (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(table)
    counted = statement.on_conflict_do_update(
        index_elements=[table.c[name] for name in keys[0]], set_={"version": table.c.version + 1}
    )
    connection.execute(counted, [{**key, "version": 1} for key in keys])
