"""What a refusal would take: really the smallest change of the rules, found by trying, and it really suffices."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from calibrations import NOON, RULES, SCIENCE, any_candidate, any_frame, candidate
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from avcd.association import Rules, judge
from avcd.frame import ImageType, Outcome

PLACES = {
    "set_temperature_c": ("temperature", "set_point_c"),
    "ccd_temperature_c": ("temperature", "measured_c"),
    "exposure_s": ("exposure", "absolute_s"),
    "scaling.highest_ratio": ("scaling", "highest_ratio"),
    "scaling.lowest_ratio": ("scaling", "lowest_ratio"),
}
PLAIN = Rules()  # no instrument is another


def with_tolerances(kind: str, needed: dict[str, float]) -> Rules:
    """The default rules with other tolerances; that of age is the last tier's."""
    table = PLAIN.default.model_dump()
    for name, tolerance in needed.items():
        if name == "age_days":
            tiers = table["age"][f"{kind}_days"]
            table["age"][f"{kind}_days"] = (*tiers[:-1], tolerance)
        else:
            part, key = PLACES[name]
            table[part][key] = tolerance
    return Rules(default=table)


def now(kind: str, name: str, frame) -> float:
    rules = PLAIN.default
    if name == "age_days":
        return rules.age.tiers(kind)[-1]
    if name == "exposure_s":
        return rules.exposure.tolerance_s(frame.exposure_s)
    part, key = PLACES[name]
    return getattr(getattr(rules, part), key)


def wider(name: str, limit: float, excess: float) -> float:
    return limit / (1 + excess) if name == "scaling.lowest_ratio" else limit * (1 + excess)


def least(kind: str, frame, one, name: str, others: dict[str, float]) -> float | None:
    """By trying: by how much one tolerance must be widened, the others being wide enough; None where it is no use."""

    def suffices(excess: float) -> bool:
        rules = with_tolerances(kind, {**others, name: wider(name, now(kind, name, frame), excess)})
        return judge(frame, kind, [one], rules).chosen is not None

    if not suffices(1e9):
        return None
    low, high = -1e-9, 1e9
    if suffices(0.0):
        return 0.0
    for _ in range(120):
        middle = (low + high) / 2
        low, high = (low, middle) if suffices(middle) else (middle, high)
    return high


def smallest_by_trying(kind: str, frame, one) -> float | None:
    """The sum of what all tolerances must be widened by; of two ways to the exposure the smaller; None: nothing helps."""
    wide = {
        name: wider(name, now(kind, name, frame), 1e9)
        for name in ("set_temperature_c", "ccd_temperature_c", "age_days")
    }
    total = 0.0
    for name in wide:
        if name == "set_temperature_c" and kind == "flat":
            continue
        found = least(kind, frame, one, name, {**wide, "exposure_s": 1e12} if kind == "dark" else wide)
        if found is None:
            return None
        total += found
    if kind == "dark":
        ways = [
            least(kind, frame, one, name, wide)
            for name in ("exposure_s", "scaling.highest_ratio", "scaling.lowest_ratio")
        ]
        known = [one for one in ways if one is not None]
        if not known:
            return None
        total += min(known)
    return total


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(["bias", "dark", "flat"]), st.integers(1, 6))
def test_no_smaller_relaxation_would_do(root, kind, number):
    chance = random.Random(root)
    frame = replace(any_frame(chance, 0.02), exposure_s=chance.choice([20.0, 60.0, 90.0]))
    some = [replace(any_candidate(chance, one, kind, 0.15), valid_from=None, valid_until=None) for one in range(number)]
    need = judge(frame, kind, some, PLAIN)
    assume(need.chosen is None)
    tried = {one.id: found for one in some if (found := smallest_by_trying(kind, frame, one)) is not None}
    helpless = [one for one in need.relax if one.tolerance is None]
    assert bool(helpless) == (not tried)
    if not tried:
        return
    nearest = need.candidates[0]
    assert nearest.relaxation == pytest.approx(min(tried.values()), rel=1e-6, abs=1e-8)
    assert tried[nearest.candidate_id] == pytest.approx(min(tried.values()), rel=1e-6, abs=1e-8)
    # What is said to be needed suffices, and a little less does not.
    needed = {one.name: one.tolerance for one in need.relax}
    assert judge(frame, kind, some, with_tolerances(kind, needed)).chosen is not None
    for name, tolerance in needed.items():
        less = tolerance * (1 + 1e-6) if name == "scaling.lowest_ratio" else tolerance * (1 - 1e-6)
        only = next(one for one in some if one.id == nearest.candidate_id)
        assert judge(frame, kind, [only], with_tolerances(kind, {**needed, name: less})).chosen is None


def test_what_no_rule_could_mend_comes_after_what_one_could():
    far = candidate("far", set_temperature_c=20.0, t_min=NOON - 1000)
    unknown = candidate("unknown", gain=None)
    other = candidate("other", binning="2x2")
    need = judge(SCIENCE, "dark", [other, unknown, far], RULES)
    assert [one.candidate_id for one in need.candidates] == ["far", "unknown", "other"]
    assert [(one.name, one.wanted, one.found, one.tolerance) for one in need.relax] == [
        ("set_temperature_c", -20.0, 20.0, 40.0),
        ("age_days", 0.0, 1000.0, 1000.0),
    ]
    need = judge(SCIENCE, "dark", [other, unknown], RULES)
    assert [(one.name, one.tolerance, one.outcome) for one in need.relax] == [("gain", None, Outcome.UNKNOWN)]
    assert need.relaxation == "nearest is unknown: gain unknown (the calibration does not record it)"
    need = judge(SCIENCE, "dark", [other], RULES)
    assert need.relax[0].note == "no tolerance would help"


def test_a_ratio_just_out_of_reach_is_the_smaller_change():
    need = judge(SCIENCE, "dark", [candidate("short", exposure_s=29.0)], RULES)
    (relaxed,) = need.relax
    assert (relaxed.name, relaxed.wanted) == ("scaling.highest_ratio", 2.0)
    assert relaxed.tolerance == pytest.approx(60 / 29)
    assert need.relaxation == (
        "nearest is short: exposure_s 29.0 instead of 60.0 (scaling.highest_ratio 2, needed 2.06897),"
        " not scaled: by 2.07, which is not between 0.5 and 2"
    )
    flat = replace(SCIENCE, image_type=ImageType.FLAT)
    assert judge(flat, "dark", [candidate("short", exposure_s=29.0)], RULES).relax[0].name == "exposure_s"


def test_an_observers_interval_is_no_tolerance():
    need = judge(SCIENCE, "dark", [candidate("ended", t_min=NOON - 3, valid=(None, NOON - 1))], RULES)
    assert [(one.name, one.tolerance) for one in need.relax] == [("age_days", None)]
    assert "until MJD 60999" in need.relaxation


def test_a_match_has_nothing_to_relax():
    assert judge(SCIENCE, "dark", [candidate("one")], RULES).relax == ()
