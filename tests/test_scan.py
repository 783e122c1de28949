"""A look at a drop directory agrees with the directory, whatever happened to it and whatever its files are called."""

import itertools
import os
import random
import shutil
import tracemalloc
from pathlib import Path

import pytest
from sqlalchemy import insert, update

from avcd.catalog import Catalog
from avcd.catalog.models import files
from avcd.errors import StorageError
from avcd.frame import FileReading, FrameStatus, MemberReading
from avcd.scan import Standing, compare_root, scan_root
from catalogue import absent_files, known_files

MANY = 100_000
ODD_NAMES = ["a", "a.fits", "a-b", "a b", "a0", "A", "ä", "é", "z", "星", "\U0001f52d", "\uffee", "dir", ".hidden", "._a.fits",
             os.fsdecode(b"\xff\xe9"), os.fsdecode(b"a\x80"), "a'b\"c", "%5", "a\\b", "new\nline"]  # fmt: skip


def read(catalog: Catalog, drop: Path, relative_path: str, root: str = "drop") -> None:
    """Record a file as reading it would leave it."""
    stat = (drop / relative_path).stat()
    member = MemberReading(member="", sha256="0" * 64, size=stat.st_size, status=FrameStatus.OK, reason="")
    reading = FileReading(relative_path=relative_path, members=(member,))
    catalog.record_reading(root, reading, stat.st_size, stat.st_mtime_ns, 1000.0, ctime_ns=stat.st_ctime_ns)


def scan(catalog: Catalog, drop: Path, **options):
    return scan_root(catalog, "drop", drop, 1000.0, **options)


def settle(catalog: Catalog, drop: Path) -> None:
    for relative_path, _ in scan(catalog, drop).changed:
        read(catalog, drop, relative_path)


def files_below(drop: Path) -> set[str]:
    """What lies there, by another way than avcd's."""
    return {f"{top}/{name}"[len(f"{drop}/") :] for top, _, names in os.walk(drop) for name in names}


def write(path: Path, text: str = "x") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def drop(tmp_path):
    path = tmp_path / "drop"
    path.mkdir()
    return path


def test_names_of_any_bytes_are_paired_with_their_rows(catalog, drop):
    """The two sides are merged, so one wrong place in the order would lose files, or find them new for ever."""
    for first, second in itertools.product(ODD_NAMES, ["", *ODD_NAMES[:14]]):
        if second:
            write(drop / f"{first}.d" / second)
        else:
            write(drop / first)
    assert {path for path, _ in scan(catalog, drop).changed} == files_below(drop)
    settle(catalog, drop)
    second_look = scan(catalog, drop)
    assert (second_look.changed, second_look.moved, second_look.found) == ([], False, len(files_below(drop)))


@pytest.mark.parametrize("seed", range(5))
def test_after_any_mixture_of_changes_the_catalogue_is_true_again(catalog, drop, seed):
    chance = random.Random(seed)

    def place() -> Path:
        depth = chance.randrange(3)
        parts = [f"{chance.choice(ODD_NAMES)}.{'d' * (depth - one)}" for one in range(depth)]
        return drop.joinpath(*parts, chance.choice(ODD_NAMES))

    for _ in range(6):
        for _ in range(25):
            there = sorted(files_below(drop))
            deed = chance.choice(["write", "write", "delete", "rename", "rmtree"])
            if deed == "write" or not there:
                write(place(), "x" * chance.randrange(5))
            elif deed == "delete":
                (drop / chance.choice(there)).unlink()
            elif deed == "rename":
                target = place()
                target.parent.mkdir(parents=True, exist_ok=True)
                (drop / chance.choice(there)).rename(target)
            elif "/" in (chosen := chance.choice(there)):
                shutil.rmtree(drop / chosen.split("/")[0])
        settle(catalog, drop)
        assert set(known_files(catalog, "drop")) == files_below(drop)
        assert scan(catalog, drop).changed == []
        assert not set(absent_files(catalog, "drop")) & files_below(drop)


def test_what_was_renamed_is_one_file_that_came_and_one_that_is_gone_but_not_forgotten(catalog, drop):
    write(drop / "a.fits")
    settle(catalog, drop)
    (drop / "a.fits").rename(drop / "b.fits")
    found = scan(catalog, drop)
    assert (found.gone, [path for path, _ in found.changed]) == (["a.fits"], ["b.fits"])
    assert absent_files(catalog, "drop").keys() == {"a.fits"}


@pytest.mark.parametrize("way", ["in place", "by another file"])
def test_content_replaced_under_the_same_name_size_and_time_is_noticed(catalog, drop, way):
    """Frames of one camera are all of one size, and transfers set times back: only the ctime tells."""
    path = drop / "a.fits"
    write(path, "one")
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    settle(catalog, drop)
    before = path.stat()
    fresh = path if way == "in place" else drop.parent / "fresh"
    while fresh == path or not fresh.exists() or fresh.stat().st_ctime_ns == before.st_ctime_ns:
        fresh.write_text("two")  # until the kernel's clock has ticked
        os.utime(fresh, ns=times)
        if fresh == path and path.stat().st_ctime_ns != before.st_ctime_ns:
            break
    fresh.replace(path)
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert [path for path, _ in scan(catalog, drop).changed] == ["a.fits"]


def test_files_recorded_without_a_change_time_are_not_read_again(catalog, drop):
    write(drop / "a.fits")
    settle(catalog, drop)
    catalog.write(lambda connection: connection.execute(update(files).values(ctime_ns=None)))
    assert scan(catalog, drop).changed == []


@pytest.mark.parametrize("seconds", [-86400 * 20_000, -3600, 3600, 86400 * 20_000])
def test_times_in_the_past_and_the_future_are_read_once(catalog, drop, seconds):
    write(drop / "a.fits")
    now = (drop / "a.fits").stat().st_mtime
    os.utime(drop / "a.fits", (now + seconds, now + seconds))
    settle(catalog, drop)
    assert scan(catalog, drop).changed == []
    os.utime(drop / "a.fits", (now, now))
    assert [path for path, _ in scan(catalog, drop).changed] == ["a.fits"]


def test_a_directory_in_place_of_a_file_and_back(catalog, drop):
    write(drop / "a")
    settle(catalog, drop)
    (drop / "a").unlink()
    write(drop / "a/b")
    settle(catalog, drop)
    assert known_files(catalog, "drop").keys() == {"a/b"}
    shutil.rmtree(drop / "a")
    write(drop / "a")
    settle(catalog, drop)
    assert known_files(catalog, "drop").keys() == {"a"}


def test_a_root_that_goes_away_during_the_look_is_not_taken_for_an_empty_one(catalog, drop, monkeypatch):
    for number in range(3):
        write(drop / f"night {number}/a.fits")
    settle(catalog, drop)
    real = os.scandir

    def scandir(path):
        if str(path).endswith("night 1"):
            drop.rename(drop.parent / "unmounted")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(StorageError, match="cannot be listed"):
        scan(catalog, drop)
    drop.mkdir()
    assert len(known_files(catalog, "drop")) == 3, "nothing was marked as gone"


def test_a_root_that_comes_back_is_as_it_was(catalog, drop):
    write(drop / "night/a.fits")
    settle(catalog, drop)
    drop.rename(drop.parent / "unmounted")
    drop.mkdir()  # the mount point is there, and empty
    assert scan(catalog, drop).gone == ["night/a.fits"]
    drop.rmdir()
    (drop.parent / "unmounted").rename(drop)
    found = scan(catalog, drop)
    assert (found.returned, found.changed) == (["night/a.fits"], [])


def test_a_file_that_came_back_while_the_look_was_under_way_is_not_gone(catalog, drop):
    write(drop / "a.fits")
    settle(catalog, drop)
    (drop / "a.fits").rename(drop.parent / "a.fits")
    write(drop / "z.fits")
    sights = compare_root(catalog, "drop", drop)
    next(sights)
    (drop.parent / "a.fits").rename(drop / "a.fits")
    assert [sight for sight in sights if sight.standing is Standing.GONE] == []


def test_avcds_own_canaries_are_no_files(catalog, drop):
    write(drop / ".avcd-canary-0123456789abcdef")
    write(drop / "night/.avcd-canary-left-behind")
    found = scan(catalog, drop)
    assert (found.changed, found.found) == ([], 0)


def test_a_part_of_a_directory_is_compared_alone(catalog, drop):
    for name in ("a/x", "a-b/x", "a.fits", "a0/x", "b/x"):
        write(drop / name)
    settle(catalog, drop)
    (drop / "b/x").unlink()
    (drop / "a/x").unlink()
    write(drop / "a/y")
    found = {sight.relative_path: sight.standing for sight in compare_root(catalog, "drop", drop, "a")}
    assert found == {"a/x": Standing.GONE, "a/y": Standing.CHANGED}


def test_other_roots_are_left_alone(catalog, drop):
    write(drop / "a.fits")
    read(catalog, drop, "a.fits", root="nas")
    assert [path for path, _ in scan(catalog, drop).changed] == ["a.fits"]
    assert known_files(catalog, "nas").keys() == {"a.fits"}


def test_no_more_is_returned_than_asked_for_and_the_rest_comes_next(catalog, drop):
    for number in range(10):
        write(drop / f"{number}.fits")
    seen = []
    for expected in (4, 4, 2, 0):
        found = scan(catalog, drop, limit=4)
        assert (len(found.changed), found.more) == (expected, len(seen) + expected < 10)
        seen += [path for path, _ in found.changed]
        for path, _ in found.changed:
            read(catalog, drop, path)
    assert sorted(seen) == sorted(files_below(drop))


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A hundred thousand files, dropped at once."""
    drop = tmp_path_factory.mktemp("many") / "drop"
    for number in range(MANY):
        directory = drop / f"night-{number // 5000:02d}"
        if number % 5000 == 0:
            directory.mkdir(parents=True)
        os.close(os.open(directory / f"frame {number:06d}.fits", os.O_CREAT | os.O_WRONLY))
    return drop


def test_a_hundred_thousand_files_at_once_in_memory_that_stays_flat(many, tmp_path, sqlite_template):
    shutil.copyfile(sqlite_template, tmp_path / "catalogue.sqlite")
    catalog = Catalog(f"sqlite:///{tmp_path / 'catalogue.sqlite'}")
    rounds = 0
    more = True
    while more:
        found = scan_root(catalog, "drop", many, 1000.0, limit=20_000)
        more = found.more
        rounds += 1
        rows = [{
            "root": "drop", "relative_path": path, "member": "", "name": path.rpartition("/")[2], "sha256": None, "size": stat.st_size,
            "mtime_ns": stat.st_mtime_ns, "ctime_ns": stat.st_ctime_ns, "present": True, "status": "ok", "reason": "",
            "first_seen": 0.0,
        } for path, stat in found.changed]  # fmt: skip
        catalog.write(lambda connection, rows=rows: connection.execute(insert(files), rows))
    assert rounds == MANY // 20_000
    assert known_files(catalog, "drop").keys() == files_below(many)
    del found, rows
    tracemalloc.start()
    found = scan_root(catalog, "drop", many, 1000.0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    catalog.close()
    assert (found.found, found.changed, found.gone) == (MANY, [], [])
    # A dictionary of all paths alone would take over 20 MB.
    assert peak < 6_000_000
