"""The groups frames belong to: observations and calibration sessions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from avcd.frame import ImageType, canonical_json
from avcd.naming import slug

_SETTINGS = (
    "telescope", "instrument", "naxis1", "naxis2", "binning", "window", "gain", "offset", "readout_mode",
)  # fmt: skip
# A night's frames have few telescopes, targets and users.
cached_slug = lru_cache(maxsize=512)(slug)


def observation_of(values: Mapping[str, Any]) -> str:
    """The observation of a science frame: telescope, night, target, and the user where known.

    Parameters
    ----------
    values
        Of the frame, by name; those that are not known may be left out.
    """
    target_name, telescope, user = values.get("target_name"), values.get("telescope"), values.get("user")
    target = cached_slug(target_name, "") if target_name else ""
    return _joined(
        [
            cached_slug(telescope, "unknown-telescope"),
            values.get("night") or "no-night",
            target or _position_name(values.get("s_ra"), values.get("s_dec")) or "no-target",
            cached_slug(user, ""),
        ]
    )


def _position_name(s_ra: float | None, s_dec: float | None) -> str | None:
    """A position in degrees as "j0534+2200", cut and not rounded, as the IAU's rules for names want it."""
    if s_ra is None or s_dec is None:
        return None
    # A thousandth of an arc second, so that 83.75 degrees are 05 35 and not 05 34.
    minutes = int(s_ra * 4 + 1e-7) % 1440
    arc_minutes = int(abs(s_dec) * 60 + 1e-7)
    sign = "-" if s_dec < 0 else "+"
    return f"j{minutes // 60:02d}{minutes % 60:02d}{sign}{arc_minutes // 60:02d}{arc_minutes % 60:02d}"


def session_of(values: Mapping[str, Any]) -> str:
    """The session of a raw calibration: one camera's frames of one night, kind and settings.

    Parameters
    ----------
    values
        Of the frame, by name; those that are not known may be left out.
    """
    temperature = values.get("set_temperature_c")
    if temperature is None:
        temperature = values.get("ccd_temperature_c")
    flat = values["image_type"] is ImageType.FLAT
    settings = [
        *(values.get(name) for name in _SETTINGS),
        None if temperature is None else round(temperature * 2) / 2,
        None if flat else values.get("exposure_s"),
        values.get("filter") if flat else None,
        *([values["detector"]] if values.get("detector") else []),
    ]
    digest = hashlib.sha256(canonical_json(settings).encode()).hexdigest()[:8]
    telescope, night = cached_slug(values.get("telescope"), "unknown-telescope"), values.get("night")
    return _joined([telescope, night or "no-night", values["image_type"], digest])


def _joined(parts: Iterable[str | None]) -> str:
    return "/".join(one for one in parts if one)
