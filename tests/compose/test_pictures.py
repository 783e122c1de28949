"""What people look at: colours in their order, white stars, a quiet sky, bright and faint in one preview."""

from __future__ import annotations

import io
import tomllib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from fields import SHAPE, Sky, world
from PIL import Image, ImageCms
from pyavm import AVM

from avcd.compose.captions import captioned_size
from avcd.compose.colour import Channel, compose_rgb
from avcd.compose.pictures import Tags, jpeg_bytes, picture_bytes, png_bytes, srgb_profile, tiff16_bytes
from avcd.compose.preview import preview_pngs, shrunk_pngs
from avcd.compose.skytags import content_tags, packet, sky_tags
from avcd.errors import ProcessingError
from avcd.frame import MaskBit

RECIPES = Path(__file__).resolve().parents[2] / "config" / "recipes"


def parameters(name: str) -> dict:
    return tomllib.loads((RECIPES / f"{name}.toml").read_text(encoding="utf-8"))["parameters"]


def channels(names, scales=(1.0, 1.0, 1.0), skies=(200.0, 900.0, 50.0), mask=None):
    sky = Sky(40)
    return sky, [
        Channel(name, sky.frame(scale=scale, sky=level, seed=number)[0], mask)
        for number, (name, scale, level) in enumerate(zip(names, scales, skies, strict=True))
    ]


def test_the_longest_wavelength_is_red_in_any_order():
    for names in (
        ("B", "V", "r"),
        ("r", "B", "V"),
        ("z", "g", "r"),
        ("Blue", "Red", "Green"),
        ("SII", "OIII", "H-Alpha"),
    ):
        found = compose_rgb(channels(names)[1], parameters("rgb")).assignment
        assert found in (
            {"red": "r", "green": "V", "blue": "B"},
            {"red": "z", "green": "r", "blue": "g"},
            {"red": "Red", "green": "Green", "blue": "Blue"},
            {"red": "SII", "green": "H-Alpha", "blue": "OIII"},
        )


def test_the_typical_star_is_white_and_the_sky_is_neutral_and_dark():
    sky, images = channels(("Red", "Green", "Blue"), scales=(0.4, 1.0, 2.2))
    rgb = compose_rgb(images, parameters("rgb")).rgb
    stars = [rgb[round(y), round(x)] for x, y in sky.xy if 5 < x < SHAPE[1] - 5 and 5 < y < SHAPE[0] - 5]
    spread = [float(one.max() - one.min()) for one in stars]
    assert np.median(spread) < 0.15
    background = np.median(rgb, axis=(0, 1))
    assert background.max() - background.min() < 0.02
    assert 0.01 < background.mean() < 0.2
    assert np.median([one.max() for one in stars]) > 0.5


def test_a_red_star_is_red_from_core_to_wing():
    sky, images = channels(("Red", "Green", "Blue"))
    place = next(
        index for index, (x, y) in enumerate(sky.xy) if 40 < x < 180 and 40 < y < 160 and sky.flux[index] > 2e4
    )
    x, y = np.rint(sky.xy[place]).astype(int)
    near = np.s_[y - 6 : y + 7, x - 6 : x + 7]
    images[2].data[near] = 50 + 0.15 * (images[2].data[near] - 50)
    rgb = compose_rgb(images, parameters("rgb")).rgb
    for step in (0, 2):
        assert rgb[y, x + step, 0] > rgb[y, x + step, 2] + 0.1


def test_where_a_channel_has_no_data_there_is_no_false_colour():
    _, images = channels(("Red", "Green", "Blue"))
    mask = np.zeros(SHAPE, np.uint16)
    mask[:, -60:] = int(MaskBit.NO_DATA)
    blind = images[2].data.copy()
    blind[:, -60:] = 0
    images[2] = Channel("Blue", blind, mask)
    rgb = compose_rgb(images, parameters("rgb")).rgb[:, -55:]
    assert float((rgb.max(axis=-1) - rgb.min(axis=-1)).max()) < 0.02
    assert rgb.max() > 0.5  # the stars are there


def test_two_filters_make_a_picture_with_a_remark_and_one_makes_none():
    found = compose_rgb(channels(("V", "B"), (1, 1), (100, 100))[1], parameters("rgb"))
    assert "two filters only" in found.notes[0]
    with pytest.raises(ProcessingError, match="two filters of known wavelength"):
        compose_rgb(channels(("V", "Clear-Or-So"), (1, 1), (100, 100))[1], parameters("rgb"))


def test_png_and_tiff_hold_the_same_picture_the_right_way_up():
    rgb = np.zeros((40, 50, 3), np.float32)
    rgb[2, 3] = (1.0, 0.5, 0.25)  # near the bottom
    png = np.asarray(Image.open(io.BytesIO(png_bytes(rgb))))
    tiff = tifffile.imread(io.BytesIO(tiff16_bytes(rgb)))
    assert png.dtype == np.uint8
    assert tiff.dtype == np.uint16
    assert png.shape == tiff.shape == (40, 50, 3)
    np.testing.assert_allclose(png[37, 3] / 255, (1, 0.5, 0.25), atol=0.01)
    np.testing.assert_allclose(tiff[37, 3] / 65535, (1, 0.5, 0.25), atol=1e-4)


def tagged(wcs, caption=None):
    offset, whole = (0, 0), (40, 50)
    if caption:
        whole, offset = captioned_size((40, 50), caption)
    return Tags(
        packet({**content_tags("M 1 & co", "T20", ["Ha"], ["red"], [656.3]), **sky_tags(wcs, whole, offset)}), "Ha"
    )


@pytest.mark.parametrize("form", ["png", "jpg"])
@pytest.mark.parametrize("caption", [None, "provisional"])
@pytest.mark.parametrize("turn", [0.0, 33.0])
def test_a_picture_knows_where_on_the_sky_it_is(form, caption, turn, tmp_path):
    wcs = world(turn_deg=turn)
    path = tmp_path / f"picture.{form}"
    path.write_bytes(picture_bytes(form, np.full((40, 50, 3), 0.5, np.float32), caption, tagged(wcs, caption)))
    known = AVM.from_image(str(path))
    assert known.Subject.Name == ["M 1 & co"]
    assert known.Spectral.CentralWavelength == [656.3]
    theirs = known.to_wcs()
    right, up = captioned_size((40, 50), caption)[1] if caption else (0, 0)
    for x, y in ((0, 0), (49, 0), (10, 39)):
        here, there = wcs.pixel_to_world(x, y), theirs.pixel_to_world(x + right, y + up)
        assert here.separation(there).arcsec < 1e-3


def test_pictures_carry_their_colour_space():
    rgb = np.full((20, 30, 3), 0.25, np.float32)
    for data in (png_bytes(rgb), jpeg_bytes(rgb)):
        picture = Image.open(io.BytesIO(data))
        profile = ImageCms.ImageCmsProfile(io.BytesIO(picture.info["icc_profile"]))
        assert "sRGB" in ImageCms.getProfileDescription(profile)
        np.testing.assert_allclose(np.asarray(picture.convert("RGB")) / 255, 0.25, atol=0.01)
    with tifffile.TiffFile(io.BytesIO(tiff16_bytes(rgb, tags=Tags("<x/>", "SII")))) as tiff:
        assert tiff.pages[0].tags[34675].value == srgb_profile()
        assert bytes(tiff.pages[0].tags[700].value) == b"<x/>"
        assert tiff.pages[0].description == "SII"


@pytest.mark.parametrize("shape", [(1, 1), (40, 50, 3), (700, 1700), (900, 800, 3)])
def test_a_png_is_read_back_as_it_was_by_any_reader(shape):
    values = np.random.default_rng(1).random(shape, dtype=np.float32)
    read = np.asarray(Image.open(io.BytesIO(png_bytes(values))))
    np.testing.assert_array_equal(read[::-1], (values * 255 + 0.5).astype(np.uint8))
    assert png_bytes(values) == png_bytes(values)


def test_a_composite_is_made_smaller_in_its_colours():
    rgb = np.zeros((300, 500, 3), np.float32)
    rgb[..., 0] = 1.0
    found = shrunk_pngs(png_bytes(rgb), [250, 1000])
    small, large = (np.asarray(Image.open(io.BytesIO(found[size]))) for size in (250, 1000))
    assert small.shape == (150, 250, 3)
    assert large.shape == (300, 500, 3)
    assert small[20, 20].tolist() == [255, 0, 0]


@pytest.mark.parametrize("kind", ["stars", "flat", "constant", "nothing finite", "large"])
def test_a_preview_of_anything_is_a_picture(kind):
    image = {
        "stars": Sky(40).frame()[0],
        "flat": (30000 - ((np.indices(SHAPE) - 100) ** 2).sum(axis=0) * 0.5).astype(np.float32),
        "constant": np.full(SHAPE, 7.0, np.float32),
        "nothing finite": np.full(SHAPE, np.nan, np.float32),
        "large": np.zeros((3000, 2000), np.float32),
    }[kind]
    settings = parameters("preview")
    pictures = preview_pngs(image, None, settings)
    assert [max(Image.open(io.BytesIO(one)).size) <= size for size, one in pictures.items()] == [True, True]
    picture = Image.open(io.BytesIO(pictures[1024]))
    values = np.asarray(picture)
    if kind == "stars":
        assert 5 < np.median(values) < 130
        assert values.max() > 240
    if kind == "flat":
        assert values.std() > 10
    assert preview_pngs(image, None, settings) == pictures


@pytest.mark.parametrize("size", [16, 100, 900])
def test_a_preview_says_below_the_picture_that_it_is_provisional(size):
    image = np.random.default_rng(1).normal(100, 10, (size, size)).astype(np.float32)
    plain, said = (
        np.asarray(Image.open(io.BytesIO(preview_pngs(image, None, parameters("preview"), caption=caption)[1024])))
        for caption in (None, "provisional")
    )
    margin = (said.shape[1] - size) // 2
    np.testing.assert_array_equal(said[:size, margin : margin + size], plain)
    assert (said[size:] > 200).sum() > 50  # letters
    assert said.shape[0] < size + max(40, size // 10)
