"""Principal components find the spectra that were put in, and make a picture of them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from test_pictures import parameters

from avcd.compose.colour import Channel, compose_rgb
from avcd.compose.components import principal_components
from avcd.errors import ProcessingError

SHAPE = (160, 180)
NAMES = ("u", "g", "r", "i", "z")
# Two kinds of nebula and what the filters have of each, orthogonal and of equal sum of squares in every filter but their signs.
SPECTRA = {"wide": (1.0, 1.0, 1.0, 1.0, 1.0), "slope": (2.0, 1.0, 0.0, -1.0, -2.0)}


def patterns() -> dict[str, np.ndarray]:
    """Two independent structures, of mean zero and variance one."""
    rng = np.random.default_rng(6)
    found = {}
    for name, width in (("wide", 12.0), ("slope", 5.0)):
        plane = gaussian_filter(rng.normal(size=SHAPE), width)
        found[name] = (plane - plane.mean()) / plane.std()
    wide = found["wide"]
    found["slope"] -= (found["slope"] * wide).mean() * wide
    found["slope"] /= found["slope"].std()
    return found


def images(noise: float = 0.01) -> dict[str, np.ndarray]:
    """Filters in which the two structures have the light of their spectra, in units and on skies of their own."""
    rng = np.random.default_rng(7)
    structure = patterns()
    found = {}
    for index, name in enumerate(NAMES):
        light = 5.0 * SPECTRA["wide"][index] * structure["wide"] + SPECTRA["slope"][index] * structure["slope"]
        found[name] = (10.0 ** (index - 2)) * (100 + light + rng.normal(0, noise, SHAPE))
    return found


def test_the_spectra_that_were_put_in_come_back_in_the_order_of_their_variance():
    made = principal_components(images(), 5)
    assert sum(made.shares) == pytest.approx(1)
    assert made.shares[0] > 0.85
    assert sum(made.shares[:2]) > 0.999
    light = np.stack([images()[name].ravel() for name in NAMES])
    structure = patterns()
    for weights, name in zip(made.weights, ("wide", "slope"), strict=False):
        component = np.array([weights[one] for one in NAMES]) @ light
        assert abs(np.corrcoef(component, structure[name].ravel())[0, 1]) > 0.999
    first, second = (
        np.array([one[name] * 10.0 ** (index - 2) for index, name in enumerate(NAMES)]) for one in made.weights[:2]
    )
    assert (first > 0).all()
    assert (np.sign(second[[0, 1]]) == -np.sign(second[[3, 4]])).all()


def test_neither_order_nor_units_change_the_components():
    given = images()
    made = principal_components(given)
    for order in itertools.islice(itertools.permutations(NAMES), 1, 120, 17):
        again = principal_components({name: given[name] for name in order})
        assert again == made
    scaled = principal_components({name: 7 * plane + 3 for name, plane in given.items()})
    for one, other in zip(made.weights, scaled.weights, strict=True):
        assert [7 * other[name] for name in NAMES] == pytest.approx([one[name] for name in NAMES], rel=1e-6)
    mirrored = principal_components({name: -plane for name, plane in given.items()})
    for weights in (*made.weights, *mirrored.weights):
        deviations = {name: given[name].std() for name in NAMES}
        assert max((weights[name] * deviations[name] for name in NAMES), key=abs) > 0


def test_a_picture_of_components_says_what_they_are_made_of():
    channels = [Channel(name, plane.astype(np.float32), None) for name, plane in images(0.3).items()]
    settings = {**parameters("rgb"), "composite": "components"}
    made = compose_rgb(channels, settings)
    assert made.rgb.shape == (*SHAPE, 3)
    assert set(made.record["channels"]["red"]) == set(NAMES)
    assert made.record["variance"]["red"] > made.record["variance"]["green"] > made.record["variance"]["blue"]
    assert made.record["white_balance"]["by"] == "none"
    assert any(one.startswith("principal components, of all variance: 0.") for one in made.steps)
    bright = patterns()["wide"] > 1.5
    assert made.rgb[..., 0][bright].mean() > 2 * made.rgb[..., 0][~bright].mean()
    again = compose_rgb(channels[::-1], settings)
    np.testing.assert_array_equal(made.rgb, again.rgb)
    with pytest.raises(ProcessingError, match="components"):
        compose_rgb(channels[:2], settings)
