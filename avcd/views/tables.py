"""Rows as a table for people, or as json or csv for programs."""

from __future__ import annotations

import csv
import itertools
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any, TextIO

Row = Mapping[str, Any]
ID_LENGTH = 12  # of the 64 digits of an id a table shows this beginning; any unambiguous one names it
_GAP = 2  # characters between two columns
# Columns of text that is folded rather than cut off, and the width that this takes at least.
_FOLDED = frozenset(
    {
        "reason",
        "detail",
        "help",
        "frames",
        "exposure_s",
        "exposure_h",
        "inputs",
        "warnings",
        "path",
        "value",
        "comment",
        "id",
        "observation",
        "faults",
        "evidence",
    }
)
_FOLDED_WIDTH = 28
# What a narrow terminal does without, the least important first.
_YIELDING = (
    "attempts", "closed_by", "revision", "fwhm_px", "present", "member", "binning", "ccd_temperature_c", "status", "default",
    "inputs", "date_obs", "instrument", "fwhm_arcsec", "exposure_s", "exposure_h", "telescope", "night", "size", "path", "help", "wcs", "state",
)  # fmt: skip
_ENDLESS = 100_000  # characters: where nothing says how wide a line may be, nothing is cut off


class Format(StrEnum):
    """How rows are written."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


class ListFormat(StrEnum):
    """How lists are written: also as astronomers exchange tables."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    VOTABLE = "votable"
    FITS = "fits"


def write_rows(
    rows: Iterable[Row],
    form: Format,
    stream: TextIO,
    columns: Sequence[str],
    *,
    chosen: Sequence[str] | None = None,
    every: Sequence[str] | None = None,
) -> int:
    """Write rows; json and csv are streamed, so that a list may be longer than memory.

    Parameters
    ----------
    rows
        Mappings of one shape.
    columns
        The keys a table shows.
    chosen
        The keys that every format shows, in this order; None: a table those of ``columns``, the others all.
    every
        All keys of these rows, so that a list without any has the same; None: only its rows know.

    Returns
    -------
    int
        How many rows there were.

    Raises
    ------
    KeyError
        A chosen key is in no row; nothing was written.
    """
    refuse_unknown(chosen, every)
    # Whatever is wrong with the rows shows with the first one, before anything is written.
    iterator = iter(rows)
    first = list(itertools.islice(iterator, 1))
    if first and chosen:
        for key in chosen:
            first[0][key]
    everything = itertools.chain(first, iterator)
    if form is Format.JSON:
        return _write_json(everything, stream, chosen)
    if form is Format.CSV:
        return _write_csv(everything, stream, chosen or (tuple(first[0]) if first else every or columns))
    return _write_table(list(everything), stream, chosen or columns, whole=bool(chosen))


def refuse_unknown(chosen: Sequence[str] | None, every: Sequence[str] | None) -> None:
    """Raise KeyError for a chosen key that is none of all there are."""
    for key in chosen or ():
        if every is not None and key not in every:
            raise KeyError(key)


def write_one(row: Row, form: Format, stream: TextIO) -> None:
    """Write one row whole: as a json object, or as csv with a line for each key."""
    if form is Format.CSV:
        _write_csv(({"key": key, "value": value} for key, value in row.items()), stream, ("key", "value"))
    else:
        stream.write(to_json(row, stream, indent=2) + "\n")


def to_json(value: Any, stream: TextIO, indent: int | None = None) -> str:
    """Strict JSON, with letters beyond ASCII as they are where the stream can hold them."""
    plain = (stream.encoding or "").lower().replace("-", "") != "utf8"
    return json.dumps(value, ensure_ascii=plain, allow_nan=False, indent=indent)


def _write_json(rows: Iterator[Row], stream: TextIO, chosen: Sequence[str] | None) -> int:
    count = 0
    stream.write("[")
    for row in rows:
        shown = {key: row[key] for key in chosen} if chosen else dict(row)
        stream.write(("," if count else "") + "\n" + to_json(shown, stream))
        count += 1
    stream.write("\n]\n")
    return count


def _write_csv(rows: Iterable[Row], stream: TextIO, columns: Sequence[str]) -> int:
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    count = 0
    for row in rows:
        writer.writerow([_csv_cell(row[key]) for key in columns])
        count += 1
    return count


def _csv_cell(value: Any) -> Any:
    if isinstance(value, (Mapping, list, tuple)):
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else value


def line_width(stream: TextIO) -> int:
    """How many characters fit a line: the terminal's, or COLUMNS; a file or pipe takes any number."""
    wanted = os.environ.get("COLUMNS", "")
    if wanted.isdigit() and int(wanted):
        return int(wanted)
    if stream.isatty():
        try:
            return os.get_terminal_size(stream.fileno()).columns or _ENDLESS
        except OSError:
            return 80
    return _ENDLESS


def _write_table(rows: list[Row], stream: TextIO, columns: Sequence[str], *, whole: bool) -> int:
    if rows:
        width = line_width(stream)
        stream.write(render_table(rows, columns if whole else fitting(rows, columns, width), width))
    return len(rows)


def fitting(rows: Sequence[Row], columns: Sequence[str], width: int) -> list[str]:
    """The columns a line has room for: the least important go first, so that the others can be read."""
    wanted = _natural_widths(rows, columns)
    wanted |= {key: min(wanted[key], _FOLDED_WIDTH) for key in columns if key in _FOLDED}
    kept = list(columns)
    for key in _YIELDING:
        if _line(wanted[one] for one in kept) <= width:
            break
        if key in kept:
            kept.remove(key)
    return kept


def _line(widths: Iterable[int]) -> int:
    found = list(widths)
    return sum(found) + _GAP * (len(found) - 1)


def _natural_widths(rows: Sequence[Row], columns: Sequence[str]) -> dict[str, int]:
    from rich.cells import cell_len

    return {key: max(len(key), *(cell_len(cell(key, row.get(key))) for row in rows)) for key in columns}


def _allotted_widths(rows: Sequence[Row], columns: Sequence[str], width: int) -> dict[str, int]:
    """What each column gets: the widest give way first, those that can be folded before those that are cut off."""
    wide = {key: min(value, width) for key, value in _natural_widths(rows, columns).items()}
    folded = [one for one in columns if one in _FOLDED]
    # An id keeps enough digits to name something.
    rounds = ((folded, _FOLDED_WIDTH), (list(columns), ID_LENGTH), ([one for one in columns if one != "id"], 6))
    for keys, least in rounds:
        while keys and (excess := _line(wide.values()) - width) > 0:
            widest = max(keys, key=lambda one: wide[one])
            if wide[widest] <= least:
                break
            others = [wide[one] for one in keys if one != widest and wide[one] < wide[widest]]
            wide[widest] -= max(1, min(excess, wide[widest] - max([least, *others])))
    return wide


def render_table(rows: Sequence[Row], columns: Sequence[str], width: int) -> str:
    """A table as text, at most ``width`` characters wide; what does not fit is folded or ends in an ellipsis."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    wide = _allotted_widths(rows, columns, width)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, _GAP - 1, 0, 0))
    for key in columns:
        values = [row.get(key) for row in rows if row.get(key) is not None]
        numeric = bool(values) and all(isinstance(one, (int, float)) and not isinstance(one, bool) for one in values)
        table.add_column(
            Text(key),
            width=wide[key],
            justify="right" if numeric else "left",
            no_wrap=key not in _FOLDED,
            overflow="fold" if key in _FOLDED else "ellipsis",
        )
    for row in rows:
        table.add_row(*(Text(cell(key, row.get(key))) for key in columns))
    return rendered(table, width)


def rendered(what: Any, width: int) -> str:
    """Something rich can draw, as plain text without blanks at the ends of lines."""
    import io

    from rich.console import Console

    console = Console(
        file=io.StringIO(), width=width, color_system=None, force_terminal=False, highlight=False, markup=False
    )
    console.print(what)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    return "".join(line.rstrip() + "\n" for line in text.splitlines())


def cell(key: str, value: Any) -> str:
    """One value as a person reads it: ids shortened, counts by type and filter, numbers without noise."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.7g}" if abs(value) < 1e4 else f"{value:.12g}"
    if isinstance(value, Mapping):
        separator = "; " if any(isinstance(one, Mapping) for one in value.values()) else ", "
        return separator.join(f"{name} {_counts(one)}" for name, one in value.items())
    if isinstance(value, (list, tuple)):
        if value and isinstance(value[0], Mapping) and "role" in value[0]:
            return _roles(value)
        return ", ".join(cell("id" if key == "frames" else key, one) for one in value)
    text = str(value)
    if key == "id" and len(text) == 64 and set(text) <= set("0123456789abcdef"):
        return text[:ID_LENGTH]
    # A control character in a name must not reach the terminal.
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


def _counts(value: Any) -> str:
    if not isinstance(value, Mapping):
        return cell("", value)
    if set(value) == {"none"}:
        return cell("", value["none"])
    return ", ".join(f"{name} {cell('', one)}" for name, one in value.items())


def _roles(inputs: Sequence[Row]) -> str:
    """The inputs of a product by role: "raw 5, bias 1"."""
    counts: dict[str, int] = {}
    for one in inputs:
        counts[one["role"]] = counts.get(one["role"], 0) + 1
    return ", ".join(f"{count} {role}" for role, count in counts.items())
