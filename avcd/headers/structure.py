"""What a FITS file is made of, found from its headers alone, before anything else believes them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from avcd.errors import FrameError
from avcd.headers.cards import CARD_BYTES, Header, read_cards

BLOCK = 2880
# What other readers take for an END card, too: anything may stand behind it that makes no longer keyword.
_BROKEN_END = re.compile(rb"END[^A-Z0-9_-]")
_MOST_AXES = 999
_TABLES = ("BINTABLE", "A3DTABLE", "TABLE")
_BITS = (8, 16, 32, 64, -32, -64)


@dataclass(slots=True)
class Part:
    """One HDU of a file.

    Attributes
    ----------
    number
        From 0, the primary HDU.
    header
        Its own, before a tile-compressed image is unpacked.
    start, size
        Where its data begin and, where that was asked, how long they are [bytes], without padding.
    """

    number: int
    header: Header
    start: int
    size: int = 0
    _kind: str = ""
    _shape: tuple[int, ...] | None = None

    @property
    def end(self) -> int:
        """Where the next HDU begins."""
        return self.start + padded(self.size)

    @property
    def kind(self) -> str:
        """One of "image", "packed" (a tile-compressed image), "table", "groups" (random groups) or "other"."""
        self._kind = self._kind or _kind_of(self.number, self.header)
        return self._kind

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the image, slowest axis first; also of a tile-compressed one. () without any."""
        if self._shape is None:
            z = "Z" if self.kind == "packed" else ""
            count = integer(self.header, f"{z}NAXIS")
            self._shape = tuple([integer(self.header, f"{z}NAXIS{one}") for one in range(count, 0, -1)])
        return self._shape

    @property
    def bits(self) -> int:
        """BITPIX of the image."""
        return integer(self.header, "ZBITPIX" if self.kind == "packed" else "BITPIX")

    @property
    def pixel_bytes(self) -> int:
        """How long the unpacked image is [bytes]."""
        return math.prod(self.shape) * abs(self.bits) // 8 if self.shape else 0


def _kind_of(number: int, header: Header) -> str:
    if number == 0:
        return "groups" if _has_groups(header) else "image"
    name = str(_value(header, "XTENSION") or "").strip().upper()
    if name in ("IMAGE", "IUEIMAGE"):
        return "image"
    if name in _TABLES:
        return "packed" if name != "TABLE" and _value(header, "ZIMAGE") is True else "table"
    return "other"


def read_parts(data: bytes) -> list[Part]:
    """The HDUs of a file.

    Raises
    ------
    FrameError
        A header does not end or makes no sense, or data are missing; it says exactly what.
    """
    if not data:
        raise FrameError("empty file")
    check_magic(data)
    found: list[Part] = []
    position = 0
    while position < len(data):
        # Padding or special records may lie behind the last HDU.
        if position and not data.startswith(b"XTENSION", position):
            break
        end = header_end(data, position)
        if end < 0:
            raise FrameError(f"truncated: the header at byte {position} has no END in {len(data)} bytes")
        header = read_cards(data[position:end])
        start = padded(end + CARD_BYTES)
        size = data_size(header)
        # The last block's padding may be missing: some programs leave it out, and nothing is lost with it.
        if start + size > len(data):
            raise FrameError(f"truncated: {len(data)} of {start + padded(size)} bytes")
        found.append(Part(len(found), header, start, size))
        position = start + padded(size)
    return found


def check_magic(data: bytes) -> None:
    """Whether these are the first bytes of a FITS file.

    Raises
    ------
    FrameError
        They are not.
    """
    if not data.startswith(b"SIMPLE  ="):
        raise FrameError("not a FITS file: no SIMPLE card at its beginning")


def header_end(data: bytes, start: int) -> int:
    """Where the END card of the header at ``start`` lies; -1 where there is none.

    Parameters
    ----------
    data
        Whole blocks; the last one may be short.
    start
        A multiple of 2880.
    """
    found = data.find(b"END", start)
    while found >= 0:
        if (found - start) % CARD_BYTES == 0 and _is_end(data, found):
            return found
        found = data.find(b"END", found + 1)
    return -1


def _is_end(data: bytes, position: int) -> bool:
    return bool(_BROKEN_END.match(data, position)) or data[position : position + CARD_BYTES].rstrip() == b"END"


def padded(size: int) -> int:
    """``size`` filled up to whole blocks."""
    return -(-size // BLOCK) * BLOCK


def data_size(header: Header) -> int:
    """Bytes of data that a header announces (FITS standard 4.0, section 4.4.1), without padding.

    Raises
    ------
    FrameError
        The cards that say so are missing or make no sense.
    """
    count = integer(header, "NAXIS")
    bits = integer(header, "BITPIX")
    if bits not in _BITS:
        raise FrameError(f"not readable as FITS: BITPIX={bits}")
    if not 0 <= count <= _MOST_AXES:
        raise FrameError(f"not readable as FITS: NAXIS={count}")
    axes = [integer(header, f"NAXIS{number}") for number in range(1, count + 1)]
    extra, groups = integer(header, "PCOUNT", 0), integer(header, "GCOUNT", 1)
    if min([*axes, extra, groups, 0]) < 0:
        raise FrameError("not readable as FITS: a negative size in its header")
    if axes and axes[0] == 0 and _has_groups(header):
        axes = axes[1:]
    elements = math.prod(axes) if axes else 0
    return abs(bits) // 8 * groups * (extra + elements)


def _has_groups(header: Header) -> bool:
    return _value(header, "GROUPS") is True and _value(header, "NAXIS1") == 0


def _value(header: Header, keyword: str) -> object:
    found = header.first(keyword)
    return None if found is None else found.value


def integer(header: Header, keyword: str, default: int | None = None) -> int:
    """A whole number of a header.

    Raises
    ------
    FrameError
        It is not there, and there is no ``default``, or it is no whole number.
    """
    found = header.first(keyword)
    if found is None:
        if default is None:
            raise FrameError(f"not readable as FITS: no {keyword} card")
        return default
    value = found.value
    if isinstance(value, bool) or not isinstance(value, int):
        raise FrameError(f"not readable as FITS: {keyword} is no whole number")
    return value


def read_headers(read: Callable[[int], bytes], skip: Callable[[int], None]) -> Iterator[Part]:
    """The HDUs of a stream, one after the other; only blocks up to each END are read.

    Parameters
    ----------
    read
        Gives so many bytes, fewer at the end of the file.
    skip
        Passes over so many bytes.

    Raises
    ------
    FrameError
        A header does not end, or makes no sense.
    """
    number, position = 0, 0
    while True:
        block = read(BLOCK)
        if number == 0:
            if not block:
                raise FrameError("empty file")
            check_magic(block)
        elif not block.startswith(b"XTENSION"):
            return
        end = header_end(block, 0)
        while end < 0:
            more = read(BLOCK)
            if not more:
                raise FrameError(f"truncated: the header at byte {position} has no END")
            # An END card never lies across two blocks: only the new one is searched.
            end = header_end(more, 0)
            if end >= 0:
                end += len(block)
            block += more
        header = read_cards(block[:end])
        yield Part(number, header, position + len(block))
        size = padded(data_size(header))
        skip(size)
        position += len(block) + size
        number += 1
