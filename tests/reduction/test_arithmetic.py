"""Image arithmetic: ccdproc's and NumPy's numbers, true uncertainties, masks that say why."""

from __future__ import annotations

import numpy as np
import pytest

from avcd.errors import ProcessingError
from avcd.frame import MaskBit
from avcd.reduction.arithmetic import OPERATIONS, calculate
from avcd.reduction.planes import MaskedImage


def frame(seed: int, unit="adu", sigma: float | None = 3.0) -> MaskedImage:
    rng = np.random.default_rng(seed)
    data = rng.uniform(50, 200, (20, 30)).astype(np.float32)
    mask = (rng.random(data.shape) < 0.1).astype(np.uint16) * seed
    uncertainty = None if sigma is None else np.full(data.shape, sigma)
    return MaskedImage(data, unit, mask, uncertainty)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_frame_with_frame_is_astropys(operation):
    found = calculate(frame(1), operation, frame(2))
    expected = getattr(frame(1).to_ccddata(), operation)(frame(2).to_ccddata())
    np.testing.assert_allclose(found.data, expected.data, rtol=2e-7)
    np.testing.assert_allclose(found.uncertainty, expected.uncertainty.array, rtol=1e-6)
    np.testing.assert_array_equal(found.mask != 0, expected.mask)
    np.testing.assert_array_equal(found.mask, frame(1).mask | frame(2).mask)
    assert found.unit == str(expected.unit)
    assert found.data.dtype == np.float32


@pytest.mark.parametrize("operation", OPERATIONS)
def test_frame_with_number_is_numpys(operation):
    found = calculate(frame(1), operation, 8.0)
    np.testing.assert_allclose(found.data, OPERATIONS[operation](frame(1).data, np.float32(8)), rtol=2e-7)
    factor = {"multiply": 8.0, "divide": 1 / 8}.get(operation, 1.0)
    np.testing.assert_allclose(found.uncertainty, 3.0 * factor)
    assert found.unit == "adu"


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_uncertainty_is_the_scatter_of_realisations(operation):
    rng = np.random.default_rng(5)
    one, other = rng.uniform(80, 120, (2, 50, 50))

    def noisy(values, sigma):
        noise = np.full(values.shape, sigma)
        return MaskedImage(values + rng.normal(0, sigma, values.shape), unit="adu", uncertainty=noise)

    found = [calculate(noisy(one, 2.0), operation, noisy(other, 1.5)) for _ in range(100)]
    truth = np.sqrt(np.var([each.data for each in found], axis=0).mean() * 100 / 99)
    claimed = np.sqrt(np.mean([np.square(each.uncertainty) for each in found]))
    assert claimed == pytest.approx(truth, rel=0.03)


def test_division_by_zero_is_masked_and_harms_nothing():
    divisor = frame(2)
    divisor.data[3, 4] = 0
    found = calculate(frame(1), "divide", divisor)
    assert found.mask[3, 4] & MaskBit.NON_FINITE
    assert found.data[3, 4] == found.uncertainty[3, 4] == 0
    assert np.count_nonzero(found.mask & MaskBit.NON_FINITE) == 1
    assert (calculate(frame(1), "divide", 0.0).mask & MaskBit.NON_FINITE).all()


def test_an_unknown_uncertainty_stays_unknown():
    assert calculate(frame(1), "add", frame(2, sigma=None)).uncertainty is None
    assert calculate(frame(1, sigma=None), "add", 1.0).uncertainty is None


def test_units_multiply_divide_and_do_not_add_up():
    flat = MaskedImage(np.full((20, 30), 2.0, np.float32), unit="")
    assert calculate(frame(1), "divide", flat).unit == "adu"
    assert calculate(frame(1), "divide", frame(2)).unit == ""
    with pytest.raises(ProcessingError, match="adu and one in electron"):
        calculate(frame(1), "add", frame(2, unit="electron"))


def test_what_makes_no_sense_is_refused():
    with pytest.raises(ProcessingError, match="sizes"):
        calculate(frame(1), "add", MaskedImage(np.ones((3, 3)), unit="adu"))
    with pytest.raises(ValueError, match="power"):
        calculate(frame(1), "power", 2.0)
