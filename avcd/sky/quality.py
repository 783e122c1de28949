"""Figures of a frame's quality, from its sources and its background."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import pdtr

from avcd.frame import MaskBit
from avcd.sky.detection import SourceFlag, Sources
from avcd.sky.psf import Psf
from avcd.sky.trails import Trail

_BRIGHT = 20.0  # shapes are measured on sources this many times above the noise, or on the best ten
_PEAK = 25.0  # noise of a pixel: below, the brighter of the noisy pixels around a peak make it wide
_FEWEST = 10
_PER_CELL = 12  # stars of a cell of the field, on the average, before an empty one says something
_MOST_CELLS = 8  # along a side
_CHANCE = 1e-4  # of a single cell to be so empty by accident, over all of them
_USABLE_PART = 0.7
_THINNED = 16  # the smooth background is looked at in every so-manieth row and column


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
        ``stars``; ``fwhm_px``, ``fwhm_arcsec``, ``ellipticity``: medians of clean stars; ``elongation``,
        ``elongation_angle_deg``: the part of the ellipticity that the stars share, and its direction from the x axis;
        ``background``, ``noise``: medians over the frame, in its unit; ``background_range``: between the 2nd and 98th
        percentile of the smooth background; ``background_gradient``, ``background_gradient_deg``: the rise of the plane
        through it over the frame, and where to; ``saturated_px``, ``saturated_stars``, ``masked_fraction``;
        ``dead_cells`` of ``grid_cells``: cells of a grid over the field that hold so few of the usual ``stars_per_cell``
        as chance would not have it. What cannot be measured is left out.
    """
    level, noise = sources.background[::_THINNED, ::_THINNED], sources.background_rms[::_THINNED, ::_THINNED]
    found = {
        "stars": float(len(sources)),
        "background": float(np.median(level)),
        "background_range": float(np.subtract(*np.percentile(level, [98, 2]))),
        "noise": float(np.median(noise)),
        "saturated_stars": float(np.count_nonzero(sources.flags & SourceFlag.SATURATED)),
        "masked_fraction": 0.0,
        "saturated_px": 0.0,
        **_gradient(level),
        **_cells(mask, sources),
    }
    if mask is not None:
        found["masked_fraction"] = float(np.count_nonzero(mask) / data.size)
        if mask.dtype != bool:
            found["saturated_px"] = float(np.count_nonzero(mask & np.uint16(MaskBit.SATURATED)))
    chosen = bright_stars(sources)
    if len(chosen):
        found["fwhm_px"] = float(np.median(sources.fwhm_px[chosen]))
        found["ellipticity"] = float(np.median(sources.ellipticity[chosen]))
        # Ellipticity has half the period of an angle: opposite directions are one, crossed ones cancel.
        turned = sources.ellipticity[chosen] * np.exp(2j * sources.theta_rad[chosen])
        shared = complex(np.mean(turned))
        found["elongation"] = float(abs(shared))
        found["elongation_angle_deg"] = float(np.degrees(np.angle(shared) / 2) % 180.0)
        if pixel_scale_arcsec:
            found["fwhm_arcsec"] = found["fwhm_px"] * pixel_scale_arcsec
    return {name: value for name, value in found.items() if np.isfinite(value)}


def bright_stars(sources: Sources) -> np.ndarray:
    """Indices of the stars that shapes are measured on: clean and bright, also in their peaks, else the ten best."""
    clean = np.flatnonzero(((sources.flags & ~SourceFlag.BLENDED) == 0) & np.isfinite(sources.fwhm_px))
    with np.errstate(divide="ignore", invalid="ignore"):
        signal = sources.flux[clean] / sources.flux_err[clean]
    noise = float(np.median(sources.background_rms[::_THINNED, ::_THINNED]))
    bright = clean[(signal > _BRIGHT) & (sources.peak[clean] > _PEAK * noise)]
    return bright if len(bright) >= _FEWEST else clean[:_FEWEST]


def psf_figures(regions: Sequence[Psf]) -> dict[str, float]:
    """What the shapes over the field come to.

    Returns
    -------
    dict
        ``psf_cn_px`` and so on, ``psf_cn_err_px``, ``psf_cn_ellipticity`` for each region; ``tilt``: from the sharpest to the
        widest corner, relative to the mean of all, and ``tilt_sigma``, that in its errors, where all four are known.
    """
    found: dict[str, float] = {}
    for one in regions:
        name = f"psf_{one.region.lower()}"
        found |= {f"{name}_px": one.fwhm_px, f"{name}_ellipticity": one.ellipticity}
        if one.fwhm_err_px is not None:
            found[f"{name}_err_px"] = one.fwhm_err_px
    corners = sorted((one for one in regions if one.region != "CN"), key=lambda one: one.fwhm_px)
    if len(corners) == 4:
        rise = corners[-1].fwhm_px - corners[0].fwhm_px
        found["tilt"] = rise / float(np.mean([one.fwhm_px for one in corners]))
        errors = [one.fwhm_err_px for one in (corners[0], corners[-1])]
        known = [one for one in errors if one]
        if len(known) == 2:
            found["tilt_sigma"] = rise / float(np.hypot(known[0], known[1]))
    return found


def trail_figures(trails: Sequence[Trail]) -> dict[str, float | str]:
    """``trails``, and of the clearest one ``trail_length_px``, ``trail_sigma`` and ``trail_ends`` (FITS pixels)."""
    found: dict[str, float | str] = {"trails": float(len(trails))}
    if trails:
        best = trails[0]
        found |= {"trail_length_px": best.length_px, "trail_sigma": best.sigma}
        ends = [round(one + 1) for one in (best.x1, best.y1, best.x2, best.y2)]
        found["trail_ends"] = f"from {ends[0]},{ends[1]} to {ends[2]},{ends[3]}"
    return found


def _gradient(level: np.ndarray) -> dict[str, float]:
    """The plane through the smooth background."""
    ny, nx = level.shape
    if min(ny, nx) < 2:
        return {}
    x, y = np.linspace(-0.5, 0.5, nx), np.linspace(-0.5, 0.5, ny)
    per_x = float((level.mean(axis=0) * x).sum() / (x**2).sum())
    per_y = float((level.mean(axis=1) * y).sum() / (y**2).sum())
    return {
        "background_gradient": float(np.hypot(per_x, per_y)),
        "background_gradient_deg": float(np.degrees(np.arctan2(per_y, per_x)) % 360.0),
    }


def _cells(mask: np.ndarray | None, sources: Sources) -> dict[str, float]:
    """Cells of the field that hold far fewer stars than the others."""
    ny, nx = sources.background.shape
    side = int(min(np.sqrt(len(sources) / _PER_CELL), _MOST_CELLS))
    if side < 3:
        return {}
    column = np.clip(sources.x / nx * side, 0, side - 1).astype(int)
    row = np.clip(sources.y / ny * side, 0, side - 1).astype(int)
    counts = np.bincount(row * side + column, minlength=side**2)
    usable = np.ones(side**2, bool)
    if mask is not None:
        good = (mask[::8, ::8] == 0) if mask.dtype == bool else (mask[::8, ::8] & ~np.uint16(MaskBit.COSMIC_RAY)) == 0
        rows, columns = np.linspace(0, good.shape[0], side + 1), np.linspace(0, good.shape[1], side + 1)
        parts = [
            good[
                int(rows[i]) : max(int(rows[i + 1]), int(rows[i]) + 1), int(columns[j]) : int(columns[j + 1]) + 1
            ].mean()
            for i in range(side)
            for j in range(side)
        ]
        usable = np.array(parts) > _USABLE_PART
    if np.count_nonzero(usable) < side**2 / 2:
        return {}
    usual = float(np.median(counts[usable]))
    empty = pdtr(counts, usual) < _CHANCE / side**2
    return {
        "dead_cells": float(np.count_nonzero(empty & usable)),
        "grid_cells": float(np.count_nonzero(usable)),
        "stars_per_cell": usual,
    }
