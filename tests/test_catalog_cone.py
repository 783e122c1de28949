"""Cone search on both databases: what astropy's separations say, at the seam, at the poles, anywhere."""

from __future__ import annotations

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord

from avcd.catalog.cone import parse_cone
from avcd.errors import UsageError
from avcd.frame import ProductKind
from catalogue import apply, make_frame, make_spec, of_frame, record, run

CHANCE = np.random.default_rng(8)
PLACES = [
    *zip(CHANCE.uniform(0, 360, 60), np.degrees(np.arcsin(CHANCE.uniform(-1, 1, 60))), strict=True),
    *zip(CHANCE.uniform(0, 360, 15), CHANCE.uniform(88, 90, 15), strict=True),
    *zip(CHANCE.uniform(0, 360, 15), CHANCE.uniform(-90, -88, 15), strict=True),
    *zip(CHANCE.uniform(-1, 1, 20) % 360, CHANCE.uniform(-2, 2, 20), strict=True),
    (0.0, 0.0), (359.9999999, 0.0), (180.0, 90.0), (83.82, -5.39),
]  # fmt: skip
FRAMES = [make_frame(f"at {n}", s_ra=float(ra), s_dec=float(dec)) for n, (ra, dec) in enumerate(PLACES)]
NOWHERE = make_frame("nowhere", s_ra=None, s_dec=None)


@pytest.fixture
def filled(catalog):
    record(catalog, *FRAMES, NOWHERE)
    return catalog


def test_it_finds_what_astropy_finds(filled):
    places = SkyCoord(*np.array(PLACES).T, unit="deg")
    cones = [(0.0, 0.0, 1.0), (359.5, 1.0, 1.5), (0.2, -0.5, 0.7), (10.0, 90.0, 1.0), (10.0, 89.5, 1.2), (200.0, -89.0, 0.9),
             (120.0, 30.0, 25.0), (300.0, -60.0, 40.0), (83.82, -5.39, 0.001), (50.0, 10.0, 180.0), (5.0, 0.0, 89.9)]  # fmt: skip
    for ra, dec, radius in cones:
        near = places.separation(SkyCoord(ra, dec, unit="deg")) <= radius * u.deg
        expected = {one.id for one, inside in zip(FRAMES, near, strict=True) if inside}
        assert {row["id"] for row in filled.frames(cone=f"{ra} {dec} {radius}")} == expected, (ra, dec, radius)
    assert expected


def test_products_have_a_place_too_and_jobs_have_none(filled):
    apply(filled, make_spec(ProductKind.REDUCED, "reduced", of_frame(FRAMES[-1])))
    run(filled, s_ra=83.8, s_dec=-5.4)
    assert len(list(filled.products(cone="83.82 -5.39 0.1"))) == 1
    assert not list(filled.products(cone="84.82 -5.39 0.1"))
    with pytest.raises(UsageError, match="no place on the sky"):
        list(filled.jobs(cone="1 1 1"))


@pytest.mark.parametrize(
    ("text", "ra", "dec", "radius"),
    [
        ("83.82 -5.39 1.5", 83.82, -5.39, 1.5),
        ("83.82,-5.39,1.5d", 83.82, -5.39, 1.5),
        ("05:35:17 -05:23:28 30m", 83.8208333, -5.3911111, 0.5),
        ("05:35:17.3, -00:30:00, 90s", 83.8220833, -0.5, 0.025),
        ("360 0 10'", 0.0, 0.0, 1 / 6),
    ],
)
def test_places_are_read_as_astronomers_write_them(text, ra, dec, radius):
    found = parse_cone(text)
    assert (found.ra_deg, found.dec_deg, found.radius_deg) == pytest.approx((ra, dec, radius), abs=1e-6)


@pytest.mark.parametrize("text", ["", "1 2", "361 0 1", "10 91 1", "10 10 0", "10 10 -1", "M42 1", "25:00:00 0 1"])
def test_what_is_no_cone_is_refused(text):
    with pytest.raises(UsageError, match="--cone"):
        parse_cone(text)
