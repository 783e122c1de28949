"""The photometric zero point of a frame, by reference stars whose magnitudes are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy.wcs import WCS
from scipy.spatial import cKDTree

from avcd.sky.detection import Sources
from avcd.sky.reference import ReferenceStars

_FEWEST = 5
_SIGNAL = 10.0
_MEET_PX = 2.0
_CLIP = 3.0
_MAD = 1.4826
_REFERENCE_LIMIT = 4000
_BANDS = {"Tycho-2": "VT"}


@dataclass(frozen=True)
class ZeroPoint:
    """Magnitude of a source that gives one count a second, in the unit of the frame: mag = zero_point - 2.5 lg(flux/s).

    ``scatter_mag`` is the robust scatter of single stars, colour differences included; ``error_mag`` that of the median;
    ``stars`` were used, of the ``catalogue`` in its ``band``.
    """

    mag: float
    scatter_mag: float
    error_mag: float
    stars: int
    catalogue: str
    band: str


def measure_zero_point(
    sources: Sources,
    wcs: WCS,
    shape: tuple[int, int],
    reference: ReferenceStars,
    *,
    exposure_s: float | None,
    band: str | None = None,
) -> ZeroPoint | None:
    """The zero point of a solved frame.

    Parameters
    ----------
    sources
        With fluxes in the apertures of `detect_sources`, which grow with the stars' width.
    wcs
        Of the frame.
    shape
        (ny, nx) [px].
    reference
        Where stars with magnitudes come from.
    exposure_s
        None or 0: the zero point is that of the frame as it is, one second being taken.
    band
        Of the reference's magnitudes; None: as the catalogue is known to have.

    Returns
    -------
    ZeroPoint or None
        None where fewer than five single, unsaturated stars meet one of the reference.

    Notes
    -----
    There is no colour term: in a filter unlike the reference's the zero point is that of the stars' mean colour, and the
    scatter tells how far they differ. Medians and median absolute deviations, clipped at three sigma.
    """
    found = _pairs(sources, wcs, shape, reference)
    if found is None:
        return None
    flux, mag = found
    differences = mag + 2.5 * np.log10(flux / (exposure_s or 1.0))
    for _ in range(5):
        middle, spread = _robust(differences)
        kept = differences[np.abs(differences - middle) <= _CLIP * max(spread, 0.02)]
        if len(kept) == len(differences):
            break
        differences = kept
    if len(differences) < _FEWEST:
        return None
    middle, spread = _robust(differences)
    return ZeroPoint(
        mag=middle,
        scatter_mag=spread,
        error_mag=float(1.2533 * spread / np.sqrt(len(differences))),
        stars=len(differences),
        catalogue=reference.name,
        band=band or _BANDS.get(reference.name, "unknown"),
    )


def limiting_magnitude(
    zero_point: float, noise: float, aperture_px: float, exposure_s: float | None, sigma: float = 5.0
) -> float:
    """The magnitude of a source whose light is ``sigma`` times the noise of the background in its aperture.

    Parameters
    ----------
    zero_point
        As of `ZeroPoint`.
    noise
        Of the background, one pixel's, in the frame's unit; that of neighbouring pixels is taken for independent.
    aperture_px
        Radius.
    exposure_s
        As the zero point's.
    """
    faintest = sigma * noise * np.sqrt(np.pi) * aperture_px / (exposure_s or 1.0)
    return float(zero_point - 2.5 * np.log10(faintest))


def _robust(values: np.ndarray) -> tuple[float, float]:
    middle = float(np.median(values))
    return middle, _MAD * float(np.median(np.abs(values - middle)))


def _pairs(
    sources: Sources, wcs: WCS, shape: tuple[int, int], reference: ReferenceStars
) -> tuple[np.ndarray, np.ndarray] | None:
    """Fluxes and reference magnitudes of the stars that both have, each reference star standing alone."""
    ny, nx = shape
    with np.errstate(divide="ignore", invalid="ignore"):
        good = np.flatnonzero((sources.flags == 0) & (sources.flux > _SIGNAL * sources.flux_err))
    corners = wcs.all_pix2world([[0, 0], [nx - 1, 0], [0, ny - 1], [nx - 1, ny - 1]], 0)
    centre = wcs.all_pix2world([[(nx - 1) / 2, (ny - 1) / 2]], 0)[0]
    if not len(good) or not np.isfinite(corners).all() or not np.isfinite(centre).all():
        return None
    stars = reference.cone(float(centre[0]), float(centre[1]), _farthest(centre, corners) * 1.02, _REFERENCE_LIMIT)
    if len(stars) < _FEWEST:
        return None
    x, y = wcs.all_world2pix(stars.ra_deg, stars.dec_deg, 0, quiet=True)
    with np.errstate(invalid="ignore"):
        inside = np.flatnonzero((x >= 0) & (y >= 0) & (x <= nx - 1) & (y <= ny - 1))
    places = np.column_stack([x[inside], y[inside]])
    if len(places) < _FEWEST:
        return None
    reach = max(_MEET_PX, float(np.median(sources.fwhm_px[good])))
    tree = cKDTree(places)
    distance, nearest = tree.query(
        np.column_stack([sources.x[good], sources.y[good]]), k=2, distance_upper_bound=3.0 * reach
    )
    # A second reference star near by would add its light, or be the one that was meant.
    single = (distance[:, 0] <= reach) & ~np.isfinite(distance[:, 1])
    ours, theirs = good[single], inside[nearest[single, 0]]
    _, once = np.unique(theirs, return_index=True)  # of two sources on one star the brighter
    ours, theirs = ours[once], theirs[once]
    if len(ours) < _FEWEST:
        return None
    return sources.flux[ours], stars.mag[theirs]


def _farthest(centre: np.ndarray, corners: np.ndarray) -> float:
    """Angle from the centre to the farthest corner, degrees."""
    ra, dec = np.radians(corners.T)
    ra0, dec0 = np.radians(centre)
    cosine = np.sin(dec) * np.sin(dec0) + np.cos(dec) * np.cos(dec0) * np.cos(ra - ra0)
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))).max())
