"""The runner: claim a job, have a worker do it, record the result. One transaction each, fenced by the lease.

The catalogue is the queue. Whatever dies, nothing is lost: a claimed job whose worker or daemon died is free again
when its lease ends (at once, when the same home starts again), and doing it again gives the same bytes under the
same name.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING

from avcd import faults
from avcd.config import Workers
from avcd.errors import AvcdError, LeaseLostError
from avcd.frame import MASTER_KINDS, JobState, ProductSpec
from avcd.runner.worker import Workplace, get_ready, initialise, prepare_environment, work
from avcd.work import Claim, Published

if TYPE_CHECKING:  # workers load this package, and no worker has to do with the catalogue
    from avcd.catalog import Catalog

__all__ = ["Runner", "Workplace"]

log = logging.getLogger("avcd.runner")


class Runner:
    """A process pool fed from the catalogue's jobs.

    Parameters
    ----------
    catalog, place, settings
        The queue, the directories, and how many workers.
    owner
        Who claims: the same text after a restart of the same home.
    clock
        Seconds since the epoch.
    on_done
        Called with (spec, state) after each finished attempt.
    on_ready
        Called, from another thread, when a job ended and `step` would find its result.
    held
        Says why a product is to be approved before it may serve; "" for one that may.
    """

    def __init__(
        self,
        catalog: Catalog,
        place: Workplace,
        settings: Workers,
        owner: str,
        clock: Callable[[], float],
        on_done: Callable[[ProductSpec, JobState], None] | None = None,
        on_ready: Callable[[], None] | None = None,
        held: Callable[[Claim, Published], str] = lambda _claim, _published: "",
    ) -> None:
        self._catalog = catalog
        self._place = place
        self._settings = settings
        self._owner = owner
        self._clock = clock
        self._on_done = on_done
        self._on_ready = on_ready
        self._held = held
        self._pool: ProcessPoolExecutor | None = None
        self._running: dict[Future[Published], Claim] = {}
        self._suspects: set[str] = set()  # jobs that were under way when a worker process died: one at a time
        self._renewed = clock()
        self.died = 0

    @property
    def busy(self) -> bool:
        """Whether jobs are under way in this process."""
        return bool(self._running)

    @property
    def full(self) -> bool:
        """Whether no further job would be claimed now, however many are ready."""
        return len(self._running) >= self._most

    @property
    def _most(self) -> int:
        return 1 if self._suspects else self._settings.processes

    def warm(self, *, compiled: bool) -> None:
        """Start the workers, which takes a second or two, while there is no job for them yet.

        Parameters
        ----------
        compiled
            Whether frames are so large that compiled loops will be wanted.
        """
        if self._pool is None:
            pool = self._executor()
            for _ in range(self._settings.processes):
                pool.submit(get_ready, compiled)

    def step(self, timeout_s: float) -> bool:
        """Feed free workers, wait at most ``timeout_s`` for one to finish, record what finished.

        Returns
        -------
        bool
            Whether anything was claimed or recorded.
        """
        moved = self._feed()
        if self._running:
            done, _ = wait(self._running, timeout=timeout_s, return_when=FIRST_COMPLETED)
            if len(self._running) > 1 and any(isinstance(one.exception(), BrokenProcessPool) for one in done):
                done = self._suspect_all()
                moved = True
            elif not self._suspects and not any(self._leads_on(one) for one in done):
                # Their workers need not wait for the transactions that record what they have made.
                moved |= self._feed(free=len(done))
            for future in done:
                self._settle(future, self._running.pop(future))
                moved = True
            self._renew()
            moved |= self._feed()
        return moved

    def _leads_on(self, future: Future[Published]) -> bool:
        """Whether the end of a job is to be recorded before another is claimed: one may wait for it that is more urgent."""
        return future.exception() is not None or self._running[future].spec.kind in MASTER_KINDS

    def _feed(self, free: int = 0) -> bool:
        """Claim jobs for the workers that have none; ``free`` of those that have one are done with it."""
        claims: list[Claim] = []
        busy = len(self._running) - free
        try:
            while busy + len(claims) < self._most:
                claim = self._catalog.claim_job(self._owner, self._settings.lease_s, self._clock())
                if claim is None:
                    if not self._running and not claims:
                        self._suspects.clear()  # one that the plan dropped must not slow the others down for good
                    break
                faults.reach("leased")
                claims.append(claim)
        finally:
            # While there are fewer jobs than workers, as with the masters that all else waits for, each takes more threads.
            share = max(1, self._settings.processes // max(1, busy + len(claims)))
            for claim in claims:
                self._submit(claim, share)
        return bool(claims)

    def _submit(self, claim: Claim, share: int) -> None:
        try:
            future = self._executor().submit(work, claim, self._place, share)
        except BrokenProcessPool:
            self._drop_pool()
            future = self._executor().submit(work, claim, self._place, share)
        self._running[future] = claim
        if self._on_ready:
            future.add_done_callback(self._tell_ready)

    def _tell_ready(self, _: Future[Published]) -> None:
        if self._on_ready:
            self._on_ready()

    def _executor(self) -> ProcessPoolExecutor:
        if self._pool is None:
            prepare_environment()
            # Spawned, not forked: the daemon has threads, and a fork would copy their locks in whatever state.
            self._pool = ProcessPoolExecutor(
                self._settings.processes,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=initialise,
                initargs=(os.getpid(),),
            )
        return self._pool

    def _suspect_all(self) -> set[Future[Published]]:
        """A worker process died, and took the others with it: nobody is charged, and each job is tried alone.

        Returns
        -------
        set of Future
            Those that had finished before.
        """
        wait(self._running)
        broken = [one for one in self._running if isinstance(one.exception(), BrokenProcessPool)]
        log.warning("a worker process died (out of memory, or killed); %d jobs are tried one by one", len(broken))
        for future in broken:
            claim = self._running.pop(future)
            self._suspects.add(claim.job_id)
            self._catalog.give_back(claim)
        self._drop_pool()
        return set(self._running)

    def _settle(self, future: Future[Published], claim: Claim) -> None:
        spec = claim.spec
        self._suspects.discard(claim.job_id)
        try:
            published = future.result()
            faults.reach("before_commit")
            self._catalog.finish_job(claim, published, self._clock(), self._held(claim, published))
            faults.reach("after_commit")
            state = JobState.DONE
            log.info("%s done: %s", spec.kind, spec.path)
        except LeaseLostError as error:
            log.warning("%s %s: %s", spec.kind, spec.id[:12], error)
            return
        except BrokenProcessPool:
            self._drop_pool()
            state = self._fail(claim, "its worker process died (out of memory, or killed)", retry=True)
        except AvcdError as error:
            state = self._fail(claim, str(error), retry=error.retry)
        except Exception as error:  # a defect in a stage must not end the daemon: the job dies, visibly, with its trace
            log.exception("%s %s failed unexpectedly", spec.kind, spec.id[:12])
            state = self._fail(claim, f"{type(error).__name__}: {error}", retry=False)
        if self._on_done:
            self._on_done(spec, state)

    def _fail(self, claim: Claim, reason: str, *, retry: bool) -> JobState:
        state = self._catalog.fail_job(
            claim,
            reason,
            retry=retry,
            max_attempts=self._settings.max_attempts,
            backoff_s=self._settings.backoff_s,
            now=self._clock(),
        )
        self.died += state is JobState.DEAD
        log.log(
            logging.ERROR if state is JobState.DEAD else logging.WARNING,
            "%s %s is %s (attempt %d): %s", claim.spec.kind, claim.spec.id[:12], state, claim.attempt, reason,
        )  # fmt: skip
        return state

    def _renew(self) -> None:
        now = self._clock()
        if self._running and now - self._renewed > self._settings.lease_s / 3:
            self._catalog.renew([one.token for one in self._running.values()], self._settings.lease_s, now)
            self._renewed = now

    def _drop_pool(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None

    def close(self) -> None:
        """End the workers and give their jobs back."""
        pool, self._pool = self._pool, None
        if pool is not None:
            processes = list((pool._processes or {}).values())
            pool.shutdown(wait=False, cancel_futures=True)
            for process in processes:
                process.kill()
            for process in processes:
                process.join()
        if self._running:
            self._running.clear()
            self._catalog.release(self._owner)
