"""Resampling by reproject keeps what the loops of avcd keep."""

from __future__ import annotations

import numpy as np
import pytest
from test_resampling import SHAPE, aperture, star_field, world

from avcd.compose.mapping import Registration
from avcd.compose.peers import resample_by_reproject
from avcd.errors import ProcessingError
from avcd.frame import MaskBit


@pytest.mark.parametrize("method", ["adaptive", "exact"])
def test_flux_is_kept_and_gaps_stay_gaps(method):
    image, places, flux = star_field(number=12)
    mask = np.zeros(SHAPE, np.uint16)
    mask[5:25, 5:25] = int(MaskBit.HOT)
    image[5:25, 5:25] = 5e4
    shape = SHAPE[0] // 2, SHAPE[1] // 2
    grid = world(2.0, 0.0, shape=shape)
    registration = Registration("wcs", worlds=(grid, world()))
    found = resample_by_reproject(image, mask, np.full(SHAPE, 3.0, np.float32), registration, shape, method)
    x, y = registration.to_reference(places[:, 0], places[:, 1])
    for qx, qy, light in zip(x, y, flux, strict=True):
        assert aperture(found.data, qx, qy, 8.0)[0] == pytest.approx(light, rel=1e-3)
    assert (found.weight[4:11, 4:11] == 0).all()
    assert (found.mask[4:11, 4:11] & int(MaskBit.NO_DATA) != 0).all()
    assert np.median(found.uncertainty[found.weight > 0]) == pytest.approx(12.0, rel=0.01)


def test_what_lies_there_by_its_stars_alone_is_refused():
    with pytest.raises(ProcessingError, match="needs the world coordinates"):
        resample_by_reproject(np.zeros(SHAPE), None, None, Registration("stars", np.eye(2, 3)), SHAPE, "exact")
