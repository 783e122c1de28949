"""The compiled loop of stacking: the same figures as the plain one of `avcd.compose.stacking`, many times faster.

Every pixel is worked on alone and its frames are summed in their order, so that neither strips nor threads change a bit.
Blocks of pixels lie side by side, frame under frame, and every step on them is a short loop of its own: such loops become vector
instructions.
"""

from __future__ import annotations

import numpy as np

from avcd.compiling import compiled
from avcd.lanes import BLOCK, middle_of_columns, sort_columns

_ZERO = np.float32(0)
_NAN = np.float32(np.nan)
_INFINITY = np.float32(np.inf)
_TO_SIGMA = np.float32(1.4826)
_WIDER_OF_TWO = np.float32(np.sqrt(2.0))
_NONE = np.int32(0)
_ONE = np.int32(1)
_NO_BITS = np.uint16(0)


@compiled
def combine_pixels(
    values: np.ndarray,
    variance: np.ndarray,
    bits: np.ndarray,
    has_variance: np.ndarray,
    noise: np.ndarray,
    scales: np.ndarray,
    skies: np.ndarray,
    weights: np.ndarray,
    pairs: np.ndarray,
    middle_pairs: np.ndarray,
    level: float,
    low: float,
    high: float,
    seeing: float,
    method: int,
    second_choice: int,
    no_data: int,
    few_inputs: int,
    data: np.ndarray,
    uncertainty: np.ndarray,
    mask: np.ndarray,
    coverage: np.ndarray,
    weight: np.ndarray,
    counts: np.ndarray,
) -> None:
    """Reject and combine the frames of a strip.

    Parameters
    ----------
    values, variance : float32, bits : uint16, shape (n, pixels)
        Resampled, as they stand; what a frame does not have is marked NO_DATA.
    has_variance : bool, noise : float32, (n,)
        Whose variance is known; of others their standard deviation on the grid, which then stands for all of their pixels.
    scales, skies : float32, (n,)
        What values are multiplied with, and what is then subtracted.
    weights : float64, (n,)
    pairs, middle_pairs : int, shape (exchanges, 2)
        A sorting network for n values, and what of it the middle ones need.
    level, low, high, seeing
        Of the sky, and of the rejection, as `avcd.compose.stacking` has them.
    method
        0 the mean, 1 the median, 2 the sum.
    data, uncertainty, mask, coverage, weight
        Where the results go; shape (pixels,).
    counts : int64, (2,)
        How many values were offered and rejected; added to.
    """
    frames, pixels = values.shape
    mine = np.empty((frames, BLOCK), np.float32)
    work = np.empty((frames, BLOCK), np.float32)
    any_bits = np.empty(BLOCK, np.uint16)
    joined = np.empty(BLOCK, np.uint16)
    refused = np.empty(BLOCK, np.uint16)
    best = np.empty(BLOCK, np.bool_)
    valid = np.empty(BLOCK, np.int32)
    kept = np.empty(BLOCK, np.int32)
    centre = np.empty(BLOCK, np.float32)
    robust = np.empty(BLOCK, np.float32)
    wider = np.empty(BLOCK, np.float32)
    own = np.zeros(BLOCK, np.float32)
    scatter = np.empty(BLOCK, np.float32)
    total = np.empty(BLOCK, np.float64)
    sums = np.empty(BLOCK, np.float64)
    squares = np.empty(BLOCK, np.float64)
    lost = np.uint16(no_data)
    unwanted = np.uint16(no_data | second_choice)
    below = -np.float32(low)
    above = np.float32(high)
    middle = np.float32(level)
    spread = np.float32(seeing)
    for start in range(0, pixels, BLOCK):
        width = min(BLOCK, pixels - start)
        any_bits[:] = _NO_BITS
        for i in range(frames):
            row = bits[i, start : start + width]
            for k in range(width):
                any_bits[k] |= row[k]
        joined[:] = _NO_BITS
        for k in range(width):
            joined[0] |= any_bits[k]
        flagged = joined[0] != 0
        joined[0] = _NO_BITS
        if flagged:
            best[:] = False
            for i in range(frames):
                row = bits[i, start : start + width]
                for k in range(width):
                    best[k] |= (row[k] & unwanted) == 0
            for k in range(BLOCK):
                refused[k] = unwanted if best[k] else lost
        valid[:] = np.int32(frames)
        for i in range(frames):
            row = values[i, start : start + width]
            factor, sky = scales[i], skies[i]
            one = mine[i]
            for k in range(width):
                one[k] = row[k] * factor - sky
            for k in range(width, BLOCK):
                one[k] = _ZERO
        complete = True
        if flagged:
            for i in range(frames):
                row = bits[i, start : start + width]
                one = mine[i]
                for k in range(width):
                    good = (row[k] & refused[k]) == 0
                    one[k] = one[k] if good else _NAN
                    valid[k] -= _NONE if good else _ONE
            for k in range(BLOCK):
                complete &= valid[k] == frames
        network = middle_pairs if complete else pairs
        for i in range(frames):
            one = mine[i]
            into = work[i]
            for k in range(BLOCK):
                value = one[k]
                into[k] = value if value == value else _INFINITY
        sort_columns(work, network)
        middle_of_columns(work, valid, complete, centre)
        if frames == 2 or not complete:
            for k in range(BLOCK):
                if valid[k] == 2:
                    centre[k] = work[0, k]
        robust[:] = _ZERO
        if frames > 3:
            for i in range(frames):
                one = mine[i]
                into = work[i]
                for k in range(BLOCK):
                    value = abs(one[k] - centre[k])
                    into[k] = value if value == value else _INFINITY
            sort_columns(work, network)
            middle_of_columns(work, valid, complete, robust)
            for k in range(BLOCK):
                robust[k] = _TO_SIGMA * robust[k] if valid[k] > 3 else _ZERO
        for k in range(BLOCK):
            wider[k] = spread * abs(centre[k] - middle)
        total[:] = 0.0
        sums[:] = 0.0
        squares[:] = 0.0
        kept[:] = 0
        for i in range(frames):
            one = mine[i]
            factor, share = scales[i], weights[i]
            if has_variance[i]:
                row = variance[i, start : start + width]
                for k in range(width):
                    own[k] = np.sqrt(row[k]) * factor
            else:
                own[:] = noise[i] * factor
            for k in range(BLOCK):
                larger = own[k] if own[k] > robust[k] else robust[k]
                scatter[k] = larger + wider[k]
            if frames == 2 or not complete:
                for k in range(BLOCK):
                    scatter[k] = scatter[k] * _WIDER_OF_TWO if valid[k] == 2 else scatter[k]
            for k in range(BLOCK):
                departure = one[k] - centre[k]
                far = (departure > above * scatter[k]) | (departure < below * scatter[k])
                one[k] = _NAN if far else one[k]
            for k in range(BLOCK):
                value = one[k]
                kept[k] += _ONE if value == value else _NONE
            for k in range(BLOCK):
                value = one[k]
                total[k] += share if value == value else 0.0
            for k in range(BLOCK):
                value = one[k]
                sums[k] += (np.float64(value) if value == value else 0.0) * share
            for k in range(BLOCK):
                value = one[k]
                error = np.float64(own[k]) if value == value else 0.0
                squares[k] += error * error * share * share
            if flagged:
                row = bits[i, start : start + width]
                for k in range(width):
                    value = one[k]
                    joined[k] |= row[k] if value == value else _NO_BITS
        if method == 1:
            every = True
            for k in range(BLOCK):
                every &= kept[k] == frames
            for i in range(frames):
                one = mine[i]
                into = work[i]
                for k in range(BLOCK):
                    value = one[k]
                    into[k] = value if value == value else _INFINITY
            sort_columns(work, middle_pairs if every else pairs)
            middle_of_columns(work, kept, every, centre)
        for k in range(width):
            number = kept[k]
            counts[0] += valid[k]
            counts[1] += valid[k] - number
            coverage[start + k] = number
            weight[start + k] = total[k]
            if number == 0:
                data[start + k] = _ZERO
                uncertainty[start + k] = _ZERO
                mask[start + k] = any_bits[k] | lost
                continue
            value = sums[k] / total[k]
            error = np.sqrt(squares[k]) / total[k]
            if method == 1:
                value = np.float64(centre[k])
                if number > 2:
                    error *= np.sqrt(np.pi / 2)
            elif method == 2:
                value *= frames
                error *= frames
            data[start + k] = value
            uncertainty[start + k] = error
            mask[start + k] = joined[k] | (few_inputs if (frames > 2) & (number * 2 < frames) else 0)
