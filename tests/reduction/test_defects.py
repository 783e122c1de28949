"""Bad pixels that were put into a dark are found, and little else."""

from __future__ import annotations

import ccdproc
import numpy as np
import pytest

from avcd.errors import ProcessingError
from avcd.frame import MaskBit
from avcd.reduction.defects import find_bad_pixels, find_bad_response
from avcd.reduction.planes import MaskedImage


def dark(shape=(256, 300), glow: float = 0.0) -> np.ndarray:
    y, x = np.indices(shape)
    smooth = 20 + glow * np.exp(-(((x - shape[1]) / 120) ** 2) - (y / 100) ** 2)  # amplifier glow in a corner
    return (smooth + np.random.default_rng(4).normal(0, 2, shape)).astype(np.float32)


@pytest.mark.parametrize("glow", [0.0, 300.0])
def test_hot_and_dead_pixels_are_found_also_on_a_glow(glow, parameters):
    data = dark(glow=glow)
    rng = np.random.default_rng(5)
    places = rng.choice(data.size, 120, replace=False)
    hot, dead = places[:80], places[80:]
    data.flat[hot] += 60
    data.flat[dead] -= 60
    found = find_bad_pixels(MaskedImage(data, unit="adu"), parameters["bad_pixel_mask"])
    mask = found.ccd.mask
    assert ((mask.flat[hot] & MaskBit.HOT) > 0).mean() > 0.97
    assert ((mask.flat[dead] & MaskBit.DEAD) > 0).mean() > 0.97
    others = np.ones(data.size, bool)
    others[places] = False
    assert np.count_nonzero(mask.ravel()[others]) < 10
    assert found.metrics["hot_px"] == pytest.approx(80, abs=10)
    np.testing.assert_array_equal(found.ccd.data, mask)


@pytest.mark.parametrize("width", [1, 2, 7, 20])
@pytest.mark.parametrize("level", [8, -8])
def test_bad_columns_are_found_also_side_by_side(width, level, parameters):
    data = dark()
    data[:, 100 : 100 + width] += level  # four sigma: no pixel of them is bad by itself
    found = find_bad_pixels(MaskedImage(data, unit="adu"), parameters["bad_pixel_mask"])
    assert found.metrics["bad_columns"] == width
    bit = MaskBit.HOT if level > 0 else MaskBit.DEAD
    assert ((found.ccd.mask[:, 100 : 100 + width] & bit) > 0).all()
    assert np.count_nonzero(found.ccd.mask[:, :100]) < 50


def test_a_bad_row_is_found(parameters):
    data = dark()
    data[77] += 8
    found = find_bad_pixels(MaskedImage(data, unit="adu"), parameters["bad_pixel_mask"])
    assert (found.metrics["bad_rows"], found.metrics["bad_columns"]) == (1, 0)
    assert (found.ccd.mask[77] & MaskBit.HOT).all()


def test_a_clean_dark_has_no_bad_pixels(parameters):
    found = find_bad_pixels(MaskedImage(dark(), unit="adu"), parameters["bad_pixel_mask"])
    assert found.metrics["bad_fraction"] == 0


def test_pixels_without_a_value_are_dead(parameters):
    data = dark()
    data[5, 6] = np.nan
    mask = np.zeros(data.shape, np.uint16)
    mask[8, 9] = int(MaskBit.NO_DATA)
    data[8, 9] = 1e9
    found = find_bad_pixels(MaskedImage(data, unit="adu", mask=mask), parameters["bad_pixel_mask"])
    assert np.argwhere(found.ccd.mask).tolist() == [[5, 6], [8, 9]]
    assert found.ccd.mask[5, 6] == MaskBit.DEAD


@pytest.mark.parametrize(
    ("level", "rows", "width"),
    [(4, (60, 400), 1), (-4, (0, 200), 1), (6, (500, 540), 1), (4, (350, 600), 3), (4, (100, 450), 20)],
)
def test_a_part_of_a_column_is_found_with_its_ends(level, rows, width, parameters):
    data = dark((600, 300))
    data[slice(*rows), 100 : 100 + width] += level  # two or three sigma
    found = find_bad_pixels(MaskedImage(data, unit="adu"), parameters["bad_pixel_mask"])
    truth = np.zeros(data.shape, bool)
    truth[slice(*rows), 100 : 100 + width] = True
    bad = (found.ccd.mask & (MaskBit.HOT if level > 0 else MaskBit.DEAD)) != 0
    assert (found.metrics["partial_columns"], found.metrics["bad_columns"]) == (width, 0)
    assert (bad & truth).sum() > 0.97 * truth.sum()
    assert (bad & ~truth).sum() < 0.03 * truth.sum() + 5


def test_good_columns_beside_a_wide_run_of_bad_ones_stay_good(parameters):
    data = dark((1024, 300))
    data[:, 100:122] += 8
    found = find_bad_pixels(MaskedImage(data, unit="adu"), parameters["bad_pixel_mask"])
    assert np.flatnonzero(found.ccd.mask.any(axis=0)).tolist() == list(range(100, 122))


def test_a_hot_pixel_is_no_part_of_a_column(parameters):
    data = dark((600, 300))
    data[300, 100] += 50_000
    found = find_bad_pixels(MaskedImage(data, unit="adu"), parameters["bad_pixel_mask"])
    assert np.argwhere(found.ccd.mask).tolist() == [[300, 100]]
    assert found.metrics["partial_columns"] == 0


def flat(light: float, response: np.ndarray, seed: int) -> MaskedImage:
    """A flat of so many electrons, adu of one electron."""
    rng = np.random.default_rng(seed)
    return MaskedImage(rng.poisson(light * response).astype(np.float32), unit="adu")


def response() -> np.ndarray:
    y, x = np.indices((150, 180))
    return 1 - 0.3 * ((y / 150 - 0.5) ** 2 + (x / 180 - 0.5) ** 2)


ODD = np.s_[[20, 40, 60, 80, 149], [30, 77, 150, 5, 179]]


def test_pixels_of_odd_response_are_those_that_ccdmask_finds(parameters):
    odd = response()
    odd[ODD] *= [0.3, 0.8, 1.25, 0.1, 0.85]
    one = flat(40_000, odd, 1)
    found = find_bad_response(one, None, parameters["bad_pixel_mask"])
    oracle = ccdproc.ccdmask(one.data / np.median(one.data))
    truth = np.zeros(odd.shape, bool)
    truth[ODD] = True
    assert np.array_equal(oracle & truth, truth)
    np.testing.assert_array_equal(found.ccd.mask != 0, truth)
    assert (found.ccd.mask[ODD] & MaskBit.DEAD).astype(bool).tolist() == [True, False, False, True, False]
    assert (found.ccd.mask[ODD] & MaskBit.RESPONSE).all()


def test_a_ratio_of_two_flats_forgives_what_is_proportional(parameters):
    odd = response()
    odd[ODD] *= [0.7, 0.8, 1.25, 0.9, 0.85]
    dim, bright = flat(20_000, odd, 1), flat(40_000, odd, 2)
    bright.data[70, 90] *= 0.7  # not linear
    found = find_bad_response(bright, dim, parameters["bad_pixel_mask"])
    assert np.argwhere(found.ccd.mask).tolist() == [[70, 90]]


def test_what_is_dead_in_a_master_flat_is_dead(parameters):
    mask = np.zeros((150, 180), np.uint16)
    mask[3, 4] = int(MaskBit.DEAD)
    one = flat(40_000, response(), 1)
    one.data[5, 6] = np.nan
    found = find_bad_response(MaskedImage(one.data, unit="adu", mask=mask), None, parameters["bad_pixel_mask"])
    assert np.argwhere(found.ccd.mask & np.uint16(MaskBit.DEAD)).tolist() == [[3, 4], [5, 6]]


def test_flats_that_say_nothing_are_refused(parameters):
    dim = MaskedImage(np.zeros((150, 180)), unit="adu")
    with pytest.raises(ProcessingError, match="no light"):
        find_bad_response(dim, None, parameters["bad_pixel_mask"])
    with pytest.raises(ProcessingError, match="do not fit"):
        find_bad_response(dim, MaskedImage(np.ones((3, 3)), unit="adu"), parameters["bad_pixel_mask"])
