"""Could a match of stars be chance? The probability of the best false match, all that was searched being counted in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree
from scipy.special import betainc

_LEAST = -690.0  # logarithm of the smallest probability told apart from zero
_COPIES = 6000  # displaced reference stars that tell how often a source is met by accident
_RING = 16  # directions, at the least, in which they are displaced to each distance
_NO_CHANCE = 0.99
_ENOUGH = -90.0  # evidence beyond which a better one tells nothing
_DISTANCES = (4, 9, 20, 40)  # of the copies, in reaches
_BEND = 0.02  # of the frame's half: how far a term of the fit may move its edge


@dataclass(frozen=True)
class Evidence:
    """How many of how many reference stars were met, and ln of the probability that any false match would do as well."""

    log_probability: float
    matched: int
    expected: int


def log_searched(
    radius_px: float, half_px: float, scale_tolerance: float, reach_px: float, parameters: int = 4
) -> float:
    """Logarithm of the number of distinguishable ways to lay a frame on the sky that a search may have tried.

    Places within the search radius, rotations, scales and two parities, each counted in steps that move a star at the
    frame's edge by ``reach_px``; and what each further coefficient of the fit adds.

    Parameters
    ----------
    radius_px
        Of the search for the frame's centre.
    half_px
        From the frame's centre to its corner.
    scale_tolerance
        As a part of the scale.
    reach_px
        How near stars must meet.
    parameters
        Numbers of the fit; a similarity has four, which are counted above.
    """
    places = max(1.0, np.pi * (radius_px / reach_px) ** 2)
    rotations = max(1.0, 2 * np.pi * half_px / reach_px)
    scales = max(1.0, 2 * scale_tolerance * half_px / reach_px)
    bends = (parameters - 4) * np.log(max(1.0, _BEND * half_px / reach_px))
    return float(np.log(places * rotations * scales * 2) + bends)


def _met(tree: cKDTree, reference: np.ndarray, reach: float) -> np.ndarray:
    """Whether each reference star has a source within reach that no brighter reference star took."""
    distance, source = tree.query(reference, distance_upper_bound=reach)
    found = np.isfinite(distance)
    first = np.zeros(len(reference), bool)
    _, position = np.unique(source[found], return_index=True)
    first[np.flatnonzero(found)[position]] = True
    return first


def _displacements(depth: int) -> np.ndarray:
    """Shifts of the copies of so many stars, (k, 2), in reaches."""
    directions = max(_RING, round(_COPIES / (depth * len(_DISTANCES))))
    angles = np.arange(directions) * (2 * np.pi / directions)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    return np.concatenate([circle * distance for distance in _DISTANCES])


def weigh_match(
    reference_px: np.ndarray, sources_px: np.ndarray, shape: tuple[int, ...], reach_px: float, log_trials: float
) -> Evidence:
    """How likely the best of ``exp(log_trials)`` false maps would bring as many stars together as this one does.

    Parameters
    ----------
    reference_px : ndarray, shape (n, 2)
        Where the map puts the reference stars that fall into the frame, the brightest first.
    sources_px : ndarray, shape (m, 2)
        The frame's stars, the brightest first.
    shape
        (ny, nx).
    reach_px
        Stars this near have met.
    log_trials
        Logarithm of the number of maps that were tried, or may have been.

    Returns
    -------
    Evidence
        The best over the brightest n reference stars and the brightest m sources, for several n and m, all counted as
        trials. Under a false map each reference star meets a source with a probability p: the larger of the sources'
        mean density times the reach's area, and what displaced copies of the very stars show (sources come in
        clusters). The number met is binomial.
    """
    best = Evidence(0.0, 0, len(reference_px))
    if not len(reference_px) or not len(sources_px):
        return best
    depths = sorted({min(len(reference_px), n) for n in (8, 12, 18, 27, 40, 60, 90, 135, 200, len(reference_px))})
    trials = log_trials + np.log(3 * len(depths))
    bounds = []
    for factor in (2, 6, None):
        for depth in depths:
            near = sources_px if factor is None else sources_px[: factor * depth]
            tree = cKDTree(near)
            met = int(_met(tree, reference_px[:depth], reach_px).sum())
            if met >= 3:
                density = min(len(near) * np.pi * reach_px**2 / (shape[0] * shape[1]), _NO_CHANCE)
                bounds.append((trials + log_tail(met, depth, density), met, depth, density, tree))
    # What the copies show can only make a chance larger: where it is too large without, they need not be looked at.
    for bound, met, depth, density, tree in sorted(bounds, key=lambda one: one[:3]):
        if bound >= best.log_probability or best.log_probability < _ENOUGH:
            break
        moved = (reference_px[None, :depth] + _displacements(depth)[:, None] * reach_px).reshape(-1, 2)
        inside = np.all((moved >= 0) & (moved < np.array(shape[1::-1])), axis=1)
        shown, _ = tree.query(moved[inside], distance_upper_bound=reach_px)
        by_copies = (np.isfinite(shown).sum() + 1) / (inside.sum() + 1)
        log_probability = trials + log_tail(met, depth, min(_NO_CHANCE, max(density, by_copies)))
        if log_probability < best.log_probability:
            best = Evidence(log_probability, met, depth)
    return best


def log_tail(met: int, of: int, chance: float) -> float:
    """Logarithm of the probability that so many or more are met."""
    return max(float(np.log(max(betainc(met, of - met + 1, chance), 1e-300))), _LEAST)
