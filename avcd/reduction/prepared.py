"""What is worked out of a master once, and used for every frame that it serves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import numpy as np

from avcd.errors import ProcessingError
from avcd.reduction.planes import CCDData
from avcd.reduction.residues import HotPixels, find_hot

_Found = TypeVar("_Found")
_known: WeakKeyDictionary[CCDData, dict[str, Any]] = WeakKeyDictionary()


def _once(master: CCDData, name: str, work_out: Callable[[CCDData], _Found]) -> _Found:
    """What is worked out of a master: remembered where its pixels cannot be changed any more."""
    if master.data.flags.writeable:
        return work_out(master)
    mine = _known.setdefault(master, {})
    if name not in mine:
        mine[name] = work_out(master)
    found: _Found = mine[name]
    return found


@dataclass(frozen=True)
class Response:
    """A flat as frames are divided by it.

    Attributes
    ----------
    relative : float32, shape (ny, nx)
        Over its level; one where it holds no light.
    variance : float32, same shape, or None
        Of ``relative``, over its square.
    unlit : bool, same shape
        Where it holds no light.
    norm
        Its level.
    """

    relative: np.ndarray
    variance: np.ndarray | None
    unlit: np.ndarray
    norm: float


def level_of(master: CCDData) -> float:
    """The median of a master's finite pixels."""
    return _once(master, "level", lambda one: _median(one.data))


def hot_pixels_of(dark: CCDData) -> HotPixels | None:
    """Where a dark is hot; see `avcd.reduction.residues.find_hot`."""
    return _once(dark, "hot", lambda one: find_hot(one.data))


def response_of(flat: CCDData) -> Response:
    """A flat over the median of its good pixels.

    Raises
    ------
    ProcessingError
        It has none.
    """
    return _once(flat, "response", _response)


def _median(values: np.ndarray) -> float:
    return float(np.median(values[np.isfinite(values)]))


def _response(flat: CCDData) -> Response:
    lit = np.isfinite(flat.data) & (flat.data > 0)
    good = lit if flat.mask is None else lit & (np.asarray(flat.mask) == 0)
    if not good.any():
        raise ProcessingError("the flat has no usable pixel")
    norm = _median(flat.data[good])
    relative = np.where(lit, flat.data / np.float32(norm), np.float32(1)).astype(np.float32)
    variance = None
    if flat.uncertainty is not None:
        variance = np.square(flat.uncertainty.array / np.float32(norm) / relative).astype(np.float32)
    return Response(relative, variance, ~lit, norm)
