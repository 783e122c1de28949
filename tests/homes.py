"""Homes for whole-system tests: a small simulated night, daemons run as processes, archives compared."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from avcd.catalog import Catalog
from avcd.config import CONFIG_NAME, Home, example_toml, load_home

QUICK = {"watch": {"quiet_s": 0.3}, "workers": {"count": 2, "backoff_s": 0.1}}


def make_home(path: Path, **overrides: dict[str, object]) -> Home:
    """A home with quick settings, as ``avcd init`` would make it."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "drop").mkdir(exist_ok=True)
    (path / "archive").mkdir(exist_ok=True)
    settings = {name: {**QUICK.get(name, {}), **overrides.get(name, {})} for name in {*QUICK, *overrides}}
    (path / CONFIG_NAME).write_text(example_toml(settings), encoding="utf-8")
    home = load_home(path)
    catalog = Catalog(home.database_url)
    catalog.upgrade()
    catalog.close()
    return home


def start_daemon(home: Home, *arguments: str, kill_at: str | None = None) -> subprocess.Popen[str]:
    """``avcd run`` as a process of its own, in a process group of its own."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("AVCD_")}
    if kill_at:
        environment["AVCD_KILL_AT"] = kill_at
    return subprocess.Popen(
        [sys.executable, "-m", "avcd", "run", "--home", str(home.path), *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def run_until_idle(home: Home, kill_at: str | None = None, timeout_s: float = 240) -> tuple[int, str]:
    """Run a daemon until idle (or until it is killed); its exit code and what it said."""
    process = start_daemon(home, "--until-idle", kill_at=kill_at)
    _, said = process.communicate(timeout=timeout_s)
    return process.returncode, said


def until(condition: Callable[[], bool], timeout_s: float = 60) -> None:
    """Wait for something another process does."""
    end = time.monotonic() + timeout_s
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < end, "waited for too long"
        pause.wait(0.02)


def archive_content(home: Home) -> dict[str, str]:
    """Every file of the archive by relative path: the SHA-256 of its bytes."""
    return {
        path.relative_to(home.archive).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(home.archive.rglob("*"))
        if path.is_file()
    }


def tree(path: Path) -> dict[str, tuple[int, int, int]]:
    """Everything below a directory: size, modification time and mode, to show that nothing was written."""
    found = {}
    for one in sorted(path.rglob("*")):
        stat = one.stat()
        found[one.relative_to(path).as_posix()] = (stat.st_size, stat.st_mtime_ns, stat.st_mode)
    return found


def rows(home: Home, what: str, **filters: object) -> list[dict]:
    """Rows of the catalogue, as the command line would print them."""
    catalog = Catalog(home.database_url)
    try:
        return list(getattr(catalog, what)(**filters))
    finally:
        catalog.close()


def processes_of(home: Home) -> Iterator[psutil.Process]:
    """Processes that still work on a home: daemons by their command line, workers by their parent's mark."""
    for process in psutil.process_iter():
        try:
            if str(home.path) in " ".join(process.cmdline()):
                yield process
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
