"""Filters and order of lists: parsed once, then turned into conditions on one table."""

from __future__ import annotations

import datetime
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import JSON, Connection, String, Table, func, or_, select

from avcd.catalog.cone import parse_cone, within
from avcd.catalog.models import file_frames, files, frames, jobs, products
from avcd.catalog.where import parse_where
from avcd.errors import UsageError
from avcd.frame import FrameStatus, ImageType, JobState, ProductKind, ProductStatus

NAMES = ("telescope", "night", "target", "filter", "type", "status", "since", "until", "cone", "where", "sort", "limit")
_MJD_OF_1970 = 40587.0
_OF_FRAMES = ("telescope", "night", "target", "filter", "type", "since", "until", "cone", "where")
_GROUP_KEYS = ("id", "telescope", "target_name", "night", "state", "revision", "fwhm_px", "fwhm_arcsec")
_PAGE = 500  # rows of a list at a time
# What comes after the wanted column, so that the order is complete.
_TIES = {
    "frame": ("id",),
    "file": ("root", "relative_path", "member"),
    "product": ("kind", "path", "id"),
    "job": ("id",),
}
_SPELLINGS = {"path": "relative_path", "target": "target_name", "type": "image_type"}


@dataclass(frozen=True)
class Filters:
    """The filters of one list."""

    wanted: Mapping[str, Any]
    sort: str
    descending: bool
    limit: int | None

    @classmethod
    def parse(cls, filters: Mapping[str, Any], default_sort: str) -> Filters:
        """Filters from keyword arguments; None is none.

        Raises
        ------
        UsageError
            A name or a value is not known.
        """
        given = {name: value for name, value in filters.items() if value is not None}
        unknown = sorted(set(given) - set(NAMES))
        if unknown:
            raise UsageError(f"no filter is named {', '.join(unknown)}; there are {', '.join(NAMES)}")
        _refuse_misspelt(given)
        sort = str(given.pop("sort", default_sort))
        limit = given.pop("limit", None)
        if limit is not None and int(limit) < 0:
            raise UsageError("limit: not below 0")
        return cls(given, sort.lstrip("-"), sort.startswith("-"), None if limit is None else int(limit))

    def values(self, name: str) -> list[str] | None:
        """The values wanted of one filter; None for all."""
        value = self.wanted.get(name)
        if value is None:
            return None
        if isinstance(value, str):
            # Targets may have commas in their names.
            return [value] if name == "target" else [one.strip() for one in value.split(",") if one.strip()]
        return [str(one) for one in value] if isinstance(value, Iterable) else [str(value)]

    @property
    def downwards_by_id(self) -> bool:
        """Whether the list is wanted by id, from the last to the first."""
        return self.sort == "id" and self.descending

    def arranged(self, rows: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Rows made in Python (observations, nights), which come by id: by state, in order, at most ``limit``.

        By id they are handed on one by one; for any other order all of them are held.
        """
        if self.sort not in _GROUP_KEYS:
            raise UsageError(f"cannot sort by {self.sort}; there are {', '.join(_GROUP_KEYS)}")
        states = self.values("status")
        found = (row for row in rows if states is None or row["state"] in states)
        if self.sort == "id":
            return itertools.islice(found, self.limit)
        held = list(found)
        known = [row for row in held if row[self.sort] is not None]
        known.sort(key=lambda row: row[self.sort], reverse=self.descending)
        return itertools.islice(itertools.chain(known, (row for row in held if row[self.sort] is None)), self.limit)


_GONE = "gone"  # of files that were there once
_TYPES = frozenset(str(one) for kind in (ImageType, ProductKind) for one in kind)
_STATES = frozenset(str(one) for kind in (FrameStatus, ProductStatus, JobState) for one in kind) | {
    "open",
    "closed",
    _GONE,
}


def _refuse_misspelt(given: Mapping[str, Any]) -> None:
    """A word that no frame, product or job can ever have is a slip of the fingers, not an empty list."""
    for name, known in (("type", _TYPES), ("status", _STATES)):
        value = given.get(name, ())
        words = value.split(",") if isinstance(value, str) else value
        wrong = [str(one).strip() for one in words if str(one).strip() not in known]
        if wrong:
            raise UsageError(f"{name}: there is no {', '.join(wrong)}; there are {', '.join(sorted(known))}")
    night = given.get("night", ())
    for one in night.split(",") if isinstance(night, str) else night:
        try:
            datetime.date.fromisoformat(str(one).strip())
        except ValueError:
            raise UsageError(f"night: {one!r} is no date such as 2026-01-15") from None


def ordered_ids(connection: Connection, table: Table, chosen: Filters) -> Iterator[list[Any]]:
    """The ids of the rows that pass, in order, some hundreds at a time: those of a whole catalogue are too many to hold.

    Unknown values come last on either database, whichever the direction.
    """
    conditions = {"frame": frame_conditions, "file": _file_conditions}.get(table.name)
    where = conditions(connection, chosen) if conditions else _made_conditions(connection, table, chosen)
    statement = select(table.c.id).where(*where)
    if table.name == "frame" and chosen.values("status"):
        statement = statement.where(table.c.status.in_(chosen.values("status") or []))
    column = _sort_column(table, chosen.sort)
    first = bytewise(connection, column)
    statement = statement.order_by((first.desc() if chosen.descending else first.asc()).nulls_last())
    for name in _TIES[table.name]:
        statement = statement.order_by(bytewise(connection, table.c[name]))
    if chosen.limit is not None:
        statement = statement.limit(chosen.limit)
    with connection.execute(statement.execution_options(yield_per=_PAGE)) as found:
        for some in found.scalars().partitions():
            yield list(some)


def _sort_column(table: Table, name: str) -> Any:
    spelled = name if name in table.c else _SPELLINGS.get(name, name)
    if name == "type" and "kind" in table.c:
        spelled = "kind"
    if name == "status" and table is jobs:
        spelled = "state"
    if spelled not in table.c or isinstance(table.c[spelled].type, JSON):
        raise UsageError(f"cannot sort by {name}")
    return table.c[spelled]


def bytewise(connection: Connection, column: Any) -> Any:
    """A column in an order that no server's language changes."""
    is_text = isinstance(getattr(column.type, "impl", column.type), String)
    return column.collate("C") if is_text and connection.dialect.name == "postgresql" else column


def frame_conditions(connection: Connection, chosen: Filters) -> list[Any]:
    """The conditions on frames, less that on their status."""
    columns = {"telescope": frames.c.telescope, "target": frames.c.target_name, "type": frames.c.image_type}
    found = _common_conditions(connection, chosen, {**columns, "night": frames.c.night, "filter": frames.c.filter})
    for name in ("since", "until"):
        bound = chosen.wanted.get(name)
        if bound is not None:
            found.append(_time_condition(name, str(bound), frames.c.night, frames.c.t_min))
    return found + _where(chosen, frames)


def _made_conditions(connection: Connection, table: Table, chosen: Filters) -> list[Any]:
    """The conditions on products or jobs."""
    status = table.c.status if table is products else table.c.state
    columns = {"telescope": table.c.telescope, "target": table.c.target_name, "type": table.c.kind, "status": status}
    found = _common_conditions(connection, chosen, {**columns, "night": table.c.night, "filter": table.c.filter})
    for name in ("since", "until"):
        bound = chosen.wanted.get(name)
        if bound is not None:
            found.append(_time_condition(name, str(bound), table.c.night, None))
    return found + _where(chosen, table)


def _where(chosen: Filters, table: Table) -> list[Any]:
    found = []
    text, cone = chosen.wanted.get("where"), chosen.wanted.get("cone")
    if cone is not None:
        if "s_ra" not in table.c:
            raise UsageError("--cone: these have no place on the sky; frames and products have")
        found.append(within(parse_cone(str(cone)), table.c.s_ra, table.c.s_dec))
    if text is not None:
        found.append(parse_where(str(text), table))
    return found


def _file_conditions(connection: Connection, chosen: Filters) -> list[Any]:
    found: list[Any] = []
    wanted = chosen.values("status")
    if wanted is not None:
        found.append(
            or_(files.c.status.in_(wanted), ~files.c.present) if _GONE in wanted else files.c.status.in_(wanted)
        )
    if any(chosen.wanted.get(name) is not None for name in _OF_FRAMES):
        held = select(file_frames.c.file).join(frames, frames.c.id == file_frames.c.frame)
        found.append(files.c.id.in_(held.where(*frame_conditions(connection, chosen))))
    return found


def _common_conditions(connection: Connection, chosen: Filters, columns: Mapping[str, Any]) -> list[Any]:
    found = []
    for name, column in columns.items():
        values = chosen.values(name)
        if values is None:
            continue
        if name == "target":  # "M42" is also M 42
            plain = [re.sub(r"\s+", "", one).lower() for one in values]
            found.append(_spelled(connection, column, _squeezed, plain))
        elif name == "telescope":
            found.append(_spelled(connection, column, func.lower, [one.lower() for one in values]))
        else:  # the case of a filter's name counts: r and R are two filters
            found.append(column.in_(values))
    return found


def _squeezed(column: Any) -> Any:
    return func.replace(func.lower(column), " ", "")


def _spelled(connection: Connection, column: Any, plainly: Callable[[Any], Any], wanted: list[str]) -> Any:
    """The condition that a column's value is wanted, however it is spelt.

    A condition on what a function makes of a column is computed for every row. Frames may be many, so for them each
    distinct value is looked at once, through its index, and those that fit stand in the condition as they are.
    """
    if column.table is not frames:
        return plainly(column).in_(wanted)
    names = select(func.min(column).label("name")).cte(f"every_{column.name}", recursive=True)
    following = select(func.min(column)).where(column > names.c.name).scalar_subquery()
    names = names.union_all(select(following).where(names.c.name.is_not(None)))
    return column.in_(connection.execute(select(names.c.name).where(plainly(names.c.name).in_(wanted))).scalars().all())


def _time_condition(name: str, bound: str, night: Any, t_min: Any) -> Any:
    """A date is a night, both ends included; a time is the start of an exposure, the end excluded."""
    try:
        if re.fullmatch(r"\d{4}-\d\d-\d\d", bound):
            datetime.date.fromisoformat(bound)
            return night >= bound if name == "since" else night <= bound
        moment = datetime.datetime.fromisoformat(bound)
    except ValueError:
        raise UsageError(f"{name}: {bound!r} is neither a date (2026-01-15) nor a time (2026-01-15T21:30)") from None
    if t_min is None:
        raise UsageError(f"{name}: {bound!r}: these are dated by night only (2026-01-15)")
    utc = moment.replace(tzinfo=datetime.UTC) if moment.tzinfo is None else moment
    mjd = utc.timestamp() / 86400.0 + _MJD_OF_1970
    return t_min >= mjd if name == "since" else t_min < mjd
