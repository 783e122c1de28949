"""Masters from files, and cosmic rays, beside ccdproc and astroscrappy in the same run.

Run by ``make bench``; frames of 1024² pixels, with BENCH=full of 4096². Ratios count: other work on the machine slows
both sides. Compilation is done before the clock starts; ``cold`` says what it takes, once a machine.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import astroscrappy
import ccdproc
import numpy as np
import pytest
from astropy.io import fits
from astropy.stats import mad_std
from cosmic_fields import READ_NOISE_E, SATURATION_E, make_field, recall_and_precision
from scipy.ndimage import binary_dilation

from avcd.headers.layout import locate_pixels
from avcd.reduction import combine, lacosmic
from avcd.reduction.combine import FileSource, FrameSource, combine_frames
from avcd.reduction.lacosmic import detect_cosmic_rays

FULL = os.environ.get("BENCH") == "full"
SIDE = 4096 if FULL else 1024
FRAMES = 20
REPEATS = 3
LIMIT_MIB = 1024 if FULL else 256
# Stars, the brightest one's electrons, and cosmic rays of a square of 1024 pixels.
FIELDS = {
    "sparse": (60, 3e5, 100),
    "crowded": (20000, 3e5, 200),
    "saturated": (2500, 3e8, 200),
    "many rays": (200, 1e6, 5000),
}


def timed(work: Callable[[], object], repeats: int = 1) -> tuple[float, float, object]:
    """The least wall-clock and processor seconds, and the result."""
    walls, processors = [], []
    for _ in range(repeats):
        wall, processor = time.perf_counter(), time.process_time()
        result = work()
        walls.append(time.perf_counter() - wall)
        processors.append(time.process_time() - processor)
    return min(walls), min(processors), result


@pytest.fixture(scope="module")
def frames(tmp_path_factory) -> list[Path]:
    directory = tmp_path_factory.mktemp("frames")
    rng = np.random.default_rng(1)
    paths = []
    for number in range(FRAMES):
        pixels = rng.normal(1000, 12, (SIDE, SIDE)).astype(np.float32)
        pixels[rng.integers(0, SIDE, SIDE), rng.integers(0, SIDE, SIDE)] += 20000
        paths.append(directory / f"{number}.fits")
        fits.PrimaryHDU(np.rint(pixels).astype(np.uint16)).writeto(paths[-1])
    return paths


def sources(paths: list[Path]) -> list[FrameSource]:
    places = [(path, locate_pixels(path, 0)) for path in paths]
    return [FileSource(path, one.start, one.shape, one.stored, one.zero) for path, one in places]


def test_a_master_of_twenty_frames_from_files(frames, monkeypatch):
    cold, _, _ = timed(lambda: combine_frames(sources(frames)))
    wall, processor, found = timed(lambda: combine_frames(sources(frames)), REPEATS)
    bare, _, _ = timed(lambda: [path.read_bytes() for path in frames], REPEATS)
    monkeypatch.setattr(combine, "kernels", lambda name: None)
    plain, plain_processor, same = timed(lambda: combine_frames(sources(frames)))
    their_wall, their_processor, theirs = timed(
        lambda: ccdproc.combine(
            [str(path) for path in frames], method="average", unit="adu", mem_limit=350e6, sigma_clip=True,
            sigma_clip_low_thresh=5, sigma_clip_high_thresh=5, sigma_clip_func=np.ma.median, sigma_clip_dev_func=mad_std,
        )
    )  # fmt: skip
    print(f"\nmaster of {FRAMES} frames of {SIDE}², clipped mean with mask, uncertainty and survivors, from files")
    print(f"{'':>24} {'wall s':>8} {'cpu s':>8} {'x ccdproc':>10}")
    for name, one, cpu in (
        ("avcd", wall, processor),
        ("avcd without Numba", plain, plain_processor),
        ("ccdproc", their_wall, their_processor),
    ):
        print(f"{name:>24} {one:8.2f} {cpu:8.2f} {their_wall / one:10.1f}")
    print(f"{'bare read':>24} {bare:8.2f}; first time in this process {cold:.2f}")
    np.testing.assert_allclose(found.data, theirs.data, rtol=2e-7)
    assert found.data.tobytes() == same.data.tobytes()


MEASURE = """
import sys
from pathlib import Path
import avcd.reduction.combine as combine
from avcd.headers.layout import locate_pixels
def peak():  # of this program alone: what getrusage says includes the process it was forked from
    return next(int(one.split()[1]) for one in open("/proc/self/status") if one.startswith("VmHWM")) / 1024
paths = [Path(one) for one in sys.stdin.read().split()]
places = [(path, locate_pixels(path, 0)) for path in paths]
frames = [combine.FileSource(path, one.start, one.shape, one.stored, one.zero) for path, one in places]
limit = int(sys.argv[1]) * 2**20
combine._WORTH_COMPILING = 0
combine.combine_frames([combine.ArraySource(frames[0].rows(0, 8)[0])] * 3)  # what is loaded once
before = peak()
combine.combine_frames(frames, memory_bytes=limit)
print(before, peak())
"""


def test_memory_stays_below_the_limit_however_many_frames(frames, tmp_path):
    print(f"\npeak memory of combining frames of {SIDE}² with a limit of {LIMIT_MIB} MiB")
    for number in (20, 100, 500):
        links = [tmp_path / f"{number}-{one}.fits" for one in range(number)]
        for one, link in enumerate(links):
            link.hardlink_to(frames[one % FRAMES])
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", MEASURE, str(LIMIT_MIB)],
            input="\n".join(map(str, links)), capture_output=True, text=True, check=True,
        )  # fmt: skip
        before, peak = map(float, done.stdout.split())
        print(f"{number:>5} frames: {peak - before:6.0f} MiB beside {before:.0f} MiB of program, "
              f"{time.perf_counter() - start:.1f} s")  # fmt: skip
        assert peak - before < LIMIT_MIB


@pytest.mark.parametrize("kind", FIELDS)
def test_cosmic_rays_of_one_frame(kind, monkeypatch):
    stars, brightest, rays = FIELDS[kind]
    times = (SIDE // 1024) ** 2
    field = make_field((SIDE, SIDE), stars * times, brightest, rays * times)
    nothing = np.zeros(field.image.shape, bool)

    def ours(iterations: int = 4) -> tuple[np.ndarray, np.ndarray]:
        return detect_cosmic_rays(
            field.image, nothing, READ_NOISE_E, SATURATION_E,
            sigma_clip=4.5, sigma_fraction=0.3, object_limit=5.0, iterations=iterations,
        )  # fmt: skip

    ours(1)
    wall, processor, (found, clean) = timed(ours, REPEATS)
    monkeypatch.setattr(lacosmic, "threads", lambda: 1)
    single, _, _ = timed(ours, REPEATS)
    their_wall, their_processor, (wanted, wanted_clean) = timed(
        lambda: astroscrappy.detect_cosmics(
            field.image,
            gain=1.0,
            readnoise=READ_NOISE_E,
            satlevel=SATURATION_E,
            sigclip=4.5,
            sigfrac=0.3,
            objlim=5.0,
            niter=4,
        )
    )
    recall, precision = recall_and_precision(found, wanted)
    true_recall, _ = recall_and_precision(found, field.struck)
    _, true_precision = recall_and_precision(found, binary_dilation(field.struck, np.ones((3, 3), bool)))
    print(f"\nL.A.Cosmic, 4 iterations, {SIDE}², {kind}: {np.count_nonzero(wanted)} pixels flagged")
    print(f"  astroscrappy {their_wall:.2f} s (cpu {their_processor:.2f}), avcd {wall:.2f} s (cpu {processor:.2f}), in one "
          f"thread {single:.2f} s: {their_wall / wall:.1f} x, by cpu {their_processor / processor:.1f} x")  # fmt: skip
    print(f"  against astroscrappy: recall {recall:.4f}, precision {precision:.4f}; "
          f"cleaned pixels that differ: {np.count_nonzero(clean != wanted_clean)}")  # fmt: skip
    print(f"  against the injected rays: recall {true_recall:.3f}, precision {true_precision:.3f}")
    assert min(recall, precision) >= 0.999
