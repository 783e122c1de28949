"""Principal components of many filters: the three independent ways in which most of the light varies from place to place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

_LIT = 3.0  # in standard deviations of the noise, in any filter, for a place to tell
_FEWEST = 200
_SPREAD = 99.7  # percentile of a component's values that is one


@dataclass(frozen=True)
class Components:
    """The first components: each a sum of filters, by their names, and the part of all variance that it has."""

    weights: tuple[Mapping[str, float], ...]
    shares: tuple[float, ...]


def principal_components(images: Mapping[str, np.ndarray], number: int = 3) -> Components:
    """The principal components of images of several filters.

    Parameters
    ----------
    images
        By filter, of one shape, finite, the sky at about the same level everywhere. They are brought to one variance
        first, so that neither units nor brightness decide.
    number
        How many components, at most the number of filters.

    Returns
    -------
    Components
        By the singular values of what stands out of the noise, the largest first (Jolliffe 2002, Principal Component Analysis).
        The weights are for the images as they are given, of a size with which a component's brightest parts are about one; their
        sign is that with which its largest weight, that of the filter as brought to one variance, is above zero, of
        equals that of the first in the alphabet: the order of the images does not matter.
    """
    names = sorted(images)
    values = np.stack([np.asarray(images[name], np.float64).ravel() for name in names])
    values -= np.median(values, axis=1, keepdims=True)
    noise = 1.4826 * np.median(np.abs(values), axis=1, keepdims=True)
    lit = (values > _LIT * noise).any(axis=0)
    chosen = values[:, lit] if np.count_nonzero(lit) >= _FEWEST else values
    spread = chosen.std(axis=1, keepdims=True)
    spread[spread == 0] = 1.0
    scaled = (chosen - chosen.mean(axis=1, keepdims=True)) / spread
    vectors, singular, _ = np.linalg.svd(scaled, full_matrices=False)
    shares = singular**2 / max(float((singular**2).sum()), 1e-300)
    found = []
    for vector in vectors.T[:number]:
        signed = vector * np.sign(vector[np.argmax(np.abs(vector) > np.abs(vector).max() - 1e-9)])
        weights = signed / spread[:, 0]
        bright = float(np.percentile(weights @ chosen, _SPREAD))
        found.append(dict(zip(names, (weights / bright if bright > 0 else weights).tolist(), strict=True)))
    return Components(tuple(found), tuple(float(one) for one in shares[:number]))
