"""What ``avcd doctor`` looks at: one row a check, with what to do where something is wrong."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from avcd.cli.options import load_home_for, open_catalog
from avcd.config import Home
from avcd.errors import AvcdError

Row = dict[str, Any]
_ROOM_BYTES = 5 * 2**30  # below this much free space the operator should know


def check_home(home: Path | None) -> Iterator[Row]:
    """All checks of one home; without readable settings only the first."""
    try:
        loaded = load_home_for(home)
    except AvcdError as error:
        yield _row("settings", "fail", str(error))
        return
    yield _row("settings", "ok", str(loaded.path / "avcd.toml"))
    yield _tried("recipes", lambda: _recipes(loaded))
    yield _tried("rules", lambda: _rules(loaded))
    yield _tried("profiles", lambda: _profiles(loaded))
    yield _tried("reference stars", _reference_stars)
    for name, path in loaded.roots.items():
        yield _drop(name, path)
    yield _archive(loaded.archive)
    yield _daemon(loaded)
    yield from _catalog(loaded)


def _row(check: str, outcome: str, detail: str) -> Row:
    return {"check": check, "outcome": outcome, "detail": detail}


def _tried(check: str, look: Callable[[], str]) -> Row:
    try:
        return _row(check, "ok", look())
    except (AvcdError, OSError) as error:
        return _row(check, "fail", str(error))


def _recipes(home: Home) -> str:
    from avcd.recipes import load_recipes

    return ", ".join(f"{one.name} {one.version}" for one in load_recipes(home.path).values())


def _rules(home: Home) -> str:
    from avcd.association import load_rules

    return f"digest {load_rules(home.path).digest[:12]}"


def _profiles(home: Home) -> str:
    from avcd.headers.profiles import load_profiles

    profiles = load_profiles(home.path)
    for drop in home.settings.drop:  # what avcd.toml names must exist
        if drop.profile:
            profiles.profile(drop.profile)
        if drop.site:
            profiles.site(drop.site)
    return "read, with those that avcd.toml names"


def _reference_stars() -> str:
    from avcd.sky.reference import Tycho2

    stars = Tycho2()
    return f"{stars.name}: {len(stars.cone(83.8, -5.4, 1.0).ra_deg)} within a degree of M 42"


def _drop(name: str, path: Path) -> Row:
    if not path.is_dir():
        return _row(f"drop {name}", "fail", f"{path} is not there, or no directory")
    if not os.access(path, os.R_OK | os.X_OK):
        return _row(f"drop {name}", "fail", f"{path} may not be read")
    return _row(f"drop {name}", "ok", str(path))


def _archive(path: Path) -> Row:
    if not path.is_dir():
        return _row("archive", "fail", f"{path} is not there, or no directory")
    if not os.access(path, os.W_OK | os.X_OK):
        return _row("archive", "fail", f"{path} may not be written")
    free = shutil.disk_usage(path).free
    return _row("archive", "warn" if free < _ROOM_BYTES else "ok", f"{path}, {free / 2**30:.1f} GiB free")


def _daemon(home: Home) -> Row:
    from avcd.daemon.lock import holder_pid

    pid = holder_pid(home.lock_path)
    return _row("daemon", "ok", f"pid {pid}") if pid else _row("daemon", "warn", "none is running; start it: avcd run")


def _catalog(home: Home) -> Iterator[Row]:
    try:
        with open_catalog(home) as catalog:
            damage = catalog.damage()
            if damage:
                yield _row("catalogue", "fail", f"damaged: {damage}; stop the daemon and bring back a copy")
                return
            stats = catalog.stats()
            yield _row("catalogue", "ok", catalog.url.render_as_string())
    except AvcdError as error:
        yield _row("catalogue", "fail", str(error))
        return
    files, jobs = stats["files"], stats["jobs"]
    yield _counted("unreadable files", files.get("unreadable", 0), "warn", "avcd files --status unreadable")
    yield _counted("files that are gone", sum(stats["files_absent"].values()), "warn", "avcd files")
    yield _counted("dead jobs", jobs.get("dead", 0), "fail", "avcd jobs --status dead")
    yield _counted("blocked jobs", jobs.get("blocked", 0), "warn", "avcd jobs --status blocked")
    waiting = sum(jobs.get(state, 0) for state in ("waiting", "ready", "running"))
    yield _row("jobs to do", "ok", str(waiting))
    yield _row("open observations and sessions", "ok", str(stats["open_groups"]))


def _counted(check: str, count: int, outcome: str, see: str) -> Row:
    return _row(check, outcome, f"{count}; see: {see}") if count else _row(check, "ok", "none")
