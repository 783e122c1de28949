"""avcd stars and avcd quality on files: what is written, what is said, and that nothing is done twice."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from astropy.io import fits
from astropy.io.votable import parse_single_table
from astropy.table import Table
from PIL import Image
from scipy.spatial import cKDTree

from avcd.products import verify_fits
from avcd.simulate.sky import StarTruth, paint_stars
from cli_calls import Call
from exposures import write
from test_standalone import call, here, masters, night  # noqa: F401

SHAPE = (300, 320)


def field(seed: int, factor: float = 1.0, shift: float = 0.0) -> np.ndarray:
    """Counts of a field of forty stars, of which little light may be left."""
    rng = np.random.default_rng(9)
    x, y = rng.uniform(20, SHAPE[1] - 20, 40), rng.uniform(20, SHAPE[0] - 20, 40)
    image = np.full(SHAPE, 400.0)
    paint_stars(image, StarTruth(x + shift, y, factor * 10 ** rng.uniform(4, 5.2, 40), x, y), 3.0)
    rng = np.random.default_rng(seed)
    return np.rint(1000 + rng.poisson(image) / 1.5 + rng.normal(0, 6, SHAPE)).astype(np.uint16)


@pytest.fixture
def fields(here):  # noqa: F811
    factors = (1.0, 1.0, 1.0, 0.3)
    return [
        write(here / f"ngc-{number}.fits", field(number, factor, 2.0 * number), "Light Frame", 60.0, 30 + number,
              FILTER="V", OBJECT="NGC 1")
        for number, factor in enumerate(factors, 1)
    ]  # fmt: skip


def test_the_table_holds_the_stars_and_what_was_measured(call, here, fields):  # noqa: F811
    said = call("stars", "ngc-1.fits", "-o", "list.fits")
    assert (said.code, said.out) == (0, "list.fits\n")
    verify_fits(here / "list.fits")
    table = Table.read("list.fits", hdu="SOURCES")
    rng = np.random.default_rng(9)
    x, y = rng.uniform(20, SHAPE[1] - 20, 40) + 2.0, rng.uniform(20, SHAPE[0] - 20, 40)
    flux = 10 ** rng.uniform(4, 5.2, 40) / 1.5
    distance, which = cKDTree(np.column_stack([table["x"], table["y"]])).query(np.column_stack([x, y]))
    assert (distance < 0.3).sum() >= 35
    seen = (distance < 0.3) & (np.asarray(table["flags"])[which] == 0)
    ratio = np.asarray(table["flux"])[which][seen] / flux[seen]
    assert 0.8 < np.median(ratio) < 1.0
    # Errors are those of photons, sky and read noise: the scatter about the aperture's part is what they say.
    pull = (ratio / np.median(ratio) - 1) / (np.asarray(table["flux_err"]) / np.asarray(table["flux"]))[which][seen]
    assert np.median(np.abs(pull)) < 2.0
    psf = Table.read("list.fits", hdu="PSF")
    assert set(np.char.strip(np.asarray(psf["region"], str))) <= {"CN", "TL", "TR", "BL", "BR"}
    assert np.median(psf["fwhm_px"]) == pytest.approx(np.hypot(3.0, 0.7), rel=0.05)
    quality = {str(row["name"]).strip(): row["value"] for row in Table.read("list.fits", hdu="QUALITY")}
    assert quality["stars"] == len(table)
    header = fits.getheader("list.fits")
    assert header["OBJECT"] == "NGC 1"
    assert f"{len(table)} stars found" in "".join(header["HISTORY"])


def test_further_files_say_the_same_stars(call, here, fields):  # noqa: F811
    said = call("stars", "ngc-1.fits", "-o", "list.fits", "--votable", "--regions", "--picture", "--report")
    assert said.out.split() == ["list.fits", "list.vot", "list.reg", "list.png", "list.json"]
    table = Table.read("list.fits", hdu="SOURCES")
    votable = parse_single_table("list.vot").to_table()
    np.testing.assert_allclose(votable["x"], table["x"])
    assert "pos.cartesian.x" in (here / "list.vot").read_text()
    regions = re.findall(r"^ellipse\(([\d.]+),([\d.]+),", (here / "list.reg").read_text(), re.MULTILINE)
    np.testing.assert_allclose(np.array(regions, float)[:, 0], np.asarray(table["x"]) + 1, atol=1e-3)
    with Image.open("list.png") as picture:
        assert picture.size == (SHAPE[1], SHAPE[0])
        colours = np.asarray(picture.convert("RGB")).reshape(-1, 3)
        assert (colours == (90, 230, 120)).all(axis=1).sum() > 500  # the marks
    report = json.loads((here / "list.json").read_text())
    assert report["figures"]["stars"] == len(table)
    assert report["frame"]["filter"] == "V"
    assert {one["region"] for one in report["psf"]} >= {"CN"}


def test_what_is_there_is_not_made_again_and_what_is_missing_is(call, here, fields):  # noqa: F811
    call("stars", "ngc-1.fits", "-o", "list.fits", "--regions")
    before = {path: (here / path).stat().st_mtime_ns for path in ("list.fits", "list.reg")}
    said = call("stars", "ngc-1.fits", "-o", "list.fits", "--regions")
    assert "there already" in said.err
    assert before == {path: (here / path).stat().st_mtime_ns for path in before}
    (here / "list.reg").unlink()
    assert call("stars", "ngc-1.fits", "-o", "list.fits", "--regions", "--report").code == 0
    assert (here / "list.reg").exists()
    assert (here / "list.fits").stat().st_mtime_ns == before["list.fits"]
    (here / "list.json").write_text("{}")
    refused = call("stars", "ngc-1.fits", "-o", "list.fits", "--report")
    assert refused.code == 2
    assert "list.json is there and was not made by avcd" in refused.err
    assert call("stars", "ngc-1.fits", "-o", "list.fits", "--report", "--force").code == 0
    assert json.loads((here / "list.json").read_text())["AVCDID"]
    again = call("stars", "ngc-1.fits", "-o", "list.fits", "--set", "detection_sigma=20", "--regions")
    assert "there already" not in again.err
    fewer = len(Table.read("list.fits", hdu="SOURCES"))
    assert fewer < 40
    assert (here / "list.reg").read_text().count("ellipse") == fewer


def test_a_bad_file_does_not_stop_the_others_and_bytes_do_not_change(call, here, fields):  # noqa: F811
    (here / "bad.fits").write_bytes(b"no FITS")
    said = call("stars", "bad.fits", "ngc-1.fits", "ngc-2.fits", "-o", "out", "--picture")
    assert said.code == 1
    assert "bad.fits" in said.err
    assert said.out.split() == [f"out/ngc-{n}_stars.{suffix}" for n in (1, 2) for suffix in ("fits", "png")]
    first = {path: (here / path).read_bytes() for path in said.out.split()}
    call("stars", "ngc-1.fits", "ngc-2.fits", "-o", "out", "--picture", "--force")
    assert first == {path: (here / path).read_bytes() for path in first}


def test_quality_of_files_names_the_one_with_clouds(call, fields):  # noqa: F811
    said = call("quality", *(path.name for path in fields), "--format", "json")
    assert said.code == 0
    rows = {row["path"]: row for row in said.json}
    assert [rows[f"ngc-{n}.fits"]["faults"] for n in (1, 2, 3, 4)] == [[], [], [], ["clouds"]]
    assert rows["ngc-4.fits"]["transparency"] == pytest.approx(0.3, abs=0.02)
    assert "30% of the light" in rows["ngc-4.fits"]["evidence"][0]
    faulty = call("quality", *(path.name for path in fields), "--faulty", "--format", "csv", "--columns", "path,faults")
    assert faulty.out == 'path,faults\nngc-4.fits,"[""clouds""]"\n'
    (night,) = call("quality", *(path.name for path in fields), "--by", "night", "--format", "json").json  # noqa: F811
    assert (night["frames"], night["faulty"], night["faults"]) == (4, 1, ["clouds 1"])
    assert (
        174 < night["depth_s"] < 200
    )  # three frames of 60 s, each to a percent or two, and a little of the cloudy one


def test_the_plot_shows_every_frame(call, here, fields):  # noqa: F811
    said = call("quality", *(path.name for path in fields), "--plot", "night.svg")
    assert said.code == 0
    root = ElementTree.fromstring((here / "night.svg").read_text(encoding="utf-8"))
    space = {"s": "http://www.w3.org/2000/svg"}
    titles = [one.text for one in root.findall(".//s:title", space)]
    assert sum("ngc-4.fits" in one and "clouds" in one for one in titles) >= 4
    assert sum("ngc-1.fits" in one for one in titles) >= 4
    text = "".join(one.text or "" for one in root.findall(".//s:text", space))
    assert "transparency" in text
    assert "UTC" in text


def test_quality_without_files_or_home_says_what_to_do(call):  # noqa: F811
    said = call("quality", "--home", "nowhere")
    assert said.code == 2
    assert "avcd init" in said.err
    said = call("quality", "m42-1.fits", "--night", "2026-01-15")
    assert said.code == 2
    assert "of files name those you want" in said.err
    assert call("quality", "m42-1.fits", "--plot", "night.pdf").code == 2


@pytest.mark.shared
@pytest.mark.parametrize("name", ["m1_B_raw (1)", "m1_V_raw (1)", "m1_r_raw (1)"])
def test_a_real_field_has_stars_a_shape_and_no_trail(name, shared_data, tmp_path, capsys):
    path = shared_data / "prompt5-m1" / f"{name}.fits"
    if not path.exists():
        pytest.skip("the real frames of M1 are not on this machine")
    assert Call(capsys)("stars", path, "-o", tmp_path / "m1.fits", "--report").code == 0
    report = json.loads((tmp_path / "m1.json").read_text())
    figures = report["figures"]
    assert figures["stars"] > 50
    assert 2.0 < figures["fwhm_arcsec"] < 3.5
    assert figures["tilt"] < 0.15
    assert figures["trails"] == 0  # the nebula's filaments are none
    assert figures["sun_altitude_deg"] < -40
    assert {one["region"] for one in report["psf"]} == {"CN", "TL", "TR", "BL", "BR"}
    table = Table.read(tmp_path / "m1.fits", hdu="SOURCES")
    assert {"ra", "dec"} <= set(table.colnames)
