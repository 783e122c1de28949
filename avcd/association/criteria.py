"""The single comparisons of a candidate with a frame: what is wanted, what was found, and whether they agree."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from avcd.association.rules import ROUNDING, RuleSet
from avcd.frame import Candidate, Criterion, Frame, ImageType, Outcome

KINDS = ("bias", "dark", "flat")

# The ranks of ages, the best first; the tiers of the rules follow in their order. A scaled dark comes after all of them.
VALID, SAME_NIGHT, FIRST_TIER = 0, 1, 2
SCALED = 100

_KIND_OF = {
    ImageType.BIAS: "bias",
    ImageType.MASTER_BIAS: "bias",
    ImageType.DARK: "dark",
    ImageType.DARK_FLAT: "dark",
    ImageType.MASTER_DARK: "dark",
    ImageType.FLAT: "flat",
    ImageType.MASTER_FLAT: "flat",
}
_FLATS = (ImageType.FLAT, ImageType.MASTER_FLAT)


def kind_of(candidate: Candidate) -> str:
    """Whether a candidate is a "bias", a "dark" or a "flat", by what it was made of.

    Raises
    ------
    ValueError
        It is none of them.
    """
    kind = _KIND_OF.get(candidate.like.image_type)
    if kind is None:
        raise ValueError(f"{candidate.id[:12]} is of type {candidate.like.image_type}: no calibration")
    return kind


def check_kind(kind: str) -> None:
    """Refuse anything but the kinds that are matched.

    Raises
    ------
    ValueError
        ``kind`` is none of them.
    """
    if kind not in KINDS:
        raise ValueError(f"{kind!r} is none of {KINDS}")


def settings_criteria(frame: Frame, candidate: Candidate, kind: str, rules: RuleSet) -> list[Criterion]:
    """The hard criteria: the same camera in the same settings, and for flats the same filter."""
    like, delivered = candidate.like, candidate.origin == "frame"
    criteria = [
        _same("telescope", frame.telescope, like.telescope, delivered),
        _same("instrument", frame.instrument, like.instrument, delivered),
        _same("detector", frame.detector, like.detector, delivered),
        _same("size", _size(frame), _size(like), False),
        _same("window", frame.window, like.window, delivered),
        _same("binning", frame.binning, like.binning, delivered),
        _close("gain", frame.gain, like.gain, rules.settings.gain, delivered),
        _close("offset", frame.offset, like.offset, rules.settings.offset, delivered),
        _same("readout_mode", frame.readout_mode, like.readout_mode, delivered),
    ]
    if kind == "flat":
        if frame.filter is None and like.filter is not None:
            # Any flat would do, and all but one are wrong.
            note = "the frame does not record it"
            criteria.append(Criterion("filter", None, like.filter, None, Outcome.UNKNOWN, note))
        else:
            criteria.append(_same("filter", frame.filter, like.filter, False))
    return criteria


def settings_key(frame: Frame, *, with_filter: bool) -> tuple[Any, ...]:
    """All of a frame that `settings_criteria` looks at: equal for frames that it cannot tell apart."""
    return (
        frame.telescope,
        frame.instrument,
        frame.detector,
        frame.naxis1,
        frame.naxis2,
        frame.window,
        frame.binning,
        frame.gain,
        frame.offset,
        frame.readout_mode,
        frame.filter if with_filter else None,
    )


def _size(frame: Frame) -> str | None:
    return None if frame.naxis1 is None or frame.naxis2 is None else f"{frame.naxis1}x{frame.naxis2}"


def _one_sided(name: str, wanted: Any, found: Any, tolerance: Any, delivered: bool) -> Criterion | None:
    """The verdict where a side does not know; None where both do."""
    if wanted is None and found is None:
        return Criterion(name, None, None, tolerance, Outcome.PASS, "not recorded")
    if wanted is not None and found is not None:
        return None
    if wanted is None:
        return Criterion(name, None, found, tolerance, Outcome.PASS, "not recorded by the frame")
    if delivered:
        return Criterion(name, wanted, None, tolerance, Outcome.PASS, "the delivered master kept no card of it")
    return Criterion(name, wanted, None, tolerance, Outcome.UNKNOWN, "the calibration does not record it")


def _same(name: str, wanted: str | None, found: str | None, delivered: bool) -> Criterion:
    known = _one_sided(name, wanted, found, None, delivered)
    return known or Criterion(name, wanted, found, None, Outcome.PASS if wanted == found else Outcome.FAIL)


def within(wanted: float, found: float, tolerance: float) -> bool:
    """Whether two numbers differ by no more than a tolerance."""
    return abs(wanted - found) <= tolerance * ROUNDING


def _close(name: str, wanted: float | None, found: float | None, tolerance: float, delivered: bool) -> Criterion:
    known = _one_sided(name, wanted, found, tolerance, delivered)
    if known or wanted is None or found is None:
        return known or Criterion(name, wanted, found, tolerance, Outcome.UNKNOWN)
    outcome = Outcome.PASS if within(wanted, found, tolerance) else Outcome.FAIL
    return Criterion(name, wanted, found, tolerance, outcome)


def measured_temperature(frame: Frame) -> float | None:
    """What was measured [deg C], or the set-point standing in for it."""
    return frame.ccd_temperature_c if frame.ccd_temperature_c is not None else frame.set_temperature_c


def temperature_criterion(frame: Frame, candidate: Candidate, rules: RuleSet) -> Criterion:
    """Set-points where both have one, else what was measured."""
    like, delivered = candidate.like, candidate.origin == "frame"
    if frame.set_temperature_c is not None and like.set_temperature_c is not None:
        tolerance = rules.temperature.set_point_c
        return _close("set_temperature_c", frame.set_temperature_c, like.set_temperature_c, tolerance, delivered)
    wanted, found = measured_temperature(frame), measured_temperature(like)
    return _close("ccd_temperature_c", wanted, found, rules.temperature.measured_c, delivered)


def may_be_scaled(frame: Frame, candidate: Candidate, rules: RuleSet) -> bool:
    """Whether a dark of another exposure could be scaled to a frame's: its bias is known to be removed.

    Darks of flats are never scaled.
    """
    return (
        rules.scaling.allowed
        and candidate.bias_included is False
        and frame.image_type not in _FLATS
        and bool(candidate.like.exposure_s)
    )


def exposure_criterion(frame: Frame, candidate: Candidate, rules: RuleSet) -> tuple[Criterion, bool]:
    """The exposure's criterion, and whether the dark would be scaled."""
    wanted, found = frame.exposure_s, candidate.like.exposure_s
    if wanted is None or found is None:
        note = "the frame's exposure is not known" if wanted is None else "the dark's exposure is not known"
        return Criterion("exposure_s", wanted, found, None, Outcome.UNKNOWN, note), False
    tolerance = rules.exposure.tolerance_s(wanted)
    if within(wanted, found, tolerance):
        return Criterion("exposure_s", wanted, found, tolerance, Outcome.PASS), False
    note = ""
    scaling = rules.scaling
    in_reach = found > 0 and scaling.lowest_ratio <= wanted / found <= scaling.highest_ratio
    if may_be_scaled(frame, candidate, rules):
        ratio = wanted / found
        if in_reach:
            return Criterion("exposure_s", wanted, found, tolerance, Outcome.PASS, f"scaled by {ratio:.3g}"), True
        note = (
            f"not scaled: by {ratio:.3g}, which is not between {scaling.lowest_ratio:g} and {scaling.highest_ratio:g}"
        )
    elif frame.image_type not in _FLATS and in_reach:
        note = "not scaled: its bias is still in it" if scaling.allowed else "not scaled: switched off for this camera"
    return Criterion("exposure_s", wanted, found, tolerance, Outcome.FAIL, note), False


def is_valid_at(candidate: Candidate, time: float) -> bool:
    """Whether a time [MJD UTC] lies in the interval that an observer gave a master."""
    begins, ends = candidate.valid_from, candidate.valid_until
    return (begins is None or begins <= time) and (ends is None or time < ends)


def has_interval(candidate: Candidate) -> bool:
    """Whether an observer said for which times a master is valid."""
    return candidate.valid_from is not None or candidate.valid_until is not None


def days_between(frame: Frame, like: Frame) -> float | None:
    """The time between two frames [d], either way; None where one's is not known."""
    return None if frame.t_min is None or like.t_min is None else abs(frame.t_min - like.t_min)


def age_criterion(frame: Frame, candidate: Candidate, kind: str, rules: RuleSet) -> tuple[Criterion, int]:
    """The age's criterion, and its rank where it passes."""
    like = candidate.like
    tiers = rules.age.tiers(kind)
    days = days_between(frame, like)
    shown = None if days is None else round(days, 4)
    if frame.t_min is None:
        return Criterion("age_days", 0.0, None, tiers[-1], Outcome.UNKNOWN, "the frame's time is not known"), 0
    if has_interval(candidate):
        interval = _interval(candidate)
        if is_valid_at(candidate, frame.t_min):
            return Criterion("age_days", 0.0, shown, interval, Outcome.PASS, age_name(VALID, tiers)), VALID
        note = f"the frame was taken at MJD {frame.t_min:.4f}, when it is not valid"
        return Criterion("age_days", 0.0, shown, interval, Outcome.FAIL, note), 0
    if days is None:
        return Criterion("age_days", 0.0, None, tiers[-1], Outcome.UNKNOWN, "the calibration's time is not known"), 0
    if kind == "flat" and frame.night is not None and frame.night == like.night:
        return Criterion("age_days", 0.0, shown, tiers[-1], Outcome.PASS, age_name(SAME_NIGHT, tiers)), SAME_NIGHT
    for number, limit in enumerate(rules.age.reach[kind]):
        if days <= limit:
            rank = FIRST_TIER + number
            return Criterion("age_days", 0.0, shown, tiers[number], Outcome.PASS, age_name(rank, tiers)), rank
    return Criterion("age_days", 0.0, shown, tiers[-1], Outcome.FAIL), 0


def _interval(candidate: Candidate) -> str:
    begins = "" if candidate.valid_from is None else f"from MJD {candidate.valid_from:.10g}"
    ends = "" if candidate.valid_until is None else f"until MJD {candidate.valid_until:.10g}"
    return f"{begins} {ends}".strip()


def age_name(rank: int, tiers: tuple[float, ...]) -> str:
    """What a rank of age is called."""
    if rank < FIRST_TIER:
        return "valid at this time" if rank == VALID else "same night"
    return f"within {tiers[rank - FIRST_TIER]:g} days"


def tier_name(kind: str, rank: int, rules: RuleSet) -> str:
    """What a tier is called, by its rank."""
    scaled, age = divmod(rank, SCALED)
    name = age_name(age, rules.age.tiers(kind))
    if kind != "dark":
        return name
    return f"{'scaled dark' if scaled else 'same exposure'}, {name}"


_TOLERATED = ("set_temperature_c", "ccd_temperature_c", "exposure_s", "age_days")


def excess(criterion: Criterion, frame: Frame, candidate: Candidate, rules: RuleSet) -> float | None:
    """By how much, as a part of itself, a tolerance would have to be widened for a criterion that does not pass.

    Where a dark could be scaled, the limit of the ratio counts if that is less. None where no tolerance would help: what
    is not known, a setting, a tolerance of 0.
    """
    if criterion.outcome is Outcome.UNKNOWN or criterion.name not in _TOLERATED:
        return None
    limit = criterion.tolerance
    own = _needed(criterion, frame, candidate) / limit - 1 if isinstance(limit, float) and limit > 0 else None
    scaling = _scaling_excess(criterion, frame, candidate, rules)
    return scaling if own is None or (scaling is not None and scaling < own) else own


def relaxed(criterion: Criterion, frame: Frame, candidate: Candidate, rules: RuleSet) -> Criterion:
    """A criterion that does not pass, with the tolerance by which it would; None for that where none would help."""
    least = excess(criterion, frame, candidate, rules)
    if least is None:
        return replace(criterion, tolerance=None, note=criterion.note or "no tolerance would help")
    if least == _scaling_excess(criterion, frame, candidate, rules):
        ratio = _ratio(frame, candidate)
        highest, lowest = rules.scaling.highest_ratio, rules.scaling.lowest_ratio
        name, limit = ("scaling.highest_ratio", highest) if ratio > highest else ("scaling.lowest_ratio", lowest)
        return Criterion(name, limit, ratio, ratio, Outcome.FAIL, f"the limit is {limit:g}")
    return replace(
        criterion, tolerance=_needed(criterion, frame, candidate), note=f"the tolerance is {criterion.tolerance:g}"
    )


def _needed(criterion: Criterion, frame: Frame, candidate: Candidate) -> float:
    if criterion.name == "age_days":  # what was found is shown rounded
        return days_between(frame, candidate.like) or 0.0
    assert isinstance(criterion.wanted, float | int)
    assert isinstance(criterion.found, float | int)
    return abs(criterion.wanted - criterion.found)


def _ratio(frame: Frame, candidate: Candidate) -> float:
    return (frame.exposure_s or 0.0) / (candidate.like.exposure_s or 1.0)


def _scaling_excess(criterion: Criterion, frame: Frame, candidate: Candidate, rules: RuleSet) -> float | None:
    if criterion.name != "exposure_s" or not frame.exposure_s or not may_be_scaled(frame, candidate, rules):
        return None
    ratio = _ratio(frame, candidate)
    highest, lowest = rules.scaling.highest_ratio, rules.scaling.lowest_ratio
    return ratio / highest - 1 if ratio > highest else lowest / ratio - 1
