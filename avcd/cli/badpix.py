"""The command badpix: masks of bad pixels from files, and images repaired by them; without a home."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from avcd.cli.processing import FilesArgument, ForceOption, MemoryOption, OutOption, SetOption, start_session
from avcd.errors import UsageError

_REPAIR_PARAMETERS = ("repair_radius_px", "repair_least_neighbours")


class _Repair(StrEnum):
    MEDIAN = "median"
    INTERPOLATION = "interpolation"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("badpix")(badpix)


def badpix(
    paths: FilesArgument,
    out: OutOption,
    named: Annotated[
        Path | None,
        typer.Option("--named", metavar="YAML", help="Also bad: columns, rows, rectangles and pixels of this list."),
    ] = None,
    binning: Annotated[
        str | None, typer.Option("--binning", metavar="NxM", help="Which section of the list; else the header's.")
    ] = None,
    mask: Annotated[
        Path | None,
        typer.Option("--repair", metavar="MASK", help="Find nothing: replace what MASK names from its neighbours."),
    ] = None,
    method: Annotated[
        _Repair, typer.Option("--method", help="How to repair: median of the box around, or a straight line across.")
    ] = _Repair.MEDIAN,
    changes: SetOption = None,
    force: ForceOption = False,
    mem_limit: MemoryOption = "2 GiB",
) -> None:
    """Find bad pixels, columns and rows in darks and flats, add an observer's own; or repair images by such a mask.

    Hot and dead pixels and bad columns, whole or in part, come from darks; odd response from one flat, or the ratio
    of two. What was made of the same files in the same way before is left as it is.
    """
    session = start_session(force, mem_limit, paths)
    from avcd.frame import ProductKind
    from avcd.recipes import load_recipes
    from avcd.standalone.badpixels import plan_mask, plan_repair
    from avcd.standalone.outputs import check_out_file
    from avcd.standalone.planning import changed, recipe_of

    if mask is None:
        check_out_file(out)
        recipe = recipe_of(ProductKind.BAD_PIXEL_MASK, changes or ())
        if named is not None and not named.is_file():
            raise UsageError(f"--named {named}: there is no such file")
        files = session.open_all(paths)
        if not session.failed:  # a mask without one of its darks would be another than was asked for
            session.run_one(out, lambda: (plan_mask(files, out, named, binning, recipe, session.memory_bytes), ()))
    else:
        if named is not None or binning is not None:
            raise UsageError(
                "--named and --binning go with finding: make a mask with them, then --repair with that mask"
            )
        known = load_recipes()[ProductKind.REDUCED].parameters
        parameters = changed({name: known[name] for name in _REPAIR_PARAMETERS}, changes or ())
        parameters["repair"] = str(method)
        bad = session.open_one("--repair", mask)
        assert bad is not None
        session.run_each(
            paths,
            out,
            "repaired",
            lambda file, place: (plan_repair(file, place, bad, parameters, session.memory_bytes), ()),
        )
    session.end()
