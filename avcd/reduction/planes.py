"""CCDData that keeps a mask's bits: astropy's own turns every mask into true and false."""

from __future__ import annotations

from typing import Any

import numpy as np
from astropy import nddata


class CCDData(nddata.CCDData):
    """A `astropy.nddata.CCDData` whose ``mask`` is a uint16 plane of `MaskBit`, or None; nonzero is masked."""

    _mask: np.ndarray | None = None

    def __init__(self, *args: Any, mask: np.ndarray | None = None, **kwargs: Any) -> None:
        super().__init__(*args, mask=mask, **kwargs)
        self.mask = mask  # astropy's constructor has made it boolean

    @property
    def mask(self) -> np.ndarray | None:
        """The plane; shape of the data."""
        return self._mask

    @mask.setter
    def mask(self, value: Any) -> None:
        self._mask = None if value is None else np.asarray(value, dtype=np.uint16)
