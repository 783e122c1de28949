"""Header cards, read by rules of avcd's own where a card is well formed, by astropy's where it is odd.

Most cards of a night stand in all its frames: each is parsed once and then known by its 80 bytes.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import struct
import warnings
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import NamedTuple

from astropy.io import fits

from avcd.errors import HeaderError
from avcd.frame import Card, HeaderText
from avcd.headers.identity import is_content

CARD_BYTES = 80
COMMENTARY = ("COMMENT", "HISTORY", "")
_CARD = re.compile(
    r"([A-Z0-9_-]+) *= +"  # the keyword; that "=" stands in column 9 is tested before
    r"(?:'([^']*)'"
    r"|([+-]?\d+)"
    r"|([+-]?(?:\.\d+|\d+\.?\d*)(?:[EeDd][+-]?\d+)?)"
    r"|([TF]))? *"
    r"(?:/ *(.*))?"
)
_EXPONENT = str.maketrans("dD", "ee")
# The reader knows no control characters and nothing beyond ASCII.
_PRINTABLE = bytes(32 if one < 32 or one == 127 else one if one < 128 else ord("?") for one in range(256))
_MOST_KNOWN = 200_000


class Entry(NamedTuple):
    """One card with what is derived from it alone.

    Attributes
    ----------
    card
        Keyword, value, comment.
    problem
        What is wrong with it; its value is then whatever text stands there.
    array, member
        As JSON: ``["KEY",value,"comment"]`` and, but for commentary, ``"KEY":value``.
    content
        ``["KEY",value]`` where the card says something about the exposure, else empty: what a frame's identity is made of.
    """

    card: Card
    problem: str
    array: str
    member: str
    content: str


class Entries(tuple[Entry, ...]):
    """A header: its cards in order."""

    @cached_property
    def cards(self) -> tuple[Card, ...]:
        """Keyword, value and comment of each."""
        return tuple([one[0] for one in self])

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong with some of them."""
        return tuple([one[1] for one in self if one[1]])

    @property
    def digest(self) -> str:
        """SHA-256 of what they say about the exposure, as `avcd.headers.identity.header_digest`."""
        return hashlib.sha256(f"[{','.join([one[4] for one in self if one[4]])}]".encode()).hexdigest()

    @property
    def text(self) -> HeaderText:
        """As the catalogue keeps them: all of them in order, and the first value of each keyword."""
        first: dict[str, str] = {}
        for one in self:
            if one[3]:
                first.setdefault(one[0][0], one[3])
        return HeaderText(f"[{','.join([one[2] for one in self])}]", f"{{{','.join(first.values())}}}")

    def first(self, keyword: str) -> Entry | None:
        """The first card of a keyword, None without any."""
        return next((one for one in self if one[0][0] == keyword), None)


_known: dict[bytes, Entry] = {}


def read_cards(block: bytes) -> Entries:
    """The cards of a header.

    Parameters
    ----------
    block
        Its cards of 80 bytes each, without END and what follows it.

    Raises
    ------
    HeaderError
        A card with a continuation cannot be put together.
    """
    block = block.translate(_PRINTABLE)
    count = len(block) // CARD_BYTES
    images: Sequence[bytes] = struct.unpack_from("80s" * count, block)
    if b"CONTINUE" in block:
        images = _joined(images)
    found = list(map(_known.get, images))
    if not all(found):
        found = [one or _learn(image) for one, image in zip(found, images, strict=True)]
    return Entries(found)  # type: ignore[arg-type]


def _joined(images: Iterable[bytes]) -> list[bytes]:
    """Cards with their CONTINUE cards behind them."""
    found: list[bytes] = []
    for one in images:
        if found and one.startswith(b"CONTINUE"):
            found[-1] += one
        else:
            found.append(one)
    return found


def _learn(image: bytes) -> Entry:
    entry = entry_of(*parse_card(image.decode("ascii")))
    if len(_known) >= _MOST_KNOWN:
        _known.clear()
    _known[image] = entry
    return entry


def entry_of(card: Card, problem: str = "") -> Entry:
    """A card with its texts."""
    keyword, value, comment = card
    member = f"{json.dumps(keyword)}:{json.dumps(value)}"
    content = ""
    if is_content(card):
        counted = value.rstrip() if isinstance(value, str) else value
        content = json.dumps([keyword, counted], separators=(",", ":"), ensure_ascii=False)
    array = json.dumps([keyword, value, comment], separators=(",", ":"))
    return Entry(card, problem, array, "" if keyword in COMMENTARY else member, content)


def parse_card(image: str) -> tuple[Card, str]:
    """One card, with what is wrong with it.

    Parameters
    ----------
    image
        80 printable characters, or a multiple with CONTINUE cards.
    """
    head = image[:8]
    if len(image) == CARD_BYTES:
        if head in ("COMMENT ", "HISTORY ", "        "):
            return Card(head.rstrip(), image[8:].rstrip()), ""
        found = _CARD.fullmatch(image) if image[8:10] == "= " else None
        if found:
            keyword, text, whole, number, truth, comment = found.groups()
            # A colon in a string may be a record: "AXIS.1: 2" is a number with a name of its own.
            if text is None or ": " not in text:
                value = _value(text, whole, number, truth)
                return Card(keyword, value, comment.rstrip() if comment else ""), ""
    return _parse_odd(image)


def _value(text: str | None, whole: str | None, number: str | None, truth: str | None) -> str | int | float | None:
    if text is not None:
        return text.rstrip()
    if whole is not None:
        return int(whole)
    if number is not None:
        found = float(number.translate(_EXPONENT))
        return found if math.isfinite(found) else str(found)
    return None if truth is None else truth == "T"


def _parse_odd(image: str) -> tuple[Card, str]:
    """A card beside the common forms, as astropy reads it; what it cannot read is kept as text."""
    problem = ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            card = fits.Card.fromstring(image)
            keyword = card.keyword
            try:
                value, comment = card.value, card.comment or ""
            except fits.VerifyError:
                card.verify("silentfix")  # makes a text of whatever stands there
                value, comment = card.value, card.comment or ""
                problem = f"{keyword} is not readable: {value!r}"
        except (ValueError, fits.VerifyError) as error:
            raise HeaderError(f"a card cannot be read: {image.rstrip()!r}: {error}") from None
    if isinstance(value, fits.card.Undefined):
        value = None
    elif not isinstance(value, (str, bool, int, float)) or (isinstance(value, float) and not math.isfinite(value)):
        value = str(value)
    return Card(keyword, value, comment), problem
