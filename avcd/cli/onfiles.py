"""What commands on files have in common: opening, doing one after the other, bars, and what is said at the end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import typer

from avcd.compiling import threads
from avcd.errors import AvcdError, UsageError
from avcd.headers.profiles import Profiles, load_profiles
from avcd.standalone.ahead import Ahead
from avcd.standalone.inputs import FrameFile, open_files
from avcd.standalone.outputs import Done, Task, place_outputs, run_task
from avcd.standalone.pictures import PictureTask, run_pictures
from avcd.standalone.planning import memory_bytes

Plan = tuple[Task | PictureTask, Sequence[str]]


@dataclass
class Session:
    """One call of a command on files: a file that is bad is named on standard error, and does not stop the others."""

    force: bool
    memory_bytes: int
    profiles: Profiles
    ahead: Ahead | None = None
    failed: bool = False

    @classmethod
    def start(cls, *, force: bool, mem_limit: str, ahead: Ahead | None = None) -> Session:
        """Begin; ``mem_limit`` is the option's text, ``ahead`` the files that are being read already."""
        return cls(force, memory_bytes(mem_limit), ahead.profiles if ahead else load_profiles(), ahead)

    def warn(self, text: str) -> None:
        """Say something that is no failure."""
        typer.echo(f"avcd: {text}", err=True)

    def fail(self, name: object, error: Exception) -> None:
        """Say what went wrong; the command goes on, and its exit code will be 1."""
        reason = error.strerror if isinstance(error, OSError) and error.strerror else None
        self.warn(f"{name}: {reason or error or type(error).__name__}")
        self.failed = True

    def open_one(self, option: str, path: Path | None) -> FrameFile | None:
        """The image of a file that an option names; None for None.

        Raises
        ------
        UsageError
            It cannot be read, or holds several: without it nothing can be done.
        """
        if path is None:
            return None
        try:
            found = open_files(path, self.profiles)
        except (AvcdError, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) else None
            raise UsageError(f"{option} {path}: {reason or error}") from None
        if len(found) != 1:
            raise UsageError(f"{option} {path}: there are {len(found)} images in it; name a file of one")
        return found[0]

    def open_dark(self, path: Path | None, with_bias: bool | None) -> FrameFile | None:
        """The dark that ``--dark`` names, with what the observer says of its bias.

        Raises
        ------
        UsageError
            It cannot be read, or says itself otherwise.
        """
        dark = self.open_one("--dark", path)
        if dark is None or with_bias is None:
            return dark
        if dark.bias_removed is not None and dark.bias_removed is with_bias:
            said = "was removed" if dark.bias_removed else "is in it still"
            raise UsageError(f"--dark {path}: it says itself that its bias {said}; leave the option away")
        return dark.with_values(bias_included=with_bias)

    def open_at_once(self, *opening: Callable[[], FrameFile | None]) -> list[FrameFile | None]:
        """What several options name, each read and checked in a thread of its own; the first error is raised."""
        with ThreadPoolExecutor() as pool:
            return [one.result() for one in [pool.submit(work) for work in opening]]

    def open_all(
        self, paths: Sequence[Path], opened: Callable[[Path, Profiles], list[FrameFile]] | None = None
    ) -> list[FrameFile]:
        """The images of all files that can be read, as ``opened`` finds them."""
        opened = opened or self._open
        found: list[FrameFile] = []

        def read(path: Path) -> list[FrameFile] | AvcdError | OSError:
            try:
                return opened(path, self.profiles)
            except (AvcdError, OSError) as error:
                return error

        workers = min(threads(), len(paths)) or 1
        with bar("reading", len(paths)) as step, ThreadPoolExecutor(workers) as pool:
            for path, one in zip(paths, pool.map(read, paths), strict=True):
                if isinstance(one, list):
                    found += one
                else:
                    self.fail(path, one)
                step(path.name)
        return found

    def _open(self, path: Path, profiles: Profiles) -> list[FrameFile]:
        return open_files(path, profiles, self.ahead.take(path) if self.ahead and path.is_file() else None)

    def run_each(
        self,
        paths: Sequence[Path],
        out: Path,
        suffix: str,
        plan: Callable[[FrameFile, Path], Plan],
        style: str | None = None,
    ) -> None:
        """One output for every image; ``style``: named as another program does."""
        several = len(paths) > 1
        self.run_placed(paths, lambda files: place_outputs(out, files, suffix, several=several, style=style), plan)

    def run_placed(
        self,
        paths: Sequence[Path],
        place_all: Callable[[Sequence[FrameFile]], Sequence[Path]],
        plan: Callable[[FrameFile, Path], Plan],
    ) -> None:
        """One output for every image, at the places that are worked out from all of them."""
        files = self.open_all(paths)
        self.run_files(files, place_all(files), plan)

    def run_files(
        self, files: Sequence[FrameFile], places: Sequence[Path], plan: Callable[[FrameFile, Path], Plan]
    ) -> None:
        """One output for every image that is open."""
        with bar("processing", len(files)) as step:
            for file, place in zip(files, places, strict=True):
                self._run(file.name, lambda file=file, place=place: plan(file, place), alone=len(files) == 1)  # type: ignore[misc]
                step(place.name)

    def run_parts(
        self,
        paths: Sequence[Path],
        outs: Mapping[str, Path],
        suffixes: Mapping[str, str],
        plan: Callable[[FrameFile, Mapping[str, Path]], Sequence[Task]],
    ) -> None:
        """Several outputs for every image, each kind in its own place."""
        files = self.open_all(paths)
        several = len(paths) > 1
        places = {kind: place_outputs(out, files, suffixes[kind], several=several) for kind, out in outs.items()}
        with bar("processing", len(files)) as step:
            for number, file in enumerate(files):
                tasks: list[Task] = []
                mine = {kind: some[number] for kind, some in places.items()}

                def planned(file: FrameFile = file, mine: Mapping[str, Path] = mine, tasks: list[Task] = tasks) -> Plan:
                    tasks += plan(file, mine)
                    return tasks[0], []

                self._run(file.name, planned, alone=len(files) == 1)
                for task in tasks[1:]:
                    self._run(file.name, lambda task=task: (task, []), alone=len(files) == 1)  # type: ignore[misc]
                step(file.path.name)

    def run_one(self, out: Path, plan: Callable[[], Plan]) -> None:
        """One output of all images."""
        with bar("combining", 1) as step:
            self._run(str(out), plan, alone=True)
            step(out.name)

    def _run(self, name: str, plan: Callable[[], Plan], *, alone: bool) -> None:
        try:
            task, notes = plan()
        except UsageError:  # an option is wrong, for every file
            raise
        except (AvcdError, OSError) as error:
            self.fail(name, error)
            return
        try:
            done, more = (
                run_task(task, force=self.force) if isinstance(task, Task) else run_pictures(task, force=self.force)
            )
        except (AvcdError, OSError, MemoryError) as error:
            if isinstance(error, UsageError) and alone:
                raise
            self.fail(name, AvcdError("out of memory") if isinstance(error, MemoryError) else error)
            return
        for text in (*notes, *more):
            self.warn(f"{name}: {text}")
        if done is Done.ALREADY:
            self.warn(f"{task.path} is there already, made of the same files in the same way; --force makes it again")
        for path in _written(task):
            typer.echo(path)

    def end(self) -> None:
        """Leave with exit code 1 where something failed."""
        if self.failed:
            raise typer.Exit(1)


@contextmanager
def bar(description: str, total: int) -> Iterator[Callable[[str], None]]:
    """A progress bar on a terminal, for more than one thing to do; elsewhere nothing."""
    if total < 2 or not is_terminal():
        yield lambda name: None
        return
    from avcd.views.progress import Bars  # which is not needed where nobody watches

    with Bars() as bars:
        yield bars.counter(description, total)


def is_terminal() -> bool:
    """Whether somebody watches standard error."""
    return sys.stderr.isatty()


def _written(task: Task | PictureTask) -> list[Path]:
    return [task.path, *(one.path for one in task.beside)] if isinstance(task, Task) else list(task.paths.values())
