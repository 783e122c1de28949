"""A shift between two frames from their phase correlation: the last resort where stars are too few to match."""

from __future__ import annotations

import numpy as np
from scipy.fft import fftfreq, irfft2, next_fast_len, rfft2, rfftfreq
from scipy.ndimage import gaussian_filter, median_filter

_PEAK_SIGMA = 8.0  # a correlation peak below this is noise
_PEAK_PX = 1.5  # width of the peak that a perfect match gives, as one sigma
_LARGE_PX = 16.0  # structure larger than this is sky, scattered light or flat field
_FAINTEST_SIGMA = 3.0
_BRIGHTEST_SIGMA = 50.0


def correlate(
    reference: np.ndarray, reference_mask: np.ndarray | None, image: np.ndarray, image_mask: np.ndarray | None
) -> tuple[np.ndarray | None, float]:
    """Where the reference lies on an image, to a fraction of a pixel.

    A camera's own pattern (hot pixels, read-out noise, flat-field rests) stands still while the sky moves, and would
    win at no shift at all. So only what is wider than a pixel, narrower than the background and well above the noise
    takes part.

    Parameters
    ----------
    reference, image : shape (ny, nx), the same for both
    reference_mask, image_mask : planes of `MaskBit`, or None
        Pixels with any bit take no part.

    Returns
    -------
    shift : ndarray (2,) or None
        (dx, dy) from the reference's positions to the image's; None when there is no significant peak.
    significance : float
        The peak in standard deviations of the correlation.

    Notes
    -----
    Kuglin & Hines 1975, Proc. IEEE Conf. Cybernetics and Society, 163. The spectrum is weighted by a Gaussian, so that
    the peak is one, and a parabola through its logarithm finds the fraction of a pixel.
    """
    size = tuple(next_fast_len(one, real=True) for one in reference.shape)
    product = rfft2(_stars_only(image, image_mask), size) * np.conj(rfft2(_stars_only(reference, reference_mask), size))
    strength = np.abs(product)
    if not strength.max() > 0:
        return None, 0.0
    low_pass = np.exp(-2 * (np.pi * _PEAK_PX) ** 2 * (fftfreq(size[0])[:, None] ** 2 + rfftfreq(size[1])[None, :] ** 2))
    surface = irfft2(product / np.maximum(strength, 1e-9 * strength.max()) * low_pass, size)
    peak = np.unravel_index(int(np.argmax(surface)), surface.shape)
    significance = float((surface[peak] - surface.mean()) / surface.std())
    if not significance > _PEAK_SIGMA:
        return None, significance
    dy, dx = (_vertex(surface, (int(peak[0]), int(peak[1])), axis) for axis in (0, 1))
    return np.array([dx, dy]), significance


def _stars_only(data: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """What stands out of noise and background, limited in height, with a smooth window to zero at the edge."""
    bad = ~np.isfinite(data) if mask is None else ~np.isfinite(data) | (mask != 0)
    if bad.all():
        return np.zeros(data.shape)
    level = float(np.median(data[~bad]))
    image = np.where(bad, level, data).astype(np.float32)
    image = gaussian_filter(median_filter(image, 3), 1.0)
    # The background must not dip beside a bright star, and the noise not count it.
    scatter = 1.4826 * float(np.median(np.abs(image - np.median(image))))
    background = gaussian_filter(np.clip(image, level - 5 * scatter, level + 5 * scatter), _LARGE_PX)
    image = image - background
    scatter = 1.4826 * float(np.median(np.abs(image)))
    if not scatter > 0:
        scatter = float(np.abs(image).max()) / _BRIGHTEST_SIGMA or 1.0
    height = np.clip(image / scatter, 0, _BRIGHTEST_SIGMA)
    height[height < _FAINTEST_SIGMA] = 0
    windows = [np.minimum(1, 8 * np.hanning(one)) for one in data.shape]
    return np.asarray(np.log1p(height) * np.outer(*windows), dtype=np.float64)


def _vertex(surface: np.ndarray, peak: tuple[int, int], axis: int) -> float:
    """The peak's position along an axis, as a signed shift."""
    size = surface.shape[axis]
    values = []
    for step in (-1, 0, 1):
        place = list(peak)
        place[axis] = (peak[axis] + step) % size
        values.append(np.log(max(float(surface[tuple(place)]), 1e-12)))
    bend = values[0] - 2 * values[1] + values[2]
    offset = 0.5 * (values[0] - values[2]) / bend if bend else 0.0
    position = peak[axis] + float(np.clip(offset, -0.5, 0.5))
    return position - size if position > size / 2 else position
