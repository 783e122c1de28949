"""What other reduction programs were seen to get wrong comes out right here; each test is one such case.

More of them are tested where the part is: docs/coverage.md lists all.
"""

from __future__ import annotations

import numpy as np
import pytest

from avcd.errors import ConfigError
from avcd.frame import MaskBit
from avcd.recipes import load_recipes
from avcd.reduction.calibrate import Detector, Masters, reduce_frame
from avcd.reduction.combine import ArraySource
from avcd.reduction.defects import find_bad_pixels
from avcd.reduction.masters import build_master_dark, build_master_flat
from avcd.reduction.planes import MaskedImage


def ccd(data) -> MaskedImage:
    return MaskedImage(np.asarray(data, np.float32), unit="adu")


@pytest.mark.parametrize(("number", "outlier"), [(5, 10_000), (7, 100_000), (10, 10_000), (11, 10_000)])
def test_one_outlier_among_few_equal_darks_is_rejected(number, outlier, parameters):
    frames = [np.full((20, 30), 100, np.float32) for _ in range(number)]
    frames[2][7, 8] = outlier
    master = build_master_dark([ArraySource(one) for one in frames], None, parameters["master_dark"])
    np.testing.assert_array_equal(master.ccd.data, 100)


def test_three_bad_columns_side_by_side_are_found(parameters):
    data = np.random.default_rng(1).normal(100, 5, (256, 300))
    data[:, 140:143] += 30
    found = find_bad_pixels(ccd(data), parameters["bad_pixel_mask"])
    assert (found.ccd.mask[:, 140:143] & MaskBit.HOT).all()
    assert found.metrics["bad_columns"] == 3


def test_the_noise_is_each_cameras_own(parameters):
    flat_out = {**parameters["reduced"], "cosmic_rays": "none"}
    dark = ccd(np.zeros((32, 32)))
    noises = []
    for read_noise_e, gain in ((3.0, 0.5), (12.0, 2.0)):
        known = Detector(gain_e_per_adu=gain, read_noise_e=read_noise_e, bias_removed=True)
        noises.append(float(np.median(reduce_frame(dark, Masters(), known, 1.0, flat_out).ccd.uncertainty)))
    assert noises == pytest.approx([3.0, 12.0], rel=1e-5)


def test_a_pedestal_is_added_once_and_before_the_bias(parameters):
    quiet = {**parameters["reduced"], "cosmic_rays": "none"}
    known = Detector(gain_e_per_adu=1.0, read_noise_e=5.0, pedestal_adu=100.0)
    found = reduce_frame(ccd(np.full((32, 32), 1400)), Masters(bias=ccd(np.full((32, 32), 1000))), known, 1.0, quiet)
    assert np.median(found.ccd.data) == 500


def test_corners_that_a_flat_never_lit_are_masked_and_not_blown_up(parameters):
    quiet = {**parameters["reduced"], "cosmic_rays": "none"}
    response = np.ones((64, 64))
    response[:10, :10] = 0.01
    rng = np.random.default_rng(2)
    flats = [ArraySource(rng.poisson(20_000 * response).astype(np.float32)) for _ in range(5)]
    master = build_master_flat(flats, None, None, parameters["master_flat"])
    light = ccd(rng.poisson(500 * response))
    found = reduce_frame(light, Masters(flat=master.ccd), Detector(gain_e_per_adu=1.0, read_noise_e=5.0), 1.0, quiet)
    assert (found.ccd.mask[:10, :10] & MaskBit.DEAD).all()
    assert np.abs(found.ccd.data[:10, :10]).max() < 100
    assert not found.ccd.mask[12:, 12:].any()


def test_a_misspelt_parameter_is_refused_and_not_passed_over(tmp_path):
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "bias.toml").write_text(
        'kind = "master_bias"\nname = "mine"\nversion = 1\n[parameters]\nsigma_clip_min = 2\n'
    )
    with pytest.raises(ConfigError, match="sigma_clip_min: no such parameter"):
        load_recipes(tmp_path)
