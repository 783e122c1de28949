"""Registration: every frame on the reference frame, by world coordinates, else stars, else correlation.

Whatever way is taken, the stars have the last word: a mapping is compared with them where there are any, corrected by
them where they agree on a correction, and never accepted when chance would match as many.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from astropy.wcs import WCS
from scipy.spatial import cKDTree

from avcd.compose.correlation import correlate
from avcd.compose.mapping import PixelMap, Registration
from avcd.compose.triangles import fit_similarity, match_triangles, pairs_within, unlikely_by_chance

__all__ = ["Registration", "RegistrationInput", "register"]

_MATCH_PX = 2.0
_WORLDS_PX = 5.0  # world coordinates are trusted to be this good
_LARGEST_SCALE_CHANGE = 0.02  # one camera's frames do not change scale by more
_LEAST_OVERLAP = 0.02
_FEW = 6  # stars
_TURN = 12  # stars from which a rotation and scale are fitted and not a shift alone


@dataclass(frozen=True)
class RegistrationInput:
    """One frame as registration sees it.

    ``data`` (ny, nx); ``mask`` a plane of `MaskBit` or None; ``wcs`` only if it can be trusted; ``stars_xy`` (n, 2),
    0-based positions, the brightest first, or None. Planes may be mapped from files: they are read where nothing but their pixels can tell.
    """

    data: Any
    mask: Any
    wcs: WCS | None
    stars_xy: np.ndarray | None


def register(images: Sequence[RegistrationInput], reference: int) -> list[Registration]:
    """Register every frame on one of them.

    Parameters
    ----------
    images
        In any order, of one camera: scales agree within two per cent; shift and rotation are free.
    reference
        Index of the frame that gives the grid.

    Returns
    -------
    list of Registration
        One a frame, in their order; "failed" with the reason where nothing fits, never left out.
    """
    base = images[reference]
    return [_identity() if index == reference else _register_one(base, one) for index, one in enumerate(images)]


def _identity() -> Registration:
    return Registration("identity", np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), rms_px=0.0)


def _register_one(base: RegistrationInput, one: RegistrationInput) -> Registration:
    found = _by_worlds(base, one) or _by_stars(base, one) or _by_correlation(base, one)
    if found.method == "failed":
        return found
    overlap = PixelMap.of(found, _shape(base)).overlap(_shape(one))
    if overlap < _LEAST_OVERLAP:
        text = f"covers {overlap:.0%} of the reference frame"
        return Registration("failed", warning=f"{found.warning}; {text}" if found.warning else text)
    return found


def _shape(one: RegistrationInput) -> tuple[int, int]:
    ny, nx = one.data.shape
    return ny, nx


def _stars(base: RegistrationInput, one: RegistrationInput, least: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Both star lists, where both have enough."""
    lists = [np.empty((0, 2)) if each.stars_xy is None else np.asarray(each.stars_xy, float) for each in (base, one)]
    return (lists[0], lists[1]) if min(map(len, lists)) >= least else None


def _by_worlds(base: RegistrationInput, one: RegistrationInput) -> Registration | None:
    """Both plate solutions, corrected by the stars; None where one is missing or the stars know better."""
    if base.wcs is None or one.wcs is None:
        return None
    found = Registration("wcs", worlds=(base.wcs, one.wcs))
    lists = _stars(base, one, 3)
    if lists is None:
        return found
    ours, theirs = lists
    mapped = np.column_stack(found.to_frame(ours[:, 0], ours[:, 1]))
    ny, nx = one.data.shape
    inside = np.isfinite(mapped).all(axis=1) & (mapped > 0).all(axis=1) & (mapped < (nx, ny)).all(axis=1)
    mapped = mapped[inside]
    matrix, first, second = _settled(mapped, theirs)
    area = float(nx * ny)
    if len(first) >= 3 and unlikely_by_chance(len(first), len(mapped), len(theirs), area, _MATCH_PX, guesses=30):
        rms = _rms(matrix, mapped[first], theirs[second])
        return replace(found, matrix=matrix, rms_px=rms, matched=len(first))
    if len(mapped) >= 10 and len(theirs) >= 10:
        better = _by_stars(base, one)
        if better is not None and (better.matched or 0) >= _FEW:
            return replace(better, warning="the stars contradict the world coordinates: registered on the stars")
        return replace(found, warning="registered by world coordinates, which the stars do not confirm")
    return found


def _settled(mapped: np.ndarray, stars: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The small correction after which the mapped stars meet the observed ones, and which pairs do."""
    matrix = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    tree = cKDTree(stars)
    first, second = pairs_within(mapped, tree, matrix, _WORLDS_PX)
    for _ in range(4):
        if len(first) < 3:
            break
        if len(first) >= _TURN:
            matrix = fit_similarity(mapped[first], stars[second])
        else:
            shift = np.median(stars[second] - mapped[first], axis=0)
            matrix = np.column_stack([np.eye(2), shift])
        first, second = pairs_within(mapped, tree, matrix, _MATCH_PX)
    return matrix, first, second


def _rms(matrix: np.ndarray, source: np.ndarray, target: np.ndarray) -> float:
    residual = target - (source @ matrix[:, :2].T + matrix[:, 2])
    return float(np.sqrt((residual**2).sum(axis=1).mean()))


def _by_stars(base: RegistrationInput, one: RegistrationInput) -> Registration | None:
    """A shift, rotation and scale from the two star lists alone; None where chance would give as good a one."""
    lists = _stars(base, one, 3)
    if lists is None:
        return None
    ours, theirs = lists
    matrix = match_triangles(ours, theirs, scale_tolerance=_LARGEST_SCALE_CHANGE)
    if matrix is None:
        return None
    tree = cKDTree(theirs)
    first, second = pairs_within(ours, tree, matrix, 1.5 * _MATCH_PX)
    for _ in range(5):
        if len(first) < 3:
            return None
        matrix = fit_similarity(ours[first], theirs[second])
        first, second = pairs_within(ours, tree, matrix, _MATCH_PX)
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    hypotheses = 0.5 * _LARGEST_SCALE_CHANGE * 2 * (len(ours) * (len(ours) - 1)) * (len(theirs) * (len(theirs) - 1))
    sure = unlikely_by_chance(
        len(first) - 2,
        len(ours) - 2,
        len(theirs),
        float(one.data.shape[0] * one.data.shape[1]),
        _MATCH_PX,
        guesses=max(hypotheses, 1.0),
    )
    if len(first) < 3 or not sure or abs(scale - 1) > _LARGEST_SCALE_CHANGE:
        return None
    few = "" if len(first) >= _FEW else f"registered on {len(first)} stars only"
    return Registration(
        "stars", matrix, rms_px=_rms(matrix, ours[first], theirs[second]), matched=len(first), warning=few
    )


def _by_correlation(base: RegistrationInput, one: RegistrationInput) -> Registration:
    if base.data.shape != one.data.shape:
        return Registration(
            "failed", warning="no world coordinates, no matching stars, another size than the reference"
        )
    (data, mask), (other, other_mask) = (_pixels(base), _pixels(one))
    shift, likeness = correlate(data, mask, other, other_mask)
    if shift is None:
        text = f"no world coordinates, no matching stars, no certain correlation (best {likeness:.2f})"
        return Registration("failed", warning=text)
    text = f"registered by correlation alone (coefficient {likeness:.2f}): shift only, no rotation"
    return Registration("correlation", np.column_stack([np.eye(2), shift]), warning=text)


def _pixels(one: RegistrationInput) -> tuple[np.ndarray, np.ndarray | None]:
    return np.asarray(one.data[:]), None if one.mask is None else np.asarray(one.mask[:])
