"""The command stars: star lists of files that are named, without a home."""

from __future__ import annotations

from typing import Annotated

import typer

from avcd.cli.processing import FilesArgument, ForceOption, MemoryOption, OutOption, SetOption, start_session


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("stars")(stars)


def stars(
    paths: FilesArgument,
    out: OutOption,
    votable: Annotated[bool, typer.Option("--votable", help="Also the table as VOTable (.vot).")] = False,
    regions: Annotated[bool, typer.Option("--regions", help="Also regions for ds9 (.reg).")] = False,
    picture: Annotated[bool, typer.Option("--picture", help="Also a picture with the stars marked (.png).")] = False,
    report: Annotated[bool, typer.Option("--report", help="Also all figures of the frame's quality (.json).")] = False,
    changes: SetOption = None,
    force: ForceOption = False,
    mem_limit: MemoryOption = "2 GiB",
) -> None:
    """Find stars and measure them: position, flux, width, ellipticity, flags; the frame's quality and its stars' shape.

    With world coordinates positions on the sky are added, and magnitudes where reference stars give a zero point.
    """
    session = start_session(force, mem_limit, paths)
    from avcd.standalone.stars import StarOptions, plan_stars

    options = StarOptions(votable, regions, picture, report, tuple(changes or ()))
    session.run_each(
        paths, out, "stars", lambda file, path: (plan_stars(file, path, options, session.memory_bytes), [])
    )
    session.end()
