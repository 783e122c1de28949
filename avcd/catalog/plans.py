"""Planning: a camera's facts out, its plan in. The catalogue compares what should exist with what does."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, delete, select, update

from avcd.catalog.among import among
from avcd.catalog.bulk import insert_many
from avcd.catalog.candidates import write_associations, write_masters
from avcd.catalog.facts import lock_camera
from avcd.catalog.models import cameras, job_inputs, jobs, products, unplanned
from avcd.catalog.rows import job_to_row
from avcd.catalog.session import Database, chunks, fetch, insert_ignoring, upsert
from avcd.catalog.snapshots import Unplanned
from avcd.frame import Blocked, JobState, Plan, ProductSpec, ProductStatus

SERVING = (ProductStatus.FINAL, ProductStatus.PROVISIONAL, ProductStatus.HELD)
# What a plan says of a product that exists already, beside its status.
_CONFIRMED = (
    "camera",
    "subject",
    "slot",
    "reason",
    "telescope",
    "instrument",
    "target_name",
    "filter",
    "night",
    "observations",
)
_WITHDRAWABLE = (JobState.WAITING, JobState.READY, JobState.BLOCKED)


@dataclass(frozen=True, slots=True)
class PlanCounts:
    """What applying a plan came to."""

    kept: int = 0  # products that stand as they are
    added: int = 0  # jobs that were not there
    revived: int = 0  # superseded products that are right again
    superseded: int = 0
    withdrawn: int = 0  # jobs that nothing wants any more
    blocked: int = 0

    def __str__(self) -> str:
        """The counts that are not zero."""
        pairs = [(name, getattr(self, name)) for name in self.__slots__]
        return ", ".join(f"{value} {name}" for name, value in pairs if value) or "nothing"


class Plans(Database):
    """The part of the catalogue that plans are written into."""

    def apply_plan(self, plan: Plan, digest: str, facts: Unplanned) -> PlanCounts:
        """Make the catalogue's jobs and products those of a plan, in one transaction.

        A plan of some groups changes nothing of the others.

        What should exist and does not becomes a job; what exists, was superseded and is right again serves again;
        what exists and should not is superseded, except where its successor is still to be made: then it serves
        until that exists.

        Parameters
        ----------
        digest
            What the plan depended on beside the facts.
        facts
            What the plan was made from; facts that changed since cause another plan. When somebody else planned
            the camera meanwhile, nothing is written: the groups are still to be planned.

        Raises
        ------
        ValueError
            Two products of the plan have one slot.
        """
        slots = [one.slot for one in plan.specs]
        if len(set(slots)) != len(slots):
            twice = sorted({one for one in slots if slots.count(one) > 1})
            raise ValueError(f"{plan.camera}: two products for one slot: {', '.join(twice)}")
        return self.write(lambda connection: _Application(connection, plan).apply(digest, facts))


class _Application:
    """One plan against the catalogue's rows, inside one transaction."""

    def __init__(self, connection: Connection, plan: Plan) -> None:
        self._connection = connection
        self._plan = plan
        self._camera = plan.camera

    def apply(self, digest: str, facts: Unplanned) -> PlanCounts:
        connection, camera = self._connection, self._camera
        insert_ignoring(connection, cameras, {"name": camera, "revision": facts.revision})
        lock_camera(connection, camera)
        if self._was_planned_since(facts):
            return PlanCounts()
        self._load()
        specs = {one.id: one for one in self._plan.specs}
        status = {one: self._products[one]["status"] for one in specs if one in self._products}
        kept = {one for one in status if status[one] in SERVING}
        revived = {one for one in status if status[one] == ProductStatus.SUPERSEDED}
        missing = [one for identity, one in specs.items() if identity not in self._products]
        superseded = self._supersede(specs, {one.slot for one in missing})
        for identity in sorted(kept | revived):
            self._confirm(specs[identity])
        self._keep()
        added = self._write_jobs(missing, self._plan.blocked)
        withdrawn = self._withdraw({one.id for one in missing} | {one.id for one in self._plan.blocked})
        planned: dict[str, Any] = {"planned_revision": facts.revision, "planned_digest": digest}
        if write_masters(connection, camera, self._plan.subjects, self._plan.masters):
            planned["masters_version"] = cameras.c.masters_version + 1
        write_associations(connection, camera, self._plan.subjects, self._plan.associations)
        connection.execute(update(cameras).where(cameras.c.name == camera).values(**planned))
        for subject, version in facts.versions:
            done = and_(unplanned.c.camera == camera, unplanned.c.subject == subject, unplanned.c.version == version)
            connection.execute(delete(unplanned).where(done))
        return PlanCounts(len(kept), added, len(revived), superseded, withdrawn, len(self._plan.blocked))

    def _was_planned_since(self, facts: Unplanned) -> bool:
        """Whether another daemon has planned the camera since the facts were read: what it asked for must not be withdrawn."""
        now = select(cameras.c.planned_revision, cameras.c.planned_digest).where(cameras.c.name == self._camera)
        return tuple(self._connection.execute(now).one()) != facts.planned

    def _load(self) -> None:
        """The rows of this camera, and those of the plan's ids that stand under another (a frame corrected)."""
        planned = [one.id for one in self._plan.specs] + [one.id for one in self._plan.blocked]
        self._products: dict[str, dict[str, Any]] = {}
        self._jobs: dict[str, dict[str, Any]] = {}
        whose = [(products.c.camera == self._camera, jobs.c.camera == self._camera)]
        if self._plan.subjects is not None:
            mine = whose[0]
            whose = [
                (and_(mine[0], among(products.c.subject, some)), and_(mine[1], among(jobs.c.subject, some)))
                for some in chunks(sorted(self._plan.subjects))
            ]
        whose += [(among(products.c.id, some), among(jobs.c.id, some)) for some in chunks(planned)]
        of_product = [products.c[name] for name in ("id", "status", "held", *_CONFIRMED)]
        of_job = [jobs.c[name] for name in ("id", "state", "digest", "camera")]
        for these_products, these_jobs in whose:
            found = fetch(self._connection, select(*of_product).where(these_products))
            self._products |= {row["id"]: row for row in found}
            self._jobs |= {row["id"]: row for row in fetch(self._connection, select(*of_job).where(these_jobs))}

    def _supersede(self, specs: dict[str, ProductSpec], pending: set[str]) -> int:
        """Retire what the plan does not name, unless its successor is still to be made."""
        stale = [
            identity
            for identity, row in self._products.items()
            if identity not in specs
            and identity not in self._plan.kept
            and row["status"] in SERVING
            and row["slot"] not in pending
            and row["camera"] == self._camera
        ]
        for some in chunks(stale):
            changed = update(products).where(among(products.c.id, some)).values(status=ProductStatus.SUPERSEDED)
            self._connection.execute(changed)
        return len(stale)

    def _keep(self) -> None:
        """What serves until its held successor is approved, serves again if it was superseded already."""
        stands = self._products
        again = [
            one for one in sorted(self._plan.kept)
            if one in stands and stands[one]["status"] == ProductStatus.SUPERSEDED
        ]  # fmt: skip
        for some in chunks(again):
            changed = update(products).where(among(products.c.id, some)).values(status=ProductStatus.FINAL)
            self._connection.execute(changed)

    def _confirm(self, spec: ProductSpec) -> None:
        """A product stands: under this camera, with the plan's standing and words."""
        row = self._products[spec.id]
        values = {name: getattr(spec, name) for name in _CONFIRMED if name != "camera"}
        values |= {"camera": self._camera, "observations": list(spec.observations)}
        values["status"] = str(spec.status)
        if spec.status is ProductStatus.HELD:
            values["reason"] = row["held"]
        if any(row[name] != value for name, value in values.items()):
            self._connection.execute(update(products).where(products.c.id == spec.id).values(**values))

    def _write_jobs(self, missing: Iterable[ProductSpec], blocked: Iterable[Blocked]) -> int:
        """Add or correct the jobs of what is missing; returns how many are new."""
        missing = list(missing)
        existing = self._existing_inputs(missing)
        rows: list[dict[str, Any]] = []
        inputs: list[dict[str, Any]] = []
        added = 0
        everything: list[ProductSpec | Blocked] = [*missing, *blocked]
        for planned in everything:
            before = self._jobs.get(planned.id, {})
            state = before.get("state", "")
            row = job_to_row(self._camera, planned)
            if isinstance(planned, Blocked):
                row["state"] = str(JobState.BLOCKED)
            elif all(one.origin != "product" or one.id in existing for one in planned.inputs):
                row["state"] = str(JobState.READY)
            else:
                row["state"] = str(JobState.WAITING)
            if state in (JobState.RUNNING, JobState.DEAD):
                row["state"] = state
            if before and all(row[name] == before[name] for name in before):
                continue
            added += not state
            rows.append({**row, "attempts": 0, "wanted": True})
            inputs += [
                {"job": planned.id, "position": position, "role": one.role, "id": one.id, "origin": one.origin}
                for position, one in enumerate(planned.inputs)
            ]
        upsert(self._connection, jobs, ("id",), rows, keep=("attempts",))
        for some in chunks([row["id"] for row in rows if row["id"] in self._jobs]):
            self._connection.execute(delete(job_inputs).where(among(job_inputs.c.job, some)))
        insert_many(self._connection, job_inputs, inputs)
        return added

    def _existing_inputs(self, missing: Iterable[ProductSpec]) -> set[str]:
        """Those product inputs that have been made, and were not rejected since."""
        wanted = {one.id for spec in missing for one in spec.inputs if one.origin == "product"}
        found: set[str] = set()
        for some in chunks(sorted(wanted)):
            there = select(products.c.id).where(among(products.c.id, some), products.c.status != ProductStatus.REJECTED)
            found |= set(self._connection.execute(there).scalars())
        return found

    def _withdraw(self, wanted: set[str]) -> int:
        """Remove jobs that the plan does not name; those under way may end, but will not serve."""
        mine = {identity: row["state"] for identity, row in self._jobs.items() if row["camera"] == self._camera}
        unwanted = sorted(
            identity for identity, state in mine.items() if state in _WITHDRAWABLE and identity not in wanted
        )
        for some in chunks(unwanted):
            self._connection.execute(delete(jobs).where(among(jobs.c.id, some)))
        running = sorted(identity for identity, state in mine.items() if state == JobState.RUNNING)
        for some in chunks(running):
            here = among(jobs.c.id, some)
            still = jobs.c.id.in_([one for one in some if one in wanted])
            self._connection.execute(update(jobs).where(here).values(wanted=still))
        return len(unwanted)
