"""Coverage of the sky as a MOC, and the preview of all of it: what stands beside a survey's tiles (IVOA HiPS 1.0, MOC 2.0)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from astropy.coordinates import ICRS, Galactic
from astropy.io import fits
from astropy_healpix import HEALPix
from PIL import Image

_FINER = 3  # orders by which a map of coverage is finer than the tiles
_SAMPLED = 5  # … and the places of which it is made
_DEEPEST = 29
_LARGEST_INT32 = 13  # order up to which cells have numbers of 32 bits
_ALLSKY_ORDER = 3
_ALLSKY_COLUMNS = 27
_ALLSKY_PX = 64
_CELLS = 12  # of order 0


def tiles_of(directory: Path, order: int) -> Iterator[tuple[int, Path]]:
    """Numbers and paths of a survey's tiles of an order, by number."""
    found = {int(path.stem[4:]): path for path in (directory / f"Norder{order}").glob("Dir*/Npix*")}
    for number in sorted(found):
        yield number, found[number]


def read_tile(path: Path) -> np.ndarray:
    """A tile as it is seen, the first row on top: float32 (n, n), NaN where there is nothing; or of a picture uint8 (n, n, 4)."""
    if path.suffix == ".fits":
        return np.asarray(fits.getdata(path), np.float32)[::-1]
    with Image.open(path) as image:
        return np.asarray(image.convert("RGBA"))


def coverage(directory: Path, order: int, frame: str) -> np.ndarray:
    """The cells of the sky that a survey's tiles have light in.

    Parameters
    ----------
    directory, order
        Of the survey, and of its finest tiles.
    frame
        Of the tiles, "equatorial" or "galactic".

    Returns
    -------
    ndarray of int64
        Numbers of HEALPix cells, nested, in ICRS, three orders finer than the tiles; ascending.
    """
    depth = min(order + _FINER, _DEEPEST)
    sampled = min(order + _SAMPLED, _DEEPEST)
    side = 2 ** (sampled - order)
    parts = []
    for number, path in tiles_of(directory, order):
        tile = read_tile(path)
        seen = np.isfinite(tile) if tile.ndim == 2 else tile[..., 3] > 0
        step = seen.shape[0] // side
        down, along = np.nonzero(seen.reshape(side, step, side, step).any(axis=(1, 3)))
        parts.append(number * side * side + _nested(down, along))
    cells = np.concatenate(parts) if parts else np.zeros(0, np.int64)
    if frame == "galactic":
        place = HEALPix(2**sampled, order="nested", frame=Galactic()).healpix_to_skycoord(cells)
        return np.unique(HEALPix(2**depth, order="nested", frame=ICRS()).skycoord_to_healpix(place))
    return np.unique(cells >> 2 * (sampled - depth))


def _nested(down: np.ndarray, along: np.ndarray) -> np.ndarray:
    """The nested numbers, within a tile, of its blocks in rows from the top and columns from the left."""
    found = np.zeros(down.shape, np.int64)
    for bit in range(_SAMPLED):
        found |= ((down >> bit) & 1) << (2 * bit) | ((along >> bit) & 1) << (2 * bit + 1)
    return found


def write_moc(path: Path, cells: np.ndarray, order: int) -> None:
    """Write cells of ``order``, nested, in ICRS, as a MOC in FITS: four that make up one larger are written as that one."""
    unique = []
    rest = np.unique(cells)
    for depth in range(order, 0, -1):
        parents, counts = np.unique(rest >> 2, return_counts=True)
        whole = parents[counts == 4]
        unique.append(rest[~np.isin(rest >> 2, whole)] + 4 * 4**depth)
        rest = whole
    unique.append(rest + 4)
    numbers = np.sort(np.concatenate(unique))
    small = order <= _LARGEST_INT32
    column = fits.Column("UNIQ", "1J" if small else "1K", array=numbers.astype(np.int32 if small else np.int64))
    table = fits.BinTableHDU.from_columns([column])
    for name, value in (
        ("PIXTYPE", "HEALPIX"), ("ORDERING", "NUNIQ"), ("COORDSYS", "C"), ("MOCVERS", "2.0"), ("MOCDIM", "SPACE"),
        ("MOCORDER", order), ("MOCORD_S", order), ("MOCTOOL", "avcd"),
    ):  # fmt: skip
        table.header[name] = value
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(path)


def sky_fraction(cells: np.ndarray, order: int) -> float:
    """The part of the whole sky that different cells of an order are."""
    return len(cells) / (_CELLS * 4**order)


def depth_of(order: int) -> int:
    """The order of the cells of `coverage`, of tiles of ``order``."""
    return min(order + _FINER, _DEEPEST)


def write_allsky(directory: Path, order: int) -> None:
    """Write the tiles of order 3 as one image of thumbnails, 27 in a row; nothing where a survey's tiles are not that fine."""
    if order < _ALLSKY_ORDER:
        return
    rows = -(-_CELLS * 4**_ALLSKY_ORDER // _ALLSKY_COLUMNS)
    whole: np.ndarray | None = None
    for number, path in tiles_of(directory, _ALLSKY_ORDER):
        tile = read_tile(path)
        if whole is None:
            empty = np.nan if tile.ndim == 2 else 0
            size = (rows * _ALLSKY_PX, _ALLSKY_COLUMNS * _ALLSKY_PX, *tile.shape[2:])
            whole = np.full(size, empty, tile.dtype)
        top, left = (_ALLSKY_PX * one for one in divmod(number, _ALLSKY_COLUMNS))
        whole[top : top + _ALLSKY_PX, left : left + _ALLSKY_PX] = _thumbnail(tile)
    if whole is None:
        return
    place = directory / f"Norder{_ALLSKY_ORDER}"
    if whole.ndim == 2:
        fits.writeto(place / "Allsky.fits", whole[::-1])
    else:
        Image.fromarray(whole).save(place / "Allsky.png")


def _thumbnail(tile: np.ndarray) -> np.ndarray:
    """A tile of 64 pixels a side: the means of what there is."""
    step = tile.shape[0] // _ALLSKY_PX
    blocks = tile.reshape(_ALLSKY_PX, step, _ALLSKY_PX, step, -1).astype(np.float64)
    light = np.isfinite(blocks[..., 0]) if tile.ndim == 2 else blocks[..., 3] > 0
    count = light.sum(axis=(1, 3))
    means = np.where(light[..., None], blocks, 0).sum(axis=(1, 3)) / np.maximum(count, 1)[..., None]
    if tile.ndim == 2:
        return np.where(count > 0, means[..., 0], np.nan).astype(tile.dtype)
    means[..., 3] = blocks[..., 3].mean(axis=(1, 3))
    return np.rint(means).astype(tile.dtype)
