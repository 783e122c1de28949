"""The HDUs of a FITS file that hold something, with their cards and identities."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from avcd.config import Limits
from avcd.errors import FrameError, HeaderError
from avcd.headers.archives import check_growth
from avcd.headers.cards import COMMENTARY, Header
from avcd.headers.gathering import Hdu
from avcd.headers.identity import frame_identity, is_content, pixel_hash
from avcd.headers.packed import unpacked
from avcd.headers.structure import Part, integer, read_parts
from avcd.headers.values import to_number


def find_hdus(data: bytes, limits: Limits) -> list[tuple[int, Hdu]]:
    """The images of a file with their HDU numbers; of a file of tables alone, its first table.

    Of avcd's own products only the image itself counts, not its mask and uncertainty. Several images of one file are
    one exposure: each names it, and its own place in the camera.

    Parameters
    ----------
    data
        The whole file, decompressed, but for tile compression.
    limits
        How large a tile-compressed image may grow.

    Raises
    ------
    FrameError, ArchiveError, HeaderError
        Not FITS, or truncated, or nothing in it, or larger than the limits allow.
    """
    parts = read_parts(data)
    images = [one for one in parts if _is_image(one, len(data), limits)]
    if parts[0].header.first("AVCDID"):
        images = images[:1]
    found = [(one.number, _image(one, parts, data)) for one in images]
    if len(found) > 1:
        first = found[0][1].id
        found = [(number, replace(one, exposure_id=first, detector=_detector(number, one))) for number, one in found]
    if not found:
        tables = [one for one in parts if one.kind in ("table", "groups")]
        found = [(one.number, _table(one, data)) for one in tables[:1]]
    if not found:
        raise FrameError("holds neither an image nor a table")
    return found


def _is_image(part: Part, packed: int, limits: Limits) -> bool:
    if part.kind not in ("image", "packed") or not part.shape:
        return False
    size = part.pixel_bytes
    if part.kind == "packed":
        check_growth(size, packed, "the tile-compressed image", limits)
    return size > 0


def header_of(part: Part, primary: Part) -> Header:
    """An image's header, unpacked, with what an empty primary HDU says of all extensions."""
    own = unpacked(part.header) if part.kind == "packed" else part.header
    if part is primary or integer(primary.header, "NAXIS") > 0:
        return own
    known = {one.keyword for one in own.cards}.difference(COMMENTARY)
    more = [(card, image) for card, image in primary.header if is_content(card) and card.keyword not in known]
    return Header([*own.cards, *(one for one, _ in more)], [*own.images, *(one for _, one in more)])


def _image(part: Part, parts: Sequence[Part], data: bytes) -> Hdu:
    header = header_of(part, parts[0])
    scale, zero = (_scaling(part.header, key, default) for key, default in (("BSCALE", 1.0), ("BZERO", 0.0)))
    shape = part.shape
    if part.kind == "packed":
        from avcd.headers.pixels import packed_digest  # what unpacks it takes longer to load than most files to read

        pixels = packed_digest(data, parts, part.number, scale, zero)
    else:
        stored = memoryview(data)[part.start : part.start + part.pixel_bytes]
        pixels = pixel_hash(stored, part.bits, shape, scale, zero)
    return _hdu(pixels, header, shape, is_table=False)


def _hdu(pixels: str, header: Header, shape: tuple[int, ...], *, is_table: bool) -> Hdu:
    digest, text = header.texts()
    return Hdu(
        id=frame_identity(pixels, digest),
        pixel_sha256=pixels,
        cards=header.cards,
        header_text=text,
        shape=shape,
        is_table=is_table,
        problems=header.problems,
        by_keyword=header.by_keyword,
    )


def _scaling(header: Header, keyword: str, default: float) -> float:
    found = header.first(keyword)
    if found is None:
        return default
    number = to_number(found.value)
    if number is None:
        raise HeaderError(f"not readable as FITS: {keyword} is no number")
    return number


def _detector(number: int, hdu: Hdu) -> str:
    """The name of one image among several: which detector or amplifier it is."""
    named = next((one for one in hdu.cards if one.keyword == "EXTNAME"), None)
    return str(named.value).strip() if named and named.value else f"HDU {number}"


def _table(part: Part, data: bytes) -> Hdu:
    pixels = hashlib.sha256(data).hexdigest()
    return _hdu(pixels, part.header, (), is_table=True)
