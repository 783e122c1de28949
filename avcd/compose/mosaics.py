"""Mosaics: many fields on one grid, their backgrounds matched, their seams gone; and whether the result is sound."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np

from avcd.compiling import threads
from avcd.compose.coadding import Strip, coadd
from avcd.compose.grids import Grid
from avcd.compose.layers import MAD_TO_SIGMA, Layer, measure_image
from avcd.compose.mapping import PixelMap, Registration
from avcd.compose.matching import Matched, match_backgrounds
from avcd.compose.resampling import Way
from avcd.errors import ProcessingError

_Finished = TypeVar("_Finished")
MOST_HOLES = 0.01
LARGEST_RANGE = 1e6
_SAMPLED = 400_000  # pixels of a mosaic, from which its level and noise are known


@dataclass(frozen=True)
class Tile:
    """One image of a mosaic: ``data``, ``mask``, ``uncertainty`` (ny, nx), where it lies, and how its values are scaled.

    The planes may be mapped from files; ``weight`` stands beside that of its noise.
    """

    data: Any
    mask: Any
    uncertainty: Any
    registration: Registration
    scale: float = 1.0
    weight: float = 1.0


@dataclass(frozen=True)
class Mosaic:
    """A mosaic that is ready to be read: its grid, its matched layers, and the strips that they come to."""

    grid: Grid
    matched: Matched
    way: Way
    memory_bytes: int

    def strips(self, finish: Callable[[Strip], _Finished]) -> Iterator[_Finished]:
        """What becomes of the strips, from the first row to the last; made a few ahead of being asked for."""
        return coadd(self.matched.layers, self.grid.shape, self.way, self.memory_bytes, finish)


def plan_mosaic(tiles: Sequence[Tile], grid: Grid, params: Mapping[str, Any], memory_bytes: int) -> Mosaic:
    """Measure the tiles, find their places, match their backgrounds.

    Parameters
    ----------
    tiles
        In any order that does not depend on chance.
    grid
        Of the mosaic.
    params
        Of the recipe: ``interpolation``, ``match`` (of `avcd.compose.matching.ORDERS`), ``feather_px``, ``weighted``.
    memory_bytes
        What strips may use.

    Raises
    ------
    ProcessingError
        No tile lies on the grid, or a parameter has no meaning.
    """
    area = sum(float(one.data.shape[0]) * one.data.shape[1] for one in tiles)
    way = Way.of(params["interpolation"], area, float(params["feather_px"]))
    with ThreadPoolExecutor(threads()) as pool:
        layers = [one for one in pool.map(lambda tile: _layer(tile, grid), tiles) if not one.pixels.is_empty]
    if not layers:
        raise ProcessingError("none of the images lies on the grid; leave --grid out, and one is made for them")
    matched = match_backgrounds(_weighted(layers) if params["weighted"] else layers, params["match"], way)
    return Mosaic(grid, matched, way, memory_bytes)


def _layer(tile: Tile, grid: Grid) -> Layer:
    pixels = PixelMap.of(tile.registration, grid.shape, tile.data.shape)
    noise, edges = measure_image(tile.data, tile.mask)
    return Layer(tile.data, tile.mask, tile.uncertainty, pixels, tile.scale, noise, tile.weight, edges=edges)


def _weighted(layers: Sequence[Layer]) -> list[Layer]:
    """Layers with weights by the inverse variance of what they add to a pixel; the quietest has its own."""
    noises = np.array([one.noise * abs(one.scale) * one.pixels.scale**2 for one in layers])
    known = noises > 0
    # An image without any noise (made, not taken) is worth as much as the others.
    noises = np.where(known, noises, np.median(noises[known]) if known.any() else 1.0)
    return [
        replace(one, weight=one.weight * float((noises.min() / noise) ** 2))
        for one, noise in zip(layers, noises, strict=True)
    ]


@dataclass(frozen=True)
class StripFigures:
    """What is counted of a strip: its pixels, those without value, those of them between others of their row, its extremes, a sample."""

    pixels: int
    empty: int
    holes: int
    lowest: float
    highest: float
    layers: int
    sample: np.ndarray

    @classmethod
    def of(cls, strip: Strip, pixels: int) -> StripFigures:
        """Of a strip of a mosaic of so many pixels."""
        seen = strip.coverage > 0
        number = int(np.count_nonzero(seen))
        lit = seen.any(axis=1)
        first, last = seen.argmax(axis=1), seen.shape[1] - 1 - seen[:, ::-1].argmax(axis=1)
        within = int((last - first + 1)[lit].sum())
        thin = strip.data.ravel()[:: max(1, pixels // _SAMPLED)]
        return cls(
            seen.size,
            seen.size - number,
            within - number,
            float(np.fmin.reduce(strip.data, axis=None)) if number else np.inf,
            float(np.fmax.reduce(strip.data, axis=None)) if number else -np.inf,
            int(strip.coverage.sum(dtype=np.int64)),
            thin[np.isfinite(thin)],
        )


@dataclass
class Soundness:
    """What was counted of a mosaic's strips, and what it comes to."""

    pixels: int = 0
    empty: int = 0
    holes: int = 0
    lowest: float = np.inf
    highest: float = -np.inf
    layers: int = 0
    _sample: list[np.ndarray] = field(default_factory=list)

    def add(self, one: StripFigures) -> None:
        """Count a strip."""
        self.pixels += one.pixels
        self.empty += one.empty
        self.holes += one.holes
        self.layers += one.layers
        self.lowest, self.highest = min(self.lowest, one.lowest), max(self.highest, one.highest)
        self._sample.append(one.sample)

    def metrics(self) -> dict[str, float]:
        """Figures of the whole: what is empty, what of the inside is, background and noise, range over the noise."""
        values = np.concatenate(self._sample) if self._sample else np.zeros(0, np.float32)
        level = float(np.median(values)) if values.size else 0.0
        noise = MAD_TO_SIGMA * float(np.median(np.abs(values - level))) if values.size else 0.0
        covered = self.pixels - self.empty
        return {
            "empty_fraction": self.empty / max(self.pixels, 1),
            "hole_fraction": self.holes / max(covered + self.holes, 1),
            "background": level,
            "noise": noise,
            "dynamic_range": self._range(noise),
            "mean_coverage": self.layers / max(covered, 1),
        }

    def _range(self, noise: float) -> float:
        """The largest value over the smallest; of an image whose background is about nothing, over its noise."""
        if not self.highest > self.lowest:
            return 1.0
        least = self.lowest if self.lowest > 0 else noise
        return self.highest / least if least > 0 else float("nan")

    def warnings(self) -> list[str]:
        """What a person should know."""
        found = self.metrics()
        said = []
        if not self.pixels > self.empty:
            said.append("no pixel has a value")
        if found["hole_fraction"] > MOST_HOLES:
            said.append(
                f"{found['hole_fraction']:.1%} of the area inside is without a value: the fields leave gaps, or are masked there"
            )
        if found["dynamic_range"] >= LARGEST_RANGE:
            said.append(
                f"the brightest pixel is {found['dynamic_range']:.2g} times the faintest: look for pixels that are no light"
            )
        return said
