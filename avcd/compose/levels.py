"""The levels of a picture: each filter's sky, noise and white, and what makes the typical star, or all light, white."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, label, median_filter, sum_labels

from avcd.compose.background import subtract_plane
from avcd.compose.blocks import block_means, filled, grid_step

_LEAST_SPAN = 20.0  # in standard deviations of the noise: a field of few stars has its white percentile in the noise
_BRIGHT = 8.0  # in standard deviations, in every channel or in all together, for an object to tell the white balance
_SURE = 4.0  # … and for its light in each channel
_LEAST_PX = 4
_LEAST_OBJECTS = 5
_LARGEST_GAIN = 2.5  # a channel with hardly any light is not blown up to a sea of noise
_MAD = 1.4826
_SMALL_PX = 1024  # the longest side of what levels are judged on
_COARSE_PX = 256  # … and of what a nebula's brightness is
_STAR_PX = 9  # on that image, more than twice a star's width


@dataclass(frozen=True)
class Level:
    """One filter's sky and span: what is zero and one in its scaled image.

    ``sky`` and ``white`` in the image's unit; ``across`` and ``along`` the sky's rise over the whole width and height;
    ``noise`` the standard deviation of a single pixel.
    """

    sky: float
    white: float
    across: float = 0.0
    along: float = 0.0
    noise: float = 0.0

    def scale(
        self, data: np.ndarray, shape: tuple[int, int], corner: tuple[int, int] = (0, 0), factor: float = 1.0
    ) -> np.ndarray:
        """A part of an image of ``shape`` from row and column ``corner`` on, times ``factor``: the sky at zero, white at one."""
        ny, nx = shape
        row, column = corner
        share = factor / max(self.white - self.sky, 1e-12)
        across = self.sky + self.across * ((np.arange(column, column + data.shape[1]) + 0.5) / nx - 0.5)
        along = self.along * ((np.arange(row, row + len(data)) + 0.5) / ny - 0.5)
        found = np.multiply(data, np.float32(share), dtype=np.float32)
        found -= (across * share).astype(np.float32)[None, :]
        if self.along:
            found -= (along * share).astype(np.float32)[:, None]
        return found


def noise_of(values: np.ndarray) -> float:
    """The sky's noise, from its darker half: nebulae and stars only ever brighten."""
    chosen = values[:: max(1, values.size // 250_000)]
    middle = np.median(chosen)
    below = chosen[chosen < middle]
    return _MAD * float(np.median(middle - below)) if below.size else 0.0


def step_of(shape: tuple[int, ...]) -> int:
    """The side of the blocks that levels are judged on."""
    return max(1, -(-max(shape) // _SMALL_PX))


def measure_level(
    data: np.ndarray,
    good: np.ndarray | None,
    little: np.ndarray,
    black_percentile: float,
    white_percentile: float,
    *,
    without_stars: bool = False,
) -> Level:
    """The level of one filter's image.

    Parameters
    ----------
    data : shape (ny, nx)
        Filled where ``good`` is false.
    good : bool, same shape, or None
        Pixels that count.
    little
        The means of its blocks of `step_of`.
    black_percentile
        Of the smoothed image less its gradient: what is sky.
    white_percentile
        Of the pixels: what is white.
    without_stars
        Whether stars are left out of that, as for a line: their light tells nothing of the nebula's.
    """
    known = np.isfinite(little)
    if not known.any():
        return Level(0.0, 1.0)
    whole = filled(little, None if known.all() else known)
    plane = whole - subtract_plane(whole, known)
    ny, nx = plane.shape
    across = float(plane[0, -1] - plane[0, 0]) * nx / max(nx - 1, 1)
    along = float(plane[-1, 0] - plane[0, 0]) * ny / max(ny - 1, 1)
    # Noise alone must not make the black: a smoothed picture tells the background's level better.
    smooth = gaussian_filter(whole - plane, 2.0 / step_of(data.shape))
    sky = float(np.percentile(smooth[known], black_percentile))
    step = grid_step(data.shape)
    pixels = data[::step, ::step]
    flat = Level(0.0, 1.0, across, along).scale(pixels, (pixels.shape[0], pixels.shape[1]))
    values = flat.ravel() if good is None else flat[good[::step, ::step]]
    noise = noise_of(values) if values.size else 0.0
    if without_stars:
        values = _starless(whole - plane)
    bright = float(np.percentile(values, white_percentile)) if values.size else sky
    white = max(bright, sky + _LEAST_SPAN * noise, sky + 1e-12)
    return Level(sky, white, across, along, noise)


def _starless(image: np.ndarray) -> np.ndarray:
    """A coarse image in which stars are gone and nebulae are not."""
    coarse = block_means(image, None, max(1, -(-max(image.shape) // _COARSE_PX)))
    return np.asarray(median_filter(coarse, _STAR_PX, mode="nearest"))


def star_gains(rgb: np.ndarray, saturated: np.ndarray) -> np.ndarray:
    """What the three colours are multiplied by so that the typical object is white.

    Every object counts once, however large: a nebula keeps its colour among stars. Where there are too few, all are one:
    the colours stay as their brightest parts have scaled them.

    Parameters
    ----------
    rgb : shape (3, ny, nx)
        Scaled, the sky at zero.
    saturated : bool, shape (ny, nx)
        What tells no colour.
    """
    noises = np.maximum([noise_of(plane.ravel()) for plane in rgb], 1e-9)
    signal = (rgb / noises[:, None, None].astype(np.float32)).min(axis=0)
    signal[saturated] = 0
    together = (rgb / noises[:, None, None].astype(np.float32)).sum(axis=0) / np.sqrt(3)
    together[saturated] = 0
    for plane in (signal, together):  # the bright stars, as far as there are enough; faint ones are redder
        sums = _objects(rgb, plane > _BRIGHT, noises)
        if len(sums) >= _LEAST_OBJECTS:
            logs = np.log(sums)
            return _limited(np.exp(-np.median(logs - logs.mean(axis=1, keepdims=True), axis=0)))
    return np.ones(3)


def _objects(rgb: np.ndarray, bright: np.ndarray, noises: np.ndarray) -> np.ndarray:
    """The light of each object in the three colours, shape (n, 3), of those that are surely seen in each."""
    regions, count = label(bright)
    if not count:
        return np.empty((0, 3))
    numbers = np.arange(1, count + 1)
    pixels = sum_labels(np.ones(regions.shape), regions, numbers)
    sums = np.stack([sum_labels(plane, regions, numbers) for plane in rgb], axis=1)
    sure = (pixels >= _LEAST_PX) & (sums > _SURE * noises * np.sqrt(pixels)[:, None]).all(axis=1)
    return np.asarray(sums[sure])


def grey_gains(rgb: np.ndarray) -> np.ndarray:
    """What the three colours are multiplied by so that all light together is grey.

    The mean of what rises above the noise, at most at the white level, counts: one bright star does not tell for all.
    """
    limits = np.maximum(3 * np.array([noise_of(plane.ravel()) for plane in rgb]), 1e-9)
    bright = (rgb > limits[:, None, None]).any(axis=0)
    if not bright.any():
        return np.ones(3)
    sums = np.array([float(np.clip(plane[bright], 0, 1).mean()) for plane in rgb])
    return _limited(sums.mean() / np.maximum(sums, 1e-9))


def _limited(gains: Sequence[float] | np.ndarray) -> np.ndarray:
    return np.clip(np.asarray(gains, dtype=float), 1 / _LARGEST_GAIN, _LARGEST_GAIN)
