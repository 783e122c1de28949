"""From scaled light to a picture's values: stretches that keep the colours, and stretches of each colour by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from astropy.visualization import (
    AsinhStretch,
    AsymmetricPercentileInterval,
    BaseInterval,
    BaseStretch,
    LinearStretch,
    LogStretch,
    ManualInterval,
    MinMaxInterval,
    PowerStretch,
    SinhStretch,
    SqrtStretch,
    SquaredStretch,
    ZScaleInterval,
)

from avcd.errors import ProcessingError

_QUIET = 3.0  # the stretch is linear up to this many standard deviations: noise is not to be the brightest thing
_WHITENED = 0.35  # of what is too bright for the screen: towards white, the rest keeps its hue
_MOST_COLOUR = 3.0
_STRETCHES: dict[str, Callable[..., BaseStretch]] = {
    "linear": LinearStretch, "sqrt": SqrtStretch, "squared": SquaredStretch, "asinh": AsinhStretch, "sinh": SinhStretch,
    "log": LogStretch, "power": PowerStretch,
}  # fmt: skip
_PLAIN = ("linear", "sqrt", "squared")


@dataclass(frozen=True)
class Balanced:
    """A stretch of the intensity alone, above a grey sky (after Lupton et al. 2004, PASP 116, 133).

    ``white``: the intensity that is one; ``noise``: of the intensity, in units of white; ``colour_noise``: of the noisiest
    colour's share in it; ``headroom``: the intensity that is
    the brightest, in units of white; ``softening`` None: linear.
    """

    white: float
    noise: float
    colour_noise: float
    headroom: float
    softening: float | None
    saturation: float
    sky_grey: float
    gamma: float = 1.0

    def __call__(self, rgb: np.ndarray, luminance: np.ndarray | None = None) -> np.ndarray:
        """Values from 0 to 1 of light of shape (3, ny, nx); ``luminance`` (ny, nx) in the place of the colours' mean."""
        own = rgb[0] + rgb[1]
        own += rgb[2]
        own *= np.float32(1 / 3)
        np.maximum(own, 0, out=own)
        intensity = own if luminance is None else np.maximum(luminance, np.float32(0))
        intensity = intensity * np.float32(1 / self.white)
        colour = rgb * (1 / np.maximum(own, np.float32(1e-6 * self.white)))
        np.clip(colour, 0, _MOST_COLOUR, out=colour)
        # Where there is hardly any light, a ratio of two noises is no colour.
        light = np.square(own * np.float32(1 / self.white))
        sure = light + np.float32((_QUIET * self.colour_noise) ** 2 + 1e-12)
        np.divide(light, sure, out=sure)
        sure *= np.float32(self.saturation)
        colour *= sure
        colour += 1 - sure
        np.maximum(colour, 0, out=colour)
        bright = intensity
        if self.softening is not None:
            softening = max(self.softening, _QUIET * self.noise)
            bright = _asinh(intensity * np.float32(1 / softening))
            bright *= np.float32(1 / np.arcsinh(self.headroom / softening))
        colour *= bright * np.float32(1 - self.sky_grey)
        colour += np.float32(self.sky_grey)
        return _with_gamma(_within(colour), self.gamma)


def _asinh(values: np.ndarray) -> np.ndarray:
    """The inverse hyperbolic sine of values from 0 on, to the seventh place behind the point: many times as fast as NumPy's."""
    found = np.square(values)
    found += 1
    np.sqrt(found, out=found)
    found += values
    return np.log(found, out=found)


def _within(picture: np.ndarray) -> np.ndarray:
    """What is too bright for the screen: all colours down together, a little towards white; clipping one would change the hue."""
    top = np.maximum(np.maximum(picture[0], picture[1]), picture[2])
    rows, columns = np.nonzero(top > 1)
    if len(rows):
        over = top[rows, columns]
        bright = picture[:, rows, columns] / over
        picture[:, rows, columns] = bright + (1 - bright) * (np.float32(_WHITENED) * (1 - 1 / over))
    return picture


def _with_gamma(picture: np.ndarray, gamma: float) -> np.ndarray:
    return picture if gamma == 1.0 else np.power(picture, np.float32(1 / gamma))


@dataclass(frozen=True)
class Lupton:
    """The stretch of the SDSS's pictures: asinh of the intensity, colours kept (Lupton et al. 2004, PASP 116, 133).

    ``minimum``: black of each colour; ``stretch`` and ``q`` as `astropy.visualization.make_lupton_rgb` has them.
    """

    minimum: tuple[float, float, float]
    stretch: float
    q: float
    gamma: float = 1.0

    def __call__(self, rgb: np.ndarray, luminance: np.ndarray | None = None) -> np.ndarray:
        """Values from 0 to 1 of light of shape (3, ny, nx)."""
        above = rgb - np.array(self.minimum, np.float32)[:, None, None]
        intensity = above.mean(axis=0) if luminance is None else luminance
        light = np.maximum(intensity, np.float32(1e-30))
        # Exact also where the colours' mean is next to nothing, which they are divided by.
        factor = np.arcsinh(light * np.float32(self.q / self.stretch))
        factor *= np.float32(0.1 / np.arcsinh(0.1 * self.q)) / light
        above *= np.where(intensity > 0, factor, np.float32(0))
        np.maximum(above, 0, out=above)
        above *= 1 / np.maximum(above.max(axis=0), np.float32(1))
        return _with_gamma(above, self.gamma)


@dataclass(frozen=True)
class Separate:
    """Each colour by itself, through its own interval and stretch."""

    limits: tuple[tuple[float, float], ...]
    stretches: tuple[BaseStretch, ...]
    gamma: float = 1.0

    def __call__(self, rgb: np.ndarray, luminance: np.ndarray | None = None) -> np.ndarray:
        """Values from 0 to 1 of light of shape (3, ny, nx)."""
        found = np.empty_like(rgb, dtype=np.float32)
        for index, ((low, high), stretch) in enumerate(zip(self.limits, self.stretches, strict=True)):
            scaled = (rgb[index] - np.float32(low)) * np.float32(1 / max(high - low, 1e-30))
            found[index] = stretch(scaled, clip=True)
        return _with_gamma(found, self.gamma)


def three(text: str) -> tuple[str, str, str]:
    """One word for all colours, or three, red first, separated by commas.

    Raises
    ------
    ProcessingError
        There are neither one nor three.
    """
    parts = [one.strip() for one in text.split(",")]
    if len(parts) == 1:
        parts *= 3
    if len(parts) != 3:
        raise ProcessingError(f"{text!r}: give one for all colours, or three with commas: red,green,blue")
    return parts[0], parts[1], parts[2]


def interval_of(text: str) -> BaseInterval:
    """ "zscale", "minmax", "1%:99.5%" (percentiles) or "10:500" (values) as an interval.

    Raises
    ------
    ProcessingError
        It is none of these.
    """
    name, _, contrast = text.partition("@")
    if name == "zscale":
        return ZScaleInterval(contrast=_number(text, contrast) if contrast else 0.25)
    if text == "minmax":
        return MinMaxInterval()
    low, colon, high = text.partition(":")
    if colon and low.endswith("%") and high.endswith("%"):
        lower, upper = _number(text, low[:-1]), _number(text, high[:-1])
        if 0 <= lower < upper <= 100:
            return AsymmetricPercentileInterval(lower, upper)
    elif colon and _number(text, low) < _number(text, high):
        return ManualInterval(_number(text, low), _number(text, high))
    raise ProcessingError(
        f"interval {text!r}: write zscale, minmax, percentiles as in 1%:99.5%, or values as in 10:500"
    )


def stretch_of(text: str) -> BaseStretch:
    """ "linear", "asinh", "asinh:0.1" and so on as a stretch; the number is astropy's ``a``, of power the exponent.

    Raises
    ------
    ProcessingError
        There is no such stretch.
    """
    name, _, number = text.partition(":")
    if name not in _STRETCHES:
        raise ProcessingError(f"stretch {text!r} is none of {', '.join(sorted(_STRETCHES))}")
    if name in _PLAIN:
        if number:
            raise ProcessingError(f"stretch {text!r}: {name} takes no number")
        return _STRETCHES[name]()
    if name == "power" and not number:
        raise ProcessingError("stretch 'power' wants its exponent, as in power:0.5")
    try:
        return _STRETCHES[name](_number(text, number)) if number else _STRETCHES[name]()
    except ValueError as error:
        raise ProcessingError(f"stretch {text!r}: {error}") from None


def _number(text: str, part: str) -> float:
    try:
        return float(part)
    except ValueError:
        raise ProcessingError(f"{text!r}: {part!r} is no number") from None


def separate(samples: Sequence[np.ndarray], intervals: str, stretches: str, gamma: float) -> Separate:
    """The stretch of each colour, its interval measured on a sample of its light."""
    limits = []
    for values, text in zip(samples, three(intervals), strict=True):
        low, high = interval_of(text).get_limits(values) if values.size else (0.0, 1.0)
        limits.append((float(low), float(high)))
    return Separate(tuple(limits), tuple(stretch_of(text) for text in three(stretches)), gamma)


def lupton(samples: Sequence[np.ndarray], q: float, stretch: float, minimum: str, gamma: float) -> Lupton:
    """The SDSS's stretch; where ``stretch`` is 0 or ``minimum`` empty, zscale tells them."""
    known = min(len(one) for one in samples)
    lows = [float(ZScaleInterval().get_limits(one)[0]) if len(one) else 0.0 for one in samples]
    if minimum:
        lows = [_number(minimum, one) for one in three(minimum)]
    if not stretch:
        intensity = np.mean([one[:known] - low for one, low in zip(samples, lows, strict=True)], axis=0)
        low, high = ZScaleInterval().get_limits(intensity) if known else (0.0, 1.0)
        stretch = max(float(high - low), 1e-30)
    if q <= 0:
        raise ProcessingError(f"q is {q:g}: Lupton's softening is greater than 0")
    return Lupton((lows[0], lows[1], lows[2]), stretch, q, gamma)
