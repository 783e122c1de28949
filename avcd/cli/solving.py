"""World coordinates of files, without a home: avcd solve."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from avcd.cli.processing import FilesArgument, ForceOption, MemoryOption, start_session
from avcd.errors import AvcdError, ConfigError, UsageError

if TYPE_CHECKING:
    from avcd.cli.onfiles import Session
    from avcd.sky.engines import BlindEngine
    from avcd.sky.reference import ReferenceStars
    from avcd.standalone.inputs import FrameFile
    from avcd.standalone.solving import FieldSolver, SolveOptions


class _Engine(StrEnum):
    INDEX = "index"
    SOLVE_FIELD = "solve-field"
    NOVA = "nova"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("solve")(solve)


def solve(
    paths: FilesArgument,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="OUT", help="The copy to write; for several files a directory."),
    ] = None,
    in_place: Annotated[
        bool, typer.Option("--in-place", help="Write into the header of the file itself; its pixels stay as they are.")
    ] = False,
    ra: Annotated[float | None, typer.Option("--ra", min=0, max=360, help="[deg] Else the header's.")] = None,
    dec: Annotated[float | None, typer.Option("--dec", min=-90, max=90, help="[deg] Else the header's.")] = None,
    scale: Annotated[
        float | None, typer.Option("--scale", min=0.001, help="[arcsec] A pixel's side, to 10 %; else the header's.")
    ] = None,
    radius: Annotated[
        float | None,
        typer.Option("--radius", min=0.001, help="[deg] How far off the pointing may be; else 1.5 fields."),
    ] = None,
    sip_order: Annotated[
        int, typer.Option("--sip-order", min=0, max=3, help="Highest order of distortion that the stars may ask for.")
    ] = 3,
    gaia: Annotated[
        bool,
        typer.Option("--gaia", help="Ask the Gaia archive for fainter stars, and keep them; needs avcd[archives]."),
    ] = False,
    blind: Annotated[
        _Engine | None, typer.Option("--blind", help="What looks over the whole sky where all else fails.")
    ] = None,
    indexes: Annotated[
        list[Path] | None,
        typer.Option("--index", metavar="DIR", help="Where index files are; else where Debian puts them."),
    ] = None,
    timeout: Annotated[
        float, typer.Option("--timeout", min=1, help="[s] How long --blind may take for a file.")
    ] = 60.0,
    force: ForceOption = False,
    mem_limit: MemoryOption = "2 GiB",
) -> None:
    """Find the world coordinates of frames by their stars, or verify and refine those they have."""
    from avcd.standalone.outputs import place_outputs
    from avcd.standalone.solving import FieldSolver, SolveOptions, plan_solution

    if (out is None) != in_place:
        raise UsageError("give -o OUT for copies, or --in-place")
    if (ra is None) != (dec is None):
        raise UsageError("give --ra and --dec together")
    session = start_session(force, mem_limit)
    engine = _engine(blind, tuple(indexes or ()), timeout)
    files = session.open_all(paths)
    options = SolveOptions(ra, dec, scale, radius, sip_order, _references(gaia, files), engine)
    solver = FieldSolver(files, options)
    if out is None:
        for file in files:
            _write_in_place(session, file, solver, options)
    else:
        session.run_files(
            files,
            place_outputs(out, files, "solved", several=len(paths) > 1),
            lambda file, path: (plan_solution(file, path, solver, options, session.memory_bytes), []),
        )
    session.end()


def _write_in_place(session: Session, file: FrameFile, solver: FieldSolver, options: SolveOptions) -> None:
    from avcd.standalone.inplace import refuse_in_place, write_world
    from avcd.standalone.planning import check_memory
    from avcd.standalone.solving import believed, sentence

    try:
        refuse_in_place(file)
        check_memory(file.frame, session.memory_bytes)
        solution = believed(solver.solve(file), options)
        write_world(file, solution)
    except (AvcdError, OSError) as error:
        session.fail(file.name, error)
        return
    session.warn(f"{file.name}: {sentence(solution)}" + (f"; {solution.reason}" if solution.reason else ""))
    typer.echo(file.path)


def _references(gaia: bool, files: Sequence[FrameFile]) -> tuple[ReferenceStars, ...]:
    """Tycho-2, and after it Gaia's stars as they stood when the first of the files with a date was taken."""
    from avcd.sky.reference import Tycho2

    if not gaia:
        return (Tycho2(),)
    try:
        # It asks the archive for news as it is imported, and prints them, or that there are none.
        with redirect_stdout(sys.stderr):
            from astroquery.gaia import GaiaClass
    except ModuleNotFoundError:
        raise UsageError("--gaia needs the package astroquery; install avcd[archives]") from None
    from avcd.sky.gaia import GaiaStars

    archive, directory = GaiaClass(show_server_messages=False), _cache() / "gaia-dr3"
    moments = [one.frame.t_min for one in files if one.frame.t_min is not None]
    return Tycho2(), GaiaStars(directory, archive, _julian_year(moments[0])) if moments else GaiaStars(
        directory, archive
    )


def _julian_year(mjd: float) -> float:
    return 2000.0 + (mjd - 51544.5) / 365.25


def _cache() -> Path:
    """Where what was fetched is kept: in the home, or without one in the user's cache."""
    import platformdirs

    from avcd.config import find_home

    try:
        return find_home() / "cache"
    except ConfigError:
        return Path(platformdirs.user_cache_dir("avcd"))


def _engine(blind: _Engine | None, indexes: tuple[Path, ...], timeout_s: float) -> BlindEngine | None:
    from avcd.sky import engines

    if indexes and blind is not _Engine.INDEX:
        raise UsageError("--index goes with --blind index")
    if blind is _Engine.INDEX:
        return engines.IndexEngine(indexes or engines.INDEX_DIRECTORIES, timeout_s)
    if blind is _Engine.SOLVE_FIELD:
        return engines.SolveField(timeout_s)
    if blind is _Engine.NOVA:
        try:
            from astroquery.astrometry_net import AstrometryNet, conf
        except ModuleNotFoundError:
            raise UsageError("--blind nova needs the package astroquery; install avcd[archives]") from None
        if not conf.api_key:
            raise UsageError(
                "--blind nova needs a key from nova.astrometry.net; write it into astroquery's settings, "
                "~/.astropy/config/astroquery.cfg, as api_key below [astrometry_net]"
            )
        return engines.Nova(AstrometryNet, timeout_s)
    return None
