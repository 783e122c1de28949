"""Where the Sun stands."""

from __future__ import annotations

import numpy as np

_J2000_MJD = 51544.5


def sun_altitude_deg(mjd: float, latitude_deg: float, longitude_deg: float) -> float:
    """The altitude of the Sun's centre above the horizon, without refraction.

    Parameters
    ----------
    mjd
        Modified Julian date, UTC.
    latitude_deg, longitude_deg
        Of the place; east positive.

    Returns
    -------
    float
        Degrees, good to 0.02 between 1950 and 2050.

    Notes
    -----
    The low-precision formulae of the Astronomical Almanac, section C.
    """
    days = mjd - _J2000_MJD
    anomaly = np.radians((357.528 + 0.9856003 * days) % 360)
    longitude = np.radians((280.460 + 0.9856474 * days) % 360 + 1.915 * np.sin(anomaly) + 0.020 * np.sin(2 * anomaly))
    obliquity = np.radians(23.439 - 0.0000004 * days)
    right_ascension = np.arctan2(np.cos(obliquity) * np.sin(longitude), np.cos(longitude))
    declination = np.arcsin(np.sin(obliquity) * np.sin(longitude))
    sidereal = np.radians((280.46062 + 360.98564737 * days + longitude_deg) % 360)
    here = np.radians(latitude_deg)
    sine = np.sin(here) * np.sin(declination) + np.cos(here) * np.cos(declination) * np.cos(sidereal - right_ascension)
    return float(np.degrees(np.arcsin(np.clip(sine, -1, 1))))
