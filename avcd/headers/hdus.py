"""The HDUs of a FITS file that hold something, with their cards and identities."""

from __future__ import annotations

import hashlib
import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from astropy.io import fits

from avcd.config import Limits
from avcd.errors import FrameError, HeaderError, InputError
from avcd.frame import Card
from avcd.headers.archives import check_growth
from avcd.headers.cards import COMMENTARY, Header
from avcd.headers.gathering import Hdu
from avcd.headers.identity import frame_identity, is_content, pixel_digest, pixel_hash
from avcd.headers.packed import unpacked
from avcd.headers.structure import Part, integer, read_parts
from avcd.headers.values import to_number

_CONTROL_BYTES = re.compile(rb"[\x00-\x1f\x7f]")


@contextmanager
def open_hdus(data: bytes, *, scaled: bool) -> Iterator[fits.HDUList]:
    """A FITS file in memory, opened by astropy.

    Parameters
    ----------
    data
        The whole file.
    scaled
        Whether BSCALE and BZERO are applied to pixels.

    Raises
    ------
    FrameError
        It is not readable.
    """
    try:
        with warnings.catch_warnings():
            # Cards beside the standard are many observatories' daily bread; what cannot be read raises.
            warnings.simplefilter("ignore")
            with fits.open(io.BytesIO(data), do_not_scale_image_data=not scaled, memmap=False) as hdus:
                yield hdus
    except InputError:
        raise
    except Exception as error:
        # Broken files bring forth errors of every class in the reader; each of them is the file's, and is its reason.
        raise FrameError(f"not readable as FITS: {error or type(error).__name__}") from error


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


def merged_header(own: fits.Header, primary: fits.Header) -> fits.Header:
    """An extension's header with what an empty primary HDU says of all extensions; an image's own header otherwise.

    Parameters
    ----------
    own, primary
        Of the HDU, and of the file's first. Neither is changed.

    Returns
    -------
    Header
        New, without cards that no reader understands.
    """
    found = readable_header(own)
    if own is primary or int(primary.get("NAXIS", 0)) > 0:
        return found
    for card in readable_header(primary).cards:
        commentary = card.keyword in COMMENTARY
        if is_content(Card(card.keyword, card.value)) and (commentary or card.keyword not in found):
            found.append(fits.Card(card.keyword, card.value, card.comment), end=True)
    return found


def readable_header(header: fits.Header) -> fits.Header:
    """A copy of a header without the cards that cannot be parsed."""
    found = fits.Header()
    for card in header.cards:
        try:
            _ = card.value, card.comment
        except fits.VerifyError:
            continue
        found.append(card, end=True, bottom=True)
    return found


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
        with open_hdus(_printable(data, parts), scaled=False) as hdus:
            # The scaling stands in the cards still: the reader was told not to apply it.
            pixels = pixel_digest(hdus[part.number].data, scale, zero)
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
    )


def _scaling(header: Header, keyword: str, default: float) -> float:
    found = header.first(keyword)
    if found is None:
        return default
    number = to_number(found.value)
    if number is None:
        raise HeaderError(f"not readable as FITS: {keyword} is no number")
    return number


def _printable(data: bytes, parts: Sequence[Part]) -> bytes:
    """The file with blanks in place of its headers' control characters, which astropy refuses."""
    ranges = [(0 if one.number == 0 else parts[one.number - 1].end, one.start) for one in parts]
    if not any(_CONTROL_BYTES.search(data, start, end) for start, end in ranges):
        return data
    cleaned = bytearray(data)
    for start, end in ranges:
        cleaned[start:end] = _CONTROL_BYTES.sub(b" ", data[start:end])
    return bytes(cleaned)


def _detector(number: int, hdu: Hdu) -> str:
    """The name of one image among several: which detector or amplifier it is."""
    named = next((one for one in hdu.cards if one.keyword == "EXTNAME"), None)
    return str(named.value).strip() if named and named.value else f"HDU {number}"


def _table(part: Part, data: bytes) -> Hdu:
    pixels = hashlib.sha256(data).hexdigest()
    return _hdu(pixels, part.header, (), is_table=True)
