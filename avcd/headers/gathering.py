"""The values of one frame while they are gathered: each with its source, the first one put wins."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from avcd.frame import Card, HeaderText
from avcd.headers.profiles import Key, Profile
from avcd.headers.values import to_number


@dataclass(frozen=True)
class Hdu:
    """One HDU as it was read: identity, cards, shape (slowest axis first), and what is wrong with its cards.

    ``exposure_id`` and ``detector`` are set for one image among several of a file: the first one's id, and its name.
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


@dataclass
class Gathered:
    """Values, their sources, and what was not certain, under one profile."""

    profile: Profile
    cards: Mapping[str, Card]
    path: str
    values: dict[str, Any] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

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

    def found_cards(self, name: str) -> Iterator[tuple[Card, str]]:
        """The cards of a value that are there and not blank, best first, each with the unit the profile gives."""
        rule = self.profile.cards.get(name)
        for key in rule.keys if rule else ():
            card = self.cards.get(key.key if isinstance(key, Key) else key)
            if card is None or card.value is None or str(card.value).strip() == "":
                continue
            if isinstance(key, Key) and not key.regex.search(card.comment):
                continue
            yield card, rule.unit if rule else ""

    def card(self, name: str) -> tuple[Card, str] | None:
        """The best card of a value."""
        return next(self.found_cards(name), None)

    def number(self, keyword: str) -> float | None:
        """The number in a card, None where there is none."""
        return to_number(self.cards[keyword].value) if keyword in self.cards else None
