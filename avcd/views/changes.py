"""What would change, and what did: differences of plans and of products in words and as data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from avcd.comparison import Change, Difference
from avcd.frame import Blocked
from avcd.views.tables import ID_LENGTH, cell, render_table

Row = dict[str, Any]
_WORDS = {
    "remade": "made again",
    "final": "made final",
    "provisional": "made provisional",
    "held": "held for approval",
    "gone": "taken away",
    "blocked": "blocked",
    "new": "made that were not",
}
COLUMNS = ("kind", "change", "target_name", "filter", "night", "id", "reason")


def change_row(change: Change, names: Mapping[str, str]) -> Row:
    """One change with the keys of the JSON contract.

    Parameters
    ----------
    names
        Id to a short name, as far as they are known.
    """
    planned = change.planned
    return {
        "kind": str(change.kind),
        "slot": change.slot,
        "change": change.what,
        "before": None if change.before is None or isinstance(change.before, Blocked) else change.before.id,
        "after": None if change.after is None or isinstance(change.after, Blocked) else change.after.id,
        "reason": _reason(change, names),
        "differences": [difference_row(one) for one in change.differences],
        "telescope": planned.telescope,
        "target_name": planned.target_name,
        "filter": planned.filter,
        "night": planned.night,
    }


def _reason(change: Change, names: Mapping[str, str]) -> str:
    if isinstance(change.after, Blocked):
        return change.after.reason
    if change.differences:
        return "; ".join(difference_as_text(one, names) for one in change.differences)
    return change.after.reason if change.after is not None else ""


def difference_row(one: Difference) -> Row:
    """A difference as data."""
    return {"what": one.what, "name": one.name, "before": one.before, "after": one.after}


def difference_as_text(one: Difference, names: Mapping[str, str] | None = None) -> str:
    """A difference in words: "dark: 0123 in place of 4567"."""
    names = names or {}

    def named(identity: Any) -> str:
        short = str(identity)[:ID_LENGTH]
        name = names.get(identity, short)
        return name if short in name else f"{short} {name}"

    if one.what == "replaced":
        return f"{one.name}: {named(one.after)} in place of {named(one.before)}"
    if one.what == "removed":
        return f"without {one.name} {named(one.before)}"
    if one.what == "added":
        return f"with {one.name} {named(one.after)}"
    if one.what == "provisional":
        return "provisional" if one.after else "no longer provisional"
    if one.what == "corrected":
        return _corrections(one.before or [], one.after or [])
    if one.what in ("recipe", "version"):
        return f"recipe {one.name} {one.after} in place of {one.before}".replace("recipe recipe", "recipe")
    if one.before is None or one.after is None:
        return f"{one.name}: {_value(one.after)} in place of {_value(one.before)}"
    return f"parameter {one.name}: {_value(one.after)} in place of {_value(one.before)}"


def _value(value: Any) -> str:
    return cell("", value) or "nothing"


def _corrections(before: Sequence[str], after: Sequence[str]) -> str:
    said = [f"corrected, {one}" for one in after if one not in before]
    return "; ".join(said + [f"no longer corrected, {one}" for one in before if one not in after])


def counts_as_text(rows: Iterable[Mapping[str, Any]]) -> str:
    """How many of each kind: "made again 3 reduced, 1 stack; blocked 2 reduced"."""
    counts: dict[str, Counter[str]] = {}
    for row in rows:
        counts.setdefault(row["change"], Counter())[row["kind"]] += 1
    return "; ".join(
        f"{words}: {', '.join(f'{number} {kind}' for kind, number in counts[what].items())}"
        for what, words in _WORDS.items()
        if what in counts
    )


def impact_as_text(title: str, rows: Sequence[Mapping[str, Any]], width: int) -> str:
    """A sentence that counts, and a table of all that would change."""
    if not rows:
        return f"{title}: nothing would change\n"
    shown = [{**row, "id": row["before"] or row["after"], "reason": _briefly(row)} for row in rows]
    kept = [key for key in COLUMNS if any(row[key] for row in shown)]
    return f"{title} would have\n  {counts_as_text(rows)}\n\n{render_table(shown, kept, width)}"


def _briefly(row: Mapping[str, Any]) -> str:
    """The reason in a table: what another input stands for is in the rows above."""
    found = [Difference(**one) for one in row["differences"]]
    replaced = sorted({one.name for one in found if one.what == "replaced"})
    if not replaced:
        return str(row["reason"])
    others = [difference_as_text(one) for one in found if one.what != "replaced"]
    return "; ".join([f"another {', '.join(replaced)}", *others])
