"""The commands resample, stack and mosaic on files: what they make, what they refuse, and what is left as it is."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

from avcd.compose import engines
from avcd.products import celestial_wcs, read_image_product, verify_fits
from cli_calls import Call
from exposures import make_night, make_panels, write


@pytest.fixture
def call(capsys, tmp_path, monkeypatch):
    """The command line in a directory with two panels of one target, where no home is."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AVCD_HOME", raising=False)
    make_panels(tmp_path)
    return Call(capsys)


def test_panels_become_one_picture_of_both_skies(call, tmp_path):
    said = call("mosaic", "panel-1.fits", "panel-2.fits", "-o", "m31.fits")
    assert (said.code, said.out) == (0, "m31.fits\n")
    verify_fits(tmp_path / "m31.fits")
    content = read_image_product(tmp_path / "m31.fits")
    header = content.header
    assert header["NCOMBINE"] == 2
    assert header["TOTEXP"] == 240
    assert header["DATE-BEG"] < header["DATE-AVG"] < header["DATE-END"]
    assert set(content.planes) == {"WEIGHT", "COVERAGE"}
    assert set(np.unique(content.planes["COVERAGE"])) == {0, 1, 2}
    assert [row["role"] for row in content.provenance] == ["tile", "tile"]
    ny, nx = content.data.shape
    assert nx > 250
    # Both skies are one: their raw levels are 400 adu apart.
    left, right = (np.nanmedian(content.data[30 : ny - 30, part]) for part in (slice(20, 70), slice(nx - 70, nx - 20)))
    assert abs(left - right) < 60


def test_what_is_there_is_not_made_again_and_another_option_makes_it_anew(call):
    assert call("mosaic", "panel-1.fits", "panel-2.fits", "-o", "m31.fits").code == 0
    assert "is there already" in call("mosaic", "panel-2.fits", "panel-1.fits", "-o", "m31.fits").err
    assert "already" not in call("mosaic", "panel-1.fits", "panel-2.fits", "--match", "level", "-o", "m31.fits").err


def test_a_grid_may_be_named_by_an_image_or_a_header(call, tmp_path):
    header = fits.getheader("panel-2.fits")
    text = [
        f"{name:8}= {header[name]!r}"
        for name in ("NAXIS1", "NAXIS2", "CTYPE1", "CTYPE2", "CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2", "CDELT1", "CDELT2")
    ]
    (tmp_path / "grid.hdr").write_text("\n".join(text) + "\n")
    for grid, out in (("panel-2.fits", "a.fits"), ("grid.hdr", "b.fits")):
        assert call("resample", "panel-1.fits", "--grid", grid, "-o", out).code == 0
    a, b = (read_image_product(tmp_path / name) for name in ("a.fits", "b.fits"))
    assert a.data.shape == (header["NAXIS2"], header["NAXIS1"])
    np.testing.assert_array_equal(a.data, b.data)
    sky = celestial_wcs(header).pixel_to_world(20.0, 70.0)
    np.testing.assert_allclose(np.ravel(celestial_wcs(a.header).world_to_pixel(sky)), [20.0, 70.0], atol=1e-6)
    # Only the part that both have is there.
    assert 0.05 < (a.planes["WEIGHT"] > 0).mean() < 0.6


def test_cutting_writes_what_is_covered_with_its_own_coordinates(call, tmp_path):
    assert call("resample", "panel-1.fits", "--grid", "panel-2.fits", "--cut", "-o", "cut.fits").code == 0
    assert call("resample", "panel-1.fits", "--grid", "panel-2.fits", "-o", "whole.fits").code == 0
    cut, whole = (read_image_product(tmp_path / name) for name in ("cut.fits", "whole.fits"))
    x, y = celestial_wcs(whole.header).world_to_pixel(celestial_wcs(cut.header).pixel_to_world(0, 0))
    ny, nx = cut.data.shape
    part = whole.data[round(float(y)) : round(float(y)) + ny, round(float(x)) : round(float(x)) + nx]
    np.testing.assert_array_equal(cut.data, part)


def test_frames_are_scaled_by_exposure_and_gain(call, tmp_path):
    raw = fits.getdata("panel-1.fits")
    header = fits.getheader("panel-1.fits")
    world = {
        name: header[name] for name in ("CTYPE1", "CTYPE2", "CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2", "CDELT1", "CDELT2")
    }
    write(
        tmp_path / "short.fits",
        (raw // 2).astype(np.uint16),
        "Light Frame",
        60.0,
        59,
        FILTER="R",
        OBJECT="M31",
        **world,
    )
    said = call("resample", "panel-1.fits", "short.fits", "--scale", "exposure", "--method", "nearest", "-o", "out")
    assert said.code == 0, said.err
    levels = [
        np.nanmedian(read_image_product(tmp_path / "out" / f"{name}_resampled.fits").data)
        for name in ("panel-1", "short")
    ]
    assert levels[0] == pytest.approx(levels[1], rel=0.001)
    said = call("resample", "panel-1.fits", "short.fits", "--scale", "zero_point", "-o", "out")
    assert said.code == 2
    assert "MAGZPT" in said.err


@pytest.mark.parametrize("method", ["mean", "median", "sum"])
def test_a_stack_has_its_planes_and_times(call, tmp_path, method):
    make_night(tmp_path)
    said = call("stack", "m42-1.fits", "m42-2.fits", "--method", method, "-o", "stack.fits")
    assert said.code == 0, said.err
    content = read_image_product(tmp_path / "stack.fits")
    assert content.header["NCOMBINE"] == 2
    assert content.header["TOTEXP"] == 240
    assert content.planes["COVERAGE"].max() == 2
    single = np.median(fits.getdata("m42-1.fits"))
    assert np.median(content.data) == pytest.approx(single * (2 if method == "sum" else 1), rel=0.02)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("mosaic", "panel-1.fits", "--grid", "panel-2.fits", "--north-up", "-o", "x.fits"), "leave --pixel-scale"),
        (("mosaic", "panel-1.fits", "--grid", "nowhere.fits", "-o", "x.fits"), "name an image, or a text file"),
        (("mosaic", "panel-1.fits", "--set", "seams=0", "-o", "x.fits"), "feather_px"),
        (("stack", "panel-1.fits", "-o", "directory"), "ends with .fits"),
    ],
)
def test_wrong_options_are_answered_with_what_to_do(call, words, said):
    found = call(*words)
    assert found.code == 2
    assert said in found.err


def test_images_without_world_coordinates_are_named(call, tmp_path):
    make_night(tmp_path)
    found = call("mosaic", "panel-1.fits", "m42-1.fits", "-o", "x.fits")
    assert found.code == 1
    assert "m42-1.fits: no world coordinates; solve first" in found.err


@pytest.mark.parametrize("by", ["swarp", "montage", "montage's programs"])
def test_another_program_adds_up(call, tmp_path, by, monkeypatch):
    engine = by.split("'")[0]
    if by != engine:
        monkeypatch.setattr(engines, "_package", lambda: None)
    if not engines.is_installed(engine):
        pytest.skip(f"{engine} is not installed (Debian's package {engine}, or the extra montage)")
    found = call("mosaic", "panel-1.fits", "panel-2.fits", "--engine", engine, "-o", "x.fits")
    assert found.code == 0, found.err
    content = read_image_product(tmp_path / "x.fits")
    assert np.isfinite(content.data).mean() > 0.5
    assert engine in "".join(content.header["HISTORY"])


@pytest.mark.parametrize(("engine", "how"), [("swarp", "apt-get install swarp"), ("montage", "avcd[montage]")])
def test_an_engine_that_is_not_there_is_named_with_its_package(call, monkeypatch, engine, how):
    monkeypatch.setattr(engines.shutil, "which", lambda name: None)
    monkeypatch.setattr(engines, "_package", lambda: None)
    found = call("mosaic", "panel-1.fits", "panel-2.fits", "--engine", engine, "-o", "x.fits")
    assert found.code == 1
    assert how in found.err


def test_a_step_of_montage_that_fails_is_told_with_what_it_says(call, monkeypatch):
    class Broken:
        @staticmethod
        def mImgtbl(*_):  # noqa: N802
            return {"status": "1", "msg": "Can't open copy file"}

    monkeypatch.setattr(engines, "_package", lambda: Broken)
    found = call("mosaic", "panel-1.fits", "panel-2.fits", "--engine", "montage", "-o", "x.fits")
    assert found.code == 1
    assert "mImgtbl failed: Can't open copy file" in found.err
