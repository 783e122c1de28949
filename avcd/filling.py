"""Bytes of an open file read into memory that is there already, from any place, by any thread."""

from __future__ import annotations

import os


def fill(descriptor: int, buffer: memoryview, position: int) -> int:
    """Read into a buffer from a byte of a file on; the file's own position stays.

    Returns
    -------
    int
        How many bytes came: fewer than the buffer holds only at the end of the file.
    """
    got = 0
    while got < len(buffer):
        count = os.preadv(descriptor, [buffer[got:]], position + got)
        if not count:
            break
        got += count
    return got
