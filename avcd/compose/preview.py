"""Previews: any image as a small picture that shows what is in it."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from astropy.visualization import AsinhStretch, ZScaleInterval
from PIL import Image, ImageDraw

_SOFTENING = 0.1


def preview_png(
    data: np.ndarray, mask: np.ndarray | None, params: Mapping[str, Any], *, caption: str | None = None
) -> bytes:
    """A grey PNG: reduced by block means, zscale interval, asinh stretch.

    Parameters
    ----------
    data, mask : shape (ny, nx)
        Masked and non-finite pixels do not darken or brighten their neighbourhood.
    params
        Of the recipe: longest_side_px, contrast.
    caption
        Written into the picture's corner, such as "provisional".

    Returns
    -------
    bytes
        The first row of the data at the bottom. The same data give the same bytes.
    """
    small = _reduced(data, mask, int(params["longest_side_px"]))
    finite = small[np.isfinite(small)]
    if not finite.size:
        grey = np.zeros(small.shape, np.uint8)
    else:
        low, high = ZScaleInterval(contrast=float(params["contrast"])).get_limits(finite)
        span = float(high - low) or 1.0
        scaled = np.clip((np.nan_to_num(small, nan=float(low)) - low) / span, 0, 1)
        grey = (AsinhStretch(_SOFTENING)(scaled) * 255 + 0.5).astype(np.uint8)
    picture = Image.fromarray(np.ascontiguousarray(grey[::-1]))
    if caption:
        _write(picture, caption)
    stream = io.BytesIO()
    picture.save(stream, "PNG", optimize=False, compress_level=6)
    return stream.getvalue()


def _reduced(data: np.ndarray, mask: np.ndarray | None, longest: int) -> np.ndarray:
    """Block means of the good pixels; NaN where a block has none."""
    good = np.isfinite(data) if mask is None else np.isfinite(data) & (mask == 0)
    step = max(1, -(-max(data.shape) // longest))
    if step == 1:
        return np.where(good, data, np.nan).astype(np.float32)
    ny, nx = (size // step for size in data.shape)
    cut = (slice(0, ny * step), slice(0, nx * step))
    values = np.where(good, data, 0)[cut].reshape(ny, step, nx, step).sum(axis=(1, 3), dtype=np.float64)
    count = good[cut].reshape(ny, step, nx, step).sum(axis=(1, 3))
    return np.where(count > 0, values / np.maximum(count, 1), np.nan).astype(np.float32)


def _write(picture: Image.Image, caption: str) -> None:
    """A dark label with bright letters, readable on any sky."""
    draw = ImageDraw.Draw(picture)
    box = draw.textbbox((8, 6), caption)
    draw.rectangle((box[0] - 4, box[1] - 3, box[2] + 4, box[3] + 3), fill=0)
    draw.text((8, 6), caption, fill=255)
