"""Stacks keep the light, lose the outliers, and know their noise."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import uniform_filter
from skies import SHAPE, Sky, seen, world

from avcd.compose.registration import register
from avcd.compose.stacking import StackInput, stack_images
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
