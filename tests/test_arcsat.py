"""A real night, copied file by file into a drop directory while the daemon is watching."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
import time
from pathlib import Path

import ccdproc
import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import CCDData

from avcd.acceptance import Limits, unacceptable
from cli_calls import Call
from homes import make_home, rows, run_until_idle, start_daemon

FILTERS = ("H-Alpha", "g", "r", "z")
pytestmark = pytest.mark.shared


@pytest.fixture(scope="module")
def night(tmp_path_factory, shared_data):
    """The home after the night: fed while `avcd run` was watching, then run until idle to close what is open."""
    home = make_home(tmp_path_factory.mktemp("arcsat"))
    daemon = start_daemon(home)
    try:
        for path in sorted((shared_data / "arcsat-2025-06-01").glob("*.fits")):
            shutil.copyfile(path, home.path / "drop" / path.name)
        watched = wait_for(daemon, lambda: len(rows(home, "frames")) == 26)
    finally:
        daemon.send_signal(signal.SIGTERM)
        _, said = daemon.communicate(timeout=60)
    assert watched, said
    assert daemon.returncode == 0, said
    code, said = run_until_idle(home)
    assert code == 0, said
    return home


def wait_for(process, condition, timeout_s: float = 60) -> bool:
    """Look again and again, while a process runs, for a condition that it brings about."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end and process.poll() is None:
        if condition():
            return True
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.2)
    return False


def products(home, kind: str) -> list[dict]:
    return [one for one in rows(home, "products") if one["kind"] == kind]


def test_the_masters_are_those_of_the_night(night):
    assert len(products(night, "master_bias")) == 1
    assert [one["exposure_s"] for one in products(night, "master_dark")] == [10.0]
    assert sorted(one["filter"] for one in products(night, "master_flat")) == sorted(FILTERS)
    for flat in products(night, "master_flat"):
        # Flats of 14 to 356 s have no dark of their exposure: the bias alone.
        assert {one["role"] for one in flat["inputs"]} == {"raw", "bias"}


def test_each_frame_is_calibrated_with_exactly_its_masters(night):
    reduced = products(night, "reduced")
    assert sorted(one["filter"] for one in reduced) == sorted(FILTERS)
    masters = {one["id"]: one for one in rows(night, "products") if one["kind"].startswith("master")}
    for one in reduced:
        used = {ref["role"]: masters.get(ref["id"]) for ref in one["inputs"] if ref["role"] != "raw"}
        assert set(used) == {"bias", "dark", "flat", "bad_pixels"}
        assert used["flat"]["filter"] == one["filter"]
        assert one["status"] == "final"


def test_the_pixels_agree_with_ccdproc_applied_by_hand(night, shared_data):
    source = shared_data / "arcsat-2025-06-01"

    def read(path: Path) -> CCDData:
        return CCDData(fits.getdata(path).astype(np.float64), unit="adu")

    def combined(frames, step=1.0):
        def deviation(a, axis=None):
            # Half of the step between two whole numbers is the least scatter that counted values can have.
            mad = np.ma.median(np.ma.abs(a - np.ma.median(a, axis=axis, keepdims=True)), axis=axis)
            return np.ma.maximum(1.4826 * mad, step / 2)

        return ccdproc.combine(
            frames, method="average", sigma_clip=True, sigma_clip_low_thresh=5, sigma_clip_high_thresh=5,
            sigma_clip_func=np.ma.median, sigma_clip_dev_func=deviation)  # fmt: skip

    bias = combined([read(path) for path in sorted(source.glob("Bias*"))])
    dark = combined([ccdproc.subtract_bias(read(path), bias) for path in sorted(source.glob("Dark*"))])
    for name in FILTERS:
        flats = [ccdproc.subtract_bias(read(path), bias) for path in sorted(source.glob(f"domeflat_{name}_*"))]
        level = np.median([np.median(one.data) for one in flats])
        # ccdproc scales after it has clipped: frames of different brightness are scaled here before.
        flat = combined([CCDData(one.data / np.median(one.data), unit="adu") for one in flats], step=1 / level)
        light = ccdproc.subtract_bias(read(next(source.glob(f"Cats_Eye_Nebula_{name}_*"))), bias)
        light = light.data - dark.data
        expected = light / (flat.data / np.median(flat.data))
        one = next(one for one in products(night, "reduced") if one["filter"] == name)
        with fits.open(night.archive / one["path"]) as found:
            good = found["MASK"].data == 0
            assert found[0].header["BUNIT"] == "adu"  # GAIN is not recorded
            difference = np.abs(found[0].data - expected)[good]
            assert good.mean() > 0.97
            assert np.quantile(difference, 0.999) < 5e-6 * np.quantile(expected, 0.9999)
            # Values at the very limit of clipping fall to one side or the other by rounding: most where there are three
            # flats alone, six pixels in ten thousand of H-Alpha, by a fiftieth of a count.
            assert np.quantile(difference, 0.9999) < 1e-5 * np.quantile(expected, 0.9999) + 0.02


def test_narrow_fields_with_few_stars_are_refused_honestly(night):
    for one in products(night, "reduced"):
        assert one["wcs"] in ("refused", "none")
        assert one["metrics"]["astrometry_reason"]


def test_its_masters_may_serve_and_leave_nothing_in_its_frames(night):
    masters = [one for one in rows(night, "products") if one["kind"].startswith("master")]
    for one in masters:
        assert unacceptable(one["kind"], one["metrics"], None, Limits()) == ()
        assert one["metrics"]["noise"] == pytest.approx(one["metrics"]["expected_noise"], rel=0.1)
        assert not one["warnings"]  # all flats between 20 and 80 % of the full well
    for one in products(night, "reduced"):
        assert one["metrics"]["hot_residue_px"] > 500
        assert abs(one["metrics"]["hot_residue"]) < 0.05
        # The sky of ten seconds stands twice its noise above a bias that slopes by more: no flat is blamed for it.
        assert not any("the sky rises" in text or "hot pixels" in text for text in one["warnings"])


def test_there_are_previews_and_a_colour_composite(night):
    assert len(products(night, "preview")) == 26 + 6 + 4 + 4 + 1 + 1  # and bad pixels, colour
    rgb = products(night, "rgb")
    assert len(rgb) == 1
    picture = night.archive / rgb[0]["path"]
    assert picture.read_bytes()[:4] == b"\x89PNG"
    assert picture.with_suffix(".tiff").exists()
    assert json.loads(picture.with_suffix(".json").read_text())["assignment"]["red"] == "z+H-Alpha"


def test_commands_on_files_make_the_daemons_very_products(night, shared_data, tmp_path, monkeypatch, capsys):
    source = shared_data / "arcsat-2025-06-01"
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AVCD_HOME", raising=False)
    call = Call(capsys)

    def combine(kind: str, pattern: str, *words: str) -> str:
        name = f"{kind}.fits"
        assert call("combine", *sorted(source.glob(pattern)), "--type", kind, *words, "-o", name).code == 0
        return name

    bias = combine("bias", "Bias*")
    dark = combine("dark", "Dark*", "--bias", bias)
    flat = combine("flat", "domeflat_g_*", "--bias", bias)
    bad = night.archive / products(night, "bad_pixel_mask")[0]["path"]
    light = next(source.glob("Cats_Eye_Nebula_g_*"))
    said = call("reduce", light, "--bias", bias, "--dark", dark, "--flat", flat, "--bad-pixels", bad, "--solve",
                "-o", "reduced.fits")  # fmt: skip
    assert said.code == 0, said.err
    theirs = {one["id"]: night.archive / one["path"] for one in rows(night, "products")}
    for name in (bias, dark, flat, "reduced.fits"):
        with fits.open(name) as mine, fits.open(theirs[fits.getval(name, "AVCDID")]) as its:
            for plane in ("SCI", "MASK", "UNCERT"):
                np.testing.assert_array_equal(mine[plane].data, its[plane].data)
            assert repr(mine[0].header) == repr(its[0].header)


def test_a_second_run_does_no_work(night):
    before = {one["id"]: one for one in rows(night, "jobs")}
    code, said = run_until_idle(night)
    assert code == 0, said
    assert {one["id"]: one for one in rows(night, "jobs")} == before
