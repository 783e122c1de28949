"""The parts of a detector's image: overscan subtracted, light-sensitive part kept."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from astropy.nddata import StdDevUncertainty

from avcd.errors import ProcessingError
from avcd.frame import MaskBit
from avcd.reduction.planes import CCDData

METHODS = ("median", "mean")
_SECTION = re.compile(r"\s*\[\s*(\d+)\s*:\s*(\d+)\s*,\s*(\d+)\s*:\s*(\d+)\s*\]\s*")
# The median of many normal values scatters by this much more than their mean.
_MEDIAN_FACTOR = float(np.sqrt(np.pi / 2))


@dataclass(frozen=True)
class Section:
    """A part of an image as FITS headers name it: pixels count from one, and both ends belong to it."""

    x_first: int
    x_last: int
    y_first: int
    y_last: int

    @classmethod
    def parse(cls, text: str) -> Section:
        """The section that a card such as BIASSEC names: ``[x1:x2,y1:y2]``.

        Raises
        ------
        ProcessingError
            It names none.
        """
        found = _SECTION.fullmatch(text)
        numbers = [int(one) for one in found.groups()] if found else [0]
        if min(numbers) < 1 or numbers[0] > numbers[1] or numbers[2] > numbers[3]:
            raise ProcessingError(
                f"{text!r} is no part of an image; it is written [x1:x2,y1:y2], first pixel 1, both ends included"
            )
        return cls(*numbers)

    @property
    def shape(self) -> tuple[int, int]:
        """(ny, nx)."""
        return self.y_last - self.y_first + 1, self.x_last - self.x_first + 1

    def slices(self, shape: tuple[int, int]) -> tuple[slice, slice]:
        """The same part as NumPy indices (y, x) of an array of ``shape``.

        Raises
        ------
        ProcessingError
            It reaches beyond the array.
        """
        if self.y_last > shape[0] or self.x_last > shape[1]:
            raise ProcessingError(f"{self} reaches beyond the image of {shape[1]} x {shape[0]} pixels")
        return slice(self.y_first - 1, self.y_last), slice(self.x_first - 1, self.x_last)

    def __str__(self) -> str:
        return f"[{self.x_first}:{self.x_last},{self.y_first}:{self.y_last}]"


def subtract_overscan(
    ccd: CCDData, section: Section, *, method: str = "median", degree: int | None = None, axis: int | None = None
) -> CCDData:
    """A frame less its overscan, line by line.

    Parameters
    ----------
    ccd : CCDData, shape (ny, nx)
        Not changed. Masked and non-finite pixels of the overscan take no part.
    section
        The overscan.
    method
        "median" or "mean" of each line's overscan.
    degree
        Of the polynomial along the lines that replaces the single levels; None: each line's own level.
    axis
        1: a level for every row, as of an overscan beside the image; 0: for every column, as of one above it. None: the
        longer side of the section tells.

    Returns
    -------
    CCDData
        Same unit. The level's own error is added to the uncertainty where there is one. A line that has no overscan is
        given the level of the nearest that has, or of the polynomial, and is masked NO_DATA in the first case.

    References
    ----------
    Howell, Handbook of CCD Astronomy, 2nd ed., section 3.7.

    Raises
    ------
    ProcessingError
        The section reaches beyond the frame, holds no usable pixel, or too few lines for the polynomial.
    ValueError
        Unknown method or axis.
    """
    if method not in METHODS:
        raise ValueError(f"{method!r} is none of {METHODS}")
    if axis not in (None, 0, 1):
        raise ValueError(f"axis is 0 or 1, not {axis!r}")
    ny, nx = ccd.data.shape
    part = section.slices((ny, nx))
    along_rows = axis == 1 or (axis is None and section.shape[0] >= section.shape[1])
    strip = np.array(ccd.data[part], dtype=np.float64)
    if ccd.mask is not None:
        strip[np.asarray(ccd.mask)[part] != 0] = np.nan
    strip[~np.isfinite(strip)] = np.nan
    lines = strip if along_rows else strip.T
    where = np.arange(ny if along_rows else nx)
    known = where[part[0] if along_rows else part[1]]
    level, error = _levels(lines, method)
    usable = np.isfinite(level)
    if not usable.any():
        raise ProcessingError(f"the overscan {section} holds no usable pixel")
    if degree is None:
        levels, errors = _nearest(where, known[usable], level[usable]), _nearest(where, known[usable], error[usable])
        missing = ~np.isin(where, known[usable])
    else:
        levels, errors = _polynomial(where, known[usable], level[usable], degree)
        missing = np.zeros(where.size, bool)
    across = (slice(None), None) if along_rows else (None, slice(None))
    data = (ccd.data - levels[across]).astype(np.float32)
    mask = None if ccd.mask is None else np.array(ccd.mask, dtype=np.uint16)
    if missing.any():
        mask = np.zeros((ny, nx), np.uint16) if mask is None else mask
        mask[np.broadcast_to(missing[across], mask.shape)] |= np.uint16(MaskBit.NO_DATA)
    uncertainty = None
    if ccd.uncertainty is not None:
        uncertainty = StdDevUncertainty(np.hypot(ccd.uncertainty.array, errors[across]).astype(np.float32))
    return CCDData(data, unit=ccd.unit, mask=mask, uncertainty=uncertainty, meta=ccd.meta, wcs=ccd.wcs)


def _levels(lines: np.ndarray, method: str) -> tuple[np.ndarray, np.ndarray]:
    """Level and its error of each line; NaN where none of its pixels is usable."""
    good = np.isfinite(lines)
    count = np.count_nonzero(good, axis=1)
    level = np.full(len(lines), np.nan)
    sigma = np.zeros(len(lines))
    some = count > 0
    level[some] = np.nanmedian(lines[some], axis=1) if method == "median" else np.nanmean(lines[some], axis=1)
    sigma[some] = np.nanstd(lines[some], axis=1)
    factor = np.where((method == "median") & (count > 2), _MEDIAN_FACTOR, 1.0)
    return level, factor * sigma / np.sqrt(np.maximum(count, 1))


def _nearest(where: np.ndarray, known: np.ndarray, values: np.ndarray) -> np.ndarray:
    after = np.clip(np.searchsorted(known, where), 0, known.size - 1)
    before = np.maximum(after - 1, 0)
    nearer = np.abs(known[before] - where) < np.abs(known[after] - where)
    return np.where(nearer, values[before], values[after])


def _polynomial(where: np.ndarray, known: np.ndarray, level: np.ndarray, degree: int) -> tuple[np.ndarray, np.ndarray]:
    """The polynomial through the levels at every line, and its mean error."""
    if degree < 0 or known.size <= degree:
        raise ProcessingError(f"{known.size} lines of overscan are too few for a polynomial of degree {degree}")
    fitted = np.polynomial.Chebyshev.fit(known, level, degree, domain=[where[0], max(where[-1], where[0] + 1)])
    free = max(known.size - degree - 1, 1)
    scatter = np.sqrt(np.sum(np.square(level - fitted(known))) / free)
    return fitted(where), np.full(where.size, scatter * np.sqrt((degree + 1) / known.size))


def trim(ccd: CCDData, section: Section) -> CCDData:
    """The part of a frame that a section names.

    Parameters
    ----------
    ccd : CCDData, shape (ny, nx)
        Not changed; nothing of it is shared with the result.
    section
        As TRIMSEC and DATASEC name it.

    Returns
    -------
    CCDData
        Of the section's shape; mask, uncertainty and world coordinates go along.

    Raises
    ------
    ProcessingError
        The section reaches beyond the frame.
    """
    part = section.slices(ccd.data.shape)
    uncertainty = None if ccd.uncertainty is None else StdDevUncertainty(np.array(ccd.uncertainty.array[part]))
    return CCDData(
        np.array(ccd.data[part]),
        unit=ccd.unit,
        mask=None if ccd.mask is None else np.array(ccd.mask[part], dtype=np.uint16),
        uncertainty=uncertainty,
        meta=ccd.meta,
        wcs=None if ccd.wcs is None else ccd.wcs[part],
    )
