"""Registration: where each frame's pixels lie on the reference frame. World coordinates, else stars, else correlation."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from astropy.wcs import WCS
from scipy.fft import irfft2, rfft2
from scipy.spatial import cKDTree

from avcd.compose.triangles import match_triangles

_MATCH_PX = 2.0
_LARGEST_SCALE_CHANGE = 0.02  # one camera's frames do not change scale by more
_PEAK_SIGMA = 8.0  # a correlation peak below this is noise
_GRID = 32  # px, between the points where the world coordinates are evaluated


@dataclass(frozen=True)
class RegistrationInput:
    """One frame as registration sees it; ``stars_xy`` are 0-based positions, the brightest first, shape (n, 2)."""

    data: np.ndarray
    mask: np.ndarray | None
    wcs: WCS | None
    stars_xy: np.ndarray | None


@dataclass(frozen=True)
class Registration:
    """How to get from the reference frame's pixels to a frame's own.

    ``method`` is "wcs", "stars", "phase", "identity" or "failed". ``matrix`` (2, 3) maps (x, y, 1) of the reference to
    (x, y) of the frame; for "wcs" the two world coordinates are used instead, exactly.
    """

    method: str
    matrix: np.ndarray | None = None
    worlds: tuple[WCS, WCS] | None = None
    rms_px: float | None = None
    matched: int | None = None
    warning: str = ""

    def to_frame(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The frame's pixel positions of reference positions; any shape, 0-based.

        Raises
        ------
        ValueError
            The registration failed.
        """
        if self.worlds is not None:
            here, there = self.worlds
            ra, dec = here.all_pix2world(x, y, 0)
            found = there.all_world2pix(ra, dec, 0, quiet=True)
            return np.asarray(found[0]), np.asarray(found[1])
        if self.matrix is None:
            raise ValueError("a failed registration has no mapping")
        (a, b, c), (d, e, f) = self.matrix
        return a * x + b * y + c, d * x + e * y + f

    def grid(self, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """The frame's positions of every pixel of a reference of ``shape``, each of shape (ny, nx).

        World coordinates are evaluated on a coarse grid and interpolated bilinearly: distortions are smooth, and the
        error stays below a hundredth of a pixel.
        """
        ny, nx = shape
        if self.worlds is None:
            y, x = np.mgrid[0:ny, 0:nx].astype(np.float64)
            return self.to_frame(x, y)
        rows, columns = (np.append(np.arange(0, size - 1, _GRID), size - 1).astype(float) for size in (ny, nx))
        coarse = self.to_frame(*np.meshgrid(columns, rows))
        return tuple(_refine(one, rows, columns, shape) for one in coarse)  # type: ignore[return-value]


def _refine(coarse: np.ndarray, rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    ny, nx = shape
    wide = np.stack([np.interp(np.arange(nx), columns, row) for row in coarse])
    index = np.clip(np.searchsorted(rows, np.arange(ny), side="right") - 1, 0, max(len(rows) - 2, 0))
    if len(rows) == 1:
        return np.repeat(wide, ny, axis=0)
    part = ((np.arange(ny) - rows[index]) / (rows[index + 1] - rows[index]))[:, None]
    return np.asarray(wide[index] * (1 - part) + wide[index + 1] * part)


def register(images: Sequence[RegistrationInput], reference: int) -> list[Registration]:
    """Register every frame on one of them.

    Parameters
    ----------
    images
        In any order.
    reference
        Index of the frame that gives the grid.

    Returns
    -------
    list of Registration
        One a frame, in their order; "failed" with the reason where nothing fits, never left out.
    """
    base = images[reference]
    found = []
    for index, one in enumerate(images):
        if index == reference:
            found.append(Registration("identity", np.array([[1.0, 0, 0], [0, 1.0, 0]]), rms_px=0.0))
        elif base.wcs is not None and one.wcs is not None:
            found.append(Registration("wcs", worlds=(base.wcs, one.wcs)))
        else:
            found.append(_by_stars(base, one) or _by_correlation(base, one))
    return found


def _by_stars(base: RegistrationInput, one: RegistrationInput) -> Registration | None:
    if base.stars_xy is None or one.stars_xy is None or min(len(base.stars_xy), len(one.stars_xy)) < 3:
        return None
    matrix = match_triangles(base.stars_xy, one.stars_xy, scale_tolerance=_LARGEST_SCALE_CHANGE)
    if matrix is None:
        return None
    tree = cKDTree(one.stars_xy)
    pairs = None
    for _ in range(5):
        moved = base.stars_xy @ matrix[:, :2].T + matrix[:, 2]
        distance, nearest = tree.query(moved)
        pairs = np.flatnonzero(distance < _MATCH_PX)
        if len(pairs) < 3:
            return None
        matrix = _similarity(base.stars_xy[pairs], one.stars_xy[nearest[pairs]])
    residual = one.stars_xy[nearest[pairs]] - (base.stars_xy[pairs] @ matrix[:, :2].T + matrix[:, 2])
    rms = float(np.sqrt((residual**2).sum(axis=1).mean()))
    few = "" if len(pairs) >= 6 else f"registered on {len(pairs)} stars only"
    return Registration("stars", matrix, rms_px=rms, matched=len(pairs), warning=few)


def _similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The least-squares shift, rotation and scale (Umeyama 1991, IEEE PAMI 13, 376), shape (2, 3)."""
    centre, goal = source.mean(axis=0), target.mean(axis=0)
    one = (source - centre) @ np.array([1, 1j])
    two = (target - goal) @ np.array([1, 1j])
    factor = (two * one.conj()).sum() / (np.abs(one) ** 2).sum()
    linear = np.array([[factor.real, -factor.imag], [factor.imag, factor.real]])
    return np.column_stack([linear, goal - linear @ centre])


def _by_correlation(base: RegistrationInput, one: RegistrationInput) -> Registration:
    """A shift from the phase correlation of two frames (Kuglin & Hines 1975), to a fraction of a pixel."""
    if base.data.shape != one.data.shape:
        return Registration(
            "failed", warning="no world coordinates, too few stars, and another size than the reference"
        )
    surface = _phase(_prepared(base), _prepared(one))
    peak = np.unravel_index(int(np.argmax(surface)), surface.shape)
    significance = float((surface[peak] - surface.mean()) / surface.std()) if surface.std() > 0 else 0.0
    if not significance > _PEAK_SIGMA:
        return Registration(
            "failed", warning=f"no world coordinates, too few stars, no correlation ({significance:.1f} sigma)"
        )
    shift = [_sub_pixel(surface, peak, axis) for axis in (0, 1)]
    matrix = np.array([[1.0, 0, -shift[1]], [0, 1.0, -shift[0]]])
    text = f"registered by phase correlation alone ({significance:.0f} sigma): shift only, no rotation"
    return Registration("phase", matrix, warning=text)


def _prepared(one: RegistrationInput) -> np.ndarray:
    """Structure without borders or outliers: background off, bright cores limited, a smooth window to zero at the edge."""
    data = np.where(np.isfinite(one.data), one.data, np.nan).astype(np.float64)
    if one.mask is not None:
        data = np.where(one.mask == 0, data, np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        level = float(np.nanmedian(data)) if np.isfinite(data).any() else 0.0
        scatter = 1.4826 * float(np.nanmedian(np.abs(data - level))) if np.isfinite(data).any() else 1.0
    data = np.clip(np.nan_to_num(data - level), -3 * scatter, 50 * scatter)
    windows = [np.hanning(size) for size in data.shape]
    return np.asarray(data * np.outer(*windows))


def _phase(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    product = rfft2(first) * np.conj(rfft2(second))
    strength = np.abs(product)
    return np.asarray(irfft2(product / np.maximum(strength, 1e-12 * strength.max() + 1e-300), first.shape))


def _sub_pixel(surface: np.ndarray, peak: Sequence[np.intp], axis: int) -> float:
    size = surface.shape[axis]
    place = list(peak)
    values = []
    for step in (-1, 0, 1):
        place[axis] = (peak[axis] + step) % size
        values.append(float(surface[tuple(place)]))
    bend = values[0] - 2 * values[1] + values[2]
    offset = 0.5 * (values[0] - values[2]) / bend if bend else 0.0
    position = float(peak[axis]) + float(np.clip(offset, -0.5, 0.5))
    return position - size if position > size / 2 else position
