"""Fields of the real sky are solved; false ones are refused; delivered world coordinates are checked by the stars."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.wcs import WCS
from pictures import picture
from scenes import sky_field, sources_of, world
from scipy.signal import fftconvolve
from skies import draw_field, draw_hard

from avcd.frame import Frame, Wcs
from avcd.sky.detection import detect_sources
from avcd.sky.reference import Tycho2
from avcd.sky.solving import Hint, hint_from, solve_field

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
    for seed in range(6):
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


def test_simulated_skies_with_errors_of_their_own_are_solved_and_none_wrongly():
    enough = solved = 0
    for seed in range(400, 425):
        field = draw_field(seed)
        found = solve_field(field.sources, field.camera.shape, field.hint, REFERENCE)
        enough += field.reference_stars >= 12
        solved += field.reference_stars >= 12 and found.wcs is not None
        if found.wcs is not None:
            assert field.error_px(found.wcs).max() < 0.02 * max(field.camera.shape)
    assert enough >= 15
    assert solved >= enough - 1


def test_what_must_not_be_solved_is_not_solved_wrongly():
    for seed in range(12):
        field = draw_hard(seed)
        found = solve_field(field.sources, field.camera.shape, field.hint, REFERENCE)
        assert found.wcs is None or field.error_px(found.wcs).max() < 0.02 * max(field.camera.shape), field.kind
        if field.kind in ("wrong pointing", "random stars"):
            assert found.state is Wcs.REFUSED


def test_wrong_world_coordinates_are_never_kept():
    for seed in (1, 2, 3, 6, 8, 9):
        field = draw_field(seed)
        for change in ("moved", "mirrored", "turned"):
            delivered = field.truth.deepcopy()
            if change == "moved":
                delivered.wcs.crpix = field.truth.wcs.crpix + 0.1 * max(field.camera.shape)
            else:
                delivered.wcs.cd = field.truth.wcs.cd @ (np.diag([-1, 1]) if change == "mirrored" else -np.eye(2))
            hint = Hint(*(float(one) for one in field.truth.wcs.crval), field.camera.scale_arcsec, delivered)
            found = solve_field(field.sources, field.camera.shape, hint, REFERENCE)
            assert found.state is Wcs.SOLVED
            assert field.error_px(found.wcs).max() < 0.02 * max(field.camera.shape)


def test_one_frame_has_one_solution_to_the_last_bit():
    field = draw_field(3)
    first, second = (
        solve_field(field.sources, field.camera.shape, field.hint, REFERENCE).wcs.to_header(relax=True)
        for _ in range(2)
    )
    assert first.tostring() == second.tostring()


@pytest.mark.parametrize("written", [0.5, 2.0, 1.0])
def test_a_binning_counted_twice_or_not_at_all_is_found_out(written):
    truth = world(84.0, 30.0, 3600 / PX, SHAPE, 2.0, -1)
    stars = REFERENCE.cone(84.0, 30.0, 1.0)
    x, y = truth.all_world2pix(stars.ra_deg, stars.dec_deg, 0)
    here = (x > 0) & (y > 0) & (x < PX) & (y < PX)
    frame = Frame(id="a", s_ra=84.2, s_dec=30.1, pixel_scale_arcsec=written * 3600 / PX, binning="2x2")
    found = solve_field(sources_of(np.column_stack([x[here], y[here]])), SHAPE, hint_from(frame, None), REFERENCE)
    assert found.state is Wcs.SOLVED
    assert error_px(found.wcs, truth) < 0.5


def ring(radius_px: int) -> np.ndarray:
    """What a star becomes far out of focus."""
    y, x = np.mgrid[-radius_px - 2 : radius_px + 3, -radius_px - 2 : radius_px + 3]
    distance = np.hypot(x, y)
    found = ((distance < radius_px) & (distance > 0.4 * radius_px)).astype(float)
    return found / found.sum()


@pytest.mark.parametrize("kind", ["sharp", "trailed", "defocused"])
def test_trailed_and_defocused_stars_solve_a_field_from_its_pixels(kind):
    shape, scale = (700, 700), 6.0
    truth = world(84.0, 30.0, scale, shape, 1.0, -1)
    stars = REFERENCE.cone(84.0, 30.0, 1.0)
    sky = stars.ra_deg, stars.dec_deg, 10 ** (-0.4 * (stars.mag - 23.5))
    data = picture(truth, sky, shape, smear_px=14 if kind == "trailed" else 0).astype(np.float32)
    if kind == "defocused":
        rng = np.random.default_rng(3)
        data = (fftconvolve(data, ring(6), mode="same") + rng.normal(0, 20, shape)).astype(np.float32)[8:-8, 8:-8]
    found = solve_field(detect_sources(data, None), data.shape, Hint(84.3, 29.8, scale * 1.05), REFERENCE)
    assert found.state is Wcs.SOLVED, found.reason
    shift = 8.0 if kind == "defocused" else 0.0
    middle = np.array(truth.all_world2pix(*found.wcs.all_pix2world(300.0, 300.0, 0), 0)) - 300.0
    assert np.hypot(*(middle - shift)) < 2.0
