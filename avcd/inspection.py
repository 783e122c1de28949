"""What is wrong with a frame: figures that were measured on it, against limits. Nothing is rejected here.

Only what was measured is judged. Every finding names its evidence; what becomes of it is the recipe's to say.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from avcd.errors import ConfigError

Metrics = Mapping[str, Any]
_PREFIX = "screen_"  # of the limits among a recipe's parameters
_DARK = -18.0  # degrees, of the Sun: the end of astronomical twilight


class Fault(StrEnum):
    """What can be wrong with a frame."""

    CLOUDS = "clouds"
    VEIL = "veil"
    OCCLUSION = "occlusion"
    TRAILING = "trailing"
    FOCUS = "focus"
    TRAILS = "trails"
    TWILIGHT = "twilight"
    WRONG_FIELD = "wrong_field"


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault of a frame, and what tells it."""

    fault: Fault
    evidence: str


class Limits(BaseModel):
    """From where on a figure is a fault; ``screen_`` in front of each name is its recipe parameter."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    clouds: float = Field(0.5, ge=0, le=1, description="transparency below which clouds are what dims the stars")
    veil: float = Field(0.85, ge=0, le=1, description="transparency below which something does")
    patchiness: float = Field(0.15, gt=0, description="scatter of the transparency over the field, of clouds with gaps")
    occlusion: float = Field(0.1, gt=0, le=1, description="part of the field's cells without their stars")
    trailing: float = Field(0.2, gt=0, lt=1, description="ellipticity that all stars share in one direction")
    focus: float = Field(1.5, gt=1, description="width of stars over that of the sharpest frames")
    focus_px: float = Field(0.7, ge=0, description="growth of the width that is always borne [px]")
    trails: int = Field(1, ge=1, description="straight trails across the frame")
    twilight_deg: float = Field(-12.0, ge=-90, le=90, description="altitude of the Sun during the exposure [deg]")
    twilight_sky: float = Field(2.0, gt=1, description="sky over the darkest, while the Sun is less than 18 deg down")
    wrong_field: float = Field(0.5, gt=0, description="distance from the pointing, in parts of the shorter side")


def limits_of(parameters: Mapping[str, Any]) -> Limits:
    """The limits among a recipe's parameters.

    Raises
    ------
    ConfigError
        A value is impossible; the message names the parameter.
    """
    values = {name.removeprefix(_PREFIX): value for name, value in parameters.items() if name.startswith(_PREFIX)}
    try:
        return Limits(**values)
    except ValidationError as error:
        told = "; ".join(f"{_PREFIX}{one['loc'][0]}: {one['msg']}" for one in error.errors())
        raise ConfigError(f"recipe stack: {told}") from None


def faults_of(names: Any) -> frozenset[Fault]:
    """The faults that a recipe's ``leave_out`` names.

    Raises
    ------
    ConfigError
        One of the names is no fault's.
    """
    try:
        return frozenset(Fault(one) for one in names)
    except ValueError as error:
        raise ConfigError(f"recipe stack: leave_out: {error}; there are {', '.join(Fault)}") from None


def inspect(metrics: Metrics, limits: Limits) -> tuple[Finding, ...]:
    """What is wrong with a frame, as far as its figures tell.

    Parameters
    ----------
    metrics
        Figures of a reduced frame, and those of the comparison with its companions where there was one.
    limits
        Of the recipe.

    Returns
    -------
    tuple of Finding
        None for a good frame, and for one of which nothing was measured.
    """
    found = (
        *_dimmed(metrics, limits),
        *_occlusion(metrics, limits),
        *_shapes(metrics, limits),
        *_trails(metrics, limits),
        *_twilight(metrics, limits),
        *_wrong_field(metrics, limits),
    )
    return tuple(found)


def _value(metrics: Metrics, name: str) -> float | None:
    found = metrics.get(name)
    if isinstance(found, bool) or not isinstance(found, (int, float)):
        return None
    return float(found) if math.isfinite(found) else None


def _dimmed(metrics: Metrics, limits: Limits) -> Iterator[Finding]:
    if _is_elsewhere(metrics):
        return
    transparency, found = _value(metrics, "transparency"), _value(metrics, "stars_found")
    expected, stars = _value(metrics, "stars_expected"), _value(metrics, "stars")
    if transparency is None:
        if expected and stars is not None and expected >= 10 and stars < 0.3 * expected:
            yield Finding(
                Fault.CLOUDS,
                f"{stars:.0f} stars, where its companions show {expected:.0f} bright ones; none can be told",
            )
        return
    if _hidden_part(metrics) > limits.occlusion:
        return  # what hides stars in a part of the field dims none of the others
    told = f"its stars have {transparency:.0%} of the light that they have in the best frames"
    if found is not None and expected:
        told += f" ({found:.0%} of {expected:.0f} found)"
    scatter = _value(metrics, "transparency_scatter")
    if transparency < limits.clouds:
        yield Finding(Fault.CLOUDS, told)
    elif scatter is not None and scatter > limits.patchiness:
        yield Finding(Fault.CLOUDS, f"{told}, {scatter:.0%} more or less from place to place")
    elif transparency < limits.veil:
        yield Finding(Fault.VEIL, told)


def _hidden_part(metrics: Metrics) -> float:
    hidden, cells = _value(metrics, "hidden_cells"), _value(metrics, "cells")
    return hidden / cells if hidden is not None and cells else 0.0


def _occlusion(metrics: Metrics, limits: Limits) -> Iterator[Finding]:
    transparency = _value(metrics, "transparency")
    compared = _value(metrics, "hidden_cells") is not None
    if compared and _hidden_part(metrics) > limits.occlusion and _value(metrics, "stars_found"):
        if transparency is None or transparency > 0:
            hidden, cells = _value(metrics, "hidden_cells"), _value(metrics, "cells")
            yield Finding(
                Fault.OCCLUSION,
                f"{hidden:.0f} of {cells:.0f} cells of the field lack the stars that its companions show",
            )
        return
    dead, cells = _value(metrics, "dead_cells"), _value(metrics, "grid_cells")
    if not compared and dead is not None and cells and dead / cells > limits.occlusion:
        yield Finding(
            Fault.OCCLUSION,
            f"{dead:.0f} of {cells:.0f} cells of the field hold no stars, where {_value(metrics, 'stars_per_cell') or 0:.0f} "
            "are usual",
        )


def _shapes(metrics: Metrics, limits: Limits) -> Iterator[Finding]:
    shared, ellipticity = _value(metrics, "elongation"), _value(metrics, "ellipticity")
    if shared is not None and shared > limits.trailing:
        angle = _value(metrics, "elongation_angle_deg")
        towards = "" if angle is None else f", {angle:.0f} deg from the x axis"
        told = "" if ellipticity is None else f"of an ellipticity of {ellipticity:.2f} "
        yield Finding(Fault.TRAILING, f"{told}{shared:.2f} is in one direction{towards}")
        return  # trailed stars are wide as well
    ratio, width = _value(metrics, "fwhm_ratio"), _value(metrics, "fwhm_px")
    if ratio is not None and width is not None and ratio > limits.focus and width - width / ratio > limits.focus_px:
        yield Finding(Fault.FOCUS, f"stars of {width:.1f} px are {ratio:.2f} times as wide as in the sharpest frames")


def _trails(metrics: Metrics, limits: Limits) -> Iterator[Finding]:
    trails = _value(metrics, "trails")
    if trails is not None and trails >= limits.trails:
        length, sigma = _value(metrics, "trail_length_px"), _value(metrics, "trail_sigma")
        longest = "" if length is None else f", the clearest {length:.0f} px long at {sigma or 0:.0f} sigma"
        ends = metrics.get("trail_ends")
        yield Finding(
            Fault.TRAILS,
            f"{trails:.0f} straight trail{'s' if trails > 1 else ''}{longest}{f', {ends}' if ends else ''}",
        )


def _twilight(metrics: Metrics, limits: Limits) -> Iterator[Finding]:
    sun, sky = _value(metrics, "sun_altitude_deg"), _value(metrics, "sky_ratio")
    if sun is None:
        return
    if sun > limits.twilight_deg:
        where = f"{-sun:.1f} deg below the horizon" if sun < 0 else f"{sun:.1f} deg above the horizon"
        yield Finding(Fault.TWILIGHT, f"the Sun stood {where}")
    elif sun > _DARK and sky is not None and sky > limits.twilight_sky:
        yield Finding(
            Fault.TWILIGHT, f"the Sun stood {-sun:.1f} deg below the horizon, the sky is {sky:.1f} times the darkest"
        )


def _wrong_field(metrics: Metrics, limits: Limits) -> Iterator[Finding]:
    off, arcmin = _value(metrics, "pointing_off_fields"), _value(metrics, "pointing_off_arcmin")
    if off is not None and off > limits.wrong_field:
        yield Finding(Fault.WRONG_FIELD, f"its centre lies {arcmin or 0:.1f} arcmin from where the header points")
        return
    if _is_elsewhere(metrics):
        stars, expected = _value(metrics, "stars"), _value(metrics, "stars_expected")
        yield Finding(
            Fault.WRONG_FIELD, f"none of its {stars:.0f} stars can be found among the {expected:.0f} of its companions"
        )


def _is_elsewhere(metrics: Metrics) -> bool:
    """Whether a frame has stars enough, and none of them its companions' stars."""
    found, expected, stars = (_value(metrics, name) for name in ("stars_found", "stars_expected", "stars"))
    if expected is None or stars is None or (found is not None and found > 0.1):
        return False
    return expected >= 10 and stars >= 0.5 * expected
