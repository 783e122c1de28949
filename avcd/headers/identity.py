"""A frame's identity: what it holds, whatever file it lies in.

The pixels are hashed as they are stored (big-endian, before scaling) together with what gives them meaning (type,
shape, scaling); the header as its cards' keywords and values, less those that describe the file's bytes. So the same
frame plain, zipped, gzipped or tile-compressed is one frame; equal pixels under other headers are other frames.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

import numpy as np

from avcd.frame import Card, canonical_json

# Structure, sums and compression: these differ between two files of one frame.
_NOT_CONTENT = re.compile(
    r"^(SIMPLE|XTENSION|BITPIX|NAXIS\d*|EXTEND|PCOUNT|GCOUNT|GROUPS|BSCALE|BZERO|EXTNAME|EXTVER|EXTLEVEL|INHERIT|CHECKSUM|DATASUM"
    r"|ZHECKSUM|ZDATASUM|ZIMAGE|ZSIMPLE|ZEXTEND|ZTENSION|ZBITPIX|ZNAXIS\d*|ZTILE\d*|ZCMPTYPE|ZNAME\d+|ZVAL\d+|ZQUANTIZ|ZDITHER0"
    r"|ZBLANK|ZSCALE|ZZERO|ZPCOUNT|ZGCOUNT|TFIELDS|THEAP|TTYPE\d+|TFORM\d+|LONGSTRN|)$"
)
# Said by FITS writers about the format, not by anybody about the exposure.
_BOILERPLATE = re.compile(
    r"FITS \(Flexible Image Transport System\) format|and Astrophysics', volume 376", re.IGNORECASE
)


_STORED = {8: "|u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}


def pixel_digest(data: np.ndarray, scale: float, zero: float) -> str:
    """SHA-256 of stored pixels.

    Parameters
    ----------
    data
        As stored, unscaled, any shape.
    scale, zero
        BSCALE and BZERO.
    """
    stored = np.ascontiguousarray(data, dtype=data.dtype.newbyteorder(">"))
    bits = {text: bits for bits, text in _STORED.items()}[stored.dtype.str]
    return pixel_hash(memoryview(stored.reshape(-1)).cast("B"), bits, stored.shape, scale, zero)


def pixel_hash(stored: memoryview | bytes, bits: int, shape: tuple[int, ...], scale: float, zero: float) -> str:
    """SHA-256 of an image's bytes as they lie in a FITS file, with what gives them meaning.

    Parameters
    ----------
    stored
        The pixels, big-endian.
    bits, shape
        BITPIX, and the axes, slowest first.
    scale, zero
        BSCALE and BZERO.
    """
    head = canonical_json([_STORED[bits], list(shape), float(scale), float(zero)])
    digest = hashlib.sha256(head.encode())
    digest.update(stored)
    return digest.hexdigest()


def header_digest(cards: Iterable[Card]) -> str:
    """SHA-256 of the cards that say something about the exposure, in order; comments beside values do not count."""
    kept = [[one.keyword, _canonical(one.value)] for one in cards if is_content(one)]
    return hashlib.sha256(canonical_json(kept).encode()).hexdigest()


def is_content(card: Card) -> bool:
    """Whether a card says something about the exposure."""
    if _NOT_CONTENT.match(card.keyword):
        return False
    return not (card.keyword == "COMMENT" and _BOILERPLATE.search(str(card.value)))


def _canonical(value: object) -> object:
    """A value as it counts: trailing blanks of strings do not, numbers that JSON lacks are spelled out."""
    if isinstance(value, str):
        return value.rstrip()
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return repr(value)
    return value


def frame_identity(pixels: str, header: str) -> str:
    """The id of a frame from the digests of its pixels and header."""
    return hashlib.sha256(f"{pixels}:{header}".encode()).hexdigest()
