"""Commands that look ahead: gaps, impact, rules."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from avcd.cli.lists import Columns, FilterName, Limit, Since, Target, Telescope, Until
from avcd.cli.options import (
    FormatOption,
    HomeOption,
    IdArgument,
    ListFormatOption,
    find_one,
    load_home_for,
    open_catalog,
    print_rows,
)
from avcd.errors import UsageError
from avcd.views.tables import ID_LENGTH, Format, ListFormat, line_width, write_one

if TYPE_CHECKING:
    from avcd.association import Rules
    from avcd.catalog import Catalog
    from avcd.config import Home
    from avcd.frame import Plan


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("gaps")(gaps)
    app.command("impact")(impact)
    rules = typer.Typer(no_args_is_help=True, help="The rules by which calibrations are matched.")
    rules.command("check")(rules_check)
    rules.command("diff")(rules_diff)
    app.add_typer(rules, name="rules")


def gaps(
    night: Annotated[
        str | None,
        typer.Option(metavar="DATE", help="Only what is worth taking in this night (its evening's date): for frames that "
                     "are near enough in time to be served by it."),
    ] = None,
    telescope: Telescope = None,
    target: Target = None,
    filter_name: FilterName = None,
    since: Since = None,
    until: Until = None,
    chosen: Columns = None,
    limit: Limit = None,
    check: Annotated[bool, typer.Option("--check", help="Exit code 1 where anything is listed, for scripts.")] = False,
    form: ListFormatOption = ListFormat.TABLE,
    home: HomeOption = None,
) -> None:  # fmt: skip
    """The calibration frames to take, those first that free most science frames for each; as of the last plan."""
    import datetime

    from avcd.association import load_rules
    from avcd.views.gaps import KEYS, gap_rows, gaps_as_text

    if night is not None:
        try:
            night = datetime.date.fromisoformat(night.strip()).isoformat()
        except ValueError:
            raise UsageError(f"--night: {night!r} is no date such as 2026-01-15") from None
    filters = {"telescope": telescope, "target": target, "filter": filter_name, "since": since, "until": until}
    loaded = load_home_for(home)
    rules = load_rules(loaded.path)
    with open_catalog(loaded) as catalog:
        behind = catalog.cameras_behind()
        rows = gap_rows(catalog.lacking(**filters), rules, night)[:limit]
    if behind:
        typer.echo(f"avcd: {', '.join(behind)}: changed since the last plan, which this is as of", err=True)
    if form is ListFormat.TABLE and chosen is None:
        sys.stdout.write(gaps_as_text(rows))
    else:
        print_rows(rows, form, KEYS, chosen=chosen, every=KEYS, expected=False)
    if not rows:
        typer.echo("avcd: no calibration frames are missing", err=True)
    elif check:
        raise typer.Exit(1)


def impact(
    identity: IdArgument,
    approve: Annotated[bool, typer.Option("--approve", help="If it were approved; else, if it were rejected.")] = False,
    form: FormatOption = Format.TABLE,
    home: HomeOption = None,
) -> None:
    """The products that would change if a frame or master were rejected, or approved; nothing is decided by this."""
    from avcd.comparison import compare_plans
    from avcd.views.changes import change_row, impact_as_text

    loaded = load_home_for(home)
    with open_catalog(loaded) as catalog:
        kind, found = find_one(catalog, identity)
        row = catalog.frame_row(found) if kind == "frame" else catalog.product_row(found)
        before, after = _foretold(loaded, catalog, row["camera"], found, approve)
    names = {found: Path(row["path"]).name} if row["path"] else {}
    rows = [change_row(one, names) for one in compare_plans(before, after)]
    decision = "approve" if approve else "reject"
    if form is Format.TABLE:
        title = f"{'Approving' if approve else 'Rejecting'} {kind} {found[:ID_LENGTH]}"
        sys.stdout.write(impact_as_text(title, rows, line_width(sys.stdout)))
    elif form is Format.CSV:
        print_rows(rows, form, tuple(rows[0]) if rows else ("kind",), expected=False)
    else:
        write_one({"id": found, "decision": decision, "changes": rows}, form, sys.stdout)


def _foretold(home: Home, catalog: Catalog, camera: str, identity: str, approved: bool) -> tuple[Plan, Plan]:
    """What should exist by the facts as they are, and as they would be: of the groups that the decision concerns."""
    from avcd.association import load_rules
    from avcd.catalog import Reach
    from avcd.comparison import supposed
    from avcd.planner import plan, reach_days
    from avcd.recipes import load_recipes

    recipes, rules, processing = load_recipes(home.path), load_rules(home.path), home.settings.processing
    planned = camera not in catalog.cameras_behind()
    subjects = frozenset({catalog.group_of(identity)}) if planned else None
    while True:
        facts = catalog.snapshot(camera, subjects)
        after = plan(supposed(facts, identity, approved=approved), recipes, rules, processing)
        more = catalog.concerned(after, Reach(reach_days(facts, rules))) if subjects is not None else frozenset()
        if subjects is None or not more:
            return plan(facts, recipes, rules, processing), after
        subjects |= more


def rules_check(
    path: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="As a home's match.toml; else the rules of the home.")
    ] = None,
    home: HomeOption = None,
) -> None:
    """Read a rule set and say whether it is sound: unknown keys, values out of range, tiers that are never reached."""
    where = path
    if where is None:
        own = load_home_for(home).path / "match.toml"
        where = own if own.is_file() else None
    rules = _rules_in(where) if where else _rules_of(None)
    typer.echo(f"{where or 'the shipped rules'}: sound, digest {rules.digest[:ID_LENGTH]}")


def rules_diff(
    first: Annotated[
        Path, typer.Argument(metavar="OLD", help="A rule set; where it is the only one it is NEW, and OLD the home's.")
    ],
    second: Annotated[Path | None, typer.Argument(metavar="NEW", help="The rule set that would hold.")] = None,
    chosen: Columns = None,
    form: ListFormatOption = ListFormat.TABLE,
    home: HomeOption = None,
) -> None:
    """What a changed rule set would change over the whole catalogue: which calibrations every frame would be given."""
    from avcd.views.rules import KEYS, summary_as_text

    loaded = load_home_for(home)
    old = _rules_in(first) if second else _rules_of(loaded)
    new = _rules_in(second or first)
    with open_catalog(loaded) as catalog:
        found = _rule_changes(loaded, catalog, old, new)
        if form is not ListFormat.TABLE:
            print_rows(found, form, KEYS, chosen=chosen, every=KEYS, expected=False)
            return
        rows = list(found)
    if not rows:
        typer.echo("avcd: no frame would be given another calibration", err=True)
        return
    sys.stdout.write(summary_as_text(rows, line_width(sys.stdout)) + "\n")
    print_rows(rows, form, tuple(key for key in KEYS if key not in ("camera", "id")), chosen=chosen)


def _rules_of(home: Home | None) -> Rules:
    from avcd.association import load_rules

    return load_rules(home.path if home else None)


def _rules_in(path: Path) -> Rules:
    """The rules of a file, laid over the shipped ones."""
    from avcd.association import read_rules

    return read_rules(path)


def _rule_changes(home: Home, catalog: Catalog, old: Rules, new: Rules) -> Iterator[dict[str, Any]]:
    """Camera by camera, so that no more than one is held."""
    from avcd.planner import plan
    from avcd.recipes import load_recipes
    from avcd.views.rules import as_if_complete, changed_choices

    recipes = load_recipes(home.path)
    processing = home.settings.processing.model_copy(update={"provisional": True, "previews": False})
    for camera in catalog.cameras():
        facts = as_if_complete(catalog.snapshot(camera))
        before, after = (plan(facts, recipes, rules, processing) for rules in (old, new))
        yield from changed_choices(facts, before, after)
