"""Matching two star lists by their triangles: a similarity between them, found without any first guess.

The ratios of a triangle's sides do not change when it is shifted, turned or scaled. Triangles alike in both lists each
propose a similarity; the one under which most stars meet wins. Nothing is drawn at random: the same lists give the
same answer (unlike a random-sample consensus, such as astroalign's).
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
from scipy.spatial import cKDTree
from scipy.stats import binom

_BRIGHTEST = 40
_NEIGHBOURS = 7
_ALIKE = 0.01  # distance of two triangles' side ratios
_SHORTEST_PX = 8.0  # the ratios of shorter sides are noise
_PROPOSALS = 4000
_MEET_PX = 3.0
_CHANCE = 0.01  # accidental agreements expected over all that was tried


def match_triangles(source: np.ndarray, target: np.ndarray, *, scale_tolerance: float) -> np.ndarray | None:
    """A similarity from source to target positions: the one that most of the brightest stars support.

    Parameters
    ----------
    source, target : shape (n, 2)
        The brightest first; lists may differ in length and in their stars.
    scale_tolerance
        How far the scale may be from one.

    Returns
    -------
    ndarray, shape (2, 3), or None
        Maps (x, y, 1) of the source to the target; None when no triangles are alike. The caller judges whether as many
        stars could meet by chance.

    Notes
    -----
    After Groth 1986 (AJ 91, 1244) and Valdes et al. 1995 (PASP 107, 1119).
    """
    source, target = source[:_BRIGHTEST], target[:_BRIGHTEST]
    ours, theirs = _triangles(source), _triangles(target)
    if ours is None or theirs is None:
        return None
    pairs = cKDTree(theirs[0]).query_ball_point(ours[0], _ALIKE)
    first = np.repeat(np.arange(len(pairs)), [len(one) for one in pairs])
    if not len(first):
        return None
    second = np.concatenate([np.asarray(sorted(one), dtype=int) for one in pairs if one])
    proposals = _similarities(source[ours[1][first]], target[theirs[1][second]])
    scale = np.hypot(proposals[:, 0, 0], proposals[:, 1, 0])
    alike = np.linalg.norm(ours[0][first] - theirs[0][second], axis=1)
    fitting = np.flatnonzero(np.abs(scale - 1) <= scale_tolerance)
    best, most = None, 0
    tree = cKDTree(target)
    for index in fitting[np.argsort(alike[fitting], kind="stable")][:_PROPOSALS]:
        meeting = len(pairs_within(source, tree, proposals[index], _MEET_PX)[0])
        if meeting > most:
            best, most = proposals[index], meeting
        if most >= 0.8 * min(len(source), len(target)) and most > 5:
            break  # no other proposal could be another answer
    return best


def pairs_within(
    source: np.ndarray, target: cKDTree, matrix: np.ndarray, radius_px: float
) -> tuple[np.ndarray, np.ndarray]:
    """Which stars meet under a mapping, each at most once: indices into source and target."""
    distance, nearest = target.query(source @ matrix[:, :2].T + matrix[:, 2], distance_upper_bound=radius_px)
    first = np.flatnonzero(np.isfinite(distance))
    first = first[np.argsort(distance[first], kind="stable")]
    second, order = np.unique(nearest[first], return_index=True)  # of several on one star, the nearest
    return first[order], second


def fit_similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The least-squares shift, rotation and scale between points (n, 2), n > 1, as a matrix of shape (2, 3).

    Umeyama 1991, IEEE PAMI 13, 376; in the plane it is a complex linear regression.
    """
    return np.asarray(_similarities(source[None], target[None])[0])


def unlikely_by_chance(met: int, tried: int, stars: int, area: float, radius_px: float, *, guesses: float) -> bool:
    """Whether ``met`` of ``tried`` positions would hardly all fall on stars scattered at random.

    Parameters
    ----------
    met, tried
        Not counting the stars that the mapping was made from.
    stars, area
        How many stars there are to fall on, in how many square pixels.
    radius_px
        How near counts as met.
    guesses
        How many mappings could have been tried.

    Returns
    -------
    bool
        True when fewer than one in a hundred such searches would end like this.
    """
    if met < 1 or tried < 1:
        return False
    single = min(1.0, stars * np.pi * radius_px**2 / area)
    return bool(guesses * binom.sf(met - 1, tried, single) < _CHANCE)


def _triangles(stars: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Side ratios (n, 2) and corners (n, 3) of triangles of neighbouring stars, corners in the order of their sides."""
    if len(stars) < 3:
        return None
    _, near = cKDTree(stars).query(stars, k=min(_NEIGHBOURS, len(stars)))
    # Neighbours of the brightest few among themselves too: faint stars of one list may lack in the other.
    groups = [*near.tolist(), list(range(min(8, len(stars))))]
    corners = np.array(sorted({tuple(sorted(one)) for row in groups for one in combinations(row, 3)}))
    points = stars[corners]
    # The side opposite to each corner; sorting the corners by it makes alike triangles correspond corner by corner.
    sides = np.stack(
        [np.linalg.norm(points[:, (k + 1) % 3] - points[:, (k + 2) % 3], axis=1) for k in range(3)], axis=1
    )
    order = np.argsort(sides, axis=1, kind="stable")
    sides, corners = np.take_along_axis(sides, order, 1), np.take_along_axis(corners, order, 1)
    real = sides[:, 0] > _SHORTEST_PX
    sides, corners = sides[real], corners[real]
    if not len(sides):
        return None
    return np.column_stack([sides[:, 0] / sides[:, 2], sides[:, 1] / sides[:, 2]]), corners


def _similarities(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The similarity of every pair of point groups, shape (n, 2, 3); points given as (n, k, 2)."""
    one, two = source @ np.array([1, 1j]), target @ np.array([1, 1j])
    centre, goal = one.mean(axis=1, keepdims=True), two.mean(axis=1, keepdims=True)
    factor = ((two - goal) * (one - centre).conj()).sum(axis=1) / (np.abs(one - centre) ** 2).sum(axis=1)
    shift = goal[:, 0] - factor * centre[:, 0]
    row_x = np.stack([factor.real, -factor.imag, shift.real], axis=1)
    row_y = np.stack([factor.imag, factor.real, shift.imag], axis=1)
    return np.stack([row_x, row_y], axis=1)
