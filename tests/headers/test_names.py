"""What names say: iTelescope's deliveries and libraries, ASTEP's directories, and conflicts with headers."""

from __future__ import annotations

import pytest

from avcd.headers.gathering import Hdu
from avcd.headers.translation import translate

LIGHTS = [
    ("raw-T31-davestrickland-webb-20211229-024225-Green-BIN1-W-300-001.fit", "T31", "davestrickland", "webb", "Green", 1),
    ("calibrated-T09-davestrickland-NGC_253-20200813-023100-Red-BIN1-W-060-001.fit", "T09", "davestrickland", "NGC 253", "Red", 2),
    ("raw-T24-kaveh096-M51-20250123-021344-Blue-BIN2-E-300-001.fit", "T24", "kaveh096", "M51", "Blue", 1),
    ("raw-T24-jmwill-M51-20250225-030711-Luminance-BIN1-W-300-001.fit", "T24", "jmwill", "M51", "Luminance", 1),
    ("raw-T21-kaveh096-M51-20250113-045216-Luminance-BIN1-E-600-001.fit.zip", "T21", "kaveh096", "M51", "Luminance", 1),
    ("calibrated-T11-blackhaz-CG Dra-20210516-010321-V-BIN1-E-300-012.fit", "T11", "blackhaz", "CG Dra", "V", 2),
    ("Calibrated-T16-jbotte-DY Peg-20150910-020218-B-BIN1-W-030-001.fit", "T16", "jbotte", "DY Peg", "B", 2),
    ("calibrated-T20-jmatit-IC410-20201119-033710-Blue-BIN2-W-300-010.fit", "T20", "jmatit", "IC410", "Blue", 2),
    ("raw-T05-Local Admin-M 81-20200716-231744-Ha-BIN1-_-180-001.fit", "T05", "Local Admin", "M 81", "Ha", 1),
    ("T5/raw-T5-me-M 81-20200716-231744-Ha-BIN1-E-180-001.fit", "T05", "me", "M 81", "Ha", 1),
]  # fmt: skip
_T05 = [
    ("B", 15),
    ("I", 13),
    ("Blue", 5),
    ("OIII", 12),
    ("Clear", 23),
    ("Red", 4),
    ("Green", 5),
    ("SII", 67),
    ("Ha", 46),
    ("V", 5),
]
_T33 = [("Blue", 4), ("Green", 5), ("Ha", 20), ("Lum", 3), ("OIII", 17), ("Red", 4), ("SII", 27)]
LIBRARY = [
    *(
        (f"T05/Masters/Flats/2020-03/Master_Flat_{name}_{number}_{name}_2184x1472_Bin1x1_Temp-10C_ExpTime5s.fit", "master_flat", name)
        for name, number in _T05
    ),
    *(
        (f"T33/Masters/Flats/2024_06/Master Flat {name} {number} {name} 4096x4096 Bin1x1 Temp-15C ExpTime5s.fit", "master_flat", name)
        for name, number in _T33
    ),
    ("T20/Masters/Darks/2020-04/Master_Dark_2_2004x1336_Bin2x2_Temp-15C_ExpTime900s.fit", "master_dark", None),
    ("T24/Masters/Darks/2021_DEC/Master_Dark_11_3056x3056_Bin1x1_Temp-25C_ExpTime900s.fit", "master_dark", None),
    ("T24/Masters/Darks/2021_DEC/Master_Badpix_12_1528x1528_Bin2x2_Temp-25C_ExpTime900s.fit", "bad_pixel_mask", None),
    ("T05/Raw_Darks/Bias/Master Bias 6 2184x1472 Bin1x1 Temp-10C ExpTime0ms.fit", "master_bias", None),
]  # fmt: skip
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
        *(
            (path, {"telescope": telescope, "user": user, "target_name": target, "filter": name, "calib_level": level})
            for path, telescope, user, target, name, level in LIGHTS
        ),
        *((path, {"image_type": image_type, "filter": name}) for path, image_type, name in LIBRARY),
    ],
)
def test_itelescope_names(path, wanted, translated):
    frame = translated({}, path)
    assert frame.profile == ("itelescope-premium" if "-iTelescope-" in path else "itelescope")
    assert not frame.warnings
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


def test_users_are_kept_apart_and_a_calibrated_frame_is_not_calibrated_again(translated):
    header = {"IMAGETYP": "Light Frame", "DATE-OBS": "2025-01-13T11:52:16", "EXPTIME": 600.0, "INSTRUME": "FLI"}
    name = "T21-kaveh096-M51-20250113-045216-Luminance-BIN1-E-600-001.fit"
    raw = translated(header, f"raw-{name}")
    # The calibration at the site rewrites INSTRUME.
    calibrated = translated({**header, "INSTRUME": "Apogee USB/Net"}, f"calibrated-{name}")
    assert raw.obs_id == calibrated.obs_id == "t21/2025-01-12/m51/kaveh096"
    assert (raw.calib_level, calibrated.calib_level) == (1, 2)
    assert calibrated.calibration == {"bias", "dark", "flat"}
    assert translated(header, f"raw-{name}".replace("kaveh096", "jmwill")).obs_id == "t21/2025-01-12/m51/jmwill"


def test_a_colour_frame_is_no_image(translated):
    name = "calibrated-Color-T68-davestrickland-m81group-20260115-050928-Color-BIN1-W-240-001.fit.gz"
    frame = translated({"IMAGETYP": "Light Frame"}, name, shape=(3, 100, 120))
    assert (frame.telescope, frame.obs_id) == ("T68", None)
    assert frame.warnings == ("cube: 3 axes, 120x100x3; not processed as an image",)


def test_premium_images_have_had_their_pedestal_added(translated):
    header = {"GAIN": 1.31, "EXPTIME": 900.0, "FILTER": "Red", "PEDESTAL": 100, "HIERARCH OBSTARGET": "NGC 55"}
    frame = translated(header, "Calibrated-iTelescope-Whale_Galaxy_NGC_55-900s-Red-5.fits")
    assert (frame.profile, frame.calib_level, frame.pedestal_adu) == ("itelescope-premium", 2, None)
    assert (frame.gain, frame.gain_e_per_adu, frame.target_name) == (None, None, "NGC 55")


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        (
            "2024-01-01_22-10-03_Ha_-10.00_300.00s_0001.fits",
            {"filter": "Ha", "ccd_temperature_c": -10.0, "exposure_s": 300.0, "image_type": "unknown"},
        ),
        ("2024-01-01/LIGHT/2024-01-01_22-10-03_Ha_-10.00_300.00s_0001.fits", {"image_type": "science"}),
        ("2024-01-01/DARKFLAT/2024-01-01_22-10-03__-10.00_3.00s_0001.fits", {"image_type": "dark_flat"}),
        (
            "M31_Light_Ha_300s_bin1_-10C_001.fits",
            {"image_type": "science", "target_name": "M31", "filter": "Ha", "exposure_s": 300.0, "binning": "1x1"},
        ),
        (
            "Light_M 31_300.0s_Bin2_Ha_gain100_20240101-221003_-10.0C_0001.fit",
            {"image_type": "science", "target_name": "M 31", "filter": "Ha", "gain": 100.0, "binning": "2x2"},
        ),
        ("M31-S001-R002-C003-Ha_dupe-1.fts", {"target_name": "M31", "filter": "Ha", "image_type": "unknown"}),
        ("Flats/x001.fits", {"image_type": "flat"}),
        ("Flats/dark_5s_001.fits", {"image_type": "dark", "exposure_s": 5.0}),
        ("Flats/Bias/x.fits", {"image_type": "bias"}),
        ("dark_300s_001.fits", {"image_type": "dark", "exposure_s": 300.0}),
        ("Darks_300s/0001.fits", {"image_type": "dark"}),
        ("Bias_BIN1_20250601_025309.fits", {"image_type": "bias", "binning": "1x1"}),
        ("domeflat_H-Alpha_001.fits", {"image_type": "flat", "filter": "H-Alpha"}),
        ("AutoFlat-PANoRot-R-Bin1-001.fts", {"image_type": "flat", "filter": "R"}),
        ("flatdark_2s_001.fits", {"image_type": "dark_flat"}),
        ("MasterFlat_R.fits", {"image_type": "master_flat", "filter": "R", "calib_level": 3}),
        ("master_dark_300s.fits", {"image_type": "master_dark", "exposure_s": 300.0}),
        ("dark_nebula_001.fits", {"image_type": "unknown"}),
        ("M31_R_flat.fits", {"image_type": "unknown"}),
        ("M31_bias_subtracted_001.fits", {"image_type": "unknown"}),
        ("light_pollution_map.fits", {"image_type": "unknown"}),
        ("Red_Rectangle_001.fits", {"filter": None}),
    ],
)
def test_names_of_many_programs(path, wanted, translated):
    frame = translated({}, path)
    assert {name: getattr(frame, name) for name in wanted} == wanted
    assert {frame.sources[name] for name in wanted if name in frame.sources} <= {"file name", "image type"}


@pytest.mark.parametrize(
    ("cards", "path", "image_type", "warning"),
    [
        ({"IMAGETYP": "Light Frame", "EXPTIME": 0.0}, "Bias/x.fits", "bias", "without an exposure it is one"),
        ({"IMAGETYP": "Light Frame", "EXPTIME": 60.0}, "Bias/x.fits", "science", "says science, the name says bias"),
        ({"IMAGETYP": "Dark Frame", "EXPTIME": 60.0}, "Flats/x.fits", "dark", "says dark, the name says flat"),
        ({"IMAGETYP": "Dark Frame"}, "masterdark_60s.fits", "master_dark", "it is one, combined from such frames"),
        ({"IMAGETYP": "Master Dark"}, "Darks/x.fits", "master_dark", None),
        ({"IMAGETYP": "Dark Frame"}, "DarkFlats/x.fits", "dark", None),
        ({"IMAGETYP": "Dark Frame"}, "Darks/x.fits", "dark", None),
    ],
)
def test_a_type_that_the_name_contradicts(cards, path, image_type, warning, translated):
    frame = translated(cards, path)
    assert frame.image_type == image_type
    assert (warning in " ".join(frame.warnings)) if warning else not frame.warnings


@pytest.mark.parametrize(
    ("header", "name", "agree"),
    [("g", "r", False), ("Red", "R", True), ("H-Alpha", "Ha", True), ("O3", "OIII", True), ("B", "V", False)],
)
def test_filters_that_the_name_contradicts(header, name, agree, translated):
    frame = translated({"IMAGETYP": "LIGHT", "FILTER": header}, f"Cats_Eye_Nebula_{name}_20250601_065904.fits")
    assert frame.filter == header
    assert frame.warnings == (() if agree else (f"filter: the header says {header}, the name says {name}",))
