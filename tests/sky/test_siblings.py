"""A solved frame solves the others of its field, however small it is, and never those of another."""

from __future__ import annotations

import numpy as np
import pytest
from pictures import faint_stars
from scenes import sources_of, world

from avcd.frame import Wcs
from avcd.sky.reference import Tycho2
from avcd.sky.siblings import SolvedStars
from avcd.sky.solving import Hint, solve_field

SHAPE = (1024, 1024)
SCALE = 0.35  # a field of six minutes of arc, in which Tycho-2 has hardly a star
STARS = faint_stars(3, 10.0, 20.0, 0.25, 260)


def seen(truth, seed: int, scatter: float = 0.2, lost: float = 0.15):
    rng = np.random.default_rng(seed)
    ra, dec, electrons = STARS
    x, y = truth.all_world2pix(ra, dec, 0)
    here = (x > 0) & (y > 0) & (x < SHAPE[1]) & (y < SHAPE[0]) & (rng.uniform(size=len(x)) > lost)
    brightness = electrons[here] * np.exp(rng.normal(0, 0.2, here.sum()))
    xy = np.column_stack([x[here], y[here]]) + rng.normal(0, scatter, (here.sum(), 2))
    xy = np.vstack([xy, rng.uniform(0, 1024, (len(xy) // 3, 2))])
    brightness = np.concatenate([brightness, rng.choice(brightness, len(xy) - len(brightness))])
    return sources_of(xy[np.argsort(-brightness)])


@pytest.fixture(scope="module")
def sibling() -> SolvedStars:
    truth = world(10.0, 20.0, SCALE, SHAPE, 0.3, -1)
    return SolvedStars.of("the first frame's", seen(truth, 1), truth)


@pytest.mark.parametrize(("turn", "parity", "off_deg"), [(0.3, -1, 0.01), (2.5, -1, 0.03), (4.0, 1, 0.05)])
def test_dithered_turned_and_mirrored_frames_are_solved_by_the_first(sibling, turn, parity, off_deg):
    truth = world(10.0 + off_deg, 20.0 - off_deg / 2, SCALE, SHAPE, turn, parity)
    hint = Hint(10.0, 20.0, SCALE * 1.03)
    assert solve_field(seen(truth, 2), SHAPE, hint, Tycho2()).state is Wcs.REFUSED
    found = solve_field(seen(truth, 2), SHAPE, hint, [Tycho2(), sibling])
    assert (found.state, found.reference) == (Wcs.SOLVED, "the first frame's")
    back = found.wcs.all_world2pix(*truth.all_pix2world([0, 512, 1023], [0, 512, 1023], 0), 0)
    assert np.abs(np.array(back) - [[0, 512, 1023]] * 2).max() < 1.0


def test_what_the_telescope_delivered_is_refined_by_a_sibling(sibling):
    truth = world(10.01, 20.0, SCALE, SHAPE, 0.3, -1)
    for shift, state in ((0.0, Wcs.DELIVERED), (3.0, Wcs.REFINED), (200.0, Wcs.SOLVED)):
        delivered = truth.deepcopy()
        delivered.wcs.crpix = truth.wcs.crpix + shift
        found = solve_field(seen(truth, 5), SHAPE, Hint(10.0, 20.0, SCALE, delivered), [sibling])
        assert found.state is state
        assert np.abs(np.array(found.wcs.all_world2pix(10.01, 20.0, 0)) - 511).max() < 1.5


def test_another_field_is_refused(sibling):
    rng = np.random.default_rng(0)
    for number in (10, 80, 400):
        scattered = sources_of(rng.uniform(0, 1024, (number, 2)))
        assert solve_field(scattered, SHAPE, Hint(10.0, 20.0, SCALE), [Tycho2(), sibling]).state is Wcs.REFUSED
