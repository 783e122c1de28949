"""avcd lightcurve: from frames on disk over star tables to magnitudes, in every form; an injected eclipse comes back."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from pictures import faint_stars, picture, write_picture
from scenes import world

from avcd.views.lightcurves import KEYS
from cli_calls import Call

SHAPE, SCALE = (300, 320), 1.2
RA, DEC = 110.0, 20.0
DEPTHS = (0.0, 0.0, 0.1, 0.3, 0.3, 0.1, 0.0, 0.0)
CLOUDS = (0.0, 0.2, 0.1, 0.5, 0.0, 0.3, 0.1, 0.0)


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Source tables of eight frames through clouds, that point here and there; the target dims by 0.3 mag."""
    here = tmp_path_factory.mktemp("night")
    ra, dec, electrons = faint_stars(3, RA, DEC, 0.08, 45)
    ra, dec, electrons = np.append(ra, RA), np.append(dec, DEC), np.append(np.maximum(electrons, 4e4), 2e5)
    for minute, (depth, cloud) in enumerate(zip(DEPTHS, CLOUDS, strict=True)):
        light = electrons * 10 ** (-0.4 * cloud)
        light[-1] *= 10 ** (-0.4 * depth)
        truth = world(RA + 0.002 * minute, DEC, SCALE, SHAPE, 0.3, -1)
        write_picture(
            here / f"{minute}.fits",
            picture(truth, (ra, dec, light), SHAPE, minute),
            minute,
            truth,
            CALSTAT="BDF",
            EGAIN=1.0,
        )
    return here


@pytest.fixture
def call(capsys, tables, monkeypatch, tmp_path):
    monkeypatch.chdir(tables)
    monkeypatch.delenv("AVCD_HOME", raising=False)
    monkeypatch.setenv("COLUMNS", "200")  # a table leaves out what does not fit
    found = Call(capsys)
    assert found("stars", *(f"{number}.fits" for number in range(8)), "-o", "stars").code == 0
    return found


def files(tables):
    return sorted((tables / "stars").glob("*.fits"))


def test_an_eclipse_comes_back_through_clouds(call, tables):
    said = call("lightcurve", f"{RA},{DEC}", *files(tables), "--format", "json")
    assert said.code == 0, said.err
    rows = json.loads(said.out)
    assert [tuple(row) for row in rows] == [KEYS] * 8
    mags = np.array([row["mag"] for row in rows])
    off = mags - mags[[0, 1, 6, 7]].mean() - DEPTHS
    assert np.abs(off).max() < 0.02
    assert np.std(off) < 2 * np.median([row["mag_err"] for row in rows]) < 0.03
    assert np.std([row["check_mag"] for row in rows]) < 0.02
    assert {row["comparisons"] for row in rows} <= set(range(15, 46))
    assert rows[0]["mjd"] == pytest.approx(61055.9167 + 30 / 86400, abs=1e-4)
    assert 0 < abs(rows[0]["bjd_tdb"] - 2400000.5 - rows[0]["mjd"]) < 0.01
    assert not rows[0]["calibrated"]
    assert rows[0]["flags"] == ""


def test_every_form_says_the_same(call, tables, tmp_path):
    want = json.loads(call("lightcurve", f"07:20:00,{DEC}", *files(tables), "--format", "json").out)
    found = list(csv.DictReader(io.StringIO(call("lightcurve", f"{RA},{DEC}", *files(tables), "--format", "csv").out)))
    assert [float(row["mag"]) for row in found] == [row["mag"] for row in want]
    shown = call("lightcurve", f"{RA},{DEC}", *files(tables))
    assert f"{want[3]['mag']:.3f}"[:5] in shown.out
    assert "path" in shown.out


def test_it_is_drawn(call, tables, tmp_path):
    pytest.importorskip("matplotlib", reason="the extra plot is not installed")
    path = tmp_path / "curve.svg"
    assert call("lightcurve", f"{RA},{DEC}", *files(tables), "--plot", path).code == 0
    first = path.read_bytes()
    assert b"BJD (TDB)" in first or b"<svg" in first
    refused = call("lightcurve", f"{RA},{DEC}", *files(tables), "--plot", path)
    assert refused.code == 2
    assert call("lightcurve", f"{RA},{DEC}", *files(tables), "--plot", path, "--force").code == 0
    assert path.read_bytes() == first
    other = tmp_path / "curve.csv"
    assert call("lightcurve", f"{RA},{DEC}", *files(tables), "--plot", other).code == 0
    assert len(other.read_text().splitlines()) == 9


def test_what_cannot_be_is_told(call, tables, tmp_path):
    nowhere = call("lightcurve", "10.0,20.0", *files(tables))
    assert (nowhere.code, nowhere.out) == (1, "")
    assert "nothing found" in nowhere.err
    assert "targets.toml" in call("lightcurve", "no such star", *files(tables)).err
    assert call("lightcurve", "1,2", *files(tables), "--night", "2026-01-15").code == 2
    bare = tmp_path / "bare.fits"
    table = Table.read(files(tables)[0], hdu="SOURCES")
    table.remove_columns(["ra", "dec"])
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU(table, name="SOURCES")]).writeto(bare)
    said = call("lightcurve", f"{RA},{DEC}", bare, tables / "0.fits", *files(tables))
    assert said.code == 1
    assert "no plate solution" in said.err
    assert "no source table" in said.err
    assert len(said.out.splitlines()) >= 10
