"""Instrument profiles: how the headers and file names of one instrument are read, as data.

A profile is a TOML file of config/instruments, or of a home's instruments/ directory. It names the cards of each
value, the words of IMAGETYP, patterns over paths and over HISTORY, values that are always so, and by what the profile
is recognised. A profile may inherit another: what it says itself wins.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator, model_validator

from avcd.errors import ConfigError
from avcd.frame import Card, ImageType
from avcd.headers.sites import Site
from avcd.headers.targets import Target, digest_of, key_of, load_targets
from avcd.headers.values import to_number
from avcd.resources import shipped

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
_MOST_SETS = 1000  # of cards that profiles are recognised by, remembered
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


class NamePattern(_Part):
    """A pattern over the path below the drop directory; its named groups and ``values`` say what the header may not.

    ``contains`` saves time: a text in small letters without which, in any case of letters, the pattern cannot fit.
    """

    pattern: str
    contains: str = ""
    values: Mapping[str, Any] = {}

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, text: str) -> str:
        _among(re.compile(text).groupindex, _NAME_VALUES, "value")
        return text

    _contains = field_validator("contains")(_small)

    @field_validator("values")
    @classmethod
    def _known(cls, values: Mapping[str, Any]) -> Mapping[str, Any]:
        return _typed(values, _NAME_VALUES)

    @cached_property
    def regex(self) -> re.Pattern[str]:
        """The compiled pattern."""
        return re.compile(self.pattern)

    @cached_property
    def gives(self) -> frozenset[str]:
        """The values it may say."""
        return frozenset({*self.values, *self.regex.groupindex})


class HistoryPattern(_Part):
    """A pattern over the lines of HISTORY; its named groups and ``values`` say what was done to the pixels."""

    pattern: str
    contains: str = ""
    values: Mapping[str, Any] = {}

    _contains = field_validator("contains")(_small)

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, text: str) -> str:
        _among(re.compile(text).groupindex, _HISTORY_VALUES, "value")
        return text

    @field_validator("values")
    @classmethod
    def _known(cls, values: Mapping[str, Any]) -> Mapping[str, Any]:
        return _typed(values, _HISTORY_VALUES)

    @cached_property
    def regex(self) -> re.Pattern[str]:
        """The compiled pattern, for all lines at once."""
        return re.compile(self.pattern, re.MULTILINE)

    @cached_property
    def gives(self) -> frozenset[str]:
        """The values it may say."""
        return frozenset({*self.values, *self.regex.groupindex})


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


class Profiles:
    """All profiles, sites and targets of a home."""

    def __init__(
        self, profiles: Mapping[str, Profile], sites: Mapping[str, Site], targets: Mapping[str, Target] | None = None
    ) -> None:
        self._profiles = dict(profiles)
        self._targets = dict(targets or {})
        self._sites = dict(sites)
        ordered = sorted(self._profiles.values(), key=lambda one: (-one.priority, one.name))
        self._matches = [(frozenset(match.cards), match, one) for one in ordered for match in one.match]
        self._telling = frozenset(keyword for keywords, _, _ in self._matches for keyword in keywords)
        self._possible: dict[frozenset[str], list[tuple[Match, Profile]]] = {}
        self._site_of = {name: site for site in self._sites.values() for name in site.telescopes}
        self._site_called = {name.lower(): site for site in self._sites.values() for name in (site.name, *site.aliases)}

    def profile(self, name: str) -> Profile:
        """A profile by name.

        Raises
        ------
        ConfigError
            There is none of this name.
        """
        if name not in self._profiles:
            raise ConfigError(f"no instrument profile is named {name!r}; there are {', '.join(sorted(self._profiles))}")
        return self._profiles[name]

    def site(self, name: str) -> Site:
        """A site by name.

        Raises
        ------
        ConfigError
            There is none of this name.
        """
        if name not in self._sites:
            raise ConfigError(f"no site is named {name!r}; there are {', '.join(sorted(self._sites))}")
        return self._sites[name]

    def site_of(self, telescope: str | None) -> Site | None:
        """The site a telescope is known to stand at."""
        return self._site_of.get(telescope or "")

    def site_called(self, text: str) -> Site | None:
        """The site of a name or alias, in any case of letters."""
        return self._site_called.get(text.strip().lower())

    def site_near(self, longitude_deg: float) -> Site | None:
        """The one site within a tenth of a degree of a longitude."""
        near = [one for one in self._sites.values() if abs(one.longitude_deg - longitude_deg) < 0.1]
        return near[0] if len(near) == 1 else None

    def target(self, name: str | None) -> Target | None:
        """The target of a name, where the home says where it is."""
        return self._targets.get(key_of(name)) if name and self._targets else None

    def recognise(self, cards: Mapping[str, Card], relative_path: str) -> Profile:
        """The profile of a frame: the first by priority that knows it, else the generic one."""
        lowered = relative_path.lower()
        for match, one in self._matches_of(self._telling.intersection(cards)):
            if match.contains in lowered and match.fits(cards, relative_path):
                return one
        return self._profiles["generic"]

    def _matches_of(self, there: frozenset[str]) -> list[tuple[Match, Profile]]:
        """The ways of recognition for which these cards suffice: few, and the same for all frames of a program."""
        if there not in self._possible:
            if len(self._possible) >= _MOST_SETS:
                self._possible.clear()
            self._possible[there] = [(match, one) for keywords, match, one in self._matches if keywords <= there]
        return self._possible[there]

    def adapted(self, profile: Profile) -> Profiles:
        """These profiles and sites with one that stands in the place of that of its name."""
        return Profiles({profile.name: profile}, self._sites, self._targets)

    def digests(self) -> dict[str, str]:
        """What each profile says, as a digest by name; under "" how they are recognised, sites and targets."""
        found = {name: _digest(one, exclude={"match", "priority"}) for name, one in self._profiles.items()}
        recognition = [_digest(one, include={"name", "match", "priority"}) for _, one in sorted(self._profiles.items())]
        sites = [_digest(one) for _, one in sorted(self._sites.items())]
        targets = [json.dumps(digest_of(self._targets))] if self._targets else []
        return {**found, "": hashlib.sha256("".join(recognition + sites + targets).encode()).hexdigest()}


def _digest(one: BaseModel, **fields: Any) -> str:
    # A set has no order of its own.
    return hashlib.sha256(json.dumps(one.model_dump(**fields), sort_keys=True, default=sorted).encode()).hexdigest()


def load_profiles(home: Path | None = None) -> Profiles:
    """The shipped profiles and sites, and those of a home, which replace shipped ones of the same name; its targets.

    Raises
    ------
    ConfigError
        A file is wrong; the message names it and the key.
    """
    tables: dict[str, tuple[Path, dict[str, Any]]] = {}
    directories = [shipped("config/instruments")] + ([home / "instruments"] if home else [])
    for path in (path for directory in directories for path in sorted(directory.glob("*.toml"))):
        table = _read(path)
        tables[str(table.get("name", path.stem))] = (path, table)
    profiles = {name: _profile(name, tables) for name in tables}
    sites: dict[str, Site] = {}
    for path in [shipped("config/sites.toml")] + (
        [home / "sites.toml"] if home and (home / "sites.toml").is_file() else []
    ):
        for name, table in _read(path).items():
            if not isinstance(table, dict):
                raise ConfigError(f"{path}: {name}: a site is a table")
            sites[name] = _validated(Site, {"name": name, **table}, path)
    for name, one in profiles.items():
        if one.defaults.get("site", "") not in ("", *sites):
            raise ConfigError(f"{tables[name][0]}: defaults.site: no site is named {one.defaults['site']!r}")
    return Profiles(profiles, sites, load_targets(home))


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None


def _validated(model: Any, table: Mapping[str, Any], path: Path) -> Any:
    try:
        return model(**table)
    except (ValidationError, re.error) as error:
        lines = (
            [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
            if isinstance(error, ValidationError)
            else [str(error)]
        )
        raise ConfigError(f"{path}: " + "; ".join(lines)) from None


def _profile(name: str, tables: Mapping[str, tuple[Path, dict[str, Any]]], above: tuple[str, ...] = ()) -> Profile:
    path, table = tables[name]
    own: Profile = _validated(Profile, {**table, "name": name}, path)
    if own.inherits is None:
        return own
    if own.inherits in (*above, name) or own.inherits not in tables:
        raise ConfigError(f"{path}: inherits = {own.inherits!r}: no such profile, or a circle")
    base = _profile(own.inherits, tables, (*above, name))
    return own.model_copy(
        update={
            "cards": {**base.cards, **own.cards},
            "image_types": {**base.image_types, **own.image_types},
            "combined": own.combined + base.combined,
            "filters": {**base.filters, **own.filters},
            "transforms": {**base.transforms, **own.transforms},
            "defaults": {**base.defaults, **own.defaults},
            "names": own.names + base.names,
            "history": own.history + base.history,
            "prefer_name": own.prefer_name or base.prefer_name,
            "date_obs": own.date_obs if "date_obs" in own.model_fields_set else base.date_obs,
        }
    )
