"""Images as bytes of FITS files: what is written strip by strip is what astropy would have written, and its sums are right."""

from __future__ import annotations

import io

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from avcd import encoding
from avcd.compiling import available, kernels
from avcd.encoding import ALL_ONES, checksum_text, folded, write_hdus


def hdus(shape: tuple[int, int], seed: int = 1) -> list:
    rng = np.random.default_rng(seed)
    primary = fits.PrimaryHDU(rng.normal(100, 50, shape).astype(np.float32))
    primary.header["OBJECT"] = ("M 42", "a target")
    primary.header["HISTORY"] = "bias subtracted"
    mask = fits.ImageHDU(rng.integers(0, 65536, shape).astype(np.uint16), name="MASK")
    table = fits.BinTableHDU(Table({"x": [1.5, 2.5], "name": ["a", "bc"]}), name="STARS")
    return [primary, mask, fits.ImageHDU(rng.normal(3, 1, shape).astype(np.float32), name="UNCERT"), table]


def by_astropy(found: list) -> bytes:
    whole = fits.HDUList(found)
    whole.update_extend()
    for hdu in whole:
        hdu.add_datasum(when="data unit checksum")
        hdu.add_checksum(when="HDU checksum")
    stream = io.BytesIO()
    whole.writeto(stream)
    return stream.getvalue()


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (24, 30), (64, 90)])
@pytest.mark.parametrize("strip", [64, 1000, 1 << 20])
def test_every_byte_is_astropys(shape, strip, monkeypatch):
    monkeypatch.setattr(encoding, "_STRIP_BYTES", strip)
    for seed in range(4):
        stream = io.BytesIO()
        write_hdus(hdus(shape, seed), stream)
        assert stream.getvalue() == by_astropy(hdus(shape, seed))
        assert stream.tell() == len(stream.getvalue())


@pytest.mark.skipif(not available(), reason="Numba is not installed")
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (64, 90), (201, 333)])
@pytest.mark.parametrize("workers", [1, 3])
def test_compiled_loops_and_threads_write_the_same_bytes(shape, workers, monkeypatch, tmp_path):
    assert kernels("wordsums") is not None  # from now on they are used
    monkeypatch.setattr(encoding, "_COMPILED_BYTES", 256)
    monkeypatch.setattr(encoding, "_STRIP_BYTES", 1024)
    monkeypatch.setattr(encoding, "threads", lambda: workers)
    memory, path = io.BytesIO(), tmp_path / "x.fits"
    write_hdus(hdus(shape), memory)
    with path.open("wb") as stream:
        write_hdus(hdus(shape), stream)
        assert stream.tell() == len(memory.getvalue())
    assert memory.getvalue() == path.read_bytes() == by_astropy(hdus(shape))


def test_every_checksum_is_of_letters_and_digits_and_makes_the_sum_whole():
    rng = np.random.default_rng(4)
    for total in (0, 1, ALL_ONES, ALL_ONES - 1, 0x30303030, *rng.integers(0, ALL_ONES, 500).tolist()):
        text = checksum_text(total)
        assert text.isalnum()
        assert len(text) == 16
        placed = np.frombuffer((text[1:] + text[:1]).encode(), ">u4").sum(dtype=np.uint64)
        zeros = np.frombuffer(b"0" * 16, ">u4").sum(dtype=np.uint64)
        assert folded(int(total) + int(placed) + (ALL_ONES - folded(int(zeros)))) in (0, ALL_ONES)
