"""The parts of a detector's image: overscan subtracted, light-sensitive part kept."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from avcd.errors import ProcessingError
from avcd.frame import MaskBit
from avcd.reduction.planes import MaskedImage
from avcd.reduction.sources import FrameSource, read_rows
from avcd.sections import Section

__all__ = [
    "METHODS",
    "Levels",
    "Section",
    "TrimmedSource",
    "measure_levels",
    "subtract_overscan",
    "trim",
    "trimmed_source",
]

METHODS = ("median", "mean")
# The median of many normal values scatters by this much more than their mean.
_MEDIAN_FACTOR = float(np.sqrt(np.pi / 2))
_ROWS_AT_ONCE = 256  # of a frame of which the overscan is read


def subtract_overscan(
    ccd: MaskedImage, section: Section, *, method: str = "median", degree: int | None = None, axis: int | None = None
) -> MaskedImage:
    """A frame less its overscan, line by line.

    Parameters
    ----------
    ccd : MaskedImage, shape (ny, nx)
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
    MaskedImage
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
    found = measure_levels(_strip_of(ccd, section), section, ccd.data.shape, method=method, degree=degree, axis=axis)
    data = (ccd.data - found.across(found.values)).astype(np.float32)
    mask = None if ccd.mask is None else np.array(ccd.mask, dtype=np.uint16)
    if found.missing.any():
        mask = np.zeros(data.shape, np.uint16) if mask is None else mask
        mask[np.broadcast_to(found.across(found.missing), mask.shape)] |= np.uint16(MaskBit.NO_DATA)
    uncertainty = None
    if ccd.uncertainty is not None:
        uncertainty = np.hypot(ccd.uncertainty, found.across(found.errors)).astype(np.float32)
    return replace(ccd, data=data, mask=mask, uncertainty=uncertainty)


@dataclass(frozen=True)
class Levels:
    """The overscan's level of every line of an image.

    Attributes
    ----------
    values, errors : shape (number of lines,)
        In the image's unit; the lines are rows or columns.
    missing
        Lines that have no overscan of their own.
    by_row
        Whether the lines are rows.
    """

    values: np.ndarray
    errors: np.ndarray
    missing: np.ndarray
    by_row: bool

    def across(self, values: np.ndarray) -> np.ndarray:
        """One value a line, to be spread over the image."""
        return values[:, None] if self.by_row else values[None, :]

    @property
    def middle(self) -> float:
        """The level as a whole."""
        return float(np.median(self.values))


def _strip_of(ccd: MaskedImage, section: Section) -> np.ndarray:
    part = section.slices(ccd.data.shape)
    strip = np.array(ccd.data[part], dtype=np.float64)
    if ccd.mask is not None:
        strip[np.asarray(ccd.mask)[part] != 0] = np.nan
    return strip


def measure_levels(
    strip: np.ndarray,
    section: Section,
    shape: tuple[int, ...],
    *,
    method: str = "median",
    degree: int | None = None,
    axis: int | None = None,
) -> Levels:
    """The level of every line of an image by its overscan.

    Parameters
    ----------
    strip : float64, the section's shape
        The pixels of the overscan; NaN takes no part.
    section
        Where it is in the image.
    shape : (ny, nx)
        Of the image.
    method, degree, axis
        As of `subtract_overscan`.

    Raises
    ------
    ProcessingError
        No pixel is usable, or there are too few lines for the polynomial.
    ValueError
        Unknown method or axis.
    """
    if method not in METHODS:
        raise ValueError(f"{method!r} is none of {METHODS}")
    if axis not in (None, 0, 1):
        raise ValueError(f"axis is 0 or 1, not {axis!r}")
    by_row = axis == 1 or (axis is None and section.shape[0] >= section.shape[1])
    strip[~np.isfinite(strip)] = np.nan
    where = np.arange(shape[0] if by_row else shape[1])
    known = where[section.slices((shape[0], shape[1]))[0 if by_row else 1]]
    level, error = _levels(strip if by_row else strip.T, method)
    usable = np.isfinite(level)
    if not usable.any():
        raise ProcessingError(f"the overscan {section} holds no usable pixel")
    if degree is None:
        levels, errors = _nearest(where, known[usable], level[usable]), _nearest(where, known[usable], error[usable])
        return Levels(levels, errors, ~np.isin(where, known[usable]), by_row)
    levels, errors = _polynomial(where, known[usable], level[usable], degree)
    return Levels(levels, errors, np.zeros(where.size, bool), by_row)


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


def trim(ccd: MaskedImage, section: Section) -> MaskedImage:
    """The part of a frame that a section names.

    Parameters
    ----------
    ccd : MaskedImage, shape (ny, nx)
        Not changed; nothing of it is shared with the result.
    section
        As TRIMSEC and DATASEC name it.

    Returns
    -------
    MaskedImage
        Of the section's shape; mask, uncertainty and world coordinates go along.

    Raises
    ------
    ProcessingError
        The section reaches beyond the frame.
    """
    part = section.slices(ccd.data.shape)
    return replace(
        ccd,
        data=np.array(ccd.data[part]),
        mask=None if ccd.mask is None else np.array(ccd.mask[part]),
        uncertainty=None if ccd.uncertainty is None else np.array(ccd.uncertainty[part]),
        wcs=None if ccd.wcs is None else ccd.wcs[part],
    )


@dataclass(frozen=True)
class TrimmedSource:
    """The rows of a raw frame less its overscan, and of these the part that is kept; see `trimmed_source`."""

    source: FrameSource
    part: tuple[slice, slice]
    levels: Levels | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(ny, nx) of what is kept."""
        return self.part[0].stop - self.part[0].start, self.part[1].stop - self.part[1].start

    @property
    def level(self) -> float:
        """What was subtracted, in the middle."""
        return 0.0 if self.levels is None else self.levels.middle

    def rows(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Rows start to stop of what is kept."""
        out = np.empty((stop - start, self.shape[1]), np.float32)
        return out, self.read_into(start, stop, out)

    def read_into(self, start: int, stop: int, out: np.ndarray) -> np.ndarray | None:
        """Rows start to stop of what is kept into ``out``; returns their mask plane."""
        top, columns = self.part[0].start, self.part[1]
        whole = np.empty((stop - start, self.source.shape[1]), np.float32)
        mask = read_rows(self.source, top + start, top + stop, whole)
        kept = None if mask is None else mask[:, columns]
        if self.levels is None:
            out[...] = whole[:, columns]
            return kept
        mine = slice(top + start, top + stop) if self.levels.by_row else columns
        out[...] = whole[:, columns] - self.levels.across(self.levels.values[mine])
        missing = self.levels.missing[mine]
        if missing.any():
            kept = np.zeros(out.shape, np.uint16) if kept is None else np.array(kept, dtype=np.uint16)
            kept[np.broadcast_to(self.levels.across(missing), out.shape)] |= np.uint16(MaskBit.NO_DATA)
        return kept


def trimmed_source(
    source: FrameSource,
    overscan: Section | None,
    keep: Section | None,
    *,
    method: str = "median",
    degree: int | None = None,
) -> TrimmedSource:
    """A frame of which rows are read, less its overscan and cut: what `subtract_overscan` and `trim` give, row by row.

    Parameters
    ----------
    source
        The raw frame; its overscan is read now.
    overscan, keep
        None: nothing is subtracted, nothing is cut off.
    method, degree
        As of `subtract_overscan`.

    Raises
    ------
    ProcessingError
        As `subtract_overscan`.
    """
    ny, nx = source.shape
    part = keep.slices((ny, nx)) if keep else (slice(0, ny), slice(0, nx))
    if overscan is None:
        return TrimmedSource(source, part)
    rows, columns = overscan.slices((ny, nx))
    strip = np.empty(overscan.shape, np.float64)
    for start in range(rows.start, rows.stop, _ROWS_AT_ONCE):
        stop = min(start + _ROWS_AT_ONCE, rows.stop)
        values, mask = source.rows(start, stop)
        here = slice(start - rows.start, stop - rows.start)
        strip[here] = values[:, columns]
        if mask is not None:
            strip[here][mask[:, columns] != 0] = np.nan
    return TrimmedSource(source, part, measure_levels(strip, overscan, (ny, nx), method=method, degree=degree))
