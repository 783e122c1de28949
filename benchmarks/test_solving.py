"""Plate solving: simulated fields over the whole sky, what must not be solved, and pixels to world coordinates.

Run by ``make bench``; 40 fields and 80 hard cases, with BENCH=full 200 and 1,000. Stars are the catalogue's moved by 26
years, with errors of their own, some lost, others that it lacks; a third of every list is no star at all
(``tests/sky/skies.py``). Frames of 2048² pixels go beside solve-field in the same run, where it is installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections import defaultdict

import numpy as np
import pytest
from astropy.coordinates import angular_separation
from astropy.io import fits
from astropy.wcs import WCS
from pictures import picture
from scenes import world
from skies import REFERENCE, draw_field, draw_hard, offset

from avcd.sky.detection import detect_sources
from avcd.sky.solving import Hint, solve_field
from avcd.stages.science import delivered_world

FULL = os.environ.get("BENCH") == "full"
FIELDS, HARD, FRAMES = (200, 1000, 12) if FULL else (40, 80, 4)
WRONG = 0.02  # of the frame's side: further off anywhere, a solution is wrong


def test_fields_over_the_whole_sky():
    rows = []
    for seed in range(FIELDS):
        field = draw_field(seed)
        start = time.process_time()
        found = solve_field(field.sources, field.camera.shape, field.hint, REFERENCE)
        seconds = time.process_time() - start
        error = field.error_px(found.wcs) if found.wcs is not None else None
        rms = found.rms_arcsec / field.camera.scale_arcsec if found.wcs is not None else np.nan
        rows.append((field.reference_stars, field.camera, error, rms, seconds))
    print(f"\n{FIELDS} fields of 0.4 to 3 degrees, pointing up to 1.5 fields and scale up to 10 % off, 30 % spurious")
    print(
        f"{'reference stars':>16} {'fields':>7} {'solved':>7} {'wrong':>6} {'rms px':>7} {'off px':>7} {'cpu s':>6} {'max':>5}"
    )
    for low, high in ((0, 6), (6, 12), (12, 50), (50, 10**6), (12, 10**6)):
        some = [one for one in rows if low <= one[0] < high]
        solved = [one for one in some if one[2] is not None]
        wrong = sum(one[2].max() > WRONG * max(one[1].shape) for one in solved)
        name = f"{low} to {high - 1}" if high < 10**6 else f"{low} and more"
        seconds = [one[4] for one in some] or [np.nan]
        print(
            f"{name:>16} {len(some):7} {len(solved):7} {wrong:6} {np.median([one[3] for one in solved] or [np.nan]):7.2f} "
            f"{np.median([np.median(one[2]) for one in solved] or [np.nan]):7.2f} {np.median(seconds):6.2f} {max(seconds):5.1f}"
        )
        assert wrong == 0
    enough = [one for one in rows if one[0] >= 12]
    assert sum(one[2] is not None for one in enough) >= 0.97 * len(enough)


def test_what_must_not_be_solved():
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    least: dict[str, float] = defaultdict(lambda: 1.0)
    for seed in range(HARD):
        field = draw_hard(seed)
        found = solve_field(field.sources, field.camera.shape, field.hint, REFERENCE)
        row = counts[field.kind]
        row[0] += 1
        if found.wcs is None:
            least[field.kind] = min(least[field.kind], found.chance or 1.0)
        elif field.error_px(found.wcs).max() > WRONG * max(field.camera.shape):
            row[2] += 1
        else:
            row[1] += 1
    print(f"\n{HARD} cases that are not to be solved, or not wrongly")
    print(f"{'':>16} {'cases':>6} {'solved rightly':>15} {'wrongly':>8} {'nearest to it':>14}")
    for kind, (number, right, wrong) in counts.items():
        print(f"{kind:>16} {number:6} {right:15} {wrong:8} {least[kind]:14.1e}")
    assert sum(one[2] for one in counts.values()) == 0


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    """Frames of 2048² pixels of 0.6 to 1.5 degrees, as files, with their truth."""
    directory = tmp_path_factory.mktemp("frames")
    rng = np.random.default_rng(4)
    made = []
    for number in range(FRAMES):
        ra, dec, width = float(rng.uniform(0, 360)), float(rng.uniform(-70, 70)), float(rng.uniform(0.7, 1.5))
        scale = width * 3600 / 2048
        truth = world(ra, dec, scale, (2048, 2048), float(rng.uniform(0, 6)), int(rng.choice([-1, 1])))
        stars = REFERENCE.cone(ra, dec, 0.75 * width)
        moved = rng.laplace(0, 0.012 * 26 / 3600, (2, len(stars)))
        more = 400
        mag = np.concatenate([stars.mag + rng.normal(0, 0.35, len(stars)), rng.uniform(11.5, 15, more)])
        sky = (
            np.concatenate([stars.ra_deg + moved[0] / np.cos(np.radians(stars.dec_deg)), ra + rng.uniform(-1, 1, more) * width / np.cos(np.radians(dec))]),
            np.concatenate([stars.dec_deg + moved[1], dec + rng.uniform(-1, 1, more) * width]),
            10 ** (-0.4 * (mag - 23.0)),
        )  # fmt: skip
        path = directory / f"{number}.fits"
        fits.PrimaryHDU(picture(truth, sky, (2048, 2048), number)).writeto(path)
        made.append((path, truth, scale, offset(ra, dec, 0.5 * width, float(rng.uniform(0, 6)))))
    return made


def from_pixels(path, scale, place) -> WCS | None:
    data = fits.getdata(path).astype(np.float32)
    return solve_field(detect_sources(data, None), data.shape, Hint(*place, scale * 1.05), REFERENCE).wcs


def by_solve_field(path, scale, place, directory, *options) -> WCS | None:
    command = [
        "solve-field", str(path), "--no-plots", "--overwrite", "--dir", str(directory), "--scale-units", "arcsecperpix",
        "--scale-low", str(scale * 0.9), "--scale-high", str(scale * 1.15), "--ra", str(place[0]), "--dec", str(place[1]),
        "--radius", str(scale * 2048 * 1.5 / 3600), "--cpulimit", "60", *options,
    ]  # fmt: skip
    subprocess.run(command, capture_output=True, check=True)
    solved = directory / path.with_suffix(".wcs").name
    return delivered_world(fits.getheader(solved)) if solved.is_file() else None


def test_pixels_to_world_coordinates(frames, tmp_path):
    from_pixels(frames[0][0], frames[0][2], frames[0][3])  # what is loaded once
    ways = {"avcd": from_pixels}
    if shutil.which("solve-field"):
        ways["solve-field"] = lambda *about: by_solve_field(*about, tmp_path)
        if shutil.which("source-extractor"):
            extractor = ("--use-source-extractor",)
            ways["… --use-source-extractor"] = lambda *about: by_solve_field(*about, tmp_path, *extractor)
    found = {name: [] for name in ways}
    print(f"\n{FRAMES} frames of 2048², from the file to world coordinates, hinted")
    print(f"{'':>26} {'solved':>7} {'wall s':>7} {'cpu s':>7} {'off px':>7} {'scale off':>9}")
    for name, way in ways.items():
        walls, processors = [], []
        for path, _, scale, place in frames:
            for old in tmp_path.iterdir():
                old.unlink()
            start, before = time.perf_counter(), os.times()
            found[name].append(way(path, scale, place))
            walls.append(time.perf_counter() - start)
            # Of this process and of those that it started; other work on the machine counts for little in it.
            processors.append(sum(os.times()[:4]) - sum(before[:4]))
        off = [distance_px(wcs, truth) for wcs, (_, truth, *_) in zip(found[name], frames, strict=True) if wcs]
        scales = [
            scale_of(wcs) / scale_of(truth) - 1 for wcs, (_, truth, *_) in zip(found[name], frames, strict=True) if wcs
        ]
        print(
            f"{name:>26} {len(off):7} {np.median(walls):7.2f} {np.median(processors):7.2f} {np.median(off):7.2f} {np.median(np.abs(scales)):9.1e}"
        )
    for name in list(ways)[1:]:
        both = [(one, other) for one, other in zip(found["avcd"], found[name], strict=True) if one and other]
        apart = [distance_px(one, other) for one, other in both]
        scales = [scale_of(one) / scale_of(other) - 1 for one, other in both]
        print(f"avcd and {name}: centres apart by {max(apart):.2f} px at most, scales by {np.abs(scales).max():.1e}")
    assert all(one is not None for one in found["avcd"])


def distance_px(one: WCS, other: WCS) -> float:
    """Between the centres of a frame by two world coordinates."""
    return float(np.hypot(*(np.array(other.all_world2pix(*one.all_pix2world(1023.5, 1023.5, 0), 0)) - 1023.5)))


def scale_of(wcs: WCS) -> float:
    """Degrees a pixel, over the whole frame: at the reference pixel alone, distortion may stand for scale."""
    ra, dec = wcs.all_pix2world([0, 2047, 1023.5, 1023.5], [1023.5, 1023.5, 0, 2047], 0)
    across, up = (angular_separation(*np.radians([ra[i], dec[i], ra[i + 1], dec[i + 1]])) for i in (0, 2))
    return float(np.degrees(np.sqrt(across * up)) / 2047)
