"""Which calibration fits: held against a second, plain statement of the rules, and against rearranged facts."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avcd.association import judge, load_rules
from avcd.errors import ConfigError
from avcd.frame import Candidate, Frame, ImageType, Outcome

RULES = load_rules()
SCIENCE = Frame(
    id="science", image_type=ImageType.SCIENCE, telescope="T20", instrument="FLI", binning="1x1", naxis1=100, naxis2=80,
    window="0,0", exposure_s=60.0, set_temperature_c=-20.0, ccd_temperature_c=-20.1, gain=1.0, offset=10.0,
    readout_mode="slow", filter="r", t_min=61000.0, night="2025-11-21",
)  # fmt: skip
KINDS = {"bias": ImageType.BIAS, "dark": ImageType.DARK, "flat": ImageType.FLAT}


def candidate(name: str, kind: str = "dark", *, origin: str = "product", bias_included: bool | None = False, **changes):
    values = {"id": f"like-{name}", "image_type": KINDS[kind], "t_min": 60999.5, "night": "2025-11-20", **changes}
    if kind == "bias":
        values.setdefault("exposure_s", 0.0)
    return Candidate(id=name, origin=origin, like=replace(SCIENCE, **values), bias_included=bias_included)


def outcome_of(kind: str, **changes) -> tuple[Outcome, list[str]]:
    verdict = judge(SCIENCE, kind, [candidate("one", kind, **changes)], RULES).candidates[0]
    return verdict.outcome, [one.name for one in verdict.criteria if one.outcome is not Outcome.PASS]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("changes", "criterion"),
    [
        ({"telescope": "T21"}, "telescope"),
        ({"instrument": "QHY"}, "instrument"),
        ({"naxis1": 101}, "size"),
        ({"window": "5,0"}, "window"),
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
    assert need.relaxation == "nearest is near: set_temperature_c -21.0 instead of -20.0 (tolerance 0.5)"
    assert judge(SCIENCE, "flat", [], RULES).relaxation == "there is no flat for this camera"


def plainly(frame: Frame, one: Candidate) -> tuple[int, float, str] | None:
    """A dark's rank by the rules as the page for observers tells them; None where it does not serve."""
    like = one.like
    for name in ("telescope", "instrument", "binning", "naxis1", "readout_mode"):
        if getattr(frame, name) is not None and getattr(frame, name) != getattr(like, name):
            return None
    if abs(frame.set_temperature_c - like.set_temperature_c) > 0.5:
        return None
    days = abs(frame.t_min - like.t_min)
    if days > 90:
        return None
    tier = 0 if days <= 7 else 1 if days <= 30 else 2
    if abs(frame.exposure_s - like.exposure_s) > max(0.1, 0.01 * frame.exposure_s):
        if one.bias_included is not False or not 0.5 <= frame.exposure_s / like.exposure_s <= 2:
            return None
        tier += 10
    return tier, days, one.id


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


@settings(max_examples=300, deadline=None)
@given(st.lists(DARKS, max_size=12, unique_by=lambda one: one.id), st.randoms(use_true_random=False))
def test_the_choice_is_that_of_the_plain_rules_whatever_the_order(candidates, chance):
    ranked = sorted(rank for one in candidates if (rank := plainly(SCIENCE, one)) is not None)
    need = judge(SCIENCE, "dark", candidates, RULES)
    assert need.chosen == (ranked[0][2] if ranked else None)
    serving = {one.candidate_id for one in need.candidates if one.outcome is Outcome.PASS}
    assert serving == {rank[2] for rank in ranked}
    shuffled = list(candidates)
    chance.shuffle(shuffled)
    assert judge(SCIENCE, "dark", shuffled, RULES) == need


@settings(max_examples=100, deadline=None)
@given(st.lists(DARKS, min_size=1, max_size=8, unique_by=lambda one: one.id))
def test_one_more_candidate_that_does_not_serve_changes_nothing(candidates):
    need = judge(SCIENCE, "dark", candidates, RULES)
    more = judge(SCIENCE, "dark", [*candidates, candidate("zzz", telescope="T99")], RULES)
    assert more.chosen == need.chosen
    assert len(more.candidates) == len(candidates) + 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[age]\ndark_days = [30.0, 7.0]\n", "never reached"),
        ("[scaling]\nlowest_ratio = 3.0\n", "no dark could ever be scaled"),
        ("[temperature]\nset_point = 1.0\n", "set_point"),
        ("[exposure\n", "not valid TOML"),
    ],
)
def test_rules_that_make_no_sense_are_refused_by_name(tmp_path, text, words):
    (tmp_path / "match.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=words) as error:
        load_rules(tmp_path)
    assert "match.toml" in str(error.value)


def test_a_homes_rules_override_key_by_key_and_camera_by_camera(tmp_path):
    text = '[temperature]\nset_point_c = 2.0\n[instrument."QHY".temperature]\nset_point_c = 5.0\n'
    (tmp_path / "match.toml").write_text(text, encoding="utf-8")
    rules = load_rules(tmp_path)
    assert rules.digest != RULES.digest
    warm = candidate("warm", set_temperature_c=-22.0)
    assert judge(SCIENCE, "dark", [warm], rules).chosen == "warm"
    assert judge(SCIENCE, "dark", [warm], RULES).chosen is None
    other = replace(SCIENCE, instrument="QHY")
    warmer = candidate("warmer", instrument="QHY", set_temperature_c=-25.0)
    assert judge(other, "dark", [warmer], rules).chosen == "warmer"
    assert rules.default.temperature.measured_c == RULES.default.temperature.measured_c
