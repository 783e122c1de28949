"""What enhancement does to contrast, to stars, and not to hues; and that nothing is enhanced unasked."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from test_pictures import channels, parameters

from avcd.compose.colour import compose_rgb
from avcd.compose.enhancing import Enhancement, enhance, equalised, sharpened, with_stars
from avcd.errors import ProcessingError

RGB = ("Red", "Green", "Blue")


def veil() -> np.ndarray:
    """A faint structure on a slope from dark to bright."""
    rng = np.random.default_rng(3)
    texture = gaussian_filter(rng.normal(size=(200, 240)), 3)
    return (np.linspace(0.1, 0.8, 240)[None, :] + 0.02 * texture / texture.std()).astype(np.float32)


def local_contrast(image: np.ndarray) -> float:
    """The scatter about what is wide."""
    return float((image - gaussian_filter(image, 12))[20:-20, 20:-20].std())


@pytest.mark.parametrize("limit", [2.0, 4.0])
def test_local_contrast_grows_as_far_as_the_limit_allows(limit):
    image = veil()
    found = equalised(image, limit)
    gain = local_contrast(found) / local_contrast(image)
    assert 1.3 < gain < 1.05 * limit
    assert 0 <= found.min() <= found.max() <= 1
    # Neighbours keep their order: no seams between tiles, no halos.
    step, was = np.diff(found, axis=1), np.diff(image, axis=1)
    assert (np.sign(step) == np.sign(was))[np.abs(was) > 0.01].mean() > 0.97


def test_at_the_limit_of_one_and_where_there_is_no_data_nothing_changes():
    image = veil()
    image[:40] = 0
    np.testing.assert_allclose(equalised(image, 1.0), image, atol=1 / 256)
    assert (equalised(image, 3.0)[:40] == 0).all()


def test_an_unsharp_mask_steepens_edges_and_leaves_the_even():
    image = np.zeros((80, 80), np.float32) + 0.2
    image[:, 40:] = 0.6
    image = gaussian_filter(image, 2)
    found = sharpened(image, 2.0, 1.5)
    # Of an edge of the mask's own width the blurred one has 1/sqrt(2) of the slope.
    steeper = 1 + 1.5 * (1 - 2**-0.5)
    assert np.diff(found, axis=1).max() == pytest.approx(steeper * np.diff(image, axis=1).max(), rel=0.02)
    np.testing.assert_allclose(found[:, :20], image[:, :20], atol=1e-4)
    np.testing.assert_allclose(sharpened(image, 2.0, 0.0), image)


@pytest.mark.parametrize("factor", [0.3, 1.8])
def test_stars_stand_out_or_step_back_and_the_nebula_stays(factor):
    rng = np.random.default_rng(5)
    rows, columns = np.indices((160, 160))
    nebula = 0.3 * np.exp(-((rows - 80) ** 2 + (columns - 80) ** 2) / 2 / 30**2)
    stars = sum(
        0.4 * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 2 / 1.5**2) for y, x in rng.uniform(10, 150, (12, 2))
    )
    image = (0.05 + nebula + stars + rng.normal(0, 0.004, nebula.shape)).astype(np.float32)
    found = with_stars(image, factor)
    near = stars > 0.2
    light = (image - 0.05 - nebula)[near].sum()
    assert (found - 0.05 - nebula)[near].sum() == pytest.approx(factor * light, rel=0.08)
    far = stars < 1e-4
    assert np.abs(found - image)[far].max() < 0.02
    assert np.median(np.abs(found - image)[far]) == 0


def test_hues_stay_and_nothing_is_brighter_than_white():
    rng = np.random.default_rng(2)
    hue = rng.uniform(0.2, 1.0, (1, 1, 3)).astype(np.float32)
    picture = veil()[..., None] * hue / hue.max()
    picture[:10] = 0
    before = picture.copy()
    found = enhance(picture, Enhancement(2.0, (3.0, 1.0), 1.5))
    np.testing.assert_array_equal(picture, before)
    assert (found[:10] == 0).all()
    assert found.max() <= 1
    lit = found[20:].min(axis=2) > 0.01
    ratios = found[20:][lit] / found[20:][lit].max(axis=1, keepdims=True)
    np.testing.assert_allclose(ratios, np.broadcast_to(hue[0, 0] / hue.max(), ratios.shape), rtol=1e-4)


def test_a_picture_says_what_was_enhanced_and_none_is_unasked():
    _, images = channels(RGB)
    settings = parameters("rgb")
    plain = compose_rgb(images, settings)
    assert "enhancement" not in plain.record
    made = compose_rgb(images, {**settings, "clahe": "2", "unsharp": "2:0.5", "enhance_stars": "1.2"})
    assert made.record["enhancement"] == {
        "clahe": {"limit": 2.0, "tiles": 8}, "unsharp": {"radius_px": 2.0, "amount": 0.5}, "stars": {"factor": 1.2}
    }  # fmt: skip
    assert made.steps[-3:] == (
        "enhanced by clahe: limit 2, tiles 8", "enhanced by unsharp: radius_px 2, amount 0.5", "enhanced by stars: factor 1.2"
    )  # fmt: skip
    assert np.abs(made.rgb - plain.rgb).max() > 0.01


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"mode": "scientific", "clahe": "2"}, "as it was measured"),
        ({"clahe": "0.5"}, "from 1 to 20"),
        ({"unsharp": "wide"}, "radius is 'wide'"),
        ({"unsharp": "2:30"}, "amount is '30'"),
    ],
)
def test_what_makes_no_sense_is_refused(given, says):
    _, images = channels(RGB)
    with pytest.raises(ProcessingError, match=says):
        compose_rgb(images, {**parameters("rgb"), **given})
