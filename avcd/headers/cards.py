"""Header cards, read by rules of avcd's own where a card is well formed, by astropy's where it is odd.

Most cards of a night stand in all its frames: each is parsed once and then known by its 80 bytes.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import operator
import re
import struct
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from avcd.errors import HeaderError
from avcd.frame import Card, HeaderText
from avcd.headers.identity import is_content

CARD_BYTES = 80
COMMENTARY = ("COMMENT", "HISTORY", "")
# One card a line; a line that is no card of the common forms is found whole, as the last group.
_CARDS = re.compile(
    r"^(?:(COMMENT |HISTORY |        )(.*)"
    r"|(?=.{8}= )([A-Z0-9_-]+) *= +"
    r"(?:(')([^'\n]*)'"
    r"|([+-]?\d+)"
    r"|([+-]?(?:\.\d+|\d+\.?\d*)(?:[EeDd][+-]?\d+)?)"
    r"|([TF]))? *"
    r"(?:/ *(.*))?"
    r"|(.*))$",
    re.MULTILINE,
)
_EXPONENT = str.maketrans("dD", "ee")
_OF_NUMBERS = b" +-.0123456789"
_QUOTE, _SPACE = b"' "
# The reader knows no control characters and nothing beyond ASCII.
_PRINTABLE = bytes(32 if one < 32 or one == 127 else one if one < 128 else ord("?") for one in range(256))
_MOST_KNOWN = 20_000
_keyword_of = operator.itemgetter(0)
_new = tuple.__new__  # of a named tuple, three times as fast as by its name
_quoted = json.encoder.encode_basestring_ascii
_LITERALS: Mapping[object, str] = {None: "null", True: "true", False: "false"}

_known: dict[bytes, Card] = {}


class _Around(NamedTuple):
    """What stands around the value of a card in fixed format, in the header and in JSON."""

    keyword: str
    comment: str
    before: str
    after: str
    name: str
    counts: bool  # for the frame's identity


# By the card's bytes without its value; and the last of such cards.
_around: dict[bytes, _Around] = {}
_last: dict[bytes, bytes] = {}
_problems: dict[bytes, str] = {}
_texts: dict[bytes, tuple[str, str, str]] = {}


class Header:
    """The cards of a header, in order.

    Attributes
    ----------
    cards
        Keyword, value and comment of each. A value that cannot be read is the text that stands there.
    images
        Their bytes as they lie in the file, b"" for a card that was made otherwise.
    """

    __slots__ = ("_by_keyword", "_others", "cards", "images")

    def __init__(
        self,
        cards: Iterable[Card],
        images: Iterable[bytes] | None = None,
        others: Mapping[int, _Around] | None = None,
    ) -> None:
        self.cards = tuple(cards)
        self.images = tuple(images) if images is not None else (b"",) * len(self.cards)
        self._others = others or {}  # what is around the cards of which nothing but the value is new, by their place
        self._by_keyword: dict[str, Card] | None = None

    def __iter__(self) -> Iterator[tuple[Card, bytes]]:
        return zip(self.cards, self.images, strict=True)

    def first(self, keyword: str) -> Card | None:
        """The first card of a keyword, None without any."""
        return self.by_keyword.get(keyword)

    @property
    def by_keyword(self) -> Mapping[str, Card]:
        """The first card of every keyword."""
        if self._by_keyword is None:
            last_first = self.cards[::-1]
            self._by_keyword = dict(zip(map(_keyword_of, last_first), last_first, strict=True))
        return self._by_keyword

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong with some of the cards."""
        return tuple(_problems[one] for one in self.images if one in _problems) if _problems else ()

    def texts(self) -> tuple[str, HeaderText]:
        """What the header says, for the frame's identity, and as the catalogue keeps it.

        Returns
        -------
        digest
            SHA-256 of the cards that say something about the exposure, in order; comments beside values do not count.
        text
            All of them in order, and the first value of each keyword.
        """
        found = list(map(_texts.get, self.images))
        for number, (_, _, before, after, name, counts) in self._others.items():
            value = self.cards[number][1]
            written = _quoted(value) if type(value) is str else repr(value)
            body = before + written
            found[number] = body + after, name + written, body + "]" if counts else ""
        if not all(found):
            if len(_texts) > _MOST_KNOWN:
                _texts.clear()
            for number, one in enumerate(found):
                if one is None:
                    made = found[number] = _text_of(self.cards[number])
                    if self.images[number] in _known:  # and may come again
                        _texts[self.images[number]] = made
        arrays, members, contents = zip(*found, strict=True) if found else ((), (), ())
        said = list(filter(None, members))
        if len(said) > len(self.by_keyword) - sum(one in self.by_keyword for one in COMMENTARY):
            first: dict[str, str] = {}  # some keyword stands there twice: its first card counts
            for card, member in zip(self.cards, members, strict=True):
                if member:
                    first.setdefault(card.keyword, member)
            said = list(first.values())
        text = HeaderText("[" + ",".join(arrays) + "]", "{" + ",".join(said) + "}")
        return hashlib.sha256(f"[{','.join(filter(None, contents))}]".encode()).hexdigest(), text


def _text_of(card: Card) -> tuple[str, str, str]:
    """As JSON ``["KEY",value,"comment"]``, ``"KEY":value`` but for commentary, and ``["KEY",value]`` where it counts."""
    keyword, value, comment = card
    if isinstance(value, str):
        text = _quoted(value)
    elif value is None or isinstance(value, bool):
        text = _LITERALS[value]
    else:
        text = repr(value)
    if keyword == "COMMENT":  # some count, and some do not
        name = _quoted(keyword)
        return f"[{name},{text},{_quoted(comment)}]", "", f"[{name},{text}]" if is_content(card) else ""
    name, before, after, is_member, counts = _frame_of(keyword, comment)
    return f"{before}{text}{after}", f"{name}:{text}" if is_member else "", f"{before}{text}]" if counts else ""


@functools.lru_cache(maxsize=4096)
def _frame_of(keyword: str, comment: str) -> tuple[str, str, str, bool, bool]:
    """What stands around a value in JSON, whether the header's object has it, and whether it counts for the identity."""
    name = _quoted(keyword)
    counts = is_content(Card(keyword, None))
    return name, f"[{name},", f",{_quoted(comment)}]", keyword not in COMMENTARY, counts


def read_cards(block: bytes) -> Header:
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
    images: Sequence[bytes] = struct.unpack_from("80s" * (len(block) // CARD_BYTES), block)
    if b"CONTINUE" in block:
        images = _joined(images)
    if len(_known) > _MOST_KNOWN:
        for one in (_known, _problems, _around, _last):
            one.clear()
    found = list(map(_known.get, images))
    others: dict[int, _Around] = {}
    if not all(found):
        missing = []
        for number, card in enumerate(found):
            if card is None:
                like = _with_another_value(images[number])
                if like is None:
                    missing.append(number)
                else:
                    found[number], others[number] = like
        if missing:
            for number, card in zip(missing, _learn([images[one] for one in missing]), strict=True):
                found[number] = card
    return Header(found, images, others)  # type: ignore[arg-type]


def _with_another_value(image: bytes) -> tuple[Card, _Around] | None:
    """A card that differs from one that was parsed in nothing but its value; None where it is not known to."""
    value: str | int | float | None
    if image[10] == _QUOTE:
        end = image.find(b"'", 11)
        shape = image[:11] + image[end:]
        around = _around.get(shape)
        if around is None or end == 11 or len(image) != CARD_BYTES:
            return None
        text = image[11:end].translate(_PRINTABLE).decode("ascii")
        if ": " in text:
            return None
        value = text.rstrip()
    else:
        shape = image[:10] + image[30:]
        around = _around.get(shape)
        value = None if around is None else _fixed_number(image)
        if around is None or value is None:
            return None
    card: Card = _new(Card, (around[0], value, around[1]))
    if _last.get(shape) == image:  # it comes in one frame after the other
        _known[image] = card
    _last[shape] = image
    return card, around


def _fixed_number(image: bytes) -> int | float | None:
    """The number, without an exponent, in columns 11 to 30, where the standard's fixed format has it; None without one."""
    field = image[10:30]
    if field.translate(None, _OF_NUMBERS):
        return None
    try:
        return float(field) if b"." in field else int(field)
    except ValueError:
        return None


def _joined(images: Iterable[bytes]) -> list[bytes]:
    """Cards with their CONTINUE cards behind them."""
    found: list[bytes] = []
    for one in images:
        if found and one.startswith(b"CONTINUE"):
            found[-1] += one
        else:
            found.append(one)
    return found


def _learn(images: list[bytes]) -> list[Card]:
    """Parse cards that are not known yet."""
    # Cards with a continuation are longer: no common form.
    cleaned = [one.translate(_PRINTABLE) for one in images]
    lines = b"\n".join([one if len(one) == CARD_BYTES else b"?" for one in cleaned]).decode("ascii")
    read = []
    for raw, image, groups in zip(images, cleaned, _CARDS.findall(lines), strict=True):
        remark, words, keyword, quote, text, whole, number, truth, comment, odd = groups
        value: str | int | float | None
        if odd or ": " in text or (quote and not text and "'" in comment):
            # A colon in a string may be a record: "AXIS.1: 2" is a number with a name of its own. An empty string may be
            # the beginning of one that ends later.
            card, problem = _parse_odd(image.decode("ascii"))
            if problem:
                _problems[raw] = problem
            read.append(card)
            continue
        if quote:
            value = text.rstrip()
        elif number:
            value = float(number.translate(_EXPONENT) if "D" in number or "d" in number else number)
            if not math.isfinite(value):
                value = str(value)
        elif remark:
            keyword, value, comment = remark.rstrip(), words.rstrip(), ""
        else:
            value = int(whole) if whole else truth == "T" if truth else None
        comment = comment.rstrip()
        if quote and image[10] == _QUOTE:
            _around[raw[:11] + raw[raw.find(b"'", 11) :]] = _what_is_around(keyword, comment)
        elif (whole or number) and image[30] == _SPACE and _fixed_number(raw) is not None:
            _around[raw[:10] + raw[30:]] = _what_is_around(keyword, comment)
        read.append(_new(Card, (keyword, value, comment)))
    _known.update(zip(images, read, strict=True))
    return read


def _what_is_around(keyword: str, comment: str) -> _Around:
    name, before, after, _, counts = _frame_of(keyword, comment)
    return _Around(keyword, comment, before, after, f"{name}:", counts)


def _parse_odd(image: str) -> tuple[Card, str]:
    """A card beside the common forms, as astropy reads it, and what is wrong with it; that is kept as text."""
    from astropy.io import fits  # takes longer to load than most headers to read, and is seldom needed

    problem = ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            card = fits.Card.fromstring(image)
            try:
                value, comment = card.value, card.comment or ""
            except fits.VerifyError:
                card.verify("silentfix")  # makes a text of whatever stands there
                value, comment = card.value, card.comment or ""
                problem = f"{card.keyword} is not readable: {value!r}"
        except (ValueError, fits.VerifyError) as error:
            raise HeaderError(f"a card cannot be read: {image.rstrip()!r}: {error}") from None
    if isinstance(value, fits.card.Undefined):
        value = None
    elif not isinstance(value, (str, bool, int, float)) or (isinstance(value, float) and not math.isfinite(value)):
        value = str(value)
    return Card(card.keyword, value, comment), problem
