"""Every file gets an answer: its frames, or the reason why there are none."""

from __future__ import annotations

import hashlib
import random
import zipfile

import numpy as np
import pytest
from astropy.io import fits

from avcd.config import Limits
from avcd.errors import ConfigError, FrameError
from avcd.frame import FrameStatus, ImageType
from avcd.headers.pixels import read_pixels
from avcd.headers.reading import read_file


def test_a_file_is_known_by_the_bytes_as_they_lie_on_disk(data_directory, read):
    path = data_directory / "feder" / "uint16.fit"
    (only,) = read(path).members
    assert only.member == ""
    assert only.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert only.size == path.stat().st_size
    assert [number for number, _ in only.frames] == [0]


def whole() -> bytes:
    head = fits.PrimaryHDU(np.zeros((20, 100), np.int16)).header.tostring().encode()
    return head + bytes(5760)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file"),
        (b"this is no picture\n" * 300, "not a FITS file: no SIMPLE card at its beginning"),
        (whole()[:4000], "truncated: 4000 of 8640 bytes"),
        (whole()[:200], "truncated: the header at byte 0 has no END in 200 bytes"),
        (whole().replace(b"END" + b" " * 77, b" " * 80), "truncated: the header at byte 0 has no END in 8640 bytes"),
        (whole().replace(b"BITPIX  =                   16", b"BITPIX  =                   17"), "BITPIX=17"),
        (whole().replace(b"NAXIS1  =                  100", b"NAXIS1  =                 -100"), "a negative size"),
        (whole().replace(b"NAXIS1  =                  100", b"NAXIS1  = 'many'              "), "no whole number"),
        (fits.PrimaryHDU().header.tostring().encode(), "holds neither an image nor a table"),
    ],
)
def test_what_is_not_usable_says_why(content, reason, tmp_path, read):
    path = tmp_path / "x.fits"
    path.write_bytes(content)
    (only,) = read(path).members
    assert only.status is FrameStatus.UNREADABLE
    assert reason in only.reason
    assert only.size == len(content)


def test_the_last_blocks_padding_may_be_missing(tmp_path, read):
    path = tmp_path / "x.fits"
    path.write_bytes(whole()[: 2880 + 4000])
    (only,) = read(path).members
    assert only.status is FrameStatus.OK
    data, _ = read_pixels(path, "", 0)
    assert data.shape == (20, 100)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("notes.txt", "not a FITS file name"),
        ("x.jpg", "a picture: preview or thumbnail"),
        ("._x.fit", "what macOS keeps beside files"),
        (".x.fit", "hidden file"),
        ("x.fit.part", "the name of an unfinished transfer"),
    ],
)
def test_what_is_ignored_says_why(name, reason, tmp_path, read):
    (tmp_path / name).write_bytes(b"abc")
    (only,) = read(tmp_path / name).members
    assert (only.status, only.reason, only.size) == (FrameStatus.IGNORED, reason, 3)
    assert only.sha256 == hashlib.sha256(b"abc").hexdigest()


def test_a_file_that_cannot_be_opened_is_accounted_for(tmp_path, read):
    (only,) = read(tmp_path / "gone.fits").members
    assert (only.status, only.reason) == (FrameStatus.UNREADABLE, "cannot be read: No such file or directory")


def test_a_wrong_profile_is_the_settings_fault_and_not_the_files(frame_file, profiles):
    path = frame_file()
    with pytest.raises(ConfigError, match="no instrument profile is named 'hubble'"):
        read_file(path, path.name, profiles, Limits(), profile="hubble")


def test_a_cube_is_a_row_that_is_left_alone(frame_file, read):
    (only,) = read(frame_file(data=np.zeros((3, 10, 12), np.uint16))).members
    ((_, frame),) = only.frames
    assert (frame.status, frame.image_type) == (FrameStatus.OK, ImageType.CUBE)
    assert frame.warnings == ("cube: 3 axes, 12x10x3; not processed as an image",)
    with pytest.raises(FrameError, match="no 2-D image"):
        read_pixels(frame_file("y.fits", data=np.zeros((3, 10, 12), np.uint16)), "", 0)


def test_a_third_axis_of_one_is_no_cube(frame_file, read):
    path = frame_file(data=np.arange(120, dtype=np.float32).reshape(1, 10, 12))
    ((_, frame),) = read(path).members[0].frames
    assert (frame.image_type, frame.naxis1, frame.naxis2) == (ImageType.SCIENCE, 12, 10)
    data, _ = read_pixels(path, "", 0)
    assert data.shape == (10, 12)
    assert data[2, 3] == 27


def test_a_file_of_tables_is_one_frame_of_its_own_type(tmp_path, read):
    column = fits.Column("X", "E", array=np.arange(3.0))
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns([column])]).writeto(tmp_path / "t.fits")
    ((number, frame),) = read(tmp_path / "t.fits").members[0].frames
    assert (number, frame.image_type) == (1, ImageType.TABLE)
    with pytest.raises(FrameError):
        read_pixels(tmp_path / "t.fits", "", 1)


def test_extensions_are_frames_and_share_what_an_empty_primary_says(tmp_path, read):
    primary = fits.PrimaryHDU(header=fits.Header({"IMAGETYP": "BIAS", "INSTRUME": "mosaic", "EXPTIME": 0.0}))
    chips = [fits.ImageHDU(np.full((4, 5), value, np.int16), name=f"CHIP{value}") for value in (1, 2)]
    chips[1].header["EXPTIME"] = 3.0
    fits.HDUList([primary, *chips]).writeto(tmp_path / "mef.fits")
    (only,) = read(tmp_path / "mef.fits").members
    (first, one), (second, two) = only.frames
    assert (first, second) == (1, 2)
    assert one.id != two.id
    assert one.image_type is two.image_type is ImageType.BIAS
    assert (one.instrument, one.exposure_s, two.exposure_s) == ("mosaic", 0.0, 3.0)
    data, header = read_pixels(tmp_path / "mef.fits", "", 2)
    assert (data == 2).all()
    assert (header["INSTRUME"], header["EXPTIME"]) == ("mosaic", 3.0)


def test_our_own_product_is_linked_and_joins_no_group(tmp_path, read):
    cards = {
        "IMAGETYP": "LIGHT",
        "OBJECT": "M 1",
        "AVCDID": "ab" * 30,
        "CALLEVEL": 3,
        "DATE-OBS": "2026-01-15T20:00:00",
    }
    primary = fits.PrimaryHDU(np.zeros((4, 5), np.float32), fits.Header(cards))
    mask = fits.ImageHDU(np.zeros((4, 5), np.uint8), name="MASK")
    fits.HDUList([primary, mask]).writeto(tmp_path / "p.fits")
    ((_, frame),) = read(tmp_path / "p.fits").members[0].frames
    assert (frame.product_id, frame.calib_level, frame.obs_id) == ("ab" * 30, 3, None)


def test_a_card_that_cannot_be_read_is_a_warning_and_not_the_end(frame_file, read):
    path = frame_file(cards={"IMAGETYP": "DARK", "EXPTIME": 30.0, "GAIN": 12})
    content = path.read_bytes()
    start = content.index(b"GAIN    =")
    path.write_bytes(content[:start] + b"GAIN    = twelve or so".ljust(80) + content[start + 80 :])
    ((_, frame),) = read(path).members[0].frames
    assert (frame.image_type, frame.exposure_s, frame.gain) == (ImageType.DARK, 30.0, None)
    assert "GAIN is not readable: 'twelve or so'" in frame.warnings
    _, header = read_pixels(path, "", 0)
    assert "GAIN" not in header


def test_control_characters_in_a_header_are_blanks(frame_file, read):
    path = frame_file(cards={"IMAGETYP": "DARK", "OBSERVER": "A0B", "INSTRUME": "cam"})
    path.write_bytes(path.read_bytes().replace(b"A0B", b"A\0B"))
    ((_, frame),) = read(path).members[0].frames
    assert frame.instrument == "cam"
    assert [one.value for one in frame.cards if one.keyword == "OBSERVER"] == ["A B"]
    data, _ = read_pixels(path, "", 0)
    assert data[0, 5] == 5


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
def test_pixels_are_physical_values_in_float32(dtype, tmp_path):
    rng = np.random.default_rng(1)
    wanted = rng.integers(0, 200, (7, 9)).astype(dtype)
    if dtype is np.uint16:
        wanted += 60_000
    fits.PrimaryHDU(wanted).writeto(tmp_path / "x.fits")
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.write(tmp_path / "x.fits", "in/x.fits")
    for path, member in ((tmp_path / "x.fits", ""), (tmp_path / "x.zip", "in/x.fits")):
        data, header = read_pixels(path, member, 0)
        assert data.dtype == np.float32
        assert data.flags.writeable
        assert data.dtype.isnative
        assert np.array_equal(data, wanted.astype(np.float32))
        assert header["NAXIS1"] == 9


def test_pixels_that_are_not_there_are_an_error_of_the_frame(frame_file, tmp_path):
    path = frame_file()
    with pytest.raises(FrameError):
        read_pixels(path, "", 4)
    with zipfile.ZipFile(tmp_path / "e.zip", "w") as archive:
        archive.writestr("a.txt", b"")
    with pytest.raises(FrameError, match="no member"):
        read_pixels(tmp_path / "e.zip", "b.fit", 0)
    with pytest.raises(FrameError, match="No such file"):
        read_pixels(tmp_path / "gone.fits", "", 0)


_NASTY = [
    b"NAXIS1  =          -1000000000",
    b"NAXIS   =                  999",
    b"PCOUNT  =          99999999999",
    b"EXPTIME =               1E400",
    b"GAIN    = " + b"9" * 70,
    b"XBINNING=                1E300",
    b"DATE-OBS= '9999-12-31T23:59:60'",
    b"MJD-OBS =                1E300",
    b"TIMESYS = 'nonsense'",
    b"OBJCTRA = '99 99 99'",
    b"\0" * 80,
]


@pytest.mark.parametrize("seed", range(120))
def test_no_damage_makes_the_reader_raise(seed, data_directory, tmp_path, read):
    chance = random.Random(seed)
    content = bytearray((data_directory / "feder" / "uint16.fit").read_bytes())
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(max(1, len(content) - 100))
        kind = chance.randrange(4)
        if kind == 0:
            content[at] = chance.randrange(256)
        elif kind == 1:
            content[at // 80 * 80 : at // 80 * 80 + 80] = chance.choice(_NASTY).ljust(80)[:80]
        elif kind == 2:
            del content[at : at + chance.randrange(100)]
        else:
            content = content[: max(100, len(content) - chance.randrange(2000))]
    path = tmp_path / "x.fits"
    path.write_bytes(content)
    (only,) = read(path).members
    assert only.status in (FrameStatus.OK, FrameStatus.UNREADABLE)
    assert "not understood" not in only.reason
    assert bool(only.reason) == (only.status is FrameStatus.UNREADABLE)
