"""Single values as headers spell them: numbers, angles, times. What has no certain meaning is None, never a guess."""

from __future__ import annotations

import math
import re
import warnings
from datetime import date
from functools import lru_cache

from avcd.errors import HeaderError

_SEXAGESIMAL = re.compile(r"^\s*([+-]?)\s*(\d{1,3})[\s:hd°]+(\d{1,2})(?:[\s:m']+(\d{1,2}(?:\.\d*)?)[s\"]?)?\s*$")
_DATE_TIME = re.compile(
    r"^(\d{4})-(\d{1,2})-(\d{1,2})(?:\s*T\s*|\s+)(\d{1,2}):(\d{1,2})(?::(\d{1,2}(?:\.\d*)?))?"
    r"\s*([AP]M)?\s*(Z|UTC?|GMT|[+-]\d{2}:?\d{2})?$",
    re.IGNORECASE,
)
_ISO = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d(?:\.\d*)?)Z?\Z")
_COMPACT = re.compile(r"^(\d{4})(\d{2})(\d{2})T(\d{2}):?(\d{2}):?(\d{2}(?:\.\d*)?)()(Z?)$")
_YEAR_FIRST = re.compile(r"^\d{4}/\d{1,2}/\d{1,2}(?!\d)")
_YEAR_LAST = re.compile(r"^(\d{1,2})([/.-])(\d{1,2})\2(\d{2}|\d{4})(?!\d)")
_TIME_OF_DAY = re.compile(r"\d:\d")
_UNIVERSAL = re.compile(r"\b(UTC?|GMT)\b", re.IGNORECASE)
_LOCAL = re.compile(r"\blocal\b", re.IGNORECASE)
_EPOCH = date(1858, 11, 17).toordinal()
_NEARLY_UTC = ("", "utc", "ut", "ut1", "gmt", "z")  # UT1 is never more than 0.9 s away
_TAI_MINUS_GPS_S = 19.0
_FARTHEST_ZONE_S = 14 * 3600
_OLDEST = 1980  # before that, a camera's clock was never set
_TURN = 50  # two digits of a year: 50 and more are of the 20th century
# Where clocks begin to count that lost their battery: computers', GPS receivers' and cameras'.
_UNSET = frozenset({(1980, 1, 1), (1980, 1, 6), (2000, 1, 1)})


def to_number(value: object) -> float | None:
    """A finite number, from a number or its text; None for anything else."""
    if type(value) is float:  # nearly always
        return value if math.isfinite(value) else None
    if isinstance(value, bool) or value is None:
        return None
    try:
        found = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


@lru_cache(maxsize=1024, typed=True)  # a night's frames point at few targets, from few sites
def to_degrees(value: object, unit: str) -> float | None:
    """An angle in degrees.

    Parameters
    ----------
    value
        A number, or text in sexagesimal or decimal.
    unit
        "deg", "hour", "rad", or "hour_or_deg": sexagesimal text in hours unless there are more than a day has, plain
        numbers in degrees.
    """
    if isinstance(value, str):
        found = _SEXAGESIMAL.match(value)
        if found:
            sign, whole, minutes, seconds = found.groups()
            if float(minutes) >= 60 or float(seconds or 0) >= 60:
                return None
            angle = float(whole) + float(minutes) / 60 + float(seconds or 0) / 3600
            hours = unit == "hour" or (unit == "hour_or_deg" and angle < 24)
            return (-angle if sign == "-" else angle) * (15.0 if hours else 1.0)
    number = to_number(value)
    if number is None:
        return None
    return math.degrees(number) if unit == "rad" else number * 15.0 if unit == "hour" else number


def to_mjd(text: str, time_text: str | None = None, scale: str = "utc", said: str = "") -> float:
    """A date and time as MJD UTC.

    Parameters
    ----------
    text
        ISO 8601, with an offset from UTC or without, the old dd/mm/yy of FITS, a date alone, when ``time_text`` is the
        time of day, or "MJD" and a number.
    scale
        TIMESYS of the header, in lower case: "utc", "tai", "tt", "tdb", "gps" …
    said
        The comments beside the cards: whether the time is universal or local.

    Raises
    ------
    HeaderError
        It is no date, can be read in two ways, has no time of day, is local time in a zone that is not said, is older
        than any camera avcd could meet, or counts in an unknown scale.
    """
    if text.startswith("MJD "):
        return _to_utc(_checked(float(text.removeprefix("MJD "))), scale)
    text = text.strip()
    if "/" in text or (text[4:5] != "-" and _YEAR_LAST.match(text)):
        text = _year_first(text)
    joined = text if time_text is None or _TIME_OF_DAY.search(text) else f"{text}T{time_text.strip()}"
    year, month, day, hour, minute, seconds, half, zone = _parts(joined)
    if not zone and (half or "local" in said.lower()):
        _refuse_local(joined, half, said)
    if half:
        if not 1 <= hour <= 12:
            raise HeaderError(f"{joined!r}: no 12-hour clock shows {hour}")
        hour = hour % 12 + (12 if half == "PM" else 0)
    if hour > 23 or minute > 59:
        raise HeaderError(f"{joined!r}: no clock shows {hour}:{minute:02d}")
    if seconds >= 61:
        raise HeaderError(f"{joined!r} has {seconds:g} seconds")
    if year < _OLDEST:
        raise HeaderError(f"{joined!r} is before {_OLDEST}: the clock was not set")
    if (year, month, day) in _UNSET:
        raise HeaderError(f"{joined!r} is where clocks begin to count: the clock was not set")
    try:
        days = date(year, month, day).toordinal() - _EPOCH
    except ValueError as error:
        raise HeaderError(f"{joined!r}: {error}") from None
    # A leap second, 23:59:60, counts as the beginning of the next minute.
    elapsed = hour * 3600 + minute * 60 + seconds - _offset_s(zone)
    return _to_utc(_checked(days + elapsed / 86400), scale)


def _parts(text: str) -> tuple[int, int, int, int, int, float, str, str]:
    """Year, month, day, hour, minute, second, AM or PM, and zone.

    Raises
    ------
    HeaderError
        It is no date with a time of day.
    """
    found = _ISO.match(text)  # what nearly every program writes
    if found:
        year, month, day, hour, minute, seconds = found.groups()
        return int(year), int(month), int(day), int(hour), int(minute), float(seconds), "", ""
    found = _DATE_TIME.match(text) or _COMPACT.match(text)
    if not found:
        raise HeaderError(f"{text!r} is no date with a time of day")
    year, month, day, hour, minute, seconds, half, zone = (found.group(one) or "" for one in range(1, 9))
    return (
        *(int(year), int(month), int(day), int(hour), int(minute)),
        *(float(seconds or 0), half.upper(), zone.upper()),
    )


def _refuse_local(text: str, half: str, said: str) -> None:
    if _UNIVERSAL.search(said):
        return
    if _LOCAL.search(said):
        raise HeaderError(f"{text!r} is local time, in a zone that is not said")
    if half:
        raise HeaderError(f"{text!r} is a 12-hour clock's, and whether it shows UTC is not said")


def _year_first(text: str) -> str:
    """A date with slashes, or with the year at the end, as yyyy-mm-dd; what follows the date stays.

    Two digits of a year are FITS's old way, dd/mm/yy; where only one order makes a date, it is that one. Before four
    digits of a year either order is in use: it must be certain.

    Raises
    ------
    HeaderError
        It could be read in two ways.
    """
    found = _YEAR_FIRST.match(text)
    if found:
        return text[: found.end()].replace("/", "-") + text[found.end() :]
    found = _YEAR_LAST.match(text)
    old = found is not None and len(found.group(4)) == 2
    if not found or (old and found.group(2) != "/"):
        return text
    first, second, year = int(found.group(1)), int(found.group(3)), int(found.group(4))
    if old:
        year += 1900 if year >= _TURN else 2000
    if first <= 12 and second <= 12 and first != second and not old:
        raise HeaderError(f"{text!r}: which is the day and which the month is not certain")
    day, month = (second, first) if second > 12 else (first, second)
    return f"{year}-{month:02d}-{day:02d}{text[found.end() :]}"


def _offset_s(zone: str) -> float:
    """Seconds that a zone's clock is ahead of UTC.

    Raises
    ------
    HeaderError
        No zone is so far ahead or behind.
    """
    if zone[:1] not in ("+", "-"):
        return 0.0
    digits = zone[1:].replace(":", "")
    ahead = int(digits[:2]) * 3600 + int(digits[2:]) * 60
    if ahead > _FARTHEST_ZONE_S:
        raise HeaderError(f"{zone!r} is no zone's offset from UTC")
    return -float(ahead) if zone[0] == "-" else float(ahead)


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
        from astropy.time import Time

        return float(Time(mjd, format="mjd", scale=scale).utc.mjd)


def iso_of_mjd(mjd: float) -> str:
    """MJD UTC as ISO 8601 to the millisecond."""
    day = math.floor(mjd)
    milliseconds = round((mjd - day) * 86_400_000)
    if milliseconds >= 86_400_000:
        day, milliseconds = day + 1, 0
    seconds, milliseconds = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{_day(day)}T{hours:02d}:{minutes:02d}:{seconds:02d}.{milliseconds:03d}"


def night_of(mjd: float, longitude_deg: float | None) -> str:
    """The evening date of the night a moment lies in: from local noon to local noon, at Greenwich without a longitude."""
    return _day(math.floor(mjd + (longitude_deg or 0.0) / 360.0 - 0.5))


@lru_cache(maxsize=64)
def _day(mjd: int) -> str:
    return date.fromordinal(mjd + _EPOCH).isoformat()
