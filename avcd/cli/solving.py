"""World coordinates of files, without a home: avcd solve."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from avcd.cli.processing import FilesArgument, ForceOption, MemoryOption, start_session
from avcd.errors import AvcdError, ConfigError, ProcessingError, UsageError

if TYPE_CHECKING:
    from avcd.cli.onfiles import Session
    from avcd.sky.engines import BlindEngine
    from avcd.sky.reference import ReferenceStars
    from avcd.sky.services import SkyServices
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
        list[_Engine] | None,
        typer.Option("--blind", help="What looks over the whole sky where all else fails; may be given again."),
    ] = None,
    indexes: Annotated[
        list[Path] | None,
        typer.Option("--index", metavar="DIR", help="Where index files are; else where Debian puts them."),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option("--timeout", min=1, help="[s] How long each --blind may take for a file; else as the home says."),
    ] = None,
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
    services = _services(timeout, indexes or ())
    engines = _engines([str(one) for one in blind or ()], indexes or (), services)
    files = session.open_all(paths)
    options = SolveOptions(ra, dec, scale, radius, sip_order, _references(gaia, files, services), engines)
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


def _services(timeout_s: float | None, indexes: Sequence[Path]) -> SkyServices:
    """How catalogues and engines are asked: as the home says, without one as usual, the options laid over it."""
    from avcd.config import Astrometry, find_home, load_home
    from avcd.sky.services import SkyServices

    settings, cache = Astrometry(), None
    try:
        path = find_home()
    except ConfigError:  # files are worked on without a home, too
        path = None
    if path is not None:
        home = load_home(path)
        settings, cache = home.settings.astrometry, home.cache
    said: dict[str, Any] = {}
    if indexes:
        said["index_directories"] = tuple(str(one) for one in indexes)
    if timeout_s is not None:
        said |= dict.fromkeys(("index_timeout_s", "solve_field_timeout_s", "nova_timeout_s"), timeout_s)
    return SkyServices(settings.model_copy(update=said), cache)


def _references(gaia: bool, files: Sequence[FrameFile], services: SkyServices) -> tuple[ReferenceStars, ...]:
    """Tycho-2, and after it Gaia's stars as they stood when the first of the files with a date was taken."""
    if gaia and find_spec("astroquery") is None:
        raise UsageError("--gaia needs the package astroquery; install avcd[archives]")
    moments = [one.frame.t_min for one in files if one.frame.t_min is not None]
    names = ("tycho2", "gaia") if gaia else ("tycho2",)
    return tuple(services.catalogue(name, moments[0] if moments else None) for name in names)


def _engines(names: Sequence[str], indexes: Sequence[Path], services: SkyServices) -> tuple[BlindEngine, ...]:
    if indexes and _Engine.INDEX not in names:
        raise UsageError("--index goes with --blind index")
    engines = services.engines(names)
    for one in engines:
        try:
            one.check()
        except ProcessingError as error:
            raise UsageError(f"--blind {one.name}: {error}") from None
    return engines
