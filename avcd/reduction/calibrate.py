"""One science frame: bias, dark, flat, gain, cosmic rays; mask and uncertainty carried through every step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from avcd.errors import ProcessingError
from avcd.frame import MaskBit
from avcd.reduction.applying import Terms, apply_terms, hide_broken, scaled
from avcd.reduction.background import estimate_background, subtract_background
from avcd.reduction.cosmic import find_cosmic_rays
from avcd.reduction.noise import mad_sigma
from avcd.reduction.planes import MaskedImage
from avcd.reduction.prepared import prepare
from avcd.reduction.repair import repair_pixels
from avcd.reduction.residues import hot_residue_at, measure_sky_gradient

# A dark whose level is above half of the bias's holds that bias still.
_BIAS_SHARE = 0.5
_LARGEST = 1e15  # no detector counts so far; squared it would overflow
_SAY_NOTHING = np.uint16(MaskBit.SATURATED | MaskBit.NON_FINITE)
_NOISE_ROWS = 512  # of a frame, on which its own scatter is measured


@dataclass(frozen=True)
class Masters:
    """What a frame is calibrated with; None is left out.

    ``dark_has_bias`` None: not said, judged by its level. ``dark_less_bias``: ``bias`` is the very one that was taken
    from the dark, so that its noise, being in both, cancels when both are subtracted.
    """

    bias: MaskedImage | None = None
    dark: MaskedImage | None = None
    dark_exposure_s: float | None = None
    dark_has_bias: bool | None = None
    dark_less_bias: bool = False
    flat: MaskedImage | None = None
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

    def above_overscan(self, level_adu: float) -> float:
        """A level of the raw numbers, in the pixels as they come."""
        return level_adu - (self.overscan_adu or 0.0)


@dataclass(frozen=True)
class Reduced:
    """A reduced frame: pixels with mask plane and uncertainty, what was done, figures, and what a person should know.

    ``background``: the smooth sky, where the recipe asks for it; in the unit of the frame.
    """

    ccd: MaskedImage
    steps: tuple[Mapping[str, Any], ...]
    applied: frozenset[str]
    metrics: Mapping[str, float]
    warnings: tuple[str, ...]
    background: np.ndarray | None = None


@dataclass
class _Run:
    """A reduction under way: ``terms`` are gathered first, and then carried out at once."""

    raw: MaskedImage
    terms: dict[str, Any] = field(default_factory=dict)
    masks: list[np.ndarray] = field(default_factory=list)
    steps: list[Mapping[str, Any]] = field(default_factory=list)
    applied: set[str] = field(default_factory=set)
    metrics: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def take_mask(self, mask: np.ndarray | None) -> None:
        if mask is not None:
            self.masks.append(mask)

    def step(self, name: str, **details: Any) -> None:
        self.steps.append({"step": name, **details})


def reduce_frame(
    raw: MaskedImage, masters: Masters, detector: Detector, exposure_s: float | None, params: Mapping[str, Any]
) -> Reduced:
    """Calibrate one frame.

    Parameters
    ----------
    raw : MaskedImage, shape (ny, nx), unit adu or electron
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
    run = _start(raw, detector, params)
    brings_bias = _dark_brings_bias(masters)
    _plan_noise(run, detector, _zero_level(masters, detector, brings_bias=brings_bias))
    if masters.bias is not None and not brings_bias:
        _plan_bias(run, masters)
    if masters.dark is not None:
        _plan_dark(run, masters, exposure_s, brings_bias=brings_bias)
    if masters.flat is not None:
        _plan_flat(run, masters.flat)
    if masters.bad_pixels is not None:
        run.take_mask(np.asarray(masters.bad_pixels, dtype=np.uint16))
        run.step("bad pixels masked", pixels=int(np.count_nonzero(masters.bad_pixels)))
    unit = _plan_gain(run, detector)
    data, sigma, mask = apply_terms(raw.data, raw.mask, Terms(masks=tuple(run.masks), **run.terms))
    ccd = MaskedImage(data, unit=unit, mask=mask, uncertainty=sigma)
    if masters.flat is not None:
        run.metrics |= measure_sky_gradient(data, mask)
    if params["repair"] != "none":
        ccd = _repair(run, ccd, params)
    if params["cosmic_rays"] != "none":
        ccd = _clean_cosmic_rays(run, ccd, detector, params)
    background = None
    if params["background"] != "none":
        ccd, background = _measure_background(run, ccd, params)
    if ccd.data is not data:
        assert ccd.uncertainty is not None
        hide_broken(ccd.data, ccd.uncertainty, np.asarray(ccd.mask))
    run.metrics["masked_fraction"] = float(np.count_nonzero(np.asarray(ccd.mask))) / ccd.data.size
    return Reduced(ccd, tuple(run.steps), frozenset(run.applied), run.metrics, tuple(run.warnings), background)


def _start(raw: MaskedImage, detector: Detector, params: Mapping[str, Any]) -> _Run:
    run = _Run(raw, {"largest": _LARGEST})
    if raw.uncertainty is not None:
        run.terms["own_sigma"] = raw.uncertainty
    if detector.saturation_adu is not None:
        limit = float(params["full_well_fraction"]) * detector.saturation_adu
        run.terms["saturation"] = detector.above_overscan(limit)
    if detector.pedestal_adu:
        run.terms["pedestal"] = detector.pedestal_adu
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
    return prepare(masters.dark).level > _BIAS_SHARE * prepare(masters.bias).level


def _zero_level(masters: Masters, detector: Detector, *, brings_bias: bool) -> np.ndarray | float | None:
    """What the pixels read without any light: the bias, or the dark that holds it; None where nothing says."""
    if masters.bias is not None:
        return prepare(masters.bias).data
    if masters.dark is not None and brings_bias:
        return prepare(masters.dark).data
    return 0.0 if detector.bias_removed or detector.overscan_adu is not None else None


def _plan_noise(run: _Run, detector: Detector, zero_level: np.ndarray | float | None) -> None:
    """The raw frame's own noise: photons, where a gain says how many there are, and read-out."""
    unit = run.raw.unit
    gain = detector.gain_e_per_adu if unit == "adu" else 1.0
    if detector.read_noise_e is not None and gain:
        read_noise = detector.read_noise_e / gain
    elif detector.read_noise_adu is not None and unit == "adu":
        read_noise = detector.read_noise_adu
    else:
        rows = run.raw.data[:: max(1, run.raw.data.shape[0] // _NOISE_ROWS)].astype(np.float32)
        read_noise = mad_sigma(np.diff(np.where(np.abs(rows) <= _LARGEST, rows, np.nan), axis=1)) / np.sqrt(2)
        run.warnings.append("the read noise is not known: the frame's own pixel-to-pixel scatter stands for it")
        gain = None  # that scatter holds the sky's photon noise already
    if gain and zero_level is not None:
        run.terms |= {"gain_e_per_adu": float(gain), "zero": zero_level}
    elif gain:
        run.warnings.append("the bias is still in the pixels: photon noise is not in the uncertainty")
    run.terms["read_noise"] = run.metrics["read_noise"] = float(read_noise)


def _plan_bias(run: _Run, masters: Masters) -> None:
    assert masters.bias is not None
    bias = prepare(masters.bias)
    run.terms["bias"] = bias.data
    if masters.dark is None or not masters.dark_less_bias:
        run.terms["bias_sigma"] = bias.sigma  # else reckoned with the dark's
    run.take_mask(bias.mask)
    run.applied.add("bias")
    run.step("bias subtracted", level=round(bias.level, 3))


def _plan_dark(run: _Run, masters: Masters, exposure_s: float | None, *, brings_bias: bool) -> None:
    assert masters.dark is not None
    dark = prepare(masters.dark)
    if masters.dark_has_bias is None:
        holds = "holds" if brings_bias else "does not hold"
        run.warnings.append(f"the dark does not say whether its bias is in it; by its level it {holds} it")
    scale = _dark_scale(exposure_s, masters.dark_exposure_s, brings_bias)
    run.terms |= {"dark": dark.data, "dark_sigma": dark.sigma, "scale": scale}
    if masters.dark_less_bias and masters.bias is not None and not brings_bias:
        run.terms["shared_sigma"] = prepare(masters.bias).sigma
    _measure_hot(run, masters, scale)
    run.take_mask(dark.mask)
    run.applied |= {"dark", "bias"} if brings_bias else {"dark"}
    run.step(
        "dark subtracted", exposure_s=masters.dark_exposure_s, scale=round(scale, 6), with_bias=brings_bias or None
    )


def _measure_hot(run: _Run, masters: Masters, scale: float) -> None:
    """What the dark leaves of its hot pixels; reckoned there alone, before a search for cosmic rays takes some of it."""
    assert masters.dark is not None
    dark, raw = prepare(masters.dark), run.raw
    planes = [run.terms["bias"]] if "bias" in run.terms else []
    limit = run.terms.get("saturation", np.inf)

    def taken(places: np.ndarray) -> np.ndarray:
        return scaled(dark.data.ravel()[places], scale)

    def left(places: np.ndarray) -> np.ndarray:
        values = raw.data.ravel()[places].astype(np.float32) + np.float32(run.terms.get("pedestal", 0.0))
        for plane in planes:
            values -= plane.ravel()[places]
        return np.asarray(values - taken(places))

    def unusable(places: np.ndarray) -> np.ndarray:
        values = raw.data.ravel()[places]
        broken = ~(np.abs(values) <= _LARGEST) | (values >= limit)
        return broken if raw.mask is None else broken | ((raw.mask.ravel()[places] & _SAY_NOTHING) != 0)

    run.metrics |= hot_residue_at(dark.hot, raw.data.shape[1], left, taken, unusable)


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


def _plan_flat(run: _Run, flat: MaskedImage) -> None:
    master = prepare(flat)
    found = master.response
    run.terms |= {"response": master.data, "response_sigma": master.sigma, "norm": found.norm}
    run.take_mask(found.mask)
    run.applied.add("flat")
    run.step("flat divided", norm=round(found.norm, 6))


def _plan_gain(run: _Run, detector: Detector) -> str:
    """The unit of the result: electrons, where a gain is known."""
    if run.raw.unit != "adu":
        return run.raw.unit
    if not detector.gain_e_per_adu:
        run.warnings.append("the gain is not known: pixels stay in adu, and photon noise is not in the uncertainty")
        return "adu"
    run.terms["factor"] = detector.gain_e_per_adu
    run.step("gain", e_per_adu=detector.gain_e_per_adu)
    return "electron"


def _repair(run: _Run, ccd: MaskedImage, params: Mapping[str, Any]) -> MaskedImage:
    found, counts = repair_pixels(ccd, params)
    run.metrics |= counts
    run.step("bad pixels replaced", method=params["repair"], **{name: int(count) for name, count in counts.items()})
    return found


def _clean_cosmic_rays(run: _Run, ccd: MaskedImage, detector: Detector, params: Mapping[str, Any]) -> MaskedImage:
    """Cosmic rays masked and replaced."""
    mask = np.array(ccd.mask)
    if params["cosmic_rays"] == "median":
        # What it is made of takes longer to load than a frame in reducing.
        from avcd.reduction.cosmic_median import find_by_median, median_parameters

        assert ccd.uncertainty is not None
        error = np.maximum(ccd.uncertainty, np.finfo(np.float32).tiny)
        struck, data = find_by_median(ccd.data, error, mask != 0, **median_parameters(params))
    else:
        struck, data = find_cosmic_rays(ccd.data, mask != 0, *_noise_and_saturation(run, ccd, detector), params)
    mask[struck] |= np.uint16(MaskBit.COSMIC_RAY)
    run.metrics["cosmic_ray_px"] = float(np.count_nonzero(struck))
    run.step("cosmic rays replaced", pixels=int(np.count_nonzero(struck)))
    return MaskedImage(data, unit=ccd.unit, mask=mask, uncertainty=ccd.uncertainty)


def _noise_and_saturation(run: _Run, ccd: MaskedImage, detector: Detector) -> tuple[float, float]:
    """What the search for cosmic rays wants to know, in the unit of the pixels."""
    electrons = ccd.unit == "electron"
    gain = detector.gain_e_per_adu or 1.0
    # What the noise model sqrt(signal + readnoise^2) wants: with a gain the read noise in electrons; without one the
    # sky's whole scatter, since adu do not follow Poisson statistics. That finds fewer cosmic rays, not false ones.
    if electrons:
        noise = detector.read_noise_e or (detector.read_noise_adu or run.metrics["read_noise"]) * gain
    else:
        noise = max(mad_sigma(ccd.data), run.metrics["read_noise"])
    if detector.saturation_adu is None:
        return float(noise), np.inf
    return float(noise), detector.above_overscan(detector.saturation_adu) * (gain if electrons else 1.0)


def _measure_background(run: _Run, ccd: MaskedImage, params: Mapping[str, Any]) -> tuple[MaskedImage, np.ndarray]:
    """The smooth sky kept, and taken off where the recipe says so."""
    found = estimate_background(
        ccd, box_px=int(params["background_box_px"]), filter_boxes=int(params["background_filter_boxes"])
    )
    subtracted = params["background"] == "subtract"
    if subtracted:
        ccd = subtract_background(ccd, found)
        run.metrics["background_subtracted"] = found.median
    name = "background subtracted" if subtracted else "background measured"
    run.step(name, median=round(found.median, 4), scatter=round(found.sigma, 4), box_px=params["background_box_px"])
    return ccd, found.level
