"""Where pixels lie: what is read in place is what the whole file's reader gives, and all else is left to that."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from astropy.io import fits

from avcd.headers.layout import locate_pixels
from avcd.headers.pixels import read_pixels
from avcd.reduction.sources import FileSource

SHAPE = (40, 30)


def pixels(kind: str) -> np.ndarray:
    rng = np.random.default_rng(1)
    if kind.startswith("f"):
        return rng.normal(0, 1e4, SHAPE).astype(kind)
    limits = np.iinfo(kind)
    return rng.integers(limits.min, limits.max, SHAPE, dtype=kind, endpoint=True)


def in_place(path, hdu=0):
    found = locate_pixels(path, hdu)
    return None if found is None else FileSource(path, found.start, found.shape, found.stored, found.zero)


@pytest.mark.parametrize("kind", ["u1", "i2", "u2", "f4"])
@pytest.mark.parametrize("hdu", [0, 2])
def test_rows_read_in_place_are_those_of_the_whole_file(tmp_path, kind, hdu):
    image = pixels(kind)
    path = tmp_path / "frame.fits"
    if hdu:
        fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(pixels("f8")), fits.ImageHDU(image)]).writeto(path)
    else:
        fits.PrimaryHDU(image[None]).writeto(path)
    source = in_place(path, hdu)
    whole, _ = read_pixels(path, "", hdu)
    np.testing.assert_array_equal(source.rows(0, SHAPE[0])[0], whole)
    np.testing.assert_array_equal(source.rows(7, 11)[0], whole[7:11])


@pytest.mark.parametrize(
    "case", ["double", "scaled", "blank", "cube", "table", "packed", "gzip", "nothing", "short", "junk"]
)
def test_what_is_not_plain_is_left_to_the_reader_of_whole_files(tmp_path, case):
    path = tmp_path / "frame.fits"
    hdu = fits.PrimaryHDU(pixels("f8" if case == "double" else "i2"))
    if case == "cube":
        hdu = fits.PrimaryHDU(np.zeros((2, 3, 4), np.int16))
    if case == "blank":
        hdu.header["BLANK"] = -32768
    hdus = [hdu]
    if case == "table":
        hdus = [fits.PrimaryHDU(), fits.BinTableHDU(np.zeros(3, [("a", "i2")]))]
    if case == "packed":
        hdus = [fits.PrimaryHDU(), fits.CompImageHDU(pixels("i2"))]
    fits.HDUList(hdus).writeto(path)
    content = path.read_bytes()
    if case == "scaled":
        path.write_bytes(content.replace(b"EXTEND  =                    T", b"BSCALE  =                  2.0"))
    if case == "gzip":
        path.write_bytes(gzip.compress(content))
    if case == "short":
        path.write_bytes(content[:3000])
    if case == "junk":
        path.write_bytes(b"no FITS at all")
    number = {"table": 1, "packed": 1, "nothing": 3}.get(case, 0)
    assert in_place(path, number) is None
