"""Stars of a frame: background, detection, positions, fluxes, shapes; what is no star is left out."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import IntFlag
from typing import Any

import astropy.units as u
import numpy as np
import sep
from astropy.table import Table
from astropy.wcs import WCS

from avcd.errors import ProcessingError
from avcd.frame import MaskBit
from avcd.sky.screening import Cores, are_spikes, are_star_like

# These pixels hold something to go by: a saturated star is a star, a struck pixel was replaced from its neighbours.
_USABLE = MaskBit.SATURATED | MaskBit.COSMIC_RAY | MaskBit.FEW_INPUTS | MaskBit.REPAIRED
_BOX_PX = 64
_FWHM_PER_SIGMA = 2.0 * np.sqrt(2.0 * np.log(2.0))
_APERTURE_FWHM = 1.5  # radius of the flux aperture
_SMALLEST_PX = 16
_CORE_SHARE = 1.0 / 3.0  # of a star's peak: pixels above it tell the width at half maximum
_NO_STARS_FWHM_PX = 3.0  # taken where no star tells the width
_SMOOTHED = 0.375  # noise of a pixel after sep's kernel of 3 x 3, which extraction smooths with
_BUFFER_PX = 300_000  # pixels of sources that sep holds at a time
_BLENDED = 2  # sep: the source was split from another
_CUT = 8  # sep: the source touches the frame's edge


class SourceFlag(IntFlag):
    """What is to be known before a source is trusted."""

    SATURATED = 1  # a pixel of its core is saturated
    MASKED = 2  # a pixel of its core is masked or was replaced
    EDGE = 4  # cut by the frame's edge
    BLENDED = 8  # split from a neighbour
    EXTENDED = 16  # much wider than the frame's stars


@dataclass(frozen=True)
class Sources:
    """Sources of one frame, the brightest first; arrays of one length, and the background they stand on.

    ``x``, ``y`` in pixels, the first pixel's centre being (0, 0); ``flux``, ``flux_err``, ``peak`` in the frame's unit
    above the background; ``fwhm_px``; ``ellipticity`` 1 - b/a; ``theta_rad`` from the x axis to the major axis;
    ``flags`` of `SourceFlag`. ``background`` and ``background_rms`` are images (ny, nx); ``aperture_px`` is the radius that
    ``flux`` was measured in.
    """

    x: np.ndarray
    y: np.ndarray
    flux: np.ndarray
    flux_err: np.ndarray
    fwhm_px: np.ndarray
    ellipticity: np.ndarray
    theta_rad: np.ndarray
    peak: np.ndarray
    flags: np.ndarray
    background: np.ndarray
    background_rms: np.ndarray
    aperture_px: float = 0.0

    def __len__(self) -> int:
        return len(self.x)

    def to_table(
        self, wcs: WCS | None = None, zero_point: float | None = None, exposure_s: float | None = None
    ) -> Table:
        """The sources as a table with units; sky positions (ICRS) and magnitudes too where ``wcs`` and ``zero_point`` are
        given, the latter for a flux a second."""
        table = Table()
        units = {"x": u.pix, "y": u.pix, "fwhm_px": u.pix, "theta_rad": u.rad}
        for name in _COLUMNS:
            values = getattr(self, name)
            table[name] = u.Quantity(values, units[name]) if name in units else values
        if wcs is not None:
            ra, dec = wcs.all_pix2world(self.x, self.y, 0) if len(self) else (np.empty(0), np.empty(0))
            table["ra"], table["dec"] = u.Quantity(ra, u.deg), u.Quantity(dec, u.deg)
        if zero_point is not None:
            table["mag"] = u.Quantity(zero_point - 2.5 * np.log10(self.flux / (exposure_s or 1.0)), u.mag)
            table["mag_err"] = u.Quantity(2.5 / np.log(10) * self.flux_err / self.flux, u.mag)
        return table


_COLUMNS = tuple(one.name for one in fields(Sources) if not one.name.startswith(("background", "aperture")))


def detect_sources(
    data: np.ndarray,
    mask: np.ndarray | None,
    *,
    noise: np.ndarray | None = None,
    gain: float | None = None,
    saturation: float | None = None,
    sigma: float = 5.0,
    minimum_px: int = 5,
) -> Sources:
    """Find the stars of a frame.

    Parameters
    ----------
    data : ndarray, shape (ny, nx)
        Not changed. Pixels that are not finite count as masked.
    mask : ndarray of bool or of `MaskBit` planes, or None
        Saturated pixels and replaced cosmic rays are used; all others with any bit are not.
    noise : ndarray, shape (ny, nx), optional
        One standard deviation of each pixel, for the threshold (else the grain of bright stars' wings would be stars of
        its own) and ``flux_err``; without it, the scatter of the background, so that the photon noise of the source
        itself is lacking.
    gain
        Electrons a count, by which the photon noise of the source is added to ``flux_err``; for frames without ``noise``.
    saturation
        Level above which a pixel is saturated, where the mask does not say so.
    sigma, minimum_px
        Threshold above the background, in the noise of the smoothed frame that is searched (a kernel of 3 x 3 pixels), and
        the number of connected pixels above it.

    Returns
    -------
    Sources
        Hot pixels, cosmic rays, columns and trails are left out: they are sharper than any star of the frame can be.
        None in a frame of less than 16 pixels on a side.

    Raises
    ------
    ProcessingError
        The frame has no usable pixel.

    Notes
    -----
    Background and extraction: sep (Barbary 2016; SExtractor, Bertin & Arnouts 1996, A&AS 117, 393). Positions are
    windowed centroids, saturated stars' isophotal ones.
    """
    image = np.ascontiguousarray(data, dtype=np.float32)
    bits = None if mask is None else _bits(mask)
    finite = np.isfinite(image)
    unusable = ~finite if bits is None else _has(bits, ~np.uint16(_USABLE), image.shape) | ~finite
    if unusable.all():
        raise ProcessingError("no stars can be looked for: every pixel is masked or has no value")
    if min(image.shape) < _SMALLEST_PX:
        return _no_sources(image, ~unusable)
    saturated = _has(bits, np.uint16(MaskBit.SATURATED), image.shape)
    if saturation is not None:
        saturated = saturated | (image >= saturation)
    if not finite.all():
        image = np.where(finite, image, np.float32(np.median(image[~unusable])))
    background, rms = _background(image, unusable)
    image = image - background
    error = rms if noise is None else np.where(np.isfinite(noise) & (noise > rms), noise, rms).astype(np.float32)
    found = _extract(image, error, unusable, sigma, minimum_px)
    replaced = _has(bits, np.uint16(MaskBit.COSMIC_RAY | MaskBit.REPAIRED), image.shape)
    doubtful = unusable if bits is None else unusable | replaced
    return _measure(image, error, gain, found, saturated, doubtful, unusable, background, rms)


def _no_sources(image: np.ndarray, usable: np.ndarray) -> Sources:
    level, scatter = float(np.median(image[usable])), float(np.std(image[usable]))
    empty: dict[str, Any] = {name: np.empty(0, np.int64 if name == "flags" else np.float64) for name in _COLUMNS}
    return Sources(**empty, background=np.full_like(image, level), background_rms=np.full_like(image, scatter))


def _bits(mask: np.ndarray) -> np.ndarray:
    return (
        mask.astype(np.uint16) * np.uint16(MaskBit.USER) if mask.dtype == bool else mask.astype(np.uint16, copy=False)
    )


def _has(bits: np.ndarray | None, which: np.uint16, shape: tuple[int, ...]) -> np.ndarray:
    """Where any of some bits is set; of no bits at all a plane that takes no room."""
    return np.broadcast_to(np.False_, shape) if bits is None else (bits & which) != 0


def _background(image: np.ndarray, unusable: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Smooth background and its scatter, from boxes small enough that there are a few of them."""
    height, width = (int(np.clip(side // 4, 8, _BOX_PX)) for side in image.shape)
    # In large boxes every other row tells the same, to 0.01 of the scatter.
    step = 2 if height == width == _BOX_PX else 1
    mask = np.ascontiguousarray(unusable[::step]) if unusable.any() else None
    mesh = sep.Background(np.ascontiguousarray(image[::step]), mask=mask, bw=width, bh=height // step, fw=3, fh=3)
    back, rms = mesh.back(dtype=np.float32), mesh.rms(dtype=np.float32)
    # A noiseless frame (a synthetic one, a flat patch of zeros) has no scatter: any positive floor will do.
    floor = max(float(mesh.globalrms) * 1e-3, 1e-6 * max(1.0, float(np.abs(mesh.globalback))))
    np.maximum(rms, np.float32(floor), out=rms)
    if step == 1:
        return back, rms
    ny = len(image)
    return np.repeat(back, step, axis=0)[:ny], np.repeat(rms, step, axis=0)[:ny]


def _extract(image: np.ndarray, error: np.ndarray, unusable: np.ndarray, sigma: float, minimum_px: int) -> np.ndarray:
    """Extraction by sep; a field too crowded for its deblending is extracted without."""
    mask = unusable if unusable.any() else None
    # sep clears its whole buffer for each frame: it is large only for frames that fill it.
    for pixels, contrast in ((_BUFFER_PX, 0.005), (image.size // 2, 0.005), (image.size // 2, 1.0)):
        sep.set_extract_pixstack(max(_BUFFER_PX, pixels))
        try:
            found: np.ndarray = sep.extract(
                image,
                sigma * _SMOOTHED,
                err=error,
                mask=mask,
                minarea=minimum_px,
                filter_type="conv",
                deblend_cont=contrast,
                clean=True,
            )
        except Exception as failure:  # sep raises bare Exception for its full buffers
            reason = failure
        else:
            return found[np.isfinite(found["x"] + found["y"] + found["a"] + found["b"])]
    raise ProcessingError(f"the sources of this frame cannot be told apart: {reason}")


def _measure(
    image: np.ndarray,
    error: np.ndarray,
    gain: float | None,
    found: np.ndarray,
    saturated: np.ndarray,
    doubtful: np.ndarray,
    unusable: np.ndarray,
    background: np.ndarray,
    rms: np.ndarray,
) -> Sources:
    x, y = found["x"].astype(float), found["y"].astype(float)
    a, b = np.maximum(found["a"], 1e-3), np.maximum(found["b"], 1e-3)
    flags = np.zeros(len(found), np.int64)
    flags |= np.where(_near(saturated, x, y), SourceFlag.SATURATED, 0)
    flags |= np.where(_near(doubtful, x, y), SourceFlag.MASKED, 0)
    flags |= np.where(found["flag"] & _CUT, SourceFlag.EDGE, 0) | np.where(
        found["flag"] & _BLENDED, SourceFlag.BLENDED, 0
    )
    fwhm = _full_width(image, x, y, a, unusable)
    cores = Cores(image, rms, x, y)
    typical = _typical(fwhm, found["peak"], flags, are_spikes(cores, fwhm))
    keep = are_star_like(cores, fwhm, b / a, typical, (flags & SourceFlag.SATURATED) != 0)
    flags |= np.where((fwhm > 2.5 * typical) & ((flags & SourceFlag.SATURATED) == 0), SourceFlag.EXTENDED, 0)
    if len(found):
        wx, wy, bad = sep.winpos(image, x, y, np.full(len(x), typical / _FWHM_PER_SIGMA), mask=unusable, subpix=5)
        moved = np.hypot(wx - x, wy - y)
        steady = (bad == 0) & (moved < typical) & ((flags & (SourceFlag.SATURATED | SourceFlag.EXTENDED)) == 0)
        x, y = np.where(steady, wx, x), np.where(steady, wy, y)
        flux, flux_err, _ = sep.sum_circle(
            image, x, y, _APERTURE_FWHM * typical, err=error, gain=gain, mask=unusable, subpix=5
        )
    else:
        flux = flux_err = np.empty(0)
    # A saturated star is wider than the aperture: its isophotal flux keeps the order of brightness right.
    flux = np.where((flags & (SourceFlag.SATURATED | SourceFlag.EXTENDED)) != 0, np.maximum(flux, found["flux"]), flux)
    keep &= flux > 0
    order = np.flatnonzero(keep)
    order = order[np.lexsort((y[order], x[order], -flux[order]))]
    return Sources(
        x=x[order],
        y=y[order],
        flux=flux[order],
        flux_err=flux_err[order],
        fwhm_px=_half_maximum(image, x, y, fwhm, unusable | saturated if saturated.any() else unusable)[order],
        ellipticity=(1.0 - b / a)[order],
        theta_rad=found["theta"][order],
        peak=found["peak"][order],
        flags=flags[order],
        background=background,
        background_rms=rms,
        aperture_px=_APERTURE_FWHM * typical,
    )


def _near(plane: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Whether any pixel of the 3 x 3 around each position is set in ``plane``."""
    ny, nx = plane.shape
    column, row = np.rint(x).astype(int), np.rint(y).astype(int)
    hit = np.zeros(len(x), bool)
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            hit |= plane[np.clip(row + dy, 0, ny - 1), np.clip(column + dx, 0, nx - 1)]
    return hit


def _full_width(image: np.ndarray, x: np.ndarray, y: np.ndarray, a: np.ndarray, unusable: np.ndarray) -> np.ndarray:
    """Full width at half maximum: twice the radius that holds half of the flux, as it is for a Gaussian."""
    if not len(x):
        return np.empty(0)
    radius, _ = sep.flux_radius(image, x, y, np.maximum(5.0 * a, 4.0), 0.5, mask=unusable, subpix=3)
    return np.where(np.isfinite(radius) & (radius > 0), 2.0 * radius, _FWHM_PER_SIGMA * a)


def _half_maximum(
    image: np.ndarray, x: np.ndarray, y: np.ndarray, width: np.ndarray, unusable: np.ndarray
) -> np.ndarray:
    """Full width at half maximum, from a Gaussian through the pixels above a third of the peak.

    Wings, which make twice the half-light radius of a Moffat star a quarter too wide, have no part in it. Where it
    cannot be fitted (a saturated core, a few pixels) the ``width`` given stays.
    """
    if not len(x):
        return width
    ny, nx = image.shape
    reach = int(np.clip(np.ceil(np.median(width)), 3, 15))
    steps = np.arange(-reach, reach + 1)
    rows = np.rint(y).astype(int)[:, None, None] + steps[None, :, None]
    columns = np.rint(x).astype(int)[:, None, None] + steps[None, None, :]
    inside = (rows >= 0) & (rows < ny) & (columns >= 0) & (columns < nx)
    rows, columns = np.clip(rows, 0, ny - 1), np.clip(columns, 0, nx - 1)
    values = np.where(inside & ~unusable[rows, columns], image[rows, columns], 0.0).astype(np.float64)
    square = (rows - y[:, None, None]) ** 2 + (columns - x[:, None, None]) ** 2
    near = square <= np.minimum(width, reach)[:, None, None] ** 2
    peak = np.where(near, values, 0.0).max(axis=(1, 2))
    used = near & (values > _CORE_SHARE * peak[:, None, None]) & (peak[:, None, None] > 0)
    weight = np.where(used, values, 0.0) ** 2
    logs = np.log(np.where(used, values, 1.0))
    total = np.maximum(weight.sum(axis=(1, 2)), 1e-300)
    mean_square, mean_log = (weight * square).sum(axis=(1, 2)) / total, (weight * logs).sum(axis=(1, 2)) / total
    from_mean = np.where(used, square - mean_square[:, None, None], 0.0)
    spread = (weight * from_mean**2).sum(axis=(1, 2))
    slope = -(weight * from_mean * (logs - mean_log[:, None, None])).sum(axis=(1, 2)) / np.maximum(spread, 1e-300)
    fitted = (used.sum(axis=(1, 2)) >= 4) & (slope > 0) & (spread > 0)
    found = 2.0 * np.sqrt(np.log(2.0) / np.where(fitted, slope, 1.0))
    clear = ~_near(unusable, x, y)
    return np.where(fitted & clear & (found < 2.0 * width), found, width)


def _typical(fwhm: np.ndarray, peak: np.ndarray, flags: np.ndarray, spikes: np.ndarray) -> float:
    """The frame's stellar width: the median of the brighter half of clean sources; hot pixels may outnumber them."""
    good = ((flags & ~SourceFlag.BLENDED) == 0) & ~spikes
    if not good.any():
        good = ~spikes
    if not good.any():
        return _NO_STARS_FWHM_PX
    bright = peak[good] >= np.median(peak[good])
    return float(np.median(fwhm[good][bright]))
