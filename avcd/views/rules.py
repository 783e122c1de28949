"""What a changed rule set would change: for every frame the calibrations that two plans give it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from avcd.frame import Closure, ImageType, Plan, ProductKind, Snapshot
from avcd.views.tables import render_table

Row = dict[str, Any]
KEYS = ("camera", "image_type", "night", "target_name", "filter", "subject", "id", "kind", "change", "before", "after")
_KINDS = ("bias", "dark", "flat")
_CALIBRATED = (ProductKind.REDUCED, ProductKind.MASTER_DARK, ProductKind.MASTER_FLAT)
_CHANGES = ("another", "matched", "unmatched")


def as_if_complete(snapshot: Snapshot) -> Snapshot:
    """The facts with every observation complete, so that a plan gives each frame what there is for it."""
    members: dict[str, list[str]] = {}
    for frame in snapshot.frames:
        if frame.image_type is ImageType.SCIENCE and frame.obs_id:
            members.setdefault(frame.obs_id, []).append(frame.id)
    complete = {subject: Closure(subject, tuple(sorted(ids)), "explicit") for subject, ids in members.items()}
    return replace(snapshot, closures={**snapshot.closures, **complete})


def changed_choices(snapshot: Snapshot, before: Plan, after: Plan) -> Iterator[Row]:
    """Every frame, and every session of flats or darks, that one plan gives another calibration than the other.

    A master is told by its session, for the same session may be combined otherwise under other rules; a delivered one
    by its id.

    Yields
    ------
    dict
        ``change`` is "another", "matched" (nothing served before) or "unmatched" (nothing serves any more).
    """
    frames = {one.id: one for one in snapshot.frames}
    old, new = _choices(before), _choices(after)
    of = {**_raw(after), **_raw(before)}
    for place in sorted(old.keys() | new.keys()):
        like = frames[of[place]]
        for kind in _KINDS:
            was, now = old.get(place, {}).get(kind), new.get(place, {}).get(kind)
            if was == now:
                continue
            yield {
                "camera": snapshot.camera,
                "image_type": str(like.image_type),
                "night": like.night,
                "target_name": like.target_name,
                "filter": like.filter,
                "subject": like.obs_id or like.session_id,
                "id": like.id if like.image_type is ImageType.SCIENCE else None,
                "kind": kind,
                "change": "matched" if was is None else "unmatched" if now is None else "another",
                "before": was,
                "after": now,
            }


def _raw(plan: Plan) -> Mapping[str, str]:
    """Slot of what is calibrated to the first of the frames in it."""
    return {
        one.slot: next(ref.id for ref in one.inputs if ref.role == "raw")
        for one in plan.specs
        if one.kind in _CALIBRATED
    }


def _choices(plan: Plan) -> Mapping[str, Mapping[str, str]]:
    """Slot of what is calibrated to kind of calibration to what serves."""
    places = {one.id: one.slot.partition(":")[2] for one in plan.specs}
    return {
        one.slot: {ref.role: places.get(ref.id, ref.id) for ref in one.inputs if ref.role in _KINDS}
        for one in plan.specs
        if one.kind in _CALIBRATED
    }


def summary_as_text(rows: Sequence[Mapping[str, Any]], width: int) -> str:
    """How many frames of each camera, by kind of calibration and what changes."""
    counts = Counter((row["camera"], row["kind"], row["change"]) for row in rows)
    keys = sorted({(camera, kind) for camera, kind, _ in counts}, key=lambda key: (key[0], _KINDS.index(key[1])))
    table = [
        {"camera": camera, "kind": kind, **{change: counts[camera, kind, change] for change in _CHANGES}}
        for camera, kind in keys
    ]
    return render_table(table, ("camera", "kind", *_CHANGES), width)
