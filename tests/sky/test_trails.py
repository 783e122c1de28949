"""Trails across a frame are found, far below what a pixel shows; stars, columns and nebulae are none."""

from __future__ import annotations

import numpy as np
import pytest
from scenes import painted_field

from avcd.sky.detection import detect_sources
from avcd.sky.quality import trail_figures
from avcd.sky.trails import find_trails

SHAPE = (512, 540)
NOISE = 19.1  # of a pixel of the field's sky


def trail(start, end, peak, fwhm=3.0):
    rows, columns = np.indices(SHAPE)
    (x1, y1), (x2, y2) = start, end
    length = np.hypot(x2 - x1, y2 - y1)
    away = ((columns - x1) * (y2 - y1) - (rows - y1) * (x2 - x1)) / length
    along = ((columns - x1) * (x2 - x1) + (rows - y1) * (y2 - y1)) / length
    return peak * np.exp(-4 * np.log(2) * (away / fwhm) ** 2) * ((along > 0) & (along < length))


def field(seed=1, number=80):
    return painted_field(SHAPE, number, 3.0, seed=seed)[0]


@pytest.mark.parametrize(
    ("start", "end", "peak"),
    [
        ((-50, 100), (700, 400), NOISE),
        ((100, -50), (300, 600), NOISE),
        ((-50, 500), (600, 20), 2 * NOISE),
        ((60, 60), (420, 430), 1.5 * NOISE),
        ((-50, 100), (700, 400), 300.0),
    ],
)
def test_a_trail_as_faint_as_the_noise_is_found_with_its_place(start, end, peak):
    image = field() + trail(start, end, peak).astype(np.float32)
    found = find_trails(image, None, detect_sources(image, None))
    assert len(found) == 1
    one = found[0]
    (x1, y1), (x2, y2) = start, end
    length = np.hypot(x2 - x1, y2 - y1)
    for x, y in ((one.x1, one.y1), (one.x2, one.y2)):
        assert abs((x - x1) * (y2 - y1) - (y - y1) * (x2 - x1)) / length < 8
    assert one.length_px > 300
    assert trail_figures(found)["trails"] == 1


def test_two_trails_are_two():
    image = field() + (trail((-50, 100), (700, 400), 40.0) + trail((0, 480), (540, 180), 40.0)).astype(np.float32)
    assert len(find_trails(image, None, detect_sources(image, None))) == 2


@pytest.mark.parametrize("number", [5, 80, 300])
def test_fields_of_stars_have_no_trail(number):
    for seed in range(4):
        image = field(seed, number)
        assert find_trails(image, None, detect_sources(image, None)) == ()
    assert trail_figures(()) == {"trails": 0.0}


def test_columns_rows_and_a_nebula_are_no_trails():
    image = field()
    image[:, 100] += 60
    image[200:, 333] += 60
    image[400, :] += 40
    rows, columns = np.indices(SHAPE)
    image += (400 * np.exp(-(((rows - 250) / 60.0) ** 2 + ((columns - 300) / 130.0) ** 2))).astype(np.float32)
    assert find_trails(image, None, detect_sources(image, None)) == ()


def test_a_frame_too_small_for_a_trail_has_none():
    small = np.random.default_rng(1).normal(100, 10, (40, 50)).astype(np.float32)
    assert find_trails(small, None, detect_sources(small, None)) == ()
