"""Rows for combination: read in place, held, or decoded into temporary files; always the frames' own."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from astropy.io import fits

from avcd.cards import inherit
from avcd.errors import ProductError
from avcd.frame import Frame
from avcd.headers.layout import locate_pixels
from avcd.headers.pixels import read_pixels, read_plain
from avcd.products import ImageContent, write_image_fits
from avcd.reduction.combine import FileSource, combine_frames
from avcd.stages.inputs import forget_masters, read_ccd, row_sources
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


@pytest.fixture
def masters(tmp_path):
    """Three masters in the archive, as a job's inputs."""
    found = []
    for number in range(3):
        data = np.full(SHAPE, number, np.float32)
        content = ImageContent(data, "adu", mask=np.zeros(SHAPE, np.uint16), uncertainty=data)
        with (tmp_path / f"{number}.fits").open("wb") as stream:
            write_image_fits(content, stream)
        found.append(
            JobInput(
                role="bias",
                id=str(number),
                origin="product",
                root="archive",
                relative_path=f"{number}.fits",
                sha256=f"{number}",
            )
        )
    yield found
    forget_masters()


def test_a_master_is_read_once_for_many_jobs_and_nobody_changes_it(masters, tmp_path):
    work = Work(claim=None, open=lambda one: tmp_path / one.relative_path, memory_bytes=2**24)
    first = [read_ccd(work, one) for one in masters]
    assert all(read_ccd(work, one) is known for one, known in zip(masters, first, strict=True))
    for plane in (first[0].data, first[0].mask, first[0].uncertainty.array):
        with pytest.raises(ValueError, match="read-only"):
            plane += 1
    (tmp_path / "0.fits").write_bytes(b"damaged")
    with pytest.raises(ProductError):
        read_ccd(work, masters[0])


def test_masters_are_held_within_the_memory_of_a_job(masters, tmp_path):
    size = 10 * SHAPE[0] * SHAPE[1]  # of pixels, mask and uncertainty
    work = Work(claim=None, open=lambda one: tmp_path / one.relative_path, memory_bytes=2 * 2 * 2 * size)
    first = [read_ccd(work, one) for one in masters]
    assert read_ccd(work, masters[2]) is first[2]
    assert read_ccd(work, masters[1]) is first[1]
    assert read_ccd(work, masters[0]) is not first[0]


def test_a_plain_file_is_read_as_astropy_reads_it(tmp_path):
    rng = np.random.default_rng(2)
    for number, kind in enumerate((np.uint8, np.int16, np.uint16, np.float32)):
        header = fits.Header([("OBJECT", "M 42"), ("EXPTIME", 1.5, "[s]"), ("HISTORY", "one"), ("HISTORY", "two")])
        header["OBSERVER"] = "O'Neill"
        path = tmp_path / f"{number}.fits"
        fits.PrimaryHDU(rng.integers(0, 200, SHAPE).astype(kind), header).writeto(path)
        found, cards = read_plain(path, locate_pixels(path, 0))
        expected, slow = read_pixels(path, "", 0)
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == np.float32
        assert inherit(cards, keep_world=True).tostring() == inherit(slow, keep_world=True).tostring()


def test_what_takes_care_is_left_to_who_takes_it(tmp_path):
    path = tmp_path / "odd.fits"
    fits.PrimaryHDU(np.zeros(SHAPE, np.int16), fits.Header([("OBJECT", "M 42")])).writeto(path)
    path.write_bytes(path.read_bytes().replace(b"M 42", b"M\t42"))
    assert read_plain(path, locate_pixels(path, 0)) is None
