"""One sky, seen by frames that are shifted, turned and noisy in a known way."""

from __future__ import annotations

import numpy as np
from astropy.wcs import WCS

from avcd.compose.registration import RegistrationInput

SHAPE = (200, 220)


class Sky:
    """Gaussian stars of known place and flux."""

    def __init__(self, number: int = 40, seed: int = 1, extent: tuple[int, int] = SHAPE):
        rng = np.random.default_rng(seed)
        self.xy = np.column_stack([rng.uniform(-20, extent[1] + 20, number), rng.uniform(-20, extent[0] + 20, number)])
        self.flux = 10 ** rng.uniform(3.7, 5, number)

    def frame(self, shift=(0.0, 0.0), turn_deg=0.0, *, sky=200.0, noise=10.0, scale=1.0, seed=0, sigma=1.6):
        """The image, and the stars' places in it, the brightest first."""
        places = self.places(shift, turn_deg)
        y, x = np.indices(SHAPE)
        image = np.full(SHAPE, float(sky))
        for (px, py), flux in zip(places, self.flux, strict=True):
            if -10 < px < SHAPE[1] + 10 and -10 < py < SHAPE[0] + 10:
                image += scale * flux / (2 * np.pi * sigma**2) * np.exp(-((x - px) ** 2 + (y - py) ** 2) / 2 / sigma**2)
        image += np.random.default_rng([seed, 77]).normal(0, noise, SHAPE)
        inside = (places > 2).all(axis=1) & (places < (SHAPE[1] - 3, SHAPE[0] - 3)).all(axis=1)
        order = np.argsort(-self.flux[inside])
        return image.astype(np.float32), places[inside][order]

    def places(self, shift=(0.0, 0.0), turn_deg=0.0) -> np.ndarray:
        angle, middle = np.radians(turn_deg), np.array(SHAPE[::-1]) / 2
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        return (self.xy - middle) @ turn.T + middle + shift


def world(shift=(0.0, 0.0), turn_deg=0.0) -> WCS:
    """World coordinates of such a frame, a second of arc a pixel."""
    found = WCS(naxis=2)
    found.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    found.wcs.crval = [40.0, 20.0]
    found.wcs.crpix = np.array(SHAPE[::-1]) / 2 + 1 + np.array(shift)
    angle = np.radians(turn_deg)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    found.wcs.cd = np.array([[-1.0, 0.0], [0.0, 1.0]]) @ turn / 3600
    found.wcs.set()
    return found


def seen(image, stars=None, wcs=None, mask=None) -> RegistrationInput:
    return RegistrationInput(data=image, mask=mask, wcs=wcs, stars_xy=stars)
