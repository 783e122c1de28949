"""Compiled loops: a frame calibrated in one pass, block by block, its numbers read from memory once and written once.

The same steps in the same order as `avcd.reduction.applying` takes them by NumPy, every one rounded to single precision: the
results are the same to the last bit. Arrays of no length stand for terms that are not given.
"""

from __future__ import annotations

import numpy as np

from avcd.compiling import compiled

# Pixels worked on at once: what is known of them stays in the first-level cache from one step to the next.
_BLOCK = 1024
_INFINITY = np.float32(np.inf)
_ZERO = np.float32(0)
_ONE = np.float32(1)


@compiled
def apply_pixels(
    raw: np.ndarray,
    numbers: np.ndarray,
    zero: np.ndarray,
    own_sigma: np.ndarray,
    bias: np.ndarray,
    bias_sigma: np.ndarray,
    dark: np.ndarray,
    dark_sigma: np.ndarray,
    shared_sigma: np.ndarray,
    response: np.ndarray,
    response_sigma: np.ndarray,
    masks: tuple[np.ndarray, ...],
    data: np.ndarray,
    sigma: np.ndarray,
    mask: np.ndarray,
    first: int,
    last: int,
    saturated: int,
    non_finite: int,
) -> None:
    """Calibrate pixels ``first`` to ``last`` of a frame.

    Parameters
    ----------
    raw : float32 or uint16, shape (pixels,)
    numbers : float32, shape (11,)
        largest, saturation (infinite: none), pedestal, variance of the read noise, gain (0: no photon noise), the level
        of zero light where ``zero`` is empty, scale of the dark, 1 - 2 scale, norm of the response (0: it is taken as it
        is), factor (0: none) and its square.
    zero, own_sigma, bias, bias_sigma, dark, dark_sigma, shared_sigma, response, response_sigma : float32, shape (pixels,)
        As `avcd.reduction.applying.Terms` has them.
    masks : uint16, shape (pixels,)
        Joined with the frame's.
    data, sigma : float32, shape (pixels,)
        Where the results go.
    mask : uint16, shape (pixels,)
        The frame's own; changed.
    saturated, non_finite
        The mask's bits.
    """
    largest, saturation, pedestal, read_variance, gain = numbers[0], numbers[1], numbers[2], numbers[3], numbers[4]
    level, scale, twice, norm, factor, squared = (
        numbers[5], numbers[6], numbers[7], numbers[8], numbers[9], numbers[10]
    )  # fmt: skip
    hit, broken = np.uint16(saturated), np.uint16(non_finite)
    d = np.empty(_BLOCK, np.float32)
    v = np.empty(_BLOCK, np.float32)
    m = np.empty(_BLOCK, np.uint16)
    none = np.uint16(0)
    for start in range(first, last, _BLOCK):
        n = min(_BLOCK, last - start)
        end = start + n
        own = raw[start:end]
        m[:n] = mask[start:end]
        for k in range(n):
            value = np.float32(own[k])
            size = abs(value)
            good = (size <= largest) & (size < _INFINITY)
            value = value if good else _ZERO
            bits = none if good else broken
            m[k] |= bits | (hit if value >= saturation else none)
            d[k] = value
        if pedestal != _ZERO:
            for k in range(n):
                d[k] += pedestal
        if gain == _ZERO:
            v[:n] = read_variance
        else:
            if zero.size:
                part = zero[start:end]
                for k in range(n):
                    v[k] = d[k] - part[k]
            else:
                for k in range(n):
                    v[k] = d[k] - level
            for k in range(n):
                value = v[k]
                v[k] = (_ZERO if value < _ZERO else value) / gain + read_variance
        if own_sigma.size:
            part = own_sigma[start:end]
            for k in range(n):
                v[k] += part[k] * part[k]
        if bias.size:
            part = bias[start:end]
            for k in range(n):
                d[k] -= part[k]
        if bias_sigma.size:
            part = bias_sigma[start:end]
            for k in range(n):
                v[k] += part[k] * part[k]
        if dark.size:
            part = dark[start:end]
            for k in range(n):
                d[k] -= part[k] * scale
        if dark_sigma.size:
            part = dark_sigma[start:end]
            if shared_sigma.size:
                shared = shared_sigma[start:end]
                for k in range(n):
                    one = part[k] * scale
                    both = one * one + twice * (shared[k] * shared[k])
                    v[k] += _ZERO if both < _ZERO else both
            else:
                for k in range(n):
                    one = part[k] * scale
                    v[k] += one * one
        if response.size:
            flat = response[start:end]
            if response_sigma.size:
                part = response_sigma[start:end]
                if norm != _ZERO:
                    for k in range(n):
                        lit = (flat[k] > _ZERO) & (flat[k] < _INFINITY)
                        by = flat[k] / norm if lit else _ONE
                        d[k] /= by
                        error = d[k] * (part[k] / norm)
                        v[k] = (v[k] + error * error) / (by * by)
                else:
                    for k in range(n):
                        d[k] /= flat[k]
                        error = d[k] * part[k]
                        v[k] = (v[k] + error * error) / (flat[k] * flat[k])
            elif norm != _ZERO:
                for k in range(n):
                    lit = (flat[k] > _ZERO) & (flat[k] < _INFINITY)
                    by = flat[k] / norm if lit else _ONE
                    d[k] /= by
                    v[k] /= by * by
            else:
                for k in range(n):
                    d[k] /= flat[k]
                    v[k] /= flat[k] * flat[k]
        if factor != _ZERO:
            for k in range(n):
                d[k] *= factor
                v[k] *= squared
        for plane in masks:
            if plane.size:
                bits_of = plane[start:end]
                for k in range(n):
                    m[k] |= bits_of[k]
        values, errors, joined = data[start:end], sigma[start:end], mask[start:end]
        for k in range(n):
            error = np.sqrt(v[k])
            good = (abs(d[k]) < _INFINITY) & (error < _INFINITY)
            values[k] = d[k] if good else _ZERO
            errors[k] = error if good else _ZERO
            joined[k] = m[k] | (none if good else broken)


def load() -> None:
    """Have the loop's machine code loaded, or made, before there is anything for it to do."""
    none, bits = np.zeros(0, np.float32), np.zeros(0, np.uint16)
    apply_pixels(none, np.zeros(11, np.float32), *[none] * 9, (bits,) * 4, none, none, bits, 0, 0, 0, 0)
