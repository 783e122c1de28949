"""Bad pixels of a detector, found in its master dark."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import sep

from avcd.frame import MaskBit
from avcd.reduction.noise import mad_sigma
from avcd.reduction.planes import CCDData


@dataclass(frozen=True)
class Defects:
    """A bad pixel mask as a product: ``ccd.data`` and ``ccd.mask`` both hold the bits; and how many of each kind."""

    ccd: CCDData
    metrics: Mapping[str, float]


def find_bad_pixels(dark: CCDData, params: Mapping[str, Any]) -> Defects:
    """Hot and dead pixels and bad columns of a master dark.

    A pixel is compared with the smooth dark around it (a clipped mesh of ``window_px`` boxes), in units of the whole
    frame's robust scatter. A column or row is bad as a whole when its median stands out from the running median of 51
    columns around it, in units of the scatter of all columns: so that a broad glow is no defect, and up to two dozen
    bad columns side by side do not hide one another.

    Parameters
    ----------
    dark : CCDData, shape (ny, nx)
        Bias removed or not.
    params
        Of the recipe: hot_sigma, dead_sigma, window_px, column_sigma.

    Returns
    -------
    Defects
        Bits HOT and DEAD; metrics hot_px, dead_px, bad_columns, bad_rows.
    """
    box = int(params["window_px"])
    data = np.array(dark.data, dtype=np.float32)
    unknown = ~np.isfinite(data)
    if dark.mask is not None:
        unknown |= np.asarray(dark.mask) != 0
    data[unknown] = np.median(data[~unknown]) if not unknown.all() else 0
    residual = data - sep.Background(data, mask=unknown, bw=box, bh=box, fw=1, fh=1).back()
    sigma = mad_sigma(residual[~unknown])
    mask = np.where(unknown, np.uint16(MaskBit.DEAD), np.uint16(0))
    mask[residual > float(params["hot_sigma"]) * sigma] |= np.uint16(MaskBit.HOT)
    mask[residual < -float(params["dead_sigma"]) * sigma] |= np.uint16(MaskBit.DEAD)
    counts = {
        "hot_px": float(np.count_nonzero(mask & MaskBit.HOT)),
        "dead_px": float(np.count_nonzero(mask & MaskBit.DEAD)),
    }
    whole = data - np.median(data)
    for name, axis in (("bad_columns", 0), ("bad_rows", 1)):
        high, low = _stand_out(whole, axis, float(params["column_sigma"]))
        for found, bit in ((high, MaskBit.HOT), (low, MaskBit.DEAD)):
            mask[(slice(None), found) if axis == 0 else (found, slice(None))] |= np.uint16(bit)
        counts[name] = float(np.count_nonzero(high | low))
    counts["bad_fraction"] = float(np.count_nonzero(mask)) / mask.size
    return Defects(CCDData(mask.astype(np.float32), unit="", mask=mask), counts)


def _stand_out(data: np.ndarray, axis: int, limit: float) -> tuple[np.ndarray, np.ndarray]:
    """Which columns (axis 0) or rows (axis 1) lie above and below all others."""
    medians = np.median(data, axis=axis)
    # A broad glow moves neighbouring columns together; only what departs from the smooth run is a defect.
    width = min(medians.size // 2 * 2 - 1, 51)
    padded = np.pad(medians, width // 2, mode="reflect", reflect_type="odd")  # carries a slope on beyond the edge
    smooth = np.median(np.lib.stride_tricks.sliding_window_view(padded, width), axis=1)
    departure = medians - smooth
    # The scatter of medians of pure noise, below which a quiet detector's would make everything stand out.
    floor = 1.2533 * mad_sigma(data) / np.sqrt(data.shape[axis])
    sigma = max(mad_sigma(departure), floor, 1e-12)
    return departure > limit * sigma, departure < -limit * sigma
