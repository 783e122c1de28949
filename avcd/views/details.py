"""One frame or product, whole, as text."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

from avcd.headers.values import iso_of_mjd
from avcd.views.tables import cell, render_table

_APART = frozenset(
    {"cards", "header", "sources", "files", "metrics", "flags", "corrections", "used_by", "inputs", "parameters", "extra_files",
     "environment", "warnings", "same_pixels", "pictures"}
)  # fmt: skip

_MOMENTS = frozenset({"first_seen", "published"})


def frame_as_text(row: Mapping[str, Any], width: int) -> str:
    """A frame: its values with where each came from, files, pictures, figures, what was made of it, its header."""
    sources = row.get("sources") or {}
    values = [{**one, "from": sources.get(one["key"])} for one in _values(row)]
    parts = [titled("Frame", values, ("key", "value", "from"), width)]
    parts.append(titled("Files", row.get("files"), ("root", "relative_path", "member", "hdu", "present"), width))
    parts.append(_lines("Other frames with the same pixels", row.get("same_pixels")))
    corrected = [{**one, "in place of": one["before"]} for one in row.get("corrections") or ()]
    parts.append(titled("Corrections", corrected, ("name", "value", "in place of", "active", "who", "reason"), width))
    parts += _common(row, width)
    parts.append(titled("Header", row.get("cards"), ("keyword", "value", "comment"), width))
    return "\n".join(part for part in parts if part)


def product_as_text(row: Mapping[str, Any], width: int) -> str:
    """A product: its values, recipe, inputs, pictures, figures, and what was made of it."""
    parts = [titled("Product", _values(row), ("key", "value"), width)]
    parts.append(titled("Recipe", pairs(row.get("parameters")), ("key", "value"), width))
    parts.append(titled("Inputs", row.get("inputs"), ("role", "id", "origin", "sha256"), width))
    parts += _common(row, width)
    return "\n".join(part for part in parts if part)


def _values(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What is known of it, one line each."""
    known = {key: value for key, value in row.items() if key not in _APART and value not in (None, "", [], ())}
    for key in _MOMENTS & set(known):
        moment = datetime.datetime.fromtimestamp(known[key], datetime.UTC)
        known[key] = moment.isoformat(sep=" ", timespec="seconds")
    return [{"key": key, "value": value} for key, value in known.items()]


def _common(row: Mapping[str, Any], width: int) -> list[str]:
    return [
        _lines("Warnings", row.get("warnings")),
        titled("Figures", pairs(row.get("metrics")), ("key", "value"), width),
        _lines("Pictures", row.get("pictures")),
        flags_as_text(row, width),
        titled("Used by", row.get("used_by"), ("id", "kind", "status", "role", "path"), width),
    ]


def flags_as_text(row: Mapping[str, Any], width: int) -> str:
    """What observers said: who, when and why, for which times, and what became of it."""
    shown = []
    for one in row.get("flags") or ():
        withdrawn = (
            f"withdrawn {moment_as_text(one['withdrawn_at'])} by {one['withdrawn_by']}: {one['withdrawn_reason']}"
        )
        reason = one["reason"] if one["active"] else f"{one['reason']}; {withdrawn}"
        valid = validity(one.get("valid_from"), one.get("valid_until"))
        shown.append({**one, "when": moment_as_text(one["flagged_at"]), "reason": reason, "valid": valid})
    columns = ("kind", "active", "when", "who", *(["valid"] if any(one["valid"] for one in shown) else []), "reason")
    return titled("Flags", shown, columns, width)


def validity(valid_from: float | None, valid_until: float | None) -> str:
    """The times (MJD UTC) for which a master is approved, in words; empty without a limit."""
    limits = (("from", valid_from), ("until", valid_until))
    return " ".join(f"{word} {iso_of_mjd(mjd)[:16]}" for word, mjd in limits if mjd is not None)


def moment_as_text(seconds: float | None) -> str:
    """Seconds since the epoch as a person reads them, UTC."""
    if seconds is None:
        return ""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(sep=" ", timespec="seconds")[:19]


def pairs(values: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """A mapping as rows of key and value, by key."""
    return [{"key": key, "value": value} for key, value in sorted((values or {}).items())]


def titled(title: str, rows: Sequence[Mapping[str, Any]] | None, columns: Sequence[str], width: int) -> str:
    """A table under its title; nothing without rows."""
    if not rows:
        return ""
    # Values of many kinds share the column: all are text, so that none decides how the others look.
    shown = [{key: cell(key, row.get(key)) for key in columns} for row in rows]
    return f"{title}\n{render_table(shown, columns, width)}"


def _lines(title: str, lines: Sequence[str] | None) -> str:
    return f"{title}\n" + "".join(f"  {cell('', one)}\n" for one in lines) if lines else ""
