"""Fields of stars with cosmic rays whose places are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

READ_NOISE_E = 8.0
SATURATION_E = 60000.0
SKY_E = 200.0
_FWHM_PX = 3.0


@dataclass(frozen=True)
class Field:
    """A frame in electrons, and the pixels to which cosmic rays gave more than five times the noise of what was there."""

    image: np.ndarray
    struck: np.ndarray


def make_field(shape: tuple[int, int], stars: int, brightest_e: float, rays: int, seed: int = 1) -> Field:
    """Moffat stars of fluxes from 500 e up to ``brightest_e``, saturated where they are too bright, and tracks."""
    rng = np.random.default_rng(seed)
    ny, nx = shape
    light = np.full(shape, SKY_E)
    core = _FWHM_PX / (2 * np.sqrt(2 ** (1 / 2.5) - 1))
    for y, x, part in rng.random((stars, 3)) * [ny, nx, 1]:
        flux = min(500 * (1 - part) ** -1.3, brightest_e)
        reach = 8 if flux < 1e5 else 30
        rows = np.arange(max(0, int(y) - reach), min(ny, int(y) + reach))
        columns = np.arange(max(0, int(x) - reach), min(nx, int(x) + reach))
        radius2 = ((rows - y)[:, None] ** 2 + (columns - x)[None] ** 2) / core**2
        light[np.ix_(rows, columns)] += flux * 1.5 / (np.pi * core**2) * (1 + radius2) ** -2.5
    hits = np.zeros(shape)
    for _ in range(rays):
        y, x, angle, length = rng.uniform(0, ny), rng.uniform(0, nx), rng.uniform(0, np.pi), rng.exponential(5)
        for along in np.arange(0, length + 0.5, 0.5):
            row, column = int(y + along * np.sin(angle)), int(x + along * np.cos(angle))
            if row < ny and 0 <= column < nx:
                hits[row, column] += rng.uniform(100, 1500)
    image = rng.poisson(np.minimum(light, 1e7)) + rng.normal(0, READ_NOISE_E, shape) + hits
    struck = (hits > 5 * np.sqrt(light + READ_NOISE_E**2)) & (light < SATURATION_E)
    return Field(np.minimum(image, SATURATION_E).astype(np.float32), struck)


def recall_and_precision(found: np.ndarray, wanted: np.ndarray) -> tuple[float, float]:
    """Which part of what is wanted was found, and which part of what was found is wanted."""
    both = np.count_nonzero(found & wanted)
    return both / max(1, np.count_nonzero(wanted)), both / max(1, np.count_nonzero(found))
