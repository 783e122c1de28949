"""The plan against what exists: the jobs that would run now."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from avcd.frame import Blocked, Plan, ProductSpec, ProductStatus, Snapshot


def pending_rows(plan: Plan, snapshot: Snapshot) -> Iterator[dict[str, Any]]:
    """What should exist and does not, the most urgent first, then what cannot be made yet.

    Yields
    ------
    dict
        With the keys of a job: ``state`` is "ready" (would run now), "waiting" (for the products it names) or
        "blocked".
    """
    there = {one.id for one in snapshot.products.values() if one.status is not ProductStatus.REJECTED}
    missing = [one for one in plan.specs if one.id not in there]
    for spec in sorted(missing, key=lambda one: (one.priority, one.id)):
        ready = all(one.origin != "product" or one.id in there for one in spec.inputs)
        yield {**_row(spec, "ready" if ready else "waiting"), "path": spec.path, "priority": spec.priority}
    for blocked in plan.blocked:
        yield {**_row(blocked, "blocked"), "path": None, "priority": None}


def _row(planned: ProductSpec | Blocked, state: str) -> dict[str, Any]:
    return {
        "id": planned.id,
        "kind": str(planned.kind),
        "state": state,
        "reason": planned.reason,
        "attempts": 0,
        "slot": planned.slot,
        "telescope": planned.telescope,
        "instrument": planned.instrument,
        "target_name": planned.target_name,
        "filter": planned.filter,
        "night": planned.night,
        "inputs": [{"role": one.role, "id": one.id, "origin": one.origin} for one in planned.inputs],
    }
