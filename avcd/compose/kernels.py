"""Compiled loops of resampling and of adding up: the same figures as the plain ones of `avcd.compose.resampling`, many times faster.

Every pixel is worked on alone and frames are added in their order, so that neither blocks nor threads change a bit.
"""

from __future__ import annotations

import numpy as np

from avcd.compiling import compiled

_ZERO = np.float32(0)
_ONE = np.float32(1)
_NO_BITS = np.uint16(0)
_NEXT = np.uintp(1)


@compiled
def interpolate(
    data: np.ndarray,
    mask: np.ndarray,
    variance: np.ndarray,
    has_mask: bool,
    has_variance: bool,
    top: int,
    left: int,
    net_x: np.ndarray,
    net_y: np.ndarray,
    net_area: np.ndarray,
    net_row: float,
    net_column: float,
    net_step: float,
    first_row: float,
    row_step: float,
    first_column: float,
    column_step: float,
    table: np.ndarray,
    edges: np.ndarray,
    feather: float,
    unusable: int,
    no_data: int,
    least_share: float,
    least_cover: float,
    values: np.ndarray,
    bits: np.ndarray,
    spread: np.ndarray,
    weight: np.ndarray,
) -> None:
    """Resample a block.

    Parameters
    ----------
    data, mask, variance : float32, uint16, float32, shape (ny, nx)
        A window of the frame whose first pixel is (``top``, ``left``); those it has not are empty.
    net_x, net_y, net_area, net_row, net_column, net_step
        Of `avcd.compose.mapping.Net`.
    first_row, row_step, first_column, column_step
        Which positions of the reference the block's pixels are.
    table : float32, shape (steps + 1, taps)
        The weights of the pixels along an axis by the fraction of a pixel; of one tap: the nearest pixel.
    edges : float64, (4,)
        The frame's first and last row and column with data, between which ``feather`` pixels inwards weights rise to one.
    unusable, no_data, least_share, least_cover
        Of `avcd.compose.resampling`.
    values, bits, spread, weight : float32, uint16, float32, float32
        Where the block goes; ``spread`` is the variance, or empty.
    """
    rows, columns = values.shape
    height, width = data.shape
    nodes_down, nodes_along = net_x.shape
    taps = table.shape[1]
    steps = np.float64(table.shape[0] - 1)
    before = (taps - 1) // 2
    per_step = 1.0 / net_step  # exact: steps are powers of two
    line_x = np.empty(nodes_along, np.float64)
    line_y = np.empty(nodes_along, np.float64)
    line_area = np.empty(nodes_along, np.float64)
    for r in range(rows):
        place = ((first_row + r * row_step) - net_row) * per_step
        node = min(max(int(np.floor(place)), 0), nodes_down - 2)
        part = place - node
        on_net = (place * net_step >= -1.0) & ((place - (nodes_down - 1)) * net_step <= 1.0)
        for k in range(nodes_along):
            line_x[k] = net_x[node, k] + (net_x[node + 1, k] - net_x[node, k]) * part
            line_y[k] = net_y[node, k] + (net_y[node + 1, k] - net_y[node, k]) * part
            line_area[k] = net_area[node, k] + (net_area[node + 1, k] - net_area[node, k]) * part
        for c in range(columns):
            along = ((first_column + c * column_step) - net_column) * per_step
            k = min(max(int(np.floor(along)), 0), nodes_along - 2)
            share = along - k
            x = line_x[k] + (line_x[k + 1] - line_x[k]) * share
            y = line_y[k] + (line_y[k + 1] - line_y[k]) * share
            area = np.float32(line_area[k] + (line_area[k + 1] - line_area[k]) * share)
            values[r, c] = _ZERO
            weight[r, c] = _ZERO
            bits[r, c] = no_data
            if has_variance:
                spread[r, c] = _ZERO
            x_in = x - left
            y_in = y - top
            if not (on_net & (along * net_step >= -1.0) & ((along - (nodes_along - 1)) * net_step <= 1.0)):
                continue
            if not ((x_in > -1.0) & (y_in > -1.0) & (x_in < width) & (y_in < height)):
                continue
            if taps == 1:
                x_in = np.floor(x_in + 0.5)
                y_in = np.floor(y_in + 0.5)
            i = int(np.floor(x_in))
            j = int(np.floor(y_in))
            right = np.float32(x_in - i)
            up = np.float32(y_in - j)
            value = _ZERO
            complete = False
            if (i >= before) & (j >= before) & (i + taps - before <= width) & (j + taps - before <= height):
                if taps == 2:
                    # Indices without a sign are not looked at for counting from the end.
                    first, side = np.uintp(j), np.uintp(i)
                    second, beside = first + _NEXT, side + _NEXT
                    found = _NO_BITS
                    if has_mask:
                        found = mask[first, side] | mask[first, beside] | mask[second, side] | mask[second, beside]
                    if found == 0:
                        value = (
                            data[first, side] * ((_ONE - right) * (_ONE - up))
                            + data[first, beside] * (right * (_ONE - up))
                            + data[second, side] * ((_ONE - right) * up)
                            + data[second, beside] * (right * up)
                        )
                        complete = True
                elif taps == 1:
                    if not has_mask or mask[j, i] == 0:
                        value = data[j, i]
                        complete = True
                else:
                    bad = _NO_BITS
                    first, side = np.uintp(j - before), np.uintp(i - before)
                    if has_mask:
                        for m in range(taps):
                            for n in range(taps):
                                bad |= mask[first + np.uintp(m), side + np.uintp(n)]
                    if bad & unusable == 0:
                        across = table[int(np.float64(right) * steps + 0.5)]
                        down = table[int(np.float64(up) * steps + 0.5)]
                        for m in range(taps):
                            line = _ZERO
                            for n in range(taps):
                                line += across[n] * data[first + np.uintp(m), side + np.uintp(n)]
                            value += down[m] * line
                        complete = bad == 0
                        if not complete:
                            # The light is whole; the bits are those of the pixels that share in most of it.
                            complete = bool(abs(value) < np.inf)
                            near = _NO_BITS
                            for m in range(2):
                                for n in range(2):
                                    portion = (right if n else _ONE - right) * (up if m else _ONE - up)
                                    if portion > least_share:
                                        near |= mask[j + m, i + n]
                            bits[r, c] = near
                        else:
                            bits[r, c] = 0
            if complete and abs(value) < np.inf:
                total = _ONE
                if taps < 3:
                    bits[r, c] = 0
                if has_variance:
                    if taps == 1:
                        spread[r, c] = variance[j, i] * area * area
                    else:
                        first, side = np.uintp(j), np.uintp(i)
                        spread[r, c] = (
                            (
                                variance[first, side] * ((_ONE - right) * (_ONE - up))
                                + variance[first, side + _NEXT] * (right * (_ONE - up))
                                + variance[first + _NEXT, side] * ((_ONE - right) * up)
                                + variance[first + _NEXT, side + _NEXT] * (right * up)
                            )
                            * area
                            * area
                        )
                values[r, c] = value * area
            else:
                value = _ZERO
                total = _ZERO
                own = _ZERO
                found = _NO_BITS
                for m in range(1 if taps == 1 else 2):
                    for n in range(1 if taps == 1 else 2):
                        p = j + m
                        q = i + n
                        if (p < 0) | (q < 0) | (p >= height) | (q >= width):
                            continue
                        portion = (right if n else _ONE - right) * (up if m else _ONE - up)
                        here = mask[p, q] if has_mask else _NO_BITS
                        if portion > least_share:
                            found |= here
                        one = data[p, q]
                        if (here & unusable != 0) | (not (abs(one) < np.inf)):
                            continue
                        total += portion
                        value += portion * one
                        if has_variance:
                            own += portion * variance[p, q]
                if total < least_cover:
                    bits[r, c] = found | no_data
                    continue
                bits[r, c] = found & ~unusable
                values[r, c] = value * (area / total)
                if has_variance:
                    spread[r, c] = (own / total) * area * area
                total = min(total, _ONE)
            if feather > 0:
                inside = min(min(y - edges[0], edges[1] - y), min(x - edges[2], edges[3] - x)) + 1.0
                rise = min(inside / feather, 1.0)
                total = np.float32(total * max(rise, 1e-3))
            weight[r, c] = total


@compiled
def add_layer(
    values: np.ndarray,
    bits: np.ndarray,
    spread: np.ndarray,
    cover: np.ndarray,
    has_spread: bool,
    noise_variance: float,
    scale: float,
    plane: np.ndarray,
    first_row: float,
    first_column: float,
    tile_weight: float,
    second_choice: int,
    no_data: int,
    total: np.ndarray,
    weight: np.ndarray,
    squares: np.ndarray,
    mask: np.ndarray,
    coverage: np.ndarray,
    rank: np.ndarray,
) -> None:
    """Add a resampled block to sums: what is second choice counts only where there is nothing better.

    Parameters
    ----------
    values, bits, spread, cover
        Of the block, as `interpolate` leaves them.
    noise_variance
        In place of ``spread`` where there is none; of the values as they stand, as ``spread`` is.
    scale, plane
        What values are multiplied with, then the background that is subtracted: constant, slopes along x and y, and of second
        order x², xy, y², in the sums' own pixels.
    first_row, first_column
        Where the block begins in the sums' pixels.
    tile_weight
        Of the frame.
    total, weight, squares : float64, float32, float32
        Sums of weight times value, of weight, and of squared weight times variance.
    mask, coverage, rank : uint16, uint16, uint8
        ``rank`` is 0 where there is nothing, 1 where second choice, 2 where better.
    """
    rows, columns = values.shape
    factor = np.float32(scale)
    for r in range(rows):
        y = first_row + r
        for c in range(columns):
            share = cover[r, c] * np.float32(tile_weight)
            here = bits[r, c]
            if not share > 0:
                if rank[r, c] == 0:
                    mask[r, c] |= here & ~no_data
                continue
            quality = 1 if here & second_choice else 2
            if quality < rank[r, c]:
                continue
            if quality > rank[r, c]:
                total[r, c] = 0.0
                weight[r, c] = _ZERO
                squares[r, c] = _ZERO
                mask[r, c] = 0
                coverage[r, c] = 0
                rank[r, c] = quality
            x = first_column + c
            sky = plane[0] + plane[1] * x + plane[2] * y + (plane[3] * x + plane[4] * y) * x + plane[5] * y * y
            value = np.float32(values[r, c] * factor - sky)
            own = (spread[r, c] if has_spread else np.float32(noise_variance)) * factor * factor
            total[r, c] += np.float64(share * value)
            weight[r, c] += share
            squares[r, c] += share * share * own
            mask[r, c] |= here
            coverage[r, c] += 1


@compiled
def finish_sums(
    total: np.ndarray,
    weight: np.ndarray,
    squares: np.ndarray,
    mask: np.ndarray,
    no_data: int,
    data: np.ndarray,
    uncertainty: np.ndarray,
) -> None:
    """The mean and its standard deviation from sums; NaN, with the bit, where there is nothing."""
    rows, columns = total.shape
    for r in range(rows):
        for c in range(columns):
            one = weight[r, c]
            if one > 0:
                data[r, c] = np.float32(total[r, c] / np.float64(one))
                uncertainty[r, c] = np.sqrt(squares[r, c]) / one
            else:
                data[r, c] = np.nan
                uncertainty[r, c] = np.nan
                mask[r, c] |= no_data
