"""Rule sets read from TOML and checked: everything that is wrong with a file is said at once, with its line."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from avcd.association import lines
from avcd.association.rules import Contradiction, Rules, RuleSet, essence, fits, may_meet, merge, precedence
from avcd.errors import ConfigError
from avcd.resources import shipped

_BARE = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a file of rules."""

    file: Path
    line: int | None
    key: str  # dotted; "" for the file as a whole
    message: str

    def __str__(self) -> str:
        """As compilers say it: file, line, key, what is wrong."""
        where = f"{self.file}:{self.line}" if self.line else str(self.file)
        return f"{where}: {self.key}: {self.message}" if self.key else f"{where}: {self.message}"


@dataclass(frozen=True)
class _Source:
    """A file as it was read."""

    path: Path
    table: Mapping[str, Any]
    lines: Mapping[lines.Path, int]

    @property
    def sections(self) -> Mapping[str, Any]:
        """What it says of single instruments."""
        found = self.table.get("instrument", {})
        return found if isinstance(found, dict) else {}


def load_rules(home: Path | None = None) -> Rules:
    """The rules: the shipped ones, overridden key by key by ``home``/match.toml.

    Raises
    ------
    ConfigError
        As `read_rules`.
    """
    own = home / "match.toml" if home else None
    return read_rules(own if own and own.is_file() else None)


def read_rules(path: Path | None = None) -> Rules:
    """The shipped rules, overridden key by key by a file.

    Parameters
    ----------
    path
        A rule set in TOML; None: the shipped rules as they are.

    Raises
    ------
    ConfigError
        The file is not there, is no TOML, or has unknown keys, values out of range, tiers that can never be reached,
        values that contradict each other, patterns that say the same: one line of the message for each, with file, line
        and key.
    """
    base = _read(shipped("config/match/default.toml"))
    own = _read(path) if path else base
    table = merge(base.table, own.table)
    sections = _sections(base, own)
    faults = list(dict.fromkeys(_faults(table, sections, own, base)))
    if faults:
        raise ConfigError("\n".join(map(str, sorted(faults, key=lambda one: (str(one.file), one.line or 0, one.key)))))
    version = table.pop("version", 1)
    table.pop("instrument", None)
    return Rules(version=version, default=RuleSet(**table), instrument=sections)


def _read(path: Path) -> _Source:
    try:
        text = path.read_text(encoding="utf-8")
        return _Source(path, tomllib.loads(text), lines.key_lines(text))
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file of rules") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as text: {error}") from None
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"at line (\d+)", str(error))
        raise ConfigError(str(Fault(path, int(found[1]) if found else None, "", f"not valid TOML: {error}"))) from None


def _sections(base: _Source, own: _Source) -> dict[str, Any]:
    """The instruments' sections of both files; a pattern that both have is one section, the home's laid over."""
    spelt = {essence(one): one for one in own.sections}
    found: dict[str, Any] = {}
    for name, table in base.sections.items():
        mine = own.sections[spelt[essence(name)]] if essence(name) in spelt else {}
        found[spelt.get(essence(name), name)] = merge(table, mine) if isinstance(mine, dict) else mine
    return {**found, **{name: table for name, table in own.sections.items() if name not in found}}


def _faults(table: Mapping[str, Any], sections: Mapping[str, Any], own: _Source, base: _Source) -> Iterator[Fault]:
    default = {name: value for name, value in table.items() if name not in ("version", "instrument")}
    for keys, message in _wrong({"default": default, "version": table.get("version", 1)}, Rules):
        yield _fault([one[1:] if one[0] == "default" else one for one in keys], message, own, base)
    if not isinstance(table.get("instrument", {}), dict):
        yield _fault([("instrument",)], "is no table; write [instrument.NAME.temperature], say", own, base)
    yield from _faults_of_names(own)
    # What is wrong with all cameras has been said.
    sound = default if not list(_wrong(default, RuleSet)) else {}
    good = {}
    for name, section in sections.items():
        if not isinstance(section, dict):
            yield _fault([("instrument", name)], "is no table", own, base)
            continue
        wrong = [one for one in _wrong(merge(sound, section), RuleSet) if any(_is_in(key, section) for key in one[0])]
        for keys, message in wrong:
            yield _fault([("instrument", name, *key) for key in keys if _is_in(key, section)], message, own, base)
        if not wrong:
            good[name] = section
    yield from _faults_of_pairs(sound, good, own, base)


def _faults_of_names(own: _Source) -> Iterator[Fault]:
    """Names and patterns that no instrument can have, or that another of the same file says already."""
    first: dict[str, str] = {}
    for name in own.sections:
        if not name.strip():
            yield _fault([("instrument", name)], "no instrument has an empty name", own, own)
        earlier = first.setdefault(essence(name), name)
        if earlier != name:
            where = own.lines.get(("instrument", earlier))
            message = f"fits what {earlier!r} on line {where} fits: it would never be used; make them one"
            yield _fault([("instrument", name)], message, own, own)


def _faults_of_pairs(
    default: Mapping[str, Any], sections: Mapping[str, Mapping[str, Any]], own: _Source, base: _Source
) -> Iterator[Fault]:
    """Sections that make sense alone, and not together for an instrument that both fit."""
    ordered = sorted(sections, key=precedence)
    for name, wider in combinations(ordered, 2):
        if sections[name] == sections[wider]:
            continue
        for keys, message in _wrong(merge(merge(default, sections[wider]), sections[name]), RuleSet):
            if fits(wider, name) or may_meet(name, wider):
                involved = [key for key in keys if _is_in(key, sections[name])] or keys
                where = [("instrument", name, *key) for key in involved]
                yield _fault(where, f"{message} (together with [instrument.{_quoted(wider)}])", own, base)


def _wrong(table: Mapping[str, Any], model: type[Rules] | type[RuleSet]) -> Iterator[tuple[Sequence[lines.Path], str]]:
    """What is wrong with a table: the keys that are involved, the one to change first, and the reason."""
    try:
        model(**table)
    except ValidationError as error:
        for one in error.errors():
            cause = one.get("ctx", {}).get("error")
            keys: Sequence[lines.Path] = [one["loc"]]
            message = one["msg"]
            if isinstance(cause, Contradiction):
                prefix = ("default",) if one["loc"][0] == "default" else ()
                keys, message = [(*prefix, *key) for key in cause.keys], str(cause)
            elif one["type"] == "extra_forbidden":
                message = f"there is no such key; there are {', '.join(_fields(model, one['loc'][:-1]))}"
            elif one["type"] in ("model_type", "dict_type"):
                message = f"is no table, but {one['input']!r}"
            else:
                message = f"{message[:1].lower()}{message[1:]}, not {one['input']!r}"
            yield keys, message


def _fields(model: Any, place: lines.Path) -> list[str]:
    beside = ["version", "instrument"] if place == ("default",) else []
    for key in place:
        model = model.model_fields[key].annotation
    return [*model.model_fields, *beside]


def _is_in(key: lines.Path, table: Any) -> bool:
    """Whether a table has a key; the element of an array belongs to the array."""
    for part in key:
        if isinstance(part, int):
            return True
        if not isinstance(table, dict):
            return True
        if part not in table:
            return False
        table = table[part]
    return True


def _fault(keys: Sequence[lines.Path], message: str, own: _Source, base: _Source) -> Fault:
    """A fault at the first of the keys that a file has, the home's file before the shipped one."""
    for source in (own, base):
        for key in keys:
            while key and key not in source.lines and isinstance(key[-1], int):
                key = key[:-1]
            if key in source.lines:
                return Fault(source.path, source.lines[key], _dotted(key), message)
    key = keys[0]
    while key and key not in own.lines:
        key = key[:-1]
    return Fault(own.path, own.lines.get(key), _dotted(keys[0]), message)


def _dotted(key: lines.Path) -> str:
    return ".".join(_quoted(one) for one in key if isinstance(one, str))


def _quoted(word: str) -> str:
    return word if _BARE.fullmatch(word) else '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'
