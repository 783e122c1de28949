"""Every verdict and every choice is that of a second, plain statement of the rules, whatever the order of the facts."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from calibrations import KINDS, RULES, any_candidate, any_frame
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracle import judge_plainly

from avcd.association import Pool, judge, kind_of
from avcd.frame import Candidate, Frame

ROOT = st.integers(0, 2**32)


def agree(frame, kind, candidates, pool, chance):
    """The three agree on a frame; returns what was chosen and how the verdicts came out."""
    own = RULES.for_frame(frame)
    need = judge(frame, kind, candidates, RULES)
    plain = {one.id: judge_plainly(frame, kind, one, own) for one in candidates}
    expected = {identity: outcome for identity, (outcome, _) in plain.items()}
    assert {one.candidate_id: one.outcome.value for one in need.candidates} == expected
    places = [place for _, place in plain.values() if place]
    assert need.chosen == (min(places)[-1] if places else None)
    choice = pool.choose(frame, kind, RULES)
    assert (choice and choice.candidate.id) == need.chosen
    if choice:
        best = need.candidates[0]
        assert (choice.tier, choice.tier_rank, choice.days) == (best.tier, best.tier_rank, best.days)
    shuffled = list(candidates)
    chance.shuffle(shuffled)
    assert judge(frame, kind, shuffled, RULES) == need
    return need.chosen, Counter(expected.values())


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ROOT, st.integers(0, 40), st.sampled_from([0.0, 0.02, 0.06, 0.3]))
def test_small_catalogues(root, number, oddness):
    chance = random.Random(root)
    scaled = chance.random() < 0.4
    kinds = [chance.choice(list(KINDS)) for _ in range(number)]
    candidates = [any_candidate(chance, one, kind, oddness, only_scaled=scaled) for one, kind in enumerate(kinds)]
    pool = Pool(candidates)
    for kind in KINDS:
        agree(any_frame(chance, oddness), kind, [one for one in candidates if kind_of(one) == kind], pool, chance)


@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ROOT)
def test_catalogues_of_thousands(root):
    chance = random.Random(root)
    candidates = [any_candidate(chance, one, chance.choice(list(KINDS))) for one in range(3000)]
    pool = Pool()
    for one in candidates:
        pool.add(one)
    assert len(pool) == 3000
    outcomes, chosen = Counter(), set()
    for kind in KINDS:
        some = [one for one in candidates if kind_of(one) == kind]
        for _ in range(2):
            winner, found = agree(any_frame(chance, 0.02), kind, some, pool, chance)
            outcomes += found
            chosen.add(winner)
    assert min(outcomes["pass"], outcomes["fail"], outcomes["unknown"]) > 0


@settings(max_examples=40, deadline=None)
@given(ROOT)
def test_a_choice_is_the_same_after_many_others(root):
    """What is remembered of one frame's settings does not lead another astray, nor does a master that comes later."""
    chance = random.Random(root)
    candidates = [any_candidate(chance, one, chance.choice(list(KINDS))) for one in range(30)]
    frames = [any_frame(chance, 0.3) for _ in range(8)]
    pool = Pool(candidates[:15])
    for later in [None, *candidates[15:]]:
        if later:
            pool.add(later)
        fresh = Pool(candidates[: len(pool)])
        for frame in frames:
            for kind in KINDS:
                assert pool.choose(frame, kind, RULES) == fresh.choose(frame, kind, RULES)


def test_the_catalogues_have_what_is_hard():
    """Ties, intervals, scaled darks and unknown settings decide often enough that a mistake there would be noticed."""
    chance = random.Random(3)
    seen = Counter()
    for _ in range(800):
        candidates = [any_candidate(chance, one, "dark") for one in range(8)]
        need = judge(any_frame(chance), "dark", candidates, RULES)
        best = [one for one in need.candidates if need.chosen and one.outcome == "pass"]
        seen["chosen"] += bool(best)
        seen["interval"] += bool(best) and best[0].tier_rank % 100 == 0
        seen["scaled"] += bool(best) and best[0].tier_rank >= 100
        seen["tie"] += len(best) > 1 and (best[0].tier_rank, best[0].days) == (best[1].tier_rank, best[1].days)
        seen["undated"] += bool(best) and best[0].days is None
        seen["unknown"] += any(one.outcome == "unknown" for one in need.candidates)
    assert {name: count for name, count in seen.items() if count < 5} == {}, seen


def test_what_is_no_calibration_is_refused():
    with pytest.raises(ValueError, match="is none of"):
        Pool().choose(any_frame(random.Random(1)), "arc", RULES)
    with pytest.raises(ValueError, match="no calibration"):
        Pool([Candidate(id="x", origin="frame", like=Frame(id="x"))])
