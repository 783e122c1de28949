"""avcd correct and avcd db retranslate, as an observer types them; and what the daemon makes of them."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from astropy.io import fits

from avcd.catalog import Catalog
from avcd.cli import main
from avcd.config import load_home
from avcd.daemon.lock import HomeLock
from avcd.headers.again import Translator
from avcd.headers.profiles import load_profiles
from cli_calls import Call
from homes import make_home, rows, run_until_idle, start_daemon

RNG = np.random.default_rng(1)


def write(path, level: float, start: str, **cards: object) -> None:
    pixels = RNG.normal(level, 5, (64, 64)).astype(np.uint16)
    values = {"TELESCOP": "T1", "INSTRUME": "FLI", "SET-TEMP": -20.0, "CCD-TEMP": -20.0, "XBINNING": 1, "YBINNING": 1,
              "DATE-OBS": f"2026-01-15T{start}", **cards}  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    fits.PrimaryHDU(pixels, fits.Header(values)).writeto(path)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A home with three biases and three flats in Ha whose headers say R."""
    home = make_home(tmp_path_factory.mktemp("corrections") / "home")
    for number in range(3):
        write(home.path / "drop" / f"bias{number}.fits", 300, f"20:0{number}:00", IMAGETYP="BIAS", EXPTIME=0.0)
        write(home.path / "drop" / f"flat{number}.fits", 20000, f"20:1{number}:00", IMAGETYP="FLAT", EXPTIME=5.0,
              FILTER="R")  # fmt: skip
    with pytest.raises(SystemExit) as end:
        main(["ingest", "--home", str(home.path), str(home.path / "drop")])
    assert end.value.code in (0, None)
    return home


@pytest.fixture
def call(made, tmp_path, capsys, monkeypatch):
    path = tmp_path / "home"
    shutil.copytree(made.path, path)
    monkeypatch.setenv("AVCD_HOME", str(path))
    monkeypatch.setenv("COLUMNS", "200")
    return Call(capsys)


def test_a_correction_is_made_shown_and_withdrawn(call):
    said = call("correct", "flat0.fits", "flat1.fits", "FILTER=Ha", "exptime=6", "--reason", "the wheel stuck")
    assert (said.code, said.err) == (0, "")
    assert said.out.count("exposure_s 6, filter Ha") == 2
    assert {one["filter"] for one in call("frames", "--type", "flat", "--format", "json").json} == {"Ha", "R"}
    row = call("show", "flat0.fits", "--format", "json").json
    assert [one["value"] for one in row["cards"] if one["keyword"] == "FILTER"] == ["R"]
    assert row["sources"]["filter"].startswith("correction by ")
    assert [(one["name"], one["before"], one["value"], one["reason"], one["active"]) for one in row["corrections"]] == [
        ("exposure_s", 5.0, 6.0, "the wheel stuck", True),
        ("filter", "R", "Ha", "the wheel stuck", True),
    ]
    text = call("show", "flat0.fits").out
    assert "Corrections" in text
    assert "the wheel stuck" in text
    assert "so already" in call("correct", "flat0.fits", "FILTER=Ha", "--reason", "again").err
    said = call("correct", "flat0.fits", "--withdraw", "FILTER", "--withdraw", "exposure_s", "--reason", "it did not")
    assert "exposure_s 5, filter R" in said.out
    row = call("show", "flat0.fits", "--format", "json").json
    assert [one["withdrawn_reason"] for one in row["corrections"]] == ["it did not", "it did not"]
    assert row["sources"]["filter"] == "card FILTER"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["flat0.fits", "FLITER=Ha"], "'FLITER' cannot be corrected"),
        (["flat0.fits", "IMAGETYP=falt"], "science, bias, dark, flat"),
        (["flat0.fits", "EXPTIME=-5"], "seconds, 0 or more"),
        (["bias0.fits", "FILTER=Ha"], "a bias has no filter"),
        (["flat0.fits", "flat1.fits", "nowhere.fits", "FILTER=Ha"], "nowhere.fits"),
        (["flat0.fits", "FILTER=Ha", "flat1.fits"], "frames are named before"),
        (["flat", "FILTER=Ha"], "may mean any of"),
        (["flat0.fits"], "nothing is corrected"),
        (["flat0.fits", "FILTER=Ha", "--withdraw", "filter"], "not both"),
        (["flat0.fits", "--withdraw", "FILTER"], "is not corrected"),
        (["FILTER=Ha"], "no frame or product is named"),
    ],
)
def test_what_cannot_be_is_wrong_usage_and_changes_nothing(call, words, expected):
    before = call("frames", "--format", "json").json
    said = call("correct", *words, "--reason", "why")
    assert said.code == 2
    assert expected in said.err
    assert call("frames", "--format", "json").json == before


def test_a_file_name_may_hold_an_equals_sign(call, tmp_path):
    write(tmp_path / "home" / "drop" / "a=b.fits", 300, "20:30:00", IMAGETYP="FLAT", EXPTIME=1.0, FILTER="R")
    assert call("ingest", tmp_path / "home" / "drop").code == 0
    assert "filter Ha" in call("correct", "a=b.fits", "filter=Ha", "--reason", "x=y").out


def test_without_a_reason_nothing_is_corrected(call):
    assert call("correct", "flat0.fits", "FILTER=Ha", "--reason", " ").code == 2
    assert call("correct", "flat0.fits", "FILTER=Ha").code == 2


def test_a_new_profile_counts_for_frames_whose_files_are_gone(call, tmp_path):
    home = tmp_path / "home"
    assert call("db", "retranslate").out.startswith("0 frames"), "they were read by the profiles of now"
    assert "6 frames were translated again, 0 came out otherwise" in call("db", "retranslate", "--all").out
    shutil.rmtree(home / "drop")
    (home / "instruments").mkdir()
    (home / "instruments" / "own.toml").write_text(
        'inherits = "generic"\n[[match]]\ncards = { INSTRUME = "FLI" }\n[filters]\nR = "Rc"\n'
    )
    assert "6 frames were translated again, 6 came out otherwise" in call("db", "retranslate").out
    found = call("frames", "--type", "flat", "--format", "json").json
    assert {(one["filter"], one["profile"]) for one in found} == {("Rc", "own")}
    assert "6 frames were translated again, 0 came out" in call("db", "retranslate", "--all").out


def test_a_daemon_that_runs_is_not_overtaken(call, tmp_path):
    with HomeLock(load_home(tmp_path / "home").lock_path):
        said = call("db", "retranslate")
        assert (said.code, said.out) == (1, "")
        assert "another daemon" in said.err.lower() or "pid" in said.err
        assert call("correct", "flat0.fits", "FILTER=Ha", "--reason", "beside the daemon").code == 0


def test_a_running_daemon_plans_a_correction_at_once(call, tmp_path):
    home = load_home(tmp_path / "home")
    daemon = start_daemon(home)
    try:
        assert any("planned T1/FLI" in line for line in daemon.stderr)
        said = call("correct", "flat0.fits", "flat1.fits", "TELESCOP=T2", "--reason", "the other dome")
        assert (said.code, said.err) == (0, "")
        assert any("planned T2/FLI" in line for line in daemon.stderr)
    finally:
        daemon.terminate()
        daemon.communicate(timeout=60)
    assert daemon.returncode == 0


def test_the_daemon_makes_the_master_again_under_its_right_name_and_reads_new_profiles(made):
    def master():
        (found,) = [one for one in rows(made, "products", type="master_flat") if one["status"] == "final"]
        return found, fits.getval(made.archive / found["path"], "FILTER")

    assert run_until_idle(made)[0] == 0
    before, filter_name = master()
    assert filter_name == "R"
    flats = [one["id"] for one in rows(made, "frames", type="flat")]
    catalog = Catalog(made.database_url)
    translator = Translator(load_profiles(made.path), {"drop": (None, None)})
    catalog.correct(flats, {"filter": "Ha"}, "the wheel stuck", "ada", 1.0, translator)
    catalog.close()
    assert run_until_idle(made)[0] == 0
    after, filter_name = master()
    assert (filter_name, after["filter"]) == ("Ha", "Ha")
    assert after["id"] != before["id"]
    assert {one["id"]: one["status"] for one in rows(made, "products")}[before["id"]] == "superseded"

    (made.path / "instruments").mkdir()
    (made.path / "instruments" / "own.toml").write_text(
        'inherits = "generic"\n[[match]]\ncards = { INSTRUME = "FLI" }\n[filters]\n"Ha" = "H-alpha"\n'
    )
    code, said = run_until_idle(made)
    assert code == 0
    assert "6 frames are translated again" in said
    assert {one["filter"] for one in rows(made, "frames", type="flat")} == {"H-alpha"}
    assert master()[1] == "H-alpha"
    assert "translated again" not in run_until_idle(made)[1]
