"""A camera that reads out its overscan, from the drop directory to reduced frames: the pixels of a script by ccdproc."""

from __future__ import annotations

import json

import ccdproc
import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import CCDData

from avcd.catalog import Catalog
from avcd.frame import MaskBit, ProductKind
from avcd.recipes import load_recipes
from cli_calls import Call
from exposures import BIAS, GAIN, HOT, READ_NOISE_E, SHAPE, expose, stars, write
from homes import make_home, rows, run_until_idle

LEFT, RIGHT = 6, 20  # columns of overscan
NY, NX = SHAPE
BIASSEC, TRIMSEC = f"[{LEFT + NX + 3}:{LEFT + NX + RIGHT},1:{NY}]", f"[{LEFT + 1}:{LEFT + NX},3:{NY}]"
VERSION = load_recipes()[ProductKind.REDUCED].version
PLAIN_RECIPE = (
    f'kind = "reduced"\nname = "reduced"\nversion = {VERSION}\n[parameters]\ncosmic_rays = false\nsolve = false\n'
)


def expose_wide(seed: int, seconds: float = 0.0, light_e=0.0) -> np.ndarray:
    """An exposure between its overscan, on a level that drifts from frame to frame and from row to row."""
    rng = np.random.default_rng(1000 + seed)
    image = expose(seed, seconds, light_e).astype(np.float64)
    around = [rng.normal(BIAS, READ_NOISE_E / GAIN, (NY, width)) for width in (LEFT, RIGHT)]
    wide = np.hstack([around[0], image, around[1]]) + 7 * (seed % 10) + 15 * np.sin(np.arange(NY) / 20 + seed)[:, None]
    return np.clip(np.rint(wide), 0, 65535).astype(np.uint16)


def make_wide_night(directory, **cards) -> None:
    """Biases, darks, flats and two frames of M42; ``cards`` are in every header."""
    for number in range(1, 6):
        write(directory / f"bias-{number}.fits", expose_wide(number), "Bias Frame", 0.0, number, **cards)
        write(directory / f"dark-{number}.fits", expose_wide(10 + number, 60), "Dark Frame", 60.0, 10 + number, **cards)
        flat = expose_wide(20 + number, 3, 33000.0 * (1 + number / 20))
        write(directory / f"flat-{number}.fits", flat, "Flat Field", 3.0, 20 + number, FILTER="R", **cards)
    for number in (1, 2):
        data = expose_wide(30 + number, 60, 600 + stars())
        sky = {"CRPIX1": 90.0, "CRPIX2": 70.0, "CRVAL1": 83.8, "CRVAL2": -5.4, "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN",
               "CDELT1": -2e-4, "CDELT2": 2e-4}  # fmt: skip
        write(
            directory / f"m42-{number}.fits",
            data,
            "Light Frame",
            60.0,
            30 + number,
            FILTER="R",
            OBJECT="M42",
            **sky,
            **cards,
        )


def make_plain_home(path, rules: str = ""):
    home = make_home(path, processing={"previews": False})
    (home.path / "recipes").mkdir()
    (home.path / "recipes" / "reduced.toml").write_text(PLAIN_RECIPE)
    (home.path / "match.toml").write_text(rules)
    (home.path / "badpixels").mkdir()
    (home.path / "badpixels" / "t1.yaml").write_text(
        f"telescope: T1\ninstrument: cam\nbad_rectangles:\n  - [50, 51, {LEFT + 11}, {LEFT + 13}]\n"
    )
    return home


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    home = make_plain_home(tmp_path_factory.mktemp("wide"))
    make_wide_night(home.path / "drop", BIASSEC=BIASSEC, TRIMSEC=TRIMSEC)
    code, said = run_until_idle(home)
    assert code == 0, said
    return home


def products(home, kind: str) -> list[dict]:
    return [one for one in rows(home, "products") if one["kind"] == kind and one["status"] == "final"]


def by_ccdproc(source) -> dict[str, np.ndarray]:
    """The night by a script: overscan, trimming, masters, science."""

    def read(path):
        ccd = CCDData(fits.getdata(path).astype(np.float64), unit="adu")
        ccd = ccdproc.subtract_overscan(ccd, fits_section=BIASSEC, median=True, overscan_axis=1)
        return ccdproc.trim_image(ccd, fits_section=TRIMSEC)

    def combined(frames, step=1.0):
        def deviation(a, axis=None):
            mad = np.ma.median(np.ma.abs(a - np.ma.median(a, axis=axis, keepdims=True)), axis=axis)
            return np.ma.maximum(1.4826 * mad, step / 2)

        return ccdproc.combine(
            frames, method="average", sigma_clip=True, sigma_clip_low_thresh=5, sigma_clip_high_thresh=5,
            sigma_clip_func=np.ma.median, sigma_clip_dev_func=deviation)  # fmt: skip

    bias = combined([read(path) for path in sorted(source.glob("bias*"))])
    dark = combined([ccdproc.subtract_bias(read(path), bias) for path in sorted(source.glob("dark*"))])
    flats = [ccdproc.subtract_bias(read(path), bias) for path in sorted(source.glob("flat*"))]
    level = np.median([np.median(one.data) for one in flats])
    flat = combined([CCDData(one.data / np.median(one.data), unit="adu") for one in flats], step=1 / level)
    response = flat.data / np.median(flat.data)
    return {
        path.name: GAIN * (ccdproc.subtract_bias(read(path), bias).data - dark.data) / response
        for path in sorted(source.glob("m42*"))
    }


def test_the_pixels_are_those_of_a_script_by_ccdproc(night):
    expected = by_ccdproc(night.path / "drop")
    names = {one["id"]: one["path"] for one in rows(night, "frames")}
    found = products(night, "reduced")
    assert len(found) == 2
    for one in found:
        raw = next(ref["id"] for ref in one["inputs"] if ref["role"] == "raw")
        with fits.open(night.archive / one["path"]) as hdus:
            assert hdus[0].data.shape == (NY - 2, NX)
            good = hdus["MASK"].data == 0
            assert good.mean() > 0.99
            difference = np.abs(hdus[0].data - expected[names[raw]])[good]
            # Values at the very limit of clipping fall to one side or the other by rounding.
            assert np.quantile(difference, 0.9995) < 0.02
            assert any("overscan" in line for line in hdus[0].header["HISTORY"])


def test_the_sky_is_level_although_every_frame_and_row_had_a_level_of_its_own(night):
    skies = []
    for one in products(night, "reduced"):
        with fits.open(night.archive / one["path"]) as hdus:
            skies.append(float(np.median(hdus[0].data)))
            row_levels = np.median(hdus[0].data, axis=1)
            scatter = float(np.median(hdus["UNCERT"].data))
            assert np.std(row_levels) < 4 * scatter / np.sqrt(NX) * 1.25 + 5  # stars lift a row by a little
    assert skies == pytest.approx([600.0, 600.0], rel=0.02)


def test_masters_are_trimmed_and_their_level_is_that_above_the_overscan(night):
    masters = [one for kind in ("bias", "dark", "flat") for one in products(night, f"master_{kind}")]
    assert len(masters) == 3
    for one in masters:
        with fits.open(night.archive / one["path"]) as hdus:
            assert hdus[0].data.shape == (NY - 2, NX)
            assert "BIASSEC" not in hdus[0].header
            assert "TRIMSEC" not in hdus[0].header
    bias = next(one for one in masters if one["kind"] == "master_bias")
    assert abs(bias["metrics"]["level"]) < 0.5
    assert bias["metrics"]["read_noise_adu"] == pytest.approx(READ_NOISE_E / GAIN, rel=0.05)
    flat = next(one for one in masters if one["kind"] == "master_flat")
    assert flat["metrics"]["gain_e_per_adu"] == pytest.approx(GAIN, rel=0.05)


def test_bad_pixels_are_numbered_as_on_the_raw_detector(night):
    (mask,) = products(night, "bad_pixel_mask")
    with fits.open(night.archive / mask["path"]) as hdus:
        plane = hdus["MASK"].data
    named = np.argwhere(plane & MaskBit.USER)
    # Rows 50 and 51 of the raw frame, of which the first two are cut off; columns 11 to 13 of the image.
    assert named.tolist() == [[row, column] for row in (47, 48) for column in (10, 11, 12)]
    for row, column in HOT:
        assert plane[row - 2, column] & MaskBit.HOT


def test_world_coordinates_move_with_the_part_that_is_kept(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "m42.fits", expose_wide(31, 60, 600 + stars()), "Light Frame", 60.0, 31, CRPIX1=90.0, CRPIX2=70.0,
          CTYPE1="RA---TAN", CTYPE2="DEC--TAN", CRVAL1=83.8, CRVAL2=-5.4, CDELT1=-2e-4, CDELT2=2e-4,
          BIASSEC=BIASSEC, TRIMSEC=TRIMSEC)  # fmt: skip
    call = Call(capsys)
    assert call("trim", "m42.fits", "-o", "narrow.fits").code == 0
    assert fits.getval("narrow.fits", "CRPIX1") == 90.0 - LEFT
    assert fits.getval("narrow.fits", "CRPIX2") == 68.0


def test_commands_on_files_make_the_daemons_very_products(night, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    call, source = Call(capsys), night.path / "drop"
    for kind, more in (("bias", []), ("dark", ["--bias", "bias.fits"]), ("flat", ["--bias", "bias.fits"])):
        said = call("combine", *sorted(source.glob(f"{kind}-*")), "--type", kind, *more, "-o", f"{kind}.fits")
        assert said.code == 0, said.err
    bad = night.archive / products(night, "bad_pixel_mask")[0]["path"]
    said = call("reduce", source / "m42-1.fits", "--bias", "bias.fits", "--dark", "dark.fits", "--flat", "flat.fits",
                "--bad-pixels", bad, "--no-cosmic", "-o", "reduced.fits")  # fmt: skip
    assert said.code == 0, said.err
    theirs = {one["id"]: night.archive / one["path"] for one in rows(night, "products")}
    for name in ("bias.fits", "dark.fits", "flat.fits", "reduced.fits"):
        with fits.open(name) as mine, fits.open(theirs[fits.getval(name, "AVCDID")]) as its:
            for plane in ("SCI", "MASK", "UNCERT"):
                np.testing.assert_array_equal(mine[plane].data, its[plane].data)


def test_rules_name_sections_where_headers_do_not(night, tmp_path):
    rules = f'[instrument."CA*".overscan]\nsection = "{BIASSEC}"\n[instrument."CA*".trim]\nsection = "{TRIMSEC}"\n'
    home = make_plain_home(tmp_path / "ruled", rules)
    make_wide_night(home.path / "drop")
    code, said = run_until_idle(home)
    assert code == 0, said
    theirs = {one["slot"].rpartition(":")[0]: one for one in products(night, "reduced")}
    assert theirs
    for kind in ("master_bias", "master_dark", "master_flat"):
        (mine,), (its,) = products(home, kind), products(night, kind)
        with fits.open(home.archive / mine["path"]) as first, fits.open(night.archive / its["path"]) as second:
            np.testing.assert_array_equal(first[0].data, second[0].data)
    with fits.open(home.archive / products(home, "reduced")[0]["path"]) as hdus:
        assert hdus[0].data.shape == (NY - 2, NX)


def test_rules_may_leave_the_overscan_in(tmp_path):
    home = make_plain_home(tmp_path / "left", "[overscan]\nsubtract = false\n[trim]\ncut = false\n")
    for number in range(1, 4):
        write(home.path / "drop" / f"bias-{number}.fits", expose_wide(number), "Bias Frame", 0.0, number,
              BIASSEC=BIASSEC, TRIMSEC=TRIMSEC)  # fmt: skip
    code, said = run_until_idle(home)
    assert code == 0, said
    (bias,) = (one for one in rows(home, "products") if one["kind"] == "master_bias")
    with fits.open(home.archive / bias["path"]) as hdus:
        assert hdus[0].data.shape == (NY, LEFT + NX + RIGHT)
        assert np.median(hdus[0].data) > BIAS


def test_a_frame_without_its_overscan_is_not_given_a_bias_that_lost_it(tmp_path):
    home = make_plain_home(tmp_path / "mixed")
    make_wide_night(home.path / "drop", BIASSEC=BIASSEC, TRIMSEC=TRIMSEC)
    light = home.path / "drop" / "m42-1.fits"
    fits.delval(light, "BIASSEC")
    code, _ = run_until_idle(home)
    assert code == 1
    dead = [one for one in rows(home, "jobs") if one["state"] == "dead"]
    assert [one["kind"] for one in dead] == ["reduced"]
    assert "overscan" in dead[0]["reason"]
    assert "avcd correct overscan_section" in dead[0]["reason"]
    assert len(products(home, "reduced")) == 1


def test_an_observer_corrects_a_section(tmp_path, monkeypatch, capsys):
    home = make_plain_home(tmp_path / "corrected")
    write(home.path / "drop" / "bias-1.fits", expose_wide(1), "Bias Frame", 0.0, 1, BIASSEC="[1:9,1:9")
    call = Call(capsys)
    monkeypatch.chdir(home.path)
    assert call("ingest", "drop").code == 0
    (frame,) = rows(home, "frames")
    assert frame["overscan_section"] is None
    assert any("BIASSEC" in text for text in frame["warnings"])
    said = call(
        "correct", frame["id"], f"overscan_section={BIASSEC}", f"BIASSEC={BIASSEC}", "--reason", "a typing error"
    )
    assert said.code == 0, said.err
    catalog = Catalog(home.database_url)
    try:
        (frame,) = catalog.frames()
    finally:
        catalog.close()
    assert frame["overscan_section"] == BIASSEC
    said = call("correct", frame["id"], "trim_section=[3:2,1:1]", "--reason", "x")
    assert said.code == 2
    assert "[x1:x2,y1:y2]" in said.err
    assert json.loads(call("frames", "--format", "json").out)[0]["overscan_section"] == BIASSEC
