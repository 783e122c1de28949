"""A job's inputs, resolved to bytes: which file holds a frame, where a product lies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, select

from avcd.catalog.among import among
from avcd.catalog.models import file_frames, files, frames, metrics, product_inputs, products
from avcd.catalog.rows import FRAME_FIELDS, metric_from_row, product_to_spec, row_to_frame
from avcd.catalog.session import chunks, fetch
from avcd.frame import InputRef, Wcs
from avcd.work import JobInput

_PLAIN = (".fit", ".fits", ".fts")
# Built once: for a single frame, building it takes five times as long as running it.
_FRAMES = select(*(frames.c[name] for name in (*FRAME_FIELDS, "camera", "first_seen"))).where(among(frames.c.id, "ids"))


def resolve_inputs(connection: Connection, references: Sequence[InputRef]) -> tuple[JobInput, ...]:
    """Where the bytes of each input are, in the order given.

    Of several files with one frame, one that is there goes before one that is gone, a plain file before a compressed
    one, then by name: the same choice on every run. A frame without any file has no root.
    """
    frame_ids = sorted({one.id for one in references if one.origin == "frame"})
    product_ids = sorted({one.id for one in references if one.origin == "product"})
    found_frames = frame_rows(connection, frame_ids)
    links = links_of(connection, frame_ids)
    found_products = {row["id"]: row for row in _rows_of(connection, products, product_ids)}
    lineage = lineage_of(connection, product_ids)
    measured = metrics_of(connection, product_ids)
    resolved = []
    for one in references:
        if one.origin == "frame":
            resolved.append(_frame_input(one, found_frames.get(one.id), links.get(one.id, [])))
        else:
            resolved.append(
                _product_input(one, found_products[one.id], lineage.get(one.id, []), measured.get(one.id, {}))
            )
    return tuple(resolved)


def _frame_input(reference: InputRef, row: Mapping[str, Any] | None, links: Sequence[Mapping[str, Any]]) -> JobInput:
    frame = row_to_frame(row) if row else None
    if not links:
        nowhere = f"frame {reference.id[:12]}"
        return JobInput(
            role=reference.role, id=reference.id, origin="frame", root="", relative_path=nowhere, frame=frame
        )
    best = links[0]
    return JobInput(
        role=reference.role,
        id=reference.id,
        origin="frame",
        root=best["root"],
        relative_path=best["relative_path"],
        member=best["member"],
        hdu=best["hdu"],
        sha256=best["sha256"] or "",
        frame=frame,
    )


def _product_input(
    reference: InputRef, row: Mapping[str, Any], lineage: Iterable[Mapping[str, Any]], measured: Mapping[str, Any]
) -> JobInput:
    made_from = [InputRef(one["role"], one["id"], one["origin"]) for one in lineage]
    return JobInput(
        role=reference.role,
        id=reference.id,
        origin="product",
        root="archive",
        relative_path=row["path"],
        sha256=row["sha256"],
        spec=product_to_spec(row, made_from),
        metrics=measured,
        wcs=Wcs(row["wcs"]),
    )


def _rows_of(connection: Connection, table: Any, ids: Iterable[str]) -> list[dict[str, Any]]:
    return [row for some in chunks(ids) for row in fetch(connection, select(table).where(among(table.c.id, some)))]


def frame_rows(connection: Connection, ids: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The rows of frames by id, without cards and header."""
    found = (row for some in chunks(ids) for row in fetch(connection, _FRAMES, {"ids": some}))
    return {row["id"]: row for row in found}


def links_of(connection: Connection, ids: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
    """Every file that holds each frame (frame, hdu, and the file's columns), the best first."""
    found: dict[str, list[dict[str, Any]]] = {}
    for some in chunks(ids):
        columns = [files.c[name] for name in ("root", "relative_path", "member", "sha256", "size", "present")]
        linked = select(file_frames.c.frame, file_frames.c.hdu, *columns).join(files)
        for row in fetch(connection, linked.where(among(file_frames.c.frame, some))):
            found.setdefault(row["frame"], []).append(row)
    for rows in found.values():
        rows.sort(key=_preference)
    return found


def _preference(row: Mapping[str, Any]) -> tuple[Any, ...]:
    compressed = bool(row["member"]) or not row["relative_path"].lower().endswith(_PLAIN)
    return not row["present"], compressed, row["root"], row["relative_path"], row["member"], row["hdu"]


def lineage_of(connection: Connection, ids: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
    """The inputs of each product, in the recipe's order."""
    found: dict[str, list[dict[str, Any]]] = {}
    for some in chunks(ids):
        of_products = select(product_inputs).where(among(product_inputs.c.product, some))
        for row in fetch(connection, of_products.order_by(product_inputs.c.product, product_inputs.c.position)):
            found.setdefault(row["product"], []).append(row)
    return found


def metrics_of(connection: Connection, ids: Iterable[str]) -> dict[str, dict[str, float | int | str | bool | None]]:
    """What was measured on each subject, by name."""
    found: dict[str, dict[str, float | int | str | bool | None]] = {}
    for some in chunks(ids):
        of_subjects = select(metrics).where(among(metrics.c.subject, some)).order_by(metrics.c.subject, metrics.c.name)
        for row in fetch(connection, of_subjects):
            found.setdefault(row["subject"], {})[row["name"]] = metric_from_row(row)
    return found
