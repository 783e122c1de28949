"""What came of a night, on one screen: what was taken, what was made, where the pictures are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from avcd.views.tables import render_table

_SERVING = ("final", "provisional")
COLUMNS = ("observation", "filter", "frames", "reduced", "solved", "rms_arcsec", "fwhm_px", "stack", "exposure_s")


def observation_rows(
    observations: Iterable[Mapping[str, Any]], products: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """One row for each filter of each observation.

    Parameters
    ----------
    observations, products
        Rows of the catalogue.
    """
    serving = [one for one in products if one["status"] in _SERVING]
    found = []
    for observation in observations:
        for name, count in (observation["frames"].get("science") or {}).items():
            mine = [
                one
                for one in serving
                if observation["id"] in (one["observations"] or ()) and (one["filter"] or "none") == name
            ]
            reduced = [one for one in mine if one["kind"] == "reduced"]
            solved = [one for one in reduced if one["wcs"] in ("solved", "delivered", "refined")]
            stacks = [one for one in mine if one["kind"] == "stack"]
            found.append(
                {
                    "observation": observation["id"],
                    "filter": name,
                    "frames": count,
                    "reduced": len(reduced),
                    "solved": len(solved),
                    "rms_arcsec": _median(solved, "astrometry_rms_arcsec"),
                    "fwhm_px": _median(reduced, "fwhm_px"),
                    "stack": ", ".join(one["status"] for one in stacks) or None,
                    "exposure_s": (observation["exposure_s"] or {}).get(name),
                }
            )
    return found


def _median(products: Iterable[Mapping[str, Any]], metric: str) -> float | None:
    values = [one["metrics"].get(metric) for one in products]
    known = [float(value) for value in values if isinstance(value, (int, float))]
    return round(median(known), 3) if known else None


def counts_as_text(stats: Mapping[str, Any]) -> str:
    """How many files, frames, products and jobs there are, in four lines."""
    lines = []
    for title, key in (("files", "files"), ("frames", "frames"), ("products", "products"), ("jobs", "jobs")):
        counts = stats[key]
        parts = ", ".join(f"{count} {name}" for name, count in counts.items())
        lines.append(f"{title:9} {sum(counts.values()):5}  {parts}\n")
    return "".join(lines)


def pictures(products: Iterable[Mapping[str, Any]], archive: Path) -> list[Path]:
    """The pictures worth a look first: the colour composites and the stacks' previews."""
    serving = [one for one in products if one["status"] in _SERVING]
    colour = sorted(archive / one["path"] for one in serving if one["kind"] == "rgb")
    stacks = {one["id"] for one in serving if one["kind"] == "stack"}
    previews = sorted(
        archive / one["path"]
        for one in serving
        if one["kind"] == "preview" and any(ref["id"] in stacks for ref in one["inputs"])
    )
    return colour + previews


def summary_as_text(
    observations: Iterable[Mapping[str, Any]],
    products: Sequence[Mapping[str, Any]],
    stats: Mapping[str, Any],
    archive: Path,
    width: int,
) -> str:
    """The whole summary."""
    rows = observation_rows(observations, products)
    found = pictures(products, archive)
    text = counts_as_text(stats) + "\n" + (render_table(rows, COLUMNS, width) + "\n" if rows else "")
    return text + "pictures\n" + ("".join(f"  {one}\n" for one in found) or "  none\n")
