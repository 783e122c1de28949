"""Where products lie in the archive: paths and slots that a person can read."""

from __future__ import annotations

import re
import unicodedata

from avcd.frame import Frame


def slug(text: str | None, default: str = "unknown") -> str:
    """``text`` as lower-case ASCII words joined by hyphens, safe in any file name; ``default`` when nothing is left.

    Examples
    --------
    >>> slug("Cat's Eye Nebula")
    'cats-eye-nebula'
    >>> slug(None)
    'unknown'
    """
    plain = unicodedata.normalize("NFKD", text or "").encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9+]+", "-", plain.lower().replace("'", "")).strip("-+")[:60] or default


def number(value: float | None) -> str:
    """A number for a file name: ``10`` for 10.0, ``0.5`` for 0.5, ``x`` for None."""
    return "x" if value is None else f"{value:g}"


def directory(frame: Frame, night: str | None) -> str:
    """The archive directory of a telescope's night."""
    return f"{slug(frame.telescope, 'unknown-telescope')}/{night or 'no-night'}"


def file_name(stem: str, identity: str, suffix: str) -> str:
    """A product's file name: what it is, and the beginning of its id, so that revisions never share a name."""
    return f"{stem}-{identity[:12]}{suffix}"
