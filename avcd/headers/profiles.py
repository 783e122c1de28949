"""Instrument profiles: how headers and file names are read, as data.

A profile is a TOML file of config/instruments, or of a home's instruments/ directory. A profile may inherit another:
what it says itself wins.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from avcd.errors import ConfigError
from avcd.frame import Card
from avcd.headers.profile import Match, Profile
from avcd.headers.sites import Site
from avcd.headers.targets import Target, digest_of, key_of, load_targets
from avcd.resources import shipped

_MOST_SETS = 1000  # of cards that profiles are recognised by, remembered


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
