"""A simulated detector whose every part is known: what it adds, and what the sky sent."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest

from avcd.association import load_rules

RECIPES = Path(__file__).resolve().parents[2] / "config" / "recipes"


@dataclass
class Detector:
    """Bias with column structure, dark current with hot pixels, vignetting, gain, read noise, whole numbers."""

    shape: tuple[int, int] = (120, 130)
    gain: float = 1.6  # e/adu
    read_noise_e: float = 8.0
    bias_adu: float = 1000.0
    dark_e_s: float = 0.8
    hot_pixels: tuple[tuple[int, int], ...] = ((10, 20), (50, 60), (100, 5))
    hot_e_s: float = 150.0
    seed: int = 1
    rng: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)

    @cached_property
    def bias(self) -> np.ndarray:
        return self.bias_adu + np.random.default_rng(99).normal(0, 3, self.shape[1])[None, :] * np.ones(self.shape)

    @cached_property
    def dark(self) -> np.ndarray:
        """e/s"""
        rate = np.full(self.shape, self.dark_e_s)
        for y, x in self.hot_pixels:
            rate[y, x] = self.hot_e_s
        return rate

    @cached_property
    def response(self) -> np.ndarray:
        """Vignetting and pixel-to-pixel response; its median is one."""
        y, x = np.indices(self.shape, dtype=float)
        radius2 = ((y / self.shape[0] - 0.5) ** 2 + (x / self.shape[1] - 0.5) ** 2) * 2
        response = (1 - 0.3 * radius2) * np.random.default_rng(98).normal(1, 0.01, self.shape)
        return response / np.median(response)

    def expose(self, seconds: float, light_e: np.ndarray | float = 0.0) -> np.ndarray:
        """A raw frame, adu, whole numbers as float32; ``light_e`` is what falls on the detector in all."""
        electrons = self.rng.poisson(self.dark * seconds + self.response * light_e)
        read = self.rng.normal(0, self.read_noise_e, self.shape)
        adu = self.bias + (electrons + read) / self.gain
        return np.clip(np.rint(adu), 0, 65535).astype(np.float32)


@pytest.fixture
def detector() -> Detector:
    return Detector()


@pytest.fixture
def make_detector() -> type[Detector]:
    return Detector


@pytest.fixture(scope="session")
def parameters() -> dict[str, dict]:
    """The parameters of the shipped recipes by kind, with those that come from the rules."""
    recipes = (tomllib.loads(path.read_text(encoding="utf-8")) for path in RECIPES.glob("*.toml"))
    found = {recipe["kind"]: recipe.get("parameters", {}) for recipe in recipes}
    levels = load_rules().default.flat
    found["master_flat"] |= {"lowest_level": levels.lowest_level, "highest_level": levels.highest_level}
    return found
