"""A small camera's exposures as FITS files, all of whose parts are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy.io import fits

SHAPE = (150, 160)
GAIN, READ_NOISE_E, BIAS = 1.5, 9.0, 1000.0
HOT = ((20, 30), (90, 100))
OVERSCAN = 20  # columns, right of the image


def response() -> np.ndarray:
    """The flat field; its median is one."""
    y, x = np.indices(SHAPE)
    found = 1 - 0.2 * (((y / SHAPE[0] - 0.5) ** 2 + (x / SHAPE[1] - 0.5) ** 2) * 2)
    return found / np.median(found)


def stars() -> np.ndarray:
    """Light of a few stars, electrons."""
    y, x = np.indices(SHAPE)
    places = np.random.default_rng(6).uniform(10, 140, (25, 2))
    return sum(8000 * np.exp(-((y - row) ** 2 + (x - column) ** 2) / 8) for row, column in places)


def expose(seed: int, seconds: float = 0.0, light_e: np.ndarray | float = 0.0) -> np.ndarray:
    """Counts, adu; dark current of 0.5 e/s, hot pixels of 60 e/s."""
    rng = np.random.default_rng(seed)
    dark = np.full(SHAPE, 0.5)
    for place in HOT:
        dark[place] = 60.0
    electrons = rng.poisson(dark * seconds + response() * light_e) + rng.normal(0, READ_NOISE_E, SHAPE)
    return np.clip(np.rint(BIAS + electrons / GAIN), 0, 65535).astype(np.uint16)


def write(path: Path, data: np.ndarray, kind: str, seconds: float, minute: int, **cards: object) -> Path:
    """A raw frame as a camera program writes it."""
    header = fits.Header()
    values = {"IMAGETYP": kind, "EXPTIME": seconds, "DATE-OBS": f"2026-01-15T22:{minute:02}:00", "TELESCOP": "T1",
              "INSTRUME": "cam", "XBINNING": 1, "YBINNING": 1, "SET-TEMP": -20.0, "CCD-TEMP": -20.0}  # fmt: skip
    for keyword, value in {**values, **cards}.items():
        header[keyword] = value
    header["EGAIN"], header["RDNOISE"] = GAIN, READ_NOISE_E
    fits.PrimaryHDU(data, header).writeto(path)
    return path


def make_night(directory: Path) -> Path:
    """Five biases, darks of 60 s and flats in R; two frames of M42 in R, and one with overscan."""
    for number in range(1, 6):
        write(directory / f"bias-{number}.fits", expose(number), "Bias Frame", 0.0, number)
        write(directory / f"dark-{number}.fits", expose(10 + number, 60), "Dark Frame", 60.0, 10 + number)
        flat = expose(20 + number, 3, 33000.0 * (1 + number / 20))
        write(directory / f"flat-{number}.fits", flat, "Flat Field", 3.0, 20 + number, FILTER="R")
    for number in (1, 2):
        data = expose(30 + number, 120, 600 + stars())
        data[40 + number, 20:60] += 3000  # a cosmic ray
        write(directory / f"m42-{number}.fits", data, "Light Frame", 120.0, 30 + number, FILTER="R", OBJECT="M42")
    wide = np.random.default_rng(40).normal(BIAS, READ_NOISE_E / GAIN, (SHAPE[0], OVERSCAN))
    data = np.hstack([expose(41, 120, 600 + stars()), np.rint(wide).astype(np.uint16)])
    ny, nx = SHAPE
    write(directory / "wide.fits", data, "Light Frame", 120.0, 41, FILTER="R", OBJECT="M42",
          BIASSEC=f"[{nx + 1}:{nx + OVERSCAN},1:{ny}]", TRIMSEC=f"[1:{nx},1:{ny}]")  # fmt: skip
    return directory


def make_panels(directory: Path) -> Path:
    """Two panels of M31 that overlap by a quarter, with world coordinates and skies of their own."""
    for number in (1, 2):
        data = expose(50 + number, 120, 600 * number + stars())
        write(
            directory / f"panel-{number}.fits", data, "Light Frame", 120.0, 50 + number, FILTER="R", OBJECT=f"M31_x{number}_y1",
            CTYPE1="RA---TAN", CTYPE2="DEC--TAN", CRVAL1=10.68 - 0.06 * number, CRVAL2=41.27, CRPIX1=80.5, CRPIX2=75.5,
            CDELT1=-4e-4, CDELT2=4e-4,
        )  # fmt: skip
    return directory
