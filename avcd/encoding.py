"""Images as bytes of FITS files: encoded, summed and written strip by strip; and the sums of whole files, read so."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any, BinaryIO

import numpy as np
from astropy.io import fits

from avcd.compiling import loaded, threads
from avcd.flushing import begin_to_sync

BLOCK = 2880
CARD = 80
_STRIP_BYTES = 4 * 2**20
_COMPILED_BYTES = 256 * 2**10
ALL_ONES = 0xFFFFFFFF  # what the 32-bit words of an HDU with CHECKSUM add up to, in ones' complement
_WITHOUT_SUM = "0" * 16
SUM_COMMENT = "HDU checksum"
_LETTERS = [code for first, last in ("09", "AZ", "az") for code in range(ord(first), ord(last) + 1)]
_UNSIGNED = np.uint16(0x8000)


def write_hdus(hdus: Sequence[Any], stream: BinaryIO) -> None:
    """Write HDUs with CHECKSUM and DATASUM: astropy's bytes, without its copies of the images.

    Parameters
    ----------
    hdus
        Of astropy, the primary one first. Images are float32, or uint16, which are stored with BZERO.
    stream
        Can be sought in: a header is written when the sum of its pixels is known.
    """
    images = {number: hdu.data for number, hdu in enumerate(hdus) if _is_large(hdu)}
    small = [_stand_in(hdu) if number in images else hdu for number, hdu in enumerate(hdus)]
    for written, (header, tail) in enumerate(encoded(small)):
        if written in images:
            write_image(header.tostring().encode("ascii"), images[written], stream)
        else:
            stream.write(header.tostring().encode("ascii") + tail)


def _is_large(hdu: Any) -> bool:
    plain = isinstance(hdu, (fits.PrimaryHDU, fits.ImageHDU)) and hdu.data is not None and hdu.data.ndim == 2
    return plain and hdu.data.dtype in (np.float32, np.uint16) and hdu.data.size > 0


def _stand_in(hdu: Any) -> Any:
    """An HDU of the same header with one pixel: astropy does to it whatever it does to headers."""
    return type(hdu)(np.zeros((1, 1), hdu.data.dtype), hdu.header)


def encoded(hdus: Sequence[Any]) -> Iterator[tuple[fits.Header, bytes]]:
    """Headers and data of HDUs as astropy writes them, sums included."""
    whole = fits.HDUList(list(hdus))
    whole.update_extend()  # else it would be done while writing, after the sums
    for hdu in whole:
        # The default comments say when the sum was made, which would differ in every file.
        hdu.add_datasum(when="data unit checksum")
        hdu.add_checksum(when=SUM_COMMENT, override_datasum=False)
    buffer = io.BytesIO()
    whole.writeto(buffer, checksum=False)
    raw = buffer.getvalue()
    with fits.open(io.BytesIO(raw), memmap=False, disable_image_compression=True) as found:
        for hdu in found:
            place = hdu.fileinfo()
            header = fits.Header.fromstring(raw[place["hdrLoc"] : place["datLoc"]].decode("ascii"))
            yield header, raw[place["datLoc"] : place["datLoc"] + place["datSpan"]]


def write_image(head: bytes, pixels: np.ndarray, stream: BinaryIO) -> None:
    """Write an image's HDU.

    Parameters
    ----------
    head
        Its header as it stands in the file, of any axes and sums.
    pixels : float32 or uint16, shape (ny, nx)
    stream
        As of `write_hdus`.
    """
    for axis, size in ((b"NAXIS1  ", pixels.shape[1]), (b"NAXIS2  ", pixels.shape[0])):
        head = _with_card(head, axis, f"{axis.decode()}= {size:>20}")
    start = stream.tell()
    stream.write(bytes(len(head)))
    flat = np.ascontiguousarray(pixels).reshape(-1)
    descriptor, compiled = _descriptor_of(stream), loaded("wordsums")
    workers = min(threads(), flat.nbytes // _COMPILED_BYTES)
    if descriptor is not None and compiled is not None and workers > 1:
        stream.flush()
        total = _write_together(descriptor, stream.tell(), flat, compiled, workers)
        stream.seek(flat.nbytes, os.SEEK_CUR)
    else:
        total = 0
        for part, words in _stripsencoded(flat):
            stream.write(part)
            total += words
    stream.write(bytes(-pixels.nbytes % BLOCK))
    end = stream.tell()
    if descriptor is not None:
        stream.flush()
        begin_to_sync(descriptor, start, end - start)
    stream.seek(start)
    stream.write(signed(head, folded(total)))
    stream.seek(end)


def _descriptor_of(stream: BinaryIO) -> int | None:
    """Of a file on a disk; None of a stream that is none."""
    try:
        return stream.fileno()
    except (AttributeError, OSError):
        return None


def _write_together(descriptor: int, place: int, flat: np.ndarray, compiled: ModuleType, workers: int) -> int:
    """The bytes of an image into a file from ``place`` on, in a few threads; returns what their words add up to."""
    size = _COMPILED_BYTES // flat.itemsize
    portion = _STRIP_BYTES // _COMPILED_BYTES * size or size  # one after the other, so that the disk can begin with it
    portions = range(0, flat.size, portion)

    def some(first: int) -> int:
        room, total = np.empty(size, flat.dtype), 0
        for begin in portions[first::workers]:
            end = min(begin + portion, flat.size)
            for start in range(begin, end, size):
                part = flat[start : min(start + size, end)]
                out = room[: part.size]
                total += _turn(compiled, part, out)
                _write_fully(descriptor, out.view(np.uint8).data, place + start * flat.itemsize)
            begin_to_sync(descriptor, place + begin * flat.itemsize, (end - begin) * flat.itemsize)
        return total

    with ThreadPoolExecutor(workers) as pool:
        return sum(pool.map(some, range(workers)))


def _write_fully(descriptor: int, data: memoryview, place: int) -> None:
    while data:
        written = os.pwrite(descriptor, data, place)
        data, place = data[written:], place + written


def _stripsencoded(flat: np.ndarray) -> Iterator[tuple[memoryview, int]]:
    """The bytes of an image strip after strip, with what their words add up to.

    One strip is made while one is written; by compiled loops, which take less time than that, in so small ones that they are
    near the processor still when they are written.
    """
    compiled = loaded("wordsums")
    size = (_STRIP_BYTES if compiled is None else _COMPILED_BYTES) // flat.itemsize
    starts = range(0, flat.size, size)
    if compiled is not None:
        room = np.empty(min(size, flat.size), flat.dtype)
        for start in starts:
            part = flat[start : start + size]
            out = room[: part.size]
            yield out.view(np.uint8).data, _turn(compiled, part, out)
        return

    def encode(start: int) -> tuple[memoryview, int]:
        part = flat[start : start + size]
        if part.dtype == np.uint16:
            part = part ^ _UNSIGNED
            words = int(part[::2].sum(dtype=np.uint64)) << 16
            words += int(part[1::2].sum(dtype=np.uint64))
        else:
            words = int(part.view(np.uint32).sum(dtype=np.uint64))
        return part.byteswap().view(np.uint8).data, words

    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(encode, 0)
        for start in starts:
            ready = coming.result()
            if start + size < flat.size:
                coming = pool.submit(encode, start + size)
            yield ready


def _turn(compiled: ModuleType, part: np.ndarray, out: np.ndarray) -> int:
    """The bytes of a strip into ``out``; returns what their words add up to."""
    if part.dtype == np.uint16:
        first, second = compiled.turn_counts(part, int(_UNSIGNED), out)
        return (int(first) << 16) + int(second)
    return int(compiled.turn_values(part.view(np.uint32), out.view(np.uint32)))


def signed(head: bytes, data: int | bytes) -> bytes:
    """A header as it stands in the file, with the sums of its data set (FITS 4.0, appendix J).

    Parameters
    ----------
    head
        It has the cards CHECKSUM and DATASUM already.
    data
        The data, or what their words add up to.
    """
    data_sum = data if isinstance(data, int) else words_of(data)
    head = _with_card(head, b"DATASUM ", _sum_card("DATASUM", str(data_sum)))
    head = _with_card(head, b"CHECKSUM", _sum_card("CHECKSUM", _WITHOUT_SUM))
    text = checksum_text(folded(words_of(head) + data_sum))
    return _with_card(head, b"CHECKSUM", _sum_card("CHECKSUM", text))


def _sum_card(keyword: str, value: str) -> str:
    quoted = f"'{value:8}'"
    return f"{keyword:8}= {quoted:20} / {SUM_COMMENT}"


def _with_card(head: bytes, keyword: bytes, card: str) -> bytes:
    """A header as it stands in the file, with the first card of a keyword replaced."""
    start = next(place for place in range(0, len(head), CARD) if head.startswith(keyword, place))
    return head[:start] + card.ljust(CARD).encode("ascii") + head[start + CARD :]


def padded_text(cards: str) -> bytes:
    """Cards as a header in the file: with its end, and blanks up to a whole block."""
    text = cards + "END".ljust(CARD)
    return text.ljust(-(-len(text) // BLOCK) * BLOCK).encode("ascii")


def sign(header: fits.Header, data_sum: int) -> None:
    """Set the sums of a header whose other cards are as they will be written (FITS 4.0, appendix J)."""
    header["DATASUM"] = str(data_sum)
    header["CHECKSUM"] = _WITHOUT_SUM
    text = header.tostring().encode("ascii")
    header["CHECKSUM"] = checksum_text(folded(words_of(text) + data_sum))


def words_of(block: bytes | memoryview | np.ndarray) -> int:
    """The sum of a block's big-endian words of 32 bits, modulo 2^32 - 1; its length is a multiple of four."""
    if len(block) >= _COMPILED_BYTES and (compiled := loaded("wordsums")) is not None:
        return folded(int(compiled.sum_turned(np.frombuffer(block, "<u4"))))
    # Turned round at once: that takes less time than summing up numbers that are the wrong way round.
    return folded(int(np.frombuffer(block, "<u4").byteswap().sum(dtype=np.uint64)))


def folded(total: int) -> int:
    """A sum in ones' complement: what is carried out of 32 bits is added again."""
    while total > ALL_ONES:
        total = (total & ALL_ONES) + (total >> 32)
    return total


def checksum_text(total: int) -> str:
    """CHECKSUM of an HDU whose words, with sixteen zeros in its place, add up to ``total`` (FITS 4.0, appendix J)."""
    wanted = ~total & ALL_ONES
    columns = []
    for shift in (24, 16, 8, 0):
        byte = (wanted >> shift) & 0xFF
        quarter, rest = divmod(byte, 4)
        four = [quarter + ord("0") + rest, *(quarter + ord("0") for _ in range(3))]
        # Neighbours are moved apart, one up and one down, until each is a letter or a digit.
        while any(code not in _LETTERS for code in four):
            for first in (0, 2):
                if any(code not in _LETTERS for code in four[first : first + 2]):
                    four[first] += 1
                    four[first + 1] -= 1
        columns.append(four)
    text = bytes(columns[column][row] for row in range(4) for column in range(4))
    return (text[-1:] + text[:-1]).decode("ascii")  # the card's value begins at an odd place
