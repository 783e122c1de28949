"""Matching two star lists by their triangles: a similarity between them, found without any first guess.

The ratios of a triangle's sides do not change when it is shifted, turned or scaled. Triangles alike in both lists each
propose a similarity; the one under which most stars meet wins. Nothing is drawn at random: the same lists give the
same answer (unlike a random-sample consensus).
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
from scipy.spatial import cKDTree

_BRIGHTEST = 40
_NEIGHBOURS = 6
_ALIKE = 0.01  # distance of two triangles' side ratios
_PROPOSALS = 4000
_MEET_PX = 3.0


def match_triangles(source: np.ndarray, target: np.ndarray, *, scale_tolerance: float) -> np.ndarray | None:
    """A similarity from source to target positions.

    Parameters
    ----------
    source, target : shape (n, 2)
        The brightest first; lists may differ in length and in their stars.
    scale_tolerance
        How far the scale may be from one.

    Returns
    -------
    ndarray, shape (2, 3), or None
        Maps (x, y, 1) of the source to the target; None when fewer than three stars would meet, or when with three
        only they are not most of the shorter list.
    """
    source, target = source[:_BRIGHTEST], target[:_BRIGHTEST]
    ours, theirs = _triangles(source), _triangles(target)
    if ours is None or theirs is None:
        return None
    pairs = cKDTree(theirs[0]).query_ball_point(ours[0], _ALIKE)
    first = np.repeat(np.arange(len(pairs)), [len(one) for one in pairs])
    if not len(first):
        return None
    second = np.concatenate([np.asarray(one, dtype=int) for one in pairs if one])
    proposals = _similarities(source[ours[1][first]], target[theirs[1][second]])
    scale = np.hypot(proposals[:, 0, 0], proposals[:, 1, 0])
    alike = np.linalg.norm(ours[0][first] - theirs[0][second], axis=1)
    fitting = np.flatnonzero(np.abs(scale - 1) <= scale_tolerance)
    best, most = None, 0
    tree = cKDTree(target)
    for index in fitting[np.argsort(alike[fitting], kind="stable")][:_PROPOSALS]:
        matrix = proposals[index]
        distance, nearest = tree.query(source @ matrix[:, :2].T + matrix[:, 2], distance_upper_bound=_MEET_PX)
        meeting = len(np.unique(nearest[np.isfinite(distance)]))
        if meeting > most:
            best, most = matrix, meeting
    enough = 3 if min(len(source), len(target)) <= 5 else max(4, int(0.2 * min(len(source), len(target))))
    return best if most >= enough else None


def _triangles(stars: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Side ratios (n, 2) and corners (n, 3) of the triangles of neighbouring stars, corners in the order of their sides."""
    if len(stars) < 3:
        return None
    _, near = cKDTree(stars).query(stars, k=min(_NEIGHBOURS, len(stars)))
    corners = np.array(sorted({tuple(sorted(map(int, one))) for row in near for one in combinations(row, 3)}))
    points = stars[corners]
    # The side opposite to each corner; sorting the corners by it makes alike triangles correspond corner by corner.
    sides = np.stack(
        [np.linalg.norm(points[:, (k + 1) % 3] - points[:, (k + 2) % 3], axis=1) for k in range(3)], axis=1
    )
    order = np.argsort(sides, axis=1, kind="stable")
    sides, corners = np.take_along_axis(sides, order, 1), np.take_along_axis(corners, order, 1)
    real = sides[:, 0] > 1e-6
    sides, corners = sides[real], corners[real]
    if not len(sides):
        return None
    return np.column_stack([sides[:, 0] / sides[:, 2], sides[:, 1] / sides[:, 2]]), corners


def _similarities(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The similarity of every pair of triangles, shape (n, 2, 3); corners given as (n, 3, 2)."""
    one, two = source @ np.array([1, 1j]), target @ np.array([1, 1j])
    centre, goal = one.mean(axis=1, keepdims=True), two.mean(axis=1, keepdims=True)
    factor = ((two - goal) * (one - centre).conj()).sum(axis=1) / (np.abs(one - centre) ** 2).sum(axis=1)
    shift = goal[:, 0] - factor * centre[:, 0]
    row_x = np.stack([factor.real, -factor.imag, shift.real], axis=1)
    row_y = np.stack([factor.imag, factor.real, shift.imag], axis=1)
    return np.stack([row_x, row_y], axis=1)
