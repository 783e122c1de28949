"""What people and programs ask: rows as plain dictionaries with the keys of the JSON contract."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sqlalchemy import Connection, Table, func, or_, select

from avcd.catalog.among import among
from avcd.catalog.closures import open_subjects
from avcd.catalog.corrections import corrections_of
from avcd.catalog.filters import Filters, ordered_ids
from avcd.catalog.inputs import frame_rows, lineage_of, links_of, metrics_of
from avcd.catalog.models import file_frames, files, flags, frames, job_inputs, jobs, product_inputs, products
from avcd.catalog.session import Database, fetch
from avcd.catalog.summaries import SUMMARY_KEYS, summaries
from avcd.catalog.types import printable_path
from avcd.errors import UsageError
from avcd.frame import ImageType, ProductKind, ProductStatus

Row = dict[str, Any]
_FRAME_KEYS = (
    "obs_id", "user", "calib_level", "image_type", "status", "telescope", "instrument", "detector", "exposure_id", "target_name", "filter", "binning",
    "naxis1", "naxis2", "exposure_s", "set_temperature_c", "ccd_temperature_c", "gain", "offset", "readout_mode",
    "t_min", "t_max", "date_obs", "night", "night_rule", "s_ra", "s_dec", "warnings", "session_id", "site", "window",
    "overscan_section", "trim_section",
    "gain_e_per_adu", "read_noise_e", "saturation_adu", "pedestal_adu", "bunit", "pixel_scale_arcsec", "has_wcs",
    "airmass", "n_combined", "sequence_total", "bias_included", "profile", "profile_version", "pixel_sha256", "product_id",
)  # fmt: skip
_PRODUCT_KEYS = (
    "id", "kind", "status", "path", "sha256", "size", "recipe", "recipe_version", "telescope", "instrument", "target_name",
    "filter", "night", "exposure_s", "calib_level", "observations", "wcs", "s_ra", "s_dec", "revision", "slot", "reason",
    "warnings",
)  # fmt: skip
_JOB_KEYS = (
    "id", "kind", "state", "reason", "attempts", "slot", "priority", "telescope", "instrument", "target_name", "filter",
    "night", "owner", "leased_until", "not_before",
)  # fmt: skip

_PLACE_KEYS = ("id", "path", "member", "hdu", "sha256", "root", "present")
_FILE_KEYS = ("root", "sha256", "size", "present", "status", "reason", "mtime_ns", "first_seen")
# The keys of every list's rows, in their order: an empty list has the same.
LIST_KEYS: Mapping[str, tuple[str, ...]] = {
    "frames": (*_PLACE_KEYS, *_FRAME_KEYS),
    "files": ("path", "member", *_FILE_KEYS, "frames"),
    "products": (*_PRODUCT_KEYS, "inputs", "metrics"),
    "jobs": (*_JOB_KEYS, "inputs"),
    "nights": SUMMARY_KEYS,
    "observations": SUMMARY_KEYS,
}


class Queries(Database):
    """The part of the catalogue that views read.

    Every list takes the filters ``telescope``, ``night``, ``target``, ``filter``, ``type``, ``status`` (each a value or
    several separated by commas), ``since`` and ``until`` (nights, or times), ``sort`` (a key, "-" in front for
    descending) and ``limit``; None is no filter. Rows come in the same order on either database.
    """

    def frames(self, **filters: Any) -> Iterator[Row]:
        """Frames, by time. With a status that frames never have ("unreadable"), the files that should hold one."""
        chosen = Filters.parse(filters, default_sort="t_min")
        with self.read() as connection:
            yield from _in_chunks(connection, frames, chosen, _frame_dicts)
            statuses = chosen.values("status") or []
            if any(one in ("unreadable", "ignored") for one in statuses):
                yield from _files_without_frame(connection, statuses)

    def files(self, **filters: Any) -> Iterator[Row]:
        """Files and members of archives, by root and path, whether or not they hold a frame."""
        chosen = Filters.parse(filters, default_sort="path")
        with self.read() as connection:
            yield from _in_chunks(connection, files, chosen, _file_dicts)

    def products(self, **filters: Any) -> Iterator[Row]:
        """Products of every status, by night, kind and path."""
        chosen = Filters.parse(filters, default_sort="night")
        with self.read() as connection:
            yield from _in_chunks(connection, products, chosen, _product_dicts)

    def jobs(self, **filters: Any) -> Iterator[Row]:
        """Jobs of every state, in the order in which they run."""
        chosen = Filters.parse(filters, default_sort="priority")
        with self.read() as connection:
            yield from _in_chunks(connection, jobs, chosen, _job_dicts)

    def observations(self, **filters: Any) -> Iterator[Row]:
        """Observations: the science frames of one telescope, target and night."""
        chosen = Filters.parse(filters, default_sort="id")
        with self.read() as connection:
            yield from chosen.arranged(summaries(connection, chosen, of_nights=False))

    def nights(self, **filters: Any) -> Iterator[Row]:
        """Nights of each telescope: what was taken, how long, how sharp."""
        chosen = Filters.parse(filters, default_sort="id")
        with self.read() as connection:
            yield from chosen.arranged(summaries(connection, chosen, of_nights=True))

    def reduced_sources(self) -> list[Row]:
        """The reduced frames that serve now, by id: where they lie, and the raw file that each is of."""
        serving = select(products.c.id, products.c.path, products.c.night).where(
            products.c.kind == ProductKind.REDUCED,
            products.c.status.in_((ProductStatus.FINAL, ProductStatus.PROVISIONAL)),
        )
        with self.read() as connection:
            rows = {row["id"]: row for row in fetch(connection, serving.order_by(products.c.id))}
            raw = {
                id: one["id"]
                for id, inputs in lineage_of(connection, rows).items()
                for one in inputs
                if one["role"] == "raw" and one["origin"] == "frame"
            }
            links = links_of(connection, raw.values())
        return [
            {**rows[id], **{key: links[frame][0][key] for key in ("root", "relative_path", "member")}}
            for id, frame in raw.items()
            if links.get(frame)
        ]

    def targets_without_pointing(self) -> list[str]:
        """The names of the targets of science frames that do not say where they point, or by their names alone."""
        unplaced = or_(frames.c.s_ra.is_(None), frames.c.sources["s_ra"].as_string().like("%, by its name"))
        named = select(frames.c.target_name).where(
            frames.c.image_type == ImageType.SCIENCE, frames.c.target_name.is_not(None), unplaced
        )
        with self.read() as connection:
            return list(connection.execute(named.distinct().order_by(frames.c.target_name)).scalars())

    def frame_row(self, id: str) -> Row:
        """One frame with its header, the source of every value, its files, flags, corrections and what was made from it.

        Raises
        ------
        UsageError
            There is no such frame.
        """
        with self.read() as connection:
            found = _frame_dicts(connection, [id])
            if not found:
                raise UsageError(f"there is no frame {id}")
            row = found[0]
            names = "cards", "header", "sources", "calibration", "first_seen", "site_longitude_deg", "camera"
            row |= fetch(connection, select(*(frames.c[name] for name in names)).where(frames.c.id == id))[0]
            row["cards"] = [{"keyword": key, "value": value, "comment": text} for key, value, text in row["cards"]]
            row["files"] = [
                {
                    **link,
                    "relative_path": printable_path(link["relative_path"]),
                    "member": printable_path(link["member"]),
                }
                for link in links_of(connection, [id]).get(id, [])
            ]
            twins = select(frames.c.id).where(frames.c.pixel_sha256 == row["pixel_sha256"], frames.c.id != id)
            row["same_pixels"] = sorted(connection.execute(twins).scalars()) if row["pixel_sha256"] else []
            row["metrics"] = metrics_of(connection, [id]).get(id, {})
            row |= {"flags": _flags_of(connection, id), "used_by": _used_by(connection, id)}
            row["corrections"] = corrections_of(connection, id)
            return row

    def product_row(self, id: str) -> Row:
        """One product with its recipe, inputs, figures, flags and what was made from it.

        Raises
        ------
        UsageError
            There is no such product.
        """
        with self.read() as connection:
            found = _product_dicts(connection, [id])
            if not found:
                raise UsageError(f"there is no product {id}")
            row = found[0]
            columns = products.c.parameters, products.c.extra_files, products.c.environment, products.c.published
            row |= fetch(connection, select(*columns, products.c.camera).where(products.c.id == id))[0]
            row |= {"flags": _flags_of(connection, id), "used_by": _used_by(connection, id)}
            return row

    def stats(self) -> Row:
        """How many there are of everything: files by status, frames by type, products by kind and status, jobs by state."""
        with self.read() as connection:
            return {
                "files": _counted(connection, files.c.status, files.c.present),
                "files_absent": _counted(connection, files.c.status, ~files.c.present),
                "frames": _counted(connection, frames.c.image_type),
                "products": _counted(connection, products.c.kind),
                "products_by_status": _counted(connection, products.c.status),
                "jobs": _counted(connection, jobs.c.state),
                "cameras": len(_counted(connection, frames.c.camera)),
                "observations": len(_counted(connection, frames.c.obs_id, frames.c.obs_id.is_not(None))),
                "open_groups": len(open_subjects(connection)),
                "flags": _counted(connection, flags.c.kind, flags.c.active),
            }


def _counted(connection: Connection, column: Any, *conditions: Any) -> dict[str, int]:
    counts = select(column, func.count()).where(*conditions).group_by(column)
    return dict(sorted((str(key), count) for key, count in connection.execute(counts)))


def _in_chunks(
    connection: Connection, table: Table, chosen: Filters, load: Callable[[Connection, list[Any]], list[Row]]
) -> Iterator[Row]:
    """The rows in order, some hundreds at a time: what is listed may be larger than memory likes."""
    for some in ordered_ids(connection, table, chosen):
        yield from load(connection, some)


def _frame_dicts(connection: Connection, ids: list[str]) -> list[Row]:
    rows = frame_rows(connection, ids)
    links = links_of(connection, ids)
    found = []
    for one in ids:
        if one not in rows:
            continue
        best = links.get(one, [{}])[0]
        place = {
            "id": one,
            "path": printable_path(best.get("relative_path", "")) or None,
            "member": printable_path(best.get("member", "")),
            "hdu": best.get("hdu"),
            "sha256": best.get("sha256"),
            "root": best.get("root"),
            "present": bool(best.get("present", False)),
        }
        found.append({**place, **{key: rows[one][key] for key in _FRAME_KEYS}})
    return found


def _files_without_frame(connection: Connection, statuses: list[str]) -> Iterator[Row]:
    wanted = select(files).where(files.c.status.in_(statuses), files.c.present)
    for row in fetch(connection, wanted.order_by(files.c.root, files.c.relative_path, files.c.member)):
        place = {
            "id": None,
            "path": printable_path(row["relative_path"]),
            "member": printable_path(row["member"]),
            "hdu": None,
            **{key: row[key] for key in ("sha256", "root", "present")},
        }
        values = {**dict.fromkeys(_FRAME_KEYS), "image_type": "unknown", "status": row["status"]}
        yield {**place, **values, "warnings": [row["reason"]] if row["reason"] else []}


def _file_dicts(connection: Connection, ids: list[int]) -> list[Row]:
    rows = {row["id"]: row for row in fetch(connection, select(files).where(among(files.c.id, ids)))}
    held: dict[int, list[str]] = {}
    links = select(file_frames.c.file, file_frames.c.frame).where(among(file_frames.c.file, ids))
    for file_id, frame in connection.execute(links.order_by(file_frames.c.file, file_frames.c.hdu)):
        held.setdefault(file_id, []).append(frame)
    return [
        {
            "path": printable_path(rows[one]["relative_path"]),
            "member": printable_path(rows[one]["member"]),
            **{key: rows[one][key] for key in _FILE_KEYS},
            "frames": held.get(one, []),
        }
        for one in ids
    ]


def _product_dicts(connection: Connection, ids: list[str]) -> list[Row]:
    columns = [products.c[name] for name in _PRODUCT_KEYS]
    rows = {row["id"]: row for row in fetch(connection, select(*columns).where(among(products.c.id, ids)))}
    lineage, measured = lineage_of(connection, ids), metrics_of(connection, ids)
    return [
        {
            **rows[one],
            "path": printable_path(rows[one]["path"]),
            "inputs": [{key: row[key] for key in ("role", "id", "origin", "sha256")} for row in lineage.get(one, [])],
            "metrics": measured.get(one, {}),
        }
        for one in ids
        if one in rows
    ]


def _job_dicts(connection: Connection, ids: list[str]) -> list[Row]:
    columns = [jobs.c[name] for name in _JOB_KEYS]
    rows = {row["id"]: row for row in fetch(connection, select(*columns).where(among(jobs.c.id, ids)))}
    held: dict[str, list[Row]] = {}
    wanted = select(job_inputs).where(among(job_inputs.c.job, ids)).order_by(job_inputs.c.job, job_inputs.c.position)
    for row in fetch(connection, wanted):
        held.setdefault(row["job"], []).append({key: row[key] for key in ("role", "id", "origin")})
    return [{**rows[one], "inputs": held.get(one, [])} for one in ids]


def _flags_of(connection: Connection, subject: str) -> list[Row]:
    rows = fetch(connection, select(flags).where(flags.c.subject == subject).order_by(flags.c.id))
    return [{key: value for key, value in row.items() if key not in ("id", "subject")} for row in rows]


def _used_by(connection: Connection, subject: str) -> list[Row]:
    columns = products.c.id, products.c.kind, products.c.status, products.c.path, product_inputs.c.role
    users = select(*columns).join(product_inputs, product_inputs.c.product == products.c.id)
    rows = fetch(connection, users.where(product_inputs.c.id == subject).order_by(products.c.kind, products.c.id))
    return [{**row, "path": printable_path(row["path"])} for row in rows]
