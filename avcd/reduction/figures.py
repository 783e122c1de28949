"""Figures of a master: how noisy it is and how noisy it should be, what stands out in it, how its frames agree.

All is measured on strips of rows spread over the frame, the same ones whatever the memory, so that it costs little
beside the combination.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import sep

from avcd.reduction.combine import ArraySource, FrameSource, median_of_valid
from avcd.reduction.noise import difference_sigma, mad_sigma

_STRIPS = 8  # of rows, and as many blocks in each
_STRIP_ROWS = 8
_PIXELS = 8_000_000  # of all frames together: 32 MB
_ENOUGH_PX = 50_000  # give a scatter to a third of a percent
_OUTLIER_SIGMA = 8.0
_CELL_PX = 64  # what a pixel is compared with to be an outlier
_MEDIAN_SCATTER = 1.2533  # of a median of normal values, beside that of their mean
_SPOT_SIGMA = 5.0
_SPOT_PX = 5
_SPOT_PEAK = 0.5  # of a spot's light in its brightest pixel, at most: a hot pixel holds nearly all of it
_SPOT_RADIUS_PX = 6.0  # one standard deviation along the major axis, at most: dust rings and glows are larger


@dataclass(frozen=True)
class Sample:
    """Rows of every frame and of the master: ``frames`` shape (n, rows, nx), NaN for what is masked; ``strips``."""

    frames: np.ndarray
    master: np.ndarray
    strips: tuple[slice, ...]

    def mesh(self, values: np.ndarray) -> np.ndarray:
        """Medians over the blocks of the strips, shape (strips, blocks); NaN where a block has no value."""
        columns = np.array_split(np.arange(values.shape[1]), min(_STRIPS, values.shape[1]))
        return np.array(
            [[_median(values[rows, block[0] : block[-1] + 1]) for block in columns] for rows in self.strips]
        )


def take_sample(sources: Sequence[FrameSource], data: np.ndarray, mask: np.ndarray) -> Sample:
    """The rows that a master is measured on.

    Parameters
    ----------
    sources
        The frames, as they were combined.
    data, mask : shape (ny, nx)
        The master.
    """
    ny, nx = data.shape
    height = int(min(_STRIP_ROWS, max(1, _PIXELS // (_STRIPS * nx * len(sources))), max(1, ny // _STRIPS)))
    number = min(_STRIPS, ny)
    starts = [round((ny - height) * (index + 0.5) / number) for index in range(number)]
    places = [slice(start, start + height) for start in starts]
    frames = np.array([np.concatenate([_rows(one, place) for place in places]) for one in sources])
    whole = ArraySource(data, mask)
    return Sample(
        frames,
        np.concatenate([_rows(whole, place) for place in places]),
        tuple(slice(index * height, (index + 1) * height) for index in range(number)),
    )


def measure_noise(sample: Sample, method: str = "mean", weights: Sequence[float] | None = None) -> dict[str, float]:
    """The random noise of a master, from its two halves, and what its frames lead one to expect.

    What is fixed in the detector is in both halves and cancels; what is left is what would be another in a second
    master of as many frames.

    Parameters
    ----------
    method
        How the frames were combined: "mean", "median" or "sum".
    weights
        The relative variances of the frames, where they differ by their light; all alike without.

    Returns
    -------
    dict
        ``noise``; ``expected_noise``: the noise of one frame, ``frame_noise``, by the pairs of frames, over the square
        root of their number, times what a median loses. ``frame_noise`` is that of a frame of weight one. Empty for
        one frame.
    """
    number = len(sample.frames)
    if number < 2:
        return {}
    weight = np.ones(number) if weights is None else np.asarray(weights, dtype=np.float64)
    closed = [*range(number), 0] if number > 2 else [0, 1]
    variances = [
        difference_sigma(_thinned(sample.frames[one]) - _thinned(sample.frames[other])) ** 2
        / (weight[one] + weight[other])
        for one, other in pairwise(closed)
    ]
    frame_noise = float(np.sqrt(np.median(variances)))
    loss = _MEDIAN_SCATTER if method == "median" and number > 2 else 1.0
    scale = number if method == "sum" else 1
    share = weight.sum() / number**2  # of one frame's variance, in the mean of all
    return {
        "noise": difference_sigma(_half_difference(sample.frames, method, weight)) * scale,
        "expected_noise": frame_noise * float(np.sqrt(share)) * loss * scale,
        "frame_noise": frame_noise,
    }


def _half_difference(frames: np.ndarray, method: str, weight: np.ndarray) -> np.ndarray:
    """What every other frame and the rest differ by, scaled to scatter as all of them together do.

    Nothing is rejected: clipping so few values would itself change their scatter. Outliers are left to whoever
    measures the difference.
    """
    middles, counts = [], []
    for start in (0, 1):
        half = frames[start::2]
        kept = ~np.isnan(half)
        counts.append(np.count_nonzero(kept, axis=0))
        mean = np.add.reduce(half, axis=0, dtype=np.float64, where=kept) / np.maximum(counts[-1], 1)
        middles.append(median_of_valid(half) if method == "median" else mean)
    first, second = counts
    even, odd = weight[::2].mean(), weight[1::2].mean()
    with np.errstate(invalid="ignore", divide="ignore"):
        variance = even / first + odd / second  # of the difference; that of the mean is:
        whole = (even * first + odd * second) / (first + second) ** 2
        difference = (middles[0] - middles[1]) * np.sqrt(whole / variance)
    return np.where((first > 0) & (second > 0), difference, np.nan)


def measure_drift(sample: Sample, levels: Sequence[float] | None = None, unit: float | None = 1.0) -> dict[str, float]:
    """How far single frames depart from the others.

    Parameters
    ----------
    levels
        The light of each frame, where they were scaled to one; their drift is then relative. Without, the levels are
        measured.
    unit
        What departures are given in: the noise of a frame [adu]; None, or nothing: the frames' unit.

    Returns
    -------
    dict
        ``drift``: the largest departure of a frame's level from their median; ``shape_drift``: the largest departure
        of a block of a frame, less the frame's own level, from the median of that block over the frames.
    """
    if len(sample.frames) < 2:
        return {}
    unit = unit or 1.0
    own = np.array([_median(frame) for frame in sample.frames])
    meshes = np.array([sample.mesh(frame - sample.master).ravel() for frame in sample.frames])
    blocks = meshes[:, np.isfinite(meshes).all(axis=0)]
    shapes = blocks - np.median(blocks, axis=1, keepdims=True) if blocks.size else blocks
    middle = np.median(own if levels is None else levels)
    drift = np.abs(own - middle) / unit if levels is None else np.abs(np.asarray(levels) / middle - 1)
    departures = np.abs(shapes - np.median(shapes, axis=0)) if shapes.size else np.full(1, np.nan)
    return {"drift": float(np.max(drift)), "shape_drift": float(np.max(departures)) / unit}


def measure_outliers(sample: Sample) -> dict[str, float]:
    """``outliers``: the part of the master's pixels more than eight sigma away from the median around them."""
    parts = []
    for rows in sample.strips:
        strip = sample.master[rows]
        for start in range(0, strip.shape[1], _CELL_PX):
            cell = strip[:, start : start + _CELL_PX]
            parts.append((cell - _median(cell)).ravel())
    residual = np.concatenate(parts)
    residual = residual[np.isfinite(residual)]
    sigma = max(mad_sigma(residual), difference_sigma(residual)) if residual.size else 0.0
    return {"outliers": float(np.mean(np.abs(residual) > _OUTLIER_SIGMA * sigma)) if residual.size else float("nan")}


def measure_structure(sample: Sample, norm: float = 1.0) -> dict[str, float]:
    """The large-scale shape of a flat, over its median ``norm``.

    Returns
    -------
    dict
        ``structure``: peak to valley of the block medians; ``gradient_x``, ``gradient_y``: by how much the plane
        through them rises from the first column (row) to the last.
    """
    mesh = sample.mesh(sample.master) / norm
    y, x = (np.linspace(-0.5, 0.5, size) if size > 1 else np.zeros(1) for size in mesh.shape)
    finite = np.isfinite(mesh)
    if not finite.any():
        return {name: float("nan") for name in ("structure", "gradient_x", "gradient_y")}
    rows, columns = np.meshgrid(y, x, indexing="ij")
    terms = np.column_stack([np.ones(finite.sum()), columns[finite], rows[finite]])
    _, across, up = np.linalg.lstsq(terms, mesh[finite], rcond=None)[0]
    return {"structure": float(np.ptp(mesh[finite])), "gradient_x": float(across), "gradient_y": float(up)}


def count_spots(data: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """``spots``: small round things of light, as stars are and hot pixels, dust and glows are not.

    Parameters
    ----------
    data, mask : shape (ny, nx)
        A master.
    """
    bad = (mask != 0) | ~np.isfinite(data)
    if bad.all() or min(data.shape) < _SPOT_PX:
        return {"spots": 0.0}
    image = np.where(bad, np.median(data[~bad]), data).astype(np.float32)
    image -= sep.Background(image, mask=bad, bw=32, bh=32).back()
    sigma = mad_sigma(_thinned(image[~bad]))
    if not sigma > 0:
        return {"spots": 0.0}
    found = sep.extract(image, _SPOT_SIGMA, err=sigma, mask=bad, minarea=_SPOT_PX, filter_kernel=None)
    small = (found["a"] <= _SPOT_RADIUS_PX) & (found["b"] > 0.5 * found["a"])
    return {"spots": float(np.count_nonzero(small & (found["peak"] < _SPOT_PEAK * found["flux"])))}


def _thinned(values: np.ndarray) -> np.ndarray:
    """Every how-manieth pixel, so that enough are left."""
    return values.ravel()[:: max(1, values.size // _ENOUGH_PX)]


def _rows(source: FrameSource, rows: slice) -> np.ndarray:
    values, mask = source.rows(rows.start, rows.stop)
    good = np.isfinite(values) if mask is None else np.isfinite(values) & (mask == 0)
    return np.where(good, values, np.float32(np.nan))


def _median(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if finite.size else float("nan")
