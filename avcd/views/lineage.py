"""Why a product was made, and made again: what differs from the one before in its place, and what brought that about."""

from __future__ import annotations

import datetime
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from avcd.comparison import Difference, Made, compare_made
from avcd.frame import InputRef
from avcd.views.changes import difference_as_text, difference_row
from avcd.views.details import flags_as_text, moment_as_text, pairs, titled
from avcd.views.tables import ID_LENGTH, cell, render_table

Row = Mapping[str, Any]
About = Callable[[Sequence[str]], Mapping[str, Row]]
HistoryOf = Callable[[str], Sequence[Row]]
_DEEPEST = 4  # masters of masters


def reason_row(row: Row, history: HistoryOf, about: About) -> dict[str, Any]:
    """Why a product was made, with the keys of the JSON contract.

    Parameters
    ----------
    row
        The product, as `avcd.catalog.Catalog.product_row` gives it.
    history, about
        `Catalog.history` and `Catalog.about`.

    Returns
    -------
    dict
        ``predecessor`` is what served before in its place (None: it is the first), ``differences`` are those from it,
        each in words (``text``) with what brought it about (``because``, empty where that is not known); ``serving``
        lists what serves in the place now.
    """
    keys = ("kind", "status", "reason", "slot", "recipe", "recipe_version", "parameters", "revision", "flags")
    found: dict[str, Any] = {"product": row["id"], **{key: row[key] for key in keys}}
    of_slot = list(history(row["id"]))
    found["serving"] = [one["id"] for one in of_slot if one["status"] in ("final", "provisional")]
    known = about([one["id"] for one in row["inputs"]])
    found["inputs"] = [{**one, "name": _name(known.get(one["id"]))} for one in row["inputs"]]
    before, after = _last_two(of_slot, row["id"])
    told = ("id", "revision", "status", "published")
    found["predecessor"] = {key: before[key] for key in told} if before else None
    found["differences"] = list(_differences(before, after, history, about, 0)) if before and after else []
    return found


def _last_two(of_slot: Sequence[Row], identity: str) -> tuple[Row | None, Row | None]:
    """The product before this one, and this one."""
    after = next((one for one in of_slot if one["id"] == identity), None)
    earlier = [one for one in of_slot if after and one["revision"] < after["revision"]]
    return (earlier[-1] if earlier else None), after


def _made(row: Row) -> Made:
    inputs = tuple(InputRef(one["role"], one["id"], one["origin"]) for one in row["inputs"])
    return Made(row["recipe"], row["recipe_version"], row["parameters"], inputs)


def _differences(before: Row, after: Row, history: HistoryOf, about: About, depth: int) -> Iterator[dict[str, Any]]:
    ids = sorted({one["id"] for row in (before, after) for one in row["inputs"]})
    known = about(ids)
    slots = {identity: one["slot"] for identity, one in known.items() if "slot" in one}
    names = {identity: name for identity in ids if (name := _name(known.get(identity)))}
    for one in compare_made(_made(before), _made(after), slots):
        because, text = _because(one, before, after, known), difference_as_text(one, names)
        same_place = one.what == "replaced" and slots.get(one.before) and slots.get(one.before) == slots.get(one.after)
        if not because and same_place and depth < _DEEPEST:
            older, newer = _last_two(history(one.after), one.after)
            if older and newer:
                told = _differences(older, newer, history, about, depth + 1)
                because = "; ".join(dict.fromkeys(_root(each) for each in told))
                because = f"it was made again: {because}" if because else ""
        yield {**difference_row(one), "text": text, "because": because}


def _root(told: Row) -> str:
    """What a difference comes from in the end: of a master made from a master, what happened to the last of them."""
    if not told["because"]:
        return str(told["text"])
    _, again, roots = told["because"].partition("it was made again: ")
    return roots if again else f"{told['text']} ({told['because']})"


def _because(one: Difference, before: Row, after: Row, known: Mapping[str, Row]) -> str:
    """What brought a difference about, as far as the catalogue remembers."""
    since = before["published"]
    if one.what == "provisional":
        return "what was missing is there" if one.before else ""
    if one.what == "corrected":
        said = [_correction(each, since) for value in known.values() for each in value.get("corrections", ())]
        return "; ".join(dict.fromkeys(text for text in said if text))
    old, new = known.get(one.before or "", {}), known.get(one.after or "", {})
    for flag in reversed(old.get("flags", ())):
        if flag["kind"] == "reject" and flag["active"]:
            return f"rejected {_who(flag)}"
    for flag in reversed(new.get("flags", ())):
        if flag["kind"] == "approve" and flag["active"] and flag["flagged_at"] > since:
            return f"approved {_who(flag)}"
        if flag["kind"] == "reject" and not flag["active"] and flag["withdrawn_at"] > since:
            return f"no longer rejected, by {flag['withdrawn_by']}: {flag['withdrawn_reason']}"
    corrected = [_correction(each, since) for value in (old, new) for each in value.get("corrections", ())]
    if any(corrected):
        return "; ".join(text for text in corrected if text)
    if one.what == "added" and new.get("first_seen", 0.0) > since:
        return f"it arrived on {moment_as_text(new['first_seen'])}"
    return _nearer(old, new, after["night"]) if one.what == "replaced" and old.get("slot") != new.get("slot") else ""


def _who(flag: Row) -> str:
    return f"by {flag['who']} on {moment_as_text(flag['flagged_at'])}: {flag['reason']}"


def _correction(one: Row, since: float) -> str:
    """A correction, or its withdrawal, that was made since."""
    if one["active"] and one["corrected_at"] > since:
        return f"{one['name']} corrected by {one['who']}: {one['reason']}"
    if not one["active"] and (one["withdrawn_at"] or 0.0) > since:
        return f"correction of {one['name']} withdrawn by {one['withdrawn_by']}: {one['withdrawn_reason']}"
    return ""


def _nearer(old: Row, new: Row, night: str | None) -> str:
    """Whether the new one is of a nearer night."""
    if not (night and old.get("night") and new.get("night")):
        return ""
    days = [abs((_date(one["night"]) - _date(night)).days) for one in (old, new)]
    if days[1] < days[0]:
        return f"it is nearer: {days[1]} in place of {days[0]} nights away"
    return ""


def _date(night: str) -> datetime.date:
    return datetime.date.fromisoformat(night)


def _name(about: Row | None) -> str | None:
    return PurePosixPath(about["path"]).name if about and about["path"] else None


def reason_as_text(found: Row, width: int) -> str:
    """Why a product was made, as sentences and tables."""
    head = [f"{found['kind']} {found['product']}"]
    head.append(f"  {found['status']}" + (f": {found['reason']}" if found["reason"] else ""))
    others = [one for one in found["serving"] if one != found["product"]]
    if others:
        head.append(f"  in its place serves {', '.join(others)}")
    head.append(f"  made by recipe {found['recipe']} version {found['recipe_version']}")
    before = found["predecessor"]
    if before is None:
        head.append("  the first of its place")
    else:
        when = moment_as_text(before["published"])
        head.append(f"  made again after {before['id'][:ID_LENGTH]} (revision {before['revision']}, {when}):")
        for one in found["differences"]:
            said = cell("", one["text"]) + (f" – {cell('', one['because'])}" if one["because"] else "")
            head.append(
                textwrap.fill(
                    said,
                    width,
                    initial_indent="    ",
                    subsequent_indent="      ",
                    break_on_hyphens=False,
                    break_long_words=False,
                )
            )
    parts = ["\n".join(head) + "\n", titled("Recipe", pairs(found["parameters"]), ("key", "value"), width)]
    inputs = [{**one, "id": one["id"][:ID_LENGTH]} for one in found["inputs"]]
    parts.append(f"Inputs\n{render_table(inputs, ('role', 'id', 'origin', 'name'), width)}" if inputs else "")
    parts.append(flags_as_text(found, width))
    return "\n".join(part for part in parts if part)
