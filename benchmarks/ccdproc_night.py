"""A plain script by ccdproc and astroscrappy: masters, and frames reduced with them. For `test_night.py`, as the peer.

``python ccdproc_night.py DROP OUT none|lacosmic``
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import astropy.units as u
import ccdproc
import numpy as np
from astropy.nddata import CCDData
from astropy.stats import mad_std

GAIN, READ_NOISE_E = 1.5 * u.electron / u.adu, 9.0 * u.electron


def combined(frames: list[CCDData], scale=None) -> CCDData:
    """The mean, clipped at five sigma about the median."""
    return ccdproc.combine(
        frames, method="average", scale=scale, sigma_clip=True, sigma_clip_low_thresh=5, sigma_clip_high_thresh=5,
        sigma_clip_func=np.ma.median, sigma_clip_dev_func=mad_std, mem_limit=1e9, dtype=np.float32)  # fmt: skip


def main(drop: Path, out: Path, cosmic_rays: str) -> None:
    """Reduce the night in ``drop`` into ``out``."""
    out.mkdir()

    def read(path: Path) -> CCDData:
        found = CCDData.read(path, unit="adu")
        found.data = found.data.astype(np.float32)
        return found

    bias = combined([read(path) for path in sorted(drop.glob("bias-*"))])
    dark = combined([ccdproc.subtract_bias(read(path), bias) for path in sorted(drop.glob("dark-*"))])
    flats = [ccdproc.subtract_bias(read(path), bias) for path in sorted(drop.glob("flat-*"))]
    flat = combined([one.divide(float(np.median(one.data))) for one in flats])
    for one in (bias, dark, flat):
        one.uncertainty = None
    for path in sorted(drop.glob("light-*")):
        frame = ccdproc.create_deviation(read(path), gain=GAIN, readnoise=READ_NOISE_E, disregard_nan=True)
        frame = ccdproc.subtract_bias(frame, bias)
        frame = ccdproc.subtract_dark(frame, dark, exposure_time="EXPTIME", exposure_unit=u.s, scale=False)
        frame = ccdproc.flat_correct(frame, flat, norm_value=float(np.median(flat.data)))
        frame = ccdproc.gain_correct(frame, GAIN)
        if cosmic_rays == "lacosmic":
            frame = ccdproc.cosmicray_lacosmic(
                frame, gain_apply=False, readnoise=READ_NOISE_E.value, sigclip=4.5, sigfrac=0.3, objlim=5.0, niter=4)  # fmt: skip
        frame.data = frame.data.astype(np.float32)
        frame.uncertainty.array = frame.uncertainty.array.astype(np.float32)
        frame.write(out / path.name)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
