"""What a detector's noise is, measured on its own frames."""

from __future__ import annotations

import numpy as np

from avcd.reduction.combine import MAD_TO_SIGMA

_CLIP = 3.0
_PASSES = 5
_FAR = 10.0


def mad_sigma(values: np.ndarray) -> float:
    """The standard deviation of finite values, from their median absolute deviation."""
    finite = values[np.isfinite(values)]
    return float(np.median(np.abs(finite - np.median(finite))) * MAD_TO_SIGMA) if finite.size else float("nan")


def clipped_sigma(values: np.ndarray) -> float:
    """The standard deviation after clipping at three sigma until nothing more goes; any shape, NaN ignored."""
    kept = values[np.isfinite(values)].astype(np.float64)
    for _ in range(_PASSES):
        centre, sigma = kept.mean() if kept.size else 0.0, kept.std() if kept.size else 0.0
        inside = np.abs(kept - centre) <= _CLIP * sigma
        if inside.all() or not inside.any():
            break
        kept = kept[inside]
    return float(kept.std()) if kept.size else float("nan")


def difference_sigma(values: np.ndarray) -> float:
    """The standard deviation of the normal part of values that may be whole numbers; any shape, NaN ignored.

    The median absolute deviation of counts is itself a count; so it only sets off what is far away, and the rest is
    clipped. Clipping at three sigma costs 1.5 % of a normal distribution's scatter, which is put back.
    """
    finite = values[np.isfinite(values)]
    if not finite.size:
        return float("nan")
    departure = np.abs(finite - np.median(finite))
    apart = departure[departure > 0]
    width = max(float(np.median(departure)) * MAD_TO_SIGMA, float(apart.min()) if apart.size else 0.0)
    return clipped_sigma(finite[departure <= _FAR * width]) / _CLIPPED_SIGMA


def read_noise_from_biases(first: np.ndarray, second: np.ndarray) -> float:
    """Read noise from two bias frames: the scatter of their difference over the square root of two.

    Parameters
    ----------
    first, second : shape (ny, nx), adu
        Fixed patterns cancel in the difference; outliers are clipped.

    Returns
    -------
    float
        One standard deviation of a single frame, adu. What clipping costs a normal distribution's scatter is put back.

    References
    ----------
    Howell, Handbook of CCD Astronomy, 2nd ed., section 4.3.
    """
    difference = first.astype(np.float64) - second.astype(np.float64)
    return clipped_sigma(difference) / np.sqrt(2.0) / _CLIPPED_SIGMA


# Standard deviation of a unit normal distribution that was clipped at three of its own until nothing more went.
_CLIPPED_SIGMA = 0.98485
