"""Jobs: the queue. A job is leased to one owner at a time; a token fences everything its owner writes."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, and_, delete, exists, func, insert, or_, select, update

from avcd.catalog.candidates import alike
from avcd.catalog.facts import facts_changed, lock_camera
from avcd.catalog.inputs import metrics_of, resolve_inputs
from avcd.catalog.models import (
    attempts,
    candidates,
    closures,
    flags,
    job_inputs,
    jobs,
    metrics,
    product_inputs,
    products,
)
from avcd.catalog.plans import SERVING
from avcd.catalog.rows import metric_to_row, spec_from_json
from avcd.catalog.session import Database, fetch_first, upsert
from avcd.errors import LeaseLostError
from avcd.frame import LENDER, MASTER_KINDS, InputRef, JobState, ProductKind, ProductSpec, ProductStatus, Wcs
from avcd.sections import Section
from avcd.work import Claim, JobInput, Published

_FREE: dict[str, Any] = {"token": None, "owner": None, "leased_until": None}


class Jobs(Database):
    """The part of the catalogue that the runner works from."""

    def claim_job(
        self, owner: str, lease_s: float, now: float, kinds: Iterable[ProductKind] | None = None
    ) -> Claim | None:
        """Lease the most urgent job that is ready, or whose owner gave no sign of life until its lease ended.

        Parameters
        ----------
        owner
            Who works on it; the same text after a restart.
        lease_s, now
            The lease ends at ``now + lease_s``; seconds since the epoch.
        kinds
            Only jobs of these kinds.

        Returns
        -------
        Claim or None
            None when nothing is to be done now. A frame that no file holds any more has an input without a root.
        """
        wanted = None if kinds is None else [str(one) for one in kinds]

        def work(connection: Connection) -> Claim | None:
            while True:
                row = _take(connection, owner, lease_s, now, wanted)
                if row is None:
                    return None
                lost = and_(attempts.c.job == row["id"], attempts.c.outcome.is_(None))
                connection.execute(update(attempts).where(lost).values(ended=now, outcome="lost"))
                if row["wanted"]:
                    break
                connection.execute(delete(jobs).where(jobs.c.id == row["id"]))
            attempt = {"job": row["id"], "number": row["attempts"], "token": row["token"], "owner": owner}
            connection.execute(insert(attempts).values(**attempt, started=now, error=""))
            spec = spec_from_json(row["spec"])
            inputs = resolve_inputs(connection, spec.inputs)
            return Claim(
                job_id=row["id"],
                token=row["token"],
                attempt=row["attempts"],
                spec=spec,
                inputs=inputs,
                predecessor=_predecessor(connection, row["camera"], spec),
                previous=_previous(connection, row["camera"], spec, inputs),
            )

        return self.write(work)

    def renew(self, tokens: Iterable[str], lease_s: float, now: float) -> None:
        """Extend the leases that still hold."""
        mine = and_(jobs.c.token.in_(list(tokens)), jobs.c.state == JobState.RUNNING)
        self.write(lambda connection: connection.execute(update(jobs).where(mine).values(leased_until=now + lease_s)))

    def running_tokens(self) -> frozenset[str]:
        """The tokens of the jobs that run, whoever has them; one that is slow to renew its lease may be at work still."""
        held = select(jobs.c.token).where(jobs.c.state == JobState.RUNNING)
        with self.read() as connection:
            return frozenset(connection.execute(held).scalars())

    def finish_job(self, claim: Claim, published: Published, now: float, held: str = "") -> None:
        """Record a product and end its job, in one transaction.

        The product serves in its slot and supersedes what did; jobs that waited for it alone become ready. A product
        that the plan dropped while it was made is recorded as superseded.

        Parameters
        ----------
        held
            Why the product is to be approved before it may serve; what served in its slot goes on.

        Raises
        ------
        LeaseLostError
            The job belongs to somebody else now; nothing is recorded.
        """

        def work(connection: Connection) -> None:
            job = _locked_job(connection, claim)
            status = spec_from_json(job["spec"]).status if job["wanted"] else ProductStatus.SUPERSEDED
            before = select(products.c.status).where(products.c.id == claim.spec.id)
            reason = claim.spec.reason
            if connection.execute(before).scalar() == ProductStatus.REJECTED:
                status = ProductStatus.REJECTED
            elif (
                held
                and status in (ProductStatus.FINAL, ProductStatus.PROVISIONAL)
                and not _is_approved(connection, claim)
            ):
                status, reason = ProductStatus.HELD, held
            made = replace(claim, spec=replace(claim.spec, reason=reason))
            _record_product(connection, job["camera"], made, published, status, now, held)
            values = {**_FREE, "state": JobState.DONE, "not_before": None, "wanted": True}
            connection.execute(update(jobs).where(jobs.c.id == claim.job_id).values(**values))
            _end_attempt(connection, claim, "done", "", now)
            if status is ProductStatus.HELD or _may_solve_others(connection, job, claim.spec):
                facts_changed(connection, [(job["camera"], job["subject"])])
            if status not in (ProductStatus.HELD, ProductStatus.REJECTED):
                _make_ready(connection, claim.spec.id)

        self.write(work)

    def fail_job(
        self, claim: Claim, error: str, *, retry: bool, max_attempts: int, backoff_s: float, now: float
    ) -> JobState:
        """Record that an attempt failed.

        Parameters
        ----------
        retry
            Whether trying again can help.
        max_attempts
            After this many failed attempts the job is dead.
        backoff_s
            Pause before the second attempt [s], doubled for each further one.

        Returns
        -------
        JobState
            READY or DEAD. A job that the plan dropped meanwhile is gone, and READY is returned: nobody waits for it.

        Raises
        ------
        LeaseLostError
            The job belongs to somebody else now.
        """

        def work(connection: Connection) -> JobState:
            job = _locked_job(connection, claim)
            _end_attempt(connection, claim, "interrupted" if retry else "failed", error, now)
            here = jobs.c.id == claim.job_id
            if not job["wanted"]:
                connection.execute(delete(jobs).where(here))
                return JobState.READY
            mine = and_(attempts.c.job == claim.job_id, attempts.c.outcome.in_(_FAILURES))
            failures = connection.execute(select(func.count()).select_from(attempts).where(mine)).scalar_one()
            if retry and failures < max_attempts:
                pause_s = backoff_s * 2 ** (failures - 1)
                values = {**_FREE, "state": JobState.READY, "not_before": now + pause_s, "reason": error}
                connection.execute(update(jobs).where(here).values(**values))
                return JobState.READY
            connection.execute(update(jobs).where(here).values(**_FREE, state=JobState.DEAD, reason=error))
            facts_changed(connection, [(job["camera"], job["subject"])])
            return JobState.DEAD

        return self.write(work)

    def give_back(self, claim: Claim) -> None:
        """Make a claimed job ready again without a failure on its record: it was not its fault."""

        def work(connection: Connection) -> None:
            here = and_(jobs.c.id == claim.job_id, jobs.c.token == claim.token, jobs.c.state == JobState.RUNNING)
            mine = and_(attempts.c.job == claim.job_id, attempts.c.number == claim.attempt)
            connection.execute(update(attempts).where(mine, attempts.c.outcome.is_(None)).values(outcome="released"))
            connection.execute(delete(jobs).where(here, ~jobs.c.wanted))
            connection.execute(update(jobs).where(here).values(**_FREE, state=JobState.READY))

        self.write(work)

    def release(self, owner: str) -> int:
        """Make every job that this owner left running ready again; returns how many. For a start after a crash."""

        def work(connection: Connection) -> int:
            mine = and_(jobs.c.owner == owner, jobs.c.state == JobState.RUNNING)
            ids = select(jobs.c.id).where(mine)
            ended = and_(attempts.c.job.in_(ids), attempts.c.outcome.is_(None))
            connection.execute(update(attempts).where(ended).values(outcome="released"))
            connection.execute(delete(jobs).where(mine, ~jobs.c.wanted))
            return connection.execute(update(jobs).where(mine).values(**_FREE, state=JobState.READY)).rowcount

        return self.write(work)

    def retry_job(self, job_id: str) -> bool:
        """Forget that a job died, so that its product is planned again; returns whether there was such a job."""

        def work(connection: Connection) -> bool:
            dead = and_(jobs.c.id == job_id, jobs.c.state == JobState.DEAD)
            gone = connection.execute(delete(jobs).where(dead).returning(jobs.c.camera, jobs.c.subject))
            groups = [(row.camera, row.subject) for row in gone]
            facts_changed(connection, groups)
            return bool(groups)

        return self.write(work)

    def retry_interrupted(self) -> int:
        """Forget the deaths of jobs that a full disk or the like brought about; returns how many. For a daemon's start."""

        def work(connection: Connection) -> int:
            passing = exists().where(
                attempts.c.job == jobs.c.id,
                attempts.c.number == jobs.c.attempts,
                attempts.c.outcome == "interrupted",
            )
            dead = delete(jobs).where(jobs.c.state == JobState.DEAD, passing)
            gone = connection.execute(dead.returning(jobs.c.camera, jobs.c.subject))
            groups = [(row.camera, row.subject) for row in gone]
            facts_changed(connection, groups)
            return len(groups)

        return self.write(work)

    def has_ready(self, now: float) -> bool:
        """Whether a job could be claimed now."""
        with self.read() as connection:
            return connection.execute(select(jobs.c.id).where(_claimable(now)).limit(1)).first() is not None

    def next_wakeup(self) -> float | None:
        """When the next job can be claimed (seconds since the epoch; 0: at once), None when none will by itself."""
        ready = select(func.min(func.coalesce(jobs.c.not_before, 0.0))).where(jobs.c.state == JobState.READY)
        leased = select(func.min(jobs.c.leased_until)).where(jobs.c.state == JobState.RUNNING)
        with self.read() as connection:
            found = [connection.execute(one).scalar() for one in (ready, leased)]
        return min((one for one in found if one is not None), default=None)

    def unfinished(self) -> int:
        """How many jobs wait, are ready or run."""
        open_states = (JobState.WAITING, JobState.READY, JobState.RUNNING)
        with self.read() as connection:
            return connection.execute(
                select(func.count()).select_from(jobs).where(jobs.c.state.in_(open_states))
            ).scalar_one()


# An interrupted attempt met something that may pass (a full disk); a failed one would fail again.
_FAILURES = ("failed", "interrupted")


def _claimable(now: float) -> Any:
    ready = and_(jobs.c.state == JobState.READY, or_(jobs.c.not_before.is_(None), jobs.c.not_before <= now))
    return or_(ready, and_(jobs.c.state == JobState.RUNNING, jobs.c.leased_until < now))


def _take(
    connection: Connection, owner: str, lease_s: float, now: float, kinds: list[str] | None
) -> Mapping[str, Any] | None:
    """Lease the first job that is claimable: one statement, so that two owners never get the same."""
    choice = select(jobs.c.id).where(_claimable(now))
    if kinds is not None:
        choice = choice.where(jobs.c.kind.in_(kinds))
    # PostgreSQL leaves out the rows that another claim holds this moment; SQLite has one writer at a time.
    choice = choice.order_by(jobs.c.priority, jobs.c.id).limit(1).with_for_update(skip_locked=True)
    lease = {
        "state": JobState.RUNNING,
        "token": uuid.uuid4().hex,
        "owner": owner,
        "leased_until": now + lease_s,
        "not_before": None,
        "attempts": jobs.c.attempts + 1,
    }
    # The subquery is run once for sure only when it is materialised; a plain one may be run for every row.
    chosen = choice.cte("chosen").prefix_with("MATERIALIZED", dialect="postgresql")
    taken = update(jobs).where(jobs.c.id.in_(select(chosen.c.id))).values(**lease).returning(jobs)
    return fetch_first(connection, taken)


def _predecessor(connection: Connection, camera: str, spec: ProductSpec) -> JobInput | None:
    """The provisional product that a final one is to replace; None where there is none."""
    if spec.status is not ProductStatus.FINAL:
        return None
    here = and_(products.c.camera == camera, products.c.slot == spec.slot, products.c.id != spec.id)
    serving = select(products.c.id).where(here, products.c.status == ProductStatus.PROVISIONAL)
    found = connection.execute(serving).scalar()
    return None if found is None else resolve_inputs(connection, [InputRef("predecessor", found, "product")])[0]


def _locked_job(connection: Connection, claim: Claim) -> Mapping[str, Any]:
    """The claimed job's row, with its camera locked, if the lease still holds."""
    here = select(jobs).where(jobs.c.id == claim.job_id, jobs.c.token == claim.token, jobs.c.state == JobState.RUNNING)
    row = fetch_first(connection, here)
    if row is not None:
        lock_camera(connection, row["camera"])
        row = fetch_first(connection, here.with_for_update())
    if row is None:
        raise LeaseLostError(f"job {claim.job_id[:12]} is no longer leased to this attempt ({claim.attempt})")
    return row


def _is_approved(connection: Connection, claim: Claim) -> bool:
    approving = select(flags.c.id).where(flags.c.subject == claim.spec.id, flags.c.active, flags.c.kind == "approve")
    return connection.execute(approving).first() is not None


def _previous(
    connection: Connection, camera: str, spec: ProductSpec, inputs: Iterable[JobInput]
) -> Mapping[str, Any] | None:
    """What was measured on the master before this one: of the same kind and settings, the nearest in time."""
    like = next((one.frame for one in inputs if one.role == "raw" and one.frame), None)
    if spec.kind not in MASTER_KINDS or like is None:
        return None
    if spec.parameters.get("trim"):  # masters are known by the size of what was kept
        ny, nx = Section.parse(spec.parameters["trim"]).shape
        like = replace(like, naxis1=nx, naxis2=ny)
    for identity in alike(connection, camera, spec.kind.removeprefix("master_"), like):
        serves = select(products.c.id).where(products.c.id == identity, products.c.status == ProductStatus.FINAL)
        if identity != spec.id and connection.execute(serves).first():
            return metrics_of(connection, [identity]).get(identity, {})
    return None


def _may_solve_others(connection: Connection, job: Mapping[str, Any], spec: ProductSpec) -> bool:
    """Whether a complete group's last reduced frame was made, and some have a plate solution, or others' stars may give one."""
    if spec.kind is not ProductKind.REDUCED:
        return False
    complete = select(closures.c.subject).where(closures.c.subject == job["subject"])
    if not connection.execute(complete.limit(1)).first():
        return False
    mine = and_(jobs.c.camera == job["camera"], jobs.c.subject == job["subject"], jobs.c.kind == str(spec.kind))
    open_ones = select(jobs.c.id).where(mine, jobs.c.state.in_((JobState.READY, JobState.RUNNING, JobState.WAITING)))
    if connection.execute(open_ones.limit(1)).first():
        return False
    group = and_(products.c.camera == job["camera"], products.c.subject == job["subject"])
    solved = products.c.wcs.in_((str(Wcs.SOLVED), str(Wcs.REFINED)))
    some = select(products.c.id).where(group, products.c.kind == str(spec.kind), products.c.status.in_(SERVING), solved)
    lent = select(candidates.c.id).where(candidates.c.camera == job["camera"], candidates.c.kind == LENDER)
    return any(connection.execute(one.limit(1)).first() for one in (some, lent))


def _end_attempt(connection: Connection, claim: Claim, outcome: str, error: str, now: float) -> None:
    mine = and_(attempts.c.job == claim.job_id, attempts.c.number == claim.attempt)
    connection.execute(update(attempts).where(mine).values(ended=now, outcome=outcome, error=error))


def _record_product(
    connection: Connection,
    camera: str,
    claim: Claim,
    published: Published,
    status: ProductStatus,
    now: float,
    held: str,
) -> None:
    spec = claim.spec
    others = and_(products.c.camera == camera, products.c.slot == spec.slot, products.c.id != spec.id)
    if status in (ProductStatus.FINAL, ProductStatus.PROVISIONAL):
        retired = update(products).where(others, products.c.status.in_(SERVING))
        connection.execute(retired.values(status=ProductStatus.SUPERSEDED))
    newest = connection.execute(select(func.max(products.c.revision)).where(others)).scalar() or 0
    row = {**_product_row(spec, published), "camera": camera, "status": status, "published": now, "held": held}
    upsert(connection, products, ("id",), {**row, "revision": newest + 1}, keep=("revision",))
    connection.execute(delete(product_inputs).where(product_inputs.c.product == spec.id))
    connection.execute(delete(metrics).where(metrics.c.subject == spec.id))
    used = {(one.role, one.id): one.sha256 for one in claim.inputs}
    lineage = [
        {
            "product": spec.id,
            "position": position,
            "role": one.role,
            "id": one.id,
            "origin": one.origin,
            "sha256": used.get((one.role, one.id), ""),
        }
        for position, one in enumerate(spec.inputs)
    ]
    if lineage:
        connection.execute(insert(product_inputs), lineage)
    measured = [metric_to_row(spec.id, name, value) for name, value in published.metrics.items()]
    for subject, figures in published.input_metrics.items():
        of_input = and_(metrics.c.subject == subject, metrics.c.name.in_(sorted(figures)))
        connection.execute(delete(metrics).where(of_input))
        measured += [metric_to_row(subject, name, value) for name, value in figures.items() if value is not None]
    if measured:
        connection.execute(insert(metrics), measured)


def _product_row(spec: ProductSpec, published: Published) -> dict[str, Any]:
    main, *extra = published.files
    names = (
        "id",
        "subject",
        "slot",
        "recipe",
        "recipe_version",
        "telescope",
        "instrument",
        "target_name",
        "filter",
        "night",
    )
    return {
        **{name: getattr(spec, name) for name in (*names, "exposure_s", "calib_level", "reason")},
        "kind": str(spec.kind),
        "parameters": dict(spec.parameters),
        "observations": list(spec.observations),
        "path": main.path,
        "sha256": main.sha256,
        "size": main.size,
        "extra_files": [{"path": one.path, "sha256": one.sha256, "size": one.size} for one in extra],
        "wcs": str(published.wcs),
        "s_ra": published.s_ra,
        "s_dec": published.s_dec,
        "warnings": list(published.warnings),
        "environment": dict(published.environment),
    }


def _make_ready(connection: Connection, product_id: str) -> None:
    """Jobs that waited for this product, and whose other product inputs exist too, are ready."""
    waiting = select(job_inputs.c.job).where(job_inputs.c.id == product_id, job_inputs.c.origin == "product")
    useless = (ProductStatus.REJECTED, ProductStatus.HELD)
    usable = exists().where(products.c.id == job_inputs.c.id, products.c.status.not_in(useless))
    missing = exists().where(job_inputs.c.job == jobs.c.id, job_inputs.c.origin == "product", ~usable)
    here = and_(jobs.c.state == JobState.WAITING, jobs.c.id.in_(waiting), ~missing)
    connection.execute(update(jobs).where(here).values(state=JobState.READY))
