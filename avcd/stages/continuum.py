"""Continuum subtraction: a narrowband image less its share of starlight, which a broadband image tells."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import sep
from astropy.stats import sigma_clipped_stats
from scipy.ndimage import gaussian_filter

from avcd.compose.blocks import sample, usable
from avcd.errors import ProcessingError
from avcd.frame import MaskBit
from avcd.reduction.planes import MaskedImage
from avcd.sky.detection import SourceFlag, Sources, detect_sources

_LEAST_STARS = 5
_APERTURE = 1.5  # radius, in full widths of the wider stars
_ANNULUS = (2.0, 3.0)
_CLIP = 3.0
_LEAST_SIGNAL = 10.0  # of a star in the broadband image, for its ratio to count
_ALIKE = 1.03  # widths that differ by less are the same
_SIGMA_OF_FWHM = 1 / 2.3548
_MAD = 1.4826


@dataclass(frozen=True)
class Continuum:
    """A narrowband image without its continuum, and how it was scaled.

    ``factor_error`` and ``stars`` (that the factor was measured on) are None where the factor was given. ``blurred_px``: the
    standard deviation of the Gaussian that the sharper image (``blurred``: "narrow", "broad" or "") was convolved with.
    """

    ccd: MaskedImage
    factor: float
    factor_error: float | None
    stars: int | None
    sky_narrow: float
    sky_broad: float
    blurred: str = ""
    blurred_px: float = 0.0


def subtract_continuum(
    narrow: MaskedImage, broad: MaskedImage, *, factor: float | None = None, match_widths: bool = True
) -> Continuum:
    """The light of a line alone.

    Parameters
    ----------
    narrow, broad : MaskedImage, shape (ny, nx)
        On one grid; masks planes of `MaskBit` or None. Not changed.
    factor
        What the broadband image is multiplied by; None: the median ratio of the stars' fluxes in apertures, without those
        that are saturated, blended, or off by more than three sigma, as stars with emission are.
    match_widths
        Whether the sharper image is first convolved to the width of the other's stars.

    Returns
    -------
    Continuum
        Its sky is at zero; masks are joined, so that what is saturated in either image is marked; uncertainties are added
        in quadrature, where both are known.

    Raises
    ------
    ProcessingError
        The images differ in size, or there are fewer than five good stars and no factor.
    """
    if narrow.data.shape != broad.data.shape:
        raise ProcessingError(f"the images differ in size: {narrow.data.shape} and {broad.data.shape}")
    skies = [_sky(one) for one in (narrow, broad)]
    images = [
        np.asarray(one.data, np.float32) - np.float32(sky) for one, sky in zip((narrow, broad), skies, strict=True)
    ]
    stars = None
    blurred, sigma = "", 0.0
    if match_widths or factor is None:
        stars = detect_sources(broad.data, broad.mask)
        others = detect_sources(narrow.data, narrow.mask)
        widths = [_width(others), _width(stars)]
        if match_widths and all(np.isfinite(widths)) and max(widths) > _ALIKE * min(widths):
            sharper = int(widths[1] < widths[0])
            sigma = float(np.sqrt(max(widths) ** 2 - min(widths) ** 2) * _SIGMA_OF_FWHM)
            images[sharper] = _blurred(images[sharper], usable(*_planes((narrow, broad)[sharper])), sigma)
            blurred = ("narrow", "broad")[sharper]
    error, number = None, None
    if factor is None:
        assert stars is not None
        bad = _unusable(narrow) | _unusable(broad)
        factor, error, number = _factor(images[0], images[1], stars, bad)
    data = images[0] - np.float32(factor) * images[1]
    mask = _joined(narrow, broad)
    if mask is not None:
        data = np.where((mask & np.uint16(MaskBit.NO_DATA | MaskBit.NON_FINITE)) != 0, np.float32(0), data)
    found = MaskedImage(
        data.astype(np.float32), narrow.unit, mask, _uncertainty(narrow, broad, factor), header=narrow.header
    )
    return Continuum(found, factor, error, number, skies[0], skies[1], blurred, sigma)


def _planes(ccd: MaskedImage) -> tuple[np.ndarray, np.ndarray | None]:
    return np.asarray(ccd.data), None if ccd.mask is None else np.asarray(ccd.mask)


def _sky(ccd: MaskedImage) -> float:
    values = sample(np.asarray(ccd.data), usable(*_planes(ccd)))
    if not values.size:
        raise ProcessingError("there is no usable pixel in it")
    return float(sigma_clipped_stats(values, sigma=3.0, maxiters=10)[1])


def _width(stars: Sources) -> float:
    """The full width of the stars that tell it, px; NaN where there are too few."""
    good = (stars.flags == 0) & np.isfinite(stars.fwhm_px)
    return float(np.median(stars.fwhm_px[good])) if good.sum() >= _LEAST_STARS else float("nan")


def _blurred(image: np.ndarray, good: np.ndarray | None, sigma: float) -> np.ndarray:
    if good is None:
        return np.asarray(gaussian_filter(image, sigma))
    weight = gaussian_filter(good.astype(np.float32), sigma)
    total = gaussian_filter(np.where(good, image, np.float32(0)), sigma)
    return np.where(weight > 0.05, total / np.maximum(weight, np.float32(0.05)), np.float32(0)).astype(np.float32)


def _unusable(ccd: MaskedImage) -> np.ndarray:
    """Pixels that no star is measured with: those without light, and the saturated."""
    bad = ~np.isfinite(ccd.data)
    return bad if ccd.mask is None else bad | (np.asarray(ccd.mask) != 0)


def _factor(narrow: np.ndarray, broad: np.ndarray, stars: Sources, bad: np.ndarray) -> tuple[float, float, int]:
    """The stars' flux in the narrowband image as a part of that in the broadband one, its error, and how many agreed."""
    sure = (stars.flags & (SourceFlag.SATURATED | SourceFlag.BLENDED | SourceFlag.EDGE)) == 0
    x, y = stars.x[sure], stars.y[sure]
    full = _width(stars)
    full = full if np.isfinite(full) else 4.0
    radius, ring = _APERTURE * full, tuple(one * full for one in _ANNULUS)
    fluxes = []
    flag = np.zeros(len(x), int)
    for image in (narrow, broad):
        whole = np.ascontiguousarray(np.where(np.isfinite(image), image, 0), dtype=np.float32)
        flux, _, touched = sep.sum_circle(whole, x, y, radius, mask=bad, bkgann=ring)
        fluxes.append(flux)
        flag |= touched
    noise = _MAD * float(np.median(np.abs(sample(broad, ~bad)))) * np.sqrt(np.pi) * radius
    good = (flag == 0) & (fluxes[1] > _LEAST_SIGNAL * noise) & (fluxes[0] > 0)
    ratios = fluxes[0][good] / fluxes[1][good]
    for _ in range(10):
        if len(ratios) < _LEAST_STARS:
            raise ProcessingError(
                f"{len(ratios)} good stars do not tell how the broadband image is to be scaled (5 would); give --factor"
            )
        middle = np.median(ratios)
        scatter = _MAD * float(np.median(np.abs(ratios - middle)))
        kept = np.abs(ratios - middle) <= _CLIP * scatter + 1e-12
        if kept.all():
            break
        ratios = ratios[kept]
    return float(middle), float(1.2533 * scatter / np.sqrt(len(ratios))), len(ratios)


def _joined(narrow: MaskedImage, broad: MaskedImage) -> np.ndarray | None:
    planes = [np.asarray(one.mask, np.uint16) for one in (narrow, broad) if one.mask is not None]
    return np.bitwise_or.reduce(planes) if planes else None


def _uncertainty(narrow: MaskedImage, broad: MaskedImage, factor: float) -> np.ndarray | None:
    if narrow.uncertainty is None or broad.uncertainty is None:
        return None
    return np.asarray(np.hypot(narrow.uncertainty, np.float32(factor) * broad.uncertainty))
