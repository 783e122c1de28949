"""What observers say: flags on frames and products, and how they name them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, and_, insert, select, update

from avcd.catalog.facts import facts_changed, group_of, touch_groups
from avcd.catalog.models import file_frames, files, flags, frames, products
from avcd.catalog.session import Database, fetch_first, insert_new
from avcd.errors import UsageError
from avcd.frame import ProductStatus

KINDS = ("reject", "note")
_FOUND_AT_MOST = 50


class Flags(Database):
    """The part of the catalogue that observers write."""

    def flag(self, subject: str, reason: str, who: str, now: float, kind: str = "reject") -> None:
        """Reject a frame or product, or add a note to it. What is rejected already stays so, with its first reason.

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
                _set_product(connection, subject, ProductStatus.REJECTED)
                _facts_changed(connection, subject)

        self.write(work)

    def unflag(self, subject: str, reason: str, who: str, now: float) -> None:
        """Withdraw the rejection of a frame or product. A product serves again once it is planned again.

        Raises
        ------
        UsageError
            There is no such frame or product, or it is not rejected.
        """
        active = and_(flags.c.subject == subject, flags.c.active, flags.c.kind == "reject")
        values = {"active": False, "withdrawn_by": who, "withdrawn_at": now, "withdrawn_reason": reason}

        def work(connection: Connection) -> None:
            _check_known(connection, subject)
            if not connection.execute(update(flags).where(active).values(**values)).rowcount:
                raise UsageError(f"{subject[:12]} is not rejected")
            _set_product(connection, subject, ProductStatus.SUPERSEDED)
            _facts_changed(connection, subject)

        self.write(work)

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


def _set_product(connection: Connection, subject: str, status: ProductStatus) -> None:
    connection.execute(update(products).where(products.c.id == subject).values(status=status))


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
