"""Products on disk: what is written comes back, equal content is equal bytes, and nothing is ever half there."""

from __future__ import annotations

import errno
import io
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
import tifffile
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from PIL import Image

from avcd import faults
from avcd.errors import ProductError, StorageError
from avcd.frame import MaskBit
from avcd.products import (
    ImageContent,
    publish,
    read_image_product,
    sweep_temporaries,
    verify_fits,
    verify_picture,
    verifying,
    write_image_fits,
    write_table_fits,
)


@pytest.fixture
def content() -> ImageContent:
    rng = np.random.default_rng(7)
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix, wcs.wcs.cdelt = [83.8, -5.4], [20.0, 15.0], [-3e-4, 3e-4]
    header = wcs.to_header()
    header["OBJECT"] = "M 42"
    header["LONGCARD"] = ("x" * 60, "a comment that does not fit into the eighty columns of its card")
    header["HISTORY"] = "bias subtracted"
    header["HISTORY"] = "flat divided"
    mask = np.zeros((30, 41), np.uint16)
    mask.flat[: len(MaskBit)] = [int(bit) for bit in MaskBit]
    return ImageContent(
        data=rng.normal(100, 5, (30, 41)).astype(np.float32),
        unit="electron",
        mask=mask,
        uncertainty=rng.uniform(1, 2, (30, 41)).astype(np.float32),
        header=header,
        provenance=[
            {"role": "raw", "id": "a" * 64, "name": "Nébuleuse d'Orion\\n 1.fit", "sha256": "b" * 64},
            {"role": "bias", "id": "c" * 64, "name": "bad\udce9name.fit", "sha256": "d" * 64},
        ],
        parameters={"sigma": 4.5, "method": "mean", "solve": True, "note": 'é "quoted" \\ back', "limit": None},
        tables={"STARS": Table({"x": [1.5, 2.5], "name": ["a", "bc"]})},
    )


def written(content: ImageContent) -> bytes:
    stream = io.BytesIO()
    write_image_fits(content, stream)
    return stream.getvalue()


def test_an_image_comes_back_as_it_was_written(content, tmp_path):
    path = tmp_path / "image.fits"
    path.write_bytes(written(content))
    found = read_image_product(path)
    np.testing.assert_array_equal(found.data, content.data)
    np.testing.assert_array_equal(found.mask, content.mask)
    np.testing.assert_array_equal(found.uncertainty, content.uncertainty)
    assert (found.data.dtype, found.mask.dtype, found.uncertainty.dtype) == (np.float32, np.uint16, np.float32)
    assert found.unit == "electron"
    assert found.provenance == content.provenance
    assert dict(found.parameters) == dict(content.parameters)
    assert list(found.tables) == ["STARS"]
    assert list(found.tables["STARS"]["x"]) == [1.5, 2.5]
    assert list(found.header["HISTORY"]) == ["bias subtracted", "flat divided"]
    ccd = found.to_image()
    assert ccd.unit == "electron"
    assert ccd.mask.dtype == np.uint16
    assert ccd.wcs.pixel_to_world_values(19, 14) == pytest.approx((83.8, -5.4))
    astropys = ccd.to_ccddata()
    assert astropys.unit == u.electron
    np.testing.assert_array_equal(astropys.mask, content.mask != 0)
    assert astropys.uncertainty.uncertainty_type == "std"
    np.testing.assert_array_equal(astropys.uncertainty.array, content.uncertainty)
    assert astropys.wcs.pixel_to_world_values(19, 14) == pytest.approx((83.8, -5.4))
    assert astropys.header["OBJECT"] == content.header["OBJECT"]


def test_an_image_without_mask_uncertainty_or_records_is_one_hdu(tmp_path):
    path = tmp_path / "plain.fits"
    path.write_bytes(written(ImageContent(np.ones((4, 5), np.float32), "adu")))
    verify_fits(path)
    found = read_image_product(path)
    assert found.mask is None
    assert found.uncertainty is None
    assert len(fits.info(path, output=False)) == 1
    assert found.to_image().wcs is None


def test_the_mask_names_its_bits(content):
    with fits.open(io.BytesIO(written(content))) as hdus:
        cards = {hdus["MASK"].header[f"MSKBIT{number}"]: number for number in range(len(MaskBit))}
        assert hdus[0].name == "SCI"
    assert {name: 1 << number for name, number in cards.items()} == {bit.name: int(bit) for bit in MaskBit}


def test_equal_content_gives_equal_bytes_at_any_time(content, monkeypatch):
    first = written(content)
    # Where astropy would take the time from that it writes into the comments of checksums.
    monkeypatch.setattr("astropy.io.fits.hdu.base._ValidHDU._get_timestamp", lambda self: "1999-12-31T23:59:59")
    assert written(content) == first
    assert b"1999-12-31" not in first


def test_planes_of_different_shape_are_refused(content):
    with pytest.raises(ValueError, match="MASK has shape"):
        written(ImageContent(content.data, "adu", mask=content.mask[1:]))


@pytest.mark.skipif(shutil.which("fitsverify") is None, reason="fitsverify is not installed")
@pytest.mark.parametrize("kind", ["image", "table", "plain"])
def test_fitsverify_has_nothing_to_say(kind, content, tmp_path):
    path = tmp_path / "product.fits"
    if kind == "table":
        with path.open("wb") as stream:
            table = Table({"ra": np.arange(3.0), "flags": np.arange(3, dtype=np.int16)})
            write_table_fits(table, "SOURCES", content.header, content.provenance, content.parameters, stream)
    elif kind == "plain":
        path.write_bytes(written(ImageContent(content.data, "adu")))
    else:
        path.write_bytes(written(content))
    verify_fits(path)
    told = subprocess.run(["fitsverify", str(path)], capture_output=True, text=True, check=False).stdout
    assert "0 warning(s) and 0 error(s)" in told, told


@pytest.mark.parametrize("shared", [False, True])
def test_any_changed_byte_is_found(shared, content, tmp_path, monkeypatch):
    if shared:  # among threads, as large files are
        monkeypatch.setattr(verifying, "_WORTH_SHARING", 1000)
    good = written(content)
    path = tmp_path / "image.fits"
    positions = np.random.default_rng(3).choice(len(good), 150, replace=False)
    for position in positions:
        broken = bytearray(good)
        broken[position] ^= 0x04
        path.write_bytes(broken)
        with pytest.raises(ProductError):
            verify_fits(path, digest=not shared)
    path.write_bytes(good)
    verify_fits(path, digest=not shared)


@pytest.mark.parametrize("size", [0, 1, 2000, 2880, 6000, -1, -2880])
def test_a_cut_file_is_found(size, content, tmp_path):
    path = tmp_path / "image.fits"
    path.write_bytes(written(content)[:size])
    with pytest.raises(ProductError):
        verify_fits(path)


@pytest.mark.parametrize("text", [b"", b"not FITS at all", b"SIMPLE  =                    T" + b" " * 5000])
def test_what_is_no_product_cannot_be_read_as_one(text, tmp_path):
    path = tmp_path / "x.fits"
    path.write_bytes(text)
    with pytest.raises(ProductError, match=r"x\.fits"):
        read_image_product(path)


def test_a_missing_product_is_told(tmp_path):
    with pytest.raises(ProductError, match=r"gone\.fits"):
        read_image_product(tmp_path / "gone.fits")


def test_a_checksum_that_is_not_there_is_no_checksum(tmp_path):
    path = tmp_path / "x.fits"
    fits.PrimaryHDU(np.zeros((3, 3), np.float32)).writeto(path)
    with pytest.raises(ProductError, match="carries no checksum"):
        verify_fits(path)


# Publishing


def put(archive: Path, data: bytes = b"new", relative: str = "night/x.bin", verify=lambda path: None):
    return publish(archive, relative, lambda stream: stream.write(data), verify, "token")


def files(archive: Path) -> dict[str, bytes]:
    return {str(one.relative_to(archive)): one.read_bytes() for one in archive.rglob("*") if one.is_file()}


def test_a_file_is_written_synced_verified_renamed_and_its_directories_synced(tmp_path, monkeypatch):
    events: list[str] = []
    real_fsync = os.fsync

    def note_fsync(descriptor: int) -> None:
        events.append(f"fsync {Path(f'/proc/self/fd/{descriptor}').readlink().name}")
        real_fsync(descriptor)

    archive = tmp_path / "archive"
    archive.mkdir()
    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(faults, "reach", lambda point: events.append(f"{point} {sorted(files(archive))}"))
    found = put(archive, relative="a/b/x.bin", verify=lambda path: events.append(f"verify {path.name}"))
    temporary = "a/b/.x.bin.token.part"
    assert events[:3] == ["fsync archive", "fsync a", f"written {[temporary]}"]
    assert sorted(events[3:5]) == ["fsync .x.bin.token.part", "verify .x.bin.token.part"]  # at the same time
    assert events[5:] == [f"fsynced {[temporary]}", "fsync b", "renamed ['a/b/x.bin']"]
    assert (found.path, found.size) == ("a/b/x.bin", 3)
    assert found.sha256 == "11507a0e2f5e69d5dfa40a62a1bd7b6ee57e6bcd85c67c9b8431b36fff21c437"  # of b"new"


def test_what_is_there_is_replaced_whole(tmp_path):
    put(tmp_path, b"old")
    put(tmp_path, b"new")
    assert files(tmp_path) == {"night/x.bin": b"new"}


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), StorageError),
        (OSError(errno.EIO, "Input/output error"), StorageError),
        (KeyboardInterrupt(), KeyboardInterrupt),
        (MemoryError(), MemoryError),
    ],
)
def test_a_write_that_fails_leaves_what_was_there(raised, expected, tmp_path):
    put(tmp_path, b"old")

    def fail(stream):
        stream.write(b"half")
        raise raised

    with pytest.raises(expected):
        publish(tmp_path, "night/x.bin", fail, lambda path: None, "token")
    assert files(tmp_path) == {"night/x.bin": b"old"}


def test_a_file_system_that_really_refuses_is_worth_another_try(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))  # no file may grow beyond this
    try:
        with pytest.raises(StorageError, match=r"cannot write night/x\.bin") as caught:
            put(tmp_path, b"x" * 1_000_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.retry
    assert files(tmp_path) == {}


def test_a_file_in_the_way_of_a_directory_is_an_error_of_storage(tmp_path):
    (tmp_path / "night").write_bytes(b"in the way")
    with pytest.raises(StorageError):
        put(tmp_path)


def test_what_does_not_verify_does_not_appear(content, tmp_path):
    put(tmp_path, b"old", "x.fits")
    broken = bytearray(written(content))
    broken[5000] ^= 1
    with pytest.raises(ProductError):
        publish(tmp_path, "x.fits", lambda stream: stream.write(broken), verify_fits, "token")
    assert files(tmp_path) == {"x.fits": b"old"}


@pytest.mark.parametrize("relative", ["../x.bin", "/x.bin", "night/../../x.bin"])
def test_nothing_is_written_outside_the_archive(relative, tmp_path):
    archive = tmp_path / "archive"
    archive.mkdir()
    with pytest.raises(ValueError, match="outside the archive"):
        put(archive, relative=relative)
    assert files(tmp_path) == {}


def test_a_name_as_long_as_the_file_system_allows_can_be_published(tmp_path):
    name = "n" * 250 + ".fits"
    publish(tmp_path, name, lambda stream: stream.write(b"new"), lambda path: None, "f" * 32)
    assert files(tmp_path) == {name: b"new"}


def test_the_sweep_removes_what_was_left_and_nothing_else(tmp_path):
    put(tmp_path)
    put(tmp_path, relative="night/part.part")
    (tmp_path / "night" / ".x.fits.0123.part").write_bytes(b"half")
    (tmp_path / ".y.png.0123.part").write_bytes(b"half")
    assert sweep_temporaries(tmp_path) == 2
    assert sorted(files(tmp_path)) == ["night/part.part", "night/x.bin"]
    assert sweep_temporaries(tmp_path) == 0


def test_the_sweep_leaves_what_another_daemon_is_writing(tmp_path):
    """Two homes may share an archive: one that starts must not take the other's file from under its hands."""

    def write(stream) -> None:
        stream.write(b"new")
        assert sweep_temporaries(tmp_path, lambda: {"theirs"}) == 1
        assert sweep_temporaries(tmp_path, lambda: {"theirs"}) == 0

    (tmp_path / ".y.png.mine.part").write_bytes(b"half")
    publish(tmp_path, "x.bin", write, lambda path: None, "theirs")
    assert files(tmp_path) == {"x.bin": b"new"}


@pytest.mark.parametrize(("point", "appears"), [("written", False), ("fsynced", False), ("renamed", True)])
def test_a_process_that_dies_leaves_the_old_file_or_the_new_one(point, appears, tmp_path):
    put(tmp_path, b"old" * 1000)
    script = (
        "import sys; from pathlib import Path; from avcd.products import publish\n"
        "publish(Path(sys.argv[1]), 'night/x.bin', lambda stream: stream.write(b'new' * 1000), lambda path: None, 't')"
    )
    environment = {**os.environ, "AVCD_KILL_AT": point}
    ended = subprocess.run([sys.executable, "-c", script, str(tmp_path)], env=environment, check=False)
    assert ended.returncode == -9
    assert sweep_temporaries(tmp_path) == (0 if appears else 1)
    assert files(tmp_path) == {"night/x.bin": (b"new" if appears else b"old") * 1000}


# Pictures


def pictures() -> dict[str, bytes]:
    rng = np.random.default_rng(1)
    png, tiff = io.BytesIO(), io.BytesIO()
    Image.fromarray(rng.integers(0, 255, (20, 30, 3), np.uint8)).save(png, "PNG")
    tifffile.imwrite(tiff, rng.integers(0, 65535, (20, 30, 3), np.uint16), photometric="rgb")
    return {"x.png": png.getvalue(), "x.tiff": tiff.getvalue()}


@pytest.mark.parametrize("name", ["x.png", "x.tiff"])
def test_pictures_are_verified_under_their_temporary_names(name, tmp_path):
    whole = pictures()[name]
    publish(tmp_path, name, lambda stream: stream.write(whole), verify_picture, "token")
    half = whole[: len(whole) // 2]
    with pytest.raises(ProductError, match="no readable picture"):
        publish(tmp_path, name, lambda stream: stream.write(half), verify_picture, "token")
    assert files(tmp_path) == {name: whole}
