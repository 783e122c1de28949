"""Where the rows of frames come from: memory, or files of which a few rows are read at a time."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from avcd.compiling import loaded
from avcd.errors import ProcessingError
from avcd.filling import fill

_SIGN = 0x8000


class FrameSource(Protocol):
    """A frame whose rows can be read a few at a time."""

    @property
    def shape(self) -> tuple[int, int]:
        """(ny, nx)."""
        ...

    def rows(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Rows start to stop: values float32, and a mask plane or None."""
        ...


@dataclass(frozen=True)
class ArraySource:
    """A frame in an array, in memory or memory-mapped; ``uncertainty``: one standard deviation of each value."""

    array: np.ndarray
    mask: np.ndarray | None = None
    uncertainty: np.ndarray | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(ny, nx)."""
        return self.array.shape[0], self.array.shape[1]

    def rows(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Rows start to stop."""
        mask = None if self.mask is None else self.mask[start:stop]
        return np.asarray(self.array[start:stop], dtype=np.float32), mask

    def uncertainty_rows(self, start: int, stop: int) -> np.ndarray | None:
        """One standard deviation of the values of rows start to stop; None where they are not known."""
        return None if self.uncertainty is None else np.asarray(self.uncertainty[start:stop], dtype=np.float32)


@dataclass(frozen=True)
class FileSource:
    """A frame whose pixels lie one after the other in a file, as FITS stores them: big-endian.

    Attributes
    ----------
    path, start
        The file, and the byte at which the pixels begin.
    shape
        (ny, nx).
    stored
        Their type: ">i2", ">f4" or "|u1".
    zero
        Added to every number (BZERO): 0, or 32768 for unsigned ones of 16 bits.
    """

    path: Path
    start: int
    shape: tuple[int, int]
    stored: str
    zero: int = 0

    def rows(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Rows start to stop."""
        out = np.empty((stop - start, self.shape[1]), np.float32)
        self.read_into(start, stop, out)
        return out, None

    def read_into(self, start: int, stop: int, out: np.ndarray) -> None:
        """Rows start to stop as float32, into an array of their shape.

        Raises
        ------
        ProcessingError
            The file has become shorter, or cannot be read any more.
        """
        kind = np.dtype(self.stored)
        raw = np.empty(out.size, kind)
        position = self.start + start * self.shape[1] * kind.itemsize
        # Read, not mapped: the pages of a mapping count as the process's own, and there may be hundreds of files.
        try:
            handle = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                got = fill(handle, raw.view(np.uint8).data, position)
            finally:
                os.close(handle)
        except OSError as error:
            raise ProcessingError(f"{self.path.name} cannot be read: {error.strerror or error}") from error
        if got < raw.nbytes:
            raise ProcessingError(f"{self.path.name} ends within its pixels: it was changed while it was read")
        flat = out.reshape(-1)
        compiled = loaded("reduction.kernels") if kind == np.dtype(">i2") and raw.size >= _SIGN else None
        if compiled is not None:
            compiled.decode_int16(raw.view(np.uint16), _SIGN if self.zero else 0, flat)
        else:
            flat[...] = raw
            if self.zero:
                flat += np.float32(self.zero)


def read_rows(source: FrameSource, start: int, stop: int, out: np.ndarray) -> np.ndarray | None:
    """Rows start to stop of any source into ``out`` (float32, their shape), without a copy where it can.

    Returns
    -------
    ndarray or None
        The mask plane of these rows, None without any.
    """
    into = getattr(source, "read_into", None)
    if into is not None:
        mask: np.ndarray | None = into(start, stop, out)
        return mask
    out[...], mask = source.rows(start, stop)
    return mask


@dataclass(frozen=True)
class CorrectedSource:
    """A frame less an offset frame, times a factor, row by row."""

    source: FrameSource
    offset: np.ndarray | None = None
    offset_mask: np.ndarray | None = None
    factor: float = 1.0

    @property
    def shape(self) -> tuple[int, int]:
        """(ny, nx)."""
        return self.source.shape

    def rows(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Corrected rows."""
        out = np.empty((stop - start, self.shape[1]), np.float32)
        mask = self.read_into(start, stop, out)
        return out, mask

    def read_into(self, start: int, stop: int, out: np.ndarray) -> np.ndarray | None:
        """Corrected rows into ``out``; returns their mask plane."""
        mask = read_rows(self.source, start, stop, out)
        if self.offset is not None:
            out -= self.offset[start:stop]
        if self.offset_mask is not None:
            own = self.offset_mask[start:stop]
            mask = own if mask is None else mask | own
        if self.factor != 1.0:
            out *= np.float32(self.factor)
        return mask
