"""Frames translated again from what the catalogue holds come out as they did from their files."""

from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits

from avcd.frame import Card, Frame
from avcd.headers.again import Translator, hdu_again
from avcd.headers.profiles import load_profiles


def again(frame: Frame, translator: Translator, path: str) -> Frame:
    hdu = hdu_again(
        frame.id,
        frame.pixel_sha256,
        frame.cards,
        (frame.naxis2, frame.naxis1),
        frame.warnings,
        is_table=frame.image_type == "table",
        detector=frame.detector,
        exposure_id=frame.exposure_id,
    )
    return translator.translate(hdu, "drop", path)


def frames_of(reading) -> list[Frame]:
    return [frame for member in reading.members for _, frame in member.frames]


def test_real_frames_need_no_file_to_be_translated_again(shared_data, read, profiles):
    translator, count = Translator(profiles), 0
    for path in sorted(shared_data.rglob("*.f*"))[::3]:
        name = path.relative_to(shared_data).as_posix()
        for frame in frames_of(read(path, name)):
            count += 1
            assert again(frame, translator, name) == frame
    assert count >= 10


@pytest.mark.parametrize("form", ["plain", "packed", "cube", "line", "table", "several", "odd"])
def test_every_form_of_frame(read, profiles, tmp_path, form):
    pixels = np.arange(120, dtype=np.uint16).reshape(10, 12)
    primary = fits.PrimaryHDU(pixels, fits.Header({"IMAGETYP": "FLAT", "FILTER": "R", "EXPTIME": 2.0}))
    hdus = [primary]
    if form == "packed":
        hdus = [fits.PrimaryHDU(), fits.CompImageHDU(pixels, primary.header)]
    elif form == "cube":
        hdus = [fits.PrimaryHDU(np.zeros((3, 10, 12), np.float32))]
    elif form == "line":
        hdus = [fits.PrimaryHDU(np.zeros((1, 1, 12), np.float32))]
    elif form == "table":
        hdus = [fits.PrimaryHDU(), fits.BinTableHDU.from_columns([fits.Column("x", "E", array=[1.0])])]
    elif form == "several":
        hdus = [
            fits.PrimaryHDU(None, primary.header),
            fits.ImageHDU(pixels, name="A"),
            fits.ImageHDU(pixels + 1, name="B"),
        ]
    path = tmp_path / "x.fits"
    fits.HDUList(hdus).writeto(path)
    if form == "odd":
        path.write_bytes(path.read_bytes().replace(b"FILTER  = 'R       '", b"FILTER  = R         "))
    found = frames_of(read(path))
    assert len(found) == (2 if form == "several" else 1)
    for frame in found:
        assert again(frame, Translator(profiles), "x.fits") == frame
    assert any("is not readable" in one for one in found[0].warnings) == (form == "odd")


def test_cards_without_a_size_keep_the_size_that_is_known(profiles):
    frame = Frame(id="0", naxis1=12, naxis2=10, cards=(Card("IMAGETYP", "FLAT"),))
    found = again(frame, Translator(profiles), "x.fits")
    assert (found.naxis1, found.naxis2, found.image_type) == (12, 10, "flat")


def test_digests_tell_which_profile_changed(tmp_path):
    (tmp_path / "instruments").mkdir()
    own = tmp_path / "instruments" / "own.toml"
    own.write_text('inherits = "generic"\n[[match]]\ncards = { TELESCOP = "^own" }\n')
    translator = Translator(load_profiles(tmp_path), {"drop": (None, None)})
    before = translator.digests("drop")
    assert Translator(load_profiles(tmp_path), translator.drops).digests("drop") == before
    own.write_text(
        'inherits = "generic"\n[defaults]\ncalibration = ["bias", "dark"]\n[[match]]\ncards = { TELESCOP = "^own" }\n'
    )
    after = Translator(load_profiles(tmp_path), translator.drops).digests("drop")
    assert {name for name in before if before[name] != after[name]} == {"own"}
    # Whom it recognises, where a telescope stands, what a drop directory is set to: any frame may be touched.
    own.write_text('inherits = "generic"\npriority = 5\n[[match]]\ncards = { TELESCOP = "^own" }\n')
    assert Translator(load_profiles(tmp_path), translator.drops).digests("drop")[""] != before[""]
    assert replace(translator, drops={"drop": ("generic", None)}).digests("drop")[""] != before[""]
    (tmp_path / "sites.toml").write_text("[hill]\nlatitude_deg = 1.0\nlongitude_deg = 2.0\n")
    own.write_text('inherits = "generic"\n[[match]]\ncards = { TELESCOP = "^own" }\n')
    changed = Translator(load_profiles(tmp_path), translator.drops).digests("drop")
    assert {name for name in before if before[name] != changed[name]} == {""}
