"""Masters: the frames of one calibration session made into one, with mask, uncertainty and figures about itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from astropy.nddata import StdDevUncertainty

from avcd.errors import ProcessingError
from avcd.frame import MaskBit
from avcd.reduction.combine import Combined, FrameSource, combine_frames
from avcd.reduction.noise import mad_sigma, read_noise_from_biases
from avcd.reduction.planes import CCDData

_MEMORY = 512 * 2**20
_STEP_ROWS = 16  # of the first frame, on which the step of its numbers is measured
_PAIRS = 3  # of bias frames; each gives the read noise to a part in a thousand


@dataclass(frozen=True)
class Master:
    """A master: pixels (float32) with mask plane and uncertainty, figures, and what a person should know."""

    ccd: CCDData
    metrics: Mapping[str, float]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class CorrectedSource:
    """A frame less an offset frame, times a factor, row by row."""

    source: FrameSource
    offset: np.ndarray | None = None
    offset_mask: np.ndarray | None = None
    factor: float = 1.0

    @property
    def shape(self) -> tuple[int, int]:
        """(ny, nx)."""
        return self.source.shape

    def rows(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Corrected rows."""
        values, mask = self.source.rows(start, stop)
        if self.offset is not None:
            values = values - self.offset[start:stop]
        if self.offset_mask is not None:
            own = self.offset_mask[start:stop]
            mask = own if mask is None else mask | own
        return values * np.float32(self.factor), mask


def build_master_bias(
    sources: Sequence[FrameSource], params: Mapping[str, Any], *, memory_bytes: int = _MEMORY
) -> Master:
    """The clipped mean of bias frames.

    Parameters
    ----------
    sources : frames of one shape, adu
    params
        Of the recipe: method, low_sigma, high_sigma.

    Returns
    -------
    Master
        Unit adu; metrics carry ``read_noise_adu`` measured on pairs of the frames.
    """
    combined = _combine(sources, params, memory_bytes, step_of(sources[0]))
    metrics = _figures(combined, len(sources))
    full = [one.rows(0, one.shape[0])[0] for one in sources[: _PAIRS + 1]]
    noises = [read_noise_from_biases(first, second) for first, second in pairwise(full)]
    if noises:
        metrics["read_noise_adu"] = float(np.mean(noises))
    return Master(_ccd(combined, "adu"), metrics, _few(len(sources)))


def build_master_dark(
    sources: Sequence[FrameSource], bias: CCDData | None, params: Mapping[str, Any], *, memory_bytes: int = _MEMORY
) -> Master:
    """The clipped mean of darks of one exposure, each less the master bias where one is given."""
    corrected = [_corrected(one, bias) for one in sources]
    combined = _combine(corrected, params, memory_bytes, step_of(sources[0]))
    return Master(
        _with_uncertainty_of(_ccd(combined, "adu"), bias), _figures(combined, len(sources)), _few(len(sources))
    )


def build_master_flat(
    sources: Sequence[FrameSource],
    bias: CCDData | None,
    dark: CCDData | None,
    params: Mapping[str, Any],
    *,
    memory_bytes: int = _MEMORY,
) -> Master:
    """Flats less bias and dark, each scaled to its median, combined, and normalised to a median of one.

    Parameters
    ----------
    bias, dark : CCDData or None
        What is subtracted: both where the dark's bias was removed; a dark that keeps its bias comes alone.
    params
        Also ``lowest_response``: pixels below it are DEAD, and are set to one so that nothing is divided by them.

    Raises
    ------
    ProcessingError
        A flat has no light above its bias.
    """
    offset, offset_mask = _sum(bias, dark, sources[0].shape)
    corrected, levels = [], []
    for one in sources:
        values, mask = CorrectedSource(one, offset, offset_mask).rows(0, one.shape[0])
        usable = np.isfinite(values) if mask is None else np.isfinite(values) & (mask == 0)
        level = float(np.median(values[usable])) if usable.any() else float("nan")
        if not level > 0:
            raise ProcessingError(f"a flat has a median of {level:.4g} adu above its bias: it holds no light")
        levels.append(level)
        corrected.append(CorrectedSource(one, offset, offset_mask, 1.0 / level))
    combined = _combine(corrected, params, memory_bytes, step_of(sources[0]) / float(np.median(levels)))
    norm = float(np.median(combined.data[combined.mask == 0]))
    data = combined.data / np.float32(norm)
    dead = ~np.isfinite(data) | (data < float(params["lowest_response"])) | (combined.mask != 0)
    mask = combined.mask | np.where(dead, np.uint16(MaskBit.DEAD), np.uint16(0))
    uncertainty = (
        None if combined.uncertainty is None else StdDevUncertainty(np.where(dead, 0, combined.uncertainty / norm))
    )
    ccd = CCDData(np.where(dead, np.float32(1), data), unit="", mask=mask, uncertainty=uncertainty)
    metrics = _figures(combined, len(sources)) | {
        "level": float(np.median(levels)),
        "level_lowest": min(levels),
        "level_highest": max(levels),
        "dead_px": int(np.count_nonzero(dead)),
        "vignetting": float(np.percentile(data[~dead], 1)),
    }
    return Master(ccd, metrics, _few(len(sources)))


def _combine(sources: Sequence[FrameSource], params: Mapping[str, Any], memory_bytes: int, step: float) -> Combined:
    return combine_frames(
        sources,
        method=str(params["method"]),
        low_sigma=float(params["low_sigma"]),
        high_sigma=float(params["high_sigma"]),
        floor=step / 2,
        memory_bytes=memory_bytes,
    )


def step_of(source: FrameSource) -> float:
    """The step of a raw frame's numbers, adu: 1 as a rule, 16 for twelve bits written as sixteen; 0 for fractions."""
    middle = source.shape[0] // 2
    values, _ = source.rows(max(0, middle - _STEP_ROWS // 2), min(source.shape[0], middle + _STEP_ROWS // 2))
    values = values[np.isfinite(values)].astype(np.float64)
    if not values.size or np.any(values != np.rint(values)):
        return 0.0
    return float(np.gcd.reduce((values - values[0]).astype(np.int64)))


def _corrected(source: FrameSource, bias: CCDData | None) -> FrameSource:
    if bias is None:
        return source
    if bias.data.shape != source.shape:
        raise ProcessingError(f"a frame of {source.shape} and a bias of {bias.data.shape} do not fit")
    return CorrectedSource(source, bias.data, bias.mask)


def _sum(
    bias: CCDData | None, dark: CCDData | None, shape: tuple[int, int]
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


def _ccd(combined: Combined, unit: str) -> CCDData:
    uncertainty = None if combined.uncertainty is None else StdDevUncertainty(combined.uncertainty)
    return CCDData(combined.data, unit=unit, mask=combined.mask, uncertainty=uncertainty)


def _with_uncertainty_of(ccd: CCDData, bias: CCDData | None) -> CCDData:
    """The bias's own uncertainty is common to all frames: averaging does not lower it."""
    if bias is None or bias.uncertainty is None or ccd.uncertainty is None:
        return ccd
    total = np.hypot(ccd.uncertainty.array, bias.uncertainty.array).astype(np.float32)
    return CCDData(ccd.data, unit=ccd.unit, mask=ccd.mask, uncertainty=StdDevUncertainty(total))


def _figures(combined: Combined, frames: int) -> dict[str, float]:
    good = combined.data[combined.mask == 0]
    return {
        "frames": frames,
        "level": float(np.median(good)) if good.size else float("nan"),
        "noise": mad_sigma(good),
        "rejected_fraction": 1.0 - float(combined.count.mean()) / frames,
    }


def _few(frames: int) -> tuple[str, ...]:
    if frames >= 3:
        return ()
    return (f"made of {frames} frame{'s' if frames > 1 else ''}: outliers could not be rejected",)
