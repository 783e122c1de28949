"""Reading headers, beside astropy, ccdproc and wcstools on the same files in the same run. Run by ``make bench``.

All values of all cards are made by avcd; astropy makes a value when it is asked for. Prints frames per second, medians of
seven rounds taken in turns, warm, one process. AVCD_BENCH_FILES makes it larger or smaller.
"""

from __future__ import annotations

import gzip
import os
import shutil
import statistics
import subprocess
import time
import warnings

import pytest
from astropy.io import fits
from ccdproc import ImageFileCollection

from avcd.headers.quick import read_header
from nights import CARDS, write_night

NUMBER = int(os.environ.get("AVCD_BENCH_FILES", "20000")) // 10
ROUNDS = 7


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    directory = tmp_path_factory.mktemp("plain")
    plain = write_night(directory, NUMBER, each=NUMBER)
    packed = []
    for path in plain:
        other = tmp_path_factory.getbasetemp() / "packed" / f"{path.name}.gz"
        other.parent.mkdir(exist_ok=True)
        other.write_bytes(gzip.compress(path.read_bytes()))
        packed.append(other)
    return plain, packed


def each(read, paths) -> None:
    """Read one after the other; nothing is kept of them."""
    for one in paths:
        read(one)


def test_headers(frames, capsys):
    plain, packed = frames
    assert len(read_header(plain[0]).cards) == CARDS
    few = max(NUMBER // 10, 1)  # of what takes long

    def collection():
        ImageFileCollection(filenames=[str(one) for one in plain[:few]], keywords=["filter", "exptime", "object"])

    def gethead():
        words = ["gethead", "OBJECT", "EXPTIME", "FILTER", "DATE-OBS", "IMAGETYP"]
        subprocess.run([*words, *map(str, plain)], stdout=subprocess.DEVNULL, check=True)

    work = {
        "avcd, plain": (lambda: each(read_header, plain), NUMBER),
        "avcd, gzipped": (lambda: each(read_header, packed), NUMBER),
        "astropy getheader, plain": (lambda: each(fits.getheader, plain[:few]), few),
        "astropy getheader, gzipped": (lambda: each(fits.getheader, packed[:few]), few),
        "ccdproc ImageFileCollection, plain": (collection, few),
    }
    if shutil.which("gethead"):
        work["wcstools gethead (C), five keywords, plain"] = (gethead, NUMBER)
    rates = {name: [] for name in work}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(ROUNDS):
            for name, (run, count) in work.items():
                start = time.perf_counter()
                run()
                rates[name].append(count / (time.perf_counter() - start))
    ours = statistics.median(rates["avcd, plain"])
    with capsys.disabled():
        print(f"\nheaders of {CARDS} cards, frames/s")
        for name, found in rates.items():
            middle = statistics.median(found)
            print(f"  {name:<46} {middle:>9.0f}   avcd plain is {ours / middle:5.2f} times as fast")
