"""The header of a tile-compressed image, as the image had it before it was packed (FITS standard 4.0, section 10.1)."""

from __future__ import annotations

import re

from avcd.frame import Card
from avcd.headers.cards import Header

# What the table needs that the image is packed in, and what the packing says of itself.
_OF_THE_TABLE = re.compile(
    r"^(SIMPLE|XTENSION|BITPIX|NAXIS\d*|EXTEND|PCOUNT|GCOUNT|GROUPS|TFIELDS|THEAP|CHECKSUM|DATASUM"
    r"|T(TYPE|FORM|UNIT|NULL|SCAL|ZERO|DISP|BCOL|DIM|CTYP|CUNI|CRPX|CRVL|CDLT|RPOS)\d+"
    r"|ZIMAGE|ZCMPTYPE|ZMASKCMP|ZQUANTIZ|ZDITHER0|ZBLANK|ZSCALE|ZZERO|Z(TILE|NAME|VAL)\d+)$"
)
_ORIGINAL = {
    "ZSIMPLE": "SIMPLE", "ZTENSION": "XTENSION", "ZBITPIX": "BITPIX", "ZEXTEND": "EXTEND", "ZBLOCKED": "BLOCKED",
    "ZPCOUNT": "PCOUNT", "ZGCOUNT": "GCOUNT", "ZHECKSUM": "CHECKSUM", "ZDATASUM": "DATASUM",
}  # fmt: skip
_AXIS = re.compile(r"^ZNAXIS(\d*)$")


def unpacked(header: Header) -> Header:
    """The image's own header: its structure first, then all other cards in their order.

    Parameters
    ----------
    header
        Of the table that holds the packed image.
    """
    structure: dict[str, Card] = {}
    rest: list[tuple[Card, bytes]] = []
    for card, image in header:
        original = _original(card.keyword)
        if original:
            structure.setdefault(original, card._replace(keyword=original))
        elif not _OF_THE_TABLE.match(card.keyword) and card[:2] != ("EXTNAME", "COMPRESSED_IMAGE"):
            rest.append((card, image))
    if "SIMPLE" not in structure:
        structure.setdefault("XTENSION", Card("XTENSION", "IMAGE"))
        structure.setdefault("PCOUNT", Card("PCOUNT", 0))
        structure.setdefault("GCOUNT", Card("GCOUNT", 1))
    else:
        structure.pop("PCOUNT", None)
        structure.pop("GCOUNT", None)
    first = [structure[one] for one in sorted((one for one in structure if _order(one)), key=_order)]
    last = [structure[one] for one in structure if not _order(one)]
    found = [*((one, b"") for one in first), *rest, *((one, b"") for one in last)]
    return Header([card for card, _ in found], [image for _, image in found])


def _original(keyword: str) -> str:
    axis = _AXIS.match(keyword)
    return f"NAXIS{axis.group(1)}" if axis else _ORIGINAL.get(keyword, "")


def _order(keyword: str) -> tuple[int, ...]:
    """Where a card of the structure stands in an image's header; () for those that stand at its end."""
    if keyword in ("SIMPLE", "XTENSION"):
        return (1,)
    if keyword in ("BITPIX", "NAXIS"):
        return (2,) if keyword == "BITPIX" else (3,)
    if keyword.startswith("NAXIS"):
        return 4, int(keyword[5:])
    return (5,) if keyword == "PCOUNT" else (6,) if keyword == "GCOUNT" else ()
