"""From a rough idea of how a frame lies on the sky to the stars that truly meet, and to the fit through them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from astropy.wcs import WCS
from scipy.spatial import cKDTree

from avcd.sky.chance import Evidence, log_searched, log_tail, weigh_match
from avcd.sky.fitting import Model, SkyToPixel, WorldFit, choose_model, fit_to_pixels
from avcd.sky.geometry import project
from avcd.sky.reference import Stars

# Reference stars, reach in parts of the side, and the model that is fitted where eight or more meet.
_FIRST = ((40, 0.015, Model.SIMILARITY), (60, 0.010, Model.SIMILARITY), (120, 0.007, Model.RADIAL))
_ROUNDS = 10
_SCATTERS = 4.0  # median residuals, within which stars belong together
_NEAREST_PX = 1.5
_SOURCES_PER_STAR = 4
_FEWEST = 4
_LUCK = -18.0  # ln of a probability


@dataclass(frozen=True)
class Search:
    """How widely was searched: the radius around the pointing, and how far the scale may be off, as a part of it."""

    radius_deg: float
    scale_tolerance: float
    scale_arcsec: float


@dataclass(frozen=True)
class Match:
    """A fit, the stars it rests on, and what it is worth."""

    fit: WorldFit
    pixels: np.ndarray
    ra_deg: np.ndarray
    dec_deg: np.ndarray
    reach_px: float
    evidence: Evidence
    in_field: int

    @property
    def sound(self) -> bool:
        """Whether a camera could have made it: axes about square, scales about equal."""
        stretches = np.linalg.svd(self.fit.cd, compute_uv=False)
        return bool(stretches[0] / stretches[1] < 1.02)


def pair(xy: np.ndarray, predicted: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Mutual nearest neighbours within a radius: indices into ``xy`` and ``predicted``."""
    if not len(xy) or not len(predicted):
        return np.empty(0, int), np.empty(0, int)
    distance, nearest = cKDTree(xy).query(predicted, distance_upper_bound=radius)
    good = np.flatnonzero(np.isfinite(distance))
    if not len(good):
        return np.empty(0, int), np.empty(0, int)
    _, back = cKDTree(predicted).query(xy[nearest[good]])
    good = good[back == good]
    return nearest[good], good


def inside(pixels: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Indices of the positions on the frame."""
    x, y = pixels.T
    with np.errstate(invalid="ignore"):
        return np.flatnonzero((x >= 0) & (y >= 0) & (x <= shape[1] - 1) & (y <= shape[0] - 1))


def map_of(wcs: WCS, shape: tuple[int, ...]) -> SkyToPixel:
    """World coordinates as a polynomial of the third order, from a grid over the frame and a little beyond."""
    x, y = (
        one.ravel()
        for one in np.meshgrid(np.linspace(-0.1, 1.1, 9) * (shape[1] - 1), np.linspace(-0.1, 1.1, 9) * (shape[0] - 1))
    )
    ra, dec = wcs.all_pix2world(x, y, 0)
    middle = wcs.all_pix2world((shape[1] - 1) / 2, (shape[0] - 1) / 2, 0)
    centre = float(middle[0]), float(middle[1])
    unit = max(float(np.abs(project(ra, dec, *centre)).max()), 1e-3)
    return fit_to_pixels(np.column_stack([x, y]), ra, dec, centre, unit, Model.THIRD)


def converge(
    xy: np.ndarray,
    shape: tuple[int, ...],
    stars: Stars,
    start: SkyToPixel,
    search: Search,
    max_order: int,
    *,
    rough: bool = True,
) -> Match | None:
    """Match and fit in turn, with a shrinking reach, until the same stars stay.

    Parameters
    ----------
    xy : ndarray, shape (n, 2)
        The frame's stars, the brightest first.
    stars
        Reference stars around the frame.
    start
        Where they fall, roughly; with ``rough`` false to a few pixels.
    search
        How ``start`` was found, which the evidence has to answer for.
    max_order
        Of the fit.

    Returns
    -------
    Match or None
        None where too few stars meet.
    """
    side = max(shape)
    centre, unit = (start.ra0_deg, start.dec0_deg), start.unit_arcsec
    around = 0.55 * math.hypot(*shape) * search.scale_arcsec * (1 + search.scale_tolerance)
    near = np.hypot(*project(stars.ra_deg, stars.dec_deg, *centre).T) < around
    ra, dec = stars.ra_deg[near], stars.dec_deg[near]
    sky_map, reach = start, 8.0
    if rough:
        for number, part, model in _FIRST:
            reach = max(part * side, 4.0)
            found = _meet(xy, shape, ra, dec, sky_map, reach, number)
            if len(found[0]) < _FEWEST:
                return None
            ours, theirs = found
            model = model if len(ours) >= 8 and max_order > 2 else Model.SIMILARITY
            sky_map = fit_to_pixels(xy[ours], ra[theirs], dec[theirs], centre, unit, model)
        if not _promising(xy, shape, sky_map(ra, dec), reach):
            return None
    kept: np.ndarray | None = None
    fit = None
    for _ in range(_ROUNDS):
        ours, theirs = _meet(xy, shape, ra, dec, sky_map, reach, len(ra))
        if len(ours) < _FEWEST:
            return None
        fit = choose_model(xy[ours], ra[theirs], dec[theirs], shape, max_order)
        sky_map = fit_to_pixels(xy[ours], ra[theirs], dec[theirs], centre, unit, fit.model)
        tighter = float(np.clip(_SCATTERS * np.median(fit.residual_arcsec) / fit.scale_arcsec, _NEAREST_PX, reach))
        if kept is not None and np.array_equal(kept, ours) and tighter > 0.95 * reach:
            break
        kept, reach = ours, max(tighter, 0.4 * reach)
    assert fit is not None
    predicted = sky_map(ra, dec)
    predicted = predicted[inside(predicted, shape)]
    searched = log_searched(
        search.radius_deg * 3600 / search.scale_arcsec,
        math.hypot(*shape) / 2,
        search.scale_tolerance,
        reach,
        fit.model.parameters,
    )
    evidence = weigh_match(predicted, xy, shape, reach, searched)
    return Match(fit, xy[ours], ra[theirs], dec[theirs], reach, evidence, len(predicted))


def _promising(xy: np.ndarray, shape: tuple[int, ...], predicted: np.ndarray, reach: float) -> bool:
    """Whether more stars meet than would by the sources' mean density, less the luck of the best of many proposals."""
    predicted = predicted[inside(predicted, shape)][: _FIRST[-1][0]]
    bright = xy[: max(40, _SOURCES_PER_STAR * len(predicted))]
    met = len(pair(bright, predicted, reach)[0])
    covered = min(len(bright) * np.pi * reach**2 / (shape[0] * shape[1]), 0.9)
    return met >= _FEWEST and log_tail(met, len(predicted), covered) < _LUCK


def _meet(
    xy: np.ndarray,
    shape: tuple[int, ...],
    ra: np.ndarray,
    dec: np.ndarray,
    sky_map: SkyToPixel,
    reach: float,
    number: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Indices of frame's and reference stars that meet, of the brightest on the frame."""
    predicted = sky_map(ra, dec)
    here = inside(predicted, shape)[:number]
    # No more sources than stars could be: each further one is a chance to meet by accident.
    bright = xy[: max(40, _SOURCES_PER_STAR * len(here))]
    ours, theirs = pair(bright, predicted[here], reach)
    return ours, here[theirs]
