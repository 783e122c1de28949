"""Images as bytes of FITS files: encoded, summed and written strip by strip; and the sums of whole files, read so."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, BinaryIO

import numpy as np
from astropy.io import fits

_BLOCK = 2880
_STRIP_BYTES = 4 * 2**20
ALL_ONES = 0xFFFFFFFF  # what the 32-bit words of an HDU with CHECKSUM add up to, in ones' complement
_WITHOUT_SUM = "0" * 16
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
            _write_image(header, images[written], stream)
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
        hdu.add_checksum(when="HDU checksum", override_datasum=False)
    buffer = io.BytesIO()
    whole.writeto(buffer, checksum=False)
    raw = buffer.getvalue()
    with fits.open(io.BytesIO(raw), memmap=False, disable_image_compression=True) as found:
        for hdu in found:
            place = hdu.fileinfo()
            header = fits.Header.fromstring(raw[place["hdrLoc"] : place["datLoc"]].decode("ascii"))
            yield header, raw[place["datLoc"] : place["datLoc"] + place["datSpan"]]


def _write_image(header: fits.Header, pixels: np.ndarray, stream: BinaryIO) -> None:
    header["NAXIS2"], header["NAXIS1"] = pixels.shape
    start = stream.tell()
    stream.write(bytes(len(header.tostring())))
    total = 0
    for part, words in _stripsencoded(pixels):
        stream.write(part)
        total += words
    end = stream.tell()
    data_bytes = pixels.nbytes
    stream.write(bytes(-data_bytes % _BLOCK))
    sign(header, folded(total))
    stream.seek(start)
    stream.write(header.tostring().encode("ascii"))
    stream.seek(end + -data_bytes % _BLOCK)


def _stripsencoded(pixels: np.ndarray) -> Iterator[tuple[memoryview, int]]:
    """The bytes of an image strip after strip, with what their words add up to; one strip is made while one is written."""
    flat = np.ascontiguousarray(pixels).reshape(-1)
    size = _STRIP_BYTES // flat.itemsize
    starts = range(0, flat.size, size)

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


def sign(header: fits.Header, data_sum: int) -> None:
    """Set the sums of a header whose other cards are as they will be written (FITS 4.0, appendix J)."""
    header["DATASUM"] = str(data_sum)
    header["CHECKSUM"] = _WITHOUT_SUM
    text = header.tostring().encode("ascii")
    header["CHECKSUM"] = checksum_text(folded(words_of(text) + data_sum))


def words_of(block: bytes | memoryview | np.ndarray) -> int:
    """The sum of a block's big-endian words of 32 bits, modulo 2^32 - 1; its length is a multiple of four."""
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


def sums_of(stream: BinaryIO, places: Sequence[Mapping[str, int]]) -> Iterator[tuple[int, int]]:
    """What the words of each HDU of a file add up to, and how many bytes of it are there.

    Parameters
    ----------
    stream
        The file, opened without a buffer.
    places
        As astropy's ``fileinfo`` has them: hdrLoc, datLoc, datSpan.
    """
    buffer = np.empty(_STRIP_BYTES, np.uint8)
    for place in places:
        stream.seek(place["hdrLoc"])
        left = place["datLoc"] + place["datSpan"] - place["hdrLoc"]
        total = there = 0
        while left:
            got = stream.readinto(buffer[: min(left, buffer.size)].data)  # type: ignore[attr-defined]
            if not got:
                break
            there, left = there + got, left - got
            if got % 4:  # within a word: the file ends here, or is read on at an odd place
                more = stream.read(4 - got % 4)
                total += words_of(buffer[:got].tobytes() + more + bytes(4 - got % 4 - len(more)))
                there, left = there + len(more), left - len(more)
            else:
                total += words_of(buffer[:got])
        yield folded(total), there
