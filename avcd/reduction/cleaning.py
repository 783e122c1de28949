"""Cosmic rays taken out of a frame by itself, whatever it is in and however much of its noise is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from avcd.frame import MaskBit
from avcd.reduction.cosmic import find_cosmic_rays
from avcd.reduction.cosmic_median import find_by_median, median_parameters
from avcd.reduction.noise import mad_sigma
from avcd.reduction.planes import MaskedImage


def clean_cosmic_rays(
    ccd: MaskedImage,
    params: Mapping[str, Any],
    *,
    gain_e_per_adu: float | None = None,
    read_noise_e: float | None = None,
    saturation: float | None = None,
    method: str = "lacosmic",
) -> tuple[MaskedImage, int]:
    """A frame whose cosmic rays are masked and replaced from their neighbours.

    Parameters
    ----------
    ccd : MaskedImage, shape (ny, nx), unit adu or electron
        Its bias removed, so that its square root is its photon noise; not changed. Masked and non-finite pixels take no
        part.
    params
        cosmic_sigma_clip, cosmic_sigma_fraction, cosmic_object_limit, cosmic_iterations; see
        `avcd.reduction.cosmic.find_cosmic_rays`. Of "median" those that
        `avcd.reduction.cosmic_median.median_parameters` takes.
    gain_e_per_adu
        Of a frame in adu; None: the sky's whole scatter stands for the noise, which finds fewer cosmic rays, not false
        ones.
    read_noise_e
        [e]; None: the scatter from pixel to pixel stands for it.
    saturation
        In the frame's unit; None: no pixel is taken to be saturated.
    method
        "lacosmic", or "median": by a running median, against the frame's uncertainty where it has one.

    Returns
    -------
    MaskedImage
        Same unit and uncertainty; struck pixels are masked COSMIC_RAY.
    int
        How many there are.

    References
    ----------
    van Dokkum 2001, PASP 113, 1420.
    """
    factor = np.float32(gain_e_per_adu) if gain_e_per_adu and ccd.unit == "adu" else np.float32(1)
    counts = ccd.unit == "electron" or bool(gain_e_per_adu)
    mask = np.zeros(ccd.data.shape, np.uint16) if ccd.mask is None else np.array(ccd.mask, dtype=np.uint16)
    data = np.array(ccd.data, dtype=np.float32)
    broken = ~np.isfinite(data)
    mask[broken] |= np.uint16(MaskBit.NON_FINITE)
    data[broken] = 0
    scaled = data * factor
    noise = mad_sigma(np.diff(scaled, axis=1)) / float(np.sqrt(2))
    if not counts:
        noise = max(mad_sigma(scaled), noise)
    elif read_noise_e is not None:
        noise = read_noise_e
    limit = np.inf if saturation is None else saturation * float(factor)
    if method == "median":
        known = None if ccd.uncertainty is None else np.asarray(ccd.uncertainty, np.float32) * factor
        error = _errors(scaled, known, float(noise), counts=counts)
        struck, cleaned = find_by_median(scaled, error, mask != 0, **median_parameters(params))
    else:
        struck, cleaned = find_cosmic_rays(scaled, mask != 0, float(noise), limit, params)
    data[struck] = cleaned[struck] / factor
    mask[struck] |= np.uint16(MaskBit.COSMIC_RAY)
    uncertainty = None if ccd.uncertainty is None else np.array(ccd.uncertainty)
    return replace(ccd, data=data, mask=mask, uncertainty=uncertainty), int(np.count_nonzero(struck))


def _errors(data: np.ndarray, known: np.ndarray | None, noise: float, *, counts: bool) -> np.ndarray:
    """One standard deviation of each pixel: as it was carried along, else photons and ``noise``, else that alone."""
    if known is not None:
        found = known
    elif counts:
        found = np.sqrt(np.maximum(data, 0) + np.float32(noise) ** 2)
    else:
        found = np.full(data.shape, noise, np.float32)
    return np.maximum(found, np.finfo(np.float32).tiny)
