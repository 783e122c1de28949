"""What observers say: flags on frames and products, and how they name them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, and_, insert, select, update

from avcd.catalog.facts import facts_changed, group_of, touch_groups
from avcd.catalog.models import file_frames, files, flags, frames, products
from avcd.catalog.session import Database, fetch_first, insert_new
from avcd.errors import UsageError
from avcd.frame import ImageType, ProductStatus

KINDS = ("reject", "note")
_FOUND_AT_MOST = 50
_MASTERS = frozenset(str(one) for one in ImageType if one.is_master)


class Flags(Database):
    """The part of the catalogue that observers write."""

    def flag(self, subject: str, reason: str, who: str, now: float, kind: str = "reject") -> None:
        """Reject a frame or product, or add a note to it. What is rejected already stays so, with its first reason.

        The last word holds: rejecting what is approved withdraws the approval, with the same reason.

        Parameters
        ----------
        subject
            The whole id of a frame or product; `find` gives it.
        kind
            "reject" or "note".

        Raises
        ------
        UsageError
            There is no such frame or product, or no such kind.
        """
        if kind not in KINDS:
            raise UsageError(f"{kind!r} is none of {', '.join(KINDS)}")
        row = {"subject": subject, "kind": kind, "who": who, "flagged_at": now, "reason": reason, "active": True}

        def work(connection: Connection) -> None:
            _check_known(connection, subject)
            if kind == "note":
                connection.execute(insert(flags).values(**row))
            elif insert_new(connection, flags, row, "id"):
                _withdraw(connection, subject, "approve", reason, who, now)
                _set_product(connection, subject, ProductStatus.REJECTED)
                _facts_changed(connection, subject)

        self.write(work)

    def approve(
        self,
        subject: str,
        reason: str,
        who: str,
        now: float,
        valid_from: float | None = None,
        valid_until: float | None = None,
    ) -> None:
        """Approve a master, built or delivered: a held one may serve, and none serves outside of its times.

        The last word holds: a rejection is withdrawn with the same reason, and so is an approval for other times.
        What is approved for these times already stays so, with its first reason.

        Parameters
        ----------
        subject
            The whole id of a master; `find` gives it.
        valid_from, valid_until
            MJD UTC, the first included and the last not; None: no limit.

        Raises
        ------
        UsageError
            There is no such frame or product, it is no master, or the times are in the wrong order.
        """
        if valid_from is not None and valid_until is not None and valid_from >= valid_until:
            raise UsageError("the master would be valid until before it is valid from")
        times = {"valid_from": valid_from, "valid_until": valid_until}
        row = {"subject": subject, "kind": "approve", "who": who, "flagged_at": now, "reason": reason, "active": True}

        def work(connection: Connection) -> None:
            _check_known(connection, subject)
            _need_master(connection, subject)
            before = connection.execute(
                select(flags.c.valid_from, flags.c.valid_until).where(_active(subject, "approve"))
            ).first()
            if before is not None and dict(before._mapping) == times:
                return
            for kind in ("approve", "reject"):
                _withdraw(connection, subject, kind, reason, who, now)
            if not insert_new(connection, flags, row | times, "id"):
                raise UsageError(f"{subject[:12]} was approved by somebody else at this moment; see: avcd show")
            # As after a withdrawn rejection: it serves again once it is planned again.
            waiting = ProductStatus.REJECTED, ProductStatus.HELD
            _set_product(connection, subject, ProductStatus.SUPERSEDED, only=waiting)
            _facts_changed(connection, subject)

        self.write(work)

    def unflag(self, subject: str, reason: str, who: str, now: float) -> str:
        """Withdraw the rejection or the approval of a frame or product, whichever holds.

        A product that was rejected serves again once it is planned again.

        Returns
        -------
        str
            What was withdrawn: "reject" or "approve".

        Raises
        ------
        UsageError
            There is no such frame or product, or it is neither rejected nor approved.
        """

        def work(connection: Connection) -> str:
            _check_known(connection, subject)
            if _withdraw(connection, subject, "reject", reason, who, now):
                kind = "reject"
                _set_product(connection, subject, ProductStatus.SUPERSEDED)
            elif _withdraw(connection, subject, "approve", reason, who, now):
                kind = "approve"
            else:
                raise UsageError(f"{subject[:12]} is not rejected, and not approved")
            _facts_changed(connection, subject)
            return kind

        return self.write(work)

    def find(self, text: str) -> list[tuple[str, str]]:
        """The frames and products that an observer's word may mean.

        The first of these that finds something: a whole id; a file's name or relative path (a zip's stands for all
        frames in it), or a product's; the beginning of an id; the beginning of a name.

        Returns
        -------
        list of ("frame" or "product", id)
            Sorted, at most 50; empty when nothing fits, more than one when the word is ambiguous.
        """
        if not text:
            return []
        start = text.lower()
        places = _named(files.c.name == text, files.c.relative_path == text)
        beginnings = _named(files.c.name.startswith(text, autoescape=True))
        path = products.c.path
        tries: list[tuple[Any, Any]] = [
            (frames.c.id == text, products.c.id == text),
            (frames.c.id.in_(places), (path == text) | path.endswith("/" + text, autoescape=True)),
            (frames.c.id.startswith(start, autoescape=True), products.c.id.startswith(start, autoescape=True)),
            (frames.c.id.in_(beginnings), path.contains("/" + text, autoescape=True)),
        ]
        with self.read() as connection:
            for of_frames, of_products in tries:
                found = []
                for kind, table, condition in (("frame", frames, of_frames), ("product", products, of_products)):
                    wanted = select(table.c.id).where(condition).order_by(table.c.id).limit(_FOUND_AT_MOST)
                    found += [(kind, one) for one in connection.execute(wanted).scalars()]
                if found:
                    return sorted(found)[:_FOUND_AT_MOST]
        return []


def _named(*conditions: Any) -> Any:
    """The ids of frames in files of which one of the conditions holds, or in members of archives of which it does."""
    either = conditions[0]
    for one in conditions[1:]:
        either = either | one
    itself = files.alias("itself")
    container = select(files.c.root, files.c.relative_path).where(either, files.c.member == "").subquery()
    inside = and_(itself.c.root == container.c.root, itself.c.relative_path == container.c.relative_path)
    of_archive = select(itself.c.id).join(container, inside)
    return select(file_frames.c.frame).where(
        file_frames.c.file.in_(select(files.c.id).where(either)) | file_frames.c.file.in_(of_archive)
    )


def _check_known(connection: Connection, subject: str) -> None:
    known = [
        connection.execute(select(table.c.id).where(table.c.id == subject)).first() for table in (frames, products)
    ]
    if not any(known):
        raise UsageError(f"there is no frame or product {subject}")


def _need_master(connection: Connection, subject: str) -> None:
    """Refuse whatever is no master: nothing else is held, or has times for which it is valid."""
    for column, of in ((frames.c.image_type, frames.c.id), (products.c.kind, products.c.id)):
        kind = connection.execute(select(column).where(of == subject)).scalar()
        if kind is not None and kind not in _MASTERS:
            raise UsageError(
                f"{subject[:12]} is a {kind}, and masters alone are approved; a rejection is withdrawn by: avcd unflag"
            )


def _active(subject: str, kind: str) -> Any:
    return and_(flags.c.subject == subject, flags.c.active, flags.c.kind == kind)


def _withdraw(connection: Connection, subject: str, kind: str, reason: str, who: str, now: float) -> bool:
    """End a flag that holds; returns whether there was one."""
    values = {"active": False, "withdrawn_by": who, "withdrawn_at": now, "withdrawn_reason": reason}
    return connection.execute(update(flags).where(_active(subject, kind)).values(**values)).rowcount > 0


def _set_product(
    connection: Connection, subject: str, status: ProductStatus, only: Sequence[ProductStatus] | None = None
) -> None:
    mine = products.c.id == subject
    if only is not None:
        mine = and_(mine, products.c.status.in_(only))
    connection.execute(update(products).where(mine).values(status=status))


def _facts_changed(connection: Connection, subject: str) -> None:
    frame = fetch_first(
        connection, select(frames.c.camera, frames.c.obs_id, frames.c.session_id).where(frames.c.id == subject)
    )
    if frame is not None:
        touch_groups(connection, (frame["obs_id"], frame["session_id"]))
        facts_changed(connection, [group_of(frame)])
    product = connection.execute(select(products.c.camera, products.c.subject).where(products.c.id == subject)).first()
    if product is not None:
        facts_changed(connection, [(product.camera, product.subject)])
