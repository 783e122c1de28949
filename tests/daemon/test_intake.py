"""Whatever the events said, or did not say, every file ends in the catalogue, once, as it is."""

import hashlib
import logging
import os
import shutil
import threading

import pytest

from avcd.catalog import Catalog
from avcd.catalog.recording import found_file
from avcd.daemon import intake as intake_module
from avcd.daemon.intake import Intake
from avcd.errors import DatabaseBusyError
from avcd.frame import FileReading, FrameStatus, MemberReading
from avcd.headers.profiles import load_profiles
from avcd.ingest import PathReading
from catalogue import known_files
from homes import make_home

PROFILES = load_profiles()


class Times:
    """A clock that may be set, and ticks that may not; both stand still until told to go on."""

    def __init__(self) -> None:
        self.now = 2e9
        self.ticks = 100.0

    def go_on(self, seconds: float) -> None:
        self.now += seconds
        self.ticks += seconds


@pytest.fixture
def times():
    return Times()


@pytest.fixture
def home(tmp_path):
    return make_home(tmp_path / "home", watch={"quiet_s": 5.0})


@pytest.fixture
def drop(home):
    return home.roots["drop"]


@pytest.fixture
def catalog(home):
    opened = Catalog(home.database_url)
    yield opened
    opened.close()


@pytest.fixture
def distrusted():
    return []


@pytest.fixture
def intake(home, catalog, times, distrusted):
    return Intake(
        home,
        catalog,
        PROFILES,
        lambda: times.now,
        ticks=lambda: times.ticks,
        distrust=lambda *said: distrusted.append(said),
    )


def write(path, text="x"):
    """A file of an ignored kind, which is accounted for like any other."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def look(intake: Intake, times: Times, seconds: float = 10.0) -> None:
    """A whole rescan, and all that has settled some seconds later; the files' own times are those of this machine."""
    intake.begin_rescan()
    while intake.scanning:
        intake.take()
    times.go_on(seconds)
    while intake.due_in() == 0.0:
        intake.take()


def truth(drop) -> dict[str, str]:
    return {path.relative_to(drop).as_posix(): path.read_text() for path in drop.rglob("*") if path.is_file()}


def present(catalog: Catalog) -> set[str]:
    return {row["path"] for row in catalog.files() if row["present"]}


def test_without_a_single_event_the_rescan_finds_everything(intake, catalog, drop, times):
    write(drop / "a.txt")
    write(drop / "night/b.txt")
    look(intake, times)
    assert present(catalog) == {"a.txt", "night/b.txt"}
    (drop / "a.txt").rename(drop / "c.txt")
    shutil.rmtree(drop / "night")
    write(drop / "d.txt")
    look(intake, times)
    assert present(catalog) == {"c.txt", "d.txt"}
    rows = {row["path"]: row["present"] for row in catalog.files()}
    assert rows == {"a.txt": False, "night/b.txt": False, "c.txt": True, "d.txt": True}, "absent, never forgotten"
    assert not intake.pending
    assert (intake.found, intake.ingested) == (4, 4)


def test_large_files_are_read_together_and_each_is_accounted_for(intake, catalog, drop, times, monkeypatch):
    monkeypatch.setattr(intake_module, "_LARGE", 0)
    monkeypatch.setattr(intake_module, "threads", lambda: 3)
    content = {f"{nth}.fits": f"no frame {nth}" for nth in range(8)} | {"notes.txt": "words"}
    for name, text in content.items():
        write(drop / name, text)
    look(intake, times)
    rows = {row["path"]: row for row in catalog.files()}
    assert {name: row["sha256"] for name, row in rows.items()} == {
        name: hashlib.sha256(text.encode()).hexdigest() for name, text in content.items()
    }
    assert {row["status"] for name, row in rows.items() if name.endswith(".fits")} == {"unreadable"}
    assert (intake.pending, intake.ingested) == (False, len(content))


def test_replaced_content_is_read_again_without_an_event(intake, catalog, drop, times):
    write(drop / "a.txt", "one")
    look(intake, times)
    before = {row["path"]: row["sha256"] for row in catalog.files()}
    write(drop / "fresh.txt", "two, and longer")
    (drop / "fresh.txt").replace(drop / "a.txt")
    look(intake, times)
    after = {row["path"]: row["sha256"] for row in catalog.files()}
    assert after.keys() == before.keys()
    assert after["a.txt"] != before["a.txt"]


def test_a_root_that_is_away_is_told_once_and_taken_up_again(intake, catalog, drop, times, caplog):
    write(drop / "a.txt")
    look(intake, times)
    drop.rename(drop.parent / "unmounted")
    with caplog.at_level(logging.INFO, "avcd.intake"):
        for _ in range(3):
            look(intake, times)
            assert intake.unseen == {"drop"}
            assert present(catalog) == {"a.txt"}, "a share that is away is no empty one"
        (drop.parent / "unmounted").rename(drop)
        write(drop / "b.txt")
        look(intake, times)
    assert intake.unseen == set()
    assert present(catalog) == {"a.txt", "b.txt"}
    said = [one.getMessage() for one in caplog.records]
    assert [("cannot be looked at" in one, "there again" in one) for one in said] == [(True, False), (False, True)]


@pytest.mark.parametrize("jump_s", [-86400.0, 86400.0])
def test_a_clock_that_is_set_while_a_file_settles(intake, catalog, drop, times, jump_s):
    times.now = (drop.stat().st_mtime) + 1
    write(drop / "a.txt")
    os.utime(drop / "a.txt", (times.now, times.now))
    intake.hint("drop", "a.txt")
    intake.take()
    assert intake.due_in() > 0
    times.now += jump_s
    intake.take()
    assert present(catalog) == set(), "a jump does not make a file complete"
    times.ticks += 5.1
    assert intake.due_in() == 0.0
    intake.take()
    assert present(catalog) == {"a.txt"}, "nor does it hold one up"
    times.now -= jump_s
    look(intake, times)
    assert known_files(catalog, "drop").keys() == {"a.txt"}
    assert intake.ingested == 1


@pytest.mark.parametrize("ahead_s", [-10 * 365 * 86400.0, 10 * 365 * 86400.0])
def test_times_of_the_future_and_the_past(intake, catalog, drop, times, ahead_s):
    write(drop / "a.txt")
    os.utime(drop / "a.txt", (times.now + ahead_s, times.now + ahead_s))
    look(intake, times)
    assert present(catalog) == {"a.txt"}
    look(intake, times)
    assert intake.ingested == 1


def test_hints_are_taken_in_the_order_in_which_files_came(intake, drop, times, monkeypatch):
    taken = []
    real = intake_module.read_path
    monkeypatch.setattr(intake_module, "read_path", lambda *said: taken.append(said[1]) or real(*said))
    for number in range(5):
        write(drop / f"{number}.txt")
        assert intake.hint("drop", f"{number}.txt") is (number == 0), "the loop is woken once, not by every event"
    intake.take()
    times.go_on(10)
    intake.take()
    assert taken == [f"{number}.txt" for number in range(5)]


def test_a_file_that_a_busy_database_refused_is_offered_again(intake, catalog, drop, times, monkeypatch):
    def refuse(*_said, **_settings):
        raise DatabaseBusyError("locked")

    write(drop / "a.txt")
    times.now = (drop / "a.txt").stat().st_mtime
    intake.hint("drop", "a.txt")
    intake.take()
    times.go_on(10)
    with monkeypatch.context() as busy:
        busy.setattr(intake_module, "record_paths", refuse)
        with pytest.raises(DatabaseBusyError):
            intake.take()
    assert intake.pending
    intake.take()
    assert present(catalog) == {"a.txt"}


def test_a_file_that_changes_while_it_is_read_settles_anew(intake, catalog, drop, times, monkeypatch):
    def read_while_it_grows(*_said):
        with (drop / "a.txt").open("a") as stream:
            stream.write("more")
        return PathReading("a.txt", settled=False)

    write(drop / "a.txt")
    times.now = (drop / "a.txt").stat().st_mtime
    intake.hint("drop", "a.txt")
    intake.take()
    times.go_on(10)
    with monkeypatch.context() as growing:
        growing.setattr(intake_module, "read_path", read_while_it_grows)
        intake.take()
    assert intake.pending
    times.go_on(10)
    intake.take()
    assert present(catalog) == {"a.txt"}
    assert (intake.found, intake.ingested) == (1, 1)


def test_hints_at_what_is_no_file_or_is_gone_leave_nothing_behind(intake, drop):
    (drop / "directory").mkdir()
    os.mkfifo(drop / "pipe")
    for name in ("directory", "pipe", "never there"):
        intake.hint("drop", name)
    intake.take()
    assert not intake.pending
    assert intake.due_in() is None


def test_more_events_than_can_be_kept_lose_no_file(home, catalog, drop, times):
    """As when the kernel's queue, or avcd's own, overflows: what was dropped is found by a look of its own."""
    intake = Intake(home, catalog, PROFILES, lambda: times.now, ticks=lambda: times.ticks, backlog=8)
    for number in range(50):
        write(drop / f"{number:02d}.txt")
        intake.hint("drop", f"{number:02d}.txt")
    rescans = 0
    while intake.pending:
        if intake.wants_rescan:
            intake.begin_rescan()
            rescans += 1
        intake.take()
        assert len(intake._tracker) + len(intake._ready) <= 8
        times.go_on(10)
    assert present(catalog) == set(truth(drop))
    assert rescans >= 50 // 8
    assert (intake.found, intake.ingested) == (50, 50)


def test_a_hundred_thousand_files_at_once_are_all_taken_and_few_are_kept_in_mind(
    home, catalog, drop, times, monkeypatch
):
    """The rows are written in bulk here: how long reading takes is not the question, whether a file is lost is."""
    number, most = 100_000, 0

    def read(place, relative_path, *_said):  # opening and hashing so many would take minutes
        stat = (place.base / relative_path).stat()
        member = MemberReading(member="", sha256=None, size=stat.st_size, status=FrameStatus.OK)
        found = FileReading(relative_path=relative_path, members=(member,))
        row = found_file(found, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
        return PathReading(relative_path, True, row, FrameStatus.OK)

    monkeypatch.setattr(intake_module, "read_path", read)
    intake = Intake(home, catalog, PROFILES, lambda: times.now, ticks=lambda: times.ticks)

    def fall():
        for one in range(number):
            name = f"{one:06d}.fits"
            os.close(os.open(drop / name, os.O_CREAT | os.O_WRONLY))
            intake.hint("drop", name)

    falling = threading.Thread(target=fall)
    falling.start()
    falling.join()
    while intake.pending:
        if intake.wants_rescan:
            intake.begin_rescan()
        intake.take()
        most = max(most, len(intake._tracker) + len(intake._ready))
        times.go_on(10)
    assert known_files(catalog, "drop").keys() == {one.name for one in drop.iterdir()}
    assert most <= 20_000
    assert (intake.found, intake.ingested) == (number, number)


def test_files_of_which_no_event_ever_tells_discredit_the_watch(intake, drop, times, distrusted):
    """Another machine writes to a share that nobody knew for one."""
    write(drop / "old.txt")
    intake.watch_began(["drop"])
    look(intake, times)
    for number in range(3):
        assert distrusted == [], f"after {number} rescans"
        write(drop / f"untold {number}.txt")
        look(intake, times)
    assert [root for root, _ in distrusted] == ["drop"]
    assert "untold" in distrusted[0][1]


def test_files_that_events_told_of_give_the_watch_no_bad_name(intake, drop, times, distrusted):
    look(intake, times)
    for number in range(6):
        write(drop / f"{number}.txt")
        if number % 2:
            intake.hint("drop", f"{number}.txt")
            look(intake, times)
        else:  # the rescan was quicker than the event
            intake.begin_rescan()
            while intake.scanning:
                intake.take()
            intake.hint("drop", f"{number}.txt")
            look(intake, times)
    assert distrusted == []


def test_a_burst_that_overflowed_once_and_what_lies_behind_links_discredit_nothing(intake, drop, times, distrusted):
    elsewhere = drop.parent / "elsewhere"
    write(elsewhere / "a.txt")
    (drop / "link").symlink_to(elsewhere)
    look(intake, times)
    write(drop / "overflowed.txt")
    look(intake, times)
    look(intake, times)
    for number in range(4):
        write(elsewhere / f"behind {number}.txt")
        look(intake, times)
    assert distrusted == []


def test_what_came_while_the_root_was_not_watched_discredits_nothing(intake, drop, times, distrusted):
    look(intake, times)
    for number in range(4):
        write(drop / f"{number}.txt")
        intake.watch_began(["drop"])
        look(intake, times)
    assert distrusted == []


def test_a_look_at_a_million_files_does_not_keep_the_newest_waiting(intake, catalog, drop, times, monkeypatch):
    times.now = drop.stat().st_mtime + 3600

    def scan_slowly(*_said, **_settings):
        write(drop / "new.txt")
        intake.hint("drop", "new.txt")
        yield
        assert present(catalog) == {"new.txt"}, "it was taken before the look went on"
        yield

    monkeypatch.setattr(intake_module, "scanning", scan_slowly)
    monkeypatch.setattr(intake_module, "_SLICE_S", 0.0)
    intake.begin_rescan()
    while intake.scanning:
        intake.take()
    assert intake.ingested == 1
