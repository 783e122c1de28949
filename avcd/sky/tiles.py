"""Stars of an archive, kept by tiles of the sky of half a degree so that each is asked for once."""

from __future__ import annotations

import os
import secrets
import sys
import threading
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from avcd.errors import AvcdError, TransientError

_TILE_DEG = 0.5
T = TypeVar("T")


@dataclass(frozen=True)
class Bounds:
    """A tile: from its southern and western edge, which belong to it, to the northern and eastern, degrees."""

    south: float
    north: float
    west: float
    east: float


class Tiles:
    """Rows of an archive's table, by place.

    Parameters
    ----------
    directory
        Where tiles are kept; made when the first one is.
    name
        What their files begin with.
    columns
        Number of columns; the first two are right ascension and declination in degrees.
    ask
        Asks the archive for a tile's rows, shape (n, columns); None: tiles that are not there hold no stars.
    """

    def __init__(self, directory: Path, name: str, columns: int, ask: Callable[[Bounds], np.ndarray] | None) -> None:
        self._directory = directory
        self._name = name
        self._columns = columns
        self._ask = ask

    def around(self, ra_deg: float, dec_deg: float, radius_deg: float) -> np.ndarray:
        """The rows of all tiles that a cone touches, and perhaps of a few beside them; shape (n, columns)."""
        return np.concatenate([self._tile(*one) for one in _touched(ra_deg, dec_deg, radius_deg)])

    def _tile(self, band: int, column: int) -> np.ndarray:
        path = self._directory / f"{self._name}-{band:03d}-{column:03d}.npy"
        if path.is_file():
            return np.asarray(np.load(path))
        if self._ask is None:
            return np.empty((0, self._columns))
        rows = self._ask(_bounds(band, column))
        self._directory.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{secrets.token_hex(4)}.part")
        with part.open("wb") as stream:
            np.save(stream, rows)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
        return rows


def answer_of(who: str, question: Callable[[], T], timeout_s: float | None = None) -> T:
    """What a client of an archive says; what it prints of its progress goes to standard error.

    Raises
    ------
    TransientError
        It fails, or has not answered in time; whatever it does then is passed over.
    """
    said: list[T] = []
    failed: list[Exception] = []

    def ask() -> None:
        try:
            said.append(question())
        except Exception as error:  # clients hand on whatever their transport raises
            failed.append(error)

    with redirect_stdout(sys.stderr):
        # The clients' own limits do not hold for every step of theirs.
        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        asking.join(timeout_s)
    if failed:
        if isinstance(failed[0], AvcdError):
            raise failed[0]
        raise TransientError(f"{who} does not answer: {failed[0]}") from failed[0]
    if not said:
        raise TransientError(f"{who} gave no answer within {timeout_s:g} s")
    return said[0]


def _bounds(band: int, column: int) -> Bounds:
    south, number = band * _TILE_DEG - 90.0, _number(band)
    west = column * 360.0 / number
    return Bounds(south, south + _TILE_DEG, west, west + 360.0 / number)


def _number(band: int) -> int:
    """How many tiles a band of declination has."""
    nearest = min(abs(band * _TILE_DEG - 90.0), abs((band + 1) * _TILE_DEG - 90.0))
    return max(1, int(np.ceil(360.0 * np.cos(np.radians(nearest)) / _TILE_DEG)))


def _touched(ra_deg: float, dec_deg: float, radius_deg: float) -> list[tuple[int, int]]:
    found = []
    low = int(np.floor((max(dec_deg - radius_deg, -90.0) + 90.0) / _TILE_DEG))
    high = int(np.floor((min(dec_deg + radius_deg, 89.999999) + 90.0) / _TILE_DEG))
    for band in range(low, high + 1):
        number = _number(band)
        edge = max(abs(band * _TILE_DEG - 90.0), abs((band + 1) * _TILE_DEG - 90.0), abs(dec_deg) + radius_deg)
        cosine = np.cos(np.radians(min(edge, 90.0)))
        reach = radius_deg / cosine if cosine > 1e-3 else 180.0
        if reach >= 90.0:
            found += [(band, one) for one in range(number)]
            continue
        first = int(np.floor((ra_deg - reach) * number / 360.0))
        last = int(np.floor((ra_deg + reach) * number / 360.0))
        found += [(band, one % number) for one in range(first, min(last, first + number - 1) + 1)]
    return found
