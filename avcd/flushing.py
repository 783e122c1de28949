"""Asking the system to bring a part of a file to the disk while the rest of it is still being made."""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from typing import Any

_WRITE = 2  # SYNC_FILE_RANGE_WRITE: begin with what is not under way, and wait for nothing


def begin_to_sync(descriptor: int, start: int, size: int) -> None:
    """Begin to write bytes of a file to the disk.

    A hint, which needs not be heeded: whether they are there is for `os.fsync` to say, which then has less to wait for.
    """
    call = _sync_file_range()
    if call is not None:
        call(descriptor, ctypes.c_int64(start), ctypes.c_int64(size), _WRITE)


@cache
def _sync_file_range() -> Any:
    """The system's call; None where there is none."""
    return getattr(ctypes.CDLL(None), "sync_file_range", None) if sys.platform == "linux" else None
