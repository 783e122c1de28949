"""Workers that die: the one job that kills them is found out, and its neighbours are not blamed."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from concurrent.futures import Future
from pathlib import Path

import pytest

import avcd.runner
from avcd.config import Workers
from avcd.errors import ProcessingError, StorageError
from avcd.frame import ProductKind
from avcd.runner import Runner, Workplace
from avcd.work import Claim, Published
from catalogue import apply, make_frame, make_spec, of_frame, published, record

FRAMES = [make_frame(f"frame {number}") for number in range(4)]


def some_work(claim: Claim, place: Workplace, share: int = 1) -> Published:
    """In place of a stage, in the worker process: its end is told by the slot's name."""
    slot = claim.spec.slot
    if slot.startswith("deadly"):
        os.kill(os.getpid(), signal.SIGSEGV)
    if slot.startswith("full"):
        raise StorageError("No space left on device")
    if slot.startswith("wrong"):
        raise ProcessingError("no star in it")
    if slot.startswith("defect"):
        raise ZeroDivisionError("a defect")
    digest = b""
    for _ in range(100_000):  # long enough to be under way when a neighbour dies
        digest = hashlib.sha256(digest).digest()
    return published(claim.spec)


@pytest.fixture
def make_runner(catalog, tmp_path, monkeypatch):
    monkeypatch.setattr(avcd.runner, "work", some_work)
    runners = []

    def make(*slots: str) -> Runner:
        record(catalog, *FRAMES)
        specs = [
            make_spec(ProductKind.REDUCED, slot, of_frame(frame)) for slot, frame in zip(slots, FRAMES, strict=False)
        ]
        apply(catalog, *specs)
        settings = Workers(count=2, backoff_s=0.01, max_attempts=2)
        runner = Runner(catalog, Workplace({}, Path(tmp_path), 2**28), settings, "me", time.time)
        runners.append(runner)
        return runner

    yield make
    for one in runners:
        one.close()


def work_off(runner: Runner, catalog) -> dict[str, tuple[str, str]]:
    end = time.monotonic() + 60
    while catalog.unfinished() and time.monotonic() < end:
        runner.step(0.2)
    return {row["slot"]: (row["state"], row["reason"]) for row in catalog.jobs()}


def test_a_job_that_kills_its_worker_dies_alone(catalog, make_runner):
    runner = make_runner("good 1", "deadly", "good 2", "good 3")
    found = work_off(runner, catalog)
    assert found.pop("deadly")[0] == "dead"
    assert set(found.values()) == {("done", "")}
    deadly = next(row for row in catalog.jobs(status="dead"))
    assert "worker process died" in deadly["reason"]
    assert runner.died == 1


def test_a_job_alone_may_take_the_threads_of_idle_workers(catalog, make_runner, monkeypatch):
    class Pool:
        """Takes what is handed to it and never does it."""

        def __init__(self) -> None:
            self.shares: list[int] = []

        def submit(self, _work, _claim, _place, share: int) -> Future:
            self.shares.append(share)
            return Future()

    pool = Pool()
    monkeypatch.setattr(Runner, "_executor", lambda self: pool)
    alone = make_runner("one")
    alone.step(0.0)
    assert pool.shares == [2]
    both = make_runner("one", "two", "three")
    both.step(0.0)
    assert pool.shares[1:] == [1, 1]


def test_every_kind_of_failure_ends_as_it_should(catalog, make_runner):
    runner = make_runner("full", "wrong", "defect", "good")
    found = work_off(runner, catalog)
    assert found == {
        "full": ("dead", "No space left on device"),
        "wrong": ("dead", "no star in it"),
        "defect": ("dead", "ZeroDivisionError: a defect"),
        "good": ("done", ""),
    }
    attempts = {row["slot"]: row["attempts"] for row in catalog.jobs()}
    assert attempts == {"full": 2, "wrong": 1, "defect": 1, "good": 1}
    assert catalog.retry_interrupted() == 1  # the disk may have room again, the others would fail again
