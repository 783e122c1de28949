"""Results that are pictures: several files of one making, with a record beside them that says what they are."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from avcd.errors import UsageError
from avcd.products import publish
from avcd.stages.writing import verifier_of
from avcd.standalone.outputs import Done

SUFFIXES = {".png": "png", ".jpg": "jpg", ".jpeg": "jpg", ".tif": "tiff", ".tiff": "tiff", ".fits": "fits"}


@dataclass(frozen=True)
class PictureTask:
    """Several files of one making: ``paths`` from what they are ("png", "256") to where they go; the record goes to ``record``.

    ``make`` returns the content of each, the record less the files' sums, and notes that a person should read.
    """

    identity: str
    kind: str
    paths: Mapping[str, Path]
    record: Path
    sources: tuple[Path, ...]
    make: Callable[[], tuple[Mapping[str, bytes], Mapping[str, object], Sequence[str]]]

    @property
    def path(self) -> Path:
        """The first of the files."""
        return next(iter(self.paths.values()))


def run_pictures(task: PictureTask, *, force: bool) -> tuple[Done, Sequence[str]]:
    """Make the files of one making, unless the record says that they are there already, and no byte of them has changed.

    Raises
    ------
    UsageError
        Something else is there, or an output is one of the inputs.
    AvcdError
        They cannot be made or written.
    """
    every = [*task.paths.values(), task.record]
    if {one.resolve() for one in every} & {one.resolve() for one in task.sources}:
        raise UsageError(f"-o {task.path} is one of the inputs; name another file")
    if not force:
        found = _record_of(task.record)
        if found.get("id") == task.identity and _are_whole(task, found):
            return Done.ALREADY, ()
        for path in every:
            if path.exists() and (found.get("kind") != task.kind or path.name not in _named(task, found)):
                raise UsageError(f"{path} is there and was not made by this command; --force replaces it")
    contents, record, notes = task.make()
    token = secrets.token_hex(8)
    sums = {}
    for name, path in task.paths.items():
        data = contents[name]
        sums[path.name] = hashlib.sha256(data).hexdigest()
        publish(path.resolve().parent, path.name, _writer(data), verifier_of(path.suffix.lower()), token)
    text = json.dumps({**record, "files": sums}, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    publish(task.record.resolve().parent, task.record.name, _writer(text.encode()), verifier_of(".json"), token)
    return Done.MADE, notes


def _writer(data: bytes) -> Callable[[BinaryIO], None]:
    def write(stream: BinaryIO) -> None:
        stream.write(data)

    return write


def _record_of(path: Path) -> Mapping[str, object]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _named(task: PictureTask, record: Mapping[str, object]) -> set[str]:
    files = record.get("files")
    return {*(files if isinstance(files, dict) else ()), task.record.name}


def _are_whole(task: PictureTask, record: Mapping[str, object]) -> bool:
    files = record.get("files")
    if not isinstance(files, dict):
        return False
    for path in task.paths.values():
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != files.get(path.name):
            return False
    return True
