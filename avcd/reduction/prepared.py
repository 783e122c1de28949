"""Masters made ready: what is worked out of their pixels once, however many frames they serve."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from weakref import WeakKeyDictionary

import numpy as np

from avcd.errors import ProcessingError
from avcd.frame import MaskBit
from avcd.reduction.noise import exact_median
from avcd.reduction.planes import MaskedImage
from avcd.reduction.residues import HotPixels, find_hot_pixels


@dataclass(frozen=True)
class Response:
    """What frames are divided by, beside a flat's own planes: its level, and its mask, in which what never saw light is DEAD."""

    mask: np.ndarray | None
    norm: float


@dataclass(frozen=True, eq=False)
class Prepared:
    """A master's planes, and what follows from them. ``data``, ``sigma`` float32, ``mask`` uint16 of `MaskBit`."""

    data: np.ndarray
    sigma: np.ndarray | None
    mask: np.ndarray | None

    @cached_property
    def level(self) -> float:
        """The median of all finite pixels."""
        return level_of(self.data)

    @cached_property
    def hot(self) -> HotPixels:
        """Of a dark: the pixels by which it is judged whether it fits a frame."""
        return find_hot_pixels(self.data)

    @cached_property
    def response(self) -> Response:
        """Of a flat: what frames are divided by.

        Raises
        ------
        ProcessingError
            It has no usable pixel.
        """
        lit = np.isfinite(self.data) & (self.data > 0)
        good = lit if self.mask is None else lit & (self.mask == 0)
        if not good.any():
            raise ProcessingError("the flat has no usable pixel")
        norm = level_of(self.data if good.all() else self.data[good])
        mask = self.mask
        if not lit.all():
            dead = np.where(lit, np.uint16(0), np.uint16(MaskBit.DEAD))
            mask = dead if mask is None else mask | dead
        return Response(mask, norm)


def level_of(values: np.ndarray) -> float:
    """The median of finite values."""
    finite = np.isfinite(values)
    return exact_median(values if finite.all() else values[finite])


_known: WeakKeyDictionary[MaskedImage, Prepared] = WeakKeyDictionary()


def prepare(master: MaskedImage) -> Prepared:
    """A master made ready; the same answer as long as it is held in memory, so its pixels are not to be changed."""
    found = _known.get(master)
    if found is None:
        sigma = None if master.uncertainty is None else np.asarray(master.uncertainty, dtype=np.float32)
        # A plane without any bit says nothing, and would be gone through for every frame.
        mask = None if master.mask is None or not master.mask.any() else np.asarray(master.mask, dtype=np.uint16)
        found = _known[master] = Prepared(np.asarray(master.data, dtype=np.float32), sigma, mask)
    return found
