"""Reduced frames under the names that other programs give them, in a directory of the user's, beside avcd's archive."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from avcd.errors import StorageError
from avcd.naming import compatible_name

log = logging.getLogger("avcd.compat")
_RECORD = ".avcd-names.json"
_TEMPORARY = ".avcd-part"


@dataclass(frozen=True)
class Named:
    """A reduced frame: its product's id, its file in the archive, and the other name, relative to the directory."""

    id: str
    source: Path
    name: PurePosixPath


def named_products(rows: Sequence[Mapping[str, str]], archive: Path, styles: Mapping[str, str | None]) -> list[Named]:
    """Products under other names, one for each name.

    Parameters
    ----------
    rows
        Of `avcd.catalog.Catalog.reduced_sources`.
    styles
        Of each drop directory; None: its frames get no other names.
    """
    found: dict[PurePosixPath, Named] = {}
    for row in rows:
        style = styles.get(row["root"])
        if style is None:
            continue
        name = compatible_name(style, row["relative_path"], row["member"], row["night"])
        if name in found:
            log.warning("%s: another frame has this name too; that of %s is kept", name, found[name].id[:12])
            continue
        found[name] = Named(row["id"], archive / row["path"], name)
    return list(found.values())


def keep_names(wanted: Sequence[Named], directory: Path, *, copy: bool) -> tuple[int, int]:
    """Bring a directory to the products that serve now: links or copies of them, and no others of avcd's.

    What is there and is the same product stays as it is. What was superseded is replaced, what serves no more removed.
    A file that avcd did not put there is left alone, with a warning.

    Parameters
    ----------
    copy
        Copies instead of hard links; where a link cannot be made, as between file systems, a copy is made anyway.

    Returns
    -------
    made, removed
        How many files.

    Raises
    ------
    StorageError
        The directory cannot be written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        record = _read_record(directory)
        kept: dict[str, list[object]] = {}
        made = 0
        for one in wanted:
            target = directory / one.name
            state = record.get(str(one.name))
            if state is not None and state == [one.id, *_state(target)]:
                kept[str(one.name)] = state
                continue
            if state is None and target.exists() and not _same(target, one.source):
                log.warning("%s is there and is none of avcd's: it is left alone", target)
                continue
            if not one.source.exists():
                log.warning("%s is not in the archive: nothing is named %s", one.source, target)
                continue
            _put(one.source, target, copy=copy)
            kept[str(one.name)] = [one.id, *_state(target)]
            made += 1
        gone = record.keys() - {str(one.name) for one in wanted}
        for name in gone:
            _remove(directory, name)
        if kept != record:
            _write_record(directory, kept)
    except OSError as error:
        raise StorageError(
            f"names of other programs: {error.filename or directory}: {error.strerror or error}"
        ) from error
    return made, len(gone)


def _state(path: Path) -> list[object]:
    """What tells that a file is as it was put there."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return []
    return [found.st_size, found.st_mtime_ns]


def _same(target: Path, source: Path) -> bool:
    return source.exists() and target.samefile(source)


def _put(source: Path, target: Path, *, copy: bool) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}{_TEMPORARY}")
    temporary.unlink(missing_ok=True)
    if copy or not _linked(source, temporary):
        shutil.copyfile(source, temporary)
    temporary.replace(target)
    temporary.unlink(missing_ok=True)  # of two names of one file nothing is renamed


def _linked(source: Path, target: Path) -> bool:
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:  # another file system, or one without links
        return False
    return True


def _remove(directory: Path, name: str) -> None:
    path = directory / name
    path.unlink(missing_ok=True)
    while path.parent != directory:
        path = path.parent
        if not path.is_dir() or any(path.iterdir()):
            return
        path.rmdir()


def _read_record(directory: Path) -> dict[str, list[object]]:
    try:
        found = json.loads((directory / _RECORD).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write_record(directory: Path, record: Mapping[str, Sequence[object]]) -> None:
    temporary = directory / f"{_RECORD}{_TEMPORARY}"
    temporary.write_text(json.dumps(record, sort_keys=True, indent=0), encoding="utf-8")
    temporary.replace(directory / _RECORD)
