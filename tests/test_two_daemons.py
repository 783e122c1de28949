"""Two daemons, two homes, one catalogue on PostgreSQL: they share the work, and one takes over what the other leaves."""

from __future__ import annotations

import hashlib
import shutil
import signal
import subprocess
import threading
from collections import Counter

import pytest
from sqlalchemy import select

from avcd.catalog import Catalog
from avcd.catalog.models import attempts
from homes import make_home, start_daemon
from nights import small_night

PATIENCE_S = 240  # for what takes seconds on a machine that does nothing else


@pytest.fixture(scope="module")
def delivered(tmp_path_factory):
    """One telescope's small night."""
    drop = tmp_path_factory.mktemp("night") / "drop"
    small_night(drop)
    return drop / "astep"


def make_homes(path, url, **second):
    """Two homes as on two hosts: the same drop and archive directories, mounted under other names."""
    shared = path / "server"
    for name in ("drop", "archive"):
        (shared / name).mkdir(parents=True)
    homes = []
    for host, settings in (("first", {}), ("second", second)):
        (path / host).mkdir()
        (path / host / "mount").symlink_to(shared)
        common = {
            "database": {"url": url},
            "drop": {"path": "mount/drop"},
            "archive": {"path": "mount/archive"},
            "workers": {"count": 1, "lease_s": 10.0},
        }
        homes.append(make_home(path / host, **{**common, **settings}))
    return homes


def wait_until_said(process: subprocess.Popen[str], words: str) -> str:
    """Read what a daemon logs until the words come; all of it."""
    said = ""
    impatience = threading.Timer(PATIENCE_S, process.kill)
    impatience.start()
    for line in process.stderr:
        said += line
        if words in line:
            break
    impatience.cancel()
    assert words in said, said
    return said


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    try:
        _, said = process.communicate(timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return process.returncode, said


@pytest.fixture
def catalog(emptied_postgresql):
    opened = Catalog(emptied_postgresql())
    yield opened
    opened.close()


def test_two_share_the_work_and_one_takes_over_from_the_other_that_was_killed(
    tmp_path, delivered, catalog, postgresql_url
):
    first, second = make_homes(tmp_path, postgresql_url)
    shutil.copytree(delivered, tmp_path / "server" / "drop" / "astep")
    doomed = start_daemon(first, "--until-idle", kill_at="before_commit:4:daemon")
    wait_until_said(doomed, " done: ")
    survivor = start_daemon(second, "--until-idle")
    assert ended(doomed)[0] == -signal.SIGKILL
    code, said = ended(survivor)
    assert code == 0, said

    with catalog.read() as connection:
        tries = connection.execute(select(attempts.c.job, attempts.c.owner, attempts.c.outcome)).all()
    done = Counter(one.job for one in tries if one.outcome == "done")
    assert set(done) == {row["id"] for row in catalog.jobs()}
    assert set(done.values()) == {1}, "each job was done once"
    assert {row["state"] for row in catalog.jobs()} == {"done"}
    by_owner = {outcome: {one.owner for one in tries if one.outcome == outcome} for outcome in ("done", "lost")}
    assert {one.rpartition(":")[2] for one in by_owner["done"]} == {str(first.path), str(second.path)}
    assert {one.rpartition(":")[2] for one in by_owner["lost"]} == {str(first.path)}
    assert {one.outcome for one in tries} == {"done", "lost"}, "nothing failed"

    products = list(catalog.products())
    assert {row["status"] for row in products} == {"final"}
    assert Counter(row["kind"] for row in products if row["kind"] in ("reduced", "stack")) == {"reduced": 2, "stack": 1}
    for row in products:
        assert hashlib.sha256((first.archive / row["path"]).read_bytes()).hexdigest() == row["sha256"], row["path"]
    assert not list((tmp_path / "server" / "archive").rglob("*.part"))


def test_two_that_plan_by_different_rules_do_not_undo_each_other_for_ever(tmp_path, delivered, catalog, postgresql_url):
    first, second = make_homes(tmp_path, postgresql_url, processing={"previews": False})
    bias = next(path for path in sorted(delivered.rglob("*")) if path.is_file() and "bias" in path.name.lower())
    shutil.copyfile(bias, tmp_path / "server" / "drop" / bias.name)
    earlier = start_daemon(first)
    try:
        wait_until_said(earlier, "planned ")
        code, said = ended(start_daemon(second, "--until-idle"))
        assert code == 0, said
        theirs = catalog.planned_digests()
        assert "leaves planning to it" in wait_until_said(earlier, "make them alike, and start this one again")
        assert catalog.planned_digests() == theirs
        earlier.send_signal(signal.SIGTERM)
        assert ended(earlier)[0] == 0
    finally:
        earlier.kill()
