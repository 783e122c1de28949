"""Every candidate judged on every criterion, and the reason kept.

Hard criteria (camera, detector, settings, filter of flats) and tolerances (temperature, exposure, age) are compared
one by one, never stopping early, so that a refusal can say all of its reasons. A setting that neither side records
passes as "not recorded". One that the frame records and a candidate omits is *unknown*: that fails a master built
from raw frames, and passes, with a note, for one that was delivered (its program may have dropped the card).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from avcd.association.criteria import (
    SCALED,
    Miss,
    age_criterion,
    check_kind,
    days_between,
    exposure_criterion,
    miss,
    settings_criteria,
    temperature_criterion,
    tier_name,
)
from avcd.association.rules import Rules, RuleSet
from avcd.frame import CalibLevel, Candidate, Criterion, Frame, ImageType, Need, Outcome, Verdict


def judge(frame: Frame, kind: str, candidates: Iterable[Candidate], rules: Rules) -> Need:
    """Judge every candidate for one need of a frame, and choose.

    Parameters
    ----------
    frame
        The frame that needs a calibration.
    kind
        "bias", "dark" or "flat". Darks for flats are never scaled.
    candidates
        Of that kind, in any order.
    rules
        Of the home.

    Returns
    -------
    Need
        Verdicts, best first. Chosen is the best tier, then the nearest in time, then the lower id. Where none serves,
        the first verdict is the nearest miss: the one with the fewest settings that differ, then with the fewest that
        are unknown, then that whose tolerances are exceeded by the least, each taken as a part of itself, in sum;
        ``relax`` says by what it would have matched.

    Raises
    ------
    ValueError
        ``kind`` is none of the three.
    ConfigError
        The rules contradict each other for the frame's instrument.
    """
    check_kind(kind)
    own = rules.for_frame(frame)
    judged = sorted((_judged(frame, kind, one, own) for one in candidates), key=_order)
    verdicts = tuple(one.verdict for one in judged)
    if judged and judged[0].verdict.outcome is Outcome.PASS:
        return Need(kind=kind, chosen=verdicts[0].candidate_id, tier=verdicts[0].tier, candidates=verdicts)
    if not judged:
        return Need(kind, None, None, (), relaxation=f"there is no {kind} for this camera")
    best = judged[0]
    words = ", ".join(_in_words(criterion, found) for criterion, found in zip(best.failed, best.misses, strict=True))
    return Need(
        kind=kind,
        chosen=None,
        tier=None,
        candidates=verdicts,
        relaxation=f"nearest is {best.verdict.candidate_id[:12]}: {words}",
        relax=tuple(one.criterion for one in best.misses),
    )


def applied_need(frame: Frame, kind: str) -> Need | None:
    """The need of a frame that was delivered with this calibration done: nothing is chosen, nothing is done twice.

    Returns
    -------
    Need or None
        ``applied`` says which card or rule tells so; None where the calibration is still to be done.

    Raises
    ------
    ValueError
        ``kind`` is none of the three.
    """
    check_kind(kind)
    if kind in frame.calibration:
        source = frame.sources.get("calibration")
    elif frame.image_type is ImageType.SCIENCE and frame.calib_level >= CalibLevel.CALIBRATED:
        source = frame.sources.get("calib_level") or frame.sources.get("calibration")
    else:
        return None
    return Need(kind, None, "already applied", (), applied=source or "its calibration level")


class _Judged(NamedTuple):
    verdict: Verdict
    failed: list[Criterion]
    misses: list[Miss]


def _order(judged: _Judged) -> tuple[Any, ...]:
    verdict, misses = judged.verdict, judged.misses
    days = verdict.days if verdict.days is not None else float("inf")
    if verdict.outcome is Outcome.PASS:
        return (0, 0, 0, 0.0, 0, verdict.tier_rank, days, verdict.candidate_id)
    hopeless = [one.criterion.outcome for one in misses if one.excess is None]
    unknown = hopeless.count(Outcome.UNKNOWN)
    return (1, len(hopeless) - unknown, unknown, verdict.relaxation, len(misses), 0, days, verdict.candidate_id)


def _judged(frame: Frame, kind: str, candidate: Candidate, rules: RuleSet) -> _Judged:
    criteria = settings_criteria(frame, candidate, kind, rules)
    rank = 0
    if kind in ("bias", "dark"):
        criteria.append(temperature_criterion(frame, candidate, rules))
    if kind == "dark":
        exposure, scaled = exposure_criterion(frame, candidate, rules)
        criteria.append(exposure)
        rank = SCALED if scaled else 0
    age, age_rank = age_criterion(frame, candidate, kind, rules)
    criteria.append(age)
    rank += age_rank
    failed = [one for one in criteria if one.outcome is not Outcome.PASS]
    misses = [found for one in failed if (found := miss(one, frame, candidate, rules))]
    outcomes = {one.outcome for one in failed}
    outcome = Outcome.FAIL if Outcome.FAIL in outcomes else Outcome.UNKNOWN if outcomes else Outcome.PASS
    verdict = Verdict(
        candidate_id=candidate.id,
        outcome=outcome,
        criteria=tuple(criteria),
        tier=None if failed else tier_name(kind, rank, rules),
        tier_rank=None if failed else rank,
        relaxation=sum(one.excess or 0.0 for one in misses),
        days=days_between(frame, candidate.like),
    )
    return _Judged(verdict, failed, misses)


def _in_words(criterion: Criterion, found: Miss) -> str:
    if criterion.outcome is Outcome.UNKNOWN:
        return f"{criterion.name} unknown ({criterion.note})"
    tolerance = ""
    if found.excess is not None and found.criterion.name == criterion.name:
        tolerance = f" (tolerance {criterion.tolerance:g}, needed {found.criterion.tolerance:g})"
    elif found.excess is not None:
        tolerance = f" ({found.criterion.name} {found.criterion.wanted:g}, needed {found.criterion.tolerance:g})"
    elif criterion.tolerance is not None:
        shown = criterion.tolerance
        tolerance = f" (tolerance {shown:g})" if isinstance(shown, float | int) else f" (valid {shown})"
    note = f", {criterion.note}" if criterion.note else ""
    return f"{criterion.name} {criterion.found} instead of {criterion.wanted}{tolerance}{note}"
