"""The command line's manners: help, exit codes, where what goes; homes made, checked and mended."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib

import numpy as np
import pytest
import typer
from astropy.io import fits

from avcd.cli import build, main
from avcd.daemon.lock import HomeLock
from cli_calls import Call

COMMANDS = ["init", "demo", "run", "ingest", "frames", "nights", "observations", "products", "masters", "jobs", "files",
            "show", "why", "plan", "flag", "unflag", "close", "retry", "doctor", "db", "config"]  # fmt: skip


@pytest.fixture
def call(capsys, monkeypatch):
    monkeypatch.delenv("AVCD_HOME", raising=False)
    monkeypatch.setenv("COLUMNS", "160")
    return Call(capsys)


@pytest.fixture(scope="module")
def made_home(tmp_path_factory):
    """A home as `avcd init` makes it."""
    path = tmp_path_factory.mktemp("made") / "home"
    with pytest.raises(SystemExit) as end:
        main(["init", str(path)])
    assert not end.value.code
    return path


@pytest.fixture
def home(made_home, tmp_path, monkeypatch):
    """A home of the test's own, named by AVCD_HOME."""
    path = tmp_path / "home"
    shutil.copytree(made_home, path)
    monkeypatch.setenv("AVCD_HOME", str(path))
    return path


def write_frame(path, **cards):
    header = fits.Header({"IMAGETYP": "Bias Frame", "EXPTIME": 0.0, "DATE-OBS": "2026-01-16T01:00:00", "TELESCOP": "T",
                          "INSTRUME": "ZWO", "XBINNING": 1, "YBINNING": 1, **cards})  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    fits.PrimaryHDU(np.arange(64, dtype=np.uint16).reshape(8, 8), header).writeto(path)


def test_help_names_every_command_and_does_not_load_astropy():
    program = (
        "import sys; sys.argv = ['avcd', '--help']\n"
        "from avcd.cli import main\n"
        "try: main()\n"
        "finally: print(sorted({'astropy', 'sqlalchemy', 'numpy', 'pydantic', 'rich'} & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stderr.strip() == "[]"
    for name in COMMANDS:
        assert f"\n  {name} " in done.stdout


@pytest.mark.parametrize("name", ["combine", "frames", "db", "rules"])
def test_a_command_alone_is_what_it_is_among_all(name):
    among = typer.main.get_command(build()).commands
    alone = typer.main.get_command(build(name)).commands
    assert list(alone) == [name]
    helps = [one[name].get_help(one[name].make_context(name, [], resilient_parsing=True)) for one in (among, alone)]
    assert helps[0] == helps[1]
    assert len(typer.main.get_command(build("no-such-command")).commands) == len(among)


def test_commands_on_files_start_without_what_few_of_them_need():
    code = (
        "import sys, avcd.cli.onfiles, avcd.standalone.combining, avcd.standalone.reducing, avcd.stages.science;"
        "heavy = {f'astropy.{one}' for one in ('coordinates', 'nddata', 'table', 'time', 'wcs')};"
        "print(*sorted((heavy | {'numba', 'scipy', 'sqlalchemy'}) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_python_m_avcd_is_avcd():
    done = subprocess.run([sys.executable, "-m", "avcd", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("avcd ")


@pytest.mark.parametrize("words", [["frames", "--nonsense"], ["nonsense"], ["frames", "--format", "xml"], ["show"], []])
def test_wrong_usage_is_exit_code_2_and_leaves_stdout_alone(call, words):
    said = call(*words)
    assert said.code == 2
    assert said.err or not words
    assert said.out == "" or not words  # without a word there is the help


def test_without_a_home_every_command_says_how_to_make_one(call, tmp_path):
    said = call("frames", "--home", tmp_path / "nowhere")
    assert said.code == 2
    assert said.out == ""
    assert said.err.startswith("avcd: ")
    assert "avcd init" in said.err


def test_a_wrong_setting_is_named_with_its_file(call, home):
    path = home / "avcd.toml"
    path.write_text(path.read_text().replace("rescan_s = 60.0", "rescan_s = -1\nfoo = 1"))
    said = call("frames")
    assert said.code == 2
    assert str(path) in said.err
    assert "watch.rescan_s" in said.err
    assert "watch.foo" in said.err


def test_init_makes_a_home_that_is_well(call, home):
    assert sorted(one.name for one in home.iterdir()) == ["archive", "avcd.toml", "catalogue.sqlite", "drop"]
    assert tomllib.loads((home / "avcd.toml").read_text())["watch"]["quiet_s"] == 5.0
    said = call("doctor", "--format", "json")
    assert said.code == 0
    outcomes = {one["check"]: one["outcome"] for one in said.json}
    assert outcomes.pop("daemon") == "warn"
    outcomes.pop("archive")  # how much room this machine has is its own affair
    assert set(outcomes.values()) == {"ok"}


def test_init_again_changes_nothing_that_is_there(call, home):
    path = home / "avcd.toml"
    path.write_text(path.read_text().replace("rescan_s = 60.0", "rescan_s = 61.0"))
    (home / "drop" / "frame.txt").write_text("mine")
    (home / "archive").rmdir()
    assert call("init", home).code == 0
    assert "rescan_s = 61.0" in path.read_text()
    assert (home / "drop" / "frame.txt").read_text() == "mine"
    assert (home / "archive").is_dir()


def test_init_on_a_file_is_wrong_usage(call, tmp_path):
    (tmp_path / "file").write_text("")
    said = call("init", tmp_path / "file")
    assert said.code == 2
    assert "no directory" in said.err


def test_config_show_tells_each_setting_from_its_default(call, home):
    path = home / "avcd.toml"
    path.write_text(
        path.read_text().replace("rescan_s = 60.0", "rescan_s = 61.0") + '\n[[drop]]\nname = "b"\npath = "b"\n'
    )
    rows = {one["setting"]: one for one in call("config", "show", "--format", "json").json}
    assert rows["watch.rescan_s"]["value"] == 61.0
    assert rows["watch.rescan_s"]["default"] == 60.0
    assert rows["drop.1.name"]["value"] == "b"
    assert all(one["help"] for one in rows.values())


def test_a_missing_catalogue_is_reported_and_upgrade_makes_it(call, home):
    (home / "catalogue.sqlite").unlink()
    assert call("db", "status").code == 1
    said = call("frames")
    assert said.code == 2
    assert "avcd db upgrade" in said.err
    assert call("db", "upgrade").code == 0
    said = call("db", "status", "--format", "json")
    assert said.code == 0
    assert said.json["version"] == said.json["needed"]


def test_doctor_finds_what_is_wrong(call, home):
    (home / "drop").rmdir()
    (home / "catalogue.sqlite").unlink()
    (home / "recipes").mkdir()
    (home / "recipes" / "stack.toml").write_text(
        'kind = "stack"\nname = "stack"\nversion = 1\n[parameters]\nnonsense = 1\n'
    )
    said = call("doctor", "--format", "json")
    assert said.code == 1
    failed = {one["check"]: one["detail"] for one in said.json if one["outcome"] == "fail"}
    assert set(failed) == {"drop drop", "catalogue", "recipes"}
    assert "nonsense" in failed["recipes"]


def test_doctor_tells_of_engines_that_a_recipe_names_and_that_are_not_there(call, home):
    (home / "recipes").mkdir()
    (home / "recipes" / "reduced.toml").write_text(
        'kind = "reduced"\nname = "reduced"\nversion = 4\n[parameters]\nsolve_engines = ["index"]\n'
    )
    settings = home / "avcd.toml"
    settings.write_text(settings.read_text().replace("index_directories = []", 'index_directories = ["/nowhere"]'))
    row = next(one for one in call("doctor", "--format", "json").json if one["check"] == "catalogues and engines")
    assert row["outcome"] == "warn"
    assert row["detail"].startswith("tycho2, index; ")
    assert "avcd[blind]" in row["detail"] or "/nowhere" in row["detail"]


def test_doctor_finds_a_catalogue_whose_pages_are_damaged(call, home):
    path = home / "catalogue.sqlite"
    whole = path.read_bytes()
    assert "fail" not in {one["outcome"] for one in call("doctor", "--format", "json").json}
    for start in range(len(whole) // 2 // 4096 * 4096, len(whole) - 4096, 4096):
        whole = whole[:start] + bytes(range(256)) * 8 + whole[start + 2048 :]
    path.write_bytes(whole)
    rows = {one["check"]: one for one in call("doctor", "--format", "json").json}
    assert rows["catalogue"]["outcome"] == "fail"
    assert "damaged" in rows["catalogue"]["detail"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["close", ""], "no observation is named"),
        (["frames", "--type", "nonsense"], "there is no nonsense; there are"),
        (["jobs", "--status", "bogus"], "there is no bogus; there are"),
        (["frames", "--night", "yesterday"], "no date such as"),
        (["flag", "abc", "--reason", " "], "--reason is empty"),
        (["retry", "abc"], "names 0 dead jobs"),
    ],
)
def test_a_slip_of_the_fingers_is_wrong_usage_and_no_empty_list(call, home, words, said):
    found = call(*words)
    assert found.code == 2
    assert said in found.err
    assert found.out == ""


def test_retry_without_any_dead_job_says_so(call, home):
    assert call("retry").out == "0 dead jobs will be tried again\n"


def test_an_archive_that_cannot_be_made_is_named(call, home):
    settings = home / "avcd.toml"
    settings.write_text(settings.read_text().replace('path = "archive"', 'path = "/proc/none"'))
    said = call("run", "--until-idle")
    assert said.code == 2
    assert "[archive] path: /proc/none cannot be made" in said.err


def test_doctor_and_run_know_the_daemon_that_is_there(call, home):
    with HomeLock(home / "avcd.lock"):
        rows = {one["check"]: one for one in call("doctor", "--format", "json").json}
        assert rows["daemon"]["detail"] == f"pid {os.getpid()}"
        said = call("run", "--until-idle")
    assert said.code == 1
    assert f"pid {os.getpid()}" in said.err


def test_ingest_catalogues_what_is_good_and_says_what_is_not(call, home):
    write_frame(home / "drop" / "night one" / "bïas.fits")
    (home / "drop" / "text.fits").write_text("no FITS")
    (home / "drop" / "picture.jpg").write_bytes(b"\xff\xd8")
    said = call("ingest", home / "drop", "--format", "json")
    assert said.code == 1
    rows = {one["path"]: one for one in said.json}
    assert rows["night one/bïas.fits"]["status"] == "ok"
    assert rows["night one/bïas.fits"]["new_frames"] == 1
    assert rows["text.fits"]["status"] == "unreadable"
    assert rows["text.fits"]["reason"]
    assert rows["picture.jpg"]["status"] == "ignored"
    assert [one["path"] for one in call("frames", "--format", "json").json] == ["night one/bïas.fits"]
    again = call("ingest", home / "drop" / "night one", "--format", "json")
    assert again.code == 0
    assert [one["new_frames"] for one in again.json] == [0]


def test_ingest_outside_every_drop_directory_is_wrong_usage(call, home, tmp_path):
    write_frame(tmp_path / "elsewhere" / "bias.fits")
    said = call("ingest", tmp_path / "elsewhere" / "bias.fits")
    assert said.code == 2
    assert str(home / "drop") in said.err
    assert call("ingest", home / "drop" / "nothing.fits").code == 2


def test_ingest_finds_the_home_of_a_path_given_through_a_link(call, home, tmp_path):
    write_frame(home / "drop" / "bias.fits")
    (tmp_path / "link").symlink_to(home)
    said = call("ingest", tmp_path / "link" / "drop" / "bias.fits", "--format", "json")
    assert said.code == 0
    assert [one["path"] for one in said.json] == ["bias.fits"]


def test_the_demo_never_touches_a_directory_with_something_in_it(call, tmp_path):
    (tmp_path / "mine").write_text("")
    said = call("demo", tmp_path)
    assert said.code == 2
    assert [one.name for one in tmp_path.iterdir()] == ["mine"]
