"""The header of a file's first image, read from no more of the file than its blocks up to END."""

from __future__ import annotations

import bz2
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from avcd.errors import ArchiveError, FrameError
from avcd.headers.archives import FITS_SUFFIXES, FRAME_KINDS, kind_of
from avcd.headers.cards import Header
from avcd.headers.hdus import header_of
from avcd.headers.structure import Part, read_headers

_PIECE = 1 << 16
_PACKED = 1 << 13
_INFLATED = 2880 * 3  # most headers end in their first three blocks
_GZIP = 16 + zlib.MAX_WBITS


def read_header(path: Path | str) -> Header:
    """The header of the first image of a file; of a file without any, the first one.

    Parameters
    ----------
    path
        A .fits, .fit, .fts, a .fz, any of them as .gz or .bz2, or a .zip, of which the first frame counts.

    Returns
    -------
    Header
        Of a tile-compressed image, the header the image had; of an extension, with what an empty primary HDU says.

    Raises
    ------
    FrameError, ArchiveError
        It is not FITS, or broken before its header ends.
    OSError
        It cannot be opened.

    Examples
    --------
    >>> from avcd.headers.quick import read_header
    >>> {card.keyword: card.value for card in read_header("tests/data/feder/uint16.fit").cards}["FILTER"]
    'R'
    """
    name = os.fspath(path)
    if name.endswith(FITS_SUFFIXES) or (kind := kind_of(name)) not in ("zip", "compressed"):
        return _read_open(name, gzipped=False)
    if kind == "compressed" and name.lower().endswith(".gz"):
        return _read_open(name, gzipped=True)
    with _stream(name) as (read, skip):
        return _first_image(read_headers(read, skip))


def _read_open(name: str, *, gzipped: bool) -> Header:
    """Of a file that is read by its descriptor: half the time of a stream, where only a header is wanted."""
    descriptor = os.open(name, os.O_RDONLY)
    try:
        if not gzipped:
            return _first_image(read_headers(partial(os.read, descriptor), partial(_pass_over, descriptor)))
        inflated = _Inflated(partial(os.read, descriptor))
        return _first_image(read_headers(inflated.read, inflated.skip))
    except zlib.error as error:
        raise ArchiveError(f"broken compression: {error}") from None
    finally:
        os.close(descriptor)


def _pass_over(descriptor: int, size: int) -> None:
    os.lseek(descriptor, size, os.SEEK_CUR)


def _first_image(parts: Iterator[Part]) -> Header:
    first: Part | None = None
    for one in parts:
        first = first or one
        if one.kind in ("image", "packed") and one.shape:
            return header_of(one, first)
    if first is None:
        raise FrameError("no header in it")
    return first.header


class _Inflated:
    """The content of a gzip stream, unpacked no further than is asked for."""

    def __init__(self, packed: Callable[[int], bytes]) -> None:
        self._packed = packed
        self._inflater = zlib.decompressobj(_GZIP)
        self._waiting = b""
        self._ready = b""

    def read(self, size: int) -> bytes:
        """So many bytes, fewer at the end."""
        while len(self._ready) < size and self._inflate(max(size - len(self._ready), _INFLATED)):
            pass
        found, self._ready = self._ready[:size], self._ready[size:]
        return found

    def skip(self, size: int) -> None:
        """Pass over so many bytes."""
        while size > 0 and (passed := len(self.read(min(size, _PIECE)))):
            size -= passed

    def _inflate(self, size: int) -> bool:
        if self._inflater.eof:  # one stream may follow another
            self._waiting = self._inflater.unused_data or self._waiting
            self._inflater = zlib.decompressobj(_GZIP)
        packed = self._waiting or self._packed(_PACKED)
        if not packed:
            return False
        self._ready += self._inflater.decompress(packed, size)
        self._waiting = self._inflater.unconsumed_tail
        return True


@contextmanager
def _stream(path: str) -> Iterator[tuple[Callable[[int], bytes], Callable[[int], None]]]:
    """Functions that read a compressed file's bytes, and that pass over them."""
    try:
        if kind_of(path) == "zip":
            with zipfile.ZipFile(path) as archive:
                name = next((one for one in archive.namelist() if kind_of(one) in FRAME_KINDS), None)
                if name is None:
                    raise ArchiveError("no frame in the archive")
                with archive.open(name) as member:
                    yield _reading(member, name)
        else:
            with Path(path).open("rb", buffering=0) as raw:
                yield _reading(raw, path)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise ArchiveError(f"broken compression: {error}") from None


def _reading(stream: Any, name: str) -> tuple[Callable[[int], bytes], Callable[[int], None]]:
    if name.lower().endswith(".gz"):
        inflated = _Inflated(stream.read)
        return inflated.read, inflated.skip
    found: Any = bz2.BZ2File(stream) if kind_of(name) == "compressed" else stream

    def skip(size: int) -> None:
        found.seek(size, os.SEEK_CUR)

    return found.read, skip
