"""Single values as headers spell them."""

from __future__ import annotations

import pytest
from astropy.coordinates import Angle
from astropy.time import Time
from hypothesis import assume, given
from hypothesis import strategies as st

from avcd.errors import HeaderError
from avcd.headers.values import _UNSET, iso_of_mjd, night_of, to_degrees, to_mjd, to_number


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (1, 1.0),
        ("2.5", 2.5),
        (" 120.00 ", 120.0),
        (True, None),
        ("x", None),
        ("nan", None),
        ("1e999", None),
        (None, None),
        (10**400, None),
    ],
)
def test_numbers(value, number):
    assert to_number(value) == number


@pytest.mark.parametrize(
    ("value", "unit", "degrees"),
    [
        ("05:34:31.9", "hour_or_deg", 83.6329166667),
        ("14 3 15", "hour", 210.8125),
        (283.4, "hour_or_deg", 283.4),
        ("283.4", "hour_or_deg", 283.4),
        (12.0, "hour", 180.0),
        ("-00:00:04.698", "deg", -0.001305),
        ("+51 03 00.000", "deg", 51.05),
        ("-31 16 24", "deg", -31.2733333333),
        ("149 03 52", "deg", 149.0644444444),
        ("149 03 52", "hour_or_deg", 149.0644444444),
        ("-70:48:19.4", "deg", -70.8053888889),
        ("51 3 0.000", "deg", 51.05),
        (-1.235787164266, "rad", -70.8053888889),
        ("-2:24:60.5", "deg", None),
        ("nowhere", "deg", None),
        ("", "deg", None),
    ],
)
def test_angles(value, unit, degrees):
    assert to_degrees(value, unit) == (None if degrees is None else pytest.approx(degrees, abs=1e-9))


@given(st.floats(-89.99, 89.99))
def test_angles_agree_with_astropy(degrees):
    text = Angle(degrees, "deg").to_string(sep=":", precision=4, pad=True, alwayssign=True)
    assert to_degrees(text, "deg") == pytest.approx(Angle(text, "deg").deg, abs=1e-9)


@pytest.mark.parametrize(
    ("text", "time", "iso"),
    [
        ("2012-06-05T04:17:00", None, "2012-06-05T04:17:00"),
        ("2019-04-29T20:25:29.8219583", None, "2019-04-29T20:25:29.8219583"),
        ("2013-11-02", "06:15:55.908", "2013-11-02T06:15:55.908"),
        ("2019-02-18T02:09:39", "02:09:33.605", "2019-02-18T02:09:39"),
        ("2012-06-05T04:17", None, "2012-06-05T04:17:00"),
        ("2012-06-05 04:17:00Z", None, "2012-06-05T04:17:00"),
        ("2016-12-31T23:59:60.5", None, "2017-01-01T00:00:00.5"),
        ("2021-09-17 T09:38:50", None, "2021-09-17T09:38:50"),
        ("2021-09-17T19:38:50+10:00", None, "2021-09-17T09:38:50"),
        ("2021-09-17T02:38:50-0700", None, "2021-09-17T09:38:50"),
        ("2021-09-17 9:38:50 PM UTC", None, "2021-09-17T21:38:50"),
        ("2021-09-17 12:08:50 AM Z", None, "2021-09-17T00:08:50"),
        ("2021/09/17 09:38:50", None, "2021-09-17T09:38:50"),
        ("20210917T093850.25", None, "2021-09-17T09:38:50.25"),
        ("17/09/21", "09:38:50", "2021-09-17T09:38:50"),
        ("17/09/98", "09:38:50", "1998-09-17T09:38:50"),
        ("05/04/21", "09:38:50", "2021-04-05T09:38:50"),
        ("9/17/2021", "09:38:50", "2021-09-17T09:38:50"),
        ("17.09.2021 09:38:50", None, "2021-09-17T09:38:50"),
        ("5/5/2021 09:38:50", None, "2021-05-05T09:38:50"),
    ],
)
def test_dates_agree_with_astropy(text, time, iso):
    assert to_mjd(text, time) == pytest.approx(Time(iso, scale="utc").mjd, abs=1e-11)


@pytest.mark.parametrize("scale", ["tai", "tt", "tdb"])
def test_other_time_scales_become_utc(scale):
    text = "2000-09-27T02:50:45.01"
    assert to_mjd(text, None, scale) == pytest.approx(Time(text, scale=scale).utc.mjd, abs=1e-11)
    assert to_mjd(text, None, "gps") == pytest.approx(Time(text, scale="tai").utc.mjd + 19 / 86400, abs=1e-11)


@pytest.mark.parametrize(
    ("text", "scale", "words"),
    [
        ("2012-06-05", "utc", "no date with a time"),
        ("04/07/18", "utc", "no date"),
        ("04/07/2018 10:00:00", "utc", "not certain"),
        ("17-09-21T10:00:00", "utc", "no date"),
        ("2021-09-17T10:00:00+15:00", "utc", "no zone"),
        ("2021-09-17 9:38:50 PM", "utc", "12-hour clock"),
        ("2021-09-17 19:38:50 PM UT", "utc", "no 12-hour clock"),
        ("2021-09-17T29:38:50", "utc", "no clock shows"),
        ("2000-01-01T00:04:00", "utc", "the clock was not set"),
        ("1970-01-01T00:00:00", "utc", "the clock was not set"),
        ("2012-13-05T04:17:00", "utc", "month"),
        ("2012-06-05T04:17:75", "utc", "75 seconds"),
        ("MJD 2459578.15", "utc", "no modified Julian date"),
        ("2012-06-05T04:17:00", "martian", "no known time scale"),
    ],
)
def test_dates_that_mean_no_moment(text, scale, words):
    with pytest.raises(HeaderError, match=words):
        to_mjd(text, None, scale)


@given(st.floats(44240, 80000))
def test_iso_comes_back_to_the_millisecond(mjd):
    year, month, day = (int(part) for part in iso_of_mjd(mjd)[:10].split("-"))
    assume((year, month, day) not in _UNSET)
    assert abs(to_mjd(iso_of_mjd(mjd)) - mjd) * 86400 < 0.000511


@pytest.mark.parametrize(
    ("moment", "longitude", "night"),
    [
        ("2025-06-01T02:53:10", -105.82, "2025-05-31"),  # the evening before in New Mexico
        ("2025-06-01T18:59:00", -105.82, "2025-05-31"),  # 11:56 local
        ("2025-06-01T19:05:00", -105.82, "2025-06-01"),  # 12:02 local
        ("2021-12-29T15:42:46", 149.07, "2021-12-29"),  # 02:42 of the 30th in Australia
        ("2021-12-29T01:00:00", 149.07, "2021-12-28"),  # 11 in the morning
        ("2021-12-29T11:59:00", None, "2021-12-28"),
        ("2021-12-29T12:01:00", None, "2021-12-29"),
    ],
)
def test_a_night_runs_from_noon_to_noon(moment, longitude, night):
    assert night_of(to_mjd(moment), longitude) == night
