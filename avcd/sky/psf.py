"""The shape of stars over a frame: elliptical Gaussians fitted to bright single stars, at the centre and in the corners."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from avcd.frame import MaskBit
from avcd.sky.detection import Sources

REGIONS = ("CN", "TL", "TR", "BL", "BR")  # centre; top and bottom, left and right, row one at the bottom
_PER_REGION = 9
_SIGNAL = 30.0  # of a star's flux over its error
_REACH_FWHM = 1.5  # half side of the box
_CORE_FWHM = 1.0  # radius of what is fitted: the wings of a star are no Gaussian's
_LEAST_CORE_PX = 2.3
_MOST_PX = 30
_ROUNDS = 30
_CLIP = 3.0
_MAD = 1.4826
_FWHM_PER_SIGMA = 2.0 * np.sqrt(2.0 * np.log(2.0))
_FEWEST = 3  # stars whose scatter tells an error


@dataclass(frozen=True)
class Psf:
    """The stars' shape in one region of a frame.

    ``region`` is one of `REGIONS`; ``stars`` were fitted. ``fwhm_px`` is the geometric mean of both axes, ``fwhm_err_px``
    its standard error from the scatter of the stars, None for fewer than three; ``fwhm_x_px`` and ``fwhm_y_px`` are the
    widths along columns and rows; ``ellipticity`` 1 - b/a; ``theta_deg`` from the x axis to the major axis, 0 to 180.
    """

    region: str
    stars: int
    fwhm_px: float
    fwhm_err_px: float | None
    fwhm_x_px: float
    fwhm_y_px: float
    ellipticity: float
    theta_deg: float

    @property
    def is_round(self) -> bool | None:
        """Whether both widths agree within three errors; None where no error is known."""
        if self.fwhm_err_px is None:
            return None
        return bool(abs(self.fwhm_x_px - self.fwhm_y_px) <= 3.0 * np.sqrt(2.0) * max(self.fwhm_err_px, 1e-6))


def measure_psf(data: np.ndarray, mask: np.ndarray | None, sources: Sources) -> tuple[Psf, ...]:
    """Fit single bright stars, and sum them up by region.

    Parameters
    ----------
    data : ndarray, shape (ny, nx)
        The frame, background included.
    mask : ndarray of `MaskBit` planes or of bool, or None
        Masked pixels take no part, those of replaced cosmic rays neither.
    sources
        As detected on the frame. Saturated, masked, cut, blended and crowded ones are not fitted.

    Returns
    -------
    tuple of Psf
        In the order of `REGIONS`; regions without a star that could be fitted are left out. The centre is the circle of
        a quarter of the shorter side, the corners are the quadrants outside of it.

    Notes
    -----
    An elliptical Gaussian on a constant, by damped least squares (Marquardt 1963, J. SIAM 11, 431), weighted by the
    noise of background and star. A Moffat star (beta 3) is fitted a few per cent too wide.
    """
    chosen = np.sort(np.concatenate([*_chosen(data.shape, sources), np.empty(0, int)]).astype(int))
    if not len(chosen):
        return ()
    stars = _fit(data, mask, sources, chosen)
    region = _region(sources.x[chosen], sources.y[chosen], data.shape)
    found = (_summed(name, stars[region == number]) for number, name in enumerate(REGIONS))
    return tuple(one for one in found if one is not None)


def _region(x: np.ndarray, y: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The index in `REGIONS` of positions."""
    ny, nx = shape
    dx, dy = x - (nx - 1) / 2, y - (ny - 1) / 2
    corner = np.where(dy > 0, np.where(dx < 0, 1, 2), np.where(dx < 0, 3, 4))
    return np.where(np.hypot(dx, dy) <= min(nx, ny) / 4, 0, corner)


def _half_px(sources: Sources) -> int:
    usual = float(np.median(sources.fwhm_px)) if len(sources) else 0.0
    return int(np.clip(np.ceil(_REACH_FWHM * usual), 4, _MOST_PX))


def _chosen(shape: tuple[int, ...], sources: Sources) -> Iterator[np.ndarray]:
    """The brightest stars that stand alone, of each region."""
    half = _half_px(sources)
    ny, nx = shape
    x, y = sources.x, sources.y
    inside = (x >= half) & (y >= half) & (x <= nx - 1 - half) & (y <= ny - 1 - half)
    with np.errstate(divide="ignore", invalid="ignore"):
        bright = sources.flux > _SIGNAL * sources.flux_err
    good = np.flatnonzero((sources.flags == 0) & inside & bright)
    if len(sources) > 1 and len(good):
        distance, _ = cKDTree(np.column_stack([x, y])).query(np.column_stack([x[good], y[good]]), k=2)
        good = good[distance[:, 1] > 2 * half]
    region = _region(x[good], y[good], shape)
    for number in range(len(REGIONS)):
        yield good[region == number][:_PER_REGION]  # sources come brightest first


def _fit(data: np.ndarray, mask: np.ndarray | None, sources: Sources, chosen: np.ndarray) -> np.ndarray:
    """Second moments (n, 3) of fitted Gaussians: xx, xy, yy [px²]; NaN where the fit did not settle."""
    half = _half_px(sources)
    steps = np.arange(-half, half + 1)
    column, row = np.rint(sources.x[chosen]).astype(int), np.rint(sources.y[chosen]).astype(int)
    rows, columns = row[:, None, None] + steps[None, :, None], column[:, None, None] + steps[None, None, :]
    count, pixels = len(chosen), len(steps) ** 2
    shown = (rows + 0 * columns, columns + 0 * rows)
    values = (data[shown].astype(np.float64) - sources.background[shown]).reshape(count, pixels)
    noise = sources.background_rms[shown].astype(np.float64).reshape(count, pixels)
    usable = np.isfinite(values)
    if mask is not None:
        planes = mask if mask.dtype == bool else mask & ~np.uint16(MaskBit.FEW_INPUTS)
        usable &= planes[shown].reshape(count, pixels) == 0
    core = np.maximum(_CORE_FWHM * sources.fwhm_px[chosen], _LEAST_CORE_PX)
    away = (columns - sources.x[chosen][:, None, None]) ** 2 + (rows - sources.y[chosen][:, None, None]) ** 2
    usable &= (away <= core[:, None, None] ** 2).reshape(count, pixels)
    values = np.where(usable, values, 0.0)
    # The photon noise of the star itself: its error over that of the background tells how many electrons a count is.
    weight = usable / (noise**2 + _photon_scale(sources) * np.clip(values, 0.0, None))
    dx = np.broadcast_to(steps[None, None, :], (count, len(steps), len(steps))).reshape(count, pixels)
    dy = np.broadcast_to(steps[None, :, None], (count, len(steps), len(steps))).reshape(count, pixels)
    sigma = np.maximum(sources.fwhm_px[chosen], 1.0) / _FWHM_PER_SIGMA
    first = np.column_stack([
        values.max(axis=1), sources.x[chosen] - column, sources.y[chosen] - row, 0.5 / sigma**2,
        np.zeros(count), 0.5 / sigma**2, np.zeros(count),
    ])  # fmt: skip
    found, settled = _least_squares(first, dx.astype(float), dy.astype(float), values, weight)
    a, b, c = found[:, 3], found[:, 4], found[:, 5]
    determinant = a * c - b**2
    good = settled & (determinant > 0) & (a > 0) & (found[:, 0] > 0) & (np.abs(found[:, 1:3]).max(axis=1) < half / 2)
    half_over = 0.5 / np.where(good, determinant, 1.0)
    moments = np.column_stack([c * half_over, -b * half_over, a * half_over])
    return np.where(good[:, None], moments, np.nan)


def _photon_scale(sources: Sources) -> float:
    """Variance that a count of light brings, from the errors of the brightest stars; 0 where they tell nothing of it."""
    bright = slice(0, 50)
    area = np.pi * (1.5 * float(np.median(sources.fwhm_px))) ** 2
    floor = area * float(np.median(sources.background_rms[::16, ::16])) ** 2
    excess = sources.flux_err[bright] ** 2 - floor
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.median(excess / sources.flux[bright])
    return float(np.clip(scale, 0.0, 10.0)) if np.isfinite(scale) else 0.0


def _least_squares(
    first: np.ndarray, dx: np.ndarray, dy: np.ndarray, values: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """All stars' fits side by side: parameters (n, 7) of peak, x, y, a, b, c, constant, and which settled."""
    found = first.copy()
    damping = np.full(len(found), 1e-2)
    residual, slopes = _model(found, dx, dy, values)
    cost = (weight * residual**2).sum(axis=1)
    settled = np.zeros(len(found), bool)
    for _ in range(_ROUNDS):
        weighted = slopes * weight[:, :, None]
        normal = np.swapaxes(weighted, 1, 2) @ slopes
        gradient = (weighted * residual[:, :, None]).sum(axis=1)
        diagonal = np.einsum("nii->ni", normal)
        damped = (
            normal
            + np.eye(7) * (damping[:, None] * diagonal + 1e-12 * diagonal.max(axis=1)[:, None] + 1e-30)[:, None, :]
        )
        trial = found + np.linalg.solve(damped, gradient[:, :, None])[:, :, 0]
        possible = np.isfinite(trial).all(axis=1) & (trial[:, 3] * trial[:, 5] > trial[:, 4] ** 2) & (trial[:, 3] > 0)
        trial = np.where(possible[:, None], trial, found)
        new_residual, new_slopes = _model(trial, dx, dy, values)
        new_cost = (weight * new_residual**2).sum(axis=1)
        better = possible & (new_cost <= cost)
        settled |= better & (cost - new_cost <= 1e-6 * cost)
        found = np.where(better[:, None], trial, found)
        residual = np.where(better[:, None], new_residual, residual)
        slopes = np.where(better[:, None, None], new_slopes, slopes)
        cost = np.where(better, new_cost, cost)
        damping = np.clip(np.where(better, damping / 5, damping * 5), 1e-9, 1e9)
        if settled.all():
            break
    return found, settled


def _model(parameters: np.ndarray, dx: np.ndarray, dy: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What is left of the values (n, pixels), and how the model changes with its parameters (n, pixels, 7)."""
    peak, x, y, a, b, c, constant = (one[:, None] for one in parameters.T)
    u, v = dx - x, dy - y
    shape = np.exp(-np.clip(a * u**2 + 2 * b * u * v + c * v**2, -50.0, 50.0))
    light = peak * shape
    slopes = np.stack(
        [
            shape,
            light * 2 * (a * u + b * v),
            light * 2 * (b * u + c * v),
            -light * u**2,
            -light * 2 * u * v,
            -light * v**2,
            np.ones_like(light),
        ],
        axis=2,
    )
    return values - light - constant, slopes


def _summed(name: str, moments: np.ndarray) -> Psf | None:
    """The median shape of a region's stars, outliers clipped."""
    moments = moments[np.isfinite(moments).all(axis=1)]
    if not len(moments):
        return None
    widths = _widths(moments)
    if len(moments) >= _FEWEST:
        spread = max(_MAD * float(np.median(np.abs(widths - np.median(widths)))), 1e-3)
        moments = moments[np.abs(widths - np.median(widths)) <= _CLIP * spread]
        widths = _widths(moments)
    xx, xy, yy = np.median(moments, axis=0)
    centre, reach = (xx + yy) / 2, float(np.hypot((xx - yy) / 2, xy))
    error = None
    if len(moments) >= _FEWEST:
        # The median of n values scatters by a quarter more than their mean.
        error = float(1.2533 * np.std(widths, ddof=1) / np.sqrt(len(widths))) if len(widths) > 1 else None
    return Psf(
        region=name,
        stars=len(moments),
        fwhm_px=float(np.median(widths)),
        fwhm_err_px=error,
        fwhm_x_px=float(_FWHM_PER_SIGMA * np.sqrt(xx)),
        fwhm_y_px=float(_FWHM_PER_SIGMA * np.sqrt(yy)),
        ellipticity=float(1.0 - np.sqrt(max(centre - reach, 0.0) / (centre + reach))),
        theta_deg=float(np.degrees(0.5 * np.arctan2(2 * xy, xx - yy)) % 180.0),
    )


def _widths(moments: np.ndarray) -> np.ndarray:
    xx, xy, yy = moments.T
    return np.asarray(_FWHM_PER_SIGMA * (xx * yy - xy**2) ** 0.25)
