"""Corrections: a header set right afterwards gives the frame that a right header would have given."""

from dataclasses import replace

import pytest

from avcd.errors import UsageError
from avcd.frame import Card, Frame, ImageType
from avcd.headers.corrections import (
    Correction,
    check_effect,
    correctable,
    parse_correction,
    translate_corrected,
)
from avcd.headers.gathering import Hdu
from avcd.headers.translation import translate

RIGHT = {
    "IMAGETYP": "FLAT", "TELESCOP": "T1", "INSTRUME": "FLI", "OBJECT": "NGC 1", "FILTER": "Ha", "EXPTIME": 30.0,
    "SET-TEMP": -20.0, "CCD-TEMP": -19.5, "OFFSET": 10.0, "READOUTM": "fast", "EGAIN": 1.5, "RDNOISE": 8.0,
    "SATURATE": 60000.0, "PEDESTAL": 100.0, "AIRMASS": 1.1, "BUNIT": "adu", "CALSTAT": "BD", "NCOMBINE": 3,
    "DATE-OBS": "2026-01-15T02:00:00", "RA": 83.5, "DEC": -5.25, "SITELONG": -70.5, "SECPIX": 0.6, "XBINNING": 2,
    "YBINNING": 2, "XORGSUBF": 4, "YORGSUBF": 8,
}  # fmt: skip
# KEY and VALUE of a correction, and the cards that said otherwise.
CASES = [
    ("IMAGETYP", "flat field", {"IMAGETYP": "Light Frame"}),
    ("type", "flat", {"IMAGETYP": "nonsense"}),
    ("TELESCOP", "T1", {"TELESCOP": "T2"}),
    ("instrument", "FLI", {"INSTRUME": "SBIG"}),
    ("OBJECT", "NGC 1", {"OBJECT": "M 1"}),
    ("FILTER", "Ha", {"FILTER": "R"}),
    ("filter", "Ha", {"FILTER": None}),
    ("exptime", "30", {"EXPTIME": 3.0}),
    ("EXPTIME", "30", {"EXPTIME": -3.0}),
    ("SET-TEMP", "-20", {"SET-TEMP": 20.0}),
    ("CCD-TEMP", "-19.5", {"CCD-TEMP": -999.0}),
    ("offset", "10", {"OFFSET": 11.0}),
    ("READOUTM", "fast", {"READOUTM": "slow"}),
    ("EGAIN", "1.5", {"EGAIN": 0.0}),
    ("RDNOISE", "8", {"RDNOISE": 9.0}),
    ("SATURATE", "6e4", {"SATURATE": 50000.0}),
    ("PEDESTAL", "100", {"PEDESTAL": 0.0}),
    ("AIRMASS", "1.1", {"AIRMASS": 2.0}),
    ("CALSTAT", "BD", {"CALSTAT": "BDF"}),
    ("calibration", "dark, bias", {"CALSTAT": None}),
    ("NCOMBINE", "3", {"NCOMBINE": 1}),
    ("DATE-OBS", "2026-01-15T02:00:00", {"DATE-OBS": "2026-01-14T23:00:00"}),
    ("date_obs", "61055.0833333333", {"DATE-OBS": "2026-01-14T23:00:00", "TIMESYS": "tai"}),
    ("RA", "05:34:00", {"RA": 10.0}),
    ("DEC", "-05:15", {"DEC": 10.0}),
    ("SITELONG", "-70.5", {"SITELONG": 70.5}),
    ("SECPIX", "0.6", {"SECPIX": 1.0}),
    ("XBINNING", "2", {"XBINNING": 1, "YBINNING": 1}),
    ("binning", "2x2", {"XBINNING": 1, "YBINNING": 1}),
    ("window", "4,8", {"XORGSUBF": 0, "YORGSUBF": 0}),
]


def an_hdu(cards: dict[str, object]) -> Hdu:
    listed = tuple(Card(key, value) for key, value in cards.items() if value is not None)
    return Hdu(id="0" * 64, pixel_sha256="1" * 64, cards=listed, shape=(10, 12), is_table=False)


def corrected(profiles, cards, path, /, **changes: str) -> Frame:
    hdu = an_hdu(cards)
    base = translate(hdu, path, "", profiles)
    values = dict(parse_correction(key, text, profiles) for key, text in changes.items())
    given = {name: Correction(value, "ada") for name, value in values.items()}
    found = translate_corrected(hdu, path, profiles, base, given, site=None)
    check_effect(found, values)
    assert found.cards == hdu.cards
    return found


@pytest.mark.parametrize(("key", "text", "wrong"), CASES, ids=[f"{key}={text}" for key, text, _ in CASES])
def test_a_correction_gives_what_a_right_header_would_have_given(profiles, key, text, wrong):
    path = "2026/x.fits"
    right = translate(an_hdu(RIGHT), path, "", profiles)
    found = corrected(profiles, {**RIGHT, **wrong}, path, **{key: text})
    # A moment that was given as a number has lost a microsecond.
    assert found.t_min == pytest.approx(right.t_min, abs=1e-8)
    assert found.t_max == pytest.approx(right.t_max, abs=1e-8)
    moments = {"t_min": found.t_min, "t_max": found.t_max}
    assert replace(right, cards=found.cards, sources=found.sources, **moments) == found
    name = correctable(profiles)[key.upper()]
    assert found.sources[name] == "correction by ada"
    assert name in found.corrected


def test_names_and_the_profile_give_way_to_a_correction(profiles):
    """An iTelescope name says telescope, filter and target, and is preferred to the header's telescope."""
    path = "raw-T20-somebody-M45-20260115-190500-Red-BIN1-W-060-001.fit"
    cards = {"IMAGETYP": "Light Frame", "DATE-OBS": "2026-01-16T02:00:00", "EXPTIME": 60.0}
    assert translate(an_hdu(cards), path, "", profiles).obs_id == "t20/2026-01-15/m45/somebody"
    found = corrected(
        profiles, cards, path, TELESCOP="T5", FILTER="Ha", OBJECT="NGC 869", user="ada", EXPTIME="600", binning="2"
    )
    assert (found.profile, found.telescope, found.filter) == ("itelescope", "T05", "Ha")
    assert (found.obs_id, found.binning) == ("t05/2026-01-15/ngc-869/ada", "2x2")
    assert found.t_max - found.t_min == pytest.approx(600 / 86400)
    assert found.camera == "T05/?"
    assert not any("the name says" in one for one in found.warnings)


def test_a_site_brings_its_longitude_and_the_night_follows(profiles):
    cards = {"IMAGETYP": "Light", "DATE-OBS": "2026-01-15T02:00:00", "SITELONG": 120.0, "EXPTIME": 1.0}
    assert translate(an_hdu(cards), "x.fits", "", profiles).night == "2026-01-14"
    found = corrected(profiles, {**cards, "DATE-OBS": "2026-01-15T14:00:00"}, "x.fits", site="concordia")
    assert (found.site, found.site_longitude_deg) == ("concordia", profiles.site("concordia").longitude_deg)
    assert (found.night, found.night_rule) == ("2026-01-15", "site")


def test_a_date_is_the_start_in_utc_whatever_the_profile_and_the_header_say(profiles):
    meaning_end = profiles.adapted(profiles.profile("generic").model_copy(update={"date_obs": "end"}))
    hdu = an_hdu({"IMAGETYP": "Light", "DATE-OBS": "2026-01-15T02:00:00", "TIMESYS": "TAI", "EXPTIME": 60.0})
    base = translate(hdu, "x.fits", "", meaning_end)
    given = {"date_obs": Correction("2026-01-15T02:00:00.000", "ada")}
    found = translate_corrected(hdu, "x.fits", meaning_end, base, given, site=None)
    assert base.date_obs == "2026-01-15T01:58:23.000"
    assert found.date_obs == "2026-01-15T02:00:00.000"
    assert {found.sources[one] for one in ("t_min", "t_max", "date_obs")} == {"correction by ada"}


def test_a_value_may_be_corrected_to_not_known(profiles):
    found = corrected(profiles, RIGHT, "x.fits", FILTER="", SETTEMP="", OBJECT="", CALSTAT="")
    assert (found.filter, found.set_temperature_c, found.target_name) == (None, None, None)
    assert found.calibration == frozenset()
    assert {found.sources[one] for one in ("filter", "set_temperature_c", "target_name")} == {"correction by ada"}


def test_a_late_calibration_is_a_matter_of_corrections(profiles):
    cards = {**RIGHT, "IMAGETYP": "Light", "CALSTAT": None, "NCOMBINE": None}
    found = corrected(profiles, cards, "x.fits", CALSTAT="BDF")
    assert (found.calib_level, found.sources["calib_level"]) == (2, "correction by ada")


@pytest.mark.parametrize(
    ("key", "text", "words"),
    [
        ("FLITER", "Ha", "what can: airmass, .*filter"),
        ("night", "2026-01-15", "cannot be corrected"),
        ("IMAGETYP", "lihgt", "science, bias, dark, flat"),
        ("IMAGETYP", "table", "science, bias, dark, flat"),
        ("EXPTIME", "long", "seconds, 0 or more"),
        ("EXPTIME", "nan", "seconds, 0 or more"),
        ("NCOMBINE", "1.5", "a whole number"),
        ("DEC", "91", "-90 to 90"),
        ("RA", "361:00:00", "0 to 360"),
        ("DATE-OBS", "yesterday", "no date"),
        ("DATE-OBS", "1066-10-14T09:00:00", "before 1980"),
        ("site", "atlantis", "there are .*concordia"),
        ("binning", "0x0", "as 2 or 2x2"),
        ("window", "-1,0", "as 0,0"),
        ("calibration", "wishes", "bias, dark, flat"),
        ("bias_included", "perhaps", "true or false"),
        ("OBJECT", "M\n42", "text of a line"),
    ],
)
def test_what_is_no_value_is_refused_with_the_choices(profiles, key, text, words):
    with pytest.raises(UsageError, match=words):
        parse_correction(key, text, profiles)


@pytest.mark.parametrize(
    ("cards", "key", "text", "words"),
    [
        ({"IMAGETYP": "Light"}, "EXPTIME", "-5", "seconds, 0 or more"),
        ({"IMAGETYP": "Light"}, "CCD-TEMP", "-300", "degrees Celsius"),
        ({"IMAGETYP": "Light"}, "EGAIN", "0", "more than 0"),
        ({"IMAGETYP": "Dark"}, "FILTER", "Ha", "a dark has no filter"),
        ({"IMAGETYP": "Light"}, "FILTER", "none", "filter cannot be 'none'"),
    ],
)
def test_what_a_frame_does_not_take_is_refused(profiles, cards, key, text, words):
    with pytest.raises(UsageError, match=words):
        corrected(profiles, cards, "x.fits", **{key: text})


def test_a_table_stays_a_table(profiles):
    hdu = replace(an_hdu({}), shape=(), is_table=True)
    base = translate(hdu, "x.fits", "", profiles)
    found = translate_corrected(hdu, "x.fits", profiles, base, {"image_type": Correction("flat", "ada")}, site=None)
    assert found.image_type is ImageType.TABLE
    with pytest.raises(UsageError, match="structure"):
        check_effect(found, {"image_type": "flat"})


def test_every_value_that_can_be_corrected_says_so_by_its_column_too(profiles):
    known = correctable(profiles)
    assert {known[one] for one in ("OBJECT", "IMAGETYP", "FILTER", "EXPTIME", "TELESCOP", "INSTRUME", "DATE-OBS",
                                   "CCD-TEMP", "SET-TEMP", "GAIN")} == {
        "target_name", "image_type", "filter", "exposure_s", "telescope", "instrument", "date_obs",
        "ccd_temperature_c", "set_temperature_c", "gain",
    }  # fmt: skip
    columns = set(Frame.__dataclass_fields__)
    assert set(known.values()) <= columns
    assert all(known[name.upper()] == name for name in known.values())


def test_a_gain_that_is_a_setting(profiles):
    found = corrected(profiles, {**RIGHT, "GAIN": 5.0}, "x.fits", GAIN="100", offset="7")
    assert (found.gain, found.offset) == (100.0, 7.0)


def test_bias_included_is_said_of_a_delivered_master(profiles):
    found = corrected(profiles, {"IMAGETYP": "Master Dark"}, "x.fits", bias_included="true")
    assert found.bias_included is True
    assert found.sources["bias_included"] == "correction by ada"


def test_an_instrument_is_recognised_by_its_corrected_name(profiles):
    cards = {"TELESCOP": "ACRSAT", "IMAGETYP": "LIGHT", "DATE-OBS": "2026-01-15T02:00:00", "EXPTIME": 10.0}
    base = translate(an_hdu(cards), "x.fits", "", profiles)
    assert (base.profile, base.site) == ("generic", None)
    found = corrected(profiles, cards, "x.fits", TELESCOP="ARCSAT 0.5-m")
    right = translate(an_hdu({**cards, "TELESCOP": "ARCSAT 0.5-m"}), "x.fits", "", profiles)
    assert (found.profile, found.site, found.night, found.camera) == ("arcsat", right.site, right.night, right.camera)
    assert found.sources["telescope"] == "correction by ada"
