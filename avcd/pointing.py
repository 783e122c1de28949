"""Where a telescope looks: sidereal time, hour angle, altitude and airmass; and the time as the solar system's barycentre
sees it. No tables, no network.

Sidereal time is reckoned from UTC, which is never more than 0.9 s (14 arc seconds) from UT1; nutation and aberration (30
arc seconds together) are left out. Altitudes come out within a minute of arc of the full reduction, airmasses within one
part in a thousand above 20 degrees.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

_J2000_MJD = 51544.5
_CENTURY_D = 36525.0
_ARCSEC = math.pi / 180 / 3600


@dataclass(frozen=True)
class Place:
    """Where a telescope stands; east longitudes are positive."""

    longitude_deg: float
    latitude_deg: float


def sidereal_time(mjd: float, longitude_deg: float) -> float:
    """The local mean sidereal time, degrees from 0 to 360.

    Parameters
    ----------
    mjd
        UTC.
    longitude_deg
        East positive.

    References
    ----------
    Aoki et al. 1982, A&A 105, 359.
    """
    days = mjd - _J2000_MJD
    t = days / _CENTURY_D
    greenwich = 280.46061837 + 360.98564736629 * days + (0.000387933 - t / 38710000) * t * t
    return (greenwich + longitude_deg) % 360


def of_date(ra_deg: float, dec_deg: float, mjd: float) -> tuple[float, float]:
    """Mean right ascension and declination of a date, degrees, of a position of J2000 (or ICRS).

    References
    ----------
    Lieske et al. 1977, A&A 58, 1.
    """
    t = (mjd - _J2000_MJD) / _CENTURY_D
    zeta = (2306.2181 + (0.30188 + 0.017998 * t) * t) * t * _ARCSEC
    z = (2306.2181 + (1.09468 + 0.018203 * t) * t) * t * _ARCSEC
    theta = (2004.3109 - (0.42665 + 0.041833 * t) * t) * t * _ARCSEC
    ra, dec = math.radians(ra_deg) + zeta, math.radians(dec_deg)
    a = math.cos(dec) * math.sin(ra)
    b = math.cos(theta) * math.cos(dec) * math.cos(ra) - math.sin(theta) * math.sin(dec)
    c = math.sin(theta) * math.cos(dec) * math.cos(ra) + math.cos(theta) * math.sin(dec)
    return math.degrees(math.atan2(a, b) + z) % 360, math.degrees(math.atan2(c, math.hypot(a, b)))


def hour_angle(ra_deg: float, dec_deg: float, mjd: float, longitude_deg: float) -> float:
    """How far a position of J2000 is past the meridian, hours from -12 to 12; negative in the east.

    Parameters
    ----------
    mjd
        UTC.
    longitude_deg
        East positive.
    """
    right, _ = of_date(ra_deg, dec_deg, mjd)
    return ((sidereal_time(mjd, longitude_deg) - right + 180) % 360 - 180) / 15


def altitude(ra_deg: float, dec_deg: float, mjd: float, place: Place) -> float:
    """How high a position of J2000 stands, degrees, without refraction; negative below the horizon.

    Parameters
    ----------
    mjd
        UTC.
    """
    right, up = of_date(ra_deg, dec_deg, mjd)
    angle = math.radians(sidereal_time(mjd, place.longitude_deg) - right)
    dec, latitude = math.radians(up), math.radians(place.latitude_deg)
    sine = math.sin(dec) * math.sin(latitude) + math.cos(dec) * math.cos(latitude) * math.cos(angle)
    return math.degrees(math.asin(max(-1.0, min(1.0, sine))))


def airmass_at(altitude_deg: float) -> float | None:
    """The airmass at an altitude that is not refracted; None below the horizon.

    Refraction at sea level and 10 degrees Celsius is added first, for the formula wants the apparent altitude.

    References
    ----------
    Pickering 2002, DIO 12, 20 (airmass); Saemundsson 1986, Sky & Telescope 72, 70 (refraction).
    """
    if not altitude_deg > 0:
        return None
    apparent = altitude_deg + 1.02 / 60 / math.tan(math.radians(altitude_deg + 10.3 / (altitude_deg + 5.11)))
    return 1 / math.sin(math.radians(apparent + 244 / (165 + 47 * apparent**1.1)))


def airmass(ra_deg: float, dec_deg: float, mjd: float, place: Place) -> float | None:
    """The airmass of a position of J2000; None below the horizon.

    Parameters
    ----------
    mjd
        UTC; of the middle of an exposure for its mean airmass, within a hundredth for exposures of minutes.
    """
    return airmass_at(altitude(ra_deg, dec_deg, mjd, place))


def barycentric_jd(ra_deg: float, dec_deg: float, mjd: float) -> float:
    """The barycentric Julian date, in TDB, at which light from a far position of ICRS passes the Earth at a time.

    The Earth's centre stands for the telescope: 0.022 s at most. The Earth's place is that of the analytic ephemeris in
    astropy (ERFA's epv00), to some microseconds.

    Parameters
    ----------
    mjd
        UTC.

    References
    ----------
    Eastman, Siverd & Gaudi 2010, PASP 122, 935.
    """
    from astropy.coordinates import get_body_barycentric  # takes longer to load than all else here
    from astropy.time import Time

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of years whose leap seconds are not known yet: a second, then
        moment = Time(mjd, format="mjd", scale="utc").tdb
    earth = get_body_barycentric("earth", moment, ephemeris="builtin").get_xyz().to_value("km")
    ra, dec = math.radians(ra_deg), math.radians(dec_deg)
    towards = (math.cos(dec) * math.cos(ra), math.cos(dec) * math.sin(ra), math.sin(dec))
    seconds = sum(float(a) * b for a, b in zip(earth, towards, strict=True)) / 299792.458
    return float(moment.jd) + seconds / 86400
