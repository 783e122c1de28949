"""Frames of stars whose every position, flux and width is known, and star lists of fields of the real sky."""

from __future__ import annotations

import numpy as np
from astropy.wcs import WCS

from avcd.simulate.sky import StarTruth, paint_stars
from avcd.sky.detection import Sources
from avcd.sky.reference import Tycho2

_STEPS = (-0.4, -0.2, 0.0, 0.2, 0.4)


def star_field(shape, number, fwhm_px, *, beta=3.0, sky=300.0, read_noise=8.0, seed=1, lowest=2e3, highest=3e5):
    """A noisy frame of Moffat stars in electrons: the frame, and x, y and flux of its stars."""
    rng = np.random.default_rng(seed)
    image = np.full(shape, float(sky))
    alpha = fwhm_px / (2 * np.sqrt(2 ** (1 / beta) - 1))
    margin = 4 * fwhm_px
    x, y = rng.uniform(margin, shape[1] - margin, number), rng.uniform(margin, shape[0] - margin, number)
    flux = 10 ** rng.uniform(np.log10(lowest), np.log10(highest), number)
    rows, columns = np.indices(shape, dtype=float)
    for one_x, one_y, total in zip(x, y, flux, strict=True):
        profile = np.zeros(shape)
        for dy in _STEPS:
            for dx in _STEPS:
                profile += (1 + ((columns + dx - one_x) ** 2 + (rows + dy - one_y) ** 2) / alpha**2) ** -beta
        image += total * (beta - 1) / (np.pi * alpha**2) * profile / len(_STEPS) ** 2
    return (rng.poisson(image) + rng.normal(0, read_noise, shape)).astype(np.float32), x, y, flux


def painted_field(shape, number, fwhm_px, *, sky=300.0, read_noise=8.0, seed=1, lowest=2e3, highest=3e5):
    """A frame as `star_field` gives it, painted by the simulator, which is quick: the frame, and x, y and flux."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(0, shape[1], number), rng.uniform(0, shape[0], number)
    flux = 10 ** rng.uniform(np.log10(lowest), np.log10(highest), number)
    image = np.full(shape, float(sky))
    paint_stars(image, StarTruth(x, y, flux, x, y), fwhm_px)
    return (rng.poisson(image) + rng.normal(0, read_noise, shape)).astype(np.float32), x, y, flux


def sources_of(xy: np.ndarray) -> Sources:
    """A star list as detection gives it, of positions alone, the brightest first."""
    number = len(xy)
    ones = np.ones(number)
    falling = np.linspace(2e5, 1e3, number)
    flat = np.ones((2, 2), np.float32)
    return Sources(
        x=xy[:, 0], y=xy[:, 1], flux=falling, flux_err=ones, fwhm_px=3 * ones, ellipticity=0 * ones,
        theta_rad=0 * ones, peak=falling / 10, flags=np.zeros(number, int), background=flat, background_rms=flat,
    )  # fmt: skip


def world(ra_deg, dec_deg, scale_arcsec, shape, turn_rad, parity) -> WCS:
    found = WCS(naxis=2)
    found.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    found.wcs.crval = [ra_deg, dec_deg]
    found.wcs.crpix = [shape[1] / 2, shape[0] / 2]
    turn = [[np.cos(turn_rad) * parity, -np.sin(turn_rad)], [np.sin(turn_rad) * parity, np.cos(turn_rad)]]
    found.wcs.cd = scale_arcsec / 3600 * np.array(turn)
    found.wcs.set()
    return found


def sky_field(seed: int, field_deg: float = 1.0, px: int = 1024):
    """A random field of the real sky as a camera would see it.

    Positions scatter by a quarter of a pixel, magnitudes by 0.4; one reference star in seven is missing, as many as
    three times the rest are stars that the reference does not have, and one in three is no star at all.

    Returns
    -------
    Sources, WCS (the truth), number of reference stars in the field
    """
    rng = np.random.default_rng(seed)
    dec = float(np.degrees(np.arcsin(rng.uniform(-1, 1))))
    truth = world(
        float(rng.uniform(0, 360)), dec, field_deg * 3600 / px * rng.uniform(0.93, 1.07), (px, px),
        rng.uniform(0, 2 * np.pi), rng.choice([-1, 1]),
    )  # fmt: skip
    stars = Tycho2().cone(*truth.wcs.crval, 0.9 * field_deg)
    x, y = truth.all_world2pix(stars.ra_deg, stars.dec_deg, 0)
    here = (x > 0) & (y > 0) & (x < px) & (y < px)
    seen = here & (rng.uniform(size=len(x)) > 0.15)
    xy = np.column_stack([x[seen], y[seen]]) + rng.normal(0, 0.25, (seen.sum(), 2))
    mag = stars.mag[seen] + rng.normal(0, 0.4, seen.sum())
    faint, false = 3 * len(xy), len(xy) // 3
    xy = np.vstack([xy, rng.uniform(0, px, (faint + false, 2))])
    mag = np.concatenate([mag, rng.uniform(10.5, 14, faint), rng.uniform(7, 13, false)])
    return sources_of(xy[np.argsort(mag)]), truth, int(here.sum())
