"""How many of the bad pixels that were put into a master dark are found, and how much of what is found is bad."""

from __future__ import annotations

import time
import tomllib
from pathlib import Path

import numpy as np

from avcd.reduction.defects import find_bad_pixels
from avcd.reduction.planes import MaskedImage

RECIPE = Path(__file__).resolve().parents[1] / "config" / "recipes" / "bad_pixel_mask.toml"
SHAPE = (1024, 1024)
SEEDS = 3
_SIGMA = 2.0


def dark(seed: int) -> np.ndarray:
    """A dark with an amplifier's glow in a corner and a scatter of two."""
    y, x = np.indices(SHAPE)
    glow = 60 * np.exp(-(((x - SHAPE[1]) / 200) ** 2) - (y / 150) ** 2)
    return np.asarray(20 + glow + np.random.default_rng(seed).normal(0, _SIGMA, SHAPE), np.float32)


def pixels(strength: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A thousand single pixels that are off by so many sigma."""
    data, truth = dark(seed), np.zeros(SHAPE, bool)
    truth.flat[np.random.default_rng(seed + 100).choice(truth.size, 1000, replace=False)] = True
    return data + np.where(truth, np.float32(strength * _SIGMA), 0), truth


def columns(strength: float, seed: int, width: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Eight runs of columns, so many wide and rows long."""
    rng = np.random.default_rng(seed + 200)
    truth = np.zeros(SHAPE, bool)
    for nth in range(8):
        first = 60 + 120 * nth + int(rng.integers(0, 40))
        start = int(rng.integers(0, SHAPE[0] - rows + 1))
        truth[start : start + rows, first : first + width] = True
    return dark(seed) + np.where(truth, np.float32(strength * _SIGMA), 0), truth


CASES = {
    **{f"single pixels, {strength:+g} sigma": (pixels, (strength,)) for strength in (6, 8, 10, 15, -15)},
    **{
        f"{width} column{'s side by side' if width > 1 else ''}, {strength:+g} sigma": (columns, (strength, width, SHAPE[0]))
        for width, strength in ((1, 0.5), (1, 1), (1, -2), (3, 1), (10, 1), (20, 1))
    },
    **{
        f"{rows} rows of {width} column{'s' if width > 1 else ''}, {strength:+g} sigma": (columns, (strength, width, rows))
        for rows, width, strength in ((40, 1, 2), (100, 1, 1), (100, 1, 2), (500, 1, 0.5), (500, 1, -1), (500, 3, 1))
    },
}  # fmt: skip


def test_completeness_and_purity():
    recipe = tomllib.loads(RECIPE.read_text(encoding="utf-8"))["parameters"]
    print(f"\n| bad pixels put into a dark of {SHAPE[0]} x {SHAPE[1]}, {SEEDS} times | found | of what is found, bad |")
    print("|---|---|---|")
    began, runs = time.perf_counter(), 0
    for name, (make, arguments) in CASES.items():
        hits = found = there = 0
        for seed in range(SEEDS):
            data, truth = make(*arguments[:1], seed, *arguments[1:])
            mask = find_bad_pixels(MaskedImage(data, unit="adu"), recipe).ccd.mask != 0
            hits, found, there = hits + int((mask & truth).sum()), found + int(mask.sum()), there + int(truth.sum())
            runs += 1
        print(f"| {name} | {hits / there:.1%} | {hits / found if found else 1:.1%} |")
        assert hits, name
    print(f"\n{(time.perf_counter() - began) / runs:.2f} s a frame")
