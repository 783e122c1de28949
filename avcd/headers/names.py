"""What the path says of a frame: fills what the header leaves open, and is compared with what it does say."""

from __future__ import annotations

import re
from typing import Any

from avcd.errors import ConfigError
from avcd.frame import ImageType
from avcd.headers.gathering import Gathered
from avcd.headers.profiles import Profile
from avcd.headers.values import to_number
from avcd.naming import slug

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
_COMPARED = ("filter", "binning", "image_type", "exposure_s", "set_temperature_c", "target_name", "telescope")


def read_names(gathered: Gathered) -> None:
    """Apply the profile's patterns to the path, the first that says something of a value winning.

    A header's value stays, unless the profile prefers the name for it; where the two disagree, a warning says so.
    """
    said: set[str] = set()
    for pattern in gathered.profile.names:
        found = pattern.regex.search(gathered.path)
        if not found:
            continue
        groups = {key: value for key, value in found.groupdict().items() if value not in (None, "")}
        for name, text in {**pattern.values, **groups}.items():
            value = typed(name, text)
            if value is None or name in said:
                continue
            said.add(name)
            known = gathered.values.get(name)
            if known is not None and name in _COMPARED and not _agree(gathered.profile, name, known, value):
                gathered.warnings.append(f"{name}: the header says {known}, the name says {value}")
            if name in gathered.profile.prefer_name:
                gathered.replace(name, value, "file name")
            else:
                gathered.put(name, value, "file name")


def typed(name: str, text: Any) -> Any:
    """A value as a profile or a name spells it, in the type a Frame has.

    Raises
    ------
    ConfigError
        A profile names a type of image that does not exist.
    """
    if name == "image_type":
        try:
            return ImageType(text)
        except ValueError:
            raise ConfigError(f"instrument profile: {text!r} is no type of image") from None
    if name == "binning" and isinstance(text, str) and "x" not in text:
        return f"{text}x{text}"
    if name == "calibration":
        return frozenset(text)
    if name in NUMBERS:
        number = to_number(text)
        return int(number) if number is not None and name in ("n_combined", "sequence_total") else number
    if name == "target_name" and isinstance(text, str):
        return text.replace("_", " ").strip()
    return text


def transform(profile: Profile, name: str, value: Any) -> Any:
    """A value rewritten by the first of the profile's rules that fits it (T5 to T05), and filters' other names."""
    if isinstance(value, str):
        for pattern, replacement in profile.transforms.get(name, ()):
            if re.search(pattern, value):
                value = re.sub(pattern, replacement, value)
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
    if name == "target_name":
        # "NGC 253", "NGC_253" and "ngc253" are one target.
        return slug(ours).replace("-", "") == slug(theirs).replace("-", "")
    return bool(ours == theirs)
