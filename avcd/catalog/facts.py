"""What follows from every change of a fact: the camera's revision goes up, the group may be open again."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, select, update
from sqlalchemy.dialects import postgresql, sqlite

from avcd.catalog.models import cameras, touched
from avcd.catalog.session import insert_ignoring


def bump_cameras(connection: Connection, names: Iterable[str]) -> None:
    """Raise the revision of every camera named, so that it is planned again."""
    # In one order, so that two writers never wait for each other.
    for name in sorted(set(names)):
        insert_ignoring(connection, cameras, {"name": name, "revision": 0})
        connection.execute(update(cameras).where(cameras.c.name == name).values(revision=cameras.c.revision + 1))


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
    insert = (postgresql if connection.dialect.name == "postgresql" else sqlite).insert
    statement = insert(touched)
    # Counted, not only noted: a closure made meanwhile from the members before must not wipe this out.
    counted = statement.on_conflict_do_update(
        index_elements=[touched.c.subject], set_={"version": touched.c.version + 1}
    )
    rows = [{"subject": subject, "version": 1} for subject in sorted({one for one in subjects if one is not None})]
    if rows:
        connection.execute(counted, rows)
