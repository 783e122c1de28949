"""The planes of a product read from its file: by a few threads, and turned round while they are near the processor."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, BinaryIO

import numpy as np

from avcd.compiling import threads
from avcd.filling import fill

_PORTION_BYTES = 2**20
_UNSIGNED = 32768
# BITPIX and BZERO of what is read so, and how it is stored.
_STORED: dict[tuple[int, int], tuple[type[np.generic], str]] = {
    (-32, 0): (np.float32, ">f4"),
    (16, _UNSIGNED): (np.uint16, ">u2"),
}


def read_plane(hdu: Any, stream: BinaryIO, kind: type[np.generic]) -> np.ndarray:
    """An image's pixels as an array of their own.

    Parameters
    ----------
    hdu
        Of astropy, opened on ``stream``; what is not stored as products store their planes, astropy reads itself.
    stream
        A file on a disk.
    kind
        The type of the answer.

    Raises
    ------
    OSError
        The file ends within the pixels.
    """
    header = hdu.header
    scaling = header.get("BSCALE", 1), header.get("BLANK")
    known = _STORED.get((header.get("BITPIX"), header.get("BZERO", 0)))
    place = hdu.fileinfo()
    packed = place is None or place["file"].compression is not None
    if known is None or known[0] is not kind or header.get("NAXIS") != 2 or scaling != (1, None) or packed:
        return np.array(hdu.data, dtype=kind)
    found = np.empty((header["NAXIS2"], header["NAXIS1"]), kind)
    _read_turned(stream.fileno(), place["datLoc"], known[1], found.reshape(-1))
    return found


def _read_turned(descriptor: int, place: int, stored: str, out: np.ndarray) -> None:
    """Numbers of a file from a byte on, in the machine's order."""
    size = _PORTION_BYTES // out.itemsize
    starts = range(0, out.size, size)
    workers = min(threads(), len(starts)) or 1

    def some(first: int) -> None:
        room = np.empty(min(size, out.size), stored)
        for start in starts[first::workers]:
            part = out[start : start + size]
            buffer = room[: part.size].view(np.uint8).data
            if fill(descriptor, buffer, place + start * out.itemsize) < len(buffer):
                raise OSError("it ends within its pixels")
            part[...] = room[: part.size]
            if part.dtype == np.uint16:  # stored as signed numbers, which are less by that much
                part ^= np.uint16(_UNSIGNED)

    with ThreadPoolExecutor(workers) as pool:
        for _ in pool.map(some, range(workers)):
            pass
