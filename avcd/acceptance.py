"""Which masters may serve unasked: what was measured on one, against limits and against the master before it.

A master that is not acceptable is held for an observer's word, and the one before keeps serving. Only what was measured
is judged: a delivered master, or one of an older avcd, has no figures and passes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

Metrics = Mapping[str, Any]

# What every master of more than one frame has; a figure that could not be measured stands there without a value.
_JUDGED = ("level", "noise", "expected_noise", "outliers", "drift", "shape_drift", "structure", "spots")
_SAME_EXPOSURE = 0.01


class Limits(BaseModel):
    """How far the figures of a master may go before it is held."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    noise_factor: float = Field(1.5, gt=1, description="random noise of a master over what its frames lead to expect")
    frame_noise_factor: float = Field(
        2.0, gt=1, description="noise of one bias or dark over that of the previous master's frames"
    )
    bias_outliers: float = Field(0.01, ge=0, description="part of a bias's pixels 8 sigma off their surroundings")
    dark_outliers: float = Field(0.1, ge=0, description="the same of a dark; hot pixels are among them")
    flat_outliers: float = Field(0.02, ge=0, description="the same of a flat; dust and dead pixels are among them")
    spots: float = Field(10, ge=0, description="star-like spots a megapixel in a dark or flat")
    full_well_part: float = Field(0.5, gt=0, description="level of a bias or dark over the saturation level")
    drift_sigma: float = Field(
        1.0, gt=0, description="departure of one bias or dark, or a part of it, from the others, in its noise"
    )
    drift_adu: float = Field(2.0, ge=0, description="such a departure that is always borne [adu]")
    flat_shape_drift: float = Field(
        0.02, gt=0, description="departure of a part of one flat from the same part of the others, relative"
    )
    flat_structure: float = Field(1.0, gt=0, description="large-scale peak to valley of a flat, relative to its median")
    flat_gradient: float = Field(0.25, gt=0, description="rise of a flat from edge to edge, relative to its median")
    bias_level_sigma: float = Field(
        3.0, gt=0, description="change of a bias's level since the previous master, in the noise of one frame"
    )
    bias_level_adu: float = Field(5.0, ge=0, description="a change of a bias's level that is always borne [adu]")
    dark_level_relative: float = Field(
        0.3, gt=0, description="change of a dark's rate since the previous master, relative"
    )
    dark_level_sigma: float = Field(
        1.0, gt=0, description="a change of a dark's level that is always borne, in the noise of one frame"
    )
    flat_structure_change: float = Field(
        0.05, gt=0, description="change of a flat's peak to valley since the previous master"
    )
    flat_gradient_change: float = Field(
        0.03, gt=0, description="change of a flat's rise from edge to edge since the previous master"
    )


def unacceptable(kind: str, metrics: Metrics, previous: Metrics | None, limits: Limits) -> tuple[str, ...]:
    """Why a master should be held.

    Parameters
    ----------
    kind
        "bias", "dark" or "flat", or the `ProductKind` of the master.
    metrics
        What was measured on it when it was built.
    previous
        What was measured on the master before it of the same camera and settings (of a flat, of the same filter too)
        that was accepted; None: there is none, and only what can be judged alone is.
    limits
        Of the home.

    Returns
    -------
    tuple of str
        The reasons, each with figure and limit; empty for a master that may serve.

    Raises
    ------
    ValueError
        The kind has no figures that could be judged.
    """
    name = str(kind).removeprefix("master_")
    if name not in ("bias", "dark", "flat"):
        raise ValueError(f"{kind!r} is none of bias, dark, flat")
    reasons = [*_unmeasured(metrics), *_noise(metrics, limits), *_outliers(name, metrics, limits)]
    if name == "flat":
        reasons += [*_flat(metrics, limits), *_flat_change(metrics, previous or {}, limits)]
    else:
        reasons += [*_steadiness(name, metrics, limits), *_noise_change(metrics, previous or {}, limits)]
        reasons += _level_change(name, metrics, previous or {}, limits)
    return tuple(reasons)


def _value(metrics: Metrics, name: str) -> float | None:
    """A figure; None where it was not measured."""
    found = metrics.get(name)
    if isinstance(found, bool) or not isinstance(found, (int, float)):
        return None
    return float(found) if math.isfinite(found) else None


def _values(metrics: Metrics, *names: str) -> tuple[float, ...] | None:
    """Several figures; None where one of them was not measured."""
    found = [_value(metrics, name) for name in names]
    return None if None in found else tuple(one for one in found if one is not None)


def _unmeasured(metrics: Metrics) -> Iterator[str]:
    for name in _JUDGED:
        if name in metrics and _value(metrics, name) is None:
            yield f"{name.replace('_', ' ')} could not be measured: the master has no usable pixels, or its frames have none"


def _noise(metrics: Metrics, limits: Limits) -> Iterator[str]:
    found = _values(metrics, "noise", "expected_noise")
    if found is not None and found[0] > limits.noise_factor * found[1]:
        times = f"{found[0] / found[1]:.3g} times" if found[1] > 0 else "beyond"
        yield (
            f"its noise of {found[0]:.4g} is {times} what its frames lead to expect, {found[1]:.4g} "
            f"(limit {limits.noise_factor:g} times)"
        )


def _outliers(kind: str, metrics: Metrics, limits: Limits) -> Iterator[str]:
    limit = {"bias": limits.bias_outliers, "dark": limits.dark_outliers, "flat": limits.flat_outliers}[kind]
    outliers, spots = _value(metrics, "outliers"), _value(metrics, "spots")
    if outliers is not None and outliers > limit:
        yield f"{outliers:.2%} of its pixels stand out from their surroundings (limit {limit:.2%})"
    most = limits.spots * max(1.0, _value(metrics, "megapixels") or 1.0)
    if spots is not None and spots > most:
        what = "the shutter was open, or" if kind == "dark" else "a twilight sky without dithering, or"
        yield f"it holds {spots:.0f} star-like spots (limit {most:.0f}): {what} frames of the sky are among its frames"


def _steadiness(kind: str, metrics: Metrics, limits: Limits) -> Iterator[str]:
    for name, what in (("drift", "one of its frames"), ("shape_drift", "a part of one of its frames")):
        drift = _value(metrics, name)
        adu = None if drift is None else drift * (_value(metrics, "frame_noise") or 1.0)
        if drift is not None and adu is not None and drift > limits.drift_sigma and adu > limits.drift_adu:
            yield f"{what} departs by {drift:.3g} times its noise from the others (limit {limits.drift_sigma:g})"
    part = _value(metrics, "full_well_part")
    if part is not None and part > limits.full_well_part:
        yield f"its level is {part:.0%} of the saturation level: no {kind} (limit {limits.full_well_part:.0%})"


def _noise_change(metrics: Metrics, previous: Metrics, limits: Limits) -> Iterator[str]:
    now, before = _value(metrics, "frame_noise"), _value(previous, "frame_noise")
    if now is None or not before or not _same_exposure(metrics, previous):
        return
    if now > limits.frame_noise_factor * before:
        yield (
            f"the noise of one frame is {now:.4g} adu, {now / before:.3g} times that of the previous master's frames "
            f"(limit {limits.frame_noise_factor:g} times)"
        )


def _same_exposure(metrics: Metrics, previous: Metrics) -> bool:
    """Whether levels and noise may be compared: both of one exposure, or biases, which have none."""
    now, before = _value(metrics, "exposure_s"), _value(previous, "exposure_s")
    if now is None or before is None:
        return now is before
    return abs(now - before) <= max(0.1, _SAME_EXPOSURE * before)


def _level_change(kind: str, metrics: Metrics, previous: Metrics, limits: Limits) -> Iterator[str]:
    rates = _value(metrics, "rate_adu_s"), _value(previous, "rate_adu_s")
    exposure_s = _value(metrics, "exposure_s")
    noise = _value(previous, "frame_noise") or _value(metrics, "frame_noise") or 0.0
    if kind == "dark" and rates[0] is not None and rates[1] is not None and exposure_s:
        expected = rates[1] * exposure_s
        limit = max(limits.dark_level_relative * abs(expected), limits.dark_level_sigma * noise, limits.bias_level_adu)
        change = rates[0] * exposure_s - expected
        if abs(change) > limit:
            yield (
                f"its rate of {rates[0]:.4g} adu/s is not the previous master's {rates[1]:.4g}: {change:+.4g} adu in "
                f"{exposure_s:g} s (limit {limit:.4g})"
            )
        return
    levels = _value(metrics, "level"), _value(previous, "level")
    comparable = _same_exposure(metrics, previous) and metrics.get("bias_included") == previous.get("bias_included")
    if levels[0] is None or levels[1] is None or not comparable:
        return
    change, limit = levels[0] - levels[1], max(limits.bias_level_sigma * noise, limits.bias_level_adu)
    if abs(change) > limit:
        yield (
            f"its level of {levels[0]:.5g} adu is {change:+.4g} adu away from the previous master's (limit {limit:.4g})"
        )


def _flat(metrics: Metrics, limits: Limits) -> Iterator[str]:
    outside, missing = _value(metrics, "frames_outside"), _value(metrics, "frames_missing")
    if outside:
        yield f"{outside:.0f} of its frames are too dark or too bright, and too few others are there to do without them"
    if missing:
        yield f"it lacks {missing:.0f} of the frames that its recipe asks for: the others hold no light"
    shape = _value(metrics, "shape_drift")
    if shape is not None and shape > limits.flat_shape_drift:
        yield (
            f"a part of one of its frames departs by {shape:.2%} from the others, as under a cloud "
            f"(limit {limits.flat_shape_drift:.2%})"
        )
    structure = _value(metrics, "structure")
    if structure is not None and structure > limits.flat_structure:
        yield f"it varies by {structure:.0%} of its median over the frame (limit {limits.flat_structure:.0%})"
    rise = _values(metrics, "gradient_x", "gradient_y")
    if rise is not None and math.hypot(*rise) > limits.flat_gradient:
        yield f"it rises by {math.hypot(*rise):.0%} from edge to edge (limit {limits.flat_gradient:.0%})"


def _flat_change(metrics: Metrics, previous: Metrics, limits: Limits) -> Iterator[str]:
    structure, before = _value(metrics, "structure"), _value(previous, "structure")
    if structure is not None and before is not None and abs(structure - before) > limits.flat_structure_change:
        yield (
            f"it varies by {structure:.1%} over the frame, the previous master by {before:.1%} "
            f"(limit of the change {limits.flat_structure_change:.1%})"
        )
    rise = _values(metrics, "gradient_x", "gradient_y")
    was = _values(previous, "gradient_x", "gradient_y")
    if rise is None or was is None:
        return
    change = math.hypot(rise[0] - was[0], rise[1] - was[1])
    if change > limits.flat_gradient_change:
        yield (
            f"its rise from edge to edge changed by {change:.1%} since the previous master "
            f"(limit {limits.flat_gradient_change:.1%})"
        )
