"""Which master calibrations fit a frame: every candidate judged on every criterion, and the reason kept.

Hard criteria (camera, detector, settings, filter of flats) and tolerances (temperature, exposure, age) are compared
one by one, never stopping early, so that a refusal can say all of its reasons. A setting that neither side records
passes as "not recorded". One that the frame records and a candidate omits is *unknown*: that fails a master built
from raw frames, and passes, with a note, for one that was delivered (its program may have dropped the card).
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from avcd.errors import ConfigError
from avcd.frame import Candidate, Criterion, Frame, ImageType, Need, Outcome, Verdict, canonical_json
from avcd.resources import shipped

KINDS = ("bias", "dark", "flat")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Temperature(_Part):
    """How close temperatures must be."""

    set_point_c: float = Field(0.5, ge=0)
    measured_c: float = Field(1.0, ge=0)


class Exposure(_Part):
    """How close exposures must be: within the larger of the two."""

    absolute_s: float = Field(0.1, ge=0)
    relative: float = Field(0.01, ge=0)

    def tolerance_s(self, exposure_s: float) -> float:
        """The tolerance for one exposure."""
        return max(self.absolute_s, self.relative * exposure_s)


class Scaling(_Part):
    """Whether, and how far, a dark may be scaled."""

    allowed: bool = True
    lowest_ratio: float = Field(0.5, gt=0)
    highest_ratio: float = Field(2.0, gt=0)

    @model_validator(mode="after")
    def _ordered(self) -> Scaling:
        if self.lowest_ratio > self.highest_ratio:
            raise ValueError("lowest_ratio is above highest_ratio: no dark could ever be scaled")
        return self


class SettingsTolerance(_Part):
    """How close the camera's settings must be."""

    gain: float = Field(1e-6, ge=0)
    offset: float = Field(1e-6, ge=0)


class Age(_Part):
    """The tiers of age, in days, best first."""

    bias_days: tuple[float, ...] = (7.0, 30.0, 90.0)
    dark_days: tuple[float, ...] = (7.0, 30.0, 90.0)
    flat_days: tuple[float, ...] = (7.0, 30.0)

    @model_validator(mode="after")
    def _rising(self) -> Age:
        for name in ("bias_days", "dark_days", "flat_days"):
            days = getattr(self, name)
            if not days:
                raise ValueError(f"{name} has no tier: nothing could ever match")
            if any(one <= 0 for one in days) or list(days) != sorted(set(days)):
                raise ValueError(f"{name}={list(days)}: a tier not wider than the one before it is never reached")
        return self

    def tiers(self, kind: str) -> tuple[float, ...]:
        """The tiers of one kind of calibration."""
        found: tuple[float, ...] = getattr(self, f"{kind}_days")
        return found


class RuleSet(_Part):
    """The rules for one camera."""

    temperature: Temperature = Temperature()
    exposure: Exposure = Exposure()
    scaling: Scaling = Scaling()
    settings: SettingsTolerance = SettingsTolerance()
    age: Age = Age()


class Rules(_Part):
    """The rules of a home: one set for all cameras, and overrides by instrument."""

    version: int = Field(1, ge=1)
    default: RuleSet = RuleSet()
    instrument: Mapping[str, RuleSet] = {}

    def for_frame(self, frame: Frame) -> RuleSet:
        """The rules that hold for a frame's camera."""
        return self.instrument.get(frame.instrument or "", self.default)

    @property
    def digest(self) -> str:
        """Changes whenever a rule does."""
        return hashlib.sha256(canonical_json(self.model_dump(mode="json")).encode()).hexdigest()


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None


def _merge(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in own.items():
        merged[key] = _merge(base[key], value) if isinstance(value, dict) and isinstance(base.get(key), dict) else value
    return merged


def load_rules(home: Path | None = None) -> Rules:
    """The rules: the shipped ones, overridden key by key by ``home``/match.toml.

    Raises
    ------
    ConfigError
        A file has an unknown key, a value out of range, or a tier that can never be reached; the message names it.
    """
    path = shipped("config/match/default.toml")
    table = _read(path)
    if home and (home / "match.toml").is_file():
        path = home / "match.toml"
        table = _merge(table, _read(path))
    version, overrides = table.pop("version", 1), table.pop("instrument", {})
    try:
        default = RuleSet(**table)
        own = {name: RuleSet(**_merge(table, change)) for name, change in overrides.items()}
        return Rules(version=version, default=default, instrument=own)
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
        raise ConfigError(f"{path}: " + "; ".join(lines)) from None


def judge(frame: Frame, kind: str, candidates: Iterable[Candidate], rules: Rules) -> Need:
    """Judge every candidate for one need of a frame, and choose.

    Parameters
    ----------
    frame
        The frame that needs a calibration.
    kind
        "bias", "dark" or "flat". Darks for flats are never scaled.
    candidates
        In any order.
    rules
        Of the home.

    Returns
    -------
    Need
        Verdicts, best first. Chosen is the best tier, then the nearest in time, then the lower id.

    Raises
    ------
    ValueError
        ``kind`` is none of the three.
    """
    if kind not in KINDS:
        raise ValueError(f"{kind!r} is none of {KINDS}")
    own = rules.for_frame(frame)
    verdicts = sorted((_verdict(frame, kind, one, own) for one in candidates), key=_order)
    best = verdicts[0] if verdicts and verdicts[0].outcome is Outcome.PASS else None
    return Need(
        kind=kind,
        chosen=best.candidate_id if best else None,
        tier=best.tier if best else None,
        candidates=tuple(verdicts),
        relaxation="" if best else _nearest_miss(kind, verdicts),
    )


def _order(verdict: Verdict) -> tuple[Any, ...]:
    failed = sum(one.outcome is not Outcome.PASS for one in verdict.criteria)
    rank = verdict.tier_rank if verdict.tier_rank is not None else 10**6
    days = verdict.days if verdict.days is not None else float("inf")
    return (verdict.outcome is not Outcome.PASS, failed, verdict.relaxation, rank, days, verdict.candidate_id)


def _verdict(frame: Frame, kind: str, candidate: Candidate, rules: RuleSet) -> Verdict:
    like, delivered = candidate.like, candidate.origin == "frame"
    criteria = [
        _same("telescope", frame.telescope, like.telescope, delivered),
        _same("instrument", frame.instrument, like.instrument, delivered),
        _same("size", _size(frame), _size(like), False),
        _same("window", frame.window, like.window, delivered),
        _same("binning", frame.binning, like.binning, delivered),
        _close("gain", frame.gain, like.gain, rules.settings.gain, delivered),
        _close("offset", frame.offset, like.offset, rules.settings.offset, delivered),
        _same("readout_mode", frame.readout_mode, like.readout_mode, delivered),
    ]
    tier = ""
    rank = 0
    if kind in ("bias", "dark"):
        criteria.append(_temperature(frame, like, rules.temperature, delivered))
    if kind == "dark":
        exposure, scaled = _exposure(frame, candidate, rules)
        criteria.append(exposure)
        tier, rank = ("scaled dark, ", 100) if scaled else ("same exposure, ", 0)
    if kind == "flat":
        criteria.append(_same("filter", frame.filter, like.filter, False))
    days = None if frame.t_min is None or like.t_min is None else abs(frame.t_min - like.t_min)
    age, age_tier, age_rank = _age(frame, like, kind, days, rules.age)
    criteria.append(age)
    outcomes = {one.outcome for one in criteria}
    outcome = (
        Outcome.FAIL if Outcome.FAIL in outcomes else Outcome.UNKNOWN if Outcome.UNKNOWN in outcomes else Outcome.PASS
    )
    passed = outcome is Outcome.PASS
    return Verdict(
        candidate_id=candidate.id,
        outcome=outcome,
        criteria=tuple(criteria),
        tier=tier + age_tier if passed else None,
        tier_rank=rank + age_rank if passed else None,
        relaxation=sum(_excess(one) for one in criteria),
        days=days,
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
        return Criterion(name, wanted, None, tolerance, Outcome.PASS, "the delivered master does not say")
    return Criterion(name, wanted, None, tolerance, Outcome.UNKNOWN, "the calibration does not record it")


def _same(name: str, wanted: str | None, found: str | None, delivered: bool) -> Criterion:
    known = _one_sided(name, wanted, found, None, delivered)
    return known or Criterion(name, wanted, found, None, Outcome.PASS if wanted == found else Outcome.FAIL)


def _close(name: str, wanted: float | None, found: float | None, tolerance: float, delivered: bool) -> Criterion:
    known = _one_sided(name, wanted, found, tolerance, delivered)
    if known or wanted is None or found is None:
        return known or Criterion(name, wanted, found, tolerance, Outcome.UNKNOWN)
    return Criterion(name, wanted, found, tolerance, Outcome.PASS if abs(wanted - found) <= tolerance else Outcome.FAIL)


def _temperature(frame: Frame, like: Frame, rules: Temperature, delivered: bool) -> Criterion:
    """Set-points where both have one, else what was measured (or the set-point standing in for it)."""
    if frame.set_temperature_c is not None and like.set_temperature_c is not None:
        return _close(
            "set_temperature_c", frame.set_temperature_c, like.set_temperature_c, rules.set_point_c, delivered
        )
    wanted = frame.ccd_temperature_c if frame.ccd_temperature_c is not None else frame.set_temperature_c
    found = like.ccd_temperature_c if like.ccd_temperature_c is not None else like.set_temperature_c
    return _close("ccd_temperature_c", wanted, found, rules.measured_c, delivered)


def _exposure(frame: Frame, candidate: Candidate, rules: RuleSet) -> tuple[Criterion, bool]:
    """The exposure's criterion, and whether the dark would be scaled."""
    wanted, found = frame.exposure_s, candidate.like.exposure_s
    if wanted is None or found is None:
        note = "the frame's exposure is not known" if wanted is None else "the dark's exposure is not known"
        return Criterion("exposure_s", wanted, found, None, Outcome.UNKNOWN, note), False
    tolerance = rules.exposure.tolerance_s(wanted)
    # Rounding of 90.1 - 90.0 must not decide.
    if abs(wanted - found) <= tolerance * (1 + 1e-9):
        return Criterion("exposure_s", wanted, found, tolerance, Outcome.PASS), False
    scaling = rules.scaling
    flat = frame.image_type in (ImageType.FLAT, ImageType.MASTER_FLAT)
    if scaling.allowed and not flat and found > 0:
        ratio = wanted / found
        if scaling.lowest_ratio <= ratio <= scaling.highest_ratio:
            if candidate.bias_included is False:
                return Criterion("exposure_s", wanted, found, tolerance, Outcome.PASS, f"scaled by {ratio:.3g}"), True
            return Criterion(
                "exposure_s", wanted, found, tolerance, Outcome.FAIL, "not scaled: its bias is still in it"
            ), False
    return Criterion("exposure_s", wanted, found, tolerance, Outcome.FAIL), False


def _age(frame: Frame, like: Frame, kind: str, days: float | None, rules: Age) -> tuple[Criterion, str, int]:
    """The age's criterion, the tier's name and its rank."""
    tiers = rules.tiers(kind)
    if days is None:
        note = "the frame's time is not known" if frame.t_min is None else "the calibration's time is not known"
        return Criterion("age_days", 0.0, None, tiers[-1], Outcome.UNKNOWN, note), "", 0
    if kind == "flat" and frame.night is not None and frame.night == like.night:
        return Criterion("age_days", 0.0, round(days, 4), tiers[-1], Outcome.PASS, "same night"), "same night", 0
    for rank, limit in enumerate(tiers):
        if days <= limit:
            name = f"within {limit:g} days"
            return Criterion("age_days", 0.0, round(days, 4), limit, Outcome.PASS, name), name, rank + 1
    return Criterion("age_days", 0.0, round(days, 4), tiers[-1], Outcome.FAIL), "", 0


def _excess(criterion: Criterion) -> float:
    """By how many tolerances a number misses; an inequality of words counts as a thousand."""
    if criterion.outcome is Outcome.PASS:
        return 0.0
    numbers = (criterion.wanted, criterion.found, criterion.tolerance)
    if criterion.name in ("gain", "offset") or not all(isinstance(one, (int, float)) for one in numbers):
        return 1000.0
    wanted, found, tolerance = (float(one) for one in numbers if one is not None)
    return abs(wanted - found) / tolerance - 1 if tolerance > 0 else 1000.0


def _nearest_miss(kind: str, verdicts: list[Verdict]) -> str:
    """What would have matched, in words: the candidate with the fewest and smallest misses."""
    if not verdicts:
        return f"there is no {kind} for this camera"
    best = verdicts[0]
    misses = [_miss(one) for one in best.criteria if one.outcome is not Outcome.PASS]
    return f"nearest is {best.candidate_id[:12]}: " + ", ".join(misses)


def _miss(criterion: Criterion) -> str:
    if criterion.outcome is Outcome.UNKNOWN:
        return f"{criterion.name} unknown ({criterion.note})"
    tolerance = "" if criterion.tolerance is None else f" (tolerance {criterion.tolerance:g})" if isinstance(
        criterion.tolerance, (int, float)
    ) else f" (tolerance {criterion.tolerance})"  # fmt: skip
    note = f", {criterion.note}" if criterion.note else ""
    return f"{criterion.name} {criterion.found} instead of {criterion.wanted}{tolerance}{note}"
