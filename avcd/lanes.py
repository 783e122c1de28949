"""Columns of values side by side, sorted in vectors: what the compiled loops of masters and of stacks have in common.

Blocks of pixels lie side by side, frame under frame: each exchange of a sorting network (`avcd.sorting`) is then one vector
instruction for many pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from avcd.compiling import compiled

# Pixels worked on at once; with the frames of a usual stack they stay in the first-level cache.
BLOCK = 128
_LANES = 16
_HALF = np.float32(0.5)
_FLOATS, _DOUBLES, _COUNTS = (ir.VectorType(one, _LANES) for one in (ir.FloatType(), ir.DoubleType(), ir.IntType(32)))
_NAN, _INFINITY, _BELOW_ALL, _ZERO = (
    ir.Constant(_FLOATS, [one] * _LANES) for one in (float("nan"), float("inf"), float("-inf"), 0.0)
)

_Generated = tuple[Any, Callable[..., Any]]

# The loops that follow are spelt out in vectors: the compiler does not see by itself that rows of one array, and arrays beside
# them, do not overlap.


def _array(context: Any, builder: Any, signature: Any, arguments: Any, number: int) -> Any:
    """One of a function's arguments, an array."""
    return context.make_array(signature.args[number])(context, builder, arguments[number])


def _row(builder: Any, start: Any, number: Any) -> Any:
    """Where a row of a block begins."""
    return builder.gep(start, [builder.mul(number, ir.Constant(number.type, BLOCK))])


def _at(builder: Any, start: Any, k: int, kind: Any) -> Any:
    """The address of the vector that is ``k`` values on."""
    return builder.bitcast(builder.gep(start, [ir.Constant(ir.IntType(64), k)]), kind.as_pointer())


def _exchange_rows(_context: Any, work: Any, first: Any, second: Any) -> _Generated:
    """Put the smaller values of two rows of a block into the first, the larger into the second."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        start = _array(context, builder, signature, arguments, 0).data
        rows = [_row(builder, start, one) for one in arguments[1:]]
        for k in range(0, BLOCK, _LANES):
            at = [_at(builder, one, k, _FLOATS) for one in rows]
            x, y = (builder.load(one, align=4) for one in at)
            less = builder.fcmp_ordered("<", x, y)
            builder.store(builder.select(less, x, y), at[0], align=4)
            builder.store(builder.select(less, y, x), at[1], align=4)
        return context.get_dummy_value()

    return types.void(work, types.intp, types.intp), generate


def _take_row(_context: Any, stack: Any, number: Any, start: Any, raw: Any, work: Any, valid: Any) -> _Generated:
    """A block of one frame into its row of two blocks, with NaN and with infinity for what is not finite; what is, is counted."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values, *into, counts = (_array(context, builder, signature, arguments, one) for one in (0, 3, 4, 5))
        pixels = cgutils.unpack_tuple(builder, values.shape)[1]
        source = builder.gep(values.data, [builder.add(builder.mul(arguments[1], pixels), arguments[2])])
        rows = [_row(builder, one.data, arguments[1]) for one in into]
        for k in range(0, BLOCK, _LANES):
            value = builder.load(_at(builder, source, k, _FLOATS), align=4)
            finite = builder.and_(
                builder.fcmp_ordered("<", value, _INFINITY), builder.fcmp_ordered(">", value, _BELOW_ALL)
            )
            for row, other in zip(rows, (_NAN, _INFINITY), strict=True):
                builder.store(builder.select(finite, value, other), _at(builder, row, k, _FLOATS), align=4)
            count = _at(builder, counts.data, k, _COUNTS)
            builder.store(builder.add(builder.load(count, align=4), builder.zext(finite, _COUNTS)), count, align=4)
        return context.get_dummy_value()

    return types.void(stack, types.intp, types.intp, raw, work, valid), generate


def _keep_row(
    _context: Any, raw: Any, number: Any, middle: Any, lower: Any, upper: Any, total: Any, kept: Any
) -> _Generated:
    """Set to NaN what of a frame's row lies too far from the middle; what does not is added up, and counted."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values, *known, sums, counts = (
            _array(context, builder, signature, arguments, one).data for one in (0, 2, 3, 4, 5, 6)
        )
        row = _row(builder, values, arguments[1])
        for k in range(0, BLOCK, _LANES):
            place = _at(builder, row, k, _FLOATS)
            value = builder.load(place, align=4)
            centre, low, high = (builder.load(_at(builder, one, k, _FLOATS), align=4) for one in known)
            departure = builder.fsub(value, centre)
            good = builder.and_(builder.fcmp_ordered(">=", departure, low), builder.fcmp_ordered("<=", departure, high))
            builder.store(builder.select(good, value, _NAN), place, align=4)
            sum_ = _at(builder, sums, k, _DOUBLES)
            term = builder.fpext(builder.select(good, value, _ZERO), _DOUBLES)
            builder.store(builder.fadd(builder.load(sum_, align=8), term), sum_, align=8)
            count = _at(builder, counts, k, _COUNTS)
            builder.store(builder.add(builder.load(count, align=4), builder.zext(good, _COUNTS)), count, align=4)
        return context.get_dummy_value()

    return types.void(raw, types.intp, middle, lower, upper, total, kept), generate


_exchange: Any = intrinsic(_exchange_rows)
_take: Any = intrinsic(_take_row)
_keep: Any = intrinsic(_keep_row)


@compiled
def take_block(stack: np.ndarray, start: int, raw: np.ndarray, work: np.ndarray, valid: np.ndarray) -> None:
    """A whole block of every frame, from pixel ``start`` on.

    Parameters
    ----------
    stack : float32, shape (n, pixels)
    raw, work : float32, shape (n, `BLOCK`)
        Where the values go; what is not finite becomes NaN in the one, infinity in the other.
    valid : int32, shape (`BLOCK`,)
        How many are finite.
    """
    valid[:] = 0
    for i in range(stack.shape[0]):
        _take(stack, i, start, raw, work, valid)


@compiled
def keep_near(
    raw: np.ndarray, middle: np.ndarray, lower: np.ndarray, upper: np.ndarray, total: np.ndarray, kept: np.ndarray
) -> None:
    """Set to NaN what lies too far from a block's middle values, and sum up the rest in the order of the frames.

    Parameters
    ----------
    raw : float32, shape (n, `BLOCK`)
        NaN takes no part.
    middle, lower, upper : float32, shape (`BLOCK`,)
        Departures from the middle below ``lower`` or above ``upper`` are too far.
    total : float64, kept : int32, shape (`BLOCK`,)
        The sums, and how many values are in them.
    """
    total[:] = 0.0
    kept[:] = 0
    for i in range(raw.shape[0]):
        _keep(raw, i, middle, lower, upper, total, kept)


@compiled
def sort_columns(work: np.ndarray, pairs: np.ndarray) -> None:
    """Every column of a block in ascending order, as far as the network's exchanges go; ``work`` float32, shape (n, `BLOCK`)."""
    for p in range(pairs.shape[0]):
        _exchange(work, pairs[p, 0], pairs[p, 1])


@compiled
def middle_of_columns(work: np.ndarray, valid: np.ndarray, complete: bool, found: np.ndarray) -> None:
    """The median of sorted columns, of which the first ``valid`` values count; NaN of none. ``complete``: all of them count."""
    if complete:
        lows, highs = work[(work.shape[0] - 1) // 2], work[work.shape[0] // 2]
        for k in range(BLOCK):
            found[k] = (lows[k] + highs[k]) * _HALF
        return
    for k in range(BLOCK):
        number = valid[k]
        if number == 0:
            found[k] = np.float32(np.nan)
        else:
            low = work[(number - 1) // 2, k]
            high = work[number // 2, k] if number % 2 == 0 else low
            found[k] = (low + high) * _HALF
