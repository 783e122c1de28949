"""The demo: a night under a real sky, made, dropped, processed, shown."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import typer

from avcd.catalog import Catalog
from avcd.cli.homes import make_home
from avcd.cli.service import start_logging
from avcd.config import Home, example_toml
from avcd.daemon import Daemon
from avcd.simulate.night import make_night
from avcd.simulate.transfer import deliver
from avcd.views.progress import DaemonBars
from avcd.views.summary import summary_as_text
from avcd.views.tables import line_width

# The transfer is over before the daemon starts, so a file that stands still for a second is complete.
_SETTINGS: dict[str, dict[str, Any]] = {
    "watch": {"quiet_s": 1.0},
    "drop": {"name": "itelescope", "path": "drop/itelescope"},
}
_SECOND_DROP = '[[drop]]\nname = "astep"\npath = "drop/astep"\n'


def run_demo(directory: Path, seed: int) -> int:
    """Simulate, deliver, process until idle, and print what came of it.

    Parameters
    ----------
    directory
        Becomes a home: ``drop/`` holds what was delivered, ``night/`` the truth about it.

    Returns
    -------
    int
        The exit code: 1 when a job died.
    """
    start_logging(logging.ERROR)
    home = make_home(directory, example_toml(_SETTINGS) + "\n" + _SECOND_DROP)
    with DaemonBars() as bars:
        night = make_night(home.path / "night", seed, progress=bars.counter("simulating"))
        deliver(night, home.roots, progress=bars.counter("delivering"))
        bars.done()
        code = Daemon(home, progress=bars.update).run(until_idle=True)
    sys.stdout.write(_summary(home))
    typer.echo(f"\nlook around: cd {directory} && avcd observations", err=True)
    return code


def _summary(home: Home) -> str:
    catalog = Catalog(home.database_url)
    try:
        observations, products = list(catalog.observations()), list(catalog.products())
        return summary_as_text(observations, products, catalog.stats(), home.archive, line_width(sys.stdout))
    finally:
        catalog.close()
