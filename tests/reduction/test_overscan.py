"""Overscan and trimming: ccdproc's pixels, FITS's way of counting, and lines without overscan that say so."""

from __future__ import annotations

import ccdproc
import numpy as np
import pytest
from astropy.modeling.models import Chebyshev1D
from astropy.nddata import CCDData
from astropy.wcs import WCS

from avcd.errors import ProcessingError
from avcd.frame import MaskBit
from avcd.reduction.overscan import Section, subtract_overscan, trim
from avcd.reduction.planes import MaskedImage

BIASSEC = Section.parse("[101:132,1:80]")
TRIMSEC = Section.parse("[3:100,2:79]")


def frame(seed: int = 1) -> MaskedImage:
    """A frame of 80 x 132 pixels whose rows have levels of their own."""
    rng = np.random.default_rng(seed)
    rows = 1000 + 20 * np.sin(np.arange(80) / 15)[:, None]
    data = rows + rng.normal(0, 3, (80, 132))
    data[:, :100] += rng.poisson(500, (80, 100))
    return MaskedImage(data.astype(np.float32), unit="adu")


def test_a_section_counts_from_one_and_holds_both_ends():
    assert Section.parse(" [3:100, 2:79] ") == TRIMSEC
    assert (TRIMSEC.shape, str(TRIMSEC)) == ((78, 98), "[3:100,2:79]")
    data = np.arange(80 * 132).reshape(80, 132)
    assert data[TRIMSEC.slices(data.shape)][0, 0] == data[1, 2]
    assert data[TRIMSEC.slices(data.shape)][-1, -1] == data[78, 99]


@pytest.mark.parametrize("text", ["[0:0,0:0]", "[5:3,1:2]", "[1:2,9:4]", "1:2,3:4", "[1:2]", "[a:b,c:d]", ""])
def test_what_is_no_section_is_refused_with_how_to_write_one(text):
    with pytest.raises(ProcessingError, match=r"\[x1:x2,y1:y2\]"):
        Section.parse(text)


@pytest.mark.parametrize("stage", [trim, subtract_overscan])
def test_a_section_beyond_the_frame_is_refused(stage):
    with pytest.raises(ProcessingError, match="beyond the image of 132 x 80"):
        stage(frame(), Section(1, 133, 1, 80))


@pytest.mark.parametrize("method", ["median", "mean"])
@pytest.mark.parametrize("degree", [None, 1, 5])
@pytest.mark.parametrize("turned", [False, True])
def test_overscan_is_that_of_ccdproc(method, degree, turned):
    ccd, section, text = frame(), BIASSEC, "[101:132,1:80]"
    if turned:
        ccd, section, text = MaskedImage(ccd.data.T, unit="adu"), Section(1, 80, 101, 132), "[1:80,101:132]"
    expected = ccdproc.subtract_overscan(
        CCDData(ccd.data.astype(np.float64), unit="adu"),
        fits_section=text,
        overscan_axis=0 if turned else 1,
        median=method == "median",
        model=None if degree is None else Chebyshev1D(degree, domain=[0, 79]),
    )
    found = subtract_overscan(ccd, section, method=method, degree=degree)
    np.testing.assert_allclose(found.data, expected.data, atol=2e-3 if degree else 2e-4)
    light = found.data[:100] if turned else found.data[:, :100]
    assert abs(np.median(light) - 500) < 3


def test_a_struck_pixel_of_the_overscan_takes_no_part():
    ccd = frame()
    clean = subtract_overscan(ccd, BIASSEC, method="mean").data
    data, mask = ccd.data.copy(), np.zeros(ccd.data.shape, np.uint16)
    data[10, 110], data[11, 111] = 60000, np.nan
    mask[10, 110] = MaskBit.COSMIC_RAY
    found = subtract_overscan(MaskedImage(data, unit="adu", mask=mask), BIASSEC, method="mean").data
    assert abs(found[10:12, :100] - clean[10:12, :100]).max() < 1
    np.testing.assert_array_equal(np.delete(found, [10, 11], axis=0), np.delete(clean, [10, 11], axis=0))


def test_lines_without_overscan_are_masked():
    found = subtract_overscan(frame(), Section.parse("[101:132,11:70]"))
    assert (found.mask[:10] == MaskBit.NO_DATA).all()
    assert (found.mask[70:] == MaskBit.NO_DATA).all()
    assert not found.mask[10:70].any()
    polynomial = subtract_overscan(frame(), Section.parse("[101:132,11:70]"), degree=3)
    assert polynomial.mask is None
    assert abs(np.median(polynomial.data[:10, :100]) - 500) < 10


@pytest.mark.parametrize("method", ["median", "mean"])
@pytest.mark.parametrize("degree", [None, 2])
def test_the_levels_error_joins_the_uncertainty(method, degree):
    def signal(seed):
        rng = np.random.default_rng(seed)
        data = 1000 + rng.normal(0, 5, (60, 40))
        ccd = MaskedImage(data.astype(np.float32), unit="adu", uncertainty=np.full((60, 40), 5.0))
        return subtract_overscan(ccd, Section(31, 40, 1, 60), method=method, degree=degree)

    found = [signal(seed) for seed in range(200)]
    truth = np.std([one.data[:, :30] for one in found])
    claimed = np.sqrt(np.mean([np.square(one.uncertainty[:, :30]) for one in found]))
    assert claimed == pytest.approx(truth, rel=0.03)


def test_an_unusable_overscan_is_refused():
    with pytest.raises(ProcessingError, match="no usable pixel"):
        subtract_overscan(MaskedImage(np.full((9, 9), np.nan), unit="adu"), Section(8, 9, 1, 9))
    with pytest.raises(ProcessingError, match="too few for a polynomial"):
        subtract_overscan(MaskedImage(np.ones((9, 9)), unit="adu"), Section(8, 9, 1, 9), degree=9)
    with pytest.raises(ValueError, match="mode"):
        subtract_overscan(frame(), BIASSEC, method="mode")


def test_trimming_is_that_of_ccdproc_and_takes_planes_and_world_along():
    world = WCS(naxis=2)
    world.wcs.ctype, world.wcs.crval = ["RA---TAN", "DEC--TAN"], [83.8, -5.4]
    world.wcs.crpix, world.wcs.cdelt = [50, 40], [-1e-4, 1e-4]
    data = frame().data
    ccd = MaskedImage(data, "adu", np.arange(data.size).reshape(data.shape) % 7, data / 100, wcs=world)
    found = trim(ccd, TRIMSEC)
    expected = ccdproc.trim_image(CCDData(ccd.data, unit="adu"), fits_section="[3:100,2:79]")
    np.testing.assert_array_equal(found.data, expected.data)
    np.testing.assert_array_equal(found.mask, ccd.mask[1:79, 2:100])
    np.testing.assert_array_equal(found.uncertainty, ccd.uncertainty[1:79, 2:100])
    assert found.mask.dtype == np.uint16
    np.testing.assert_allclose(found.wcs.all_pix2world(0, 0, 0), world.all_pix2world(2, 1, 0))
