"""Where the pixels of a frame lie in its file, so that a few rows can be read without the others."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from io import FileIO
from pathlib import Path

from avcd.errors import InputError
from avcd.headers.structure import Part, read_headers

# What float32 holds exactly, or is; the sum of the number and BZERO included.
_STORED = {8: "|u1", 16: ">i2", -32: ">f4"}
_UNSIGNED = 32768


@dataclass(frozen=True)
class StoredPixels:
    """An image whose values are its stored numbers plus a constant.

    Attributes
    ----------
    start
        The byte at which it begins.
    shape
        (ny, nx).
    stored
        The type of its numbers, as NumPy spells it: "|u1", ">i2" or ">f4".
    zero
        The constant: 0, or 32768.
    """

    start: int
    shape: tuple[int, int]
    stored: str
    zero: int


def locate_pixels(path: Path, hdu: int) -> StoredPixels | None:
    """Where an image lies in an uncompressed FITS file.

    Returns
    -------
    StoredPixels or None
        None where its values are not simply those that stand there: another file format or compression, another
        scaling, undefined values (BLANK), doubles, more than two axes; or where the file cannot be read at all, which
        whoever reads it in full will say better.
    """
    try:
        with path.open("rb", buffering=0) as file:
            parts = read_headers(file.read, partial(_pass_over, file))
            part = next((one for one in parts if one.number == hdu), None)
            size = os.fstat(file.fileno()).st_size
    except (InputError, OSError):
        return None
    return None if part is None else _plain(part, size)


def _pass_over(file: FileIO, size: int) -> None:
    file.seek(size, os.SEEK_CUR)


def _plain(part: Part, file_bytes: int) -> StoredPixels | None:
    values = part.header.by_keyword
    scale, zero = (values[name].value if name in values else default for name, default in (("BSCALE", 1), ("BZERO", 0)))
    shape = part.shape
    while len(shape) > 2 and shape[0] == 1:
        shape = shape[1:]
    plain = part.kind == "image" and len(shape) == 2 and part.bits in _STORED and "BLANK" not in values
    known_zero = zero == 0 or (zero == _UNSIGNED and part.bits == 16)
    if not (plain and scale == 1 and known_zero and part.start + part.pixel_bytes <= file_bytes):
        return None
    return StoredPixels(part.start, (shape[0], shape[1]), _STORED[part.bits], int(float(str(zero))))
