"""What is installed: the wheel carries what avcd needs, the service is one that systemd takes, make knows its targets."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The wheel, built from the repository and unpacked where nothing else is."""
    pytest.importorskip("hatchling", reason="hatchling, which builds the wheel, is not here; make test installs it")
    directory = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(directory)],
        cwd=REPOSITORY, check=True, capture_output=True,
    )  # fmt: skip
    (wheel,) = directory.glob("*.whl")
    site = directory / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return site


def run_installed(site: Path, home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("AVCD_")}
    return subprocess.run(
        [sys.executable, "-m", "avcd", *words, "--home", str(home)] if words[0] != "init" else
        [sys.executable, "-m", "avcd", "init", str(home)],
        env={**environment, "PYTHONPATH": str(site)}, cwd=home.parent, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_a_wheel_makes_a_home_with_a_catalogue_and_is_well(installed, tmp_path):
    program = "import avcd, avcd.resources; print(avcd.__file__); print(avcd.resources.shipped('db'))"
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    found = subprocess.run([sys.executable, "-c", program], env=environment, cwd=tmp_path, capture_output=True, text=True,
                           check=True).stdout.split()  # fmt: skip
    assert all(Path(one).is_relative_to(installed) for one in found)  # else the rest would prove nothing
    assert run_installed(installed, tmp_path / "home", "init").returncode == 0
    status = run_installed(installed, tmp_path / "home", "db", "status")
    assert status.returncode == 0, status.stderr
    doctor = run_installed(installed, tmp_path / "home", "doctor")
    assert doctor.returncode == 0, doctor.stdout
    assert "Tycho-2" in doctor.stdout


def test_a_wheel_carries_data_and_licence_but_no_tests(installed):
    names = {path.relative_to(installed).as_posix() for path in installed.rglob("*") if path.is_file()}
    assert "avcd/py.typed" in names
    assert "avcd/sky/data/tycho2.bin" in names
    assert "avcd/_shipped/systemd/avcd.service" in names
    assert any(re.fullmatch(r"avcd-[^/]+\.dist-info/licenses/LICENSE", one) for one in names)
    entry = next(installed.glob("*.dist-info/entry_points.txt")).read_text()
    assert "avcd = avcd.cli:main" in entry
    assert not [one for one in names if one.startswith(("tests/", "docs/", "db/"))]


def service() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in (REPOSITORY / "systemd" / "avcd.service").read_text(encoding="utf-8").splitlines():
        if "=" in line and not line.startswith("#"):
            key, value = line.split("=", 1)
            found.setdefault(key, []).append(value)
    return found


def test_the_service_notifies_is_watched_and_has_no_right_it_does_not_need():
    unit = service()
    assert unit["Type"] == ["notify"]
    assert int(unit["WatchdogSec"][0]) > 0
    assert unit["ProtectSystem"] == ["strict"]
    assert unit["NoNewPrivileges"] == ["yes"]
    assert unit["CapabilityBoundingSet"] == [""]
    assert unit["User"] != ["root"]
    assert unit["RestartPreventExitStatus"] == ["2"]


def test_systemd_takes_the_service_without_a_word(tmp_path):
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not here")
    text = (REPOSITORY / "systemd" / "avcd.service").read_text(encoding="utf-8")
    # systemd looks for the command too; here it is this Python's, not the system's.
    command = Path(sys.executable).with_name("avcd")
    if not command.exists():
        pytest.skip("the avcd command is not installed beside this Python")
    (tmp_path / "avcd.service").write_text(text.replace("ExecStart=avcd ", f"ExecStart={command} "), encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / "avcd.service")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.strip() == ""
    (tmp_path / "avcd.service").write_text(
        text.replace("Type=notify", "Type=nonsense").replace("ExecStart=avcd ", f"ExecStart={command} ")
    )
    wrong = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / "avcd.service")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "nonsense" in wrong.stderr  # a mistake would have been seen


@pytest.mark.parametrize("target", ["demo", "test", "lint", "bench", "venv", "clean"])
def test_make_knows_its_targets(target):
    if not shutil.which("make"):
        pytest.skip("make is not here")
    done = subprocess.run(["make", "--dry-run", target], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_the_check_script_is_sound_shell():
    path = REPOSITORY / ".ci" / "run"
    assert os.access(path, os.X_OK)
    assert "set -euo pipefail" in path.read_text(encoding="utf-8")
    assert subprocess.run(["bash", "-n", str(path)], check=False).returncode == 0
