"""Which frames of a session make one master: alike, not too many, and flats long enough for the shutter."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from calibrations import NOON, RULES, SCIENCE
from hypothesis import given, settings
from hypothesis import strategies as st

from avcd.association import Rules, at_most, coherent, flat_is_too_short
from avcd.frame import ImageType

DARK = replace(SCIENCE, image_type=ImageType.DARK)


def darks(*temperatures, **changes):
    return [
        replace(DARK, id=f"{number:03d}", ccd_temperature_c=one, set_temperature_c=None, t_min=NOON + number, **changes)
        for number, one in enumerate(temperatures)
    ]


def temperatures(parts):
    return [[one.ccd_temperature_c for one in part] for part in parts]


@pytest.mark.parametrize(
    ("taken", "expected"),
    [
        ([], []),
        ([-20.0, -20.5, -19.5], [[-20.0, -20.5, -19.5]]),
        ([-20.0, -21.1], [[-20.0], [-21.1]]),
        ([-20.1, -19.1], [[-20.1, -19.1]]),  # a difference of 1.0, whatever a computer makes of it
        # Warming up at first: the fullest part is kept whole, not cut at the warm end of a cold one.
        ([-18.2, -19.1, -19.9, -20.0, -20.0, -20.1], [[-18.2], [-19.1, -19.9, -20.0, -20.0, -20.1]]),
        ([-20.0, -19.0, -18.0], [[-20.0, -19.0], [-18.0]]),  # as many either way: the colder
        ([None, None], [[None, None]]),
        ([None, -20.0, None, -20.1], [[None, None], [-20.0, -20.1]]),
    ],
)
def test_a_session_is_divided_where_temperatures_differ(taken, expected):
    assert temperatures(coherent(darks(*taken), RULES)) == expected


def test_a_set_point_stands_in_for_what_was_not_measured():
    some = [*darks(-20.2), *[replace(DARK, id="x", ccd_temperature_c=None, set_temperature_c=one, t_min=NOON + 9) for one in (-20.0, -25.0)]]  # fmt: skip
    assert [len(one) for one in coherent(some, RULES)] == [2, 1]


def test_sizes_never_mix_and_flats_are_not_divided_by_temperature():
    small = darks(-20.0, -20.0, naxis1=50)
    assert [len(one) for one in coherent([*small, *darks(-20.0)], RULES)] in ([1, 2], [2, 1])
    flats = darks(-20.0, 5.0, image_type=ImageType.FLAT)
    assert len(coherent(flats, RULES)) == 1


@settings(deadline=None)
@given(st.lists(st.sampled_from([None, -20.0, -19.6, -19.0, -18.5, -17.0, 3.0]), max_size=25), st.randoms())
def test_the_parts_hold_every_frame_once_whatever_the_order(taken, chance):
    some = darks(*taken)
    parts = coherent(some, RULES)
    assert sorted(one.id for part in parts for one in part) == [one.id for one in some]
    for part in parts:
        known = [one.ccd_temperature_c for one in part]
        assert None not in known or set(known) == {None}
        assert None in known or max(known) - min(known) <= 1.0
    shuffled = list(some)
    chance.shuffle(shuffled)
    assert coherent(shuffled, RULES) == parts
    # The fullest part is as full as any could be.
    windows = [sum(one is not None and low <= one <= low + 1 for one in taken) for low in taken if low is not None]
    assert max((len(one) for one in parts if one[0].ccd_temperature_c is not None), default=0) == max(
        windows, default=0
    )


@settings(deadline=None)
@given(st.integers(0, 200), st.integers(1, 70), st.randoms())
def test_of_many_frames_some_are_taken_evenly(count, number, chance):
    some = darks(*[-20.0] * count)
    shuffled = list(some)
    chance.shuffle(shuffled)
    found = at_most(shuffled, number)
    assert found == at_most(some, number)
    places = [int(one.id) for one in found]
    assert len(places) == len(set(places)) == min(count, number)
    assert places == sorted(places)
    if count > number > 1:
        assert (places[0], places[-1]) == (0, count - 1)
        gaps = {later - earlier for earlier, later in pairwise(places)}
        assert max(gaps) - min(gaps) <= 1


def test_one_of_many_is_the_middle_one_and_none_is_no_number():
    assert [one.id for one in at_most(darks(*[-20.0] * 9), 1)] == ["004"]
    with pytest.raises(ValueError, match="at least one"):
        at_most([], 0)


def test_a_flat_too_short_for_the_shutter_is_named():
    rules = Rules(instrument={"FLI*": {"flat": {"shortest_exposure_s": 2.0}}})
    flat = replace(SCIENCE, image_type=ImageType.FLAT, exposure_s=1.5)
    assert flat_is_too_short(flat, rules) == "exposed for 1.5 s, of at least 2 s for this camera's shutter"
    assert flat_is_too_short(replace(flat, exposure_s=2.0), rules) == ""
    assert flat_is_too_short(replace(flat, exposure_s=None), rules) == ""
    assert flat_is_too_short(replace(flat, instrument="QHY600M"), rules) == ""
    assert flat_is_too_short(flat, RULES) == ""
