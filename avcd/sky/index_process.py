"""astrometry.net's engine in a process of its own: an order on standard input, world coordinates on standard output."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def locate(order: dict[str, Any]) -> list[tuple[str, Any, str]] | None:
    """Solve a star list.

    Parameters
    ----------
    order
        ``files``: index files; ``stars``: x and y, 0-based, the brightest first; ``arcsec_per_pixel``: least and most.

    Returns
    -------
    list of (keyword, value, comment), or None
        None where nothing was found.
    """
    import astrometry

    parameters = astrometry.SolutionParameters(
        # Its default of 3 follows the stars' errors.
        sip_order=1,
        # Without this it goes through all the other index files for something better still.
        logodds_callback=lambda found: astrometry.Action.STOP,
    )
    low, high = order["arcsec_per_pixel"]
    with astrometry.Solver([Path(one) for one in order["files"]]) as solver:
        found = solver.solve(
            stars=[(x + 1.0, y + 1.0) for x, y in order["stars"]],  # it counts pixels from one
            size_hint=astrometry.SizeHint(low, high),
            position_hint=None,
            solution_parameters=parameters,
        )
    if not found.has_match():
        return None
    return [(key, value, comment) for key, (value, comment) in found.best_match().wcs_fields.items()]


if __name__ == "__main__":
    json.dump(locate(json.load(sys.stdin)), sys.stdout)
