"""The daemon: watches, ingests, closes, plans and runs, in one loop that a scheduler wakes.

APScheduler says when to look (rescan, completion, roll-over, sign of life); the file system's events say where to
look first; the catalogue says what to do. The loop itself holds no state that matters: it can end at any instant,
and the next one goes on from the facts.
"""

from __future__ import annotations

import datetime
import logging
import queue
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType

from apscheduler.schedulers.background import BackgroundScheduler

from avcd import faults
from avcd.association import load_rules
from avcd.catalog import Catalog
from avcd.compat import keep_names, named_products
from avcd.config import Home
from avcd.daemon.clock import ClockJumps
from avcd.daemon.completion import due_closures
from avcd.daemon.intake import Intake
from avcd.daemon.lock import HomeLock
from avcd.daemon.notify import notify, watchdog_interval_s
from avcd.daemon.planning import Planning, plan_camera
from avcd.errors import ConfigError, TransientError
from avcd.frame import JobState, ProductSpec
from avcd.headers.again import Translator
from avcd.headers.profiles import load_profiles
from avcd.products import sweep_temporaries
from avcd.recipes import load_recipes
from avcd.runner import Runner, Workplace
from avcd.watch import DropWatcher

__all__ = ["Daemon", "Progress"]

log = logging.getLogger("avcd.daemon")
_COMPLETION_S = 15.0
_FACTS_S = 2.0  # between two looks for facts that others wrote (a flag, a closure, another home's frames)
_BUSY_S = 0.2  # between two looks at what the workers do
_RETRY_S = 900.0  # jobs that a full disk or the like killed are tried again this often
_STATISTICS_S = 3600.0


@dataclass(frozen=True)
class Progress:
    """How far a daemon is: for progress bars."""

    files_found: int
    files_ingested: int
    jobs_total: int
    jobs_done: int
    jobs_dead: int
    last: str = ""


@dataclass
class _Counts:
    jobs_done: int = 0
    jobs_dead: int = 0
    last: str = ""


class Daemon:
    """The one daemon of a home.

    Parameters
    ----------
    home
        Its directories and settings.
    progress
        Called with a `Progress` whenever something moved.
    clock
        Seconds since the epoch.
    """

    def __init__(
        self, home: Home, *, progress: Callable[[Progress], None] | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self._home = home
        self._progress = progress
        self._clock = clock
        self._jumps = ClockJumps(clock, time.monotonic)
        self._wake: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._due: set[str] = {"rescan", "completion", "facts"}
        self._stopping = False
        self._signal = 0
        self._outdated = True  # there may be frames to translate again
        self._counts = _Counts()
        self._named = -1  # jobs that had been done when other programs' names were last looked after
        self._planned: set[str] = set()  # cameras that this daemon has planned
        self._left: set[str] = set()  # … and leaves to another

    def run(self, *, until_idle: bool = False) -> int:
        """Work until told to stop, or until nothing is left to do.

        Parameters
        ----------
        until_idle
            Settle and process all that is there, close every observation and session, then return.

        Returns
        -------
        int
            0; 1 when a job died meanwhile, or at last a drop directory could not be looked at.

        Raises
        ------
        HomeLockedError
            Another daemon works on this home.
        ConfigError
            Settings, recipes, rules, profiles or the catalogue's version are wrong.
        """
        home = self._home
        profiles = load_profiles(home.path)
        drops = {one.name: (one.profile, one.site) for one in home.settings.drop}
        self._translator = Translator(profiles, drops)
        self._planning = Planning(load_recipes(home.path), load_rules(home.path), home.settings.processing)
        self._digest = self._planning.digest
        with HomeLock(home.lock_path):
            faults.mark_daemon()
            self._catalog = Catalog(home.database_url)
            try:
                self._catalog.check()
                self._intake = Intake(home, self._catalog, profiles, self._clock, distrust=self._distrust)
                try:
                    return self._serve(until_idle)
                finally:
                    self._intake.close()
            finally:
                self._catalog.close()

    def _serve(self, until_idle: bool) -> int:
        home, settings = self._home, self._home.settings
        owner = f"{socket.gethostname()}:{home.path}"
        self._catalog.release(owner)
        self._retry_interrupted()
        changed = self._catalog.outdate(self._translator)
        if changed:
            log.info("profiles have changed: %d frames are translated again", changed)
        try:
            home.archive.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"[archive] path: {home.archive} cannot be made: {error.strerror}") from None
        self._sweep()
        place = Workplace(
            home.roots,
            home.archive,
            settings.workers.memory_bytes // settings.workers.processes,
            settings.astrometry,
            home.cache,
            settings.workers.max_attempts,
        )
        self._runner = Runner(
            self._catalog,
            place,
            settings.workers,
            owner,
            self._clock,
            self._job_ended,
            lambda: self._wake.put("job"),
            self._planning.held,
        )
        self._watcher = watcher = DropWatcher(
            home.roots,
            {drop.name: drop.watch for drop in settings.drop},
            self._hint,
            poll_s=settings.watch.poll_s,
            canaries=[drop.name for drop in settings.drop if drop.canary],
        )
        self._scheduler = scheduler = self._schedule()
        restore = {one: signal.signal(one, self._stop) for one in (signal.SIGTERM, signal.SIGINT)}
        try:
            watcher.start()
            scheduler.start()
            notify("READY=1")
            log.info("watching %s", ", ".join(f"{name}={path}" for name, path in home.roots.items()))
            self._loop(until_idle)
            if self._signal:
                log.info("%s: stopping", signal.Signals(self._signal).name)
            self._catalog.analyse()
        finally:
            notify("STOPPING=1")
            scheduler.shutdown(wait=False)
            watcher.stop()
            self._runner.close()
            self._sweep()
            for one, handler in restore.items():
                signal.signal(one, handler)
        return 1 if self._runner.died or (until_idle and self._intake.unseen) else 0

    def _sweep(self) -> None:
        """Remove what this home's dead workers left; other homes may be writing into the same archive."""
        sweep_temporaries(self._home.archive, self._catalog.running_tokens)

    def _schedule(self) -> BackgroundScheduler:
        scheduler = BackgroundScheduler(timezone="UTC")
        rescan_s = self._home.settings.watch.rescan_s

        def every(seconds: float, what: str) -> None:
            scheduler.add_job(self._wake.put, "interval", args=[what], seconds=seconds, coalesce=True, max_instances=1)

        every(rescan_s, "rescan")
        every(min(_COMPLETION_S, max(1.0, self._home.settings.completion.quiet_s / 4)), "completion")
        every(_FACTS_S, "facts")
        every(_RETRY_S, "retry")
        every(_STATISTICS_S, "statistics")
        # Nights end at local noon, sites lie at every longitude: the roll-over is looked for on every hour.
        scheduler.add_job(self._wake.put, "cron", args=["completion"], minute=0)
        alive_s = watchdog_interval_s()
        if alive_s:
            every(alive_s, "alive")
        return scheduler

    def _hint(self, root: str, relative_path: str) -> None:
        if self._intake.hint(root, relative_path):
            self._wake.put("hint")

    def _distrust(self, root: str, why: str) -> None:
        self._watcher.distrust(root, why)

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        # Nothing is logged here: the signal may have come amidst a line that is being logged.
        self._stopping, self._signal = True, number
        self._wake.put("stop")

    def _loop(self, until_idle: bool) -> None:
        while not self._stopping:
            try:
                moved = self._turn(until_idle)
            except TransientError as error:
                log.warning("%s; trying again", error)
                moved = False
                self._sleep(1.0)
            self._report()
            self._notice_jumps()
            if moved:
                self._drain()
            elif until_idle and self._idle():
                return
            else:
                self._sleep(self._pause_s())

    def _turn(self, until_idle: bool) -> bool:
        """One round of the loop; returns whether anything moved."""
        due, self._due = self._due, set()
        if "alive" in due:
            notify("WATCHDOG=1")
        moved = False
        if "rescan" in due or self._intake.wants_rescan:
            self._intake.watch_began(self._watcher.refresh())
            self._intake.begin_rescan()
        if self._intake.take():
            self._runner.warm(compiled=self._intake.large)  # frames make jobs, as a rule
            moved = True
        if until_idle and not self._intake.pending:
            moved |= self._close(idle=True)
        elif "completion" in due:
            moved |= self._close(idle=False)
        if "statistics" in due:
            self._catalog.analyse()
        if "retry" in due and not until_idle:
            moved |= self._retry_interrupted()
        if self._outdated or "facts" in due:
            moved |= self._translate()
        # While a whole archive is translated again, plans are made now and then only.
        if "facts" in due or (moved and not self._outdated):
            moved |= self._plan()
        moved |= self._runner.step(0.0)
        if not moved and self._named != self._counts.jobs_done:
            self._keep_names()
        return moved

    def _keep_names(self) -> None:
        """Other programs' names, brought to what was made and superseded meanwhile."""
        self._named = self._counts.jobs_done
        styles = self._home.compat_styles
        if any(styles.values()):
            wanted = named_products(self._catalog.reduced_sources(), self._home.archive, styles)
            keep_names(wanted, self._home.compat_path, copy=self._home.settings.compat.copies)

    def _notice_jumps(self) -> None:
        """A clock that was set back would leave the scheduler waiting for a time that is far off: it wakes everything now."""
        jump_s = self._jumps.jumped()
        if not jump_s:
            return
        log.warning("the clock was set %s by %.0f s", "forward" if jump_s > 0 else "back", abs(jump_s))
        for job in self._scheduler.get_jobs():
            job.modify(next_run_time=datetime.datetime.now(datetime.UTC))

    def _retry_interrupted(self) -> bool:
        """A disk that was full may have room again: what died of that is planned once more."""
        revived = self._catalog.retry_interrupted()
        if revived:
            log.info("%d dead jobs are tried again: what stopped them may have passed", revived)
        return revived > 0

    def _close(self, *, idle: bool) -> bool:
        groups = self._catalog.open_groups()
        now = self._clock()
        if idle:
            due = [(group, "idle") for group in groups]
        else:
            due = due_closures(groups, now, self._home.settings.completion, self._intake.markers)
        for group, rule in due:
            self._catalog.close_group(group.subject, group.members, rule, now)
            log.info("%s is complete (%s): %d frames", group.subject, rule, len(group.members))
        return bool(due)

    def _translate(self) -> bool:
        """Translate some frames again whose profile has changed, or of which a better copy came after a correction."""
        looked, changed = self._catalog.translate_outdated(self._translator)
        self._outdated = looked > 0
        if changed:
            log.info("%d of %d frames came out otherwise", changed, looked)
        return self._outdated

    def _cameras_to_plan(self) -> list[str]:
        """The cameras whose plan is out of date, less those that a daemon started later plans by other recipes.

        Two that plan by different recipes would each supersede, for ever, what the other made: the later one plans.
        """
        cameras = self._catalog.cameras_to_plan(self._digest)
        if not self._planned.intersection(cameras):
            return cameras
        digests = self._catalog.planned_digests()
        others = {one for one in cameras if one in self._planned and digests[one] != self._digest}
        if others - self._left:
            log.warning(
                "%s: another daemon on this catalogue plans by other recipes, rules or [processing] settings; "
                "this one leaves planning to it: make them alike, and start this one again",
                ", ".join(sorted(others - self._left)),
            )
            self._left |= others
        return [one for one in cameras if one not in others]

    def _plan(self) -> bool:
        cameras = self._cameras_to_plan()
        for camera in cameras:
            self._planned.add(camera)
            counts = plan_camera(self._catalog, camera, self._planning)
            log.info("planned %s: %s", camera, counts)
            self._named = -1  # what serves may have changed without a job
        return bool(cameras)

    def _idle(self) -> bool:
        """Nothing to settle, nothing open, nothing to run, and the rescan agrees."""
        if self._runner.busy or self._intake.pending or self._catalog.unfinished():
            return False
        if self._intake.rescan() or self._intake.pending:
            return False
        return not self._catalog.open_groups() and not self._cameras_to_plan()

    def _pause_s(self) -> float:
        due_in = self._intake.due_in()
        # While every worker has its job, one that is ready wakes nobody: the end of another does.
        wakeup = None if self._runner.full else self._catalog.next_wakeup()
        return min(
            _FACTS_S if due_in is None else due_in,
            _FACTS_S if wakeup is None else max(wakeup - self._clock(), 0.01),
            _BUSY_S if self._runner.busy else _FACTS_S,  # leases are to be renewed
        )

    def _sleep(self, seconds: float) -> None:
        """Wait for something to happen, at most ``seconds``."""
        try:
            self._due.add(self._wake.get(timeout=seconds))
        except queue.Empty:
            return
        self._drain()

    def _drain(self) -> None:
        while not self._wake.empty():
            self._due.add(self._wake.get())

    def _job_ended(self, spec: ProductSpec, state: JobState) -> None:
        self._counts.jobs_done += state is JobState.DONE
        self._counts.jobs_dead += state is JobState.DEAD
        self._counts.last = f"{spec.kind} {spec.target_name or ''} {spec.filter or ''}".strip()

    def _report(self) -> None:
        if self._progress is None:
            return
        done = self._counts.jobs_done + self._counts.jobs_dead
        self._progress(
            Progress(
                files_found=self._intake.found,
                files_ingested=self._intake.ingested,
                jobs_total=done + self._catalog.unfinished(),
                jobs_done=done,
                jobs_dead=self._counts.jobs_dead,
                last=self._counts.last,
            )
        )
