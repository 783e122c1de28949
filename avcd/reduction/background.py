"""The background of a frame, on a mesh: what is smooth, without stars."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import sep

from avcd.errors import ProcessingError
from avcd.reduction.planes import MaskedImage


@dataclass(frozen=True)
class Background:
    """A background: its level at each pixel, the scatter of the pixels around it, and the middle of both.

    ``level`` and ``scatter`` are float32 (ny, nx), in the unit of the frame.
    """

    level: np.ndarray
    scatter: np.ndarray
    median: float
    sigma: float


def estimate_background(ccd: MaskedImage, *, box_px: int = 64, filter_boxes: int = 3) -> Background:
    """The background of a frame.

    In each box of the mesh, pixels are clipped until what is left looks like noise about a mode; the boxes' values are
    median-filtered, so that a bright star or galaxy that fills one box does not count, and joined by splines.

    Parameters
    ----------
    ccd : MaskedImage, shape (ny, nx)
        Not changed. Masked and non-finite pixels take no part.
    box_px
        Side of a box; a few times the size of what shall not be followed.
    filter_boxes
        Side of the median filter, in boxes; 1: none.

    Returns
    -------
    Background

    References
    ----------
    Bertin & Arnouts 1996, A&AS 117, 393, section 4.

    Raises
    ------
    ProcessingError
        No pixel is usable, or a size is less than one.
    """
    if box_px < 1 or filter_boxes < 1:
        raise ProcessingError(f"boxes of {box_px} px, filtered over {filter_boxes}: both are at least 1")
    data = np.array(ccd.data, dtype=np.float32)
    unusable = ~np.isfinite(data)
    if ccd.mask is not None:
        unusable |= np.asarray(ccd.mask) != 0
    if unusable.all():
        raise ProcessingError("no pixel of the frame is usable: there is no background to measure")
    data[unusable] = np.median(data[~unusable])
    found = sep.Background(data, mask=unusable, bw=box_px, bh=box_px, fw=filter_boxes, fh=filter_boxes)
    return Background(found.back(), found.rms(), float(found.globalback), float(found.globalrms))


def subtract_background(ccd: MaskedImage, background: Background) -> MaskedImage:
    """A frame less its background.

    Parameters
    ----------
    ccd : MaskedImage, shape (ny, nx)
        Not changed.
    background
        Of a frame of this shape, in the same unit.

    Returns
    -------
    MaskedImage
        Mask and uncertainty as they were: the background is the mean of so many pixels that its error is small beside
        each one's own, and it is common to all, so that it would not average out.

    Raises
    ------
    ProcessingError
        The shapes differ.
    """
    if ccd.data.shape != background.level.shape:
        raise ProcessingError(f"the frame has shape {ccd.data.shape}, the background {background.level.shape}")
    return replace(
        ccd,
        data=(ccd.data - background.level).astype(np.float32),
        mask=None if ccd.mask is None else np.array(ccd.mask),
        uncertainty=None if ccd.uncertainty is None else np.array(ccd.uncertainty),
    )
