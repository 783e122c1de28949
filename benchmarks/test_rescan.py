"""A rescan in which nothing has changed, beside `find` and os.walk on the same files in the same run. Run by ``make bench``.

Prints files per second, medians of five, warm; for ``avcd ingest`` with the start of the process and without; and how far the
memory of a rescan grows. AVCD_BENCH_FILES makes it larger or smaller.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from databases import database
from sqlalchemy import insert

from avcd.catalog import Catalog
from avcd.catalog.models import files
from avcd.cli import main
from avcd.config import CONFIG_NAME, example_toml, load_home
from avcd.daemon.intake import Intake
from avcd.headers.profiles import load_profiles
from avcd.scan import scan_root

NUMBER = int(os.environ.get("AVCD_BENCH_FILES", "20000"))
NIGHT = 500  # files in one directory


def fill(drop: Path) -> None:
    for number in range(NUMBER):
        directory = drop / f"2026/night-{number // NIGHT:04d}"
        if number % NIGHT == 0:
            directory.mkdir(parents=True)
        (directory / f"raw-T20-observer-M45-20260115-{number:06d}-Red-BIN1-W-060-001.fit").touch()


def catalogue(catalog: Catalog, drop: Path) -> None:
    """Rows for all files, as reading them would leave; reading them is another benchmark."""

    def row(path: Path) -> dict[str, object]:
        stat = path.stat()
        return {
            "root": "drop", "relative_path": path.relative_to(drop).as_posix(), "member": "", "name": path.name, "sha256": None,
            "size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "ctime_ns": stat.st_ctime_ns, "present": True,
            "status": "ok", "reason": "", "first_seen": 0.0,
        }  # fmt: skip

    rows = [row(path) for path in drop.rglob("*.fit")]
    catalog.write(lambda connection: connection.execute(insert(files), rows))
    catalog.analyse()


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def home(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("home")
    with database(request.param, path) as url:
        (path / "drop").mkdir()
        (path / CONFIG_NAME).write_text(example_toml({"database": {"url": url}}), encoding="utf-8")
        loaded = load_home(path)
        catalog = Catalog(loaded.database_url)
        catalog.upgrade()
        fill(path / "drop")
        catalogue(catalog, path / "drop")
        catalog.close()
        yield loaded


def timed(name: str, work: Callable[[], object]) -> str:
    times = []
    for _ in range(6):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    took_s = statistics.median(times[1:])
    return f"  {name:<46} {NUMBER / took_s:>10.0f} files/s {1e3 * took_s:>8.1f} ms"


def walk(drop: Path) -> int:
    count = 0
    for directory, _, names in os.walk(drop):
        for name in names:
            os.stat(f"{directory}/{name}")  # noqa: PTH116 - as the peer would
            count += 1
    return count


def test_rescan_of_unchanged_files(home, capsys):
    drop = home.roots["drop"]
    catalog = Catalog(home.database_url)
    intake = Intake(home, catalog, load_profiles(), time.time)
    command = ["ingest", str(drop), "--home", str(home.path)]

    def ingest() -> None:
        with pytest.raises(SystemExit):
            main(command)

    def start(*words: str) -> None:
        program = [sys.executable, "-m", "avcd", *words]
        subprocess.run(program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)

    find = ["find", str(drop), "-type", "f", "-printf", "%s %T@ %p\\n"]
    said = [
        f"\n{catalog.engine.dialect.name}: {NUMBER} files, none changed",
        timed("peer: find -printf", lambda: subprocess.run(find, stdout=subprocess.DEVNULL, check=True)),
        timed("peer: os.walk and os.stat", lambda: walk(drop)),
        timed("the daemon's rescan", intake.rescan),
        timed("avcd ingest DIR, in a process that runs", ingest),
        timed("avcd ingest DIR, with the start of its process", lambda: start(*command)),
    ]
    assert scan_root(catalog, "drop", drop, 0.0).found == NUMBER
    assert intake.found == 0
    tracemalloc.start()
    intake.rescan()
    said.append(f"  {'memory a rescan takes at most':<46} {tracemalloc.get_traced_memory()[1] / 2**20:>10.2f} MiB")
    tracemalloc.stop()
    catalog.close()
    with capsys.disabled():
        print("\n".join(said))
