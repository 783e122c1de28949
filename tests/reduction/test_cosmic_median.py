"""Cosmic rays by a running median: ccdproc's pixels, and what it means for stars."""

from __future__ import annotations

import ccdproc
import numpy as np
import pytest

from avcd.frame import MaskBit
from avcd.reduction.calibrate import Detector, Masters, reduce_frame
from avcd.reduction.cleaning import clean_cosmic_rays
from avcd.reduction.cosmic_median import find_by_median, median_parameters
from avcd.reduction.planes import MaskedImage


@pytest.fixture
def frame() -> np.ndarray:
    rng = np.random.default_rng(8)
    data = rng.normal(300, 20, (120, 131)).astype(np.float32)
    for row, column in rng.integers(0, 115, (25, 2)):
        data[row, column : column + 4] += 2000
    return data


@pytest.mark.parametrize(
    ("box", "grow", "replace", "sigma"), [(11, 5, 11, 5.0), (11, 0, 0, 4.0), (5, 3, 7, 5.0), (8, 4, 6, 3.5)]
)
def test_the_pixels_are_those_of_ccdproc(frame, box, grow, replace, sigma):
    error = np.sqrt(np.maximum(frame, 1)).astype(np.float32)
    theirs, where = ccdproc.cosmicray_median(frame, error_image=error, thresh=sigma, mbox=box, gbox=grow, rbox=replace)
    struck, cleaned = find_by_median(frame, error, sigma=sigma, box_px=box, grow_px=grow, replace_px=replace)
    assert struck.any()
    np.testing.assert_array_equal(struck, where)
    np.testing.assert_array_equal(cleaned, theirs)


def test_a_bad_pixel_takes_none_of_its_surroundings_with_it(frame):
    mask = np.zeros(frame.shape, bool)
    frame[60, 60], mask[60, 60] = 60000, True
    struck, cleaned = find_by_median(frame, 20.0, mask)
    assert not struck[55:66, 55:66].any() or not struck[60, 60]
    assert cleaned[60, 60] == 60000 or struck[60, 60]


def test_reduction_masks_and_replaces_them_by_the_frames_own_uncertainty(frame, parameters):
    params = {**parameters["reduced"], "cosmic_rays": "median"}
    detector = Detector(gain_e_per_adu=1.0, read_noise_e=5.0, bias_removed=True)
    found = reduce_frame(MaskedImage(frame, unit="adu"), Masters(), detector, 60.0, params)
    struck, cleaned = find_by_median(frame, np.sqrt(frame.clip(0) + np.float32(25)), **median_parameters(params))
    np.testing.assert_array_equal((found.ccd.mask & MaskBit.COSMIC_RAY) != 0, struck)
    np.testing.assert_allclose(found.ccd.data, cleaned, rtol=1e-6)
    assert found.metrics["cosmic_ray_px"] == np.count_nonzero(struck) > 100


@pytest.mark.parametrize("gain", [None, 2.0])
def test_a_frame_by_itself_is_cleaned_in_its_own_unit(frame, gain, parameters):
    found, count = clean_cosmic_rays(
        MaskedImage(frame, unit="adu"), parameters["reduced"], gain_e_per_adu=gain, read_noise_e=9.0, method="median"
    )
    marked = (found.mask & MaskBit.COSMIC_RAY) != 0
    assert count == np.count_nonzero(marked)
    assert marked[frame > 1500].mean() > 0.99
    assert found.data.max() < 500
    np.testing.assert_array_equal(found.data[~marked], frame[~marked])


def test_narrow_stars_are_taken_for_cosmic_rays_which_is_why_it_is_not_the_default(parameters):
    y, x = np.indices((101, 101))
    star = 300 + 20000 * np.exp(-((y - 50) ** 2 + (x - 50) ** 2) / 8)
    data = np.random.default_rng(1).poisson(star).astype(np.float32)
    struck, _ = find_by_median(data, np.sqrt(data))
    assert struck[50, 50]
    assert parameters["reduced"]["cosmic_rays"] == "lacosmic"
