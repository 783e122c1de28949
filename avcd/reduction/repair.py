"""Bad pixels replaced from their neighbours, as far as there are any."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from avcd.frame import MaskBit
from avcd.reduction.combine import MAD_TO_SIGMA
from avcd.reduction.planes import MaskedImage

METHODS = ("none", "median", "interpolation")
# What a neighbour may stand in for. A saturated star or a frame's struck pixel is another matter.
REPAIRABLE = np.uint16(MaskBit.HOT | MaskBit.DEAD | MaskBit.USER | MaskBit.RESPONSE | MaskBit.NON_FINITE)
_MEDIAN_SCATTER = 1.2533  # of a median of normal values, beside that of their mean
_AT_ONCE = 100_000  # pixels, so that memory is bounded


def repair_pixels(ccd: MaskedImage, params: Mapping[str, Any]) -> tuple[MaskedImage, Mapping[str, float]]:
    """Replace bad pixels by what is around them, from good pixels alone.

    "median": the median of the good pixels of the box of ``repair_radius_px`` to each side; fewer than
    ``repair_least_neighbours`` of them, and the pixel stays as it is. "interpolation": the straight line between the
    nearest good pixels to the left and to the right, or else above and below, no further away than
    ``repair_radius_px``; the shorter of the two gaps where both are there. That keeps a slope, and crosses runs of
    bad columns.

    Parameters
    ----------
    ccd : MaskedImage, shape (ny, nx)
        Not changed. Pixels whose mask has HOT, DEAD, USER, RESPONSE or NON_FINITE are repaired; no pixel with any bit
        is made use of.
    params
        repair ("median" or "interpolation"), repair_radius_px, repair_least_neighbours.

    Returns
    -------
    MaskedImage
        New. A repaired pixel has the bit REPAIRED in place of those that made it bad, and an uncertainty that covers
        both the noise and the scatter of the pixels it is from; what could not be repaired keeps its value and bits.
    metrics
        repaired_px, unrepaired_px.

    Raises
    ------
    ValueError
        Unknown method.
    """
    method, reach = str(params["repair"]), int(params["repair_radius_px"])
    if method not in METHODS[1:]:
        raise ValueError(f"{method!r} is none of {METHODS[1:]}")
    data = np.array(ccd.data, dtype=np.float32)
    mask = np.zeros(data.shape, np.uint16) if ccd.mask is None else np.array(ccd.mask, dtype=np.uint16)
    error = None if ccd.uncertainty is None else np.array(ccd.uncertainty, dtype=np.float32)
    good = (mask == 0) & np.isfinite(data)
    wanted = (mask & REPAIRABLE) != 0
    rows, columns = np.nonzero(wanted)
    values, errors = np.full(rows.size, np.nan, np.float32), np.full(rows.size, np.nan, np.float32)
    noise = np.zeros_like(data) if error is None else error
    for start in range(0, rows.size, _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        place = rows[part], columns[part]
        if method == "median":
            found = _median(data, noise, good, place, reach, int(params["repair_least_neighbours"]))
        else:
            found = _interpolate(data, noise, good, place, reach)
        values[part], errors[part] = found
    mended = np.isfinite(values)
    at = rows[mended], columns[mended]
    data[at] = values[mended]
    mask[at] = (mask[at] & ~REPAIRABLE) | np.uint16(MaskBit.REPAIRED)
    if error is not None:
        error[at] = errors[mended]
    return replace(ccd, data=data, mask=mask, uncertainty=error), {
        "repaired_px": float(np.count_nonzero(mended)),
        "unrepaired_px": float(np.count_nonzero(~mended)),
    }


_Place = tuple[np.ndarray, np.ndarray]


def _median(
    data: np.ndarray, noise: np.ndarray, good: np.ndarray, place: _Place, reach: int, least: int
) -> tuple[np.ndarray, np.ndarray]:
    """Medians of the boxes around, and their errors; NaN where fewer than ``least`` are good."""
    steps = np.arange(-reach, reach + 1)
    rows = place[0][:, None] + np.repeat(steps, steps.size)
    columns = place[1][:, None] + np.tile(steps, steps.size)
    inside = (rows >= 0) & (rows < data.shape[0]) & (columns >= 0) & (columns < data.shape[1])
    rows, columns = np.where(inside, rows, 0), np.where(inside, columns, 0)
    used = inside & good[rows, columns]
    count = used.sum(axis=1)
    enough = count >= max(least, 1)
    values = np.where(used, data[rows, columns], np.float32(np.nan))[enough]
    middle = np.nanmedian(values, axis=1)
    scatter = np.nanmedian(np.abs(values - middle[:, None]), axis=1) * MAD_TO_SIGMA
    variance = np.sum(np.where(used, noise[rows, columns], 0)[enough] ** 2, axis=1) / count[enough] ** 2
    found, errors = np.full(count.size, np.nan, np.float32), np.full(count.size, np.nan, np.float32)
    found[enough] = middle
    errors[enough] = np.hypot(_MEDIAN_SCATTER * np.sqrt(variance), scatter)
    return found, errors


def _interpolate(
    data: np.ndarray, noise: np.ndarray, good: np.ndarray, place: _Place, reach: int
) -> tuple[np.ndarray, np.ndarray]:
    """Values on the line between the nearest good pixels at both sides, and their errors; NaN where there are none."""
    values = np.full(place[0].size, np.nan, np.float32)
    errors = values.copy()
    shortest = np.full(place[0].size, np.iinfo(np.int64).max)
    for axis in (1, 0):
        low, high = (_nearest(good, place, axis, sign, reach) for sign in (-1, 1))
        gap = low + high
        take = (low > 0) & (high > 0) & (gap < shortest)
        share = np.where(take, low / np.maximum(gap, 1), 0)  # of the pixel above: the nearer it is, the more
        one, other = (_shifted(place, axis, -low), _shifted(place, axis, high))
        line = data[one] * (1 - share) + data[other] * share
        spread = np.hypot(noise[one] * (1 - share), noise[other] * share)
        spread = np.hypot(spread, np.abs(data[one] - data[other]) / 2)
        values[take], errors[take], shortest[take] = line[take], spread[take], gap[take]
    return values, errors


def _nearest(good: np.ndarray, place: _Place, axis: int, sign: int, reach: int) -> np.ndarray:
    """How far the nearest good pixel is in a direction; 0 where there is none within reach."""
    found = np.zeros(place[0].size, np.int64)
    for step in range(1, reach + 1):
        moved = place[axis] + sign * step
        inside = (moved >= 0) & (moved < good.shape[axis])
        at = _shifted(place, axis, np.where(inside, sign * step, 0))
        found[(found == 0) & inside & good[at]] = step
    return found


def _shifted(place: _Place, axis: int, by: np.ndarray) -> _Place:
    return (place[0] + by, place[1]) if axis == 0 else (place[0], place[1] + by)
