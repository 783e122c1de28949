"""The command hips: tiles for atlases, of files or of what the catalogue has."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from avcd.cli.lists import Cone, FilterName, Limit, Night, Since, Status, Target, Telescope, Until, Where
from avcd.cli.options import HomeOption, load_home_for, open_catalog
from avcd.cli.processing import ForceOption, start_session
from avcd.errors import UsageError

if TYPE_CHECKING:
    from avcd.standalone.surveys import Chosen


class _Frame(StrEnum):
    EQUATORIAL = "equatorial"
    GALACTIC = "galactic"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("hips")(hips)


def hips(
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="The directory of the survey.")],
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[FILE…]",
            help="FITS images with world coordinates, or pictures of avcd rgb; else those of the catalogue.",
        ),
    ] = None,
    frame: Annotated[_Frame, typer.Option("--frame", help="The coordinates of the tiles.")] = _Frame.EQUATORIAL,
    order: Annotated[
        int | None,
        typer.Option("--order", min=0, max=20, help="Of the finest tiles; else that of the finest image."),
    ] = None,
    title: Annotated[
        str | None, typer.Option("--title", help="What an atlas calls it; else the directory's name.")
    ] = None,
    kinds: Annotated[
        str | None,
        typer.Option("--type", help="Of the catalogue's products: stack, mosaic, reduced or rgb; else stack,mosaic."),
    ] = None,
    telescope: Telescope = None,
    night: Night = None,
    target: Target = None,
    filter_name: FilterName = None,
    status: Status = None,
    since: Since = None,
    until: Until = None,
    cone: Cone = None,
    where: Where = None,
    limit: Limit = None,
    force: ForceOption = False,
    home: HomeOption = None,
) -> None:
    """Make a HiPS of images: tiles of every resolution that Aladin shows on the sky. Several images make one survey.

    Without files it is made of the catalogue's stacks and mosaics that serve now, as the options choose them.
    """
    from avcd.standalone.outputs import Done
    from avcd.standalone.surveys import PICTURES, Survey, make_survey

    session = start_session(force)
    filters = {
        "telescope": telescope, "night": night, "target": target, "filter": filter_name, "type": kinds, "status": status,
        "since": since, "until": until, "cone": cone, "where": where, "limit": limit,
    }  # fmt: skip
    dates: tuple[str, ...] = ()
    if paths:
        given = [f"--{name}" for name, value in filters.items() if value is not None]
        if given:
            raise UsageError(f"{', '.join(given)} choose from the catalogue: leave the files out, or these")
    else:
        chosen = _from_catalogue(home, filters)
        if not chosen.paths:
            raise UsageError("nothing in the catalogue is chosen by these; see: avcd products --type stack,mosaic")
        for text in chosen.notes:
            session.warn(text)
        paths, dates = list(chosen.paths), tuple(chosen.dates)
    drawn = [one for one in paths if one.suffix.lower() in PICTURES]
    files = session.open_all([one for one in paths if one not in drawn])
    if drawn and files:
        raise UsageError("name FITS images or pictures, not both: their tiles are of different kinds")
    if not session.failed:
        survey = Survey(files, drawn, out, frame.value, order, title or out.name, dates)
        done, notes = make_survey(survey, force=force)
        for text in notes:
            session.warn(text)
        if done is Done.ALREADY:
            session.warn(f"{out} is there already, made of the same images in the same way; --force makes it again")
        typer.echo(out)
    session.end()


def _from_catalogue(home: Path | None, filters: dict[str, Any]) -> Chosen:
    from avcd.standalone.surveys import choose_products

    loaded = load_home_for(home)
    asked = {**filters, "type": filters["type"] or "stack,mosaic"}
    with open_catalog(loaded) as catalog:
        return choose_products(catalog.products(**asked), loaded.archive)
