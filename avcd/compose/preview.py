"""Previews: any image as small pictures that show what is in it."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from astropy.visualization import AsinhStretch, ManualInterval, ZScaleInterval
from PIL import Image
from scipy.ndimage import uniform_filter

from avcd.compose.blocks import block_means, sample, usable
from avcd.compose.captions import captioned
from avcd.compose.pictures import eight_bit, png_of_pixels
from avcd.errors import ProcessingError

_SOFTENING = 0.5  # of the zscale interval: faint things linear, bright ones compressed
_WHITE_PERCENTILE = 99.9
_WHITEST = 300.0  # zscale intervals


def preview_pngs(
    data: np.ndarray, mask: np.ndarray | None, params: Mapping[str, Any], *, caption: str | None = None
) -> dict[int, bytes]:
    """Grey PNGs: reduced by block means, black and middle grey from the zscale interval, asinh up to the brightest.

    Parameters
    ----------
    data, mask : shape (ny, nx)
        Pixels without usable light neither darken nor brighten their neighbourhood; small holes are filled from
        around. Saturated stars stay white.
    params
        Of the recipe: sizes_px (the longest sides, one picture each), contrast (of the zscale interval).
    caption
        Written below the pictures, such as "provisional".

    Returns
    -------
    dict of int to bytes
        Size to PNG, in the order of ``sizes_px``; the first row of the data at the bottom. The same data give the same
        bytes.

    Raises
    ------
    ProcessingError
        No size is given, or one of less than a pixel.

    Notes
    -----
    Zscale: IRAF display; asinh: Lupton et al. 2004, PASP 116, 133.
    """
    sizes = sizes_of(params["sizes_px"])
    found: dict[int, bytes] = {}
    image, good = data, usable(data, mask)
    for size in sorted(sizes, reverse=True):
        image = block_means(image, good, max(1, max(image.shape) // size))
        good = usable(image, None)
        grey = eight_bit(_stretched(_filled(image, good), float(params["contrast"])))
        found[size] = _png(_fitted(Image.fromarray(grey), size), caption)
    return {size: found[size] for size in sizes}


def shrunk_pngs(picture: bytes, sizes: Sequence[int]) -> dict[int, bytes]:
    """A picture (PNG, of colour or grey) made smaller, once for each longest side; none is made larger."""
    with Image.open(io.BytesIO(picture)) as opened:
        whole = opened.convert("RGB")
    return {size: png_of_pixels(np.asarray(_fitted(whole, size))) for size in sizes_of(sizes)}


def _fitted(picture: Image.Image, size: int) -> Image.Image:
    """A picture whose longest side is ``size`` pixels, or less where it was less."""
    fitted = picture.copy()
    fitted.thumbnail((size, size), Image.Resampling.BICUBIC)
    return fitted


def sizes_of(sizes: Sequence[int]) -> list[int]:
    """The sizes wanted, each once.

    Raises
    ------
    ProcessingError
        There are none, or one is less than a pixel.
    """
    found = list(dict.fromkeys(int(one) for one in sizes))
    if not found or min(found) < 1:
        raise ProcessingError(f"sizes_px is {list(sizes)}: give the longest sides of the pictures, in pixels")
    return found


def _png(picture: Image.Image, caption: str | None) -> bytes:
    return png_of_pixels(np.asarray(captioned(picture, caption) if caption else picture))


def _stretched(image: np.ndarray, contrast: float) -> np.ndarray:
    """From 0 to 1; black where there is nothing."""
    finite = image[np.isfinite(image)]
    if not finite.size:
        return np.zeros(image.shape, np.float32)
    low, high = (float(one) for one in ZScaleInterval(contrast=contrast).get_limits(finite))
    span = (high - low) or 1.0
    # A field of bright stars and a flat field both keep their middle: only what is above the interval is compressed.
    white = min(max((float(np.percentile(sample(finite[None]), _WHITE_PERCENTILE)) - low) / span, 1.0), _WHITEST)
    known = np.nan_to_num(image, nan=low)
    interval = ManualInterval(low, low + white * span)
    return np.asarray(AsinhStretch(_SOFTENING / white)(interval(known)), dtype=np.float32)


def _filled(image: np.ndarray, good: np.ndarray | None) -> np.ndarray:
    """Single missing pixels from their neighbours; larger holes stay."""
    if good is None:
        return image
    near = uniform_filter(good.astype(np.float32), 5)
    mean = uniform_filter(np.where(good, image, 0), 5) / np.maximum(near, 1e-6)
    return np.where(~good & (near > 0.5), mean, image)
