"""A reduced frame's world coordinates and zero point, from whatever its recipe names."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

from avcd.cards import with_zero_point
from avcd.compose.filters import is_white, wavelength_nm
from avcd.errors import ProcessingError, TransientError
from avcd.frame import Frame
from avcd.sky.detection import Sources
from avcd.sky.siblings import SolvedStars
from avcd.stages.figures import zero_point_figures, zero_point_of
from avcd.stages.output import Work
from avcd.work import JobInput

if TYPE_CHECKING:
    from avcd.sky.reference import ReferenceStars, Stars
    from avcd.sky.solutions import Solution

# Effective wavelengths, nm: Bessell 1990 (PASP 102, 1181), Fukugita et al. 1996 (AJ 111, 1748), of Gaia's Jordi et al. 2010
# (A&A 523, A48).
_BANDS_NM = {
    "B": 445.0, "V": 551.0, "R": 658.0, "I": 806.0, "g": 477.0, "r": 623.1, "i": 762.5, "BP": 532.0, "RP": 797.0,
}  # fmt: skip
_CLOSE = 0.06  # of the wavelength: a filter this near to a band of the usual systems is taken for it
_WIDE_BANDS = ("BP", "RP")  # wide ones are for filters that no other is near to


class _Guarded:
    """Reference stars of an archive; where it does not answer there are none, or the job is tried again."""

    def __init__(self, stars: ReferenceStars, patient: bool, notes: list[str]) -> None:
        self._stars = stars
        self._patient = patient
        self._notes = notes
        self.name = stars.name
        self.area_deg2 = stars.area_deg2

    def cone(self, ra_deg: float, dec_deg: float, radius_deg: float, limit: int | None = None) -> Stars:
        from avcd.sky.reference import Stars

        try:
            return self._stars.cone(ra_deg, dec_deg, radius_deg, limit)
        except (TransientError, ProcessingError) as error:
            if self._patient and error.retry:
                raise
            note = f"{self.name} was not asked: {error}"
            if note not in self._notes:
                self._notes.append(note)
            return Stars(np.empty(0), np.empty(0), np.empty(0))


def solve_frame(
    work: Work, frame: Frame, shape: tuple[int, ...], sources: Sources, delivered: WCS | None, notes: list[str]
) -> Solution:
    """Solve a frame: by the catalogues that the recipe names, by the stars of its sibling, by blind engines.

    Parameters
    ----------
    delivered
        The world coordinates that its header brings.
    notes
        What could not be asked is added.

    Returns
    -------
    Solution
        What an engine finds is taken only where the stars prove it.

    Raises
    ------
    TransientError
        An archive does not answer, and there will be another attempt.
    """
    from avcd.sky.blind import solve_by_engines  # longer in loading than a frame in reducing
    from avcd.sky.solving import hint_from, solve_field

    parameters, services = work.claim.spec.parameters, work.services
    siblings = [_solved_stars(work, one) for one in work.inputs("astrometry")]
    hint = hint_from(frame, delivered)
    if siblings and hint.ra_deg is None:
        hint = replace(hint, ra_deg=siblings[0].centre[0], dec_deg=siblings[0].centre[1])
    named = [services.catalogue(one, frame.t_min) for one in parameters["solve_references"]]
    references: list[ReferenceStars] = [*(_Guarded(one, services.patient, notes) for one in named), *siblings]
    order = int(parameters["solve_sip_order"])
    radius_deg = float(parameters["solve_radius_deg"]) or None
    found = solve_field(sources, shape, hint, references, radius_deg=radius_deg, max_sip_order=order)
    engines = services.engines(parameters["solve_engines"])
    if found.wcs is not None or not engines:
        return found
    blind = solve_by_engines(sources, shape, hint, references, engines, max_sip_order=order)
    if blind.verified:
        return blind
    return replace(found, reason="; ".join(one for one in (found.reason, blind.reason) if one))


def solution_figures(solution: Solution) -> dict[str, Any]:
    """What is told of a solution in the catalogue."""
    return {
        "astrometry_rms_arcsec": solution.rms_arcsec,
        "astrometry_matched": solution.matched,
        "astrometry_sip_order": solution.sip_order,
        "astrometry_reference": solution.reference or None,
        "astrometry_reason": solution.reason or None,
    }


def with_measured_zero_point(
    work: Work,
    header: fits.Header,
    sources: Sources,
    wcs: WCS,
    shape: tuple[int, int],
    frame: Frame,
    metrics: dict[str, Any],
    notes: list[str],
) -> fits.Header:
    """The header with the zero point by the first catalogue of the recipe that has enough stars; its figures go to ``metrics``.

    Raises
    ------
    TransientError
        An archive does not answer, and there will be another attempt.
    """
    for name in work.claim.spec.parameters["zero_points"]:
        catalogue: Any = work.services.catalogue(name, frame.t_min)
        band = None
        if hasattr(catalogue, "in_band"):
            band = band_of(frame.filter, catalogue.bands)
            catalogue = catalogue.in_band(band)
        guarded = _Guarded(catalogue, work.services.patient, notes)
        found = zero_point_of(sources, wcs, shape, guarded, frame, band)
        if found is None:
            continue
        metrics |= zero_point_figures(found, metrics, frame.exposure_s)
        return with_zero_point(
            header, found.mag, found.scatter_mag, found.stars, found.band, found.catalogue, sources.aperture_px
        )
    return header


def band_of(name: str | None, bands: tuple[str, ...]) -> str:
    """The band of a catalogue that is most like a filter; its first for one that is not known, or passes all light.

    Parameters
    ----------
    name
        The filter's, as the header has it.
    bands
        Of the catalogue, its usual one first.
    """
    wavelength = None if name is None or is_white(name) else wavelength_nm(name)
    if wavelength is None:
        return bands[0]
    apart = {one: abs(_BANDS_NM[one] / wavelength - 1.0) for one in bands if one in _BANDS_NM}
    usual = [one for one in apart if one not in _WIDE_BANDS and apart[one] <= _CLOSE]
    return min(usual or apart, key=lambda one: apart[one])


def _solved_stars(work: Work, one: JobInput) -> SolvedStars:
    """The stars of a sibling that is solved already, from its source table."""
    name = one.relative_path.rsplit("/", 1)[-1]
    try:
        table = Table.read(work.open(one), hdu="SOURCES")
        columns = {key: np.asarray(table[key], dtype=float) for key in ("ra", "dec", "flux", "flags")}
    except (OSError, LookupError, ValueError) as error:
        raise ProcessingError(f"{name} has no stars with sky positions: {error}") from error
    return SolvedStars.of_table(name, columns["ra"], columns["dec"], columns["flux"], columns["flags"].astype(int))
