"""Commands that list: frames, nights, observations, products, masters, jobs, files."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from avcd.cli.options import HomeOption, ListFormatOption, load_home_for, open_catalog, print_rows
from avcd.errors import UsageError
from avcd.views import columns
from avcd.views.tables import ListFormat

if TYPE_CHECKING:
    from avcd.catalog import Catalog

Telescope = Annotated[str | None, typer.Option(help="Several separated by commas.")]
Night = Annotated[str | None, typer.Option(help="Evening date, as 2026-01-15.")]
Target = Annotated[str | None, typer.Option(help="As in the header; blanks and case do not count.")]
FilterName = Annotated[str | None, typer.Option("--filter", help="Name of a filter; case counts.")]
Type = Annotated[str | None, typer.Option("--type", help="Image type of frames, kind of products and jobs.")]
Status = Annotated[
    str | None, typer.Option(help="Status of frames, files (gone: there no more) and products, state of the others.")
]
Since = Annotated[str | None, typer.Option(help="First night, or for frames a UTC time as 2026-01-15T21:30.")]
Until = Annotated[str | None, typer.Option(help="Last night, or for frames the UTC time before which.")]
Where = Annotated[
    str | None,
    typer.Option(
        metavar="EXPRESSION",
        help="As \"header.AIRMASS < 1.5 and filter in ('r', 'g')\": columns, header.KEYWORD, metric.NAME.",
    ),
]
Cone = Annotated[
    str | None,
    typer.Option(
        metavar="'RA DEC RADIUS'",
        help="Centres within a radius: degrees, or as '05:35:17 -05:23:28 30m' (d, m or s of arc).",
    ),
]
Columns = Annotated[
    str | None, typer.Option("--columns", metavar="A,B", help="What to show; --format json shows what there is.")
]
Sort = Annotated[str | None, typer.Option(metavar="A", help="Order by this; with '-' in front downwards.")]
Limit = Annotated[int | None, typer.Option(min=0, help="No more than this many.")]

_MASTERS = ("master_bias", "master_dark", "master_flat", "bad_pixel_mask")
_LISTS = (
    ("frames", "Frames: one exposure's image each, however many files hold it.", columns.FRAMES),
    (
        "nights",
        "Nights of each telescope: frames, hours of exposure, seeing, and whether they are complete.",
        columns.NIGHTS,
    ),
    ("observations", "Observations: the frames of one telescope, target and night.", columns.OBSERVATIONS),
    ("products", "Products of every status, with lineage and figures (json).", columns.PRODUCTS),
    ("masters", "Masters, those that avcd made and those that were delivered.", columns.MASTERS),
    ("jobs", "Jobs of every state, in the order in which they run.", columns.JOBS),
    ("files", "Files and members of archives, whether or not they hold a frame.", columns.FILES),
)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for name, words, shown in _LISTS:
        app.command(name, help=words)(_list_command(name, shown))


def _list_command(name: str, shown: Sequence[str]) -> Any:
    def command(
        telescope: Telescope = None,
        night: Night = None,
        target: Target = None,
        filter_name: FilterName = None,
        type_name: Type = None,
        status: Status = None,
        since: Since = None,
        until: Until = None,
        cone: Cone = None,
        where: Where = None,
        chosen: Columns = None,
        sort: Sort = None,
        limit: Limit = None,
        form: ListFormatOption = ListFormat.TABLE,
        home: HomeOption = None,
    ) -> None:
        filters = {
            "telescope": telescope, "night": night, "target": target, "filter": filter_name, "type": type_name,
            "status": status, "since": since, "until": until, "cone": cone, "where": where, "sort": sort, "limit": limit,
        }  # fmt: skip
        with open_catalog(load_home_for(home)) as catalog:
            rows = _masters(catalog, filters) if name == "masters" else getattr(catalog, name)(**filters)
            print_rows(rows, form, shown, chosen=chosen, every=_keys(name))

    return command


def _keys(name: str) -> tuple[str, ...]:
    """All keys of a list's rows."""
    from avcd.catalog.queries import LIST_KEYS

    return (*LIST_KEYS["products"], "origin") if name == "masters" else LIST_KEYS[name]


def _masters(catalog: Catalog, filters: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Master products and delivered master frames as one list."""
    asked = dict(filters)
    sort, limit = asked.pop("sort") or "night", asked.pop("limit")
    kinds = [one.strip() for one in asked.pop("type").split(",")] if asked["type"] else list(_MASTERS)
    asked.pop("type", None)
    if not set(kinds) <= set(_MASTERS):
        raise UsageError(f"--type: masters are {', '.join(_MASTERS)}")
    built = [{**row, "origin": "built"} for row in catalog.products(**asked, type=kinds)]
    # What a frame has beside the keys of a product stays with `avcd show`.
    delivered = [
        {**{key: row.get(key) for key in _keys("masters")}, "kind": row["image_type"], "origin": "delivered"}
        for row in catalog.frames(**asked, type=kinds)
    ]
    rows = built + delivered
    key = sort.lstrip("-")
    if rows and key not in rows[0]:
        raise UsageError(f"cannot sort by {key}; there are {', '.join(rows[0])}")
    rows.sort(key=lambda row: (str(row["kind"]), str(row["path"])))
    known = [row for row in rows if row[key] is not None]
    known.sort(key=lambda row: row[key], reverse=sort.startswith("-"))
    return itertools.islice(itertools.chain(known, (row for row in rows if row[key] is None)), limit)
