"""Colour composites: filters to channels by wavelength, a common stretch, neutral background."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tifffile
from astropy.visualization import AsinhStretch
from PIL import Image
from scipy.ndimage import gaussian_filter

from avcd.compose.filters import is_white, order_by_wavelength, wavelength_nm
from avcd.errors import ProcessingError

_NAMES = ("red", "green", "blue")


@dataclass(frozen=True)
class Channel:
    """One filter's image on the common grid."""

    filter: str
    data: np.ndarray
    mask: np.ndarray | None


@dataclass(frozen=True)
class RgbImage:
    """A composite: ``rgb`` of shape (ny, nx, 3) from 0 to 1, which filters went where, and remarks."""

    rgb: np.ndarray
    assignment: Mapping[str, str]
    notes: tuple[str, ...]


def compose_rgb(channels: Sequence[Channel], params: Mapping[str, Any]) -> RgbImage:
    """A picture from two or more filters, the longest wavelength in red.

    With three filters each has a channel; more are mixed into the channel their wavelength falls to; of two, green is
    the mean. Every channel's background goes to the same grey and its bright end to the same white; the stretch works
    on the intensity alone, so that a star's colour stays the same from its wings to its core.

    Parameters
    ----------
    channels
        At least two of known wavelength, of one shape; order does not matter.
    params
        Of the recipe: black_percentile, white_percentile, asinh_softening, saturation.

    Raises
    ------
    ProcessingError
        Fewer than two filters of known wavelength, or different shapes.
    """
    by_name = {one.filter: one for one in channels}
    coloured = [name for name in order_by_wavelength(by_name) if not is_white(name)]
    names = coloured if len(coloured) >= 2 else order_by_wavelength(by_name)
    if len(names) < 2:
        raise ProcessingError(f"a composite needs two filters of known wavelength, not {sorted(by_name)}")
    if len({one.data.shape for one in channels}) > 1:
        raise ProcessingError("the channels of a composite differ in size")
    scaled = {name: _scaled(by_name[name], params) for name in names}
    mix = _assign(names)
    planes = [np.mean([scaled[name] for name in mix[colour]], axis=0) for colour in _NAMES]
    rgb = np.stack(planes, axis=-1)
    notes = []
    missing = sorted(set(by_name) - set(names))
    if missing:
        notes.append(f"not in the composite: {', '.join(missing)}")
    if len(names) == 2:
        notes.append("two filters only: green is their mean")
    picture = _stretch(rgb, float(params["asinh_softening"]), float(params["saturation"]))
    return RgbImage(picture, {colour: "+".join(mix[colour]) for colour in _NAMES}, tuple(notes))


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
    if not mix["green"]:
        middle = names[len(names) // 2]
        mix["green"].append(middle)
        for colour in ("red", "blue"):
            if middle in mix[colour] and len(mix[colour]) > 1:
                mix[colour].remove(middle)
    return mix


def _scaled(channel: Channel, params: Mapping[str, Any]) -> np.ndarray:
    """Background to zero and the bright end to one; pixels without data at zero."""
    data = np.asarray(channel.data, dtype=np.float32)
    bad = ~np.isfinite(data) if channel.mask is None else (channel.mask != 0) | ~np.isfinite(data)
    good = data[~bad]
    if not good.size:
        return np.zeros_like(data)
    # Noise alone must not make the black: a smoothed picture tells the background's level better.
    filled = np.where(bad, np.median(good), data)
    low = float(np.percentile(gaussian_filter(filled, 2)[~bad], float(params["black_percentile"])))
    high = float(np.percentile(good, float(params["white_percentile"])))
    noise = 1.4826 * float(np.median(np.abs(good - np.median(good))))
    # A field of few stars has its white percentile in the noise: keep twenty sigma for the stars.
    span = max(high - low, 20 * noise, 1e-12)
    # Single dead or saturated pixels would be black holes in the picture.
    return np.where(bad, gaussian_filter(filled, 1), data).astype(np.float32) / span - low / span


def _stretch(rgb: np.ndarray, softening: float, saturation: float) -> np.ndarray:
    """An asinh stretch of the intensity that keeps colours (Lupton et al. 2004, PASP 116, 133), limited without
    changing hue."""
    intensity = rgb.mean(axis=-1, keepdims=True)
    clipped = np.clip(intensity, 0, None)
    bright = AsinhStretch(softening)(np.clip(clipped, 0, 1))
    over = np.where(clipped > 1, np.log(np.maximum(clipped, 1)) * 0.05, 0)
    # Where there is hardly any light, a ratio of two noises is no colour.
    sure = clipped / (clipped + 0.02)
    colour = np.where(clipped > 0, rgb / np.maximum(clipped, 1e-6), 1.0)
    colour = 1.0 + (np.clip(colour, 0, 3) - 1.0) * saturation * sure
    picture = 0.06 + 0.94 * np.clip(colour, 0, None) * (bright + over)
    top = picture.max(axis=-1, keepdims=True)
    # Too bright for the screen: towards white instead of clipping one channel, which would change the hue.
    excess = np.clip(top - 1, 0, None)
    picture = np.where(top > 1, picture / top, picture)
    picture = picture + (1 - picture) * np.clip(excess, 0, 1) * 0.7
    return np.clip(picture, 0, 1).astype(np.float32)


def _top_down(rgb: np.ndarray) -> np.ndarray:
    """Pictures begin at the top, FITS images at the bottom."""
    return np.ascontiguousarray(rgb[::-1])


def png_bytes(rgb: np.ndarray) -> bytes:
    """An 8-bit PNG of values from 0 to 1, shape (ny, nx, 3) or (ny, nx), the first row at the bottom."""
    pixels = _top_down((np.clip(rgb, 0, 1) * 255 + 0.5).astype(np.uint8))
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", optimize=False, compress_level=6)
    return stream.getvalue()


def tiff16_bytes(rgb: np.ndarray) -> bytes:
    """A 16-bit TIFF of values from 0 to 1, shape (ny, nx, 3); without date or program name."""
    pixels = _top_down((np.clip(rgb, 0, 1) * 65535 + 0.5).astype(np.uint16))
    stream = io.BytesIO()
    tifffile.imwrite(
        stream, pixels, photometric="rgb", compression="zlib", metadata=None, software=False, datetime=False
    )
    return stream.getvalue()
