"""An image in memory: its pixels, and what is known of each of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from astropy.io import fits

if TYPE_CHECKING:
    from astropy.nddata import CCDData
    from astropy.wcs import WCS


@dataclass(frozen=True, eq=False)
class MaskedImage:
    """An image with its mask and uncertainty. A stage takes one and answers with a new one.

    Attributes
    ----------
    data : shape (ny, nx)
    unit
        Of the pixels, as BUNIT has it: "adu", "electron", "" for none.
    mask : uint16, shape (ny, nx), or None
        A plane of `MaskBit`; nonzero is masked.
    uncertainty : shape (ny, nx), or None
        One standard deviation of each pixel, in the same unit.
    header, wcs
        What is said of the image, and its world coordinates, where it has any.
    """

    data: np.ndarray
    unit: str
    mask: np.ndarray | None = None
    uncertainty: np.ndarray | None = None
    header: fits.Header = field(default_factory=fits.Header)
    wcs: WCS | None = None

    def __post_init__(self) -> None:
        if self.mask is not None:
            object.__setattr__(self, "mask", np.asarray(self.mask, dtype=np.uint16))

    def to_ccddata(self) -> CCDData:
        """As astropy has it, whose mask is but true or false; the arrays are shared, but for the mask."""
        from astropy.nddata import CCDData, StdDevUncertainty  # longer in loading than most frames in reducing

        return CCDData(
            self.data,
            unit=self.unit,
            mask=None if self.mask is None else self.mask != 0,
            uncertainty=None if self.uncertainty is None else StdDevUncertainty(self.uncertainty, copy=False),
            meta=self.header,
            wcs=self.wcs,
        )
