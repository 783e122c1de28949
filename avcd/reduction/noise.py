"""What a detector's noise is, measured on its own frames."""

from __future__ import annotations

import numpy as np

from avcd.reduction.combine import MAD_TO_SIGMA

_CLIP = 3.0
_PASSES = 5
_FAR = 10.0
_MOST_BINS = 400
_MANY = 500_000
_SAMPLE = 50_000


def mad_sigma(values: np.ndarray) -> float:
    """The standard deviation of finite values, from their median absolute deviation."""
    whole = np.isfinite(values)
    finite = values.reshape(-1) if whole.all() else values[whole]
    if not finite.size:
        return float("nan")
    departure = np.abs(finite - exact_median(finite))
    return float(departure.dtype.type(exact_median(departure)) * MAD_TO_SIGMA)


def exact_median(values: np.ndarray) -> float:
    """The median of finite values, as NumPy has it, of millions several times as fast.

    A sample tells where the middle is about; only what is near it is put into order.
    """
    flat = values.reshape(-1)
    if flat.size < _MANY:
        return float(np.median(flat))
    sample = np.sort(flat[:: flat.size // _SAMPLE])
    low, high = (sample[int(part * sample.size)] for part in (0.48, 0.52))
    below = int(np.count_nonzero(flat < low))
    near = flat[(flat >= low) & (flat <= high)]
    middle = [(flat.size - 1) // 2 - below, flat.size // 2 - below]
    if middle[0] < 0 or middle[1] >= near.size:
        return float(np.median(flat))
    return float(np.partition(near, middle)[middle].mean())


def clipped_sigma(values: np.ndarray) -> float:
    """The standard deviation after clipping at three sigma until nothing more goes; any shape, NaN ignored."""
    finite = np.isfinite(values)
    kept = (values.reshape(-1) if finite.all() else values[finite]).astype(np.float64, copy=False)
    if not kept.size:
        return float("nan")
    room = np.empty_like(kept)
    for _ in range(_PASSES):
        departure = room[: kept.size]
        centre, sigma = _mean_and_sigma(kept, departure)
        np.abs(np.subtract(kept, centre, out=departure), out=departure)
        inside = departure <= _CLIP * sigma
        if inside.all() or not inside.any():
            return float(sigma)
        kept = kept[inside]
    return float(_mean_and_sigma(kept, room[: kept.size])[1])


def _mean_and_sigma(values: np.ndarray, room: np.ndarray) -> tuple[np.floating, np.floating]:
    """What NumPy's mean and std answer, to the last bit, without an array of their own for it."""
    mean = values.mean()
    np.subtract(values, mean, out=room)
    return mean, np.sqrt(np.multiply(room, room, out=room).mean())


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
    difference = np.subtract(first, second, dtype=np.float64)
    return clipped_sigma(difference) / np.sqrt(2.0) / _CLIPPED_SIGMA


def difference_histogram(first: np.ndarray, second: np.ndarray) -> list[dict[str, float]]:
    """How often each difference of two biases comes, beside what a normal distribution of the read noise would give.

    Parameters
    ----------
    first, second : shape (ny, nx), adu
        What is no finite number takes no part.

    Returns
    -------
    list of dict
        Of each bin, upwards: ``difference_adu`` its middle, ``pixels`` how many fall into it, ``normal`` how many would.
        Bins are one step of the numbers wide, or more steps where there would be hundreds; what lies more than ten standard
        deviations out is in the first and the last one. Empty where no pixel is finite in both.
    """
    difference = first.astype(np.float64) - second.astype(np.float64)
    difference = difference[np.isfinite(difference)]
    if not difference.size:
        return []
    sigma = difference_sigma(difference)
    whole = bool(np.all(difference == np.rint(difference)))
    middle = float(np.rint(np.median(difference)) if whole else np.median(difference))
    reach = max(10 * sigma, 5.0 if whole else 1e-9)
    width = float(max(1, np.ceil(2 * reach / _MOST_BINS))) if whole else 2 * reach / _MOST_BINS
    number = int(np.ceil(reach / width))
    at = np.clip(np.rint((difference - middle) / width), -number, number).astype(np.int64) + number
    pixels = np.bincount(at, minlength=2 * number + 1)
    places = middle + width * np.arange(-number, number + 1)
    centre = float(np.mean(difference[np.abs(difference - middle) <= reach]))
    spread = max(sigma, 1e-12)
    normal = difference.size * width / (spread * np.sqrt(2 * np.pi)) * np.exp(-0.5 * ((places - centre) / spread) ** 2)
    return [
        {"difference_adu": float(place), "pixels": int(count), "normal": round(float(expected), 3)}
        for place, count, expected in zip(places, pixels, normal, strict=True)
    ]


# Standard deviation of a unit normal distribution that was clipped at three of its own until nothing more went.
_CLIPPED_SIGMA = 0.98485
