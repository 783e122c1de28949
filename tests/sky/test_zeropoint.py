"""The zero point comes back with its scatter, and says nothing where nothing can be said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scenes import sources_of, world

from avcd.sky.detection import SourceFlag
from avcd.sky.reference import Tycho2
from avcd.sky.zeropoint import limiting_magnitude, measure_zero_point

SHAPE = (1000, 1200)
REFERENCE = Tycho2()
SECONDS = 40.0


def field(zero_point=21.5, scatter=0.08, variable=0, seed=3, ra=84.0, dec=-5.0):
    """Sources that are the stars of a field of one degree; some of them a magnitude brighter than the catalogue says."""
    rng = np.random.default_rng(seed)
    wcs = world(ra, dec, 3.6, SHAPE, 0.4, -1)
    stars = REFERENCE.cone(ra, dec, 0.9)
    x, y = wcs.all_world2pix(stars.ra_deg, stars.dec_deg, 0)
    here = (x > 5) & (y > 5) & (x < SHAPE[1] - 5) & (y < SHAPE[0] - 5)
    xy = np.column_stack([x[here], y[here]]) + rng.normal(0, 0.1, (here.sum(), 2))
    mag = stars.mag[here] + rng.normal(0, scatter, here.sum())
    mag[:variable] -= 1.0
    flux = SECONDS * 10 ** (-0.4 * (mag - zero_point))
    found = sources_of(xy)
    return replace(found, flux=flux, flux_err=flux / 200), wcs


@pytest.mark.parametrize("scatter", [0.02, 0.08, 0.3])
def test_the_zero_point_comes_back_with_its_scatter(scatter):
    sources, wcs = field(scatter=scatter)
    found = measure_zero_point(sources, wcs, SHAPE, REFERENCE, exposure_s=SECONDS)
    assert found.stars > 40
    assert found.mag == pytest.approx(21.5, abs=3 * found.error_mag)
    assert found.scatter_mag == pytest.approx(scatter, rel=0.35, abs=0.005)
    assert (found.catalogue, found.band) == ("Tycho-2", "VT")


def test_variable_and_mistaken_stars_do_not_move_it():
    clean, wcs = field()
    spoilt, _ = field(variable=8)
    before, after = (measure_zero_point(one, wcs, SHAPE, REFERENCE, exposure_s=SECONDS) for one in (clean, spoilt))
    assert after.mag == pytest.approx(before.mag, abs=0.03)
    assert after.stars < before.stars


def test_saturated_blended_and_faint_sources_take_no_part():
    sources, wcs = field()
    flags = np.zeros(len(sources), int)
    flags[::2] = int(SourceFlag.SATURATED)
    flags[1::4] = int(SourceFlag.BLENDED)
    spoilt = replace(sources, flux=np.where(flags, sources.flux * 3, sources.flux), flags=flags)
    found = measure_zero_point(spoilt, wcs, SHAPE, REFERENCE, exposure_s=SECONDS)
    assert found.mag == pytest.approx(21.5, abs=0.06)
    assert measure_zero_point(
        replace(sources, flux_err=sources.flux), wcs, SHAPE, REFERENCE, exposure_s=SECONDS
    ) is None  # fmt: skip


def test_the_wrong_sky_gives_no_zero_point_or_one_of_no_worth():
    sources, _ = field()
    elsewhere = world(200.0, 60.0, 3.6, SHAPE, 0.4, -1)
    found = measure_zero_point(sources, elsewhere, SHAPE, REFERENCE, exposure_s=SECONDS)
    assert found is None or found.stars < 8


def test_the_limiting_magnitude_is_that_of_a_source_of_five_sigma():
    noise, aperture_px = 10.0, 4.0
    limit = limiting_magnitude(21.5, noise, aperture_px, SECONDS)
    flux = SECONDS * 10 ** (-0.4 * (limit - 21.5))
    assert flux == pytest.approx(5 * noise * np.sqrt(np.pi * aperture_px**2))


def test_magnitudes_of_the_table_are_those_of_the_stars():
    sources, wcs = field(scatter=0.0)
    table = sources.to_table(wcs, 21.5, SECONDS)
    assert str(table["mag"].unit) == "mag"
    ratio = -2.5 * np.log10(sources.flux / sources.flux[0])
    np.testing.assert_allclose(table["mag"] - table["mag"][0], ratio, atol=1e-9)
    assert table["mag_err"][0] == pytest.approx(2.5 / np.log(10) / 200)
