"""Previews: any image as a small picture that shows what is in it."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from astropy.visualization import ZScaleInterval
from PIL import Image
from scipy.ndimage import uniform_filter

from avcd.compose.captions import captioned
from avcd.compose.resampling import UNUSABLE

_SOFTENING = 0.5  # of the zscale interval: faint things linear, bright ones compressed
_WHITE_PERCENTILE = 99.9
_WHITEST = 300.0  # zscale intervals


def preview_png(
    data: np.ndarray, mask: np.ndarray | None, params: Mapping[str, Any], *, caption: str | None = None
) -> bytes:
    """A grey PNG: reduced by block means, black and middle grey from the zscale interval, asinh up to the brightest.

    Parameters
    ----------
    data, mask : shape (ny, nx)
        Pixels without usable light neither darken nor brighten their neighbourhood; small holes are filled from
        around. Saturated stars stay white.
    params
        Of the recipe: longest_side_px, contrast (of the zscale interval).
    caption
        Written below the picture, such as "provisional".

    Returns
    -------
    bytes
        The first row of the data at the bottom. The same data give the same bytes.

    Notes
    -----
    Zscale: IRAF display; asinh: Lupton et al. 2004, PASP 116, 133.
    """
    small = _reduced(data, mask, int(params["longest_side_px"]))
    grey = (_stretched(_filled(small), float(params["contrast"])) * 255 + 0.5).astype(np.uint8)
    picture = Image.fromarray(np.ascontiguousarray(grey[::-1]))
    if caption:
        picture = captioned(picture, caption)
    stream = io.BytesIO()
    picture.save(stream, "PNG", optimize=False, compress_level=6)
    return stream.getvalue()


def _stretched(image: np.ndarray, contrast: float) -> np.ndarray:
    """From 0 to 1; black where there is nothing."""
    finite = image[np.isfinite(image)]
    if not finite.size:
        return np.zeros(image.shape)
    low, high = (float(one) for one in ZScaleInterval(contrast=contrast).get_limits(finite))
    span = (high - low) or 1.0
    # A field of bright stars and a flat field both keep their middle: only what is above the interval is compressed.
    white = min(max((float(np.percentile(finite, _WHITE_PERCENTILE)) - low) / span, 1.0), _WHITEST)
    scaled = np.clip((np.nan_to_num(image, nan=low) - low) / span, 0, white)
    return np.asarray(np.arcsinh(scaled / _SOFTENING) / np.arcsinh(white / _SOFTENING))


def _reduced(data: np.ndarray, mask: np.ndarray | None, longest: int) -> np.ndarray:
    """Block means of the good pixels; NaN where a block has none."""
    good = np.isfinite(data) if mask is None else np.isfinite(data) & ((mask & UNUSABLE) == 0)
    step = max(1, -(-max(data.shape) // longest))
    values = np.where(good, data, 0).astype(np.float32)
    if step == 1:
        return np.where(good, values, np.nan).astype(np.float32)
    ny, nx = (max(1, size // step) for size in data.shape)
    values, good = values[: ny * step, : nx * step], good[: ny * step, : nx * step]
    total, count = _sums(values, step, ny, nx), _sums(good.astype(np.float32), step, ny, nx)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)


def _sums(values: np.ndarray, step: int, ny: int, nx: int) -> np.ndarray:
    """Sums over blocks; a side shorter than a block is one block."""
    rows = np.add.reduceat(values, np.arange(ny) * step, axis=0, dtype=np.float64)
    return np.asarray(np.add.reduceat(rows, np.arange(nx) * step, axis=1))


def _filled(image: np.ndarray) -> np.ndarray:
    """Single missing pixels from their neighbours; larger holes stay."""
    hole = ~np.isfinite(image)
    if not hole.any():
        return image
    near = uniform_filter((~hole).astype(np.float32), 5)
    mean = uniform_filter(np.where(hole, 0, image), 5) / np.maximum(near, 1e-6)
    return np.where(hole & (near > 0.5), mean, image)
