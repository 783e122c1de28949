"""Curves and histograms as pictures, by matplotlib (the extra ``plot``), and as CSV, which needs nothing."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from avcd.errors import UsageError

PICTURES = (".png", ".svg")
SUFFIXES = (".csv", *PICTURES)
_WIDTH_IN = 8.0
_PANEL_IN = 2.6
_DPI = 120

Rows = Sequence[Mapping[str, Any]]


def check_plot_name(option: str, path: Path, *, force: bool) -> None:
    """Refuse a file that nothing can be drawn into, or that is there already, unless with ``force``.

    Raises
    ------
    UsageError
        Its name ends otherwise than .csv, .png or .svg; or matplotlib is wanted and missing; or it is there.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(f"{option} {path}: name a file that ends with {', '.join(SUFFIXES)}")
    if path.exists() and not force:
        raise UsageError(f"{option} {path} is there already; --force replaces it")
    if suffix in PICTURES:
        _figure_class(f"{option} {path}")


def _figure_class(wanted_by: str) -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UsageError(
            f"{wanted_by}: pictures need matplotlib: pip install 'avcd[plot]'; a file that ends with .csv needs nothing"
        ) from None
    return Figure


def write_csv(path: Path, rows: Rows, columns: Sequence[str]) -> None:
    """Rows as CSV, of the columns given."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def draw_series(path: Path, rows: Rows, names: Sequence[str]) -> None:
    """Figures over time, one panel for each.

    Parameters
    ----------
    rows
        With ``mjd``, ``camera``, ``filter``, ``metric`` and ``value``; each camera and filter has a colour of its own.
    names
        The metrics, from the top down.
    """
    import numpy as np
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    figure = _figure_class(str(path))(figsize=(_WIDTH_IN, _PANEL_IN * len(names)), layout="constrained")
    panels = np.atleast_1d(figure.subplots(len(names), 1, sharex=True))
    series = sorted({(row["camera"], row["filter"] or "") for row in rows})
    for panel, name in zip(panels, names, strict=True):
        for number, (camera, band) in enumerate(series):
            mine = [row for row in rows if (row["camera"], row["filter"] or "", row["metric"]) == (camera, band, name)]
            if mine:
                # matplotlib counts days from 1970.
                days = [row["mjd"] - 40587.0 for row in mine]
                label = f"{camera} {band}".strip()
                panel.plot(days, [row["value"] for row in mine], "o", ms=3.5, color=f"C{number % 10}", label=label)
        panel.set_ylabel(name)
        panel.grid(alpha=0.3)
        if panel.lines and len(series) > 1:
            panel.legend(fontsize="x-small")
    locator = AutoDateLocator()
    panels[-1].xaxis.set_major_locator(locator)
    panels[-1].xaxis.set_major_formatter(ConciseDateFormatter(locator))
    panels[-1].set_xlabel("UTC")
    _save(figure, path)


def draw_light_curve(path: Path, rows: Rows, title: str) -> None:
    """Magnitudes against time, bright above, with errors; below them the check stars', with the same scale.

    Parameters
    ----------
    rows
        As of `avcd.views.lightcurves.light_curve_rows`; each camera and filter has a colour of its own.
    """
    import numpy as np

    figure = _figure_class(str(path))(figsize=(_WIDTH_IN, 2 * _PANEL_IN), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    series = sorted({(row["telescope"] or "", row["instrument"] or "", row["filter"] or "") for row in rows})
    start = int(min(row["bjd_tdb"] for row in rows))
    for number, key in enumerate(series):
        mine = [row for row in rows if (row["telescope"] or "", row["instrument"] or "", row["filter"] or "") == key]
        days = [row["bjd_tdb"] - start for row in mine]
        style = {"fmt": "o", "ms": 3.5, "elinewidth": 0.8, "color": f"C{number % 10}"}
        above.errorbar(
            days, [row["mag"] for row in mine], [row["mag_err"] for row in mine], label=" ".join(key), **style
        )
        check = np.array([np.nan if row["check_mag"] is None else row["check_mag"] for row in mine])
        below.plot(days, check - np.nanmedian(check), "o", ms=3.5, color=f"C{number % 10}")
    for panel in (above, below):
        panel.grid(alpha=0.3)
        panel.invert_yaxis()
    above.set_title(title, fontsize="medium")
    above.set_ylabel("magnitude")
    below.set_ylabel("check star, less its median")
    below.set_xlabel(f"BJD (TDB) - {start}")
    if len(series) > 1:
        above.legend(fontsize="x-small")
    _save(figure, path)


def draw_histograms(path: Path, rows: Rows) -> None:
    """Histograms of differences of biases, with the normal curve of each, one panel for each ``title`` among the rows."""
    import numpy as np

    titles = list(dict.fromkeys(row["title"] for row in rows))
    figure = _figure_class(str(path))(figsize=(_WIDTH_IN, _PANEL_IN * len(titles)), layout="constrained")
    for panel, title in zip(np.atleast_1d(figure.subplots(len(titles), 1)), titles, strict=True):
        mine = [row for row in rows if row["title"] == title]
        at = [row["difference_adu"] for row in mine]
        width = mine[1]["difference_adu"] - at[0] if len(mine) > 1 else 1.0
        panel.bar(at, [row["pixels"] for row in mine], width=width, color="C0", alpha=0.6, label="pixels")
        panel.plot(at, [row["normal"] for row in mine], color="C3", lw=1, label="normal, of the read noise")
        panel.set_yscale("log")
        panel.set_ylim(bottom=0.5)
        panel.set_title(title, fontsize="small")
        panel.set_xlabel("difference of two biases [adu]")
        panel.set_ylabel("pixels")
        panel.legend(fontsize="x-small")
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    """The same picture is the same bytes: no date, no random names."""
    import matplotlib as mpl

    with mpl.rc_context({"svg.hashsalt": "avcd"}):
        figure.savefig(path, dpi=_DPI, metadata={"Date": None} if path.suffix.lower() == ".svg" else {"Software": None})
