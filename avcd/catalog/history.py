"""What there was before a product: the products of its slot, and what became of their inputs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import func, select

from avcd.catalog.among import among
from avcd.catalog.corrections import corrections_of
from avcd.catalog.inputs import frame_rows, lineage_of, links_of
from avcd.catalog.models import flags, frames, jobs, products
from avcd.catalog.session import Database, chunks, fetch
from avcd.catalog.types import printable_path

Row = dict[str, Any]
_OF_PRODUCT = (
    "id", "kind", "slot", "status", "revision", "published", "recipe", "recipe_version", "parameters", "reason", "night",
    "path",
)  # fmt: skip


class History(Database):
    """The part of the catalogue that remembers what served before."""

    def history(self, id: str) -> list[Row]:
        """Every product that was ever made for the slot of this one, by revision, with its inputs; empty without such."""
        with self.read() as connection:
            place = connection.execute(select(products.c.camera, products.c.slot).where(products.c.id == id)).first()
            if place is None:
                return []
            of_slot = select(*(products.c[name] for name in _OF_PRODUCT)).where(
                products.c.camera == place.camera, products.c.slot == place.slot
            )
            rows = fetch(connection, of_slot.order_by(products.c.revision, products.c.id))
            lineage = lineage_of(connection, [row["id"] for row in rows])
            names = "role", "id", "origin"
            return [
                {**row, "inputs": [{name: one[name] for name in names} for one in lineage.get(row["id"], [])]}
                for row in rows
            ]

    def group_of(self, id: str) -> str:
        """The observation or session with which a frame or product is planned; "" for neither."""
        of_frame = select(func.coalesce(frames.c.obs_id, frames.c.session_id, "")).where(frames.c.id == id)
        with self.read() as connection:
            found = connection.execute(of_frame).scalar()
            if found is None:
                found = connection.execute(select(products.c.subject).where(products.c.id == id)).scalar()
        return found or ""

    def about(self, ids: Iterable[str]) -> dict[str, Row]:
        """What is known of frames and products that others are made of.

        Returns
        -------
        dict
            By id: ``path`` (of a product below the archive), ``night``, ``flags`` and, of frames, ``first_seen`` and
            ``corrections``; of products ``slot`` and, once they are made, ``published``. Unknown ids are left out.
        """
        wanted = sorted(set(ids))
        found: dict[str, Row] = {}
        with self.read() as connection:
            links = links_of(connection, wanted)
            for identity, row in frame_rows(connection, wanted).items():
                place = links.get(identity, [{}])[0]
                name = place.get("member") or place.get("relative_path", "")
                found[identity] = {
                    "path": printable_path(name) or None,
                    "night": row["night"],
                    "first_seen": row["first_seen"],
                    "corrections": corrections_of(connection, identity),
                }
            for some in chunks(wanted):
                planned = select(jobs.c.id, jobs.c.slot, jobs.c.night, jobs.c.spec).where(among(jobs.c.id, some))
                for row in fetch(connection, planned):
                    path = row["spec"] and printable_path(row["spec"]["path"])
                    found[row["id"]] = {"path": path, "night": row["night"], "slot": row["slot"]}
                columns = [products.c[name] for name in ("id", "path", "night", "slot", "published")]
                for row in fetch(connection, select(*columns).where(among(products.c.id, some))):
                    found[row.pop("id")] = {**row, "path": printable_path(row["path"])}
                said = select(flags).where(among(flags.c.subject, some)).order_by(flags.c.id)
                for row in fetch(connection, said):
                    found.setdefault(row["subject"], {"path": None, "night": None}).setdefault("flags", []).append(row)
        return found
