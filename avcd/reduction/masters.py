"""Masters: the frames of one calibration session made into one, with mask, uncertainty and figures about itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from avcd.compiling import threads
from avcd.errors import ProcessingError
from avcd.frame import MaskBit
from avcd.reduction.combine import Combined, FrameSource, combine_frames
from avcd.reduction.defects import find_bad_response
from avcd.reduction.figures import (
    count_spots,
    measure_drift,
    measure_noise,
    measure_outliers,
    measure_structure,
    take_sample,
)
from avcd.reduction.levels import combination_of, level_of, to_one_level, weights_by_noise
from avcd.reduction.noise import exact_median, mad_sigma, read_noise_from_biases
from avcd.reduction.overscan import TrimmedSource
from avcd.reduction.planes import MaskedImage
from avcd.reduction.sources import CorrectedSource
from avcd.reduction.transfer import gain_of_frames

_MEMORY = 512 * 2**20
_STEP_ROWS = 16  # of the first frame, on which the step of its numbers is measured
_CELL_COLUMNS = 256  # beside the rows of a strip: what the gain is measured on
_NOISE_PX = 2_000_000  # of a bias, on which read noise is measured, in so many bands of rows:
_NOISE_BANDS = 32
_PAIRS = 3  # of bias frames; each gives the read noise to a part in a thousand


@dataclass(frozen=True)
class Master:
    """A master: pixels (float32) with mask plane and uncertainty, figures, and what a person should know.

    ``left_out``: the frames that took no part, by their number in the order given, with the reason; ``counts``: how
    many frames each pixel kept, where the recipe asks for it.
    """

    ccd: MaskedImage
    metrics: Mapping[str, float]
    warnings: tuple[str, ...] = ()
    left_out: Mapping[int, str] = field(default_factory=dict)
    counts: np.ndarray | None = None


def build_master_bias(
    sources: Sequence[FrameSource],
    params: Mapping[str, Any],
    *,
    full_well_adu: float | None = None,
    figures: bool = True,
    memory_bytes: int = _MEMORY,
) -> Master:
    """The clipped mean of bias frames.

    Parameters
    ----------
    sources : frames of one shape, adu
    params
        Of the recipe: how is combined (`combination_of`), ``scale``, ``counts``.
    full_well_adu
        The level at which the detector saturates; None: not known.
    figures
        Whether the master is measured, beyond its read noise.

    Returns
    -------
    Master
        Unit adu; metrics carry ``read_noise_adu`` measured on pairs of the frames, and what `avcd.reduction.figures`
        measures.
    """
    noises = _read_noises(sources)  # first, while compiled loops may still be being loaded
    scaled = to_one_level(sources, params)
    combined = _combine(scaled, params, memory_bytes, step_of(sources[0]), _weights(scaled, params))
    metrics = _figures(combined, scaled, params) | _fill(combined, full_well_adu) if figures else {}
    if noises:
        metrics["read_noise_adu"] = float(np.mean(noises))
    return Master(_ccd(combined, "adu"), metrics, _few(len(sources)), counts=_counts(combined, params))


def _read_noises(sources: Sequence[FrameSource]) -> list[float]:
    """What pairs of the first frames tell of the read noise."""
    with ThreadPoolExecutor(threads()) as pool:
        parts = list(pool.map(_noise_part, sources[: _PAIRS + 1]))
        return list(pool.map(read_noise_from_biases, parts, parts[1:]))


def _noise_part(source: FrameSource) -> np.ndarray:
    """Rows spread over a frame, enough of them to tell its noise to a part in two thousand; all of a small frame's."""
    ny, nx = source.shape
    height = min(ny, -(-_NOISE_PX // (nx * _NOISE_BANDS)))
    if height * _NOISE_BANDS >= ny:
        return source.rows(0, ny)[0]
    starts = np.linspace(0, ny - height, _NOISE_BANDS).astype(int)
    return np.concatenate([source.rows(start, start + height)[0] for start in starts.tolist()])


def build_master_dark(
    sources: Sequence[FrameSource],
    bias: MaskedImage | None,
    params: Mapping[str, Any],
    *,
    exposure_s: float | None = None,
    full_well_adu: float | None = None,
    figures: bool = True,
    memory_bytes: int = _MEMORY,
) -> Master:
    """The clipped mean of darks of one exposure, each less the master bias where one is given.

    Parameters
    ----------
    sources : frames of one shape, adu
    bias : MaskedImage or None
        None: the bias stays in the dark.
    params
        Of the recipe: how is combined (`combination_of`), ``scale``, ``counts``.
    exposure_s : float or None [s]
    full_well_adu
        The level at which the detector saturates; None: not known.

    Returns
    -------
    Master
        Unit adu; metrics as `build_master_bias`, and ``bias_included`` (0 or 1), ``exposure_s``, ``rate_adu_s``.
    """
    corrected = to_one_level([_corrected(one, bias) for one in sources], params)
    combined = _combine(corrected, params, memory_bytes, step_of(sources[0]), _weights(corrected, params))
    ccd = _ccd(combined, "adu")
    counts = _counts(combined, params)
    if not figures:
        return Master(_with_uncertainty_of(ccd, bias), {}, _few(len(sources)), counts=counts)
    metrics = _figures(combined, corrected, params) | _fill(combined, full_well_adu, bias)
    metrics |= {"bias_included": float(bias is None)} | count_spots(ccd.data, combined.mask)
    if exposure_s:
        metrics["exposure_s"] = exposure_s
        if bias is not None:
            metrics["rate_adu_s"] = metrics["level"] / exposure_s
    return Master(_with_uncertainty_of(ccd, bias), metrics, _few(len(sources)), counts=counts)


def build_master_flat(
    sources: Sequence[FrameSource],
    bias: MaskedImage | None,
    dark: MaskedImage | None,
    params: Mapping[str, Any],
    *,
    full_well_adu: Sequence[float | None] | None = None,
    read_noise_adu: float | None = None,
    figures: bool = True,
    memory_bytes: int = _MEMORY,
) -> Master:
    """Flats less bias and dark, each scaled to its level, combined, and normalised to a median of one.

    Parameters
    ----------
    bias, dark : MaskedImage or None
        What is subtracted: both where the dark's bias was removed; a dark that keeps its bias comes alone.
    params
        Also ``lowest_response``: pixels below it are DEAD, and are set to one so that nothing is divided by them;
        ``response_sigma``, ``response_box_px``, ``least_response``: as of `avcd.reduction.defects.find_bad_response`,
        whose pixels are masked and keep their values;
        ``lowest_level``, ``highest_level``: a frame whose median lies outside of these parts of the full well (both
        above the bias) is left out, unless fewer than ``minimum_frames`` would remain: then all that hold light are
        used.
    full_well_adu
        The level at which the detector saturates, of every frame; None: not known, and the levels are not judged.
    read_noise_adu
        Of one frame, as measured on the biases: with it the gain is measured on pairs of the flats.

    Returns
    -------
    Master
        Without unit. Metrics, beside those of the other masters: ``level``, ``level_lowest``, ``level_highest``: the
        light of the frames that were used, adu; ``response_px``: pixels of odd response; ``frames_left_out``; ``frames_outside``: used although their level is
        not right; ``frames_missing``: how many ``minimum_frames`` is short of; ``gain_e_per_adu``, ``gain_error``,
        ``read_noise_e``: measured, where there are two frames and a read noise.

    Raises
    ------
    ProcessingError
        No flat has light above its bias.
    """
    offset, offset_mask = _sum(bias, dark, sources[0].shape)
    found = [_level_above(one, offset, offset_mask) for one in sources]
    wells = full_well_adu or [None] * len(sources)
    unlit = {
        index: f"a median of {level:.4g} adu above its bias: it holds no light"
        for index, level in enumerate(found)
        if not level > 0
    }
    if len(unlit) == len(sources):
        raise ProcessingError(f"a flat has {unlit[0]}")
    outside = _outside(found, wells, 0.0 if offset is None else float(np.nanmedian(offset)), params)
    minimum = max(1, int(params["minimum_frames"]))
    left_out = unlit | outside if len(sources) - len(unlit) - len(outside) >= minimum else unlit
    chosen = [index for index in range(len(sources)) if index not in left_out]
    used_outside = {} if outside.keys() <= left_out.keys() else outside
    levels = [found[index] for index in chosen]
    dividers = _dividers([sources[index] for index in chosen], offset, offset_mask, levels, str(params["scale"]))
    corrected = [
        CorrectedSource(sources[index], offset, offset_mask, 1.0 / divider)
        for index, divider in zip(chosen, dividers, strict=True)
    ]
    step = step_of(sources[0]) / float(np.median(levels))
    combined = _combine(corrected, params, memory_bytes, step, levels if params["method"] == "weighted" else None)
    ccd, dead = _normalised(combined, float(params["lowest_response"]))
    metrics: dict[str, float] = {}
    if figures:
        metrics = _figures(combined, corrected, params, levels) | {
            "level": float(np.median(levels)),
            "level_lowest": min(levels),
            "level_highest": max(levels),
            "frames_left_out": float(len(left_out)),
            "frames_outside": float(len(used_outside)),
            "frames_missing": float(max(0, minimum - len(chosen))),
            "dead_px": int(np.count_nonzero(dead)),
            "vignetting": float(np.percentile(ccd.data[~dead], 1)) if not dead.all() else float("nan"),
        }
        # Before pixels of odd response are masked: a star that was left in the flat is one of them.
        metrics |= count_spots(ccd.data, np.asarray(ccd.mask))
    metrics |= _mask_odd_response(ccd, params)
    if figures:
        metrics |= _gain(corrected, dividers, combined, read_noise_adu)
    notes = [*_few(len(chosen))]
    if None in wells:
        notes.append("the full well is not known: the level of the flats was not judged")
    if used_outside:
        notes.append(
            f"{len(outside)} of {len(sources)} flats are too dark or too bright, and are used all the same: fewer than "
            f"the recipe's minimum_frames ({minimum}) would be left ({'; '.join(outside.values())})"
        )
    return Master(ccd, metrics, tuple(notes), left_out, _counts(combined, params))


def _mask_odd_response(flat: MaskedImage, params: Mapping[str, Any]) -> dict[str, float]:
    """Mask what responds unlike its surroundings, in place; how many pixels these are."""
    assert flat.mask is not None
    known = flat.mask != 0
    if not float(params["response_sigma"]) or known.all():
        return {}
    found = find_bad_response(flat, None, params).ccd.mask
    np.bitwise_or(flat.mask, np.where(known, np.uint16(0), np.asarray(found)), out=flat.mask)
    return {"response_px": float(np.count_nonzero(flat.mask & np.uint16(MaskBit.RESPONSE)))}


def _gain(
    corrected: Sequence[FrameSource], levels: Sequence[float], combined: Combined, read_noise_adu: float | None
) -> dict[str, float]:
    """The detector's gain by the pairs of its flats; empty where their noise does not tell."""
    if read_noise_adu is None or len(corrected) < 2:
        return {}
    sample = take_sample(corrected, combined.data, combined.mask)
    height = sample.strips[0].stop - sample.strips[0].start
    by_light = sorted(range(len(levels)), key=lambda nth: levels[nth])  # the most alike are pairs
    frames = [sample.frames[nth] * np.float32(levels[nth]) for nth in by_light]
    try:
        found = gain_of_frames(frames, read_noise_adu, (height, _CELL_COLUMNS))
    except ProcessingError:  # flats too dim, too unlike one another or too small: no figure, and no worse a master
        return {}
    return {
        "gain_e_per_adu": found.gain_e_per_adu,
        "gain_error": found.gain_error,
        "read_noise_e": found.read_noise_e,
    }


def _level_above(source: FrameSource, offset: np.ndarray | None, offset_mask: np.ndarray | None) -> float:
    """The median of a flat above its offset frame, adu; NaN where no pixel is usable."""
    return level_of(*CorrectedSource(source, offset, offset_mask).rows(0, source.shape[0]), "median")


def _outside(
    levels: Sequence[float], wells: Sequence[float | None], offset_adu: float, params: Mapping[str, Any]
) -> dict[int, str]:
    """The flats whose level is not right, with the reason."""
    lowest, highest = float(params["lowest_level"]), float(params["highest_level"])
    found = {}
    for index, (level, well) in enumerate(zip(levels, wells, strict=True)):
        if well is None or not well > offset_adu or not level > 0:
            continue
        part = level / (well - offset_adu)
        if not lowest <= part <= highest:
            found[index] = f"{part:.0%} of the full well, not {lowest:.0%} to {highest:.0%}"
    return found


def _normalised(combined: Combined, lowest_response: float) -> tuple[MaskedImage, np.ndarray]:
    """A flat of median one, with the pixels that do not respond set to one; and which those are."""
    good = combined.mask == 0
    norm = exact_median(combined.data[good]) if good.any() else float("nan")
    data = combined.data / np.float32(norm)
    dead = ~np.isfinite(data) | (data < lowest_response) | ~good
    mask = combined.mask | np.where(dead, np.uint16(MaskBit.DEAD), np.uint16(0))
    uncertainty = None if combined.uncertainty is None else np.where(dead, 0, combined.uncertainty / norm)
    return MaskedImage(np.where(dead, np.float32(1), data), unit="", mask=mask, uncertainty=uncertainty), dead


def _combine(
    sources: Sequence[FrameSource],
    params: Mapping[str, Any],
    memory_bytes: int,
    step: float,
    weights: Sequence[float] | None = None,
) -> Combined:
    return combine_frames(sources, **combination_of(params), floor=step / 2, weights=weights, memory_bytes=memory_bytes)


def _weights(sources: Sequence[FrameSource], params: Mapping[str, Any]) -> list[float] | None:
    return weights_by_noise(sources) if params["method"] == "weighted" else None


def _counts(combined: Combined, params: Mapping[str, Any]) -> np.ndarray | None:
    return combined.count if params["counts"] else None


def _dividers(
    sources: Sequence[FrameSource],
    offset: np.ndarray | None,
    offset_mask: np.ndarray | None,
    medians: Sequence[float],
    scale: str,
) -> list[float]:
    """What each flat is divided by before flats are compared."""
    if scale == "none":
        return [float(np.median(medians))] * len(medians)
    if scale == "median":
        return list(medians)
    light = [CorrectedSource(one, offset, offset_mask) for one in sources]
    return [level_of(*one.rows(0, one.shape[0]), scale) for one in light]


def step_of(source: FrameSource) -> float:
    """The step of a raw frame's numbers, adu: 1 as a rule, 16 for twelve bits written as sixteen; 0 for fractions."""
    if isinstance(source, TrimmedSource):  # less its overscan it is of fractions
        source = source.source
    middle = source.shape[0] // 2
    values, _ = source.rows(max(0, middle - _STEP_ROWS // 2), min(source.shape[0], middle + _STEP_ROWS // 2))
    values = values[np.isfinite(values)].astype(np.float64)
    if not values.size or np.any(values != np.rint(values)):
        return 0.0
    return float(np.gcd.reduce((values - values[0]).astype(np.int64)))


def _corrected(source: FrameSource, bias: MaskedImage | None) -> FrameSource:
    if bias is None:
        return source
    if bias.data.shape != source.shape:
        raise ProcessingError(f"a frame of {source.shape} and a bias of {bias.data.shape} do not fit")
    return CorrectedSource(source, bias.data, bias.mask)


def _sum(
    bias: MaskedImage | None, dark: MaskedImage | None, shape: tuple[int, int]
) -> tuple[np.ndarray | None, np.ndarray | None]:
    parts = [one for one in (bias, dark) if one is not None]
    for one in parts:
        if one.data.shape != shape:
            raise ProcessingError(f"a flat of {shape} and a calibration of {one.data.shape} do not fit")
    if not parts:
        return None, None
    masks = [one.mask for one in parts if one.mask is not None]
    mask = np.bitwise_or.reduce(masks) if masks else None
    return np.asarray(np.sum([one.data for one in parts], axis=0, dtype=np.float32)), mask


def _ccd(combined: Combined, unit: str) -> MaskedImage:
    return MaskedImage(combined.data, unit, combined.mask, combined.uncertainty)


def _with_uncertainty_of(ccd: MaskedImage, bias: MaskedImage | None) -> MaskedImage:
    """The bias's own uncertainty is common to all frames: averaging does not lower it."""
    if bias is None or bias.uncertainty is None or ccd.uncertainty is None:
        return ccd
    total = np.hypot(ccd.uncertainty, bias.uncertainty).astype(np.float32)
    return replace(ccd, uncertainty=total)


def _figures(
    combined: Combined,
    sources: Sequence[FrameSource],
    params: Mapping[str, Any],
    levels: Sequence[float] | None = None,
) -> dict[str, float]:
    """What is measured on every master; ``levels`` of flats, which were scaled by them."""
    good = combined.data[combined.mask == 0]
    level = float(np.median(good)) if good.size else float("nan")
    scale = level if levels else 1.0  # a flat is normalised; its figures are relative
    sample = take_sample(sources, combined.data, combined.mask)
    weights = None if levels is None else [float(np.median(levels)) / one for one in levels]
    noise = {name: value / scale for name, value in measure_noise(sample, str(params["method"]), weights).items()}
    found = {
        "frames": float(len(sources)),
        "level": level,
        "scatter": mad_sigma(good) / scale,
        "rejected_fraction": 1.0 - float(combined.count.mean()) / len(sources),
        "megapixels": combined.data.size / 1e6,
        **noise,
        **measure_drift(sample, levels, noise.get("frame_noise") if levels is None else scale),
        **measure_outliers(sample),
    }
    return found if levels is None else found | measure_structure(sample, scale)


def _fill(combined: Combined, full_well_adu: float | None, bias: MaskedImage | None = None) -> dict[str, float]:
    """``full_well_part``: how full the pixels are, bias and all; empty where the full well is not known."""
    good = combined.mask == 0
    if not full_well_adu or not good.any():
        return {}
    zero = 0.0 if bias is None else float(np.nanmedian(bias.data))
    return {"full_well_part": (float(np.median(combined.data[good])) + zero) / full_well_adu}


def _few(frames: int) -> tuple[str, ...]:
    if frames >= 3:
        return ()
    return (f"made of {frames} frame{'s' if frames > 1 else ''}: outliers could not be rejected",)
