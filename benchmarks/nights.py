"""Frames as nights leave them, for benchmarks: 70 cards each, of which 15 change from frame to frame, and few pixels."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from pathlib import Path

BLOCK = 2880
CONSTANT = {
    "OBJECT": "'NGC 6888'", "TELESCOP": "'T20     '", "INSTRUME": "'SBIG STL-11000 3 CCD Camera'", "OBSERVER": "'Observer'",
    "IMAGETYP": "'Light Frame'", "FILTER": "'Ha      '", "EXPTIME": "300.0", "EXPOSURE": "300.0", "SET-TEMP": "-15.0",
    "XPIXSZ": "9.0", "YPIXSZ": "9.0", "XBINNING": "1", "YBINNING": "1", "XORGSUBF": "0", "YORGSUBF": "0", "EGAIN": "0.83",
    "FOCALLEN": "530.0", "APTDIA": "106.0", "APTAREA": "8824.73", "READOUTM": "'Normal  '", "SITELAT": "'32 54 11'",
    "SITELONG": "'-105 31 43'", "SITEELEV": "2222.0", "PEDESTAL": "100", "SWCREATE": "'MaxIm DL Version 6.16'",
    "SBSTDVER": "'SBFITSEXT Version 1.0'", "ROWORDER": "'TOP-DOWN'", "FLIPSTAT": "'        '", "SWOWNER": "'An observatory'",
    "PIERSIDE": "'WEST    '", "TIMESYS": "'UTC     '", "EQUINOX": "2000.0", "RADESYS": "'FK5     '", "NOTES": "'        '",
}  # fmt: skip
VARYING = (
    "CCD-TEMP", "JD", "JD-HELIO", "AIRMASS", "OBJCTALT", "OBJCTAZ", "OBJCTHA", "MJD-OBS", "RA", "DEC", "FOCPOS", "FOCTEMP",
    "HUMIDITY", "WINDSPD",
)  # fmt: skip
CARDS = 70


def write_night(directory: Path, number: int, each: int = 500, seed: int = 1) -> list[Path]:
    """So many frames, ``each`` of them in a directory; those of another ``seed`` are others."""
    rng = random.Random(seed)
    written = []
    for one in range(number):
        place = directory / f"night-{one // each:04d}"
        if one % each == 0:
            place.mkdir(parents=True)
        path = place / f"raw-T20-observer-NGC6888-20200716-{one:06d}-Ha-BIN1-W-300-001.fit"
        path.write_bytes(frame(rng, one))
        written.append(path)
    return written


def frame(rng: random.Random, number: int) -> bytes:
    """One frame of 16 by 16 pixels."""
    cards = ["SIMPLE  =                    T", "BITPIX  =                   16", "NAXIS   =                    2"]
    cards += [f"NAXIS{one}  =                   16" for one in (1, 2)]
    cards += ["BZERO   =              32768.0", "BSCALE  =                  1.0"]
    moment = datetime(2020, 7, 16) + timedelta(seconds=311.7 * number)
    cards.append(f"DATE-OBS= '{moment.isoformat(timespec='milliseconds')}' / start of the exposure")
    cards += [f"{key:8}= {rng.uniform(0, 300):>20.6f} / changes with every frame" for key in VARYING]
    cards += [f"{key:8}= {value:<20} / the same in every frame" for key, value in CONSTANT.items()]
    cards += [f"HISTORY step {one} of what the camera's program did" for one in range(CARDS - len(cards))]
    text = "".join(card.ljust(80) for card in (*cards, "END")).encode()
    pixels = rng.randbytes(512)
    return text.ljust(-(-len(text) // BLOCK) * BLOCK) + pixels.ljust(BLOCK, b"\0")
