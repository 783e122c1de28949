"""The gain of a simulated detector, found again from two of its flats, whatever the lamp did between them."""

from __future__ import annotations

import numpy as np
import pytest

from avcd.errors import ProcessingError
from avcd.reduction.gain import gain_from_flats


def pair(detector, levels_e):
    return [detector.expose(0, level) for level in levels_e]


@pytest.mark.parametrize("gain", [0.3, 1.6, 4.0])
@pytest.mark.parametrize("levels", [(30000, 30000), (30000, 24000)])
def test_the_gain_is_found_under_vignetting_and_a_drifting_lamp(make_detector, gain, levels):
    detector = make_detector(shape=(300, 320), gain=gain, hot_pixels=())
    scaled = [level * min(gain, 1) for level in levels]
    found = gain_from_flats(*pair(detector, scaled), detector.bias, detector.read_noise_e / gain)
    assert found == pytest.approx(gain, rel=0.015)


def test_the_read_noise_is_taken_out_and_wild_pixels_do_not_count(make_detector):
    detector = make_detector(shape=(300, 320), read_noise_e=60.0)
    flats = pair(detector, (3000, 3000))
    flats[0][::17, ::13] = 65535
    flats[1][3, 4] = np.nan
    found = gain_from_flats(*flats, detector.bias, 60.0 / detector.gain)
    assert found == pytest.approx(detector.gain, rel=0.05)
    assert gain_from_flats(*flats, detector.bias, 0.0) < 0.7 * detector.gain


def test_what_tells_no_gain_is_refused(detector):
    dark, other = pair(detector, (0, 0))
    with pytest.raises(ProcessingError, match="no light above their bias"):
        gain_from_flats(dark, other, dark.max() + 1, 1.0)
    flats = pair(detector, (500, 500))
    with pytest.raises(ProcessingError, match="take brighter ones"):
        gain_from_flats(*flats, detector.bias, 1000.0)
    with pytest.raises(ProcessingError, match="sizes"):
        gain_from_flats(flats[0], flats[1][:-1], detector.bias, 1.0)
