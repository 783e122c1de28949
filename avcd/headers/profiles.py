"""Instrument profiles: how the headers and file names of one instrument are read, as data.

A profile is a TOML file of config/instruments, or of a home's instruments/ directory. It names the cards of each
value, the words of IMAGETYP, patterns over paths, values that are always so, and by what the profile is recognised.
A profile may inherit another: what it says itself wins.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from avcd.errors import ConfigError
from avcd.frame import Card, ImageType
from avcd.resources import shipped

Unit = Literal[
    "", "s", "deg_C", "K", "deg", "hour", "hour_or_deg", "rad", "arcsec", "um", "mm", "adu", "electron", "MJD"
]


# The values a card may give. The last are steps to others: a date and a time, a pixel's size, a site.
_CARD_VALUES = frozenset(
    {
        "image_type", "telescope", "instrument", "target_name", "filter", "user", "exposure_s", "set_temperature_c",
        "ccd_temperature_c", "gain", "offset", "readout_mode", "gain_e_per_adu", "read_noise_e", "saturation_adu",
        "pedestal_adu", "bunit", "pixel_scale_arcsec", "airmass", "n_combined", "sequence_total", "calibration",
        "s_ra", "s_dec", "date_obs", "time_obs", "site_longitude", "pixel_size_um", "focal_length_mm", "binning",
        "bayer_pattern",
    }
)  # fmt: skip
# The values a name or a default may give.
_NAME_VALUES = (
    _CARD_VALUES - {"date_obs", "time_obs", "site_longitude", "pixel_size_um", "focal_length_mm", "bayer_pattern"}
) | {"bias_included", "window"}
_DEFAULT_VALUES = _NAME_VALUES | {"site"}


def _among(names: Iterable[str], known: frozenset[str], what: str) -> None:
    unknown = sorted(set(names) - known)
    if unknown:
        raise ValueError(f"no such {what}: {', '.join(unknown)}; there are {', '.join(sorted(known))}")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Key(_Part):
    """A card that counts only when its comment, in any case of letters, says the right thing."""

    key: str
    comment: str

    @field_validator("comment")
    @classmethod
    def _compiles(cls, text: str) -> str:
        re.compile(text)
        return text

    @cached_property
    def regex(self) -> re.Pattern[str]:
        """The compiled pattern of the comment."""
        return re.compile(self.comment, re.IGNORECASE)


class Value(_Part):
    """The cards a value may stand in, best first, and its unit there."""

    keys: tuple[str | Key, ...] = ()
    unit: Unit = ""


class NamePattern(_Part):
    """A pattern over the path below the drop directory; its named groups and ``values`` say what the header may not."""

    pattern: str
    values: Mapping[str, Any] = {}

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, text: str) -> str:
        _among(re.compile(text).groupindex, _NAME_VALUES, "value")
        return text

    @field_validator("values")
    @classmethod
    def _known(cls, values: Mapping[str, Any]) -> Mapping[str, Any]:
        _among(values, _NAME_VALUES, "value")
        return values

    @cached_property
    def regex(self) -> re.Pattern[str]:
        """The compiled pattern."""
        return re.compile(self.pattern)


class Match(_Part):
    """One way to recognise a profile: every card named, and the path where one is given, must match."""

    cards: Mapping[str, str] = {}
    path: str = ""

    @model_validator(mode="after")
    def _compiles(self) -> Match:
        _ = self.regexes
        return self

    @cached_property
    def regexes(self) -> tuple[re.Pattern[str], Mapping[str, re.Pattern[str]]]:
        """The compiled patterns of the path and of the cards."""
        return re.compile(self.path), {key: re.compile(pattern) for key, pattern in self.cards.items()}

    def fits(self, cards: Mapping[str, Card], path: str) -> bool:
        """Whether a frame with these cards and this path is meant."""
        on_path, on_cards = self.regexes
        return bool(on_path.search(path)) and all(
            key in cards and pattern.search(str(cards[key].value)) for key, pattern in on_cards.items()
        )


class Site(_Part):
    """Where a telescope stands. East longitudes are positive."""

    name: str
    latitude_deg: float = Field(ge=-90, le=90)
    longitude_deg: float = Field(ge=-180, le=180)
    altitude_m: float = 0.0
    code: str = Field("", description="Minor Planet Center's observatory code")
    telescopes: tuple[str, ...] = ()


class Profile(_Part):
    """How one instrument's headers are read."""

    name: str
    version: int = 1
    inherits: str | None = None
    priority: int = 0
    match: tuple[Match, ...] = ()
    cards: Mapping[str, Value] = {}
    image_types: Mapping[str, ImageType] = {}
    filters: Mapping[str, str] = {}
    transforms: Mapping[str, tuple[tuple[str, str], ...]] = {}
    prefer_name: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = {}
    names: tuple[NamePattern, ...] = ()
    date_obs: Literal["start", "middle", "end"] = "start"

    @field_validator("cards")
    @classmethod
    def _known_cards(cls, cards: Mapping[str, Value]) -> Mapping[str, Value]:
        _among(cards, _CARD_VALUES, "value")
        return cards

    @field_validator("defaults", "transforms")
    @classmethod
    def _known_values(cls, values: Mapping[str, Any]) -> Mapping[str, Any]:
        _among(values, _DEFAULT_VALUES, "value")
        return values

    @field_validator("transforms")
    @classmethod
    def _compile(cls, rules: Mapping[str, tuple[tuple[str, str], ...]]) -> Mapping[str, tuple[tuple[str, str], ...]]:
        for pattern, _ in (rule for one in rules.values() for rule in one):
            re.compile(pattern)
        return rules

    @field_validator("prefer_name")
    @classmethod
    def _known_names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        _among(names, _NAME_VALUES, "value")
        return names

    def recognises(self, cards: Mapping[str, Card], path: str) -> bool:
        """Whether a frame with these cards and this path is this profile's."""
        return any(one.fits(cards, path) for one in self.match)


class Profiles:
    """All profiles and sites of a home."""

    def __init__(self, profiles: Mapping[str, Profile], sites: Mapping[str, Site]) -> None:
        self._profiles = dict(profiles)
        self._sites = dict(sites)
        self._ordered = sorted(self._profiles.values(), key=lambda one: (-one.priority, one.name))
        self._site_of = {name: site for site in self._sites.values() for name in site.telescopes}

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

    def recognise(self, cards: Mapping[str, Card], relative_path: str) -> Profile:
        """The profile of a frame: the first by priority that knows it, else the generic one."""
        for one in self._ordered:
            if one.recognises(cards, relative_path):
                return one
        return self._profiles["generic"]

    def adapted(self, profile: Profile) -> Profiles:
        """These profiles and sites with one that stands in the place of that of its name."""
        return Profiles({profile.name: profile}, self._sites)

    def digests(self) -> dict[str, str]:
        """What each profile says, as a digest by name; under "" how they are recognised, and the sites."""
        found = {name: _digest(one, exclude={"match", "priority"}) for name, one in self._profiles.items()}
        recognition = [_digest(one, include={"name", "match", "priority"}) for _, one in sorted(self._profiles.items())]
        sites = [_digest(one) for _, one in sorted(self._sites.items())]
        return {**found, "": hashlib.sha256("".join(recognition + sites).encode()).hexdigest()}


def _digest(one: BaseModel, **fields: Any) -> str:
    # A set has no order of its own.
    return hashlib.sha256(json.dumps(one.model_dump(**fields), sort_keys=True, default=sorted).encode()).hexdigest()


def load_profiles(home: Path | None = None) -> Profiles:
    """The shipped profiles and sites, and those of a home, which replace shipped ones of the same name.

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
    return Profiles(profiles, sites)


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
            "filters": {**base.filters, **own.filters},
            "transforms": {**base.transforms, **own.transforms},
            "defaults": {**base.defaults, **own.defaults},
            "names": own.names + base.names,
        }
    )
