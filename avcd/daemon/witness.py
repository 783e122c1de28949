"""Does the watch of a drop directory tell of everything that comes? Every file that the rescan finds is a witness."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

_PATIENCE_S = 2.0  # an event may come after the rescan saw what it tells of
_STRIKES = 2  # one burst may overflow the kernel's queue; a deaf watch misses what comes every time
_SUSPECTS = 100


class Witness:
    """Notices files that came while a watch was kept and of which no event told.

    No canary can show that what other machines write on a shared file system goes untold; these files do. A rescan
    sees a file first; if no hint has come of it by the next one, none will. When that happens in two rescans in a row,
    the watch is no longer to be trusted.

    Parameters
    ----------
    roots
        Logical name to directory.
    distrust
        Called with (root, why).
    ticks
        Seconds that are never set.
    """

    def __init__(
        self, roots: Mapping[str, Path], distrust: Callable[[str, str], None], ticks: Callable[[], float]
    ) -> None:
        self._roots = dict(roots)
        self._distrust = distrust
        self._ticks = ticks
        self._begun: set[str] = set()  # roots that were looked at once since their watch began
        self._suspects: dict[str, dict[str, float]] = {root: {} for root in roots}
        self._strikes = dict.fromkeys(roots, 0)

    def excuse(self, *roots: str) -> None:
        """What these roots' next rescan finds is no evidence: the watch is new, or nobody listened."""
        for root in roots:
            self._begun.discard(root)
            self._suspects[root].clear()

    def heard(self, root: str, relative_path: str) -> None:
        """An event told of a file."""
        self._suspects[root].pop(relative_path, None)

    def saw(self, root: str, relative_path: str) -> None:
        """A rescan found a file of which no event has told yet."""
        suspects = self._suspects[root]
        if root in self._begun and len(suspects) < _SUSPECTS and self._should_be_told(root, relative_path):
            suspects.setdefault(relative_path, self._ticks())

    def _should_be_told(self, root: str, relative_path: str) -> bool:
        """Watches do not look behind links."""
        base = self._roots[root]
        return os.path.realpath(base / relative_path) == str(Path(os.path.realpath(base)) / relative_path)

    def judge(self, root: str) -> None:
        """A rescan of a root is complete."""
        self._begun.add(root)
        suspects = self._suspects[root]
        before = self._ticks() - _PATIENCE_S
        missed = [path for path, seen in suspects.items() if seen <= before]
        for path in missed:
            del suspects[path]
        # While some are too fresh to tell, the strikes stand.
        self._strikes[root] = self._strikes[root] + 1 if missed else self._strikes[root] if suspects else 0
        if self._strikes[root] >= _STRIKES:
            self._strikes[root] = 0
            self._distrust(root, f"files came of which the system's file events did not tell, as {missed[-1]!r}")
