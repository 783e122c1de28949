"""What the path says of a frame: fills what the header leaves open, and is compared with what it does say."""

from __future__ import annotations

import re
from typing import Any

from avcd.frame import ImageType
from avcd.headers.gathering import Gathered
from avcd.headers.groups import cached_slug
from avcd.headers.profile import Profile, typed

_COMPARED = frozenset(
    {"filter", "binning", "image_type", "exposure_s", "set_temperature_c", "target_name", "telescope"}
)
_MASTER_OF = {
    ImageType.BIAS: ImageType.MASTER_BIAS,
    ImageType.DARK: ImageType.MASTER_DARK,
    ImageType.FLAT: ImageType.MASTER_FLAT,
}
# What the folder of such frames may be called: a master dark lies among darks.
_BY_STRUCTURE = (ImageType.TABLE, ImageType.CUBE, ImageType.SPECTRUM, ImageType.UNKNOWN)
_BROADER = {
    ImageType.MASTER_BIAS: (ImageType.BIAS,),
    ImageType.MASTER_DARK: (ImageType.DARK, ImageType.DARK_FLAT),
    ImageType.MASTER_FLAT: (ImageType.FLAT,),
    ImageType.BAD_PIXEL_MASK: (ImageType.DARK, ImageType.MASTER_DARK),
    ImageType.DARK_FLAT: (ImageType.DARK, ImageType.FLAT),
    ImageType.DARK: (ImageType.DARK_FLAT,),
}
# One glass under several names; that "r" is short for "Red" needs no list.
_SAME_FILTER = {"hydrogenalpha": "ha", "o3": "oiii", "oxygen": "oiii", "s2": "sii", "sulfur": "sii", "n2": "nii"}


def read_names(gathered: Gathered) -> None:
    """Apply the profile's patterns to the path, the first that says something of a value winning.

    A header's value stays, unless the profile prefers the name for it; where the two disagree, a warning says so.
    """
    said: set[str] = set()
    # What a header has said and no name is compared with needs no name.
    settled = gathered.values.keys() - _COMPARED - set(gathered.profile.prefer_name)
    lowered = gathered.path.lower()
    for contains, gives, regex, values in gathered.profile.name_rules:
        if contains not in lowered or gives <= settled:
            continue
        found = regex.search(gathered.path)
        if not found:
            continue
        for name, value in values.items():
            _take(gathered, said, name, value)
        for name, text in found.groupdict().items():
            if text:
                _take(gathered, said, name, typed(name, text))
        settled |= said


def _take(gathered: Gathered, said: set[str], name: str, value: Any) -> None:
    if value is None or name in said:
        return
    said.add(name)
    known = gathered.values.get(name)
    if name == "image_type" and known is not None and known is not value:
        _take_type(gathered, known, value)
        return
    if known is not None and known != value and name in _COMPARED and not _agree(gathered.profile, name, known, value):
        gathered.warnings.append(f"{name}: the header says {known}, the name says {value}")
    if name in gathered.profile.prefer_name:
        gathered.replace(name, value, "file name")
    else:
        gathered.put(name, value, "file name")


def _take_type(gathered: Gathered, known: ImageType, value: ImageType) -> None:
    """Two types of image: the header's stays, unless it cannot be, or the name says the same more narrowly."""
    if known in _BY_STRUCTURE or value in _BROADER.get(known, ()):
        return  # a cube stays what it is, whatever it is called
    words = f"image_type: the header says {known}, the name says {value}"
    if value is _MASTER_OF.get(known):
        gathered.warnings.append(f"{words}: it is one, combined from such frames")
        gathered.replace("image_type", value, "file name")
    elif known is ImageType.SCIENCE and value is ImageType.BIAS and gathered.values.get("exposure_s") == 0:
        gathered.warnings.append(f"{words}, and without an exposure it is one")
        gathered.replace("image_type", value, "file name")
    elif "image_type" in gathered.profile.prefer_name:
        gathered.warnings.append(words)
        gathered.replace("image_type", value, "file name")
    else:
        gathered.warnings.append(words)


def transform(profile: Profile, name: str, value: Any) -> Any:
    """A value rewritten by the first of the profile's rules that fits it (T5 to T05), and filters' other names."""
    if isinstance(value, str):
        for pattern, replacement in profile.rewriting.get(name, ()):
            if pattern.search(value):
                value = pattern.sub(replacement, value)
                break
        if name == "filter":
            value = profile.filters.get(value, value)
    return value


def _agree(profile: Profile, name: str, known: Any, value: Any) -> bool:
    if name == "exposure_s":
        # Names give whole seconds.
        return abs(float(known) - float(value)) <= max(1.0, 0.01 * float(known))
    if name == "set_temperature_c":
        return abs(float(known) - float(value)) <= 1.0
    ours, theirs = (transform(profile, name, one) for one in (known, value))
    if ours == theirs:
        return True
    if name == "target_name":
        # "NGC 253", "NGC_253" and "ngc253" are one target.
        return cached_slug(ours, "").replace("-", "") == cached_slug(theirs, "").replace("-", "")
    return name == "filter" and _one_filter(ours, theirs)


def _one_filter(ours: str, theirs: str) -> bool:
    """Whether two names may be one filter's: "R" and "Red", "Ha" and "H-Alpha", "OIII" and "O3"."""
    first, second = (re.sub(r"[^a-z0-9]", "", one.lower()) for one in (ours, theirs))
    first, second = _SAME_FILTER.get(first, first), _SAME_FILTER.get(second, second)
    return first.startswith(second) or second.startswith(first)
