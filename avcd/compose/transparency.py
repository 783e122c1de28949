"""How much of a star's light came through in one frame, beside another: clouds, haze and airmass, from the stars of both.

It is what pixels of a stack are multiplied by, and so is of two frames, one of them that which gives the stack its scale; of stars that
both have; and nothing where these do not agree. `avcd.sky.relative` judges frames: it holds each against the clearest
of all, counts stars that are missing as dark, and tells how patchy the light is. What the one says of a frame is what the other does,
over what that says of the reference (`tests/test_stack_screening.py`).
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from avcd.compose.mapping import Registration
from avcd.compose.triangles import pairs_within

_MEET_PX = 2.0
_BRIGHTEST = 100
_FEWEST = 5
_LARGEST_ERROR = 0.05
_ITSELF = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


def transparency(
    reference_xy: np.ndarray, reference_flux: np.ndarray, xy: np.ndarray, flux: np.ndarray, registration: Registration
) -> float | None:
    """The ratio of the fluxes of the same stars, frame over reference.

    Parameters
    ----------
    reference_xy, xy : shape (n, 2) and (m, 2)
        0-based positions, the brightest first.
    reference_flux, flux : shape (n,) and (m,)
        For one exposure time, and of apertures that hold the same part of a star's light.
    registration
        Of the frame on the reference, not failed.

    Returns
    -------
    float or None
        The median over the stars that both have; None of fewer than five, or where these do not agree to a few per cent.
    """
    ours = reference_xy[:_BRIGHTEST]
    if len(ours) < _FEWEST or len(xy) < _FEWEST:
        return None
    mapped = np.column_stack(registration.to_frame(ours[:, 0], ours[:, 1]))
    known = np.flatnonzero(np.isfinite(mapped).all(axis=1))
    first, second = pairs_within(mapped[known], cKDTree(xy), _ITSELF, _MEET_PX)
    before, after = reference_flux[known[first]], flux[second]
    good = (before > 0) & (after > 0)
    if np.count_nonzero(good) < _FEWEST:
        return None
    ratio = np.log(after[good] / before[good])
    middle = float(np.median(ratio))
    scatter = 1.4826 * float(np.median(np.abs(ratio - middle)))
    return float(np.exp(middle)) if scatter / np.sqrt(len(ratio)) < _LARGEST_ERROR else None
