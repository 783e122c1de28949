"""Which calibration fits: every criterion by itself, what is not known, and how the winner is found."""

from __future__ import annotations

from dataclasses import replace

import pytest
from calibrations import KINDS, NOON, RULES, SCIENCE, candidate
from hypothesis import given, settings
from hypothesis import strategies as st

from avcd.association import Pool, applied_need, judge
from avcd.frame import ImageType, Outcome


def outcome_of(kind: str, **changes) -> tuple[Outcome, list[str]]:
    frame = replace(SCIENCE, detector="ccd1") if "detector" in changes else SCIENCE
    verdict = judge(frame, kind, [candidate("one", kind, **changes)], RULES).candidates[0]
    return verdict.outcome, [one.name for one in verdict.criteria if one.outcome is not Outcome.PASS]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("changes", "criterion"),
    [
        ({"telescope": "T21"}, "telescope"),
        ({"instrument": "QHY"}, "instrument"),
        ({"naxis1": 101}, "size"),
        ({"window": "5,0"}, "window"),
        ({"detector": "ccd2"}, "detector"),
        ({"binning": "2x2"}, "binning"),
        ({"gain": 2.0}, "gain"),
        ({"offset": 11.0}, "offset"),
        ({"readout_mode": "fast"}, "readout_mode"),
        ({"t_min": 61000.0 - 91}, "age_days"),
        ({"t_min": 61000.0 + 91}, "age_days"),
    ],
)
def test_one_difference_is_one_reason(kind, changes, criterion):
    assert outcome_of(kind, **changes) == (Outcome.FAIL, [criterion])


@pytest.mark.parametrize("kind", KINDS)
def test_the_like_of_a_frame_serves_it(kind):
    assert outcome_of(kind) == (Outcome.PASS, [])


@pytest.mark.parametrize(
    ("kind", "changes", "expected"),
    [
        ("dark", {"set_temperature_c": -20.5}, Outcome.PASS),
        ("dark", {"set_temperature_c": -20.6}, Outcome.FAIL),
        ("bias", {"set_temperature_c": -20.6}, Outcome.FAIL),
        ("flat", {"set_temperature_c": 5.0}, Outcome.PASS),  # the response does not depend on the temperature
        ("dark", {"set_temperature_c": None, "ccd_temperature_c": -21.1}, Outcome.PASS),  # measured against measured
        ("dark", {"set_temperature_c": None, "ccd_temperature_c": -21.2}, Outcome.FAIL),
        ("dark", {"set_temperature_c": None, "ccd_temperature_c": None}, Outcome.UNKNOWN),
        ("dark", {"exposure_s": 60.6}, Outcome.PASS),
        ("dark", {"exposure_s": 30.0}, Outcome.PASS),  # scaled by two
        ("dark", {"exposure_s": 29.0}, Outcome.FAIL),
        ("dark", {"exposure_s": 120.0}, Outcome.PASS),
        ("dark", {"exposure_s": 121.0}, Outcome.FAIL),
        ("dark", {"exposure_s": 30.0, "bias_included": True}, Outcome.FAIL),
        ("dark", {"exposure_s": 30.0, "bias_included": None}, Outcome.FAIL),
        ("dark", {"exposure_s": 60.0, "bias_included": True}, Outcome.PASS),
        ("dark", {"exposure_s": None}, Outcome.UNKNOWN),
        ("flat", {"filter": "g"}, Outcome.FAIL),
        ("flat", {"exposure_s": 3.0}, Outcome.PASS),
        ("dark", {"filter": "g"}, Outcome.PASS),
        ("flat", {"t_min": 61000.0 - 31}, Outcome.FAIL),
        ("flat", {"filter": None}, Outcome.UNKNOWN),
        ("flat", {"filter": None, "origin": "frame"}, Outcome.UNKNOWN),  # a flat of no filter is nobody's
        ("dark", {"exposure_s": 30.0, "origin": "frame"}, Outcome.PASS),
        ("dark", {"exposure_s": None, "origin": "frame"}, Outcome.UNKNOWN),
        ("dark", {"set_temperature_c": None, "ccd_temperature_c": None, "origin": "frame"}, Outcome.PASS),
        ("bias", {"gain": None}, Outcome.UNKNOWN),
        ("bias", {"gain": None, "origin": "frame"}, Outcome.PASS),  # a delivered master's program may drop a card
        ("bias", {"naxis1": None, "origin": "frame"}, Outcome.UNKNOWN),  # but never its size
        ("bias", {"t_min": None}, Outcome.UNKNOWN),
    ],
)
def test_tolerances_and_what_is_not_known(kind, changes, expected):
    assert outcome_of(kind, **changes)[0] is expected


def test_a_setting_that_neither_side_records_does_not_matter():
    frame = replace(SCIENCE, gain=None, readout_mode=None)
    need = judge(frame, "bias", [candidate("one", "bias", gain=None, readout_mode=None)], RULES)
    assert need.chosen == "one"


def test_darks_of_flats_are_never_scaled():
    flat = replace(SCIENCE, image_type=ImageType.FLAT, exposure_s=30.0)
    need = judge(flat, "dark", [candidate("one", exposure_s=60.0)], RULES)
    assert need.chosen is None
    assert "exposure_s" in need.relaxation


def test_the_best_tier_then_the_nearest_then_the_lower_id():
    names = [
        candidate("scaled-today", exposure_s=90.0, t_min=60999.9),
        candidate("same-old", t_min=61000.0 - 60),
        candidate("same-week", t_min=61000.0 - 5),
        candidate("same-week-later", t_min=61000.0 + 3),
        candidate("same-week-again", t_min=61000.0 - 3),
    ]
    need = judge(SCIENCE, "dark", names, RULES)
    assert need.chosen == "same-week-again"  # as near as -later: the lower id
    order = [one.candidate_id for one in need.candidates]
    assert order == ["same-week-again", "same-week-later", "same-week", "same-old", "scaled-today"]
    assert need.tier == "same exposure, within 7 days"
    flats = [candidate("near", "flat", t_min=60999.9), candidate("night", "flat", t_min=60999.2, night="2025-11-21")]
    assert judge(SCIENCE, "flat", flats, RULES).chosen == "night"


def test_a_refusal_names_the_nearest_and_by_how_much_it_misses():
    far = candidate("far", binning="2x2", set_temperature_c=-10.0)
    near = candidate("near", set_temperature_c=-21.0)
    need = judge(SCIENCE, "dark", [far, near], RULES)
    assert need.chosen is None
    assert need.relaxation == "nearest is near: set_temperature_c -21.0 instead of -20.0 (tolerance 0.5, needed 1)"
    assert judge(SCIENCE, "flat", [], RULES).relaxation == "there is no flat for this camera"


DARKS = st.builds(
    lambda number, telescope, binning, exposure, temperature, day, mode, bias: candidate(
        f"dark-{number:04d}", telescope=telescope, binning=binning, exposure_s=exposure, set_temperature_c=temperature,
        t_min=61000.0 + day, readout_mode=mode, bias_included=bias,
    ),
    number=st.integers(0, 9999),
    telescope=st.sampled_from(["T20", "T20", "T20", "T21"]),
    binning=st.sampled_from(["1x1", "1x1", "1x1", "2x2"]),
    exposure=st.sampled_from([60.0, 60.3, 60.7, 30.0, 20.0, 120.0, 240.0]),
    temperature=st.sampled_from([-20.0, -20.4, -20.6, -19.5, -25.0]),
    day=st.sampled_from([-0.5, 0.5, -6.9, 7.1, -29.9, 31.0, -89.0, 95.0]),
    mode=st.sampled_from(["slow", "slow", "slow", "fast"]),
    bias=st.sampled_from([True, False, None]),
)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(st.lists(DARKS, min_size=1, max_size=8, unique_by=lambda one: one.id))
def test_one_more_candidate_that_does_not_serve_changes_nothing(candidates):
    need = judge(SCIENCE, "dark", candidates, RULES)
    more = judge(SCIENCE, "dark", [*candidates, candidate("zzz", telescope="T99")], RULES)
    assert more.chosen == need.chosen
    assert len(more.candidates) == len(candidates) + 1


def test_a_frame_without_a_filter_is_given_no_flat_of_any():
    flats = [candidate(name, "flat", filter=name) for name in ("B", "V")]
    need = judge(replace(SCIENCE, filter=None), "flat", flats, RULES)
    assert need.chosen is None
    assert need.relaxation == "nearest is B: filter unknown (the frame does not record it)"
    colour_camera = [candidate("colour", "flat", filter=None)]
    assert judge(replace(SCIENCE, filter=None), "flat", colour_camera, RULES).chosen == "colour"


def test_the_verdict_says_which_cards_a_delivered_master_lacks():
    bare = {"gain": None, "offset": None, "set_temperature_c": None, "ccd_temperature_c": None}
    need = judge(SCIENCE, "dark", [candidate("bare", origin="frame", **bare)], RULES)
    assert need.chosen == "bare"
    notes = {one.name: one.note for one in need.candidates[0].criteria if one.note and one.wanted is not None}
    kept_none = "the delivered master kept no card of it"
    assert {name: note for name, note in notes.items() if name != "age_days"} == {
        "gain": kept_none, "offset": kept_none, "ccd_temperature_c": kept_none,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("valid", "outcome"),
    [
        ((NOON - 1, None), Outcome.PASS),
        ((None, NOON + 1), Outcome.PASS),
        ((NOON, NOON + 1), Outcome.PASS),  # its beginning is in it
        ((NOON - 1, NOON), Outcome.FAIL),  # its end is not: two that follow each other never both hold
        ((NOON + 1, None), Outcome.FAIL),
        ((None, NOON - 1), Outcome.FAIL),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("days", [0.1, 700.0, None])
def test_an_interval_decides_whatever_the_age(kind, valid, outcome, days):
    time = None if days is None else NOON - days
    verdict = judge(SCIENCE, kind, [candidate("one", kind, t_min=time, valid=valid)], RULES).candidates[0]
    age = verdict.criteria[-1]
    assert (verdict.outcome, age.name, age.outcome) == (outcome, "age_days", outcome)
    if outcome is Outcome.PASS:
        assert verdict.tier.endswith("valid at this time")
    else:
        assert age.note == "the frame was taken at MJD 61000.0000, when it is not valid"
        assert "MJD" in age.tolerance


def test_a_valid_master_goes_before_the_same_night_and_the_nearest_valid_one_first():
    flats = [
        candidate("tonight", "flat", t_min=NOON, night=SCIENCE.night),
        candidate("old", "flat", t_min=NOON - 700, valid=(NOON - 700, None)),
        candidate("older", "flat", t_min=NOON - 900, valid=(NOON - 900, None)),
        candidate("undated", "flat", t_min=None, valid=(NOON - 900, None)),
    ]
    assert judge(SCIENCE, "flat", flats, RULES).chosen == "old"
    order = [one.candidate_id for one in judge(SCIENCE, "flat", flats, RULES).candidates]
    assert order == ["old", "older", "undated", "tonight"]
    assert Pool(flats).choose(SCIENCE, "flat", RULES).candidate.id == "old"


def test_a_frame_without_a_time_is_served_by_nothing_valid_or_not():
    frame = replace(SCIENCE, t_min=None)
    some = [candidate("a"), candidate("b", valid=(None, NOON))]
    assert {one.outcome for one in judge(frame, "dark", some, RULES).candidates} == {Outcome.UNKNOWN}


def test_what_was_done_before_delivery_is_named_and_nothing_is_chosen():
    calibrated = {"calibration": "card CALSTAT", "calib_level": "card CALSTAT"}
    partly = replace(SCIENCE, calibration=frozenset({"bias", "dark"}), sources=calibrated)
    found = {kind: applied_need(partly, kind) for kind in KINDS}
    assert found["flat"] is None
    assert [(one.chosen, one.applied) for one in (found["bias"], found["dark"])] == [(None, "card CALSTAT")] * 2
    wholly = replace(SCIENCE, calib_level=2, sources={"calib_level": "card BUNIT"})
    assert {applied_need(wholly, kind).applied for kind in KINDS} == {"card BUNIT"}
    assert {applied_need(SCIENCE, kind) for kind in KINDS} == {None}
    assert applied_need(replace(SCIENCE, image_type=ImageType.MASTER_FLAT, calib_level=3), "flat") is None
    with pytest.raises(ValueError, match="is none of"):
        applied_need(SCIENCE, "arc")
