"""One frame from raw to electrons: injected truth comes back, within the uncertainty that is claimed."""

from __future__ import annotations

from dataclasses import replace

import ccdproc
import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import CCDData
from scipy.ndimage import binary_dilation

from avcd.errors import ProcessingError
from avcd.frame import MaskBit
from avcd.reduction.calibrate import Detector, Masters, reduce_frame
from avcd.reduction.combine import ArraySource
from avcd.reduction.defects import find_bad_pixels
from avcd.reduction.masters import build_master_bias, build_master_dark, build_master_flat
from avcd.reduction.planes import MaskedImage

SKY_E = 900.0
SECONDS = 30.0


def stars(shape, number=12, peak_e=20000.0, sigma=1.8, seed=6) -> np.ndarray:
    rng = np.random.default_rng(seed)
    y, x = np.indices(shape)
    found = np.zeros(shape)
    for _ in range(number):
        row, column = rng.uniform(8, shape[0] - 8), rng.uniform(8, shape[1] - 8)
        found += peak_e * rng.uniform(0.1, 1) * np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * sigma**2))
    return found


def masters_of(detector, parameters, number=10) -> tuple[Masters, float]:
    """Masters built from raw frames, and the read noise measured on the biases, adu."""
    bias = build_master_bias([ArraySource(detector.expose(0)) for _ in range(number)], parameters["master_bias"])
    raw_darks = [ArraySource(detector.expose(2 * SECONDS)) for _ in range(number)]
    dark = build_master_dark(raw_darks, bias.ccd, parameters["master_dark"]).ccd
    flats = [ArraySource(detector.expose(2, 40000)) for _ in range(number)]
    flat = build_master_flat(flats, bias.ccd, None, parameters["master_flat"]).ccd
    bad = find_bad_pixels(dark, parameters["bad_pixel_mask"]).ccd.mask
    found = Masters(bias.ccd, dark, 2 * SECONDS, False, True, flat, bad)
    return found, bias.metrics["read_noise_adu"]


def raw(data) -> MaskedImage:
    return MaskedImage(np.asarray(data, np.float32), unit="adu")


@pytest.fixture
def quiet(parameters):
    """The recipe's parameters without cosmic rays."""
    return {**parameters["reduced"], "cosmic_rays": "none"}


@pytest.mark.parametrize("gain_known", [True, False])
def test_the_sky_comes_back_within_its_uncertainty(gain_known, make_detector, parameters, quiet):
    pulls = []
    for seed in range(30):  # everything is taken anew: the masters' noise counts too
        detector = make_detector(seed=seed, shape=(80, 90), hot_pixels=((10, 20), (50, 60)))
        if not gain_known:  # photon noise cannot be told from adu alone: none worth speaking of then
            detector.read_noise_e = 120.0
        masters, read_noise_adu = masters_of(detector, parameters, 8)
        truth = SKY_E + stars(detector.shape, 5)
        frame = detector.expose(SECONDS, truth)
        known = Detector(gain_e_per_adu=detector.gain if gain_known else None, read_noise_adu=read_noise_adu)
        found = reduce_frame(raw(frame), masters, known, SECONDS, quiet)
        truth_in_unit = truth if gain_known else truth / detector.gain
        pull = (found.ccd.data - truth_in_unit) / found.ccd.uncertainty
        pull[found.ccd.mask != 0] = np.nan
        if not gain_known:
            pull[truth > 1.5 * SKY_E] = np.nan
        pulls.append(pull)
    assert found.ccd.unit == ("electron" if gain_known else "adu")
    pulls = np.array(pulls)
    assert np.nanmean(pulls) == pytest.approx(0, abs=0.03)
    assert np.nanstd(pulls) == pytest.approx(1, abs=0.04)
    complete = ~np.isnan(pulls).any(axis=0)  # pixel by pixel, over the realisations
    assert np.median(np.std(pulls[:, complete], axis=0, ddof=1)) == pytest.approx(1, abs=0.05)
    assert complete.mean() > 0.3
    assert np.isnan(pulls).mean() < 0.2


def test_a_hundred_realisations_scatter_as_is_claimed(make_detector, parameters, quiet):
    """Bias, dark, flat, gain and repair, the masters taken anew each time: pixel by pixel, within three percent."""
    residuals, claims, repaired = [], [], []
    mend = {**quiet, "repair": "median"}
    truth = SKY_E + stars((40, 50), 3)
    for seed in range(100):
        detector = make_detector(seed=1000 + seed, shape=truth.shape, hot_pixels=((10, 20), (30, 40)))
        masters, read_noise_adu = masters_of(detector, parameters, 8)
        known = Detector(gain_e_per_adu=detector.gain, read_noise_adu=read_noise_adu)
        found = reduce_frame(raw(detector.expose(SECONDS, truth)), masters, known, SECONDS, mend)
        whole = (found.ccd.mask & ~np.uint16(MaskBit.REPAIRED)) == 0
        residuals.append(np.where(whole, found.ccd.data - truth, np.nan))
        claims.append(np.where(whole, found.ccd.uncertainty, np.nan))
        repaired.append((found.ccd.mask & MaskBit.REPAIRED) != 0)
    residual, claim, mended = np.array(residuals), np.array(claims), np.array(repaired)
    usual = ~mended.any(axis=0) & (np.isfinite(residual).sum(axis=0) == 100)
    assert usual.mean() > 0.5
    scatter = np.std(residual[:, usual], axis=0, ddof=1)
    claimed = np.sqrt(np.mean(np.square(claim[:, usual]), axis=0))
    assert np.median(scatter / claimed) == pytest.approx(1, abs=0.03)
    assert np.sqrt(np.mean(np.square(scatter / claimed))) == pytest.approx(1, abs=0.03)
    flat = mended & (truth < 1.01 * SKY_E)  # beside a star a neighbour's value is no claim about this pixel's
    assert np.count_nonzero(flat) > 100
    # The claim covers the scatter of the neighbours, since what was there may differ from them; a flat sky does not.
    assert 0.2 < np.nanstd((residual / claim)[flat]) < 1.03


def test_what_was_done_is_told(detector, parameters, quiet):
    masters, read_noise = masters_of(detector, parameters)
    found = reduce_frame(raw(detector.expose(SECONDS, SKY_E)), masters, Detector(1.6, None, read_noise), SECONDS, quiet)
    assert [step["step"] for step in found.steps] == [
        "bias subtracted",
        "dark subtracted",
        "flat divided",
        "bad pixels masked",
        "gain",
    ]
    assert found.steps[1]["scale"] == 0.5
    assert found.applied == {"bias", "dark", "flat"}
    assert found.warnings == ()
    for y, x in detector.hot_pixels:
        assert found.ccd.mask[y, x] & MaskBit.HOT
    assert found.metrics["masked_fraction"] == np.count_nonzero(found.ccd.mask) / found.ccd.mask.size


def test_a_dark_that_holds_its_bias_brings_it(detector, parameters, quiet):
    masters, read_noise = masters_of(detector, parameters)
    kept = build_master_dark(
        [ArraySource(detector.expose(SECONDS)) for _ in range(10)], None, parameters["master_dark"]
    )
    frame = raw(detector.expose(SECONDS, SKY_E))
    for said in (True, None):  # None: judged by its level
        for bias in (masters.bias, None):
            mine = replace(masters, bias=bias, dark=kept.ccd, dark_exposure_s=SECONDS, dark_has_bias=said)
            found = reduce_frame(frame, mine, Detector(detector.gain, None, read_noise), SECONDS, quiet)
            good = found.ccd.mask == 0
            assert np.median(found.ccd.data[good]) == pytest.approx(SKY_E, rel=0.01)
            pull = ((found.ccd.data - SKY_E) / found.ccd.uncertainty)[good]
            assert pull.std() == pytest.approx(1, abs=0.05)  # photon noise is in it
            assert found.applied == {"bias", "dark", "flat"}
            assert bool(found.warnings) is (said is None)
    mine = replace(masters, dark_has_bias=None)  # a dark without its bias, that does not say so
    found = reduce_frame(frame, mine, Detector(detector.gain, None, read_noise), SECONDS, quiet)
    assert "does not hold" in found.warnings[0]
    assert np.median(found.ccd.data) == pytest.approx(SKY_E, rel=0.01)


def test_a_dark_with_its_bias_is_never_scaled(detector, quiet):
    masters = Masters(dark=raw(detector.bias), dark_exposure_s=60, dark_has_bias=True)
    with pytest.raises(ProcessingError, match="holds its bias cannot be scaled"):
        reduce_frame(raw(detector.expose(30)), masters, Detector(), 30, quiet)


@pytest.mark.parametrize(("exposure_s", "dark_s"), [(None, 60.0), (30.0, None)])
def test_a_dark_of_unknown_exposure_is_not_guessed(exposure_s, dark_s, detector, quiet):
    masters = Masters(bias=raw(detector.bias), dark=raw(detector.dark), dark_exposure_s=dark_s, dark_has_bias=False)
    with pytest.raises(ProcessingError, match="cannot be scaled"):
        reduce_frame(raw(detector.expose(30)), masters, Detector(), exposure_s, quiet)


@pytest.mark.parametrize("kind", ["bias", "dark", "flat", "bad_pixels"])
def test_masters_of_another_size_are_refused(kind, detector, quiet):
    small = np.zeros((4, 4), np.uint16) if kind == "bad_pixels" else raw(np.ones((4, 4)))
    with pytest.raises(ProcessingError, match="shape"):
        reduce_frame(raw(detector.expose(30)), Masters(**{kind: small}), Detector(), 30, quiet)


def test_cosmic_rays_are_found_and_stars_are_not(make_detector, parameters):
    detector = make_detector(shape=(300, 320))
    truth = SKY_E + stars(detector.shape, 60)
    struck = np.zeros(detector.shape, bool)
    rng = np.random.default_rng(11)
    for y, x in zip(rng.integers(5, 290, 60), rng.integers(5, 310, 60), strict=True):
        struck[y, x : x + rng.integers(1, 4)] = True
    frame = detector.expose(SECONDS, truth) + struck * np.float32(2500)
    masters, read_noise = masters_of(detector, parameters, 5)
    known = Detector(detector.gain, None, read_noise, 65535)
    found = reduce_frame(raw(frame), masters, known, SECONDS, parameters["reduced"])
    flagged = (found.ccd.mask & MaskBit.COSMIC_RAY) > 0
    other = found.ccd.mask & ~np.uint16(MaskBit.COSMIC_RAY) > 0
    assert flagged[struck & ~other].mean() > 0.9
    apart = ~binary_dilation(struck, iterations=2)  # a hit's neighbours are cleaned with it
    assert not (flagged & apart & (truth > 2 * SKY_E)).any()
    assert (flagged & ~struck).mean() < 0.005
    sky = struck & (truth < 1.1 * SKY_E) & flagged
    assert np.median(found.ccd.data[sky]) == pytest.approx(SKY_E, rel=0.1)  # replaced from the neighbours
    assert found.metrics["cosmic_ray_px"] == flagged.sum()


@pytest.mark.parametrize("shape", [(1, 1), (1, 1000), (3, 1000), (1000, 2), (7, 50)])
def test_a_strip_is_reduced_without_a_look_for_cosmic_rays(shape, parameters):
    """astroscrappy writes beyond the memory of frames of three pixels and less on a side."""
    frame = np.random.default_rng(1).normal(500, 10, shape)
    found = reduce_frame(raw(frame), Masters(), Detector(1.6, 8), 1, parameters["reduced"])
    np.testing.assert_allclose(found.ccd.data, frame * 1.6, rtol=1e-5)
    assert not found.ccd.mask.any()


def test_values_that_no_detector_counts_are_no_values(detector, parameters):
    frame = detector.expose(1, 500)
    frame[5, 5], frame[6, 6], frame[7, 7] = 1e38, -1e38, np.inf
    found = reduce_frame(raw(frame), Masters(), Detector(1.6, 8), 1, parameters["reduced"])
    for place in ((5, 5), (6, 6), (7, 7)):
        assert found.ccd.mask[place] & MaskBit.NON_FINITE
    assert np.isfinite(found.ccd.data).all()


@pytest.mark.parametrize("gain", [0.4, 1.0, 2.5])
def test_bright_stars_below_saturation_are_not_taken_for_saturated(gain, make_detector, parameters):
    """The saturation level is in adu, the pixels in electrons: with a gain above one they must not be mixed up."""
    detector = make_detector(gain=gain, shape=(100, 100), hot_pixels=())
    y, x = np.indices(detector.shape)
    star = 45000 * gain * np.exp(-((y - 50) ** 2 + (x - 50) ** 2) / (2 * 2.0**2))
    frame = detector.expose(1, 500 + star)
    masters = Masters(bias=raw(detector.bias), flat=MaskedImage(detector.response, unit=""))
    known = Detector(gain, detector.read_noise_e, None, 60000)
    found = reduce_frame(raw(frame), masters, known, 1, parameters["reduced"])
    near = np.s_[44:57, 44:57]
    assert not found.ccd.mask[near].any()
    assert found.ccd.data[near].sum() == pytest.approx((500 + star)[near].sum(), rel=0.01)


def test_saturated_pixels_are_masked_by_their_raw_value(detector, parameters):
    frame = detector.expose(1, 500)
    frame[10:13, 10:13] = 60000
    frame[20, 20] = 55000
    known = Detector(1.6, 8, None, 60000, pedestal_adu=1000)
    found = reduce_frame(raw(frame), Masters(bias=raw(detector.bias + 1000)), known, 1, parameters["reduced"])
    saturated = (found.ccd.mask & MaskBit.SATURATED) > 0
    assert np.argwhere(saturated).min(axis=0).tolist() == [10, 10]
    assert saturated.sum() == 9
    assert np.median(found.ccd.data) == pytest.approx(500, rel=0.03)  # the pedestal was added before the bias went


def test_broken_values_are_masked_and_carried_no_further(detector, quiet):
    frame, bias, flat = detector.expose(1, 500), detector.bias.copy(), detector.response.copy()
    frame[1, 1], frame[1, 2], bias[2, 2], flat[3, 3], flat[3, 4] = np.nan, np.inf, np.nan, np.nan, 0
    masters = Masters(bias=raw(bias), flat=MaskedImage(flat, unit=""))
    found = reduce_frame(raw(frame), masters, Detector(1.6, 8), 1, quiet)
    assert np.isfinite(found.ccd.data).all()
    assert np.isfinite(found.ccd.uncertainty).all()
    for place in ((1, 1), (1, 2), (2, 2)):
        assert found.ccd.mask[place] & MaskBit.NON_FINITE
    for place in ((3, 3), (3, 4)):
        assert found.ccd.mask[place] & MaskBit.DEAD
    assert np.count_nonzero(found.ccd.mask) == 5


def test_masks_of_all_masters_come_together(detector, quiet):
    def marked(data, y, bit, unit="adu"):
        mask = np.zeros(detector.shape, np.uint16)
        mask[y, 0] = int(bit)
        return MaskedImage(np.asarray(data, np.float32), unit=unit, mask=mask)

    bad = np.zeros(detector.shape, np.uint16)
    bad[4, 0] = int(MaskBit.USER)
    masters = Masters(
        marked(detector.bias, 1, MaskBit.FEW_INPUTS),
        marked(detector.dark, 2, MaskBit.NO_DATA),
        1.0,
        False,
        False,
        marked(detector.response, 3, MaskBit.DEAD, ""),
        bad,
    )
    found = reduce_frame(marked(detector.expose(1, 500), 0, MaskBit.NON_FINITE), masters, Detector(1.6, 8), 1, quiet)
    bits = [MaskBit.NON_FINITE, MaskBit.FEW_INPUTS, MaskBit.NO_DATA, MaskBit.DEAD, MaskBit.USER]
    assert found.ccd.mask[:5, 0].tolist() == [int(bit) for bit in bits]
    assert np.count_nonzero(found.ccd.mask) == 5


def test_what_is_not_known_is_said(detector, quiet):
    frame = raw(detector.expose(1, 500))
    nothing = reduce_frame(frame, Masters(), Detector(), 1, quiet)
    assert any("read noise is not known" in one for one in nothing.warnings)
    assert any("gain is not known" in one for one in nothing.warnings)
    assert nothing.applied == frozenset()
    biased = reduce_frame(frame, Masters(), Detector(1.6, 8), 1, quiet)
    assert any("photon noise is not in the uncertainty" in one for one in biased.warnings)


def test_a_frame_calibrated_elsewhere_has_photon_noise_and_is_not_calibrated_again(detector, quiet):
    rng = np.random.default_rng(3)
    electrons = rng.poisson(900, detector.shape) + rng.normal(0, 8, detector.shape)
    in_adu = reduce_frame(raw(electrons / 1.6), Masters(), Detector(1.6, 8, bias_removed=True), 1, quiet)
    as_electrons = MaskedImage(electrons.astype(np.float32), unit="electron")
    in_electrons = reduce_frame(as_electrons, Masters(), Detector(None, 8, bias_removed=True), 1, quiet)
    for found in (in_adu, in_electrons):
        assert found.ccd.unit == "electron"
        np.testing.assert_allclose(found.ccd.data, electrons, rtol=1e-5)
        assert np.median(found.ccd.uncertainty) == pytest.approx(np.sqrt(900 + 64), rel=0.01)
        assert found.applied == frozenset()
        assert found.warnings == ()


def test_the_noise_of_a_bias_that_is_in_both_cancels(detector, parameters, quiet):
    """frame - bias - (dark - bias): of one exposure, the bias is in it no more, nor is its noise."""
    noisy = np.full(detector.shape, 50.0, np.float32)
    bias = MaskedImage(detector.bias.astype(np.float32), unit="adu", uncertainty=noisy)
    darks = [ArraySource(detector.expose(SECONDS)) for _ in range(10)]
    dark = build_master_dark(darks, bias, parameters["master_dark"]).ccd
    frame, known = raw(detector.expose(SECONDS, SKY_E)), Detector(detector.gain, detector.read_noise_e)
    same = Masters(bias, dark, SECONDS, False, True)
    claimed = {
        name: np.median(reduce_frame(frame, masters, known, SECONDS, quiet).ccd.uncertainty) / detector.gain
        for name, masters in (("same", same), ("other", replace(same, dark_less_bias=False)))
    }
    assert claimed["same"] < 30
    assert claimed["other"] == pytest.approx(np.hypot(claimed["same"], 50 * np.sqrt(2)), rel=0.01)


@pytest.mark.shared
@pytest.mark.parametrize("name", ["g", "r"])
def test_a_real_frame_is_what_ccdproc_makes_of_it(name, shared_data, parameters, quiet):
    source = shared_data / "arcsat-2025-06-01"

    def read(pattern: str) -> list[np.ndarray]:
        return [fits.getdata(path).astype(np.float32) for path in sorted(source.glob(pattern))]

    def plain(data: np.ndarray) -> CCDData:
        return raw(data).to_ccddata()

    def combined(frames, step=1.0):
        def deviation(values, axis=None):
            # Half of the step between two whole numbers is the least scatter that counted values can have.
            departure = np.ma.abs(values - np.ma.median(values, axis=axis, keepdims=True))
            return np.ma.maximum(1.482602218505602 * np.ma.median(departure, axis=axis), step / 2)

        return ccdproc.combine(
            frames, method="average", sigma_clip=True, sigma_clip_low_thresh=5, sigma_clip_high_thresh=5,
            sigma_clip_func=np.ma.median, sigma_clip_dev_func=deviation, dtype=np.float64)  # fmt: skip

    light = read(f"Cats_Eye_Nebula_{name}_*")[0]
    bias = build_master_bias([ArraySource(one) for one in read("Bias*")], parameters["master_bias"])
    dark = build_master_dark([ArraySource(one) for one in read("Dark*")], bias.ccd, parameters["master_dark"])
    flats = [ArraySource(one) for one in read(f"domeflat_{name}_*")]
    flat = build_master_flat(flats, bias.ccd, None, parameters["master_flat"])
    masters = Masters(bias.ccd, dark.ccd, 10.0, False, True, flat.ccd)
    known = Detector(read_noise_adu=bias.metrics["read_noise_adu"])
    found = reduce_frame(raw(light), masters, known, 10.0, quiet)

    by_hand = combined([plain(one) for one in read("Bias*")])
    hand_dark = combined([ccdproc.subtract_bias(plain(one), by_hand) for one in read("Dark*")])
    lit = [ccdproc.subtract_bias(plain(one), by_hand) for one in read(f"domeflat_{name}_*")]
    levels = [np.median(one.data) for one in lit]
    scaled = [CCDData(one.data / level, unit="adu") for one, level in zip(lit, levels, strict=True)]
    hand_flat = combined(scaled, step=1 / np.median(levels))
    expected = ccdproc.subtract_bias(plain(light), by_hand).data - hand_dark.data
    expected = expected / (hand_flat.data / np.median(hand_flat.data))
    good = found.ccd.mask == 0
    difference = np.abs(found.ccd.data - expected)[good]
    # Values at the very limit of clipping fall to one side or the other by rounding.
    assert np.quantile(difference, 0.9999) < 0.01
    assert good.mean() > 0.999
    assert found.ccd.unit == "adu"


def test_bad_pixels_are_replaced_where_the_recipe_says_so(detector, quiet):
    mask = np.zeros(detector.shape, np.uint16)
    mask[30, 40] = mask[60:70, 50:60] = int(MaskBit.HOT)
    raw = MaskedImage(detector.expose(0, 1000), unit="adu")
    masters = Masters(bias=MaskedImage(detector.bias.astype(np.float32), unit="adu"), bad_pixels=mask)
    known = Detector(gain_e_per_adu=detector.gain, read_noise_e=detector.read_noise_e)
    left = reduce_frame(raw, masters, known, 0.0, quiet)
    found = reduce_frame(raw, masters, known, 0.0, {**quiet, "repair": "median"})
    assert left.ccd.mask[30, 40] == MaskBit.HOT
    assert found.ccd.mask[30, 40] == MaskBit.REPAIRED
    assert found.ccd.data[30, 40] == pytest.approx(1000 * detector.response[30, 40], abs=60)
    assert found.ccd.mask[65, 55] == MaskBit.HOT  # in the middle of a bad cluster nothing says what it should be
    assert found.metrics["unrepaired_px"] == np.count_nonzero(found.ccd.mask & np.uint16(MaskBit.HOT)) > 0
    assert any(step["step"] == "bad pixels replaced" for step in found.steps)


def test_the_smooth_sky_is_kept_beside_the_frame_or_taken_off(parameters):
    rng = np.random.default_rng(4)
    y, x = np.indices((256, 260))
    sky = 200 + 0.3 * x + 0.2 * y
    star = 5000 * np.exp(-((y - 100) ** 2 + (x - 90) ** 2) / 8)
    raw = MaskedImage(rng.poisson(sky + star).astype(np.float32), unit="adu")
    detector = Detector(gain_e_per_adu=1.0, read_noise_e=3.0, bias_removed=True)
    found = {
        how: reduce_frame(
            raw, Masters(), detector, 60.0, {**parameters["reduced"], "cosmic_rays": "none", "background": how}
        )
        for how in ("none", "plane", "subtract")
    }
    assert found["none"].background is None
    assert np.abs(found["plane"].background - sky).max() < 10
    assert np.abs(found["plane"].background - sky).mean() < 1
    np.testing.assert_array_equal(found["plane"].ccd.data, found["none"].ccd.data)
    taken = found["subtract"]
    np.testing.assert_allclose(taken.ccd.data + taken.background, found["none"].ccd.data, rtol=1e-5)
    assert abs(np.median(taken.ccd.data)) < 1
    assert taken.ccd.data[100, 90] == pytest.approx(5000, rel=0.1)
    np.testing.assert_array_equal(taken.ccd.uncertainty, found["none"].ccd.uncertainty)
    assert taken.metrics["background_subtracted"] == pytest.approx(np.median(sky), rel=0.05)
