"""Whether a file is FITS, whole, and what its checksums say: read once, from its first byte to its last."""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np

from avcd.compiling import threads
from avcd.encoding import ALL_ONES, BLOCK, CARD, folded, words_of
from avcd.errors import ProductError
from avcd.filling import fill

_WORTH_SHARING = 8 * 2**20  # bytes, from which on another thread is worth its start
_PORTION_BYTES = 2**20  # read, summed and hashed while it is near the processor
_UNPRINTABLE = re.compile(rb"[^\x20-\x7e]")
_KEYWORD = re.compile(rb"[A-Z0-9_-]* *")
_WHOLE = re.compile(rb"= +(-?\d+) *(?:/.*)?")
_BITS = (8, 16, 32, 64, -32, -64)
_MOST_AXES = 999
_MOST_BLOCKS = 10_000  # of a header: what has no end is none
_FIRST = (b"SIMPLE  =", b"XTENSION=")


def verify_fits(path: Path, *, digest: bool = True) -> str:
    """Check that a file is FITS, whole, and that every byte of every HDU is as its CHECKSUM says.

    The sums are taken over the bytes on disk (FITS 4.0, appendix J): astropy's own check writes the header anew
    before it adds it up, and so passes over some damage.

    Parameters
    ----------
    digest
        Whether the file's SHA-256 is asked for.

    Returns
    -------
    str
        The SHA-256 of what was read; "" where it was not asked for.

    Raises
    ------
    ProductError
        It is not.
    """
    found = hashlib.sha256()
    try:
        with path.open("rb", buffering=0) as stream:
            number = 0
            while head := _head(stream):
                if digest:
                    found.update(head)
                size = _data_bytes(head, number)
                total = _sum_of(stream, size, words_of(head), found.update if digest else None)
                if total != ALL_ONES:
                    raise ProductError(f"HDU {number} is not what its checksum says")
                number += 1
            if not number:
                raise ProductError("it is empty")
    except OSError as error:
        raise ProductError(f"{path.name} is damaged: {error}") from error
    except ProductError as error:
        raise ProductError(f"{path.name} is damaged: {error}") from error
    return found.hexdigest() if digest else ""


def _head(stream: BinaryIO) -> bytes:
    """The header that begins here, with its blanks; b"" at the end of the file."""
    found = b""
    for _ in range(_MOST_BLOCKS):
        block = stream.read(BLOCK)
        if not block and not found:
            return b""
        if len(block) < BLOCK:
            raise ProductError("a header has no end")
        found += block
        if any(block.startswith(b"END ", place) for place in range(0, BLOCK, CARD)):
            return found
    raise ProductError("a header has no end")


def _data_bytes(head: bytes, number: int) -> int:
    """How long the data are that a header announces, with padding (FITS 4.0, section 4.4.1)."""
    cards = [head[place : place + CARD] for place in range(0, len(head), CARD)]
    if not cards[0].startswith(_FIRST[min(number, 1)]):
        raise ProductError(f"HDU {number} does not begin as one")
    if _UNPRINTABLE.search(head) or not all(_KEYWORD.fullmatch(card[:8]) for card in cards):
        raise ProductError(f"HDU {number}: a card is none")
    if not all(any(card.startswith(word) for card in cards) for word in (b"CHECKSUM=", b"DATASUM =")):
        raise ProductError(f"HDU {number} carries no checksum")
    bits, axes = _whole(cards, b"BITPIX"), _whole(cards, b"NAXIS")
    if bits not in _BITS or not 0 <= axes <= _MOST_AXES:
        raise ProductError(f"HDU {number}: its header says nothing that makes sense of its data")
    sides = [_whole(cards, f"NAXIS{axis}".encode()) for axis in range(1, axes + 1)]
    extra, groups = _whole(cards, b"PCOUNT", 0), _whole(cards, b"GCOUNT", 1)
    if min([*sides, extra, groups, 0]) < 0:
        raise ProductError(f"HDU {number}: a size in its header is negative")
    size = abs(bits) // 8 * groups * (extra + (math.prod(sides) if sides else 0))
    return -(-size // BLOCK) * BLOCK


def _whole(cards: list[bytes], keyword: bytes, default: int | None = None) -> int:
    start = keyword.ljust(8)
    found = next((card for card in cards if card.startswith(start)), None)
    if found is None and default is not None:
        return default
    match = None if found is None else _WHOLE.fullmatch(found[8:])
    if match is None:
        raise ProductError(f"{keyword.decode()} is no whole number")
    return int(match[1])


def _sum_of(stream: BinaryIO, size: int, total: int, update: Callable[[memoryview], None] | None) -> int:
    """What the words of the next ``size`` bytes come to, added to ``total``; they are handed to ``update``, too.

    Where nobody wants them in their order, a few threads share them.
    """
    start, descriptor = stream.tell(), stream.fileno()
    missing = start + size - os.fstat(descriptor).st_size
    if missing > 0:
        raise ProductError(f"{missing} bytes are missing")
    workers = min(threads(), size // _WORTH_SHARING)
    if update is not None or workers < 2:
        found = _sum_between(descriptor, start, start + size, update)
    else:
        edges = [start + size // 4 * part // workers * 4 for part in range(workers + 1)]
        with ThreadPoolExecutor(workers) as pool:
            found = sum(pool.map(partial(_sum_between, descriptor), edges, edges[1:]))
    stream.seek(start + size)
    return folded(total + found)


def _sum_between(descriptor: int, start: int, end: int, update: Callable[[memoryview], None] | None = None) -> int:
    """What the words of a file from one byte to another come to; portion after portion is handed to ``update``."""
    buffer, total = np.empty(min(end - start, _PORTION_BYTES), np.uint8).data, 0
    while start < end:
        portion = buffer[: min(end - start, len(buffer))]
        got = fill(descriptor, portion, start)
        if got < len(portion):
            raise ProductError("it became shorter while it was read")
        total = folded(total + words_of(portion))
        if update is not None:
            update(portion)
        start += got
    return total
