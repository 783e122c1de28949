"""Compiled kernels of the combination: the very figures of `avcd.reduction.survivors`, many times faster.

Every pixel is worked on alone and its frames are summed in their order, so that neither strips nor threads change a
bit of the result. Blocks of pixels lie side by side, frame under frame: each exchange of a sorting network is then one
vector instruction for many pixels.
"""

from __future__ import annotations

import numpy as np

from avcd.compiling import compiled
from avcd.lanes import BLOCK, keep_near, middle_of_columns, sort_columns, take_block
from avcd.reduction.survivors import MAD_TO_SIGMA
from avcd.sorting import middle_network, sorting_network

_FACTOR = np.float32(MAD_TO_SIGMA)
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
    raw = np.empty((frames, BLOCK), np.float32)
    work = np.empty((frames, BLOCK), np.float32)
    valid = np.empty(BLOCK, np.int32)
    middle = np.empty(BLOCK, np.float32)
    deviation = np.empty(BLOCK, np.float32)
    kept = np.empty(BLOCK, np.int32)
    total = np.empty(BLOCK, np.float64)
    squares = np.empty(BLOCK, np.float64)
    mean = np.empty(BLOCK, np.float32)
    lower = np.empty(BLOCK, np.float32)
    upper = np.empty(BLOCK, np.float32)
    bits = np.empty(BLOCK, np.int32)
    last = np.zeros((frames, BLOCK), np.float32)
    nothing = np.int32(no_data)
    few = np.int32(few_inputs if frames > 2 else 0)
    every_frame = np.int32(frames)
    middle[:] = _ZERO
    lower[:] = -_INFINITY
    upper[:] = _INFINITY
    below = -np.float32(low)
    above = np.float32(high)
    least = np.float32(floor)
    for start in range(0, pixels, BLOCK):
        width = min(BLOCK, pixels - start)
        if width < BLOCK:
            last[:, :width] = stack[:, start:]
            take_block(last, 0, raw, work, valid)
        else:
            take_block(stack, start, raw, work, valid)
        complete = True
        for k in range(BLOCK):
            complete &= valid[k] == frames
        if clip:
            network = middle_pairs if complete else pairs
            sort_columns(work, network)
            middle_of_columns(work, valid, complete, middle)
            for i in range(frames):
                mine = raw[i]
                into = work[i]
                for k in range(BLOCK):
                    value = abs(mine[k] - middle[k])
                    into[k] = value if value < _INFINITY else _INFINITY
            sort_columns(work, network)
            middle_of_columns(work, valid, complete, deviation)
            for k in range(BLOCK):
                one = deviation[k] * _FACTOR
                one = least if one < least else one
                lower[k] = below * one
                upper[k] = above * one
        keep_near(raw, middle, lower, upper, total, kept)
        squares[:] = 0.0
        for k in range(BLOCK):
            total[k] /= np.float64(kept[k] if kept[k] > _ONE else _ONE)
            mean[k] = np.float32(total[k])
        for i in range(frames):
            mine = raw[i]
            for k in range(BLOCK):
                departure = mine[k] - mean[k]
                departure = departure * departure
                squares[k] += np.float64(departure if departure == departure else _ZERO)
        if method == 1:
            every = True
            for k in range(BLOCK):
                every &= kept[k] == frames
            for i in range(frames):
                mine = raw[i]
                into = work[i]
                for k in range(BLOCK):
                    value = mine[k]
                    into[k] = value if value == value else _INFINITY
            sort_columns(work, middle_pairs if every else pairs)
            middle_of_columns(work, kept, every, deviation)
        for k in range(BLOCK):
            number = np.float64(kept[k])
            fewer = number - 1.0
            divisor = number if number > 1.0 else 1.0
            own = squares[k] / (fewer if fewer > 1.0 else 1.0)
            pooled = (own * (divisor - 1.0) + typical * prior) / (divisor - 1.0 + prior)
            squares[k] = (own if own > pooled else pooled) / divisor
        if method == 1:
            for k in range(BLOCK):
                total[k] = np.float64(deviation[k])
            if frames > 2:
                for k in range(BLOCK):
                    squares[k] *= np.pi / 2
        elif method == 2:
            for k in range(BLOCK):
                total[k] *= frames
                squares[k] *= frames * frames
        for k in range(width):
            data[start + k] = np.float32(total[k] if kept[k] > 0 else 0.0)
        for k in range(width):
            uncertainty[start + k] = np.float32(np.sqrt(squares[k] if kept[k] > 0 else 0.0))
        for k in range(BLOCK):
            bit = few if kept[k] + kept[k] < every_frame else _NONE
            bits[k] = nothing if kept[k] == _NONE else bit
        for k in range(width):
            count[start + k] = np.uint16(kept[k])
        for k in range(width):
            mask[start + k] = np.uint16(bits[k])


def load() -> None:
    """Have the loops' machine code loaded, or made, before there is anything for them to do."""
    decode_int16(np.zeros(1, np.uint16), 0, np.zeros(1, np.float32))
    stack = np.zeros((3, 1), np.float32)
    values, counts = np.zeros((2, 1), np.float32), np.zeros((2, 1), np.uint16)
    combine_strip(
        stack, sorting_network(3), middle_network(3), True, 5.0, 5.0, 0.0, 0.0, 4, 0, values[0], values[1], counts[0],
        counts[1], 0, 0,
    )  # fmt: skip
