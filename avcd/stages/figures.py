"""All that is measured on one reduced frame: its stars, their shape over the field, trails, the Sun, the zero point."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from avcd.frame import Frame
from avcd.headers.profiles import Profiles, load_profiles
from avcd.headers.values import to_degrees
from avcd.sky.detection import Sources
from avcd.sky.psf import measure_psf
from avcd.sky.quality import measure_quality, psf_figures, trail_figures
from avcd.sky.reference import ReferenceStars
from avcd.sky.sun import sun_altitude_deg
from avcd.sky.trails import find_trails
from avcd.sky.zeropoint import ZeroPoint, limiting_magnitude, measure_zero_point

_LATITUDES = ("SITELAT", "LAT-OBS", "OBSLAT", "LATITUDE", "OBSGEO-B")


def frame_figures(
    data: np.ndarray, mask: np.ndarray | None, sources: Sources, frame: Frame, header: fits.Header
) -> dict[str, Any]:
    """Figures of a frame that need no plate solution.

    Parameters
    ----------
    data, mask : shape (ny, nx)
        The reduced frame.
    sources
        As detected on it.
    frame, header
        What is known of the exposure.
    """
    figures = {
        **measure_quality(data, mask, sources, frame.pixel_scale_arcsec),
        **psf_figures(measure_psf(data, mask, sources)),
        **trail_figures(find_trails(data, mask, sources)),
        "aperture_px": sources.aperture_px,
    }
    altitude = sun_altitude(frame, header)
    return figures if altitude is None else {**figures, "sun_altitude_deg": altitude}


def zero_point_figures(found: ZeroPoint, figures: Mapping[str, Any], exposure_s: float | None) -> dict[str, Any]:
    """The zero point and what follows from it, as figures."""
    return {
        "zero_point_mag": found.mag,
        "zero_point_scatter_mag": found.scatter_mag,
        "zero_point_error_mag": found.error_mag,
        "zero_point_stars": found.stars,
        "zero_point_band": found.band,
        "zero_point_catalogue": found.catalogue,
        "limiting_mag": limiting_magnitude(found.mag, figures["noise"], figures["aperture_px"], exposure_s),
    }


def zero_point_of(
    sources: Sources,
    wcs: WCS | None,
    shape: tuple[int, int],
    reference: ReferenceStars,
    frame: Frame,
    band: str | None = None,
) -> ZeroPoint | None:
    """The zero point, where there are world coordinates and stars of known magnitude in a band."""
    if wcs is None or not len(sources):
        return None
    return measure_zero_point(sources, wcs, shape, reference, exposure_s=frame.exposure_s, band=band)


def pointing_figures(frame: Frame, wcs: WCS | None, shape: tuple[int, int]) -> dict[str, float]:
    """How far the frame's centre lies from where its header points."""
    if wcs is None or frame.s_ra is None or frame.s_dec is None:
        return {}
    ny, nx = shape
    ra, dec = (float(one) for one in wcs.all_pix2world((nx - 1) / 2, (ny - 1) / 2, 0))
    here, there = np.radians([frame.s_dec, dec])
    half = np.sin((there - here) / 2) ** 2
    half += np.cos(here) * np.cos(there) * np.sin(np.radians(ra - frame.s_ra) / 2) ** 2
    off_deg = float(np.degrees(2 * np.arcsin(np.sqrt(np.clip(half, 0, 1)))))
    side_deg = min(shape) * float(np.sqrt(abs(np.linalg.det(wcs.pixel_scale_matrix))))
    if not np.isfinite(off_deg):
        return {}
    return {"pointing_off_arcmin": off_deg * 60, "pointing_off_fields": off_deg / side_deg}


def sun_altitude(frame: Frame, header: fits.Header) -> float | None:
    """The highest that the Sun stood during an exposure, degrees; None where time or place are not known."""
    latitude = _latitude(frame, header)
    if latitude is None or frame.site_longitude_deg is None or frame.t_min is None:
        return None
    moments = (frame.t_min, frame.t_min + (frame.exposure_s or 0.0) / 86400)
    return max(sun_altitude_deg(one, latitude, frame.site_longitude_deg) for one in moments)


def _latitude(frame: Frame, header: fits.Header) -> float | None:
    for keyword in _LATITUDES:
        value = header.get(keyword)
        degrees = to_degrees(value, "deg") if isinstance(value, (int, float, str)) else None
        if degrees is not None and -90 <= degrees <= 90 and degrees != 0:
            return degrees
    site = _profiles().site_called(frame.site or "")
    return None if site is None else site.latitude_deg


@functools.cache
def _profiles() -> Profiles:
    return load_profiles()
