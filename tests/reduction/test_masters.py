"""Masters: what the simulated detector adds is what they hold."""

from __future__ import annotations

import numpy as np
import pytest

from avcd.errors import ProcessingError
from avcd.frame import MaskBit
from avcd.reduction.combine import ArraySource
from avcd.reduction.masters import build_master_bias, build_master_dark, build_master_flat, step_of
from avcd.reduction.planes import MaskedImage


def taken(detector, number, seconds=0.0, light=0.0):
    return [ArraySource(detector.expose(seconds, light)) for _ in range(number)]


def pull(found: np.ndarray, truth: np.ndarray, uncertainty: np.ndarray) -> np.ndarray:
    return (found - truth) / uncertainty


def plain(data, uncertainty=None) -> MaskedImage:
    return MaskedImage(np.asarray(data, np.float32), unit="adu", uncertainty=uncertainty)


def test_a_master_bias_is_the_bias(detector, parameters):
    frames = taken(detector, 10)
    frames[3].array[40:44, 7] += 3000  # a cosmic ray
    master = build_master_bias(frames, parameters["master_bias"])
    deviations = pull(master.ccd.data, detector.bias, master.ccd.uncertainty)
    assert deviations.mean() == pytest.approx(0, abs=0.05)
    assert deviations.std() == pytest.approx(1, abs=0.08)
    assert abs(deviations).max() < 7
    read_noise = np.hypot(detector.read_noise_e / detector.gain, np.sqrt(1 / 12))
    assert master.metrics["read_noise_adu"] == pytest.approx(read_noise, rel=0.02)
    assert master.metrics["level"] == pytest.approx(1000, abs=2)
    assert master.metrics["frames"] == 10
    assert 0 < master.metrics["rejected_fraction"] < 0.02
    assert master.ccd.unit == "adu"
    assert master.ccd.mask.dtype == np.uint16
    assert not master.warnings


def test_a_master_dark_is_the_dark_current_without_its_bias(detector, parameters):
    bias = build_master_bias(taken(detector, 20), parameters["master_bias"]).ccd
    master = build_master_dark(taken(detector, 10, 60), bias, parameters["master_dark"])
    truth = detector.dark * 60 / detector.gain
    deviations = pull(master.ccd.data, truth, master.ccd.uncertainty)
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
    assert residual.std() == pytest.approx(np.median(master.ccd.uncertainty[good]), rel=0.15)
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
    bias = MaskedImage(detector.bias.astype(np.float32), unit="adu", mask=mask, uncertainty=mask * 0.0)
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
    np.testing.assert_array_equal(first.ccd.uncertainty, second.ccd.uncertainty)


@pytest.mark.parametrize(("factor", "step"), [(1, 1), (16, 16), (0.5, 0)])
def test_the_step_of_a_camera_s_numbers(factor, step, detector):
    assert step_of(ArraySource(detector.expose(1) * np.float32(factor))) == step


@pytest.mark.parametrize("number", [3, 4, 5, 7, 10])
def test_one_bad_frame_among_ten_or_fewer_leaves_no_trace(number, detector, parameters):
    """A mean and standard deviation cannot reject at five sigma with so few: an outlier is never that far out."""
    bias = plain(detector.bias)
    frames = taken(detector, number, 60)
    frames[1].array[20:60, 30:90] += 20000  # light came in, a satellite passed, a cosmic ray struck
    values = np.array([one.array[40, 60] for one in frames])
    assert abs(values - values.mean()).max() < 5 * values.std()
    found = {
        "dark": (build_master_dark(frames, bias, parameters["master_dark"]), detector.dark * 60 / detector.gain),
        "bias": (
            build_master_bias(frames, parameters["master_bias"]),
            detector.bias + detector.dark * 60 / detector.gain,
        ),
    }
    for master, truth in found.values():
        struck = (master.ccd.data - truth)[20:60, 30:90]
        noise = detector.read_noise_e / detector.gain / np.sqrt(number - 1)
        assert np.median(struck) == pytest.approx(0, abs=0.5 * noise)
        assert np.percentile(np.abs(struck), 99) < 6 * noise
    flats = taken(detector, number, 5, 30000)
    flats[1].array[20:60, 30:90] *= 1.2
    flat = build_master_flat(flats, bias, None, parameters["master_flat"]).ccd
    assert np.median((flat.data / detector.response)[20:60, 30:90]) == pytest.approx(1, abs=0.002)


FULL_WELL = 60000.0


def of_levels(detector, *parts):
    """Flats whose light is these parts of the full well above the bias."""
    return [taken(detector, 1, 5, part * (FULL_WELL - 1000) * detector.gain)[0] for part in parts]


def build(detector, parameters, frames, wells=FULL_WELL, **changes):
    wells = wells if isinstance(wells, list) else [wells] * len(frames)
    return build_master_flat(
        frames, plain(detector.bias), None, {**parameters["master_flat"], **changes}, full_well_adu=wells
    )


def test_flats_too_dark_or_too_bright_are_left_out(detector, parameters):
    frames = of_levels(detector, 0.5, 0.1, 0.4, 0.9, 0.22, 0.78)
    found = build(detector, parameters, frames)
    assert sorted(found.left_out) == [1, 3]
    assert "10% of the full well, not 20% to 80%" in found.left_out[1]
    assert "90% of the full well" in found.left_out[3]
    alone = build(detector, parameters, [frames[index] for index in (0, 2, 4, 5)])
    np.testing.assert_array_equal(found.ccd.data, alone.ccd.data)
    assert (found.metrics["frames"], found.metrics["frames_left_out"], found.metrics["frames_outside"]) == (4, 2, 0)
    wider = build(detector, parameters, frames, lowest_level=0.05)
    assert sorted(wider.left_out) == [3]


def test_flats_of_a_wrong_level_are_used_where_too_few_others_are_there(detector, parameters):
    found = build(detector, parameters, of_levels(detector, 0.5, 0.1, 0.1), minimum_frames=2)
    assert not found.left_out
    assert found.metrics["frames"] == 3
    assert found.metrics["frames_outside"] == 2
    assert any("2 of 3 flats are too dark or too bright, and are used all the same" in one for one in found.warnings)


def test_an_unknown_full_well_is_said_and_judges_nothing(detector, parameters):
    found = build(detector, parameters, of_levels(detector, 0.5, 0.1, 0.9), wells=[None] * 3)
    assert not found.left_out
    assert any("full well is not known" in one for one in found.warnings)


def test_a_flat_without_light_among_others_is_left_out(detector, parameters):
    frames = [*of_levels(detector, 0.5, 0.5, 0.5), ArraySource(detector.bias - 20)]
    found = build(detector, parameters, frames)
    assert "holds no light" in found.left_out[3]
    short = build(detector, parameters, frames, minimum_frames=4)
    assert (short.metrics["frames"], short.metrics["frames_missing"]) == (3, 1)


@pytest.mark.parametrize("method", ["mean", "median", "sum"])
def test_the_noise_of_a_master_is_told_whatever_the_method(method, detector, parameters):
    params = {**parameters["master_bias"], "method": method}
    found = build_master_bias(taken(detector, 9), params)
    noise = (found.ccd.data - detector.bias * (9 if method == "sum" else 1)).std()
    assert found.metrics["noise"] == pytest.approx(noise, rel=0.1)
    assert found.metrics["expected_noise"] == pytest.approx(noise, rel=0.1)
