"""Resampling by reproject, for what the loops here do not do: adaptive, and by exact areas of overlap."""

from __future__ import annotations

import numpy as np
from astropy.wcs import WCS
from reproject import reproject_adaptive, reproject_exact

from avcd.compose.mapping import PixelMap, Registration
from avcd.compose.resampling import SECOND_CHOICE, UNUSABLE, Resampled, resample
from avcd.errors import ProcessingError
from avcd.frame import MaskBit

METHODS = ("adaptive", "exact")
_LEAST_COVER = 0.5


def resample_by_reproject(
    data: np.ndarray,
    mask: np.ndarray | None,
    uncertainty: np.ndarray | None,
    registration: Registration,
    shape: tuple[int, int],
    method: str,
) -> Resampled:
    """Bring a frame onto a grid by reproject; as `avcd.compose.resampling.resample`, slower.

    Parameters
    ----------
    method
        "adaptive" (DeForest 2004, Solar Phys. 219, 3: anti-aliased where the grid is coarser) or "exact" (the areas of overlap
        of pixels on the sphere).

    Raises
    ------
    ProcessingError
        ``method`` is neither; or the frame lies on the grid by its stars alone, of which reproject knows nothing.
    """
    if method not in METHODS:
        raise ProcessingError(f"method is {method!r}, none of {', '.join(METHODS)}")
    if registration.worlds is None or registration.matrix is not None:
        raise ProcessingError(f"{method} needs the world coordinates of frame and grid alone")
    here, there = registration.worlds
    usable = np.isfinite(data)
    if mask is not None:
        usable &= (mask & UNUSABLE) == 0
    area = _areas(registration, shape, data.shape)
    values, cover = _reproject(np.where(usable, data, np.nan), there, here, shape, method)
    share = _reproject(usable.astype(np.float32), there, here, shape, method)[0]
    weight = np.where(np.isfinite(values), np.minimum(cover, 1) * np.nan_to_num(share), 0).astype(np.float32)
    seen = weight >= _LEAST_COVER
    variance = None
    if uncertainty is not None:
        squares = np.where(usable, np.square(uncertainty), np.nan)
        variance = np.where(seen, _reproject(squares, there, here, shape, method)[0] * area**2, 0).astype(np.float32)
    near = resample(data, mask, None, registration, shape, "nearest").mask
    bits = np.where(seen, near & SECOND_CHOICE, near | np.uint16(MaskBit.NO_DATA)).astype(np.uint16)
    found = np.where(seen, values * area, 0).astype(np.float32)
    return Resampled(found, bits, variance, np.where(seen, weight, 0).astype(np.float32))


def _reproject(
    plane: np.ndarray, there: WCS, here: WCS, shape: tuple[int, int], method: str
) -> tuple[np.ndarray, np.ndarray]:
    """Surface brightness on the grid, and how much of each pixel is covered."""
    with np.errstate(all="ignore"):
        if method == "exact":
            found, cover = reproject_exact((np.asarray(plane, np.float64), there), here, shape)
        else:
            found, cover = reproject_adaptive(
                (np.asarray(plane, np.float64), there), here, shape, kernel="gaussian", boundary_mode="strict",
                bad_value_mode="ignore",
            )  # fmt: skip
    return found, cover


def _areas(registration: Registration, shape: tuple[int, int], frame_shape: tuple[int, ...]) -> np.ndarray:
    """How many of the frame's pixels each of the grid's covers."""
    pixels = PixelMap.of(registration, shape, (frame_shape[0], frame_shape[1]))
    area = pixels.positions(np.arange(shape[0], dtype=float), np.arange(shape[1], dtype=float))[2]
    return np.nan_to_num(area, nan=1.0)
