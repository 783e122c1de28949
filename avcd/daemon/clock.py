"""Notices that the time of day was set: by an operator, a time server, or a machine that slept."""

from __future__ import annotations

from collections.abc import Callable

_SLEW_S = 2.0  # what a clock may drift between two looks without having been set


class ClockJumps:
    """Compares a clock that may be set with one that may not.

    Parameters
    ----------
    clock
        Seconds since the epoch.
    ticks
        Seconds that are never set.

    Examples
    --------
    >>> now, ticks = [1000.0], [10.0]
    >>> jumps = ClockJumps(lambda: now[0], lambda: ticks[0])
    >>> now[0], ticks[0] = 1060.0, 70.0
    >>> jumps.jumped()
    0.0
    >>> now[0] = 460.0
    >>> jumps.jumped()
    -600.0
    >>> jumps.jumped()
    0.0
    """

    def __init__(self, clock: Callable[[], float], ticks: Callable[[], float]) -> None:
        self._clock = clock
        self._ticks = ticks
        self._ahead_s = clock() - ticks()

    def jumped(self) -> float:
        """By how many seconds the clock was set since the last look; 0 if it was not."""
        ahead_s = self._clock() - self._ticks()
        change_s = ahead_s - self._ahead_s
        self._ahead_s = ahead_s
        return change_s if abs(change_s) > _SLEW_S else 0.0
