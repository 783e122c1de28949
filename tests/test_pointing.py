"""Hour angle, altitude, airmass and barycentric time, against astropy's full reduction."""

from __future__ import annotations

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import AltAz, Angle, EarthLocation, HADec, SkyCoord
from astropy.time import Time
from astropy.utils import iers

from avcd.pointing import Place, airmass, airmass_at, altitude, barycentric_jd, hour_angle, sidereal_time

PLACES = {"mayhill": Place(-105.5287, 32.9033), "dome c": Place(123.3333, -75.1), "equator": Place(0.0, 0.0)}
TIMES = (55197.2, 58849.93, 61055.7)


@pytest.fixture(autouse=True)
def offline():
    """Astropy takes UT1 from its own table, and UTC's where that ends."""
    with (
        iers.conf.set_temp("auto_download", False),
        iers.conf.set_temp("iers_degraded_accuracy", "ignore"),
    ):
        yield


def somewhere(number: int = 40, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.uniform(0, 360, number), np.degrees(np.arcsin(rng.uniform(-1, 1, number)))


@pytest.mark.parametrize("mjd", TIMES)
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_altitude_and_airmass_are_astropys(place, mjd):
    ra, dec = somewhere()
    site = EarthLocation.from_geodetic(place.longitude_deg, place.latitude_deg, 0)
    seen = SkyCoord(ra, dec, unit="deg").transform_to(AltAz(obstime=Time(mjd, format="mjd"), location=site))
    ours = np.array([altitude(one, other, mjd, place) for one, other in zip(ra, dec, strict=True)])
    np.testing.assert_allclose(ours, seen.alt.deg, atol=1 / 60)
    high = seen.alt.deg > 20
    assert high.sum() > 5
    found = np.array([airmass(one, other, mjd, place) for one, other in zip(ra[high], dec[high], strict=True)])
    np.testing.assert_allclose(found, seen.secz[high], rtol=0.01)  # a flat Earth's: too large lower down
    np.testing.assert_allclose(found, [airmass_at(one) for one in seen.alt.deg[high]], rtol=1e-3)


@pytest.mark.parametrize("mjd", TIMES)
def test_hour_angle_and_sidereal_time_are_astropys(mjd):
    moment = Time(mjd, format="mjd")
    theirs = moment.sidereal_time("mean", -105.5287 * u.deg)
    ours = Angle(sidereal_time(mjd, -105.5287), "deg")
    assert abs((ours - theirs).wrap_at("180d").deg) < 0.01
    ra, dec = somewhere(10)
    site = EarthLocation.from_geodetic(-105.5287, 32.9033, 0)
    seen = SkyCoord(ra, dec, unit="deg").transform_to(HADec(obstime=moment, location=site))
    for one, other, wanted in zip(ra, dec, seen.ha, strict=True):
        apart = Angle(hour_angle(one, other, mjd, -105.5287), "hour") - wanted
        assert abs(apart.wrap_at("180d").deg) * np.cos(np.radians(other)) < 1 / 60


def test_airmass_is_one_overhead_and_finite_at_the_horizon():
    assert airmass_at(90) == pytest.approx(1, abs=1e-4)
    assert airmass_at(30) == pytest.approx(1.993, abs=0.004)
    assert airmass_at(1e-6) == pytest.approx(31, abs=4)  # Pickering's table has 38.75 where the horizon is seen
    assert airmass_at(0) is None
    assert airmass_at(-5) is None


@pytest.mark.parametrize("mjd", TIMES)
def test_barycentric_time_is_astropys_within_the_earths_radius(mjd):
    ra, dec = somewhere(10)
    site = EarthLocation.from_geodetic(-105.5287, 32.9033, 2200)
    moment = Time(mjd, format="mjd", scale="utc", location=site)
    for one, other in zip(ra, dec, strict=True):
        wanted = moment.tdb + moment.light_travel_time(SkyCoord(one, other, unit="deg"), ephemeris="builtin")
        assert abs(barycentric_jd(one, other, mjd) - wanted.jd) * 86400 < 0.03
