"""Known shifts and rotations come back, by whatever way; what does not belong together is refused."""

from __future__ import annotations

import numpy as np
import pytest
from fields import Sky, seen, world

from avcd.compose.registration import register

MOVES = [((0.0, 0.0), 0.0), ((7.3, -4.6), 0.0), ((-12.4, 9.1), 2.5), ((3.0, 5.0), 180.0)]


def error_px(found, sky, shift, turn_deg) -> float:
    """How far stars land from where they are."""
    x, y = found.to_frame(*sky.places().T)
    return float(np.abs(np.column_stack([x, y]) - sky.places(shift, turn_deg)).max())


@pytest.mark.parametrize(("shift", "turn_deg"), MOVES)
def test_on_world_coordinates(shift, turn_deg):
    sky = Sky()
    base, here = sky.frame()
    image, there = sky.frame(shift, turn_deg, seed=1)
    _, found = register([seen(base, here, world()), seen(image, there, world(shift, turn_deg))], 0)
    assert found.method == "wcs"
    assert error_px(found, sky, shift, turn_deg) < 0.1
    assert found.matched > 10
    assert not found.warning


@pytest.mark.parametrize(("shift", "turn_deg"), MOVES)
def test_on_stars_alone(shift, turn_deg):
    sky = Sky()
    base, here = sky.frame()
    image, there = sky.frame(shift, turn_deg, seed=1)
    jitter = np.random.default_rng(2).normal(0, 0.1, there.shape)
    first, found = register([seen(base, here), seen(image, there + jitter)], 0)
    assert first.method == "identity"
    assert found.method == "stars"
    assert error_px(found, sky, shift, turn_deg) < 0.3


@pytest.mark.parametrize("shift", [(0.0, 0.0), (6.4, -3.7), (-15.2, 11.0)])
def test_by_correlation_with_a_warning_where_there_are_no_star_lists(shift):
    sky = Sky()
    base, _ = sky.frame()
    image, _ = sky.frame(shift, seed=1)
    pattern = np.random.default_rng(5).uniform(0, 1, base.shape) > 0.999  # hot pixels stand still
    _, found = register([seen(base + 5000 * pattern), seen(image + 5000 * pattern)], 0)
    assert found.method == "correlation"
    assert error_px(found, sky, shift, 0.0) < 0.5
    assert "correlation alone" in found.warning


def test_what_shows_another_sky_fails_and_says_why():
    base, here = Sky(seed=1).frame()
    image, there = Sky(seed=2).frame(seed=1)
    empty, none = Sky(0).frame(seed=3)
    found = register([seen(base, here), seen(image, there), seen(empty, none)], 0)
    assert [one.method for one in found] == ["identity", "failed", "failed"]
    assert all("no matching stars" in one.warning for one in found[1:])


def test_world_coordinates_that_the_stars_contradict_are_not_followed():
    sky = Sky()
    base, here = sky.frame()
    image, there = sky.frame((10.0, 6.0), seed=1)
    _, found = register([seen(base, here, world()), seen(image, there, world((40.0, -30.0)))], 0)
    assert found.method == "stars"
    assert "contradict" in found.warning
    assert error_px(found, sky, (10.0, 6.0), 0.0) < 0.2


def test_the_same_frames_give_the_same_registration():
    sky = Sky()
    inputs = [seen(*sky.frame()), seen(*sky.frame((4.2, 1.1), 1.0, seed=1))]
    first, again = register(inputs, 0)[1], register(inputs, 0)[1]
    np.testing.assert_array_equal(first.matrix, again.matrix)
