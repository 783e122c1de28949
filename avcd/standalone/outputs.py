"""Where results go: names, what is there already, and publishing that is whole or not at all."""

from __future__ import annotations

import re
import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from avcd.errors import InputError, ProductError, UsageError
from avcd.headers.archives import FITS_SUFFIXES
from avcd.headers.quick import read_header
from avcd.naming import compatible_name
from avcd.products import publish, verify_fits
from avcd.standalone.inputs import FrameFile

Writer = Callable[[BinaryIO], None]
_MARK = re.compile(rb"AVCDID.{1,12}?([0-9a-f]{64})", re.DOTALL)
_MARKED_BYTES = 4096


class Done(StrEnum):
    """What became of a task."""

    MADE = "made"
    ALREADY = "already"


@dataclass(frozen=True)
class Beside:
    """A further file of a task, beside its output; what is written names the task's identity after ``AVCDID``."""

    path: Path
    write: Writer
    verify: Callable[[Path], None] = lambda path: None


@dataclass(frozen=True)
class Task:
    """One output: what it will be, where it goes, and how it is made.

    ``make`` returns what writes the file, and notes that a person should read.
    """

    identity: str
    kind: str
    path: Path
    sources: tuple[Path, ...]
    make: Callable[[], tuple[Writer, Sequence[str]]]
    beside: tuple[Beside, ...] = ()


def place_outputs(
    out: Path, files: Sequence[FrameFile], suffix: str, *, several: bool, style: str | None = None
) -> list[Path]:
    """The path of each file's own output.

    Parameters
    ----------
    out
        A FITS file for one input, or a directory.
    suffix
        What follows the input's name in a directory, as in ``m42_trimmed.fits``.
    several
        Whether several files were named, even if only one could be read.
    style
        Names of another program (`avcd.naming.COMPATIBLE`) in a directory, instead.

    Raises
    ------
    UsageError
        A file for several, or several of one name.
    """
    named_file = out.name.lower().endswith(FITS_SUFFIXES) and not out.is_dir()
    if named_file and (several or len(files) > 1):
        raise UsageError(f"-o {out}: several frames need a directory, as in: -o reduced/")
    if named_file and style is not None:
        raise UsageError(f"-o {out}: --compat names files by itself; name a directory, as in: -o reduced/")
    if named_file:
        return [out for _ in files]
    if out.exists() and not out.is_dir():
        raise UsageError(f"-o {out} is there and no directory; an output file ends with .fits")
    paths = [out / (f"{one.stem}_{suffix}.fits" if style is None else _named_like(one, style)) for one in files]
    twice = [path for path, count in Counter(paths).items() if count > 1]
    if twice:
        raise UsageError(f"two of the files would both become {twice[0]}; give them in two calls, with two -o")
    return paths


def _named_like(file: FrameFile, style: str) -> str:
    """The path of a frame's output as another program has it; ASTEP's with the one directory that tells the date."""
    near = PurePosixPath(file.path.resolve().parent.name) / f"{file.stem}.fits"
    name = compatible_name(style, near.as_posix(), "", file.frame.night)
    return f"{name.parent.name}/{name.name}" if style == "astep" else name.name


def check_out_file(out: Path) -> Path:
    """The path of the one output of several files.

    Raises
    ------
    UsageError
        It is no FITS file's name.
    """
    if out.is_dir() or not out.name.lower().endswith(FITS_SUFFIXES):
        raise UsageError(f"-o {out}: name a file that ends with .fits")
    return out


def run_task(task: Task, *, force: bool) -> tuple[Done, Sequence[str]]:
    """Make one output, unless it is there already.

    It is there when a file of this path holds this very product (same inputs, recipe and parameters) undamaged. Another
    product of the same kind is replaced; any other file only with ``force``, and an input never.

    Raises
    ------
    UsageError
        Something else is there, or the output is one of the inputs.
    AvcdError
        It cannot be made or written.
    """
    target = task.path.resolve()
    if target in {one.resolve() for one in task.sources}:
        raise UsageError(f"-o {task.path} is one of the inputs; name another file")
    for one in task.beside:
        if one.path.exists() and not force and _mark_of(one.path) is None:
            raise UsageError(f"{one.path} is there and was not made by avcd; --force replaces it")
    done, notes = _run_main(task, target, force=force)
    for one in task.beside:
        if force or not one.path.exists() or _mark_of(one.path) != task.identity:
            where = one.path.resolve()
            publish(where.parent, where.name, one.write, one.verify, secrets.token_hex(8))
            done = Done.MADE
    return done, notes


def _run_main(task: Task, target: Path, *, force: bool) -> tuple[Done, Sequence[str]]:
    if target.exists() and not force:
        identity, kind = _identity_of(target)
        if identity == task.identity and _is_whole(target):
            return Done.ALREADY, ()
        if kind != task.kind:
            raise UsageError(f"{task.path} is there and was not made by this command; --force replaces it")
    writer, notes = task.make()
    check = partial(verify_fits, digest=False)
    publish(target.parent, target.name, writer, check, secrets.token_hex(8), digest=False)
    return Done.MADE, notes


def _identity_of(path: Path) -> tuple[str | None, str | None]:
    """AVCDID and AVCDKIND of a file that may be anything."""
    try:
        cards = read_header(path).by_keyword
    except (InputError, OSError):
        return None, None
    found = (cards.get("AVCDID"), cards.get("AVCDKIND"))
    identity, kind = (None if one is None else str(one.value) for one in found)
    return identity, kind


def _mark_of(path: Path) -> str | None:
    """The identity that a file beside a product names; None for anybody's."""
    try:
        with path.open("rb") as stream:
            found = _MARK.search(stream.read(_MARKED_BYTES))
    except OSError:
        return None
    return found.group(1).decode() if found else None


def _is_whole(path: Path) -> bool:
    try:
        verify_fits(path, digest=False)
    except ProductError:
        return False
    return True


def paths_of(files: Iterable[FrameFile]) -> tuple[Path, ...]:
    """Where files lie."""
    return tuple(one.path for one in files)
