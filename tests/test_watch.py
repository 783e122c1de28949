"""Files settle by an injected clock; hints come from a real file system, and a vanished directory ends nothing."""

import logging
import queue
import shutil
import time

import pytest

from avcd.watch import DropWatcher, SettledFiles

SECOND = 10**9


@pytest.fixture
def now() -> list[float]:
    return [1000.0]


@pytest.fixture
def files(now) -> SettledFiles:
    return SettledFiles(quiet_s=5, clock=lambda: now[0])


def observe(files: SettledFiles, size=2880, mtime=990.0, ctime=990.0, path="a.fits") -> bool:
    return files.observe(path, size, int(mtime * SECOND), int(ctime * SECOND))


def test_what_lay_there_before_the_start_is_settled_at_first_sight(files):
    assert observe(files, mtime=995.0)
    assert files.pending() == []
    assert files.next_due() is None


def test_a_file_just_written_is_not_settled_at_first_sight(files, now):
    assert not observe(files, mtime=995.1)
    assert files.pending() == ["a.fits"]
    assert files.next_due() == pytest.approx(1000.1)
    now[0] = 1000.2
    assert observe(files, mtime=995.1)


def test_every_change_starts_the_wait_again(files, now):
    observe(files, mtime=999.0)
    now[0] = 1003.0
    assert not observe(files, size=5760, mtime=999.0), "it grew, though its time stood still"
    now[0] = 1007.0
    assert not observe(files, size=5760, mtime=999.0)
    assert files.next_due() == 1008.0
    now[0] = 1008.0
    assert observe(files, size=5760, mtime=999.0)


def test_a_transfer_that_sets_the_time_back_is_not_believed(files, now):
    """rsync -a gives the original's time; only the ctime tells that the file is new."""
    assert not observe(files, mtime=10.0, ctime=999.0)
    now[0] = 1004.0
    assert observe(files, mtime=10.0, ctime=999.0)


def test_a_time_in_the_future_counts_from_the_first_sight(files, now):
    assert not observe(files, mtime=5000.0)
    assert files.next_due() == 1005.0
    now[0] = 1005.0
    assert observe(files, mtime=5000.0)


def test_a_clock_set_back_does_not_hold_files_up(files, now):
    observe(files, mtime=999.0)
    now[0] = 500.0
    assert not observe(files, mtime=999.0)
    now[0] = 505.0
    assert observe(files, mtime=999.0)


def test_no_quiet_time_settles_at_once():
    files = SettledFiles(0, clock=lambda: 1000.0)
    assert observe(files, mtime=1000.0)


def test_forgotten_and_settled_files_begin_anew(files, now):
    observe(files, mtime=999.0)
    files.forget("a.fits")
    files.forget("never seen")
    assert files.pending() == []
    assert not observe(files, mtime=999.0, path="b.fits")
    assert files.pending() == ["b.fits"]


class Hints:
    """Collects hints, and waits for one without sleeping."""

    def __init__(self) -> None:
        self.queue: queue.Queue[tuple[str, str]] = queue.Queue()

    def __call__(self, root: str, relative_path: str) -> None:
        self.queue.put((root, relative_path))

    def until(self, wanted: tuple[str, str], timeout_s: float = 10) -> set[tuple[str, str]]:
        seen = set()
        end = time.monotonic() + timeout_s
        while wanted not in seen:
            seen.add(self.queue.get(timeout=max(end - time.monotonic(), 0.01)))
        return seen


@pytest.fixture
def hints() -> Hints:
    return Hints()


@pytest.mark.parametrize("mode", ["native", "polling"])
def test_hints_for_what_is_written_moved_and_made(tmp_path, hints, mode):
    drop = tmp_path / "drop"
    (drop / "sub").mkdir(parents=True)
    watcher = DropWatcher({"nas": drop}, {"nas": mode}, hints, poll_s=0.05)
    watcher.start()
    try:
        (drop / "Ñandú 1.part").write_bytes(b"x")
        hints.until(("nas", "Ñandú 1.part"))
        (drop / "Ñandú 1.part").rename(drop / "sub" / "Ñandú 1.fits")
        hints.until(("nas", "sub/Ñandú 1.fits"))
        (drop / "later").mkdir()
        hints.until(("nas", "later"))
    finally:
        watcher.stop()


def test_reading_a_file_is_no_hint(tmp_path, hints):
    """avcd reads what it is told of; if that were a hint, it would never come to rest."""
    old = tmp_path / "old.fits"
    old.write_bytes(b"x")
    watcher = DropWatcher({"drop": tmp_path}, {"drop": "native"}, hints)
    watcher.start()
    try:
        old.read_bytes()
        (tmp_path / "new.fits").write_bytes(b"y")
        seen = hints.until(("drop", "new.fits"))
        assert ("drop", "old.fits") not in seen
    finally:
        watcher.stop()


@pytest.mark.parametrize("mode", ["native", "polling"])
def test_a_drop_directory_may_come_late_vanish_and_come_again(tmp_path, hints, mode):
    drop = tmp_path / "drop"
    watcher = DropWatcher({"drop": drop}, {"drop": mode}, hints, poll_s=0.05)
    watcher.start()
    try:
        for name in ("first.fits", "second.fits"):
            drop.mkdir()
            watcher.refresh()
            (drop / name).write_bytes(b"x")
            hints.until(("drop", name))
            shutil.rmtree(drop)
            watcher.refresh()
    finally:
        watcher.stop()


def test_one_bad_root_leaves_the_others_watched(tmp_path, hints, caplog):
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.mkdir()
    bad.write_text("no directory")
    watcher = DropWatcher({"bad": bad, "good": good, "quiet": tmp_path}, {"quiet": "rescan"}, hints)
    watcher.start()
    try:
        (good / "a.fits").write_bytes(b"x")
        seen = hints.until(("good", "a.fits"))
        assert {root for root, _ in seen} == {"good"}
    finally:
        watcher.stop()
        watcher.stop()


def test_no_watches_left_is_said_and_survived(tmp_path, hints, monkeypatch, caplog):
    def refuse(*_args, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("watchdog.observers.api.BaseObserver.schedule", refuse)
    watcher = DropWatcher({"drop": tmp_path}, {"drop": "native"}, hints)
    with caplog.at_level(logging.WARNING, "avcd.watch"):
        watcher.start()
    watcher.stop()
    assert "max_user_watches" in caplog.text
