"""The rules of matching: what must agree and how closely, for all cameras and by instrument."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from avcd.acceptance import Limits
from avcd.errors import ConfigError, ProcessingError
from avcd.frame import Frame, canonical_json
from avcd.sections import Section

ROUNDING = 1 + 1e-9  # 90.1 - 90.0 is more than 0.1 to a computer: that must not decide
_MOST_TIERS = 50

Number = Annotated[float, Field(strict=True)]  # "0.5" and true are no numbers
Days = Annotated[float, Field(strict=True, gt=0)]
Fraction = Annotated[float, Field(strict=True, ge=0, le=1)]


def _section(text: str) -> str:
    try:
        return str(Section.parse(text)) if text else text
    except ProcessingError as error:
        raise ValueError(str(error)) from None


SectionText = Annotated[str, Field(strict=True), AfterValidator(_section)]
Tiers = Annotated[tuple[Days, ...], Field(max_length=_MOST_TIERS)]


class Contradiction(ValueError):
    """Values that make no sense together.

    Attributes
    ----------
    keys
        The values, each as its path within a rule set; the one to change first.
    """

    def __init__(self, message: str, *keys: tuple[str | int, ...]) -> None:
        super().__init__(message)
        self.keys = keys


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)


class Temperature(_Part):
    """How close temperatures must be."""

    set_point_c: Number = Field(0.5, ge=0)
    measured_c: Number = Field(1.0, ge=0)


class Exposure(_Part):
    """How close exposures must be: within the larger of the two."""

    absolute_s: Number = Field(0.1, ge=0)
    relative: Number = Field(0.01, ge=0)

    def tolerance_s(self, exposure_s: float) -> float:
        """The tolerance for one exposure."""
        return max(self.absolute_s, self.relative * exposure_s)


class Scaling(_Part):
    """Whether, and how far, a dark may be scaled."""

    allowed: bool = Field(True, strict=True)
    lowest_ratio: Number = Field(0.5, gt=0)
    highest_ratio: Number = Field(2.0, gt=0)

    @field_validator("highest_ratio")
    @classmethod
    def _ordered(cls, highest: float, info: ValidationInfo) -> float:
        if highest < info.data.get("lowest_ratio", highest):
            raise Contradiction(
                "lowest_ratio is above highest_ratio: no dark could ever be scaled",
                ("scaling", "highest_ratio"),
                ("scaling", "lowest_ratio"),
            )
        return highest


class SettingsTolerance(_Part):
    """How close the camera's settings must be."""

    gain: Number = Field(1e-6, ge=0)
    offset: Number = Field(1e-6, ge=0)


class Age(_Part):
    """The tiers of age, in days, best first."""

    bias_days: Tiers = (7.0, 30.0, 90.0)
    dark_days: Tiers = (7.0, 30.0, 90.0)
    flat_days: Tiers = (7.0, 30.0)

    @field_validator("bias_days", "dark_days", "flat_days")
    @classmethod
    def _rising(cls, days: tuple[float, ...], info: ValidationInfo) -> tuple[float, ...]:
        name = str(info.field_name)
        if not days:
            raise Contradiction("there is no tier: nothing could ever match", ("age", name))
        for number in range(1, len(days)):
            if days[number] <= days[number - 1]:
                raise Contradiction(
                    f"the tier of {days[number]:g} days is not wider than the one before it: it is never reached",
                    ("age", name, number),
                )
        return days

    def tiers(self, kind: str) -> tuple[float, ...]:
        """The tiers of one kind of calibration."""
        found: tuple[float, ...] = getattr(self, f"{kind}_days")
        return found

    @cached_property
    def reach(self) -> Mapping[str, tuple[float, ...]]:
        """The tiers by kind, each with room for rounding."""
        return {kind: tuple(one * ROUNDING for one in self.tiers(kind)) for kind in ("bias", "dark", "flat")}


class Flat(_Part):
    """Which flats are good enough to be combined, or to serve."""

    shortest_exposure_s: Number = Field(0.0, ge=0)
    lowest_level: Fraction = 0.2
    highest_level: Fraction = 0.8

    @field_validator("highest_level")
    @classmethod
    def _ordered(cls, highest: float, info: ValidationInfo) -> float:
        if highest <= info.data.get("lowest_level", -1.0):
            raise Contradiction(
                "lowest_level is not below highest_level: no flat could ever serve",
                ("flat", "highest_level"),
                ("flat", "lowest_level"),
            )
        return highest


class Overscan(_Part):
    """What becomes of the overscan. A section here is of unbinned pixels, and goes before what headers say."""

    subtract: bool = Field(True, strict=True)
    section: SectionText = ""
    method: Literal["median", "mean"] = "median"
    degree: int = Field(-1, ge=-1, le=20, strict=True)


class Trim(_Part):
    """Whether frames are cut, and to which part; see `Overscan`."""

    cut: bool = Field(True, strict=True)
    section: SectionText = ""


class Masters(_Part):
    """Which frames make one master."""

    temperature_spread_c: Number = Field(1.0, ge=0)
    most_frames: int = Field(64, ge=1, strict=True)


class RuleSet(_Part):
    """The rules for one camera."""

    temperature: Temperature = Temperature()
    exposure: Exposure = Exposure()
    scaling: Scaling = Scaling()
    settings: SettingsTolerance = SettingsTolerance()
    age: Age = Age()
    flat: Flat = Flat()
    overscan: Overscan = Overscan()
    trim: Trim = Trim()
    masters: Masters = Masters()
    limits: Limits = Limits()

    @field_validator("scaling")
    @classmethod
    def _reachable(cls, scaling: Scaling, info: ValidationInfo) -> Scaling:
        exposure = info.data.get("exposure")
        if exposure and scaling.allowed:
            # By how much, of its own exposure, a frame's dark may differ at most when it is scaled.
            farthest = max(1 / scaling.lowest_ratio - 1, 1 - 1 / scaling.highest_ratio)
            if farthest <= exposure.relative:
                raise Contradiction(
                    "every exposure within these ratios counts as the same by exposure.relative: scaled darks are"
                    " never reached",
                    ("scaling", "highest_ratio"),
                    ("scaling", "lowest_ratio"),
                    ("exposure", "relative"),
                )
        return scaling


def merge(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """A table laid over another, key by key."""
    merged = dict(base)
    for key, value in own.items():
        merged[key] = merge(base[key], value) if isinstance(value, dict) and isinstance(base.get(key), dict) else value
    return merged


class Rules(_Part):
    """The rules of a home: one set for all cameras, and what differs by instrument.

    Attributes
    ----------
    version
        Of the rule set, for its author.
    default
        For every camera.
    instrument
        What differs, key by key, for instruments of a name or pattern. Every section that fits counts, the most
        particular one last: see `for_instrument`.
    """

    version: int = Field(1, ge=1, strict=True)
    default: RuleSet = RuleSet()
    instrument: Mapping[str, Mapping[str, Any]] = {}

    @cached_property
    def _known(self) -> dict[str | None, RuleSet]:
        return {None: self.default}

    def for_frame(self, frame: Frame) -> RuleSet:
        """The rules that hold for a frame's camera."""
        return self.for_instrument(frame.instrument)

    def for_instrument(self, name: str | None) -> RuleSet:
        """The rules for an instrument.

        Sections fit by name or pattern (``*``, ``?``, ``[abc]``), in any case of letters. What the exact name says goes
        before what patterns say, and among these what the one with the most letters spelt out says.

        Raises
        ------
        ConfigError
            Sections that make sense one by one contradict each other for this instrument.
        """
        found = self._known.get(name)
        if found is None:
            found = self._known[name] = self._laid_over(str(name))
        return found

    def _laid_over(self, name: str) -> RuleSet:
        sections = self.sections(name)
        table: dict[str, Any] = self.default.model_dump()
        for one in reversed(sections):
            table = merge(table, self.instrument[one])
        try:
            return RuleSet(**table) if sections else self.default
        except ValidationError as error:
            words = ", ".join(f"[instrument.{canonical_json(one)}]" for one in sections)
            raise ConfigError(f"{words} contradict each other for {name!r}: {error.errors()[0]['msg']}") from None

    def sections(self, name: str) -> list[str]:
        """The names and patterns that fit an instrument, the most particular first."""
        fitting = [one for one in self.instrument if fits(one, name)]
        return sorted(fitting, key=lambda one: (one.casefold() != name.casefold(), *precedence(one)))

    @property
    def digest(self) -> str:
        """Changes whenever a rule does."""
        return hashlib.sha256(canonical_json(self.model_dump(mode="json")).encode()).hexdigest()


def fits(pattern: str, instrument: str) -> bool:
    """Whether a section's name or pattern is an instrument's, in any case of letters."""
    folded, name = pattern.casefold(), instrument.casefold()
    return folded == name or fnmatchcase(name, folded)


def precedence(pattern: str) -> tuple[Any, ...]:
    """Sorts patterns: most letters spelt out first, then the longest, then by alphabet."""
    tokens = list(_tokens(pattern))
    spelt = sum(len(one) == 1 and one not in "*?" for one in tokens)
    return -spelt, -len(tokens), pattern.casefold()


def essence(pattern: str) -> str:
    """The same for patterns that say the same: letters in one case, runs of asterisks as one."""
    folded = pattern.casefold()
    while "**" in folded:
        folded = folded.replace("**", "*")
    return folded


def may_meet(one: str, other: str) -> bool:
    """Whether some instrument's name could fit both patterns; a set of letters is taken for any letter."""
    first, second = list(_tokens(one.casefold())), list(_tokens(other.casefold()))
    # Which beginnings of ``second`` may stand for what ``first`` was read of so far.
    reached = _past_asterisks({0}, second)
    for token in first:
        if token == "*":
            reached = set(range(min(reached), len(second) + 1)) if reached else set()
            continue
        stepped = set()
        for place in reached:
            if place < len(second) and second[place] == "*":
                stepped.add(place)
            elif place < len(second) and (len(token) > 1 or token == "?" or _is_any(second[place], token)):
                stepped.add(place + 1)
        reached = _past_asterisks(stepped, second)
    return len(second) in reached


def _is_any(token: str, letter: str) -> bool:
    return token == letter or token == "?" or len(token) > 1


def _past_asterisks(places: set[int], tokens: list[str]) -> set[int]:
    found = set(places)
    for place in sorted(places):
        while place < len(tokens) and tokens[place] == "*":
            place += 1
            found.add(place)
    return found


def _tokens(pattern: str) -> Iterator[str]:
    """The parts of a pattern: asterisk, question mark, a set of letters in brackets, one letter."""
    place = 0
    while place < len(pattern):
        # A bracket that closes at once, or after an exclamation mark, is one of the set.
        end = pattern.find("]", place + (3 if pattern[place + 1 : place + 2] == "!" else 2))
        length = end - place + 1 if pattern[place] == "[" and end > 0 else 1
        yield pattern[place : place + length]
        place += length
