"""A line's light without its continuum: the nebula comes back, the stars go, what is saturated is marked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fields import SHAPE, Sky

from avcd.errors import ProcessingError
from avcd.frame import MaskBit
from avcd.reduction.planes import MaskedImage
from avcd.stages.continuum import subtract_continuum

SHARE = 0.12  # of the broadband light that the narrow filter passes


def field(*, sigma=1.6, emission_stars=3, number=90):
    """A narrow and a broad image of stars, some with emission, and a nebula; and the light of the line alone."""
    sky = Sky(number, seed=4)
    y, x = np.indices(SHAPE)
    nebula = 40 * np.exp(-((x - 110) ** 2 + (y - 100) ** 2) / 2 / 25**2)
    broad, _ = sky.frame(sky=900.0, noise=8.0, seed=1)
    narrow, _ = sky.frame(sky=150.0, noise=2.0, scale=SHARE, seed=2, sigma=sigma)
    line = nebula + sum(
        (400 * np.exp(-((x - px) ** 2 + (y - py) ** 2) / 2 / sigma**2) for px, py in sky.xy[:emission_stars]), 0.0
    )
    return sky, ccd(narrow + line, 2.0), ccd(broad, 8.0), line


def ccd(data, noise=None, mask=None) -> MaskedImage:
    spread = None if noise is None else np.full(SHAPE, noise, np.float32)
    return MaskedImage(np.asarray(data, np.float32), unit="adu", mask=mask, uncertainty=spread)


@pytest.mark.parametrize("sigma", [1.6, 2.2])
def test_the_nebula_comes_back_and_the_stars_go(sigma):
    sky, narrow, broad, line = field(sigma=sigma)
    found = subtract_continuum(narrow, broad)
    assert found.factor == pytest.approx(SHARE, rel=0.02)
    assert found.blurred == ("" if sigma == 1.6 else "broad")
    assert abs(found.factor - SHARE) < 5 * max(found.factor_error, 0.001)
    inner = np.s_[60:140, 70:150]
    assert found.ccd.data[inner].sum() == pytest.approx(line[inner].sum(), rel=0.04)
    rest = found.ccd.data - line
    inside = [(x, y) for x, y in np.rint(sky.xy[3:]).astype(int) if 5 < x < SHAPE[1] - 6 and 5 < y < SHAPE[0] - 6]
    left = [abs(rest[y - 3 : y + 4, x - 3 : x + 4].sum()) for x, y in inside]
    lights = [(broad.data[y - 3 : y + 4, x - 3 : x + 4] - 900).sum() * SHARE for x, y in inside]
    assert np.median(np.array(left) / np.array(lights)) < 0.08


def test_uncertainties_are_added_in_quadrature_and_inputs_are_left_alone():
    _, narrow, broad, _ = field()
    before = narrow.data.copy(), broad.data.copy()
    found = subtract_continuum(narrow, broad, factor=0.5, match_widths=False)
    np.testing.assert_allclose(found.ccd.uncertainty, np.hypot(2.0, 0.5 * 8.0), rtol=1e-6)
    assert found.stars is None
    np.testing.assert_array_equal(before[0], narrow.data)
    np.testing.assert_array_equal(before[1], broad.data)


def test_what_is_saturated_in_either_image_is_marked_and_does_not_count():
    _, narrow, broad, _ = field()
    level = np.sort(broad.data.ravel())[-400]
    full = broad.data >= level
    broad.data[full] = level  # many bright stars are cut off: their ratios are all wrong
    broad = replace(broad, mask=np.where(full, np.uint16(MaskBit.SATURATED), np.uint16(0)))
    found = subtract_continuum(narrow, broad)
    assert found.factor == pytest.approx(SHARE, rel=0.04)
    assert ((found.ccd.mask & int(MaskBit.SATURATED)) != 0).sum() == full.sum()


def test_too_few_stars_ask_for_a_factor():
    _, narrow, broad, _ = field(number=2, emission_stars=0)
    with pytest.raises(ProcessingError, match="give --factor"):
        subtract_continuum(narrow, broad)
    assert subtract_continuum(narrow, broad, factor=0.1).factor == 0.1
