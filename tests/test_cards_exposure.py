"""What a reduced frame's header says of its exposure."""

from __future__ import annotations

import pytest
from astropy.io import fits

from avcd.cards import with_exposure
from avcd.frame import Frame

FRAME = Frame(
    id="0" * 64, user="observer", site="mayhill", site_longitude_deg=-105.5287, t_min=61055.2, t_max=61055.2 + 600 / 86400,
    s_ra=83.82208, s_dec=-5.39111, airmass=1.3,
)  # fmt: skip


def test_what_is_known_is_told_in_the_fields_words():
    before = fits.Header([("OBJECT", "M 42")])
    found = with_exposure(before, FRAME)
    assert list(before) == ["OBJECT"]
    assert (found["OBSERVER"], found["SITENAME"], found["SITELONG"]) == ("observer", "mayhill", -105.5287)
    assert (found["RA"], found["DEC"], found["AIRMASS"]) == (83.82208, -5.39111, 1.3)
    assert found["MJD-AVG"] == pytest.approx(61055.2 + 300 / 86400, abs=1e-8)
    assert found["MJD-END"] - found["MJD-BEG"] == pytest.approx(600 / 86400, abs=1e-8)
    assert -12 <= found["HA"] < 12
    assert abs(found["BJD_TDB"] - 2400000.5 - found["MJD-AVG"]) * 86400 < 499 + 70


def test_the_headers_own_words_stay_but_for_times():
    own = fits.Header(
        [("OBSERVER", "Caroline"), ("RA", "05 35 17"), ("AIRMASS", 1.9), ("HA", "-01 00 00"), ("MJD-AVG", 5.0)]
    )
    found = with_exposure(own, FRAME)
    assert (found["OBSERVER"], found["RA"], found["AIRMASS"]) == ("Caroline", "05 35 17", 1.9)
    assert "DEC" not in found  # in degrees beside a right ascension in hours it would be read wrongly
    assert isinstance(found["HA"], float)
    assert found["MJD-AVG"] == pytest.approx(61055.2 + 300 / 86400, abs=1e-8)


def test_what_is_not_known_is_left_out():
    assert list(with_exposure(fits.Header(), Frame(id="0" * 64))) == []
    assert list(with_exposure(fits.Header(), Frame(id="0" * 64, t_min=61055.2))) == ["DATE-BEG", "MJD-BEG"]
