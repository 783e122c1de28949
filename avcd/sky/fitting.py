"""World coordinates from stars matched to the sky: TAN, and TAN-SIP where the stars ask for it.

With the projection's centre held, TAN and TAN-SIP are linear in their coefficients, so that plain least squares gives
the best fit at once: the result of astropy's fit_wcs_from_points, which tests compare it with, without a search that
may stop early, and at the poles as anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy.wcs import WCS, Sip
from scipy.stats import f as f_distribution

from avcd.sky.geometry import mean_direction, project, unproject

_SIGNIFICANT = 1e-3  # a higher order must be this unlikely to fit so much better by chance
_WORTH = 0.97  # and leave no more than this part of the scatter
_STARS_PER_TERM = 2.0
_STEPS = 20


@dataclass(frozen=True)
class WorldFit:
    """World coordinates fitted to stars: order 0 is a similarity, 1 TAN, 2 and 3 TAN-SIP; residuals, shape (n,)."""

    wcs: WCS
    order: int
    residual_arcsec: np.ndarray
    scale_arcsec: float

    @property
    def rms_px(self) -> float:
        """Root mean square distance between the stars and their reference, in two dimensions."""
        return float(np.sqrt(np.mean(self.residual_arcsec**2))) / self.scale_arcsec


@dataclass(frozen=True)
class SkyToPixel:
    """Where stars of the sky fall on a frame: a polynomial of the tangent plane's coordinates."""

    ra0_deg: float
    dec0_deg: float
    order: int
    unit_arcsec: float
    coefficients: np.ndarray  # shape (terms, 2)

    def __call__(self, ra_deg: np.ndarray, dec_deg: np.ndarray) -> np.ndarray:
        """Pixels, shape (n, 2)."""
        u, v = (project(ra_deg, dec_deg, self.ra0_deg, self.dec0_deg) / self.unit_arcsec).T
        found: np.ndarray = _design(u, v, max(self.order, 1)) @ self.coefficients
        return found


def _powers(order: int) -> list[tuple[int, int]]:
    """Exponents of u and v: constant, u, v, then the higher terms."""
    return [(total - q, q) for total in range(order + 1) for q in range(total + 1)]


def _design(u: np.ndarray, v: np.ndarray, order: int) -> np.ndarray:
    return np.stack([u**p * v**q for p, q in _powers(order)], axis=-1)


def terms(order: int) -> int:
    """Coefficients in each coordinate; a similarity counts two, for its turn is common to both."""
    return len(_powers(order)) if order else 2


def _solve(u: np.ndarray, v: np.ndarray, goal: np.ndarray, order: int) -> np.ndarray:
    """Least squares, shape (terms, 2); a similarity, of the better parity, for order 0."""
    if order:
        found: np.ndarray = np.linalg.lstsq(_design(u, v, order), goal, rcond=None)[0]
        return found
    best: tuple[float, np.ndarray] | None = None
    target = goal[:, 0] + 1j * goal[:, 1]
    for sign in (1.0, -1.0):
        source = u + 1j * sign * v
        centred, wanted = source - source.mean(), target - target.mean()
        turn = np.vdot(centred, wanted) / max(float(np.vdot(centred, centred).real), 1e-300)
        shift = target.mean() - turn * source.mean()
        error = float(np.abs(wanted - turn * centred).sum())
        table = np.array([[shift.real, shift.imag], [turn.real, turn.imag], [-sign * turn.imag, sign * turn.real]])
        if best is None or error < best[0]:
            best = error, table
    assert best is not None
    return best[1]


def fit_to_pixels(
    pixels: np.ndarray, ra_deg: np.ndarray, dec_deg: np.ndarray, centre: tuple[float, float], unit: float, order: int
) -> SkyToPixel:
    """The polynomial from the tangent plane at ``centre`` to pixels; ``unit`` [arcsec] keeps its powers near one."""
    u, v = (project(ra_deg, dec_deg, *centre) / unit).T
    return SkyToPixel(*centre, order, unit, _solve(u, v, pixels, order))


def fit_world(
    pixels: np.ndarray, ra_deg: np.ndarray, dec_deg: np.ndarray, shape: tuple[int, ...], order: int = 1
) -> WorldFit:
    """Fit world coordinates.

    Parameters
    ----------
    pixels : ndarray, shape (n, 2)
        x, y; the first pixel's centre is (0, 0). n must be at least ``terms(order)``.
    ra_deg, dec_deg : ndarray, shape (n,)
        Where these stars are, ICRS.
    shape
        (ny, nx) of the frame: the reference pixel is its centre.
    order
        0: one scale, square axes; 1: TAN; 2 and more: TAN-SIP.

    Returns
    -------
    WorldFit
        SIP as of Shupe et al. 2005 (ASPC 347, 491), with the inverse polynomials for programs that need them.
    """
    ny, nx = shape[:2]
    centre = np.array([(nx - 1) / 2, (ny - 1) / 2])
    size = max(nx, ny) / 2.0  # keeps the powers of the design near one
    u, v = ((pixels - centre) / size).T
    ra0, dec0 = mean_direction(ra_deg, dec_deg)
    coefficients = np.zeros((3, 2))
    for _ in range(_STEPS):
        coefficients = _solve(u, v, project(ra_deg, dec_deg, ra0, dec0), order)
        if np.hypot(*coefficients[0]) < 1e-7:
            break
        ra0, dec0 = (float(one) for one in unproject(coefficients[0], ra0, dec0))
    residual = project(ra_deg, dec_deg, ra0, dec0) - _design(u, v, max(order, 1)) @ coefficients
    cd = coefficients[1:3].T / size / 3600.0
    wcs = _tangent(float(ra0) % 360.0, float(dec0), centre, cd)
    if order > 1:
        wcs.wcs.ctype = ["RA---TAN-SIP", "DEC--TAN-SIP"]
        wcs.sip = _sip(np.linalg.solve(cd * 3600.0, coefficients[3:].T), order, size, centre)
        wcs.wcs.set()
    wcs.pixel_shape = (nx, ny)
    return WorldFit(wcs, order, np.hypot(*residual.T), float(np.sqrt(abs(np.linalg.det(cd))) * 3600.0))


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


def choose_order(
    pixels: np.ndarray, ra_deg: np.ndarray, dec_deg: np.ndarray, shape: tuple[int, ...], max_order: int
) -> WorldFit:
    """The simplest of similarity, TAN and SIP up to an order beyond which nothing is gained significantly.

    An order is taken when an F test says that its lower residuals are no chance (p < 0.001), when they are lower by
    more than a little, and when there are stars enough in all four quarters of the frame to hold it.
    """
    best = fit_world(pixels, ra_deg, dec_deg, shape, 0)
    ny, nx = shape[:2]
    quarter = (pixels[:, 0] > nx / 2) * 2 + (pixels[:, 1] > ny / 2)
    fewest = np.bincount(quarter.astype(int), minlength=4).min()
    for order in range(1, max(max_order, 1) + 1):
        count = terms(order)
        if len(pixels) < _STARS_PER_TERM * count or (order > 1 and fewest < count / 4):
            break
        trial = fit_world(pixels, ra_deg, dec_deg, shape, order)
        before, after = np.sum(best.residual_arcsec**2), np.sum(trial.residual_arcsec**2)
        more, left = 2 * (count - terms(best.order)), 2 * (len(pixels) - count)
        ratio = (before - after) / more / max(after / left, 1e-30)
        if f_distribution.sf(ratio, more, left) < _SIGNIFICANT and after < _WORTH**2 * before:
            best = trial
    return best
