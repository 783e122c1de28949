"""Sorting networks: comparisons and exchanges, always the same ones, that sort whatever is given to them."""

from __future__ import annotations

from collections.abc import Set
from functools import cache

import numpy as np


@cache
def sorting_network(number: int) -> np.ndarray:
    """The exchanges that sort ``number`` values in ascending order, by odd-even merging.

    Returns
    -------
    ndarray of intp, shape (exchanges, 2)
        Of each pair of places the first takes the smaller value. Read-only.

    References
    ----------
    Batcher 1968, AFIPS Spring Joint Computer Conference 32, 307.
    """
    found = []
    sorted_run = 1
    while sorted_run < number:
        distance = sorted_run
        while distance:
            for start in range(distance % sorted_run, number - distance, 2 * distance):
                for first in range(start, min(start + distance, number - distance)):
                    if first // (2 * sorted_run) == (first + distance) // (2 * sorted_run):
                        found.append((first, first + distance))
            distance //= 2
        sorted_run *= 2
    return _pairs(found)


@cache
def middle_network(number: int) -> np.ndarray:
    """Those exchanges of `sorting_network` on which the one or two middle values depend."""
    return needed_exchanges(sorting_network(number), {(number - 1) // 2, number // 2})


def needed_exchanges(network: np.ndarray, places: Set[int]) -> np.ndarray:
    """Those exchanges of a network on which the values of some places depend.

    Parameters
    ----------
    network : shape (exchanges, 2)
    places
        The numbers of the values that are wanted.
    """
    needed = set(places)
    found = []
    for first, second in reversed(network.tolist()):
        if first in needed or second in needed:
            found.append((first, second))
            needed |= {first, second}
    return _pairs(found[::-1])


def _pairs(found: list[tuple[int, int]]) -> np.ndarray:
    pairs = np.array(found, dtype=np.intp).reshape(len(found), 2)
    pairs.flags.writeable = False
    return pairs
