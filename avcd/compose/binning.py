"""Counting events into images: bands of energy, pixels of the sky."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from astropy.wcs import WCS

from avcd.errors import UsageError

# Of soft, medium and hard X-rays, as pictures of Chandra's are made.
BANDS = {"soft": (500.0, 1500.0), "medium": (1500.0, 3000.0), "hard": (3000.0, 7000.0)}
_LARGEST_PX = 2048  # a side, where the pixel is not named


@dataclass(frozen=True)
class Band:
    """Energies from ``low_ev`` on and below ``high_ev``."""

    low_ev: float
    high_ev: float

    @classmethod
    def parse(cls, text: str) -> Band:
        """A band by name, or as LOW:HIGH in eV.

        Raises
        ------
        UsageError
            It is neither.

        Examples
        --------
        >>> Band.parse("500:1200").name, Band.parse("soft").name
        ('0.5-1.2 keV', '0.5-1.5 keV')
        """
        if text in BANDS:
            return cls(*BANDS[text])
        found = re.fullmatch(r"([\d.]+):([\d.]+)", text.strip())
        try:
            low, high = (float(one) for one in found.groups()) if found else (0.0, 0.0)
        except ValueError:
            low = high = 0.0
        if not low < high:
            raise UsageError(f"--energy {text!r} is neither LOW:HIGH in eV, as 500:1200, nor {', '.join(BANDS)}")
        return cls(low, high)

    @property
    def name(self) -> str:
        """As a filter's: "0.5-1.2 keV"."""
        return f"{self.low_ev / 1000:g}-{self.high_ev / 1000:g} keV"


@dataclass(frozen=True)
class EventGrid:
    """Pixels of ``step`` of the events' own; the first begins at ``left``, ``bottom`` in their places; shape (ny, nx)."""

    left: float
    bottom: float
    step: float
    shape: tuple[int, int]


def grid_of_events(x: np.ndarray, y: np.ndarray, step: float | None = None) -> EventGrid:
    """The grid that holds all events.

    Parameters
    ----------
    x, y : shape (n,)
        1-based places; the first pixel reaches from 0.5 to 1.5.
    step
        Side of a pixel; None: the least whole number with which no side has more than 2048 pixels.
    """
    if not len(x):
        return EventGrid(0.5, 0.5, step or 1.0, (1, 1))
    extent = max(np.ptp(x), np.ptp(y)) + 1.0
    side = float(max(1, np.ceil(extent / (_LARGEST_PX - 1)))) if step is None else step
    # Edges lie on edges of the events' own pixels, where these go into the image's: no such pixel is divided.
    first = [np.floor((one.min() - 0.5) / side) for one in (y, x)]
    shape = [int(np.floor((one.max() - 0.5) / side) - start) + 1 for one, start in zip((y, x), first, strict=True)]
    return EventGrid(float(first[1] * side + 0.5), float(first[0] * side + 0.5), side, (shape[0], shape[1]))


def count_events(x: np.ndarray, y: np.ndarray, energy_ev: np.ndarray, band: Band, grid: EventGrid) -> np.ndarray:
    """How many events of a band fall into each pixel.

    Returns
    -------
    ndarray of float32, shape (ny, nx)
        Its sum is the number of the band's events; of bands that touch none is counted twice.
    """
    chosen = (energy_ev >= band.low_ev) & (energy_ev < band.high_ev)
    column = np.floor((x[chosen] - grid.left) / grid.step).astype(np.int64)
    row = np.floor((y[chosen] - grid.bottom) / grid.step).astype(np.int64)
    ny, nx = grid.shape
    counts = np.bincount(row * nx + column, minlength=ny * nx)
    return counts.reshape(ny, nx).astype(np.float32)


def world_of_grid(
    kinds: Sequence[str], pixels: Sequence[float], values: Sequence[float], steps: Sequence[float], grid: EventGrid
) -> WCS:
    """World coordinates of a grid, by those of the events' places: x first, deg and deg a pixel."""
    found = WCS(naxis=2)
    found.wcs.ctype = list(kinds)
    found.wcs.crval = list(values)
    found.wcs.crpix = [
        (pixel - first) / grid.step + 0.5 for pixel, first in zip(pixels, (grid.left, grid.bottom), strict=True)
    ]
    found.wcs.cdelt = [one * grid.step for one in steps]
    found.wcs.cunit = ["deg", "deg"]
    found.wcs.set()
    return found
