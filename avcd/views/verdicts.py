"""Why a frame got the calibrations it has: needs with every candidate and every reason."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from avcd.frame import Criterion, Need, Outcome, Verdict
from avcd.views.tables import ID_LENGTH, cell, render_table


def needs_to_dict(frame_id: str, needs: Sequence[Need], names: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The needs of one frame with the keys of the JSON contract.

    Parameters
    ----------
    names
        Id to path of the candidates, as far as they are known.
    """
    names = names or {}
    return {"frame": frame_id, "needs": {need.kind: _need_to_dict(need, names) for need in needs}}


def _need_to_dict(need: Need, names: Mapping[str, str]) -> dict[str, Any]:
    return {
        "chosen": need.chosen,
        "tier": need.tier,
        "relaxation": need.relaxation,
        "candidates": [_verdict_to_dict(one, names) for one in need.candidates],
    }


def _verdict_to_dict(verdict: Verdict, names: Mapping[str, str]) -> dict[str, Any]:
    return {
        "id": verdict.candidate_id,
        "path": names.get(verdict.candidate_id),
        "verdict": str(verdict.outcome),
        "tier": verdict.tier,
        "days": verdict.days,
        "criteria": [{**dataclasses.asdict(one), "outcome": str(one.outcome)} for one in verdict.criteria],
    }


def needs_as_text(needs: Sequence[Need], names: Mapping[str, str], width: int) -> str:
    """For each kind what was chosen, and a table of the candidates with the reasons against each."""
    if not needs:
        return "This frame needs no calibration.\n"
    return "\n".join(_need_as_text(need, names, width) for need in needs)


def _need_as_text(need: Need, names: Mapping[str, str], width: int) -> str:
    if need.chosen:
        head = f"{need.kind}: {_named(need.chosen, names)}" + (f" ({need.tier})" if need.tier else "")
    elif need.candidates:
        head = f"{need.kind}: none of {len(need.candidates)} fits"
    else:
        head = f"{need.kind}: there is no candidate"
    if need.relaxation:
        head += f"\n  {need.relaxation}"
    rows = [
        {
            "": "*" if one.candidate_id == need.chosen else "",
            "id": one.candidate_id,
            "verdict": str(one.outcome),
            "tier": one.tier,
            "days": None if one.days is None else round(one.days, 2),
            "reason": reasons(one.criteria),
            "path": names.get(one.candidate_id),
        }
        for one in need.candidates
    ]
    columns = ("", "id", "verdict", "tier", "days", "reason", "path")
    return head + "\n" + (render_table(rows, columns, width) if rows else "")


def _named(identity: str, names: Mapping[str, str]) -> str:
    short = identity[:ID_LENGTH]
    return f"{short} {names[identity]}" if identity in names else short


def reasons(criteria: Sequence[Criterion]) -> str:
    """What does not agree, or is not known, in words; where all agrees, that it does."""
    against = [_criterion_as_text(one) for one in criteria if one.outcome is not Outcome.PASS]
    if against:
        return "; ".join(against)
    notes = [f"{one.name} {one.note}" for one in criteria if one.note]
    return f"all {len(criteria)} criteria agree" + (f" ({', '.join(notes)})" if notes else "")


def _criterion_as_text(one: Criterion) -> str:
    wanted = cell("", one.wanted) or "unknown"
    found = cell("", one.found) or "unknown"
    tolerance = "" if one.tolerance in (None, "", 0, 0.0) else f", tolerance {cell('', one.tolerance)}"
    note = f", {one.note}" if one.note else ""
    return f"{one.name}: wanted {wanted}, found {found}{tolerance}{note}"
