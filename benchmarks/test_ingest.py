"""``avcd ingest`` of many small frames into an empty catalogue, hashing included; run by ``make bench``.

Prints frames per second with the start of the process, and the most memory it took for a quarter of the files and for all
of them, each into a catalogue of its own. The peer is ccdproc's ImageFileCollection, which reads the headers of the same files into a table in memory.
AVCD_BENCH_FILES makes it larger or smaller.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ccdproc import ImageFileCollection
from databases import database

from avcd.catalog import Catalog
from avcd.config import CONFIG_NAME, Home, example_toml, load_home
from nights import write_night

NUMBER = int(os.environ.get("AVCD_BENCH_FILES", "20000"))
# The process's own peak, printed by itself; its readers' are counted by getrusage when they have ended.
PROGRAM = """
import resource, sys
from avcd.cli import main
try:
    main(sys.argv[1:])
finally:
    own, others = (resource.getrusage(one).ru_maxrss for one in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(own, others, file=sys.stderr)
"""


@contextmanager
def new_home(backend: str, path: Path) -> Iterator[Home]:
    """A home with an empty catalogue, over the drop directory beside it."""
    path.mkdir()
    with database(backend, path) as url:
        settings = {"database": {"url": url}, "drop": {"path": str(path.parent / "drop")}}
        (path / CONFIG_NAME).write_text(example_toml(settings), encoding="utf-8")
        loaded = load_home(path)
        catalog = Catalog(loaded.database_url)
        catalog.upgrade()
        catalog.close()
        yield loaded


def ingest(home, below: str = "") -> tuple[float, int, int]:
    """Seconds, and the most memory of the process and of its largest reader [MiB]."""
    command = [sys.executable, "-c", PROGRAM, "ingest", str(home.roots["drop"] / below), "--home", str(home.path)]
    kept = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}  # as installed: nothing is compiled anew
    start = time.perf_counter()
    done = subprocess.run([*command, "--format", "csv"], capture_output=True, text=True, check=False, env=kept)
    took_s = time.perf_counter() - start
    own, others = done.stderr.split()[-2:]
    return took_s, int(own) // 1024, int(others) // 1024


def peer(some: list[str]) -> float:
    """Frames per second of ccdproc."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        start = time.perf_counter()
        ImageFileCollection(filenames=some, keywords=["filter", "exptime", "object"])
    return len(some) / (time.perf_counter() - start)


@pytest.mark.parametrize("backend", ["sqlite", "postgresql"])
def test_ingest(backend, tmp_path, capsys):
    quarter = write_night(tmp_path / "drop" / "first", NUMBER // 4)
    write_night(tmp_path / "drop" / "second", NUMBER - NUMBER // 4, seed=2)
    said = [f"\n{backend}: {NUMBER} frames of 70 cards, {os.cpu_count()} processors"]
    some = [str(one) for one in quarter[:500]]
    peers = [peer(some)]
    for name, below, count in (("a quarter", "first", len(quarter)), ("all", "", NUMBER)):
        with new_home(backend, tmp_path / name.replace(" ", "-")) as home:
            took_s, own, others = ingest(home, below)
            peers.append(peer(some))
            beside = statistics.mean(peers[-2:])  # just before, and just after
            ratio = f"{count / took_s / beside:.1f} times ccdproc"
            said.append(
                f"  {name:<22} {count / took_s:>8.0f} frames/s   {own:>5} MiB, readers {others:>5} MiB   {ratio}"
            )
            if below:
                continue
            took_s, own, _ = ingest(home)
            said.append(f"  {'again, nothing changed':<22} {NUMBER / took_s:>8.0f} files/s    {own:>5} MiB")
            catalog = Catalog(home.database_url)
            assert sum(1 for _ in catalog.frames()) == NUMBER
            catalog.close()
    each = ", ".join(f"{one:.0f}" for one in peers)
    said.append(f"  {'peer: ccdproc':<22} {statistics.median(peers):>8.0f} frames/s   (headers only; {each})")
    with capsys.disabled():
        print("\n".join(said))
