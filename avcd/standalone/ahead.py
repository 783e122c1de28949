"""Files read and hashed in threads of their own while the rest of the program is still being loaded."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future
from pathlib import Path
from threading import Lock, Thread

from avcd.compiling import threads
from avcd.config import Limits
from avcd.frame import FileReading
from avcd.headers.profiles import Profiles
from avcd.headers.reading import read_file

_LARGE_BYTES = 16 * 2**20


def is_large(paths: Iterable[Path]) -> bool:
    """Whether files are so large in all that compiled loops are worth their loading."""
    return sum(one.stat().st_size for one in paths if one.is_file()) >= _LARGE_BYTES


def read_near(path: Path, profiles: Profiles) -> FileReading:
    """What is in a file that was named on the command line; the names beside it may say what its headers do not."""
    near = f"{path.resolve().parent.name}/{path.name}"
    return read_file(path, near, profiles, Limits(), digest=False)


class Ahead:
    """Readings of files that were begun before anybody asked for them.

    The interpreter runs one thread at a time, but for what a processor does by itself: hashing, which is nearly all of reading. One
    core is left to what is being loaded. Threads that nobody waits for any more end with the process.

    Parameters
    ----------
    paths
        Of files; what is none is left out.
    """

    def __init__(self, paths: Iterable[Path], profiles: Profiles) -> None:
        self.profiles = profiles
        self._lock = Lock()
        self._waiting = {one: Future[FileReading]() for one in paths if one.is_file()}
        self._begun: dict[Path, Future[FileReading]] = {}
        for _ in range(min(max(1, threads() - 1), len(self._waiting))):
            Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    return
                path, reading = next(iter(self._waiting.items()))
                self._begun[path] = self._waiting.pop(path)
            try:
                reading.set_result(read_near(path, self.profiles))
            except Exception as error:  # for whoever asks
                reading.set_exception(error)

    def take(self, path: Path) -> FileReading:
        """What is in a file; one that was not begun yet is read by who asks."""
        with self._lock:
            self._waiting.pop(path, None)
            reading = self._begun.get(path)
        return read_near(path, self.profiles) if reading is None else reading.result()
