"""A file's stars for other programs and for the eye: ds9 regions, VOTable, a picture with marks, a report."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np
from astropy.table import Table
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from avcd.compose.preview import preview_pngs
from avcd.sky.detection import SourceFlag, Sources
from avcd.standalone.measured import Measured

_LONGEST_PX = 1600
_CONTRAST = 0.25
_COLOURS = {"saturated": (255, 80, 80), "doubtful": (255, 200, 60), "star": (90, 230, 120)}
_DS9 = {"saturated": "red", "doubtful": "yellow", "star": "green"}
_LARGEST_WIDTHS = 6.0


def kinds(sources: Sources) -> list[str]:
    """What each source is, for its colour: "saturated", "doubtful" (any other flag) or "star"."""
    saturated = (sources.flags & SourceFlag.SATURATED) != 0
    return list(np.where(saturated, "saturated", np.where(sources.flags != 0, "doubtful", "star")))


def write_regions(measured: Measured, identity: str, stream: BinaryIO) -> None:
    """Regions as ds9 reads them: an ellipse of each source's width at half maximum, in FITS pixels."""
    sources = measured.sources
    lines = [
        "# Region file format: DS9 version 4.1",
        f"# AVCDID {identity}",
        "global color=green width=1 select=1 edit=1 move=1 delete=1",
        "image",
    ]
    for index, kind in enumerate(kinds(sources)):
        major, minor = _axes(sources, index)
        colour = "" if _DS9[kind] == "green" else f" # color={_DS9[kind]}"
        lines.append(
            f"ellipse({sources.x[index] + 1:.3f},{sources.y[index] + 1:.3f},{major:.2f},{minor:.2f},"
            f"{np.degrees(sources.theta_rad[index]):.1f}){colour}"
        )
    stream.write(("\n".join(lines) + "\n").encode("ascii"))


def _axes(sources: Sources, index: int) -> tuple[float, float]:
    """Half axes of the ellipse of half maximum, of the fitted width and the measured ellipticity."""
    width, ratio = float(sources.fwhm_px[index]), max(1.0 - float(sources.ellipticity[index]), 0.05)
    return width / 2 / np.sqrt(ratio), width / 2 * np.sqrt(ratio)


def write_votable(table: Table, identity: str, stream: BinaryIO) -> None:
    """The table as VOTable, with UCDs."""
    from astropy.io.votable import from_table
    from astropy.io.votable.tree import Info

    whole = from_table(table)
    whole.infos.append(Info(name="AVCDID", value=identity))
    ucds = {
        "x": "pos.cartesian.x;instr.det", "y": "pos.cartesian.y;instr.det", "flux": "phot.count", "flux_err": "stat.error;phot.count",
        "fwhm_px": "phys.angSize;instr.det", "ellipticity": "src.ellipticity", "theta_rad": "pos.posAng;instr.det",
        "peak": "phot.count;stat.max", "flags": "meta.code", "ra": "pos.eq.ra;meta.main", "dec": "pos.eq.dec;meta.main",
        "mag": "phot.mag", "mag_err": "stat.error;phot.mag",
    }  # fmt: skip
    for field in whole.get_first_table().fields:
        field.ucd = ucds.get(field.name)
    whole.to_xml(stream)


def write_picture(measured: Measured, identity: str, stream: BinaryIO) -> None:
    """A PNG of the frame with its sources marked (saturated ones red, doubtful ones yellow), and the width of the stars
    written into the regions of the field."""
    nx = measured.ccd.data.shape[1]
    params = {"sizes_px": [_LONGEST_PX], "contrast": _CONTRAST}
    grey = Image.open(io.BytesIO(preview_pngs(measured.ccd.data, _bits(measured), params)[_LONGEST_PX]))
    picture = grey.convert("RGB")
    factor = picture.width / nx
    draw = ImageDraw.Draw(picture)
    sources = measured.sources
    usual = float(np.median(sources.fwhm_px)) if len(sources) else 1.0
    for index, kind in enumerate(kinds(sources)):
        radius = max(4.0, factor * min(1.5 * float(sources.fwhm_px[index]), _LARGEST_WIDTHS * usual))
        x, y = (float(sources.x[index]) + 0.5) * factor, picture.height - (float(sources.y[index]) + 0.5) * factor
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline=_COLOURS[kind])
    font = ImageFont.load_default(max(11, picture.width // 55))
    places = {"CN": (0.5, 0.5), "TL": (0.12, 0.08), "TR": (0.88, 0.08), "BL": (0.12, 0.92), "BR": (0.88, 0.92)}
    for one in measured.psf:
        error = "" if one.fwhm_err_px is None else f" ± {one.fwhm_err_px:.2f}"
        place = (places[one.region][0] * picture.width, places[one.region][1] * picture.height)
        draw.text(place, f"{one.region} {one.fwhm_px:.2f}{error} px", (120, 200, 255), font, anchor="mm")
    about = PngInfo()
    about.add_text("AVCDID", identity)
    picture.save(stream, "PNG", pnginfo=about, optimize=False, compress_level=6)


def _bits(measured: Measured) -> np.ndarray | None:
    mask = measured.ccd.mask
    return mask if mask is not None and mask.dtype != bool else None


def write_report(measured: Measured, identity: str, stream: BinaryIO) -> None:
    """The quality of a frame as JSON: what it is, its figures, and the shape of its stars by region."""
    frame = measured.frame
    names = (
        "target_name", "telescope", "instrument", "filter", "date_obs", "exposure_s", "ccd_temperature_c", "airmass",
        "gain_e_per_adu", "naxis1", "naxis2", "pixel_scale_arcsec",
    )  # fmt: skip
    scale = frame.pixel_scale_arcsec
    report: Mapping[str, Any] = {
        "AVCDID": identity,
        "file": measured.file.path.name,
        "frame": {name: getattr(frame, name) for name in names},
        "unit": measured.file.unit,
        "figures": dict(measured.figures),
        "psf": [
            {
                "region": one.region,
                "stars": one.stars,
                "fwhm_px": one.fwhm_px,
                "fwhm_err_px": one.fwhm_err_px,
                "fwhm_arcsec": None if scale is None else one.fwhm_px * scale,
                "fwhm_x_px": one.fwhm_x_px,
                "fwhm_y_px": one.fwhm_y_px,
                "ellipticity": one.ellipticity,
                "theta_deg": one.theta_deg,
                "round": one.is_round,
            }
            for one in measured.psf
        ],
    }
    stream.write((json.dumps(report, indent=2, allow_nan=False) + "\n").encode())
