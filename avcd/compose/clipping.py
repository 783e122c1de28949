"""The compiled loop of stacking: the same figures as the plain one of `avcd.compose.stacking`, many times faster."""

from __future__ import annotations

import numpy as np

from avcd.compiling import compiled

_ZERO = np.float32(0)
_HALF = np.float32(0.5)
_NO_BITS = np.uint16(0)


@compiled
def _middle(ordered: np.ndarray, count: int) -> float:
    """The median of the first ``count`` values, which are put in order."""
    if count > 48:
        ordered[:count].sort()
    else:
        for k in range(1, count):
            one = ordered[k]
            place = k
            while (place > 0) and (ordered[place - 1] > one):
                ordered[place] = ordered[place - 1]
                place -= 1
            ordered[place] = one
    return (ordered[(count - 1) // 2] + ordered[count // 2]) * _HALF


@compiled
def combine_pixels(
    values: np.ndarray,
    own: np.ndarray,
    bits: np.ndarray,
    seen: np.ndarray,
    weights: np.ndarray,
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
    values, own : float32, bits : uint16, seen : float32, shape (n, rows, columns)
        Values on one scale and background, their standard deviations, their masks, and whether there is one (above zero).
    weights : float64, (n,)
    level, low, high, seeing
        Of the sky, and of the rejection, as `avcd.compose.stacking` has them.
    method
        0 the mean, 1 the median, 2 the sum.
    data, uncertainty, mask, coverage, weight
        Where the results go; shape (rows, columns).
    counts : int64, (2,)
        How many values were offered and rejected; added to.
    """
    frames, rows, columns = values.shape
    ordered = np.empty(frames, np.float32)
    there = np.empty(frames, np.bool_)
    for r in range(rows):
        for c in range(columns):
            offered = 0
            best = 0
            any_bits = _NO_BITS
            for i in range(frames):
                any_bits |= bits[i, r, c]
                here = seen[i, r, c] > 0
                there[i] = here
                offered += here
                best += here & (bits[i, r, c] & second_choice == 0)
            if best > 0:
                offered = 0
                for i in range(frames):
                    there[i] &= bits[i, r, c] & second_choice == 0
                    offered += there[i]
            if offered == 0:
                data[r, c] = _ZERO
                uncertainty[r, c] = _ZERO
                weight[r, c] = _ZERO
                coverage[r, c] = 0
                mask[r, c] = any_bits | no_data
                continue
            n = 0
            for i in range(frames):
                if there[i]:
                    ordered[n] = values[i, r, c]
                    n += 1
            centre = _middle(ordered, n)
            robust = _ZERO
            if n == 2:
                centre = min(ordered[0], ordered[1])
            elif n > 3:
                k = 0
                for i in range(frames):
                    if there[i]:
                        ordered[k] = abs(values[i, r, c] - centre)
                        k += 1
                robust = np.float32(1.4826) * _middle(ordered, n)
            wider = np.float32(seeing) * abs(centre - np.float32(level))
            total = 0.0
            sums = 0.0
            squares = 0.0
            joined = _NO_BITS
            left = 0
            for i in range(frames):
                if not there[i]:
                    continue
                scatter = max(own[i, r, c], robust) + wider
                if n == 2:
                    scatter = scatter * np.float32(np.sqrt(2.0))
                departure = values[i, r, c] - centre
                if (n > 1) & ((departure > np.float32(high) * scatter) | (departure < -np.float32(low) * scatter)):
                    continue
                share = weights[i]
                total += share
                sums += np.float64(values[i, r, c]) * share
                squares += np.float64(own[i, r, c]) ** 2 * share * share
                joined |= bits[i, r, c]
                ordered[left] = values[i, r, c]
                left += 1
            counts[0] += offered
            counts[1] += offered - left
            coverage[r, c] = left
            weight[r, c] = total
            if left == 0:
                data[r, c] = _ZERO
                uncertainty[r, c] = _ZERO
                mask[r, c] = any_bits | no_data
                continue
            one = sums / total
            error = np.sqrt(squares) / total
            if method == 1:
                one = np.float64(_middle(ordered, left))
                if left > 2:
                    error *= np.sqrt(np.pi / 2)
            elif method == 2:
                one *= frames
                error *= frames
            data[r, c] = one
            uncertainty[r, c] = error
            few = few_inputs if (frames > 2) & (left * 2 < frames) else 0
            mask[r, c] = joined | few
