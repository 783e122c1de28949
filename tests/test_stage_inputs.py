"""Rows for combination: read in place, held, or decoded into temporary files; always the frames' own."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from astropy.io import fits

from avcd.frame import Frame
from avcd.headers.pixels import read_pixels
from avcd.reduction.combine import FileSource, combine_frames
from avcd.stages.inputs import read_raw, read_raw_header, row_sources
from avcd.stages.output import Work
from avcd.work import JobInput

SHAPE = (90, 70)


@pytest.fixture
def inputs(tmp_path):
    """Every second frame is compressed; the job's inputs, and the pixels of each."""
    rng = np.random.default_rng(1)
    found, pixels = [], []
    for number in range(6):
        image = rng.integers(0, 65536, SHAPE).astype(np.uint16)
        path = tmp_path / f"{number}.fits"
        fits.PrimaryHDU(image).writeto(path)
        if number % 2:
            packed = path.with_suffix(".fits.gz")
            packed.write_bytes(gzip.compress(path.read_bytes()))
            path = packed
        frame = Frame(id=f"{number:064x}")
        found.append(
            JobInput(role="raw", id=frame.id, origin="frame", root="drop", relative_path=path.name, frame=frame)
        )
        pixels.append(image.astype(np.float32))
    return found, pixels


@pytest.mark.parametrize("memory", [2**30, 1])
def test_every_source_gives_its_own_frame(inputs, tmp_path, memory):
    chosen, pixels = inputs
    work = Work(claim=None, open=lambda one: tmp_path / one.relative_path, memory_bytes=memory)
    with row_sources(work, chosen) as sources:
        assert [isinstance(one, FileSource) for one in sources] == [True, False] * 3
        for source, image in zip(sources, pixels, strict=True):
            np.testing.assert_array_equal(source.rows(0, SHAPE[0])[0], image)
            np.testing.assert_array_equal(source.rows(31, 47)[0], image[31:47])
        found = combine_frames(sources, method="median", rejection="none")
    np.testing.assert_array_equal(found.data, np.median(pixels, axis=0))


@pytest.mark.parametrize("stored", ["uint16", "int16", "float32", "uint8", "int32"])
def test_a_frame_is_read_alike_in_strips_and_as_a_whole(stored, tmp_path):
    pixels = np.random.default_rng(3).integers(0, 200, (45, 50)).astype(stored)
    header = fits.Header([("OBJECT", "M 42"), ("EXPTIME", 30.0)])
    fits.PrimaryHDU(pixels, header).writeto(tmp_path / "x.fits")
    work = Work(claim=None, open=lambda one: tmp_path / one.relative_path, memory_bytes=2**30)
    one = JobInput(role="raw", id="0" * 64, origin="frame", root="drop", relative_path="x.fits")
    data, found = read_raw(work, one)
    whole, wanted = read_pixels(tmp_path / "x.fits", "", 0)
    np.testing.assert_array_equal(data, whole)
    assert data.dtype == np.float32
    assert found == wanted == read_raw_header(work, one)
