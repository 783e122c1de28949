"""Make avcd/sky/data/tycho2.bin from the Tycho-2 table in Debian's package astrometry-data-tycho2-07-littleendian.

    apt-get download astrometry-data-tycho2-07-littleendian
    dpkg-deb -x astrometry-data-tycho2-07-littleendian_*.deb tycho2
    python tools/make_reference_stars.py tycho2/usr/share/astrometry/index-tycho2-07.littleendian.fits

The stars are unit vectors as scaled integers in the machine's byte order (the table kdtree_data_stars), their range in
kdtree_range_stars; magnitudes (MAG_VT) are big-endian as FITS wants.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from astropy.io import fits

from avcd.sky.reference import BUNDLED, pack_stars


def find_table(hdus: fits.HDUList, column: str) -> fits.BinTableHDU:
    """The table that has a column."""
    for hdu in hdus[1:]:
        if hdu.columns and hdu.columns[0].name == column:
            return hdu
    raise SystemExit(f"no table with a column {column}: is this the index file of the package named above?")


def raw_bytes(path: Path, hdu: fits.BinTableHDU) -> bytes:
    """The bytes of a table, which astropy would cut at the first zero."""
    info = hdu.fileinfo()
    with path.open("rb") as stream:
        stream.seek(info["datLoc"])
        return stream.read(hdu.header["NAXIS1"] * hdu.header["NAXIS2"])


def main() -> None:
    """Read, convert, pack, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("index", type=Path, help="index-tycho2-07.littleendian.fits")
    parser.add_argument("-o", "--output", type=Path, default=BUNDLED)
    arguments = parser.parse_args()
    with fits.open(arguments.index) as hdus:
        integers = np.frombuffer(raw_bytes(arguments.index, find_table(hdus, "kdtree_data_stars")), "<u4").reshape(
            -1, 3
        )
        limits = np.frombuffer(raw_bytes(arguments.index, find_table(hdus, "kdtree_range_stars")), "<f8")
        magnitudes = np.frombuffer(raw_bytes(arguments.index, find_table(hdus, "MAG_VT")), ">f4")
    low, scale = limits[:3], limits[6]
    vectors = low + integers / scale
    ra = np.degrees(np.arctan2(vectors[:, 1], vectors[:, 0])) % 360
    dec = np.degrees(np.arcsin(np.clip(vectors[:, 2] / np.linalg.norm(vectors, axis=1), -1, 1)))
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_bytes(pack_stars(ra, dec, magnitudes.astype(np.float64)))
    print(f"{len(ra)} stars, {arguments.output.stat().st_size} bytes")


if __name__ == "__main__":
    main()
