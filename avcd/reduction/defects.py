"""Bad pixels of a detector, found in its master dark and in its flats."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import sep

from avcd.errors import ProcessingError
from avcd.frame import MaskBit
from avcd.named_defects import Area, draw_areas
from avcd.reduction.columns import find_bad_lines, find_partial_columns
from avcd.reduction.noise import mad_sigma
from avcd.reduction.planes import MaskedImage

_GOOD_REST = 4.0  # sigma, within which the rest of a column is as its neighbours are


@dataclass(frozen=True)
class Defects:
    """A bad pixel mask as a product: ``ccd.data`` and ``ccd.mask`` both hold the bits; and how many of each kind."""

    ccd: MaskedImage
    metrics: Mapping[str, float]


def find_bad_pixels(dark: MaskedImage, params: Mapping[str, Any]) -> Defects:
    """Hot and dead pixels and bad columns, rows and parts of columns of a master dark.

    A pixel is compared with the smooth dark around it (a clipped mesh of ``window_px`` boxes, bad columns and rows
    left out), in units of the whole frame's robust scatter; columns and rows as `avcd.reduction.columns` says.

    Parameters
    ----------
    dark : MaskedImage, shape (ny, nx)
        Bias removed or not.
    params
        Of the recipe: hot_sigma, dead_sigma, window_px, column_sigma, partial_column_sigma, shortest_column_px.

    Returns
    -------
    Defects
        Bits HOT and DEAD; metrics hot_px, dead_px (single ones), bad_columns, bad_rows, partial_columns, bad_fraction.
    """
    data = np.array(dark.data, dtype=np.float32)
    unknown = ~np.isfinite(data)
    if dark.mask is not None:
        unknown |= np.asarray(dark.mask) != 0
    data[unknown] = np.median(data[~unknown]) if not unknown.all() else 0
    lines, counts = _lines(data, params)
    mask = np.where(unknown, np.uint16(MaskBit.DEAD), np.uint16(0))
    residual = data - _mesh(data, unknown | (lines != 0), int(params["window_px"]))
    sigma = mad_sigma(residual[~unknown])
    mask[residual > float(params["hot_sigma"]) * sigma] |= np.uint16(MaskBit.HOT)
    mask[residual < -float(params["dead_sigma"]) * sigma] |= np.uint16(MaskBit.DEAD)
    single = np.where(lines == 0, mask, np.uint16(0))
    counts["hot_px"] = float(np.count_nonzero(single & np.uint16(MaskBit.HOT)))
    counts["dead_px"] = float(np.count_nonzero(single & np.uint16(MaskBit.DEAD)))
    return as_product(mask | lines, counts)


def _lines(data: np.ndarray, params: Mapping[str, Any]) -> tuple[np.ndarray, dict[str, float]]:
    """The mask of bad columns, rows and parts of columns, and how many there are."""
    mask = np.zeros(data.shape, np.uint16)
    whole = data - np.median(data)
    shortest = int(params["shortest_column_px"])
    segments, sigma = find_partial_columns(whole, float(params["partial_column_sigma"]), shortest)
    for one in segments:
        mask[one.start : one.stop, one.column] |= np.uint16(MaskBit.HOT if one.bright else MaskBit.DEAD)
    high, low = find_bad_lines(whole, 0, float(params["column_sigma"]))
    for column in np.flatnonzero(high | low):
        rest = whole[mask[:, column] == 0, column]
        # A long bad part moves the median of a column whose rest is good.
        if shortest <= rest.size < data.shape[0]:
            beside = whole[:, max(0, column - 25) : column + 26][mask[:, column] == 0]
            departure = float(np.median(rest) - np.median(beside))
            if abs(departure) < _GOOD_REST * 1.2533 * sigma / np.sqrt(rest.size):
                high[column] = low[column] = False
    for found, bit in ((high, MaskBit.HOT), (low, MaskBit.DEAD)):
        mask[:, found] |= np.uint16(bit)
    above, below = find_bad_lines(whole, 1, float(params["column_sigma"]))
    for found, bit in ((above, MaskBit.HOT), (below, MaskBit.DEAD)):
        mask[found] |= np.uint16(bit)
    columns = high | low
    return mask, {
        "bad_columns": float(np.count_nonzero(columns)),
        "bad_rows": float(np.count_nonzero(above | below)),
        "partial_columns": float(len({one.column for one in segments if not columns[one.column]})),
    }


def _mesh(data: np.ndarray, left_out: np.ndarray, box: int) -> np.ndarray:
    if left_out.all():
        return np.zeros_like(data)
    return np.asarray(sep.Background(data, mask=left_out, bw=box, bh=box, fw=1, fh=1).back())


def find_bad_response(flat: MaskedImage, other: MaskedImage | None, params: Mapping[str, Any]) -> Defects:
    """Pixels whose response is unlike that of those around them, by the idea of IRAF's ccdmask.

    With two flats of different light (one twice as bright, say), their ratio is looked at: what responds to light
    in proportion, be it more or less, cancels, and what is not linear stays. With one flat, everything stays that
    departs from what is around it, spots of dust among it. A pixel is compared with a clipped mesh of small boxes, in
    units of the clipped scatter of the box (of all boxes, where that is larger). `ccdproc.ccdmask`, with its running
    median and percentiles, finds the same pixels in a thousand times the time.

    Parameters
    ----------
    flat, other : MaskedImage, shape (ny, nx)
        Without their bias. Masked and non-finite pixels and those not above zero are dead.
    params
        Of the recipe: response_sigma, response_box_px, least_response (relative).

    Returns
    -------
    Defects
        Bits RESPONSE, and DEAD below ``least_response`` of the flat around; metrics dead_px, response_px, bad_fraction.

    Raises
    ------
    ProcessingError
        The flats differ in shape, or hold no light.
    """
    if other is not None and other.data.shape != flat.data.shape:
        raise ProcessingError(f"flats of {flat.data.shape} and {other.data.shape} do not fit")
    lit = _lit(flat) if other is None else _lit(flat) & _lit(other)
    if not lit.any():
        raise ProcessingError("the flat has no usable pixel: no light above its bias")
    ratio = _relative(flat, lit)
    box = int(params["response_box_px"])
    dead = ~lit | (ratio < float(params["least_response"]) * _mesh(ratio, ~lit, box))
    if other is not None:
        ratio = ratio / _relative(other, lit)
    mesh = sep.Background(ratio, mask=~lit, bw=box, bh=box, fw=3, fh=3)
    residual = ratio - mesh.back()
    scatter = np.maximum(mesh.rms(), mad_sigma(residual[lit]))
    odd = lit & (np.abs(residual) > float(params["response_sigma"]) * scatter)
    mask = np.where(odd, np.uint16(MaskBit.RESPONSE), np.uint16(0))
    mask[dead] |= np.uint16(MaskBit.DEAD)
    counts = {"dead_px": float(np.count_nonzero(dead)), "response_px": float(np.count_nonzero(odd))}
    return as_product(mask, counts)


def _relative(flat: MaskedImage, lit: np.ndarray) -> np.ndarray:
    """A flat over its median; one where it has no light."""
    found = np.ones(flat.data.shape, np.float32)
    found[lit] = flat.data[lit] / np.median(flat.data[lit])
    return found


def _lit(flat: MaskedImage) -> np.ndarray:
    lit = np.isfinite(flat.data) & (flat.data > 0)
    # A master flat's own dead pixels are set to one: they would pass for good ones.
    return lit if flat.mask is None else lit & ((np.asarray(flat.mask) & ~np.uint16(MaskBit.RESPONSE)) == 0)


def add_named(found: Defects, areas: Iterable[Area]) -> tuple[Defects, list[str]]:
    """A mask with what an observer names in it, bit USER and metric user_px; and what is said of areas outside of it."""
    assert found.ccd.mask is not None
    plane, outside = draw_areas(areas, found.ccd.mask.shape)
    mask = found.ccd.mask | np.where(plane, np.uint16(MaskBit.USER), np.uint16(0))
    return as_product(mask, {**found.metrics, "user_px": float(np.count_nonzero(plane))}), outside


def as_product(mask: np.ndarray, counts: Mapping[str, float]) -> Defects:
    """A plane of bits as the product that carries them."""
    part = float(np.count_nonzero(mask)) / mask.size
    return Defects(MaskedImage(mask.astype(np.float32), unit="", mask=mask), {**counts, "bad_fraction": part})
