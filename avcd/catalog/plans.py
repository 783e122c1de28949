"""Planning: a camera's facts out, its plan in. The catalogue compares what should exist with what does."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, delete, insert, or_, select, update

from avcd.catalog.closures import last_closures
from avcd.catalog.facts import lock_camera
from avcd.catalog.models import cameras, flags, frames, job_inputs, jobs, products
from avcd.catalog.rows import FRAME_FIELDS, job_to_row, row_to_frame
from avcd.catalog.session import Database, chunks, fetch, insert_ignoring, upsert
from avcd.frame import (
    Blocked,
    FrameStatus,
    JobState,
    Plan,
    ProductFact,
    ProductKind,
    ProductSpec,
    ProductStatus,
    Snapshot,
    Wcs,
)

SERVING = (ProductStatus.FINAL, ProductStatus.PROVISIONAL, ProductStatus.HELD)
# What a plan says of a product that exists already, beside its status.
_CONFIRMED = ("camera", "slot", "reason", "telescope", "instrument", "target_name", "filter", "night", "observations")
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
    """The part of the catalogue that the planner reads and writes."""

    def cameras(self) -> list[str]:
        """Every camera with frames."""
        with self.read() as connection:
            return sorted(connection.execute(select(frames.c.camera).distinct()).scalars())

    def cameras_to_plan(self, digest: str) -> list[str]:
        """The cameras whose facts, or the ``digest`` of recipes, rules and settings, changed since they were planned."""
        current = and_(cameras.c.planned_revision == cameras.c.revision, cameras.c.planned_digest == digest)
        never = or_(cameras.c.planned_revision.is_(None), cameras.c.planned_digest.is_(None))
        with self.read() as connection:
            return sorted(connection.execute(select(cameras.c.name).where(or_(never, ~current))).scalars())

    def planned_digests(self) -> dict[str, str | None]:
        """The digest that each camera was last planned with, by whichever daemon."""
        with self.read() as connection:
            found = connection.execute(select(cameras.c.name, cameras.c.planned_digest))
            return {row.name: row.planned_digest for row in found}

    def revision(self, camera: str) -> int:
        """How often a camera's facts have changed; 0 for one that is not known."""
        with self.read() as connection:
            return connection.execute(select(cameras.c.revision).where(cameras.c.name == camera)).scalar() or 0

    def snapshot(self, camera: str) -> Snapshot:
        """All facts of one camera, of one moment; the frames' cards are left out."""
        here = frames.c.camera == camera
        columns = [frames.c[name] for name in FRAME_FIELDS]
        usable = select(*columns).where(here, frames.c.status == FrameStatus.OK).order_by(frames.c.id)
        rejecting = flags.c.active & (flags.c.kind == "reject")
        rejected_frames = select(flags.c.subject).join(frames, frames.c.id == flags.c.subject).where(rejecting, here)
        made = products.c.camera == camera
        rejected_products = select(flags.c.subject).join(products, products.c.id == flags.c.subject)
        died = select(jobs.c.id).where(jobs.c.camera == camera, jobs.c.state == JobState.DEAD)
        with self.read() as connection:
            rejected = set(connection.execute(rejected_frames).scalars())
            rejected |= set(connection.execute(rejected_products.where(rejecting, made)).scalars())
            found = [row_to_frame(row) for row in fetch(connection, usable)]
            subjects = {one.obs_id or one.session_id for one in found} - {None}
            facts = connection.execute(
                select(products.c.id, products.c.kind, products.c.slot, products.c.status, products.c.wcs).where(made)
            )
            return Snapshot(
                camera=camera,
                frames=tuple(found),
                rejected=frozenset(rejected),
                closures=last_closures(connection, {str(one) for one in subjects}),
                products={
                    one.id: ProductFact(
                        one.id, ProductKind(one.kind), one.slot, ProductStatus(one.status), Wcs(one.wcs)
                    )
                    for one in facts
                },
                dead=frozenset(connection.execute(died).scalars()),
            )

    def apply_plan(self, plan: Plan, digest: str, revision: int) -> PlanCounts:
        """Make the catalogue's jobs and products those of a plan, in one transaction.

        What should exist and does not becomes a job; what exists, was superseded and is right again serves again;
        what exists and should not is superseded, except where its successor is still to be made: then it serves
        until that exists.

        Parameters
        ----------
        digest
            What the plan depended on beside the facts.
        revision
            The camera's revision that the plan was made from; facts that changed since cause another plan.

        Raises
        ------
        ValueError
            Two products of the plan have one slot.
        """
        slots = [one.slot for one in plan.specs]
        if len(set(slots)) != len(slots):
            twice = sorted({one for one in slots if slots.count(one) > 1})
            raise ValueError(f"{plan.camera}: two products for one slot: {', '.join(twice)}")
        return self.write(lambda connection: _Application(connection, plan).apply(digest, revision))


class _Application:
    """One plan against the catalogue's rows, inside one transaction."""

    def __init__(self, connection: Connection, plan: Plan) -> None:
        self._connection = connection
        self._plan = plan
        self._camera = plan.camera

    def apply(self, digest: str, revision: int) -> PlanCounts:
        connection, camera = self._connection, self._camera
        insert_ignoring(connection, cameras, {"name": camera, "revision": revision})
        lock_camera(connection, camera)
        if self._is_outdated(digest, revision):
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
        added = self._write_jobs(missing, self._plan.blocked)
        withdrawn = self._withdraw({one.id for one in missing} | {one.id for one in self._plan.blocked})
        planned = {"planned_revision": revision, "planned_digest": digest}
        connection.execute(update(cameras).where(cameras.c.name == camera).values(**planned))
        return PlanCounts(len(kept), added, len(revived), superseded, withdrawn, len(self._plan.blocked))

    def _is_outdated(self, digest: str, revision: int) -> bool:
        """Whether another daemon has planned alike from newer facts: what it asked for must not be withdrawn."""
        newer = select(cameras.c.name).where(cameras.c.name == self._camera, cameras.c.planned_digest == digest)
        return self._connection.execute(newer.where(cameras.c.planned_revision > revision)).first() is not None

    def _load(self) -> None:
        """The rows of this camera, and those of the plan's ids that stand under another (a frame corrected)."""
        planned = [one.id for one in self._plan.specs] + [one.id for one in self._plan.blocked]
        self._products: dict[str, dict[str, Any]] = {}
        self._jobs: dict[str, dict[str, Any]] = {}
        whose = [(products.c.camera == self._camera, jobs.c.camera == self._camera)]
        whose += [(products.c.id.in_(some), jobs.c.id.in_(some)) for some in chunks(planned)]
        of_product = [products.c[name] for name in ("id", "status", *_CONFIRMED)]
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
            and row["status"] in SERVING
            and row["slot"] not in pending
            and row["camera"] == self._camera
        ]
        for some in chunks(stale):
            changed = update(products).where(products.c.id.in_(some)).values(status=ProductStatus.SUPERSEDED)
            self._connection.execute(changed)
        return len(stale)

    def _confirm(self, spec: ProductSpec) -> None:
        """A product stands: under this camera, with the plan's standing (a held one stays held) and words."""
        row = self._products[spec.id]
        values = {name: getattr(spec, name) for name in _CONFIRMED if name != "camera"}
        values |= {"camera": self._camera, "observations": list(spec.observations)}
        values["status"] = row["status"] if row["status"] == ProductStatus.HELD else str(spec.status)
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
        for some in chunks([row["id"] for row in rows]):
            self._connection.execute(delete(job_inputs).where(job_inputs.c.job.in_(some)))
        if inputs:
            self._connection.execute(insert(job_inputs), inputs)
        return added

    def _existing_inputs(self, missing: Iterable[ProductSpec]) -> set[str]:
        """Those product inputs that have been made and are not rejected."""
        wanted = {one.id for spec in missing for one in spec.inputs if one.origin == "product"}
        found: set[str] = set()
        for some in chunks(sorted(wanted)):
            there = select(products.c.id).where(products.c.id.in_(some), products.c.status != ProductStatus.REJECTED)
            found |= set(self._connection.execute(there).scalars())
        return found

    def _withdraw(self, wanted: set[str]) -> int:
        """Remove jobs that the plan does not name; those under way may end, but will not serve."""
        mine = {identity: row["state"] for identity, row in self._jobs.items() if row["camera"] == self._camera}
        unwanted = sorted(
            identity for identity, state in mine.items() if state in _WITHDRAWABLE and identity not in wanted
        )
        for some in chunks(unwanted):
            self._connection.execute(delete(jobs).where(jobs.c.id.in_(some)))
        running = sorted(identity for identity, state in mine.items() if state == JobState.RUNNING)
        for some in chunks(running):
            here = jobs.c.id.in_(some)
            still = jobs.c.id.in_([one for one in some if one in wanted])
            self._connection.execute(update(jobs).where(here).values(wanted=still))
        return len(unwanted)
