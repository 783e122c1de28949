"""One science frame: bias, dark, flat, gain, cosmic rays; mask and uncertainty carried through every step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import astropy.units as u
import numpy as np
from astropy.nddata import StdDevUncertainty

from avcd.errors import ProcessingError
from avcd.frame import MaskBit
from avcd.reduction.background import estimate_background, subtract_background
from avcd.reduction.cosmic import find_cosmic_rays
from avcd.reduction.cosmic_median import find_by_median, median_parameters
from avcd.reduction.noise import mad_sigma
from avcd.reduction.planes import CCDData
from avcd.reduction.prepared import hot_pixels_of, level_of, response_of
from avcd.reduction.repair import repair_pixels
from avcd.reduction.residues import measure_hot_residue, measure_sky_gradient

# A dark whose level is above half of the bias's holds that bias still.
_BIAS_SHARE = 0.5
_LARGEST = 1e15


@dataclass(frozen=True)
class Masters:
    """What a frame is calibrated with; None is left out.

    ``dark_has_bias`` None: not said, judged by its level. ``dark_less_bias``: ``bias`` is the very one that was taken
    from the dark, so that its noise, being in both, cancels when both are subtracted.
    """

    bias: CCDData | None = None
    dark: CCDData | None = None
    dark_exposure_s: float | None = None
    dark_has_bias: bool | None = None
    dark_less_bias: bool = False
    flat: CCDData | None = None
    bad_pixels: np.ndarray | None = None


@dataclass(frozen=True)
class Detector:
    """What is known of a detector; None is unknown.

    ``bias_removed``: the pixels come without their bias already; ``overscan_adu``: the level of it that was subtracted
    from them as their overscan, which the saturation level counts from still.
    """

    gain_e_per_adu: float | None = None
    read_noise_e: float | None = None
    read_noise_adu: float | None = None
    saturation_adu: float | None = None
    pedestal_adu: float | None = None
    bias_removed: bool = False
    overscan_adu: float | None = None


@dataclass(frozen=True)
class Reduced:
    """A reduced frame: pixels with mask plane and uncertainty, what was done, figures, and what a person should know.

    ``background``: the smooth sky, where the recipe asks for it; in the unit of the frame.
    """

    ccd: CCDData
    steps: tuple[Mapping[str, Any], ...]
    applied: frozenset[str]
    metrics: Mapping[str, float]
    warnings: tuple[str, ...]
    background: np.ndarray | None = None


@dataclass
class _Run:
    """A reduction under way: pixels, their variance and mask plane are its own, and changed in place."""

    data: np.ndarray
    variance: np.ndarray
    mask: np.ndarray
    unit: u.UnitBase
    steps: list[Mapping[str, Any]] = field(default_factory=list)
    applied: set[str] = field(default_factory=set)
    metrics: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    background: np.ndarray | None = None

    def take_mask(self, master: CCDData) -> None:
        if master.mask is not None:
            self.mask |= np.asarray(master.mask, dtype=np.uint16)

    def as_ccd(self) -> CCDData:
        """As it is now; pixels and mask are shared."""
        uncertainty = StdDevUncertainty(np.sqrt(self.variance))
        return CCDData(self.data, unit=self.unit, mask=self.mask, uncertainty=uncertainty)

    def take(self, found: CCDData) -> None:
        """Go on with what another stage has made of it."""
        self.data = np.asarray(found.data)
        self.mask = np.asarray(found.mask)
        if found.uncertainty is not None:
            self.variance = np.square(found.uncertainty.array)

    def step(self, name: str, **details: Any) -> None:
        self.steps.append({"step": name, **details})


def reduce_frame(
    raw: CCDData, masters: Masters, detector: Detector, exposure_s: float | None, params: Mapping[str, Any]
) -> Reduced:
    """Calibrate one frame.

    Parameters
    ----------
    raw : CCDData, shape (ny, nx), unit adu or electron
        Not changed. In electrons the gain was applied before and is not applied again. An uncertainty that it brings
        (that of its overscan's level) is added to its own noise.
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
        A master differs from the frame in shape, a dark that holds its bias would have to be scaled, or one of the two
        exposures is not known.
    """
    for name in ("bias", "dark", "flat"):
        master = getattr(masters, name)
        if master is not None and master.data.shape != raw.data.shape:
            raise ProcessingError(f"the {name} has shape {master.data.shape}, the frame {raw.data.shape}")
    if masters.bad_pixels is not None and masters.bad_pixels.shape != raw.data.shape:
        raise ProcessingError(f"the bad pixels have shape {masters.bad_pixels.shape}, the frame {raw.data.shape}")
    with np.errstate(over="ignore", invalid="ignore"):  # through a delivered master: what comes of it is masked
        return _reduce(raw, masters, detector, exposure_s, params)


def _reduce(
    raw: CCDData, masters: Masters, detector: Detector, exposure_s: float | None, params: Mapping[str, Any]
) -> Reduced:
    run = _start(raw, detector, params)
    _add_noise(run, detector, _zero_level(masters, detector), raw.uncertainty)
    if masters.bias is not None and not _dark_brings_bias(masters):
        _subtract_bias(run, masters)
    if masters.dark is not None:
        _subtract_dark(run, masters, exposure_s)
    if masters.flat is not None:
        _divide_flat(run, masters.flat)
    if masters.bad_pixels is not None:
        run.mask |= np.asarray(masters.bad_pixels, dtype=np.uint16)
        run.step("bad pixels masked", pixels=int(np.count_nonzero(masters.bad_pixels)))
    if detector.gain_e_per_adu and run.unit == u.adu:
        _apply_gain(run, detector.gain_e_per_adu)
    elif run.unit == u.adu:
        run.warnings.append("the gain is not known: pixels stay in adu, and photon noise is not in the uncertainty")
    if masters.flat is not None:
        run.metrics |= measure_sky_gradient(run.data, run.mask != 0)
    if params["repair"] != "none":
        _repair(run, params)
    if params["cosmic_rays"] == "median":
        _clean_by_median(run, params)
    elif params["cosmic_rays"] != "none":
        _clean_cosmic_rays(run, detector, params)
    if params["background"] != "none":
        _measure_background(run, params)
    return _finish(run)


def _start(raw: CCDData, detector: Detector, params: Mapping[str, Any]) -> _Run:
    data = np.array(raw.data, dtype=np.float32)
    mask = np.zeros(data.shape, np.uint16) if raw.mask is None else np.array(raw.mask, dtype=np.uint16)
    data[np.abs(data) > _LARGEST] = np.nan  # no detector counts so far; squared it would overflow
    mask[~np.isfinite(data)] |= np.uint16(MaskBit.NON_FINITE)
    if detector.saturation_adu is not None:
        saturated = float(params["full_well_fraction"]) * detector.saturation_adu - (detector.overscan_adu or 0.0)
        mask[data >= saturated] |= np.uint16(MaskBit.SATURATED)
    data[~np.isfinite(data)] = 0
    run = _Run(data, np.empty_like(data), mask, raw.unit)
    if detector.pedestal_adu:
        data += np.float32(detector.pedestal_adu)
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
    return level_of(masters.dark) > _BIAS_SHARE * level_of(masters.bias)


def _zero_level(masters: Masters, detector: Detector) -> np.ndarray | None:
    """What the pixels read without any light: the bias, or the dark that holds it; None where nothing says."""
    if masters.bias is not None:
        return np.asarray(masters.bias.data, dtype=np.float32)
    if masters.dark is not None and _dark_brings_bias(masters):
        return np.asarray(masters.dark.data, dtype=np.float32)
    removed = detector.bias_removed or detector.overscan_adu is not None
    return np.zeros((1, 1), np.float32) if removed else None


def _subtract_bias(run: _Run, masters: Masters) -> None:
    bias = masters.bias
    assert bias is not None
    run.data -= bias.data
    if bias.uncertainty is not None and not (masters.dark is not None and masters.dark_less_bias):
        run.variance += np.square(bias.uncertainty.array)  # else it is reckoned with the dark's
    run.take_mask(bias)
    run.applied.add("bias")
    run.step("bias subtracted", level=round(level_of(bias), 3))


def _add_noise(run: _Run, detector: Detector, zero_level: np.ndarray | None, brought: StdDevUncertainty | None) -> None:
    """The raw frame's own noise: photons, where a gain says how many there are, and read-out."""
    gain = detector.gain_e_per_adu if run.unit == u.adu else 1.0
    if detector.read_noise_e is not None and gain:
        read_noise = detector.read_noise_e / gain
    elif detector.read_noise_adu is not None and run.unit == u.adu:
        read_noise = detector.read_noise_adu
    else:
        read_noise = mad_sigma(np.diff(run.data, axis=1)) / np.sqrt(2)
        run.warnings.append("the read noise is not known: the frame's own pixel-to-pixel scatter stands for it")
        gain = None  # that scatter holds the sky's photon noise already
    if gain and zero_level is not None:
        np.subtract(run.data, zero_level, out=run.variance)
        np.maximum(run.variance, 0, out=run.variance)
        run.variance /= np.float32(gain)
        run.variance += np.float32(read_noise**2)
    else:
        run.variance[...] = read_noise**2
        if gain:
            run.warnings.append("the bias is still in the pixels: photon noise is not in the uncertainty")
    if brought is not None:
        run.variance += np.square(brought.array)
    run.metrics["read_noise"] = float(read_noise)


def _subtract_dark(run: _Run, masters: Masters, exposure_s: float | None) -> None:
    dark = masters.dark
    assert dark is not None
    brings_bias = _dark_brings_bias(masters)
    if masters.dark_has_bias is None:
        holds = "holds" if brings_bias else "does not hold"
        run.warnings.append(f"the dark does not say whether its bias is in it; by its level it {holds} it")
    scale = _dark_scale(exposure_s, masters.dark_exposure_s, brings_bias)
    run.data -= dark.data * np.float32(scale)
    if dark.uncertainty is not None:
        variance = np.square(dark.uncertainty.array * np.float32(scale))
        bias = None if brings_bias or not masters.dark_less_bias else masters.bias
        if bias is not None and bias.uncertainty is not None:
            # frame - bias - scale * (raw dark - bias): the bias counts (1 - scale) times, not once and scale times.
            variance += np.float32(1 - 2 * scale) * np.square(bias.uncertainty.array)
            np.maximum(variance, 0, out=variance)
        run.variance += variance
    # Now: later the search for cosmic rays takes some of what is left for its own.
    saturated = (run.mask & np.uint16(MaskBit.SATURATED | MaskBit.NON_FINITE)) != 0
    run.metrics |= measure_hot_residue(run.data, hot_pixels_of(dark), saturated, scale)
    run.take_mask(dark)
    run.applied |= {"dark", "bias"} if brings_bias else {"dark"}
    run.step(
        "dark subtracted", exposure_s=masters.dark_exposure_s, scale=round(scale, 6), with_bias=brings_bias or None
    )


def _dark_scale(exposure_s: float | None, dark_s: float | None, brings_bias: bool) -> float:
    """What a dark is multiplied with; one where neither exposure is recorded."""
    if exposure_s is None and dark_s is None:
        return 1.0
    if exposure_s is None or not dark_s:
        raise ProcessingError(f"a dark of {dark_s} s cannot be scaled to an exposure of {exposure_s} s")
    if not brings_bias:
        return exposure_s / dark_s
    if abs(exposure_s - dark_s) > max(0.1, 0.01 * exposure_s):
        raise ProcessingError(f"a dark of {dark_s:g} s that holds its bias cannot be scaled to {exposure_s:g} s")
    return 1.0


def _divide_flat(run: _Run, flat: CCDData) -> None:
    response = response_of(flat)
    run.mask[response.unlit] |= np.uint16(MaskBit.DEAD)
    run.data /= response.relative
    run.variance /= response.relative
    run.variance /= response.relative
    if response.variance is not None:
        run.variance += np.square(run.data) * response.variance
    run.take_mask(flat)
    run.applied.add("flat")
    run.step("flat divided", norm=round(response.norm, 6))


def _apply_gain(run: _Run, gain: float) -> None:
    run.data *= np.float32(gain)
    run.variance *= np.float32(gain) ** 2
    run.unit = u.electron
    run.step("gain", e_per_adu=gain)


def _repair(run: _Run, params: Mapping[str, Any]) -> None:
    found, counts = repair_pixels(run.as_ccd(), params)
    run.take(found)
    run.metrics |= counts
    run.step("bad pixels replaced", method=params["repair"], **{name: int(count) for name, count in counts.items()})


def _clean_cosmic_rays(run: _Run, detector: Detector, params: Mapping[str, Any]) -> None:
    """Cosmic rays masked and replaced; all figures in the unit of the pixels."""
    electrons = run.unit == u.electron
    gain = detector.gain_e_per_adu or 1.0
    # What the noise model sqrt(signal + readnoise^2) wants: with a gain the read noise in electrons; without one the
    # sky's whole scatter, since adu do not follow Poisson statistics. That finds fewer cosmic rays, not false ones.
    if electrons:
        noise = detector.read_noise_e or (detector.read_noise_adu or run.metrics["read_noise"]) * gain
    else:
        noise = max(mad_sigma(run.data), run.metrics["read_noise"])
    above = None if detector.saturation_adu is None else detector.saturation_adu - (detector.overscan_adu or 0.0)
    saturation = np.inf if above is None else above * (gain if electrons else 1.0)
    struck, data = find_cosmic_rays(run.data, run.mask != 0, float(noise), saturation, params)
    _replace_struck(run, struck, data)


def _clean_by_median(run: _Run, params: Mapping[str, Any]) -> None:
    error = np.maximum(np.sqrt(run.variance), np.finfo(np.float32).tiny)
    struck, data = find_by_median(run.data, error, run.mask != 0, **median_parameters(params))
    _replace_struck(run, struck, data)


def _replace_struck(run: _Run, struck: np.ndarray, data: np.ndarray) -> None:
    run.mask[struck] |= np.uint16(MaskBit.COSMIC_RAY)
    run.data = data
    run.metrics["cosmic_ray_px"] = float(np.count_nonzero(struck))
    run.step("cosmic rays replaced", pixels=int(np.count_nonzero(struck)))


def _measure_background(run: _Run, params: Mapping[str, Any]) -> None:
    """The smooth sky kept, and taken off where the recipe says so."""
    whole = run.as_ccd()
    found = estimate_background(
        whole, box_px=int(params["background_box_px"]), filter_boxes=int(params["background_filter_boxes"])
    )
    run.background = found.level
    subtracted = params["background"] == "subtract"
    if subtracted:
        run.data = subtract_background(whole, found).data
        run.metrics["background_subtracted"] = found.median
    name = "background subtracted" if subtracted else "background measured"
    run.step(name, median=round(found.median, 4), scatter=round(found.sigma, 4), box_px=params["background_box_px"])


def _finish(run: _Run) -> Reduced:
    data, uncertainty = run.data, np.sqrt(run.variance)
    broken = ~np.isfinite(data) | ~np.isfinite(uncertainty)  # through a delivered master
    run.mask[broken] |= np.uint16(MaskBit.NON_FINITE)
    data[broken] = 0
    uncertainty[broken] = 0
    ccd = CCDData(data, unit=run.unit, mask=run.mask, uncertainty=StdDevUncertainty(uncertainty))
    run.metrics["masked_fraction"] = float(np.count_nonzero(run.mask)) / run.mask.size
    return Reduced(ccd, tuple(run.steps), frozenset(run.applied), run.metrics, tuple(run.warnings), run.background)
