"""Mosaics and stacks from files, beside SWarp, Montage and reproject in the same run: time, memory, and what is left at the seams.

Run by ``make bench``; ten overlapping tiles of 512² pixels, with BENCH=full of 2048². SWarp and Montage are Debian's; where they are not
installed, their rows say so. Compilation is done before the clock starts.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from avcd.compose import engines
from avcd.compose.grids import Grid, best_grid
from avcd.compose.mapping import Registration
from avcd.compose.stacking import Stacked, StackInput, stack_images
from avcd.recipes import load_recipes
from avcd.stages.mosaics import MosaicWriter, prepare_mosaic
from avcd.stages.tiles import open_image

SIDE = 2048 if os.environ.get("BENCH") == "full" else 512
NOISE = 10.0
LIMIT = 512 * 2**20
REPEATS = 3
PARAMETERS = {"match": "plane", "feather_px": 50.0, "weighted": True, "scale": "none", "scale_arcsec": 0.0}


def world(dx: float, dy: float, turn_deg: float) -> WCS:
    found = WCS(naxis=2)
    found.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    found.wcs.crval = [150.0 + dx / 3600 / np.cos(np.radians(2)), 2.0 + dy / 3600]
    found.wcs.crpix = [SIDE / 2 + 0.5, SIDE / 2 + 0.5]
    angle = np.radians(turn_deg)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    found.wcs.cd = np.array([[-1.0, 0.0], [0.0, 1.0]]) @ turn / 3600
    found.wcs.set()
    return found


def make_tiles(directory: Path, curve: float) -> list[WCS]:
    """Ten tiles with stars, each with a constant and a planar offset, and a curved one; returns their world coordinates."""
    directory.mkdir()
    rng = np.random.default_rng(4)
    v, u = (np.indices((SIDE, SIDE), dtype=np.float32) + 0.5) / SIDE - 0.5
    first = world(0, 0, 0)
    stars = first.pixel_to_world(*rng.uniform(-2.2 * SIDE, 3.2 * SIDE, (2, 30 * SIDE)))
    flux = 10 ** rng.uniform(3, 5, 30 * SIDE)
    worlds = []
    for number in range(10):
        row, column = divmod(number, 5)
        wcs = world(
            0.85 * SIDE * (column - 2) + rng.uniform(-8, 8), 0.85 * SIDE * (row - 0.5) + rng.uniform(-8, 8),
            rng.uniform(-0.5, 0.5),
        )  # fmt: skip
        a, b, c = rng.uniform(-100, 100), *rng.uniform(-40, 40, 2)
        q = rng.uniform(-curve, curve, 3)
        image = rng.normal(1000, NOISE, (SIDE, SIDE)).astype(np.float32)
        image += (a + b * u + c * v + q[0] * u * u + q[1] * u * v + q[2] * v * v).astype(np.float32)
        x, y = wcs.world_to_pixel(stars)
        inside = (x > 9) & (y > 9) & (x < SIDE - 10) & (y < SIDE - 10)
        rows, columns = np.mgrid[-8:9, -8:9]
        for px, py, light in zip(x[inside], y[inside], flux[inside], strict=True):
            i, j = round(float(px)), round(float(py))
            shape = np.exp(-((columns + i - px) ** 2 + (rows + j - py) ** 2) / 2 / 1.7**2)
            image[j - 8 : j + 9, i - 8 : i + 9] += (light / (2 * np.pi * 1.7**2) * shape).astype(np.float32)
        fits.PrimaryHDU(image, wcs.to_header()).writeto(directory / f"tile{number}.fits")
        worlds.append(wcs)
    return worlds


@pytest.fixture(scope="module")
def fields(tmp_path_factory) -> dict[str, tuple[Path, list[WCS]]]:
    place = tmp_path_factory.mktemp("fields")
    return {
        name: (place / name, make_tiles(place / name, curve)) for name, curve in (("planes", 0.0), ("curved", 30.0))
    }


def by_avcd(directory: Path, out: Path, interpolation: str, match: str = "plane") -> Grid:
    """From files to a written mosaic, all planes of it."""
    paths = sorted(directory.glob("*.fits"))
    images = [open_image(path, "", 0, directory, product=False) for path in paths]
    params = {**PARAMETERS, "interpolation": interpolation, "match": match}
    prepared = prepare_mosaic(images, [path.name for path in paths], ["adu"] * len(paths), None, params, 2 * LIMIT)
    spool = tempfile.TemporaryDirectory(dir=out.parent)
    with out.open("wb") as stream:
        MosaicWriter(prepared, prepared.header, [], params, spool)(stream)
    return prepared.mosaic.grid


def grid_of(worlds: list[WCS]) -> Grid:
    return best_grid([(wcs, (SIDE, SIDE)) for wcs in worlds])


def seam(image: np.ndarray, worlds: list[WCS], grid: Grid) -> float:
    """The root mean square of the steps across the tiles' edges, in units of a pixel's noise, one plane over all taken away."""
    rows, columns = (one.ravel() for one in np.mgrid[0 : image.shape[0] : 16, 0 : image.shape[1] : 16])
    values = image[rows, columns]
    good = np.isfinite(values) & (np.abs(values - np.nanmedian(values)) < 6 * NOISE)
    terms = np.stack([np.ones(good.sum()), columns[good], rows[good]], axis=1)
    plane = np.linalg.lstsq(terms, values[good], rcond=None)[0]
    found = []
    length = SIDE // 5
    for wcs in worlds:
        for side in range(4):
            for part in (0.2, 0.4, 0.6, 0.8):
                levels = []
                for depth in (-24, 24):
                    along, across = part * SIDE, (depth if side < 2 else SIDE - 1 - depth)
                    x, y = grid.wcs.world_to_pixel(
                        wcs.pixel_to_world(*((across, along) if side % 2 else (along, across)))
                    )
                    wide, high = (16, length // 2) if side % 2 else (length // 2, 16)
                    top, left = int(y) - high, int(x) - wide
                    cut = image[max(top, 0) : max(top + 2 * high, 0), max(left, 0) : max(left + 2 * wide, 0)]
                    if cut.size < 0.9 * 4 * wide * high or np.isfinite(cut).mean() < 0.9:
                        break
                    levels.append(clipped(cut) - plane[1] * x - plane[2] * y)
                if len(levels) == 2:
                    found.append(levels[1] - levels[0])
    assert len(found) > 20
    return float(np.sqrt(np.mean(np.square(found))) / NOISE)


def clipped(values: np.ndarray) -> float:
    good = values[np.isfinite(values)]
    for _ in range(4):
        good = good[np.abs(good - np.median(good)) < 2.5 * good.std()]
    return float(good.mean())


def timed(work: Callable[[], object], repeats: int = REPEATS) -> tuple[float, float, object]:
    """The least wall-clock and processor seconds, those of programs that were started included, and the result."""
    found, walls, processors = None, [], []
    for _ in range(repeats):
        wall, processor = time.perf_counter(), sum(os.times()[:4])
        found = work()
        walls.append(time.perf_counter() - wall)
        processors.append(sum(os.times()[:4]) - processor)
    return min(walls), min(processors), found


def test_ten_tiles_from_files_to_a_mosaic(fields, tmp_path):
    print(f"\nmosaic of 10 tiles of {SIDE}², from files to a file with weights; seams in units of a pixel's noise, rms")
    print(f"{'':>34} {'wall s':>8} {'cpu s':>8} {'planes':>8} {'curved':>8}")
    out = tmp_path / "mosaic.fits"
    for name, interpolation, match in (
        ("avcd bilinear, planes", "bilinear", "plane"),
        ("avcd Lanczos-3, planes", "lanczos3", "plane"),
        ("avcd bilinear, curved", "bilinear", "curved"),
    ):
        by_avcd(fields["planes"][0], out, interpolation, match)
        wall, processor, _ = timed(lambda i=interpolation, m=match: by_avcd(fields["planes"][0], out, i, m))
        left = []
        for directory, worlds in fields.values():
            grid = by_avcd(directory, out, interpolation, match)
            left.append(seam(fits.getdata(out), worlds, grid))
        print(f"{name:>34} {wall:8.2f} {processor:8.2f} {left[0]:8.3f} {left[1]:8.3f}")
        assert max(left) < 0.5, "seams stand out of the noise"
    for engine, interpolation in (("swarp", "bilinear"), ("swarp", "lanczos3"), ("montage", "bilinear")):
        name = f"{engine} {interpolation}" if engine == "swarp" else "Montage, planes"
        if not engines.is_installed(engine):
            print(f"{name:>34} not installed")
            continue
        left, costs = [], []
        for directory, worlds in fields.values():
            *cost, (image, grid) = timed(
                lambda d=directory, w=worlds, e=engine, i=interpolation: peer(e, d, w, i, tmp_path), 1
            )
            costs.append(cost)
            left.append(seam(image, worlds, grid))
        print(f"{name:>34} {costs[0][0]:8.2f} {costs[0][1]:8.2f} {left[0]:8.3f} {left[1]:8.3f}")


def peer(
    engine: str, directory: Path, worlds: list[WCS], interpolation: str, tmp_path: Path
) -> tuple[np.ndarray, Grid]:
    grid = grid_of(worlds)
    place = tmp_path / "peer"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    (place / "grid.hdr").write_text(engines.template(grid), encoding="ascii")
    if engine == "swarp":
        return engines.run_swarp(sorted(directory.glob("*.fits")), place, grid, interpolation, match=True)[0], grid
    return engines.run_montage(directory, place, match="plane")[0], grid


MEASURE = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from test_composing import by_avcd
by_avcd(Path(sys.argv[1]), Path(sys.argv[2]), "lanczos3")
print(next(int(one.split()[1]) for one in open("/proc/self/status") if one.startswith("VmHWM")) / 1024)
"""


def test_memory_does_not_grow_with_the_number_of_tiles(fields, tmp_path):
    directory = fields["planes"][0]
    print(f"\npeak memory of a mosaic of tiles of {SIDE}², the program included")
    for copies in (1, 3):
        place = tmp_path / str(copies)
        place.mkdir()
        for path in directory.glob("*.fits"):
            for copy in range(copies):
                (place / f"{copy}-{path.name}").hardlink_to(path)
        done = subprocess.run(
            [sys.executable, "-c", MEASURE, str(place), str(tmp_path / "out.fits"), str(Path(__file__).parent)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        print(f"{10 * copies:>5} tiles: {float(done.stdout):6.0f} MiB")
        assert float(done.stdout) < 1024


def make_frames(directory: Path, number: int) -> list[Path]:
    """Frames with cosmic rays, each shifted and turned a little against the first."""
    rng = np.random.default_rng(2)
    paths = []
    for index in range(number):
        image = rng.normal(1000, NOISE, (SIDE, SIDE)).astype(np.float32)
        image[rng.integers(0, SIDE, 200), rng.integers(0, SIDE, 200)] += 5000
        paths.append(directory / f"frame{index}.fits")
        fits.PrimaryHDU(image).writeto(paths[-1])
    return paths


def stack_by_avcd(paths: list[Path]) -> Stacked:
    """From files to a stack in memory: resampled, clipped, weighted."""
    rng = np.random.default_rng(3)
    params = next(recipe.parameters for kind, recipe in load_recipes().items() if kind == "stack")
    inputs = []
    for number, path in enumerate(paths):
        angle, (dx, dy) = np.radians(rng.uniform(-0.2, 0.2)), rng.uniform(-20, 20, 2)
        matrix = np.array([[np.cos(angle), -np.sin(angle), dx], [np.sin(angle), np.cos(angle), dy]])
        found = Registration("stars" if number else "identity", matrix if number else np.eye(2, 3))
        image = open_image(path, "", 0, path.parent, product=False)
        inputs.append(StackInput(image.data, None, None, 60.0, found))
    return stack_images(inputs, (SIDE, SIDE), params, LIMIT)


STACK = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_composing import stack_by_avcd
stack_by_avcd([Path(one) for one in sys.argv[2:]])
print(next(int(one.split()[1]) for one in open("/proc/self/status") if one.startswith("VmHWM")) / 1024)
"""


def test_a_stack_of_thirty_frames(tmp_path):
    paths = make_frames(tmp_path, 30)
    stack_by_avcd(paths)
    wall, processor, stacked = timed(lambda: stack_by_avcd(paths))
    assert isinstance(stacked, Stacked)
    print(f"\nstack of 30 frames of {SIDE}², from files: resampled, clipped, weighted: {wall:.2f} s (cpu {processor:.2f}); rejected "
          f"{stacked.metrics['rejected_fraction']:.2e}")  # fmt: skip
    assert stacked.data[20:-20, 20:-20].std() < NOISE / 4
    print("peak memory, the program included")
    for copies in (1, 3):
        words = [sys.executable, "-c", STACK, str(Path(__file__).parent), *map(str, paths * copies)]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        print(f"{30 * copies:>5} frames: {float(done.stdout):6.0f} MiB")
        assert float(done.stdout) < 1024
