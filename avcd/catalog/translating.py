"""Frames translated again from their stored cards: after a profile changed, or an observer corrected a value."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, and_, delete, exists, or_, select, true, update
from sqlalchemy.dialects import postgresql, sqlite

from avcd.catalog.among import among
from avcd.catalog.facts import facts_changed, group_of, touch_groups
from avcd.catalog.inputs import links_of
from avcd.catalog.models import corrections, file_frames, files, frames, outdated, translations
from avcd.catalog.rows import FRAME_FIELDS, cards_from_json, frame_to_row
from avcd.catalog.session import Database, chunks, fetch, upsert
from avcd.catalog.types import from_json
from avcd.errors import HeaderError
from avcd.frame import Frame, ImageType
from avcd.headers.again import Translator, hdu_again
from avcd.headers.corrections import Correction

log = logging.getLogger("avcd.catalog")
_WRITTEN = (*(name for name in FRAME_FIELDS if name != "id"), "camera", "precedence", "read_root", "read_path")


class Translating(Database):
    """The part of the catalogue that brings frames' values up to date without their files."""

    def outdate(self, translator: Translator, *, everything: bool = False) -> int:
        """Note the frames to translate again, because a profile changed since; returns how many are new.

        What the frames of each drop directory were translated by is written down, so that the next call finds nothing.

        Parameters
        ----------
        everything
            All frames of the home's drop directories, whether or not a profile changed.
        """

        def work(connection: Connection) -> int:
            before = {row.root: row.digests for row in connection.execute(select(translations))}
            count = 0
            for root in sorted(translator.drops):
                digests = translator.digests(root)
                changed = true() if everything else _changed(before.get(root), digests)
                if changed is not None:
                    count += _note(connection, and_(_of_root(root), changed))
                if before.get(root) != digests:
                    upsert(connection, translations, ("root",), {"root": root, "digests": digests})
            return count

        return self.write(work)

    def translate_outdated(self, translator: Translator, limit: int = 200) -> tuple[int, int]:
        """Translate some of the frames that were noted; returns how many, and how many of them came out otherwise."""
        mine = or_(frames.c.read_root.in_(sorted(translator.drops)), frames.c.read_root.is_(None))
        noted = select(outdated.c.frame).join(frames).where(mine).order_by(outdated.c.frame).limit(limit)
        with self.read() as connection:
            ids = list(connection.execute(noted).scalars())

        def work(connection: Connection) -> int:
            _, changed = translate_frames(connection, ids, translator)
            connection.execute(delete(outdated).where(among(outdated.c.frame, ids)))
            return changed

        return (len(ids), self.write(work)) if ids else (0, 0)


def translate_frames(
    connection: Connection, ids: Iterable[str], translator: Translator
) -> tuple[dict[str, Frame], int]:
    """Bring frames' values to what follows from their cards, names and corrections; the header stays as it is.

    Returns
    -------
    found, changed
        What each frame is now, and of how many of them a value changed.
    """
    found: dict[str, Frame] = {}
    planned: set[tuple[str, str]] = set()
    groups: set[str | None] = set()
    changed = 0
    columns = [frames.c[name] for name in ("id", *_WRITTEN, "cards")]
    for some in chunks(sorted(ids), 200):
        held = select(*columns).where(among(frames.c.id, some)).order_by(frames.c.id).with_for_update()
        rows = fetch(connection, held)
        corrected = active_corrections(connection, some)
        unplaced = links_of(connection, [row["id"] for row in rows if row["read_path"] is None])
        for row in rows:
            places = [(row["read_root"], row["read_path"])]
            if row["read_path"] is None:
                places = [(one["root"], _joined(one)) for one in unplaced.get(row["id"], [])] or [("", "")]
            try:
                frame, values = _translated(row, places, translator, corrected.get(row["id"], {}))
            except HeaderError as error:
                log.warning("frame %s stays as it was: %s", row["id"][:12], error)
                continue
            found[row["id"]] = frame
            different = {name: values[name] for name in _WRITTEN if values[name] != row[name]}
            if not different:
                continue
            connection.execute(update(frames).where(frames.c.id == row["id"]).values(**different))
            if different.keys() <= {"read_root", "read_path", "precedence"}:
                continue
            changed += 1
            for one in (row, values):
                planned.add(group_of(one))
                groups |= {one["obs_id"], one["session_id"]}
    touch_groups(connection, groups)
    facts_changed(connection, planned)
    return found, changed


def _joined(link: Mapping[str, Any]) -> str:
    return f"{link['relative_path']}/{link['member']}" if link["member"] else str(link["relative_path"])


def _translated(
    row: Mapping[str, Any],
    places: Iterable[tuple[str, str]],
    translator: Translator,
    corrected: Mapping[str, Correction],
) -> tuple[Frame, dict[str, Any]]:
    """A frame and its columns; of several names the one that says most counts, as when files are read."""
    hdu = hdu_again(
        row["id"],
        row["pixel_sha256"],
        cards_from_json(row["cards"]),
        (row["naxis2"], row["naxis1"]),
        row["warnings"],
        is_table=row["image_type"] == ImageType.TABLE,
        detector=row["detector"],
        exposure_id=row["exposure_id"],
    )
    tries = [(translator.translate(hdu, *place), place) for place in places]
    rows = [frame_to_row(base) for base, _ in tries]
    best = max(range(len(rows)), key=lambda number: str(rows[number]["precedence"]))
    base, (root, path) = tries[best]
    frame = translator.correct(hdu, root, path, base, corrected)
    # Two readings are compared by what they say themselves, without corrections.
    values = {name: from_json(value) for name, value in frame_to_row(frame).items()}
    values["precedence"] = rows[best]["precedence"]
    return frame, {**values, "read_root": root or None, "read_path": path or None}


def active_corrections(connection: Connection, ids: Iterable[str]) -> dict[str, dict[str, Correction]]:
    """The corrections that hold, by frame and name."""
    found: dict[str, dict[str, Correction]] = {}
    for some in chunks(sorted(ids)):
        holding = select(corrections).where(corrections.c.active, among(corrections.c.frame, some))
        for row in connection.execute(holding.order_by(corrections.c.id)):
            found.setdefault(row.frame, {})[row.name] = Correction(row.value, row.who)
    return found


def note_outdated(connection: Connection, id: str) -> None:
    """Have one frame translated again."""
    _note(connection, frames.c.id == id)


def _note(connection: Connection, condition: Any) -> int:
    insert = (postgresql if connection.dialect.name == "postgresql" else sqlite).insert
    chosen = select(frames.c.id).where(condition)
    statement = insert(outdated).from_select(["frame"], chosen).on_conflict_do_nothing()
    return connection.execute(statement, execution_options={"preserve_rowcount": True}).rowcount


def _of_root(root: str) -> Any:
    linked = exists().where(file_frames.c.frame == frames.c.id, file_frames.c.file == files.c.id, files.c.root == root)
    return or_(frames.c.read_root == root, and_(frames.c.read_root.is_(None), linked))


def _changed(before: Mapping[str, str] | None, digests: Mapping[str, str]) -> Any:
    """The condition under which a frame is out of date; None where none is."""
    if before == digests:
        return None
    if before is None or before.get("") != digests[""]:
        return true()
    changed = sorted(name for name in {*before, *digests} if before.get(name) != digests.get(name))
    return frames.c.profile.in_(changed)
