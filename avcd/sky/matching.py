"""Proposals for a plate solution: triangles of detected stars that look like triangles of reference stars."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
from scipy.spatial import cKDTree

_NEIGHBOURS = 8
_ALIKE = 0.012
_ALL_OF = 12  # every triangle among so many of the brightest, beside those of neighbours
_VERIFIED = 6000
_OFFERED = 25
_MEET = 0.006  # of the frame's size: distance at which a star counts as met, before refinement


def propose_similarities(
    xy: np.ndarray, plane: np.ndarray, brightest: int, scale_tolerance: float
) -> Iterator[np.ndarray]:
    """Mappings from pixels to the tangent plane under which many stars meet, the best first.

    Parameters
    ----------
    xy : shape (n, 2)
        Detected stars, the brightest first.
    plane : shape (m, 2)
        Reference stars on the tangent plane, in units of the hinted pixel scale, the brightest first; may cover a
        wider field.
    brightest
        How many detections take part.
    scale_tolerance
        How far the scale may be from the hint.

    Yields
    ------
    ndarray, shape (2, 3)
        (x, y, 1) to the plane; either parity, any rotation. Nothing is random.
    """
    plane = plane[np.isfinite(plane).all(axis=1)]
    ours, theirs = _triangles(xy), _triangles(plane)
    if ours is None or theirs is None:
        return
    pairs = cKDTree(theirs[0]).query_ball_point(ours[0], _ALIKE)
    lengths = [len(one) for one in pairs]
    if not sum(lengths):
        return
    first = np.repeat(np.arange(len(pairs)), lengths)
    second = np.concatenate([np.asarray(one, dtype=int) for one in pairs if one])
    # The longest sides give the scale at once: most accidental likenesses have a wrong one.
    ratio = theirs[2][second] / ours[2][first]
    right = np.abs(ratio - 1) <= scale_tolerance
    first, second = first[right], second[right]
    if not len(first):
        return
    alike = np.linalg.norm(ours[0][first] - theirs[0][second], axis=1)
    order = np.argsort(alike, kind="stable")[: _VERIFIED * 4]
    first, second = first[order], second[order]
    matrices = _similarities(xy[ours[1][first]], plane[theirs[1][second]])
    matrices = matrices[_most_popular(matrices, xy)][:_VERIFIED]
    size = float(np.ptp(xy, axis=0).max())
    tree = cKDTree(plane)
    votes = []
    for matrix in matrices:
        distance, nearest = tree.query(
            xy[:brightest] @ matrix[:, :2].T + matrix[:, 2], distance_upper_bound=max(_MEET * size, 4)
        )
        votes.append(len(np.unique(nearest[np.isfinite(distance)])))
    for index in np.argsort(-np.array(votes), kind="stable")[:_OFFERED]:
        yield matrices[index]


def _most_popular(matrices: np.ndarray, xy: np.ndarray) -> np.ndarray:
    """Indices, those first that many others agree with about where the middle of the frame lies and how it is turned."""
    middle = xy.mean(axis=0)
    size = float(np.ptp(xy, axis=0).max())
    place = matrices[:, :, :2] @ middle + matrices[:, :, 2]
    turn = matrices[:, :, 0] / np.linalg.norm(matrices[:, :, 0], axis=1, keepdims=True)
    parity = np.sign(np.linalg.det(matrices[:, :, :2]))
    features = np.column_stack([place / (0.02 * size), turn / 0.02, parity * 100])
    company = cKDTree(features).query_ball_point(features, 1.0, return_length=True)
    return np.argsort(-company, kind="stable")


def _triangles(stars: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Side ratios (n, 2), corners (n, 3) in the order of their opposite sides, and the longest sides (n)."""
    if len(stars) < 3:
        return None
    _, near = cKDTree(stars).query(stars, k=min(_NEIGHBOURS, len(stars)))
    chosen = {tuple(sorted((int(row[0]), int(one), int(two)))) for row in near for one, two in combinations(row[1:], 2)}
    chosen |= set(combinations(range(min(_ALL_OF, len(stars))), 3))
    corners = np.array(sorted(chosen))
    points = stars[corners]
    sides = np.stack(
        [np.linalg.norm(points[:, (k + 1) % 3] - points[:, (k + 2) % 3], axis=1) for k in range(3)], axis=1
    )
    order = np.argsort(sides, axis=1, kind="stable")
    sides, corners = np.take_along_axis(sides, order, 1), np.take_along_axis(corners, order, 1)
    # Nearly equal sides would let corners swap with the noise; very small triangles say little.
    ratios = np.column_stack([sides[:, 0] / sides[:, 2], sides[:, 1] / sides[:, 2]])
    clear = (sides[:, 0] > 8) & (ratios[:, 1] - ratios[:, 0] > 0.02) & (ratios[:, 1] < 0.99)
    if not clear.any():
        return None
    return ratios[clear], corners[clear], sides[clear, 2]


def _similarities(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The similarity of each pair of triangles, of the parity that fits better; shape (n, 2, 3)."""
    one, two = source @ np.array([1, 1j]), target @ np.array([1, 1j])
    plain, plain_error = _fit(one, two)
    mirrored, mirrored_error = _fit(one.conj(), two)
    mirrored = mirrored @ np.diag([1.0, -1.0, 1.0])
    return np.where((plain_error <= mirrored_error)[:, None, None], plain, mirrored)


def _fit(one: np.ndarray, two: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    centre, goal = one.mean(axis=1, keepdims=True), two.mean(axis=1, keepdims=True)
    factor = ((two - goal) * (one - centre).conj()).sum(axis=1) / (np.abs(one - centre) ** 2).sum(axis=1)
    shift = goal[:, 0] - factor * centre[:, 0]
    error = np.abs(factor[:, None] * one + shift[:, None] - two).sum(axis=1)
    row_x = np.stack([factor.real, -factor.imag, shift.real], axis=1)
    row_y = np.stack([factor.imag, factor.real, shift.imag], axis=1)
    return np.stack([row_x, row_y], axis=1), error
