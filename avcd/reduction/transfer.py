"""Gain and read noise of a detector, from pairs of its biases and flats.

What is fixed in the detector (response, dust, vignetting) cancels in the difference of two flats; what is left is
noise, whose variance grows with the light as one over the gain. Everything is measured in small cells of the frames,
each with its own level and less the plane by which two flats of a twilight differ, and brought together by medians or
a clipped fit: stars, cosmic rays and bad columns disturb a few cells, or none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from avcd.errors import ProcessingError
from avcd.reduction.combine import MAD_TO_SIGMA
from avcd.reduction.noise import difference_sigma

CELL = (64, 64)
_FEWEST_PX = 200  # of a cell: fewer give no scatter worth having
_MEDIAN_SCATTER = 1.2533  # of a median of normal values, beside that of their mean
_CLIP = 4.0
_PASSES = 10
_FAR = 5.0
_STEEPEST = 1.5  # largest ratio of the light of a pair of flats: beyond, they are no pair


@dataclass(frozen=True)
class Pair:
    """Two frames taken alike: ``first``, ``second`` of shape (ny, nx), adu; NaN for what is not to be used."""

    first: np.ndarray
    second: np.ndarray


@dataclass(frozen=True)
class DetectorNoise:
    """What a detector's noise is, each value with one standard deviation of it.

    ``read_noise_adu`` is of one frame, the rounding to whole numbers in it. ``pairs``: of flats. ``cells``: how many
    measurements it rests on. ``lowest_adu``, ``highest_adu``: their light.
    """

    gain_e_per_adu: float
    gain_error: float
    read_noise_adu: float
    read_noise_adu_error: float
    pairs: int
    cells: int
    lowest_adu: float
    highest_adu: float

    @property
    def read_noise_e(self) -> float:
        """Electrons."""
        return self.read_noise_adu * self.gain_e_per_adu

    @property
    def read_noise_e_error(self) -> float:
        """Electrons; the errors of both factors, as if independent."""
        return float(np.hypot(self.read_noise_adu_error * self.gain_e_per_adu, self.read_noise_adu * self.gain_error))


@dataclass(frozen=True)
class _Cells:
    """Cells of a pair: mean light above the bias, half the variance of the scaled difference, and pixels in each.

    ``read_share``: what part of it the variance of the read-out is; one for two equal frames.
    """

    light: np.ndarray
    variance: np.ndarray
    read_share: np.ndarray
    pixels: np.ndarray


def measure_read_noise(pairs: Sequence[Pair], cell: tuple[int, int] = CELL) -> tuple[float, float]:
    """Read noise from pairs of biases, adu, and its error: medians over the cells of all pairs.

    Raises
    ------
    ProcessingError
        No pair, frames of different shapes, or none with enough usable pixels.
    """
    cells = [_measure(one, None, cell) for one in _same_shape(pairs)]
    sigma = np.sqrt(np.concatenate([one.variance for one in cells]))
    if not sigma.size:
        raise ProcessingError("no pair of biases has enough usable pixels to measure the read noise on")
    return _median_with_error(sigma)


def gain_by_pairs(
    flats: Sequence[Pair],
    biases: Sequence[Pair],
    *,
    highest_adu: float | None = None,
    cell: tuple[int, int] = CELL,
) -> DetectorNoise:
    """Gain and read noise by Howell's equations, cell by cell.

    With F the flats, B the biases, means and variances within a cell::

        gain = ((F1 + F2) - (B1 + B2)) / (var(F1 - F2) - var(B1 - B2));   read noise = gain * sigma(B1 - B2) / sqrt(2)

    Flats of unlike light are scaled to one another first, and the equation with them.

    Parameters
    ----------
    flats, biases
        Raw. Levels of flats need not be equal from pair to pair.
    highest_adu
        Cells whose light is above are left out, as a detector near its full well is not linear; None: all are used.
    cell
        Rows and columns of a cell.

    Raises
    ------
    ProcessingError
        No pair, frames of different shapes, or no cell with light enough to have noise of its own.

    References
    ----------
    Howell, Handbook of CCD Astronomy, 2nd ed., section 4.3; Janesick, Photon Transfer, chapter 5.
    """
    level, noise, error = _zero(biases, cell)
    cells = _usable(flats, level, highest_adu, cell)
    return _by_pairs(cells, noise, error, len(flats))


def gain_of_frames(frames: Sequence[np.ndarray], read_noise_adu: float, cell: tuple[int, int] = CELL) -> DetectorNoise:
    """Gain from flats whose bias (and dark) is subtracted already, every two of them a pair, by Howell's equation.

    Parameters
    ----------
    frames : arrays of one shape, adu
        NaN for what is not to be used; any rows of the frames will do.
    read_noise_adu
        Of one frame, measured elsewhere, taken as exact.

    Raises
    ------
    ProcessingError
        Fewer than two frames, or no cell with light enough.
    """
    pairs = [Pair(first, second) for first, second in zip(frames[::2], frames[1::2], strict=False)]
    cells = _usable(pairs, 0.0, None, cell)
    return _by_pairs(cells, read_noise_adu, 0.0, len(pairs))


def gain_by_photon_transfer(
    flats: Sequence[Pair],
    biases: Sequence[Pair],
    *,
    highest_adu: float | None = None,
    cell: tuple[int, int] = CELL,
) -> DetectorNoise:
    """Gain and read noise from the straight line of variance against light, over flats of several levels.

    ``variance = read_noise^2 + light / gain``, fitted to the cells of all flats and biases by their expected errors,
    clipped at four sigma until nothing more goes. Parameters, errors and references as `gain_by_pairs`, which it
    checks: the two part where the detector is not linear.
    """
    level, _, _ = _zero(biases, cell)
    dark = [_measure(one, level, cell) for one in biases]
    cells = [*_usable(flats, level, highest_adu, cell), *dark]
    light, variance, share, pixels = (
        np.concatenate([getattr(one, name) for one in cells]) for name in ("light", "variance", "read_share", "pixels")
    )
    # Divided by its share of the read-out's variance, that is the intercept of all cells alike.
    x, y = light / share, variance / share
    kept = np.isfinite(x) & np.isfinite(y)
    model = np.maximum(y, np.median(y[kept]) * 1e-3)
    for _ in range(_PASSES):
        error = model * np.sqrt(2.0 / np.maximum(pixels - 1, 1))
        slope, intercept, covariance = _line(x[kept], y[kept], error[kept])
        model = np.maximum(intercept + slope * x, model.min() * 1e-3)
        pull = (y - intercept - slope * x) / (model * np.sqrt(2.0 / np.maximum(pixels - 1, 1)))
        # Never narrower than the cells scatter by: what the model does not know of must not eat them all.
        width = max(1.0, float(np.median(np.abs(pull[kept])) * MAD_TO_SIGMA))
        inside = np.abs(pull) <= _CLIP * width
        if np.array_equal(inside, kept):
            break
        kept = inside
    if not slope > 0 or not intercept > 0:
        raise ProcessingError("the noise of the flats does not grow with their light: no gain follows from them")
    covariance = covariance * width**2
    gain, noise = 1.0 / slope, np.sqrt(intercept)
    lit = np.concatenate([one.light for one in cells[: -len(dark)]])
    return DetectorNoise(
        float(gain),
        float(np.sqrt(covariance[0, 0]) * gain**2),
        float(noise),
        float(np.sqrt(covariance[1, 1]) / (2 * noise)),
        len(flats),
        int(np.count_nonzero(kept)),
        float(lit.min()),
        float(lit.max()),
    )


def _line(x: np.ndarray, y: np.ndarray, error: np.ndarray) -> tuple[float, float, np.ndarray]:
    """Slope and intercept of the weighted straight line, and their covariance."""
    scale = float(np.abs(x).max()) or 1.0
    terms = np.column_stack([x / scale, np.ones_like(x)]) / error[:, None]
    covariance = np.linalg.pinv(terms.T @ terms)
    slope, intercept = covariance @ (terms.T @ (y / error))
    unit = np.array([1 / scale, 1.0])
    return float(slope / scale), float(intercept), covariance * np.outer(unit, unit)


def _by_pairs(cells: Sequence[_Cells], noise: float, noise_error: float, pairs: int) -> DetectorNoise:
    light, variance, share = (
        np.concatenate([getattr(one, name) for one in cells]) for name in ("light", "variance", "read_share")
    )
    photons = variance - share * noise**2
    # The median of gains would be that of a ratio, whose scatter is lopsided; one over the gain is not.
    inverse, error = _median_with_error(photons / light)
    if not inverse > 0:
        raise ProcessingError("the noise of the flats is no more than that of the biases: no gain follows from them")
    # An error of the read noise moves all cells together.
    common = 2 * noise * noise_error * float(np.median(share / light))
    gain = 1.0 / inverse
    return DetectorNoise(
        gain,
        float(np.hypot(error, common)) * gain**2,
        noise,
        noise_error,
        pairs,
        light.size,
        float(light.min()),
        float(light.max()),
    )


def _zero(biases: Sequence[Pair], cell: tuple[int, int]) -> tuple[np.ndarray, float, float]:
    """The mean of the biases, and their read noise with its error."""
    noise, error = measure_read_noise(biases, cell)
    stack = np.array([frame for one in biases for frame in (one.first, one.second)], dtype=np.float32)
    # One wild value among a few: the median bears it.
    return np.median(stack, axis=0), noise, error


def _same_shape(pairs: Sequence[Pair]) -> Sequence[Pair]:
    shapes = {frame.shape for one in pairs for frame in (one.first, one.second)}
    if len(shapes) != 1:
        raise ProcessingError(
            f"frames of different sizes make no pair: {sorted(shapes)}"
            if shapes
            else "two frames make a pair; none is here"
        )
    return pairs


def _usable(
    flats: Sequence[Pair], level: np.ndarray | float, highest_adu: float | None, cell: tuple[int, int]
) -> list[_Cells]:
    """The cells of flats that hold light, and not too much of it."""
    found = []
    for one in _same_shape(flats):
        if isinstance(level, np.ndarray) and one.first.shape != level.shape:
            raise ProcessingError(f"flats of {one.first.shape} and biases of {level.shape} do not fit")
        cells = _measure(one, level, cell)
        good = cells.light > 0
        if highest_adu is not None:
            good &= cells.light <= highest_adu
        found.append(_Cells(cells.light[good], cells.variance[good], cells.read_share[good], cells.pixels[good]))
    if not any(one.light.size for one in found):
        raise ProcessingError("no pair of flats holds light that is the same in both and below the limit")
    return found


def _measure(pair: Pair, level: np.ndarray | float | None, cell: tuple[int, int]) -> _Cells:
    """Light and noise of a pair's cells; ``level`` is what is subtracted, None for biases themselves."""
    rows: list[tuple[float, float, float, float]] = []
    for place in _places(pair.first.shape, cell):
        zero = 0.0 if level is None else level[place] if isinstance(level, np.ndarray) else level
        first, second = (np.asarray(one[place], np.float64) - zero for one in (pair.first, pair.second))
        usable = np.isfinite(first) & np.isfinite(second)
        if np.count_nonzero(usable) < min(_FEWEST_PX, cell[0] * cell[1] // 2):
            continue
        first, second = first[usable], second[usable]
        one, other = float(np.median(first)), float(np.median(second))
        # Biases, and flats that hold hardly any light, have no ratio to go by.
        lit = level is not None and min(one, other) > 10 * difference_sigma(first - second) / np.sqrt(first.size)
        ratio = one / other if lit else 1.0
        if not 1 / _STEEPEST <= ratio <= _STEEPEST:
            continue
        # var(F1 - r F2) = (1 + r^2) read^2 + (L1 + r^2 L2) / gain, and L1 = r L2.
        variance = difference_sigma(_level(first - ratio * second, usable)) ** 2 / 2
        rows.append((one * (1 + ratio) / 2, variance, (1 + ratio**2) / 2, float(first.size)))
    table = np.array(rows, dtype=np.float64).reshape(-1, 4)
    return _Cells(*table.T)


def _level(difference: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """A difference less the plane through it, outliers left out: what changed between two flats is no noise."""
    rows, columns = np.nonzero(usable)
    terms = np.column_stack([np.ones(rows.size), rows - rows.mean(), columns - columns.mean()])
    departure = np.abs(difference - np.median(difference))
    normal = departure <= _FAR * MAD_TO_SIGMA * max(float(np.median(departure)), 1.0)
    plane = np.linalg.pinv(terms[normal].T @ terms[normal]) @ (terms[normal].T @ difference[normal])
    return np.asarray(difference - terms @ plane)


def _places(shape: tuple[int, ...], cell: tuple[int, int]) -> Iterator[tuple[slice, slice]]:
    for y in range(0, shape[0], cell[0]):
        for x in range(0, shape[1], cell[1]):
            yield slice(y, y + cell[0]), slice(x, x + cell[1])


def _median_with_error(values: np.ndarray) -> tuple[float, float]:
    """The median, and the error of it that the values' own scatter gives; NaN for one value."""
    middle = float(np.median(values))
    if values.size < 2:
        return middle, float("nan")
    scatter = max(float(np.median(np.abs(values - middle))) * MAD_TO_SIGMA, float(np.finfo(np.float64).tiny))
    return middle, _MEDIAN_SCATTER * scatter / float(np.sqrt(values.size))
