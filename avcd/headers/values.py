"""Single values as headers spell them: numbers, angles, times. What has no certain meaning is None, never a guess."""

from __future__ import annotations

import math
import re
import warnings
from datetime import UTC, datetime, timedelta

from astropy.time import Time

from avcd.errors import HeaderError

_SEXAGESIMAL = re.compile(r"^\s*([+-]?)\s*(\d{1,3})[\s:hd°]+(\d{1,2})(?:[\s:m']+(\d{1,2}(?:\.\d*)?)[s\"]?)?\s*$")
_ISO = re.compile(r"^(\d{4})-(\d{2})-(\d{2})(?:\s*T\s*|\s+)(\d{1,2}):(\d{2})(?::(\d{2}(?:\.\d*)?))?\s*(Z?)$")
_MJD_EPOCH = datetime(1858, 11, 17, tzinfo=UTC)
_NEARLY_UTC = ("", "utc", "ut", "ut1", "gmt", "z")  # UT1 is never more than 0.9 s away
_TAI_MINUS_GPS_S = 19.0
_OLDEST = 1980  # before that, a camera's clock was never set


def to_number(value: object) -> float | None:
    """A finite number, from a number or its text; None for anything else."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        found = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def to_degrees(value: object, unit: str) -> float | None:
    """An angle in degrees.

    Parameters
    ----------
    value
        A number, or text in sexagesimal or decimal.
    unit
        "deg", "hour", "rad", or "hour_or_deg": sexagesimal text in hours, plain numbers in degrees.
    """
    if isinstance(value, str):
        found = _SEXAGESIMAL.match(value)
        if found:
            sign, whole, minutes, seconds = found.groups()
            if float(minutes) >= 60 or float(seconds or 0) >= 60:
                return None
            angle = float(whole) + float(minutes) / 60 + float(seconds or 0) / 3600
            return (-angle if sign == "-" else angle) * (15.0 if unit in ("hour", "hour_or_deg") else 1.0)
    number = to_number(value)
    if number is None:
        return None
    return math.degrees(number) if unit == "rad" else number * 15.0 if unit == "hour" else number


def to_mjd(text: str, time_text: str | None = None, scale: str = "utc") -> float:
    """A date and time as MJD UTC.

    Parameters
    ----------
    text
        ISO 8601, a date alone, when ``time_text`` is the time of day, or "MJD" and a number.
    scale
        TIMESYS of the header, in lower case: "utc", "tai", "tt", "tdb", "gps" …

    Raises
    ------
    HeaderError
        It is no date, has no time of day, is older than any camera avcd could meet, or counts in an unknown scale.
    """
    if text.startswith("MJD "):
        return _to_utc(_checked(float(text.removeprefix("MJD "))), scale)
    joined = text.strip() if time_text is None or re.search(r"\d:\d", text) else f"{text.strip()}T{time_text.strip()}"
    found = _ISO.match(joined)
    if not found:
        raise HeaderError(f"{joined!r} is no date with a time of day")
    year, month, day, hour, minute = (int(one) for one in found.groups()[:5])
    seconds = float(found.group(6) or 0)
    if seconds >= 61:
        raise HeaderError(f"{joined!r} has {seconds:g} seconds")
    if year < _OLDEST:
        raise HeaderError(f"{joined!r} is before {_OLDEST}: the clock was not set")
    try:
        # A leap second, 23:59:60, is the beginning of the next minute to a datetime.
        moment = datetime(year, month, day, hour, minute, tzinfo=UTC) + timedelta(seconds=seconds)
    except (ValueError, OverflowError) as error:
        raise HeaderError(f"{joined!r}: {error}") from None
    return _to_utc(_checked((moment - _MJD_EPOCH) / timedelta(days=1)), scale)


def _checked(mjd: float) -> float:
    """A modified Julian date between the oldest camera and the year 2200.

    Raises
    ------
    HeaderError
        It is none, a Julian date for example.
    """
    if not 44239 <= mjd <= 124594:
        raise HeaderError(f"{mjd!r} is no modified Julian date of an exposure")
    return mjd


def _to_utc(mjd: float, scale: str) -> float:
    if scale in _NEARLY_UTC:
        return mjd
    if scale == "gps":
        mjd, scale = mjd + _TAI_MINUS_GPS_S / 86400, "tai"
    if scale not in ("tai", "tt", "tdb", "tcb", "tcg"):
        raise HeaderError(f"TIMESYS {scale!r} is no known time scale")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # years beyond the table of leap seconds are "dubious"
        return float(Time(mjd, format="mjd", scale=scale).utc.mjd)


def iso_of_mjd(mjd: float) -> str:
    """MJD UTC as ISO 8601 to the millisecond."""
    moment = _MJD_EPOCH + timedelta(days=mjd) + timedelta(microseconds=500)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}"


def night_of(mjd: float, longitude_deg: float | None) -> str:
    """The evening date of the night a moment lies in: from local noon to local noon, at Greenwich without a longitude."""
    local = _MJD_EPOCH + timedelta(days=mjd + (longitude_deg or 0.0) / 360.0 - 0.5)
    return local.date().isoformat()
