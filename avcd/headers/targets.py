"""Where targets are, by their names: a home's own table, and what a name server answered once."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from avcd.errors import ConfigError
from avcd.headers.values import to_degrees

OWN = "targets.toml"
RESOLVED = "resolved.toml"
_APART = re.compile(r"[\s_-]+")


@dataclass(frozen=True)
class Target:
    """A place on the sky, ICRS degrees; ``source`` is the file that names it."""

    name: str
    ra_deg: float
    dec_deg: float
    source: str


def key_of(name: str) -> str:
    """What spellings of one name have in common: neither case nor spaces, dashes and underscores count."""
    return _APART.sub("", name).lower()


def load_targets(home: Path | None) -> dict[str, Target]:
    """The targets that a home knows, by `key_of` their names; its own table goes before what was resolved.

    Raises
    ------
    ConfigError
        A file is wrong; the message names it and the target.
    """
    found: dict[str, Target] = {}
    for name in (RESOLVED, OWN) if home else ():
        assert home is not None
        path = home / name
        if path.is_file():
            found |= _read(path)
    return found


def _read(path: Path) -> dict[str, Target]:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None
    return {key_of(name): Target(name, *_position(path, name, value), path.name) for name, value in table.items()}


def _position(path: Path, name: str, value: object) -> tuple[float, float]:
    """Right ascension and declination in degrees, from "RA, DEC" or [RA, DEC]."""
    parts: list[object] = []
    if isinstance(value, list):
        parts = list(value)
    elif isinstance(value, str):
        parts = [one.strip() for one in value.split(",")] if "," in value else list(value.split())
    if len(parts) == 2:
        ra = to_degrees(parts[0], "hour_or_deg")
        dec = to_degrees(parts[1], "deg")
        if ra is not None and dec is not None and 0 <= ra < 360 and -90 <= dec <= 90:
            return ra, dec
    raise ConfigError(
        f"{path}: {name!r}: write right ascension and declination, as '05:35:17.3, -05:23:28' or [83.822, -5.391]"
    )


def keep_resolved(home: Path, targets: Mapping[str, Target]) -> None:
    """Add targets to those that a home has resolved."""
    path = home / RESOLVED
    known = (_read(path) if path.is_file() else {}) | {key_of(one.name): one for one in targets.values()}
    lines = [
        "# Where name servers say that targets are: right ascension and declination, ICRS degrees. Written by avcd resolve."
    ]
    lines += [f"{_quoted(one.name)} = [{one.ra_deg!r}, {one.dec_deg!r}]" for _, one in sorted(known.items())]
    temporary = path.with_suffix(".part")
    temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    temporary.replace(path)


def _quoted(name: str) -> str:
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(one if one.isprintable() else f"\\u{ord(one):04x}" for one in escaped) + '"'


def digest_of(targets: Mapping[str, Target]) -> list[object]:
    """What a translation by these targets depends on, as JSON values."""
    return [asdict(one) for _, one in sorted(targets.items())]
