"""Masters held in memory from one frame to the next: a night's frames share a few."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from avcd.reduction.planes import CCDData

# Of a held pixel: value, uncertainty, mask, and what is worked out of them once.
_BYTES_PER_PIXEL = 18


class HeldMasters:
    """What was read last, as much as ``limit_bytes`` allow; a file that has changed is read again."""

    def __init__(self, limit_bytes: int = 0) -> None:
        self.limit_bytes = limit_bytes
        self._held: OrderedDict[tuple[object, ...], CCDData] = OrderedDict()

    def get(self, path: Path, part: tuple[object, ...], read: Callable[[], CCDData]) -> CCDData:
        """The master in a file: held, or read now.

        Parameters
        ----------
        path, part
            The file, and what of it.
        read
            Reads it. The answer is shared: its pixels are not to be changed.
        """
        try:
            state = path.stat()
        except OSError:
            return read()  # which says what is wrong
        key = (path, *part, state.st_size, state.st_mtime_ns, state.st_ino)
        found = self._held.pop(key, None)
        if found is None:
            found = read()
        self._held[key] = found
        while self._held and sum(one.data.size for one in self._held.values()) * _BYTES_PER_PIXEL > self.limit_bytes:
            self._held.popitem(last=False)
        return found
