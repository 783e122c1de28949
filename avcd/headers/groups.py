"""The groups frames belong to: observations and calibration sessions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from avcd.frame import Frame, ImageType, canonical_json
from avcd.naming import slug


def observation_of(frame: Frame) -> str:
    """The observation of a science frame: telescope, night, target, and the user where known."""
    target = slug(frame.target_name, "") if frame.target_name else ""
    return _joined(
        [
            slug(frame.telescope, "unknown-telescope"),
            frame.night or "no-night",
            target or _position_name(frame) or "no-target",
            slug(frame.user, ""),
        ]
    )


def _position_name(frame: Frame) -> str | None:
    """The position a frame points at, as "j0534+2200", cut and not rounded, as the IAU's rules for names want it."""
    if frame.s_ra is None or frame.s_dec is None:
        return None
    # A thousandth of an arc second, so that 83.75 degrees are 05 35 and not 05 34.
    minutes = int(frame.s_ra * 4 + 1e-7) % 1440
    arc_minutes = int(abs(frame.s_dec) * 60 + 1e-7)
    sign = "-" if frame.s_dec < 0 else "+"
    return f"j{minutes // 60:02d}{minutes % 60:02d}{sign}{arc_minutes // 60:02d}{arc_minutes % 60:02d}"


def session_of(frame: Frame) -> str:
    """The session of a raw calibration: one camera's frames of one night, kind and settings."""
    temperature = frame.set_temperature_c if frame.set_temperature_c is not None else frame.ccd_temperature_c
    flat = frame.image_type is ImageType.FLAT
    settings = [
        frame.telescope,
        frame.instrument,
        frame.naxis1,
        frame.naxis2,
        frame.binning,
        frame.window,
        frame.gain,
        frame.offset,
        frame.readout_mode,
        None if temperature is None else round(temperature * 2) / 2,
        None if flat else frame.exposure_s,
        frame.filter if flat else None,
        *([frame.detector] if frame.detector else []),
    ]
    digest = hashlib.sha256(canonical_json(settings).encode()).hexdigest()[:8]
    return _joined([slug(frame.telescope, "unknown-telescope"), frame.night or "no-night", frame.image_type, digest])


def _joined(parts: Iterable[str | None]) -> str:
    return "/".join(one for one in parts if one)
