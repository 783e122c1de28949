"""What was measured on products, over time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, func, select

from avcd.catalog.among import among
from avcd.catalog.filters import Filters, ordered_ids
from avcd.catalog.inputs import lineage_of, metrics_of
from avcd.catalog.models import frames, metrics, products
from avcd.catalog.session import Database, chunks, fetch
from avcd.frame import ProductStatus

_SERVING = (ProductStatus.FINAL, ProductStatus.PROVISIONAL)


class Series(Database):
    """The part of the catalogue that tells how figures went over the nights."""

    def series(self, names: Sequence[str], **filters: Any) -> list[dict[str, Any]]:
        """Figures of the products that serve, by time.

        Parameters
        ----------
        names
            Of metrics.
        filters
            As `avcd.catalog.queries.Queries.products` takes them.

        Returns
        -------
        list of dict
            ``metric``, ``mjd`` (of the first frame's beginning, UTC), ``night``, ``camera``, ``filter``, ``value``,
            ``product``. Products whose frames tell no time, and what is no number, are left out.
        """
        chosen = Filters.parse({"status": ",".join(_SERVING), **filters}, default_sort="night")
        with self.read() as connection:
            ids = [id for some in ordered_ids(connection, products, chosen) for id in some]
            rows = _products(connection, ids)
            measured = metrics_of(connection, ids)
            times = _times(connection, ids)
        found = [
            {
                "metric": name,
                "mjd": times[id],
                "night": rows[id]["night"],
                "camera": f"{rows[id]['telescope'] or '?'}/{rows[id]['instrument'] or '?'}",
                "filter": rows[id]["filter"],
                "value": float(value),
                "product": id,
            }
            for id in ids
            for name in names
            if isinstance(value := measured.get(id, {}).get(name), (int, float)) and times.get(id) is not None
        ]
        return sorted(found, key=lambda one: (names.index(one["metric"]), one["mjd"], one["product"]))

    def measured_names(self) -> list[str]:
        """The names of all figures there are."""
        with self.read() as connection:
            return list(connection.execute(select(metrics.c.name).distinct().order_by(metrics.c.name)).scalars())


def _products(connection: Connection, ids: Iterable[str]) -> dict[str, dict[str, Any]]:
    columns = [products.c[name] for name in ("id", "night", "telescope", "instrument", "filter")]
    found = (fetch(connection, select(*columns).where(among(products.c.id, some))) for some in chunks(ids))
    return {row["id"]: row for rows in found for row in rows}


def _times(connection: Connection, ids: Sequence[str]) -> dict[str, float]:
    """When the first of each product's frames began."""
    owners: dict[str, list[str]] = {}
    for id, inputs in lineage_of(connection, ids).items():
        for one in inputs:
            if one["role"] == "raw":
                owners.setdefault(one["id"], []).append(id)
    found: dict[str, float] = {}
    for some in chunks(sorted(owners)):
        begun = select(frames.c.id, func.min(frames.c.t_min)).where(among(frames.c.id, some)).group_by(frames.c.id)
        for frame, moment in connection.execute(begun):
            for id in owners[frame] if moment is not None else ():
                found[id] = min(found.get(id, moment), moment)
    return found
