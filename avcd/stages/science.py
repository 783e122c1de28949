"""One science frame: calibrated, its sources found, its quality measured, its field solved."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.io import fits

from avcd.cards import describe, inherit, with_exposure, with_world, zero_point_said
from avcd.errors import ProcessingError
from avcd.frame import CalibLevel, Frame, MaskBit, Wcs
from avcd.reduction.calibrate import Detector, Masters, Reduced, reduce_frame
from avcd.reduction.planes import MaskedImage
from avcd.stages.inputs import (
    frame_of,
    held_master,
    measured_read_noise,
    read_ccd,
    read_mask,
    read_product,
    read_raw,
)
from avcd.stages.output import Output, Work
from avcd.stages.readout import Readout, check_masters
from avcd.stages.writing import image_output, table_output
from avcd.work import JobInput

if TYPE_CHECKING:
    from astropy.wcs import WCS

    from avcd.sky.detection import Sources
    from avcd.sky.solving import Solution

_CLEAR = 3.0  # a gradient over its error, from which on it is one


def reduce_science(work: Work) -> Output:
    """A reduced frame: calibrated pixels with mask and uncertainty, quality as metrics, a plate solution in the header."""
    one = work.inputs("raw")[0]
    frame = frame_of(one)
    check_masters(work)
    data, raw_header = read_raw(work, one)
    parameters = work.claim.spec.parameters
    readout = Readout.of(parameters)
    raw_header = readout.of_header(raw_header)
    raw, overscan_adu, read_out = _read_out(work, frame, data, readout)
    reduced = _calibrate(work, frame, raw, overscan_adu)
    ccd = reduced.ccd
    saturation = _saturation(frame, ccd, overscan_adu)
    metrics: dict[str, Any] = dict(reduced.metrics)
    measured = work.figures and parameters["quality"]
    sources = detect(ccd, parameters, saturation) if measured or parameters["solve"] else None
    if sources is not None and measured:
        from avcd.stages.figures import frame_figures  # longer in loading than a frame in reducing

        metrics |= frame_figures(ccd.data, ccd.mask, sources, frame, raw_header)
    header = with_exposure(inherit(raw_header, keep_world=False), frame)
    notes = [*reduced.warnings, *_residue_warnings(work, reduced.metrics, parameters)]
    solution = None
    if sources is not None and parameters["solve"]:
        # Longer in loading than a frame in reducing.
        from avcd.stages.astrometry import solution_figures, solve_frame, with_measured_zero_point
        from avcd.stages.figures import pointing_figures

        delivered = delivered_world(raw_header) if frame.has_wcs else None
        solution = solve_frame(work, frame, ccd.data.shape, sources, delivered, notes)
        metrics |= solution_figures(solution)
        if solution.reason and solution.wcs is None:
            notes.append(f"plate solution {solution.state}: {solution.reason}")
        if solution.wcs is not None:
            header = with_world(header, solution.wcs, rms_arcsec=solution.rms_arcsec, matched=solution.matched)
            metrics |= pointing_figures(frame, solution.wcs, ccd.data.shape)
            header = with_measured_zero_point(
                work, header, sources, solution.wcs, ccd.data.shape, frame, metrics, notes
            )
    applied = [kind for kind in ("bias", "dark", "flat") if kind in reduced.applied or kind in frame.calibration]
    header = describe(header, work.claim.spec, applied=applied, steps=[*read_out, *map(_sentence, reduced.steps)])
    ra, dec = _centre(solution, ccd, frame)
    state = solution.state if solution is not None else Wcs.NONE
    planes = {} if reduced.background is None else {"BACKGROUND": reduced.background}
    return image_output(work, ccd, header, metrics, warnings=tuple(notes), planes=planes, wcs=state, s_ra=ra, s_dec=dec)


def _read_out(
    work: Work, frame: Frame, data: np.ndarray, readout: Readout
) -> tuple[MaskedImage, float | None, list[str]]:
    """The raw frame less its overscan and cut, the level that was subtracted (None: nothing), and what was done."""
    raw = MaskedImage(data, unit=_unit_of(frame), mask=read_mask(work, work.inputs("raw")[0]))
    well = frame.saturation_adu
    saturated = None if well is None else well * float(work.claim.spec.parameters["full_well_fraction"])
    found, level, steps = readout.of_image(raw, saturated)
    return found, level if readout.overscan else None, steps


def _unit_of(frame: Frame) -> str:
    in_electrons = (frame.bunit or "").lower().startswith("e")
    return "electron" if frame.calib_level >= CalibLevel.CALIBRATED and in_electrons else "adu"


def _calibrate(work: Work, frame: Frame, raw: MaskedImage, overscan_adu: float | None) -> Reduced:
    dark = work.input("dark")
    masters = Masters(
        bias=read_ccd(work, work.input("bias")),
        dark=read_ccd(work, dark),
        dark_exposure_s=_exposure_of(dark),
        dark_has_bias=_has_bias(dark),
        flat=read_ccd(work, work.input("flat")),
        bad_pixels=_mask_of(work, work.input("bad_pixels")),
    )
    detector = Detector(
        gain_e_per_adu=None if raw.unit == "electron" else frame.gain_e_per_adu,
        read_noise_e=frame.read_noise_e,
        read_noise_adu=measured_read_noise(work),
        saturation_adu=frame.saturation_adu,
        pedestal_adu=frame.pedestal_adu,
        overscan_adu=overscan_adu,
    )
    return reduce_frame(raw, masters, detector, frame.exposure_s, work.claim.spec.parameters)


def _residue_warnings(work: Work, metrics: Mapping[str, float], parameters: Mapping[str, Any]) -> list[str]:
    """What the dark and the flat left in the frame beyond the recipe's limits, naming the master."""
    notes = []
    residue, dark = metrics.get("hot_residue"), work.input("dark")
    certain = metrics.get("hot_residue_sigma", 0.0) >= float(parameters["hot_residue_sigma"])
    if residue is not None and dark is not None and certain and abs(residue) > float(parameters["hot_residue_limit"]):
        how = "still stand out by" if residue > 0 else "are holes, deeper than the sky around them by"
        notes.append(
            f"hot pixels {how} {abs(residue):.0%} of what {_name(dark)} took from them: "
            "it is not of this frame's temperature or exposure"
        )
    rise, flat = metrics.get("sky_gradient"), work.input("flat")
    if rise is None or flat is None or rise <= float(parameters["sky_gradient_limit"]):
        return notes
    # Below that, what bias and dark leave is as much a part of the sky as a bad flat would be.
    sky_sigma = metrics["sky_gradient_sigma"] / rise
    if sky_sigma >= float(parameters["sky_gradient_least_sky"]) and rise > _CLEAR * metrics["sky_gradient_error"]:
        notes.append(
            f"the sky rises by {rise:.1%} ({metrics['sky_gradient_sigma']:.2g} times its noise) over the frame after "
            f"{_name(flat)} was divided out: the flat leaves it, or it is the sky's own"
        )
    return notes


def _name(one: JobInput) -> str:
    return one.relative_path.rsplit("/", 1)[-1]


def _exposure_of(dark: JobInput | None) -> float | None:
    if dark is None:
        return None
    return dark.frame.exposure_s if dark.frame else (dark.spec.exposure_s if dark.spec else None)


def _has_bias(dark: JobInput | None) -> bool | None:
    """Whether the bias is still in a master dark; None where a delivered one does not say."""
    if dark is None:
        return None
    if dark.frame:
        return dark.frame.bias_included
    assert dark.spec is not None
    return not any(one.role == "bias" for one in dark.spec.inputs)


def _mask_of(work: Work, one: JobInput | None) -> np.ndarray | None:
    """The bits of a bad pixel mask; one that was delivered names pixels by any number but zero."""
    if one is None:
        return None
    return held_master(work, one, lambda: _read_mask_of(work, one)).mask


def _read_mask_of(work: Work, one: JobInput) -> MaskedImage:
    if one.origin != "frame":
        mask = read_product(work, one).mask
        if mask is None:
            raise ProcessingError(f"{_name(one)} has no plane MASK that would say which pixels are bad")
    else:
        data, _ = read_raw(work, one)
        mask = np.where(data != 0, np.uint16(MaskBit.USER), np.uint16(0))
    return MaskedImage(mask, unit="adu", mask=mask)  # of the pixels themselves nothing is asked


def _saturation(frame: Frame, ccd: MaskedImage, overscan_adu: float | None) -> float | None:
    if frame.saturation_adu is None:
        return None
    return (frame.saturation_adu - (overscan_adu or 0.0)) * (
        frame.gain_e_per_adu or 1.0 if ccd.unit == "electron" else 1.0
    )


def detect(ccd: MaskedImage, parameters: Mapping[str, Any], saturation: float | None) -> Sources:
    """The stars of a reduced frame, as its recipe says."""
    from avcd.sky.detection import detect_sources  # longer in loading than a frame in reducing

    return detect_sources(
        ccd.data,
        ccd.mask,
        noise=ccd.uncertainty,
        saturation=saturation,
        sigma=float(parameters["detection_sigma"]),
        minimum_px=int(parameters["detection_minimum_px"]),
    )


def delivered_world(header: fits.Header) -> WCS | None:
    """The world coordinates that a header brings; None when it has none that make sense."""
    from astropy.wcs import WCS, FITSFixedWarning  # longer in loading than a frame in reducing

    with warnings.catch_warnings():
        # Old keywords (RADECSYS, dates without time) are mended by astropy, with a warning for each.
        warnings.simplefilter("ignore", FITSFixedWarning)
        try:
            found = WCS(header, naxis=2)
        except (ValueError, MemoryError, KeyError):  # a WCS that cannot be understood is no WCS
            return None
    return found if found.has_celestial else None


def _centre(solution: Solution | None, ccd: MaskedImage, frame: Frame) -> tuple[float | None, float | None]:
    if solution is None or solution.wcs is None:
        return frame.s_ra, frame.s_dec
    ny, nx = ccd.data.shape
    ra, dec = solution.wcs.all_pix2world((nx - 1) / 2, (ny - 1) / 2, 0)
    return (float(ra), float(dec)) if math.isfinite(float(ra)) else (frame.s_ra, frame.s_dec)


def _sentence(step: Mapping[str, Any]) -> str:
    details = ", ".join(f"{key}={value}" for key, value in step.items() if key != "step" and value is not None)
    return f"{step['step']}: {details}" if details else str(step["step"])


def extract_sources(work: Work) -> Output:
    """The source table of a reduced frame, with sky positions where it is solved."""
    one = work.inputs("reduced")[0]
    if one.spec is None:
        raise ProcessingError("a source table needs one of avcd's reduced frames")
    ccd = read_product(work, one)
    sources = detect(ccd, work.claim.spec.parameters, None)
    solved = one.wcs in (Wcs.SOLVED, Wcs.DELIVERED, Wcs.REFINED)
    table = sources.to_table(ccd.wcs if solved else None, zero_point_said(fits.Header(ccd.header)), one.spec.exposure_s)
    header = describe(inherit(fits.Header(ccd.header), keep_world=True), work.claim.spec)
    return table_output(work, table, "SOURCES", header, {"stars": len(table)}, wcs=one.wcs)
