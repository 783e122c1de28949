"""What is written strip by strip is what would have been written at once, to the byte, in little memory."""

from __future__ import annotations

import io
import tracemalloc

import numpy as np
import pytest
from astropy.io import fits

from avcd.products import ImageContent, verify_fits, write_image_fits
from avcd.products.strips import PlanesContent, encode_rows, write_planes

DTYPES = {"SCI": np.float32, "MASK": np.uint16, "UNCERT": np.float32, "WEIGHT": np.float32, "COVERAGE": np.uint16}


def header() -> fits.Header:
    found = fits.Header()
    found["OBJECT"] = ("M 31", "target")
    found["HISTORY"] = "made of tiles"
    return found


def planes(shape, seed=1):
    rng = np.random.default_rng(seed)
    return {
        name: (rng.integers(0, 1024, shape).astype(np.uint16) if dtype is np.uint16 else rng.normal(100, 9, shape).astype(np.float32))
        for name, dtype in DTYPES.items()
    }  # fmt: skip


def in_strips(found, rows):
    for start in range(0, len(found["SCI"]), rows):
        yield start, {name: plane[start : start + rows] for name, plane in found.items()}


def encoded(strips):
    for start, found in strips:
        yield start, {name: encode_rows(plane, DTYPES[name], start) for name, plane in found.items()}


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize(("shape", "rows"), [((37, 41), 5), ((64, 128), 64), ((3, 7), 1)])
def test_the_bytes_are_those_of_the_whole_written_at_once(shape, rows, early, tmp_path):
    found = planes(shape)
    record = [{"role": "tile", "id": "ab", "name": "one.fits", "sha256": "cd"}]
    whole = io.BytesIO()
    write_image_fits(
        ImageContent(
            found["SCI"], "adu", found["MASK"], found["UNCERT"], header(), record, {"match": "plane"},
            planes={name: found[name] for name in ("WEIGHT", "COVERAGE")},
        ),
        whole,
    )  # fmt: skip
    path = tmp_path / "strips.fits"
    with path.open("xb") as stream:
        strips = encoded(in_strips(found, rows)) if early else in_strips(found, rows)
        write_planes(PlanesContent(shape, DTYPES, strips, "adu", header(), record, {"match": "plane"}), stream)
    assert path.read_bytes() == whole.getvalue()
    verify_fits(path)


def test_rows_that_are_missing_are_an_error():
    found = planes((9, 5))
    strips = [one for one in in_strips(found, 3) if one[0] != 3]
    with pytest.raises(ValueError, match="rows from 6 on came where 3 was expected"):
        write_planes(PlanesContent((9, 5), DTYPES, strips, "adu", header()), io.BytesIO())


def test_writing_and_verifying_take_the_memory_of_strips(tmp_path):
    shape, path = (2048, 2048), tmp_path / "large.fits"
    strip = planes((32, 2048))
    tracemalloc.start()
    with path.open("xb") as stream:
        strips = ((start, strip) for start in range(0, shape[0], 32))
        write_planes(PlanesContent(shape, DTYPES, strips, "adu", header()), stream)
    verify_fits(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert path.stat().st_size > 65e6
    assert peak < 40e6
