"""Words for file names and identifiers."""

from __future__ import annotations

import functools
import re
import unicodedata
from pathlib import PurePosixPath

CANARY_PREFIX = ".avcd-canary-"  # of files that avcd itself puts into a drop directory for a moment, where it may


COMPATIBLE = ("astep", "itelescope")  # programs whose names for reduced frames are known
_SUFFIXES = (".fits", ".fit", ".fts", ".fz", ".gz", ".bz2", ".xisf", ".zip")


def stem_of(name: str) -> str:
    """A file's name without the suffixes of FITS and of compression."""
    while name.lower().endswith(_SUFFIXES):
        name = name.rpartition(".")[0]
    return name


def compatible_name(style: str, path: str, member: str, night: str | None) -> PurePosixPath:
    """What another program calls the reduced frame of a raw one, with the directories below which it puts it.

    Parameters
    ----------
    style
        "astep": ``DATE-CAMS_CAL/STEM_CAL.fits`` beside ``DATE-CAMS``; "itelescope": ``cal-x.fits`` of ``raw-x.fit``.
    path, member
        The raw file's relative path, and its place in an archive.
    night
        For ASTEP's directory, where the raw file lies in none.

    Examples
    --------
    >>> str(compatible_name("astep", "2012-06-04/2012-06-04-CAMS/2012-06-04_17.23.54_SCIENCE.fits", "", None))
    '2012-06-04/2012-06-04-CAMS_CAL/2012-06-04_17.23.54_SCIENCE_CAL.fits'
    >>> str(compatible_name("itelescope", "T05/raw-T05-m42-Red.fit", "", None))
    'T05/cal-T05-m42-Red.fits'
    """
    parent = PurePosixPath(path).parent
    stem = stem_of(PurePosixPath(member or path).name)
    if style == "itelescope":
        return parent / f"cal-{re.sub('^raw-', '', stem, flags=re.IGNORECASE)}.fits"
    if parent.name.upper().endswith("-CAMS"):
        return parent.with_name(f"{parent.name}_CAL") / f"{stem}_CAL.fits"
    return parent / f"{night or 'unknown'}-CAMS_CAL" / f"{stem}_CAL.fits"


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
