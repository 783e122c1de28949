"""Compiled kernels of L.A.Cosmic: the decisions of astroscrappy, pixel by pixel, on any part of a frame.

Everything is done in float32 and in the order in which astroscrappy does it, so that its mask comes out, and not one
like it. A part of a frame gives the frame's own decisions except within `HALO` pixels of a border that is not the
frame's: medians of 5 and 9 pixels one after the other, and two dilations, reach no further.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from avcd.compiling import compiled
from avcd.sorting import middle_network

HALO = 8
# Narrower parts than this have no room for the widest median and a vector.
NARROWEST = 32
_LANES = 8
_NOISE_FLOOR = np.float32(0.00001)
_FINE_FLOOR = np.float32(0.01)
_ZERO = np.float32(0)
_TWO = np.float32(2)
_QUARTER = np.float32(0.25)
_FOUR = np.float32(4)


def _median_of(number: int) -> Any:
    """A function ``(source, start, step, out, at)``: medians of ``number`` values that lie ``step`` apart, in vectors.

    For the places ``start``, ``start + 1``, ... of ``source``, as many as a vector holds, from there on; into ``out``
    from ``at`` on. Both arrays are float32 of one dimension.
    """

    def vectors(_context: Any, source: Any, start: Any, step: Any, out: Any, at: Any) -> tuple[Any, Callable[..., Any]]:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            kinds = signature.args
            read, write = (
                context.make_array(kinds[which])(context, builder, arguments[which]).data for which in (0, 3)
            )
            vector = ir.VectorType(ir.FloatType(), _LANES).as_pointer()
            values = []
            place = arguments[1]
            for _ in range(number):
                values.append(builder.load(builder.bitcast(builder.gep(read, [place]), vector), align=4))
                place = builder.add(place, arguments[2])
            for first, second in middle_network(number).tolist():
                x, y = values[first], values[second]
                less = builder.fcmp_ordered("<", x, y)
                values[first], values[second] = builder.select(less, x, y), builder.select(less, y, x)
            into = builder.bitcast(builder.gep(write, [arguments[4]]), vector)
            builder.store(values[number // 2], into, align=4)
            return context.get_dummy_value()

        return types.void(source, types.intp, types.intp, out, types.intp), generate

    medians: Any = intrinsic(vectors)
    half = number // 2

    @compiled
    def filtered(data: np.ndarray, ny: int, nx: int, rows: np.ndarray, out: np.ndarray) -> None:
        """The separable median of an image: along rows, then along columns; its border as it is."""
        for j in range(ny):
            base = j * nx
            for i in range(half):
                rows[base + i] = data[base + i]
                rows[base + nx - 1 - i] = data[base + nx - 1 - i]
            last = nx - half - _LANES
            for i in range(half, last, _LANES):
                medians(data, base + i - half, 1, rows, base + i)
            medians(data, base + last - half, 1, rows, base + last)
        for j in range(ny):
            base = j * nx
            if j < half or j >= ny - half:
                for i in range(nx):
                    out[base + i] = data[base + i]
                continue
            last = nx - half - _LANES
            for i in range(half, last, _LANES):
                medians(rows, base + i - half * nx, nx, out, base + i)
            medians(rows, base + last - half * nx, nx, out, base + last)
            for i in range(half):
                out[base + i] = data[base + i]
                out[base + nx - 1 - i] = data[base + nx - 1 - i]

    return filtered


_median5 = _median_of(5)
_median7 = _median_of(7)
_median9 = _median_of(9)


@compiled
def _laplacian(data: np.ndarray, ny: int, nx: int, out: np.ndarray) -> None:
    """The positive part of the Laplacian of an image whose pixels were cut into four, averaged over the four."""
    for j in range(1, ny - 1):
        base = j * nx
        for i in range(base + 1, base + nx - 1):
            d = data[i]
            west = data[i - 1]
            east = data[i + 1]
            north = data[i - nx]
            south = data[i + nx]
            right = _FOUR * d - east - d
            left = _FOUR * d - d - west
            a = left - d - north
            b = left - south - d
            c = right - south - d
            e = right - d - north
            a = a if a > _ZERO else _ZERO
            b = b if b > _ZERO else _ZERO
            c = c if c > _ZERO else _ZERO
            e = e if e > _ZERO else _ZERO
            out[i] = (a + b + c + e) * _QUARTER
    for i in range(nx):
        out[i] = _border_laplacian(data, ny, nx, 0, i)
        out[(ny - 1) * nx + i] = _border_laplacian(data, ny, nx, ny - 1, i)
    for j in range(1, ny - 1):
        out[j * nx] = _border_laplacian(data, ny, nx, j, 0)
        out[j * nx + nx - 1] = _border_laplacian(data, ny, nx, j, nx - 1)


@compiled
def _border_laplacian(data: np.ndarray, ny: int, nx: int, j: int, i: int) -> np.float32:
    """The same of one pixel of the border: what lies outside of the image is not subtracted."""
    at = j * nx + i
    d = data[at]
    total = _ZERO
    for part in range(4):
        lower = part == 1 or part == 2
        rightmost = part >= 2
        top = j == 0 and not lower
        bottom = j == ny - 1 and lower
        first = i == 0 and not rightmost
        last = i == nx - 1 and rightmost
        value = _FOUR * d
        # astroscrappy adds up the first row in double precision.
        exact = 4.0 * np.float64(d)
        if not last:
            one = data[at + 1] if rightmost else d
            value -= one
            exact -= np.float64(one)
        if not first:
            one = d if rightmost else data[at - 1]
            value -= one
            exact -= np.float64(one)
        if not bottom:
            one = data[at + nx] if lower else d
            value -= one
            exact -= np.float64(one)
        if not top:
            value -= d if lower else data[at - nx]
        if top:
            value = np.float32(exact)
        total += value if value > _ZERO else _ZERO
    return total * _QUARTER


@compiled
def _grow(marked: np.ndarray, ny: int, nx: int, out: np.ndarray) -> None:
    """Dilation by the eight neighbours; the border as it is."""
    out[: ny * nx] = marked[: ny * nx]
    for j in range(1, ny - 1):
        for i in range(j * nx + 1, j * nx + nx - 1):
            if marked[i]:
                for y in range(j - 1, j + 2):
                    at = y * nx + i - j * nx
                    inside = 0 < y < ny - 1
                    for x in range(at - 1, at + 2):
                        column = x - y * nx
                        if inside and 0 < column < nx - 1:
                            out[x] = 1


@compiled
def _grow_from_border(marked: np.ndarray, ny: int, nx: int, out: np.ndarray) -> None:
    """What the border's marks add to the pixels beside it."""
    for j in range(ny):
        across = j == 0 or j == ny - 1
        for i in range(0, nx, 1 if across else nx - 1):
            if marked[j * nx + i]:
                for y in range(max(1, j - 1), min(ny - 1, j + 2)):
                    for x in range(max(1, i - 1), min(nx - 1, i + 2)):
                        out[y * nx + x] = 1


@compiled
def detect_in_tiles(
    clean: np.ndarray,
    variance: np.ndarray,
    mask: np.ndarray,
    tiles: np.ndarray,
    sigma: float,
    low_sigma: float,
    contrast: float,
    found: np.ndarray,
) -> None:
    """One iteration's decisions in some parts of a frame.

    Parameters
    ----------
    clean, variance : float32, shape (ny, nx)
        The frame as cleaned so far, and the variance of its pixels.
    mask : uint8, shape (ny, nx)
        Nonzero: takes no part.
    tiles : int, shape (n, 4)
        First and last row and column (the latter exclusive) of each part.
    sigma, low_sigma, contrast
        The limits for a hit, for its neighbours, and of its contrast with the fine structure.
    found : uint8, shape (ny, nx)
        Set to 1 where a part has a hit, and to 0 elsewhere in it.
    """
    ny, nx = clean.shape
    largest = 0
    for t in range(tiles.shape[0]):
        size = (tiles[t, 1] - tiles[t, 0] + 2 * HALO) * (tiles[t, 3] - tiles[t, 2] + 2 * HALO)
        largest = max(largest, size)
    data = np.empty(largest, np.float32)
    noise = np.empty(largest, np.float32)
    rows = np.empty(largest, np.float32)
    signal = np.empty(largest, np.float32)
    smooth = np.empty(largest, np.float32)
    fine = np.empty(largest, np.float32)
    good = np.empty(largest, np.uint8)
    hits = np.empty(largest, np.uint8)
    grown = np.empty(largest, np.uint8)
    limit = np.float32(sigma)
    low_limit = np.float32(low_sigma)
    least_contrast = np.float32(contrast)
    for t in range(tiles.shape[0]):
        top, bottom, left, right = tiles[t, 0], tiles[t, 1], tiles[t, 2], tiles[t, 3]
        y0, y1, x0, x1 = max(0, top - HALO), min(ny, bottom + HALO), max(0, left - HALO), min(nx, right + HALO)
        height, width = y1 - y0, x1 - x0
        size = height * width
        for j in range(height):
            data[j * width : (j + 1) * width] = clean[y0 + j, x0:x1]
            fine[j * width : (j + 1) * width] = variance[y0 + j, x0:x1]
            good[j * width : (j + 1) * width] = mask[y0 + j, x0:x1]
        _median7(fine, height, width, rows, noise)
        _laplacian(data, height, width, signal)
        for k in range(size):
            one = noise[k]
            one = np.sqrt(one if one > _NOISE_FLOOR else _NOISE_FLOOR)
            noise[k] = one
            signal[k] = signal[k] / (_TWO * one)
        _median7(signal, height, width, rows, smooth)
        candidates = 0
        for k in range(size):
            one = signal[k] - smooth[k]
            signal[k] = one
            candidates += 1 if (one > limit) & (good[k] == 0) else 0
        hit = False
        if candidates:
            _median5(data, height, width, rows, fine)
            _median9(fine, height, width, rows, smooth)
            for k in range(size):
                one = (fine[k] - smooth[k]) / noise[k]
                one = one if one > _FINE_FLOOR else _FINE_FLOOR
                value = signal[k]
                struck = (value > limit) & (good[k] == 0) & (value / one > least_contrast)
                hits[k] = struck
                hit |= struck
        if not hit:
            found[top:bottom, left:right] = 0
            continue
        _grow(hits, height, width, grown)
        _grow_from_border(hits, height, width, grown)
        for k in range(size):
            hits[k] = (grown[k] != 0) & (good[k] == 0) & (signal[k] > limit)
        _grow(hits, height, width, grown)
        _grow_from_border(hits, height, width, grown)
        for j in range(top, bottom):
            base = (j - y0) * width - x0
            for i in range(left, right):
                k = base + i
                found[j, i] = (grown[k] != 0) & (good[k] == 0) & (signal[k] > low_limit)


@compiled
def separable_median7_at(data: np.ndarray, rows: np.ndarray, columns: np.ndarray, out: np.ndarray) -> None:
    """The separable median of 7 x 7 pixels at some places of an image; its border as it is."""
    ny, nx = data.shape
    outer = np.empty(7, np.float32)
    for n in range(rows.size):
        j, i = rows[n], columns[n]
        if j < 3 or i < 3 or j >= ny - 3 or i >= nx - 3:
            out[n] = data[j, i]
            continue
        for k in range(7):
            outer[k] = np.sort(data[j + k - 3, i - 3 : i + 4])[3]
        out[n] = np.sort(outer)[3]


@compiled
def newly_found(found: np.ndarray, struck: np.ndarray) -> np.ndarray:
    """The places, shape (n, 2), of hits that are not yet among the struck pixels; these are marked now."""
    ny, nx = found.shape
    number = 0
    for j in range(ny):
        for i in range(nx):
            number += (found[j, i] != 0) & (struck[j, i] == 0)
    places = np.empty((number, 2), np.int64)
    number = 0
    for j in range(ny):
        for i in range(nx):
            if found[j, i] and not struck[j, i]:
                places[number, 0] = j
                places[number, 1] = i
                number += 1
                struck[j, i] = 1
    return places


@compiled
def clean_around(
    clean: np.ndarray,
    variance: np.ndarray,
    struck: np.ndarray,
    mask: np.ndarray,
    places: np.ndarray,
    level: float,
    variance_level: float,
) -> bool:
    """Replace struck pixels within two of some places by the mean of their good neighbours.

    A pixel without good neighbours takes the ``level``. The frame's outermost two pixels stay as they are.

    Returns
    -------
    bool
        Whether the levels were needed.
    """
    ny, nx = clean.shape
    needed = False
    for n in range(places.shape[0]):
        for j in range(max(2, places[n, 0] - 2), min(ny - 2, places[n, 0] + 3)):
            for i in range(max(2, places[n, 1] - 2), min(nx - 2, places[n, 1] + 3)):
                if not struck[j, i]:
                    continue
                number = 0
                total = _ZERO
                spread = _ZERO
                for y in range(j - 2, j + 3):
                    for x in range(i - 2, i + 3):
                        if not struck[y, x] and not mask[y, x]:
                            total += clean[y, x]
                            spread += variance[y, x]
                            number += 1
                if number:
                    clean[j, i] = total / np.float32(number)
                    variance[j, i] = spread / np.float32(number)
                else:
                    needed = True
                    clean[j, i] = np.float32(level)
                    variance[j, i] = np.float32(variance_level)
    return needed
