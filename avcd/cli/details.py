"""Commands that say all about one thing, or about what comes next: show, why, plan."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from avcd.cli.options import FormatOption, HomeOption, IdArgument, find_one, load_home_for, open_catalog, print_rows
from avcd.views import columns
from avcd.views.tables import Format, line_width, write_one

if TYPE_CHECKING:
    from avcd.catalog import Catalog
    from avcd.config import Home
    from avcd.frame import Plan, Snapshot


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("show")(show)
    app.command("why")(why)
    app.command("plan")(plan)


def show(identity: IdArgument, form: FormatOption = Format.TABLE, home: HomeOption = None) -> None:
    """One frame or product: values and where they came from, header, lineage, quality, pictures."""
    from avcd.views.details import frame_as_text, product_as_text

    loaded = load_home_for(home)
    with open_catalog(loaded) as catalog:
        kind, found = find_one(catalog, identity)
        row = dict(catalog.frame_row(found) if kind == "frame" else catalog.product_row(found))
    archive = loaded.archive
    row["pictures"] = [
        str(archive / one["path"])
        for one in row["used_by"]
        if one["kind"] == "preview" and one["status"] in ("final", "provisional")
    ]
    if kind == "product" and row["kind"] in ("rgb", "preview"):
        row["pictures"].insert(0, str(archive / row["path"]))
    if form is Format.TABLE:
        as_text = frame_as_text if kind == "frame" else product_as_text
        sys.stdout.write(as_text(row, line_width(sys.stdout)))
    else:
        write_one(row, form, sys.stdout)


def why(
    identity: IdArgument,
    full: Annotated[
        bool, typer.Option("--full", help="Of every candidate every criterion: wanted, found, tolerance, outcome.")
    ] = False,
    form: FormatOption = Format.TABLE,
    home: HomeOption = None,
) -> None:
    """For a frame: every candidate calibration with every reason. For a product: why it was made, and made again."""
    loaded = load_home_for(home)
    with open_catalog(loaded) as catalog:
        kind, found = find_one(catalog, identity)
        if kind == "frame":
            _why_frame(loaded, catalog, found, full, form)
        else:
            _why_product(catalog, found, form)


def _why_frame(home: Home, catalog: Catalog, identity: str, full: bool, form: Format) -> None:
    from avcd.association import load_rules
    from avcd.planner import explain
    from avcd.recipes import load_recipes
    from avcd.views.verdicts import needs_as_text, needs_to_dict

    row = catalog.frame_row(identity)
    recipes, rules = load_recipes(home.path), load_rules(home.path)
    # The masters as they were planned, unless something has changed since; those that may not serve are planned anew.
    planned = row["camera"] not in catalog.cameras_behind()
    subjects = catalog.withheld(row["camera"]) | {catalog.group_of(identity)} if planned else None
    needs = explain(catalog.snapshot(row["camera"], subjects), recipes, rules, identity, home.settings.processing)
    known = catalog.about(one.candidate_id for need in needs for one in need.candidates)
    names = {one: about["path"] for one, about in known.items() if about["path"]}
    if form is Format.TABLE:
        sys.stdout.write(needs_as_text(needs, names, line_width(sys.stdout), full=full))
    else:
        write_one(needs_to_dict(identity, needs, names), form, sys.stdout)


def _why_product(catalog: Catalog, identity: str, form: Format) -> None:
    from avcd.views.lineage import reason_as_text, reason_row

    found = reason_row(catalog.product_row(identity), catalog.history, catalog.about)
    if form is Format.TABLE:
        sys.stdout.write(reason_as_text(found, line_width(sys.stdout)))
    else:
        write_one(found, form, sys.stdout)


def plan(
    chosen: Annotated[str | None, typer.Option("--columns", metavar="A,B", help="What to show.")] = None,
    form: FormatOption = Format.TABLE,
    home: HomeOption = None,
) -> None:
    """The jobs that would run now, and why, with those that are blocked; runs nothing."""
    from avcd.views.plans import pending_rows

    loaded = load_home_for(home)

    def rows(catalog: Catalog) -> Iterator[dict[str, Any]]:
        for camera in catalog.cameras():
            snapshot = catalog.snapshot(camera)
            yield from pending_rows(_plan_of(loaded, snapshot), snapshot)

    with open_catalog(loaded) as catalog:
        count = print_rows(rows(catalog), form, columns.PLAN, chosen=chosen, expected=False)
    if not count:
        typer.echo("avcd: nothing to do", err=True)


def _plan_of(home: Home, snapshot: Snapshot) -> Plan:
    from avcd.association import load_rules
    from avcd.planner import plan as make_plan
    from avcd.recipes import load_recipes

    return make_plan(snapshot, load_recipes(home.path), load_rules(home.path), home.settings.processing)
