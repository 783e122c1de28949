"""Figures of a frame's quality, from its sources and its background."""

from __future__ import annotations

import numpy as np

from avcd.frame import MaskBit
from avcd.sky.detection import SourceFlag, Sources

_BRIGHT = 20.0  # shapes are measured on sources this many times above the noise, or on the best ten
_FEWEST = 10


def measure_quality(
    data: np.ndarray, mask: np.ndarray | None, sources: Sources, pixel_scale_arcsec: float | None = None
) -> dict[str, float]:
    """How good a frame is.

    Parameters
    ----------
    data : ndarray, shape (ny, nx)
        The frame, in any unit.
    mask : ndarray of `MaskBit` planes or of bool, or None
    sources
        As detected on the frame.
    pixel_scale_arcsec
        None: no figures in arcsec.

    Returns
    -------
    dict
        ``stars``; ``fwhm_px``, ``fwhm_arcsec``, ``ellipticity``: medians of clean stars; ``background``, ``noise``:
        medians over the frame, in its unit; ``background_range``: between the 2nd and 98th percentile of the smooth
        background; ``saturated_px``, ``saturated_stars``, ``masked_fraction``. What cannot be measured is left out.
    """
    found = {
        "stars": float(len(sources)),
        "background": float(np.median(sources.background)),
        "background_range": float(np.subtract(*np.percentile(sources.background[::4, ::4], [98, 2]))),
        "noise": float(np.median(sources.background_rms)),
        "saturated_stars": float(np.count_nonzero(sources.flags & SourceFlag.SATURATED)),
        "masked_fraction": 0.0,
        "saturated_px": 0.0,
    }
    if mask is not None:
        found["masked_fraction"] = float(np.count_nonzero(mask) / data.size)
        if mask.dtype != bool:
            found["saturated_px"] = float(np.count_nonzero(mask & np.uint16(MaskBit.SATURATED)))
    clean = np.flatnonzero(((sources.flags & ~SourceFlag.BLENDED) == 0) & np.isfinite(sources.fwhm_px))
    with np.errstate(divide="ignore", invalid="ignore"):
        signal = sources.flux[clean] / sources.flux_err[clean]
    bright = clean[signal > _BRIGHT]
    chosen = bright if len(bright) >= _FEWEST else clean[:_FEWEST]
    if len(chosen):
        found["fwhm_px"] = float(np.median(sources.fwhm_px[chosen]))
        found["ellipticity"] = float(np.median(sources.ellipticity[chosen]))
        if pixel_scale_arcsec:
            found["fwhm_arcsec"] = found["fwhm_px"] * pixel_scale_arcsec
    return {name: value for name, value in found.items() if np.isfinite(value)}
