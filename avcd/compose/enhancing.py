"""What is done to a finished picture to show more of it: local contrast, sharpness, stars. Never of itself, and hues stay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter, grey_opening

from avcd.errors import ProcessingError

_TILES = 8  # along the longer side
_BINS = 256
_STRIP = 256  # rows that are worked on at once
_STAR_PX = 11  # wider than a star, narrower than a nebula
_NOISE = 3.0  # standard deviations that something narrow must stand out by, to be a star
_LEAST = np.float32(1e-6)


@dataclass(frozen=True)
class Enhancement:
    """What is wanted; None: not that.

    ``clahe``: the limit of contrast, times that of an even histogram; ``unsharp``: radius in px and amount; ``stars``: what
    their light above its surroundings is multiplied with.
    """

    clahe: float | None = None
    unsharp: tuple[float, float] | None = None
    stars: float | None = None

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> Enhancement:
        """As parameters say: ``clahe`` "2", ``unsharp`` "2:1.5", ``enhance_stars`` "1.5"; absent or empty: not that.

        Raises
        ------
        ProcessingError
            One is out of its range, or the mode is scientific.
        """
        texts = {name: str(params.get(name, "") or "") for name in ("clahe", "unsharp", "enhance_stars")}
        if any(texts.values()) and params["mode"] == "scientific":
            raise ProcessingError(
                "the mode scientific shows light as it was measured: leave clahe, unsharp and enhance_stars out, or choose another"
            )
        radius, _, amount = texts["unsharp"].partition(":")
        found = cls(
            _number("clahe", texts["clahe"], 1.0, 20.0),
            (_number("unsharp's radius", radius, 0.3, 100.0) or 0.0, _number("unsharp's amount", amount or "1", 0.0, 10.0) or 0.0)
            if texts["unsharp"]
            else None,
            _number("enhance_stars", texts["enhance_stars"], 0.0, 10.0),
        )  # fmt: skip
        return found

    @property
    def record(self) -> dict[str, Any]:
        """What was done, as data; empty where nothing was."""
        found: dict[str, Any] = {}
        if self.clahe is not None:
            found["clahe"] = {"limit": self.clahe, "tiles": _TILES}
        if self.unsharp is not None:
            found["unsharp"] = {"radius_px": self.unsharp[0], "amount": self.unsharp[1]}
        if self.stars is not None:
            found["stars"] = {"factor": self.stars}
        return found

    @property
    def steps(self) -> tuple[str, ...]:
        """The same in sentences."""
        return tuple(
            f"enhanced by {name}: " + ", ".join(f"{key} {value:g}" for key, value in values.items())
            for name, values in self.record.items()
        )


def _number(name: str, text: str, least: float, most: float) -> float | None:
    if not text:
        return None
    try:
        found = float(text)
    except ValueError:
        found = float("nan")
    if not least <= found <= most:
        raise ProcessingError(f"{name} is {text!r}: a number from {least:g} to {most:g}")
    return found


def enhance(picture: np.ndarray, wanted: Enhancement) -> np.ndarray:
    """A picture with what is wanted done to its brightness; every pixel keeps its hue, and black stays black.

    Parameters
    ----------
    picture : float32, shape (ny, nx, 3), 0 to 1
        Not changed.

    Returns
    -------
    ndarray of float32, same shape, 0 to 1
    """
    brightness = np.asarray(picture.mean(axis=2), dtype=np.float32)
    found = brightness
    if wanted.clahe is not None:
        found = equalised(found, wanted.clahe)
    if wanted.unsharp is not None:
        found = sharpened(found, *wanted.unsharp)
    if wanted.stars is not None:
        found = with_stars(found, wanted.stars)
    bright = picture * (found / np.maximum(brightness, _LEAST))[..., None]
    top = bright.max(axis=2, keepdims=True)
    return np.asarray(bright / np.maximum(top, np.float32(1)), dtype=np.float32)


def equalised(brightness: np.ndarray, limit: float) -> np.ndarray:
    """Contrast-limited adaptive histogram equalisation (Zuiderveld 1994, Graphics Gems IV, 474).

    Parameters
    ----------
    brightness : float32, shape (ny, nx), 0 to 1
        What is 0 has no data: it takes no part and stays.
    limit
        How many times an even histogram's height any bin may have: what is above is spread over all. At 1 nothing changes.
    """
    ny, nx = brightness.shape
    side = max(1, -(-max(ny, nx) // _TILES))
    down, along = -(-ny // side), -(-nx // side)
    level = np.minimum((brightness * _BINS).astype(np.int64), _BINS - 1)
    maps = np.empty((down, along, _BINS), np.float32)
    for r in range(down):
        for c in range(along):
            part = np.s_[r * side : (r + 1) * side, c * side : (c + 1) * side]
            maps[r, c] = _map(np.bincount(level[part][brightness[part] > 0], minlength=_BINS), limit)
    x, share_x = _between(nx, side, along)
    found = np.empty_like(brightness)
    for start in range(0, ny, _STRIP):
        rows = slice(start, min(start + _STRIP, ny))
        y, share_y = (one[rows] for one in _between(ny, side, down))
        bins = level[rows]
        above, below = (
            maps[row[:, None], x[None, :], bins] * (1 - share_x)
            + maps[row[:, None], np.minimum(x + 1, along - 1)[None, :], bins] * share_x
            for row in (y, np.minimum(y + 1, down - 1))
        )
        found[rows] = above * (1 - share_y[:, None]) + below * share_y[:, None]
    return np.where(brightness > 0, found, np.float32(0))


def _map(histogram: np.ndarray, limit: float) -> np.ndarray:
    """Where each level goes, of one tile."""
    total = histogram.sum()
    if not total:
        return (np.arange(_BINS, dtype=np.float32) + np.float32(0.5)) / np.float32(_BINS)
    most = limit * total / _BINS
    counts = histogram.astype(np.float64)
    for _ in range(_BINS):  # what is spread may itself go beyond
        over = np.maximum(counts - most, 0).sum()
        if over < 1e-6 * total:
            break
        counts = np.minimum(counts, most)
        room = counts < most
        if not room.any():
            counts += over / _BINS
            break
        counts[room] += over / room.sum()
    return np.asarray((np.cumsum(counts) - counts / 2) / total, dtype=np.float32)


def _between(size: int, side: int, tiles: int) -> tuple[np.ndarray, np.ndarray]:
    """The tile before each pixel, by the tiles' middles, and how far it is to the next."""
    place = np.clip((np.arange(size) + 0.5) / side - 0.5, 0, tiles - 1)
    first = np.minimum(place.astype(np.int64), max(tiles - 2, 0))
    return first, (place - first).astype(np.float32)


def sharpened(brightness: np.ndarray, radius_px: float, amount: float) -> np.ndarray:
    """An unsharp mask: what a picture has beyond one blurred by a Gaussian of ``radius_px``, added ``amount`` times."""
    detail = brightness - gaussian_filter(brightness, radius_px, mode="nearest")
    return np.asarray(np.clip(brightness + np.float32(amount) * detail, 0, None), dtype=np.float32)


def with_stars(brightness: np.ndarray, factor: float) -> np.ndarray:
    """What is narrow and bright, above what surrounds it, times ``factor``: above 1 stars stand out, below they step back.

    A morphological opening tells what is wider than eleven pixels; noise is left as it is.
    """
    around = gaussian_filter(grey_opening(brightness, (_STAR_PX, _STAR_PX)), _STAR_PX / 4)
    narrow = brightness - around
    middle = float(np.median(narrow))
    least = np.float32(middle + _NOISE * 1.4826 * float(np.median(np.abs(narrow - middle))))
    # From nothing at the noise to all of it at twice that: no rim around stars.
    share = np.clip(narrow / max(least, _LEAST) - 1, 0, 1)
    return np.asarray(np.clip(brightness + np.float32(factor - 1) * share * narrow, 0, None), dtype=np.float32)
