"""Which files have stood still long enough to be complete."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)  # what names a file to whoever asks


@dataclass(slots=True)
class _Sighting:
    state: tuple[int, int, int]  # size, mtime_ns, ctime_ns
    due: float  # in ticks: when it is settled if it stands still


class SettledFiles(Generic[Key]):
    """Which files have stood still long enough to be complete. Pure: it looks at no file and knows no real clock.

    A file is settled when it was modified, changed (ctime) and last seen changing at least ``quiet_s`` ago. So a file
    that lay there before the daemon started is settled at the first sight, one with an old modification time that a
    transfer set is not, and one with a time in the future (a clock ahead) counts from its first sighting.

    The time of day is asked once for each file, at its first sighting, to compare it with the file's times; from then
    on only ticks count, so that a clock that is set neither hurries a file nor holds it up.

    Parameters
    ----------
    quiet_s
        How long [s].
    clock
        Seconds since the epoch, comparable with files' times.
    ticks
        Seconds that are never set, such as `time.monotonic`; by default ``clock``.

    Examples
    --------
    >>> now = [100.0]
    >>> files = SettledFiles(quiet_s=5, clock=lambda: now[0])
    >>> files.observe("a.fits", 2880, mtime_ns=99 * 10**9, ctime_ns=99 * 10**9)
    False
    >>> now[0] = 104.0
    >>> files.observe("a.fits", 2880, mtime_ns=99 * 10**9, ctime_ns=99 * 10**9)
    True
    """

    def __init__(self, quiet_s: float, clock: Callable[[], float], ticks: Callable[[], float] | None = None) -> None:
        self._quiet_s = quiet_s
        self._clock = clock
        self._ticks = ticks or clock
        self._seen: dict[Key, _Sighting] = {}
        # (due, number, key); entries that a later sighting or a departure made void stay until they come up.
        self._agenda: list[tuple[float, int, Key]] = []
        self._numbers = itertools.count()

    def __len__(self) -> int:
        return len(self._seen)

    def __contains__(self, path: Key) -> bool:
        return path in self._seen

    def observe(self, path: Key, size: int, mtime_ns: int, ctime_ns: int) -> bool:
        """Note a file as it is now.

        Returns
        -------
        bool
            Whether it is settled; it is then forgotten, until it is observed again.
        """
        state = size, mtime_ns, ctime_ns
        tick = self._ticks()
        before = self._seen.get(path)
        due = tick + self._quiet_s
        if before is None:
            age_s = self._clock() - max(mtime_ns, ctime_ns) / 1e9
            due -= max(age_s, 0.0)
        elif before.state == state:
            # Should the ticks be set back after all, they must not hold a file up for as long as they were ahead.
            due = min(due, before.due)
        if due <= tick:
            self._seen.pop(path, None)
            return True
        if before is None or before.due != due:
            heapq.heappush(self._agenda, (due, next(self._numbers), path))
        self._seen[path] = _Sighting(state, due)
        return False

    def forget(self, path: Key) -> None:
        """A file is gone."""
        self._seen.pop(path, None)

    def pending(self) -> list[Key]:
        """The files observed that have not settled yet."""
        return list(self._seen)

    def due(self) -> list[Key]:
        """The files that are settled if they still are as they were last seen: time to observe them again."""
        found = []
        tick = self._ticks()
        while (due := self.next_due()) is not None and due <= tick:
            found.append(heapq.heappop(self._agenda)[2])
        # Until they are observed or forgotten they stay on the agenda: a look that fails must not lose a file.
        for path in found:
            heapq.heappush(self._agenda, (self._seen[path].due, next(self._numbers), path))
        return found

    def next_due(self) -> float | None:
        """When the next one settles if it stands still (in ticks); None without any."""
        while self._agenda:
            due, _, path = self._agenda[0]
            sighting = self._seen.get(path)
            if sighting is not None and sighting.due == due:
                return due
            heapq.heappop(self._agenda)
        return None
