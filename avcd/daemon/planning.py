"""One camera brought up to date: what changed is planned, and what a change of its masters concerns."""

from __future__ import annotations

from dataclasses import dataclass

from avcd.acceptance import unacceptable
from avcd.association import Rules
from avcd.catalog import Catalog, PlanCounts, Reach
from avcd.config import Processing
from avcd.frame import MASTER_KINDS
from avcd.planner import plan, plan_offers, planning_digest, reach_days, target_of_panel
from avcd.recipes import Recipes
from avcd.uncollected import uncollected
from avcd.work import Claim, Published


@dataclass(frozen=True)
class Planning:
    """How a home plans: by which recipes, rules and settings."""

    recipes: Recipes
    rules: Rules
    processing: Processing

    @property
    def digest(self) -> str:
        """What, besides the facts, a plan depends on."""
        return planning_digest(self.recipes, self.rules, self.processing)

    def held(self, claim: Claim, published: Published) -> str:
        """Why a master that was just made is to be approved before it may serve; "" for one that may, and for others."""
        if claim.spec.kind not in MASTER_KINDS:
            return ""
        limits = self.rules.for_instrument(claim.spec.instrument).limits
        return "; ".join(unacceptable(claim.spec.kind, published.metrics, claim.previous, limits))


def plan_camera(catalog: Catalog, camera: str, planning: Planning) -> PlanCounts:
    """Plan those observations and sessions of a camera whose facts changed, and those that this concerns.

    A session that offers another master than before concerns every group that uses it, or might use it now; these are
    planned with it, until nothing more changes; and so are the panels of a mosaic, each with all others, and the observations
    with frames that another's stars may solve. The outcome is that of planning the whole camera; only the words of a
    refusal name what was nearest when the group itself was planned.

    Returns
    -------
    PlanCounts
        What applying the plan came to; all zero when another daemon was faster.
    """
    with uncollected():
        return _plan_camera(catalog, camera, planning)


def _plan_camera(catalog: Catalog, camera: str, planning: Planning) -> PlanCounts:
    digest = planning.digest
    facts = catalog.unplanned(camera, digest)
    subjects, how = facts.subjects, (planning.recipes, planning.rules, planning.processing)
    target_of = target_of_panel(planning.processing)
    snapshot = catalog.snapshot(camera, subjects)
    while subjects is not None:
        reach = Reach(reach_days(snapshot, planning.rules))
        more = catalog.concerned(plan_offers(snapshot, *how), reach) | catalog.companions(camera, subjects, target_of)
        if not more:  # whose stars serve others is known only once everything is planned
            found = plan(snapshot, *how)
            more = catalog.borrowers(found)
            if not more:
                return catalog.apply_plan(found, digest, facts)
        subjects |= more
        snapshot = catalog.snapshot(camera, subjects)
    return catalog.apply_plan(plan(snapshot, *how), digest, facts)
