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
    age_criterion,
    check_kind,
    days_between,
    excess,
    exposure_criterion,
    relaxed,
    settings_criteria,
    settings_key,
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
    alike: dict[tuple[Any, ...], tuple[Criterion, ...]] = {}
    judged = sorted((_judged(frame, kind, one, own, alike) for one in candidates), key=_order)
    verdicts = tuple(one.verdict for one in judged)
    if judged and judged[0].verdict.outcome is Outcome.PASS:
        return Need(kind=kind, chosen=verdicts[0].candidate_id, tier=verdicts[0].tier, candidates=verdicts)
    if not judged:
        return Need(kind, None, None, (), relaxation=f"there is no {kind} for this camera")
    best = judged[0]
    relax = tuple(relaxed(one, frame, best.candidate, own) for one in best.failed)
    words = ", ".join(_in_words(was, needed) for was, needed in zip(best.failed, relax, strict=True))
    return Need(
        kind=kind,
        chosen=None,
        tier=None,
        candidates=verdicts,
        relaxation=f"nearest is {best.verdict.candidate_id[:12]}: {words}",
        relax=relax,
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
    candidate: Candidate
    failed: list[Criterion]
    hopeless: tuple[int, int]  # how many settings differ, how many criteria are unknown


def _order(judged: _Judged) -> tuple[Any, ...]:
    verdict = judged.verdict
    days = verdict.days if verdict.days is not None else float("inf")
    if verdict.outcome is Outcome.PASS:
        return (0, (0, 0), 0.0, verdict.tier_rank, days, verdict.candidate_id)
    return (1, judged.hopeless, verdict.relaxation, len(judged.failed), days, verdict.candidate_id)


def _judged(
    frame: Frame, kind: str, candidate: Candidate, rules: RuleSet, alike: dict[tuple[Any, ...], tuple[Criterion, ...]]
) -> _Judged:
    """One candidate judged; ``alike`` remembers what was found of those with the same settings."""
    key = (candidate.origin, *settings_key(candidate.like, with_filter=kind == "flat"))
    settings = alike.get(key)
    if settings is None:
        settings = alike[key] = tuple(settings_criteria(frame, candidate, kind, rules))
    own = []
    rank = 0
    if kind in ("bias", "dark"):
        own.append(temperature_criterion(frame, candidate, rules))
    if kind == "dark":
        exposure, scaled = exposure_criterion(frame, candidate, rules)
        own.append(exposure)
        rank = SCALED if scaled else 0
    age, age_rank = age_criterion(frame, candidate, kind, rules)
    criteria = (*settings, *own, age)
    rank += age_rank
    failed = [one for one in criteria if one.outcome is not Outcome.PASS]
    unknown = sum(one.outcome is Outcome.UNKNOWN for one in failed)
    outcome = Outcome.PASS if not failed else Outcome.UNKNOWN if unknown == len(failed) else Outcome.FAIL
    widened = [excess(one, frame, candidate, rules) for one in failed]
    verdict = Verdict(
        candidate_id=candidate.id,
        outcome=outcome,
        criteria=criteria,
        tier=None if failed else tier_name(kind, rank, rules),
        tier_rank=None if failed else rank,
        relaxation=sum(one for one in widened if one is not None),
        days=days_between(frame, candidate.like),
    )
    return _Judged(verdict, candidate, failed, (widened.count(None) - unknown, unknown))


def _in_words(was: Criterion, needed: Criterion) -> str:
    if was.outcome is Outcome.UNKNOWN:
        return f"{was.name} unknown ({was.note})"
    note = f", {was.note}" if was.note else ""
    limit = ""
    if needed.tolerance is not None:
        now = f"tolerance {was.tolerance:g}" if needed.name == was.name else f"{needed.name} {needed.wanted:g}"
        limit = f" ({now}, needed {needed.tolerance:g})"
    elif was.tolerance is not None:
        limit = f" (tolerance {was.tolerance:g})" if isinstance(was.tolerance, float) else f" (valid {was.tolerance})"
    return f"{was.name} {was.found} instead of {was.wanted}{limit}{note}"
