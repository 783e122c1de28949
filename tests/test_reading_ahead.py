"""Files are read before they are asked for: the answers are the same, and so are the complaints."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from astropy.io import fits

from avcd.errors import FrameError
from avcd.frame import FrameStatus
from avcd.headers.profiles import load_profiles
from avcd.standalone.ahead import Ahead, read_near
from avcd.standalone.inputs import open_files


@pytest.fixture(scope="module")
def profiles():
    return load_profiles()


def test_what_was_read_ahead_is_what_would_have_been_read(profiles, tmp_path):
    paths = [tmp_path / f"{number}.fits" for number in range(7)]
    for number, path in enumerate(paths):
        header = fits.Header({"IMAGETYP": "Bias Frame", "EXPTIME": 0.0})
        fits.PrimaryHDU(np.full((20, 30), number, np.uint16), header).writeto(path)
    paths[3].write_bytes(b"SIMPLE  = something else")
    missing = tmp_path / "missing.fits"
    ahead = Ahead([*paths, missing, tmp_path], profiles)
    for path in (*reversed(paths), *paths, missing):  # in any order, and twice
        assert ahead.take(path) == read_near(path, profiles)
    assert ahead.take(paths[3]).members[0].status is FrameStatus.UNREADABLE
    with pytest.raises(FrameError):
        open_files(paths[3], profiles, ahead.take(paths[3]))


def test_nobody_waits_for_readings_that_nobody_asked_for(tmp_path):
    pipe = tmp_path / "endless.fits"
    code = (
        "import os, sys, threading; from pathlib import Path; from avcd.headers.profiles import load_profiles;"
        "from avcd.standalone import ahead; ahead.read_near = lambda path, profiles: threading.Event().wait();"
        "ahead.Ahead([Path(sys.argv[1])], load_profiles())"
    )
    pipe.touch()
    assert subprocess.run([sys.executable, "-c", code, str(pipe)], timeout=60, check=False).returncode == 0


@pytest.mark.skipif(sys.platform != "linux", reason="a hint to glibc")
def test_memory_that_was_freed_serves_the_next_image():
    code = (
        "import resource, numpy as np; from avcd.reusing import keep_freed_memory; keep_freed_memory()\n"
        "def faults():\n"
        "    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt; np.ones(40_000_000, np.uint8)\n"
        "    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before\n"
        "print(faults(), faults())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"NUMPY_MADVISE_HUGEPAGE": "0"}
    )
    first, second = map(int, done.stdout.split())
    assert second < first / 100
