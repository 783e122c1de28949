"""How a frame may lie on the sky: triangles of its stars that look like triangles of reference stars, put to the vote.

astroalign, the library at hand for this, shuffles with a generator that cannot be seeded, so that one frame solved
twice may give different bytes; and it looks for any scale and one parity, where here the scale is known and the parity
is not. Hence this matcher: triangles described by their size and two ratios of sides (after Groth 1986, AJ 91, 1244;
Valdes et al. 1995, PASP 107, 1119), looked up in a tree; each likeness votes for a similarity, and where many votes
meet, the frame may lie.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

_RATIO = 0.012  # tolerance of the sides' ratios
_THINNEST = 0.12  # shortest side by longest: thinner triangles tell little
_SMALLEST, _LARGEST = 0.10, 0.55  # longest side, in parts of the frame's longer side
_MOST_OURS, _MOST_THEIRS = 10_000, 80_000  # triangles, those of the brightest stars first
_MOST_LIKENESSES = 150_000  # pairs of triangles, the likest first
_TOGETHER = 0.012  # votes closer than this, in parts of the frame's side and in radians, agree
_CELL = 2.5 * _TOGETHER
_GRIDS = 5
# Where the grids begin, in cells: no two of them have a border in common.
_LAID = np.modf(np.outer(np.arange(_GRIDS), np.array([0.2, 0.4, 0.6, 0.8])))[0]
_COUNTED = 300  # of the votes with most company
_MEET = 0.010  # of the frame's side: how near a star counts as met before refinement


@dataclass(frozen=True)
class Similarity:
    """``plane = turn * pixel + shift`` in complex numbers, the pixel conjugated first where ``mirrored``.

    Pixels count from the frame's centre; the plane is in units of the hinted pixel scale.
    """

    turn: complex
    shift: complex
    mirrored: bool
    met: int


def propose_similarities(
    pixels: np.ndarray, plane: np.ndarray, side_px: float, scale_tolerance: float, limit: int
) -> list[Similarity]:
    """Ways to lay a frame on the plane under which many stars meet, the most promising first.

    Parameters
    ----------
    pixels : ndarray, shape (n, 2)
        Stars of the frame, from its centre [px].
    plane : ndarray, shape (m, 2)
        Reference stars, in units of the hinted pixel scale; may cover a wider field.
    side_px
        The frame's longer side.
    scale_tolerance
        How far the scale may be from the hint, as a part of it.
    limit
        The number given at most.

    Notes
    -----
    Any rotation and both parities. Deterministic.
    """
    if len(pixels) < 3 or len(plane) < 3:
        return []
    margin = 1.0 + scale_tolerance
    shortest, longest = _SMALLEST * side_px, _LARGEST * side_px
    ours, our_shape = _triangles(pixels, shortest, longest, _MOST_OURS)
    theirs, their_shape = _triangles(plane, shortest / margin, longest * margin, _MOST_THEIRS)
    if not len(ours) or not len(theirs):
        return []
    # Sizes are squeezed so that one tolerance, taken as a box, serves all three coordinates.
    squeeze = np.array([_RATIO / np.log(margin), 1.0, 1.0])
    hits = cKDTree(our_shape * squeeze).sparse_distance_matrix(
        cKDTree(their_shape * squeeze), _RATIO, p=np.inf, output_type="ndarray"
    )
    if len(hits) > _MOST_LIKENESSES:
        hits = hits[np.argsort(hits["v"], kind="stable")[:_MOST_LIKENESSES]]
    left, right = hits["i"], hits["j"]
    votes = _votes(_flat(pixels)[ours[left]], _flat(plane)[theirs[right]], _MEET * side_px)
    return _elect(votes, pixels, plane, side_px, limit)


def _flat(points: np.ndarray) -> np.ndarray:
    flat: np.ndarray = points[:, 0] + 1j * points[:, 1]
    return flat


def _triangles(points: np.ndarray, shortest: float, longest: float, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Triangles whose longest side lies in a range.

    Returns
    -------
    ndarray, shape (k, 3)
        Corners: opposite to the longest, the middle and the shortest side.
    ndarray, shape (k, 3)
        Logarithm of the longest side; middle and shortest by longest.
    """
    flat = _flat(points)
    pairs = cKDTree(points).query_pairs(longest, output_type="ndarray")
    # By the fainter star, so that the first triangles are those among the brightest: of a crowd these are enough.
    pairs = np.sort(pairs, axis=1)[:, ::-1]
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    ends = np.searchsorted(pairs[:, 0], pairs[:, 0], side="right")
    follow = ends - np.arange(len(pairs)) - 1
    number = int(np.searchsorted(np.cumsum(follow), most, side="right"))
    follow = follow[:number]
    base = np.repeat(np.arange(number), follow)
    step = np.arange(len(base)) - np.repeat(np.cumsum(follow) - follow, follow)
    corners = np.column_stack([pairs[base], pairs[base + 1 + step, 1]])
    a, b, c = flat[corners].T
    sides = np.abs(np.stack([b - c, a - c, a - b], axis=1))
    order = np.argsort(-sides, axis=1, kind="stable")
    corners, sides = np.take_along_axis(corners, order, axis=1), np.take_along_axis(sides, order, axis=1)
    keep = (sides[:, 0] <= longest) & (sides[:, 0] >= shortest) & (sides[:, 2] >= _THINNEST * sides[:, 0])
    corners, sides = corners[keep], sides[keep]
    return corners, np.column_stack([np.log(sides[:, 0]), sides[:, 1:] / sides[:, :1]])


@dataclass(frozen=True)
class _Votes:
    turn: np.ndarray
    shift: np.ndarray
    mirrored: np.ndarray


def _votes(here: np.ndarray, there: np.ndarray, tolerance: float) -> _Votes:
    """The similarity of each pair of triangles, complex (k, 3), where it fits."""

    def handedness(corners: np.ndarray) -> np.ndarray:
        return ((corners[:, 1] - corners[:, 0]).conj() * (corners[:, 2] - corners[:, 0])).imag > 0

    mirrored = handedness(here) != handedness(there)
    here = np.where(mirrored[:, None], here.conj(), here)
    middle, target = here.mean(axis=1), there.mean(axis=1)
    arm, reach = here - middle[:, None], there - target[:, None]
    turn = (arm.conj() * reach).sum(axis=1) / (np.abs(arm) ** 2).sum(axis=1)
    error = np.abs(reach - turn[:, None] * arm).max(axis=1)
    fits = np.flatnonzero(error <= tolerance)
    return _Votes(turn[fits], (target - turn * middle)[fits], mirrored[fits])


def _company(votes: _Votes, side_px: float) -> np.ndarray:
    """How many votes fall into each one's cell, in the best of some grids laid differently."""
    features = np.column_stack(
        [votes.shift.real / side_px, votes.shift.imag / side_px, votes.turn.real / 2, votes.turn.imag / 2]
    )
    features = (features - features.min(axis=0)) / _CELL
    most = np.zeros(len(features), np.int64)
    for grid in range(_GRIDS):
        cells = np.floor(features + _LAID[grid]).astype(np.int64)
        size = cells.max(axis=0) + 1
        keys = np.ravel_multi_index((*cells.T, votes.mirrored.astype(np.int64)), (*size, 2))
        _, which, counts = np.unique(keys, return_inverse=True, return_counts=True)
        most = np.maximum(most, counts[which.ravel()])
    return most


def _elect(votes: _Votes, pixels: np.ndarray, plane: np.ndarray, side_px: float, limit: int) -> list[Similarity]:
    """The votes with most company, counted by the stars they bring together; near-duplicates once."""
    if not len(votes.turn):
        return []
    company = _company(votes, side_px)
    first = np.argsort(-company, kind="stable")[:_COUNTED]
    turn, shift, mirrored = votes.turn[first], votes.shift[first], votes.mirrored[first]
    flat = _flat(pixels)
    mapped = turn[:, None] * np.where(mirrored[:, None], flat.conj(), flat) + shift[:, None]
    reach = _MEET * side_px
    distance, nearest = cKDTree(plane).query(np.stack([mapped.real, mapped.imag], axis=-1), distance_upper_bound=reach)
    nearest = np.sort(np.where(np.isfinite(distance), nearest, -1), axis=1)
    met = ((np.diff(nearest, axis=1, prepend=-1) != 0) & (nearest >= 0)).sum(axis=1)
    chosen: list[Similarity] = []
    for index in np.lexsort((-company[first], -met)):
        one = Similarity(complex(turn[index]), complex(shift[index]), bool(mirrored[index]), int(met[index]))
        if not any(_alike(one, other, side_px) for other in chosen):
            chosen.append(one)
            if len(chosen) == limit:
                break
    return chosen


def _alike(one: Similarity, other: Similarity, side_px: float) -> bool:
    near = abs(one.shift - other.shift) < 2 * _TOGETHER * side_px
    return one.mirrored == other.mirrored and near and abs(one.turn / other.turn - 1) < 2 * _TOGETHER
