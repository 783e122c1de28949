"""Figures over time and histograms of biases, as pictures and as CSV."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from avcd.association import load_rules
from avcd.catalog import Catalog
from avcd.daemon.planning import Planning, plan_camera
from avcd.recipes import load_recipes
from avcd.reduction.noise import difference_histogram
from catalogue import CAMERA, run
from cli_calls import Call
from exposures import GAIN, READ_NOISE_E, make_night
from homes import make_home
from planned_home import deliver, frames


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    made = make_home(tmp_path_factory.mktemp("plots") / "home", processing={"previews": False})
    catalog = Catalog(made.database_url)
    deliver(catalog, frames())
    plan_camera(catalog, CAMERA, Planning(load_recipes(made.path), load_rules(made.path), made.settings.processing))
    run(catalog, metrics={"level": 1000.5, "noise": 1.25, "astrometry_reason": "a word is no figure"})
    catalog.close()
    return made


@pytest.fixture
def call(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Call(capsys)


def rows(path: str) -> list[dict[str, str]]:
    with Path(path).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_histogram_is_that_of_the_camera():
    rng = np.random.default_rng(2)
    first, second = (np.rint(rng.normal(1000, 6, (300, 400))) for _ in range(2))
    found = difference_histogram(first, second)
    at = np.array([one["difference_adu"] for one in found])
    pixels = np.array([one["pixels"] for one in found])
    assert set(np.diff(at)) == {1.0}
    assert pixels.sum() == first.size
    np.testing.assert_array_equal(pixels, [np.count_nonzero(first - second == one) for one in at])
    normal = np.array([one["normal"] for one in found])
    assert normal.sum() == pytest.approx(first.size, rel=0.001)
    busy = normal > 50
    assert ((pixels - normal)[busy] ** 2 / normal[busy]).mean() == pytest.approx(1, abs=0.6)


def test_what_lies_far_out_is_in_the_last_bins():
    first, second = np.zeros((40, 50)), np.random.default_rng(1).integers(-2, 3, (40, 50)).astype(float)
    second[0, :3] = (5000, -5000, np.nan)
    found = difference_histogram(first, second)
    assert (found[0]["pixels"], found[-1]["pixels"]) == (1, 1)
    assert sum(one["pixels"] for one in found) == first.size - 1
    assert difference_histogram(first * np.nan, second) == []
    broad = difference_histogram(first, np.random.default_rng(1).normal(0, 0.01, (40, 50)))
    assert 100 < len(broad) < 500  # fractions have no step


def test_noise_writes_the_histogram_of_two_biases(call, tmp_path):
    make_night(tmp_path)
    biases = sorted(one.name for one in tmp_path.glob("bias-*.fits"))
    assert call("noise", *biases, "--histogram", "h.csv").code == 0
    found = rows("h.csv")
    assert {(one["first"], one["second"]) for one in found} == {("bias-1.fits", "bias-2.fits")}
    at, weight = (np.array([float(one[name]) for one in found]) for name in ("difference_adu", "pixels"))
    scatter = np.sqrt(np.average((at - np.average(at, weights=weight)) ** 2, weights=weight))
    assert scatter / np.sqrt(2) * GAIN == pytest.approx(READ_NOISE_E, rel=0.03)
    assert call("noise", *biases, "--histogram", "h.png").code == 0
    with Image.open("h.png") as picture:
        assert picture.size[0] > 500
    again = call("noise", *biases, "--histogram", "h.csv")
    assert (again.code, "--force" in again.err) == (2, True)
    assert call("noise", *biases, "--histogram", "h.csv", "--force").code == 0
    assert call("noise", *biases, "--histogram", "h.pdf").code == 2
    alone = call("noise", biases[0], "--histogram", "one.csv")
    assert alone.code != 0
    assert not Path("one.csv").exists()


def test_figures_over_time_are_those_of_the_catalogue(call, home):
    names = ("noise", "level")
    catalog = Catalog(home.database_url)
    try:
        assert catalog.measured_names() == ["astrometry_reason", "level", "noise"]
        serving = {one["id"]: one for one in catalog.products() if one["status"] in ("final", "provisional")}
    finally:
        catalog.close()
    said = call("plot", *names, "-o", "x.csv", "--home", home.path)
    assert (said.code, said.out) == (0, "x.csv\n")
    found = rows("x.csv")
    for one in found:
        assert float(one["value"]) == pytest.approx(float(serving[one["product"]]["metrics"][one["metric"]]))
        assert 61000 < float(one["mjd"]) < 61100
    assert {one["metric"] for one in found} == set(names)
    assert [float(one["mjd"]) for one in found if one["metric"] == names[0]] == sorted(
        float(one["mjd"]) for one in found if one["metric"] == names[0]
    )
    for suffix in ("png", "svg"):
        assert call("plot", *names, "-o", f"x.{suffix}", "--home", home.path).code == 0
        first = Path(f"x.{suffix}").read_bytes()
        assert call("plot", *names, "-o", f"x.{suffix}", "--home", home.path).code == 2
        assert call("plot", *names, "-o", f"x.{suffix}", "--home", home.path, "--force").code == 0
        assert Path(f"x.{suffix}").read_bytes() == first
    wrong = call("plot", "sharpness", "-o", "y.csv", "--home", home.path)
    assert wrong.code == 2
    assert "level, noise" in wrong.err
    assert call("plot", "astrometry_reason", "-o", "y.csv", "--home", home.path).code == 2


def test_without_matplotlib_it_is_said_what_to_install(call, home, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    said = call("plot", "frames", "-o", "x.png", "--home", home.path)
    assert said.code == 2
    assert "pip install 'avcd[plot]'" in said.err


def test_names_of_targets_are_looked_up_and_kept(call, home, monkeypatch):
    asked = []

    def answer(name):
        asked.append(name)
        return (83.82208, -5.39111) if name != "Nowhere" else None

    monkeypatch.setattr("avcd.sesame.ask_sesame", answer)
    unknown = call("resolve", "M 42", "--home", home.path, "-f", "json")
    assert (unknown.code, unknown.json[0]["s_ra"], asked) == (1, None, [])
    assert "--online" in unknown.err
    known = call("resolve", "M 42", "--online", "--home", home.path, "-f", "json")
    assert (known.code, known.json[0]["source"], asked) == (0, "Sesame", ["M 42"])
    kept = call("resolve", "m42", "--home", home.path, "-f", "json")
    assert (kept.code, kept.json[0]["s_ra"], kept.json[0]["source"]) == (0, 83.82208, "resolved.toml")
    assert call("resolve", "m42", "Nowhere", "--online", "--home", home.path).code == 1
    assert asked == ["M 42", "Nowhere"]


def test_frames_without_pointing_get_their_targets_place(call, home):
    """By the daemon when it starts, or by retranslation; whoever asks for unplaced targets still gets them."""
    catalog = Catalog(home.database_url)
    try:
        before = catalog.targets_without_pointing()
    finally:
        catalog.close()
    assert before
    lines = "".join(f'"{name}" = [10.0, 20.0]\n' for name in before)
    (home.path / "targets.toml").write_text(lines, encoding="utf-8")
    listed = call("resolve", "--home", home.path, "-f", "json")
    assert (listed.code, [one["target_name"] for one in listed.json]) == (0, before)
    assert {one["source"] for one in listed.json} == {"targets.toml"}
