"""A night whose truth is known, from the drop directory to the pictures: what comes out is what was put in."""

from __future__ import annotations

import json
import shutil
import signal
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tifffile
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from scipy.spatial import cKDTree

from avcd.frame import MaskBit
from cli_calls import Call
from homes import archive_content, make_home, rows, run_until_idle, start_daemon, tree
from nights import small_night

FILTERS = ("Blue", "Green", "Red")


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    """A home with a processed night, and what was delivered."""
    home = make_home(tmp_path_factory.mktemp("night"), compat={"style": "itelescope"})
    made, delivery = small_night(home.path / "drop", home.path / "truth")
    before = tree(home.path / "drop")
    code, said = run_until_idle(home)
    assert code == 0, said
    assert tree(home.path / "drop") == before, "a drop directory was written to"
    return home, made, delivery


def products(home, kind: str) -> list[dict]:
    return [one for one in rows(home, "products") if one["kind"] == kind]


def test_every_reduced_frame_has_the_name_of_another_program_too(night):
    home, _, _ = night
    named = [one for one in home.compat_path.rglob("*") if one.is_file() and one.suffix == ".fits"]
    ours = products(home, "reduced")
    assert len(named) == len(ours) > 0
    archived = {(home.archive / one["path"]).stat().st_ino for one in ours}
    assert {one.stat().st_ino for one in named} == archived
    assert all(one.name.startswith("cal-") for one in named)


def truth_of(home, product: dict) -> tuple[dict, dict]:
    """The truth about a reduced frame, and about its camera."""
    raw = next(one["id"] for one in product["inputs"] if one["role"] == "raw")
    frame = next(one for one in rows(home, "frames") if one["id"] == raw)
    name = Path(frame["path"]).name.removesuffix(".zip")
    camera = "ASTEP" if frame["telescope"] == "ASTEP" else "T20"
    with np.load(home.path / "truth" / f"{name}.npz") as own, np.load(home.path / "truth" / f"{camera}.npz") as common:
        return {key: own[key] for key in own}, {key: common[key] for key in common}


def test_every_frame_is_catalogued_once_and_every_broken_file_with_its_reason(night):
    home, made, delivery = night
    frames = rows(home, "frames")
    assert Counter(one["image_type"] for one in frames) == Counter({"bias": 6, "dark": 9, "flat": 12, "science": 14})
    assert len(frames) == len(made.frames)
    unreadable = {Path(one["path"]).name: one["reason"] for one in rows(home, "files") if one["status"] == "unreadable"}
    assert set(unreadable) == {delivery.corrupt_zip.name, delivery.truncated.name}
    assert all(unreadable.values())


def test_what_comes_loose_and_zipped_is_one_frame_with_two_files(night):
    home, _, delivery = night
    zipped = {path.name.removesuffix(".zip") for path in delivery.files if path.name.endswith(".fit.zip")}
    twice = zipped & {path.name for path in delivery.files}
    assert twice
    held = Counter(frame for one in rows(home, "files") for frame in one["frames"])
    assert sum(number == 2 for number in held.values()) == len(twice)


def test_everything_that_should_be_made_is_made(night):
    home, *_ = night
    made = Counter(one["kind"] for one in rows(home, "products") if one["status"] == "final")
    assert made["reduced"] == made["sources"] == 14
    assert made["master_bias"] == 2
    assert made["master_dark"] == 3
    assert made["master_flat"] == 4
    assert made["stack"] == 7
    assert made["rgb"] == 2
    assert {one["state"] for one in rows(home, "jobs")} == {"done"}
    for one in products(home, "rgb"):
        path = home.archive / one["path"]
        assert path.read_bytes().startswith(b"\x89PNG")
        deep = tifffile.imread(path.with_suffix(".tiff"))
        assert deep.shape == (320, 320, 3)
        assert deep.dtype == np.uint16


def test_every_frame_is_solved_to_a_fraction_of_a_pixel(night):
    home, *_ = night
    for one in products(home, "reduced"):
        truth, _ = truth_of(home, one)
        assert one["wcs"] == "solved"
        with fits.open(home.archive / one["path"]) as opened:
            found, shape = WCS(opened[0].header), opened[0].data.shape
            assert opened[0].header["CRVAL1"] == pytest.approx(one["s_ra"], abs=0.001)
        real = WCS(fits.Header.fromstring(str(truth["wcs"])))
        grid = np.array([(x, y) for x in np.linspace(0, shape[1], 4) for y in np.linspace(0, shape[0], 4)])
        back = np.array(real.all_world2pix(*found.all_pix2world(*grid.T, 0), 0)).T
        assert np.hypot(*(back - grid).T).max() < 1.0
        assert one["metrics"]["astrometry_matched"] >= 6


def test_the_stars_come_back_where_and_as_bright_as_they_were(night):
    home, *_ = night
    checked = 0
    for table in products(home, "sources"):
        reduced_id = next(one["id"] for one in table["inputs"] if one["role"] == "reduced")
        reduced = next(one for one in products(home, "reduced") if one["id"] == reduced_id)
        truth, _ = truth_of(home, reduced)
        found = Table.read(home.archive / table["path"], hdu=1)
        xy = np.column_stack([truth["x"], truth["y"]])
        apart = cKDTree(xy).query(xy, k=2)[0][:, 1] > 15
        inside = (xy > 15).all(axis=1) & (xy < 305).all(axis=1)
        good = apart & inside & (truth["electrons"] > 2e4) & (truth["electrons"] < 3e5)
        distance, which = cKDTree(np.column_stack([found["x"], found["y"]])).query(xy[good])
        clean = (distance < 2) & (np.asarray(found["flags"])[np.minimum(which, len(found) - 1)] == 0)
        assert (distance < 2).mean() >= 0.9
        assert np.median(distance[clean]) < 0.1
        ratio = np.asarray(found["flux"])[which[clean]] / truth["electrons"][good][clean]
        assert 0.7 < np.median(ratio) < 1.0  # the aperture's part of the light
        assert np.median(np.abs(ratio / np.median(ratio) - 1)) < 0.03
        checked += int(clean.sum())
    assert checked > 100


def test_the_sky_is_that_of_the_simulation_within_the_claimed_uncertainty(night):
    home, *_ = night
    for one in products(home, "reduced"):
        sky = 20.0 * 90 if one["telescope"] == "ASTEP" else 12.0 * 60
        with fits.open(home.archive / one["path"]) as opened:
            data, mask, spread = opened[0].data, opened["MASK"].data, opened["UNCERT"].data
            assert opened[0].header["BUNIT"] == "electron"
        good = mask == 0
        level = np.median(data[good])
        assert level == pytest.approx(sky, rel=0.03)  # the flat's median is one, the simulation's centre
        pull = (data[good] - level) / spread[good]
        below = pull[pull < 0]
        assert np.sqrt(np.mean(below**2)) == pytest.approx(1, abs=0.15)  # stars only ever brighten


def test_bad_pixels_and_cosmic_rays_are_masked(night):
    home, *_ = night
    struck_px = found_px = false_px = all_px = 0
    for one in products(home, "reduced"):
        truth, camera = truth_of(home, one)
        with fits.open(home.archive / one["path"]) as opened:
            mask = opened["MASK"].data
        hot = camera["dark_rate"] > 20 * np.median(camera["dark_rate"])
        known = hot & camera["bad_pixels"]
        if known.sum():
            assert (mask[known] & np.uint16(MaskBit.HOT | MaskBit.DEAD)).astype(bool).mean() > 0.9
        struck = np.zeros(mask.shape, bool)
        struck[tuple(truth["cosmic_rays"].T)] = True
        struck &= ~camera["bad_pixels"]
        near = cKDTree(np.argwhere(struck)).query(np.argwhere(np.ones(mask.shape, bool)))[0].reshape(mask.shape) < 2
        flagged = (mask & np.uint16(MaskBit.COSMIC_RAY)) != 0
        struck_px, found_px = struck_px + struck.sum(), found_px + (struck & flagged).sum()
        false_px, all_px = false_px + (flagged & ~near & ~camera["bad_pixels"]).sum(), all_px + mask.size
    assert struck_px > 30
    assert found_px / struck_px > 0.8  # the rest lies within the noise, or in stars
    assert false_px / all_px < 1e-4


def test_every_frame_has_its_quality_and_none_a_fault_but_the_sun_of_the_polar_day(night, capsys):
    home, *_ = night
    found = Call(capsys)("quality", "--home", home.path, "--format", "json").json
    assert len(found) == 14
    for row in found:
        # In January the Sun does not set over Concordia, whatever the simulation paints there.
        assert row["faults"] == (["twilight"] if row["telescope"] == "ASTEP" else []), row["evidence"]
        assert row["stars"] >= 10
        assert row["transparency"] == pytest.approx(1, abs=0.05)
        assert row["trails"] == 0
        assert row["date_obs"].startswith("2026-01-1")
    measured = [row for row in found if row["zero_point_mag"] is not None]
    assert len(measured) >= 10
    for row in measured:
        # One electron a second is 18.2 mag on T20, 17.8 on ASTEP; stars are redder or bluer than VT by up to a magnitude,
        # and a seventh of their light falls beside the aperture.
        zero_point = 17.8 if row["telescope"] == "ASTEP" else 18.2
        assert -1.4 < row["zero_point_mag"] - zero_point < 1.1
        assert row["limiting_mag"] < row["zero_point_mag"]
    for product in products(home, "reduced"):
        header = fits.getheader(home.archive / product["path"])
        assert header.get("MAGZPT") == pytest.approx(product["metrics"].get("zero_point_mag"), abs=1e-3)
    nights = Call(capsys)("quality", "--home", home.path, "--by", "night", "--format", "json").json
    assert sum(row["frames"] for row in nights) == 14
    chosen = Call(capsys)("quality", "--home", home.path, "--telescope", "ASTEP", "--format", "json").json
    assert {row["telescope"] for row in chosen} == {"ASTEP"}


def test_a_stack_is_deeper_than_its_frames(night):
    home, *_ = night
    reduced = products(home, "reduced")
    for stack in products(home, "stack"):
        with fits.open(home.archive / stack["path"]) as opened:
            mask, noise = opened["MASK"].data, np.median(opened["UNCERT"].data)
        own = next(
            one for one in reduced if one["filter"] == stack["filter"] and one["telescope"] == stack["telescope"]
        )
        with fits.open(home.archive / own["path"]) as opened:
            single = np.median(opened["UNCERT"].data)
        assert noise < 0.85 * single
        assert (mask & np.uint16(MaskBit.NO_DATA)).astype(bool).mean() < 0.02
        assert stack["metrics"]["frames_used"] == 2


def processed_copy(night, path: Path):
    """The processed home at another place."""
    home = make_home(path)
    for name in ("drop", "archive"):
        shutil.rmtree(home.path / name)
        shutil.copytree(night[0].path / name, home.path / name)
    for one in night[0].path.glob("*.sqlite*"):
        shutil.copyfile(one, home.path / one.name)
    return home


def test_running_again_does_no_work_at_all(night, tmp_path):
    home = processed_copy(night, tmp_path / "home")
    code, said = run_until_idle(home)  # the copies' times are new: looked at, found to be what they were
    assert code == 0, said
    archive, jobs, made = tree(home.archive), rows(home, "jobs"), rows(home, "products")
    code, said = run_until_idle(home)
    assert code == 0, said
    assert tree(home.archive) == archive
    assert rows(home, "jobs") == jobs
    assert rows(home, "products") == made
    assert archive_content(home) == archive_content(night[0])


def test_one_more_flat_remakes_what_used_its_master_and_nothing_else(night, tmp_path):
    home = processed_copy(night, tmp_path / "home")
    before = {one["id"]: one for one in rows(home, "products")}
    folder = home.path / "drop" / "itelescope" / "T20" / "calibration" / "Flats"
    last = sorted(folder.glob("*Flat-Red*.fit"))[-1]
    with fits.open(last) as opened:
        opened[0].data = np.roll(opened[0].data, 1, axis=0)
        opened[0].header["DATE-OBS"] = opened[0].header["DATE-OBS"][:-3] + "999"
        opened.writeto(folder / last.name.replace("-BIN1", "-BIN1-extra"))
    code, said = run_until_idle(home)
    assert code == 0, said
    after = {one["id"]: one for one in rows(home, "products")}
    assert {one for one, row in before.items() if row["status"] == "final"} - set(after) == set(), "a product is lost"
    new = Counter(
        (one["kind"], one["filter"]) for key, one in after.items() if key not in before and one["kind"] != "preview"
    )
    assert new == {
        ("master_flat", "Red"): 1, ("reduced", "Red"): 4, ("sources", "Red"): 4, ("stack", "Red"): 2, ("rgb", None): 2,
    }  # fmt: skip
    old = {one for one, row in after.items() if one in before and row["status"] == "superseded"}
    assert Counter(before[one]["kind"] for one in old if before[one]["kind"] != "preview") == {
        "master_flat": 1, "reduced": 4, "sources": 4, "stack": 2, "rgb": 2,
    }  # fmt: skip
    untouched = {one: row for one, row in before.items() if one not in old}
    assert all(after[one] == row for one, row in untouched.items())


def test_a_late_frame_makes_a_new_revision_of_its_observation(night, tmp_path):
    home = processed_copy(night, tmp_path / "home")
    folder = home.path / "drop" / "itelescope" / "T20" / "M45"
    first = sorted(folder.glob("raw-*-Blue-*.fit"))[0]
    with fits.open(first) as opened:
        opened[0].header["DATE-OBS"] = opened[0].header["DATE-OBS"][:-3] + "999"
        opened[0].data = np.roll(opened[0].data, 1, axis=0)
        opened.writeto(folder / first.name.replace("-W-", "-W-9"))
    code, said = run_until_idle(home)
    assert code == 0, said
    found = {one["id"]: one["revision"] for one in rows(home, "observations")}
    assert {name: number for name, number in found.items() if number > 1} == {
        next(name for name in found if "m45" in name): 2
    }
    stacks = [one for one in products(home, "stack") if one["filter"] == "Blue" and one["target_name"] == "M45"]
    assert sorted((one["status"], one["metrics"]["frames"]) for one in stacks) == [("final", 3), ("superseded", 2)]


def test_the_daemon_ends_on_sigterm_and_a_second_one_names_the_first(night, tmp_path):
    home = processed_copy(night, tmp_path / "home")
    daemon = start_daemon(home)
    try:
        lock = home.path / "avcd.lock"
        for line in daemon.stderr:  # it says when it watches
            if "watching" in line:
                break
        code, said = run_until_idle(home)
        assert code != 0
        assert str(daemon.pid) in said
        assert lock.exists() or list(home.path.glob("*lock*"))
    finally:
        daemon.send_signal(signal.SIGTERM)
        _, said = daemon.communicate(timeout=60)
    assert daemon.returncode == 0, said


def test_the_same_seed_makes_the_same_night(tmp_path):
    one, _ = small_night(tmp_path / "one" / "drop")
    two, _ = small_night(tmp_path / "two" / "drop")
    assert [frame.data for frame in one.frames] == [frame.data for frame in two.frames]
    index = json.loads((one.truth / "truth.json").read_text(encoding="utf-8"))
    assert len(index["frames"]) == len(one.frames)


def test_the_catalogue_makes_a_survey_of_what_serves(night, capsys, tmp_path, monkeypatch):
    home, _, _ = night
    call = Call(capsys)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AVCD_HOME", str(home.path))
    made = call("hips", "-o", "red", "--order", "4", "--filter", "Red", "--where", "exposure_s > 0")
    assert made.code == 0, made.err
    said = (tmp_path / "red" / "properties").read_text()
    assert "hips_release_date    = 20" in said
    assert (tmp_path / "red" / "Moc.fits").is_file()
    assert (
        "is there already"
        in call("hips", "-o", "red", "--order", "4", "--filter", "Red", "--where", "exposure_s > 0").err
    )
    pictures = call("hips", "-o", "colours", "--order", "4", "--type", "rgb")
    assert pictures.code == 0, pictures.err
    assert list((tmp_path / "colours" / "Norder4").rglob("*.png"))
    assert "nothing in the catalogue" in call("hips", "-o", "none", "--filter", "Ha").err
    assert "not of preview" in call("hips", "-o", "none", "--type", "preview").err
    assert "leave the files out" in call("hips", "x.fits", "-o", "none", "--filter", "Ha").err
