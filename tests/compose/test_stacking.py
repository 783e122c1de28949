"""Stacks keep the light, lose the outliers, and know their noise."""

from __future__ import annotations

import tomllib
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from fields import SHAPE, Sky, seen, world
from scipy.ndimage import uniform_filter

from avcd.compiling import available
from avcd.compose import resampling, stacking
from avcd.compose.registration import Registration, register
from avcd.compose.stacking import StackInput, stack_images
from avcd.compose.transparency import transparency
from avcd.errors import ProcessingError
from avcd.frame import MaskBit

RECIPE = Path(__file__).resolve().parents[2] / "config" / "recipes" / "stack.toml"
PARAMETERS = tomllib.loads(RECIPE.read_text(encoding="utf-8"))["parameters"]
SHIFTS = [(0.0, 0.0), (3.4, -2.2), (-5.7, 4.9), (1.5, 6.5), (-2.3, -3.8)]


def stack_of(frames, shifts, *, exposures=None, masks=None, parameters=PARAMETERS):
    worlds = [world(shift) for shift in shifts]
    found = register([seen(image, None, wcs) for image, wcs in zip(frames, worlds, strict=True)], 0)
    masks = masks or [np.zeros(SHAPE, np.uint16)] * len(frames)
    spread = np.full(SHAPE, 10.0, np.float32)
    inputs = [
        StackInput(image, mask, spread, exposure, one)
        for image, mask, exposure, one in zip(frames, masks, exposures or [60.0] * len(frames), found, strict=True)
    ]
    return stack_images(inputs, SHAPE, parameters)


def flux_at(image, x, y, radius=7, sky=200.0):
    rows, columns = np.indices(image.shape)
    return float((image - sky)[(columns - x) ** 2 + (rows - y) ** 2 < radius**2].sum())


def lonely(sky: Sky) -> list[int]:
    """Bright stars in the middle of the frame that stand alone."""
    apart = [np.sort(np.hypot(*(sky.xy - one).T))[1] > 16 for one in sky.xy]
    inside = ((sky.xy > 25) & (sky.xy < (SHAPE[1] - 25, SHAPE[0] - 25))).all(axis=1)
    found = [index for index in range(len(sky.xy)) if apart[index] and inside[index] and sky.flux[index] > 1e4]
    assert len(found) >= 3
    return found


def test_light_is_kept_and_noise_falls():
    sky = Sky(25, seed=4)
    frames = [sky.frame(shift, seed=number)[0] for number, shift in enumerate(SHIFTS)]
    stacked = stack_of(frames, SHIFTS)
    for index in lonely(sky):
        assert flux_at(stacked.data, *sky.xy[index]) == pytest.approx(sky.flux[index], rel=0.02)
    empty = np.array([np.hypot(*(sky.xy - (x, y)).T).min() > 12 for y in range(20, 180) for x in range(20, 200)])
    noise = stacked.data[20:180, 20:200].ravel()[empty]
    assert noise.mean() == pytest.approx(200, abs=0.5)
    assert noise.std() < 10 / np.sqrt(len(SHIFTS))
    # Interpolation makes neighbours alike, so that single pixels are quieter than claimed; sums over an aperture are not.
    sums = 5 * uniform_filter(stacked.data.astype(float), 5)[20:180, 20:200].ravel()[empty]
    claimed = stacked.uncertainty[20:180, 20:200].ravel()[empty]
    assert sums.std() / np.median(claimed) == pytest.approx(1, abs=0.2)


def test_outliers_do_not_come_through():
    sky = Sky(25, seed=4)
    frames = [sky.frame(shift, seed=number)[0] for number, shift in enumerate(SHIFTS)]
    clean = stack_of(frames, SHIFTS).data
    rng = np.random.default_rng(3)
    struck = [image.copy() for image in frames]
    for image in struck:
        image[rng.integers(20, 180, 40), rng.integers(20, 200, 40)] += rng.uniform(300, 20000, 40)
    struck[2][100, :] += 2000  # a trail
    dirty = stack_of(struck, SHIFTS).data
    difference = np.abs(dirty - clean)[20:180, 20:200]
    assert (difference > 30).mean() < 2e-3
    assert np.median(difference) < 2


def test_exposures_and_backgrounds_are_brought_together():
    sky = Sky(25, seed=4)
    frames = [
        sky.frame(shift, seed=number, scale=scale, sky=level)[0]
        for number, (shift, scale, level) in enumerate(
            zip(SHIFTS, (1, 2, 0.5, 1, 1), (200, 900, 40, 350, 150), strict=True)
        )
    ]
    stacked = stack_of(frames, SHIFTS, exposures=[60.0, 120.0, 30.0, 60.0, 60.0])
    for index in lonely(sky):
        assert flux_at(stacked.data, *sky.xy[index]) == pytest.approx(sky.flux[index], rel=0.04)
    assert np.median(stacked.data) == pytest.approx(200, abs=3)


def test_masked_pixels_take_no_part_and_what_nobody_saw_is_said():
    sky = Sky(25, seed=4)
    frames = [sky.frame(shift, seed=number)[0] for number, shift in enumerate(SHIFTS)]
    masks = []
    for number, image in enumerate(frames):
        mask = np.zeros(SHAPE, np.uint16)
        mask[:, 50] = int(MaskBit.HOT)
        image[:, 50] = 60000
        if number == 0:
            mask[80:90, 80:90] = int(MaskBit.COSMIC_RAY)
            image[80:90, 80:90] = 30000
        masks.append(mask)
    stacked = stack_of(frames, SHIFTS, masks=masks)
    near = stacked.data[20:180, 30:75]
    assert np.median(near) == pytest.approx(200, abs=3)
    assert np.percentile(stacked.data[80:90, 80:90], 90) < 3000
    alone = stack_of(frames[:1], SHIFTS[:1], masks=masks[:1])
    assert (alone.mask[:, 50] != 0).all()


def test_nothing_to_stack_is_an_error():
    with pytest.raises(ProcessingError, match="no frame"):
        stack_images([], SHAPE, PARAMETERS)


def test_frames_are_not_changed_and_their_bytes_decide():
    sky = Sky(25, seed=4)
    frames = [sky.frame(shift, seed=number)[0] for number, shift in enumerate(SHIFTS)]
    before = [image.copy() for image in frames]
    for image in frames:
        image.setflags(write=False)
    first, again = stack_of(frames, SHIFTS), stack_of(frames, SHIFTS)
    assert first.data.tobytes() == again.data.tobytes()
    for image, was in zip(frames, before, strict=True):
        np.testing.assert_array_equal(image, was)


@pytest.mark.skipif(not available(), reason="Numba is not installed")
@pytest.mark.parametrize("method", stacking.METHODS)
@pytest.mark.parametrize("number", [2, 3, 5])
def test_compiled_and_plain_loops_give_the_same(monkeypatch, method, number):
    sky = Sky(25, seed=4)
    shifts = SHIFTS[:number]
    frames = [sky.frame(shift, seed=index)[0] for index, shift in enumerate(shifts)]
    rng = np.random.default_rng(3)
    masks = []
    for image in frames:
        image[rng.integers(20, 180, 40), rng.integers(20, 200, 40)] += rng.uniform(300, 20000, 40)
        mask = np.zeros(SHAPE, np.uint16)
        mask[rng.integers(0, 200, 300), rng.integers(0, 220, 300)] = int(MaskBit.HOT)
        mask[rng.integers(0, 200, 300), rng.integers(0, 220, 300)] |= int(MaskBit.SATURATED)
        masks.append(mask)
    parameters = {**PARAMETERS, "method": method}
    plain = stack_of(frames, shifts, masks=masks, parameters=parameters)
    monkeypatch.setattr(resampling, "_WORTH_COMPILING", 1)
    other = stack_of(frames, shifts, masks=masks, parameters=parameters)
    np.testing.assert_array_equal(plain.coverage, other.coverage)
    np.testing.assert_array_equal(plain.mask, other.mask)
    for name in ("data", "uncertainty", "weight"):
        np.testing.assert_allclose(getattr(plain, name), getattr(other, name), rtol=1e-5, err_msg=name)
    assert plain.metrics["rejected_fraction"] == other.metrics["rejected_fraction"]


def test_clouds_are_made_up_for_and_cloudy_frames_weigh_less():
    sky = Sky(25, seed=4)
    light = (1.0, 0.5, 1.0)
    frames = [
        sky.frame(shift, seed=number, scale=part)[0]
        for number, (shift, part) in enumerate(zip(SHIFTS, light, strict=False))
    ]
    worlds = [world(shift) for shift in SHIFTS[:3]]
    found = register([seen(image, None, wcs) for image, wcs in zip(frames, worlds, strict=True)], 0)
    inputs = [
        StackInput(image, None, None, 60.0, one, transparency=part)
        for image, one, part in zip(frames, found, light, strict=True)
    ]
    stacked = stack_images(inputs, SHAPE, PARAMETERS)
    for index in lonely(sky):
        assert flux_at(stacked.data, *sky.xy[index]) == pytest.approx(sky.flux[index], rel=0.03)
    # Twice the noise, a quarter of the weight.
    assert np.median(stacked.weight) == pytest.approx(2.25, abs=0.1)


def test_the_stars_tell_how_much_light_came_through():
    sky = Sky(60, seed=4)
    place = sky.places((3.0, -2.0))
    order = np.argsort(-sky.flux)
    registration = register([seen(np.zeros(SHAPE), None, world()), seen(np.zeros(SHAPE), None, world((3.0, -2.0)))], 0)[
        1
    ]
    flux = 0.7 * sky.flux[order]
    flux[0] = 1e7  # a variable star, or one that is two
    assert transparency(sky.xy[order], sky.flux[order], place[order], flux, registration) == pytest.approx(
        0.7, rel=0.01
    )
    assert transparency(sky.xy[order][:4], sky.flux[order][:4], place[order], flux, registration) is None


def test_frames_that_share_little_with_the_reference_are_brought_to_its_background():
    sky = Sky(25, seed=4)
    shifts = [(0.0, 0.0), (110.0, 0.0), (205.0, 0.0)]
    frames = [
        sky.frame(shift, seed=number, sky=level)[0]
        for number, (shift, level) in enumerate(zip(shifts, (200, 500, 900), strict=True))
    ]
    stacked = stack_of(frames, shifts)
    assert np.median(stacked.data[stacked.coverage > 0]) == pytest.approx(200, abs=3)


class Drawn:
    """A plane that is drawn anew by every slice: it holds no memory itself."""

    def __init__(self, level: float) -> None:
        self.shape = (512, 512)
        self.level = level

    def __getitem__(self, part):
        rows, columns = part if isinstance(part, tuple) else (part, slice(None))
        y, x = np.arange(512)[rows], np.arange(512)[columns]
        return (self.level + 5 * np.sin(y[:, None] * 12.9898 + x * 78.233)).astype(np.float32)


@pytest.mark.skipif(not available(), reason="Numba is not installed")
def test_memory_does_not_grow_with_the_number_of_frames():
    peaks = []
    for number in (8, 80):
        inputs = [
            StackInput(Drawn(100.0 + index), None, None, 60.0, Registration("stars", np.array([[1, 0, 0.5], [0, 1, 0.25]])))
            for index in range(number)
        ]  # fmt: skip
        stack_images(inputs[:1], (512, 512), PARAMETERS, 2**23)  # what is loaded once
        tracemalloc.start()
        stacked = stack_images(inputs, (512, 512), PARAMETERS, 2**23)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert stacked.coverage.max() == number
    results = 512 * 512 * 16
    assert peaks[1] < results + 2 * 2**23
    assert peaks[1] < peaks[0] + 2**23  # all frames would take seventy-two MiB more


@pytest.mark.skipif(not available(), reason="Numba is not installed")
def test_frames_with_and_without_uncertainty_are_combined_alike_by_both_loops(monkeypatch):
    sky = Sky(25, seed=4)
    frames = [sky.frame(shift, seed=index)[0] for index, shift in enumerate(SHIFTS)]
    found = register([seen(image, None, world(shift)) for image, shift in zip(frames, SHIFTS, strict=True)], 0)
    inputs = [
        StackInput(image, None, np.full(SHAPE, 10.0, np.float32) if index % 2 else None, 60.0, one)
        for index, (image, one) in enumerate(zip(frames, found, strict=True))
    ]
    plain = stack_images(inputs, SHAPE, PARAMETERS)
    monkeypatch.setattr(resampling, "_WORTH_COMPILING", 1)
    other = stack_images(inputs, SHAPE, PARAMETERS)
    np.testing.assert_array_equal(plain.coverage, other.coverage)
    np.testing.assert_array_equal(plain.mask, other.mask)
    for name in ("data", "uncertainty", "weight"):
        np.testing.assert_allclose(getattr(plain, name), getattr(other, name), rtol=1e-5, err_msg=name)
