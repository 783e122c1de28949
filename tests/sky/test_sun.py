"""Where the Sun stands, as astropy has it."""

from __future__ import annotations

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import AltAz, EarthLocation, get_sun
from astropy.time import Time
from astropy.utils import iers

from avcd.sky.sun import sun_altitude_deg


@pytest.mark.parametrize(("latitude", "longitude"), [(32.9, -105.5), (-31.3, 149.1), (-75.1, 123.3), (0.0, 0.0)])
def test_the_altitude_is_astropys(latitude, longitude):
    moments = np.linspace(58849.0, 61041.0, 25)  # 2020 to 2026
    with iers.conf.set_temp("auto_download", False), iers.conf.set_temp("auto_max_age", None):
        place = EarthLocation(lat=latitude * u.deg, lon=longitude * u.deg)
        times = Time(moments, format="mjd", scale="utc")
        expected = get_sun(times).transform_to(AltAz(obstime=times, location=place)).alt.deg
    found = [sun_altitude_deg(one, latitude, longitude) for one in moments]
    np.testing.assert_allclose(found, expected, atol=0.03)
