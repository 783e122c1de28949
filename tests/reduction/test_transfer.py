"""Gain and read noise from pairs of frames: what was put into a detector comes back, and so does it from real ones."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

from avcd.errors import ProcessingError
from avcd.reduction.combine import ArraySource
from avcd.reduction.masters import build_master_bias, build_master_flat
from avcd.reduction.transfer import Pair, gain_by_pairs, gain_by_photon_transfer, gain_of_frames, measure_read_noise

SHAPE = (384, 400)
LEVELS_E = (4000, 16000, 40000, 64000)
ESTIMATORS = (gain_by_pairs, gain_by_photon_transfer)


@pytest.fixture
def frames(make_detector):
    """Pairs of biases and of flats of several levels, the second of each a little brighter, as in a twilight."""

    def take(levels_e=LEVELS_E, turned=1.0, **about):
        detector = make_detector(shape=SHAPE, **about)
        biases = [Pair(detector.expose(0), detector.expose(0)) for _ in range(2)]
        return biases, [
            Pair(detector.expose(0, light), detector.expose(0, 1.08 * light * turned)) for light in levels_e
        ]

    return take


def read_noise_adu(gain: float, read_noise_e: float) -> float:
    return float(np.hypot(read_noise_e / gain, np.sqrt(1 / 12)))  # with the rounding


@pytest.mark.parametrize("estimate", ESTIMATORS)
@pytest.mark.parametrize(("gain", "read_noise_e"), [(1.6, 8.0), (0.4, 3.0), (2.5, 12.0)])
def test_gain_and_read_noise_come_back(estimate, gain, read_noise_e, frames):
    levels = [min(light, 60_000 * gain) for light in LEVELS_E]
    biases, flats = frames(levels, gain=gain, read_noise_e=read_noise_e)
    found = estimate(flats, biases, highest_adu=55_000)
    assert found.gain_e_per_adu == pytest.approx(gain, rel=0.01)
    assert found.read_noise_adu == pytest.approx(read_noise_adu(gain, read_noise_e), rel=0.01)
    assert found.read_noise_e == pytest.approx(gain * read_noise_adu(gain, read_noise_e), rel=0.015)
    assert abs(found.gain_e_per_adu - gain) < 5 * found.gain_error < 0.03 * gain


@pytest.mark.parametrize("estimate", ESTIMATORS)
def test_the_errors_are_what_repeated_measurements_scatter_by(estimate, frames):
    found = [estimate(flats, biases) for biases, flats in (frames((9000, 30000), seed=seed) for seed in range(8))]
    gains = [one.gain_e_per_adu for one in found]
    noises = [one.read_noise_adu for one in found]
    assert 0.5 < np.std(gains) / np.mean([one.gain_error for one in found]) < 2
    assert 0.4 < np.std(noises) / np.mean([one.read_noise_adu_error for one in found]) < 2.5
    assert all(one.read_noise_e_error > one.read_noise_adu_error for one in found)


@pytest.mark.parametrize("estimate", ESTIMATORS)
def test_stars_cosmic_rays_bad_columns_and_gradients_move_nothing(estimate, frames):
    y, x = np.indices(SHAPE)
    turned = 1 + 0.03 * x / SHAPE[1]  # the gradient of the twilight's second flats
    biases, flats = frames(turned=turned)
    rng = np.random.default_rng(7)
    for one in flats:
        for _ in range(8):  # stars in one of two twilight flats
            row, column = rng.uniform(0, SHAPE[0]), rng.uniform(0, SHAPE[1])
            one.first[...] += 3000 * np.exp(-((y - row) ** 2 + (x - column) ** 2) / 8)
        one.second[:, 77] = 65535
    for one in biases:
        one.first.flat[rng.choice(one.first.size, 300, replace=False)] += 2000
    found = estimate(flats, biases)
    assert found.gain_e_per_adu == pytest.approx(1.6, rel=0.015)
    assert found.read_noise_adu == pytest.approx(read_noise_adu(1.6, 8), rel=0.015)


def test_what_is_near_the_full_well_is_left_out(frames):
    biases, flats = frames((9000, 30000))
    clipped = [Pair(np.minimum(one.first, 16_000), np.minimum(one.second, 16_000)) for one in flats]
    kept = gain_by_pairs(clipped, biases, highest_adu=12_000)
    assert kept.gain_e_per_adu == pytest.approx(1.6, rel=0.015)
    assert kept.highest_adu < 12_000


def test_pixels_without_a_value_take_no_part(frames):
    biases, flats = frames()
    flats[0].first[:100, :100] = np.nan
    assert gain_by_pairs(flats, biases).gain_e_per_adu == pytest.approx(1.6, rel=0.015)


@pytest.mark.parametrize("estimate", ESTIMATORS)
def test_what_gives_no_gain_is_refused(estimate, frames):
    biases, flats = frames((9000,))
    with pytest.raises(ProcessingError, match="two frames make a pair"):
        estimate(flats, [])
    with pytest.raises(ProcessingError, match="two frames make a pair"):
        estimate([], biases)
    with pytest.raises(ProcessingError, match="different sizes"):
        estimate([Pair(flats[0].first, flats[0].second[:-1])], biases)
    with pytest.raises(ProcessingError, match=r"no gain follows|holds light"):
        estimate([Pair(biases[0].first, biases[1].second)], biases)
    with pytest.raises(ProcessingError, match="holds light"):
        estimate([Pair(flats[0].first, 3 * flats[0].second)], biases)
    with pytest.raises(ProcessingError, match="two frames make a pair"):
        gain_of_frames([flats[0].first], 5.0)
    with pytest.raises(ProcessingError, match="usable pixels"):
        measure_read_noise([Pair(np.full((64, 64), np.nan), np.zeros((64, 64)))])


def test_masters_carry_gain_and_read_noise_of_their_camera(make_detector, parameters):
    detector = make_detector(shape=SHAPE)
    bias = build_master_bias([ArraySource(detector.expose(0)) for _ in range(6)], parameters["master_bias"])
    raw = [ArraySource(detector.expose(2, light)) for light in (20000, 24000, 30000, 28000, 45000)]
    master = build_master_flat(
        raw, bias.ccd, None, parameters["master_flat"], read_noise_adu=bias.metrics["read_noise_adu"]
    )
    assert master.metrics["gain_e_per_adu"] == pytest.approx(detector.gain, rel=0.03)
    assert abs(master.metrics["gain_e_per_adu"] - detector.gain) < 4 * master.metrics["gain_error"]
    assert master.metrics["read_noise_e"] == pytest.approx(detector.read_noise_e, rel=0.04)
    alone = build_master_flat(raw, bias.ccd, None, parameters["master_flat"])
    assert "gain_e_per_adu" not in alone.metrics
    dim = [ArraySource(detector.expose(0, 1)) for _ in range(2)]
    assert (
        "gain_e_per_adu"
        not in build_master_flat(dim, None, None, parameters["master_flat"], read_noise_adu=1e4).metrics
    )


@pytest.mark.shared
def test_flats_of_four_filters_agree_on_the_gain_of_a_real_camera(shared_data):
    night = shared_data / "arcsat-2025-06-01"
    biases = [fits.getdata(path)[:512, :1024].astype(np.float32) for path in sorted(night.glob("Bias_*.fits"))]
    zero = [Pair(biases[0], biases[1]), Pair(biases[2], biases[3])]
    found = []
    for name in ("g", "r", "z", "H-Alpha"):
        flats = [
            fits.getdata(path)[:512, :1024].astype(np.float32) for path in sorted(night.glob(f"domeflat_{name}_*.fits"))
        ]
        found += [estimate([Pair(flats[0], flats[1])], zero) for estimate in ESTIMATORS]
    gains = np.array([one.gain_e_per_adu for one in found])
    assert np.ptp(gains) < 0.02 * gains.mean()
    assert gains.mean() == pytest.approx(1.34, abs=0.03)
    assert [one.read_noise_adu for one in found] == pytest.approx([11.95] * 8, abs=0.1)
