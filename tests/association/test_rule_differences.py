"""Two rule sets compared: every need for which another master is chosen, and no other."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from calibrations import KINDS, NOON, RULES, SCIENCE, any_candidate, any_frame, candidate

from avcd.association import NEEDS, Pool, Rules, differences, judge, kind_of
from avcd.frame import ImageType

STRICT = Rules(default={"age": {"dark_days": [1], "bias_days": [5], "flat_days": [2]}})
LAX = Rules(default={"exposure": {"absolute_s": 31}, "temperature": {"set_point_c": 6}, "age": {"flat_days": [100]}})


def test_a_stricter_rule_set_takes_away_and_the_other_way_round_gives():
    some = [candidate("dark", t_min=NOON - 3), candidate("bias", "bias", t_min=NOON - 3)]
    (lost,) = differences([SCIENCE], some, RULES, STRICT)
    assert (lost.frame_id, lost.kind, lost.before.candidate.id, lost.after) == ("science", "dark", "dark", None)
    (gained,) = differences([SCIENCE], some, STRICT, RULES)
    assert (gained.before, gained.after.candidate.id) == (None, "dark")


def test_what_was_applied_before_delivery_and_what_needs_nothing_is_passed_over():
    some = [candidate("dark", t_min=NOON - 3)]
    frames = [replace(SCIENCE, calibration=frozenset({"dark"})), replace(SCIENCE, image_type=ImageType.BIAS)]
    assert list(differences(frames, some, RULES, STRICT)) == []


@pytest.mark.parametrize("new", [STRICT, LAX], ids=["strict", "lax"])
def test_they_are_those_of_judging_everything(new):
    chance = random.Random(7)
    found, expected = {}, {}
    for number in range(150):
        frame = replace(any_frame(chance, 0.03), id=f"frame-{number}")
        some = [any_candidate(chance, one, chance.choice(list(KINDS))) for one in range(12)]
        found |= {(one.frame_id, one.kind): one for one in differences([frame], Pool(some), RULES, new)}
        for kind in NEEDS[frame.image_type]:
            of_kind = [one for one in some if kind_of(one) == kind]
            before, after = (judge(frame, kind, of_kind, rules).chosen for rules in (RULES, new))
            if before != after:
                expected[frame.id, kind] = (before, after)
    ids = {key: tuple(one and one.candidate.id for one in (pair.before, pair.after)) for key, pair in found.items()}
    assert ids == expected
    assert len(expected) > 15
    # What is looser takes nothing away; it prefers others.
    assert new is STRICT or any(before and after for before, after in expected.values())
