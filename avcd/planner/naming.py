"""Where products lie in the archive: paths and slots that a person can read."""

from __future__ import annotations

from avcd.frame import Frame
from avcd.naming import slug


def number(value: float | None) -> str:
    """A number for a file name: ``10`` for 10.0, ``0.5`` for 0.5, ``x`` for None."""
    return "x" if value is None else f"{value:g}"


def directory(frame: Frame, night: str | None) -> str:
    """The archive directory of a telescope's night."""
    return f"{slug(frame.telescope, 'unknown-telescope')}/{night or 'no-night'}"


def file_name(stem: str, identity: str, suffix: str) -> str:
    """A product's file name: what it is, and the beginning of its id, so that revisions never share a name."""
    return f"{stem}-{identity[:12]}{suffix}"
