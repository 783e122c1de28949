"""Frames of one field in one filter, held against the best of them: transparency, sharpness, sky, and what hides stars."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from avcd.sky.detection import Sources

_SIGNAL = 20.0  # of a reference star's flux over its error
_COMPARED = 300
_FEWEST = 5
_MEET_PX = 2.0
_APART_FWHM = 3.0  # neighbours nearer than this share their light
_BEST_PART = 0.25  # of the frames: the best, the sharpest, those of the darkest sky
_SHOWN = 0.5  # of the stars: a frame with fewer is no measure for others
_GRID = 6
_PER_CELL = 4  # stars that a cell must have before it can be called hidden
_FOUND = 0.2  # of a cell's stars; fewer, and it is hidden
_CLEAR = 0.7  # of a cell's stars; where so many are found, nothing hides them

Mapping = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Member:
    """One frame among others: its stars, where the reference's positions lie on it, and what was measured on it.

    ``to_frame`` maps x, y of the reference to the frame's own pixels; None: the frame could not be registered.
    ``sky`` and ``noise`` are background and its scatter, in the unit of the fluxes.
    """

    sources: Sources
    shape: tuple[int, int]
    to_frame: Mapping | None
    exposure_s: float | None
    fwhm_px: float | None
    sky: float
    noise: float


@dataclass(frozen=True)
class Relative:
    """A frame against the best of its companions; None: not known.

    ``transparency`` is the light of its stars over that of the same stars in the clearest frames, a second each;
    ``transparency_scatter`` how much that differs from place to place, beyond the stars' errors; ``stars_found`` the part
    of the reference's bright stars that it shows, of ``stars_expected``; ``hidden_cells`` of ``cells`` lack their stars;
    ``fwhm_ratio`` is its width over that of the sharpest, ``sky_ratio`` its sky over the darkest, and ``depth`` its
    exposure in terms of one as clear, sharp and dark as the best (teff, Neilsen et al. 2016, FERMILAB-TM-2610).
    """

    transparency: float | None = None
    transparency_scatter: float | None = None
    stars_found: float | None = None
    stars_expected: int = 0
    hidden_cells: int | None = None
    cells: int | None = None
    fwhm_ratio: float | None = None
    sky_ratio: float | None = None
    depth: float | None = None

    def as_metrics(self) -> dict[str, float]:
        """The figures that are known, by name."""
        values = {name: getattr(self, name) for name in RELATIVE_FIGURES}
        return {name: float(value) for name, value in values.items() if value is not None}


RELATIVE_FIGURES = (
    "transparency", "transparency_scatter", "stars_found", "stars_expected", "hidden_cells", "cells", "fwhm_ratio",
    "sky_ratio", "depth",
)  # fmt: skip


def compare_frames(members: Sequence[Member], grid: tuple[int, int]) -> list[Relative]:
    """Hold frames against the best of them.

    Parameters
    ----------
    members
        Frames of one camera, field and filter, in any order; fluxes in one unit. Of a single one nothing can be said.
    grid
        (ny, nx) of the pixels that ``to_frame`` starts from. The stars of the frame that shows most are looked for in all.

    Returns
    -------
    list of Relative
        In the order of the frames. The best are the quarter of the frames with most light, least width, darkest sky,
        among those that show half of the stars or more: what a covered telescope has is neither sharp nor dark.
    """
    if len(members) < 2:
        return [Relative() for _ in members]
    stars = _stars_of(members, grid)
    measured = [_measure(stars, one) for one in members]
    light = np.array([np.nan if one is None else one.light for one in measured])
    best_light = _best(light, largest=True)
    widths = np.array([np.nan if one.fwhm_px is None else one.fwhm_px for one in members])
    skies = np.array([one.sky / (one.exposure_s or 1.0) for one in members])
    noises = np.array([one.noise / np.sqrt(one.exposure_s or 1.0) for one in members])
    shown = np.array([one is not None and one.found >= _SHOWN for one in measured])
    fit = shown if shown.any() else np.ones(len(members), bool)
    sharpest, darkest, quietest = (_best(values[fit], largest=False) for values in (widths, skies, noises))
    found = []
    for index, (one, member) in enumerate(zip(measured, members, strict=True)):
        transparency = None if one is None or not best_light > 0 else float(light[index] / best_light)
        width = float(widths[index] / sharpest) if np.isfinite(widths[index]) and sharpest > 0 else None
        noise = float(noises[index] / quietest) if quietest > 0 else None
        depth = None
        if transparency is not None and width is not None and noise:
            depth = float((transparency / (width * noise)) ** 2)
        found.append(
            Relative(
                transparency=transparency,
                transparency_scatter=None if one is None else one.scatter,
                stars_found=None if one is None else one.found,
                stars_expected=len(stars.flux) if one is None else one.expected,
                hidden_cells=None if one is None else one.hidden,
                cells=None if one is None else one.cells,
                fwhm_ratio=width,
                sky_ratio=float(skies[index] / darkest) if darkest > 0 and member.sky > 0 else None,
                depth=depth,
            )
        )
    return found


@dataclass(frozen=True)
class _Light:
    light: float
    scatter: float | None
    found: float
    expected: int
    hidden: int | None
    cells: int | None


@dataclass(frozen=True)
class _Stars:
    """The stars that are looked for: where they lie on the grid, their light a second, and its relative error."""

    x: np.ndarray
    y: np.ndarray
    flux: np.ndarray
    error: np.ndarray


def _stars_of(members: Sequence[Member], grid: tuple[int, int]) -> _Stars:
    """The bright single stars of the frame that has most of them."""
    chosen = [_bright_and_single(one.sources) if one.to_frame is not None else np.empty(0, int) for one in members]
    best = int(np.argmax([len(one) for one in chosen]))
    stars, member = chosen[best], members[best]
    sources = member.sources
    if member.to_frame is None or not len(stars):
        return _Stars(*np.empty((4, 0)))
    x, y = _on_grid(member.to_frame, grid, sources.x[stars], sources.y[stars])
    return _Stars(x, y, sources.flux[stars] / (member.exposure_s or 1.0), sources.flux_err[stars] / sources.flux[stars])


def _on_grid(to_frame: Mapping, grid: tuple[int, int], x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The grid's positions of a frame's: the inverse of ``to_frame``, by an affine guess and its corrections."""
    rows, columns = np.meshgrid(np.linspace(0, grid[0] - 1, 8), np.linspace(0, grid[1] - 1, 8), indexing="ij")
    here = np.column_stack([columns.ravel(), rows.ravel()])
    there = np.column_stack(to_frame(here[:, 0], here[:, 1]))
    good = np.isfinite(there).all(axis=1)
    design = np.column_stack([there[good], np.ones(np.count_nonzero(good))])
    affine = np.linalg.lstsq(design, here[good], rcond=None)[0]
    wanted = np.column_stack([x, y])
    found = np.column_stack([wanted, np.ones(len(x))]) @ affine
    for _ in range(4):
        found = found + (wanted - np.column_stack(to_frame(found[:, 0], found[:, 1]))) @ affine[:2]
    return found[:, 0], found[:, 1]


def _bright_and_single(sources: Sources) -> np.ndarray:
    """Indices of stars that can be compared, the brightest first."""
    with np.errstate(divide="ignore", invalid="ignore"):
        good = np.flatnonzero((sources.flags == 0) & (sources.flux > _SIGNAL * sources.flux_err))
    if len(good) and len(sources) > 1:
        places = np.column_stack([sources.x, sources.y])
        distance, _ = cKDTree(places).query(places[good], k=2)
        good = good[distance[:, 1] > _APART_FWHM * float(np.median(sources.fwhm_px[good]))]
    return good[:_COMPARED]


def _measure(stars: _Stars, one: Member) -> _Light | None:
    """A frame's light over that of the stars as they should be; None where too few should be on it."""
    if one.to_frame is None or len(stars.flux) < _FEWEST:
        return None
    x, y = one.to_frame(stars.x, stars.y)
    ny, nx = one.shape
    edge = 3.0 + (one.fwhm_px or 3.0)
    with np.errstate(invalid="ignore"):
        inside = (x >= edge) & (y >= edge) & (x <= nx - 1 - edge) & (y <= ny - 1 - edge)
    if np.count_nonzero(inside) < _FEWEST:
        return None
    x, y, flux, error = x[inside], y[inside], stars.flux[inside], stars.error[inside]
    ratio, noise, seen = _ratios(one, x, y, flux, error)
    bright = seen & (ratio > _FOUND * float(np.median(ratio[seen]))) if seen.any() else seen
    cells = _cells(x, y, bright, one.shape)
    # A star that is not there has lost its light: leaving it out would make clouds transparent. What hides a part of the
    # field alone takes no light from the others.
    counted = np.ones(len(x), bool) if cells is None else ~cells.hidden[cells.of_star]
    light = float(np.median(np.where(seen, ratio, 0.0)[counted])) if counted.any() else 0.0
    scatter = None
    if np.count_nonzero(seen) >= _FEWEST:
        # Between the 16th and 84th percentile: gaps in clouds make two groups of stars, not one wide one.
        spread = float(np.subtract(*np.percentile(ratio[seen], [84, 16]))) / (2 * float(np.median(ratio[seen])))
        scatter = float(np.sqrt(max(spread**2 - float(np.median(noise[seen])) ** 2, 0.0)))
    return _Light(
        light,
        scatter,
        float(np.mean(seen)),
        len(flux),
        None if cells is None else int(np.count_nonzero(cells.hidden)),
        None if cells is None else int(np.count_nonzero(cells.judged)),
    )


def _ratios(
    one: Member, x: np.ndarray, y: np.ndarray, flux: np.ndarray, error: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Light a second over what it should be, its relative error, and whether the star is there; one value a star."""
    sources = one.sources
    if not len(sources):
        nothing = np.zeros(len(flux))
        return nothing, nothing, nothing.astype(bool)
    reach = max(_MEET_PX, 0.7 * (one.fwhm_px or 0.0))
    distance, nearest = cKDTree(np.column_stack([sources.x, sources.y])).query(np.column_stack([x, y]))
    seen = distance <= reach
    ratio = np.where(seen, sources.flux[nearest] / (one.exposure_s or 1.0) / flux, 0.0)
    noise = np.hypot(sources.flux_err[nearest] / np.maximum(sources.flux[nearest], 1e-30), error)
    return ratio, noise, seen


@dataclass(frozen=True)
class _Cells:
    """A grid over the field: the cell of each star, which cells could be judged, and which lack nearly all their stars."""

    of_star: np.ndarray
    judged: np.ndarray
    hidden: np.ndarray


def _cells(x: np.ndarray, y: np.ndarray, there: np.ndarray, shape: tuple[int, int]) -> _Cells | None:
    """None where there are too few stars for a grid, or where most cells lack theirs: then it is no matter of place."""
    ny, nx = shape
    side = int(np.clip(np.sqrt(len(x) / (2 * _PER_CELL)), 1, _GRID))
    if side < 2:
        return None
    cell = np.clip(y / ny * side, 0, side - 1).astype(int) * side + np.clip(x / nx * side, 0, side - 1).astype(int)
    wanted, found = np.bincount(cell, minlength=side**2), np.bincount(cell, there, minlength=side**2)
    judged = wanted >= _PER_CELL
    hidden = judged & (found <= _FOUND * wanted)
    clear = judged & (found >= _CLEAR * wanted)
    return _Cells(cell, judged, hidden & (np.count_nonzero(clear) >= 0.3 * np.count_nonzero(judged)))


def _best(values: np.ndarray, *, largest: bool) -> float:
    """The median of the best quarter of the known values, at least one; NaN where none is known."""
    known = np.sort(values[np.isfinite(values)])
    if not len(known):
        return float("nan")
    count = max(1, round(_BEST_PART * len(known)))
    return float(np.median(known[-count:] if largest else known[:count]))
