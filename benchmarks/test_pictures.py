"""Colour composites and previews, beside astropy's Lupton picture in the same run.

Run by ``make bench``; frames of 2048² pixels, with BENCH=full of 4096². Ratios count: other work on the machine slows both
sides.
"""

from __future__ import annotations

import io
import os
import time
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.visualization import make_lupton_rgb
from PIL import Image

from avcd.compose.colour import Channel, compose_rgb
from avcd.compose.pictures import eight_bit, png_bytes, tiff16_bytes
from avcd.compose.preview import preview_pngs
from avcd.frame import MaskBit

SIDE = 4096 if os.environ.get("BENCH") == "full" else 2048
RECIPES = Path(__file__).resolve().parents[1] / "config" / "recipes"
REPEATS = 2


def parameters(name: str) -> dict:
    return tomllib.loads((RECIPES / f"{name}.toml").read_text(encoding="utf-8"))["parameters"]


def timed(work: Callable[[], object]) -> tuple[float, object]:
    """The least wall-clock seconds, and the result."""
    walls = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        result = work()
        walls.append(time.perf_counter() - start)
    return min(walls), result


@pytest.fixture(scope="module")
def channels() -> list[Channel]:
    """Three filters of one field: stars of all colours, saturated ones among them, and dead pixels."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[-5:6, -5:6]
    star = np.exp(-(x**2 + y**2) / 4.5).astype(np.float32)
    places = rng.integers(10, SIDE - 10, (SIDE * SIDE // 4000, 2))
    strengths = 10 ** rng.uniform(1.5, 5, len(places))
    dead = rng.random((SIDE, SIDE)) < 1e-4
    found = []
    for name in ("Red", "Green", "Blue"):
        data = rng.normal(1000, 12, (SIDE, SIDE)).astype(np.float32)
        for (row, column), strength in zip(places, strengths * rng.uniform(0.5, 1.5, len(places)), strict=True):
            data[row - 5 : row + 6, column - 5 : column + 6] += np.float32(strength) * star
        mask = np.where(data > 60_000, np.uint16(MaskBit.SATURATED), np.uint16(0))
        mask[dead] |= np.uint16(MaskBit.DEAD)
        found.append(Channel(name, np.minimum(data, 60_000), mask))
    return found


def test_a_composite_of_three_images(channels):
    params = parameters("rgb")
    ours, image = timed(lambda: compose_rgb(channels, params))
    lupton, same = timed(
        lambda: compose_rgb(channels, {**params, "mode": "sdss", "q": 8.0, "lupton_stretch": 500.0, "minimum": "1000"})
    )
    data = [one.data for one in channels]
    theirs, picture = timed(lambda: make_lupton_rgb(*data, minimum=1000, stretch=500, Q=8))
    png, _ = timed(lambda: png_bytes(image.rgb))
    pillow, _ = timed(lambda: Image.fromarray(eight_bit(image.rgb)).save(io.BytesIO(), "PNG", compress_level=1))
    tiff, _ = timed(lambda: tiff16_bytes(image.rgb))
    good = np.all([one.mask == 0 for one in channels], axis=0)[::-1]
    difference = np.abs(eight_bit(same.rgb)[::-1].astype(int) - picture).max(axis=-1)[good[::-1]]
    print(f"\n{SIDE}² pixels, three filters                      s")
    for name, seconds in {
        "avcd, balanced (levels, balance, cores)": ours,
        "avcd, sdss": lupton,
        "astropy, make_lupton_rgb": theirs,
        "PNG, avcd": png,
        "PNG, Pillow, its fastest": pillow,
        "TIFF of 16 bits, avcd": tiff,
    }.items():
        print(f"  {name:42} {seconds:8.2f}")
    assert difference.max() <= 1  # the two Lupton pictures are one


def test_previews_of_a_frame(channels):
    one = channels[0]
    masked, _ = timed(lambda: preview_pngs(one.data, one.mask, parameters("preview")))
    plain, found = timed(lambda: preview_pngs(one.data, None, parameters("preview")))
    print(f"\n{SIDE}² pixels, previews of {', '.join(map(str, found))} px       s")
    print(f"  {'without mask':42} {plain:8.3f}\n  {'with mask and dead pixels':42} {masked:8.3f}")
