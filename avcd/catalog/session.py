"""The connection to the database: transactions, the differences between SQLite and PostgreSQL, the schema's version."""

from __future__ import annotations

import functools
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, Executable, Table, create_engine, event, inspect, make_url, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError, DisconnectionError, NoSuchModuleError
from sqlalchemy.pool import ConnectionPoolEntry

from avcd.catalog.bulk import execute_many
from avcd.catalog.cone import teach_sqlite
from avcd.catalog.types import to_json
from avcd.errors import AvcdError, ConfigError, DatabaseBusyError, StorageError
from avcd.resources import shipped

T = TypeVar("T")
_BUSY_MS = 30_000
_RETRIES = 5  # of a transaction that another one of the same moment made impossible
_CHUNK = 2_000  # values in one IN (…): far below either database's limit
_WRITE = "avcd_write"
_TRUSTED_S = 1.0  # since a connection answered
_JOURNAL_WAITS_S = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_ANALYSIS = ("PRAGMA analysis_limit=1000", "ANALYZE")


class Database:
    """An engine with the two kinds of transaction that the catalogue knows.

    Parameters
    ----------
    url
        SQLAlchemy URL of a SQLite file or of a PostgreSQL database.

    Raises
    ------
    ConfigError
        The URL is neither, or the driver is not installed.
    """

    def __init__(self, url: str) -> None:
        try:
            parsed = make_url(url)
        except ArgumentError:
            raise ConfigError(
                "database url: not a database URL; sqlite:///FILE or postgresql://USER@HOST/NAME"
            ) from None
        backend = parsed.get_backend_name()
        if backend in ("postgres", "postgresql"):
            parsed = parsed.set(drivername="postgresql+psycopg")
        elif backend != "sqlite" or not parsed.database or parsed.database == ":memory:":
            raise ConfigError(f"database url: {backend!r} is no SQLite file and no PostgreSQL database")
        self.url = parsed
        self._where = parsed.render_as_string(hide_password=True)
        try:
            self._engine = _make_engine(parsed)
        except (ModuleNotFoundError, NoSuchModuleError) as error:
            raise ConfigError(f"{error}: install PostgreSQL's driver with: pip install 'avcd[postgresql]'") from None

    @property
    def engine(self) -> Engine:
        """The engine, for tests and migrations."""
        return self._engine

    def close(self) -> None:
        """Give every connection back."""
        self._engine.dispose()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one state of the database throughout."""
        with translated_errors(self._where), self._engine.connect() as connection:
            if connection.dialect.name == "postgresql":
                connection = connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            with connection.begin():
                yield connection

    def write(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` in one transaction that is written whole or not at all.

        ``work`` is run again when PostgreSQL ended it for a deadlock, so it must do nothing but database work.
        """
        for attempt in range(_RETRIES):
            try:
                with translated_errors(self._where):
                    return self._write_once(work)
            except DatabaseBusyError as error:
                if attempt == _RETRIES - 1 or not _was_rolled_back(error):
                    raise
        raise AssertionError("unreachable")

    def _write_once(self, work: Callable[[Connection], T]) -> T:
        with self._engine.connect() as connection:
            connection = connection.execution_options(**{_WRITE: True})
            with connection.begin():
                return work(connection)

    def upgrade(self) -> None:
        """Create the tables, or bring them to this version.

        Raises
        ------
        ConfigError
            The catalogue was made by a newer avcd.
        """
        if self.url.get_backend_name() == "sqlite":
            Path(str(self.url.database)).parent.mkdir(parents=True, exist_ok=True)

        def work(connection: Connection) -> None:
            _version_of(connection)
            _migrate(connection)

        self.write(work)

    def version(self) -> tuple[str | None, str]:
        """The catalogue's version (None: no tables) and the one this avcd needs.

        Raises
        ------
        ConfigError
            The catalogue was made by a newer avcd.
        """
        database = self.url.database
        if self.url.get_backend_name() == "sqlite" and not Path(str(database)).is_file():
            return None, _versions()[-1]
        with self.read() as connection:
            return _version_of(connection), _versions()[-1]

    def damage(self) -> str:
        """What is wrong with a SQLite file, as SQLite's own check says; empty where nothing is. PostgreSQL looks after itself."""
        if self.url.get_backend_name() != "sqlite":
            return ""
        with self.read() as connection:
            found = [str(one) for one in connection.execute(text("PRAGMA quick_check(3)")).scalars()]
        return "" if found == ["ok"] else "; ".join(" ".join(one.split()) for one in found)

    def analyse(self) -> None:
        """Let SQLite look at samples of its indexes, milliseconds, so that it chooses the right one; PostgreSQL does so itself."""
        if self.url.get_backend_name() == "sqlite":

            def work(connection: Connection) -> None:
                for one in _ANALYSIS:
                    connection.exec_driver_sql(one).close()

            self.write(work)

    def check(self) -> None:
        """Make sure that the tables are those of this version.

        Raises
        ------
        ConfigError
            They are not; the message says what to do.
        """
        version, head = self.version()
        if version is None:
            raise ConfigError(f"there is no catalogue at {self.url.render_as_string()}; run: avcd db upgrade")
        if version != head:
            raise ConfigError(f"the catalogue is of version {version}, avcd needs {head}; run: avcd db upgrade")


def _versions() -> list[str]:
    """The versions of the tables that this avcd knows, the newest last: each is a migration's file."""
    # Alembic knows them, too; but to start it takes longer than most commands do.
    return sorted(one.name.partition("_")[0] for one in shipped("db/versions").glob("[0-9]*.py"))


def _version_of(connection: Connection) -> str | None:
    """The catalogue's version, None without tables.

    Raises
    ------
    ConfigError
        It was made by a newer avcd.
    """
    if not inspect(connection).has_table("alembic_version"):
        return None
    version = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    if version is not None and version not in _versions():
        raise ConfigError(f"the catalogue is of version {version}, which this avcd does not know; use a newer avcd")
    return version


def _migrate(connection: Connection) -> None:
    from alembic import command

    command.upgrade(_alembic(connection), "head")


def _alembic(connection: Connection) -> Any:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(shipped("db")).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _make_engine(url: Any) -> Engine:
    if url.get_backend_name() == "postgresql":
        engine = create_engine(url, json_serializer=to_json)
        _ping_after_a_pause(engine)
        return engine
    options = {"timeout": _BUSY_MS / 1000, "check_same_thread": False}
    engine = create_engine(url, connect_args=options, json_serializer=to_json)

    @event.listens_for(engine, "connect")
    def _configure(connection: sqlite3.Connection, _record: Any) -> None:
        # Python's own transaction control begins too late and ends too early; see "begin" below.
        connection.isolation_level = None
        for pragma in (f"busy_timeout={_BUSY_MS}", "foreign_keys=ON", "synchronous=FULL"):
            connection.execute(f"PRAGMA {pragma}").close()
        _set_journal(connection)
        teach_sqlite(connection)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A writer takes its lock at once: one that reads first could find the database changed under it, and fail.
        writes = connection.get_execution_options().get(_WRITE)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _ping_after_a_pause(engine: Engine) -> None:
    """Have a connection tried before it is used again, unless it was in use a moment ago: asking takes as long as reading."""

    @event.listens_for(engine, "checkin")
    def _used(_connection: Any, record: ConnectionPoolEntry) -> None:
        record.info["used"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def _try(connection: Any, record: ConnectionPoolEntry, _proxy: Any) -> None:
        if time.monotonic() - record.info.get("used", 0.0) < _TRUSTED_S:
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            raise DisconnectionError(str(error)) from error  # another one is made


def _set_journal(connection: sqlite3.Connection) -> None:
    """Write-ahead logging. SQLite does not wait for others when it changes the journal, whatever its timeout."""
    for wait_s in (*_JOURNAL_WAITS_S, None):
        try:
            connection.execute("PRAGMA journal_mode=WAL").close()
            return
        except sqlite3.OperationalError as error:
            if wait_s is None or not error.sqlite_errorname.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
                raise
            time.sleep(wait_s)


def _sqlite_error(original: sqlite3.Error, where: str) -> AvcdError | None:
    name = getattr(original, "sqlite_errorname", "")
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return DatabaseBusyError(f"{where}: {original}")
    if name.startswith(("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_READONLY", "SQLITE_CANTOPEN")):
        return StorageError(f"{where}: {original}")
    if name.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
        return ConfigError(f"{where} is no catalogue, or damaged: {original}")
    return ConfigError(f"{where}: {original}; run: avcd db upgrade") if "no such table" in str(original) else None


def _postgresql_error(original: Any, where: str) -> AvcdError | None:
    state = getattr(original, "sqlstate", None) or ""
    first = (str(original).strip() or type(original).__name__).splitlines()[0]
    if state == "42P01":
        return ConfigError(f"{where}: {first}; run: avcd db upgrade")
    if state[:2] == "28" or state == "3D000":
        return ConfigError(f"{where}: {first}")
    if state == "53100":
        return StorageError(f"{where}: {first}")
    if state[:2] in ("08", "40", "53", "57") or state == "55P03":
        return DatabaseBusyError(f"{where}: {first}")
    # The server cannot be reached, or went away: there is no answer to take a state from.
    return (
        DatabaseBusyError(f"{where}: {first}") if not state and type(original).__name__ == "OperationalError" else None
    )


@contextmanager
def translated_errors(where: str) -> Iterator[None]:
    """Raise what a database reports as avcd's own errors, which say whether to try again."""
    try:
        yield
    except DBAPIError as error:
        original: Any = error.orig
        found = (
            _sqlite_error(original, where)
            if isinstance(original, sqlite3.Error)
            else _postgresql_error(original, where)
        )
        if found is None:
            raise
        raise found from error


def _was_rolled_back(error: DatabaseBusyError) -> bool:
    cause = error.__cause__
    state = getattr(getattr(cause, "orig", None), "sqlstate", None)
    return state in ("40001", "40P01")


def insert_ignoring(connection: Connection, table: Table, rows: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> int:
    """Insert rows; those that exist already, by any constraint, stay as they are. Returns how many were inserted."""
    if not rows:
        return 0
    many = [rows] if isinstance(rows, Mapping) else rows
    return execute_many(connection, table, _inserting_new(connection.dialect.name, table, None), many, apart=True)


def insert_new(connection: Connection, table: Table, row: Mapping[str, Any], column: str) -> bool:
    """Insert one row unless it exists; returns whether it was inserted. ``column`` is any that is never NULL."""
    return connection.execute(_inserting_new(connection.dialect.name, table, column), row).first() is not None


def upsert(
    connection: Connection,
    table: Table,
    key: Iterable[str],
    rows: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    keep: Iterable[str] = (),
) -> None:
    """Insert rows, or overwrite those of the same ``key``; columns in ``keep`` are written on insertion only."""
    if not rows:
        return
    many = [rows] if isinstance(rows, Mapping) else rows
    names = tuple(key)
    statement = _upserting(connection.dialect.name, table, names, tuple(many[0]), frozenset(keep))
    apart = len({tuple(row[name] for name in names) for row in many}) == len(many)
    execute_many(connection, table, statement, many, apart=apart)


# Building these statements costs more than running them, and ingestion runs them for every file.
@functools.cache
def _inserting_new(dialect: str, table: Table, returning: str | None) -> Any:
    statement = _insert(dialect, table).on_conflict_do_nothing()
    return statement if returning is None else statement.returning(table.c[returning])


@functools.cache
def _upserting(dialect: str, table: Table, key: tuple[str, ...], names: tuple[str, ...], keep: frozenset[str]) -> Any:
    statement = _insert(dialect, table)
    new = {name: statement.excluded[name] for name in names if name not in key and name not in keep}
    return statement.on_conflict_do_update(index_elements=[table.c[name] for name in key], set_=new)


def _insert(dialect: str, table: Table) -> Any:
    return postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)


def chunks(values: Iterable[T], size: int = _CHUNK) -> Iterator[list[T]]:
    """``values`` in lists of at most ``size``."""
    found: list[T] = []
    for one in values:
        found.append(one)
        if len(found) == size:
            yield found
            found = []
    if found:
        yield found


def fetch(
    connection: Connection, statement: Executable, parameters: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """All rows of a statement as dictionaries."""
    found = connection.execute(statement, parameters)
    names = tuple(found.keys())
    return [dict(zip(names, row, strict=True)) for row in found]


def fetch_first(connection: Connection, statement: Executable) -> dict[str, Any] | None:
    """The first row of a statement as a dictionary, None without any."""
    row = connection.execute(statement).mappings().first()
    return None if row is None else dict(row)
