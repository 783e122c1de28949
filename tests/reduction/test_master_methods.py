"""How masters are combined is the recipe's to say: every method and rejection as ccdproc or NumPy has it."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.nddata import CCDData
from ccdproc import Combiner

from avcd.errors import ConfigError, ProcessingError
from avcd.frame import MaskBit, ProductKind
from avcd.recipes import load_recipes
from avcd.reduction.calibrate import Detector, reduce_frame
from avcd.reduction.calibrate import Masters as CalibrationMasters
from avcd.reduction.combine import ArraySource
from avcd.reduction.masters import build_master_bias, build_master_dark, build_master_flat
from avcd.reduction.planes import MaskedImage


def taken(detector, number, seconds=0.0, light=0.0):
    return [ArraySource(detector.expose(seconds, light)) for _ in range(number)]


def values(frames) -> np.ndarray:
    return np.stack([one.array for one in frames]).astype(np.float64)


def combiner(frames) -> Combiner:
    return Combiner([CCDData(one.array.astype(np.float64), unit="adu") for one in frames])


@pytest.mark.parametrize("method", ["mean", "median", "sum"])
def test_methods_without_rejection_are_numpys(method, detector, parameters):
    frames = taken(detector, 7)
    found = build_master_bias(frames, {**parameters["master_bias"], "method": method, "rejection": "none"})
    np.testing.assert_allclose(found.ccd.data, getattr(np, method)(values(frames), axis=0), rtol=1e-6)


@pytest.mark.parametrize(("lowest", "highest"), [(1, 1), (0, 2), (2, 1)])
def test_extrema_are_those_of_ccdproc(lowest, highest, detector, parameters):
    frames = taken(detector, 9)
    how = {"rejection": "extrema", "lowest": lowest, "highest": highest}
    found = build_master_bias(frames, {**parameters["master_bias"], **how})
    theirs = combiner(frames)
    theirs.clip_extrema(nlow=lowest, nhigh=highest)
    np.testing.assert_allclose(found.ccd.data, theirs.average_combine().data, rtol=1e-6)


def test_mean_and_standard_deviation_are_those_of_ccdproc(detector, parameters):
    frames = taken(detector, 20)
    frames[3].array[40:60, 7] += 3000
    how = {"rejection": "std", "low_sigma": 2.5, "high_sigma": 3.0}
    found = build_master_bias(frames, {**parameters["master_bias"], **how})
    theirs = combiner(frames)
    theirs.sigma_clipping(low_thresh=2.5, high_thresh=3.0, func=np.ma.mean, dev_func=np.ma.std)
    np.testing.assert_allclose(found.ccd.data, theirs.average_combine().data, rtol=1e-6)


def test_values_out_of_range_take_no_part(detector, parameters):
    frames = taken(detector, 6)
    frames[2].array[10:20, 10:20] = 60000
    frames[4].array[10:20, 10:20] = 3
    how = {"rejection": "range", "low_level": 500.0, "high_level": 5000.0, "counts": True}
    found = build_master_bias(frames, {**parameters["master_bias"], **how})
    stack = values(frames)
    kept = np.ma.masked_outside(stack, 500, 5000)
    np.testing.assert_allclose(found.ccd.data, kept.mean(axis=0), rtol=1e-6)
    np.testing.assert_array_equal(found.counts, np.ma.count(kept, axis=0))
    assert set(np.unique(found.counts)) == {4, 6}


def test_quiet_frames_weigh_more(detector, parameters):
    frames = taken(detector, 6)
    noisy = [ArraySource(one.array + detector.rng.normal(0, 40, one.shape).astype(np.float32)) for one in frames[:3]]
    mixed = [*noisy, *frames[3:]]
    truth = detector.bias
    plain, weighted = (
        build_master_bias(mixed, {**parameters["master_bias"], "method": method, "rejection": "none"})
        for method in ("mean", "weighted")
    )
    assert np.std(weighted.ccd.data - truth) < 0.3 * np.std(plain.ccd.data - truth)
    deviations = (weighted.ccd.data - truth) / weighted.ccd.uncertainty
    assert np.std(deviations) < 1.2  # and its uncertainty does not claim more than that


def test_bright_flats_weigh_more(detector, parameters):
    frames = taken(detector, 3, 3, 500.0) + taken(detector, 3, 3, 30000.0)
    bias = MaskedImage(detector.bias.astype(np.float32), unit="adu")
    errors = {}
    for method in ("mean", "weighted"):
        how = {"lowest_level": 0.0, "highest_level": 1.0, "method": method}
        flat = build_master_flat(frames, bias, None, {**parameters["master_flat"], **how}).ccd
        errors[method] = np.std(flat.data / detector.response)
    assert errors["weighted"] < 0.5 * errors["mean"]


def test_flats_may_be_scaled_by_their_means_or_not_at_all(detector, parameters):
    frames = taken(detector, 4, 3, 10000.0) + taken(detector, 4, 3, 20000.0)
    bias = MaskedImage(detector.bias.astype(np.float32), unit="adu")
    levels = {"lowest_level": 0.0, "highest_level": 1.0}
    light = values(frames) - detector.bias.astype(np.float32)
    for scale, divider in (("mean", light.mean(axis=(1, 2))), ("none", np.ones(8))):
        how = {**levels, "scale": scale, "rejection": "none"}
        flat = build_master_flat(frames, bias, None, {**parameters["master_flat"], **how}).ccd
        expected = np.mean(light / divider[:, None, None], axis=0)
        np.testing.assert_allclose(flat.data, expected / np.median(expected), rtol=1e-5)


def test_a_bias_that_drifts_is_brought_to_one_level(detector, parameters):
    frames = [
        ArraySource(one.array * np.float32(factor))
        for one, factor in zip(taken(detector, 5), (1, 1.1, 0.9, 1.05, 1), strict=True)
    ]
    how = {**parameters["master_bias"], "rejection": "none", "scale": "median"}
    found = build_master_bias(frames, how)
    stack = values(frames)
    medians = np.median(stack, axis=(1, 2))
    expected = np.mean(stack * (np.median(medians) / medians)[:, None, None], axis=0)
    np.testing.assert_allclose(found.ccd.data, expected, rtol=1e-6)
    assert found.ccd.uncertainty.mean() < 5


def test_a_level_below_zero_cannot_be_scaled_by(detector, parameters):
    bias = MaskedImage(np.full(detector.shape, 5000, np.float32), unit="adu")
    with pytest.raises(ProcessingError, match="frame 1 has a level of -"):
        build_master_dark(taken(detector, 3), bias, {**parameters["master_dark"], "scale": "mean"})


@pytest.mark.parametrize("build", [build_master_bias, build_master_dark, build_master_flat])
def test_survivors_are_counted_when_asked_for(build, detector, parameters):
    frames = taken(detector, 5, 3, 20000.0)
    frames[1].array[33, 44] = 60000
    bias = [] if build is build_master_bias else [None] if build is build_master_dark else [None, None]
    recipe = {**parameters[build.__name__.removeprefix("build_")], "lowest_level": 0.0, "highest_level": 1.0}
    counted = build(frames, *bias, {**recipe, "counts": True})
    assert counted.counts[33, 44] == 4
    assert np.median(counted.counts) == 5
    assert build(frames, *bias, recipe).counts is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('method = "average"', "mean, median, sum, weighted"),
        ('rejection = "sigclip"', "mad, std, extrema, range, none"),
        ("rejection = true", '"mad" is what such a value looks like'),
        ("low_sigma = -1", "at least 0"),
        ("lowest = 1.5", "1 is what such a value looks like"),
        ("low_level = 10\nhigh_level = 5", "not below"),
        ('scale = "exposure"', "none, median, mean"),
        ("clip = 3", "no such parameter"),
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused_as_it_is_loaded(text, said, tmp_path):
    (tmp_path / "recipes").mkdir()
    path = tmp_path / "recipes" / "bias.toml"
    path.write_text(f'kind = "master_bias"\nname = "master_bias"\nversion = 2\n[parameters]\n{text}\n')
    with pytest.raises(ConfigError, match=said) as raised:
        load_recipes(tmp_path)
    assert str(path) in str(raised.value)


def test_a_recipe_may_say_true_and_false_of_cosmic_rays(tmp_path):
    (tmp_path / "recipes").mkdir()
    for value, word in ((True, "lacosmic"), (False, "none")):
        text = f'kind = "reduced"\nname = "reduced"\nversion = 3\n[parameters]\ncosmic_rays = {str(value).lower()}\n'
        (tmp_path / "recipes" / "reduced.toml").write_text(text)
        assert load_recipes(tmp_path)[ProductKind.REDUCED].parameters["cosmic_rays"] == word


def test_pixels_of_odd_response_are_masked_in_the_flat_and_in_what_is_divided_by_it(detector, parameters):
    odd = [(30, 31), (80, 90)]
    for place, response in zip(odd, (0.75, 1.3), strict=True):
        detector.response[place] = response
    frames = taken(detector, 10, 3, 30000.0)
    bias = MaskedImage(detector.bias.astype(np.float32), unit="adu")
    flat = build_master_flat(frames, bias, None, parameters["master_flat"])
    marked = (flat.ccd.mask & MaskBit.RESPONSE) != 0
    assert all(marked[place] for place in odd)
    assert np.count_nonzero(marked) == flat.metrics["response_px"] <= 4
    light = MaskedImage(detector.expose(60, 2000.0), unit="adu")
    raw = CalibrationMasters(bias=MaskedImage(bias.data, unit="adu"), flat=flat.ccd)
    quiet = {**parameters["reduced"], "cosmic_rays": "none"}
    reduced = reduce_frame(light, raw, Detector(gain_e_per_adu=1.6, read_noise_e=8.0), 60.0, quiet).ccd
    assert all(reduced.mask[place] & MaskBit.RESPONSE for place in odd)
    # The value is that of the flat all the same: what responds in proportion is right.
    assert reduced.data[odd[0]] == pytest.approx(np.median(reduced.data), rel=0.2)
    silent = build_master_flat(frames, bias, None, {**parameters["master_flat"], "response_sigma": 0.0})
    assert not (silent.ccd.mask & MaskBit.RESPONSE).any()
    np.testing.assert_array_equal(silent.ccd.data, flat.ccd.data)
