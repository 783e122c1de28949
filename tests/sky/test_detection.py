"""Stars of known position, flux and width come back; what is no star does not."""

from __future__ import annotations

import numpy as np
import pytest
from scenes import star_field
from scipy.spatial import cKDTree

from avcd.errors import ProcessingError
from avcd.frame import MaskBit
from avcd.sky.detection import SourceFlag, detect_sources
from avcd.sky.quality import measure_quality

SHAPE = (360, 400)


def matched(sources, x, y, radius=2.0):
    distance, which = cKDTree(np.column_stack([sources.x, sources.y])).query(np.column_stack([x, y]))
    found = distance < radius
    return np.flatnonzero(found), which[found], distance[found]


@pytest.mark.parametrize("fwhm", [1.8, 2.6, 4.0, 7.0])
def test_positions_fluxes_and_widths_come_back(fwhm):
    image, x, y, flux = star_field(SHAPE, 40, fwhm)
    sources = detect_sources(image, None, noise=np.sqrt(np.maximum(image, 0) + 64).astype(np.float32))
    bright = flux > 2e4
    truth, found, distance = matched(sources, x[bright], y[bright])
    assert len(truth) >= 0.9 * bright.sum()  # two may stand too close to be told apart
    assert np.median(distance) < 0.05
    ratio = sources.flux[found] / flux[bright][truth]
    alone = np.abs(ratio / np.median(ratio) - 1)
    assert 0.7 < np.median(ratio) < 1.0  # the aperture holds a part of the light, the same of every star
    assert np.median(alone) < 0.02
    quality = measure_quality(image, None, sources, pixel_scale_arcsec=1.5)
    assert quality["fwhm_px"] == pytest.approx(np.hypot(fwhm, 0.7), rel=0.08)  # the pixel itself widens stars
    assert quality["fwhm_arcsec"] == pytest.approx(1.5 * quality["fwhm_px"])
    assert quality["ellipticity"] < 0.06
    assert quality["background"] == pytest.approx(300, rel=0.02)
    assert quality["noise"] == pytest.approx(np.sqrt(364), rel=0.1)


def test_elongated_stars_are_measured_as_such():
    image, *_ = star_field(SHAPE, 40, 3.0)
    trailed = sum(np.roll(image, step, axis=1) for step in range(4)) / 4
    quality = measure_quality(trailed, None, detect_sources(trailed, None))
    assert 0.08 < quality["ellipticity"] < 0.6


def test_hot_pixels_columns_and_struck_pixels_are_no_stars():
    image, x, y, _ = star_field(SHAPE, 30, 3.0, lowest=2e4)
    clean = detect_sources(image, None)
    rng = np.random.default_rng(2)
    dirty = image.copy()
    dirty[rng.integers(5, 355, 300), rng.integers(5, 395, 300)] += rng.uniform(500, 30000, 300).astype(np.float32)
    dirty[:, 200] += 3000
    found = detect_sources(dirty, None)
    distance, _ = cKDTree(np.column_stack([x, y])).query(np.column_stack([found.x, found.y]))
    assert (distance > 3).sum() <= 2  # of 300 hot pixels and a column
    assert len(matched(found, clean.x, clean.y, 1.0)[0]) >= 0.85 * len(clean)


def test_an_empty_sky_has_no_stars():
    image = np.random.default_rng(3).normal(100, 10, SHAPE).astype(np.float32)
    assert len(detect_sources(image, None)) <= 1


def test_saturated_masked_and_cut_stars_are_flagged():
    image, x, y, _ = star_field(SHAPE, 12, 3.0, lowest=1e5, seed=5)
    mask = np.zeros(SHAPE, np.uint16)
    saturated, replaced = (round(float(y[0])), round(float(x[0]))), (round(float(y[1])), round(float(x[1])))
    mask[saturated] = int(MaskBit.SATURATED)
    mask[replaced] = int(MaskBit.COSMIC_RAY)
    found = detect_sources(image, mask)
    _, which, _ = matched(found, x[:3], y[:3])
    assert found.flags[which[0]] & SourceFlag.SATURATED
    assert found.flags[which[1]] & SourceFlag.MASKED
    assert found.flags[which[2]] & (SourceFlag.SATURATED | SourceFlag.MASKED) == 0
    assert measure_quality(image, mask, found)["saturated_px"] == 1


def test_nothing_to_look_at_is_an_error_that_says_so_and_a_strip_has_no_stars():
    with pytest.raises(ProcessingError, match="no stars can be looked for"):
        detect_sources(np.ones((40, 40), np.float32), np.ones((40, 40), bool))
    for shape in ((1, 1), (3, 1000), (15, 100)):
        strip = np.random.default_rng(1).normal(100, 10, shape).astype(np.float32)
        found = detect_sources(strip, None)
        assert len(found) == 0
        assert measure_quality(strip, None, found)["stars"] == 0
        assert len(found.to_table()) == 0


def test_the_table_has_units_and_positions_on_the_sky():
    from scenes import world

    image, *_ = star_field(SHAPE, 5, 3.0, lowest=1e5)
    wcs = world(10.0, -30.0, 2.0, SHAPE, 0.3, -1)
    table = detect_sources(image, None).to_table(wcs)
    assert str(table["x"].unit) == "pix"
    x, y = wcs.all_world2pix(table["ra"], table["dec"], 0)
    np.testing.assert_allclose(x, table["x"], atol=1e-6)
    np.testing.assert_allclose(y, table["y"], atol=1e-6)
