"""Cone search: what lies within a radius of a place on the sky."""

from __future__ import annotations

import math
import re
import sqlite3
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Float, and_, literal, or_, true
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from avcd.errors import UsageError

_NUMBER = r"[+-]?\d+(?:\.\d*)?"
_SEXAGESIMAL = r"[+-]?\d+:\d+(?::\d+(?:\.\d*)?)?"
_CONE = re.compile(rf"\s*({_SEXAGESIMAL}|{_NUMBER})[\s,]+({_SEXAGESIMAL}|{_NUMBER})[\s,]+({_NUMBER})\s*([dms\"']?)\s*")
_UNITS = {"": 1.0, "d": 1.0, "m": 60.0, "'": 60.0, "s": 3600.0, '"': 3600.0}
_SLACK = 1e-9  # degrees: rounding must not lose what lies on the edge of the box


@dataclass(frozen=True)
class Cone:
    """A place and a radius, degrees, ICRS."""

    ra_deg: float
    dec_deg: float
    radius_deg: float


def parse_cone(text: str) -> Cone:
    """A cone from "RA DEC RADIUS": degrees, or sexagesimal hours and degrees; the radius in d, m or s of arc.

    Raises
    ------
    UsageError
        It is none, or lies outside of the sky.
    """
    found = _CONE.fullmatch(text)
    if not found:
        raise UsageError(f"--cone: {text!r} is none; as '83.82 -5.39 1.5' (degrees) or '05:35:17 -05:23:28 30m'")
    ra_text, dec_text, radius_text, unit = found.groups()
    ra = _angle(ra_text) * (15.0 if ":" in ra_text else 1.0)
    dec, radius = _angle(dec_text), float(radius_text) / _UNITS[unit]
    if not (0 <= ra <= 360 and -90 <= dec <= 90 and 0 < radius <= 180):
        raise UsageError(f"--cone: {text!r}: right ascension is 0 to 360 (24 h), declination -90 to 90, radius above 0")
    return Cone(ra % 360.0, dec, radius)


def _angle(text: str) -> float:
    parts = [float(one) for one in text.lstrip("+-").split(":")]
    value = sum(part / 60**power for power, part in enumerate(parts))
    return -value if text.startswith("-") else value


def within(cone: Cone, ra: Any, dec: Any) -> Any:
    """The condition that a position (columns, degrees) lies in a cone, its edge included.

    Notes
    -----
    A box in declination and right ascension goes first, so that an index serves; then the separation.
    """
    box = dec.between(cone.dec_deg - cone.radius_deg - _SLACK, cone.dec_deg + cone.radius_deg + _SLACK)
    exact = _Separation(ra, dec, literal(cone.ra_deg, Float), literal(cone.dec_deg, Float)) <= cone.radius_deg + _SLACK
    return and_(box, _ra_window(cone, ra), exact)


def _ra_window(cone: Cone, ra: Any) -> Any:
    if abs(cone.dec_deg) + cone.radius_deg >= 90:
        return true()  # a pole lies in it
    half = math.degrees(math.asin(math.sin(math.radians(cone.radius_deg)) / math.cos(math.radians(cone.dec_deg))))
    low, high = cone.ra_deg - half - _SLACK, cone.ra_deg + half + _SLACK
    if low < 0:
        return or_(ra >= low + 360, ra <= high)
    if high >= 360:
        return or_(ra >= low, ra <= high - 360)
    return ra.between(low, high)


def separation_deg(ra1: float | None, dec1: float | None, ra2: float, dec2: float) -> float | None:
    """Angle between two places, degrees (haversine); None where one is not known."""
    if ra1 is None or dec1 is None:
        return None
    first, second = math.radians(dec1), math.radians(dec2)
    half = math.sin((second - first) / 2) ** 2
    half += math.cos(first) * math.cos(second) * math.sin(math.radians(ra2 - ra1) / 2) ** 2
    return 2 * math.degrees(math.asin(min(1.0, math.sqrt(half))))


def teach_sqlite(connection: sqlite3.Connection) -> None:
    """Give a SQLite connection the function that `within` calls."""
    connection.create_function("avcd_separation_deg", 4, separation_deg, deterministic=True)


class _Separation(FunctionElement[float]):
    """The angle between (ra, dec) and (ra, dec), degrees."""

    type = Float()
    inherit_cache = True


@compiles(_Separation, "sqlite")
def _on_sqlite(element: Any, compiler: Any, **options: Any) -> str:
    return f"avcd_separation_deg({', '.join(compiler.process(one, **options) for one in element.clauses)})"


@compiles(_Separation, "postgresql")
def _on_postgresql(element: Any, compiler: Any, **options: Any) -> str:
    ra1, dec1, ra2, dec2 = (compiler.process(one, **options) for one in element.clauses)
    half = f"power(sind(({dec2} - {dec1}) / 2), 2) + cosd({dec1}) * cosd({dec2}) * power(sind(({ra2} - {ra1}) / 2), 2)"
    return f"(2 * asind(least(1.0, sqrt({half}))))"
