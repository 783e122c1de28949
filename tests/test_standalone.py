"""Commands on files, from outside: the daemon's products without a home, made once, and never at the cost of a file."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import zipfile

import numpy as np
import pytest
from astropy.io import fits

from avcd.cli import onfiles
from avcd.frame import MaskBit
from avcd.products import read_image_product, verify_fits
from cli_calls import Call
from exposures import BIAS, GAIN, HOT, OVERSCAN, READ_NOISE_E, SHAPE, expose, make_night, stars, write


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    return make_night(tmp_path_factory.mktemp("night"))


@pytest.fixture
def here(night, tmp_path, monkeypatch):
    """A directory of one's own with the night's frames in it, and no home."""
    for path in night.iterdir():
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AVCD_HOME", raising=False)
    return tmp_path


@pytest.fixture
def call(capsys, here):
    return Call(capsys)


def names(stem: str) -> list[str]:
    return [f"{stem}-{number}.fits" for number in range(1, 6)]


@pytest.fixture
def masters(call, here):
    assert call("combine", *names("bias"), "-t", "bias", "-o", "bias.fits").code == 0
    assert call("combine", *names("dark"), "-t", "dark", "--bias", "bias.fits", "-o", "dark.fits").code == 0
    assert call("combine", *names("flat"), "-t", "flat", "--bias", "bias.fits", "-o", "flat.fits").code == 0
    return "--bias", "bias.fits", "--dark", "dark.fits", "--flat", "flat.fits"


def test_frames_become_reduced_frames_whose_light_is_the_skys(call, here, masters):
    said = call("reduce", "m42-1.fits", "m42-2.fits", *masters, "-o", "out")
    assert (said.code, said.out.split()) == (0, ["out/m42-1_reduced.fits", "out/m42-2_reduced.fits"])
    for number, path in enumerate(said.out.split(), 1):
        verify_fits(here / path)
        found = read_image_product(here / path)
        assert (found.unit, found.header["CALSTAT"], found.header["AVCDSTAT"]) == ("electron", "BDF", "final")
        truth = 600 + stars()
        good = found.mask == 0
        assert ((found.data - truth)[good] / found.uncertainty[good]).std() == pytest.approx(1, abs=0.06)
        assert np.median((found.data - truth)[good]) == pytest.approx(0, abs=2)
        struck = (found.mask & MaskBit.COSMIC_RAY) != 0
        assert struck[40 + number, 20:60].mean() > 0.9
        assert {row["role"] for row in found.provenance} == {"raw", "bias", "dark", "flat"}


def test_what_is_there_stays_until_something_of_it_changes(call, here, masters):
    first = (here / "bias.fits").read_bytes()
    stamp = (here / "bias.fits").stat().st_mtime_ns
    again = call("combine", *reversed(names("bias")), "-t", "bias", "-o", "bias.fits")
    assert (again.code, again.out) == (0, "bias.fits\n")
    assert "there already" in again.err
    assert (here / "bias.fits").stat().st_mtime_ns == stamp
    call("combine", *names("bias"), "-t", "bias", "-o", "bias.fits", "--force")
    assert (here / "bias.fits").stat().st_mtime_ns > stamp
    assert (here / "bias.fits").read_bytes() == first
    call("combine", *names("bias")[:4], "-t", "bias", "-o", "bias.fits")
    assert fits.getval(here / "bias.fits", "NCOMBINE") == 4
    call("combine", *names("bias"), "-t", "bias", "--method", "median", "-o", "bias.fits")
    assert fits.getval(here / "bias.fits", "NCOMBINE") == 5
    assert (here / "bias.fits").read_bytes() != first


def test_a_damaged_output_is_made_again(call, here, masters):
    whole = (here / "bias.fits").read_bytes()
    damaged = bytearray(whole)
    damaged[20000] ^= 1
    (here / "bias.fits").write_bytes(damaged)
    assert call("combine", *names("bias"), "-t", "bias", "-o", "bias.fits").code == 0
    assert (here / "bias.fits").read_bytes() == whole


def test_a_damaged_master_is_refused(call, here, masters):
    damaged = bytearray((here / "bias.fits").read_bytes())
    damaged[20000] ^= 1
    (here / "bias.fits").write_bytes(damaged)
    said = call("reduce", "m42-1.fits", *masters, "-o", "out.fits")
    assert said.code == 2
    assert "--bias bias.fits" in said.err
    assert "changed since" in said.err


def test_other_files_are_not_replaced_unless_forced_and_inputs_never(call, here):
    (here / "mine.fits").write_bytes(b"precious")
    refused = call("combine", *names("bias"), "-t", "bias", "-o", "mine.fits")
    assert (refused.code, (here / "mine.fits").read_bytes()) == (2, b"precious")
    assert "--force" in refused.err
    assert call("combine", *names("bias"), "-t", "bias", "-o", "mine.fits", "--force").code == 0
    verify_fits(here / "mine.fits")
    before = (here / "m42-1.fits").read_bytes()
    own = call("imarith", "m42-1.fits", "--add", "1", "-o", "m42-1.fits", "--force")
    assert (own.code, (here / "m42-1.fits").read_bytes()) == (2, before)
    assert not [one for one in here.iterdir() if one.name.endswith(".part")]


def test_a_bad_file_does_not_stop_the_others(call, here):
    (here / "broken.fits").write_bytes(b"no picture" * 500)
    said = call("imarith", "broken.fits", "gone.fits", "m42-1.fits", "--multiply", "2", "-o", "out")
    assert (said.code, said.out) == (1, "out/m42-1_multiply.fits\n")
    assert "avcd: broken.fits: not a FITS file" in said.err
    assert "avcd: gone.fits: " in said.err
    left_out = call("combine", "broken.fits", *names("bias"), "-t", "bias", "-o", "bias.fits")
    assert (left_out.code, fits.getval(here / "bias.fits", "NCOMBINE")) == (1, 5)


@pytest.mark.parametrize(
    ("words", "code", "what"),
    [
        (("combine", "bias-1.fits", "dark-1.fits", "-t", "bias", "-o", "x.fits"), 1, "no bias but a dark"),
        (("combine", "flat-1.fits", "flat-2.fits", "-t", "flat", "--dark", "dark-1.fits", "-o", "x.fits"), 1, "exposure"),
        (("combine", "bias-1.fits", "-t", "bias", "--method", "mode", "-o", "x.fits"), 2, "mean, median"),
        (("combine", "bias-1.fits", "-t", "bias", "--scale", "median", "-o", "x.fits"), 2, "plain alone"),
        (("combine", "bias-1.fits", "-t", "bias", "--bias", "bias-2.fits", "-o", "x.fits"), 2, "nothing is subtracted"),
        (("combine", "bias-1.fits", "wide.fits", "-t", "plain", "-o", "x.fits"), 1, "180 x 150"),
        (("combine", "bias-1.fits", "-t", "bias", "-o", "x"), 2, "ends with .fits"),
        (("combine", "bias-1.fits", "-t", "bias", "-o", "x.fits", "--set", "depth=3"), 2, "low_sigma"),
        (("combine", "bias-1.fits", "-t", "bias", "-o", "x.fits", "--set", "low_sigma=much"), 2, "5.0"),
        (("combine", "bias-1.fits", "-t", "bias", "-o", "x.fits", "--mem-limit", "lots"), 2, "MiB"),
        (("reduce", "m42-1.fits", "--bias", "wide.fits", "-o", "x.fits"), 1, "160 x 150 pixels, the bias"),
        (("reduce", "m42-1.fits", "m42-2.fits", "-o", "x.fits"), 2, "directory"),
        (("reduce", "m42-1.fits", "--mem-limit", "1 MiB", "-o", "x.fits"), 1, "raise --mem-limit"),
        (("trim", "m42-1.fits", "-o", "x.fits"), 1, "give --overscan or --section"),
        (("trim", "m42-1.fits", "--section", "1,2", "-o", "x.fits"), 2, "[x1:x2,y1:y2]"),
        (("trim", "m42-1.fits", "--section", "[1:999,1:9]", "-o", "x.fits"), 1, "beyond the image of 160 x 150"),
        (("imarith", "m42-1.fits", "-o", "x.fits"), 2, "give one of"),
        (("imarith", "m42-1.fits", "--add", "1", "--divide", "2", "-o", "x.fits"), 2, "give one of"),
        (("imarith", "m42-1.fits", "--add", "nothere.fits", "-o", "x.fits"), 2, "nothere.fits"),
        (("imarith", "m42-1.fits", "--add", "nan", "-o", "x.fits"), 2, "finite"),
        (("imarith", "m42-1.fits", "--add", "wide.fits", "-o", "x.fits"), 1, "trim both alike"),
        (("background", ".", "-o", "x.fits"), 1, "name the files in it"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_refused_with_what_to_do(call, here, words, code, what):
    said = call(*words)
    assert said.code == code, said.err
    assert what in said.err
    assert not (here / "x.fits").exists()


def test_each_frame_takes_the_flat_of_its_filter(call, here, masters):
    write(here / "g.fits", expose(50, 3, 30000.0), "Flat Field", 3.0, 50, FILTER="g")
    call("combine", "g.fits", "-t", "flat", "--bias", "bias.fits", "-o", "flat-g.fits")
    said = call("reduce", "m42-1.fits", *masters, "--flat", "flat-g.fits", "-o", "both.fits")
    assert said.code == 0
    assert (
        read_image_product(here / "both.fits").provenance
        == read_image_product(_reduced(call, here, masters)).provenance
    )
    wrong = call("reduce", "m42-1.fits", "--bias", "bias.fits", "--flat", "flat-g.fits", "-o", "x.fits")
    assert wrong.code == 1
    assert "its filter is R, and there is no flat of it: flat-g.fits (g)" in wrong.err


def _reduced(call, here, masters):
    assert call("reduce", "m42-1.fits", *masters, "-o", "one.fits").code == 0
    return here / "one.fits"


def test_what_is_done_is_not_done_again_and_what_is_missing_is_said(call, here, masters):
    _reduced(call, here, masters)
    again = call("reduce", "one.fits", *masters, "--no-cosmic", "-o", "again.fits")
    assert again.code == 0
    assert "bias, dark, flat applied already (card CALSTAT)" in again.err
    np.testing.assert_array_equal(fits.getdata(here / "again.fits"), fits.getdata(here / "one.fits"))
    part = call("reduce", "m42-1.fits", "--bias", "bias.fits", "-o", "part.fits")
    assert part.code == 0
    header = fits.getheader(here / "part.fits")
    assert header["AVCDSTAT"] == "provisional"
    assert "no dark was given; no flat was given" in str(header["HISTORY"])
    assert "it is a flat frame" in call("reduce", "flat-1.fits", "--bias", "bias.fits", "-o", "light.fits").err
    alone = call("reduce", "m42-1.fits", "--dark", "dark.fits", "-o", "x.fits")
    assert "give --bias too" in alone.err


def test_what_the_observer_says_goes_before_the_header(call, here, masters):
    one = read_image_product(_reduced(call, here, masters))
    call("reduce", "m42-1.fits", *masters, "--gain", GAIN * 2, "--no-cosmic", "-o", "two.fits")
    two = read_image_product(here / "two.fits")
    unstruck = one.mask == 0
    np.testing.assert_allclose(two.data[unstruck], 2 * one.data[unstruck], rtol=1e-5, atol=1e-2)
    assert two.parameters["gain_e_per_adu"] == GAIN * 2
    assert not (two.mask & MaskBit.COSMIC_RAY).any()
    call("reduce", "m42-1.fits", *masters, "--read-noise", 300, "--saturation", 2000, "-o", "three.fits")
    three = read_image_product(here / "three.fits")
    assert np.median(three.uncertainty) > 300
    assert (three.mask & MaskBit.SATURATED).any()


def test_a_bad_pixel_mask_of_anybodys_is_applied(call, here, masters):
    bad = np.zeros(SHAPE, np.uint8)
    bad[HOT[0]] = 1
    fits.PrimaryHDU(bad).writeto(here / "bad.fits")
    assert call("reduce", "m42-1.fits", *masters, "--bad-pixels", "bad.fits", "-o", "out.fits").code == 0
    mask = read_image_product(here / "out.fits").mask
    assert mask[HOT[0]] & MaskBit.USER
    assert np.count_nonzero(mask & MaskBit.USER) == 1


def test_a_delivered_master_serves(call, here, masters):
    bias = read_image_product(here / "bias.fits").data
    write(here / "given.fits", bias, "Master Bias", 0.0, 5)
    assert call("reduce", "m42-1.fits", "--bias", "given.fits", "--no-cosmic", "-o", "a.fits").code == 0
    assert call("reduce", "m42-1.fits", "--bias", "bias.fits", "--no-cosmic", "-o", "b.fits").code == 0
    np.testing.assert_array_equal(fits.getdata(here / "a.fits"), fits.getdata(here / "b.fits"))


def test_compressed_files_are_the_same_frames(call, here, masters):
    for name in names("bias"):
        with (here / f"{name}.gz").open("wb") as stream:
            stream.write(gzip.compress((here / name).read_bytes()))
    said = call("combine", *[f"{name}.gz" for name in names("bias")], "-t", "bias", "-o", "bias.fits")
    assert "there already" in said.err
    twice = call("combine", "bias-1.fits", "bias-1.fits.gz", "bias-2.fits", "-t", "bias", "-o", "two.fits")
    assert fits.getval(here / "two.fits", "NCOMBINE") == 2
    assert "each counts once" in twice.err


def test_a_compressed_master_keeps_its_planes(call, here, masters):
    (here / "bias.fits.gz").write_bytes(gzip.compress((here / "bias.fits").read_bytes()))
    assert call("reduce", "m42-1.fits", "--bias", "bias.fits.gz", "-o", "a.fits").code == 0
    assert call("reduce", "m42-1.fits", "--bias", "bias.fits", "-o", "b.fits").code == 0
    one, other = (read_image_product(here / name) for name in ("a.fits", "b.fits"))
    np.testing.assert_array_equal(one.uncertainty, other.uncertainty)
    assert one.header["AVCDID"] == other.header["AVCDID"]
    with zipfile.ZipFile(here / "packed.zip", "w") as archive:
        archive.write(here / "bias.fits", "bias.fits")
    assert "unpack it first" in call("reduce", "m42-1.fits", "--bias", "packed.zip", "-o", "c.fits").err


@pytest.mark.skipif(not shutil.which("fitsverify"), reason="fitsverify is not here; .ci/run installs it")
def test_fitsverify_has_nothing_to_say(call, here, masters):
    call("trim", "wide.fits", "-o", "trim.fits")
    call("imarith", "m42-1.fits", "--divide", "bias.fits", "-o", "imarith.fits")
    call("background", "m42-1.fits", "-o", "background.fits")
    call("cosmic", "imarith.fits", "-o", "cosmic.fits")
    call("combine", "m42-1.fits", "m42-2.fits", "-t", "plain", "-o", "plain.fits")
    for name in ("trim", "imarith", "background", "cosmic", "plain", "bias"):
        said = subprocess.run(["fitsverify", "-q", f"{name}.fits"], capture_output=True, text=True, cwd=here)
        assert said.stdout.startswith("verification OK"), said.stdout


def test_images_of_one_file_each_count(call, here):
    shutil.copyfile(here / "m42-1.fits", here / "many.fits")
    with fits.open(here / "many.fits", mode="append") as hdus:
        hdus.append(fits.ImageHDU(expose(70), name="SECOND"))
    said = call("imarith", "many.fits", "--add", 1, "-o", "out")
    assert said.code == 0
    assert said.out.split() == ["out/many-0_add.fits", "out/many-1_add.fits"]


def test_trimming_prepares_frames_for_all_that_follows(call, here, masters):
    assert call("trim", "wide.fits", "-o", "narrow.fits").code == 0
    found = read_image_product(here / "narrow.fits")
    assert found.data.shape == SHAPE
    assert not {"BIASSEC", "TRIMSEC"} & set(found.header)
    assert found.header["SATURATE"] == pytest.approx(65535 - BIAS, abs=3)
    assert np.median(found.data) == pytest.approx(np.median(expose(41, 120, 600 + stars())) - BIAS, abs=2)
    assert "overscan [161:180,1:150] subtracted" in str(found.header["HISTORY"])
    assert call("trim", "wide.fits", "--no-subtract", "-o", "cut.fits").code == 0
    np.testing.assert_array_equal(fits.getdata(here / "cut.fits"), fits.getdata(here / "wide.fits")[:, :-OVERSCAN])
    assert call("reduce", "cut.fits", *masters, "-o", "out.fits").code == 0
    assert fits.getval(here / "out.fits", "CALSTAT") == "BDF"


def test_trimmed_biases_and_darks_become_masters_that_know_their_masks(call, here):
    for number, name in enumerate(names("bias"), 1):
        wide = np.hstack([fits.getdata(here / name), expose(80 + number)[:, :20]]).astype(np.uint16)
        write(here / f"w{number}.fits", wide, "Bias Frame", 0.0, number)
    files = [f"w{number}.fits" for number in range(1, 6)]
    call("trim", *files, "--overscan", "[161:180,11:150]", "--section", "[1:160,1:150]", "-o", "t")
    trimmed = [f"t/w{number}_trimmed.fits" for number in range(1, 6)]
    said = call("combine", *trimmed, "-t", "bias", "-o", "b.fits")
    assert said.code == 0, said.err
    found = read_image_product(here / "b.fits")
    assert (found.mask[:10] == MaskBit.NO_DATA).all()
    assert not found.mask[10:].any()
    assert np.median(found.data[10:]) == pytest.approx(0, abs=1)


def test_the_world_and_the_window_move_with_a_trim(call, here):
    world = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 83.8, "CRVAL2": -5.4, "CRPIX1": 80.0, "CRPIX2": 75.0,
             "CDELT1": -1e-4, "CDELT2": 1e-4, "XORGSUBF": 0, "YORGSUBF": 0}  # fmt: skip
    write(here / "sky.fits", expose(60), "Light Frame", 1.0, 55, **world)
    call("trim", "sky.fits", "--section", "[11:150,21:140]", "-o", "out.fits")
    header = fits.getheader(here / "out.fits")
    assert [header[key] for key in ("CRPIX1", "CRPIX2", "XORGSUBF", "YORGSUBF")] == [70.0, 55.0, 10, 20]


def test_plain_combinations_scale_and_carry_masks(call, here, masters):
    call("reduce", "m42-1.fits", "m42-2.fits", *masters, "-o", "r")
    files = "r/m42-1_reduced.fits", "r/m42-2_reduced.fits"
    call("imarith", files[1], "--multiply", 3, "-o", "three.fits")
    assert call("combine", files[0], "three.fits", "-t", "plain", "--scale", "median", "-o", "out.fits").code == 0
    one, out = read_image_product(here / files[0]), read_image_product(here / "out.fits")
    good = (out.mask == 0) & (one.mask == 0)
    assert np.median(out.data[good] / one.data[good]) == pytest.approx(2, rel=0.02)
    assert out.unit == "electron"
    both = (one.mask != 0) & (read_image_product(here / "three.fits").mask != 0)
    assert (out.mask[both] & MaskBit.NO_DATA).all()
    total = call("combine", *files, "-t", "plain", "--method", "sum", "-o", "sum.fits")
    assert total.code == 0
    assert fits.getval(here / "sum.fits", "EXPTIME") == 240.0


def test_memory_never_changes_what_is_combined(call, here):
    call("combine", *names("dark"), "-t", "dark", "-o", "a.fits")
    call("combine", *names("dark"), "-t", "dark", "--mem-limit", "0.5 MiB", "-o", "b.fits")
    assert (here / "a.fits").read_bytes() == (here / "b.fits").read_bytes()


def test_the_background_is_written_or_subtracted(call, here, masters):
    _reduced(call, here, masters)
    assert call("background", "one.fits", "--box", 32, "-o", "sky.fits").code == 0
    assert call("background", "one.fits", "--box", 32, "--subtract", "-o", "flat-sky.fits").code == 0
    frame, sky, rest = (read_image_product(here / name) for name in ("one.fits", "sky.fits", "flat-sky.fits"))
    assert np.median(sky.data) == pytest.approx(600, rel=0.02)
    np.testing.assert_allclose(rest.data + sky.data, frame.data, atol=1e-3)
    np.testing.assert_array_equal(rest.mask, frame.mask)
    assert rest.header["CALSTAT"] == "BDF"


def test_cosmic_rays_go_from_a_calibrated_frame_and_a_raw_one_warns(call, here, masters):
    call("reduce", "m42-1.fits", *masters, "--no-cosmic", "-o", "struck.fits")
    assert call("cosmic", "struck.fits", "-o", "clean.fits").code == 0
    clean, whole = read_image_product(here / "clean.fits"), read_image_product(_reduced(call, here, masters))
    np.testing.assert_array_equal(clean.mask, whole.mask)
    np.testing.assert_allclose(clean.data, whole.data, rtol=1e-6)
    assert "holds its bias" in call("cosmic", "m42-1.fits", "-o", "raw.fits").err


def test_read_noise_and_gain_are_those_of_the_camera(call, here):
    said = call("noise", *names("bias"), *names("flat"), "m42-1.fits", "--format", "json")
    assert said.code == 0
    (row,) = json.loads(said.out)
    assert row["read_noise_e"] == pytest.approx(READ_NOISE_E, rel=0.02)
    assert row["gain_e_per_adu"] == pytest.approx(GAIN, rel=0.02)
    assert (row["filter"], row["biases"], row["flats"]) == ("R", 5, 5)
    assert "m42-1.fits: neither bias nor flat but science" in said.err
    few = call("noise", "bias-1.fits", "flat-1.fits")
    assert few.code == 1
    assert "needs two or more" in few.err


def test_a_foreign_darks_bias_is_as_the_observer_says(call, here, masters):
    for name, data in (("with.fits", expose(90, 60)), ("less.fits", expose(90, 60).astype(np.int32) - int(BIAS))):
        write(here / name, data, "Dark Frame", 120.0, 50)
    bias = "--bias", "bias.fits", "--no-cosmic"
    for name, word in (("with.fits", "--dark-with-bias"), ("less.fits", "--dark-less-bias")):
        assert call("reduce", "m42-1.fits", *bias, "--dark", name, word, "-o", f"out-{name}").code == 0
    whole, less = (read_image_product(here / f"out-{name}") for name in ("with.fits", "less.fits"))
    assert abs(np.median(whole.data - less.data)) < 1.5
    refused = call("reduce", "m42-1.fits", *bias, "--dark", "dark.fits", "--dark-with-bias", "-o", "x.fits")
    assert refused.code == 2
    assert "it says itself that its bias was removed" in refused.err


def test_bars_are_shown_on_a_terminal_alone(call, here, monkeypatch):
    words = "imarith", "m42-1.fits", "m42-2.fits", "--add", 1, "--force", "-o", "out"
    assert "2/2" not in call(*words).err
    monkeypatch.setattr(onfiles, "is_terminal", lambda: True)
    watched = call(*words)
    assert watched.out.split() == ["out/m42-1_add.fits", "out/m42-2_add.fits"]
    assert watched.err.count("2/2") == 2  # reading, processing
