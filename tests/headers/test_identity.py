"""One frame is one frame, whatever file it lies in; other pixels or another header are another frame."""

from __future__ import annotations

import bz2
import gzip
import shutil
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits


def only_frame(reading):
    (frame,) = [frame for member in reading.members for _, frame in member.frames]
    return frame


def in_other_files(path: Path, directory: Path) -> dict[str, Path]:
    """The same frame, zipped, gzipped, bzipped, and tile-compressed by astropy."""
    content = path.read_bytes()
    found = {"gz": directory / "a.fits.gz", "bz2": directory / "b.fits.bz2", "zip": directory / "c.fit.zip"}
    found["gz"].write_bytes(gzip.compress(content))
    found["bz2"].write_bytes(bz2.compress(content))
    with zipfile.ZipFile(found["zip"], "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("deep/d.fit", content)
    found["astropy"] = directory / "e.fits.fz"
    with fits.open(path) as hdus:
        compressed = fits.CompImageHDU(hdus[0].data, hdus[0].header, compression_type="RICE_1")
        fits.HDUList([fits.PrimaryHDU(), compressed]).writeto(found["astropy"])
    return found


@pytest.mark.filterwarnings("ignore::astropy.io.fits.verify.VerifyWarning")
@pytest.mark.parametrize("name", ["uint16", "celestron_nightscape_10100_astro_fx_v106", "maximdl_6_18_header"])
def test_a_frame_is_the_same_in_every_kind_of_file(name, data_directory, tmp_path, read):
    path = data_directory / "feder" / f"{name}.fit"
    wanted = only_frame(read(path))
    for kind, other in in_other_files(path, tmp_path).items():
        found = only_frame(read(other))
        assert (kind, found.id, found.pixel_sha256) == (kind, wanted.id, wanted.pixel_sha256)


@pytest.mark.skipif(shutil.which("fpack") is None, reason="fpack (Debian: libcfitsio-bin) is not installed")
@pytest.mark.parametrize("name", ["uint16", "maximdl_6_18_header"])
def test_a_frame_is_the_same_when_packed_by_fpack(name, data_directory, tmp_path, read):
    path = tmp_path / "x.fit"
    shutil.copyfile(data_directory / "feder" / f"{name}.fit", path)
    subprocess.run(["fpack", "-r", "x.fit"], cwd=tmp_path, check=True)
    assert only_frame(read(tmp_path / "x.fit.fz")).id == only_frame(read(path)).id


def test_equal_pixels_under_other_headers_are_other_frames(data_directory, read):
    frames = [only_frame(read(path)) for path in sorted((data_directory / "feder").glob("uint16*.fit"))]
    assert len(frames) == 4
    assert len({one.id for one in frames}) == 4
    assert len({one.pixel_sha256 for one in frames}) == 1


@pytest.mark.parametrize(
    ("cards", "same"),
    [
        ({"CHECKSUM": "abc", "DATASUM": "12"}, True),
        ({"EXTNAME": "SCI"}, True),
        ({"OBJECT": "M 31"}, False),
        ({"HISTORY": "something was done"}, False),
    ],
)
def test_only_cards_about_the_exposure_count(cards, same, frame_file, read):
    plain = frame_file("plain.fits", {"IMAGETYP": "LIGHT"})
    other = frame_file("other.fits", {"IMAGETYP": "LIGHT", **cards})
    assert (only_frame(read(plain)).id == only_frame(read(other)).id) is same


def test_one_pixel_makes_another_frame_and_so_does_its_scaling(frame_file, read):
    pixels = np.arange(120, dtype=np.int16).reshape(10, 12)
    changed = pixels.copy()
    changed[3, 4] += 1
    scaled = frame_file("scaled.fits", data=pixels)
    with fits.open(scaled, mode="update", do_not_scale_image_data=True) as hdus:
        hdus[0].header["BZERO"] = 5
    paths = [frame_file("a.fits", data=pixels), frame_file("b.fits", data=changed), scaled]
    assert len({only_frame(read(path)).pixel_sha256 for path in paths}) == 3


def test_comments_beside_values_do_not_count(frame_file, read):
    plain = frame_file("plain.fits", {"IMAGETYP": ("LIGHT", "type")})
    other = frame_file("other.fits", {"IMAGETYP": ("LIGHT", "type of image")})
    assert only_frame(read(plain)).id == only_frame(read(other)).id
