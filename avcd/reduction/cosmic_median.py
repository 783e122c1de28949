"""Cosmic rays by a running median: what stands out of the median of its surroundings, star or not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.ndimage import maximum_filter, median_filter


def median_parameters(params: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `find_by_median` that a recipe's parameters give."""
    return {
        "sigma": float(params["cosmic_median_sigma"]),
        "box_px": int(params["cosmic_median_box_px"]),
        "grow_px": int(params["cosmic_median_grow_px"]),
        "replace_px": int(params["cosmic_median_replace_px"]),
    }


def find_by_median(
    data: np.ndarray,
    error: np.ndarray | float,
    mask: np.ndarray | None = None,
    *,
    sigma: float = 5.0,
    box_px: int = 11,
    grow_px: int = 5,
    replace_px: int = 11,
) -> tuple[np.ndarray, np.ndarray]:
    """Pixels that stand out of the running median, and the pixels as they may have been.

    The method of IRAF's ``crmedian``, as ccdproc's ``cosmicray_median`` has it: without a mask the pixels are the same.
    It knows nothing of stars: those that are narrower than about half of the box are taken for cosmic rays, too. It is
    for spectra, for frames of wide images, and for comparison; frames of stars are better served by L.A.Cosmic.

    Parameters
    ----------
    data : ndarray, shape (ny, nx), float32
        Finite.
    error : ndarray of the same shape, or a number
        One standard deviation of each pixel, above zero.
    mask : ndarray of bool, shape (ny, nx), or None
        True where a pixel is known to be bad: such a pixel gives no ground to mask those around it.
    sigma
        How many errors above the median a pixel is struck.
    box_px
        Side of the box whose median a pixel is compared with.
    grow_px
        Side of the box around every struck pixel that counts as struck, too; 0: the pixel alone.
    replace_px
        Side of the box whose median a struck pixel is given; 0: pixels stay as they are.

    Returns
    -------
    ndarray of bool, shape (ny, nx)
    ndarray of float32, shape (ny, nx)

    References
    ----------
    IRAF, package noao.imred.crutil, task crmedian.
    """
    values = np.asarray(data, dtype=np.float32)
    struck = (values - median_filter(values, size=box_px)) / np.asarray(error, dtype=np.float32) > sigma
    if mask is not None:
        struck &= ~mask
    if grow_px:
        struck = maximum_filter(struck, size=grow_px)
    if not replace_px or not struck.any():
        return struck, values.copy()
    return struck, np.where(struck, median_filter(values, size=replace_px), values)
