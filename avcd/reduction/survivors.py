"""What is rejected at each pixel of a stack, and what the survivors come to.

A stack is a float32 array of shape (n, rows, nx), one frame after the other; NaN takes no part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

# From the median absolute deviation of a normal distribution to its standard deviation.
MAD_TO_SIGMA = 1.482602218505602
# How many further frames the typical scatter counts for, beside a pixel's own few values.
PRIOR_FRAMES = 4
# The variance of a median of normal values, beside that of their mean.
_MEDIAN_VARIANCE = np.pi / 2
# The median of the gamma distribution of shape (n - 1) / 2, for n from 2 on, as SciPy has it, whose loading takes longer than
# all that is done with it.
_GAMMA_MEDIANS = (
    0.227468211559786, 0.6931471805599455, 1.1829869421876689, 1.6783469900166612, 2.175730095547763,
    2.674060313723559, 3.1729055977607574, 3.672060748850897, 4.1714163461264775, 4.670908882795985,
    5.170499037195913, 5.67016118871207, 6.169877941281952, 6.66963707454977, 7.169429755478323,
    7.669249442500804, 8.169091188696234, 8.66895118437037, 9.168826448378237, 9.668714614714128,
    10.168613781773967, 10.668522403836317, 11.168439211592126, 11.668363153044767, 12.168293348942147,
    12.668229058738632, 13.168169654295717, 13.6681145993449, 14.168063433292225, 14.668015758330792,
    15.167971229099065, 15.667929544317243, 16.167890439974215, 16.66785368373961, 17.16781907035181,
    17.667786417788452, 18.16775556406918, 18.66772636457169, 19.16769868976799, 19.66767242330567,
    20.167647460374564, 20.6676237063105, 21.16760107539683, 21.667579489831947, 22.167558878836473,
    22.667539177878634, 23.167520327999938, 23.667502275226315, 24.16748497005238, 24.667468366988416,
)  # fmt: skip


@dataclass(frozen=True)
class Rejection:
    """Which values of a pixel are rejected.

    Attributes
    ----------
    by
        "mad": beyond so many standard deviations from the median, as the median absolute deviation gives them;
        "std": from the mean, as the values' own standard deviation gives them; "extrema": the lowest and the highest
        few of the valid values, never all of them; "range": outside of absolute levels; "none".
    low_sigma, high_sigma
        Of "mad" and "std".
    floor
        The least standard deviation of "mad", in the frames' unit.
    lowest, highest
        Of "extrema": how many values.
    low_level, high_level
        Of "range", in the frames' unit.
    """

    by: str = "mad"
    low_sigma: float = 5.0
    high_sigma: float = 5.0
    floor: float = 0.0
    lowest: int = 1
    highest: int = 1
    low_level: float = -np.inf
    high_level: float = np.inf


def gamma_median(frames: int) -> float:
    """The median of the gamma distribution of shape (frames - 1) / 2, by which sample variances are spread; two frames or more."""
    if frames - 2 < len(_GAMMA_MEDIANS):
        return _GAMMA_MEDIANS[frames - 2]
    from scipy.special import gammaincinv

    return float(gammaincinv((frames - 1) / 2, 0.5))


def median_of_valid(stack: np.ndarray) -> np.ndarray:
    """The median along the first axis of what is not NaN; NaN where nothing is.

    Many times faster than np.nanmedian for stacks of few frames: NaN sort to the end, so that the middle is known
    from the count.
    """
    ordered = np.sort(stack, axis=0)
    valid = np.count_nonzero(~np.isnan(ordered), axis=0)
    last = np.maximum(valid - 1, 0)
    low = np.take_along_axis(ordered, (last // 2)[None], axis=0)[0]
    high = np.take_along_axis(ordered, (np.maximum(valid, 1) // 2)[None], axis=0)[0]
    high = np.where(valid % 2 == 1, low, high)
    return np.asarray((low + high) * np.float32(0.5))


def reject_by_mad(stack: np.ndarray, how: Rejection) -> None:
    """Set what lies too far from the median to NaN, in place; of fewer than three frames nothing."""
    if stack.shape[0] < 3:  # of two values none is the outlier
        return
    departure = stack - median_of_valid(stack)
    deviation = median_of_valid(np.abs(departure)) * np.float32(MAD_TO_SIGMA)
    np.maximum(deviation, np.float32(how.floor), out=deviation)
    with np.errstate(invalid="ignore"):
        stack[(departure < -how.low_sigma * deviation) | (departure > how.high_sigma * deviation)] = np.nan


def reject_by_std(stack: np.ndarray, how: Rejection) -> None:
    """Set what lies too far from the mean to NaN, in place; of fewer than three frames nothing."""
    if stack.shape[0] < 3:
        return
    kept = ~np.isnan(stack)
    number = np.maximum(np.count_nonzero(kept, axis=0), 1)
    departure = stack - np.add.reduce(stack, axis=0, dtype=np.float64, where=kept) / number
    deviation = np.sqrt(np.add.reduce(np.square(departure), axis=0, where=kept) / number)
    with np.errstate(invalid="ignore"):
        stack[(departure < -how.low_sigma * deviation) | (departure > how.high_sigma * deviation)] = np.nan


def reject_extrema(stack: np.ndarray, how: Rejection) -> None:
    """Set the lowest and highest valid values to NaN, in place; a pixel of which nothing would be left keeps all."""
    rank = np.argsort(np.argsort(stack, axis=0, kind="stable"), axis=0, kind="stable")
    valid = np.count_nonzero(~np.isnan(stack), axis=0)
    extreme = (rank < how.lowest) | (rank >= valid - how.highest)
    stack[extreme & (valid > how.lowest + how.highest)] = np.nan


def reject_out_of_range(stack: np.ndarray, how: Rejection) -> None:
    """Set what lies outside of absolute levels to NaN, in place."""
    stack[(stack < how.low_level) | (stack > how.high_level)] = np.nan


REJECTIONS: Mapping[str, Any] = {
    "mad": reject_by_mad,
    "std": reject_by_std,
    "extrema": reject_extrema,
    "range": reject_out_of_range,
    "none": lambda stack, how: None,
}


def collapse(
    stack: np.ndarray, method: str, typical: float, weights: np.ndarray | None = None, own: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Value, its variance and the count of survivors of each pixel; shape (rows, nx) each.

    Parameters
    ----------
    stack
        What was rejected is NaN.
    method
        "mean", "median", "weighted" or "sum".
    typical
        The frames' typical variance.
    weights : shape (n,)
        Of "weighted".
    own : shape of the stack
        The variances of the values themselves; where they are given, they make that of the result.
    """
    kept = ~np.isnan(stack)
    count = np.count_nonzero(kept, axis=0)
    divisor = np.maximum(count, 1)
    mean = np.add.reduce(stack, axis=0, dtype=np.float64, where=kept) / divisor
    variance = _scatter(stack, kept, mean, count, typical) if own is None else _sum(own, kept) / divisor**2
    result = mean
    if method == "weighted":
        assert weights is not None
        every = np.broadcast_to(np.asarray(weights, np.float64)[:, None, None], stack.shape)
        total = _sum(every, kept)
        total[count == 0] = 1.0
        result = _sum(every * stack, kept) / total
        # A mean of equal weights scatters by variance = v / count; weights make it v times the sum of their squares.
        variance = (
            variance * divisor * _sum(every**2, kept) / total**2
            if own is None
            else _sum(every**2 * own, kept) / total**2
        )
    elif method == "median":
        result = median_of_valid(stack).astype(np.float64)
        if stack.shape[0] > 2:
            variance *= _MEDIAN_VARIANCE  # the median of normal values scatters more than their mean
    elif method == "sum":
        result, variance = mean * stack.shape[0], variance * stack.shape[0] ** 2
    empty = count == 0
    return np.where(empty, 0.0, result), np.where(empty, 0.0, variance), count


def _sum(values: np.ndarray, kept: np.ndarray) -> np.ndarray:
    return np.asarray(np.add.reduce(values, axis=0, dtype=np.float64, where=kept))


def _scatter(stack: np.ndarray, kept: np.ndarray, mean: np.ndarray, count: np.ndarray, typical: float) -> np.ndarray:
    """The variance of the mean, from the survivors' scatter and the frames' typical one."""
    divisor = np.maximum(count, 1)
    departure = stack - mean.astype(np.float32)
    own = _sum(np.square(departure, out=departure), kept)
    own /= np.maximum(count - 1, 1)
    pooled = (own * (divisor - 1) + typical * PRIOR_FRAMES) / (divisor - 1 + PRIOR_FRAMES)
    return np.asarray(np.maximum(own, pooled) / divisor)
