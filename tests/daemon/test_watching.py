"""The daemon as it runs: files reach the catalogue by events, by polling and by rescans alone, whatever the clock does."""

import datetime
import shutil
import signal
import time
from contextlib import contextmanager

import pytest
from apscheduler.schedulers.background import BackgroundScheduler

from avcd.config import CONFIG_NAME, load_home
from avcd.daemon import Daemon
from avcd.daemon.clock import ClockJumps
from avcd.daemon.witness import Witness
from homes import make_home, rows, start_daemon, tree, until


@contextmanager
def running(home):
    process = start_daemon(home)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert "Traceback" not in said


def present(home) -> set[tuple[str, str]]:
    return {(row["root"], row["path"]) for row in rows(home, "files") if row["present"]}


def with_second_drop(home, watch: str):
    settings = home.path / CONFIG_NAME
    share = home.path / "share"
    share.mkdir()
    block = f'\n[[drop]]\nname = "share"\npath = "share"\nwatch = "{watch}"\n'
    settings.write_text(settings.read_text(encoding="utf-8") + block, encoding="utf-8")
    return load_home(home.path), share


def test_events_and_polling_bring_files_in_without_any_rescan(tmp_path):
    home = make_home(tmp_path / "home", watch={"quiet_s": 0.2, "poll_s": 0.1, "rescan_s": 3600.0})
    home, share = with_second_drop(home, "polling")
    drop = home.roots["drop"]
    (drop / "old.txt").write_text("there before")
    with running(home):
        until(lambda: present(home) == {("drop", "old.txt")})
        (share / "night").mkdir()
        (share / "night" / "b.part").write_text("b")
        (share / "night" / "b.part").rename(share / "night" / "b.txt")
        (drop / "night" / "deep").mkdir(parents=True)
        (drop / "night" / "deep" / "a.txt").write_text("a")
        expected = {("drop", "old.txt"), ("drop", "night/deep/a.txt"), ("share", "night/b.txt")}
        until(lambda: expected <= present(home))
        before = tree(drop), tree(share)
    assert (tree(drop), tree(share)) == before, "a drop directory was written to"
    assert not [row for row in rows(home, "files") if "canary" in row["path"]]


def test_rescans_alone_keep_the_catalogue_true(tmp_path):
    home = make_home(tmp_path / "home", watch={"quiet_s": 0.0, "rescan_s": 0.2})
    home, share = with_second_drop(home, "rescan")
    with running(home):
        (share / "a.txt").write_text("a")
        (share / "b.txt").write_text("b")
        until(lambda: present(home) == {("share", "a.txt"), ("share", "b.txt")})
        (share / "a.txt").rename(share / "c.txt")
        (share / "b.txt").unlink()
        until(lambda: present(home) == {("share", "c.txt")})
        assert {row["path"] for row in rows(home, "files", status="gone")} == {"a.txt", "b.txt"}
        share.rename(tmp_path / "unmounted")
        shutil.copytree(tmp_path / "unmounted", share)
        (share / "d.txt").write_text("d")
        until(lambda: present(home) == {("share", "c.txt"), ("share", "d.txt")})


@pytest.mark.parametrize("set_s", [-7200.0, 7200.0])
def test_a_clock_that_is_set_leaves_no_look_waiting(tmp_path, set_s, caplog):
    """The scheduler waits for a time of day; set the clock back two hours, and it would wait for two hours."""
    offset = [0.0]
    daemon = Daemon(make_home(tmp_path / "home"), clock=lambda: time.time() + offset[0])
    scheduler = daemon._scheduler = daemon._schedule()
    scheduler.start(paused=True)
    try:
        late = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=abs(set_s))
        for job in scheduler.get_jobs():
            job.modify(next_run_time=late)
        daemon._notice_jumps()
        assert {job.next_run_time for job in scheduler.get_jobs()} == {late}
        offset[0] = set_s
        daemon._notice_jumps()
        now = datetime.datetime.now(datetime.UTC)
        assert all(job.next_run_time <= now for job in scheduler.get_jobs())
        assert f"the clock was set {'forward' if set_s > 0 else 'back'} by 7200 s" in caplog.text
        scheduler.resume()
        woken: set[str] = set()
        while not {"rescan", "completion", "facts"} <= woken:
            woken.add(daemon._wake.get(timeout=30))
    finally:
        assert isinstance(scheduler, BackgroundScheduler)
        scheduler.shutdown()


def test_a_clock_that_is_disciplined_has_not_been_set():
    now, ticks = [1000.0], [0.0]
    jumps = ClockJumps(lambda: now[0], lambda: ticks[0])
    for _ in range(1000):
        now[0] += 10.01
        ticks[0] += 10.0
        assert jumps.jumped() == 0.0
    now[0] -= 86400.0
    assert jumps.jumped() == pytest.approx(-86400.0)
    assert jumps.jumped() == 0.0


def test_a_witness_waits_for_events_that_are_late(tmp_path):
    ticks, said = [0.0], []
    witness = Witness({"drop": tmp_path}, lambda *words: said.append(words), lambda: ticks[0])
    witness.judge("drop")
    for number in range(10):  # rescans in quick succession: no event has had the time to come
        witness.saw("drop", f"{number}.fits")
        witness.judge("drop")
        ticks[0] += 0.1
    assert said == []
    for number in range(10):
        witness.heard("drop", f"{number}.fits")
    ticks[0] += 10
    witness.judge("drop")
    witness.judge("drop")
    assert said == []
    for number in range(3):
        witness.saw("drop", f"{number}.fits")
        ticks[0] += 10
        witness.judge("drop")
    assert len(said) == 1
