"""Frames of a sky of one's own: pixels with stars in them, and a header as a telescope writes it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from avcd.simulate.sky import StarTruth, paint_stars


def faint_stars(seed: int, ra_deg: float, dec_deg: float, width_deg: float, number: int):
    """Stars that no catalogue has: right ascensions, declinations, electrons."""
    rng = np.random.default_rng(seed)
    dec = dec_deg + rng.uniform(-1, 1, number) * width_deg / 2
    ra = ra_deg + rng.uniform(-1, 1, number) * width_deg / 2 / np.cos(np.radians(dec))
    return ra, dec, np.exp(rng.uniform(np.log(8e3), np.log(4e5), number))


def picture(truth: WCS, stars, shape: tuple[int, int], seed: int = 0, smear_px: int = 0) -> np.ndarray:
    """A noisy frame of stars, trailed along its rows by ``smear_px``; uint16."""
    ra, dec, electrons = stars
    x, y = truth.all_world2pix(ra, dec, 0)
    near = (x > -20) & (y > -20) & (x < shape[1] + 20) & (y < shape[0] + 20)
    image = np.full(shape, 400.0)
    steps = np.linspace(-smear_px / 2, smear_px / 2, smear_px + 1)
    for step in steps:
        paint_stars(image, StarTruth(x[near] + step, y[near], electrons[near] / len(steps), ra[near], dec[near]), 3.0)
    rng = np.random.default_rng(seed)
    return np.clip(rng.poisson(image) + rng.normal(100, 5, shape), 0, 65535).astype(np.uint16)


def write_picture(path: Path, data: np.ndarray, minute: int = 0, wcs: WCS | None = None, **cards) -> Path:
    """A light frame on disk."""
    header = fits.Header()
    if wcs is not None:
        header.update(wcs.to_header())
    header.update(
        {
            "IMAGETYP": "Light Frame", "TELESCOP": "T1", "INSTRUME": "cam", "OBJECT": "field", "EXPTIME": 60.0,
            "DATE-OBS": f"2026-01-15T22:{minute:02d}:00", "FILTER": "R", **cards,
        }
    )  # fmt: skip
    fits.PrimaryHDU(data, header).writeto(path)
    return path
