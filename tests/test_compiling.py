"""Compiled loops are an offer: what becomes of it where Numba is missing, broken, forbidden or cannot keep its code."""

from __future__ import annotations

import importlib
import logging
import subprocess
import sys

import pytest

from avcd import compiling
from avcd.compiling import allowed_threads, available, compiled, kernels, threads

needs_numba = pytest.mark.skipif(not available(), reason="Numba is not installed")


@pytest.fixture(autouse=True)
def fresh():
    """What is known of Numba is found out anew."""
    available.cache_clear()
    kernels.cache_clear()
    yield
    available.cache_clear()
    kernels.cache_clear()


def test_without_numba_there_are_no_kernels(monkeypatch):
    monkeypatch.setattr(compiling.importlib.util, "find_spec", lambda name: None)
    assert kernels("reduction.kernels") is None


def test_it_can_be_forbidden(monkeypatch):
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    assert kernels("reduction.kernels") is None


def test_a_numba_that_does_not_fit_is_reported_and_done_without(monkeypatch, caplog):
    def refuse(name):
        raise ImportError("Numba needs NumPy 2.1 or less")

    monkeypatch.setattr(compiling.importlib.util, "find_spec", lambda name: object())
    monkeypatch.delenv("NUMBA_DISABLE_JIT", raising=False)
    monkeypatch.setattr(importlib, "import_module", refuse)
    with caplog.at_level(logging.WARNING):
        assert kernels("reduction.kernels") is None
    assert "Numba needs NumPy 2.1 or less" in caplog.text


@needs_numba
def test_where_code_cannot_be_kept_it_is_made_anew(monkeypatch):
    import numba

    original = numba.njit

    def nowhere(*functions, cache=False, **options):
        if cache is True:
            raise RuntimeError("no locator available")
        return original(*functions, **options)

    monkeypatch.setattr(numba, "njit", nowhere)
    assert compiled(lambda x: x + 1)(2) == 3


@needs_numba
def test_code_that_was_kept_is_loaded_without_what_compiling_takes():
    code = (
        "import sys, numpy as np; from avcd.compiling import _load; _load('reduction.kernels');"
        "from avcd.reduction import kernels; found = np.zeros(2, np.float32);"
        "kernels.decode_int16(np.array([0x0180, 0xff7f], np.uint16), 0x8000, found); print(*found);"
        "print(*sorted({'numba.np.arraymath', 'scipy.linalg'} & set(sys.modules)))"
    )
    for _ in range(2):  # the first may have to make it
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["1.0 65535.0", ""]


def test_workers_that_are_told_to_use_one_thread_do(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert threads() == 1
    with allowed_threads(3):  # the others have nothing to do
        assert threads() == 3
    assert threads() == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "")
    assert threads() >= 1


def test_small_work_does_not_load_numba():
    code = (
        "import sys, numpy as np; from avcd.reduction.combine import ArraySource, combine_frames;"
        "combine_frames([ArraySource(np.ones((50, 60), np.float32))] * 5); sys.exit('numba' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
