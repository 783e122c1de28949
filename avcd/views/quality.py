"""The quality of frames: rows of figures with what is wrong, frame by frame and night by night."""

from __future__ import annotations

import datetime
import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from avcd.inspection import Limits, inspect

Row = dict[str, Any]
FIGURES = (
    "stars", "fwhm_px", "fwhm_arcsec", "ellipticity", "elongation", "tilt", "background", "background_gradient", "noise",
    "saturated_stars", "zero_point_mag", "zero_point_scatter_mag", "zero_point_stars", "zero_point_band", "limiting_mag",
    "transparency", "transparency_scatter", "sky_ratio", "fwhm_ratio", "depth", "dead_cells", "trails", "sun_altitude_deg",
    "pointing_off_arcmin",
)  # fmt: skip
ABOUT = ("id", "path", "telescope", "night", "target_name", "filter", "date_obs", "exposure_s")
KEYS = (*ABOUT, *FIGURES, "faults", "evidence")
SHOWN = (
    "path", "filter", "stars", "fwhm_px", "ellipticity", "background", "zero_point_mag", "limiting_mag", "transparency",
    "faults", "evidence",
)  # fmt: skip
_MEDIANS = (
    "fwhm_px",
    "fwhm_arcsec",
    "ellipticity",
    "background",
    "noise",
    "zero_point_mag",
    "limiting_mag",
    "transparency",
)
NIGHT_KEYS = (
    "telescope",
    "night",
    "filter",
    "frames",
    "faulty",
    "faults",
    *_MEDIANS,
    "sharpest_px",
    "drift_px_h",
    "depth_s",
)
NIGHT_SHOWN = (
    "telescope", "night", "filter", "frames", "faulty", "fwhm_px", "sharpest_px", "drift_px_h", "ellipticity", "zero_point_mag",
    "limiting_mag", "transparency", "depth_s", "faults",
)  # fmt: skip
_DIGITS = 4
_FEWEST = 5  # frames that tell a drift
_MOST = 1000


def quality_row(about: Mapping[str, Any], metrics: Mapping[str, Any], limits: Limits) -> Row:
    """One frame: what it is, its figures (rounded to four significant digits), and its faults with their evidence."""
    found = inspect(metrics, limits)
    return {
        **{key: about.get(key) for key in ABOUT},
        **{key: _rounded(metrics.get(key)) for key in FIGURES},
        "faults": [str(one.fault) for one in found],
        "evidence": [f"{one.fault}: {one.evidence}" for one in found],
    }


def product_rows(products: Iterable[Mapping[str, Any]], moments: Mapping[str, str | None], limits: Limits) -> list[Row]:
    """The rows of reduced frames, in the order of their exposures.

    Parameters
    ----------
    products
        Rows of the catalogue.
    moments
        The start of the exposure of each frame, by its id.
    """
    found = []
    for one in products:
        raw = next((ref["id"] for ref in one["inputs"] if ref["role"] == "raw"), None)
        found.append(quality_row({**one, "date_obs": moments.get(raw or "")}, one["metrics"], limits))
    return sorted(found, key=lambda row: (row["night"] or "", row["date_obs"] or "", row["path"] or ""))


def night_rows(rows: Iterable[Row]) -> list[Row]:
    """One row for each telescope, night and filter: how many frames, how many of them faulty, and medians of the others.

    ``sharpest_px`` is the least width; ``drift_px_h`` how fast widths grow, of five frames or more: the median of all pairs'
    slopes (Theil 1950, Proc. KNAW 53, 386); ``depth_s`` the exposure in seconds of a frame as good as the best.
    """
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["telescope"] or "", row["night"] or "", row["filter"] or ""), []).append(row)
    found = []
    for (telescope, night, name), members in sorted(groups.items()):
        good = [one for one in members if not one["faults"]] or members
        widths = [one["fwhm_px"] for one in members if one["fwhm_px"] is not None]
        depths = [
            (one["depth"], one["exposure_s"]) for one in members if one["depth"] is not None and one["exposure_s"]
        ]
        counts = Counter(fault for one in members for fault in one["faults"])
        found.append(
            {
                "telescope": telescope or None,
                "night": night or None,
                "filter": name or None,
                "frames": len(members),
                "faulty": sum(bool(one["faults"]) for one in members),
                "faults": [f"{fault} {count}" for fault, count in sorted(counts.items())],
                **{key: _rounded(_median(good, key)) for key in _MEDIANS},
                "sharpest_px": min(widths, default=None),
                "drift_px_h": _rounded(_drift(members)),
                "depth_s": _rounded(sum(depth * seconds for depth, seconds in depths)) if depths else None,
            }
        )
    return found


def _drift(rows: Sequence[Row]) -> float | None:
    """How fast the stars grow wider, in pixels an hour."""
    known = [
        (
            datetime.datetime.fromisoformat(row["date_obs"]).replace(tzinfo=datetime.UTC).timestamp() / 3600,
            row["fwhm_px"],
        )
        for row in rows
        if row["date_obs"] and row["fwhm_px"] is not None
    ]
    if len(known) < _FEWEST:
        return None
    slopes = [
        (two - one) / (later - earlier)
        for (earlier, one), (later, two) in itertools.combinations(sorted(known)[:_MOST], 2)
        if later > earlier
    ]
    return median(slopes) if slopes else None


def _median(rows: Sequence[Row], key: str) -> float | None:
    known = [row[key] for row in rows if row[key] is not None]
    return median(known) if known else None


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS + 1 if abs(value) >= 10 else _DIGITS}g}")
    return value
