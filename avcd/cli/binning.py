"""The command bin: event lists counted into images, without a home."""

from __future__ import annotations

from typing import Annotated

import typer

from avcd.cli.processing import FilesArgument, ForceOption, MemoryOption, OutOption, start_session


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("bin")(bin_events)


def bin_events(
    paths: FilesArgument,
    out: OutOption,
    energies: Annotated[
        list[str] | None,
        typer.Option(
            "--energy",
            "-e",
            metavar="LOW:HIGH",
            help="[eV] A band; or soft, medium, hard. May be repeated; else these three.",
        ),
    ] = None,
    pixel_scale: Annotated[
        float | None,
        typer.Option(
            "--pixel-scale",
            min=1e-4,
            metavar="ARCSEC",
            help="Side of a pixel; else the events' own, or more of large fields.",
        ),
    ] = None,
    force: ForceOption = False,
    mem_limit: MemoryOption = "2 GiB",
) -> None:
    """Count the events of X-ray observatories (Chandra, XMM) into images, one for each band of energies, with world coordinates."""
    from functools import partial

    from avcd.compose.binning import Band
    from avcd.standalone.events import open_bands, place_bands, plan_binning

    session = start_session(force, mem_limit)
    bands = [Band.parse(one) for one in energies or ()]
    files = session.open_all(paths, partial(open_bands, bands=bands, scale_arcsec=pixel_scale))
    session.run_files(
        files, place_bands(out, files), lambda file, place: (plan_binning(file, place, session.memory_bytes), ())
    )
    session.end()
