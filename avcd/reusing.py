"""Asking the C library to keep memory that was freed for what comes next."""

from __future__ import annotations

import ctypes

# Of mallopt: from which size on memory is the system's own, and how much freed memory at the end is given back to it.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_LARGEST = 2**30


def keep_freed_memory() -> None:
    """Have images take the place of those before them, for a program that soon ends.

    Otherwise every one that is read is given memory by the system, which fills it with zeros first, page by page: for files
    in the system's cache that takes longer than reading them. A hint, which is not heeded by libraries other than glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _LARGEST)
        mallopt(_TRIM_THRESHOLD, _LARGEST)
