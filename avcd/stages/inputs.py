"""Opening a job's inputs: raw frames, delivered masters and avcd's own products, all as MaskedImage or as row sources."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from astropy.io import fits

from avcd.errors import ProcessingError
from avcd.frame import Frame
from avcd.headers.layout import locate_pixels
from avcd.headers.pixels import read_header, read_pixels
from avcd.products import read_image_product
from avcd.reduction.applying import each_strip
from avcd.reduction.combine import ArraySource, FileSource, FrameSource
from avcd.reduction.planes import MaskedImage
from avcd.stages.output import Work
from avcd.stages.readout import Readout
from avcd.work import JobInput


def read_raw(work: Work, one: JobInput) -> tuple[np.ndarray, fits.Header]:
    """Pixels (float32, shape (ny, nx)) and header of a frame, read in place."""
    source = _in_place(work, one)
    if source is None:
        return read_pixels(work.open(one), one.member, one.hdu)
    data = np.empty(source.shape, np.float32)
    each_strip(data.shape, lambda rows: source.read_into(rows.start, rows.stop, data[rows]))
    return data, read_header(source.path, "", one.hdu)


def read_raw_header(work: Work, one: JobInput) -> fits.Header:
    """The header of a frame alone."""
    return read_header(work.open(one), one.member, one.hdu)


def read_mask(work: Work, one: JobInput) -> np.ndarray | None:
    """The mask plane of a frame that one of avcd's commands has prepared; None of any other."""
    return read_product(work, one).mask if one.origin == "product" else None


def read_ccd(work: Work, one: JobInput | None) -> MaskedImage | None:
    """A master, delivered or built, as MaskedImage with the mask plane (uint16) and uncertainty it has; None for None."""
    return None if one is None else held_master(work, one, lambda: _read_master(work, one))


def held_master(work: Work, one: JobInput, read: Callable[[], MaskedImage]) -> MaskedImage:
    """A master that was read for the job before, or is read now."""
    return work.held.get(work.open(one), (one.role, one.member, one.hdu), read)


def _read_master(work: Work, one: JobInput) -> MaskedImage:
    if one.origin == "frame":
        data, _ = read_raw(work, one)
        unit = (one.frame.bunit if one.frame else None) or "adu"
        return MaskedImage(data, unit="electron" if unit.lower().startswith("e") else "adu")
    return read_product(work, one)


def read_product(work: Work, one: JobInput) -> MaskedImage:
    """One of avcd's own products as MaskedImage; header and WCS included."""
    return read_image_product(work.open(one)).to_image()


def frame_of(one: JobInput) -> Frame:
    """The catalogue's values for a frame input."""
    if one.frame is None:
        raise ProcessingError(f"input {one.role} {one.id[:12]} is no frame")
    return one.frame


def measured_read_noise(work: Work) -> float | None:
    """The read noise that was measured on the biases of the job's master bias, adu; None where it was delivered."""
    bias = work.input("bias")
    value = bias.metrics.get("read_noise_adu") if bias else None
    return float(value) if isinstance(value, (int, float)) else None


@contextmanager
def row_sources(work: Work, inputs: Sequence[JobInput], readout: Readout | None = None) -> Iterator[list[FrameSource]]:
    """Raw frames as row sources for combination, less their overscan and cut, in bounded memory.

    Rows of uncompressed frames are read from their files as they are needed. Of the others, what fits into the job's
    memory is held there; more than that are decoded once into temporary files, so that memory does not grow with the
    number of frames.
    """
    direct = {index: found for index, one in enumerate(inputs) if (found := _in_place(work, one)) is not None}
    others = [index for index in range(len(inputs)) if index not in direct]
    with tempfile.TemporaryDirectory(prefix="avcd-") as spool:
        sources: dict[int, FrameSource] = dict(direct)
        held = True
        for index in others:
            image, _ = read_raw(work, inputs[index])
            if index == others[0]:
                # Half for the frames: combination holds copies of its strips beside them.
                held = image.nbytes * len(others) * 2 <= work.memory_bytes
            if not held:
                path = Path(spool) / f"{index}.npy"
                np.save(path, image)
                image = np.load(path, mmap_mode="r")
            sources[index] = ArraySource(image, read_mask(work, inputs[index]))
        yield [(readout or Readout()).of_rows(sources[index]) for index in range(len(inputs))]
        sources.clear()


def _in_place(work: Work, one: JobInput) -> FileSource | None:
    """A frame whose rows can be read from its file; None for what must be decoded as a whole."""
    if one.member or one.origin == "product":
        return None
    path = work.open(one)
    found = locate_pixels(path, one.hdu)
    return None if found is None else FileSource(path, found.start, found.shape, found.stored, found.zero)
