"""Masters held in memory from one frame to the next: a night's frames share a few."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from avcd.reduction.planes import MaskedImage


class HeldMasters:
    """What was read last, as much as ``limit_bytes`` allow; a file that has changed is read again."""

    def __init__(self, limit_bytes: int = 0) -> None:
        self._held: OrderedDict[tuple[object, ...], MaskedImage] = OrderedDict()
        self._limit_bytes = limit_bytes

    @property
    def limit_bytes(self) -> int:
        """How much may be held; what is beyond it is let go at once."""
        return self._limit_bytes

    @limit_bytes.setter
    def limit_bytes(self, value: int) -> None:
        self._limit_bytes = value
        self._trim()

    def get(self, path: Path, part: tuple[object, ...], read: Callable[[], MaskedImage]) -> MaskedImage:
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
        self._trim()
        return found

    def _trim(self) -> None:
        while self._held and self.held_bytes > self._limit_bytes:
            self._held.popitem(last=False)

    @property
    def held_bytes(self) -> int:
        """How much is held."""
        return sum(_size_of(one) for one in self._held.values())


def _size_of(one: MaskedImage) -> int:
    planes = (one.data, one.mask, one.uncertainty)
    return sum({id(plane): plane.nbytes for plane in planes if plane is not None}.values())
