"""Images opened for composing: planes that are read in windows, from where they stand in their files."""

from __future__ import annotations

import mmap
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
    """An image that stands in a file; slices of it are arrays of values, and no memory is held between them."""

    def __init__(self, path: Path, place: StoredPixels) -> None:
        self.shape = place.shape
        self._start, self._zero = place.start, place.zero
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        stored = np.dtype(place.stored)
        count = place.shape[0] * place.shape[1]
        self._stored = np.frombuffer(self._map, stored, count, place.start).reshape(place.shape)

    def __getitem__(self, part: Any) -> np.ndarray:
        """Values of a part, native: uint8, int16, uint16 or float32."""
        found: Any = self._stored[part]
        native = np.array(found, dtype=found.dtype.newbyteorder("="))
        self._let_go(part[0] if isinstance(part, tuple) else part)
        return native.view(np.uint16) ^ np.uint16(0x8000) if self._zero else native

    def _let_go(self, rows: slice) -> None:
        """Give the memory of rows back: else all that was ever looked at would count as this process's own."""
        first, last, _ = rows.indices(self.shape[0])
        length = self._stored.strides[0]
        begin = (self._start + first * length) // mmap.PAGESIZE * mmap.PAGESIZE
        if first < last:
            self._map.madvise(mmap.MADV_DONTNEED, begin, self._start + last * length - begin)


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


def _spooled(plane: np.ndarray, spool: Path) -> StoredPlane:
    """The same array, in a file."""
    path = spool / str(len(list(spool.iterdir())))
    plane.tofile(path)
    return StoredPlane(path, StoredPixels(0, (plane.shape[0], plane.shape[1]), plane.dtype.str, 0))
