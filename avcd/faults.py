"""Named points of a job's life at which a test may kill the process.

In normal service ``reach`` costs one look-up in the environment and does nothing. With ``AVCD_KILL_AT`` set to
``point`` or ``point:n``, the n-th time (first by default) the point is reached in a process, that process ends by
SIGKILL; with ``point:n:group`` its whole process group does, and with ``point:n:daemon`` the daemon does, whichever
process came by. So the promise that a crash at any point loses nothing can be tested from outside, against the very
code that runs in service.
"""

from __future__ import annotations

import os
import signal

POINTS = ("leased", "running", "written", "fsynced", "renamed", "before_commit", "after_commit")
_VARIABLE = "AVCD_KILL_AT"
_DAEMON = "AVCD_DAEMON_PID"
_seen: dict[str, int] = {}


def mark_daemon() -> None:
    """Note this process, and to its children, as the daemon."""
    os.environ[_DAEMON] = str(os.getpid())


def reach(point: str) -> None:
    """Note that ``point`` was reached, and die there when a test asked for it.

    Raises
    ------
    ValueError
        ``point`` is none of ``POINTS``.
    """
    if point not in POINTS:
        raise ValueError(f"{point!r} is none of {POINTS}")
    wanted = os.environ.get(_VARIABLE)
    if not wanted:
        return
    name, _, rest = wanted.partition(":")
    if name != point:
        return
    count, _, scope = rest.partition(":")
    _seen[point] = _seen.get(point, 0) + 1
    if _seen[point] < int(count or 1):
        return
    if scope == "group":
        os.killpg(os.getpgrp(), signal.SIGKILL)
    victim = int(os.environ[_DAEMON]) if scope == "daemon" else os.getpid()
    os.kill(victim, signal.SIGKILL)
    if victim != os.getpid():
        signal.pause()  # a worker dies with its daemon; it must not get any further meanwhile
