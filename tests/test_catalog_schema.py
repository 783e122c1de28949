"""The catalogue's versions, and what a database that is missing, damaged, full or busy is called."""

import sqlite3
import threading

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import event, inspect

from avcd.catalog import Catalog
from avcd.catalog.bulk import insert_many
from avcd.catalog.models import frames, metadata
from avcd.catalog.rows import frame_to_row
from avcd.catalog.session import _alembic, _versions
from avcd.errors import ConfigError, DatabaseBusyError, StorageError
from catalogue import CAMERA, make_frame, record


def test_the_migrations_make_exactly_the_models(catalog):
    def difference(connection):
        # The index into the header's JSON is PostgreSQL's alone.
        options = {
            "include_object": lambda one, name, *_: connection.dialect.name != "sqlite" or name != "ix_frame_header"
        }
        return compare_metadata(MigrationContext.configure(connection, opts=options), metadata)

    assert catalog.write(difference) == []


def test_down_and_up_again(catalog):
    catalog.write(lambda connection: command.downgrade(_alembic(connection), "base"))
    with catalog.read() as connection:
        assert set(inspect(connection).get_table_names()) <= {"alembic_version"}
    with pytest.raises(ConfigError, match="run: avcd db upgrade"):
        catalog.check()
    catalog.upgrade()
    catalog.check()
    record(catalog, make_frame("a"))
    assert len(list(catalog.frames())) == 1


def test_the_versions_are_those_that_alembic_knows_in_its_order(catalog):
    with catalog.read() as connection:
        script = ScriptDirectory.from_config(_alembic(connection))
        assert _versions() == [one.revision for one in script.walk_revisions()][::-1]
        assert catalog.version() == (script.get_current_head(), script.get_current_head())


def test_upgrading_twice_changes_nothing(catalog):
    record(catalog, make_frame("a"))
    catalog.upgrade()
    assert len(list(catalog.frames())) == 1
    version, head = catalog.version()
    assert version == head


def test_a_catalogue_of_a_newer_avcd_is_left_alone(catalog):
    _, head = catalog.version()
    catalog.write(lambda connection: connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'"))
    for call in (catalog.check, catalog.upgrade):
        with pytest.raises(ConfigError, match="newer avcd"):
            call()
    # The server's one catalogue is emptied for the next test, not made again.
    catalog.write(lambda connection: connection.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{head}'"))


def test_two_upgrades_at_once_make_one_catalogue(tmp_path):
    url = f"sqlite:///{tmp_path / 'sub' / 'catalogue.sqlite'}"
    errors: list[BaseException] = []
    barrier = threading.Barrier(3)

    def upgrade() -> None:
        catalog = Catalog(url)
        barrier.wait(10)
        try:
            catalog.upgrade()
            catalog.check()
        except BaseException as error:
            errors.append(error)
        finally:
            catalog.close()

    threads = [threading.Thread(target=upgrade) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert errors == []


def test_asking_whether_there_is_a_catalogue_makes_none(tmp_path):
    path = tmp_path / "catalogue.sqlite"
    catalog = Catalog(f"sqlite:///{path}")
    with pytest.raises(ConfigError, match="there is no catalogue"):
        catalog.check()
    assert not path.exists()


def test_an_empty_database_is_no_catalogue(tmp_path):
    catalog = Catalog(f"sqlite:///{tmp_path / 'catalogue.sqlite'}")
    with pytest.raises(ConfigError, match="run: avcd db upgrade"):
        catalog.cameras()
    catalog.close()


def test_a_file_that_is_no_database(tmp_path):
    path = tmp_path / "catalogue.sqlite"
    path.write_bytes(b"SIMPLE  =                    T" * 200)
    catalog = Catalog(f"sqlite:///{path}")
    with pytest.raises(ConfigError, match="no catalogue, or damaged"):
        catalog.check()
    catalog.close()


def test_a_directory_that_is_gone_may_come_back(tmp_path):
    catalog = Catalog(f"sqlite:///{tmp_path / 'gone' / 'catalogue.sqlite'}")
    with pytest.raises(StorageError):
        catalog.cameras()
    catalog.close()


def test_a_busy_database_is_worth_another_try(tmp_path, sqlite_template, monkeypatch):
    monkeypatch.setattr("avcd.catalog.session._BUSY_MS", 1)
    path = tmp_path / "catalogue.sqlite"
    path.write_bytes(sqlite_template.read_bytes())
    catalog = Catalog(f"sqlite:///{path}")
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    assert catalog.cameras() == [], "reading goes on while somebody writes"
    with pytest.raises(DatabaseBusyError):
        record(catalog, make_frame("a"))
    holder.execute("ROLLBACK")
    holder.close()
    record(catalog, make_frame("a"))
    assert catalog.cameras() == ["T20/CCD"]
    catalog.close()


def test_a_full_disk_is_a_storage_error_and_loses_nothing(tmp_path, sqlite_template):
    path = tmp_path / "catalogue.sqlite"
    path.write_bytes(sqlite_template.read_bytes())
    catalog = Catalog(f"sqlite:///{path}")
    with catalog.engine.connect() as connection:
        connection.exec_driver_sql(
            f"PRAGMA max_page_count = {connection.exec_driver_sql('PRAGMA page_count').scalar()}"
        )
    frames = [make_frame(f"{number}") for number in range(100)]
    with pytest.raises(StorageError, match="full"):
        record(catalog, *frames)
    with catalog.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1000000")
    record(catalog, *frames)
    assert len(list(catalog.frames())) == len(list(catalog.files())) == 100
    catalog.close()


def test_a_server_that_is_not_there_may_come_back(tmp_path):
    catalog = Catalog(f"postgresql://somebody:secret@/avcd?host={tmp_path}")
    with pytest.raises(DatabaseBusyError) as caught:
        catalog.cameras()
    assert "secret" not in str(caught.value)
    catalog.close()


def test_a_deadlock_is_tried_again(emptied_postgresql):
    """Two transactions that lock two rows crosswise: the server ends one, and both are done in the end."""
    catalog = Catalog(emptied_postgresql())
    record(catalog, make_frame("a"), make_frame("b", telescope="T5"))
    barrier = threading.Barrier(2)
    tries: list[str] = []

    def crosswise(*names: str) -> None:
        def work(connection):
            tries.append(names[0])
            for name in names:
                connection.exec_driver_sql("UPDATE camera SET revision = revision + 10 WHERE name = %s", (name,))
                if len(tries) <= 2 and name == names[0]:
                    barrier.wait(10)

        catalog.write(work)

    threads = [
        threading.Thread(target=crosswise, args=("T20/CCD", "T5/CCD")),
        threading.Thread(target=crosswise, args=("T5/CCD", "T20/CCD")),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(tries) >= 3  # the loser tries again, and may lose once more
    assert catalog.revision("T20/CCD") == catalog.revision("T5/CCD") == 21
    catalog.close()


def test_a_group_is_found_by_its_own_index_however_few_frames_have_one(tmp_path):
    """SQLite's samples once made it look through all frames of a camera for the few of a session."""
    catalog = Catalog(f"sqlite:///{tmp_path / 'catalogue.sqlite'}")
    catalog.upgrade()
    rows = [
        {**frame_to_row(make_frame(f"f{number}", obs_id=None)), "id": f"{number:064x}", "first_seen": 0.0}
        for number in range(3000)
    ]
    catalog.write(lambda connection: insert_many(connection, frames, rows))
    catalog.analyse()
    said: list[str] = []

    def explain(connection, _cursor, statement, parameters, *_):
        if statement.startswith("SELECT") and "FROM frame" in statement:
            found = connection.connection.cursor().execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            said.extend(row[3] for row in found)

    event.listen(catalog.engine, "before_cursor_execute", explain)
    assert catalog.snapshot(CAMERA, frozenset({"some-session"})).frames == ()
    catalog.close()
    assert any("ix_frame_session_id" in one for one in said)
    assert not any("ix_frame_camera" in one for one in said)
