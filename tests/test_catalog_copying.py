"""A catalogue moved to the other database and back: nothing lost, nothing changed, and the next row fits."""

from __future__ import annotations

import dataclasses
import shutil
import sqlite3
import tracemalloc

import pytest
from sqlalchemy import Connection, insert, select, text

from avcd.catalog import Catalog
from avcd.catalog.copying import Contents, backup_catalog, copy_catalog
from avcd.catalog.models import associations, candidates, files, frames, metadata, metrics, unplanned
from avcd.catalog.rows import frame_to_row
from avcd.daemon.lock import HomeLock
from avcd.errors import ConfigError, StorageError, UsageError
from avcd.frame import Card, ImageType, ProductKind
from avcd.headers.again import Translator
from avcd.headers.profiles import load_profiles
from catalogue import OBSERVATION, apply, digest, make_frame, make_reading, make_spec, of_frame, published, record
from cli_calls import Call
from homes import make_home, rows

# What databases are known to disagree on: huge and tiny numbers, -0, letters, NUL, bytes that are no text.
CARDS = (
    Card("HUGE", 1e25, ""), Card("WHOLE", 100000.0, ""), Card("BIG", 2**70 + 1, ""), Card("TINY", 1.7e-308, ""),
    Card("MINUS", -0.0, ""), Card("LOGICAL", True, "T"), Card("NOTHING", None, ""), Card("LETTERS", "ζ Orionis \U0001f52d", "é"),
    Card("NUL", "a\0b", ""), Card("THIRD", 1 / 3, ""), Card("COMMENT", "one"), Card("COMMENT", "two"),
)  # fmt: skip
LIGHT = make_frame("light", cards=CARDS, s_ra=-0.0, exposure_s=1 / 3, offset=5e-324, warnings=("Größe", "a\0b"))
BIAS = make_frame("bias", image_type=ImageType.BIAS, filter=None)


def fill(catalog: Catalog) -> None:
    """Rows in every table."""
    catalog.record_reading("drop", make_reading("a\udcff\n\\x.fits", LIGHT), 2**40, 2**62, 1e9 + 1 / 3)
    catalog.record_reading("drop", make_reading("b.zip", BIAS, member="in/é.fits"), 1, 1, 1000.0, ctime_ns=3)
    reduced = make_spec(ProductKind.REDUCED, "reduced", of_frame(LIGHT))
    apply(catalog, reduced, make_spec(ProductKind.MASTER_BIAS, "bias", of_frame(BIAS)))
    claim = catalog.claim_job("me", 60, 1.0)
    catalog.finish_job(claim, published(claim.spec, metrics={"fwhm_px": 2.5, "note": "ü", "nothing": None}), 2.0)
    catalog.claim_job("me", 60, 3.0)
    catalog.close_group(OBSERVATION, [LIGHT.id], "quiet", 5.0)
    catalog.flag(BIAS.id, "light leak", "Ann", 6.0)
    translator = Translator(load_profiles(), {"drop": (None, None)})
    catalog.correct([LIGHT.id], {"filter": "g"}, "the wheel stuck", "Ann", 7.0, translator)
    catalog.outdate(translator)
    camera = LIGHT.camera
    like = {"telescope": "T20", "t_min": 1 / 3}
    master = {"id": "m", "camera": camera, "subject": "s", "kind": "bias", "origin": "frame", "like": like}
    choice = {"id": LIGHT.id, "camera": camera, "subject": "o", "best": True, "missing": {"dark": "keiner für ζ"}}

    def derived(connection: Connection) -> None:
        connection.execute(insert(unplanned).values(camera=camera, subject="s", version=2))
        connection.execute(insert(candidates).values(**master))
        connection.execute(insert(associations).values(**choice))

    catalog.write(derived)


def new_catalog(template, path) -> Catalog:
    shutil.copyfile(template, path)
    return Catalog(f"sqlite:///{path}")


@pytest.fixture
def original(sqlite_template, tmp_path):
    catalog = new_catalog(sqlite_template, tmp_path / "original.sqlite")
    fill(catalog)
    yield catalog
    catalog.close()


@pytest.fixture
def server(emptied_postgresql):
    catalog = Catalog(emptied_postgresql())
    yield catalog
    catalog.close()


def everything(catalog: Catalog) -> dict[str, list]:
    """All rows of all tables as Python has them, each number in the searchable header as a float."""
    with catalog.read() as connection:
        found = {
            table.name: [dict(row) for row in connection.execute(select(table)).mappings()]
            for table in metadata.sorted_tables
        }
    for row in found["frame"]:
        row["header"] = {
            key: float(one) if isinstance(one, int) and not isinstance(one, bool) else one
            for key, one in sorted(row["header"].items())
        }
    return {name: sorted(rows, key=repr) for name, rows in found.items()}


def test_there_and_back_again(original, server, tmp_path):
    back = Catalog(f"sqlite:///{tmp_path / 'sub' / 'back.sqlite'}")
    there = copy_catalog(original, server)
    home_again = copy_catalog(server, back)
    assert [one.table for one in there] == [table.name for table in metadata.sorted_tables]
    assert all(one.rows for one in there), "every table has rows, or this proves little"
    assert all((one.copied, one.copied_digest) == (one.rows, one.digest) for one in (*there, *home_again))
    assert [dataclasses.astuple(one) for one in there] == [dataclasses.astuple(one) for one in home_again]
    assert everything(back) == everything(original)
    for one in (server, back):
        assert list(one.frames()) == list(original.frames())
        assert list(one.products()) == list(original.products())
        assert one.frame_row(LIGHT.id)["cards"] == original.frame_row(LIGHT.id)["cards"]
    back.close()


@pytest.mark.parametrize("to", ["sqlite", "postgresql"])
def test_the_copy_goes_on_where_the_original_was(original, to, tmp_path, request):
    copy = request.getfixturevalue("server") if to == "postgresql" else Catalog(f"sqlite:///{tmp_path / 'copy.sqlite'}")
    copy_catalog(original, copy)
    before = {row.id for row in copy.write(lambda connection: connection.execute(select(files.c.id)).all())}
    record(copy, make_frame("next"))
    after = {row.id for row in copy.write(lambda connection: connection.execute(select(files.c.id)).all())}
    assert min(after - before) > max(before)
    copy.flag(LIGHT.id, "clouds", "Ann", 9.0)
    copy.unflag(BIAS.id, "mended", "Ann", 9.0)
    assert copy.frame_row(BIAS.id)["flags"][0]["withdrawn_by"] == "Ann"
    assert copy.release("me") == 1, "the lease of the job that was under way came too"
    copy.close()


@pytest.mark.parametrize("column", ["number", "value"])
def test_one_changed_value_or_lost_row_changes_the_digest(original, column):
    def contents() -> tuple[int, str]:
        found = Contents(metrics)
        with original.read() as connection:
            for row in connection.execute(select(metrics)):
                found.add(row)
        return found.rows, found.digest

    before = contents()
    assert contents() == before
    change = "number = number + 1e-15" if column == "number" else "value = 'x'"
    original.write(
        lambda connection: connection.execute(text(f"UPDATE metric SET {change} WHERE {column} IS NOT NULL"))
    )
    changed = contents()
    assert (changed[0], changed[1] != before[1]) == (before[0], True)
    original.write(lambda connection: connection.execute(text("DELETE FROM metric WHERE name = 'note'")))
    assert contents()[0] == before[0] - 1


def test_a_database_that_holds_something_is_refused_and_left_as_it_is(original, server):
    record(server, make_frame("other"))
    with pytest.raises(ConfigError, match=r"is not empty \(it has rows in .*frame.*\); name a database without"):
        copy_catalog(original, server)
    with pytest.raises(ConfigError, match="is not empty"):
        copy_catalog(original, original)
    assert [row["id"] for row in server.frames()] == [digest("other")]


def test_a_copy_that_fails_midway_leaves_nothing_and_can_be_made_again(original, server, monkeypatch):
    add, sides = Contents.add, []

    def spoilt(self: Contents, row) -> None:
        add(self, row)
        if self._table is metrics and self not in sides:
            sides.append(self)
            self._sum += len(sides)  # another sum on either side

    monkeypatch.setattr(Contents, "add", spoilt)
    with pytest.raises(StorageError, match="table metric does not read as it was written"):
        copy_catalog(original, server)
    assert not any(everything(server).values())
    monkeypatch.undo()
    copy_catalog(original, server)
    assert list(server.files()) == list(original.files())


def test_what_the_other_database_cannot_hold_is_said_and_nothing_is_copied(original, server):
    original.write(lambda connection: connection.execute(text("UPDATE frame SET naxis1 = 3000000000")))
    with pytest.raises(ConfigError, match=r"does not fit.*nothing was copied"):
        copy_catalog(original, server)
    assert not any(everything(server).values())


def test_a_large_catalogue_takes_no_more_memory_than_a_small_one(sqlite_template, tmp_path):
    def peak(count: int) -> int:
        source = new_catalog(sqlite_template, tmp_path / f"{count}.sqlite")
        row = {**frame_to_row(LIGHT), "first_seen": 1.0}
        many = [{**row, "id": digest(str(number))} for number in range(count)]
        source.write(lambda connection, rows=many: connection.execute(insert(frames), rows))
        many.clear()
        target = Catalog(f"sqlite:///{tmp_path / f'{count}-copy.sqlite'}")
        target.upgrade()
        tracemalloc.start()
        copy_catalog(source, target)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        source.close()
        target.close()
        return found

    peak(10)
    assert peak(4000) < 1.3 * peak(1000)


@pytest.fixture
def home(tmp_path, monkeypatch):
    made = make_home(tmp_path / "home")
    catalog = Catalog(made.database_url)
    fill(catalog)
    catalog.close()
    monkeypatch.setenv("AVCD_HOME", str(made.path))
    return made


def test_db_copy_prints_both_sides_and_says_what_to_do_next(home, emptied_postgresql, capsys):
    call = Call(capsys)
    said = call("db", "copy", emptied_postgresql(), "--format", "json")
    assert said.code == 0
    assert all(one["equal"] and one["rows"] == one["copied"] for one in said.json)
    assert {one["table"]: one["rows"] for one in said.json}["frame"] == 2
    assert "set [database] url" in said.err
    again = call("db", "copy", "sqlite:///catalogue.sqlite")
    assert (again.code, again.out) == (2, "")
    assert "is not empty" in again.err
    back = call("db", "copy", "sqlite:///other.sqlite")
    assert back.code == 0
    assert (home.path / "other.sqlite").is_file(), "a relative path starts at the home, as in avcd.toml"


def test_db_copy_refuses_while_the_daemon_works(home, capsys):
    with HomeLock(home.lock_path):
        said = Call(capsys)("db", "copy", "sqlite:///other.sqlite")
    assert said.code == 1
    assert "stop it first" in said.err
    assert not (home.path / "other.sqlite").exists()


def test_a_backup_is_one_whole_file_of_one_moment(home, tmp_path, capsys):
    catalog = Catalog(home.database_url)
    path = tmp_path / "backup.sqlite"
    writer = sqlite3.connect(home.path / "catalogue.sqlite", isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("DELETE FROM metric")
    assert Call(capsys)("db", "backup", path).code == 0
    writer.execute("COMMIT")
    writer.close()
    assert [one.name for one in tmp_path.iterdir() if "backup" in one.name] == ["backup.sqlite"]
    copy = Catalog(f"sqlite:///{path}")
    copy.check()
    assert copy.damage() == ""
    assert everything(copy)["frame"] == everything(catalog)["frame"]
    assert everything(copy)["metric"], "what was not committed at that moment is not in it"
    assert len(rows(home, "products")) == len(list(copy.products()))
    copy.close()
    catalog.close()
    said = Call(capsys)("db", "backup", path)
    assert said.code == 2
    assert "is there already" in said.err


def test_postgresql_is_told_its_own_tools(server, tmp_path):
    with pytest.raises(UsageError, match="pg_dump"):
        backup_catalog(server, tmp_path / "backup")


def test_a_backup_into_nowhere_says_so(original, tmp_path):
    with pytest.raises(UsageError, match="make it first"):
        backup_catalog(original, tmp_path / "no" / "backup")
