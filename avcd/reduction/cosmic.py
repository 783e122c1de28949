"""Cosmic rays: what is sharper than any star of the frame can be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import sep

from avcd.reduction.lacosmic import detect_cosmic_rays

_FWHM_PER_SIGMA = 2.3548
_NARROWEST_PX = 1.8  # full width at half maximum that any star is granted
_MARGIN = 0.9  # the sharpest stars are a little sharper than the typical one
_SHARP_SIGMA = 5.0
_BRIGHT_SIGMA = 10.0
_FEWEST_STARS = 5
_SMALLEST_PX = 8  # narrower frames are left alone: astroscrappy reads beyond those of three pixels and less
_DIRECTIONS = ((0, 1), (1, 0), (1, 1), (1, -1))


def find_cosmic_rays(
    data: np.ndarray, mask: np.ndarray, read_noise: float, saturation: float, params: Mapping[str, Any]
) -> tuple[np.ndarray, np.ndarray]:
    """Pixels struck by cosmic rays, and the pixels as they may have been.

    L.A.Cosmic as astroscrappy has it, and then every hit must show a pixel that no star could have made. For a sum of
    Gaussian stars of width s or wider, on any smooth background, no pixel exceeds the mean of two opposite neighbours
    at distance d times exp(d^2 / 2 s^2); a track of a cosmic ray does so across its direction. The cores of bright
    stars, which L.A.Cosmic is known to take for cosmic rays, never do.

    Parameters
    ----------
    data : ndarray, shape (ny, nx), float
        Electrons; or adu, where ``read_noise`` is the whole scatter of the sky.
    mask : ndarray of bool, shape (ny, nx)
        True where a pixel is known to be bad.
    read_noise, saturation
        In the unit of the data.
    params
        cosmic_sigma_clip, cosmic_sigma_fraction, cosmic_object_limit, cosmic_iterations.

    Returns
    -------
    ndarray of bool, shape (ny, nx)
    ndarray of float32, shape (ny, nx)
        Struck pixels from the median of their good neighbours; all others as they came.

    References
    ----------
    van Dokkum 2001, PASP 113, 1420.
    """
    values = np.ascontiguousarray(data, dtype=np.float32)
    if min(values.shape) < _SMALLEST_PX:
        return np.zeros(values.shape, bool), values
    struck, cleaned = detect_cosmic_rays(
        values,
        mask,
        float(read_noise),
        float(min(saturation, 1e30)),
        sigma_clip=float(params["cosmic_sigma_clip"]),
        sigma_fraction=float(params["cosmic_sigma_fraction"]),
        object_limit=float(params["cosmic_object_limit"]),
        iterations=int(params["cosmic_iterations"]),
    )
    if not struck.any():
        return struck, values
    places = np.nonzero(struck)
    proof = np.zeros((values.shape[0] + 2, values.shape[1] + 2), bool)
    proof[1:-1, 1:-1][places] = _sharper_than_stars(values, places, _star_width(values, mask, saturation), read_noise)
    # A pixel beside one that proves it belongs to the same track.
    beside = [proof[places[0] + 1 + dy, places[1] + 1 + dx] for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    struck[places] = np.logical_or.reduce(beside)
    return struck, np.where(struck, cleaned, values).astype(np.float32)


def _star_width(data: np.ndarray, mask: np.ndarray, saturation: float) -> float:
    """Full width at half maximum of the cores of the frame's stars, px, rather too small than too large.

    Of a Gaussian, the logarithm of any pixel exceeds the mean of its two neighbours' by 1 / 2 s^2, wherever its centre
    lies in the pixel; so the brightest pixels of round sources and their neighbours tell how sharp cores are.
    """
    background = sep.Background(data, mask=mask)
    image = data - background.back()
    found = sep.extract(image, _BRIGHT_SIGMA, err=background.globalrms or 1.0, mask=mask, minarea=7)
    ny, nx = data.shape
    row, column = found["ypeak"], found["xpeak"]
    good = (found["flag"] == 0) & (found["b"] > 0.6 * found["a"])
    good &= (row > 0) & (column > 0) & (row < ny - 1) & (column < nx - 1)
    row, column = row[good], column[good]
    peak = image[row, column]
    beside = np.stack([image[row + dy, column + dx] for dy, dx in ((0, 1), (0, -1), (1, 0), (-1, 0))])
    usable = (beside > 0).all(axis=0) & (data[row, column] < saturation)
    if usable.sum() < _FEWEST_STARS:
        return _NARROWEST_PX
    curvature = np.log(peak[usable]) - np.log(beside[:, usable]).mean(axis=0)
    width = _FWHM_PER_SIGMA / np.sqrt(2 * max(float(np.median(curvature)), 1e-3))
    return max(_NARROWEST_PX, _MARGIN * width)


def _sharper_than_stars(
    data: np.ndarray, places: tuple[np.ndarray, ...], width_px: float, read_noise: float
) -> np.ndarray:
    """Which of some pixels exceed, significantly, what two opposite neighbours allow a star; shape of the places."""
    row, column = places
    level = np.median(data)

    def around(dy: int, dx: int) -> tuple[np.ndarray, np.ndarray]:
        """A neighbour of each, less the sky, and its variance; at the edge the pixel stands for the one beyond."""
        there = data[np.clip(row + dy, 0, data.shape[0] - 1), np.clip(column + dx, 0, data.shape[1] - 1)]
        return there - level, np.maximum(there, 0) + np.float32(read_noise) ** 2

    value, variance = around(0, 0)
    sharp = np.zeros(row.shape, bool)
    for dy, dx in _DIRECTIONS:
        (one, its), (other, others) = around(dy, dx), around(-dy, -dx)
        ratio = np.float32(np.exp((dx * dx + dy * dy) / 2 * (_FWHM_PER_SIGMA / width_px) ** 2) / 2)
        sharp |= value - ratio * (one + other) > _SHARP_SIGMA * np.sqrt(variance + ratio**2 * (its + others))
    return sharp
