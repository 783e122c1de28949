"""The ways to a colour picture beside the balanced one, held against astropy's; luminance, saturated cores, levels."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.visualization import AsinhStretch, ManualInterval, make_lupton_rgb
from fields import SHAPE, Sky
from test_pictures import channels, parameters

from avcd.compose.blocks import block_means, filled, opened
from avcd.compose.colour import Channel, compose_rgb
from avcd.compose.pictures import eight_bit
from avcd.compose.toning import interval_of, stretch_of, three
from avcd.errors import ProcessingError
from avcd.frame import MaskBit

RGB = ("Red", "Green", "Blue")


def settings(**values) -> dict:
    return {**parameters("rgb"), **values}


def test_the_sdss_mode_is_astropys_lupton_picture():
    _, images = channels(RGB, scales=(0.6, 1.0, 1.7))
    made = compose_rgb(images, settings(mode="sdss", q=6.0, lupton_stretch=150.0, minimum="190,890,45"))
    theirs = make_lupton_rgb(*[one.data for one in images], minimum=[190, 890, 45], stretch=150, Q=6)
    assert np.abs(eight_bit(made.rgb)[::-1].astype(int) - theirs).max() <= 1


def test_the_scientific_mode_is_astropys_interval_and_stretch_of_each_channel():
    _, images = channels(RGB)
    made = compose_rgb(images, settings(mode="scientific", intervals="100:2000", stretches="asinh:0.2")).rgb
    for index, one in enumerate(images):
        theirs = AsinhStretch(0.2)(ManualInterval(100, 2000)(one.data))
        np.testing.assert_allclose(made[..., index], theirs, atol=1e-5)


def test_the_manual_mode_has_an_interval_and_a_stretch_for_each_channel():
    _, images = channels(RGB)
    texts = {"intervals": "0:1000, 1%:99%, minmax", "stretches": "linear, sqrt, power:2"}
    found = compose_rgb(images, settings(mode="manual", **texts))
    told = found.record["tone"]
    assert told["red"] == {"limits": [0.0, 1000.0], "stretch": "linear"}
    low, high = np.percentile(images[1].data, [1, 99])
    assert told["green"]["limits"] == pytest.approx([low, high], rel=0.01)
    scaled = np.clip((images[1].data - told["green"]["limits"][0]) / np.ptp(told["green"]["limits"]), 0, 1)
    np.testing.assert_allclose(found.rgb[..., 1], np.sqrt(scaled), atol=1e-4)


@pytest.mark.parametrize(
    ("call", "text", "says"),
    [
        (interval_of, "99%:1%", "interval"), (interval_of, "most", "interval"), (interval_of, "a:b", "no number"),
        (stretch_of, "cubic", "none of"), (stretch_of, "linear:2", "takes no number"), (stretch_of, "power", "exponent"),
        (three, "1,2", "three with commas"),
    ],
)  # fmt: skip
def test_a_wrong_word_is_answered_with_what_to_write(call, text, says):
    with pytest.raises(ProcessingError, match=says):
        call(text)


@pytest.mark.parametrize("wrong", [{"mode": "hdr"}, {"white_balance": "sun"}, {"gamma": 0.0}, {"stretch": "log"}])
def test_a_wrong_parameter_is_refused(wrong):
    with pytest.raises(ProcessingError, match=next(iter(wrong))):
        compose_rgb(channels(RGB)[1], settings(**wrong))


def test_stars_of_known_colour_keep_their_order():
    """Five stars from blue to red: the ratio of red to blue in the picture rises with that of their light."""
    rng = np.random.default_rng(3)
    y, x = np.indices(SHAPE)
    places = [(30 + 35 * number, 100) for number in range(5)]
    ratios = np.array([0.4, 0.7, 1.0, 1.5, 2.5])
    planes = []
    for colour in range(3):
        image = rng.normal(300, 5, SHAPE) + Sky(60, seed=9).frame(noise=0.1, sky=0.0)[0] * 0.2
        for (column, row), ratio in zip(places, ratios, strict=True):
            strength = 3000 * ratio ** (0.5 * (1 - colour))
            image += strength * np.exp(-((x - column) ** 2 + (y - row) ** 2) / 8)
        planes.append(image.astype(np.float32))
    rgb = compose_rgb([Channel(*one, None) for one in zip(RGB, planes, strict=True)], settings(saturation=1.0)).rgb
    for step in (0, 2, 3):
        found = [rgb[row, column + step, 0] / rgb[row, column + step, 2] for column, row in places]
        assert np.all(np.diff(found) > 0), step
    assert found[0] < 0.8 < 1.25 < found[-1]


@pytest.mark.parametrize("said", [True, False])
def test_a_saturated_core_has_the_colour_of_its_wings(said):
    sky, images = channels(RGB, skies=(0.0, 0.0, 0.0))
    place = next(n for n, (x, y) in enumerate(sky.xy) if 40 < x < 180 and 40 < y < 160 and sky.flux[n] > 3e4)
    x, y = np.rint(sky.xy[place]).astype(int)
    near = np.s_[y - 9 : y + 10, x - 9 : x + 10]
    for image, factor in zip(images, (6.0, 1.5, 1.2), strict=True):  # a red star, the others white
        image.data[near] *= factor
    level = 0.3 * images[0].data[y, x]
    masks = []
    for number, image in enumerate(images):
        full = image.data >= level
        masks.append(np.where(full, np.uint16(MaskBit.SATURATED), np.uint16(0)) if said else None)
        image.data[full] = level
        images[number] = Channel(image.filter, image.data, masks[-1])
    rgb = compose_rgb(images, settings(saturation=1.0)).rgb
    core, wing = rgb[y, x], rgb[y, x + 5]
    assert core[0] > core[1] > core[2]
    assert core[0] / core[2] > 0.6 * wing[0] / wing[2]
    assert core.max() > 0.9


def test_luminance_gives_the_brightness_and_the_others_the_colour():
    sky, images = channels(RGB)
    luminance = sky.frame(sky=100.0, noise=2.0, seed=9)[0]
    sharp = np.s_[60:64, 60:64]
    luminance[sharp] += 4000  # only the luminance sees it
    plain = compose_rgb(images, settings()).rgb
    found = compose_rgb([*images, Channel("Luminance", luminance, None)], settings())
    assert found.assignment["luminance"] == "Luminance"
    assert found.rgb[sharp].mean() > plain[sharp].mean() + 0.3
    assert np.ptp(found.rgb[sharp].mean(axis=(0, 1))) < 0.1  # grey, since the colours tell nothing of it


def test_all_light_together_is_grey_where_that_is_wanted():
    _, images = channels(RGB, scales=(0.5, 1.0, 2.0))
    found = compose_rgb(images, settings(white_balance="grey", saturation=1.0))
    light = found.rgb[found.rgb.max(axis=-1) > 0.3].mean(axis=0)
    assert light.max() / light.min() < 1.15


def test_a_line_stays_as_strong_as_its_own_image_whatever_the_stars():
    _, images = channels(("SII", "Ha", "OIII"), scales=(0.1, 1.0, 0.1))
    y, x = np.indices(SHAPE)
    cloud = np.exp(-((x - 110) ** 2 + (y - 100) ** 2) / 2 / 30**2).astype(np.float32)
    for image in images:
        image.data[:] += 600 * cloud
    found = compose_rgb(images, settings(composite="sho"))
    assert found.record["white_balance"]["by"] == "none"
    assert np.ptp(found.rgb[95:105, 105:115].mean(axis=(0, 1))) < 0.35


def test_gamma_brightens_and_saturation_zero_is_grey():
    _, images = channels(RGB, scales=(0.5, 1.0, 2.0))
    plain, bright = (compose_rgb(images, settings(gamma=gamma)).rgb for gamma in (1.0, 2.2))
    np.testing.assert_allclose(bright, plain ** (1 / 2.2), atol=1e-5)
    grey = compose_rgb(images, settings(saturation=0.0)).rgb
    assert float((grey.max(axis=-1) - grey.min(axis=-1)).max()) < 1e-3


def test_a_picture_does_not_depend_on_the_order_of_its_filters_and_leaves_them_alone():
    _, images = channels(RGB)
    before = [one.data.copy() for one in images]
    first, second = compose_rgb(images, settings()), compose_rgb(images[::-1], settings())
    np.testing.assert_array_equal(first.rgb, second.rgb)
    assert (first.record, first.steps) == (second.record, second.steps)
    for one, data in zip(images, before, strict=True):
        np.testing.assert_array_equal(one.data, data)


def test_blocks_are_means_of_their_good_pixels():
    rng = np.random.default_rng(2)
    data = rng.normal(100, 5, (31, 45)).astype(np.float32)
    good = rng.random(data.shape) > 0.3
    good[:5, :5] = False
    found = block_means(data, good, 5)
    assert found.shape == (6, 9)
    assert np.isnan(found[0, 0])
    for row, column in ((1, 1), (5, 8), (0, 3)):
        part = np.s_[row * 5 : row * 5 + 5, column * 5 : column * 5 + 5]
        assert found[row, column] == pytest.approx(data[part][good[part]].mean(), rel=1e-5)
    assert block_means(data, None, 100).shape == (1, 1)


def test_single_missing_pixels_are_filled_from_around_and_only_wide_gaps_are_gaps():
    data = np.add.outer(np.arange(40.0), np.arange(40.0)).astype(np.float32)
    good = np.ones(data.shape, bool)
    good[10, 10] = good[20, 20:22] = False
    holed = np.where(good, data, np.nan).astype(np.float32)
    np.testing.assert_allclose(filled(holed, good), data, atol=0.6)
    gaps = ~good
    gaps[30:36, 30:36] = True
    assert opened(gaps).sum() == 36
