"""Every file below a drop directory is accounted for: `avcd ingest`, `avcd files` and `avcd doctor` agree with it, to the file."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from avcd import ingest as ingest_module
from avcd.config import load_home
from cli_calls import Call
from homes import make_home


@pytest.fixture
def call(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    return Call(capsys)


@pytest.fixture
def home(tmp_path, monkeypatch):
    made = make_home(tmp_path / "home")
    monkeypatch.setenv("AVCD_HOME", str(made.path))
    return made


@pytest.fixture
def drop(home):
    return home.roots["drop"]


def write_frame(path, value=1, **cards):
    header = fits.Header(
        {"IMAGETYP": "Light Frame", "EXPTIME": 60.0, "OBJECT": "M 42", "DATE-OBS": "2026-01-15T21:36:00", **cards}
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    fits.PrimaryHDU(np.full((8, 10), value, np.uint16), header).writeto(path)


def write_everything(drop) -> None:
    """What real drop directories hold besides frames."""
    write_frame(drop / "T20/M 42/light 1.fits")
    write_frame(drop / os.fsdecode(b"T20/nuit \xe9toil\xe9e.fits"), 2)
    write_frame(drop / "星.fit", 3)
    shutil.copyfile(drop / "星.fit", drop / "T20/copy.fts")
    with zipfile.ZipFile(drop / "night.zip", "w") as archive:
        archive.write(drop / "T20/M 42/light 1.fits", "light 1.fits")
        archive.writestr("readme.txt", "hello")
        archive.writestr("__MACOSX/._light 1.fits", "resource fork")
    for name in (".DS_Store", "T20/._light 1.fits", ".hidden/Thumbs.db", "Thumbs.db", "T20/preview.jpg", "T20/preview.png",
                 "T20/light 1_thumb.jpg", "T20/light 1.tif", "session.log", "notes.txt", "half.fits.part", "no suffix"):  # fmt: skip
        (drop / name).parent.mkdir(parents=True, exist_ok=True)
        (drop / name).write_bytes(b"\xff\xd8 whatever")
    (drop / "empty.fits").touch()
    (drop / "empty.txt").touch()
    (drop / "empty directory").mkdir()
    (drop / "cut.fits").write_bytes((drop / "星.fit").read_bytes()[:3000])
    (drop / "broken.zip").write_bytes(b"PK\x03\x04 broken")
    (drop / "nowhere.fits").symlink_to(drop / "not there")
    (drop / "link.fits").symlink_to(drop / "星.fit")
    (drop / "circle").symlink_to(drop)
    os.mkfifo(drop / "pipe")
    (drop / "closed").mkdir()
    (drop / "closed/inside.fits").touch()


@pytest.fixture
def closed(monkeypatch):
    """A directory without permission, even for root, whom no permission stops."""
    real = os.scandir

    def scandir(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)


def there(drop) -> set[str]:
    """All that lies in a drop directory and is no directory, as find sees it; and the directory that cannot be listed."""
    words = ["-name", "closed", "-prune", "-print0", "-o", "!", "-type", "d", "!", "-name", "circle", "-print0"]
    found = subprocess.run(["find", str(drop), *words], capture_output=True, check=True).stdout.split(b"\0")
    return {one[len(os.fsencode(drop)) + 1 :].decode("utf-8", "backslashreplace") for one in found if one}


def accounts(call) -> dict[str, str]:
    return next(one for one in call("doctor", "--format", "json").json if one["check"] == "files in drop")


def test_files_and_doctor_agree_with_a_directory_of_everything(call, drop, closed):
    write_everything(drop)
    expected = there(drop)
    before = accounts(call)
    assert before["outcome"] == "warn"
    assert f"{len(expected)} there; {len(expected)} not in the catalogue" in before["detail"]
    said = {one["path"]: one for one in call("ingest", drop, "--format", "json").json}
    assert set(said) == expected
    rows = call("files", "--format", "json").json
    files = {one["path"]: one for one in rows if not one["member"]}
    assert set(files) == expected
    assert {one["member"] for one in rows if one["path"] == "night.zip"} == {
        "", "light 1.fits", "readme.txt", "__MACOSX/._light 1.fits",
    }  # fmt: skip
    assert all(one["reason"] for one in files.values() if one["status"] != "ok")
    assert all(said[path]["status"] == one["status"] for path, one in files.items())
    after = accounts(call)
    assert after["outcome"] == "ok"
    counted = re.match(r"(\d+) there: (\d+) ignored \((.*)\), (\d+) ok, (\d+) unreadable; every one", after["detail"])
    assert counted
    number = {
        status: sum(one["status"] == status for one in files.values()) for status in ("ok", "ignored", "unreadable")
    }
    assert [int(counted[one]) for one in (1, 2, 4, 5)] == [
        len(expected),
        number["ignored"],
        number["ok"],
        number["unreadable"],
    ]
    reasons = {one["reason"] for one in files.values() if one["status"] == "ignored"}
    assert sum(int(one.split(" ", 1)[0]) for one in counted[3].split(", ")) == number["ignored"]
    assert {one.split(" ", 1)[1] for one in counted[3].split(", ")} == reasons


def test_doctor_names_what_is_gone_and_what_is_new(call, drop):
    for name in ("a.txt", "b.txt", "c.txt"):
        (drop / name).write_text(name)
    assert call("ingest", drop).code == 0
    (drop / "a.txt").rename(drop / "d.txt")
    (drop / "b.txt").write_text("changed")
    said = accounts(call)
    assert said["outcome"] == "warn"
    assert "3 there: 1 ignored" in said["detail"]
    assert "2 not in the catalogue as they are now (b.txt, d.txt)" in said["detail"]
    assert "1 in the catalogue and not there any more (a.txt)" in said["detail"]
    assert f"avcd ingest {drop}" in said["detail"]
    rows = {one["path"]: one for one in call("ingest", drop, "--format", "json").json}
    assert {path: (one["status"], one["read"]) for path, one in rows.items()} == {
        "a.txt": ("gone", True), "b.txt": ("ignored", True), "c.txt": ("ignored", False), "d.txt": ("ignored", True),
    }  # fmt: skip
    assert accounts(call)["outcome"] == "ok"
    assert [one["path"] for one in call("files", "--status", "gone", "--format", "json").json] == ["a.txt"]
    checks = {one["check"]: one for one in call("doctor", "--format", "json").json}
    assert checks["files that are gone"]["detail"] == "1; see: avcd files --status gone"


def test_long_lists_are_cut_short(call, drop):
    for number in range(30):
        (drop / f"{number:02d}.txt").touch()
    assert "(00.txt, 01.txt, " in accounts(call)["detail"]
    assert "19.txt and 10 more)" in accounts(call)["detail"]


def test_a_second_ingest_reads_nothing_again_unless_told_to(call, drop, monkeypatch):
    write_frame(drop / "a/1.fits")
    write_frame(drop / "b/2.fits", 2)
    (drop / "cut.fits").write_bytes(b"SIMPLE")
    read = []
    real = ingest_module.open_file

    def open_file(path, *said, **options):
        read.append(Path(path).name)
        return real(path, *said, **options)

    monkeypatch.setattr(ingest_module, "open_file", open_file)
    assert call("ingest", drop).code == 1
    assert sorted(read) == ["1.fits", "2.fits", "cut.fits"]
    read.clear()
    said = call("ingest", drop)
    assert read == []
    assert said.code == 1, "what could not be read is told again"
    assert "cut.fits" in said.out
    assert "1.fits" not in said.out
    assert "2 files have not changed since they were read" in said.err
    assert len(call("ingest", drop, "--format", "json").json) == 3
    assert call("ingest", drop / "a").code == 0
    assert read == []
    assert call("ingest", drop, "--again").code == 1
    assert sorted(read) == ["1.fits", "2.fits", "cut.fits"]
    assert call("ingest", drop / "a/1.fits").code == 0
    assert read[-1] == "1.fits", "a file that is named is read"


def test_doctor_tells_how_each_directory_is_watched(call, home, drop, monkeypatch):
    def watch() -> dict[str, str]:
        return next(one for one in call("doctor", "--format", "json").json if one["check"] == "watch drop")

    assert watch()["detail"].startswith("native, not measured")
    (drop / "a.txt").touch()
    assert re.fullmatch(r"native, events after \d+\.\d ms \(a file opened\)", watch()["detail"])
    settings = home.path / "avcd.toml"
    settings.write_text(settings.read_text().replace("canary = false", "canary = true"))
    assert load_home(home.path).settings.drop[0].canary
    assert re.fullmatch(r"native, events after \d+\.\d ms \(a canary written\)", watch()["detail"])
    assert [one.name for one in drop.iterdir()] == ["a.txt"]
    monkeypatch.setattr("avcd.watch.remote_file_system", lambda _path: "cifs")
    assert watch()["outcome"] == "warn"
    assert watch()["detail"] == "polled every 10 s: on cifs, events do not tell what other machines do"
    settings.write_text(settings.read_text().replace('watch = "native"', 'watch = "polling"'))
    assert (watch()["outcome"], watch()["detail"]) == ("ok", "polled every 10 s")
