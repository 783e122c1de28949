"""What is refused when an archive is opened, and that nothing of it reaches the disk."""

from __future__ import annotations

import gzip
import io
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from avcd.config import Limits
from avcd.frame import FrameStatus
from avcd.headers.archives import kind_of
from avcd.headers.pixels import read_pixels


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.fit", "fits"),
        ("A.FITS", "fits"),
        ("b.fts", "fits"),
        ("c.fits.fz", "fz"),
        ("d.fit.gz", "compressed"),
        ("e.fits.bz2", "compressed"),
        ("f.fit.zip", "zip"),
        ("g.jpg", "picture"),
        ("Thumbs.db", "picture"),
        ("night.tar", "tar"),
        ("night.tar.gz", "tar"),
        ("night.tgz", "tar"),
        ("night.tar.xz", "tar"),
        ("stack.xisf", "compressed"),
        ("h.txt.gz", "other"),
        ("._i.fit", "shadow"),
        (".j.fit", "hidden"),
        ("k.fit.part", "transfer"),
        ("l.fit.filepart", "transfer"),
        ("m.fit.crdownload", "transfer"),
        ("n.fit~", "transfer"),
        ("avcd-complete", "other"),
    ],
)
def test_names_say_what_is_looked_into(name, kind):
    assert kind_of(f"some/directory.fit/{name}") == kind


def members(reading) -> dict[str, tuple[FrameStatus, str]]:
    return {one.member: (one.status, one.reason) for one in reading.members}


def test_a_zip_file_tells_of_every_member(data_directory, tmp_path, read):
    frame = (data_directory / "feder" / "uint16.fit").read_bytes()
    path = tmp_path / "night.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("good one.fit", frame)
        archive.writestr("gzipped.fit.gz", gzip.compress(frame))
        archive.writestr("../escape.fit", frame)
        archive.writestr("/absolute.fit", frame)
        archive.writestr("C:\\windows.fit", frame)
        archive.writestr("inner.zip", b"PK")
        archive.writestr("readme.txt", b"hello")
        archive.writestr("short.fit", frame[:3000])
        archive.writestr("directory/", b"")
    reading = read(path)
    found = members(reading)
    assert found[""] == (FrameStatus.OK, "")
    assert found["good one.fit"] == (FrameStatus.OK, "")
    assert found["gzipped.fit.gz"] == (FrameStatus.OK, "")
    assert found["readme.txt"] == (FrameStatus.IGNORED, "not a FITS file name")
    for name in ("../escape.fit", "/absolute.fit"):
        assert found[name][0] is FrameStatus.UNREADABLE
        assert "not safe" in found[name][1]
    assert any("not safe" in reason for name, (_, reason) in found.items() if "windows" in name)
    assert "archive inside an archive" in found["inner.zip"][1]
    assert found["short.fit"][0] is FrameStatus.UNREADABLE
    assert len(found) == 9
    assert [one.name for one in tmp_path.iterdir()] == ["night.zip"]
    assert not (tmp_path.parent / "escape.fit").exists()


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_comes_twice_is_two_rows(data_directory, tmp_path, read):
    frame = (data_directory / "feder" / "uint16.fit").read_bytes()
    with zipfile.ZipFile(tmp_path / "twice.zip", "w") as archive:
        archive.writestr("a.fit", frame)
        archive.writestr("a.fit", frame)
    found = members(read(tmp_path / "twice.zip"))
    assert found["a.fit"][0] is FrameStatus.OK
    assert found["a.fit#2"] == (FrameStatus.UNREADABLE, "a second member of this name")


def test_encrypted_members_are_refused(data_directory, tmp_path, read):
    path = tmp_path / "secret.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.fit", (data_directory / "feder" / "uint16.fit").read_bytes())
    content = bytearray(path.read_bytes())
    content[6] |= 1  # the flag of encryption, in the local header and in the directory
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    assert members(read(path))["a.fit"] == (FrameStatus.UNREADABLE, "encrypted")


def zeros(size: int) -> bytes:
    head = [
        "SIMPLE  =                    T",
        "BITPIX  =                    8",
        "NAXIS   =                    1",
        f"NAXIS1  = {size:20d}",
        "END",
    ]
    return "".join(card.ljust(80) for card in head).ljust(2880).encode() + bytes(-(-size // 2880) * 2880)


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (Limits(max_ratio=50), "compression ratio above 50"),
        (Limits(max_member_bytes=20 << 20, max_ratio=1e9), "more than 20971520 bytes"),
    ],
    ids=["ratio", "size"],
)
def test_bombs_are_refused_by_the_bytes_that_come_out(limits, words, tmp_path, read):
    content = zeros(30 << 20)
    zipped = tmp_path / "bomb.zip"
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.fit", content)
    lie = bytearray(zipped.read_bytes())
    at = lie.index(b"PK\x01\x02") + 24
    lie[at : at + 4] = (1000).to_bytes(4, "little")  # the directory declares 1000 bytes
    lying = tmp_path / "lying.zip"
    lying.write_bytes(lie)
    gzipped = tmp_path / "bomb.fits.gz"
    gzipped.write_bytes(gzip.compress(content))
    assert words in members(read(zipped, limits=limits))["a.fit"][1]
    assert members(read(lying, limits=limits))["a.fit"][0] is FrameStatus.UNREADABLE
    (only,) = read(gzipped, limits=limits).members
    assert words in only.reason


def test_a_tile_compressed_bomb_is_refused_before_it_unpacks(tmp_path, read):
    path = tmp_path / "bomb.fits.fz"
    image = fits.CompImageHDU(np.zeros((6000, 6000), np.uint8), compression_type="GZIP_1", tile_shape=(1000, 6000))
    fits.HDUList([fits.PrimaryHDU(), image]).writeto(path)
    assert path.stat().st_size < 200_000
    (only,) = read(path, limits=Limits(max_ratio=100)).members
    assert only.status is FrameStatus.UNREADABLE
    assert "compression ratio above 100" in only.reason


def test_members_that_are_believable_alone_but_not_together(tmp_path, read):
    with zipfile.ZipFile(tmp_path / "many.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(3):
            archive.writestr(f"{number}.fit", zeros(8 << 20))
    (only,) = read(tmp_path / "many.zip", limits=Limits(max_ratio=100)).members
    assert "together" in only.reason


def test_too_many_members(tmp_path, read):
    with zipfile.ZipFile(tmp_path / "many.zip", "w") as archive:
        for number in range(11):
            archive.writestr(f"{number}.fit", b"x")
    (only,) = read(tmp_path / "many.zip", limits=Limits(max_members=10)).members
    assert (only.status, "11 members" in only.reason) == (FrameStatus.UNREADABLE, True)


@pytest.mark.parametrize("keep", [0, 10, 3000], ids=["empty", "stub", "without its directory"])
def test_a_broken_zip_file_is_a_row_with_the_reason(keep, data_directory, tmp_path, read):
    path: Path = tmp_path / "broken.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.fit", (data_directory / "feder" / "uint16.fit").read_bytes())
    path.write_bytes(path.read_bytes()[:keep])
    (only,) = read(path).members
    assert only.status is FrameStatus.UNREADABLE
    assert "not a readable zip archive" in only.reason
    assert only.sha256
    assert only.size == keep


def test_a_gzip_that_was_cut_short_is_unreadable(data_directory, tmp_path, read):
    path = tmp_path / "cut.fits.gz"
    path.write_bytes(gzip.compress((data_directory / "feder" / "uint16.fit").read_bytes())[:-100])
    (only,) = read(path).members
    assert only.status is FrameStatus.UNREADABLE
    assert "broken compression" in only.reason


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz"])
def test_a_tar_file_tells_of_every_member(suffix, data_directory, tmp_path, read):
    frame = (data_directory / "feder" / "uint16.fit").read_bytes()
    path = tmp_path / f"night{suffix}"
    how = {".tar": "w", ".gz": "w:gz", ".tgz": "w:gz", ".bz2": "w:bz2", ".xz": "w:xz"}[Path(suffix).suffix or suffix]
    with tarfile.open(path, how) as archive:
        for name, content in {
            "good one.fit": frame,
            "gzipped.fit.gz": gzip.compress(frame),
            "../escape.fit": frame,
            "inner.tar": b"x",
            "._good one.fit": b"shadow",
            "preview.jpg": b"jpeg",
            "short.fit": frame[:3000],
            "good one.fit#": b"",
        }.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        link = tarfile.TarInfo("link.fit")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    found = members(read(path))
    assert {name for name, (status, _) in found.items() if status is FrameStatus.OK} == {
        "",
        "good one.fit",
        "gzipped.fit.gz",
    }
    assert "leads outside" in found["../escape.fit"][1]
    assert "inside an archive" in found["inner.tar"][1]
    assert found["link.fit"] == (FrameStatus.UNREADABLE, "a link or a device, no file")
    assert found["._good one.fit"] == (FrameStatus.IGNORED, "what macOS keeps beside files")
    assert found["preview.jpg"] == (FrameStatus.IGNORED, "a picture: preview or thumbnail")
    assert "truncated" in found["short.fit"][1]
    data, header = read_pixels(path, "good one.fit", 0)
    with fits.open(data_directory / "feder" / "uint16.fit") as hdus:
        assert np.array_equal(data, hdus[0].data.astype(np.float32))
    assert header["INSTRUME"]
    ids = {frame.id for member in read(path).members for _, frame in member.frames}
    ((_, alone),) = read(data_directory / "feder" / "uint16.fit").members[0].frames
    assert ids == {alone.id}


@pytest.mark.parametrize(
    ("content", "reason"), [(b"", "tar"), (b"no tar at all" * 100, "tar"), (b"\x1f\x8b" + b"x" * 99, "tar")]
)
def test_a_broken_tar_file_says_so(content, reason, tmp_path, read):
    path = tmp_path / "night.tar.gz"
    path.write_bytes(content)
    (only,) = read(path).members
    assert only.status is FrameStatus.UNREADABLE
    assert f"not a readable {reason} archive" in only.reason


def test_a_tar_file_that_is_a_bomb_is_refused(tmp_path, read):
    path = tmp_path / "bomb.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        entry = tarfile.TarInfo("zeros.fits")
        entry.size = 64 << 20
        archive.addfile(entry, io.BytesIO(bytes(entry.size)))
    found = members(read(path, limits=Limits(max_ratio=100)))
    assert "[limits] max_ratio" in found["zeros.fits"][1]


@pytest.fixture
def xisf_file(tmp_path):
    """An XISF file as PixInsight writes them: keywords as text, samples with the channels in front."""
    from xisf import XISF

    def write(pixels, keywords, **options):
        path = tmp_path / "x.xisf"
        listed = {name: [{"value": value, "comment": comment}] for name, (value, comment) in keywords.items()}
        XISF.write(
            str(path), pixels, creator_app="test", image_metadata={"FITSKeywords": listed}, xisf_metadata={}, **options
        )
        return path

    return write


@pytest.mark.parametrize("codec", [None, "zlib", "lz4", "zstd"])
def test_an_xisf_image_is_a_frame_with_its_keywords(codec, xisf_file, read):
    pixels = np.random.default_rng(1).integers(0, 65535, (8, 11, 1)).astype(np.uint16)
    keywords = {
        "IMAGETYP": ("'Light Frame'", "type"), "EXPTIME": ("120.5", "[s]"), "FILTER": ("'Ha'", ""),
        "XBINNING": ("2", ""), "YBINNING": ("2", ""), "DATE-OBS": ("'2024-05-06T21:10:11'", "start"),
    }  # fmt: skip
    path = xisf_file(pixels, keywords, codec=codec) if codec else xisf_file(pixels, keywords)
    (only,) = read(path).members
    assert only.status is FrameStatus.OK, only.reason
    ((number, frame),) = only.frames
    assert (number, frame.image_type, frame.exposure_s, frame.filter) == (0, "science", 120.5, "Ha")
    assert (frame.binning, frame.naxis1, frame.naxis2, frame.date_obs) == ("2x2", 11, 8, "2024-05-06T21:10:11.000")
    data, header = read_pixels(path, "", 0)
    assert np.array_equal(data, pixels[:, :, 0].astype(np.float32))
    assert header["EXPTIME"] == 120.5


def test_an_xisf_image_of_three_channels_is_no_plain_frame(xisf_file, read):
    path = xisf_file(np.zeros((8, 11, 3), np.float32), {"FILTER": ("'RGB'", "")})
    ((_, frame),) = read(path).members[0].frames
    assert any("3 axes, 11x8x3" in one for one in frame.warnings)


def test_without_its_package_an_xisf_file_says_what_to_install(xisf_file, read, monkeypatch):
    path = xisf_file(np.zeros((8, 11, 1), np.uint16), {})
    monkeypatch.setitem(sys.modules, "xisf", None)
    (only,) = read(path).members
    assert (only.status, only.reason) == (FrameStatus.UNREADABLE, "to read XISF files: pip install 'avcd[xisf]'")


@pytest.mark.parametrize("content", [b"", b"XISF0100", b"XISF0100" + b"\xff" * 400])
def test_a_broken_xisf_file_says_so(content, tmp_path, read):
    path = tmp_path / "x.xisf"
    path.write_bytes(content)
    (only,) = read(path).members
    assert only.status is FrameStatus.UNREADABLE
    assert "XISF" in only.reason
