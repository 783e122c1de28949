"""Light curves from source tables: those that avcd made of its reduced frames, or that ``avcd stars`` wrote."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.table import Table

from avcd.cards import exposure_of, time_of, zero_point_said
from avcd.errors import FrameError, UsageError
from avcd.headers.targets import Target, key_of
from avcd.headers.values import to_degrees
from avcd.pointing import barycentric_jd
from avcd.sky.detection import SourceFlag
from avcd.sky.lightcurve import StarList, measure_light_curve

Row = dict[str, Any]
KEYS = (
    "mjd", "bjd_tdb", "telescope", "instrument", "filter", "mag", "mag_err", "calibrated", "check_mag", "comparisons", "flags",
    "airmass", "exposure_s", "id", "path",
)  # fmt: skip
SHOWN = ("mjd", "filter", "mag", "mag_err", "check_mag", "comparisons", "flags", "path")
_LEAST_REACH_ARCSEC = 2.0
_REACH_PX = 1.5
_COLUMNS = ("x", "y", "ra", "dec", "flux", "flux_err", "flags")


@dataclass(frozen=True)
class SourceTable:
    """The stars of one exposure, with what its header says; ``mjd`` is its middle, UTC."""

    path: str
    id: str
    telescope: str | None
    instrument: str | None
    filter: str | None
    mjd: float
    airmass: float | None
    stars: StarList


def place_of(text: str, known: dict[str, Target]) -> tuple[float, float]:
    """Where a target is, degrees: 'RA,DEC' in degrees, or in hours and degrees with colons; else a name that a home knows.

    Raises
    ------
    UsageError
        It is neither.
    """
    parts = [one.strip() for one in text.split(",")]
    if len(parts) == 2:
        ra, dec = to_degrees(parts[0], "hour_or_deg"), to_degrees(parts[1], "deg")
        if ra is not None and dec is not None and 0 <= ra < 360 and -90 <= dec <= 90:
            return ra, dec
    target = known.get(key_of(text))
    if target is None:
        raise UsageError(
            f"{text!r} is no place (write 05:35:17.3,-05:23:28 or 83.822,-5.391) and no name of the home's targets.toml"
        )
    return target.ra_deg, target.dec_deg


def read_source_table(path: Path, name: str) -> SourceTable:
    """The stars of a source table.

    Parameters
    ----------
    name
        What it is called in messages and rows.

    Raises
    ------
    FrameError
        It is no source table, has no sky positions, or tells neither time nor exposure; the message says which.
    """
    try:
        header, table = fits.getheader(path), Table.read(path, hdu="SOURCES")
    except (OSError, KeyError, ValueError) as error:
        raise FrameError(f"{name}: no source table: {error}") from error
    missing = [one for one in _COLUMNS if one not in table.colnames]
    if missing:
        raise FrameError(f"{name}: it has no {', '.join(missing)}: its frame has no plate solution")
    exposure_s = exposure_of(header)
    begin = time_of(header)
    middle = header.get("MJD-AVG", None if begin is None else begin + (exposure_s or 0.0) / 172800)
    if not exposure_s or not isinstance(middle, (int, float)):
        raise FrameError(f"{name}: its header tells no {'exposure' if not exposure_s else 'time'}")
    columns = {one: np.asarray(table[one], float) for one in _COLUMNS}
    airmass = header.get("AIRMASS")
    return SourceTable(
        path=name,
        id=str(header.get("AVCDID", "")),
        telescope=header.get("TELESCOP"),
        instrument=header.get("INSTRUME"),
        filter=header.get("FILTER"),
        mjd=float(middle),
        airmass=float(airmass) if isinstance(airmass, (int, float)) else None,
        stars=StarList(
            columns["ra"], columns["dec"], columns["flux"], columns["flux_err"], columns["flags"].astype(int), exposure_s,
            max(_LEAST_REACH_ARCSEC, _REACH_PX * _scale_arcsec(columns)), zero_point_said(header),
        ),
    )  # fmt: skip


def light_curve_rows(tables: Iterable[SourceTable], ra_deg: float, dec_deg: float) -> list[Row]:
    """One row for each exposure that shows a star, by camera, filter and time.

    Every camera and filter has an ensemble of comparison stars of its own.
    """
    groups: dict[tuple[str, str, str], list[SourceTable]] = {}
    for one in tables:
        groups.setdefault((one.telescope or "", one.instrument or "", one.filter or ""), []).append(one)
    rows: list[Row] = []
    for _, members in sorted(groups.items()):
        members.sort(key=lambda one: (one.mjd, one.path))
        found = measure_light_curve([one.stars for one in members], ra_deg, dec_deg)
        if found is None:
            continue
        for index, one in enumerate(members):
            if math.isfinite(found.mag[index]):
                rows.append(
                    {
                        "mjd": round(one.mjd, 7),
                        "bjd_tdb": round(barycentric_jd(ra_deg, dec_deg, one.mjd), 7),
                        "telescope": one.telescope,
                        "instrument": one.instrument,
                        "filter": one.filter,
                        "mag": round(float(found.mag[index]), 5),
                        "mag_err": round(float(found.error_mag[index]), 5),
                        "calibrated": found.calibrated,
                        "check_mag": _rounded(found.check_mag[index]),
                        "comparisons": int(found.comparisons[index]),
                        "flags": ",".join(
                            one.name.lower() for one in SourceFlag if one & int(found.flags[index]) and one.name
                        ),
                        "airmass": one.airmass,
                        "exposure_s": one.stars.exposure_s,
                        "id": one.id,
                        "path": one.path,
                    }
                )
    return rows


def _rounded(value: float) -> float | None:
    return round(float(value), 5) if math.isfinite(value) else None


def _scale_arcsec(columns: dict[str, np.ndarray]) -> float:
    """Of the pixels, by the two stars that are furthest apart in declination's order; 0 where there are not two."""
    if len(columns["x"]) < 2:
        return 0.0
    ends: Sequence[int] = [int(np.argmin(columns["dec"])), int(np.argmax(columns["dec"]))]
    x, y, ra, dec = (columns[name][ends] for name in ("x", "y", "ra", "dec"))
    pixels = math.hypot(x[1] - x[0], y[1] - y[0])
    across = (ra[1] - ra[0] + 180) % 360 - 180
    apart = math.hypot(across * math.cos(math.radians(dec.mean())), dec[1] - dec[0]) * 3600
    return apart / pixels if pixels > 0 else 0.0
