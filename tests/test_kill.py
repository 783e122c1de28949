"""Killed at any point of a job's life, by SIGKILL, daemon alone or whole process group: the same archive in the end."""

from __future__ import annotations

import contextlib
import random
import shutil
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from avcd.faults import POINTS
from homes import archive_content, make_home, rows, run_until_idle, start_daemon, tree
from nights import small_night

KILLED = -signal.SIGKILL


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A home that was never disturbed, its archive and its products: what every other must end with."""
    home = make_home(tmp_path_factory.mktemp("undisturbed"))
    small_night(home.path / "drop")
    code, said = run_until_idle(home)
    assert code == 0, said
    return home, archive_content(home), final_products(home)


def final_products(home) -> dict[str, tuple]:
    return {one["id"]: (one["kind"], one["status"], one["path"], one["sha256"]) for one in rows(home, "products")}


def fresh_copy(home, path: Path):
    """The same drop directory under a new home."""
    copy = make_home(path)
    shutil.rmtree(copy.path / "drop")
    shutil.copytree(home.path / "drop", copy.path / "drop")
    return copy


def wait_until_gone(pids: list[int]) -> list[int]:
    """The pids that are still there after all of them had their time to end."""
    alive = [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
    return [one.pid for one in psutil.wait_procs(alive, timeout=10)[1]]


def assert_same(home, undisturbed) -> None:
    _, archive, products = undisturbed
    assert archive_content(home) == archive
    assert final_products(home) == products
    assert not list(home.archive.rglob("*.part"))
    assert {one["state"] for one in rows(home, "jobs")} == {"done"}


@pytest.mark.parametrize("scope", ["group", "daemon"])
def test_killed_at_every_named_point_of_a_jobs_life(tmp_path, undisturbed, scope):
    home = fresh_copy(undisturbed[0], tmp_path / "home")
    before = tree(home.path / "drop")
    for number, point in enumerate(POINTS):
        # Every restart gets a little further before the next blow.
        code, said = run_until_idle(home, kill_at=f"{point}:{1 + number % 3}:{scope}")
        assert code == KILLED, f"{point} was not reached: {said}"
    code, said = run_until_idle(home)
    assert code == 0, said
    assert_same(home, undisturbed)
    assert tree(home.path / "drop") == before


def test_killed_at_ten_random_moments(tmp_path, undisturbed):
    home = fresh_copy(undisturbed[0], tmp_path / "home")
    chance = random.Random(20260115)
    workers: list[int] = []
    for _ in range(10):
        process = start_daemon(home, "--until-idle")
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=chance.uniform(0.5, 6.0))
        if process.poll() is None:
            workers += [one.pid for one in psutil.Process(process.pid).children(recursive=True)]
            process.kill()
        process.communicate()
    assert wait_until_gone(workers) == []
    code, said = run_until_idle(home)
    assert code == 0, said
    assert_same(home, undisturbed)
