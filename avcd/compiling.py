"""Compiling hot loops by Numba, where it is installed; everything works, slower, without it."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from types import ModuleType
from typing import Any

log = logging.getLogger("avcd.compiling")


@cache
def available() -> bool:
    """Whether loops can be compiled: Numba is installed, and NUMBA_DISABLE_JIT does not forbid it."""
    return importlib.util.find_spec("numba") is not None and os.environ.get("NUMBA_DISABLE_JIT", "0") in ("", "0")


@cache
def kernels(name: str) -> ModuleType | None:
    """The module of compiled loops ``avcd.NAME``; None where they cannot be compiled.

    Loading it takes a second the first time, and its loops some seconds more the very first time on a machine.
    """
    if not available():
        return None
    try:
        return importlib.import_module(f"avcd.{name}")
    except ImportError as error:
        # A Numba that does not fit the NumPy beside it says so only when it is loaded.
        log.warning("Numba is installed but cannot be used, and work goes on without it, slower: %s", error)
        return None


def loaded(name: str) -> ModuleType | None:
    """The module of compiled loops, where Numba is in use already; None where loading it would cost more than it saves."""
    return kernels(name) if "numba" in sys.modules else None


def load_beside(name: str) -> None:
    """Begin to load compiled loops, by their module's ``load`` the machine code too, while this thread waits for something else."""
    threading.Thread(target=_load, args=(name,)).start()


def _load(name: str) -> None:
    module = kernels(name)
    if module is not None:
        module.load()


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function compiled without the freedom to reorder sums, and without the interpreter's lock.

    The machine code is kept beside the module, or in the user's cache; where neither can be written (an installation
    that is read-only, a service without a home), it is made anew in every process.
    """
    import numba

    options: dict[str, Any] = {"nogil": True, "fastmath": False, "error_model": "numpy"}
    try:
        found = numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no locator: there is nowhere to keep it
        return numba.njit(**options)(function)
    return _loading_only_itself(found)


def _loading_only_itself(dispatcher: Any) -> Any:
    """Have machine code that was kept loaded without all that Numba would need to make it, which takes half a second.

    Numba prepares itself for compiling before it looks whether there is anything to compile. Code that was kept calls
    nothing but Numba's runtime, and that is made ready here; loops that call BLAS are not for `compiled`.
    """
    from numba.core.caching import FunctionCache
    from numba.core.runtime import rtsys

    if not all(hasattr(FunctionCache, name) for name in ("_load_overload", "_guard_against_spurious_io_errors")):
        return dispatcher  # a Numba that is built otherwise does as it pleases

    class KeptCode(FunctionCache):
        def load_overload(self, sig: Any, target_context: Any) -> Any:
            rtsys.initialize(target_context)
            with self._guard_against_spurious_io_errors():
                return self._load_overload(sig, target_context)

    dispatcher._cache = KeptCode(dispatcher.py_func)
    return dispatcher


_allowed = 0


@contextmanager
def allowed_threads(number: int) -> Iterator[None]:
    """Within it, `threads` answers ``number`` everywhere in this process."""
    global _allowed
    before, _allowed = _allowed, number
    try:
        yield
    finally:
        _allowed = before


def threads() -> int:
    """How many threads are worth starting: what OMP_NUM_THREADS says, else the processor cores this process may use.

    The daemon's workers have it set to one, for the pool uses every core already; a worker whose job is the only one for
    now is allowed as many as there are workers.
    """
    if _allowed:
        return _allowed
    said = os.environ.get("OMP_NUM_THREADS", "")
    if said.isdecimal() and int(said) > 0:
        return int(said)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
