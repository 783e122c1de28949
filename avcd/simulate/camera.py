"""A detector with everything that calibration is for: bias, dark current, hot pixels, bad columns, vignetting, dust."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

_FULL = 65535


@dataclass(frozen=True)
class Exposure:
    """One simulated exposure: the counts, and where cosmic rays struck."""

    counts: np.ndarray  # uint16 (ny, nx)
    cosmic_rays: np.ndarray  # bool (ny, nx)


@dataclass(frozen=True)
class Camera:
    """A detector. ``seed`` draws what is fixed in it: patterns, hot pixels, dust."""

    ny: int
    nx: int
    seed: int
    gain_e_per_adu: float = 1.4
    read_noise_e: float = 8.0
    bias_adu: float = 1000.0
    dark_e_per_s: float = 0.05
    hot_fraction: float = 5e-4
    bad_columns: int = 2
    cosmic_rays_per_s: float = 0.15

    @property
    def shape(self) -> tuple[int, int]:
        """(ny, nx)."""
        return self.ny, self.nx

    def _random(self, what: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, what])

    @cached_property
    def bias_pattern(self) -> np.ndarray:
        """The bias of each pixel without noise, adu: a level, a slope over the rows, a pattern of columns."""
        random = self._random(1)
        rows = np.linspace(0, 12, self.ny)[:, None]
        return self.bias_adu + rows + random.normal(0, 2.0, self.nx)[None, :]

    @cached_property
    def hot_pixels(self) -> np.ndarray:
        """Where single pixels are hot; bool."""
        return np.asarray(self._random(2).random(self.shape) < self.hot_fraction)

    @cached_property
    def bad_column_numbers(self) -> np.ndarray:
        """Columns with a strong dark current over their whole height."""
        return np.sort(self._random(3).choice(np.arange(10, self.nx - 10), self.bad_columns, replace=False))

    @cached_property
    def dark_rate(self) -> np.ndarray:
        """Dark current of each pixel, electrons a second; with an amplifier's glow in one corner."""
        random = self._random(4)
        rate = self.dark_e_per_s * random.gamma(4.0, 0.25, self.shape)
        y, x = np.mgrid[0 : self.ny, 0 : self.nx]
        rate += 0.1 * np.exp(-np.hypot(y / self.ny, x / self.nx) * 6)
        rate[self.hot_pixels] += random.uniform(8, 60, int(self.hot_pixels.sum()))
        rate[:, self.bad_column_numbers] += 5.0
        return rate

    @cached_property
    def bad_pixels(self) -> np.ndarray:
        """Every pixel that a mask should hold; bool."""
        found = self.hot_pixels.copy()
        found[:, self.bad_column_numbers] = True
        return found

    def response(self, filter_name: str) -> np.ndarray:
        """The flat field of a filter, median near one: vignetting, dust on the filter, pixel-to-pixel scatter."""
        if filter_name not in self._responses:
            self._responses[filter_name] = self._make_response(filter_name)
        return self._responses[filter_name]

    @cached_property
    def _responses(self) -> dict[str, np.ndarray]:
        return {}

    def _make_response(self, filter_name: str) -> np.ndarray:
        y, x = np.mgrid[0 : self.ny, 0 : self.nx]
        radius2 = ((y - self.ny / 2) / self.ny) ** 2 + ((x - self.nx / 2) / self.nx) ** 2
        flat = 1.06 - 0.5 * radius2
        dust = self._random(sum(filter_name.encode()))
        for _ in range(4):
            cy, cx, size = dust.uniform(0, self.ny), dust.uniform(0, self.nx), dust.uniform(0.01, 0.03) * self.nx
            distance = np.hypot(y - cy, x - cx)
            flat *= 1 - 0.12 * np.exp(-0.5 * ((distance - size) / (0.35 * size)) ** 2)
        return np.asarray(flat * self._random(5).normal(1, 0.008, self.shape))

    def expose(
        self,
        light_e: np.ndarray | float,
        exposure_s: float,
        random: np.random.Generator,
        filter_name: str | None = None,
    ) -> Exposure:
        """Read the detector out.

        Parameters
        ----------
        light_e
            Electrons that fall on each pixel in the exposure, before the flat field.
        exposure_s
            For the dark current and the cosmic rays.
        random
            For the noise of this exposure.
        filter_name
            None: the shutter is closed.
        """
        light = np.broadcast_to(light_e, self.shape) * (self.response(filter_name) if filter_name else 0.0)
        electrons = random.poisson(np.clip(light + self.dark_rate * exposure_s, 0, None)).astype(np.float64)
        struck = self._strike(electrons, exposure_s, random)
        electrons += random.normal(0, self.read_noise_e, self.shape)
        counts = np.rint(self.bias_pattern + electrons / self.gain_e_per_adu)
        return Exposure(np.clip(counts, 0, _FULL).astype(np.uint16), struck)

    def _strike(self, electrons: np.ndarray, exposure_s: float, random: np.random.Generator) -> np.ndarray:
        """Cosmic rays: short tracks of a few thousand electrons, added in place."""
        struck = np.zeros(self.shape, bool)
        for _ in range(random.poisson(self.cosmic_rays_per_s * exposure_s * self.ny * self.nx / 1e6)):
            y, x, angle = random.uniform(0, self.ny), random.uniform(0, self.nx), random.uniform(0, np.pi)
            for step in range(int(random.integers(1, 9))):
                row, column = int(y + step * np.sin(angle)), int(x + step * np.cos(angle))
                if 0 <= row < self.ny and 0 <= column < self.nx:
                    electrons[row, column] += random.uniform(1500, 8000)
                    struck[row, column] = True
        return struck
