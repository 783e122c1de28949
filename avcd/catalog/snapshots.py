"""A camera's facts, whole or of some of its groups, as the planner looks at them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, bindparam, func, or_, select

from avcd.catalog.among import among
from avcd.catalog.candidates import Reach, changed_masters, concerned, masters_of, unsolved_near
from avcd.catalog.closures import last_closures
from avcd.catalog.facts import EVERYTHING
from avcd.catalog.models import cameras, flags, frames, jobs, products, unplanned
from avcd.catalog.rows import FRAME_FIELDS, row_to_frame
from avcd.catalog.session import Database, chunks, fetch
from avcd.frame import (
    LENDER,
    MASTER_KINDS,
    Approval,
    FrameStatus,
    JobState,
    Master,
    Plan,
    ProductFact,
    ProductKind,
    ProductStatus,
    Snapshot,
    Wcs,
)

_VERSION_OF_MASTERS = select(cameras.c.masters_version).where(cameras.c.name == bindparam("camera"))
_FACTS = tuple(products.c[name] for name in ("id", "kind", "slot", "status", "wcs", "published", "held"))


@dataclass(frozen=True, slots=True)
class Unplanned:
    """What of a camera is to be planned, and the state of its facts and of its plan at that moment."""

    camera: str
    revision: int
    subjects: frozenset[str] | None  # None: everything
    versions: tuple[tuple[str, int], ...] = ()  # of the changes that a plan made now takes into account
    planned: tuple[int | None, str | None] = (None, None)  # revision and digest of the last plan


class Snapshots(Database):
    """The part of the catalogue that the planner reads."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._masters: dict[str, tuple[Any, tuple[Master, ...]]] = {}

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

    def unplanned(self, camera: str, digest: str) -> Unplanned:
        """The groups of a camera whose facts changed since they were planned; all of them when the digest did."""
        of_camera = select(cameras.c.revision, cameras.c.planned_revision, cameras.c.planned_digest)
        changed = select(unplanned.c.subject, unplanned.c.version).where(unplanned.c.camera == camera)
        with self.read() as connection:
            row = connection.execute(of_camera.where(cameras.c.name == camera)).first()
            versions = tuple((one.subject, one.version) for one in connection.execute(changed))
        subjects = frozenset(subject for subject, _ in versions)
        revision, *planned = row or (0, None, None)
        whole = EVERYTHING in subjects or planned[0] is None or planned[1] != digest
        return Unplanned(camera, revision, None if whole else subjects, versions, (planned[0], planned[1]))

    def snapshot(self, camera: str, subjects: frozenset[str] | None = None) -> Snapshot:
        """The facts of one moment; the frames' cards are left out.

        Parameters
        ----------
        subjects
            Observations and sessions, "" for the frames of neither: only their facts, and the masters that the
            camera's other groups offer. None: all facts of the camera.
        """
        with self.read() as connection:
            return _snapshot(connection, camera, subjects, () if subjects is None else self.masters(connection, camera))

    def masters(self, connection: Connection, camera: str) -> tuple[Master, ...]:
        """Every master of a camera that may serve, as it was planned; read again only when a plan changed them."""
        version = connection.execute(_VERSION_OF_MASTERS, {"camera": camera}).scalar()
        held = self._masters.get(camera)
        if held is None or held[0] != version:
            self._masters[camera] = held = (version, tuple(masters_of(connection, camera)))
        return held[1]

    def withheld(self, camera: str) -> frozenset[str]:
        """The groups whose masters may not serve: held, rejected, or of a job that died."""
        kinds = [str(one) for one in MASTER_KINDS]
        unfit = products.c.status.in_((ProductStatus.HELD, ProductStatus.REJECTED))
        built = select(products.c.subject).where(products.c.camera == camera, products.c.kind.in_(kinds), unfit)
        died = select(jobs.c.subject).where(
            jobs.c.camera == camera, jobs.c.kind.in_(kinds), jobs.c.state == JobState.DEAD
        )
        delivered = (
            select(func.coalesce(frames.c.obs_id, frames.c.session_id, ""))
            .join(flags, flags.c.subject == frames.c.id)
            .where(frames.c.camera == camera, frames.c.image_type.in_(kinds), flags.c.active, flags.c.kind == "reject")
        )
        with self.read() as connection:
            return frozenset(one for some in (built, died, delivered) for one in connection.execute(some).scalars())

    def companions(
        self, camera: str, subjects: frozenset[str], target_of: Callable[[str | None], str | None]
    ) -> frozenset[str]:
        """The observations that share a mosaic with some others, or did when it was made.

        Parameters
        ----------
        target_of
            From a target's name to that of the mosaic it is a panel of; None for what is none.
        """
        named = select(frames.c.obs_id, frames.c.target_name).where(frames.c.camera == camera).distinct()
        made = select(products.c.observations).where(
            products.c.camera == camera,
            products.c.kind == ProductKind.MOSAIC,
            products.c.status != ProductStatus.SUPERSEDED,
        )
        with self.read() as connection:
            mine = [one for some in chunks(sorted(subjects - {""}))
                    for one in connection.execute(named.where(among(frames.c.obs_id, some)))]  # fmt: skip
            targets = {target_of(one.target_name) for one in mine} - {None}
            found = {one for row in connection.execute(made).scalars() if subjects & set(row) for one in row}
            if targets:
                every = connection.execute(named.where(frames.c.obs_id.is_not(None)))
                found |= {one.obs_id for one in every if target_of(one.target_name) in targets}
        return frozenset(found) - subjects

    def concerned(self, plan: Plan, reach: Reach) -> frozenset[str]:
        """The groups, beside those of a plan, that a change of their masters may concern."""
        assert plan.subjects is not None
        with self.read() as connection:
            changed = changed_masters(connection, plan.camera, plan.subjects, plan.masters)
            return frozenset(concerned(connection, plan.camera, changed, reach)) - plan.subjects

    def borrowers(self, plan: Plan) -> frozenset[str]:
        """The groups, beside those of a plan, whose frames may be solved by stars that it lends anew, or lends no more."""
        assert plan.subjects is not None
        with self.read() as connection:
            changed = changed_masters(connection, plan.camera, plan.subjects, plan.masters)
            lenders = [one for one in changed if one.kind == LENDER]
            return frozenset(unsolved_near(connection, plan.camera, lenders)) - plan.subjects


def _snapshot(
    connection: Connection, camera: str, subjects: frozenset[str] | None, masters: Iterable[Master]
) -> Snapshot:
    of_frames = _conditions(frames, camera, subjects)
    of_products = _conditions(products, camera, subjects)
    columns = [frames.c[name] for name in FRAME_FIELDS]
    found = {}
    said: list[Any] = []
    about = [flags.c[name] for name in ("subject", "kind", "valid_from", "valid_until")]
    speaking = flags.c.active & flags.c.kind.in_(("reject", "approve"))
    for where in of_frames:
        for row in fetch(connection, select(*columns).where(where, frames.c.status == FrameStatus.OK)):
            found[row["id"]] = row_to_frame(row)
        said += connection.execute(select(*about).join(frames, frames.c.id == flags.c.subject).where(where, speaking))
    facts: dict[str, Any] = {}
    died: set[str] = set()
    for where in of_products:
        facts |= {one.id: one for one in connection.execute(select(*_FACTS).where(where))}
        said += connection.execute(
            select(*about).join(products, products.c.id == flags.c.subject).where(where, speaking)
        )
    for where in _conditions(jobs, camera, subjects):
        died |= set(connection.execute(select(jobs.c.id).where(where, jobs.c.state == JobState.DEAD)).scalars())
    groups = {one.subject for one in found.values()} - {""}
    return Snapshot(
        camera=camera,
        subjects=subjects,
        masters=tuple(one for one in masters if subjects is not None and one.subject not in subjects),
        frames=tuple(found[one] for one in sorted(found)),
        rejected=frozenset(one.subject for one in said if one.kind == "reject"),
        approved={one.subject: Approval(one.valid_from, one.valid_until) for one in said if one.kind == "approve"},
        closures=last_closures(connection, groups),
        products={
            one.id: ProductFact(
                one.id, ProductKind(one.kind), one.slot, ProductStatus(one.status), Wcs(one.wcs), one.published,
                bool(one.held),
            )
            for one in facts.values()
        },
        dead=frozenset(died),
    )  # fmt: skip


def _conditions(table: Any, camera: str, subjects: frozenset[str] | None) -> list[Any]:
    """The conditions that together choose a table's rows of these groups."""
    mine = table.c.camera == camera
    if subjects is None:
        return [mine]
    if table is not frames:
        return [and_(mine, among(table.c.subject, some)) for some in chunks(sorted(subjects))]
    named = sorted(subjects - {""})
    found = [
        and_(mine, among(column, some)) for column in (frames.c.obs_id, frames.c.session_id) for some in chunks(named)
    ]
    if "" in subjects:
        found.append(and_(mine, frames.c.obs_id.is_(None), frames.c.session_id.is_(None)))
    return found
