"""World coordinates through matched stars: astropy's fit, at once; and no more freedom than the stars ask for."""

from __future__ import annotations

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.wcs.utils import fit_wcs_from_points
from scenes import world

from avcd.sky.fitting import Model, choose_model, fit_world
from avcd.sky.geometry import project, project_shapes, unproject, unproject_shapes

SHAPE = (900, 1200)


def stars(ra: float, dec: float, number: int, bend, scatter: float = 0.0, seed: int = 1):
    """Pixels as a camera that bends gives them, and where the stars are."""
    rng = np.random.default_rng(seed)
    truth = world(ra, dec, 3.0, SHAPE, 0.7, -1)
    ideal = rng.uniform(0, 1, (number, 2)) * SHAPE[::-1]
    sky = truth.all_pix2world(*ideal.T, 0)
    return bend(ideal) + rng.normal(0, scatter, ideal.shape), *sky


def straight(xy):
    return xy


def barrel(xy):
    offset = xy - np.array(SHAPE[::-1]) / 2
    return xy + 6.0 * offset / 600 * ((offset / 600) ** 2).sum(axis=1)[:, None]


def tilted(xy):
    u_, v_ = ((xy - np.array(SHAPE[::-1]) / 2) / 600).T
    return xy + 5 * np.column_stack([u_ * v_, u_**2])


@pytest.mark.parametrize(("ra", "dec"), [(120.0, 30.0), (0.01, -20.0), (10.0, 89.9)])
@pytest.mark.parametrize(("model", "degree"), [(Model.LINEAR, None), (Model.THIRD, 3)])
def test_the_fit_is_astropys(ra, dec, model, degree):
    xy, star_ra, star_dec = stars(ra, dec, 80, barrel, 0.1)
    ours = fit_world(xy, star_ra, star_dec, SHAPE, model)
    sky = SkyCoord(star_ra * u.deg, star_dec * u.deg)
    centre = SkyCoord(*(ours.wcs.wcs.crval * u.deg))
    theirs = fit_wcs_from_points(tuple(xy.T), sky, proj_point=centre, sip_degree=degree)
    scatter = []
    for wcs in (ours.wcs, theirs):
        there = wcs.all_pix2world(*xy.T, 0)
        scatter.append(np.hypot(*(project(*there, ra, dec) - project(star_ra, star_dec, ra, dec)).T).mean())
    assert scatter[0] <= scatter[1] * 1.02


@pytest.mark.parametrize(
    ("bend", "model"),
    [(straight, Model.SIMILARITY), (barrel, Model.RADIAL), (tilted, Model.SECOND)],
    ids=["straight", "barrel", "tilted"],
)
def test_no_more_freedom_than_the_stars_ask_for(bend, model):
    xy, ra, dec = stars(50.0, -30.0, 40, bend, 0.15)
    found = choose_model(xy, ra, dec, SHAPE, 3)
    assert found.model is model
    assert found.rms_px < 0.3
    grid = np.array([(x, y) for x in (0, 600, 1199) for y in (0, 450, 899)], float)
    sky = found.wcs.all_pix2world(*bend(grid).T, 0)
    truth = world(50.0, -30.0, 3.0, SHAPE, 0.7, -1)
    assert np.abs(np.array(truth.all_world2pix(*sky, 0)).T - grid).max() < 0.6


def test_the_inverse_polynomial_leads_back():
    xy, ra, dec = stars(50.0, -30.0, 100, barrel)
    found = fit_world(xy, ra, dec, SHAPE, Model.RADIAL).wcs
    corners = np.array([(0, 0), (1199, 0), (0, 899), (1199, 899), (600, 450)], float)
    ideal = found.sip_pix2foc(corners, 0)
    assert np.abs(ideal + found.wcs.crpix - 1 - corners).max() > 5
    np.testing.assert_allclose(found.sip_foc2pix(ideal, 0), corners, atol=0.03)


@pytest.mark.parametrize(("there", "back"), [(project, unproject), (project_shapes, unproject_shapes)])
@pytest.mark.parametrize(("ra0", "dec0"), [(0.0, 0.0), (359.9, 60.0), (10.0, 90.0), (10.0, -89.9)])
def test_planes_lead_back_to_the_sky(there, back, ra0, dec0):
    rng = np.random.default_rng(2)
    dec = np.clip(dec0 + rng.uniform(-4, 4, 50), -90, 90)
    ra = (ra0 + rng.uniform(-4, 4, 50)) % 360
    ra_back, dec_back = back(there(ra, dec, ra0, dec0), ra0, dec0)
    one, other = SkyCoord(ra * u.deg, dec * u.deg), SkyCoord(ra_back * u.deg, dec_back * u.deg)
    assert one.separation(other).arcsec.max() < 1e-6


def test_shapes_keep_their_angles_far_from_the_centre():
    ra, dec = np.array([0.0, 0.1, 0.0]), np.array([8.0, 8.0, 8.1])
    plane = project_shapes(ra, dec, 0.0, 0.0)
    across, up = plane[1] - plane[0], plane[2] - plane[0]
    assert np.hypot(*across) / np.cos(np.radians(8.0)) == pytest.approx(np.hypot(*up), rel=2e-3)
