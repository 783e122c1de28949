"""The planner: from a camera's facts to the products that should exist. Pure and deterministic.

The same facts, recipes, rules and settings give the same plan, whatever the order they were learnt in; there is no
clock here and no look at what exists. The catalogue compares the plan with the archive: what should exist and does
not becomes a job, what exists and should not is superseded.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict

from avcd.association import KINDS, Rules
from avcd.config import Processing
from avcd.errors import UsageError
from avcd.frame import Need, Plan, Snapshot, canonical_json
from avcd.planner.building import PlanBuilder
from avcd.planner.masters import plan_masters
from avcd.planner.mosaics import target_of_panel
from avcd.planner.science import explain_needs, plan_previews, plan_science
from avcd.recipes import Recipes

__all__ = ["explain", "plan", "plan_offers", "planning_digest", "reach_days", "target_of_panel"]


def plan(snapshot: Snapshot, recipes: Recipes, rules: Rules, processing: Processing) -> Plan:
    """The products that should exist for one camera, and those that are blocked with their reasons.

    Parameters
    ----------
    snapshot
        The facts of one camera, or of some of its observations and sessions with the masters that the others offer:
        then the plan is that part of the camera's plan. The order of frames does not matter.
    recipes, rules, processing
        How products are made, how calibrations are matched, what to do when one is missing.

    Returns
    -------
    Plan
        Specs sorted by id.
    """
    builder = PlanBuilder(snapshot, recipes, rules, processing)
    plan_masters(builder)
    plan_science(builder)
    if processing.previews:
        plan_previews(builder)
    return builder.finish()


def plan_offers(snapshot: Snapshot, recipes: Recipes, rules: Rules, processing: Processing) -> Plan:
    """The part of `plan` that others depend on: the masters, and what they are made of themselves."""
    builder = PlanBuilder(snapshot, recipes, rules, processing)
    plan_masters(builder)
    return builder.finish()


def explain(
    snapshot: Snapshot, recipes: Recipes, rules: Rules, frame_id: str, processing: Processing | None = None
) -> list[Need]:
    """Every need of one frame, with a verdict on every candidate.

    Raises
    ------
    UsageError
        The frame is not usable: unknown to this camera, rejected, unreadable, or one of avcd's own products.
    """
    builder = PlanBuilder(snapshot, recipes, rules, processing or Processing())
    if frame_id not in builder.frames:
        raise UsageError(f"frame {frame_id[:12]} is rejected, unreadable, or no frame of {snapshot.camera}")
    plan_masters(builder)
    return explain_needs(builder, builder.frames[frame_id])


def reach_days(snapshot: Snapshot, rules: Rules) -> dict[str, float]:
    """How far in time, at most, a master of each kind serves a frame of this camera [days]."""
    instruments = {one.instrument for one in (*snapshot.frames, *(one.candidate.like for one in snapshot.masters))}
    found = [rules.for_instrument(one).age.reach for one in instruments] or [rules.default.age.reach]
    return {kind: max(one[kind][-1] for one in found) for kind in KINDS}


def planning_digest(recipes: Recipes, rules: Rules, processing: Processing) -> str:
    """What, besides the facts, a plan depends on; a change of it makes every camera be planned again."""
    text = canonical_json(
        [
            sorted((kind, one.name, one.version, dict(one.parameters)) for kind, one in recipes.items()),
            [asdict(one) for recipe in recipes.values() for one in recipe.named],
            rules.digest,
            processing.model_dump(mode="json"),
        ]
    )
    return hashlib.sha256(text.encode()).hexdigest()
