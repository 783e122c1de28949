"""Colour composites: filters to channels by wavelength, white stars, a neutral sky, one stretch for all channels."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tifffile
from PIL import Image
from scipy.ndimage import binary_opening, gaussian_filter, label, sum_labels

from avcd.compose.background import subtract_plane
from avcd.compose.captions import captioned
from avcd.compose.filters import is_white, order_by_wavelength, wavelength_nm
from avcd.compose.resampling import UNUSABLE
from avcd.errors import ProcessingError
from avcd.frame import MaskBit

_NAMES = ("red", "green", "blue")
_LEAST_SPAN = 20.0  # in standard deviations of the noise: a field of few stars has its white percentile in the noise
_SKY_GREY = 0.06
_QUIET = 3.0  # the stretch is linear up to this many standard deviations: noise is not to be the brightest thing
_BRIGHT = 8.0  # in standard deviations, in every channel, for an object to tell the white balance
_LEAST_OBJECTS = 5
_MOST_HEADROOM = 6.0
_LARGEST_GAIN = 4.0  # a channel with hardly any light is not blown up to a sea of noise
_MAD = 1.4826


@dataclass(frozen=True)
class Channel:
    """One filter's image on the common grid: ``data`` (ny, nx), and a plane of `MaskBit` or None."""

    filter: str
    data: np.ndarray
    mask: np.ndarray | None


@dataclass(frozen=True)
class RgbImage:
    """A composite: ``rgb`` of shape (ny, nx, 3) from 0 to 1, row 0 at the bottom; which filters went where; remarks."""

    rgb: np.ndarray
    assignment: Mapping[str, str]
    notes: tuple[str, ...]


def compose_rgb(channels: Sequence[Channel], params: Mapping[str, Any]) -> RgbImage:
    """A picture from two or more filters, the longest wavelength in red.

    With three filters each has a channel; more are mixed into the channel their wavelength falls to; of two, green is
    the mean. Every channel's sky goes to the same grey, and the typical star to white; the stretch works on the
    intensity alone, so that a star's colour is the same from its wings to its core, and a saturated core is white.

    Parameters
    ----------
    channels
        At least two of known wavelength, of one shape; order does not matter.
    params
        Of the recipe: black_percentile, white_percentile, asinh_softening, saturation, stretch ("asinh" or "linear").

    Returns
    -------
    RgbImage

    Raises
    ------
    ProcessingError
        Fewer than two filters of known wavelength, two images of one filter, different shapes, or no such stretch.
    """
    by_name = {one.filter: one for one in channels}
    if len(by_name) < len(channels):
        raise ProcessingError("two channels of a composite have one filter")
    if params["stretch"] not in ("asinh", "linear"):
        raise ProcessingError(f"stretch is {params['stretch']!r}, neither asinh nor linear")
    coloured = [name for name in order_by_wavelength(by_name) if not is_white(name)]
    names = coloured if len(coloured) >= 2 else order_by_wavelength(by_name)
    if len(names) < 2:
        raise ProcessingError(f"a composite needs two filters of known wavelength, not {sorted(by_name)}")
    if len({one.data.shape for one in channels}) > 1:
        raise ProcessingError("the channels of a composite differ in size")
    mix = _assign(names)
    scaled = {name: _scaled(by_name[name], params) for name in names}
    planes = [np.mean([scaled[name] for name in mix[colour]], axis=0) for colour in _NAMES]
    saturated = np.any([_has(by_name[name], MaskBit.SATURATED) for name in names], axis=0)
    seen = np.stack([~_unseen([by_name[name] for name in mix[colour]]) for colour in _NAMES], axis=-1)
    rgb = _grey_where_unseen(_balanced(np.stack(planes, axis=-1), saturated), seen)
    picture = _stretch(rgb, saturated, params)
    empty = np.all([_has(by_name[name], MaskBit.NO_DATA) for name in names], axis=0)
    picture[empty] = 0
    return RgbImage(picture, {colour: "+".join(mix[colour]) for colour in _NAMES}, _notes(by_name, names))


def _notes(by_name: Mapping[str, Channel], names: Sequence[str]) -> tuple[str, ...]:
    notes = []
    missing = sorted(set(by_name) - set(names))
    if missing:
        notes.append(f"not in the composite: {', '.join(missing)}")
    if len(names) == 2:
        notes.append("two filters only: green is their mean")
    return tuple(notes)


def _has(channel: Channel, bit: MaskBit) -> np.ndarray:
    return np.zeros(channel.data.shape, bool) if channel.mask is None else (channel.mask & np.uint16(bit)) != 0


def _unseen(channels: Sequence[Channel]) -> np.ndarray:
    """Where none of a colour's images has data: the margins that dithering leaves, not single dead pixels."""
    unseen = np.ones(channels[0].data.shape, bool)
    for one in channels:
        unseen &= _has(one, MaskBit.NO_DATA)
    return np.asarray(binary_opening(np.pad(unseen, 1, mode="edge"), np.ones((3, 3), bool))[1:-1, 1:-1])


def _grey_where_unseen(rgb: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Where a colour is lacking there is no telling the hue: the mean of those at hand."""
    number = seen.sum(axis=-1)
    grey = np.where(seen, rgb, 0).sum(axis=-1) / np.maximum(number, 1)
    return np.where((number < rgb.shape[-1])[..., None], grey[..., None], rgb).astype(np.float32)


def _assign(names: Sequence[str]) -> dict[str, list[str]]:
    """Filters, the longest first, to the three colours."""
    if len(names) == 2:
        return {"red": [names[0]], "green": list(names), "blue": [names[1]]}
    if len(names) == 3:
        return {colour: [name] for colour, name in zip(_NAMES, names, strict=True)}
    longest, shortest = wavelength_nm(names[0]) or 0.0, wavelength_nm(names[-1]) or 0.0
    mix: dict[str, list[str]] = {colour: [] for colour in _NAMES}
    for name in names:
        part = (longest - (wavelength_nm(name) or 0.0)) / max(longest - shortest, 1e-9)
        mix[_NAMES[min(int(part * 3), 2)]].append(name)
    if not mix["green"]:  # all at the ends: the one next to the middle goes there, from the end that has more
        if len(mix["red"]) > len(mix["blue"]):
            mix["green"].append(mix["red"].pop())
        else:
            mix["green"].append(mix["blue"].pop(0))
    return mix


def _scaled(channel: Channel, params: Mapping[str, Any]) -> np.ndarray:
    """Background at zero and the bright end near one; pixels without data like their surroundings."""
    data = np.asarray(channel.data, dtype=np.float32)
    bad = ~np.isfinite(data)
    if channel.mask is not None:
        bad |= (channel.mask & UNUSABLE) != 0
    good = ~bad
    if not good.any():
        return np.zeros_like(data)
    # A single dead pixel must not be a black hole in the picture.
    weight = gaussian_filter(good.astype(np.float32), 1.5)
    around = gaussian_filter(np.where(good, data, 0), 1.5) / np.maximum(weight, 1e-6)
    filled = np.where(good, data, np.where(weight > 0.1, around, np.median(data[good])))
    flat = subtract_plane(filled, good)
    # Noise alone must not make the black: a smoothed picture tells the background's level better.
    low = float(np.percentile(gaussian_filter(flat, 2)[good], float(params["black_percentile"])))
    high = float(np.percentile(flat[good], float(params["white_percentile"])))
    span = max(high - low, _LEAST_SPAN * _noise(flat[good]), 1e-12)
    return np.asarray((flat - low) / span, dtype=np.float32)


def _noise(values: np.ndarray) -> float:
    """The sky's noise, from its darker half: nebulae and stars only ever brighten."""
    sample = values[:: max(1, values.size // 250_000)]
    middle = np.median(sample)
    below = sample[sample < middle]
    return _MAD * float(np.median(middle - below)) if below.size else 0.0


def _balanced(rgb: np.ndarray, saturated: np.ndarray) -> np.ndarray:
    """The channels scaled so that the typical object is white.

    Every object counts once, however large: a nebula keeps its colour among stars. Where there are too few, the
    channels stay as their brightest parts have scaled them.
    """
    noises = [_noise(rgb[..., index]) for index in range(3)]
    limits = np.maximum(_BRIGHT * np.array(noises), 1e-9)
    regions, count = label((rgb > limits).all(axis=-1) & ~saturated)
    if not count:
        return rgb
    numbers = np.arange(1, count + 1)
    large = sum_labels(np.ones(regions.shape), regions, numbers) >= 4
    sums = np.stack([sum_labels(rgb[..., index], regions, numbers)[large] for index in range(3)], axis=1)
    if len(sums) < _LEAST_OBJECTS:
        return rgb
    logs = np.log(sums)
    colour = np.median(logs - logs.mean(axis=1, keepdims=True), axis=0)
    gains = np.clip(np.exp(-colour), 1 / _LARGEST_GAIN, _LARGEST_GAIN)
    return np.asarray(rgb * gains.astype(np.float32))


def _stretch(rgb: np.ndarray, saturated: np.ndarray, params: Mapping[str, Any]) -> np.ndarray:
    """One stretch of the intensity that keeps the colours (Lupton et al. 2004, PASP 116, 133)."""
    intensity = rgb.mean(axis=-1, keepdims=True)
    white = float(np.percentile(intensity, float(params["white_percentile"])))
    white = max(white, _LEAST_SPAN * _noise(intensity.ravel()), 1e-9)
    rgb, intensity = rgb / white, np.clip(intensity / white, 0, None)
    noise = _noise(rgb.mean(axis=-1))
    colour = np.clip(rgb / np.maximum(intensity, 1e-6), 0, 3)
    # Where there is hardly any light, a ratio of two noises is no colour; in a saturated core it is none either.
    sure = intensity**2 / (intensity**2 + (_QUIET * noise) ** 2 + 1e-12)
    if saturated.ndim:
        sure = sure * (1 - np.clip(gaussian_filter(saturated.astype(np.float32), 1.5) * 2, 0, 1))[..., None]
    colour = np.clip(1.0 + (colour - 1.0) * float(params["saturation"]) * sure, 0, None)
    if params["stretch"] == "asinh":
        softening = max(float(params["asinh_softening"]), _QUIET * noise)
        bright = np.arcsinh(intensity / softening) / np.arcsinh(_headroom(intensity) / softening)
    else:
        bright = intensity
    picture = _SKY_GREY + (1 - _SKY_GREY) * colour * bright
    # Too bright for the screen: all channels down together, then towards white; clipping one would change the hue.
    top = picture.max(axis=-1, keepdims=True)
    picture = np.where(top > 1, picture / top, picture)
    picture = picture + (1 - picture) * 0.8 * (np.maximum(top, 1) - 1) / np.maximum(top, 1)
    return np.clip(picture, 0, 1).astype(np.float32)


def _headroom(intensity: np.ndarray) -> float:
    """How far above the white percentile the stretch still tells intensities apart.

    Where objects are few and small the percentile lies below them all: half way, in magnitudes, to the brightest keeps
    the structure of a small bright nebula.
    """
    return float(np.sqrt(np.clip(np.percentile(intensity, 99.995), 1.0, _MOST_HEADROOM**2)))


def _top_down(rgb: np.ndarray) -> np.ndarray:
    """Pictures begin at the top, FITS images at the bottom."""
    return np.ascontiguousarray(rgb[::-1])


def png_bytes(rgb: np.ndarray, *, caption: str | None = None) -> bytes:
    """An 8-bit PNG of values from 0 to 1, shape (ny, nx, 3) or (ny, nx), the first row at the bottom; without date.

    A caption is written below the picture.
    """
    picture = Image.fromarray(_top_down((np.clip(rgb, 0, 1) * 255 + 0.5).astype(np.uint8)))
    if caption:
        picture = captioned(picture, caption)
    stream = io.BytesIO()
    picture.save(stream, "PNG", optimize=False, compress_level=6)
    return stream.getvalue()


def tiff16_bytes(rgb: np.ndarray, *, description: str | None = None) -> bytes:
    """A 16-bit TIFF of values from 0 to 1, shape (ny, nx, 3), the first row at the bottom; without date or program."""
    pixels = _top_down((np.clip(rgb, 0, 1) * 65535 + 0.5).astype(np.uint16))
    stream = io.BytesIO()
    tifffile.imwrite(
        stream,
        pixels,
        photometric="rgb",
        compression="zlib",
        metadata=None,
        software=False,
        datetime=False,
        description=description,
    )
    return stream.getvalue()
