"""From close() of a file to its row: the real daemon, native watch, files one by one and in bursts. Run by ``make bench``.

Prints median and 99th percentile, less the settle time, beside how long watchdog itself takes to tell of a file (the peer:
nothing that listens to it can be quicker).
"""

from __future__ import annotations

import io
import queue
import random
import sqlite3
import statistics
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from astropy.io import fits
from watchdog.events import FileClosedEvent, FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

from avcd.catalog import Catalog
from avcd.config import CONFIG_NAME, Home, example_toml, load_home

SINGLE, BURST, BURSTS = 60, 500, 2
QUIET_S = 0.5
PATIENCE_S = 120


def frame(number: int) -> bytes:
    header = fits.Header({"IMAGETYP": "Light Frame", "EXPTIME": 60.0, "FILTER": "Red", "OBJECT": "M 42", "TELESCOP": "T20",
                          "INSTRUME": "CCD", "XBINNING": 1, "YBINNING": 1, "DATE-OBS": "2026-01-15T21:36:00"})  # fmt: skip
    rng = np.random.default_rng(number)
    hdu = fits.PrimaryHDU(rng.integers(900, 1100, (64, 64), dtype=np.uint16), header)
    stream = io.BytesIO()
    hdu.writeto(stream)
    return stream.getvalue()


def drop_file(drop: Path, name: str, content: bytes) -> float:
    """Write a file; the time at which it was closed."""
    with (drop / name).open("wb") as stream:
        stream.write(content)
    return time.time()


class Rows:
    """When each file's row appeared, by looking every millisecond."""

    def __init__(self, database: Path) -> None:
        self._connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
        self._last = 0
        self.seen: dict[str, float] = {}

    def wait(self, names: set[str]) -> None:
        end = time.monotonic() + PATIENCE_S
        while not names <= self.seen.keys():
            assert time.monotonic() < end, f"no row of {sorted(names - self.seen.keys())[:3]}"
            found = self._connection.execute("SELECT id, name FROM file WHERE id > ?", (self._last,)).fetchall()
            now = time.time()
            for number, name in found:
                self._last = max(self._last, number)
                self.seen[name] = now
            time.sleep(0.001)


def make_home(path: Path, *, previews: bool) -> Home:
    (path / "drop").mkdir(parents=True)
    settings = {"watch": {"quiet_s": QUIET_S}, "processing": {"previews": previews, "provisional": False}}
    (path / CONFIG_NAME).write_text(example_toml(settings), encoding="utf-8")
    loaded = load_home(path)
    catalog = Catalog(loaded.database_url)
    catalog.upgrade()
    catalog.close()
    return loaded


@contextmanager
def daemon(home: Home) -> Iterator[Rows]:
    """A daemon at work, with its first frame catalogued."""
    with (home.path / "log").open("w") as log:
        process = subprocess.Popen([sys.executable, "-m", "avcd", "run", "--home", str(home.path)], stderr=log)
        try:
            rows = Rows(home.path / "catalogue.sqlite")
            drop_file(home.roots["drop"], "first.fits", frame(10**6))
            rows.wait({"first.fits"})
            yield rows
        finally:
            process.terminate()
            process.wait(60)


def told(name: str, delays_s: list[float]) -> str:
    ordered = sorted(delays_s)
    p99 = ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]
    return f"  {name:<44} {1e3 * statistics.median(ordered):>9.1f} ms {1e3 * p99:>9.1f} ms"


class Listener(FileSystemEventHandler):
    def __init__(self) -> None:
        self.told: queue.SimpleQueue[tuple[str, float]] = queue.SimpleQueue()

    def on_closed(self, event: FileSystemEvent) -> None:
        self.told.put((Path(str(event.src_path)).name, time.time()))


def peer(directory: Path) -> list[float]:
    directory.mkdir()
    listener, observer, delays = Listener(), Observer(), []
    observer.schedule(listener, str(directory), event_filter=[FileClosedEvent])
    observer.start()
    for number in range(SINGLE):
        closed = drop_file(directory, f"{number}.fits", b"x" * 11520)
        delays.append(listener.told.get(timeout=10)[1] - closed)
    observer.stop()
    observer.join()
    return delays


def one_by_one(rows: Rows, drop: Path, name: str) -> list[float]:
    contents = [frame(zlib.crc32(f"{name}{number}".encode())) for number in range(SINGLE)]
    delays, gaps = [], random.Random(1)
    for number, content in enumerate(contents):
        closed = drop_file(drop, f"{name}-{number}.fits", content)
        rows.wait({f"{name}-{number}.fits"})
        delays.append(rows.seen[f"{name}-{number}.fits"] - closed - QUIET_S)
        time.sleep(gaps.uniform(0, 0.3))
    return delays


def burst(rows: Rows, drop: Path, name: str) -> list[float]:
    contents = [frame(zlib.crc32(f"{name}{number}".encode())) for number in range(BURST)]
    closed = {
        f"{name}-{number}.fits": drop_file(drop, f"{name}-{number}.fits", one) for number, one in enumerate(contents)
    }
    rows.wait(set(closed))
    return [rows.seen[name] - at - QUIET_S for name, at in closed.items()]


def test_from_close_to_row(tmp_path, capsys):
    said = [
        f"\n{'':<46} {'median':>10} {'99 %':>12}",
        told("peer: watchdog tells of a closed file", peer(tmp_path / "peer")),
    ]
    home = make_home(tmp_path / "quiet", previews=False)
    with daemon(home) as rows:
        said.append(told("one by one", one_by_one(rows, home.roots["drop"], "one")))
        said += [
            told(f"burst of {BURST}", burst(rows, home.roots["drop"], f"burst{number}")) for number in range(BURSTS)
        ]
    home = make_home(tmp_path / "busy", previews=True)
    with daemon(home) as rows:
        burst(rows, home.roots["drop"], "before")
        said.append(told("one by one, every worker busy with previews", one_by_one(rows, home.roots["drop"], "busy")))
    with capsys.disabled():
        print("\n".join(said))
