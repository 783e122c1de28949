"""Resampling onto the reference frame's pixels: flux kept, mask and uncertainty carried, any rows alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from avcd.compose.mapping import PixelMap, Registration
from avcd.errors import ProcessingError
from avcd.frame import MaskBit

# Pixels with these bits hold no light to use.
UNUSABLE = np.uint16(
    MaskBit.HOT | MaskBit.DEAD | MaskBit.USER | MaskBit.NO_DATA | MaskBit.NON_FINITE | MaskBit.RESPONSE
)
# These hold something (a star's lower limit, a value from the neighbours) that serves where there is nothing better.
SECOND_CHOICE = np.uint16(MaskBit.SATURATED | MaskBit.COSMIC_RAY | MaskBit.REPAIRED)
INTERPOLATIONS = ("nearest", "bilinear")
_LEAST_COVER = 0.5
_LEAST_SHARE = 0.01  # of a neighbour's light, for its mask bits to be taken over


@dataclass(frozen=True)
class Resampled:
    """A frame, or rows of it, on the reference's pixels.

    ``data`` float32, 0 where there is none; ``mask`` uint16; ``uncertainty`` float32 or None; ``weight`` float32: how
    much of each pixel usable pixels cover, 0 (none, or less than half) to 1. All of one shape.
    """

    data: np.ndarray
    mask: np.ndarray
    uncertainty: np.ndarray | None
    weight: np.ndarray


def resample(
    data: np.ndarray,
    mask: np.ndarray | None,
    uncertainty: np.ndarray | None,
    registration: Registration,
    shape: tuple[int, int],
    interpolation: str = "bilinear",
) -> Resampled:
    """Bring a frame onto the reference's grid.

    Parameters
    ----------
    data, mask, uncertainty : shape (ny, nx)
        Not changed. Unusable pixels take no part: their neighbours' weights grow instead.
    registration
        Of this frame on the reference, not failed.
    shape
        Of the reference, (ny, nx).
    interpolation
        "bilinear" or "nearest".

    Returns
    -------
    Resampled
        Surface brightness times the ratio of pixel areas, so that a star's flux is kept. NO_DATA where less than half
        of a pixel is covered; elsewhere the bits of all pixels that share in the value.

    Raises
    ------
    ProcessingError
        ``interpolation`` is none of the two.
    ValueError
        The registration failed.
    """
    return resample_rows(data, mask, uncertainty, PixelMap(registration, shape), 0, shape[0], interpolation)


def resample_rows(
    data: np.ndarray,
    mask: np.ndarray | None,
    uncertainty: np.ndarray | None,
    pixels: PixelMap,
    start: int,
    stop: int,
    interpolation: str = "bilinear",
) -> Resampled:
    """As `resample`, for the reference's rows from ``start`` to before ``stop`` only.

    Only the part of the frame that these rows need is touched: it may be an array mapped from a file. The values do not
    depend on how the rows are divided.
    """
    if interpolation not in INTERPOLATIONS:
        raise ProcessingError(f"interpolation is {interpolation!r}, none of {', '.join(INTERPOLATIONS)}")
    if pixels.is_identity and data.shape == pixels.shape:
        rows = slice(start, stop)
        return _as_it_is(
            data[rows], None if mask is None else mask[rows], None if uncertainty is None else uncertainty[rows]
        )
    x, y, area = pixels.rows(start, stop)
    if interpolation == "nearest":
        x, y = np.floor(x + 0.5), np.floor(y + 0.5)
    cut = _Cut(data, mask, uncertainty, x, y)
    total = np.zeros(x.shape, np.float32)
    value, variance = np.zeros_like(total), np.zeros_like(total)
    bits = np.zeros(x.shape, np.uint16)
    for corner, share in cut.corners:
        usable = share * cut.usable.take(corner)
        total += usable
        value += usable * cut.data.take(corner)
        bits |= np.where(share > _LEAST_SHARE, cut.mask.take(corner), np.uint16(0))
        if cut.variance is not None:
            variance += usable * cut.variance.take(corner)
    covered = total >= _LEAST_COVER
    factor = np.where(covered, area / np.where(covered, total, 1), 0).astype(np.float32)
    bits = np.where(covered, bits & ~UNUSABLE, bits | np.uint16(MaskBit.NO_DATA))
    spread = None
    if cut.variance is not None:
        # The mean variance of the pixels that share in: the field's scatter, not the smaller one that
        # interpolation's correlations would feign.
        spread = np.sqrt(np.where(covered, variance / np.where(covered, total, 1), 0)) * area.astype(np.float32)
    return Resampled(value * factor, bits, spread, np.where(covered, np.minimum(total, 1), 0).astype(np.float32))


def _as_it_is(data: np.ndarray, mask: np.ndarray | None, uncertainty: np.ndarray | None) -> Resampled:
    """The reference itself: no value is touched."""
    plane = np.zeros(data.shape, np.uint16) if mask is None else np.asarray(mask, dtype=np.uint16)
    usable = np.isfinite(data) & ((plane & UNUSABLE) == 0)
    values = np.where(usable, data, 0).astype(np.float32)
    bits = np.where(usable, plane, plane | np.uint16(MaskBit.NO_DATA))
    spread = None if uncertainty is None else np.where(usable, uncertainty, 0).astype(np.float32)
    return Resampled(values, bits, spread, usable.astype(np.float32))


class _Cut:
    """The part of a frame that some positions need, with a border of nothing, as flat arrays and corner indices."""

    def __init__(
        self,
        data: np.ndarray,
        mask: np.ndarray | None,
        uncertainty: np.ndarray | None,
        x: np.ndarray,
        y: np.ndarray,
    ) -> None:
        ny, nx = data.shape
        # Whatever lies outside is one step outside: the border holds nothing wherever it is.
        x, y = np.clip(x, -1.0, float(nx)), np.clip(y, -1.0, float(ny))
        column, row = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
        left, right = max(int(column.min()), 0), min(int(column.max()) + 2, nx)
        low, high = max(int(row.min()), 0), min(int(row.max()) + 2, ny)
        part = (slice(low, max(high, low)), slice(left, max(right, left)))
        plane = np.zeros((part[0].stop - low, part[1].stop - left), np.uint16) if mask is None else mask[part]
        values = np.asarray(data[part], dtype=np.float32)
        good = np.isfinite(values) & ((plane & UNUSABLE) == 0)
        self.usable = np.pad(good.astype(np.float32), 2).ravel()
        self.data = np.pad(np.where(good, values, np.float32(0)), 2).ravel()
        self.mask = np.pad(np.asarray(plane, dtype=np.uint16), 2).ravel()
        self.variance: np.ndarray | None = None
        if uncertainty is not None:
            squared = np.square(np.asarray(uncertainty[part], dtype=np.float32))
            self.variance = np.pad(np.where(good, squared, np.float32(0)), 2).ravel()
        width = plane.shape[1] + 4
        first = (np.clip(row - low, -2, plane.shape[0]) + 2) * width + np.clip(column - left, -2, plane.shape[1]) + 2
        right_share, up_share = (x - column).astype(np.float32), (y - row).astype(np.float32)
        one = np.float32(1)
        self.corners = (
            (first, (one - right_share) * (one - up_share)),
            (first + 1, right_share * (one - up_share)),
            (first + width, (one - right_share) * up_share),
            (first + width + 1, right_share * up_share),
        )
