"""From header and path to a frame's values: every program's header, every delivery's names."""

from __future__ import annotations

import pytest
from astropy.io import fits

from avcd.frame import ImageType

LIGHT = {"IMAGETYP": "Light Frame", "DATE-OBS": "2026-01-15T20:00:00", "EXPTIME": 60.0, "TELESCOP": "Scope"}


@pytest.mark.parametrize(
    ("word", "image_type"),
    [
        ("Light Frame", "science"),
        ("LIGHT", "science"),
        ("object", "science"),
        ("EXPOSE", "science"),
        ("Bias Frame", "bias"),
        ("zero", "bias"),
        ("OFFSET", "bias"),
        ("Dark Frame", "dark"),
        ("Flat Field", "flat"),
        ("SKYFLAT", "flat"),
        ("Dome Flat", "flat"),
        ("twilight", "flat"),
        ("dark_flat", "dark_flat"),
        ("FlatDark", "dark_flat"),
        ("MASTER BIAS", "master_bias"),
        ("Master Dark", "master_dark"),
        ("MasterFlat", "master_flat"),
        ("BADPIX", "bad_pixel_mask"),
    ],
)
def test_words_for_types_of_image(word, image_type, translated):
    frame = translated({"IMAGETYP": word})
    assert frame.image_type == image_type
    assert frame.sources["image_type"] == "card IMAGETYP"


def test_an_unknown_word_is_a_warning_and_no_guess(translated):
    frame = translated({"IMAGETYP": "Tricolour"})
    assert frame.image_type is ImageType.UNKNOWN
    assert frame.warnings == ("IMAGETYP='Tricolour' is no known type of image",)
    assert translated({}).warnings == ("neither header nor name says what type of image this is",)


def test_a_colour_cube_is_left_alone(data_directory, translated):
    frame = translated(data_directory / "headers" / "header_seestar.hdr.txt", shape=(3, 1920, 1080))
    assert frame.image_type is ImageType.CUBE
    assert frame.obs_id is None
    assert any(one.startswith("cube: 3 axes, 1080x1920x3") for one in frame.warnings)


def test_every_value_says_where_it_is_from(translated):
    frame = translated({**LIGHT, "SITELONG": "-105 49 13", "FILTER": "R"})
    assert frame.sources["exposure_s"] == "card EXPTIME"
    assert frame.sources["filter"] == "card FILTER"
    assert frame.sources["naxis1"] == "structure"
    assert frame.sources["site_longitude_deg"] == "card SITELONG"
    assert frame.sources["night"] == "t_min, site noon to noon"
    named = {name for name in frame.sources if getattr(frame, name, None) is None}
    assert not named


@pytest.mark.parametrize(
    ("cards", "setting", "factor"),
    [
        ({"GAIN": (120, "Sensor gain"), "EGAIN": (1.5, "Electrons per A/D unit")}, 120, 1.5),
        ({"GAIN": (1.35, "Gain in e-/ADU")}, None, 1.35),
        ({"GAIN": (1.62, "Converting gain (e-/ADU) = Average [A,B] amps")}, None, 1.62),
        ({"GAIN": (2.3, "electrons per ADU")}, None, 2.3),
        ({"GAIN": (56, "")}, 56, None),
        ({"EGAIN": (0.0, "Electronic gain in e-/ADU")}, None, None),
        ({"GAIN": ("[3.3,3.4]", "[electrons/count] Pixel gain")}, None, None),
    ],
)
def test_a_gain_is_a_setting_or_a_factor_by_its_comment(cards, setting, factor, translated):
    frame = translated({**LIGHT, **cards})
    assert (frame.gain, frame.gain_e_per_adu) == (setting, factor)


@pytest.mark.parametrize(("comment", "wanted"), [("CCD temperature", -20.0), ("86 temp, air, weather tower", None)])
def test_the_airs_temperature_is_not_the_detectors(comment, wanted, translated):
    assert translated({**LIGHT, "TEMPERAT": (-20.0, comment)}).ccd_temperature_c == wanted


@pytest.mark.parametrize("image_type", ["Bias Frame", "Dark Frame", "Master Dark"])
def test_a_closed_shutter_has_no_filter(image_type, translated):
    assert translated({"IMAGETYP": image_type, "FILTER": "R"}).filter is None
    assert translated({"IMAGETYP": "Flat Field", "FILTER": "R"}).filter == "R"


@pytest.mark.parametrize(
    ("status", "image_type", "applied", "level", "bias_included"),
    [
        ("BDF", "Light Frame", {"bias", "dark", "flat"}, 2, None),
        ("BF", "Light Frame", {"bias", "flat"}, 2, None),
        ("BD", "Light Frame", {"bias", "dark"}, 1, None),
        ("", "Light Frame", set(), 1, None),
        ("M", "Master Dark", set(), 3, True),
        ("BM", "Master Dark", {"bias"}, 3, False),
        ("", "Master Dark", set(), 3, None),
    ],
)
def test_what_was_done_already(status, image_type, applied, level, bias_included, translated):
    frame = translated({"IMAGETYP": image_type, "CALSTAT": status})
    assert (frame.calibration, frame.calib_level, frame.bias_included) == (applied, level, bias_included)


@pytest.mark.parametrize(
    ("cards", "level", "source"),
    [
        ({"BUNIT": "electron"}, 2, "card BUNIT"),
        ({"BUNIT": "Electrons/s"}, 2, "card BUNIT"),
        ({"BUNIT": "e-"}, 2, "card BUNIT"),
        ({"BUNIT": "photoelectrons"}, 2, "card BUNIT"),
        ({"BUNIT": "adu"}, 1, None),
        ({"BUNIT": "elephants"}, 1, None),
        ({"PEDESTAL": 0}, 1, None),
        ({"PEDESTAL": -100}, 2, "card PEDESTAL"),
        ({"PEDESTAL": -100, "CALSTAT": "BD"}, 1, None),  # CALSTAT says how far
        ({"PEDESTAL": -100, "IMAGETYP": "Dark Frame"}, 1, None),
        ({"BUNIT": "electron", "IMAGETYP": "Flat Field"}, 1, None),
    ],
)
def test_what_only_a_calibration_leaves_behind_says_that_there_was_one(cards, level, source, translated):
    frame = translated({**LIGHT, **cards})
    assert (frame.calib_level, frame.sources.get("calib_level")) == (level, source)
    assert any("nothing says how far" in one for one in frame.warnings) == (source == "card PEDESTAL")


def test_dates_fall_back_and_say_what_was_wrong(translated):
    frame = translated({**LIGHT, "DATE-OBS": "2008-11-01", "MJD-OBS": 54771.606625})
    assert (frame.date_obs, frame.sources["t_min"]) == ("2008-11-01T14:33:32.400", "card MJD-OBS")
    unset = translated({**LIGHT, "DATE-OBS": "1970-01-01T00:00:01"})
    assert (unset.t_min, unset.night, unset.obs_id) == (None, None, "scope/no-night/no-target")
    assert any("the clock was not set" in one for one in unset.warnings)


@pytest.mark.parametrize(
    ("cards", "name"),
    [
        ({"OBJECT": "M 31", "RA": "05:34:31.9", "DEC": "+22:00:51.9"}, "m-31"),
        ({"RA": "05:34:31.9", "DEC": "+22:00:51.9"}, "j0534+2200"),
        ({"RA": 83.75, "DEC": -0.5}, "j0535-0030"),
        ({"RA": 0.0, "DEC": 0.0}, "no-target"),
        ({"RA": 400.0, "DEC": 0.0}, "no-target"),
        ({"RA": (12.0, "[h] Observe object RA"), "DEC": 1.0}, "j1200+0100"),
    ],
)
def test_an_observation_has_a_name_of_its_target_or_position(cards, name, translated):
    assert translated({**LIGHT, **cards}).obs_id == f"scope/2026-01-15/{name}"


def test_sessions_part_what_must_not_be_combined(translated):
    base = {"DATE-OBS": "2026-01-15T20:00:00", "TELESCOP": "S", "INSTRUME": "C", "XBINNING": 1, "SET-TEMP": -20.0}
    dark = {**base, "IMAGETYP": "dark", "EXPTIME": 60.0}
    wanted = translated(dark).session_id
    assert wanted.startswith("s/2026-01-15/dark/")
    same = [{"CCD-TEMP": -19.7}, {"FILTER": "R"}, {"DATE-OBS": "2026-01-15T21:00:00"}, {"SET-TEMP": -19.9}]
    other = [{"EXPTIME": 30.0}, {"SET-TEMP": -10.0}, {"XBINNING": 2}, {"GAIN": 3}, {"OFFSET": 3}, {"READOUTM": "fast"}]
    other += [{"XORGSUBF": 5, "YORGSUBF": 5}, {"DATE-OBS": "2026-01-16T21:00:00"}, {"INSTRUME": "D"}]
    assert {translated({**dark, **one}).session_id for one in same} == {wanted}
    assert len({translated({**dark, **one}).session_id for one in other} | {wanted}) == len(other) + 1
    assert translated(dark, shape=(20, 12)).session_id != wanted
    flat = {**base, "IMAGETYP": "flat", "FILTER": "R", "EXPTIME": 3.0}
    assert translated({**flat, "EXPTIME": 4.0}).session_id == translated(flat).session_id
    assert translated({**flat, "FILTER": "G"}).session_id != translated(flat).session_id


def test_a_longitude_that_counts_westward_is_noticed(translated):
    cards = {**LIGHT, "TELESCOP": "T05", "SITELONG": "+105 31 43", "DATE-OBS": "2026-01-15T03:00:00"}
    frame = translated(cards)
    assert (frame.site_longitude_deg, frame.night) == (pytest.approx(-105.5287), "2026-01-14")
    assert any("counts west as positive" in one for one in frame.warnings)


def test_a_drops_site_serves_frames_that_name_none(translated):
    frame = translated(LIGHT, site="siding-spring")
    assert (frame.site, frame.night_rule, frame.sources["site"]) == ("siding-spring", "site", "drop directory")


def test_pixel_scales(translated):
    world = {"CTYPE1": "RA---TAN", "CRVAL1": 10.0, "CRVAL2": 20.0}
    assert translated({**LIGHT, "SECPIX": 0.5}).pixel_scale_arcsec == 0.5
    assert translated({**LIGHT, **world, "CD1_1": 3e-4, "CD2_1": 4e-4}).pixel_scale_arcsec == pytest.approx(1.8)
    assert translated({**LIGHT, **world, "CDELT1": -5e-4}).pixel_scale_arcsec == pytest.approx(1.8)
    assert translated({**LIGHT, "XPIXSZ": 12.0, "FOCALLEN": 2259.0}).pixel_scale_arcsec == pytest.approx(
        1.0957, abs=1e-4
    )
    assert translated({**LIGHT, "XPIXSZ": 12.0, "FOCALLEN": 0.0}).pixel_scale_arcsec is None


def test_values_no_camera_could_have_are_unknown(translated):
    frame = translated({**LIGHT, "CCD-TEMP": -999.0, "EXPTIME": -1.0, "SATURATE": 0.0, "FILTER": "N/A"})
    assert (frame.ccd_temperature_c, frame.exposure_s, frame.saturation_adu, frame.filter) == (None,) * 4
    assert len(frame.warnings) == 3


def test_a_bayer_mosaic_is_said(translated):
    assert any("colour camera" in one for one in translated({**LIGHT, "BAYERPAT": "RGGB"}).warnings)


@pytest.mark.parametrize(
    ("value", "comment", "celsius", "warned"),
    [
        (263.15, "[K] detector", -10.0, False),
        (263.15, "detector temperature (Kelvin)", -10.0, False),
        (263.15, "deg K", -10.0, False),
        (263.15, "CCD temperature", -10.0, True),
        (263.15, "[degC] CCD temperature", None, True),
        (900.0, "", None, True),
        (77.0, "[K]", -196.15, False),
        (-10.0, "CCD temperature at start of exposure in C", -10.0, False),
    ],
)
def test_kelvin_by_the_comment_or_because_no_camera_is_so_hot(value, comment, celsius, warned, translated):
    frame = translated({**LIGHT, "CCD-TEMP": (value, comment)})
    assert frame.ccd_temperature_c == (None if celsius is None else pytest.approx(celsius))
    assert any("CCD-TEMP" in one for one in frame.warnings) == warned


@pytest.mark.parametrize(
    ("cards", "degrees"),
    [
        ({"RA": (5.575, "[h] right ascension"), "DEC": 22.0}, 83.625),
        ({"RA": (5.575, "RA in decimal hours"), "DEC": 22.0}, 83.625),
        ({"RA": (5.575, "Object Right Ascension in degrees"), "DEC": 22.0}, 5.575),
        ({"RA": (1.45946, "RA in radians"), "DEC": (0.384, "radians")}, 83.6209),
        ({"RA": ("05 34 30", "RA (deg)"), "DEC": "+22 00 00"}, 83.625),
        ({"RA": ("83 37 30", ""), "DEC": "+22 00 00"}, 83.625),
        ({"RA": (5.575, ""), "DEC": 22.0, "CTYPE1": "RA---TAN", "CRVAL1": 83.6, "CRVAL2": 22.0, "CD1_1": 1e-4}, 83.625),
        ({"RA": (5.575, ""), "DEC": 22.0}, None),
        ({"OBJCTRA": "00 00 00", "OBJCTDEC": "+00 00 00", "RA": (83.625, "[deg] telescope"), "DEC": 22.0}, 83.625),
        ({"OBJCTRA": "nowhere", "OBJCTDEC": "+22 00 00", "RA": "05:34:30", "DEC": "+22:00:00"}, 83.625),
    ],
)
def test_pointings_in_hours_or_degrees(cards, degrees, translated):
    frame = translated({**LIGHT, **cards})
    assert frame.s_ra == (None if degrees is None else pytest.approx(degrees, abs=1e-3))
    if degrees is None:
        assert frame.warnings == ("RA=5.575: hours or degrees? Taken as unknown",)


@pytest.mark.parametrize(
    ("lines", "applied", "level"),
    [
        (["Bias corrected with mbias.fits", "Dark corrected with d.fits", "Flat corrected with f.fits"], "bdf", 2),
        (["Auto Dark Subtraction"], "d", 1),
        (["Dark Subtraction (Dark 10, 4864 x 3232)", "Flat Field (Flat SII 1)"], "df", 2),
        (["File was processed by PinPoint", "no dark subtracted"], "", 1),
    ],
)
def test_history_says_what_was_done(lines, applied, level, translated):
    header = fits.Header([("IMAGETYP", "LIGHT")])
    for line in lines:
        header["HISTORY"] = line
    frame = translated(header)
    assert {one[0] for one in frame.calibration} == set(applied)
    assert frame.calib_level == level
    assert translated({"IMAGETYP": "LIGHT", "CALSTAT": "BDF"}).sources["calibration"] == "card CALSTAT"


@pytest.mark.parametrize("word", ["Master Light", "stack", "Integration"])
def test_a_combination_is_never_calibrated(word, translated):
    frame = translated({"IMAGETYP": word})
    assert (frame.image_type, frame.calib_level) == ("science", 3)


def test_a_master_of_maxim_keeps_the_word_of_its_frames(translated):
    frame = translated({"IMAGETYP": "Dark Frame", "CALSTAT": "BM"})
    assert (frame.image_type, frame.bias_included, frame.calib_level) == ("master_dark", False, 3)
    assert frame.sources["image_type"] == "card CALSTAT"


@pytest.mark.parametrize(
    ("cards", "date_obs", "words"),
    [
        ({"DATE-OBS": "2021-09-17", "TIME-OBS": "9:38:50 PM"}, None, "12-hour clock"),
        ({"DATE-OBS": "2021-09-17", "TIME-OBS": ("9:38:50 PM", "UT")}, "2021-09-17T21:38:50.000", ""),
        ({"DATE-OBS": "2021-09-17", "UT": "9:38:50 PM"}, "2021-09-17T21:38:50.000", ""),
        ({"DATE-OBS": ("2021-09-17T09:38:50", "local time")}, None, "is local time"),
        ({"DATE-LOC": "2021-09-17T09:38:50"}, None, "DATE-LOC is local time"),
        (
            {"DATE-LOC": "2021-09-17T19:38:50", "DATE-OBS": "2021-09-17T19:38:50+10:00"},
            "2021-09-17T09:38:50.000",
            "",
        ),
        ({"DATE-OBS": "17/09/21", "TIME-OBS": "09:38:50"}, "2021-09-17T09:38:50.000", ""),
        ({"DATE-OBS": "2000-01-01T00:00:13", "DATE-END": "2021-09-17T09:39:50"}, "2021-09-17T09:38:50.000", ""),
        ({"DATE-AVG": "2021-09-17T09:39:20"}, "2021-09-17T09:38:50.000", ""),
        ({"DATE-OBS": "1970-01-01T00:00:13", "JD": 2459474.9019676}, "2021-09-17T09:38:50.001", ""),
        (
            {"DATE-OBS": "2021-09-17T19:38:50", "JD": 2459474.9019676},
            "2021-09-17T19:38:50.000",
            "DATE-OBS and JD are 10.00 h apart; DATE-OBS is taken",
        ),
    ],
)
def test_moments(cards, date_obs, words, translated):
    light = {name: value for name, value in LIGHT.items() if name != "DATE-OBS"}
    frame = translated({**light, **cards})
    assert frame.date_obs == date_obs
    assert words in " ".join(frame.warnings)
    assert bool(words) == bool(frame.warnings)


def test_a_telescope_that_was_moved_is_where_its_header_says(translated):
    frame = translated({**LIGHT, "TELESCOP": "T05", "SITELONG": "-113 41 51"})
    assert (frame.site, frame.sources["site"]) == ("beryl-junction", "card SITELONG")
    assert frame.warnings == ("SITELONG='-113 41 51' is not at mayhill, where the telescope is known to stand",)


def test_a_site_by_what_headers_call_it(translated):
    frame = translated({**LIGHT, "OBSERVAT": "CTIO"})
    assert (frame.site, frame.sources["site"]) == ("cerro-tololo", "card OBSERVAT")
    assert translated({**LIGHT, "SITENAME": "Back garden"}).site is None


def test_the_chips_of_a_mosaic_are_cameras(translated):
    header = {"INSTRUME": "DECam", "OBSTYPE": "zero"}
    assert len({translated({**header, "CCDNUM": one}).session_id for one in (1, 2)}) == 2


@pytest.mark.parametrize(
    ("cards", "overscan", "kept", "warned"),
    [
        ({"BIASSEC": "[1:28,1:1024]", "TRIMSEC": "[29:1052,1:1024]"}, "[1:28,1:1024]", "[29:1052,1:1024]", 0),
        ({"BIASSEC": "[1:28, 1:1024]", "DATASEC": "[29:1052,1:1024]"}, "[1:28,1:1024]", "[29:1052,1:1024]", 0),
        ({"BIASSEC": "[0:0,0:0]", "TRIMSEC": "[1:1052,1:1024]"}, None, None, 0),  # nothing is said, nothing is cut off
        (
            {"BIASSEC": "UNKNOWN", "TRIMSEC": "[1:4096,1:4096]", "DATASEC": "[1:1040,1:1024]"},
            None,
            "[1:1040,1:1024]",
            1,
        ),
        ({"BIASSEC": "[28:1,1:1024]", "TRIMSEC": "29:1052"}, None, None, 2),
    ],
)
def test_sections_that_are_no_part_of_the_image_are_not_used(cards, overscan, kept, warned, translated):
    found = translated({"IMAGETYP": "Light Frame", "DATE-OBS": "2026-01-15T22:00:00", **cards}, shape=(1024, 1052))
    assert (found.overscan_section, found.trim_section) == (overscan, kept)
    assert sum("it is not used" in one for one in found.warnings) == warned
