"""Compiled loops: the words of FITS files turned round and summed up in one pass.

Numbers are read as the machine has them and written as the file does, the most significant byte first.
"""

from __future__ import annotations

import numpy as np

from avcd.compiling import compiled


@compiled
def turn_values(values: np.ndarray, out: np.ndarray) -> np.uint64:
    """Words of 32 bits turned round; returns their sum before that.

    Parameters
    ----------
    values, out : uint32, of one length
    """
    total = np.uint64(0)
    for k in range(values.size):
        one = values[k]
        total += np.uint64(one)
        out[k] = (one >> np.uint32(24)) | ((one >> np.uint32(8)) & np.uint32(0xFF00)) | (
            (one << np.uint32(8)) & np.uint32(0xFF0000)
        ) | (one << np.uint32(24))  # fmt: skip
    return total


@compiled
def turn_counts(values: np.ndarray, flip: int, out: np.ndarray) -> tuple[np.uint64, np.uint64]:
    """Numbers of 16 bits turned round, after some of their bits were flipped; the sums of every other one, first and second.

    Parameters
    ----------
    values, out : uint16, of one length
    flip
        0x8000 where unsigned numbers are stored as signed ones.
    """
    bits = np.uint16(flip)
    first = np.uint64(0)
    second = np.uint64(0)
    pairs = values.size // 2
    for k in range(pairs):
        first += np.uint64(values[2 * k] ^ bits)
        second += np.uint64(values[2 * k + 1] ^ bits)
    if values.size % 2:
        first += np.uint64(values[values.size - 1] ^ bits)
    for k in range(values.size):
        one = np.uint16(values[k] ^ bits)
        out[k] = np.uint16((one >> np.uint16(8)) | (one << np.uint16(8)))
    return first, second


@compiled
def sum_turned(words: np.ndarray) -> np.uint64:
    """The sum of words of 32 bits that stand the wrong way round; uint32."""
    total = np.uint64(0)
    for k in range(words.size):
        one = words[k]
        turned = (one >> np.uint32(24)) | ((one >> np.uint32(8)) & np.uint32(0xFF00)) | (
            (one << np.uint32(8)) & np.uint32(0xFF0000)
        ) | (one << np.uint32(24))  # fmt: skip
        total += np.uint64(np.uint32(turned))  # shifted numbers have become wider
    return total
