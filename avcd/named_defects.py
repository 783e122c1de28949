"""What an observer knows to be bad of a detector: columns, rows, rectangles and pixels, from a YAML file.

Numbers are those of FITS and IRAF: the first column and the first row are 1, and the last of a range is part of it.
Every key may be left out::

    telescope: T20                  # whose detector it is; asked for in a home's badpixels/ only
    instrument: SBIG STL-11000 3 CCD Camera
    bad_columns: [12, [100, 104]]   # one, or the first and the last
    bad_rows: [7]
    bad_rectangles:                 # row, row, column, column; or by name
      - [5, 9, 40, 44]
      - {rows: [1, 300], column: 71}
    bad_pixels:                     # row, column; or by name
      - [33, 12]
      - {row: 44, column: 10}
    2x2:                            # for frames of this binning, in their own pixels
      bad_columns: [6]

What stands outside of a binning's section is in unbinned pixels; binned frames without a section of their own take it
over, a pixel being bad where any of the unbinned ones in it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml

from avcd.errors import ConfigError

UNBINNED = "1x1"
_BINNING = re.compile(r"([1-9]\d?)x([1-9]\d?)")
_NUMBER = re.compile(r"[0-9]+")
_TEXTS = ("telescope", "instrument", "detector")
_KINDS = ("bad_columns", "bad_rows", "bad_rectangles", "bad_pixels")


class Area(NamedTuple):
    """A rectangle of bad pixels, 1-based, last ones included; None: as far as the detector goes."""

    first_row: int | None
    last_row: int | None
    first_column: int | None
    last_column: int | None

    def __str__(self) -> str:
        parts = (("row", self.first_row, self.last_row), ("column", self.first_column, self.last_column))
        return ", ".join(
            f"{name} {first}" if first == last else f"{name}s {first} to {last}"
            for name, first, last in parts
            if first is not None
        )


@dataclass(frozen=True)
class NamedDefects:
    """The content of one file: whose detector it is about, and the areas for each binning it speaks of."""

    telescope: str | None = None
    instrument: str | None = None
    detector: str | None = None
    areas: Mapping[str, tuple[Area, ...]] = field(default_factory=dict)

    def for_binning(self, binning: str | None) -> tuple[Area, ...]:
        """The areas of frames of a binning such as "2x2" (across, along), in their own pixels; None: unbinned."""
        wanted = binning or UNBINNED
        if wanted in self.areas:
            return self.areas[wanted]
        found = _BINNING.fullmatch(wanted)
        across, along = (int(found.group(1)), int(found.group(2))) if found else (1, 1)
        return tuple(
            Area(*(_binned(one, along) for one in area[:2]), *(_binned(one, across) for one in area[2:]))
            for area in self.areas.get(UNBINNED, ())
        )

    def concerns(self, telescope: str | None, instrument: str | None, detector: str | None) -> bool:
        """Whether a camera is the one this is about; what is not said here does not matter, case neither."""
        pairs = ((self.telescope, telescope), (self.instrument, instrument), (self.detector, detector))
        return all(own is None or own.casefold() == (other or "").casefold() for own, other in pairs)


def within_window(areas: Iterable[Area], first_column: int, first_row: int, columns: int, rows: int) -> list[Area]:
    """The areas in the pixels of a subframe that begins so many columns and rows into the detector, cut to its size."""
    found = []
    for one in areas:
        y0, y1 = _cut(one.first_row, one.last_row, first_row, rows)
        x0, x1 = _cut(one.first_column, one.last_column, first_column, columns)
        if (y0 is None or y0 <= (y1 or 0)) and (x0 is None or x0 <= (x1 or 0)):
            found.append(Area(y0, y1, x0, x1))
    return found


def _cut(first: int | None, last: int | None, before: int, size: int) -> tuple[int | None, int | None]:
    if first is None or last is None:
        return None, None
    return max(first - before, 1), min(last - before, size)


def _binned(number: int | None, factor: int) -> int | None:
    return None if number is None else (number - 1) // factor + 1


def draw_areas(areas: Iterable[Area], shape: tuple[int, int]) -> tuple[np.ndarray, list[str]]:
    """Areas as a plane of an image's shape.

    Returns
    -------
    plane : ndarray of bool, shape (ny, nx)
    outside : list of str
        What is said of areas that lie outside of the image, in part or as a whole.
    """
    plane = np.zeros(shape, bool)
    outside = []
    for one in areas:
        plane[(one.first_row or 1) - 1 : one.last_row, (one.first_column or 1) - 1 : one.last_column] = True
        if (one.last_row or 0) > shape[0] or (one.last_column or 0) > shape[1]:
            outside.append(f"{one} is not all in an image of {shape[1]} columns and {shape[0]} rows")
    return plane, outside


def read_named_defects(path: Path) -> NamedDefects:
    """Read an observer's file of bad pixels.

    Raises
    ------
    ConfigError
        It cannot be read, or says something that has no meaning; the message names file, line and key.
    """
    try:
        root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not a text file: {error}") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{path}:{line}: not valid YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from None
    return _Reader(path).read(root)


class _Reader:
    """Reads one file, and knows where in it every word stands."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, root: Any) -> NamedDefects:
        texts: dict[str, str] = {}
        areas: dict[str, list[Area]] = {}
        for key, value in self.pairs(root, ""):
            if key in _TEXTS:
                texts[key] = self.text(value, key)
            elif key in _KINDS:
                areas.setdefault(UNBINNED, []).extend(self.areas(key, value, key))
            elif _BINNING.fullmatch(key):
                own = areas.setdefault(key, [])
                for kind, node in self.pairs(value, key):
                    if kind not in _KINDS:
                        raise self.wrong(node, f"{key}.{kind}", f"there is no such key; there are {', '.join(_KINDS)}")
                    own.extend(self.areas(kind, node, f"{key}.{kind}"))
            else:
                known = ", ".join((*_TEXTS, *_KINDS))
                raise self.wrong(value, key, f"there is no such key; there are {known}, and binnings such as 2x2")
        return NamedDefects(**texts, areas={binning: tuple(found) for binning, found in areas.items()})

    def wrong(self, node: Any, key: str, why: str) -> ConfigError:
        return ConfigError(f"{self.path}:{node.start_mark.line + 1}: {key}: {why}")

    def pairs(self, node: Any, where: str) -> Iterator[tuple[str, Any]]:
        """The keys of a mapping; nothing of an empty one."""
        if node is None or self.empty(node):
            return
        if not isinstance(node, yaml.MappingNode):
            raise self.wrong(node, where or "the file", f"keys with values are wanted, such as {_KINDS[0]}: [12]")
        seen = set()
        for key, value in node.value:
            name = str(key.value) if isinstance(key, yaml.ScalarNode) else "?"
            if name in seen:
                raise self.wrong(key, f"{where}.{name}".lstrip("."), "stands here twice")
            seen.add(name)
            yield name, value

    def areas(self, kind: str, node: Any, where: str) -> Iterator[Area]:
        if self.empty(node):
            return
        items = node.value if isinstance(node, yaml.SequenceNode) else [node]
        for nth, item in enumerate(items, 1):
            place = f"{where}, entry {nth}"
            if kind == "bad_columns":
                yield Area(None, None, *self.range(item, place))
            elif kind == "bad_rows":
                yield Area(*self.range(item, place), None, None)
            elif isinstance(item, yaml.MappingNode):
                yield self.by_name(item, place)
            else:
                yield self.by_place(kind, item, place)

    def by_place(self, kind: str, node: Any, where: str) -> Area:
        wanted = "[row, row, column, column]" if kind == "bad_rectangles" else "[row, column]"
        numbers = (
            [self.number(one, where) for one in node.value]
            if isinstance(node, yaml.SequenceNode)
            else [self.number(node, where)]
        )
        if len(numbers) != (4 if kind == "bad_rectangles" else 2):
            raise self.wrong(node, where, f"wanted is {wanted}, here are {len(numbers)} numbers")
        if len(numbers) == 2:
            numbers = [numbers[0], numbers[0], numbers[1], numbers[1]]
        for name, (first, last) in (("row", numbers[:2]), ("column", numbers[2:])):
            if first > last:
                raise self.wrong(
                    node, where, f"the first {name}, {first}, is after the last, {last}; wanted is {wanted}"
                )
        return Area(*numbers)

    def by_name(self, node: Any, where: str) -> Area:
        found: dict[str, tuple[int, int]] = {}
        for key, value in self.pairs(node, where):
            name = key.removesuffix("s")
            if name not in ("row", "column") or name in found:
                raise self.wrong(
                    value, f"{where}, {key}", "wanted are row (or rows) and column (or columns), each once"
                )
            found[name] = self.range(value, f"{where}, {key}")
        if not found:
            raise self.wrong(node, where, "names neither rows nor columns")
        return Area(*found.get("row", (None, None)), *found.get("column", (None, None)))

    def range(self, node: Any, where: str) -> tuple[int, int]:
        """One number, or the first and the last."""
        if not isinstance(node, yaml.SequenceNode):
            return (number := self.number(node, where)), number
        if len(node.value) != 2:
            raise self.wrong(node, where, f"a range is [first, last], here are {len(node.value)} numbers")
        first, last = (self.number(one, where) for one in node.value)
        if first > last:
            raise self.wrong(node, where, f"the first, {first}, is after the last, {last}")
        return first, last

    def number(self, node: Any, where: str) -> int:
        text = str(node.value) if isinstance(node, yaml.ScalarNode) else "a list or mapping"
        if not _NUMBER.fullmatch(text) or int(text) < 1:
            raise self.wrong(node, where, f"{text} is no row or column: they are whole numbers from 1 on")
        return int(text)

    def text(self, node: Any, key: str) -> str:
        if not isinstance(node, yaml.ScalarNode) or not node.value.strip():
            raise self.wrong(node, key, "a name is wanted")
        return str(node.value).strip()

    @staticmethod
    def empty(node: Any) -> bool:
        return isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"
