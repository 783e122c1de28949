"""Words for file names and identifiers."""

from __future__ import annotations

import functools
import re
import unicodedata

CANARY_PREFIX = ".avcd-canary-"  # of files that avcd itself puts into a drop directory for a moment, where it may


@functools.lru_cache(maxsize=4096)
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
