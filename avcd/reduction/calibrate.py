"""One science frame: bias, dark, flat, gain, cosmic rays; mask and uncertainty carried through every step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import astropy.units as u
import astroscrappy
import ccdproc
import numpy as np
from astropy.nddata import CCDData, StdDevUncertainty

from avcd.errors import ProcessingError
from avcd.frame import MaskBit
from avcd.reduction.noise import mad_sigma

# A dark whose level is above half of the bias's holds that bias still.
_BIAS_SHARE = 0.5


@dataclass(frozen=True)
class Masters:
    """What a frame is calibrated with; None is left out. ``dark_has_bias`` None: not said, judged by its level."""

    bias: CCDData | None = None
    dark: CCDData | None = None
    dark_exposure_s: float | None = None
    dark_has_bias: bool | None = None
    flat: CCDData | None = None
    bad_pixels: np.ndarray | None = None


@dataclass(frozen=True)
class Detector:
    """What is known of a detector; None is unknown."""

    gain_e_per_adu: float | None = None
    read_noise_e: float | None = None
    read_noise_adu: float | None = None
    saturation_adu: float | None = None
    pedestal_adu: float | None = None


@dataclass(frozen=True)
class Reduced:
    """A reduced frame: pixels with mask plane and uncertainty, what was done, figures, and what a person should know."""

    ccd: CCDData
    steps: tuple[Mapping[str, Any], ...]
    applied: frozenset[str]
    metrics: Mapping[str, float]
    warnings: tuple[str, ...]


@dataclass
class _Run:
    """A reduction under way."""

    ccd: CCDData
    mask: np.ndarray
    steps: list[Mapping[str, Any]] = field(default_factory=list)
    applied: set[str] = field(default_factory=set)
    metrics: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def take_mask(self, master: CCDData) -> None:
        if master.mask is not None:
            self.mask |= np.asarray(master.mask, dtype=np.uint16)

    def step(self, name: str, **details: Any) -> None:
        self.steps.append({"step": name, **details})


def reduce_frame(
    raw: CCDData, masters: Masters, detector: Detector, exposure_s: float | None, params: Mapping[str, Any]
) -> Reduced:
    """Calibrate one frame.

    Parameters
    ----------
    raw : CCDData, shape (ny, nx), unit adu or electron
        Not changed. In electrons the gain was applied before and is not applied again.
    masters
        In the unit of the raw frame; a dark is scaled to the frame's exposure only when its bias was removed.
    detector
        Without a gain the result stays in adu, its noise that of the read-out alone, as measured on the biases.
    exposure_s : float [s]
    params
        Of the recipe ``reduced``.

    Returns
    -------
    Reduced
        Unit electron, or adu without a gain.

    Raises
    ------
    ProcessingError
        A master differs from the frame in shape, or a dark would have to be scaled without a known exposure.
    """
    for name in ("bias", "dark", "flat"):
        master = getattr(masters, name)
        if master is not None and master.data.shape != raw.data.shape:
            raise ProcessingError(f"the {name} has shape {master.data.shape}, the frame {raw.data.shape}")
    run = _start(raw, detector, params)
    bias = masters.bias if not _dark_brings_bias(masters) else None
    if bias is not None:
        _subtract(run, bias, "bias", ccdproc.subtract_bias)
    _add_noise(run, detector, bias_subtracted=bias is not None)
    if masters.dark is not None:
        _subtract_dark(run, masters, exposure_s)
    if masters.flat is not None:
        _divide_flat(run, masters.flat)
    if masters.bad_pixels is not None:
        run.mask |= np.asarray(masters.bad_pixels, dtype=np.uint16)
        run.step("bad pixels masked", pixels=int(np.count_nonzero(masters.bad_pixels)))
    if detector.gain_e_per_adu and run.ccd.unit == u.adu:
        run.ccd = ccdproc.gain_correct(run.ccd, detector.gain_e_per_adu * u.electron / u.adu)
        run.step("gain", e_per_adu=detector.gain_e_per_adu)
    elif run.ccd.unit == u.adu:
        run.warnings.append("the gain is not known: pixels stay in adu, and photon noise is not in the uncertainty")
    if params["cosmic_rays"]:
        _clean_cosmic_rays(run, detector, params)
    return _finish(run)


def _start(raw: CCDData, detector: Detector, params: Mapping[str, Any]) -> _Run:
    data = np.array(raw.data, dtype=np.float32)
    mask = np.zeros(data.shape, np.uint16) if raw.mask is None else np.array(raw.mask, dtype=np.uint16)
    mask[~np.isfinite(data)] |= np.uint16(MaskBit.NON_FINITE)
    if detector.saturation_adu is not None:
        mask[data >= float(params["full_well_fraction"]) * detector.saturation_adu] |= np.uint16(MaskBit.SATURATED)
    data[~np.isfinite(data)] = 0
    run = _Run(CCDData(data, unit=raw.unit), mask)
    if detector.pedestal_adu:
        run.ccd = CCDData(data + np.float32(detector.pedestal_adu), unit=raw.unit)
        run.step("pedestal added", adu=detector.pedestal_adu)
    return run


def _dark_brings_bias(masters: Masters) -> bool:
    """Whether subtracting the dark subtracts the bias too."""
    if masters.dark is None:
        return False
    if masters.dark_has_bias is not None:
        return masters.dark_has_bias
    if masters.bias is None:
        return True
    return float(np.median(masters.dark.data)) > _BIAS_SHARE * float(np.median(masters.bias.data))


def _subtract(run: _Run, master: CCDData, kind: str, function: Any) -> None:
    run.ccd = function(run.ccd, _plain(master, run.ccd))
    run.take_mask(master)
    run.applied.add(kind)
    run.step(f"{kind} subtracted", level=round(float(np.median(master.data)), 3))


def _plain(master: CCDData, like: CCDData) -> CCDData:
    """A master without its mask (planes are carried apart: ccdproc knows only true and false), in the frame's unit."""
    return CCDData(master.data, unit=like.unit, uncertainty=_bare(master))


def _bare(master: CCDData) -> StdDevUncertainty | None:
    """A master's uncertainty without the unit it was bound to."""
    return None if master.uncertainty is None else StdDevUncertainty(master.uncertainty.array)


def _add_noise(run: _Run, detector: Detector, *, bias_subtracted: bool) -> None:
    """The raw frame's own noise: photons, where a gain says how many there are, and read-out."""
    data, unit = run.ccd.data, run.ccd.unit
    gain = detector.gain_e_per_adu if unit == u.adu else 1.0
    read = detector.read_noise_e
    if read is not None and gain:
        read_noise = read / gain
    elif detector.read_noise_adu is not None:
        read_noise = detector.read_noise_adu
    else:
        read_noise = mad_sigma(np.diff(data, axis=1)) / np.sqrt(2)
        run.warnings.append("the read noise is not known: the frame's own pixel-to-pixel scatter stands for it")
        gain = None  # that scatter holds the photons' noise already
    variance = np.full(data.shape, read_noise**2, np.float32)
    if gain and bias_subtracted:
        variance += np.maximum(data, 0) / np.float32(gain)
    own = np.sqrt(variance)
    master = run.ccd.uncertainty
    total = own if master is None else np.hypot(own, master.array)
    run.ccd = CCDData(data, unit=unit, uncertainty=StdDevUncertainty(total.astype(np.float32)))
    run.metrics["read_noise"] = float(read_noise)


def _subtract_dark(run: _Run, masters: Masters, exposure_s: float | None) -> None:
    dark, dark_s = masters.dark, masters.dark_exposure_s
    assert dark is not None
    scale = 1.0
    brings_bias = _dark_brings_bias(masters)
    if exposure_s is not None and dark_s and not brings_bias:
        scale = exposure_s / dark_s
    elif exposure_s is not None and dark_s and abs(exposure_s - dark_s) > max(0.1, 0.01 * exposure_s):
        raise ProcessingError(f"a dark of {dark_s:g} s that holds its bias cannot be scaled to {exposure_s:g} s")
    uncertainty = None if dark.uncertainty is None else StdDevUncertainty(dark.uncertainty.array * np.float32(scale))
    scaled = CCDData(dark.data * np.float32(scale), unit=run.ccd.unit, uncertainty=uncertainty)
    seconds = (exposure_s or dark_s or 1.0) * u.s
    run.ccd = ccdproc.subtract_dark(run.ccd, scaled, dark_exposure=seconds, data_exposure=seconds, exposure_unit=u.s)
    run.take_mask(dark)
    run.applied |= {"dark", "bias"} if brings_bias else {"dark"}
    run.step("dark subtracted", exposure_s=dark_s, scale=round(scale, 6), with_bias=brings_bias or None)


def _divide_flat(run: _Run, flat: CCDData) -> None:
    good = flat.data[flat.mask == 0] if flat.mask is not None else flat.data
    norm = float(np.median(good))
    usable = np.where(np.isfinite(flat.data) & (flat.data > 0), flat.data, norm).astype(np.float32)
    plain = CCDData(usable, unit=u.dimensionless_unscaled, uncertainty=_bare(flat))
    run.ccd = ccdproc.flat_correct(run.ccd, plain, norm_value=norm)
    run.take_mask(flat)
    run.applied.add("flat")
    run.step("flat divided", norm=round(norm, 6))


def _clean_cosmic_rays(run: _Run, detector: Detector, params: Mapping[str, Any]) -> None:
    """L.A.Cosmic (van Dokkum 2001, PASP 113, 1420) through astroscrappy, all figures in the unit of the pixels."""
    electrons = run.ccd.unit == u.electron
    gain = detector.gain_e_per_adu or 1.0
    # What the noise model sqrt(signal + readnoise^2) wants: with a gain the read noise in electrons; without one the
    # sky's whole scatter, since adu do not follow Poisson statistics. That finds fewer cosmic rays, not false ones.
    if electrons:
        noise = detector.read_noise_e or (detector.read_noise_adu or run.metrics["read_noise"]) * gain
    else:
        noise = max(mad_sigma(run.ccd.data), run.metrics["read_noise"])
    saturation = np.inf if detector.saturation_adu is None else detector.saturation_adu * (gain if electrons else 1.0)
    struck, cleaned = astroscrappy.detect_cosmics(
        np.ascontiguousarray(run.ccd.data, dtype=np.float32),
        inmask=run.mask != 0,
        gain=1.0,
        readnoise=float(noise),
        satlevel=float(min(saturation, 1e30)),
        sigclip=float(params["cosmic_sigma_clip"]),
        sigfrac=float(params["cosmic_sigma_fraction"]),
        objlim=float(params["cosmic_object_limit"]),
        niter=int(params["cosmic_iterations"]),
    )
    run.mask[struck] |= np.uint16(MaskBit.COSMIC_RAY)
    data = np.where(struck, cleaned, run.ccd.data).astype(np.float32)
    run.ccd = CCDData(data, unit=run.ccd.unit, uncertainty=run.ccd.uncertainty)
    run.metrics["cosmic_ray_px"] = float(np.count_nonzero(struck))
    run.step("cosmic rays replaced", pixels=int(np.count_nonzero(struck)))


def _finish(run: _Run) -> Reduced:
    data = np.asarray(run.ccd.data, dtype=np.float32)
    uncertainty = np.asarray(run.ccd.uncertainty.array, dtype=np.float32)
    ccd = CCDData(data, unit=run.ccd.unit, mask=run.mask, uncertainty=StdDevUncertainty(uncertainty))
    run.metrics["masked_fraction"] = float(np.count_nonzero(run.mask)) / run.mask.size
    return Reduced(ccd, tuple(run.steps), frozenset(run.applied), run.metrics, tuple(run.warnings))
