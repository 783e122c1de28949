"""A night's quality as a picture: an SVG, drawn without any other program."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

Row = Mapping[str, Any]
_PANELS = (
    ("fwhm_px", "width [px]"),
    ("ellipticity", "ellipticity"),
    ("transparency", "transparency"),
    ("zero_point_mag", "zero point [mag]"),
    ("limiting_mag", "limiting magnitude"),
    ("background", "background"),
    ("stars", "stars"),
)
# Okabe and Ito's colours, which people of any vision tell apart.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
_WIDTH, _PANEL, _LEFT, _RIGHT, _TOP, _BOTTOM = 900, 110, 90, 20, 60, 40
_GAP = 14


def night_svg(rows: Sequence[Row], title: str) -> str:
    """A night's frames against time: one panel a figure, one colour a filter; faulty frames are crosses.

    Parameters
    ----------
    rows
        As of `avcd.views.quality.quality_row`; those without a time come in their order. Figures that no frame has are left
        out. The whole text of a mark says which frame it is, and what is wrong with it.
    """
    times = _times(rows)
    filters = sorted({row["filter"] or "no filter" for row in rows})
    colours = {name: _COLOURS[index % len(_COLOURS)] for index, name in enumerate(filters)}
    panels = [(key, label) for key, label in _PANELS if any(row.get(key) is not None for row in rows)]
    height = _TOP + len(panels) * (_PANEL + _GAP) + _BOTTOM
    first, last = min(times, default=0.0), max(times, default=1.0)
    span = (last - first) or 1.0
    width = _WIDTH - _LEFT - _RIGHT
    across = [_LEFT + 10 + (moment - first) / span * (width - 20) for moment in times]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" viewBox="0 0 {_WIDTH} {height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
        f'<text x="{_LEFT}" y="22" font-size="16">{escape(title)}</text>',
    ]
    for index, name in enumerate(filters):
        x = _LEFT + index * 110
        parts.append(f'<circle cx="{x + 5}" cy="40" r="4" fill="{colours[name]}"/>')
        parts.append(f'<text x="{x + 14}" y="44">{escape(name)}</text>')
    for number, (key, label) in enumerate(panels):
        parts += _panel(rows, across, key, label, _TOP + number * (_PANEL + _GAP), colours)
    parts += _hours(rows, first, span, width, height)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _times(rows: Sequence[Row]) -> list[float]:
    """Seconds; where a row has no time, its place among the others."""
    known = [_seconds(row.get("date_obs")) for row in rows]
    if any(one is None for one in known):
        return [float(index) for index in range(len(rows))]
    return [one for one in known if one is not None]


def _seconds(date_obs: Any) -> float | None:
    if not date_obs:
        return None
    moment = datetime.datetime.fromisoformat(str(date_obs))
    return moment.replace(tzinfo=datetime.UTC).timestamp()


def _panel(
    rows: Sequence[Row], across: Sequence[float], key: str, label: str, top: float, colours: Mapping[str, str]
) -> list[str]:
    values = [float(row[key]) for row in rows if row.get(key) is not None]
    low, high = min(values), max(values)
    margin = 0.08 * (high - low) or abs(high) * 0.05 or 1.0
    low, high = low - margin, high + margin
    bottom = top + _PANEL
    width = _WIDTH - _LEFT - _RIGHT
    parts = [
        f'<rect x="{_LEFT}" y="{top}" width="{width}" height="{_PANEL}" fill="none" stroke="#999"/>',
        f'<text x="14" y="{top + _PANEL / 2}" transform="rotate(-90 14 {top + _PANEL / 2})" text-anchor="middle">'
        f"{escape(label)}</text>",
        f'<text x="{_LEFT - 6}" y="{bottom - 2}" text-anchor="end" fill="#555">{low + margin:.4g}</text>',
        f'<text x="{_LEFT - 6}" y="{top + 12}" text-anchor="end" fill="#555">{high - margin:.4g}</text>',
    ]
    for row, x in zip(rows, across, strict=True):
        if row.get(key) is None:
            continue
        y = bottom - (float(row[key]) - low) / (high - low) * _PANEL
        colour = colours[row["filter"] or "no filter"]
        told = escape("; ".join([str(row.get("path") or row.get("id")), f"{label} {row[key]:.4g}", *row["evidence"]]))
        if row["faults"]:
            mark = f'<path d="M{x - 4:.1f} {y - 4:.1f}l8 8m0 -8l-8 8" stroke="{colour}" stroke-width="2">'
            parts.append(f"{mark}<title>{told}</title></path>")
        else:
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"><title>{told}</title></circle>')
    return parts


def _hours(rows: Sequence[Row], first: float, span: float, width: float, height: float) -> list[str]:
    """The time below the last panel."""
    if any(not row.get("date_obs") for row in rows):
        return [f'<text x="{_LEFT}" y="{height - 16}" fill="#555">frames in their order</text>']
    parts = []
    for part in (0.0, 0.25, 0.5, 0.75, 1.0):
        moment = datetime.datetime.fromtimestamp(first + part * span, datetime.UTC)
        x = _LEFT + 10 + part * (width - 20)
        parts.append(f'<text x="{x:.0f}" y="{height - 16}" text-anchor="middle" fill="#555">{moment:%H:%M} UTC</text>')
    return parts
