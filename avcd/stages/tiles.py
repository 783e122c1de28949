"""Images opened for composing: planes that are read in windows, from where they stand in their files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from avcd.headers.layout import StoredPixels, locate_pixels
from avcd.headers.pixels import read_pixels
from avcd.products import celestial_wcs, read_image_product

_PLAIN = (".fits", ".fit", ".fts")


class StoredPlane:
    """An image in an uncompressed FITS file; slices of it are arrays of values."""

    def __init__(self, path: Path, place: StoredPixels) -> None:
        self.shape = place.shape
        self._zero = place.zero
        self._stored = np.memmap(path, dtype=place.stored, mode="r", offset=place.start, shape=place.shape)

    def __getitem__(self, part: Any) -> np.ndarray:
        """Values of a part, native: uint8, int16, uint16 or float32."""
        found: Any = self._stored[part]
        native = np.asarray(found.astype(found.dtype.newbyteorder("=")))
        return native.view(np.uint16) ^ np.uint16(0x8000) if self._zero else native


@dataclass(frozen=True)
class OpenImage:
    """An image's planes (ny, nx), to be read by slices, its header, and its world coordinates if it has any."""

    data: Any
    mask: Any
    uncertainty: Any
    header: fits.Header
    wcs: WCS | None


def open_image(path: Path, member: str, hdu: int, spool: Path, *, product: bool) -> OpenImage:
    """Open an image for reading in windows.

    Parameters
    ----------
    member, hdu
        Where in the file it is.
    spool
        A directory for what must be decoded as a whole.
    product
        Whether it is one of avcd's own, with planes of mask and uncertainty.

    Raises
    ------
    FrameError, ProductError
        It cannot be read.
    """
    direct = _in_place(path, hdu, product=product) if not member and path.name.lower().endswith(_PLAIN) else None
    if direct is not None:
        return direct
    if product:
        content = read_image_product(path)
        planes = [content.data, content.mask, content.uncertainty]
        header = content.header
    else:
        data, header = read_pixels(path, member, hdu)
        planes = [np.asarray(data, dtype=np.float32), None, None]
    kept = [None if one is None else _spooled(one, spool) for one in planes]
    return OpenImage(kept[0], kept[1], kept[2], header, celestial_wcs(header))


def _in_place(path: Path, hdu: int, *, product: bool) -> OpenImage | None:
    place = locate_pixels(path, hdu)
    if place is None:
        return None
    planes: dict[str, StoredPlane] = {}
    with fits.open(path, memmap=False, lazy_load_hdus=True, ignore_missing_simple=True) as hdus:
        header = hdus[hdu].header.copy()
        if product:
            for number, one in enumerate(hdus):
                if one.name in ("MASK", "UNCERT"):
                    found = locate_pixels(path, number)
                    if found is None or found.shape != place.shape:
                        return None
                    planes[one.name] = StoredPlane(path, found)
    return OpenImage(StoredPlane(path, place), planes.get("MASK"), planes.get("UNCERT"), header, celestial_wcs(header))


def _spooled(plane: np.ndarray, spool: Path) -> np.ndarray:
    """The same array, mapped from a file."""
    path = spool / f"{len(list(spool.iterdir()))}.npy"
    np.save(path, plane)
    found: np.ndarray = np.load(path, mmap_mode="r")
    return found
