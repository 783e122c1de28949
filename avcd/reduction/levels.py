"""The levels of frames that are to be combined: what brings them to one, what weight each has, and what a recipe names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from avcd.errors import ProcessingError
from avcd.reduction.noise import exact_median, mad_sigma
from avcd.reduction.sources import CorrectedSource, FrameSource


def combination_of(params: Mapping[str, Any]) -> dict[str, Any]:
    """The method and the rejection of `combine_frames` that a recipe's parameters name."""
    return {
        "method": str(params["method"]),
        "rejection": str(params["rejection"]),
        "low_sigma": float(params["low_sigma"]),
        "high_sigma": float(params["high_sigma"]),
        "lowest": int(params["lowest"]),
        "highest": int(params["highest"]),
        "low_level": float(params["low_level"]),
        "high_level": float(params["high_level"]),
    }


def weights_by_noise(sources: Sequence[FrameSource]) -> list[float]:
    """The weight of each frame in a weighted mean: one over the square of its scatter from pixel to pixel.

    Raises
    ------
    ProcessingError
        A frame does not scatter at all, or has no usable pixel.
    """
    found = []
    for number, source in enumerate(sources, 1):
        values, mask = source.rows(0, source.shape[0])
        values = values if mask is None else np.where(mask != 0, np.nan, values)
        steps = np.diff(values, axis=1)
        steps = steps[np.isfinite(steps)]
        noise = mad_sigma(steps) / float(np.sqrt(2)) if steps.size else 0.0
        if not noise > 0:
            raise ProcessingError(f"frame {number} has no noise that could give it a weight: take another method")
        found.append(1 / noise**2)
    return found


def to_one_level(sources: Sequence[FrameSource], params: Mapping[str, Any]) -> list[FrameSource]:
    """Frames multiplied to the median of their levels, as the recipe's ``scale`` says: "none", "median" or "mean".

    Raises
    ------
    ProcessingError
        A frame's level is not above zero.
    """
    if params["scale"] == "none":
        return list(sources)
    levels = [level_of(*one.rows(0, one.shape[0]), str(params["scale"])) for one in sources]
    wrong = next((number for number, one in enumerate(levels, 1) if not one > 0), None)
    if wrong is not None:
        raise ProcessingError(f"frame {wrong} has a level of {levels[wrong - 1]:.4g}: it cannot be scaled by it")
    common = float(np.median(levels))
    return [CorrectedSource(one, factor=common / level) for one, level in zip(sources, levels, strict=True)]


def level_of(values: np.ndarray, mask: np.ndarray | None, by: str) -> float:
    """The median or mean of the usable pixels; NaN where there is none."""
    usable = np.isfinite(values) if mask is None else np.isfinite(values) & (mask == 0)
    if not usable.any():
        return float("nan")
    kept = values if usable.all() else values[usable]
    return exact_median(kept) if by == "median" else float(np.mean(kept, dtype=np.float64))
