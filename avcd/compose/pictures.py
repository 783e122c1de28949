"""Pictures as files: PNG, JPEG and TIFF with their colour space and place on the sky; equal pictures give equal bytes.

Nothing of time, host or program goes in. PNG is written here and not by a library, so that large pictures are packed by
several threads at once.
"""

from __future__ import annotations

import io
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

import numpy as np
import tifffile
from PIL import Image, ImageCms

from avcd.compose.captions import captioned

_PROFILE_DATE = slice(24, 36)  # in an ICC profile's header: when it was made
_PROFILE_SUM = slice(84, 100)
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_UP = 2  # the PNG filter that writes each row as its difference to the one above
_PART_BYTES = 1 << 20
_THREADS = 2
_TIFF_ICC, _TIFF_XMP = 34675, 700
_JPEG_QUALITY = 92


@dataclass(frozen=True)
class Tags:
    """What a picture says of itself beside its pixels: ``xmp`` an XMP packet; ``text`` for people."""

    xmp: str = ""
    text: str = ""


@cache
def srgb_profile() -> bytes:
    """The ICC profile of sRGB, with a fixed date."""
    raw = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    raw[_PROFILE_DATE] = struct.pack(">6H", 2000, 1, 1, 0, 0, 0)
    raw[_PROFILE_SUM] = bytes(16)
    return bytes(raw)


def eight_bit(rgb: np.ndarray) -> np.ndarray:
    """Values from 0 to 1 as bytes, the first row at the top; shape (ny, nx, 3) or (ny, nx)."""
    return _top_down(rgb, 255, np.uint8)


def _top_down(rgb: np.ndarray, top: int, kind: type[np.unsignedinteger]) -> np.ndarray:
    """Pictures begin at the top, FITS images at the bottom; done by strips, for large pictures are many."""
    found = np.empty(rgb.shape, kind)
    turned = rgb[::-1]

    def strip(start: int) -> None:
        values = np.clip(turned[start : start + 64], 0, 1)
        values = values * np.float32(top)
        values += np.float32(0.5)
        found[start : start + 64] = values

    with ThreadPoolExecutor(_THREADS) as threads:
        list(threads.map(strip, range(0, rgb.shape[0], 64)))
    return found


def png_bytes(rgb: np.ndarray, *, caption: str | None = None, tags: Tags | None = None) -> bytes:
    """An 8-bit PNG of values from 0 to 1, shape (ny, nx, 3) or (ny, nx), the first row at the bottom; without date.

    A caption is written below the picture.
    """
    pixels = eight_bit(rgb)
    if caption:
        pixels = np.asarray(captioned(Image.fromarray(pixels), caption))
    return png_of_pixels(pixels, tags or Tags())


def png_of_pixels(pixels: np.ndarray, tags: Tags | None = None) -> bytes:
    """A PNG of bytes, the first row at the top, shape (ny, nx, 3) or (ny, nx); colours are sRGB."""
    height, width = pixels.shape[:2]
    colour = pixels.ndim == 3
    tags = tags or Tags()
    chunks = [_chunk(b"IHDR", struct.pack(">2I5B", width, height, 8, 2 if colour else 0, 0, 0, 0))]
    if colour:
        chunks.append(_chunk(b"iCCP", b"sRGB\0\0" + zlib.compress(srgb_profile(), 9)))
    if tags.text:
        chunks.append(_chunk(b"iTXt", b"Description\0\0\0\0\0" + tags.text.encode()))
    if tags.xmp:
        chunks.append(_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + tags.xmp.encode()))
    rows = pixels.reshape(height, -1)
    coded = np.empty((height, rows.shape[1] + 1), np.uint8)
    coded[:, 0] = _UP
    coded[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=coded[1:, 1:])
    chunks.append(_chunk(b"IDAT", _deflated(coded)))
    return b"".join([_SIGNATURE, *chunks, _chunk(b"IEND", b"")])


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(body, zlib.crc32(kind)))


def _deflated(coded: np.ndarray) -> bytes:
    """One zlib stream of parts that are packed apart: their borders depend on the size alone, never on the threads."""
    whole = coded.data.cast("B")
    parts = [whole[start : start + _PART_BYTES] for start in range(0, len(whole), _PART_BYTES)]

    def packed(index: int) -> bytes:
        packer = zlib.compressobj(1, zlib.DEFLATED, -15, 9, zlib.Z_FILTERED)
        end = zlib.Z_FINISH if index == len(parts) - 1 else zlib.Z_FULL_FLUSH
        return packer.compress(parts[index]) + packer.flush(end)

    if len(parts) == 1:
        bodies = [packed(0)]
    else:
        with ThreadPoolExecutor(_THREADS) as threads:
            bodies = list(threads.map(packed, range(len(parts))))
    return b"".join([b"\x78\x01", *bodies, struct.pack(">I", zlib.adler32(whole))])


def jpeg_bytes(
    rgb: np.ndarray, *, caption: str | None = None, tags: Tags | None = None, quality: int = _JPEG_QUALITY
) -> bytes:
    """A JPEG of values from 0 to 1, shape (ny, nx, 3) or (ny, nx), the first row at the bottom; colours are not thinned out.

    ``quality`` from 1 to 95.
    """
    picture = Image.fromarray(eight_bit(rgb))
    if caption:
        picture = captioned(picture, caption)
    tags = tags or Tags()
    stream = io.BytesIO()
    more: dict[str, bytes] = {"xmp": tags.xmp.encode()} if tags.xmp else {}
    if tags.text:
        more["comment"] = tags.text.encode()
    picture.save(stream, "JPEG", quality=quality, subsampling=0, icc_profile=srgb_profile(), **more)
    return stream.getvalue()


def tiff16_bytes(rgb: np.ndarray, *, description: str | None = None, tags: Tags | None = None) -> bytes:
    """A 16-bit TIFF of values from 0 to 1, shape (ny, nx, 3), the first row at the bottom; without date or program."""
    tags = tags or Tags()
    profile, xmp = srgb_profile(), tags.xmp.encode()
    extra = [(_TIFF_ICC, 7, len(profile), profile, True)]
    if xmp:
        extra.append((_TIFF_XMP, 1, len(xmp), xmp, True))
    stream = io.BytesIO()
    tifffile.imwrite(
        stream,
        _top_down(rgb, 65535, np.uint16),
        photometric="rgb",
        compression="zlib",
        compressionargs={"level": 1},
        rowsperstrip=64,
        maxworkers=_THREADS,
        metadata=None,
        software=False,
        datetime=False,
        description=description or tags.text or None,
        extratags=extra,
    )
    return stream.getvalue()


PICTURES = ("png", "jpg", "tiff")


def picture_bytes(form: str, rgb: np.ndarray, caption: str | None, tags: Tags, quality: int = _JPEG_QUALITY) -> bytes:
    """A picture in one of the forms of `PICTURES`; a TIFF has its caption in its description, and none in its pixels."""
    if form == "tiff":
        return tiff16_bytes(rgb, description=caption, tags=tags)
    if form == "jpg":
        return jpeg_bytes(rgb, caption=caption, tags=tags, quality=quality)
    return png_bytes(rgb, caption=caption, tags=tags)
