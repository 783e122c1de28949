"""A catalogue moved from one database to another, whole or not at all, and held against the original."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, func, insert, inspect, select, text
from sqlalchemy.exc import DataError

from avcd.catalog.models import metadata
from avcd.catalog.session import Database, translated_errors
from avcd.catalog.types import is_indexed_json
from avcd.errors import ConfigError, StorageError, UsageError

_BATCH = 500  # rows; a frame's are some ten kilobytes each
_WHOLE = 2**53  # up to here every whole number is a float
_WRAP = 2**256


@dataclass(frozen=True, slots=True)
class TableCopy:
    """One table on both sides.

    Attributes
    ----------
    table
        Its name.
    rows, copied
        How many there are in the original and in the copy.
    digest, copied_digest
        The sum of the SHA-256 of every row, in hexadecimal digits: the same in whatever order the rows come, and on
        either database.
    """

    table: str
    rows: int
    copied: int
    digest: str
    copied_digest: str


class Contents:
    """Counts rows and adds up what they hold."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._loose = [is_indexed_json(column.type) for column in table.columns]
        self.rows = 0
        self._sum = 0

    def add(self, row: Iterable[Any]) -> None:
        """Count one row, its values in the order of the table's columns."""
        values = [_same_number(value) if loose else value for value, loose in zip(row, self._loose, strict=True)]
        # SQLite knows no negative zero.
        plain = [value + 0.0 if isinstance(value, float) else value for value in values]
        content = json.dumps(plain, sort_keys=True, separators=(",", ":"))
        self._sum += int.from_bytes(hashlib.sha256(content.encode()).digest())
        self.rows += 1

    @property
    def digest(self) -> str:
        """64 hexadecimal digits."""
        return f"{self._sum % _WRAP:064x}"


def copy_catalog(source: Database, target: Database) -> list[TableCopy]:
    """Copy every table into an empty database, in one transaction, and compare what is there then.

    The tables of the target are made where there are none. Rows go over some hundreds at a time.

    Raises
    ------
    ConfigError
        The source is no catalogue of this version, the target is not empty, or a value does not fit it.
    StorageError
        What was written does not read the same; nothing was copied.
    """
    source.check()
    if _exists(target):
        with target.read() as connection:
            _refuse_full(target, connection)
    target.upgrade()

    def work(writer: Connection) -> list[TableCopy]:
        _refuse_full(target, writer)
        with source.read() as reader:
            return [_copy_table(reader, writer, table) for table in metadata.sorted_tables]

    try:
        copied = target.write(work)
    except (DataError, OverflowError) as error:
        reason = str(getattr(error, "orig", error)).splitlines()[0]
        raise ConfigError(f"{_name(target)}: a value does not fit: {reason}; nothing was copied") from None
    target.analyse()
    return copied


def _exists(database: Database) -> bool:
    return database.url.get_backend_name() != "sqlite" or Path(str(database.url.database)).is_file()


def _name(database: Database) -> str:
    return database.url.render_as_string(hide_password=True)


def _refuse_full(target: Database, connection: Connection) -> None:
    there = set(inspect(connection).get_table_names())
    full = [
        table.name
        for table in metadata.sorted_tables
        if table.name in there and connection.execute(select(text("1")).select_from(table).limit(1)).first()
    ]
    if full:
        raise ConfigError(
            f"{_name(target)} is not empty (it has rows in {', '.join(full)}); name a database without a catalogue: "
            "a new file, or one made with createdb"
        )


def _copy_table(reader: Connection, writer: Connection, table: Table) -> TableCopy:
    original = Contents(table)
    names = [column.name for column in table.columns]
    for some in _batches(reader, table):
        for row in some:
            original.add(row)
        writer.execute(insert(table), [dict(zip(names, row, strict=True)) for row in some])
    _count_on(writer, table)
    copy = Contents(table)
    for some in _batches(writer, table):
        for row in some:
            copy.add(row)
    if (copy.rows, copy.digest) != (original.rows, original.digest):
        raise StorageError(
            f"table {table.name} does not read as it was written ({original.rows} rows, {copy.rows} copied); "
            "nothing was copied"
        )
    return TableCopy(table.name, original.rows, copy.rows, original.digest, copy.digest)


def _batches(connection: Connection, table: Table) -> Iterator[list[Any]]:
    with connection.execute(select(table).execution_options(yield_per=_BATCH)) as found:
        for some in found.partitions():
            yield list(some)


def _count_on(connection: Connection, table: Table) -> None:
    """Let PostgreSQL number the next row after the last one copied; SQLite does so by itself."""
    column = table.autoincrement_column
    if connection.dialect.name != "postgresql" or column is None:
        return
    last = select(func.coalesce(func.max(column), 0) + 1).scalar_subquery()
    sequence = func.pg_get_serial_sequence(f'"{table.name}"', column.name)
    connection.execute(select(func.setval(sequence, last, False)))


def _same_number(value: Any) -> Any:
    """JSON as PostgreSQL's index reads it: 1e20 and 100000000000000000000 are one number."""
    if isinstance(value, dict):
        return {key: _same_number(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_same_number(one) for one in value]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return value
    try:
        number = float(value)
    except OverflowError:
        return value
    return int(number) if number.is_integer() and abs(number) <= _WHOLE else number


def backup_catalog(database: Database, path: Path) -> int:
    """Copy a SQLite catalogue to a file, of one moment, while others go on working with it; returns its size [bytes].

    The copy is checked and stands under its name whole or not at all.

    Raises
    ------
    UsageError
        The catalogue is on PostgreSQL, or ``path`` is there already, or its directory is not.
    StorageError
        The disk is full, or the copy is damaged.
    """
    if database.url.get_backend_name() != "sqlite":
        raise UsageError(
            f"{_name(database)} is on PostgreSQL, whose own tools back it up: pg_dump --format=custom; "
            "or copy it to a file with: avcd db copy sqlite:///FILE"
        )
    if path.exists():
        raise UsageError(f"{path} is there already; name a file that is not, or remove it first")
    if not path.parent.is_dir():
        raise UsageError(f"{path.parent} is no directory; make it first")
    database.check()
    partial = path.with_name(f".{path.name}.part")
    try:
        _copy_file(database, partial)
        partial.rename(path)
        return path.stat().st_size
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror}") from None
    except sqlite3.Error as error:
        raise StorageError(f"{path} cannot be written: {error}") from None
    finally:
        partial.unlink(missing_ok=True)


def _copy_file(database: Database, partial: Path) -> None:
    partial.unlink(missing_ok=True)
    with closing(sqlite3.connect(partial)) as copy:
        with translated_errors(_name(database)), database.engine.connect() as connection:
            original: Any = connection.connection.driver_connection
            original.backup(copy)
        # One file that needs no others beside it, wherever it is carried.
        copy.execute("PRAGMA journal_mode=DELETE").close()
        found = [str(one) for (one,) in copy.execute("PRAGMA quick_check(3)")]
    if found != ["ok"]:
        raise StorageError(f"the copy is damaged: {'; '.join(found)}; see: avcd doctor")
    with partial.open("rb") as stream:
        os.fsync(stream.fileno())
