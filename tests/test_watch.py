"""Files settle by an injected clock; hints come from a real file system, and a vanished directory ends nothing."""

import logging
import queue
import re
import shutil
import sys
import time
from contextlib import contextmanager, suppress

import pytest
from watchdog.observers.api import ObservedWatch
from watchdog.observers.polling import PollingObserver

from avcd.watch import DropWatcher, SettledFiles, remote_file_system

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


@pytest.mark.parametrize("jump_s", [-1e6, -3600.0, 3600.0, 1e6])
def test_a_clock_that_is_set_neither_hurries_a_file_nor_holds_it_up(jump_s):
    now, ticks = [1e9], [0.0]
    files = SettledFiles(5, clock=lambda: now[0], ticks=lambda: ticks[0])
    size, mtime = 2880, 1e9 - 1
    assert not observe(files, size, mtime, mtime)
    now[0] += jump_s
    ticks[0] = 3.9
    assert not observe(files, size, mtime, mtime)
    ticks[0] = 4.0
    assert observe(files, size, mtime, mtime)
    # Written after the jump, by the clock that was set.
    assert not observe(files, size, now[0], now[0])
    now[0] -= jump_s
    ticks[0] = 9.0
    assert observe(files, size, 1e9 + jump_s, 1e9 + jump_s)


def test_only_what_is_due_is_looked_at_again(files, now):
    """With a hundred thousand files settling, a look at every one of them at each turn would take all the time."""
    for number in range(100):
        now[0] = 1000.0 + number
        files.observe(f"{number}.fits", 1, int(now[0] * SECOND), int(now[0] * SECOND))
    files.forget("3.fits")
    files.observe("4.fits", 2, int(now[0] * SECOND), int(now[0] * SECOND))
    now[0] = 1010.5
    assert files.next_due() == 1005.0
    assert files.due() == ["0.fits", "1.fits", "2.fits", "5.fits"]
    assert files.due() == ["0.fits", "1.fits", "2.fits", "5.fits"], "a look that failed loses nothing"
    assert len(files) == 99


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
        """All hints up to the one that is wanted, or up to the end of the time."""
        seen = set()
        end = time.monotonic() + timeout_s
        with suppress(queue.Empty):
            while wanted not in seen:
                seen.add(self.queue.get(timeout=max(end - time.monotonic(), 0.01)))
        return seen

    def come(self, wanted: tuple[str, str]) -> bool:
        return wanted in self.until(wanted)


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
        assert hints.come(("nas", "Ñandú 1.part"))
        (drop / "Ñandú 1.part").rename(drop / "sub" / "Ñandú 1.fits")
        assert hints.come(("nas", "sub/Ñandú 1.fits"))
        (drop / "later").mkdir()
        assert hints.come(("nas", "later"))
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
        assert ("drop", "new.fits") in seen
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
            assert hints.come(("drop", name))
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


def test_no_watches_left_is_said_and_the_directory_polled(tmp_path, hints, monkeypatch, caplog):
    def refuse(*_args, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("watchdog.observers.inotify.InotifyObserver.schedule", refuse)
    with watching({"drop": tmp_path}, hints, caplog) as watcher:
        assert watcher.modes == {"drop": "polling"}
        (tmp_path / "a.fits").write_bytes(b"x")
        assert hints.come(("drop", "a.fits"))
    assert "max_user_watches" in caplog.text


@contextmanager
def watching(roots, hints, caplog, modes=None, **options):
    watcher = DropWatcher(roots, modes or {}, hints, poll_s=0.05, **options)
    with caplog.at_level(logging.INFO, "avcd.watch"):
        watcher.start()
        try:
            yield watcher
        finally:
            watcher.stop()


class DeafObserver(PollingObserver):
    """Delivers nothing, as native watches of some file systems do."""

    def __init__(self) -> None:
        super().__init__(timeout=3600)


@pytest.fixture
def deaf(monkeypatch):
    monkeypatch.setattr("avcd.watch.drops.Observer", DeafObserver)
    monkeypatch.setattr("avcd.watch.canary._TIMEOUT_S", 0.2)


@pytest.mark.parametrize("may_write", [True, False])
def test_where_the_systems_events_do_not_arrive_the_directory_is_polled_with_a_warning(
    tmp_path, hints, deaf, caplog, may_write
):
    (tmp_path / "old.fits").write_bytes(b"x")
    with watching({"drop": tmp_path}, hints, caplog, canaries=["drop"] if may_write else []) as watcher:
        assert watcher.modes == {"drop": "polling"}
        (tmp_path / "new.fits").write_bytes(b"x")
        assert hints.come(("drop", "new.fits"))
    (warning,) = [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]
    assert str(tmp_path) in warning
    assert "polled every 0.05 s" in warning
    assert "do not arrive" in warning


def test_a_watch_that_works_is_measured_and_the_directory_is_not_written_to(tmp_path, hints, caplog):
    (tmp_path / "sub").mkdir()
    (tmp_path / "old.fits").write_bytes(b"x")

    def states():
        return {one: (one.stat().st_mtime_ns, one.stat().st_ctime_ns) for one in (tmp_path, *tmp_path.rglob("*"))}

    before = states()
    with watching({"drop": tmp_path}, hints, caplog) as watcher:
        assert watcher.modes == {"drop": "native"}
    assert states() == before
    assert re.search(r"events after \d+\.\d ms \(a file opened\)", caplog.text)
    assert hints.queue.empty()


def test_a_canary_is_written_only_where_it_may_be_and_leaves_no_trace(tmp_path, hints, caplog):
    free, kept = tmp_path / "free", tmp_path / "kept"
    free.mkdir()
    kept.mkdir()
    changed = kept.stat().st_mtime_ns
    with watching({"free": free, "kept": kept}, hints, caplog, canaries=["free"]) as watcher:
        assert watcher.modes == {"free": "native", "kept": "native"}
        assert list(free.iterdir()) == list(kept.iterdir()) == []
        assert kept.stat().st_mtime_ns == changed
        (free / ".avcd-canary-of-another-home").touch()
        (free / "a.fits").touch()
        assert {path for _, path in hints.until(("free", "a.fits"))} == {"a.fits"}, "canaries are no files"
    assert re.search(r"free.*events after \d+\.\d ms \(a canary written\)", caplog.text)
    assert "kept" in caplog.text
    assert "not measured" in caplog.text


@pytest.mark.parametrize(
    ("mounted", "expected"),
    [
        ("nfs4 nas:/data rw", "nfs4"),
        ("cifs //nas/data rw", "cifs"),
        ("smb3 //nas/data rw", "smb3"),
        ("fuse.sshfs nas: rw", "fuse.sshfs"),
        ("9p host rw", "9p"),
        ("vboxsf share rw", "vboxsf"),
        ("ext4 /dev/sda1 rw", None),
        ("fuseblk /dev/sdb1 rw", None),
    ],
)
def test_network_shares_are_known_by_their_mount(tmp_path, mounted, expected):
    drop = tmp_path / "the nas" / "drop"
    drop.mkdir(parents=True)
    (tmp_path / "link").symlink_to(drop)
    table = tmp_path / "mountinfo"
    place = str(tmp_path / "the nas").replace(" ", "\\040")
    table.write_text(
        f"22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/root rw\n"
        f"30 22 0:40 / {place}/dro rw - tmpfs none rw\n"
        f"31 22 0:41 / {place} rw - tmpfs none rw\n"
        f"32 22 0:42 / {place} rw,relatime shared:2 master:3 - {mounted}\n"
    )
    assert remote_file_system(drop, table) == expected
    assert remote_file_system(tmp_path / "link", table) == expected
    assert remote_file_system(tmp_path, table) is None
    assert remote_file_system(drop, tmp_path / "no such table") is None


def test_a_network_share_is_polled_with_a_warning_and_only_that(tmp_path, hints, caplog, monkeypatch):
    local, share = tmp_path / "local", tmp_path / "share"
    local.mkdir()
    share.mkdir()
    monkeypatch.setattr("avcd.watch.drops.remote_file_system", lambda path: "nfs4" if path == share else None)
    with watching({"local": local, "share": share}, hints, caplog) as watcher:
        assert watcher.modes == {"local": "native", "share": "polling"}
        (share / "a.fits").write_bytes(b"x")
        assert hints.come(("share", "a.fits"))
    (warning,) = [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]
    assert "on nfs4, events do not tell what other machines do" in warning


@pytest.mark.parametrize("gone", ["deleted", "renamed", "replaced", "moved out"])
def test_polling_hints_at_whatever_happens_on_a_share(tmp_path, hints, caplog, gone):
    drop = tmp_path / "drop"
    drop.mkdir()
    (drop / "a.fits").write_bytes(b"x")
    with watching({"nas": drop}, hints, caplog, modes={"nas": "polling"}):
        if gone == "deleted":
            (drop / "a.fits").unlink()
        elif gone == "renamed":
            (drop / "a.fits").rename(drop / "b.fits")
            assert hints.come(("nas", "b.fits"))
            return
        elif gone == "replaced":
            (tmp_path / "new").write_bytes(b"yy")
            (tmp_path / "new").replace(drop / "a.fits")
        else:
            (drop / "a.fits").rename(tmp_path / "a.fits")
        assert hints.come(("nas", "a.fits"))


def test_a_watch_that_is_no_longer_trusted_is_replaced_by_polling_for_good(tmp_path, hints, caplog):
    drop = tmp_path / "drop"
    drop.mkdir()
    with watching({"drop": drop}, hints, caplog) as watcher:
        assert watcher.refresh() == []
        watcher.distrust("drop", "files came of which it did not tell")
        assert watcher.modes == {"drop": "polling"}
        watcher.distrust("drop", "again")
        drop.rmdir()
        assert watcher.refresh() == []
        assert watcher.modes == {"drop": "rescan"}
        drop.mkdir()
        assert watcher.refresh() == ["drop"]
        assert watcher.modes == {"drop": "polling"}
        (drop / "a.fits").write_bytes(b"x")
        assert hints.come(("drop", "a.fits"))
    assert [one.levelno for one in caplog.records].count(logging.WARNING) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")
def test_an_event_on_its_way_while_a_watch_is_stopped_is_no_error(tmp_path, caplog):
    from watchdog.observers import inotify

    emitter = inotify.InotifyEmitter(queue.Queue(), ObservedWatch(str(tmp_path), recursive=False))
    emitter.queue_events(0.0)  # as after its end
    inotify.logger.error("another one")
    assert [one.getMessage() for one in caplog.records] == ["another one"]
