"""Images that several amplifiers read out: each its own level, joined as the detector is."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

from avcd.errors import ProcessingError
from avcd.reduction.amplifiers import Amplifier, amplifiers_of, join_amplifiers, place_of
from avcd.reduction.planes import MaskedImage
from avcd.sections import Section

NY, NX, OVER = 40, 50, 12  # of each of four parts, and how wide its overscan is
LEVELS = {(0, 0): 1000.0, (0, 1): 1300.0, (1, 0): 800.0, (1, 1): 2100.0}
RNG = np.random.default_rng(9)
SKY = RNG.normal(500, 20, (2 * NY, 2 * NX)).astype(np.float32)


def raw() -> np.ndarray:
    """Left parts have their overscan at their right, right ones at their left; levels drift along the rows."""
    image = np.empty((2 * NY, 2 * (NX + OVER)), np.float32)
    drift = np.linspace(0, 30, NY, dtype=np.float32)[:, None]
    for (up, right), level in LEVELS.items():
        rows = slice(up * NY, (up + 1) * NY)
        half = slice(right * (NX + OVER), (right + 1) * (NX + OVER))
        light = np.zeros((NY, NX + OVER), np.float32)
        light[:, OVER if right else 0 :][:, :NX] = SKY[rows, right * NX : (right + 1) * NX]
        image[rows, half] = level + drift + light
    return image


def amplifiers() -> list[Amplifier]:
    found = []
    for up, right in LEVELS:
        x = right * (NX + OVER) + (OVER if right else 0)
        over = NX + OVER if right else NX
        y = up * NY
        found.append(Amplifier(Section(x + 1, x + NX, y + 1, y + NY), Section(over + 1, over + OVER, y + 1, y + NY)))
    return found


def cards(names: tuple[str, str], numbers: tuple[str, ...]) -> fits.Header:
    header = fits.Header()
    for number, one in zip(numbers, amplifiers(), strict=True):
        header[names[0] + number] = str(one.overscan)
        header[names[1] + number] = str(one.image)
    return header


def test_every_part_loses_its_own_level_and_the_sky_is_whole_again():
    mask = np.zeros(raw().shape, np.uint16)
    mask[3, NX + OVER + OVER] = 4  # the first column of the lower right part
    whole = MaskedImage(raw(), unit="adu", mask=mask, uncertainty=np.full(raw().shape, 5, np.float32))
    found = join_amplifiers(whole, amplifiers())
    np.testing.assert_allclose(found.data, SKY, atol=0.01)
    assert np.argwhere(found.mask).tolist() == [[3, NX]]
    np.testing.assert_allclose(found.uncertainty, 5, rtol=1e-5)  # an overscan without noise adds none
    np.testing.assert_array_equal(whole.data, raw())
    cut = join_amplifiers(whole, [Amplifier(one.image) for one in amplifiers()])
    assert np.median(cut.data[NY:, NX:] - SKY[NY:, NX:]) == pytest.approx(LEVELS[1, 1] + 15, abs=1)


@pytest.mark.parametrize(
    ("names", "numbers"),
    [(("BIASSEC", "DATASEC"), ("1", "2", "3", "4")), (("BSEC", "DSEC"), ("11", "12", "21", "22")),
     (("BIASSEC", "AMPSEC"), ("1", "2", "3", "4")), (("BIASSEC", "TRIMSEC"), ("0", "1", "2", "3"))],
)  # fmt: skip
def test_headers_name_amplifiers_by_number(names, numbers):
    header = cards(names, numbers)
    assert amplifiers_of(header) == tuple(amplifiers())
    header[f"CCDSEC{numbers[0]}"] = "[1:50,1:40]"  # of the detector, not of the file
    header["DATASEC"] = "[1:10,1:10]"
    assert amplifiers_of(header) == tuple(amplifiers())


def test_one_overscan_is_no_list_and_zeros_are_none():
    header = fits.Header({"BIASSEC1": "[1:10,1:20]", "DATASEC1": "[11:20,1:20]"})
    assert amplifiers_of(header) == ()
    header["BIASSEC2"] = "[0:0,0:0]"
    assert amplifiers_of(header) == ()
    header["BIASSEC2"] = "[21:30,1:20]"
    with pytest.raises(ProcessingError, match=r"amplifier 2.*--amplifiers"):
        amplifiers_of(header)


@pytest.mark.parametrize("change", ["hole", "overlap", "twice"])
def test_parts_that_make_no_image_are_refused(change):
    parts = amplifiers()
    if change == "hole":
        del parts[2]
    elif change == "overlap":
        parts[1] = Amplifier(Section(40, 89, 1, NY))
    else:
        parts.append(parts[0])
    with pytest.raises(ProcessingError, match="amplifier"):
        join_amplifiers(MaskedImage(raw(), unit="adu"), parts)


def test_a_reference_point_stays_on_its_pixel():
    columns = [(11, 60), (85, 134)]
    assert [place_of(one, columns) for one in (11, 60.5, 85, 134, 1.0, 140)] == [1, 50.5, 51, 100, -9, 106]
