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


def timed(work: Callable[[], object]) -> tuple[tuple[float, float], object]:
    """The least wall-clock and processor seconds, and the result."""
    walls, processors = [], []
    for _ in range(REPEATS):
        wall, processor = time.perf_counter(), time.process_time()
        result = work()
        walls.append(time.perf_counter() - wall)
        processors.append(time.process_time() - processor)
    return (min(walls), min(processors)), result


def lupton(images: list[np.ndarray]) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):  # where it divides nothing by nothing
        return make_lupton_rgb(*images, minimum=1000, stretch=500, Q=8)


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
    sdss, same = timed(
        lambda: compose_rgb(channels, {**params, "mode": "sdss", "q": 8.0, "lupton_stretch": 500.0, "minimum": "1000"})
    )
    theirs, picture = timed(lambda: lupton([one.data for one in channels]))
    png, _ = timed(lambda: png_bytes(image.rgb))
    pillow, _ = timed(lambda: Image.fromarray(eight_bit(image.rgb)).save(io.BytesIO(), "PNG", compress_level=1))
    tiff, _ = timed(lambda: tiff16_bytes(image.rgb))
    print(f"\n{f'{SIDE}² pixels, three filters':44} wall s   cpu s")
    for name, (wall, processor) in {
        "avcd, balanced (levels, balance, cores)": ours,
        "avcd, sdss": sdss,
        "astropy, make_lupton_rgb": theirs,
        "PNG, avcd": png,
        "PNG, Pillow, its fastest": pillow,
        "TIFF of 16 bits, avcd": tiff,
    }.items():
        print(f"  {name:42} {wall:6.2f} {processor:7.2f}")
    seen = np.all([one.mask == 0 for one in channels], axis=0)
    difference = np.abs(eight_bit(same.rgb)[::-1].astype(int) - picture).max(axis=-1)
    assert difference[seen].max() <= 1  # the two Lupton pictures are one


def test_previews_of_a_frame(channels):
    one = channels[0]
    masked, _ = timed(lambda: preview_pngs(one.data, one.mask, parameters("preview")))
    plain, found = timed(lambda: preview_pngs(one.data, None, parameters("preview")))
    print(f"\n{f'{SIDE}² pixels, previews of {list(found)} px':44} wall s   cpu s")
    print(f"  {'without mask':42} {plain[0]:6.2f} {plain[1]:7.2f}")
    print(f"  {'with mask and dead pixels':42} {masked[0]:6.2f} {masked[1]:7.2f}")
