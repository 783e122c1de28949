"""Telling stars from what is sharper than a star can be: hot pixels, cosmic rays, bad columns, trails."""

from __future__ import annotations

import numpy as np

_SHARPEST_FWHM_PX = 1.2  # no optics put a star into less
_LEAST_SHARE = 0.5  # of the neighbours' light that a star of the frame's width would have
_THINNEST = 0.3  # axis ratio of a source, where the frame's own stars are round


class Cores:
    """The brightest pixel of each source, and how much of its light the pixels beside it have.

    Parameters
    ----------
    image, noise : ndarray, shape (ny, nx)
        Background subtracted; standard deviation of the background.
    x, y : ndarray, one length
        Positions [px].
    """

    def __init__(self, image: np.ndarray, noise: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
        ny, nx = image.shape
        column, row = np.rint(x).astype(int).clip(1, nx - 2), np.rint(y).astype(int).clip(1, ny - 2)
        around = np.stack([image[row + dy, column + dx] for dy in (-1, 0, 1) for dx in (-1, 0, 1)])
        best = around.argmax(axis=0)
        row, column = (row + best // 3 - 1).clip(1, ny - 2), (column + best % 3 - 1).clip(1, nx - 2)
        peak = np.maximum(image[row, column], 1e-30)
        vertical = np.maximum(image[row - 1, column], image[row + 1, column])
        horizontal = np.maximum(image[row, column - 1], image[row, column + 1])
        # A spike has no light beside it, a bad column has it in one direction only: the weaker direction decides.
        self._share = np.minimum(vertical, horizontal) / peak
        self._uncertain = 3.0 * noise[row, column] / peak

    def sharper_than(self, fwhm_px: float) -> np.ndarray:
        """Whether the cores are sharper than those of stars of a width, the noise being allowed for.

        A Gaussian star of width F, centred on a pixel, has exp(-4 ln 2 / F^2) of its peak in each pixel beside; off
        centre, the brighter side has more.
        """
        expected = np.exp(-4.0 * np.log(2.0) / max(fwhm_px, _SHARPEST_FWHM_PX) ** 2)
        sharper: np.ndarray = self._share < _LEAST_SHARE * expected - self._uncertain
        return sharper


def are_spikes(cores: Cores, fwhm_px: np.ndarray) -> np.ndarray:
    """Whether sources are sharper than any star of any frame: what the frame's own width must not be judged by."""
    return cores.sharper_than(2 * _SHARPEST_FWHM_PX) & (fwhm_px < 2 * _SHARPEST_FWHM_PX) | (fwhm_px < 1.0)


def are_star_like(
    cores: Cores,
    fwhm_px: np.ndarray,
    axis_ratio: np.ndarray,
    typical_fwhm_px: float,
    saturated: np.ndarray,
) -> np.ndarray:
    """Whether sources may be stars of a frame.

    Parameters
    ----------
    cores
        The sources' brightest pixels.
    fwhm_px, axis_ratio : ndarray, one length
        Widths, minor by major axis.
    typical_fwhm_px
        Width of the frame's stars.
    saturated : ndarray of bool
        Saturated sources pass: their cores say nothing.
    """
    usual = float(np.median(axis_ratio)) if len(axis_ratio) >= 5 else 1.0
    thin = axis_ratio < min(_THINNEST, usual / 2)
    narrow = fwhm_px < 0.5 * typical_fwhm_px
    passed: np.ndarray = saturated | ~(cores.sharper_than(typical_fwhm_px) | thin | narrow)
    return passed
