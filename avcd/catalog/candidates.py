"""The masters that may serve and what was chosen for each frame, as plans left them; whom a change of them concerns."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, and_, delete, or_, select

from avcd.catalog.among import among
from avcd.catalog.models import associations, candidates, products
from avcd.catalog.session import chunks, fetch, upsert
from avcd.frame import LENDER, Association, Candidate, Frame, ImageType, Master, ProductKind, Wcs

KINDS = ("bias", "dark", "flat")
# What a master is compared by.
_LIKE = (
    "id", "image_type", "telescope", "instrument", "detector", "binning", "naxis1", "naxis2", "window", "trim_section", "gain", "offset",
    "readout_mode", "exposure_s", "set_temperature_c", "ccd_temperature_c", "filter", "t_min", "night", "session_id",
)  # fmt: skip
# … and what is asked of a frame that lends its stars.
_OF_LENDER = (
    "id", "image_type", "telescope", "instrument", "target_name", "naxis1", "naxis2", "pixel_scale_arcsec", "s_ra", "s_dec",
    "t_min",
)  # fmt: skip
_CAMERA = ("binning", "naxis1", "naxis2", "window", "gain", "offset", "readout_mode")
_SETTINGS = {"bias": _CAMERA, "dark": (*_CAMERA, "exposure_s"), "flat": (*_CAMERA, "filter")}
_OWN = ("bias_included", "n_combined", "valid_from", "valid_until")
_COLUMNS = tuple(one.name for one in candidates.columns)
_OF_ASSOCIATION = tuple(one.name for one in associations.columns)


def master_to_row(camera: str, master: Master) -> dict[str, Any]:
    """The columns of a candidate."""
    one = master.candidate
    like = {name: getattr(one.like, name) for name in (_OF_LENDER if master.kind == LENDER else _LIKE)}
    return {
        "id": one.id,
        "camera": camera,
        "subject": master.subject,
        "kind": master.kind,
        "origin": one.origin,
        "like": {name: value for name, value in like.items() if value is not None},
        "mask": master.mask,
        **{name: getattr(one, name) for name in _OWN},
    }


def row_to_master(row: Mapping[str, Any]) -> Master:
    """What `master_to_row` wrote, as far as it matters to matching."""
    like = dict(row["like"])
    like["image_type"] = ImageType(like["image_type"])
    own = {name: row[name] for name in _OWN}
    candidate = Candidate(id=row["id"], origin=row["origin"], like=Frame(**like), **own)
    return Master(row["kind"], row["subject"], candidate, row["mask"])


def association_to_row(camera: str, one: Association) -> dict[str, Any]:
    """The columns of an association."""
    row: dict[str, Any] = {name: getattr(one, name) for name in ("id", "subject", "t_min", "night", "best")}
    for kind in KINDS:
        row[kind], row[f"{kind}_days"] = one.chosen.get(kind, (None, None))
    return {**row, "camera": camera, "missing": dict(one.missing) or None}


def masters_of(connection: Connection, camera: str) -> list[Master]:
    """Every master of a camera that may serve: found by the camera alone, so that each can be judged."""
    columns = [candidates.c[name] for name in _COLUMNS]
    found = fetch(connection, select(*columns).where(candidates.c.camera == camera).order_by(candidates.c.id))
    return [row_to_master(row) for row in found]


def write_masters(
    connection: Connection, camera: str, subjects: frozenset[str] | None, masters: Iterable[Master]
) -> bool:
    """Make these the masters of the groups (None: of the camera); returns whether anything changed."""
    return _write(connection, candidates, camera, subjects, [master_to_row(camera, one) for one in masters])


def write_associations(
    connection: Connection, camera: str, subjects: frozenset[str] | None, found: Iterable[Association]
) -> None:
    """Make these the associations of the groups (None: of the camera)."""
    _write(connection, associations, camera, subjects, [association_to_row(camera, one) for one in found])


def _write(
    connection: Connection, table: Any, camera: str, subjects: frozenset[str] | None, rows: list[dict[str, Any]]
) -> bool:
    """Make the table's rows of these groups equal to ``rows``; only what differs is written."""
    columns = [table.c[name] for name in (one.name for one in table.columns)]
    mine = table.c.camera == camera
    where = (
        [mine] if subjects is None else [and_(mine, among(table.c.subject, some)) for some in chunks(sorted(subjects))]
    )
    before = {row["id"]: row for one in where for row in fetch(connection, select(*columns).where(one))}
    wanted = {row["id"]: row for row in rows}
    gone = sorted(before.keys() - wanted.keys())
    for some in chunks(gone):
        connection.execute(delete(table).where(among(table.c.id, some)))
    changed = [row for identity, row in wanted.items() if before.get(identity) != row]
    # Not only inserted: a frame that was corrected may have stood under another camera or group.
    upsert(connection, table, ("id",), changed)
    return bool(gone or changed)


def alike(connection: Connection, camera: str, kind: str, like: Frame) -> list[str]:
    """The masters of one kind with the settings of a frame, the nearest in time first."""
    found = []
    for one in masters_of(connection, camera):
        other = one.candidate.like
        if one.kind != kind or any(getattr(other, name) != getattr(like, name) for name in _SETTINGS[kind]):
            continue
        temperatures = [
            one.set_temperature_c if one.set_temperature_c is not None else one.ccd_temperature_c
            for one in (like, other)
        ]
        if (
            kind != "flat"
            and None not in temperatures
            and abs((temperatures[0] or 0.0) - (temperatures[1] or 0.0)) > 1.0
        ):
            continue
        far = like.t_min is None or other.t_min is None
        found.append((far, 0.0 if far else abs((like.t_min or 0.0) - (other.t_min or 0.0)), one.candidate.id))
    return [identity for *_, identity in sorted(found)]


@dataclasses.dataclass(frozen=True)
class Reach:
    """How far in time, at most, the masters of each kind serve [days]."""

    days: Mapping[str, float]


def changed_masters(
    connection: Connection, camera: str, subjects: frozenset[str], masters: Iterable[Master]
) -> list[Master]:
    """The masters that a plan of some groups adds, takes away or changes: as they were, and as they are."""
    columns = [candidates.c[name] for name in _COLUMNS]
    before: dict[str, dict[str, Any]] = {}
    for some in chunks(sorted(subjects)):
        mine = and_(candidates.c.camera == camera, among(candidates.c.subject, some))
        before |= {row["id"]: row for row in fetch(connection, select(*columns).where(mine))}
    after = {one.candidate.id: one for one in masters}
    rows = {identity: master_to_row(camera, one) for identity, one in after.items()}
    differing = [
        identity for identity in sorted(before.keys() | rows.keys()) if before.get(identity) != rows.get(identity)
    ]
    was = [row_to_master(before[identity]) for identity in differing if identity in before]
    return was + [after[identity] for identity in differing if identity in after]


def concerned(connection: Connection, camera: str, changed: Iterable[Master], reach: Reach) -> set[str]:
    """The groups of which a frame has, or might now have, one of these masters; rather too many than one too few."""
    found: set[str] = set()
    for kind in KINDS:
        of_kind = [one for one in changed if one.kind == kind]
        if not of_kind:
            continue
        spans = [_span(one.candidate, reach.days[kind]) for one in of_kind]
        columns = [associations.c[name] for name in ("subject", "t_min", "night", kind, f"{kind}_days", "best")]
        within = associations.c.t_min.between(min(low for low, _ in spans), max(high for _, high in spans))
        rows = connection.execute(select(*columns).where(associations.c.camera == camera, within)).all()
        marks = [
            (
                one.candidate.id,
                one.candidate.like.t_min,
                one.candidate.like.night,
                low,
                high,
                _is_bounded(one.candidate),
            )
            for one, (low, high) in zip(of_kind, spans, strict=True)
        ]
        for subject, t_min, night, chosen, days, best in rows:
            if subject in found:
                continue
            for identity, t_master, night_of_master, low, high, bounded in marks:
                if chosen == identity or (
                    low <= t_min <= high
                    and (
                        chosen is None or not best or bounded or t_master is None or abs(t_min - t_master) <= days
                        or (kind == "flat" and night == night_of_master)
                    )
                ):  # fmt: skip
                    found.add(subject)
                    break
    return found


def unsolved_near(connection: Connection, camera: str, changed: Iterable[Master]) -> set[str]:
    """The groups with frames that could not be solved alone, and that one of these lenders might help; rather too many."""
    found: set[str] = set()
    unsolved = and_(
        products.c.camera == camera,
        products.c.kind == ProductKind.REDUCED,
        products.c.wcs.in_((str(Wcs.REFUSED), str(Wcs.NONE))),
    )
    for one in changed:
        like = one.candidate.like
        where = unsolved
        if like.s_dec is not None and like.pixel_scale_arcsec and like.naxis1 and like.naxis2:
            far = 1.5 * math.hypot(like.naxis1, like.naxis2) * like.pixel_scale_arcsec / 3600
            near = products.c.s_dec.between(like.s_dec - far, like.s_dec + far)
            where = and_(unsolved, or_(products.c.s_dec.is_(None), near))
        found |= set(connection.execute(select(products.c.subject).where(where).distinct()).scalars())
    return found


def _is_bounded(one: Candidate) -> bool:
    return one.valid_from is not None or one.valid_until is not None


def _span(one: Candidate, days: float) -> tuple[float, float]:
    """The times (MJD) between which a master may serve."""
    infinity = 1e9
    if _is_bounded(one):
        low = -infinity if one.valid_from is None else one.valid_from
        high = infinity if one.valid_until is None else one.valid_until
        return low, high
    if one.like.t_min is None:
        return infinity, -infinity
    # A flat of the same night may be further off than a tier of less than a day.
    return one.like.t_min - max(days, 1.0), one.like.t_min + max(days, 1.0)
