"""Fields of the real sky are solved; false ones are refused; delivered world coordinates are checked by the stars."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.wcs import WCS
from scenes import sky_field, sources_of, world

from avcd.frame import Wcs
from avcd.sky.reference import Tycho2
from avcd.sky.solving import Hint, solve_field

PX = 1024
SHAPE = (PX, PX)
REFERENCE = Tycho2()


def error_px(found: WCS, truth: WCS, shape=SHAPE) -> float:
    """The largest distance between two world coordinates over a grid of pixels."""
    grid = np.array([(x, y) for x in np.linspace(0, shape[1], 5) for y in np.linspace(0, shape[0], 5)])
    back = np.array(truth.all_world2pix(*found.all_pix2world(*grid.T, 0), 0)).T
    return float(np.hypot(*(back - grid).T).max())


def hint_near(truth: WCS, seed: int, off_deg: float = 0.3) -> Hint:
    """A pointing some way off in a random direction, and a scale up to 7 % off."""
    angle = np.random.default_rng(seed).uniform(0, 2 * np.pi)
    ra, dec = truth.wcs.crval
    ra += off_deg * np.cos(angle) / max(np.cos(np.radians(dec)), 0.01)
    return Hint(float(ra % 360), float(np.clip(dec + off_deg * np.sin(angle), -90, 90)), 3600 / PX)


def test_fields_of_a_degree_anywhere_on_the_sky_are_solved_and_none_wrongly():
    solved = enough = 0
    for seed in range(30):
        sources, truth, stars = sky_field(seed)
        found = solve_field(sources, SHAPE, hint_near(truth, seed), REFERENCE)
        if found.wcs is None:
            assert found.state is Wcs.REFUSED
            assert found.reason
        else:
            assert error_px(found.wcs, truth) < 3.0
            assert found.rms_arcsec < 1.0 * 3600 / PX
            assert found.matched >= 6
        if stars >= 20:
            enough += 1
            solved += found.wcs is not None
    assert enough >= 15
    assert solved >= 0.9 * enough


def test_the_wrong_sky_and_random_stars_are_refused_every_time():
    rng = np.random.default_rng(0)
    accepted = []
    for seed in range(25):
        sources, truth, _ = sky_field(seed)
        ra, dec = truth.wcs.crval
        elsewhere = Hint(float((ra + 120) % 360), float(-dec), 3600 / PX)
        accepted.append(solve_field(sources, SHAPE, elsewhere, REFERENCE).state)
        scattered = sources_of(rng.uniform(0, PX, (80, 2)))
        accepted.append(solve_field(scattered, SHAPE, hint_near(truth, seed), REFERENCE).state)
    assert set(accepted) == {Wcs.REFUSED}


@pytest.mark.parametrize(("ra", "dec"), [(0.05, 10.0), (200.0, 89.6), (100.0, -89.7)])
def test_the_seam_and_the_poles_are_places_like_any_other(ra, dec):
    truth = world(ra, dec, 2 * 3600 / PX, SHAPE, 1.1, -1)
    stars = REFERENCE.cone(ra, dec, 2.0)
    x, y = truth.all_world2pix(stars.ra_deg, stars.dec_deg, 0)
    here = (x > 0) & (y > 0) & (x < PX) & (y < PX)
    sources = sources_of(np.column_stack([x[here], y[here]]))
    found = solve_field(sources, SHAPE, Hint(ra, dec - 0.1 * np.sign(dec), 2 * 3600 / PX), REFERENCE)
    assert found.state is Wcs.SOLVED
    assert error_px(found.wcs, truth) < 0.5


def test_distortion_is_found_where_there_is_some_and_not_where_there_is_none():
    orders = {}
    for amount in (0.0, 6.0):
        truth = world(290.0, 15.0, 2 * 3600 / PX, SHAPE, 0.4, 1)
        stars = REFERENCE.cone(290.0, 15.0, 2.0, 600)
        x, y = truth.all_world2pix(stars.ra_deg, stars.dec_deg, 0)
        u, v = x - PX / 2, y - PX / 2
        bent = 1 + amount / (PX / 2) * (u**2 + v**2) / (PX / 2) ** 2 / 2  # a barrel of some pixels at the corners
        x, y = u * bent + PX / 2, v * bent + PX / 2
        here = (x > 0) & (y > 0) & (x < PX) & (y < PX)
        xy = np.column_stack([x[here], y[here]]) + np.random.default_rng(4).normal(0, 0.2, (here.sum(), 2))
        found = solve_field(sources_of(xy), SHAPE, Hint(290.0, 15.0, 2 * 3600 / PX), REFERENCE)
        assert found.state is Wcs.SOLVED
        assert found.rms_arcsec < 0.5 * 2 * 3600 / PX
        orders[amount] = found.sip_order
    assert orders[0.0] == 0
    assert orders[6.0] >= 2


@pytest.mark.parametrize(("shift_px", "state"), [(0.0, Wcs.DELIVERED), (3.0, Wcs.REFINED), (300.0, Wcs.SOLVED)])
def test_delivered_world_coordinates_are_kept_refined_or_replaced(shift_px, state):
    truth = world(84.0, 30.0, 3600 / PX, SHAPE, 2.0, -1)
    stars = REFERENCE.cone(84.0, 30.0, 1.0)
    x, y = truth.all_world2pix(stars.ra_deg, stars.dec_deg, 0)
    here = (x > 0) & (y > 0) & (x < PX) & (y < PX)
    xy = np.column_stack([x[here], y[here]]) + np.random.default_rng(1).normal(0, 0.1, (here.sum(), 2))
    delivered = truth.deepcopy()
    delivered.wcs.crpix = truth.wcs.crpix + shift_px
    found = solve_field(sources_of(xy), SHAPE, Hint(84.0, 30.0, 3600 / PX, delivered), REFERENCE)
    assert found.state is state
    assert error_px(found.wcs, truth) < 1.0


def test_without_a_start_there_is_no_search_and_a_reason():
    sources, *_ = sky_field(1)
    for hint, words in ((Hint(None, None, 2.0), "pointing"), (Hint(10.0, 10.0, None), "scale")):
        found = solve_field(sources, SHAPE, hint, REFERENCE)
        assert found.state is Wcs.NONE
        assert words in found.reason
    few = solve_field(sources_of(np.ones((2, 2))), SHAPE, Hint(10.0, 10.0, 2.0), REFERENCE)
    assert few.state is Wcs.REFUSED
    assert "2 stars detected" in few.reason
