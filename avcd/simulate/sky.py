"""Stars on a detector: catalogue positions through a TAN projection, a Moffat profile, photons by magnitude."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy.wcs import WCS

from avcd.sky.reference import ReferenceStars

_BETA = 3.0  # of the Moffat profile (Moffat 1969, A&A 3, 455)
_REACH = 6.0  # half-widths at half maximum; beyond them a faint star has nothing left
# Rough colours: how much brighter or fainter a star is in a filter than in VT, drawn for each star between these.
_COLOURS = {
    "Blue": (-0.4, 1.6),
    "Green": (-0.1, 0.4),
    "Red": (-0.9, 0.3),
    "B": (-0.4, 1.6),
    "V": (-0.1, 0.4),
    "R": (-0.9, 0.3),
}


@dataclass(frozen=True)
class Field:
    """Where a telescope really points. ``rotation_deg`` turns the image; ``flipped`` mirrors it."""

    ra_deg: float
    dec_deg: float
    scale_arcsec: float
    rotation_deg: float
    flipped: bool

    def wcs(self, shape: tuple[int, int]) -> WCS:
        """The true world coordinates of a frame of (ny, nx)."""
        found = WCS(naxis=2)
        found.wcs.ctype = ["RA---TAN", "DEC--TAN"]
        found.wcs.crval = [self.ra_deg, self.dec_deg]
        found.wcs.crpix = [(shape[1] + 1) / 2, (shape[0] + 1) / 2]
        turn = np.radians(self.rotation_deg)
        step = self.scale_arcsec / 3600
        hand = 1.0 if self.flipped else -1.0
        found.wcs.cd = step * np.array([[hand * np.cos(turn), -np.sin(turn)], [hand * np.sin(turn), np.cos(turn)]])
        found.wcs.set()
        return found


@dataclass(frozen=True)
class StarTruth:
    """The stars of one frame: 0-based pixel positions, total electrons, sky positions."""

    x: np.ndarray
    y: np.ndarray
    electrons: np.ndarray
    ra_deg: np.ndarray
    dec_deg: np.ndarray


def stars_of(
    field: Field,
    shape: tuple[int, int],
    filter_name: str,
    exposure_s: float,
    zero_point: float,
    reference: ReferenceStars,
) -> StarTruth:
    """The stars that fall on a frame, a little of its surroundings included.

    Parameters
    ----------
    zero_point
        Magnitude that gives one electron a second.
    """
    radius = np.hypot(*shape) / 2 * field.scale_arcsec / 3600 * 1.05
    stars = reference.cone(field.ra_deg, field.dec_deg, radius)
    # A star's colour belongs to the star: drawn from its position, the same in every frame that shows it.
    seeds = (np.rint(stars.ra_deg * 1e5) * 7919 + np.rint(stars.dec_deg * 1e5)).astype(np.int64) % 1009
    low, high = _COLOURS.get(filter_name, (0.0, 0.0))
    mag = stars.mag + low + (high - low) * (seeds / 1008.0 if low + high > 0 else 1 - seeds / 1008.0)
    x, y = field.wcs(shape).all_world2pix(stars.ra_deg, stars.dec_deg, 0)
    near = (x > -20) & (y > -20) & (x < shape[1] + 20) & (y < shape[0] + 20)
    electrons = exposure_s * 10 ** (-0.4 * (mag - zero_point))
    return StarTruth(x[near], y[near], electrons[near], stars.ra_deg[near], stars.dec_deg[near])


def paint_stars(image: np.ndarray, stars: StarTruth, fwhm_px: float) -> None:
    """Add stars to an image in place, each pixel holding the profile's integral (sampled three by three)."""
    alpha = fwhm_px / (2 * np.sqrt(2 ** (1 / _BETA) - 1))
    norm = (_BETA - 1) / (np.pi * alpha**2)
    ny, nx = image.shape
    steps = (np.arange(3) - 1) / 3
    for x, y, total in zip(stars.x, stars.y, stars.electrons, strict=True):
        # Bright stars reach further before they sink below an electron.
        reach = int(np.ceil(alpha * max(_REACH, (total * norm) ** (1 / (2 * _BETA)) * 1.2)))
        x0, x1 = max(int(x) - reach, 0), min(int(x) + reach + 1, nx)
        y0, y1 = max(int(y) - reach, 0), min(int(y) + reach + 1, ny)
        if x0 >= x1 or y0 >= y1:
            continue
        dx = (np.arange(x0, x1)[:, None] + steps - x).ravel()
        dy = (np.arange(y0, y1)[:, None] + steps - y).ravel()
        profile = norm * (1 + (dx[None, :] ** 2 + dy[:, None] ** 2) / alpha**2) ** -_BETA
        image[y0:y1, x0:x1] += total * profile.reshape(y1 - y0, 3, x1 - x0, 3).mean(axis=(1, 3))
