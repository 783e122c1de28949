"""A frame's identity: what it holds, whatever file it lies in.

The pixels are hashed as they are stored (big-endian, before scaling) together with what gives them meaning (type,
shape, scaling); the header as its cards' keywords and values, less those that describe the file's bytes. So the same
frame plain, zipped, gzipped or tile-compressed is one frame; equal pixels under other headers are other frames.
"""

from __future__ import annotations

import functools
import hashlib
import re

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


# What numpy calls the pixels of each BITPIX.
STORED = {8: "|u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}


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
    digest = hashlib.sha256(_meaning(bits, shape, scale, zero))
    digest.update(stored)
    return digest.hexdigest()


@functools.lru_cache(maxsize=64)
def _meaning(bits: int, shape: tuple[int, ...], scale: float, zero: float) -> bytes:
    return canonical_json([STORED[bits], list(shape), float(scale), float(zero)]).encode()


def is_content(card: Card) -> bool:
    """Whether a card says something about the exposure."""
    if card.keyword == "COMMENT":
        return not _BOILERPLATE.search(str(card.value))
    return _is_content_keyword(card.keyword)


@functools.cache
def _is_content_keyword(keyword: str) -> bool:
    return not _NOT_CONTENT.match(keyword)


def frame_identity(pixels: str, header: str) -> str:
    """The id of a frame from the digests of its pixels and header."""
    return hashlib.sha256(f"{pixels}:{header}".encode()).hexdigest()
