"""Opening a job's inputs: raw frames, delivered masters and avcd's own products, all as CCDData or as row sources."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from astropy.io import fits

from avcd.errors import ProcessingError
from avcd.frame import Frame
from avcd.headers.pixels import read_pixels
from avcd.products import read_image_product
from avcd.reduction.combine import ArraySource, FrameSource
from avcd.reduction.planes import CCDData
from avcd.stages.output import Work
from avcd.work import JobInput


def read_raw(work: Work, one: JobInput) -> tuple[np.ndarray, fits.Header]:
    """Pixels (float32, shape (ny, nx)) and header of a frame, read in place."""
    return read_pixels(work.open(one), one.member, one.hdu)


def read_mask(work: Work, one: JobInput) -> np.ndarray | None:
    """The mask plane of a frame that one of avcd's commands has prepared; None of any other."""
    return read_product(work, one).mask if one.origin == "product" else None


def read_ccd(work: Work, one: JobInput | None) -> CCDData | None:
    """A master, delivered or built, as CCDData with the mask plane (uint16) and uncertainty it has; None for None."""
    if one is None:
        return None
    if one.origin == "frame":
        data, _ = read_raw(work, one)
        unit = (one.frame.bunit if one.frame else None) or "adu"
        return CCDData(data, unit="electron" if unit.lower().startswith("e") else "adu")
    return read_product(work, one)


def read_product(work: Work, one: JobInput) -> CCDData:
    """One of avcd's own products as CCDData; header and WCS included."""
    return read_image_product(work.open(one)).to_ccd()


def frame_of(one: JobInput) -> Frame:
    """The catalogue's values for a frame input."""
    if one.frame is None:
        raise ProcessingError(f"input {one.role} {one.id[:12]} is no frame")
    return one.frame


@contextmanager
def row_sources(work: Work, inputs: Sequence[JobInput]) -> Iterator[list[FrameSource]]:
    """Raw frames as row sources for combination, in bounded memory.

    What fits into the job's memory is held there. More frames than that are decoded once into temporary files, from
    which rows are read as they are needed, so that memory does not grow with the number of frames.
    """
    first, _ = read_raw(work, inputs[0])
    # Half for the frames: combination holds copies of its strips beside them.
    if first.nbytes * len(inputs) * 2 <= work.memory_bytes:
        arrays = [first, *(read_raw(work, one)[0] for one in inputs[1:])]
        yield [ArraySource(array, read_mask(work, one)) for array, one in zip(arrays, inputs, strict=True)]
        return
    with tempfile.TemporaryDirectory(prefix="avcd-") as spool:
        sources: list[FrameSource] = []
        for number, one in enumerate(inputs):
            path = Path(spool) / f"{number}.npy"
            np.save(path, read_raw(work, one)[0])
            sources.append(ArraySource(np.load(path, mmap_mode="r"), read_mask(work, one)))
        yield sources
        sources.clear()
