"""The HDUs of a FITS file that hold something, with their cards and identities."""

from __future__ import annotations

import hashlib
import io
import math
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from astropy.io import fits

from avcd.config import Limits
from avcd.errors import FrameError, InputError
from avcd.frame import Card
from avcd.headers.archives import check_growth
from avcd.headers.gathering import Hdu
from avcd.headers.identity import frame_identity, header_digest, is_content, pixel_digest
from avcd.headers.structure import check_structure

_CONTROL_BYTES = re.compile(rb"[\x00-\x1f\x7f]")


@contextmanager
def open_hdus(data: bytes, *, scaled: bool) -> Iterator[fits.HDUList]:
    """A FITS file in memory, opened.

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

    Of avcd's own products only the image itself counts, not its mask and uncertainty.

    Parameters
    ----------
    data
        The whole file, decompressed, but for tile compression.
    limits
        How large a tile-compressed image may grow.

    Raises
    ------
    FrameError, ArchiveError
        Not FITS, or truncated, or nothing in it, or larger than the limits allow.
    """
    headers = check_structure(data)
    with open_hdus(_printable(data, headers), scaled=False) as hdus:
        images = [(number, one) for number, one in enumerate(hdus) if _is_image(one, len(data), limits)]
        if "AVCDID" in hdus[0].header:
            images = images[:1]
        primary = hdus[0].header
        found = [(number, _image(one, primary)) for number, one in images]
        if not found:
            tables = [
                (number, one) for number, one in enumerate(hdus) if isinstance(one, (fits.BinTableHDU, fits.TableHDU))
            ]
            found = [(number, _table(one, data)) for number, one in tables[:1]]
    if not found:
        raise FrameError("holds neither an image nor a table")
    return found


def _printable(data: bytes, headers: list[tuple[int, int]]) -> bytes:
    """The file with blanks in place of its headers' control characters, which the reader refuses."""
    if not any(_CONTROL_BYTES.search(data, start, end) for start, end in headers):
        return data
    cleaned = bytearray(data)
    for start, end in headers:
        cleaned[start:end] = _CONTROL_BYTES.sub(b" ", data[start:end])
    return bytes(cleaned)


def _is_image(hdu: Any, packed: int, limits: Limits) -> bool:
    if not isinstance(hdu, (fits.PrimaryHDU, fits.ImageHDU, fits.CompImageHDU)) or not hdu.shape:
        return False
    size = math.prod(hdu.shape) * abs(int(hdu.header["BITPIX"])) // 8
    if isinstance(hdu, fits.CompImageHDU):
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
        commentary = card.keyword in ("COMMENT", "HISTORY", "")
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


def _cards(header: fits.Header) -> tuple[list[Card], list[str]]:
    """The cards as they are kept, and what is wrong with some of them."""
    found, problems = [], []
    for card in header.cards:
        try:
            value, comment = card.value, card.comment or ""
        except fits.VerifyError:
            card.verify("silentfix")  # makes a text of whatever stands there
            value, comment = card.value, card.comment or ""
            problems.append(f"{card.keyword} is not readable: {value!r}")
        if isinstance(value, fits.card.Undefined):
            value = None
        elif not isinstance(value, (str, bool, int, float)) or (isinstance(value, float) and not math.isfinite(value)):
            value = str(value)
        found.append(Card(card.keyword, value, comment))
    return found, problems


def _all_cards(hdu: Any, primary: fits.Header) -> tuple[tuple[Card, ...], tuple[str, ...]]:
    cards, problems = _cards(hdu.header)
    if hdu.header is not primary and int(primary.get("NAXIS", 0)) == 0:
        known = {one.keyword for one in cards} - {"COMMENT", "HISTORY", ""}
        common, more = _cards(primary)
        cards += [one for one in common if is_content(one) and one.keyword not in known]
        problems += more
    return tuple(cards), tuple(problems)


def _image(hdu: Any, primary: fits.Header) -> Hdu:
    cards, problems = _all_cards(hdu, primary)
    data = hdu.data
    # The scaling stands in the cards still: the reader was told not to apply it.
    scale, zero = (float(hdu.header.get(key, default)) for key, default in (("BSCALE", 1.0), ("BZERO", 0.0)))
    pixels = pixel_digest(data, scale, zero)
    return Hdu(
        id=frame_identity(pixels, header_digest(cards)),
        pixel_sha256=pixels,
        cards=cards,
        shape=tuple(int(one) for one in data.shape),
        is_table=False,
        problems=problems,
    )


def _table(hdu: Any, data: bytes) -> Hdu:
    cards, problems = _cards(hdu.header)
    pixels = hashlib.sha256(data).hexdigest()
    return Hdu(
        id=frame_identity(pixels, header_digest(cards)),
        pixel_sha256=pixels,
        cards=tuple(cards),
        shape=(),
        is_table=True,
        problems=tuple(problems),
    )
