"""A shift between two frames from the correlation of their stars: the last resort where star lists cannot be matched."""

from __future__ import annotations

import numpy as np
from scipy.fft import fftfreq, irfft2, next_fast_len, rfft2, rfftfreq
from scipy.ndimage import gaussian_filter, median_filter

_PEAK_PX = 1.5  # smoothing of the correlation, as one sigma
_LARGE_PX = 4.0  # structure larger than this is a nebula, sky, scattered light or flat field
_FAINTEST_SIGMA = 3.0
_BRIGHTEST_SIGMA = 50.0
_LEAST_LIKENESS = 0.25
_LEAST_LEAD = 1.45  # over the second best shift; unrelated fields of several stars stay below
_APART_PX = 12  # further than this another peak is another shift


def correlate(
    reference: np.ndarray, reference_mask: np.ndarray | None, image: np.ndarray, image_mask: np.ndarray | None
) -> tuple[np.ndarray | None, float]:
    """Where the reference lies on an image, to a fraction of a pixel.

    A camera's own pattern (hot pixels, read-out noise, flat-field rests) stands still while the sky moves, and would
    win at no shift at all: on real frames a plain phase correlation finds the camera. So only what is wider than a
    pixel, narrower than the background and well above the noise takes part, its brightness compressed.

    Parameters
    ----------
    reference, image : shape (ny, nx), the same for both
    reference_mask, image_mask : planes of `MaskBit`, or None
        Pixels with any bit take no part.

    Returns
    -------
    shift : ndarray (2,) or None
        (dx, dy) from the reference's positions to the image's; None when the two are not alike, or when another shift
        would do nearly as well.
    likeness : float
        The correlation coefficient at the best shift, -1 to 1.

    Notes
    -----
    Cross-correlation by Fourier transforms. Its phase alone (Kuglin & Hines 1975) is sharper but weighs every
    frequency alike, those where faint frames have noise only too.
    """
    size = tuple(next_fast_len(one, real=True) for one in reference.shape)
    low_pass = np.exp(-2 * (np.pi * _PEAK_PX) ** 2 * (fftfreq(size[0])[:, None] ** 2 + rfftfreq(size[1])[None, :] ** 2))
    low_pass[0, 0] = 0
    ours, theirs = (rfft2(_stars_only(*one), size) for one in ((reference, reference_mask), (image, image_mask)))
    own = [irfft2(np.abs(one) ** 2 * low_pass, size)[0, 0] for one in (ours, theirs)]
    if not min(own) > 0:
        return None, 0.0
    surface = irfft2(theirs * np.conj(ours) * low_pass, size) / np.sqrt(own[0] * own[1])
    peak = np.unravel_index(int(np.argmax(surface)), surface.shape)
    place = int(peak[0]), int(peak[1])
    likeness = float(surface[place])
    if likeness < _LEAST_LIKENESS or likeness < _LEAST_LEAD * _second(surface, place):
        return None, likeness
    return np.array([_vertex(surface, place, 1), _vertex(surface, place, 0)]), likeness


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
    image = image - gaussian_filter(np.clip(image, level - 5 * scatter, level + 5 * scatter), _LARGE_PX)
    scatter = 1.4826 * float(np.median(np.abs(image)))
    if not scatter > 0:
        scatter = float(np.abs(image).max()) / _BRIGHTEST_SIGMA or 1.0
    height = np.clip(image / scatter, 0, _BRIGHTEST_SIGMA)
    height[height < _FAINTEST_SIGMA] = 0
    windows = [np.minimum(1, 8 * np.hanning(one)) for one in data.shape]
    return np.asarray(np.log1p(height) * np.outer(*windows), dtype=np.float64)


def _second(surface: np.ndarray, peak: tuple[int, int]) -> float:
    """The best of the shifts that are not the peak's own."""
    rows, columns = (
        np.arange(place - _APART_PX, place + _APART_PX + 1) % size
        for place, size in zip(peak, surface.shape, strict=True)
    )
    rest = surface.copy()
    rest[np.ix_(rows, columns)] = 0
    return float(rest.max())


def _vertex(surface: np.ndarray, peak: tuple[int, int], axis: int) -> float:
    """The peak's position along an axis as a signed shift: of a parabola, near its top as good as any."""
    size = surface.shape[axis]
    values = []
    for step in (-1, 0, 1):
        place = list(peak)
        place[axis] = (peak[axis] + step) % size
        values.append(float(surface[tuple(place)]))
    bend = values[0] - 2 * values[1] + values[2]
    offset = 0.5 * (values[0] - values[2]) / bend if bend else 0.0
    position = peak[axis] + float(np.clip(offset, -0.5, 0.5))
    return position - size if position > size / 2 else position
