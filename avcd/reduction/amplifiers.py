"""Images that several amplifiers read out: each part less its own overscan, and the parts put side by side."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from avcd.errors import ProcessingError
from avcd.reduction.overscan import subtract_overscan, trim
from avcd.reduction.planes import MaskedImage
from avcd.sections import Section

# An amplifier's cards end in its number: BIASSEC1 and DATASEC1 of some programs, BSEC11 and DSEC11 of others.
_OVERSCANS = re.compile(r"(?:BIASSEC|BSEC)(\d{1,2})")
_IMAGES = (re.compile(r"TRIMSEC(\d{1,2})"), re.compile(r"(?:DATASEC|DSEC)(\d{1,2})"), re.compile(r"AMPSEC(\d{1,2})"))


@dataclass(frozen=True)
class Amplifier:
    """Where an amplifier's pixels stand in the raw image: what it read of the sky, and its overscan (None: it has none)."""

    image: Section
    overscan: Section | None = None

    def __str__(self) -> str:
        return f"{self.image} by {self.overscan}" if self.overscan else str(self.image)


def amplifiers_of(header: Mapping[str, Any]) -> tuple[Amplifier, ...]:
    """The amplifiers that a header names, in the order of their numbers; none where it names fewer than two.

    The part that an amplifier's pixels are is TRIMSECn, else DATASECn (DSECn), else AMPSECn; its overscan BIASSECn (BSECn).

    Raises
    ------
    ProcessingError
        A card names no part of an image, or an overscan has no image beside it.
    """
    overscans: dict[str, Section] = {}
    images: dict[str, tuple[int, Section]] = {}
    for keyword in header:
        text = str(header[keyword]) if keyword else ""
        if not re.search("[1-9]", text):  # of zeros, as some cameras write what there is not
            continue
        if match := _OVERSCANS.fullmatch(keyword):
            overscans[match[1]] = Section.parse(text)
        for rank, pattern in enumerate(_IMAGES):
            if (match := pattern.fullmatch(keyword)) and images.get(match[1], (rank,))[0] >= rank:
                images[match[1]] = rank, Section.parse(text)
    if len(overscans) < 2:
        return ()
    alone = sorted(overscans.keys() - images.keys())
    if alone:
        raise ProcessingError(
            f"the header names the overscan of amplifier {alone[0]}, and not where its image is (DATASEC{alone[0]}); "
            "say where each amplifier's pixels are by --amplifiers"
        )
    return tuple(Amplifier(images[one][1], overscans.get(one)) for one in sorted(images, key=int))


def join_amplifiers(
    ccd: MaskedImage, amplifiers: Sequence[Amplifier], *, method: str = "median", degree: int | None = None
) -> MaskedImage:
    """Every amplifier's part less its own overscan, and the parts put together as they lie on the detector.

    Parameters
    ----------
    ccd : MaskedImage, shape (ny, nx)
        Not changed.
    amplifiers
        Their images make rows and columns without a hole: one, two by one, two by two …
    method, degree
        As of `avcd.reduction.overscan.subtract_overscan`.

    Returns
    -------
    MaskedImage
        Same unit, without the gaps between the parts; mask and uncertainty go along. World coordinates do not: see
        `place_of`.

    Raises
    ------
    ProcessingError
        The parts overlap, leave a hole, or reach beyond the image; an overscan holds no usable pixel.
    """
    columns, rows = grid_of(amplifiers)
    shape = sum(last - first + 1 for first, last in rows), sum(last - first + 1 for first, last in columns)
    data = np.empty(shape, np.float32)
    mask = np.zeros(shape, np.uint16)
    sigma = None if ccd.uncertainty is None else np.empty(shape, np.float32)
    for one in amplifiers:
        part = _part_of(ccd, one, method, degree)
        y, x = int(place_of(one.image.y_first, rows)) - 1, int(place_of(one.image.x_first, columns)) - 1
        here = np.s_[y : y + one.image.shape[0], x : x + one.image.shape[1]]
        data[here] = part.data
        if part.mask is not None:
            mask[here] = part.mask
        if sigma is not None:
            sigma[here] = part.uncertainty
    masked = ccd.mask is not None or mask.any()
    return MaskedImage(
        data,
        unit=ccd.unit,
        mask=mask if masked else None,
        uncertainty=sigma,
        header=ccd.header,
    )


def _part_of(ccd: MaskedImage, one: Amplifier, method: str, degree: int | None) -> MaskedImage:
    if one.overscan is None:
        return trim(ccd, one.image)
    over, image = one.overscan, one.image
    x, y = min(over.x_first, image.x_first) - 1, min(over.y_first, image.y_first) - 1
    both = Section(x + 1, max(over.x_last, image.x_last), y + 1, max(over.y_last, image.y_last))
    own = replace(trim(ccd, both), wcs=None)
    return trim(subtract_overscan(own, _moved(over, x, y), method=method, degree=degree), _moved(image, x, y))


def _moved(section: Section, x: int, y: int) -> Section:
    return Section(section.x_first - x, section.x_last - x, section.y_first - y, section.y_last - y)


def grid_of(amplifiers: Sequence[Amplifier]) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """The columns and the rows of parts, each from its first to its last pixel of the raw image.

    Raises
    ------
    ProcessingError
        The parts overlap or leave a hole.
    """
    columns = sorted({(one.image.x_first, one.image.x_last) for one in amplifiers})
    rows = sorted({(one.image.y_first, one.image.y_last) for one in amplifiers})
    apart = all(before[1] < after[0] for ranges in (columns, rows) for before, after in pairwise(ranges))
    if not amplifiers or not apart or len({one.image for one in amplifiers}) != len(columns) * len(rows):
        there = ", ".join(str(one.image) for one in amplifiers)
        raise ProcessingError(
            f"the amplifiers' images make no rows and columns of parts without a hole: {there or 'there are none'}"
        )
    if len(amplifiers) != len(columns) * len(rows):
        raise ProcessingError("an amplifier's image is named twice")
    return columns, rows


def place_of(pixel: float, ranges: Sequence[tuple[int, int]]) -> float:
    """Where a pixel of the raw image is in the joined one, both counted from one, along an axis.

    Parameters
    ----------
    pixel
        May be a fraction, as that of a reference point; beyond the image, or between two parts, it keeps its distance from
        the part that follows, or from the last.
    ranges
        As of `grid_of`.
    """
    own = next((number for number, (_, last) in enumerate(ranges) if pixel <= last + 0.5), len(ranges) - 1)
    before = sum(last - first + 1 for first, last in ranges[:own])
    return pixel - ranges[own][0] + 1 + before
