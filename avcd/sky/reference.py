"""Reference stars: an interface, and the bundled all-sky table behind it.

The table holds the positions and VT magnitudes of 1.87 million stars of Tycho-2 (Hog et al. 2000, A&A 355, L27) in
13 MB: 24 bits each for right ascension (steps of 0.077 arcsec) and declination (0.039 arcsec), 8 for the magnitude
(steps of 1/16). Stars are sorted by bands of one degree in declination and by right ascension within, so that a cone
touches little of the file, which is memory-mapped.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

BUNDLED = Path(__file__).parent / "data" / "tycho2.bin"
_MAGIC = b"avcd-stars-1\n"
_BANDS = 180
_STEPS = 1 << 24
_BRIGHTEST, _MAG_STEP = -1.5, 1.0 / 16.0
_HEAD = 1024


@dataclass(frozen=True)
class Stars:
    """Stars, the brightest first: ICRS positions in degrees, magnitudes."""

    ra_deg: np.ndarray
    dec_deg: np.ndarray
    mag: np.ndarray

    def __len__(self) -> int:
        return len(self.ra_deg)


class ReferenceStars(Protocol):
    """Where reference stars come from: the bundled table, or any other catalogue behind the same three names.

    ``area_deg2`` is how much of the sky it covers.
    """

    name: str
    area_deg2: float

    def cone(self, ra_deg: float, dec_deg: float, radius_deg: float, limit: int | None = None) -> Stars:
        """The stars within a radius of a position, the brightest first, at most ``limit``."""
        ...


def pack_stars(ra_deg: np.ndarray, dec_deg: np.ndarray, mag: np.ndarray) -> bytes:
    """The bundled format: a head, the bands' first stars, then all right ascensions, declinations, magnitudes."""
    dec_steps = np.clip(np.rint((dec_deg + 90) / 180 * (_STEPS - 1)), 0, _STEPS - 1).astype(np.uint32)
    ra_steps = (np.rint(ra_deg / 360 * _STEPS).astype(np.uint64) % _STEPS).astype(np.uint32)
    band = np.minimum((dec_steps * np.float64(180 / (_STEPS - 1))).astype(np.int64), _BANDS - 1)
    order = np.lexsort((dec_steps, ra_steps, band))
    first = np.searchsorted(band[order], np.arange(_BANDS + 1)).astype("<u4")
    # Stars without a magnitude go to the faint end rather than to the bright one.
    steps = np.where(np.isfinite(mag), np.rint((mag - _BRIGHTEST) / _MAG_STEP), 255)
    packed_mag = np.clip(steps, 0, 255).astype(np.uint8)[order]
    about = {
        "stars": len(ra_deg),
        "source": "Tycho-2, VT magnitudes, ICRS, epoch 2000",
        "reference": "Hog et al. 2000, A&A 355, L27",
    }
    head = (_MAGIC + json.dumps(about).encode()).ljust(_HEAD, b" ")
    return (
        head + first.tobytes() + _three_bytes(ra_steps[order]) + _three_bytes(dec_steps[order]) + packed_mag.tobytes()
    )


def _three_bytes(values: np.ndarray) -> bytes:
    return values.astype("<u4").view(np.uint8).reshape(-1, 4)[:, :3].tobytes()


def _from_three_bytes(block: np.ndarray) -> np.ndarray:
    wide = np.zeros((len(block), 4), np.uint8)
    wide[:, :3] = block
    return wide.view("<u4")[:, 0]


class Tycho2:
    """The bundled table. Opening it maps the file; every cone reads the bands it touches."""

    name = "Tycho-2"
    area_deg2 = 41253.0

    def __init__(self, path: Path = BUNDLED) -> None:
        self._first, self._ra, self._dec, self._mag = _open(path)

    def __len__(self) -> int:
        return len(self._mag)

    def cone(self, ra_deg: float, dec_deg: float, radius_deg: float, limit: int | None = None) -> Stars:
        """The stars within ``radius_deg`` of a position, the brightest first, at most ``limit``."""
        low = int(np.clip(np.floor(dec_deg - radius_deg + 90 - 1e-4), 0, _BANDS - 1))
        high = int(np.clip(np.floor(dec_deg + radius_deg + 90 + 1e-4), 0, _BANDS - 1))
        rows = slice(int(self._first[low]), int(self._first[high + 1]))
        ra = _from_three_bytes(self._ra[rows]) * (360.0 / _STEPS)
        dec = _from_three_bytes(self._dec[rows]) * (180.0 / (_STEPS - 1)) - 90.0
        # Haversine: precise for small separations, and the same at the poles and across 0 h.
        here, there = np.radians(dec_deg), np.radians(dec)
        half = np.sin((there - here) / 2) ** 2 + np.cos(here) * np.cos(there) * np.sin(np.radians(ra - ra_deg) / 2) ** 2
        near = np.flatnonzero(half <= np.sin(np.radians(min(radius_deg, 180.0)) / 2) ** 2)
        mag = self._mag[rows][near] * _MAG_STEP + _BRIGHTEST
        order = np.lexsort((ra[near], mag))[:limit]
        return Stars(ra[near][order], dec[near][order], mag[order])


@functools.cache
def _open(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    with path.open("rb") as stream:
        head = stream.read(_HEAD)
        if not head.startswith(_MAGIC):
            raise ValueError(f"{path} is no table of reference stars")
        count = int(json.loads(head[len(_MAGIC) :])["stars"])
        first = np.frombuffer(stream.read(4 * (_BANDS + 1)), "<u4")
    start = _HEAD + 4 * (_BANDS + 1)
    table = np.memmap(path, np.uint8, "r")
    ra = table[start : start + 3 * count].reshape(-1, 3)
    dec = table[start + 3 * count : start + 6 * count].reshape(-1, 3)
    return first, ra, dec, table[start + 6 * count : start + 7 * count]
