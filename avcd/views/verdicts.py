"""Why a frame got the calibrations it has: needs with every candidate and every reason."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from avcd.frame import Criterion, Need, Outcome, Verdict
from avcd.views.tables import ID_LENGTH, cell, render_table

_WIDE = 140  # characters: a line this wide has room for names
_WIDEST = 24  # characters of a column of criteria
_SHOWN = 20  # candidates of a kind that are listed where not all are asked for


def needs_to_dict(frame_id: str, needs: Sequence[Need], names: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The needs of one frame with the keys of the JSON contract.

    Parameters
    ----------
    names
        Id to path of the candidates, as far as they are known.
    """
    names = names or {}
    done = {one.kind: one.applied for one in needs if one.applied}
    return {"frame": frame_id, "applied": done, "needs": {need.kind: _need_to_dict(need, names) for need in needs}}


def _need_to_dict(need: Need, names: Mapping[str, str]) -> dict[str, Any]:
    return {
        "chosen": need.chosen,
        "tier": need.tier,
        "relaxation": need.relaxation,
        "relax": [_criterion_to_dict(one) for one in need.relax],
        "applied": need.applied or None,
        "candidates": [_verdict_to_dict(one, names) for one in need.candidates],
    }


def _verdict_to_dict(verdict: Verdict, names: Mapping[str, str]) -> dict[str, Any]:
    return {
        "id": verdict.candidate_id,
        "path": names.get(verdict.candidate_id),
        "verdict": str(verdict.outcome),
        "tier": verdict.tier,
        "days": verdict.days,
        "criteria": [_criterion_to_dict(one) for one in verdict.criteria],
    }


def _criterion_to_dict(one: Criterion) -> dict[str, Any]:
    return {**dataclasses.asdict(one), "outcome": str(one.outcome)}


def needs_as_text(needs: Sequence[Need], names: Mapping[str, str], width: int, *, full: bool = False) -> str:
    """For each kind what was chosen, and the candidates with the reasons against each.

    Parameters
    ----------
    full
        Every criterion of every candidate; else of those that fit best what does not agree.
    """
    if not needs:
        return "This frame needs no calibration.\n"
    return "\n".join(_need_as_text(need, names, width, full) for need in needs)


def _need_as_text(need: Need, names: Mapping[str, str], width: int, full: bool) -> str:
    if need.applied:
        return f"{need.kind}: done before the frame was delivered ({need.applied}), and not done again\n"
    winner = next((one for one in need.candidates if one.candidate_id == need.chosen), None)
    if need.chosen:
        head = f"{need.kind}: {_named(need.chosen, names)}" + (f" ({need.tier}{_away(winner)})" if need.tier else "")
    elif need.candidates:
        head = f"{need.kind}: none of {len(need.candidates)} fits"
    else:
        head = f"{need.kind}: there is no candidate"
    head = textwrap.fill(head, width, subsequent_indent="  ", break_on_hyphens=False)
    if need.relaxation:
        words = textwrap.fill(
            need.relaxation, width, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False
        )
        head += f"\n{words}"
    if full:
        return head + "\n" + "".join(_criteria_as_text(one, one is winner, names, width) for one in need.candidates)
    rows = [
        {
            "": "*" if one is winner else "",
            "id": one.candidate_id,
            "verdict": str(one.outcome),
            "days": None if one.days is None else round(one.days, 2),
            "reason": "; ".join(part for part in (one.tier, reasons(one)) if part),
            "name": _file_name(one.candidate_id, names),
        }
        for one in need.candidates[:_SHOWN]
    ]
    # The name of a file is long, and tells less than the reasons do.
    columns = ("", "id", "verdict", "days", "reason", *(["name"] if width >= _WIDE else []))
    rest = len(need.candidates) - len(rows)
    more = f"   and {rest} more that fit less well; --full shows them\n" if rest > 0 else ""
    return head + "\n" + (render_table(rows, columns, width) if rows else "") + more


def _away(verdict: Verdict | None) -> str:
    return "" if verdict is None or verdict.days is None else f", {verdict.days:.2g} days away"


def _criteria_as_text(verdict: Verdict, chosen: bool, names: Mapping[str, str], width: int) -> str:
    """One candidate with every criterion."""
    told = [str(verdict.outcome), *([verdict.tier] if verdict.tier else [])]
    mark = "*" if chosen else "-"
    head = f"{mark} {_named(verdict.candidate_id, names)}: {', '.join(told)}{_away(verdict)}"
    head = f"\n{textwrap.fill(head, width, subsequent_indent='  ', break_on_hyphens=False)}\n"
    lines: list[Sequence[str]] = [("criterion", "wanted", "found", "tolerance", "outcome", "")]
    for one in verdict.criteria:
        values = [cell("", value) for value in (one.wanted, one.found, one.tolerance)]
        lines.append((one.name, *values, str(one.outcome), one.note))
    return head + "".join(f"{line}\n" for line in _in_columns(lines, width))


def _in_columns(lines: Sequence[Sequence[str]], width: int) -> Iterator[str]:
    """Text in columns, of which the last is folded: thousands of small tables, for which others take their time."""
    widths = [min(max(map(len, column)), _WIDEST) for column in list(zip(*lines, strict=True))[:-1]]
    indent = "    " + " " * sum(one + 2 for one in widths)
    for line in lines:
        parts = [textwrap.shorten(text, one, placeholder="…") if len(text) > one else text.ljust(one)
                 for text, one in zip(line[:-1], widths, strict=True)]  # fmt: skip
        start = "    " + "  ".join(parts)
        if not line[-1]:
            yield start.rstrip()[:width]
            continue
        yield textwrap.fill(
            line[-1], max(width, len(indent) + 20), initial_indent=f"{start}  ", subsequent_indent=indent
        )


def _named(identity: str, names: Mapping[str, str]) -> str:
    return " ".join([identity[:ID_LENGTH], *([_file_name(identity, names)] if identity in names else [])])


def _file_name(identity: str, names: Mapping[str, str]) -> str:
    return cell("", PurePosixPath(names[identity]).name) if identity in names else ""


def reasons(verdict: Verdict) -> str:
    """What does not agree, or is not known, in words; where all agrees, that it does."""
    against = [_criterion_as_text(one) for one in verdict.criteria if one.outcome is not Outcome.PASS]
    if against:
        return "; ".join(against)
    # What the tier says already need not be said again.
    notes = [f"{one.name} {one.note}" for one in verdict.criteria if one.note and one.note not in (verdict.tier or "")]
    return f"all {len(verdict.criteria)} criteria agree" + (f" ({', '.join(notes)})" if notes else "")


def _criterion_as_text(one: Criterion) -> str:
    wanted = cell("", one.wanted) or "unknown"
    found = cell("", one.found) or "unknown"
    tolerance = "" if one.tolerance in (None, "", 0, 0.0) else f", tolerance {cell('', one.tolerance)}"
    note = f", {one.note}" if one.note else ""
    return f"{one.name}: wanted {wanted}, found {found}{tolerance}{note}"
