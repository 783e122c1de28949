"""Light curves: injected variation comes back within its errors, through clouds, gaps and variable comparison stars."""

from __future__ import annotations

import numpy as np
import pytest

from avcd.sky.lightcurve import StarList, measure_light_curve

RA, DEC = 150.0, 30.0
SECONDS = 60.0


def night(frames=40, stars=60, amplitude=0.2, clouds=1.0, variable=6, seed=1, zero_point=None):
    """Star lists of a night; star 0 is the target, stars 1 to ``variable`` vary too. The truth is its magnitudes."""
    rng = np.random.default_rng(seed)
    ra = RA + rng.uniform(-0.3, 0.3, stars) / np.cos(np.radians(DEC))
    dec = DEC + rng.uniform(-0.3, 0.3, stars)
    ra[0], dec[0] = RA, DEC
    mag = rng.uniform(11, 14, stars)
    mag[0] = 12.5
    phase = np.linspace(0, 2 * np.pi, frames)
    truth = mag[0] + amplitude * np.sin(phase)
    found = []
    for index in range(frames):
        now = mag.copy()
        now[0] = truth[index]
        now[1 : variable + 1] += 0.15 * np.sin(phase[index] * np.arange(2, variable + 2))
        dimmed = clouds * rng.uniform()
        flux = SECONDS * 10 ** (-0.4 * (now + dimmed - 22.0))
        error = np.sqrt(flux + 2000.0)
        there = rng.uniform(size=stars) > 0.05
        there[0] = True
        order = rng.permutation(np.flatnonzero(there))
        jitter = rng.normal(0, 0.2 / 3600, (2, stars))
        found.append(
            StarList(
                (ra + jitter[0])[order], (dec + jitter[1])[order], (flux + error * rng.normal(size=stars))[order],
                error[order], np.zeros(len(order), int), SECONDS, 3.0,
                None if zero_point is None else zero_point - dimmed + rng.normal(0, 0.02),
            )
        )  # fmt: skip
    return found, truth, ra, dec


def test_the_variation_comes_back_within_its_errors_through_clouds():
    frames, truth, ra, dec = night()
    found = measure_light_curve(frames, RA, DEC)
    assert not found.calibrated
    off = found.mag - truth
    off -= off.mean()
    assert np.std(off) < 0.01
    assert np.std(off) == pytest.approx(np.median(found.error_mag), rel=0.35)
    assert np.mean((off / found.error_mag) ** 2) == pytest.approx(1, abs=0.5)
    # The check star stands still, by the same measure.
    assert np.nanstd(found.check_mag) < 0.012
    # Neither the target nor stars that vary are among the ensemble.
    assert len(found.ensemble) > 40
    near = np.abs(found.ensemble[:, None, 0] - ra[None]) + np.abs(found.ensemble[:, None, 1] - dec[None])
    assert not set(near.argmin(axis=1)) & set(range(7))


def test_zero_points_set_the_scale():
    frames, truth, *_ = night(zero_point=22.0)
    found = measure_light_curve(frames, RA, DEC)
    assert found.calibrated
    assert np.median(found.mag - truth) == pytest.approx(0, abs=0.02)


def test_a_frame_without_the_star_and_one_with_flags_are_told():
    frames, *_ = night(frames=12)
    gone, flagged = frames[3], frames[5]
    away = np.hypot(gone.ra_deg - RA, gone.dec_deg - DEC) > 0.002
    values = {name: getattr(gone, name)[away] for name in ("ra_deg", "dec_deg", "flux", "flux_err", "flags")}
    frames[3] = StarList(**values, exposure_s=SECONDS)
    here = np.hypot(flagged.ra_deg - RA, flagged.dec_deg - DEC) < 0.002
    flagged.flags[here] = 1
    found = measure_light_curve(frames, RA, DEC)
    assert np.flatnonzero(np.isnan(found.mag)).tolist() == [3]
    assert np.flatnonzero(found.flags).tolist() == [5]
    assert np.isfinite(found.mag[5])


def test_nothing_is_told_where_nothing_can_be():
    frames, *_ = night(frames=10)
    assert measure_light_curve(frames, RA + 5, DEC) is None
    few, *_ = night(frames=10, stars=3, variable=0)
    assert measure_light_curve(few, RA, DEC) is None
    assert measure_light_curve([], RA, DEC) is None
