"""Bringing overlapping images to one background: a plane for each, such that wherever two of them meet they agree."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.linalg import spsolve

from avcd.compiling import threads
from avcd.compose.layers import MAD_TO_SIGMA, TERMS, Layer
from avcd.compose.resampling import SECOND_CHOICE, Way
from avcd.errors import ProcessingError

ORDERS = {"none": 0, "level": 1, "plane": 3, "curved": 6}  # and how many terms they have
_SAMPLES = 150_000  # of an overlap; a level is known then to a few thousandths of the noise
_BLOCK_PX = 1024  # of the grid, read at once
_CELL = 16  # samples on each side
_FULL_CELL = 0.25
_CLIP = 2.5
_REJECT = 3.5
_ROUNDS = 8
_SMALLEST = 1e-9  # the pull towards no correction, beside that of the overlaps
# … and how much more it holds slopes than levels: skies differ in level, and a slope over all would be made up from that.
_STIFFER = 1e3


@dataclass(frozen=True)
class Overlap:
    """How much brighter one layer is than another, in cells of where both have data.

    ``x``, ``y`` the cells' middles on the grid, ``difference`` first less second, ``weight`` the inverse variance; shape (n,).
    """

    first: int
    second: int
    x: np.ndarray
    y: np.ndarray
    difference: np.ndarray
    weight: np.ndarray


@dataclass(frozen=True)
class Matched:
    """Layers with their backgrounds, and how well they agree.

    ``residual`` is the root mean square of what is left between cells, ``before`` the same of the layers as they came, both in the values'
    unit; ``overlaps`` how many pairs were compared, ``groups`` into how many parts that do not touch the layers fall.
    """

    layers: tuple[Layer, ...]
    residual: float
    before: float
    overlaps: int
    groups: int


def match_backgrounds(layers: Sequence[Layer], order: str, way: Way) -> Matched:
    """Find the background of every layer by which all overlaps agree.

    In each overlap the difference of two layers is measured in cells, stars and whatever else differs clipped away. One system of
    least squares then gives all layers' coefficients together; cells that do not fit are left out, and it is
    solved again until none changes. Among the solutions that fit alike (any plane may be added to all) it is the one that
    tilts the layers least, and then changes their levels least.

    Parameters
    ----------
    layers
        With their noise known, or zero; those that are ``sky`` already are corrected further.
    order
        "none", "level" (a constant), "plane" (A + Bx + Cy) or "curved" (x², xy, y² too, for gradients that no plane follows).

    Raises
    ------
    ProcessingError
        ``order`` is none of those.

    Notes
    -----
    The idea is that of Montage's background model (Berriman et al. 2004, ASP Conf. 314, 593), which changes one image at a
    time, some thousand times over.
    """
    if order not in ORDERS:
        raise ProcessingError(f"the backgrounds' match is {order!r}, none of {', '.join(ORDERS)}")
    overlaps = measure_overlaps(layers, way)
    before = _rms([one.difference for one in overlaps])
    terms = ORDERS[order]
    if not overlaps or not terms:
        return Matched(tuple(layers), before, before, len(overlaps), _groups(len(layers), overlaps))
    frame = _Frame.of(layers)
    kept = [np.ones(one.difference.shape, bool) for one in overlaps]
    for _ in range(_ROUNDS):
        found = _solve(layers, overlaps, kept, frame, terms)
        left = [_left(one, found, frame, terms) for one in overlaps]
        now = [_fitting(one) for one in left]
        if all((a == b).all() for a, b in zip(now, kept, strict=True)):
            break
        kept = now
    after = _rms([one[good] for one, good in zip(left, kept, strict=True)])
    corrected = tuple(
        replace(layer, sky=layer.sky + frame.on_the_grid(row)) for layer, row in zip(layers, found, strict=True)
    )
    return Matched(corrected, after, before, len(overlaps), _groups(len(layers), overlaps))


def measure_overlaps(layers: Sequence[Layer], way: Way) -> list[Overlap]:
    """The differences of all pairs that meet."""
    boxes = np.array([one.pixels.box for one in layers])
    pairs = [
        (a, b) for a, b in combinations(range(len(layers)), 2)
        if max(boxes[a, 0], boxes[b, 0]) < min(boxes[a, 1], boxes[b, 1])
        and max(boxes[a, 2], boxes[b, 2]) < min(boxes[a, 3], boxes[b, 3])
    ]  # fmt: skip
    plain = replace(way, interpolation="bilinear", feather_px=0.0)
    with ThreadPoolExecutor(threads()) as pool:
        found = pool.map(lambda pair: _overlap(layers, pair[0], pair[1], plain), pairs)
        return [one for one in found if one is not None]


def _overlap(layers: Sequence[Layer], first: int, second: int, way: Way) -> Overlap | None:
    top, bottom, left, right = (
        choose(layers[first].pixels.box[k], layers[second].pixels.box[k])
        for k, choose in enumerate((max, min, max, min))
    )
    every = max(1, int(np.sqrt((bottom - top) * (right - left) / _SAMPLES)))
    values = [_sampled(layer, (top, bottom), (left, right), way, every) for layer in (layers[first], layers[second])]
    difference, count = _cells(values[0] - values[1])
    known = np.isfinite(difference)
    if not known.any():
        return None
    variance = sum((one.noise * one.scale * one.pixels.scale**2) ** 2 for one in (layers[first], layers[second])) or 1.0
    rows, columns = np.nonzero(known)
    middle = (_CELL - 1) / 2
    return Overlap(
        first,
        second,
        left + every * (columns * _CELL + middle),
        top + every * (rows * _CELL + middle),
        difference[known],
        count[known] / variance,
    )


def _sampled(layer: Layer, rows: tuple[int, int], columns: tuple[int, int], way: Way, every: int) -> np.ndarray:
    """A layer's values, scaled and less its background, at every so many-th pixel of a part of the grid; read in blocks."""
    y, x = np.arange(*rows, every), np.arange(*columns, every)
    values = np.empty((len(y), len(x)), np.float32)
    block = max(1, _BLOCK_PX // every)
    for i in range(0, len(y), block):
        for j in range(0, len(x), block):
            down, along = y[i : i + block], x[j : j + block]
            found = layer.block((int(down[0]), int(down[-1]) + 1), (int(along[0]), int(along[-1]) + 1), way, every)
            good = (found.weight >= 1) & ((found.mask & SECOND_CHOICE) == 0)
            scaled = found.data * np.float32(layer.scale) - layer.sky_at(down, along)
            values[i : i + block, j : j + block] = np.where(good, scaled, np.nan)
    return values


def _cells(difference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The level of each cell, less what does not belong to it, and of how many samples it is; NaN where too few."""
    rows, columns = -(-difference.shape[0] // _CELL), -(-difference.shape[1] // _CELL)
    whole = np.full((rows * _CELL, columns * _CELL), np.nan, np.float32)
    whole[: difference.shape[0], : difference.shape[1]] = difference
    cells = whole.reshape(rows, _CELL, columns, _CELL).swapaxes(1, 2).reshape(rows * columns, _CELL * _CELL)
    used = np.count_nonzero(np.isfinite(cells), axis=1) >= _FULL_CELL * _CELL * _CELL
    level, count = np.full(rows * columns, np.nan), np.zeros(rows * columns)
    if used.any():
        level[used], count[used] = _clipped_means(cells[used])
    return level.reshape(rows, columns), count.reshape(rows, columns)


def _clipped_means(cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean of each row's finite values near its median, and their number."""
    centre = _medians(cells)
    apart = np.abs(cells - centre[:, None])
    reach = _CLIP * MAD_TO_SIGMA * _medians(apart)
    near = apart <= reach[:, None]
    count = np.count_nonzero(near, axis=1)
    return np.where(near, cells, 0).sum(axis=1, dtype=np.float64) / count, count


def _medians(values: np.ndarray) -> np.ndarray:
    ordered = np.sort(values, axis=1)  # NaN last
    count = np.count_nonzero(np.isfinite(ordered), axis=1)
    rows = np.arange(len(ordered))
    return np.asarray((ordered[rows, (count - 1) // 2] + ordered[rows, count // 2]) / 2)


@dataclass(frozen=True)
class _Frame:
    """The coordinates in which backgrounds are solved: centred, and of the size of one, so that all terms are."""

    x: float
    y: float
    size: float

    @classmethod
    def of(cls, layers: Sequence[Layer]) -> _Frame:
        boxes = np.array([one.pixels.box for one in layers], dtype=float)
        top, bottom, left, right = boxes[:, 0].min(), boxes[:, 1].max(), boxes[:, 2].min(), boxes[:, 3].max()
        return cls((left + right) / 2, (top + bottom) / 2, max(right - left, bottom - top, 2) / 2)

    def terms(self, x: np.ndarray, y: np.ndarray, number: int) -> np.ndarray:
        """The terms of a background at some places; shape (n, number)."""
        u, v = (x - self.x) / self.size, (y - self.y) / self.size
        return np.stack([np.ones_like(u), u, v, u * u, u * v, v * v][:number], axis=1)

    def on_the_grid(self, found: np.ndarray) -> np.ndarray:
        """A background's coefficients in the grid's own pixels, six of them."""
        a = np.zeros(TERMS)
        a[: len(found)] = found
        s, p, q = self.size, self.x, self.y
        return np.array([
            a[0] - (a[1] * p + a[2] * q) / s + (a[3] * p * p + a[4] * p * q + a[5] * q * q) / s**2,
            a[1] / s - (2 * a[3] * p + a[4] * q) / s**2,
            a[2] / s - (2 * a[5] * q + a[4] * p) / s**2,
            a[3] / s**2, a[4] / s**2, a[5] / s**2,
        ])  # fmt: skip


def _solve(
    layers: Sequence[Layer], overlaps: Sequence[Overlap], kept: Sequence[np.ndarray], frame: _Frame, terms: int
) -> np.ndarray:
    """All layers' coefficients; shape (layers, terms)."""
    rows: list[np.ndarray] = []
    columns: list[np.ndarray] = []
    values: list[np.ndarray] = []
    right = np.zeros((len(layers), terms))
    down, along = (one.ravel() for one in np.indices((terms, terms)))

    def place(a: int, b: int, block: np.ndarray) -> None:
        rows.append(a * terms + down)
        columns.append(b * terms + along)
        values.append(block.ravel())

    total = 0.0
    for one, good in zip(overlaps, kept, strict=True):
        basis = frame.terms(one.x[good], one.y[good], terms)
        weighted = basis * one.weight[good, None]
        block, vector = weighted.T @ basis, weighted.T @ one.difference[good]
        total += float(one.weight[good].sum())
        place(one.first, one.first, block)
        place(one.second, one.second, block)
        place(one.first, one.second, -block)
        place(one.second, one.first, -block)
        right[one.first] += vector
        right[one.second] -= vector
    for index, layer in enumerate(layers):
        top, bottom, left, end = layer.pixels.box
        y, x = (
            one.ravel() for one in np.meshgrid(np.linspace(top, bottom, 8), np.linspace(left, end, 8), indexing="ij")
        )
        basis = frame.terms(x, y, terms)
        level = basis.mean(axis=0)
        shape = np.cov(basis, rowvar=False, bias=True).reshape(terms, terms)
        place(index, index, _SMALLEST * total * (np.outer(level, level) + _STIFFER * shape))
    size = len(layers) * terms
    matrix = coo_matrix(
        (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape=(size, size)
    ).tocsc()
    return np.asarray(spsolve(matrix, right.ravel())).reshape(len(layers), terms)


def _left(one: Overlap, found: np.ndarray, frame: _Frame, terms: int) -> np.ndarray:
    return np.asarray(one.difference - frame.terms(one.x, one.y, terms) @ (found[one.first] - found[one.second]))


def _fitting(left: np.ndarray) -> np.ndarray:
    """Which cells agree with most of their overlap; all, where there are too few to tell."""
    if len(left) < TERMS:
        return np.ones(left.shape, bool)
    apart = np.abs(left - np.median(left))
    return np.asarray(apart <= _REJECT * MAD_TO_SIGMA * np.median(apart))


def _rms(values: Sequence[np.ndarray]) -> float:
    every = np.concatenate(values) if values else np.zeros(0)
    return float(np.sqrt(np.mean(every**2))) if every.size else 0.0


def _groups(number: int, overlaps: Sequence[Overlap]) -> int:
    """Into how many parts without any overlap between them the layers fall."""
    parent = list(range(number))
    for one in overlaps:
        a, b = one.first, one.second
        while parent[a] != a:
            a = parent[a]
        while parent[b] != b:
            b = parent[b]
        parent[max(a, b)] = min(a, b)
    return sum(parent[k] == k for k in range(number))
