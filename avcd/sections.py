"""Parts of images as FITS headers name them: BIASSEC, TRIMSEC, DATASEC."""

from __future__ import annotations

import re
from dataclasses import dataclass

from avcd.errors import ProcessingError

_SECTION = re.compile(r"\s*\[\s*(\d+)\s*:\s*(\d+)\s*,\s*(\d+)\s*:\s*(\d+)\s*\]\s*")


@dataclass(frozen=True)
class Section:
    """A part of an image as FITS headers name it: pixels count from one, and both ends belong to it."""

    x_first: int
    x_last: int
    y_first: int
    y_last: int

    @classmethod
    def parse(cls, text: str) -> Section:
        """The section that a card such as BIASSEC names: ``[x1:x2,y1:y2]``.

        Raises
        ------
        ProcessingError
            It names none.
        """
        found = _SECTION.fullmatch(text)
        numbers = [int(one) for one in found.groups()] if found else [0]
        if min(numbers) < 1 or numbers[0] > numbers[1] or numbers[2] > numbers[3]:
            raise ProcessingError(
                f"{text!r} is no part of an image; it is written [x1:x2,y1:y2], first pixel 1, both ends included"
            )
        return cls(*numbers)

    @property
    def shape(self) -> tuple[int, int]:
        """(ny, nx)."""
        return self.y_last - self.y_first + 1, self.x_last - self.x_first + 1

    def fits(self, naxis1: int, naxis2: int) -> bool:
        """Whether an image of so many columns and rows holds it."""
        return self.x_last <= naxis1 and self.y_last <= naxis2

    def slices(self, shape: tuple[int, int]) -> tuple[slice, slice]:
        """The same part as NumPy indices (y, x) of an array of ``shape``.

        Raises
        ------
        ProcessingError
            It reaches beyond the array.
        """
        if self.y_last > shape[0] or self.x_last > shape[1]:
            raise ProcessingError(f"{self} reaches beyond the image of {shape[1]} x {shape[0]} pixels")
        return slice(self.y_first - 1, self.y_last), slice(self.x_first - 1, self.x_last)

    def __str__(self) -> str:
        return f"[{self.x_first}:{self.x_last},{self.y_first}:{self.y_last}]"
