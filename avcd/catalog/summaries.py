"""Observations and nights: frames counted by type and filter, exposures added up, the seeing, and what is complete.

Three queries however long the list is, one more for the closures of every some hundred rows; rows come one by one.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, CursorResult, Select, and_, func, literal_column, select

from avcd.catalog.among import among
from avcd.catalog.closures import RAW_CALIBRATIONS, open_subjects
from avcd.catalog.filters import Filters, bytewise, frame_conditions
from avcd.catalog.models import closures, flags, frames, metrics, product_inputs, products
from avcd.catalog.session import chunks, fetch
from avcd.frame import FrameStatus, ImageType, ProductKind, ProductStatus

Row = dict[str, Any]
SUMMARY_KEYS = (
    "id", "telescope", "target_name", "night", "frames", "exposure_s", "exposure_h", "fwhm_px", "fwhm_arcsec", "state",
    "closed_by", "revision",
)  # fmt: skip
_SEEING = ("fwhm_px", "fwhm_arcsec")
_NO_TELESCOPE = "unknown-telescope"
_PAGE = 1_000  # counts fetched at a time
_TOGETHER = 500  # groups whose closures are looked up at a time
# What takes no part in completion and needs none: it came finished.
_FINISHED = frozenset(str(one) for one in ImageType if one.is_master) | {str(ImageType.TABLE)}


def summaries(connection: Connection, chosen: Filters, *, of_nights: bool) -> Iterator[Row]:
    """One row for each night of a telescope, or for each observation, in the order of their ids.

    Rejected frames and avcd's own products do not count. The seeing is the median over the products reduced from the
    frames counted. A group is open until all in it that takes part in completion is closed; one with nothing but
    frames that came finished is closed by "delivered", one with frames of unknown type alone stays open.
    """
    identity = _night_id() if of_nights else frames.c.obs_id
    conditions = _counting(connection, chosen, frames.c.night if of_nights else frames.c.obs_id)
    counted = connection.execute(_counts(connection, chosen, identity, conditions))
    measured = connection.execute(_medians(connection, chosen, identity, conditions))
    medians = _Merged(itertools.groupby(_rows(measured), lambda row: str(row["identity"])), chosen.downwards_by_id)
    still_open = open_subjects(connection)
    with counted, measured:
        groups = (
            (key, list(rows)) for key, rows in itertools.groupby(_rows(counted), lambda row: str(row["identity"]))
        )
        for some in chunks(groups, _TOGETHER):
            closed = _closings(connection, sorted({one for _, rows in some for one in _subjects(rows)}))
            for key, rows in some:
                yield _summary(key, rows, medians.of(key), still_open, closed)


def _rows(found: CursorResult[Any]) -> Iterator[Row]:
    return (dict(row) for row in found.mappings())


def _night_id() -> ColumnElement[str]:
    named = func.coalesce(func.nullif(frames.c.telescope, literal_column("''")), literal_column(f"'{_NO_TELESCOPE}'"))
    return named.concat(literal_column("'/'")).concat(frames.c.night)


def _counting(connection: Connection, chosen: Filters, key: Any) -> ColumnElement[bool]:
    """The condition under which a frame is counted."""
    rejected = select(flags.c.subject).where(flags.c.active, flags.c.kind == "reject")
    return and_(
        *frame_conditions(connection, chosen),
        key.is_not(None),
        frames.c.id.not_in(rejected),
        frames.c.status == FrameStatus.OK,
        frames.c.product_id.is_(None),
    )


def _counts(
    connection: Connection, chosen: Filters, identity: ColumnElement[str], conditions: ColumnElement[bool]
) -> Select[Any]:
    alike = [frames.c[name] for name in ("telescope", "night", "target_name", "obs_id", "session_id", "image_type")]
    counted = (
        select(
            identity.label("identity"),
            *alike,
            frames.c.filter,
            func.count().label("count"),
            func.sum(frames.c.exposure_s).label("exposure_s"),
        )
        .where(conditions)
        .group_by(*alike, frames.c.filter)
    )
    return counted.order_by(_by_identity(connection, chosen, identity)).execution_options(yield_per=_PAGE)


def _medians(
    connection: Connection, chosen: Filters, identity: ColumnElement[str], conditions: ColumnElement[bool]
) -> Select[Any]:
    """The median of each figure of seeing over each group's reduced frames: neither database has both a name for it."""
    figures = (
        select(identity.label("identity"), metrics.c.name, metrics.c.number)
        .select_from(frames)
        .join(product_inputs, and_(product_inputs.c.id == frames.c.id, product_inputs.c.origin == "frame"))
        .join(products, products.c.id == product_inputs.c.product)
        .join(metrics, metrics.c.subject == products.c.id)
        .where(conditions, product_inputs.c.role == "raw", products.c.kind == ProductKind.REDUCED)
        .where(products.c.status.in_((ProductStatus.FINAL, ProductStatus.PROVISIONAL)))
        .where(metrics.c.name.in_(_SEEING), metrics.c.number.is_not(None))
        .subquery()
    )
    alike = [figures.c.identity, figures.c.name]
    rank = func.row_number().over(partition_by=alike, order_by=figures.c.number)
    ranked = select(*alike, figures.c.number, rank.label("rank"), func.count().over(partition_by=alike).label("count"))
    middle = ranked.subquery()
    found = (
        select(middle.c.identity, middle.c.name, func.avg(middle.c.number).label("number"))
        .where(2 * middle.c.rank >= middle.c.count, 2 * middle.c.rank <= middle.c.count + 2)
        .group_by(middle.c.identity, middle.c.name)
    )
    return found.order_by(_by_identity(connection, chosen, middle.c.identity)).execution_options(yield_per=_PAGE)


def _by_identity(connection: Connection, chosen: Filters, identity: ColumnElement[str]) -> Any:
    column = bytewise(connection, identity)
    return column.desc() if chosen.downwards_by_id else column.asc()


class _Merged:
    """The medians beside the counts: both come in one order, so that neither is held."""

    def __init__(self, groups: Iterator[tuple[str, Iterable[Mapping[str, Any]]]], descending: bool) -> None:
        self._groups = groups
        self._descending = descending
        self._key: str | None = None
        self._values: dict[str, float] = {}
        self._advance()

    def _advance(self) -> None:
        key, rows = next(self._groups, (None, ()))
        self._key, self._values = key, {row["name"]: round(row["number"], 3) for row in rows}

    def of(self, key: str) -> dict[str, float]:
        """The figures of a group; empty where none was measured."""
        while self._key is not None and self._key != key and (self._key < key) is not self._descending:
            self._advance()
        return self._values if self._key == key else {}


def _subject(row: Mapping[str, Any]) -> str | None:
    """The observation or session that a frame's completion belongs to."""
    if row["obs_id"] is not None:
        return row["obs_id"] if row["image_type"] == ImageType.SCIENCE else None
    return row["session_id"] if row["image_type"] in RAW_CALIBRATIONS else None


def _subjects(rows: Iterable[Mapping[str, Any]]) -> set[str]:
    return {subject for row in rows if (subject := _subject(row)) is not None}


def _summary(
    identity: str,
    rows: Sequence[Mapping[str, Any]],
    seeing: Mapping[str, float],
    still_open: set[str],
    closed: Mapping[str, Row],
) -> Row:
    counts: dict[str, dict[str, int]] = {}
    exposures: dict[str, float] = {}
    for row in sorted(rows, key=lambda one: (one["image_type"], one["filter"] or "")):
        name = row["filter"] or "none"
        of_type = counts.setdefault(row["image_type"], {})
        of_type[name] = of_type.get(name, 0) + row["count"]
        if row["image_type"] == ImageType.SCIENCE:
            exposures[name] = exposures.get(name, 0.0) + (row["exposure_s"] or 0.0)
    targets = sorted(
        {row["target_name"] for row in rows if row["image_type"] == ImageType.SCIENCE and row["target_name"]}
    )
    first = min(rows, key=lambda row: (row["telescope"] or "", row["night"] or ""))
    state, closed_by = _standing(rows, still_open, closed)
    return {
        "id": identity,
        "telescope": first["telescope"],
        "target_name": ", ".join(targets) or None,
        "night": first["night"],
        "frames": counts,
        "exposure_s": exposures,
        "exposure_h": {name: round(seconds / 3600.0, 4) for name, seconds in exposures.items()},
        **{name: seeing.get(name) for name in _SEEING},
        "state": state,
        "closed_by": closed_by,
        "revision": max((closed[one]["revision"] for one in _subjects(rows) if one in closed), default=0),
    }


def _standing(
    rows: Sequence[Mapping[str, Any]], still_open: set[str], closed: Mapping[str, Row]
) -> tuple[str, str | None]:
    """Open or closed, and by which rule it was closed last."""
    subjects = _subjects(rows)
    if not subjects:
        return ("closed", "delivered") if {row["image_type"] for row in rows} <= _FINISHED else ("open", None)
    if any(one in still_open or one not in closed for one in subjects):
        return "open", None
    return "closed", max((closed[one] for one in subjects), key=lambda one: (one["closed_at"], one["subject"]))["rule"]


def _closings(connection: Connection, subjects: list[str]) -> dict[str, Row]:
    columns = [closures.c[name] for name in ("subject", "revision", "rule", "closed_at")]
    found: dict[str, Row] = {}
    for some in chunks(subjects):
        of_subjects = select(*columns).where(among(closures.c.subject, some)).order_by(closures.c.revision)
        found |= {row["subject"]: row for row in fetch(connection, of_subjects)}
    return found
