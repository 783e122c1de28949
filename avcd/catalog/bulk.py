"""Many rows through one statement: what SQLAlchemy would send, without most of its work for every row."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import JSON, Connection, Table, insert
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeEngine

from avcd.catalog.types import JsonText, ManyTexts

_Row = Mapping[str, Any]
_AS_IT_IS = frozenset({JsonText, type(None)})
_Storing = Callable[[Sequence[_Row]], list[Sequence[Any]]]


def insert_many(connection: Connection, table: Table, rows: Sequence[_Row]) -> None:
    """Insert rows, all with the same columns."""
    execute_many(connection, table, _inserting(table), rows, apart=True)


def execute_many(
    connection: Connection, table: Table, statement: Any, rows: Sequence[_Row], *, apart: bool = False
) -> int:
    """Execute an insertion for each row; returns how many rows it inserted or changed.

    Parameters
    ----------
    table
        Into which it inserts; its columns' types say how values are stored.
    statement
        An insertion without values of its own; always the same object, because what is worked out of it is kept.
    rows
        Values by column, all with the same columns.
    apart
        Whether no two of the rows are one in the table, so that all may go with one statement.
    """
    if not rows:
        return 0
    dialect, columns = connection.dialect, tuple(rows[0])
    if apart and len(rows) > 1 and dialect.name == "postgresql":
        sql, stored = _unnesting(dialect, table, statement, columns)
        if sql:
            return connection.exec_driver_sql(sql, tuple([list(one) for one in stored(rows)])).rowcount
    sql, names, stored = _prepared(dialect, table, statement, columns)
    found: Any = list(zip(*stored(rows), strict=True))
    if names:
        found = [dict(zip(names, row, strict=True)) for row in found]
    return connection.exec_driver_sql(sql, found).rowcount


@functools.cache
def _inserting(table: Table) -> Any:
    return insert(table)


@functools.lru_cache(maxsize=64)
def _unnesting(dialect: Dialect, table: Table, statement: Any, columns: tuple[str, ...]) -> tuple[str, _Storing]:
    """One statement for all rows, column by column, which PostgreSQL takes in a fifth of the time; and what makes the columns.

    "" for a table that has defaults of its own for columns that are not given.
    """
    compiled = statement.compile(dialect=dialect, column_keys=list(columns))
    if compiled.insert_prefetch:
        return "", lambda _: []
    write = dialect.identifier_preparer
    arrays = ", ".join(_array_of(table.c[name].type.compile(dialect=dialect)) for name in columns)
    names = ", ".join(write.quote(name) for name in columns)
    _, conflict, then = str(compiled).partition(" ON CONFLICT ")
    sql = f"INSERT INTO {write.format_table(table)} ({names}) SELECT * FROM unnest({arrays}){conflict}{then}"
    return sql, _storing(dialect, table, columns, {})


def _array_of(type_: str) -> str:
    """The placeholder of one column's values; texts go in binary form: in the other, each of their quotes is escaped."""
    if type_ in ("TEXT", "JSON", "JSONB"):
        return "%b::text[]" + ("" if type_ == "TEXT" else f"::{type_}[]")
    return f"%s::{type_}[]"


def _storing(dialect: Dialect, table: Table, names: Sequence[str], defaults: _Row) -> _Storing:
    """What makes of rows their columns, as they are stored."""
    given = tuple([name for name in names if name not in defaults])
    # Row by row, each as it lies in memory, and then turned.
    values = operator.itemgetter(*given) if len(given) > 1 else lambda row: (row[given[0]],)
    order = [given.index(name) if name in given else -1 for name in names]
    constants = [defaults.get(name) for name in names]
    each = [_stored_column(table.c[name].type, dialect) for name in names]
    single = [table.c[name].type.dialect_impl(dialect).bind_processor(dialect) for name in names]

    def stored(rows: Sequence[_Row]) -> list[Sequence[Any]]:
        if len(rows) == 1:  # which a column each would take longer
            row = rows[0]
            alone = [row[name] if name in row else defaults[name] for name in names]
            return [(one if store is None else store(one),) for one, store in zip(alone, single, strict=True)]
        found = list(zip(*map(values, rows), strict=True))
        whole = [
            (constant,) * len(rows) if one < 0 else found[one] for one, constant in zip(order, constants, strict=True)
        ]
        return [one if store is None else store(one) for one, store in zip(whole, each, strict=True)]

    return stored


def _stored_column(kind: TypeEngine[Any], dialect: Dialect) -> Callable[[Sequence[Any]], Sequence[Any]] | None:
    """What makes of a column's values what is stored; None: nothing does."""
    if isinstance(kind, ManyTexts):
        return kind.many_stored
    process: Callable[[Any], Any] | None = kind.dialect_impl(dialect).bind_processor(dialect)
    if process is None:
        return None

    def stored(values: Sequence[Any]) -> Sequence[Any]:
        if isinstance(kind, JSON) and _AS_IT_IS.issuperset(map(type, values)):
            return values  # a driver takes it, but not beside what is made of others
        return list(map(process, values))

    return stored


@functools.lru_cache(maxsize=256)
def _prepared(
    dialect: Dialect, table: Table, statement: Any, columns: tuple[str, ...]
) -> tuple[str, tuple[str, ...], _Storing]:
    """The statement as the driver takes it, the columns' names where it takes them by name, and what makes the columns."""
    compiled = statement.compile(dialect=dialect, column_keys=list(columns))
    defaults = {one.name: one.default.arg for one in compiled.insert_prefetch}
    names = tuple(compiled.positiontup) if compiled.positional else (*columns, *defaults)
    return str(compiled), () if compiled.positional else names, _storing(dialect, table, names, defaults)
