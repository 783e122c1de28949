"""World coordinates from stars matched to the sky: TAN, and TAN-SIP where the stars ask for it.

With the projection's centre held, TAN and TAN-SIP are linear in their coefficients, so that plain least squares gives
the best fit at once: the result of astropy's fit_wcs_from_points, which tests compare it with, without a search that
may stop early, and at the poles as anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property

import numpy as np
from astropy.wcs import WCS, Sip
from scipy.special import fdtrc

from avcd.sky.geometry import mean_direction, project, unproject

_SIGNIFICANT = 1e-3  # a higher order must be this unlikely to fit so much better by chance
_WORTH = 0.97  # and leave no more than this part of the scatter
_STEPS = 20
_CENTRED_ARCSEC = 1e-5


class Model(IntEnum):
    """What a frame may do to the sky, by growing freedom."""

    SIMILARITY = 0  # one scale, square axes
    LINEAR = 1
    RADIAL = 2  # a similarity, and a barrel or cushion about the frame's centre
    SECOND = 3  # polynomials
    THIRD = 4

    @property
    def sip_order(self) -> int:
        """Of the world coordinates it is written as; 0: plain TAN."""
        return (0, 0, 3, 2, 3)[self]

    @property
    def parameters(self) -> int:
        """Numbers that are fitted."""
        return (4, 6, 6, 12, 20)[self]


@dataclass(frozen=True)
class WorldFit:
    """World coordinates fitted to stars; residuals of shape (n,)."""

    model: Model
    ra0_deg: float
    dec0_deg: float
    shape: tuple[int, ...]
    coefficients: (
        np.ndarray
    )  # (terms, 2): arcsec of the tangent plane by powers of pixels from the centre over half the side
    residual_arcsec: np.ndarray

    @property
    def cd(self) -> np.ndarray:
        """The linear part, degrees a pixel."""
        matrix: np.ndarray = self.coefficients[1:3].T / (max(self.shape) / 2.0) / 3600.0
        return matrix

    @property
    def scale_arcsec(self) -> float:
        """Arc seconds a pixel, by area."""
        return float(np.sqrt(abs(np.linalg.det(self.cd))) * 3600.0)

    @property
    def rms_px(self) -> float:
        """Root mean square distance between the stars and their reference, in two dimensions."""
        return float(np.sqrt(np.mean(self.residual_arcsec**2))) / self.scale_arcsec

    @cached_property
    def wcs(self) -> WCS:
        """SIP as of Shupe et al. 2005 (ASPC 347, 491), with the inverse polynomials for programs that need them."""
        ny, nx = self.shape[:2]
        centre = np.array([(nx - 1) / 2, (ny - 1) / 2])
        found = _tangent(self.ra0_deg % 360.0, self.dec0_deg, centre, self.cd)
        order = self.model.sip_order
        if order:
            found.wcs.ctype = ["RA---TAN-SIP", "DEC--TAN-SIP"]
            higher = np.linalg.solve(self.cd * 3600.0, self.coefficients[3:].T)
            found.sip = _sip(higher, order, max(nx, ny) / 2.0, centre)
            found.wcs.set()
        found.pixel_shape = (nx, ny)
        return found


@dataclass(frozen=True)
class SkyToPixel:
    """Where stars of the sky fall on a frame: a polynomial of the tangent plane's coordinates."""

    ra0_deg: float
    dec0_deg: float
    unit_arcsec: float
    coefficients: np.ndarray  # shape (terms, 2)

    def __call__(self, ra_deg: np.ndarray, dec_deg: np.ndarray) -> np.ndarray:
        """Pixels, shape (n, 2)."""
        u, v = (project(ra_deg, dec_deg, self.ra0_deg, self.dec0_deg) / self.unit_arcsec).T
        found: np.ndarray = _design(u, v, _ORDER_OF[len(self.coefficients)]) @ self.coefficients
        return found


def _powers(order: int) -> list[tuple[int, int]]:
    """Exponents of u and v: constant, u, v, then the higher terms."""
    return [(total - q, q) for total in range(order + 1) for q in range(total + 1)]


_ORDER_OF = {3: 1, 6: 2, 10: 3}  # of a polynomial, by the number of its terms
_ORDER_OF_MODEL = {Model.SIMILARITY: 1, Model.LINEAR: 1, Model.RADIAL: 3, Model.SECOND: 2, Model.THIRD: 3}
_ORDERS = {Model.LINEAR: 1, Model.SECOND: 2, Model.THIRD: 3}


def _design(u: np.ndarray, v: np.ndarray, order: int) -> np.ndarray:
    return np.stack([u**p * v**q for p, q in _powers(order)], axis=-1)


def _solve(u: np.ndarray, v: np.ndarray, goal: np.ndarray, model: Model) -> np.ndarray:
    """Least squares, as the coefficients of a polynomial, (terms, 2)."""
    if model in _ORDERS:
        found: np.ndarray = np.linalg.lstsq(_design(u, v, _ORDERS[model]), goal, rcond=None)[0]
        return found
    best: tuple[float, np.ndarray] | None = None
    target = goal[:, 0] + 1j * goal[:, 1]
    for sign in (1.0, -1.0):
        source = u + 1j * sign * v
        columns = [np.ones_like(source), source]
        if model is Model.RADIAL:
            columns.append(source * np.abs(source) ** 2)
        design = np.stack(columns, axis=-1)
        terms, *_ = np.linalg.lstsq(design, target, rcond=None)
        error = float((np.abs(design @ terms - target) ** 2).sum())
        if best is None or error < best[0]:
            best = error, _as_polynomial(terms, sign)
    assert best is not None
    return best[1]


def _as_polynomial(terms: np.ndarray, sign: float) -> np.ndarray:
    """shift + turn z + bend z |z|^2, with z = u + i sign v, as a polynomial's coefficients."""
    shift, turn, *bend = terms
    rows = [shift, turn, 1j * sign * turn]
    if bend:  # z |z|^2 = (u + i sign v)(u^2 + v^2): u^3, u^2 v, u v^2, v^3 follow three terms of the second order
        rows += [0, 0, 0, bend[0], 1j * sign * bend[0], bend[0], 1j * sign * bend[0]]
    values = np.array(rows, dtype=complex)
    return np.column_stack([values.real, values.imag])


def fit_to_pixels(
    pixels: np.ndarray,
    ra_deg: np.ndarray,
    dec_deg: np.ndarray,
    centre: tuple[float, float],
    unit_arcsec: float,
    model: Model,
) -> SkyToPixel:
    """The polynomial from the tangent plane at ``centre`` to pixels; ``unit_arcsec`` keeps its powers near one."""
    u, v = (project(ra_deg, dec_deg, *centre) / unit_arcsec).T
    return SkyToPixel(*centre, unit_arcsec, _solve(u, v, pixels, model))


def fit_world(
    pixels: np.ndarray, ra_deg: np.ndarray, dec_deg: np.ndarray, shape: tuple[int, ...], model: Model = Model.LINEAR
) -> WorldFit:
    """Fit world coordinates.

    Parameters
    ----------
    pixels : ndarray, shape (n, 2)
        x, y; the first pixel's centre is (0, 0). Twice n must be at least the model's parameters.
    ra_deg, dec_deg : ndarray, shape (n,)
        Where these stars are, ICRS.
    shape
        (ny, nx) of the frame: the reference pixel is its centre.
    model
        What the frame may do.
    """
    ny, nx = shape[:2]
    u, v = ((pixels - np.array([(nx - 1) / 2, (ny - 1) / 2])) / (max(nx, ny) / 2.0)).T
    ra0, dec0 = mean_direction(ra_deg, dec_deg)
    coefficients = np.zeros((3, 2))
    for _ in range(_STEPS):
        coefficients = _solve(u, v, project(ra_deg, dec_deg, ra0, dec0), model)
        if np.hypot(*coefficients[0]) < _CENTRED_ARCSEC:
            break
        ra0, dec0 = (float(one) for one in unproject(coefficients[0], ra0, dec0))
    order = _ORDER_OF[len(coefficients)]
    residual = project(ra_deg, dec_deg, ra0, dec0) - _design(u, v, order) @ coefficients
    return WorldFit(model, ra0, dec0, (ny, nx), coefficients, np.hypot(*residual.T))


def _tangent(ra0: float, dec0: float, centre: np.ndarray, cd: np.ndarray) -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.cunit = ["deg", "deg"]
    wcs.wcs.radesys = "ICRS"
    wcs.wcs.crval = [ra0, dec0]
    wcs.wcs.crpix = centre + 1.0
    wcs.wcs.cd = cd
    wcs.wcs.set()
    return wcs


def _sip(higher: np.ndarray, order: int, size: float, centre: np.ndarray) -> Sip:
    """Forward polynomials from the fit's higher terms, (2, k), and inverse ones fitted to them on a grid."""
    forward = np.zeros((2, order + 1, order + 1))
    for (p, q), pair in zip(_powers(order)[3:], higher.T, strict=True):
        forward[:, p, q] = pair / size ** (p + q)
    steps = np.linspace(-1.05, 1.05, 25)
    u, v = (one.ravel() * size for one in np.meshgrid(steps, steps))
    distorted = [
        start + sum(table[p, q] * u**p * v**q for p, q in _powers(order)[3:])
        for start, table in zip((u, v), forward, strict=True)
    ]
    # One order more: the inverse of a polynomial is none of the same order.
    back = order + 1
    design = _design(distorted[0] / size, distorted[1] / size, back)
    found, *_ = np.linalg.lstsq(design, np.stack([u - distorted[0], v - distorted[1]], axis=-1), rcond=None)
    backward = np.zeros((2, back + 1, back + 1))
    for (p, q), pair in zip(_powers(back), found, strict=True):
        backward[:, p, q] = pair / size ** (p + q)
    return Sip(forward[0], forward[1], backward[0], backward[1], centre + 1.0)


def choose_model(
    pixels: np.ndarray, ra_deg: np.ndarray, dec_deg: np.ndarray, shape: tuple[int, ...], max_order: int
) -> WorldFit:
    """The simplest model, of SIP up to an order, beyond which nothing is gained significantly.

    A freer one is taken when an F test says that its lower residuals are no chance (p < 0.001), when they are lower by
    more than a little, and, of polynomials, when there are stars enough in all four quarters of the frame to hold it.
    """
    best = fit_world(pixels, ra_deg, dec_deg, shape, Model.SIMILARITY)
    ny, nx = shape[:2]
    quarter = (pixels[:, 0] > nx / 2) * 2 + (pixels[:, 1] > ny / 2)
    fewest = np.bincount(quarter.astype(int), minlength=4).min()
    for model in Model:
        free, order = model.parameters, _ORDER_OF_MODEL[model]
        left = 2 * len(pixels) - free
        if model is Model.SIMILARITY or order > max(max_order, 1) or left < free:
            continue
        if model in (Model.SECOND, Model.THIRD) and fewest < free / 8:
            continue
        trial = fit_world(pixels, ra_deg, dec_deg, shape, model)
        before, after = np.sum(best.residual_arcsec**2), np.sum(trial.residual_arcsec**2)
        more = free - best.model.parameters
        if more == 0:
            best = trial if after < before else best
            continue
        ratio = (before - after) / more / max(after / left, 1e-30)
        if fdtrc(more, left, ratio) < _SIGNIFICANT and after < _WORTH**2 * before:
            best = trial
    return best
