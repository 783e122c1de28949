"""Whole commands on files, from the start of the process to the file in place, beside scripts that use ccdproc.

Run by ``make bench``; frames of 1024² pixels, with BENCH=full of 4096². Ratios count: other work on the machine slows both
sides. What is done once on a machine, compilation, is done before the clock starts.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import astropy.units as u
import ccdproc
import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import CCDData

from avcd.cli.processing import start_session
from avcd.products import read_image_product
from avcd.reduction.calibrate import Detector, Masters, reduce_frame
from avcd.reduction.planes import MaskedImage
from avcd.stages import HeldMasters
from avcd.standalone.outputs import run_task
from avcd.standalone.reducing import Calibrations, ReduceOptions, plan_reduction

FULL = os.environ.get("BENCH") == "full"
SIDE = 4096 if FULL else 1024
FRAMES = 20
REPEATS = 5
GAIN, READ_NOISE_E = 1.5, 9.0
MEMORY = Path("/dev/shm")

CCDPROC = """
import sys
import ccdproc
import numpy as np
from astropy.stats import mad_std
ccdproc.combine(sys.argv[2:], sys.argv[1], method="average", unit="adu", mem_limit=350e6, sigma_clip=True,
    sigma_clip_low_thresh=5, sigma_clip_high_thresh=5, sigma_clip_func=np.ma.median, sigma_clip_dev_func=mad_std,
    overwrite_output=True)
"""


def write(path: Path, rng: np.random.Generator, kind: str, level: float, seconds: float) -> Path:
    pixels = rng.normal(level, 12, (SIDE, SIDE)).astype(np.float32)
    pixels[rng.integers(0, SIDE, SIDE), rng.integers(0, SIDE, SIDE)] += 20000
    header = fits.Header({"IMAGETYP": kind, "EXPTIME": seconds, "TELESCOP": "T1", "INSTRUME": "cam", "XBINNING": 1,
                          "YBINNING": 1, "CCD-TEMP": -20.0, "EGAIN": GAIN, "RDNOISE": READ_NOISE_E})  # fmt: skip
    if kind not in ("Bias Frame", "Dark Frame"):
        header["FILTER"] = "R"
    fits.PrimaryHDU(np.rint(np.clip(pixels, 0, 65535)).astype(np.uint16), header).writeto(path)
    return path


@pytest.fixture(scope="module")
def night(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("night")
    rng = np.random.default_rng(1)
    for number in range(FRAMES):
        write(directory / f"bias-{number:02}.fits", rng, "Bias Frame", 1000, 0)
    for number in range(3):
        write(directory / f"dark-{number}.fits", rng, "Dark Frame", 1050, 60)
        write(directory / f"flat-{number}.fits", rng, "Flat Field", 25000, 3)
        write(directory / f"light-{number}.fits", rng, "Light Frame", 2000, 60)
    return directory


def avcd(*words: object) -> None:
    # Installed packages have their bytecode; that of a working copy is to be kept, too.
    kept = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    subprocess.run([sys.executable, "-m", "avcd", *map(str, words)], check=True, capture_output=True, env=kept)


def least(work: Callable[[], object], repeats: int) -> float:
    """The least wall-clock seconds."""
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return min(found)


def test_a_master_from_the_command_line(night):
    biases = sorted(night.glob("bias-*.fits"))
    ours, theirs = night / "bias.fits", night / "ccdproc.fits"
    command = ("combine", *biases, "-t", "bias", "-o", ours, "--force")
    first = least(lambda: avcd(*command), 1)
    again = least(lambda: avcd(*command), 3)
    script = [sys.executable, "-W", "ignore", "-c", CCDPROC, str(theirs), *map(str, biases)]
    peer = least(lambda: subprocess.run(script, check=True, capture_output=True), 1)
    there = least(lambda: avcd(*command[:-1]), 2)
    print(f"\navcd combine of {FRAMES} frames of {SIDE}², start of the process and writing included")
    for name, seconds in (("avcd, the first time", first), ("avcd", again), ("ccdproc, a script", peer),
                          ("avcd, where it is there already", there)):  # fmt: skip
        print(f"{name:>34} {seconds:8.2f} s {peer / seconds:8.1f} x")
    np.testing.assert_allclose(fits.getdata(ours), fits.getdata(theirs), rtol=2e-7)


def test_a_frame_reduced_in_a_process_that_is_warm(night):
    if not (night / "bias.fits").exists():
        avcd("combine", *sorted(night.glob("bias-*.fits")), "-t", "bias", "-o", night / "bias.fits")
    for kind in ("dark", "flat"):
        raw = sorted(night.glob(f"{kind}-?.fits"))
        avcd("combine", *raw, "-t", kind, "--bias", night / "bias.fits", "-o", night / f"{kind}.fits")
    session = start_session(force=True)
    bias, dark, flat = (session.open_one("-", night / f"{name}.fits") for name in ("bias", "dark", "flat"))
    calibrations = Calibrations(bias, dark, (flat,), None, HeldMasters(2**30))
    options = ReduceOptions(cosmic_rays=False)
    out = night / "reduced.fits"

    def whole(light: Path, out: Path) -> float:
        out.unlink(missing_ok=True)  # what an older file takes to go is not counted
        start = time.perf_counter()
        file = session.open_all([light])[0]
        run_task(plan_reduction(file, out, options, calibrations)[0], force=True)
        return time.perf_counter() - start

    first = whole(night / "light-0.fits", out)
    command = min(whole(night / "light-0.fits", out) for _ in range(REPEATS))
    in_memory = None
    if MEMORY.is_dir():
        with tempfile.TemporaryDirectory(dir=MEMORY) as directory:
            light = Path(directory) / "light.fits"
            light.write_bytes((night / "light-0.fits").read_bytes())
            in_memory = min(whole(light, light.with_name("reduced.fits")) for _ in range(REPEATS))
    loaded = {name: read_image_product(night / f"{name}.fits").to_image() for name in ("bias", "dark", "flat")}
    file = session.open_all([night / "light-0.fits"])[0]
    raw = file.read()
    parameters = {"full_well_fraction": 0.95, "repair": "none", "cosmic_rays": "none", "background": "none"}
    masters = Masters(loaded["bias"], loaded["dark"], 60.0, False, True, loaded["flat"])
    detector = Detector(GAIN, READ_NOISE_E, None, 65535.0)
    reduce_frame(raw, masters, detector, 60.0, parameters)
    arithmetic = least(lambda: reduce_frame(raw, masters, detector, 60.0, parameters), REPEATS)
    task, _ = plan_reduction(file, out, options, calibrations)
    writer, _ = task.make()

    def write_it() -> None:
        with out.open("wb") as stream:
            writer(stream)

    writing = least(write_it, REPEATS)
    peer = least(lambda: by_ccdproc(raw, loaded), 3)
    print(f"\none frame of {SIDE}², bias, dark and flat, mask and uncertainty; masters in memory")
    for name, seconds in (("ccdproc: arithmetic alone", peer), ("avcd: arithmetic, residues measured", arithmetic),
                          ("avcd: writing, sums included", writing),
                          ("avcd reduce: file to file, synced and read back", command),
                          ("the same in a file system in memory", in_memory),
                          ("avcd reduce: the first frame", first)):  # fmt: skip
        if seconds is not None:
            print(f"{name:>48} {seconds:7.3f} s {peer / seconds:6.1f} x")
    found = read_image_product(out)
    wanted = by_ccdproc(raw, loaded)
    good = found.mask == 0
    np.testing.assert_allclose(found.data[good], wanted.data[good], rtol=2e-5, atol=0.02)


def by_ccdproc(raw: MaskedImage, masters: dict[str, MaskedImage]) -> CCDData:
    plain = {name: one.to_ccddata() for name, one in masters.items()}
    data = CCDData(raw.data, unit=u.adu)
    frame = ccdproc.create_deviation(
        ccdproc.subtract_bias(data, plain["bias"]), gain=GAIN * u.electron / u.adu, readnoise=READ_NOISE_E * u.electron,
        disregard_nan=True,
    )  # fmt: skip
    seconds = 60 * u.s
    frame = ccdproc.subtract_dark(frame, plain["dark"], dark_exposure=seconds, data_exposure=seconds, exposure_unit=u.s)
    frame = ccdproc.flat_correct(frame, plain["flat"], norm_value=1.0)
    return ccdproc.gain_correct(frame, GAIN * u.electron / u.adu)
