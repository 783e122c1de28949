"""Masters: what the simulated detector adds is what they hold."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.nddata import CCDData, StdDevUncertainty

from avcd.errors import ProcessingError
from avcd.frame import MaskBit
from avcd.reduction.combine import ArraySource
from avcd.reduction.masters import build_master_bias, build_master_dark, build_master_flat, step_of


def taken(detector, number, seconds=0.0, light=0.0):
    return [ArraySource(detector.expose(seconds, light)) for _ in range(number)]


def pull(found: np.ndarray, truth: np.ndarray, uncertainty: np.ndarray) -> np.ndarray:
    return (found - truth) / uncertainty


def plain(data, uncertainty=None) -> CCDData:
    return CCDData(np.asarray(data, np.float32), unit="adu", uncertainty=uncertainty)


def test_a_master_bias_is_the_bias(detector, parameters):
    frames = taken(detector, 10)
    frames[3].array[40:44, 7] += 3000  # a cosmic ray
    master = build_master_bias(frames, parameters["master_bias"])
    deviations = pull(master.ccd.data, detector.bias, master.ccd.uncertainty.array)
    assert deviations.mean() == pytest.approx(0, abs=0.05)
    assert deviations.std() == pytest.approx(1, abs=0.08)
    assert abs(deviations).max() < 7
    read_noise = np.hypot(detector.read_noise_e / detector.gain, np.sqrt(1 / 12))
    assert master.metrics["read_noise_adu"] == pytest.approx(read_noise, rel=0.02)
    assert master.metrics["level"] == pytest.approx(1000, abs=2)
    assert master.metrics["frames"] == 10
    assert 0 < master.metrics["rejected_fraction"] < 0.02
    assert str(master.ccd.unit) == "adu"
    assert master.ccd.mask.dtype == np.uint16
    assert not master.warnings


def test_a_master_dark_is_the_dark_current_without_its_bias(detector, parameters):
    bias = build_master_bias(taken(detector, 20), parameters["master_bias"]).ccd
    master = build_master_dark(taken(detector, 10, 60), bias, parameters["master_dark"])
    truth = detector.dark * 60 / detector.gain
    deviations = pull(master.ccd.data, truth, master.ccd.uncertainty.array)
    assert deviations.mean() == pytest.approx(0, abs=0.05)
    assert deviations.std() == pytest.approx(1, abs=0.08)
    for y, x in detector.hot_pixels:
        assert master.ccd.data[y, x] == pytest.approx(truth[y, x], rel=0.05)
    kept = build_master_dark(taken(detector, 10, 60), None, parameters["master_dark"])
    assert np.median(kept.ccd.data) == pytest.approx(1000 + np.median(truth), abs=2)


@pytest.mark.parametrize("with_dark", [True, False])
def test_a_master_flat_is_the_response(with_dark, detector, parameters):
    bias = build_master_bias(taken(detector, 10), parameters["master_bias"]).ccd
    dark = build_master_dark(taken(detector, 10, 5), bias, parameters["master_dark"]).ccd if with_dark else None
    detector.response[30, 40] = 0.01
    detector.response[31:33, 41] = 0
    frames = [taken(detector, 1, 5, light)[0] for light in (20000, 30000, 45000, 25000, 60000)]  # a twilight
    master = build_master_flat(frames, bias, dark, parameters["master_flat"])
    good = master.ccd.mask == 0
    hot = np.zeros(good.shape, bool)
    for y, x in detector.hot_pixels:
        hot[y, x] = True
    used = good & (with_dark | ~hot)
    residual = master.ccd.data[used] / detector.response[used] - 1
    assert np.median(master.ccd.data[good]) == pytest.approx(1, abs=1e-4)
    assert residual.std() == pytest.approx(np.median(master.ccd.uncertainty.array[good]), rel=0.15)
    assert residual.std() < 0.004
    for y, x in ((30, 40), (31, 41), (32, 41)):
        assert master.ccd.mask[y, x] & MaskBit.DEAD
        assert master.ccd.data[y, x] == 1  # nothing is divided by nearly nothing
    assert master.metrics["dead_px"] == 3
    assert master.metrics["level_lowest"] == pytest.approx(20000 / detector.gain, rel=0.05)
    assert master.metrics["level_highest"] == pytest.approx(60000 / detector.gain, rel=0.05)
    assert 0.6 < master.metrics["vignetting"] < 0.9


def test_a_star_in_one_twilight_flat_is_rejected(detector, parameters):
    frames = [taken(detector, 1, 5, light)[0] for light in (20000, 30000, 45000, 25000, 60000)]
    frames[1].array[60:63, 70:73] += 5000
    master = build_master_flat(frames, plain(detector.bias), None, parameters["master_flat"])
    assert abs(master.ccd.data / detector.response - 1)[60:63, 70:73].max() < 0.03


def test_a_flat_without_light_is_refused(detector, parameters):
    with pytest.raises(ProcessingError, match="holds no light"):
        build_master_flat(taken(detector, 3), plain(detector.bias + 50), None, parameters["master_flat"])


def test_calibrations_of_another_size_are_refused(detector, parameters):
    small = plain(np.zeros((5, 5)))
    with pytest.raises(ProcessingError, match="do not fit"):
        build_master_dark(taken(detector, 3, 1), small, parameters["master_dark"])
    with pytest.raises(ProcessingError, match="do not fit"):
        build_master_flat(taken(detector, 3, 1, 9000), None, small, parameters["master_flat"])


def test_masks_of_calibrations_are_handed_on(detector, parameters):
    mask = np.zeros(detector.shape, np.uint16)
    mask[3, 4] = int(MaskBit.NO_DATA)
    bias = CCDData(detector.bias.astype(np.float32), unit="adu", mask=mask, uncertainty=StdDevUncertainty(mask * 0.0))
    assert build_master_dark(taken(detector, 3, 1), bias, parameters["master_dark"]).ccd.mask[3, 4] == MaskBit.NO_DATA
    flat = build_master_flat(taken(detector, 3, 1, 9000), bias, None, parameters["master_flat"])
    assert flat.ccd.mask[3, 4] & MaskBit.NO_DATA


@pytest.mark.parametrize("number", [1, 2])
def test_few_frames_are_said_to_be_few(number, detector, parameters):
    master = build_master_bias(taken(detector, number), parameters["master_bias"])
    assert f"made of {number} frame" in master.warnings[0]
    assert ("read_noise_adu" in master.metrics) is (number == 2)
    assert (master.ccd.uncertainty is None) is (number == 1)


def test_masters_do_not_depend_on_memory(detector, parameters):
    bias = plain(detector.bias)
    frames = taken(detector, 5, 2, 20000)
    first = build_master_flat(frames, bias, None, parameters["master_flat"], memory_bytes=10_000)
    second = build_master_flat(frames, bias, None, parameters["master_flat"])
    np.testing.assert_array_equal(first.ccd.data, second.ccd.data)
    np.testing.assert_array_equal(first.ccd.uncertainty.array, second.ccd.uncertainty.array)


@pytest.mark.parametrize(("factor", "step"), [(1, 1), (16, 16), (0.5, 0)])
def test_the_step_of_a_camera_s_numbers(factor, step, detector):
    assert step_of(ArraySource(detector.expose(1) * np.float32(factor))) == step
