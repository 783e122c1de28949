"""Light curves by an ensemble of comparison stars, from the star lists of many frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

_FEWEST = 3  # comparison stars
_MOST = 100
_SHARE = 0.8  # of the frames that a comparison star is in
_LARGEST_ERROR_MAG = 0.05  # of a comparison star, median
_FLOOR_MAG = 0.003  # no star is measured better than flats and seeing allow
_VARIABLE = 2.5  # times the scatter that its errors explain, and those of its peers: no comparison star
_ROUNDS = 30
_MAD = 1.4826


@dataclass(frozen=True)
class StarList:
    """The stars of one frame: ICRS positions in degrees, fluxes with errors, flags of `avcd.sky.detection.SourceFlag`.

    ``reach_arcsec``: within which a star is the same; ``zero_point``: magnitude of a flux of one a second, if known.
    """

    ra_deg: np.ndarray
    dec_deg: np.ndarray
    flux: np.ndarray
    flux_err: np.ndarray
    flags: np.ndarray
    exposure_s: float
    reach_arcsec: float = 3.0
    zero_point: float | None = None


@dataclass(frozen=True)
class LightCurve:
    """Magnitudes of a star and of its check star, one each for a frame; NaN where it was not measured.

    ``mag`` is on the scale of the frames' zero points where ``calibrated``, else relative to the mean of the ensemble.
    ``comparisons`` counts the comparison stars of each frame; ``ensemble`` has their positions (ra, dec), ``scatter_mag``
    how much each scatters.
    """

    mag: np.ndarray
    error_mag: np.ndarray
    check_mag: np.ndarray
    flags: np.ndarray
    comparisons: np.ndarray
    ensemble: np.ndarray
    scatter_mag: np.ndarray
    calibrated: bool


def measure_light_curve(frames: Sequence[StarList], ra_deg: float, dec_deg: float) -> LightCurve | None:
    """Differential photometry of one star against many.

    Parameters
    ----------
    frames
        Of one camera and filter.
    ra_deg, dec_deg
        Where the star is.

    Returns
    -------
    LightCurve or None
        None where it is in no frame, or has fewer than three comparison stars.

    Notes
    -----
    Comparison stars are without flags, in most of the frames, and of small error. Their mean magnitudes and the frames'
    offsets are found together, weighted by their errors (Honeycutt 1992, PASP 104, 435); those that vary by more than
    their errors and their peers do are left out, and it is done again. The error of a point is the star's own with that of
    its frame's offset.
    """
    target = [_nearest(one, ra_deg, dec_deg) for one in frames]
    seen = [index for index, row in enumerate(target) if row is not None]
    if not seen:
        return None
    first = max(seen, key=lambda index: (int((frames[index].flags == 0).sum()), -index))
    places, mags, errors = _matched(frames, first)
    away = _apart_arcsec(places, ra_deg, dec_deg) > 3 * frames[first].reach_arcsec
    part = np.isfinite(mags[seen]).mean(axis=0)
    typical = _medians(errors)
    good = np.flatnonzero(away & (part >= _SHARE) & (typical <= _LARGEST_ERROR_MAG))
    good = good[np.argsort(typical[good], kind="stable")][:_MOST]
    while len(good) >= _FEWEST:
        means, offsets, weights = _solve(mags[:, good], errors[:, good])
        left = mags[:, good] - means - offsets[:, None]
        scatter = _spread(left)
        ratio = scatter / np.hypot(typical[good], _FLOOR_MAG)
        steady = ratio <= _VARIABLE * max(float(np.median(ratio)), 1.0)
        if steady.all():
            break
        good = good[steady]
    else:
        return None
    return _curve(frames, target, places[good], scatter, mags[:, good], means, offsets, weights)


def _curve(
    frames: Sequence[StarList],
    target: Sequence[int | None],
    places: np.ndarray,
    scatter: np.ndarray,
    mags: np.ndarray,
    means: np.ndarray,
    offsets: np.ndarray,
    weights: np.ndarray,
) -> LightCurve:
    own, own_error = np.full(len(frames), np.nan), np.full(len(frames), np.nan)
    flags = np.zeros(len(frames), int)
    for index, (one, row) in enumerate(zip(frames, target, strict=True)):
        if row is not None and one.flux[row] > 0:
            own[index] = _instrumental(one)[row]
            own_error[index] = 2.5 / np.log(10) * one.flux_err[row] / one.flux[row]
            flags[index] = int(one.flags[row])
    total = weights.sum(axis=1)
    known = total > 0
    left = np.where(weights > 0, mags - means - offsets[:, None], 0.0)
    counts = (weights > 0).sum(axis=1)
    with np.errstate(all="ignore"):
        # What the ensemble's own scatter says of its mean, or its errors, whichever is more.
        formal = 1.0 / np.sqrt(total)
        found = np.sqrt((weights * left**2).sum(axis=1) / total / np.maximum(counts - 1, 1))
        error = np.hypot(own_error, np.maximum(formal, found))
        check = int(np.argmin(np.abs(means - _medians((own - offsets)[:, None]))))
        without = weights.copy()
        without[:, check] = 0.0
        offsets_without = (without * np.where(without > 0, mags - means, 0.0)).sum(axis=1) / without.sum(axis=1)
    zero_points = [
        one.zero_point + offset
        for one, offset, sure in zip(frames, offsets, known, strict=True)
        if one.zero_point is not None and sure
    ]
    scale = float(np.median(zero_points)) if zero_points else -float(np.mean(means))
    return LightCurve(
        mag=np.where(known, own - offsets + scale, np.nan),
        error_mag=np.where(known, error, np.nan),
        check_mag=np.where(known, mags[:, check] - offsets_without + scale, np.nan),
        flags=flags,
        comparisons=counts,
        ensemble=places,
        scatter_mag=scatter,
        calibrated=bool(zero_points),
    )


def _solve(mags: np.ndarray, errors: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean magnitudes of stars and offsets of frames, and the weights: by turns, until both stand still."""
    there = np.isfinite(mags) & np.isfinite(errors)
    weights = np.where(there, 1.0 / (np.where(there, errors, 1.0) ** 2 + _FLOOR_MAG**2), 0.0)
    values = np.where(there, mags, 0.0)
    by_star, by_frame = np.maximum(weights.sum(axis=0), 1e-30), np.maximum(weights.sum(axis=1), 1e-30)
    means, offsets = (weights * values).sum(axis=0) / by_star, np.zeros(len(mags))
    for _ in range(_ROUNDS):
        offsets = (weights * (values - means)).sum(axis=1) / by_frame
        offsets -= np.median(offsets[weights.sum(axis=1) > 0])
        means = (weights * (values - offsets[:, None])).sum(axis=0) / by_star
    return means, offsets, weights


def _matched(frames: Sequence[StarList], first: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions of one frame's stars, and the magnitudes and errors, (frames, stars), of those without flags."""
    reference = frames[first]
    tree = cKDTree(_directions(reference.ra_deg, reference.dec_deg))
    mags = np.full((len(frames), len(reference.ra_deg)), np.nan)
    errors = np.full_like(mags, np.nan)
    for index, one in enumerate(frames):
        good = np.flatnonzero((one.flags == 0) & (one.flux > 0))
        if not len(good):
            continue
        chord = np.radians(one.reach_arcsec / 3600)
        distance, which = tree.query(_directions(one.ra_deg[good], one.dec_deg[good]), distance_upper_bound=chord)
        near = np.isfinite(distance)
        order = np.flatnonzero(near)[np.argsort(-distance[near], kind="stable")]  # of two the nearer one stays
        mags[index, which[order]] = _instrumental(one)[good[order]]
        errors[index, which[order]] = 2.5 / np.log(10) * (one.flux_err / np.maximum(one.flux, 1e-300))[good[order]]
    return np.column_stack([reference.ra_deg, reference.dec_deg]), mags, errors


def _instrumental(one: StarList) -> np.ndarray:
    found: np.ndarray = -2.5 * np.log10(np.maximum(one.flux, 1e-300) / one.exposure_s)
    return found


def _nearest(one: StarList, ra_deg: float, dec_deg: float) -> int | None:
    if not len(one.ra_deg):
        return None
    apart = _apart_arcsec(np.column_stack([one.ra_deg, one.dec_deg]), ra_deg, dec_deg)
    best = int(np.argmin(apart))
    return best if apart[best] <= one.reach_arcsec else None


def _apart_arcsec(places: np.ndarray, ra_deg: float, dec_deg: float) -> np.ndarray:
    there = _directions(np.array([ra_deg]), np.array([dec_deg]))
    chord = np.sqrt(((_directions(places[:, 0], places[:, 1]) - there) ** 2).sum(axis=1))
    apart: np.ndarray = np.degrees(2 * np.arcsin(np.minimum(chord / 2, 1.0))) * 3600
    return apart


def _directions(ra_deg: np.ndarray, dec_deg: np.ndarray) -> np.ndarray:
    ra, dec = np.radians(ra_deg), np.radians(dec_deg)
    return np.column_stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])


def _spread(left: np.ndarray) -> np.ndarray:
    """Robust standard deviation of each column; infinite where it holds nothing."""
    return np.nan_to_num(_MAD * _medians(np.abs(left - _medians(left))), nan=np.inf)


def _medians(values: np.ndarray) -> np.ndarray:
    """The median of each column's numbers; NaN where it has none."""
    ordered = np.sort(values, axis=0)  # NaN come last
    count = np.isfinite(values).sum(axis=0)
    columns = np.arange(values.shape[1])
    low, high = np.maximum((count - 1) // 2, 0), np.minimum(count // 2, len(values) - 1)
    found: np.ndarray = np.where(count > 0, (ordered[low, columns] + ordered[high, columns]) / 2, np.nan)
    return found
