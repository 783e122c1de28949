"""Cases in which others chose the wrong calibration without a word; headers and names as they are delivered."""

from __future__ import annotations

import hashlib
import itertools
from typing import Any

import pytest
from astropy.io import fits
from calibrations import RULES

from avcd.association import Pool, applied_need, judge, kind_of
from avcd.frame import Candidate, Card, Frame, ImageType, Outcome
from avcd.headers.gathering import Hdu
from avcd.headers.profiles import load_profiles
from avcd.headers.translation import translate

PROFILES = load_profiles()
CAMERA = {
    "TELESCOP": "iTelescope 5", "INSTRUME": "FLI", "XBINNING": 1, "YBINNING": 1, "SET-TEMP": -10.0, "CCD-TEMP": -10.02,
    "READOUTM": "8 MHz", "DATE-OBS": "2021-03-05T10:00:00", "EXPTIME": 300.0,
}  # fmt: skip
LIGHT = {**CAMERA, "IMAGETYP": "Light Frame", "FILTER": "Blue", "OBJECT": "M 51"}
LIGHT_NAME = "T05/raw-T05-observer-M51-20210305-020000-{filter}-BIN1-W-300-001.fit"


def frame(cards: dict[str, Any], name: str = "x.fit", shape: tuple[int, int] = (1472, 2184)) -> Frame:
    """A frame as its header and name say; a value of None is a card that is left out."""
    header = fits.Header([(key, value) for key, value in cards.items() if value is not None])
    kept = tuple(Card(one.keyword, one.value, one.comment) for one in header.cards)
    identity = hashlib.sha256(repr((kept, name, shape)).encode()).hexdigest()
    return translate(Hdu(id=identity, pixel_sha256="", cards=kept, shape=shape, is_table=False), name, "", PROFILES)


def light(name: str | None = None, shape: tuple[int, int] = (1472, 2184), **cards: Any) -> Frame:
    values = {**LIGHT, **{key.replace("_", "-"): value for key, value in cards.items()}}
    return frame(values, name or LIGHT_NAME.format(filter=values["FILTER"] or "Blue"), shape)


def master(kind: str, name: str, shape: tuple[int, int] = (1472, 2184), **cards: Any) -> Candidate:
    """A delivered master in its library's folder."""
    values = {**CAMERA, "IMAGETYP": f"Master {kind}", **{key.replace("_", "-"): value for key, value in cards.items()}}
    found = frame(values, f"T05/Masters/{name}", shape)
    return Candidate(id=found.id, origin="frame", like=found, bias_included=found.bias_included)


def built(kind: str, label: str, shape: tuple[int, int] = (1472, 2184), **cards: Any) -> Candidate:
    """A master that avcd makes of raw frames such as this one."""
    values = {**CAMERA, "IMAGETYP": kind, **{key.replace("_", "-"): value for key, value in cards.items()}}
    like = frame(values, f"T05/Raws/{label}.fit", shape)
    return Candidate(id=label, origin="product", like=like, bias_included=False if kind_of_dark(like) else None)


def kind_of_dark(like: Frame) -> bool:
    return like.image_type in (ImageType.DARK, ImageType.DARK_FLAT)


def chosen(one: Frame, kind: str, candidates: list[Candidate]) -> str | None:
    """The winner, which does not depend on the order in which the candidates were listed."""
    some = [candidate for candidate in candidates if kind_of(candidate) == kind]
    orders = itertools.islice(itertools.permutations(some), 24)
    winners = {judge(one, kind, list(order), RULES).chosen for order in orders}
    best = Pool(candidates).choose(one, kind, RULES)
    (winner,) = winners | {best.candidate.id if best else None}
    return winner


def why_not(one: Frame, kind: str, candidate: Candidate) -> list[tuple[str, Outcome]]:
    (verdict,) = judge(one, kind, [candidate], RULES).candidates
    return [(criterion.name, criterion.outcome) for criterion in verdict.criteria if criterion.outcome != "pass"]


def test_flats_are_chosen_by_their_filter_and_not_by_the_order_of_listing():
    flats = [built("Flat Field", name, FILTER=name, EXPTIME=3.0) for name in ("Red", "Green", "Blue", "Ha")]
    for name in ("Red", "Green", "Blue", "Ha"):
        assert chosen(light(FILTER=name), "flat", flats) == name
    assert chosen(light(FILTER="OIII"), "flat", flats) is None


@pytest.mark.parametrize(("taken", "delivered"), [("B", "Blue"), ("Blue", "B"), ("R", "Red"), ("V", "Visual")])
def test_a_johnson_filter_is_not_the_colour_it_begins_like(taken, delivered):
    flat = master("Flat", f"Master_Flat_{delivered}_1_{delivered}_2184x1472_Bin1x1_Temp-10C_ExpTime3s.fit", EXPTIME=3.0)
    assert flat.like.filter == delivered
    assert why_not(light(FILTER=taken), "flat", flat) == [("filter", Outcome.FAIL)]
    assert chosen(light(FILTER=delivered), "flat", [flat]) == flat.id


def test_every_exposure_of_a_mixed_night_has_its_own_dark():
    darks = [built("Dark Frame", f"dark{one}", EXPTIME=float(one)) for one in (60, 120, 300, 600)]
    for one in (60, 120, 300, 600):
        found = light(EXPTIME=float(one), name=f"M51-{one}.fit")
        assert chosen(found, "dark", darks) == f"dark{one}"
        assert judge(found, "dark", darks, RULES).tier == "same exposure, within 7 days"


def test_the_exposure_is_looked_at_before_the_nearest_dark_is_taken():
    near = built("Dark Frame", "near", EXPTIME=3.0, DATE_OBS="2021-03-05T09:00:00")
    fitting = built("Dark Frame", "fitting", DATE_OBS="2021-01-05T09:00:00")
    assert chosen(light(), "dark", [near, fitting]) == "fitting"
    assert why_not(light(), "dark", near) == [("exposure_s", Outcome.FAIL)]


def test_a_dark_shorter_than_the_light_is_used_only_without_its_bias():
    biased = master("Dark", "Master_Dark_1_2184x1472_Bin1x1_Temp-10C_ExpTime200s.fit", EXPTIME=200.0, CALSTAT="M")
    clean = master("Dark", "Master_Dark_2_2184x1472_Bin1x1_Temp-10C_ExpTime200s.fit", EXPTIME=200.0, CALSTAT="BM")
    assert (biased.bias_included, clean.bias_included) == (True, False)
    assert chosen(light(), "dark", [biased, clean]) == clean.id
    note = judge(light(), "dark", [biased], RULES).candidates[0].criteria[-2].note
    assert note == "not scaled: its bias is still in it"


def test_two_sensors_under_one_name_are_told_apart_by_their_size():
    older = built("Flat Field", "2021", (4176, 6248), FILTER="Blue", EXPTIME=3.0)
    newer = built("Flat Field", "2023", (3284, 4944), FILTER="Blue", EXPTIME=3.0)
    assert older.like.instrument == newer.like.instrument
    assert chosen(light(shape=(4176, 6248)), "flat", [older, newer]) == "2021"
    assert chosen(light(shape=(3284, 4944)), "flat", [older, newer]) == "2023"
    assert why_not(light(shape=(3284, 4944)), "flat", older) == [("size", Outcome.FAIL)]


@pytest.mark.parametrize("date", ["1970-01-01T00:00:00", "1970-01-01", None])
def test_a_calibration_of_a_clock_that_was_never_set_is_of_no_time(date):
    dark = master("Dark", "Master_Dark_1_2184x1472_Bin1x1_Temp-10C_ExpTime300s.fit", DATE_OBS=date)
    assert dark.like.t_min is None
    need = judge(light(), "dark", [dark], RULES)
    assert (need.chosen, need.candidates[0].outcome) == (None, Outcome.UNKNOWN)
    assert need.relaxation.endswith("age_days unknown (the calibration's time is not known)")
    # An observer who knows when it was good can say so.
    vouched = Candidate(id=dark.id, origin="frame", like=dark.like, bias_included=True, valid_from=59000.0)
    assert chosen(light(), "dark", [vouched]) == dark.id


def test_darks_of_minus_15_are_not_for_lights_of_minus_10():
    cold = master("Dark", "Master_Dark_1_2184x1472_Bin1x1_Temp-15C_ExpTime300s.fit", SET_TEMP=-15.0, CCD_TEMP=-15.0)
    assert why_not(light(), "dark", cold) == [("set_temperature_c", Outcome.FAIL)]
    need = judge(light(), "dark", [cold], RULES)
    assert [(one.name, one.wanted, one.found, one.tolerance) for one in need.relax] == [
        ("set_temperature_c", -10.0, -15.0, 5.0)
    ]
    # The header says nothing; the name does.
    named = master("Dark", "Master_Dark_1_2184x1472_Bin1x1_Temp-15C_ExpTime300s.fit", SET_TEMP=None, CCD_TEMP=None)
    assert why_not(light(), "dark", named) == [("set_temperature_c", Outcome.FAIL)]


def test_darks_of_two_years_ago_are_refused_with_their_age():
    old = master("Dark", "Master_Dark_1_2184x1472_Bin1x1_Temp-10C_ExpTime300s.fit", DATE_OBS="2019-06-05T10:00:00")
    need = judge(light(), "dark", [old], RULES)
    assert need.chosen is None
    assert [(one.name, round(one.tolerance)) for one in need.relax] == [("age_days", 639)]


def test_frames_with_a_closed_shutter_match_though_they_have_no_filter():
    some = [built("Bias Frame", "bias", EXPTIME=0.0), built("Dark Frame", "dark")]
    assert [chosen(light(), kind, some) for kind in ("bias", "dark")] == ["bias", "dark"]


def test_a_dark_of_flats_is_no_flat():
    both = built("flatdark", "of-flats", FILTER="Blue", EXPTIME=3.0)
    assert kind_of(both) == "dark"
    assert chosen(light(), "flat", [both]) is None
    assert chosen(frame({**LIGHT, "IMAGETYP": "Flat Field", "EXPTIME": 3.0}), "dark", [both]) == "of-flats"


def test_the_index_in_a_masters_name_is_not_its_binning():
    flat = master("Flat", "Master_Flat_Blue 2_Blue_2184x1472_Bin1x1_Temp-10C_ExpTime3s.fit", FILTER="Blue", EXPTIME=3.0)
    bias = master("Bias", "Master_Bias_2_2184x1472_Bin1x1_Temp-10C_ExpTime0ms.fit", EXPTIME=0.0)
    assert (flat.like.binning, bias.like.binning) == ("1x1", "1x1")
    assert chosen(light(), "bias", [bias]) == bias.id


def test_a_frame_of_another_telescope_with_the_same_camera_is_of_another_camera():
    other = built("Flat Field", "other", FILTER="Blue", EXPTIME=3.0)
    elsewhere = light(TELESCOP="iTelescope 24", name="T24/raw-T24-observer-M51-20210305-020000-Blue-BIN1-W-300-001.fit")
    assert why_not(elsewhere, "flat", other) == [("telescope", Outcome.FAIL)]


def test_a_raw_dark_without_gain_is_not_for_a_light_that_has_one():
    dark = built("Dark Frame", "dark", GAIN=None)
    with_gain = light(GAIN=100, INSTRUME="FLI")
    assert with_gain.gain == 100
    assert why_not(with_gain, "dark", dark) == [("gain", Outcome.UNKNOWN)]
    delivered = master("Dark", "Master_Dark_1_2184x1472_Bin1x1_Temp-10C_ExpTime300s.fit", GAIN=None)
    assert why_not(with_gain, "dark", delivered) == []


@pytest.mark.parametrize(
    ("cards", "name", "source"),
    [
        ({"CALSTAT": "BDF"}, None, "card CALSTAT"),
        ({"INSTRUME": "rewritten"}, "T09/calibrated-T09-observer-NGC_253-20200813-023100-Red-BIN1-W-060-001.fit", "file name"),
        ({"PEDESTAL": -100}, None, "card PEDESTAL"),
        ({"BUNIT": "electron"}, None, "card BUNIT"),
        ({"PEDESTAL": 100}, "Calibrated-iTelescope-Whale_Galaxy_NGC_55-900s-Red-5.fits", "file name"),
    ],
)  # fmt: skip
def test_what_its_vendor_calibrated_is_never_calibrated_again(cards, name, source):
    found = frame({**LIGHT, **cards}, name or LIGHT_NAME.format(filter="Blue"))
    assert {applied_need(found, kind).applied for kind in ("bias", "dark", "flat")} == {source}


def test_a_raw_light_says_with_its_pedestal_of_0_that_nothing_was_done():
    found = light(PEDESTAL=0, BUNIT="adu", CALSTAT=None)
    assert {applied_need(found, kind) for kind in ("bias", "dark", "flat")} == {None}


def test_a_light_of_which_only_the_bias_was_removed_still_needs_the_rest():
    found = light(CALSTAT="B")
    assert [bool(applied_need(found, kind)) for kind in ("bias", "dark", "flat")] == [True, False, False]
