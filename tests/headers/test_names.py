"""What names say: iTelescope's deliveries and libraries, ASTEP's directories, and conflicts with headers."""

from __future__ import annotations

import pytest

from avcd.headers.gathering import Hdu
from avcd.headers.translation import translate

RAW = "raw-T05-davestrickland-NGC_6888-20200716-231744-Ha-BIN1-E-180-001.fit"


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        (
            RAW,
            {
                "image_type": "science",
                "telescope": "T05",
                "user": "davestrickland",
                "target_name": "NGC 6888",
                "filter": "Ha",
                "binning": "1x1",
                "exposure_s": 180.0,
                "calib_level": 1,
                "site": "mayhill",
            },
        ),
        ("2020-07-16/" + RAW + ".zip", {"telescope": "T05", "target_name": "NGC 6888"}),
        (
            "raw-T21-ast326_2025n-SN 2025fbf-20250409-232047-Red-BIN1-W-060-001.fit",
            {"user": "ast326_2025n", "target_name": "SN 2025fbf", "exposure_s": 60.0},
        ),
        (
            "calibrated-T21-kaveh096-M51-20250113-045216-Luminance-BIN2-E-600-001.fit",
            {"calib_level": 2, "filter": "Luminance", "binning": "2x2"},
        ),
        (
            "Calib-T21-ceouobs.changsu-NGC3367-20161130-042831-R-BIN1-E-180-003.fits",
            {"user": "ceouobs.changsu", "calib_level": 2},
        ),
        ("raCalibrated-T52-ceouobs.mim-ngc1097-20141030-012151-B-BIN1-W-300-001.fits", {"telescope": "T52"}),
        (
            "cal-T20-davestrickland-CygnusLoop_x1_y1-20210708-220604-Ha-BIN1-E-300-001.fits",
            {"calib_level": 2, "target_name": "CygnusLoop"},
        ),
        (
            "calibrated-Color-T68-davestrickland-m81group-20260115-050928-Color-BIN1-W-240-001.fit.gz",
            {"telescope": "T68", "target_name": "m81group", "filter": "Color"},
        ),
        (
            "Calibrated-iTelescope-Whale_Galaxy_NGC_55-900s-Red-5.fits",
            {"target_name": "Whale Galaxy NGC 55", "exposure_s": 900.0, "filter": "Red", "calib_level": 2},
        ),
        (
            "T05/Masters/Darks/2021-02-14/Master_Dark_1_2184x1472_Bin1x1_Temp-10C_ExpTime900s.fit",
            {"image_type": "master_dark", "telescope": "T05", "set_temperature_c": -10.0, "exposure_s": 900.0},
        ),
        (
            "T5/Masters/Bias/2020-03/Master Bias 1 2184x1472 Bin1x1 Temp-10C ExpTime0ms.fit",
            {"image_type": "master_bias", "telescope": "T05", "exposure_s": None, "binning": "1x1"},
        ),
        (
            "T20/Masters/Flats/2020-04/Master_Flat_Ha_46_Ha_4008x2672_Bin1x1_Temp-15C_ExpTime5s.fit.gz",
            {"image_type": "master_flat", "filter": "Ha", "telescope": "T20"},
        ),
        (
            "T20/Masters/Darks/2020-04/Master_Badpix_1_4008x2672_Bin1x1_Temp-15C_ExpTime900s.fit",
            {"image_type": "bad_pixel_mask"},
        ),
        (
            "T24-kaveh096-Dark-300-LD20250203-LT155037-BIN1.fit",
            {"image_type": "dark", "telescope": "T24", "exposure_s": 300.0, "site": "auberry"},
        ),
        ("T24-kaveh096-Bias-000-LD20250203-LT171434-BIN1.fit", {"image_type": "bias", "telescope": "T24"}),
        ("T21/Raw/FLI6303 -0001biasBin1.fit", {"image_type": "bias", "telescope": "T21", "binning": "1x1"}),
        (
            "T21/Raw/FLI6303 -0001dark900secBin2.fit",
            {"image_type": "dark", "telescope": "T21", "exposure_s": 900.0, "binning": "2x2"},
        ),
        (
            "T33/Flats/2024 06/raw flats/20240616_080204/scope_Luminance_1x1_skyflat0.fit",
            {"image_type": "flat", "filter": "Luminance", "telescope": "T33"},
        ),
        ("Bias-Darks-T20-001-bias-B1.fit", {"image_type": "bias", "telescope": "T20"}),
    ],
)
def test_itelescope_names(path, wanted, translated):
    frame = translated({}, path)
    assert frame.profile == "itelescope"
    assert {name: getattr(frame, name) for name in wanted} == wanted
    assert frame.sources["image_type"] == "file name"


@pytest.mark.parametrize(
    "path", ["T1-notes/x.fit", "raw/x.fit", "my-raw-T05-picture.fit", "Targets/T05.fit", "darks/Master_Dark.fit"]
)
def test_other_names_are_not_taken_for_itelescopes(path, translated):
    assert translated({"IMAGETYP": "LIGHT"}, path).profile == "generic"


def test_a_directory_does_not_overrule_the_name(translated):
    assert translated({}, f"T20/Raw/{RAW}").telescope == "T05"


def test_the_header_wins_and_the_conflict_is_recorded(translated):
    cards = {"IMAGETYP": "Light Frame", "FILTER": "OIII", "EXPTIME": 300.0, "XBINNING": 1, "OBJECT": "NGC 6888"}
    frame = translated({**cards, "TELESCOP": "iTelescope 5"}, RAW)
    assert (frame.filter, frame.exposure_s, frame.telescope) == ("OIII", 300.0, "T05")
    assert set(frame.warnings) == {
        "exposure_s: the header says 300.0, the name says 180.0",
        "filter: the header says OIII, the name says Ha",
    }


def test_the_name_wins_for_the_telescope_and_the_conflict_is_recorded(translated):
    frame = translated({"TELESCOP": "iTelescope 9"}, RAW)
    assert (frame.telescope, frame.sources["telescope"]) == ("T05", "file name")
    assert "telescope: the header says iTelescope 9, the name says T05" in frame.warnings


def test_the_date_of_a_name_is_only_a_label(translated):
    """T31's 20211229-024225 is 02:42 local time of the 30th: DATE-OBS 2021-12-29T15:42:46."""
    name = "raw-T31-davestrickland-webb-20211229-024225-Green-BIN1-W-300-001.fit"
    header = {
        "IMAGETYP": "Light Frame",
        "SITELONG": "149 03 52",
        "DATE-OBS": "2021-12-29T15:42:46.53",
        "EXPTIME": 300.0,
    }
    frame = translated({**header, "TELESCOP": "", "OBJECT": "", "PEDESTAL": 0}, name)
    assert (frame.telescope, frame.target_name, frame.user) == ("T31", "webb", "davestrickland")
    assert (frame.night, frame.night_rule) == ("2021-12-29", "site")
    assert frame.obs_id == "t31/2021-12-29/webb/davestrickland"
    assert translated(header, name.replace("024225", "235959")).night == "2021-12-29"


@pytest.mark.parametrize(
    ("path", "image_type", "level"),
    [
        ("2012-06-04/2012-06-04-CAMS/2012-06-04_17.23.54_SCIENCE.fits", "science", 1),
        ("2012-06-04/2012-06-04-CAMS/2012-06-04_17.23.54_SCIENCE_CAL.fits", "science", 2),
        ("2012-06-04/2012-06-04-CAMS/2012-06-04_10.00.00_DARK_001.fits", "dark", 1),
        ("2012-06-04/2012-06-04-CAMS/2012-06-04_10.00.00_BIAS.fits", "bias", 1),
        ("data/2012-06-04/2012-06-04-CAMS_SKYFLAT/2012-06-04_08.00.00_SKYFLAT.fits", "flat", 1),
        ("2012-06-04/2012-06-04-CAMS_SKYFLAT/2012-06-04_08.00.00_DARK.fits", "dark", 1),
    ],
)
def test_astep_directories(path, image_type, level, translated):
    frame = translated({"EXPTIME": 90.0, "DATE-OBS": "2012-06-04T17:23:54"}, path)
    assert (frame.profile, frame.telescope, frame.site) == ("astep", "ASTEP", "concordia")
    assert (frame.image_type, frame.calib_level) == (image_type, level)
    assert (frame.gain_e_per_adu, frame.read_noise_e) == (2.0, 9.0)


def test_astep_masters_and_gain(translated):
    path = "2012-06-04/2012-06-04-CAMS/x.fits"
    frame = translated({"ACQTYPE": "MASTERDARK", "GAIN": 1.5}, path)
    assert (frame.image_type, frame.gain, frame.gain_e_per_adu) == ("master_dark", None, 1.5)


def test_members_of_archives_have_names_too(profiles):
    frame = translate(Hdu("0", "1", (), (5, 6), False), "delivery.zip", RAW, profiles)
    assert (frame.telescope, frame.filter) == ("T05", "Ha")
