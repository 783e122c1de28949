"""Star lists of files that are named: table, and on demand VOTable, regions, picture and report beside it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from astropy.io import fits
from astropy.table import Table

from avcd.cards import inherit, sign
from avcd.frame import CalibLevel, ProductKind
from avcd.products import verify_picture, write_table_fits
from avcd.standalone.charts import write_picture, write_regions, write_report, write_votable
from avcd.standalone.inputs import FrameFile
from avcd.standalone.measured import Measured, measure_file
from avcd.standalone.outputs import Beside, Task, Writer
from avcd.standalone.planning import changed, check_memory, recipe_of
from avcd.standalone.writing import Signed

_FEW = 5  # stars, of which a person should know


@dataclass(frozen=True)
class StarOptions:
    """Which files are written beside the table, and changes of the detection's parameters."""

    votable: bool = False
    regions: bool = False
    picture: bool = False
    report: bool = False
    changes: tuple[str, ...] = ()


def plan_stars(file: FrameFile, out: Path, options: StarOptions, limit_bytes: int) -> Task:
    """The task that lists a file's stars.

    Raises
    ------
    UsageError
        A parameter that does not exist.
    """
    check_memory(file.frame, limit_bytes)
    parameters = changed(recipe_of(ProductKind.SOURCES, ()).parameters, options.changes)
    frame = file.frame
    known = {
        "exposure_s": frame.exposure_s,
        "gain_e_per_adu": frame.gain_e_per_adu,
        "saturation_adu": frame.saturation_adu,
        "pixel_scale_arcsec": frame.pixel_scale_arcsec,
    }
    all_parameters = {**parameters, **{name: value for name, value in known.items() if value is not None}}
    signed = Signed.of("stars", [("frame", file)], all_parameters)
    measured = functools.cache(
        partial(measure_file, file, float(parameters["detection_sigma"]), int(parameters["detection_minimum_px"]))
    )
    wanted = {
        ".vot": (options.votable, lambda found, stream: write_votable(_table(found), signed.identity, stream), _any),
        ".reg": (options.regions, lambda found, stream: write_regions(found, signed.identity, stream), _any),
        ".png": (options.picture, lambda found, stream: write_picture(found, signed.identity, stream), verify_picture),
        ".json": (options.report, lambda found, stream: write_report(found, signed.identity, stream), _any),
    }
    beside = tuple(
        Beside(out.with_suffix(suffix), partial(_write, measured, writer), verify)
        for suffix, (asked, writer, verify) in wanted.items()
        if asked
    )
    return Task(signed.identity, signed.kind, out, (file.path,), partial(_make, measured, signed), beside)


def _any(path: Path) -> None:
    """Text is what was written."""


def _write(measured: Callable[[], Measured], writer: Callable[[Measured, BinaryIO], None], stream: BinaryIO) -> None:
    writer(measured(), stream)


def _make(measured: Callable[[], Measured], signed: Signed) -> tuple[Writer, Sequence[str]]:
    found = measured()
    level = max(found.frame.calib_level, CalibLevel.RAW)
    header = inherit(fits.Header(found.ccd.header), keep_world=True)
    usual = found.figures.get("fwhm_px")
    width = "" if usual is None else f", {usual:.2f} px wide"
    steps = [f"{len(found.sources)} stars found{width}, measured within {found.sources.aperture_px:.2f} px"]
    notes = [f"{len(found.sources)} stars only"] if len(found.sources) < _FEW else []
    header = sign(header, signed.identity, signed.kind, signed.recipe, signed.version, level, steps)
    return (
        partial(
            write_table_fits,
            _table(found),
            "SOURCES",
            header,
            signed.provenance,
            signed.parameters,
            further=_further(found),
        ),
        notes,
    )


def _table(found: Measured) -> Table:
    zero_point = None if found.zero_point is None else found.zero_point.mag
    return found.sources.to_table(found.wcs, zero_point, found.frame.exposure_s)


def _further(found: Measured) -> dict[str, Table]:
    """The shape of the stars by region, and all figures."""
    names = ("region", "stars", "fwhm_px", "fwhm_err_px", "fwhm_x_px", "fwhm_y_px", "ellipticity", "theta_deg")
    tables = {}
    if found.psf:
        rows: Sequence[Mapping[str, Any]] = [{name: getattr(one, name) for name in names} for one in found.psf]
        columns = {
            name: [float("nan") if row[name] is None else row[name] for row in rows]
            for name in names
            if name != "region"
        }
        tables["PSF"] = Table({"region": [row["region"] for row in rows], **columns})
    numbers = {name: float(value) for name, value in found.figures.items() if isinstance(value, (int, float))}
    tables["QUALITY"] = Table({"name": sorted(numbers), "value": [numbers[name] for name in sorted(numbers)]})
    return tables
