"""Drop directories become rows: whatever fell in is accounted for, once, and nothing is written there."""

import gzip
import os
import shutil
import zipfile
from multiprocessing import get_context

import numpy as np
import pytest
from astropy.io import fits

from avcd import ingest
from avcd.catalog import Catalog
from avcd.config import Limits
from avcd.errors import ConfigError, StorageError
from avcd.frame import FrameStatus
from avcd.headers import reading
from avcd.headers.profiles import load_profiles
from avcd.ingest import Drop, Ingestor, IngestResult, ingest_path
from avcd.scan import scan_root
from catalogue import known_files

PROFILES = load_profiles()
LIMITS = Limits()
# Small files are fetched before any is looked at, large ones one by one.
WHILE_READ = pytest.mark.parametrize(
    ("step", "small"), [("content_of", 1 << 16), ("open_file", 0)], ids=["small", "large"]
)
BYTES_NAME = os.fsdecode(b"nuit \xe9toil\xe9e.fits")


@pytest.fixture
def catalog(tmp_path, sqlite_template):
    path = tmp_path / "catalogue.sqlite"
    shutil.copyfile(sqlite_template, path)
    opened = Catalog(f"sqlite:///{path}")
    yield opened
    opened.close()


@pytest.fixture
def drop(tmp_path):
    path = tmp_path / "drop"
    path.mkdir()
    return path


def write_frame(path, value=100, **cards):
    header = fits.Header({"IMAGETYP": "Light Frame", "EXPTIME": 60.0, "FILTER": "Red", "OBJECT": "M 42", **cards})
    header["DATE-OBS"] = "2026-01-15T21:36:00"
    path.parent.mkdir(parents=True, exist_ok=True)
    fits.PrimaryHDU(np.full((8, 10), value, np.uint16), header).writeto(path)
    return path


def take(catalog, drop, relative_path, now=1000.0) -> IngestResult:
    return ingest_path(catalog, Drop("drop", drop), relative_path, PROFILES, LIMITS, now)


def scan(catalog, drop):
    return scan_root(catalog, "drop", drop, 1000.0, marker="avcd-complete")


def take_all(catalog, drop):
    found = scan(catalog, drop)
    return {path: take(catalog, drop, path) for path, _ in found.changed}


def tree(drop):
    return {
        one.relative_to(drop).as_posix(): (one.lstat().st_size, one.lstat().st_mtime_ns, one.lstat().st_mode)
        for one in drop.rglob("*")
    }


def test_a_drop_directory_of_everything(catalog, drop):
    plain = write_frame(drop / "T20/M 42/light 1.fits")
    (drop / "again").mkdir()
    shutil.copyfile(plain, drop / "again/other name.fit")
    (drop / "again/light 1.fits.gz").write_bytes(gzip.compress(plain.read_bytes(), mtime=0))
    with zipfile.ZipFile(drop / "night.zip", "w") as archive:
        archive.write(plain, "light 1.fits")
        archive.writestr("readme.txt", "hello")
    write_frame(drop / BYTES_NAME, 200)
    write_frame(drop / "星 Ñandú.fits", 300)
    (drop / "text.fits").write_text("not at all")
    (drop / "empty.fits").touch()
    (drop / "cut.fits").write_bytes(plain.read_bytes()[:3000])
    (drop / "broken.zip").write_bytes(b"PK\x03\x04 broken")
    (drop / "sky.jpg").write_bytes(b"\xff\xd8")
    (drop / "half.fits.part").write_bytes(plain.read_bytes()[:100])
    before = tree(drop)

    results = take_all(catalog, drop)
    assert all(result.settled for result in results.values())
    assert sum(result.new_frames for result in results.values()) == 3
    assert {path for path, result in results.items() if result.status is FrameStatus.UNREADABLE} == {
        "text.fits",
        "empty.fits",
        "cut.fits",
        "broken.zip",
    }
    assert {path for path, result in results.items() if result.status is FrameStatus.IGNORED} == {
        "sky.jpg",
        "half.fits.part",
    }
    assert all(result.reason for result in results.values() if result.status is not FrameStatus.OK)
    assert len(list(catalog.frames())) == 3
    rows = {(row["path"], row["member"]): row for row in catalog.files()}
    assert len(rows) == 12 + 2, "every file, and both members of the zip"
    light = rows["T20/M 42/light 1.fits", ""]["frames"]
    assert rows["night.zip", "light 1.fits"]["frames"] == light
    assert rows["again/other name.fit", ""]["frames"] == rows["again/light 1.fits.gz", ""]["frames"] == light
    assert tree(drop) == before, "the drop directory is never written"

    second = scan(catalog, drop)
    assert (second.changed, second.moved, second.found) == ([], False, 12)


def test_recording_again_is_nothing_new(catalog, drop):
    write_frame(drop / "a.fits")
    assert take(catalog, drop, "a.fits").new_frames == 1
    assert take(catalog, drop, "a.fits") == IngestResult(True, 0, FrameStatus.OK, "")
    assert len(list(catalog.files())) == 1


@WHILE_READ
def test_a_file_that_changes_while_it_is_read_is_not_recorded(step, small, catalog, drop, monkeypatch):
    path = write_frame(drop / "a.fits")

    def read_and_grow(*arguments, **options):
        with path.open("ab") as stream:
            stream.write(b"more")
        return real(*arguments, **options)

    real = getattr(ingest, step)
    monkeypatch.setattr(ingest, step, read_and_grow)
    monkeypatch.setattr(ingest, "_SMALL", small)
    assert take(catalog, drop, "a.fits") == IngestResult(settled=False)
    assert list(catalog.files()) == []


@WHILE_READ
def test_a_file_replaced_while_it_is_read_is_not_recorded(step, small, catalog, drop, monkeypatch):
    """Same size, same time: only the inode tells."""
    path = write_frame(drop / "a.fits")
    other = write_frame(drop / "b.fits", 7)
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    os.utime(other, ns=times)

    def read_and_replace(*arguments, **options):
        other.replace(path)
        return real(*arguments, **options)

    real = getattr(ingest, step)
    monkeypatch.setattr(ingest, step, read_and_replace)
    monkeypatch.setattr(ingest, "_SMALL", small)
    assert not take(catalog, drop, "a.fits").settled


def test_a_file_that_went_before_it_was_read(catalog, drop):
    path = write_frame(drop / "a.fits")
    take(catalog, drop, "a.fits")
    path.unlink()
    assert take(catalog, drop, "a.fits") == IngestResult(settled=True)
    assert known_files(catalog, "drop") == {}
    assert len(list(catalog.frames())) == 1


def test_a_value_the_catalogue_cannot_hold_makes_the_file_unreadable(catalog, drop, monkeypatch):
    write_frame(drop / "a.fits")

    def read_absurdly(*arguments, **options):
        readings = understand(*arguments, **options)
        for _, frame in readings[0].members[0].frames:
            object.__setattr__(frame, "sequence_total", 10**30)
        return readings

    understand = ingest.understand
    monkeypatch.setattr(ingest, "understand", read_absurdly)
    result = take(catalog, drop, "a.fits")
    assert (result.settled, result.status) == (True, FrameStatus.UNREADABLE)
    assert "does not fit" in result.reason
    assert known_files(catalog, "drop").keys() == {"a.fits"}


@pytest.mark.parametrize("ending", ["zip", "txt"])
def test_what_is_read_in_pieces_is_not_recorded_when_it_is_replaced_meanwhile(ending, catalog, drop, monkeypatch):
    """However small it is: an archive's members, and what is only hashed, are not fetched beforehand."""
    for number, name in enumerate(("a", "b")):
        with zipfile.ZipFile(drop / f"{name}.{ending}", "w") as archive:
            archive.write(write_frame(drop / f"{name}.fits", number), f"{name}.fits")

    def read_and_replace(*arguments, **options):
        (drop / f"b.{ending}").replace(drop / f"a.{ending}")
        return real(*arguments, **options)

    real = ingest.open_file
    monkeypatch.setattr(ingest, "open_file", read_and_replace)
    assert not take(catalog, drop, f"a.{ending}").settled


@pytest.mark.parametrize("step", ["open_file", "understand"])
def test_a_defect_in_reading_ends_nothing_and_is_told(step, catalog, drop, monkeypatch, caplog):
    def fail(*_arguments, **_options):
        raise ZeroDivisionError("oh")

    (drop / BYTES_NAME).touch()
    monkeypatch.setattr(ingest, step, fail)
    result = take(catalog, drop, BYTES_NAME)
    assert result.status is FrameStatus.UNREADABLE
    assert "ZeroDivisionError: oh" in result.reason
    assert "Traceback" in caplog.text
    caplog.text.encode()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (KeyError("oh"), "its header is not understood"),
        (RuntimeError("oh"), "avcd failed to read it: RuntimeError: oh"),
        (ConfigError("no site is named 'oh'"), "avcd failed to read it: ConfigError: no site"),
    ],
)
def test_one_file_that_cannot_be_understood_is_no_burden_to_those_read_with_it(error, said, drop, monkeypatch):
    names = ["a.fits", "b.fits", "c.fits"]
    for number, name in enumerate(names):
        write_frame(drop / name, number)

    def translate_all(hdus, *arguments, **options):
        if any(path == "b.fits" for _, path in hdus):
            raise error
        return real(hdus, *arguments, **options)

    alone = [ingest.read_path(Drop("drop", drop), name, PROFILES, LIMITS) for name in names]
    real = reading.translate_all
    monkeypatch.setattr(reading, "translate_all", translate_all)
    found = ingest.read_paths(Drop("drop", drop), names, PROFILES, LIMITS)
    assert [one.status for one in found] == [FrameStatus.OK, FrameStatus.UNREADABLE, FrameStatus.OK]
    assert said in found[1].reason
    assert [found[0], found[2]] == [alone[0], alone[2]]


def test_a_scan_tells_new_changed_gone_and_returned(catalog, drop):
    for name in ("same", "changed", "away/gone"):
        write_frame(drop / f"{name}.fits", len(name))
    take_all(catalog, drop)
    with (drop / "changed.fits").open("ab") as stream:
        stream.write(bytes(2880))
    (drop / "away").rename(drop.parent / "elsewhere")
    write_frame(drop / "new/new.fits", 9)
    found = scan(catalog, drop)
    assert [path for path, _ in found.changed] == ["changed.fits", "new/new.fits"]
    assert (found.gone, found.returned, found.moved, found.found) == (["away/gone.fits"], [], True, 3)
    assert not scan(catalog, drop).moved, "what is gone is told once"
    (drop.parent / "elsewhere").rename(drop / "away")
    found = scan(catalog, drop)
    assert found.returned == ["away/gone.fits"]
    assert [path for path, _ in found.changed] == ["changed.fits", "new/new.fits"]
    assert "away/gone.fits" in known_files(catalog, "drop")


def test_content_replaced_under_one_name_is_another_frame(catalog, drop):
    path = write_frame(drop / "a.fits", 1)
    take_all(catalog, drop)
    path.unlink()
    write_frame(path, 2)
    assert [result.new_frames for result in take_all(catalog, drop).values()] == [1]
    (row,) = catalog.files()
    assert len(row["frames"]) == 1
    assert len(list(catalog.frames())) == 2


def test_an_unlistable_root_is_not_taken_for_an_empty_one(catalog, drop):
    write_frame(drop / "a.fits")
    take_all(catalog, drop)
    drop.rename(drop.parent / "unmounted")
    with pytest.raises(StorageError, match="cannot be listed"):
        scan(catalog, drop)
    assert known_files(catalog, "drop").keys() == {"a.fits"}


def test_a_directory_without_permission_is_told_and_its_files_are_not_gone(catalog, drop, monkeypatch):
    write_frame(drop / "closed/a.fits")
    write_frame(drop / "open/b.fits", 5)
    take_all(catalog, drop)
    (drop / "open/b.fits").unlink()
    real = os.scandir

    def scandir(path):
        if str(path).endswith("closed"):  # the tests may run as root, whom no permission stops
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    found = scan(catalog, drop)
    assert (found.gone, found.refused) == (["open/b.fits"], ["closed"])
    (row,) = catalog.files(status="unreadable")
    assert (row["path"], row["reason"]) == ("closed", "directory cannot be listed: Permission denied")
    assert not scan(catalog, drop).moved
    monkeypatch.undo()
    assert scan(catalog, drop).gone == ["closed"], "the directory's row goes when it can be listed"
    assert known_files(catalog, "drop").keys() == {"closed/a.fits"}


def test_links_and_pipes_neither_hang_nor_circle(catalog, drop):
    write_frame(drop / "sub/a.fits")
    (drop / "sub/up").symlink_to(drop)
    (drop / "link.fits").symlink_to(drop / "sub/a.fits")
    (drop / "nowhere.fits").symlink_to(drop / "not there")
    os.mkfifo(drop / "pipe.fits")
    results = take_all(catalog, drop)
    assert set(results) == {"sub/a.fits", "link.fits"}
    assert take(catalog, drop, "pipe.fits").reason == "not a regular file"
    rows = {row["path"]: (row["status"], row["reason"]) for row in catalog.files()}
    assert rows["pipe.fits"] == ("ignored", "not a regular file")
    assert rows["nowhere.fits"] == ("unreadable", "cannot be read: No such file or directory")
    assert not scan(catalog, drop).moved


def test_marker_files_are_found(catalog, drop):
    (drop / "T20/night").mkdir(parents=True)
    for place in (drop, drop / "T20/night"):
        (place / "avcd-complete").touch()
    (drop / "not-avcd-complete").touch()
    assert scan(catalog, drop).marked == ["T20/night", "."]


def test_real_frames_of_feder(catalog, shared_data):
    """Four files with one image under four headers are four frames with the same pixels."""
    drop = shared_data / "feder"
    results = take_all(catalog, drop)
    assert all(result.status is not FrameStatus.UNREADABLE for result in results.values()), results
    assert scan(catalog, drop).changed == []
    twins = [row for row in catalog.frames() if "uint16" in row["path"]]
    assert len({row["id"] for row in twins}) == len(twins)
    assert len({row["pixel_sha256"] for row in twins}) == 1
    assert catalog.frame_row(twins[0]["id"])["same_pixels"] == sorted(row["id"] for row in twins[1:])


def many(drop, number):
    """Small frames, one of them broken, and some that are none."""
    rng = np.random.default_rng(5)
    for one in range(number):
        hdu = fits.PrimaryHDU(rng.integers(0, 60_000, (4, 5)).astype(np.uint16))
        hdu.header.update(
            {"IMAGETYP": "DARK", "EXPTIME": float(one), "TELESCOP": "T1", "DATE-OBS": "2026-01-15T20:00:00"}
        )
        hdu.writeto(drop / f"dark{one:04d}.fits")
    (drop / "broken.fits").write_bytes((drop / "dark0000.fits").read_bytes()[:3000])
    (drop / "notes.txt").write_text("nothing")
    return [(Drop("drop", drop), path.name) for path in sorted(drop.iterdir())]


def outcome_of(catalog):
    frames = [
        {key: row[key] for key in ("id", "path", "exposure_s", "session_id")} for row in catalog.frames(sort="id")
    ]
    return frames, [(row["path"], row["status"], row["sha256"]) for row in catalog.files()]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("dies", [False, True], ids=["alive", "dying"])
def test_other_processes_read_the_same_and_nothing_is_lost_when_one_dies(
    dies, catalog, drop, sqlite_template, tmp_path, monkeypatch, caplog
):
    paths = many(drop, 420)
    shutil.copyfile(sqlite_template, tmp_path / "alone.sqlite")
    alone = Catalog(f"sqlite:///{tmp_path / 'alone.sqlite'}")
    with Ingestor(alone, tmp_path, LIMITS, processes=0) as ingestor:
        wanted = list(ingestor.take(paths))
    mine, real = os.getpid(), ingest.open_file

    def read(path, relative_path, *said, **options):
        if dies and os.getpid() != mine and relative_path == "dark0333.fits":
            os._exit(1)
        return real(path, relative_path, *said, **options)

    monkeypatch.setattr(ingest, "_context", lambda: get_context("fork"))  # the readers are to know this very function
    monkeypatch.setattr(ingest, "open_file", read)
    with Ingestor(catalog, tmp_path, LIMITS, processes=2) as ingestor:
        found = list(ingestor.take(paths))
    assert found == wanted
    assert sum(result.new_frames for _, _, result in found) == 420
    assert outcome_of(catalog) == outcome_of(alone)
    assert dies == ("a process that read files died" in caplog.text)
    alone.close()
