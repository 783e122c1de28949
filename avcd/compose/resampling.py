"""Resampling onto the reference frame's pixels: bilinear, flux kept, mask and uncertainty carried."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import map_coordinates

from avcd.compose.registration import Registration
from avcd.frame import MaskBit

# Pixels with these bits hold no usable light; others (a replaced cosmic ray) are worth what their neighbours are.
_UNUSABLE = np.uint16(
    MaskBit.HOT
    | MaskBit.DEAD
    | MaskBit.USER
    | MaskBit.NO_DATA
    | MaskBit.NON_FINITE
    | MaskBit.COSMIC_RAY
    | MaskBit.SATURATED
)


@dataclass(frozen=True)
class Resampled:
    """A frame on another frame's pixels: values (0 where there are none), mask plane, uncertainty, weight 0..1."""

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
) -> Resampled:
    """Bring a frame onto the reference's grid.

    Parameters
    ----------
    data, mask, uncertainty : shape (ny, nx)
        Not changed. Unusable pixels take no part: their neighbours' weights grow instead.
    registration
        Of this frame on the reference.
    shape
        Of the reference, (ny, nx).

    Returns
    -------
    Resampled
        Surface brightness times the ratio of pixel areas, so that a star's flux is kept; NO_DATA where less than half
        of a pixel is covered, and the bits of the nearest pixel elsewhere.
    """
    plane = np.zeros(data.shape, np.uint16) if mask is None else np.asarray(mask, dtype=np.uint16)
    if registration.method == "identity" and data.shape == shape:
        usable = ((plane & _UNUSABLE) == 0) & np.isfinite(data)
        values = np.where(np.isfinite(data), data, 0).astype(np.float32)
        return Resampled(values, plane.copy(), uncertainty, usable.astype(np.float32))
    x, y = registration.grid(shape)
    where = np.stack([y, x])
    usable = ((plane & _UNUSABLE) == 0) & np.isfinite(data)
    weight = map_coordinates(usable.astype(np.float32), where, order=1, cval=0.0)
    values = map_coordinates(np.where(usable, data, 0).astype(np.float32), where, order=1, cval=0.0)
    area = _area(x, y)
    covered = weight >= 0.5
    safe = np.where(covered, weight, 1)
    moved = np.where(covered, values / safe * area, 0).astype(np.float32)
    bits = map_coordinates(plane, where, order=0, cval=0)
    bits = np.where(covered, bits & ~_UNUSABLE, bits | np.uint16(MaskBit.NO_DATA)).astype(np.uint16)
    spread = None
    if uncertainty is not None:
        variance = np.where(usable, uncertainty.astype(np.float64) ** 2, 0)
        # The mean variance of the pixels that share in: the scatter of the field, not the smaller one that
        # interpolation's correlations would feign.
        spread = np.sqrt(map_coordinates(variance, where, order=1, cval=0.0) / safe) * area
        spread = np.where(covered, spread, 0).astype(np.float32)
    return Resampled(moved, bits, spread, np.where(covered, weight, 0).astype(np.float32))


def _area(x: np.ndarray, y: np.ndarray) -> np.ndarray | float:
    """How many of the frame's pixels one of the reference's covers: the determinant of the mapping."""
    if min(x.shape) < 2:
        return 1.0
    xy, xx = np.gradient(x)
    yy, yx = np.gradient(y)
    return np.abs(xx * yy - xy * yx)
