"""HiPS: images of the sky as tiles of every resolution, which Aladin and other atlases show (IVOA HiPS 1.0)."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.visualization import ZScaleInterval
from astropy.wcs import WCS, FITSFixedWarning
from astropy.wcs.utils import proj_plane_pixel_scales
from PIL import Image
from reproject import reproject_interp
from reproject.hips import reproject_to_hips

from avcd.compose.blocks import usable
from avcd.compose.moc import coverage, depth_of, sky_fraction, write_allsky, write_moc
from avcd.errors import ProcessingError

FRAMES = ("equatorial", "galactic")
TILE_PX = 512
_DEEPEST = 20
# The side of a HEALPix cell of order 0, in degrees.
_ORDER_0_DEG = 58.6323
_SAMPLE = 500_000


@dataclass(frozen=True)
class Sheet:
    """One image for a survey: ``data`` (ny, nx) with its ``mask`` and ``wcs``; or ``picture``, a PNG or JPEG that says its place.

    Planes may be mapped from files: they are read when their tiles are made.
    """

    wcs: WCS
    data: Any = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    mask: Any = None
    picture: Path | None = None


def order_of(sheets: Sequence[Sheet]) -> int:
    """The order of tiles whose pixels are as fine as the finest image's."""
    finest = min(float(np.min(proj_plane_pixel_scales(one.wcs))) for one in sheets)
    for order in range(_DEEPEST):
        if _ORDER_0_DEG / TILE_PX / 2**order <= finest:
            return order
    return _DEEPEST


def write_hips(
    sheets: Sequence[Sheet],
    directory: Path,
    *,
    frame: str = "equatorial",
    order: int | None = None,
    about: Mapping[str, str] | None = None,
) -> int:
    """Write a survey of tiles; the same images give the same bytes.

    Parameters
    ----------
    sheets
        Images with data, or pictures, not both. Where several overlap, tiles hold their mean; of pictures the last is on
        top.
    directory
        Where the survey goes; it must not be there yet.
    frame
        "equatorial" or "galactic".
    order
        Of the finest tiles; None: as the finest image.
    about
        Further properties. The standard demands obs_title, creator_did and hips_release_date of them; all else that it demands, the
        map of coverage (Moc.fits) and the preview (Norder3/Allsky) come from the images.

    Returns
    -------
    int
        The number of tiles.

    Raises
    ------
    ProcessingError
        There are no images, or data and pictures.
    """
    kinds = {one.picture is None for one in sheets}
    if len(kinds) != 1:
        raise ProcessingError("a survey is made of FITS images or of pictures, and of at least one")
    if frame not in FRAMES:
        raise ProcessingError(f"frame is {frame!r}, none of {', '.join(FRAMES)}")
    level = order_of(sheets) if order is None else order
    with tempfile.TemporaryDirectory(prefix="avcd-", dir=directory.parent) as place:
        survey, part = Path(place) / "survey", Path(place) / "part"
        samples = []
        for number, sheet in enumerate(sheets):
            _write_one(sheet, survey if number == 0 else part, frame, level)
            if number:  # one at a time: of a whole archive neither memory nor disk would hold all
                _join(survey, part, Path(place) / "counts")
                shutil.rmtree(part)
            if sheet.picture is None:
                samples.append(_sample(sheet, len(sheets)))
        cells = coverage(survey, level, frame)
        write_moc(survey / "Moc.fits", cells, depth_of(level))
        count = sum(1 for _ in survey.rglob("Npix*"))
        write_allsky(survey, level)
        _write_properties(survey, samples, sky_fraction(cells, depth_of(level)), level, about or {})
        shutil.move(survey, directory)
    return count


def _write_one(sheet: Sheet, directory: Path, frame: str, order: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)
        warnings.simplefilter("ignore", RuntimeWarning)  # means of blocks without a pixel, at an image's edge
        source = sheet.picture if sheet.picture is not None else (_bare(sheet), sheet.wcs)
        reproject_to_hips(
            str(source) if isinstance(source, Path) else source,
            coord_system_out=frame,
            reproject_function=reproject_interp,
            output_directory=str(directory),
            level=order,
            tile_size=TILE_PX,
        )


def _bare(sheet: Sheet) -> np.ndarray:
    """The image with nothing where there is no light."""
    data = np.asarray(sheet.data[:], dtype=np.float32)
    good = usable(data, None if sheet.mask is None else np.asarray(sheet.mask[:]))
    return data if good is None else np.where(good, data, np.float32(np.nan))


def _join(first: Path, other: Path, counts: Path) -> None:
    """Bring another survey's tiles into the first; ``counts`` is where it is noted of how many images pixels are the mean."""
    for tile in sorted(other.rglob("Npix*")):
        target = first / tile.relative_to(other)
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(tile, target)
        elif tile.suffix == ".fits":
            _join_images(target, tile, counts / tile.relative_to(other).with_suffix(".npy"))
        else:
            with Image.open(target) as below, Image.open(tile) as above:
                found = Image.alpha_composite(below.convert("RGBA"), above.convert("RGBA"))
            found.save(target)


def _join_images(target: Path, tile: Path, noted: Path) -> None:
    with fits.open(target, memmap=False) as below, fits.open(tile, memmap=False) as above:
        mean, more = (np.asarray(one[0].data, np.float32) for one in (below, above))
        header = below[0].header.copy()
    before = np.load(noted) if noted.exists() else np.isfinite(mean).astype(np.uint16)
    number = before + np.isfinite(more)
    total = np.nan_to_num(mean) * before + np.nan_to_num(more)
    noted.parent.mkdir(parents=True, exist_ok=True)
    np.save(noted, number.astype(np.uint16))
    found = np.where(number > 0, total / np.maximum(number, 1), np.nan).astype(np.float32)
    fits.writeto(target, found, header, overwrite=True)


def _write_properties(
    directory: Path, samples: Sequence[np.ndarray], fraction: float, order: int, about: Mapping[str, str]
) -> None:
    """What the survey says of itself, without what differs from making to making."""
    path = directory / "properties"
    lines = [line.partition("=") for line in path.read_text(encoding="utf-8").splitlines() if "=" in line]
    found = {name.strip(): value.strip() for name, _, value in lines}
    for name in ("creator_did", "hips_release_date", "hips_pixel_cut"):
        found.pop(name, None)
    found["hips_builder"] = "avcd"
    found["obs_title"] = "avcd"
    found["hips_pixel_scale"] = f"{_ORDER_0_DEG / TILE_PX / 2**order:.6g}"
    found["moc_sky_fraction"] = f"{fraction:.6g}"
    size = sum(one.stat().st_size for one in directory.rglob("*") if one.is_file())
    found["hips_estsize"] = str(-(-size // 1024))  # KiB
    if samples:
        low, high = _cuts(samples)
        found["hips_pixel_cut"] = f"{low:.6g} {high:.6g}"
    else:
        found["dataproduct_subtype"] = "color"
    found |= about
    path.write_text("".join(f"{name:20s} = {value}\n" for name, value in found.items()), encoding="utf-8")


def _sample(sheet: Sheet, sheets: int) -> np.ndarray:
    values = _bare(sheet)
    values = values[np.isfinite(values)]
    return values[:: max(1, values.size * sheets // _SAMPLE)]


def _cuts(samples: Sequence[np.ndarray]) -> tuple[float, float]:
    whole = np.concatenate(samples)
    if not whole.size:
        raise ProcessingError("there is no usable pixel in any of the images")
    low, high = ZScaleInterval().get_limits(whole)
    return float(low), float(high)
