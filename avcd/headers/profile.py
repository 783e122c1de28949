"""One instrument's profile: how its headers and file names are read.

It names the cards of each value, the words of IMAGETYP, patterns over paths and over HISTORY, values that are always so,
and by what the profile is recognised.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, field_validator, model_validator

from avcd.frame import Card, ImageType
from avcd.headers.values import to_number

Unit = Literal[
    "", "s", "deg_C", "K", "deg", "hour", "hour_or_deg", "rad", "arcsec", "um", "mm", "adu", "electron", "MJD"
]


Moment = Literal["start", "middle", "end"]

# The values a card may give. The last are steps to others: a date and a time, a pixel's size, a site, one of a mosaic's chips.
_CARD_VALUES = frozenset(
    {
        "image_type", "telescope", "instrument", "target_name", "filter", "user", "exposure_s", "set_temperature_c",
        "ccd_temperature_c", "gain", "offset", "readout_mode", "gain_e_per_adu", "read_noise_e", "saturation_adu",
        "pedestal_adu", "bunit", "pixel_scale_arcsec", "airmass", "n_combined", "sequence_total", "calibration",
        "s_ra", "s_dec", "binning", "site", "date_obs", "time_obs", "site_longitude", "site_latitude", "pixel_size_um", "focal_length_mm",
        "bayer_pattern", "detector", "overscan_section", "trim_section",
    }
)  # fmt: skip
_STEPS = frozenset(
    {"date_obs", "time_obs", "site_longitude", "site_latitude", "pixel_size_um", "focal_length_mm", "bayer_pattern",
     "detector"}
)  # fmt: skip
_SECTIONS = frozenset({"overscan_section", "trim_section"})  # of cards alone; the rules name those of a camera
# The values a name or a default may give, and a line of HISTORY.
_NAME_VALUES = (_CARD_VALUES - _STEPS - _SECTIONS) | {"bias_included", "window", "calib_level"}
_HISTORY_VALUES = frozenset({"calibration", "n_combined", "calib_level"})
NUMBERS = (
    "exposure_s",
    "set_temperature_c",
    "ccd_temperature_c",
    "gain",
    "offset",
    "gain_e_per_adu",
    "read_noise_e",
    "saturation_adu",
    "pedestal_adu",
    "pixel_scale_arcsec",
    "airmass",
    "n_combined",
    "sequence_total",
    "s_ra",
    "s_dec",
)
_MOST_PLACES = 100  # sets of cards of which it is remembered where they have the values
_WHOLE = ("n_combined", "sequence_total", "calib_level")


def _among(names: Iterable[str], known: frozenset[str], what: str) -> None:
    unknown = sorted(set(names) - known)
    if unknown:
        raise ValueError(f"no such {what}: {', '.join(unknown)}; there are {', '.join(sorted(known))}")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _compiled(text: str) -> str:
    re.compile(text)
    return text


def _small(text: str) -> str:
    if text != text.lower():
        raise ValueError(f"{text!r} is compared with the path in small letters: write {text.lower()!r}")
    return text


class Key(_Part):
    """A card that counts only when its comment, in any case of letters, says the right thing.

    ``moment`` says of a date which moment of the exposure it is, where that differs from the profile's ``date_obs``.
    """

    key: str
    comment: str = ""
    moment: Moment | None = None

    _comment = field_validator("comment")(_compiled)


class Value(_Part):
    """The cards a value may stand in, best first, and its unit there."""

    keys: tuple[str | Key, ...] = ()
    unit: Unit = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """One card that a value may stand in, ready for use; ``rank`` 0 is the best."""

    name: str
    rank: int
    keyword: str
    unit: str
    comment: re.Pattern[str] | None
    moment: Moment | None
    source: str


class _Pattern(_Part):
    """A regular expression whose named groups say values of a frame; ``values`` are those that go with every match.

    ``contains`` saves time: a text in small letters without which, in any case of letters, the pattern cannot fit.
    """

    pattern: str
    contains: str = ""
    values: Mapping[str, Any] = {}

    may_give: ClassVar[frozenset[str]]
    flags: ClassVar[re.RegexFlag] = re.NOFLAG

    _contains = field_validator("contains")(_small)

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, text: str) -> str:
        _among(re.compile(text).groupindex, cls.may_give, "value")
        return text

    @field_validator("values")
    @classmethod
    def _known(cls, values: Mapping[str, Any]) -> Mapping[str, Any]:
        return _typed(values, cls.may_give)

    @cached_property
    def regex(self) -> re.Pattern[str]:
        """The compiled pattern."""
        return re.compile(self.pattern, self.flags)

    @cached_property
    def gives(self) -> frozenset[str]:
        """The values it may say."""
        return frozenset({*self.values, *self.regex.groupindex})


class NamePattern(_Pattern):
    """A pattern over the path below the drop directory, which says what the header may not."""

    may_give = _NAME_VALUES


class HistoryPattern(_Pattern):
    """A pattern over the lines of HISTORY, all at once, which say what was done to the pixels."""

    may_give = _HISTORY_VALUES
    flags = re.MULTILINE


class Match(_Part):
    """One way to recognise a profile: every card named, and the path where one is given, must match.

    ``contains`` saves time as that of a `NamePattern` does.
    """

    cards: Mapping[str, str] = {}
    path: str = ""
    contains: str = ""

    _contains = field_validator("contains")(_small)

    @model_validator(mode="after")
    def _compiles(self) -> Match:
        _ = self.on_path, self.on_cards
        return self

    @cached_property
    def on_path(self) -> re.Pattern[str] | None:
        """The compiled pattern of the path."""
        return re.compile(self.path) if self.path else None

    @cached_property
    def on_cards(self) -> tuple[tuple[str, re.Pattern[str]], ...]:
        """The compiled patterns of the cards."""
        return tuple((key, re.compile(pattern)) for key, pattern in self.cards.items())

    def fits(self, cards: Mapping[str, Card], path: str) -> bool:
        """Whether a frame that has all these cards, with this path, is meant."""
        for key, pattern in self.on_cards:
            if not pattern.search(str(cards[key].value)):
                return False
        return self.on_path is None or self.on_path.search(path) is not None


class Profile(_Part):
    """How one instrument's headers are read."""

    name: str
    version: int = 1
    inherits: str | None = None
    priority: int = 0
    match: tuple[Match, ...] = ()
    cards: Mapping[str, Value] = {}
    image_types: Mapping[str, ImageType] = {}
    combined: tuple[str, ...] = ()
    filters: Mapping[str, str] = {}
    transforms: Mapping[str, tuple[tuple[str, str], ...]] = {}
    prefer_name: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = {}
    names: tuple[NamePattern, ...] = ()
    history: tuple[HistoryPattern, ...] = ()
    date_obs: Moment = "start"

    @field_validator("cards")
    @classmethod
    def _known_cards(cls, cards: Mapping[str, Value]) -> Mapping[str, Value]:
        _among(cards, _CARD_VALUES, "value")
        return cards

    @field_validator("defaults")
    @classmethod
    def _known_values(cls, values: Mapping[str, Any]) -> Mapping[str, Any]:
        return _typed(values, _NAME_VALUES)

    @field_validator("transforms")
    @classmethod
    def _compile(cls, rules: Mapping[str, tuple[tuple[str, str], ...]]) -> Mapping[str, tuple[tuple[str, str], ...]]:
        _among(rules, _NAME_VALUES, "value")
        for pattern, _ in (rule for one in rules.values() for rule in one):
            re.compile(pattern)
        return rules

    @field_validator("prefer_name")
    @classmethod
    def _known_names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        _among(names, _NAME_VALUES, "value")
        return names

    @cached_property
    def readings(self) -> Mapping[str, tuple[Reading, ...]]:
        """What a card may say, by its keyword."""
        found: dict[str, list[Reading]] = {}
        for name, value in self.cards.items():
            for rank, key in enumerate(value.keys):
                one = _reading(name, rank, key, value.unit)
                found.setdefault(one.keyword, []).append(one)
        return {keyword: tuple(readings) for keyword, readings in found.items()}

    @cached_property
    def _places(self) -> dict[tuple[str, ...], list[tuple[str, list[tuple[str, Reading]]]]]:
        return {}

    def places(self, keywords: Iterable[str]) -> Sequence[tuple[str, Sequence[tuple[str, Reading]]]]:
        """Where the values stand in a header of these keywords: of each the cards, best first. Most of a night are alike."""
        telling = tuple(filter(self.readings.__contains__, keywords))
        known = self._places.get(telling)
        if known is None:
            found: dict[str, list[tuple[str, Reading]]] = {}
            for keyword in telling:
                for reading in self.readings[keyword]:
                    found.setdefault(reading.name, []).append((keyword, reading))
            for several in found.values():
                several.sort(key=lambda one: one[1].rank)
            if len(self._places) >= _MOST_PLACES:
                self._places.clear()
            known = self._places[telling] = list(found.items())
        return known

    @cached_property
    def name_rules(self) -> tuple[tuple[str, frozenset[str], re.Pattern[str], Mapping[str, Any]], ...]:
        """The patterns over paths, ready for use: ``contains``, the values they may say, the regex, fixed values."""
        return tuple((one.contains, one.gives, one.regex, one.values) for one in self.names)

    @cached_property
    def rewriting(self) -> Mapping[str, tuple[tuple[re.Pattern[str], str], ...]]:
        """The compiled transforms."""
        return {
            name: tuple((re.compile(pattern), text) for pattern, text in rules)
            for name, rules in self.transforms.items()
        }


def _reading(name: str, rank: int, key: str | Key, unit: str) -> Reading:
    if isinstance(key, str):
        key = Key(key=key)
    comment = re.compile(key.comment, re.IGNORECASE) if key.comment else None
    return Reading(name, rank, key.key, unit, comment, key.moment, f"card {key.key}")


def typed(name: str, text: Any) -> Any:
    """A value as a profile or a name spells it, in the type a Frame has; None where it is no number and must be one.

    Raises
    ------
    ValueError
        It is no type of image.
    """
    if name == "image_type":
        return ImageType(text)
    if name == "binning" and isinstance(text, str) and "x" not in text:
        return f"{text}x{text}"
    if name == "calibration":
        return frozenset([text] if isinstance(text, str) else text)
    if name in _WHOLE:
        number = to_number(text)
        return None if number is None else int(number)
    if name in NUMBERS:
        return to_number(text)
    if name == "target_name" and isinstance(text, str):
        return text.replace("_", " ").strip()
    return text


def _typed(values: Mapping[str, Any], known: frozenset[str]) -> Mapping[str, Any]:
    _among(values, known, "value")
    found = {name: typed(name, value) for name, value in values.items()}
    for name, value in found.items():
        if value is None:
            raise ValueError(f"{name} = {values[name]!r} is no number")
    return found
