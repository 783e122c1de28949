"""What ``avcd doctor`` looks at: one row a check, with what to do where something is wrong."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avcd.cli.options import load_home_for, open_catalog
from avcd.config import Drop, Home
from avcd.errors import AvcdError, StorageError

if TYPE_CHECKING:
    from avcd.catalog import Catalog

Row = dict[str, Any]
_SHOWN = 20  # paths that are named
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
    yield _sky(loaded)
    for drop in loaded.settings.drop:
        yield _drop(drop.name, loaded.drop_path(drop))
        yield _watch(drop, loaded.drop_path(drop), loaded.settings.watch.poll_s)
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


def _sky(home: Home) -> Row:
    """Whether what the recipe of reduced frames asks beside the bundled stars is installed."""
    from avcd.frame import ProductKind
    from avcd.recipes import load_recipes
    from avcd.sky.services import SkyServices

    check = "catalogues and engines"
    try:
        parameters = load_recipes(home.path)[ProductKind.REDUCED].parameters
    except AvcdError:
        return _row(check, "warn", "not known as long as the recipes cannot be read")
    named = [one for key in ("solve_references", "solve_engines", "zero_points") for one in parameters[key]]
    lacking = SkyServices(home.settings.astrometry, home.cache).lacking(dict.fromkeys(named))
    said = ", ".join(dict.fromkeys(named)) or "none"
    return _row(check, "warn" if lacking else "ok", "; ".join([said, *lacking]))


def _drop(name: str, path: Path) -> Row:
    if not path.is_dir():
        return _row(f"drop {name}", "fail", f"{path} is not there, or no directory")
    if not os.access(path, os.R_OK | os.X_OK):
        return _row(f"drop {name}", "fail", f"{path} may not be read")
    return _row(f"drop {name}", "ok", str(path))


def _watch(drop: Drop, path: Path, poll_s: float) -> Row:
    """How the daemon would hear of what happens in a drop directory, measured."""
    from watchdog.observers import Observer

    from avcd.watch import remote_file_system, sound

    check = f"watch {drop.name}"
    polled = f"polled every {poll_s:g} s"
    if drop.watch != "native":
        return _row(check, "ok", polled if drop.watch == "polling" else "rescanned only")
    remote = remote_file_system(path)
    if remote:
        return _row(check, "warn", f"{polled}: on {remote}, events do not tell what other machines do")
    try:
        sounding = sound(path, Observer, may_write=drop.canary)
    except OSError as error:
        return _row(check, "warn", f"{polled}: {error.strerror or error}")
    return _row(
        check,
        "warn" if sounding.silent else "ok",
        f"{polled}: {sounding}" if sounding.silent else f"native, {sounding}",
    )


def _accounts(catalog: Catalog, root: str, path: Path) -> Row:
    """Every file of a drop directory against the catalogue."""
    from avcd.scan import Standing, compare_root

    statuses: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    others: dict[Standing, list[str]] = {one: [] for one in Standing}
    check = f"files in {root}"
    try:
        for sight in compare_root(catalog, root, path):
            if sight.standing is not Standing.UNCHANGED:
                others[sight.standing].append(sight.relative_path)
                continue
            statuses[sight.status] += 1
            if sight.status == "ignored":
                reasons[sight.reason] += 1
    except StorageError as error:
        return _row(check, "fail", str(error))
    waiting = [one for standing in (Standing.CHANGED, Standing.RETURNED, Standing.REFUSED) for one in others[standing]]
    gone = others[Standing.GONE]
    there = f"{sum(statuses.values()) + len(waiting)} there"
    why = f" ({', '.join(f'{count} {reason}' for reason, count in sorted(reasons.items()))})"
    counts = [f"{count} {one}{why if one == 'ignored' else ''}" for one, count in sorted(statuses.items())]
    said = [f"{there}: {', '.join(counts)}" if counts else there]
    if waiting:
        said.append(f"{len(waiting)} not in the catalogue as they are now ({_some(waiting)})")
    if gone:
        said.append(f"{len(gone)} in the catalogue and not there any more ({_some(gone)})")
    if not waiting and not gone:
        return _row(check, "ok", "; ".join([*said, "every one in the catalogue as it is"]))
    return _row(check, "warn", "; ".join([*said, f"the daemon's next look takes them in, or: avcd ingest {path}"]))


def _some(paths: list[str]) -> str:
    from avcd.catalog.types import printable_path

    shown = ", ".join(printable_path(one) for one in paths[:_SHOWN])
    return f"{shown} and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else shown


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
            for name, path in home.roots.items():
                yield _accounts(catalog, name, path)
    except AvcdError as error:
        yield _row("catalogue", "fail", str(error))
        return
    files, jobs = stats["files"], stats["jobs"]
    yield _counted("unreadable files", files.get("unreadable", 0), "warn", "avcd files --status unreadable")
    gone = sum(stats["files_absent"].values())
    yield _counted("files that are gone", gone, "warn", "avcd files --status gone")
    yield _counted("dead jobs", jobs.get("dead", 0), "fail", "avcd jobs --status dead")
    yield _counted("blocked jobs", jobs.get("blocked", 0), "warn", "avcd jobs --status blocked")
    waiting = sum(jobs.get(state, 0) for state in ("waiting", "ready", "running"))
    yield _row("jobs to do", "ok", str(waiting))
    yield _row("open observations and sessions", "ok", str(stats["open_groups"]))


def _counted(check: str, count: int, outcome: str, see: str) -> Row:
    return _row(check, outcome, f"{count}; see: {see}") if count else _row(check, "ok", "none")
