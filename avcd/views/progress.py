"""Progress bars on standard error."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn


class DaemonProgress(Protocol):
    """How far a daemon is."""

    @property
    def files_found(self) -> int: ...  # noqa: D102
    @property
    def files_ingested(self) -> int: ...  # noqa: D102
    @property
    def jobs_total(self) -> int: ...  # noqa: D102
    @property
    def jobs_done(self) -> int: ...  # noqa: D102
    @property
    def last(self) -> str: ...  # noqa: D102


class Bars:
    """Bars that are there while the ``with`` block lasts; where nobody watches, each one's last state is printed."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description:<12}"),
            BarColumn(bar_width=32),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[last]}", markup=False),
            console=Console(stderr=True, highlight=False),
        )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def counter(self, description: str, total: int | None = None) -> Callable[[str], None]:
        """A new bar that counts (up to ``total``); call what is returned with the name of each thing that is done."""
        task = self._task(description, total)

        def step(name: str) -> None:
            self._progress.update(task, advance=1, last=name)

        return step

    def done(self) -> None:
        """What was counted so far is all there was: every bar is full."""
        for task in self._progress.tasks:
            self._progress.update(task.id, total=task.completed, last="")

    def _task(self, description: str, total: int | None = None) -> TaskID:
        return self._progress.add_task(description, total=total, last="")


class DaemonBars(Bars):
    """Two bars for a daemon: files catalogued, jobs done."""

    def __init__(self) -> None:
        super().__init__()
        self._tasks: tuple[TaskID, TaskID] | None = None

    def update(self, now: DaemonProgress) -> None:
        """Show how far the daemon is."""
        if self._tasks is None:
            self._tasks = self._task("cataloguing"), self._task("processing")
        files, jobs = self._tasks
        self._progress.update(files, completed=now.files_ingested, total=max(now.files_found, now.files_ingested))
        self._progress.update(jobs, completed=now.jobs_done, total=now.jobs_total, last=now.last)
