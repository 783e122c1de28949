"""Figures that follow from what is known of an exposure: where the Sun stood, and where the telescope pointed."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from avcd.frame import Frame
from avcd.inspection import Fault, Limits, inspect
from avcd.stages.figures import pointing_figures, sun_altitude

DUSK_MJD, NIGHT_MJD = 61056.0, 61056.25  # at Mayhill, 2026-01-16 0 h and 6 h UTC


def frame(**values) -> Frame:
    return Frame(**{"id": "f", "t_min": NIGHT_MJD, "exposure_s": 600.0, "site_longitude_deg": -105.5, **values})


def test_the_sun_is_down_at_night_and_twilight_is_told():
    header = fits.Header([("SITELAT", "32 54 12")])
    night, dusk = (sun_altitude(frame(t_min=moment), header) for moment in (NIGHT_MJD, DUSK_MJD))
    assert night < -50
    assert -12 < dusk < 5
    assert inspect({"sun_altitude_deg": night}, Limits()) == ()
    (told,) = inspect({"sun_altitude_deg": dusk}, Limits())
    assert told.fault is Fault.TWILIGHT
    assert "below the horizon" in told.evidence or "above the horizon" in told.evidence


def test_a_long_exposure_has_the_sun_of_its_brighter_end():
    header = fits.Header([("SITELAT", 32.9)])
    short, long = (sun_altitude(frame(t_min=61056.52, exposure_s=one), header) for one in (1.0, 1800.0))  # before dawn
    assert long > short + 4


def test_the_latitude_comes_from_the_site_where_the_header_has_none():
    by_site = sun_altitude(frame(site="mayhill"), fits.Header())
    assert by_site == pytest.approx(sun_altitude(frame(), fits.Header([("LAT-OBS", 32.9033)])), abs=0.01)
    assert sun_altitude(frame(), fits.Header()) is None
    assert sun_altitude(frame(site="mayhill", t_min=None), fits.Header()) is None


def test_the_pointing_is_compared_with_the_solved_centre():
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix = [83.0, 60.0], [200.5, 150.5]
    wcs.wcs.cd = np.diag([-0.001, 0.001])
    near = pointing_figures(frame(s_ra=83.0, s_dec=60.05), wcs, (300, 400))
    assert near["pointing_off_arcmin"] == pytest.approx(3.0, abs=0.01)
    assert near["pointing_off_fields"] == pytest.approx(0.05 / 0.3, rel=0.01)
    assert inspect(near, Limits()) == ()
    far = pointing_figures(frame(s_ra=83.5, s_dec=60.0), wcs, (300, 400))
    assert far["pointing_off_arcmin"] == pytest.approx(15.0, abs=0.1)  # half a degree of right ascension, at 60 degrees
    assert [one.fault for one in inspect(far, Limits())] == [Fault.WRONG_FIELD]
    assert pointing_figures(frame(), wcs, (300, 400)) == {}
    assert pointing_figures(frame(s_ra=83.0, s_dec=60.0), None, (300, 400)) == {}
