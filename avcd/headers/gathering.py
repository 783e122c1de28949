"""The values of one frame while they are gathered: each with its source, the first one put wins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from avcd.frame import Card, HeaderText
from avcd.headers.profile import Profile, Reading
from avcd.headers.profiles import Profiles
from avcd.headers.values import to_number
from avcd.pointing import Place


@dataclass(frozen=True)
class Hdu:
    """One HDU as it was read: identity, cards, shape (slowest axis first), and what is wrong with its cards.

    ``by_keyword`` has the first card of each keyword, where they are sorted out already. ``exposure_id`` and
    ``detector`` are set for one image among several of a file: the first one's id, and its name.
    """

    id: str
    pixel_sha256: str
    cards: tuple[Card, ...]
    shape: tuple[int, ...]
    is_table: bool
    problems: tuple[str, ...] = ()
    header_text: HeaderText | None = None
    exposure_id: str | None = None
    detector: str | None = None
    by_keyword: Mapping[str, Card] | None = field(default=None, compare=False)

    @property
    def first_cards(self) -> Mapping[str, Card]:
        """The first card of every keyword."""
        return self.by_keyword or {one.keyword: one for one in reversed(self.cards)}


Found = tuple[Card, Reading]


@dataclass(slots=True)
class Gathered:
    """Values, their sources, and what was not certain, under one profile.

    ``profiles`` are all of the home; ``site`` is what the drop directory is set to.
    """

    hdu: Hdu
    path: str
    profiles: Profiles
    site: str | None
    profile: Profile
    cards: Mapping[str, Card]
    found: Mapping[str, list[Found]]
    values: dict[str, Any] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    place: Place | None = None  # where the telescope stands

    def put(self, name: str, value: Any, source: str) -> None:
        """Take a value, unless it is None or one is there already."""
        if value is not None and name not in self.values:
            self.values[name] = value
            self.sources[name] = source

    def replace(self, name: str, value: Any, source: str) -> None:
        """Take a value in place of any that is there."""
        self.values[name] = value
        self.sources[name] = source

    def drop(self, name: str) -> None:
        """Forget a value."""
        self.values.pop(name, None)
        self.sources.pop(name, None)

    def found_cards(self, name: str) -> Sequence[Found]:
        """The cards of a value that are there and not blank, best first, each with how the profile reads it."""
        return self.found.get(name, ())

    def card(self, name: str) -> Found | None:
        """The best card of a value."""
        found = self.found.get(name)
        return found[0] if found else None

    def number(self, keyword: str) -> float | None:
        """The number in a card, None where there is none."""
        card = self.cards.get(keyword)
        return None if card is None else to_number(card.value)


def find_cards(profile: Profile, cards: Mapping[str, Card]) -> dict[str, list[Found]]:
    """The cards of every value a profile reads, best first; blank ones, and those whose comment says no, left out."""
    found: dict[str, list[Found]] = {}
    for name, places in profile.places(cards):
        some = []
        for keyword, reading in places:
            card = cards[keyword]
            if card.value is None or (isinstance(card.value, str) and not card.value.strip()):
                continue
            if reading.comment is None or reading.comment.search(card.comment):
                some.append((card, reading))
        if some:
            found[name] = some
    return found
