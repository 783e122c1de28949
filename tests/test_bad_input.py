"""Bad input gets a clear reason, harms nothing, and never stops what is good."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from astropy.io import fits

from homes import make_home, rows, run_until_idle, tree
from nights import small_night


def fits_bytes(shape=(64, 64), **cards) -> bytes:
    """A small frame with the given header cards."""
    header = fits.Header({"IMAGETYP": "Bias Frame", "EXPTIME": 0.0, "DATE-OBS": "2026-01-16T01:00:00", "XBINNING": 1,
                          "YBINNING": 1, "INSTRUME": "ZWO", "TELESCOP": "Test", **cards})  # fmt: skip
    for key in [key for key, value in cards.items() if value is None]:
        del header[key]
    stream = io.BytesIO()
    data = np.random.default_rng(len(cards)).integers(900, 1100, shape).astype(np.uint16)
    fits.PrimaryHDU(data, header).writeto(stream)
    return stream.getvalue()


def zipped(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()


def table_bytes() -> bytes:
    stream = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns([fits.Column("x", "E", array=[1.0, 2.0])])]).writeto(
        stream
    )
    return stream.getvalue()


BOMB = zipped({"bomb.fit": b"SIMPLE  =                    T".ljust(80) + b"\0" * 80_000_000})

# path: (content, status of the file or of its member, what the reason or warning must say)
BAD = {
    "empty.fit": (b"", "unreadable", "empty"),
    "notes.fits": (
        b"Observing notes: clouds from midnight.\n" * 200,
        "unreadable",
        "not FITS|not a FITS|no SIMPLE",
    ),
    "truncated.fit": (fits_bytes()[:5000], "unreadable", "truncated"),
    "broken.fit.zip": (zipped({"a.fit": fits_bytes()})[:-200], "unreadable", "zip|archive"),
    "bomb.fit.zip": (BOMB, "unreadable", "ratio|compress"),
    "climber.zip": (zipped({"../../escaped.fit": fits_bytes(A=1)}), "unreadable", r"\.\./|outside|not safe"),
    "picture.jpg": (b"\xff\xd8\xff\xe0", "ignored", "a picture"),
}


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    """A drop directory full of bad files and three good ones, processed."""
    home = make_home(tmp_path_factory.mktemp("home"))
    drop = home.path / "drop"
    for name, (content, _, _) in BAD.items():
        (drop / name).write_bytes(content)
    (drop / "cube.fits").write_bytes(fits_bytes((4, 32, 32), CUBE=True))
    (drop / "table.fits").write_bytes(table_bytes())
    (drop / "sans rien é.FIT").write_bytes(fits_bytes(IMAGETYP=None, EXPTIME=None, **{"DATE-OBS": None}))
    night = drop / "nuit d'été 星"
    night.mkdir()
    for number in range(3):
        (night / f"bias {number}.fit").write_bytes(fits_bytes(FRAMENO=number))
    before = tree(home.path)
    code, said = run_until_idle(home)
    return home, code, said, before


@pytest.mark.parametrize("name", sorted(BAD))
def test_each_bad_file_is_on_record_with_its_reason(outcome, name):
    home, *_ = outcome
    found = [one for one in rows(home, "files") if one["path"].endswith(name)]
    _, status, reason = BAD[name]
    said = [one["reason"] or "" for one in found if one["status"] == status]
    assert said, found
    assert any(re.search(reason, one, re.IGNORECASE) for one in said), said


def test_the_daemon_ends_well_and_makes_what_is_good(outcome):
    home, code, said, _ = outcome
    assert code == 0, said
    assert [one["kind"] for one in rows(home, "products") if one["kind"].startswith("master")] == ["master_bias"]


def test_nothing_is_written_into_the_drop_directory_or_outside_the_home(outcome):
    home, _, _, before = outcome
    after = tree(home.path)
    assert {name: one for name, one in after.items() if name.startswith("drop")} == {
        name: one for name, one in before.items() if name.startswith("drop")
    }
    assert not list(home.path.parent.rglob("escaped.fit"))


def test_odd_frames_are_catalogued_as_what_they_are(outcome):
    home, *_ = outcome
    frames = {one["path"].rsplit("/", 1)[-1]: one for one in rows(home, "frames")}
    assert frames["table.fits"]["image_type"] == "table"
    assert frames["cube.fits"]["image_type"] == "cube"
    assert any("cube" in one for one in frames["cube.fits"]["warnings"])
    bare = frames["sans rien é.FIT"]
    assert (bare["image_type"], bare["exposure_s"], bare["t_min"]) == ("unknown", None, None)


def test_every_file_is_accounted_for(outcome):
    home, *_ = outcome
    drop = home.path / "drop"
    on_disk = {path.relative_to(drop).as_posix() for path in drop.rglob("*") if path.is_file()}
    assert {one["path"] for one in rows(home, "files") if not one["member"]} == on_disk


def test_an_unreadable_directory_is_on_record(tmp_path):
    prefix = []
    if os.geteuid() == 0:  # who reads everything, unless that right is laid down
        if not shutil.which("setpriv"):
            pytest.skip("root reads every directory, and setpriv is not here")
        prefix = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    home = make_home(tmp_path / "home")
    closed = home.path / "drop" / "closed"
    closed.mkdir()
    closed.chmod(0)
    command = [*prefix, sys.executable, "-m", "avcd", "run", "--until-idle", "--home", str(home.path)]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    finally:
        closed.chmod(0o755)
    assert ended.returncode == 0, ended.stderr
    assert any("closed" in one["path"] and "Permission denied" in one["reason"] for one in rows(home, "files"))


def test_a_full_disk_stops_nothing_for_good(tmp_path):
    home = make_home(tmp_path / "home")
    small_night(home.path / "drop")
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "avcd", home.archive]).returncode:
        pytest.skip("a small file system cannot be mounted here: that needs root")
    try:
        code, said = run_until_idle(home)
        assert code == 1
        assert "No space left on device" in said
        dead = [one["reason"] for one in rows(home, "jobs", status="dead")]
        assert dead
        assert all("No space left on device" in one for one in dead)
        assert not list(home.archive.rglob("*.part"))
        subprocess.run(["mount", "-o", "remount,size=500m", home.archive], check=True)
        code, said = run_until_idle(home)
        assert code == 0, said
        assert {one["state"] for one in rows(home, "jobs")} == {"done"}
        assert sum(one["kind"] == "rgb" for one in rows(home, "products", status="final")) == 2
    finally:
        subprocess.run(["umount", home.archive], check=True)
