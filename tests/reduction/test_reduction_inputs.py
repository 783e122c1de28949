"""No stage changes what it is given."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from avcd.reduction.arithmetic import OPERATIONS, calculate
from avcd.reduction.background import estimate_background, subtract_background
from avcd.reduction.calibrate import Detector, Masters, reduce_frame
from avcd.reduction.cleaning import clean_cosmic_rays
from avcd.reduction.combine import ArraySource, combine_frames
from avcd.reduction.defects import find_bad_pixels
from avcd.reduction.figures import (
    count_spots,
    measure_drift,
    measure_noise,
    measure_outliers,
    measure_structure,
    take_sample,
)
from avcd.reduction.masters import build_master_bias, build_master_dark, build_master_flat
from avcd.reduction.noise import clipped_sigma, mad_sigma, read_noise_from_biases
from avcd.reduction.overscan import Section, subtract_overscan, trim
from avcd.reduction.planes import MaskedImage
from avcd.reduction.residues import measure_hot_residue, measure_sky_gradient
from avcd.reduction.transfer import gain_of_frames


def combine(frames, ccds, parameters):
    combine_frames([ArraySource(one.data, one.mask) for one in frames], floor=0.5)


def bias(frames, ccds, parameters):
    build_master_bias([ArraySource(one.data, one.mask) for one in frames], parameters["master_bias"])


def dark(frames, ccds, parameters):
    build_master_dark([ArraySource(one.data, one.mask) for one in frames], ccds["bias"], parameters["master_dark"])


def flat(frames, ccds, parameters):
    sources = [ArraySource(one.data, one.mask) for one in frames]
    build_master_flat(sources, ccds["bias"], ccds["dark"], parameters["master_flat"])


def defects(frames, ccds, parameters):
    find_bad_pixels(ccds["dark"], parameters["bad_pixel_mask"])


def reduce(frames, ccds, parameters):
    masters = Masters(ccds["bias"], ccds["dark"], 10.0, False, True, ccds["flat"], ccds["bias"].mask)
    reduce_frame(frames[0], masters, Detector(1.6, 8, None, 60000, 100), 20.0, parameters["reduced"])


def reduce_in_adu(frames, ccds, parameters):
    reduce_frame(frames[0], Masters(bias=ccds["bias"], flat=ccds["flat"]), Detector(), None, parameters["reduced"])


def measure(frames, ccds, parameters):
    read_noise_from_biases(frames[0].data, frames[1].data)
    mad_sigma(frames[0].data)
    clipped_sigma(frames[0].data)


def figures(frames, ccds, parameters):
    sources = [ArraySource(one.data, one.mask) for one in frames]
    sample = take_sample(sources, ccds["bias"].data, ccds["bias"].mask)
    measure_noise(sample, "median")
    measure_drift(sample)
    measure_outliers(sample)
    measure_structure(sample)
    count_spots(ccds["dark"].data, ccds["dark"].mask)


def residues(frames, ccds, parameters):
    measure_hot_residue(frames[0].data, ccds["dark"].data, ccds["dark"].mask != 0)
    measure_sky_gradient(frames[0].data, frames[0].mask != 0)


def overscan(frames, ccds, parameters):
    for degree in (None, 2):
        subtract_overscan(frames[0], Section(121, 130, 1, 110), degree=degree)
    trim(frames[0], Section(1, 120, 1, 110))


def background(frames, ccds, parameters):
    subtract_background(frames[0], estimate_background(frames[0]))


def cleaning(frames, ccds, parameters):
    for gain in (1.6, None):
        clean_cosmic_rays(frames[0], parameters["reduced"], gain_e_per_adu=gain, saturation=50000)


def gain(frames, ccds, parameters):
    gain_of_frames([one.data for one in frames[:2]], 5.0)


def arithmetic(frames, ccds, parameters):
    for operation in OPERATIONS:
        calculate(frames[0], operation, frames[1])
        calculate(frames[0], operation, 3.0)


STAGES = [combine, bias, dark, flat, defects, reduce, reduce_in_adu, measure, figures, residues,
          overscan, background, arithmetic, cleaning, gain]  # fmt: skip


def frozen(ccd: MaskedImage) -> MaskedImage:
    """Its arrays cannot be written to, so that even a change that is undone again is an error."""
    for array in (ccd.data, ccd.mask, ccd.uncertainty):
        array.setflags(write=False)
    return ccd


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.__name__)
def test_stage_leaves_its_input_alone(stage, detector, parameters):
    rng = np.random.default_rng(1)

    def ccd(data, unit="adu"):
        data = np.array(data, np.float32)
        data[0, 0] = np.nan
        mask = (rng.random(data.shape) < 0.02).astype(np.uint16)
        return MaskedImage(data, unit=unit, mask=mask, uncertainty=np.full(data.shape, 0.01, np.float32))

    frames = [ccd(detector.expose(20, 20000)) for _ in range(4)]
    ccds = {"bias": ccd(detector.bias), "dark": ccd(detector.dark), "flat": ccd(detector.response, "")}
    before = copy.deepcopy((frames, ccds))
    for one in (*frames, *ccds.values()):
        frozen(one)
    stage(frames, ccds, parameters)
    for mine, was in zip((*frames, *ccds.values()), (*before[0], *before[1].values()), strict=True):
        np.testing.assert_array_equal(mine.data, was.data)
        np.testing.assert_array_equal(mine.mask, was.mask)
        np.testing.assert_array_equal(mine.uncertainty, was.uncertainty)
        assert mine.unit == was.unit
