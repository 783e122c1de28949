"""A night through the daemon, beside a plain script by ccdproc that does the same work in the same run.

Run by ``make bench``: eight frames of 1024² pixels and twelve calibrations; with BENCH=full a hundred of 2048² and sixty,
of which the night with L.A.Cosmic takes astroscrappy some eight minutes. The daemon catalogues, hashes, plans, verifies and
writes mask, uncertainty and provenance of every product; the script reads, reduces and writes.
Sources, solving, pictures and stacks are turned off, or left out of the clock.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from homes import make_home, rows

FULL = os.environ.get("BENCH") == "full"
SIDE = 2048 if FULL else 1024
NIGHTS = (
    {"none": (100, 20), "lacosmic": (100, 20)} if FULL else {"none": (8, 4), "lacosmic": (8, 4)}
)  # lights, of each kind
GAIN, READ_NOISE_E = 1.5, 9.0
RECIPE = """kind = "{kind}"
name = "{kind}"
version = {version}
[parameters]
{parameters}
"""
SCRIPT = Path(__file__).with_name("ccdproc_night.py")


def write_night(directory: Path, lights: int, each: int) -> None:
    """Biases, darks, flats and lights of one camera, all of whose cards the daemon wants."""
    rng = np.random.default_rng(1)
    y, x = np.indices((SIDE, SIDE), dtype=np.float32)
    response = 1 - 0.4 * ((y / SIDE - 0.5) ** 2 + (x / SIDE - 0.5) ** 2)
    dark = np.full((SIDE, SIDE), 20.0, np.float32)
    dark[rng.integers(0, SIDE, SIDE), rng.integers(0, SIDE, SIDE)] = 2400
    noise = [rng.normal(0, READ_NOISE_E / GAIN, (SIDE, SIDE)).astype(np.float32) for _ in range(4)]
    stars = np.zeros((SIDE, SIDE), np.float32)
    for row, column, peak in zip(
        *rng.integers(10, SIDE - 10, (2, SIDE // 4)), 10 ** rng.uniform(2, 4.3, SIDE // 4), strict=True
    ):
        here = np.s_[row - 8 : row + 9, column - 8 : column + 9]
        stars[here] += peak * np.exp(-((y[here] - row) ** 2 + (x[here] - column) ** 2) / 8)
    moment = datetime(2026, 1, 15, 19)
    plan = (
        [("bias", "Bias Frame", 0.0)] * each
        + [("dark", "Dark Frame", 60.0)] * each
        + [("flat", "Flat Field", 3.0)] * each
    )
    for number, (name, kind, seconds) in enumerate([*plan, *[("light", "Light Frame", 60.0)] * lights]):
        light = {
            "bias": 0,
            "dark": dark,
            "flat": response * (24000 + 100 * number),
            "light": response * (300 + stars) + dark,
        }
        read = np.roll(noise[number % 4], (37 * number, 91 * number), (0, 1))
        photons = np.roll(noise[(number + 1) % 4], (53 * number, 17 * number), (0, 1)) / 6
        pixels = 1000 + read + light[name] + photons * np.sqrt(np.maximum(light[name], 0))
        if name == "light":
            for row, column in rng.integers(10, SIDE - 10, (SIDE // 20, 2)):
                pixels[row, column : column + 4] += 2500
        header = fits.Header()
        header.update(
            {"IMAGETYP": kind, "EXPTIME": seconds, "TELESCOP": "T1", "INSTRUME": "cam", "XBINNING": 1, "YBINNING": 1,
             "SET-TEMP": -20.0, "CCD-TEMP": -20.0, "EGAIN": GAIN, "RDNOISE": READ_NOISE_E,
             "DATE-OBS": (moment + timedelta(seconds=70 * number)).isoformat()}
        )  # fmt: skip
        if name in ("flat", "light"):
            header["FILTER"] = "R"
        if name == "light":
            header["OBJECT"] = "M42"
        counts = np.clip(np.rint(pixels), 0, 65535).astype(np.uint16)
        fits.PrimaryHDU(counts, header).writeto(directory / f"{name}-{number:03d}.fits")


def measured(command: list[str]) -> tuple[float, float]:
    """Wall-clock and processor seconds of a process and all that it started."""
    os.sync()  # what was written before is not to be waited for within the clock
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def quiet_home(path: Path, *, cosmic_rays: str):
    """A home that makes masters and reduced frames, and as little else as can be."""
    home = make_home(path, processing={"previews": False, "sources": False, "stacks": False}, workers={"count": 0})
    (home.path / "recipes").mkdir()
    plain = f'cosmic_rays = "{cosmic_rays}"\nsolve = false\nquality = false'
    (home.path / "recipes" / "reduced.toml").write_text(RECIPE.format(kind="reduced", version=3, parameters=plain))
    return home


@pytest.mark.parametrize("cosmic_rays", NIGHTS)
def test_a_night_through_the_daemon(cosmic_rays, tmp_path):
    lights, each = NIGHTS[cosmic_rays]
    home = quiet_home(tmp_path / "home", cosmic_rays=cosmic_rays)
    write_night(home.path / "drop", lights, each)
    warm = quiet_home(tmp_path / "warm", cosmic_rays=cosmic_rays)  # loops are compiled once a machine
    for kind in ("bias", "dark", "flat", "light"):
        for path in sorted((home.path / "drop").glob(f"{kind}-*.fits"))[:3]:
            (warm.path / "drop" / path.name).write_bytes(path.read_bytes())
    measured([sys.executable, "-m", "avcd", "run", "--until-idle", "--home", str(warm.path)])
    wall, processor = measured([sys.executable, "-m", "avcd", "run", "--until-idle", "--home", str(home.path)])
    made = [one for one in rows(home, "products") if one["kind"] == "reduced" and one["status"] == "final"]
    assert len(made) == lights
    out = tmp_path / "script"
    theirs, their_processor = measured([sys.executable, str(SCRIPT), str(home.path / "drop"), str(out), cosmic_rays])
    agree(home, made, out)
    cores = len(os.sched_getaffinity(0))
    print(f"\n{lights} frames of {SIDE}² and {3 * each} calibrations, cosmic rays: {cosmic_rays}")
    print(f"{'':30}{'wall, s':>10}{'cpu, s':>10}{'of the cores':>14}{'x':>8}")
    for name, seconds, busy in (
        ("avcd run --until-idle", wall, processor),
        ("script by ccdproc", theirs, their_processor),
    ):
        print(f"{name:30}{seconds:10.1f}{busy:10.1f}{busy / seconds / cores:14.0%}{theirs / seconds:8.1f}")


def agree(home, made, out: Path) -> None:
    """The pixels of both are the same where neither replaced any."""
    names = {one["id"]: Path(one["path"]).name for one in rows(home, "frames")}
    for one in made[:3]:
        raw = next(ref["id"] for ref in one["inputs"] if ref["role"] == "raw")
        with fits.open(home.archive / one["path"]) as hdus, fits.open(out / names[raw]) as theirs:
            good = hdus["MASK"].data == 0
            difference = np.abs(hdus[0].data - theirs[0].data)[good]
            assert np.quantile(difference, 0.99) < 0.1
