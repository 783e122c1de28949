"""avcd solve: copies and headers with world coordinates that are right, one frame helping the other, and honest refusals."""

from __future__ import annotations

import gzip
import hashlib
import shutil

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from pictures import faint_stars, picture, write_picture
from scenes import world

from avcd.errors import ProcessingError
from avcd.products import verify_fits
from avcd.sky.reference import Tycho2
from avcd.sky.services import SkyServices
from avcd.stages.science import delivered_world
from cli_calls import Call

SHAPE = (400, 500)
WIDE, NARROW = 12.0, 0.8  # arcsec a pixel


def tycho_sky(ra: float, dec: float):
    stars = Tycho2().cone(ra, dec, 1.5)
    return stars.ra_deg, stars.dec_deg, 10 ** (-0.4 * (stars.mag - 22.5))


def with_pointing(truth: WCS, scale: float) -> dict:
    ra, dec = (float(one) for one in truth.wcs.crval)
    return {"RA": ra + 0.1 * scale / WIDE, "DEC": dec - 0.1 * scale / WIDE, "PIXSCALE": scale * 1.04}


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    """A wide field that Tycho-2 knows; three frames of a narrow one that it does not, the first with its coordinates."""
    here = tmp_path_factory.mktemp("frames")
    truth = {"wide": world(84.0, 30.0, WIDE, SHAPE, 2.0, -1)}
    write_picture(
        here / "wide.fits", picture(truth["wide"], tycho_sky(84.0, 30.0), SHAPE), **with_pointing(truth["wide"], WIDE)
    )
    stars = faint_stars(5, 110.0, 20.0, 0.2, 120)
    for minute, name in enumerate(("first", "second", "third")):
        truth[name] = world(110.0 + 0.01 * minute, 20.0, NARROW, SHAPE, 0.5 + minute, -1)
        data = picture(truth[name], stars, SHAPE, seed=minute)
        delivered = truth[name] if name == "first" else None
        write_picture(here / f"{name}.fits", data, minute, delivered, **with_pointing(truth[name], NARROW))
    return here, truth


@pytest.fixture
def here(frames, tmp_path, monkeypatch):
    for path in frames[0].iterdir():
        shutil.copyfile(path, tmp_path / path.name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AVCD_HOME", raising=False)
    return tmp_path


@pytest.fixture
def call(capsys, here):
    return Call(capsys)


def error_px(path, truth: WCS) -> float:
    with fits.open(path) as hdus:
        found = WCS(hdus[0].header)
    x, y = np.array([0, 250, 499, 0, 499.0]), np.array([0, 200, 0, 399, 399.0])
    back = np.array(truth.all_world2pix(*found.all_pix2world(x, y, 0), 0))
    return float(np.hypot(*(back - [x, y])).max())


def test_a_copy_has_world_coordinates_that_are_right(call, here, frames):
    said = call("solve", "wide.fits", "-o", "solved.fits")
    assert (said.code, said.out) == (0, "solved.fits\n"), said.err
    verify_fits(here / "solved.fits")
    assert error_px(here / "solved.fits", frames[1]["wide"]) < 0.7
    header = fits.getheader(here / "solved.fits")
    assert header["ASTRNUM"] >= 12
    assert header["ASTRRMS"] < 0.5 * WIDE
    assert "Tycho-2" in str(header["HISTORY"])
    np.testing.assert_array_equal(fits.getdata(here / "solved.fits"), fits.getdata(here / "wide.fits"))


def test_what_is_there_is_not_made_again(call, here):
    assert call("solve", "wide.fits", "-o", "solved.fits").code == 0
    before = (here / "solved.fits").read_bytes()
    assert "already" in call("solve", "wide.fits", "-o", "solved.fits").err
    assert (here / "solved.fits").read_bytes() == before
    assert "already" not in call("solve", "wide.fits", "--sip-order", "0", "-o", "solved.fits").err


def test_in_place_the_header_alone_changes(call, here, frames):
    path = here / "wide.fits"
    before = fits.getheader(path)
    pixels = hashlib.sha256(path.read_bytes()[-((400 * 500 * 2 + 2879) // 2880 * 2880) :]).hexdigest()
    said = call("solve", "wide.fits", "--in-place")
    assert (said.code, said.out) == (0, "wide.fits\n"), said.err
    assert error_px(path, frames[1]["wide"]) < 0.7
    assert hashlib.sha256(path.read_bytes()[-((400 * 500 * 2 + 2879) // 2880 * 2880) :]).hexdigest() == pixels
    after = fits.getheader(path)
    assert all(after[key] == before[key] for key in before)
    assert {one.name for one in here.iterdir()} == {"wide.fits", "first.fits", "second.fits", "third.fits"}
    again = call("solve", "wide.fits", "--in-place")
    assert "delivered" in again.err
    assert error_px(path, frames[1]["wide"]) < 0.7


def test_one_solved_frame_of_a_field_solves_the_others(call, here, frames):
    alone = call("solve", "second.fits", "-o", "alone.fits")
    assert (alone.code, alone.out) == (1, "")
    assert "Tycho-2 stars in the field" in alone.err
    assert not (here / "alone.fits").exists()
    said = call("solve", "first.fits", "second.fits", "third.fits", "-o", "out")
    assert said.code == 0, said.err
    for name in ("second", "third"):
        path = here / "out" / f"{name}_solved.fits"
        assert error_px(path, frames[1][name]) < 1.0
        assert "no catalogue has verified" in said.err
        with fits.open(path) as hdus:
            assert {row["role"] for row in hdus["PROVENANCE"].data} == {"frame", "sibling"}


def test_a_header_without_a_place_is_helped_by_options(call, here, frames):
    bare = here / "bare.fits"
    write_picture(bare, fits.getdata(here / "wide.fits"))
    refused = call("solve", bare, "--in-place")
    assert refused.code == 1
    assert "--ra" in refused.err
    said = call("solve", bare, "--in-place", "--ra", 84.2, "--dec", 30.1, "--scale", 12.5)
    assert said.code == 0, said.err
    assert error_px(bare, frames[1]["wide"]) < 0.7


@pytest.mark.parametrize("engines", [("index",), ("solve-field",), ("solve-field", "index")], ids="-".join)
def test_a_header_that_says_nothing_is_helped_by_blind_engines(call, here, frames, engines):
    for one in engines:
        try:
            SkyServices().engines([one])[0].check()
        except ProcessingError as error:
            pytest.skip(str(error))
    write_picture(here / "bare.fits", fits.getdata(here / "wide.fits"))
    said = call("solve", "bare.fits", "-o", "found.fits", *(word for one in engines for word in ("--blind", one)))
    assert said.code == 0, said.err
    assert error_px(here / "found.fits", frames[1]["wide"]) < 0.7
    assert "Tycho-2" in str(fits.getheader(here / "found.fits")["HISTORY"])


def test_wrong_usage_is_told(call, here):
    for words in (("wide.fits",), ("wide.fits", "-o", "x.fits", "--in-place"), ("wide.fits", "-o", "x.fits", "--ra", 3),
                  ("wide.fits", "-o", "x.fits", "--index", ".")):  # fmt: skip
        assert call("solve", *words).code == 2


def test_what_has_no_header_of_its_own_is_not_written_into(call, here):
    packed = here / "wide.fits.gz"
    packed.write_bytes(gzip.compress((here / "wide.fits").read_bytes()))
    assert call("solve", "wide.fits", "-o", "solved.fits").code == 0
    for name in (packed.name, "solved.fits"):
        before = (here / name).read_bytes()
        said = call("solve", name, "--in-place")
        assert said.code == 1
        assert "-o" in said.err
        assert (here / name).read_bytes() == before


def test_of_unproven_coordinates_the_one_that_is_off_is_refined_by_the_others(call, here, frames):
    """Half a pixel is below what is refined by a catalogue; among frames of one field it shows, and the majority stays."""
    for name, off_px in (("first", 0.0), ("second", 0.0), ("third", 0.6)):
        delivered = frames[1][name].deepcopy()
        delivered.wcs.crpix = delivered.wcs.crpix + off_px
        data, header = fits.getdata(here / f"{name}.fits"), fits.getheader(here / f"{name}.fits")
        header.update(delivered.to_header())
        fits.PrimaryHDU(data, header).writeto(here / f"given-{name}.fits")
    said = call("solve", *(f"given-{name}.fits" for name in ("first", "second", "third")), "-o", "out")
    assert said.code == 0, said.err
    paths = {name: here / "out" / f"given-{name}_solved.fits" for name in ("first", "second", "third")}
    told = {name: str(fits.getheader(path)["HISTORY"]) for name, path in paths.items()}
    assert ["coordinates refined" in told[name] for name in paths] == [False, False, True]
    assert error_px(paths["third"], frames[1]["third"]) < 0.4  # in the corners; it was 0.85
    for name in ("first", "second"):
        assert error_px(paths[name], frames[1][name]) < 1e-3


@pytest.mark.shared
def test_the_real_frames_of_m1_are_brought_to_agree_and_those_of_the_cats_eye_are_refused(call, here, shared_data):
    """V keeps its world coordinates; B was 0.70 px from it, r 0.36 px."""
    raw = sorted((shared_data / "prompt5-m1").glob("*.fits"))
    said = call("solve", *raw, "-o", "m1")
    assert said.code == 0, said.err
    headers = {path.name[3]: fits.getheader(path) for path in sorted((here / "m1").iterdir())}
    assert {name: one["ASTRNUM"] > 80 for name, one in headers.items()} == dict.fromkeys("BVr", True)
    off_px = {name: one["ASTRRMS"] / 0.587 for name, one in headers.items()}
    assert off_px == pytest.approx({"B": 0.35, "V": 0.36, "r": 0.32}, abs=0.03)
    refined = [name for name, one in headers.items() if "coordinates refined" in str(one["HISTORY"])]
    assert refined == ["B", "r"]
    before = delivered_world(fits.getheader(raw[1]))
    x, y = np.array([0, 512, 1023.0]), np.array([0, 512, 1023.0])
    np.testing.assert_allclose(
        before.all_world2pix(*delivered_world(headers["V"]).all_pix2world(x, y, 0), 0), [x, y], atol=1e-3
    )
    lights = sorted((shared_data / "arcsat-2025-06-01").glob("Cats_Eye*.fits"))
    refused = call("solve", *lights, "-o", "cat")
    assert (refused.code, refused.out) == (1, "")
    assert refused.err.count("--gaia") == len(lights) == 4
