"""Compiled kernels of the combination: the very figures of `avcd.reduction.survivors`, many times faster.

Every pixel is worked on alone and its frames are summed in their order, so that neither strips nor threads change a
bit of the result. Blocks of pixels lie side by side, frame under frame: each exchange of a sorting network is then one
vector instruction for many pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from avcd.compiling import compiled
from avcd.reduction.survivors import MAD_TO_SIGMA

# Pixels worked on at once; with the frames of a usual stack they stay in the first-level cache.
_BLOCK = 128
_LANES = 16
_FACTOR = np.float32(MAD_TO_SIGMA)
_HALF = np.float32(0.5)
_ZERO = np.float32(0)
_NAN = np.float32(np.nan)
_NONE = np.int32(0)
_ONE = np.int32(1)
_INFINITY = np.float32(np.inf)


@compiled
def decode_int16(stored: np.ndarray, flip: int, out: np.ndarray) -> None:
    """Big-endian 16-bit numbers as values.

    Parameters
    ----------
    stored : uint16
        As they stand in the file, read as if they were little-endian.
    flip
        0x8000 where BZERO is 32768, so that the numbers are unsigned; else 0.
    out : float32
        Of the same length.
    """
    if flip:
        for k in range(stored.size):
            one = stored[k]
            out[k] = np.float32(np.uint16(((one >> 8) | (one << 8)) ^ 0x8000))
    else:
        for k in range(stored.size):
            one = stored[k]
            out[k] = np.float32(np.int16(np.uint16((one >> 8) | (one << 8))))


def _exchange_rows(_context: Any, work: Any, first: Any, second: Any) -> tuple[Any, Callable[..., Any]]:
    """Put the smaller values of two rows of a block into the first, the larger into the second.

    Spelt out in vectors: the compiler does not see by itself that two rows of one array do not overlap.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = ir.VectorType(ir.FloatType(), _LANES)
        start = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        rows = [builder.gep(start, [builder.mul(one, ir.Constant(one.type, _BLOCK))]) for one in arguments[1:]]
        for k in range(0, _BLOCK, _LANES):
            at = [
                builder.bitcast(builder.gep(one, [ir.Constant(ir.IntType(64), k)]), vector.as_pointer()) for one in rows
            ]
            x, y = (builder.load(one, align=4) for one in at)
            less = builder.fcmp_ordered("<", x, y)
            builder.store(builder.select(less, x, y), at[0], align=4)
            builder.store(builder.select(less, y, x), at[1], align=4)
        return context.get_dummy_value()

    return types.void(work, types.intp, types.intp), generate


_exchange: Any = intrinsic(_exchange_rows)


@compiled
def _sort_columns(work: np.ndarray, pairs: np.ndarray) -> None:
    """Every column in ascending order, as far as the network's exchanges go."""
    for p in range(pairs.shape[0]):
        _exchange(work, pairs[p, 0], pairs[p, 1])


@compiled
def _middle(work: np.ndarray, valid: np.ndarray, found: np.ndarray) -> None:
    """The median of sorted columns, of which the first ``valid`` values count."""
    for k in range(_BLOCK):
        number = valid[k]
        if number == 0:
            found[k] = np.float32(np.nan)
        else:
            low = work[(number - 1) // 2, k]
            high = work[number // 2, k] if number % 2 == 0 else low
            found[k] = (low + high) * _HALF


@compiled
def combine_strip(
    stack: np.ndarray,
    pairs: np.ndarray,
    middle_pairs: np.ndarray,
    clip: bool,
    low: float,
    high: float,
    floor: float,
    typical: float,
    prior: int,
    method: int,
    data: np.ndarray,
    uncertainty: np.ndarray,
    count: np.ndarray,
    mask: np.ndarray,
    no_data: int,
    few_inputs: int,
) -> None:
    """Reject and combine a strip.

    Parameters
    ----------
    stack : float32, shape (n, pixels)
        What is not finite takes no part.
    pairs, middle_pairs : int, shape (exchanges, 2)
        A sorting network for n values, and what of it the middle ones need.
    clip
        Whether anything is rejected.
    low, high, floor
        Of the rejection, as `avcd.reduction.survivors.reject_by_mad` has them.
    typical, prior
        The frames' typical variance, and for how many frames it counts.
    method
        0 the mean, 1 the median, 2 the sum.
    data, uncertainty : float32, count, mask : uint16, shape (pixels,)
        Where the results go.
    no_data, few_inputs
        The mask's bits: of pixels of which nothing is left, or less than half of the frames.
    """
    frames, pixels = stack.shape
    raw = np.empty((frames, _BLOCK), np.float32)
    work = np.empty((frames, _BLOCK), np.float32)
    valid = np.empty(_BLOCK, np.int32)
    middle = np.empty(_BLOCK, np.float32)
    deviation = np.empty(_BLOCK, np.float32)
    kept = np.empty(_BLOCK, np.int32)
    total = np.empty(_BLOCK, np.float64)
    squares = np.empty(_BLOCK, np.float64)
    mean = np.empty(_BLOCK, np.float32)
    lower = np.empty(_BLOCK, np.float32)
    upper = np.empty(_BLOCK, np.float32)
    middle[:] = _ZERO
    lower[:] = -_INFINITY
    upper[:] = _INFINITY
    below = -np.float32(low)
    above = np.float32(high)
    least = np.float32(floor)
    for start in range(0, pixels, _BLOCK):
        width = min(_BLOCK, pixels - start)
        valid[:] = 0
        for i in range(frames):
            row = stack[i, start : start + width]
            mine = raw[i]
            into = work[i]
            for k in range(width):
                value = row[k]
                finite = abs(value) < _INFINITY
                mine[k] = value if finite else _NAN
                into[k] = value if finite else _INFINITY
                valid[k] += _ONE if finite else _NONE
            for k in range(width, _BLOCK):
                mine[k] = _ZERO
                into[k] = _ZERO
                valid[k] += _ONE
        complete = True
        for k in range(_BLOCK):
            complete &= valid[k] == frames
        if clip:
            network = middle_pairs if complete else pairs
            _sort_columns(work, network)
            _middle(work, valid, middle)
            for i in range(frames):
                mine = raw[i]
                into = work[i]
                for k in range(_BLOCK):
                    value = abs(mine[k] - middle[k])
                    into[k] = value if value < _INFINITY else _INFINITY
            _sort_columns(work, network)
            _middle(work, valid, deviation)
            for k in range(_BLOCK):
                one = deviation[k] * _FACTOR
                one = least if one < least else one
                lower[k] = below * one
                upper[k] = above * one
        total[:] = 0.0
        squares[:] = 0.0
        kept[:] = 0
        for i in range(frames):
            mine = raw[i]
            for k in range(_BLOCK):
                value = mine[k]
                departure = value - middle[k]
                good = (departure >= lower[k]) & (departure <= upper[k])
                mine[k] = value if good else _NAN
                total[k] += np.float64(value if good else _ZERO)
                kept[k] += _ONE if good else _NONE
        for k in range(_BLOCK):
            total[k] /= np.float64(kept[k] if kept[k] > _ONE else _ONE)
            mean[k] = np.float32(total[k])
        for i in range(frames):
            mine = raw[i]
            for k in range(_BLOCK):
                departure = mine[k] - mean[k]
                departure = departure * departure
                squares[k] += np.float64(departure if departure == departure else _ZERO)
        if method == 1:
            every = True
            for k in range(_BLOCK):
                every &= kept[k] == frames
            for i in range(frames):
                mine = raw[i]
                into = work[i]
                for k in range(_BLOCK):
                    value = mine[k]
                    into[k] = value if value == value else _INFINITY
            _sort_columns(work, middle_pairs if every else pairs)
            _middle(work, kept, deviation)
        for k in range(_BLOCK):
            number = np.float64(kept[k])
            fewer = number - 1.0
            divisor = number if number > 1.0 else 1.0
            own = squares[k] / (fewer if fewer > 1.0 else 1.0)
            pooled = (own * (divisor - 1.0) + typical * prior) / (divisor - 1.0 + prior)
            squares[k] = (own if own > pooled else pooled) / divisor
        if method == 1:
            for k in range(_BLOCK):
                total[k] = np.float64(deviation[k])
            if frames > 2:
                for k in range(_BLOCK):
                    squares[k] *= np.pi / 2
        elif method == 2:
            for k in range(_BLOCK):
                total[k] *= frames
                squares[k] *= frames * frames
        for k in range(width):
            data[start + k] = np.float32(total[k] if kept[k] > 0 else 0.0)
        for k in range(width):
            uncertainty[start + k] = np.float32(np.sqrt(squares[k] if kept[k] > 0 else 0.0))
        for k in range(width):
            number = kept[k]
            count[start + k] = number
            few = few_inputs if (frames > 2) & (number * 2 < frames) else 0
            mask[start + k] = no_data if number == 0 else few
