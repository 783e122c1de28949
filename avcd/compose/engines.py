"""Mosaics by other people's programs: SWarp and Montage, for comparison and for those who want them."""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.wcs.utils import proj_plane_pixel_scales

from avcd.compiling import threads
from avcd.compose.grids import Grid
from avcd.compose.layers import Layer
from avcd.compose.resampling import UNUSABLE
from avcd.errors import ProcessingError

ENGINES = ("avcd", "swarp", "montage")
_SWARP = ("swarp", "SWarp")
_NEEDED = {"swarp": "swarp", "montage": "mProjExec"}
_KERNELS = {"nearest": "NEAREST", "bilinear": "BILINEAR", "lanczos3": "LANCZOS3"}


def is_installed(engine: str) -> bool:
    """Whether an engine can be run: by its program or, Montage, by its package."""
    if engine == "montage" and _package() is not None:
        return True
    return engine == "avcd" or _program(engine) is not None


def _program(engine: str) -> str | None:
    names = _SWARP if engine == "swarp" else (_NEEDED[engine],)
    return next((found for found in map(shutil.which, names) if found), None)


def mosaic_by(
    engine: str, layers: Sequence[Layer], grid: Grid, params: Mapping[str, Any]
) -> tuple[np.ndarray, np.ndarray]:
    """A mosaic by another program, which matches backgrounds in its own way: SWarp on a mesh for each image, Montage by planes.

    Parameters
    ----------
    engine
        "swarp" or "montage".
    layers
        Registered by world coordinates; scaled, their backgrounds as they came.
    params
        Of the recipe: ``interpolation`` and ``match``, as far as the program has them.

    Returns
    -------
    data, weight : ndarray, shape of the grid
        NaN and 0 where there is nothing.

    Raises
    ------
    ProcessingError
        The program is not installed, or it failed; with what it said.
    """
    if not is_installed(engine):
        how = (
            "apt-get install swarp"
            if engine == "swarp"
            else "pip install 'avcd[montage]', or on Debian apt-get install montage"
        )
        raise ProcessingError(f"{engine} is not installed: {how}; or leave --engine out")
    with tempfile.TemporaryDirectory(prefix="avcd-") as name:
        place = Path(name)
        paths = [_written(layer, place / "raw" / f"{index:04d}.fits") for index, layer in enumerate(layers)]
        (place / "grid.hdr").write_text(template(grid), encoding="ascii")
        if engine == "swarp":
            return run_swarp(paths, place, grid, str(params["interpolation"]), match=params["match"] != "none")
        return run_montage(place / "raw", place, match=str(params["match"]))


def _written(layer: Layer, path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    data = np.asarray(layer.data[:], dtype=np.float32) * np.float32(layer.scale)
    if layer.mask is not None:
        data = np.where((np.asarray(layer.mask[:]) & UNUSABLE) == 0, data, np.float32(np.nan))
    worlds = layer.pixels.registration.worlds
    assert worlds is not None
    fits.PrimaryHDU(data, worlds[1].to_header(relax=True)).writeto(path)
    return path


def template(grid: Grid) -> str:
    """A grid as the text of header cards that both programs read."""
    header = fits.Header()
    header["SIMPLE"], header["BITPIX"], header["NAXIS"] = True, -32, 2
    header["NAXIS1"], header["NAXIS2"] = grid.shape[1], grid.shape[0]
    wcs = grid.wcs
    header["CTYPE1"], header["CTYPE2"] = wcs.wcs.ctype
    header["CRVAL1"], header["CRVAL2"] = wcs.wcs.crval
    header["CRPIX1"], header["CRPIX2"] = wcs.wcs.crpix
    matrix = wcs.pixel_scale_matrix
    for i in range(2):
        for j in range(2):
            header[f"CD{i + 1}_{j + 1}"] = matrix[i, j]
    header["EQUINOX"] = 2000.0
    header["RADESYS"] = "ICRS"
    return "\n".join(str(card).rstrip() for card in header.cards) + "\nEND\n"


def run_swarp(
    paths: Sequence[Path], place: Path, grid: Grid, interpolation: str, *, match: bool
) -> tuple[np.ndarray, np.ndarray]:
    """SWarp (Bertin et al. 2002, ASP Conf. 281, 228) on files; ``place`` holds grid.hdr and what it writes."""
    shutil.copy(place / "grid.hdr", place / "coadd.head")
    scale = float(np.mean(proj_plane_pixel_scales(grid.wcs))) * 3600
    options = {
        "IMAGEOUT_NAME": place / "coadd.fits", "WEIGHTOUT_NAME": place / "coadd.weight.fits", "RESAMPLE_DIR": place,
        "RESAMPLING_TYPE": _KERNELS[interpolation], "SUBTRACT_BACK": "Y" if match else "N", "COMBINE_TYPE": "WEIGHTED",
        "FSCALASTRO_TYPE": "FIXED", "FSCALE_KEYWORD": "NONE", "GAIN_KEYWORD": "NONE", "SATLEV_KEYWORD": "NONE",
        "PIXELSCALE_TYPE": "MANUAL", "PIXEL_SCALE": scale, "WRITE_XML": "N", "VERBOSE_TYPE": "QUIET", "NTHREADS": threads(),
        "COPY_KEYWORDS": "OBJECT",
    }  # fmt: skip
    words = [str(_program("swarp")), *map(str, paths), "-c", os.devnull]
    for option, value in options.items():
        words += [f"-{option}", str(value)]
    _run(words, place)
    with fits.open(place / "coadd.fits") as image, fits.open(place / "coadd.weight.fits") as weights:
        data, weight = image[0].data.astype(np.float32), weights[0].data.astype(np.float32)
    return np.where(weight > 0, data, np.float32(np.nan)), weight


def run_montage(raw: Path, place: Path, *, match: str) -> tuple[np.ndarray, np.ndarray]:
    """Montage (Berriman et al. 2004, ASP Conf. 314, 593) on a directory of files; ``place`` holds grid.hdr and what it writes.

    By its Python package (the extra ``montage``) where that is installed, else by its programs.

    Raises
    ------
    ProcessingError
        A step failed; with what Montage said.
    """
    for name in ("projected", "differences", "corrected"):
        (place / name).mkdir(exist_ok=True)
    package = _package()
    if package is not None:
        _montage_by_package(package, raw, place, match)
    else:
        _montage_by_programs(raw, place, match)
    with fits.open(place / "mosaic.fits") as image, fits.open(place / "mosaic_area.fits") as areas:
        data, weight = image[0].data.astype(np.float32), np.nan_to_num(areas[0].data).astype(np.float32)
    return np.where(weight > 0, data, np.float32(np.nan)), weight


def _package() -> ModuleType | None:
    """Montage as a Python package, where it is installed."""
    if importlib.util.find_spec("MontagePy") is None:
        return None
    return importlib.import_module("MontagePy.main")


def _montage_by_package(package: ModuleType, raw: Path, place: Path, match: str) -> None:
    def do(name: str, *words: str, **options: Any) -> None:
        said = getattr(package, name)(*words, **options)
        if str(said["status"]) != "0":
            raise ProcessingError(f"{name} failed: {said.get('msg', said)}")

    def at(name: str) -> str:
        return str(place / name)

    grid, final = at("grid.hdr"), "projected"
    do("mImgtbl", str(raw), at("raw.tbl"))
    do("mProjExec", str(raw), at("raw.tbl"), grid, projdir=at("projected"), quickMode=True, stats=at("stats.tbl"))
    do("mImgtbl", at("projected"), at("projected.tbl"))
    if match != "none":
        do("mOverlaps", at("projected.tbl"), at("overlaps.tbl"))
        do("mDiffExec", at("projected"), at("overlaps.tbl"), grid, diffdir=at("differences"))
        do("mFitExec", at("overlaps.tbl"), at("fits.tbl"), diffdir=at("differences"))
        do("mBgModel", at("projected.tbl"), at("fits.tbl"), at("corrections.tbl"), noslope=match == "level")
        do("mBgExec", at("projected"), at("projected.tbl"), at("corrections.tbl"), corrdir=at("corrected"))
        do("mImgtbl", at("corrected"), at("corrected.tbl"))
        final = "corrected"
    do("mAdd", at(final), at(f"{final}.tbl"), grid, at("mosaic.fits"))


def _montage_by_programs(raw: Path, place: Path, match: str) -> None:
    grid, final = str(place / "grid.hdr"), "projected"
    _run(["mImgtbl", "-c", str(raw), "raw.tbl"], place)
    _run(["mProjExec", "-q", "-p", str(raw), "raw.tbl", grid, "projected", "stats.tbl"], place)
    _run(["mImgtbl", "-c", "projected", "projected.tbl"], place)
    if match != "none":
        _run(["mOverlaps", "projected.tbl", "overlaps.tbl"], place)
        _run(["mDiffExec", "-p", "projected", "overlaps.tbl", grid, "differences"], place)
        _run(["mFitExec", "overlaps.tbl", "fits.tbl", "differences"], place)
        level_only = ["-l"] if match == "level" else []
        _run(["mBgModel", *level_only, "projected.tbl", "fits.tbl", "corrections.tbl"], place)
        _run(["mBgExec", "-p", "projected", "projected.tbl", "corrections.tbl", "corrected"], place)
        _run(["mImgtbl", "-c", "corrected", "corrected.tbl"], place)
        final = "corrected"
    _run(["mAdd", "-e", "-p", final, f"{final}.tbl", grid, "mosaic.fits"], place)


def _run(words: Sequence[str], place: Path) -> None:
    """Run a program; Montage says in its first line whether it went well, and ends with no error code all the same."""
    done = subprocess.run(words, cwd=place, capture_output=True, text=True, check=False)
    said = (done.stdout + done.stderr).strip()
    if done.returncode or 'stat="ERROR"' in said:
        raise ProcessingError(f"{Path(words[0]).name} failed: {said[-400:] or f'exit code {done.returncode}'}")
