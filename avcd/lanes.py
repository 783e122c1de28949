"""Columns of values side by side, sorted in vectors: what the compiled loops of masters and of stacks have in common.

Blocks of pixels lie side by side, frame under frame: each exchange of a sorting network (`avcd.sorting`) is then one vector
instruction for many pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from avcd.compiling import compiled

# Pixels worked on at once; with the frames of a usual stack they stay in the first-level cache.
BLOCK = 128
_LANES = 16
_HALF = np.float32(0.5)


def _exchange_rows(_context: Any, work: Any, first: Any, second: Any) -> tuple[Any, Callable[..., Any]]:
    """Put the smaller values of two rows of a block into the first, the larger into the second.

    Spelt out in vectors: the compiler does not see by itself that two rows of one array do not overlap.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = ir.VectorType(ir.FloatType(), _LANES)
        start = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        rows = [builder.gep(start, [builder.mul(one, ir.Constant(one.type, BLOCK))]) for one in arguments[1:]]
        for k in range(0, BLOCK, _LANES):
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
def sort_columns(work: np.ndarray, pairs: np.ndarray) -> None:
    """Every column of a block in ascending order, as far as the network's exchanges go; ``work`` float32, shape (n, `BLOCK`)."""
    for p in range(pairs.shape[0]):
        _exchange(work, pairs[p, 0], pairs[p, 1])


@compiled
def middle_of_columns(work: np.ndarray, valid: np.ndarray, found: np.ndarray) -> None:
    """The median of sorted columns, of which the first ``valid`` values count; NaN of none."""
    for k in range(BLOCK):
        number = valid[k]
        if number == 0:
            found[k] = np.float32(np.nan)
        else:
            low = work[(number - 1) // 2, k]
            high = work[number // 2, k] if number % 2 == 0 else low
            found[k] = (low + high) * _HALF
