"""What products of several images say: their scales beside each other, their exposures and times together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from astropy.io import fits

from avcd.cards import exposure_of, gain_of, time_of, with_times, zero_point_of
from avcd.errors import ProcessingError

SCALES = ("auto", "none", "exposure", "zero_point")


def scales_of(headers: Sequence[fits.Header], units: Sequence[str], how: str) -> tuple[list[float], str]:
    """What each image is multiplied with, so that a star has one value in all; the first has one.

    Parameters
    ----------
    how
        "zero_point", "exposure" (and the gain, of images in adu), "none", or "auto": zero points where all have one, else
        exposures where all have one.

    Returns
    -------
    scales : list of float
    used : str
        What they come from.

    Raises
    ------
    ProcessingError
        The headers do not say what is needed, or ``how`` is none of those.
    """
    if how not in SCALES:
        raise ProcessingError(f"scale is {how!r}, none of {', '.join(SCALES)}")
    points, exposures = [zero_point_of(one) for one in headers], [exposure_of(one) for one in headers]
    if how == "auto":
        how = "zero_point" if None not in points else "exposure" if None not in exposures else "none"
    if how == "none":
        return [1.0] * len(headers), how
    known = points if how == "zero_point" else exposures
    if any(one is None for one in known):
        card = "zero point (MAGZPT, MAGZP, MAGZERO, ZP)" if how == "zero_point" else "exposure (EXPTIME)"
        raise ProcessingError(f"not every image says its {card}: choose another way to scale")
    if how == "zero_point":
        magnitudes = np.array(points, float)
        return [float(one) for one in 10 ** (0.4 * (magnitudes[0] - magnitudes))], how
    seconds = np.array(exposures, float)
    gains = [gain_of(one) if unit == "adu" else None for one, unit in zip(headers, units, strict=True)]
    factor = np.array(gains, float) if None not in gains else np.ones(len(headers))
    scales = (factor / factor[0]) * (seconds[0] / seconds)
    return [float(one) for one in scales], how


def combined_times(header: fits.Header, headers: Sequence[fits.Header]) -> fits.Header:
    """A header with the whole exposure of some images, when the first began and the last ended, and the middle of all their light."""
    exposures = [exposure_of(one) for one in headers]
    starts = [time_of(one) for one in headers]
    if None in exposures:
        return header
    seconds = np.array(exposures, float)
    if None in starts:
        return with_times(header, float(seconds.sum()), None)
    begin = np.array(starts, float)
    end = begin + seconds / 86400
    middle = float(np.average((begin + end) / 2, weights=seconds)) if seconds.sum() > 0 else float(begin.mean())
    return with_times(header, float(seconds.sum()), (float(begin.min()), middle, float(end.max())))
