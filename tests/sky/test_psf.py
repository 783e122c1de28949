"""The shape of stars comes back, region by region, with an error that holds."""

from __future__ import annotations

import numpy as np
import pytest
from scenes import painted_field

from avcd.frame import MaskBit
from avcd.sky.detection import Sources, detect_sources
from avcd.sky.psf import REGIONS, measure_psf
from avcd.sky.quality import measure_quality, psf_figures

SHAPE = (420, 460)


def gaussians(fwhm_x, fwhm_y, turn_deg=0.0, number=70, seed=4, peak=4000.0, widen=0.0):
    """Stars that are elliptical Gaussians; ``widen`` is how much wider they grow from the left edge to the right."""
    rng = np.random.default_rng(seed)
    ny, nx = SHAPE
    rows, columns = np.indices(SHAPE, dtype=float)
    image = np.full(SHAPE, 200.0)
    turn = np.radians(turn_deg)
    for x, y in zip(rng.uniform(20, nx - 20, number), rng.uniform(20, ny - 20, number), strict=True):
        grown = 1 + widen * x / nx
        near = np.s_[max(int(y) - 25, 0) : int(y) + 26, max(int(x) - 25, 0) : int(x) + 26]
        along = (columns[near] - x) * np.cos(turn) + (rows[near] - y) * np.sin(turn)
        across = -(columns[near] - x) * np.sin(turn) + (rows[near] - y) * np.cos(turn)
        image[near] += peak * np.exp(-4 * np.log(2) * ((along / fwhm_x / grown) ** 2 + (across / fwhm_y / grown) ** 2))
    return (rng.poisson(image) + rng.normal(0, 5, SHAPE)).astype(np.float32)


@pytest.mark.parametrize(
    ("fwhm_x", "fwhm_y", "turn_deg"), [(3.0, 3.0, 0), (5.0, 5.0, 0), (5.0, 4.0, 0), (4.0, 5.0, 0), (6.0, 4.0, 30)]
)
def test_gaussian_stars_come_back_in_every_region(fwhm_x, fwhm_y, turn_deg):
    image = gaussians(fwhm_x, fwhm_y, turn_deg)
    found = measure_psf(image, None, detect_sources(image, None, gain=1.0))
    assert [one.region for one in found] == list(REGIONS)
    wide, narrow = max(fwhm_x, fwhm_y), min(fwhm_x, fwhm_y)
    for one in found:
        assert one.stars >= 3
        assert one.fwhm_px == pytest.approx(np.sqrt(fwhm_x * fwhm_y), rel=0.02)
        assert one.ellipticity == pytest.approx(1 - narrow / wide, abs=0.03)
        assert 0 < one.fwhm_err_px < 0.05
        assert one.is_round == (fwhm_x == fwhm_y)
        if fwhm_x != fwhm_y:
            direction = turn_deg if fwhm_x > fwhm_y else 90
            assert abs((one.theta_deg - direction + 90) % 180 - 90) < 5
    if not turn_deg:
        assert found[0].fwhm_x_px == pytest.approx(fwhm_x, rel=0.03)
        assert found[0].fwhm_y_px == pytest.approx(fwhm_y, rel=0.03)


def test_the_error_is_what_the_width_scatters_by():
    widths, errors = [], []
    for seed in range(12):
        image = gaussians(4.0, 4.0, seed=seed, peak=600.0)
        for one in measure_psf(image, None, detect_sources(image, None, gain=1.0)):
            widths.append(one.fwhm_px)
            errors.append(one.fwhm_err_px or np.nan)
    scatter = np.std(widths)
    assert np.nanmedian(errors) == pytest.approx(scatter, rel=0.4)
    assert abs(np.mean(widths) - 4.0) < 3 * scatter / np.sqrt(len(widths)) + 0.02


def test_a_moffat_star_is_as_wide_as_its_half_maximum():
    image, *_ = painted_field(SHAPE, 60, 3.5, lowest=1e4)
    figures = psf_figures(measure_psf(image, None, detect_sources(image, None, gain=1.0)))
    assert figures["psf_cn_px"] == pytest.approx(np.hypot(3.5, 0.7), rel=0.03)
    assert figures["tilt"] < 0.05


def test_a_tilted_field_is_seen_as_such():
    image = gaussians(4.0, 4.0, widen=0.3)
    found = psf_figures(measure_psf(image, None, detect_sources(image, None, gain=1.0)))
    assert found["psf_tr_px"] > found["psf_cn_px"] > found["psf_tl_px"]
    assert found["tilt"] == pytest.approx(0.18, abs=0.06)  # corners' stars lie within the field, not at its edges
    assert found["tilt_sigma"] > 5


def test_saturated_struck_and_crowded_stars_are_not_fitted():
    image = gaussians(4.0, 4.0)
    mask = np.zeros(SHAPE, np.uint16)
    sources = detect_sources(image, mask)
    everything = sum(one.stars for one in measure_psf(image, mask, sources))
    for x, y in zip(sources.x[::2], sources.y[::2], strict=True):
        mask[round(float(y)), round(float(x))] = int(MaskBit.SATURATED)
    flagged = detect_sources(image, mask)
    fewer = measure_psf(image, mask, flagged)
    assert 0 < sum(one.stars for one in fewer) < everything
    assert all(one.fwhm_px == pytest.approx(4.0, rel=0.02) for one in fewer)


def test_without_stars_there_is_no_shape():
    image = np.random.default_rng(3).normal(100, 10, SHAPE).astype(np.float32)
    assert measure_psf(image, None, detect_sources(image, None)) == ()
    assert psf_figures(()) == {}


def test_trailed_stars_share_a_direction_and_round_ones_do_not():
    image, *_ = painted_field(SHAPE, 60, 3.0)
    trailed = sum(np.roll(image, (step, step), axis=(0, 1)) for step in range(5)) / 5
    quality = measure_quality(trailed, None, detect_sources(trailed, None))
    assert quality["elongation"] > 0.25
    assert quality["elongation_angle_deg"] == pytest.approx(45, abs=4)
    plain = measure_quality(image, None, detect_sources(image, None))
    assert plain["elongation"] < 0.03


def test_ellipses_of_every_direction_share_none():
    rng = np.random.default_rng(8)
    number = 400
    ones = np.ones(number)
    flat = np.ones((64, 64), np.float32)
    sources = Sources(
        x=ones, y=ones, flux=1e5 * ones, flux_err=ones, fwhm_px=3 * ones, ellipticity=0.4 * ones,
        theta_rad=rng.uniform(-np.pi / 2, np.pi / 2, number), peak=1e4 * ones, flags=np.zeros(number, int), background=flat,
        background_rms=flat,
    )  # fmt: skip
    quality = measure_quality(flat, None, sources)
    assert quality["ellipticity"] == pytest.approx(0.4)
    assert quality["elongation"] < 0.1


def test_cells_without_their_stars_are_counted_and_empty_sky_between_few_is_not():
    image, *_ = painted_field(SHAPE, 400, 2.6, lowest=3e3)
    quality = measure_quality(image, None, detect_sources(image, None))
    assert quality["dead_cells"] == 0
    assert quality["grid_cells"] >= 9
    image[: SHAPE[0] // 2, : SHAPE[1] // 2] = np.random.default_rng(1).normal(100, 10, (SHAPE[0] // 2, SHAPE[1] // 2))
    covered = measure_quality(image, None, detect_sources(image, None))
    assert 0.1 < covered["dead_cells"] / covered["grid_cells"] <= 0.3
    masked = np.zeros(SHAPE, np.uint16)
    masked[: SHAPE[0] // 2, : SHAPE[1] // 2] = int(MaskBit.NO_DATA)
    known = measure_quality(image, masked, detect_sources(image, masked))
    assert known["dead_cells"] == 0
    few, *_ = painted_field(SHAPE, 30, 2.6)
    assert "dead_cells" not in measure_quality(few, None, detect_sources(few, None))


def test_the_background_rises_where_it_rises():
    image, *_ = painted_field(SHAPE, 30, 3.0)
    nx = SHAPE[1]
    image += (60 * np.arange(nx) / nx)[None, :].astype(np.float32)
    quality = measure_quality(image, None, detect_sources(image, None))
    assert quality["background_gradient"] == pytest.approx(60, rel=0.1)
    assert min(quality["background_gradient_deg"], 360 - quality["background_gradient_deg"]) < 8
