"""Adding layers up strip by strip: memory is that of a few strips, whatever the size of the grid and the number of layers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from avcd.compiling import threads
from avcd.compose.layers import Layer
from avcd.compose.resampling import SECOND_CHOICE, Resampled, Way
from avcd.frame import MaskBit

_CHUNK = 1024  # columns resampled at once: the window of a turned image stays small
_BYTES_PER_PIXEL = 56  # of a strip: sums, results, and the block that is added
_MOST_ROWS = 128
_Part = TypeVar("_Part")


@dataclass(frozen=True)
class Strip:
    """Rows of a result from ``start`` on.

    ``data``, ``uncertainty``, ``weight`` float32, ``mask``, ``coverage`` uint16, shape (rows, nx): ``weight`` is the sum of the
    layers' weights, ``coverage`` how many of them count.
    """

    start: int
    data: np.ndarray
    mask: np.ndarray
    uncertainty: np.ndarray
    weight: np.ndarray
    coverage: np.ndarray


def coadd(
    layers: Sequence[Layer],
    shape: tuple[int, int],
    way: Way,
    memory_bytes: int,
    finish: Callable[[Strip], _Part],
) -> Iterator[_Part]:
    """The weighted mean of layers, each less its background.

    Where some layers have saturated pixels or what was put in the place of cosmic rays, and others better, the better
    count alone.

    Parameters
    ----------
    layers
        In an order that does not depend on chance: it is that of the sums.
    shape
        Of the grid, (ny, nx).
    finish
        What is done to every strip, in the threads that make them; a strip is NaN and NO_DATA where there is nothing.

    Yields
    ------
    object
        What ``finish`` makes of the strips, from the first row to the last, each row once.
    """
    rows = int(np.clip(memory_bytes // (2 * (threads() + 2) * shape[1] * _BYTES_PER_PIXEL), 8, _MOST_ROWS))
    starts = range(0, shape[0], rows)
    yield from in_order(lambda start: finish(_strip(layers, start, min(start + rows, shape[0]), shape[1], way)), starts)


def in_order(work: Callable[[int], _Part], parts: Sequence[int]) -> Iterator[_Part]:
    """What work comes to for each part, in their order, done in threads a few parts ahead."""
    workers = threads()
    if workers < 2 or len(parts) < 2:
        yield from map(work, parts)
        return
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[_Part]] = deque()
        for one in parts:
            waiting.append(pool.submit(work, one))
            if len(waiting) > workers + 1:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _strip(layers: Sequence[Layer], start: int, stop: int, width: int, way: Way) -> Strip:
    shape = stop - start, width
    sums = _Sums(
        np.zeros(shape), np.zeros(shape, np.float32), np.zeros(shape, np.float32), np.zeros(shape, np.uint16),
        np.zeros(shape, np.uint16), np.zeros(shape, np.uint8),
    )  # fmt: skip
    for layer in layers:
        box = layer.overlap((start, stop), (0, width))
        if box is None:
            continue
        for left in range(box[2], box[3], _CHUNK):
            right = min(left + _CHUNK, box[3])
            found = layer.block((box[0], box[1]), (left, right), way)
            part = sums.part(np.s_[box[0] - start : box[1] - start, left:right])
            if way.compiled is not None:
                _add_compiled(layer, found, box[0], left, part, way)
            else:
                _add_plainly(layer, found, box[0], left, part)
    return _finished(sums, start, way)


@dataclass(frozen=True)
class _Sums:
    total: np.ndarray
    weight: np.ndarray
    squares: np.ndarray
    mask: np.ndarray
    coverage: np.ndarray
    rank: np.ndarray

    def part(self, where: tuple[slice, slice]) -> _Sums:
        return _Sums(*(getattr(self, name)[where] for name in self.__dataclass_fields__))


_NOTHING = np.zeros((1, 1), np.float32)


def _add_compiled(layer: Layer, found: Resampled, row: int, column: int, sums: _Sums, way: Way) -> None:
    assert way.compiled is not None
    has_variance = found.variance is not None
    way.compiled.add_layer(
        found.data, found.mask, found.variance if has_variance else _NOTHING, found.weight, has_variance,
        layer.noise**2 * layer.pixels.scale**4, layer.scale, layer.sky, float(row), float(column), layer.weight, int(SECOND_CHOICE),
        int(MaskBit.NO_DATA), sums.total, sums.weight, sums.squares, sums.mask, sums.coverage, sums.rank,
    )  # fmt: skip


def _add_plainly(layer: Layer, found: Resampled, row: int, column: int, sums: _Sums) -> None:
    """What `avcd.compose.kernels.add_layer` does, to the bit."""
    factor = np.float32(layer.scale)
    share = found.weight * np.float32(layer.weight)
    seen = share > 0
    empty = ~seen & (sums.rank == 0)
    sums.mask[empty] |= (found.mask & ~np.uint16(MaskBit.NO_DATA))[empty]
    quality = np.where(found.mask & SECOND_CHOICE, 1, 2).astype(np.uint8)
    better = seen & (quality > sums.rank)
    for plane in (sums.total, sums.weight, sums.squares, sums.mask, sums.coverage):
        plane[better] = 0
    sums.rank[better] = quality[better]
    counts = seen & (quality == sums.rank)
    sky = layer.sky_at(row + np.arange(share.shape[0]), column + np.arange(share.shape[1]))
    value = (found.data * factor - sky).astype(np.float32)
    own = found.variance if found.variance is not None else np.float32(layer.noise**2 * layer.pixels.scale**4)
    sums.total[counts] += (share * value).astype(np.float64)[counts]
    sums.weight[counts] += share[counts]
    sums.squares[counts] += (share * share * (own * factor * factor))[counts]
    sums.mask[counts] |= found.mask[counts]
    sums.coverage[counts] += np.uint16(1)


def _finished(sums: _Sums, start: int, way: Way) -> Strip:
    data, uncertainty = np.empty(sums.total.shape, np.float32), np.empty(sums.total.shape, np.float32)
    if way.compiled is not None:
        way.compiled.finish_sums(
            sums.total, sums.weight, sums.squares, sums.mask, int(MaskBit.NO_DATA), data, uncertainty
        )
    else:
        seen = sums.weight > 0
        safe = np.where(seen, sums.weight, np.float32(1))
        data[...] = np.where(seen, sums.total / safe.astype(np.float64), np.nan)
        uncertainty[...] = np.where(seen, np.sqrt(sums.squares) / safe, np.float32(np.nan))
        sums.mask[~seen] |= np.uint16(MaskBit.NO_DATA)
    return Strip(start, data, sums.mask, uncertainty, sums.weight, sums.coverage)
