"""Work that makes thousands of objects and no circles among them, done without looking for any."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Without the search for circles of objects, which takes up to a tenth of the time of planning a night, or of reading and recording it."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
