"""Reading a file: what is in it, frame by frame; every file gets an answer, with the reason where it is not usable."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path

from avcd.config import Limits
from avcd.errors import HeaderError, InputError
from avcd.frame import FileReading, Frame, FrameStatus, MemberReading
from avcd.headers.archives import Content, archive_contents, decompress, kind_of
from avcd.headers.hdus import find_hdus
from avcd.headers.profiles import Profiles
from avcd.headers.translation import translate

_IGNORED = {
    "shadow": "what macOS keeps beside files",
    "hidden": "hidden file",
    "picture": "a picture: preview or thumbnail",
    "transfer": "the name of an unfinished transfer",
    "other": "not a FITS file name",
}
_LARGE = 8 * 2**20  # [bytes] from which on a thread is worth its start
_Frames = tuple[tuple[int, Frame], ...]


def read_file(
    path: Path,
    relative_path: str,
    profiles: Profiles,
    limits: Limits,
    *,
    profile: str | None = None,
    site: str | None = None,
    digest: bool = True,
) -> FileReading:
    """All that is in one file. Never raises for what is in it: the reason is part of the answer.

    Parameters
    ----------
    path, relative_path
        Where it is; its path below the drop directory, which may say what the header does not.
    profiles
        How headers are read.
    limits
        What is too large to unpack.
    profile, site
        Set by the drop directory; None: recognised from the header.
    digest
        Whether the SHA-256 of files that are no archives is asked for, beside that of their pixels.

    Returns
    -------
    FileReading
        The file itself first, then, for a zip archive, its members.

    Raises
    ------
    ConfigError
        ``profile`` or ``site`` does not exist.
    """

    def frames(data: bytes, member: str) -> _Frames:
        found = find_hdus(data, limits)
        try:
            return tuple(
                (number, translate(hdu, relative_path, member, profiles, profile=profile, site=site))
                for number, hdu in found
            )
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            # No header may stop the service: whatever it says, the file is accounted for.
            raise HeaderError(f"its header is not understood: {error!r}") from error

    try:
        members = tuple(_read_members(path, kind_of(relative_path), limits, frames, digest=digest))
    except OSError as error:
        members = (_unreadable("", f"cannot be read: {error.strerror or error}"),)
    return FileReading(relative_path=relative_path, members=members)


def _unreadable(member: str, reason: str, sha256: str | None = None, size: int = 0) -> MemberReading:
    return MemberReading(member=member, sha256=sha256, size=size, status=FrameStatus.UNREADABLE, reason=reason)


def _read_members(
    path: Path, kind: str, limits: Limits, frames: Callable[[bytes, str], _Frames], *, digest: bool
) -> Iterator[MemberReading]:
    if kind in _IGNORED:
        found, size = _file_digest(path), path.stat().st_size
        yield MemberReading(member="", sha256=found, size=size, status=FrameStatus.IGNORED, reason=_IGNORED[kind])
    elif kind in ("zip", "tar"):
        yield from _read_archive(path, limits, frames)
    else:
        with io.FileIO(path) as stream:  # half the time of a buffered one
            content = stream.readall()
        yield _read_content("", path.name, content, kind, limits, frames, digest=digest)


def _file_digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _read_archive(path: Path, limits: Limits, frames: Callable[[bytes, str], _Frames]) -> Iterator[MemberReading]:
    digest, size = _file_digest(path), path.stat().st_size
    members: list[MemberReading] = []
    status, reason = FrameStatus.OK, ""
    try:
        members += [_read_archive_member(content, limits, frames) for content in archive_contents(path, limits)]
    except InputError as error:
        members, status, reason = [], FrameStatus.UNREADABLE, str(error)
    if members and all(one.status is FrameStatus.UNREADABLE for one in members):
        status, reason = FrameStatus.UNREADABLE, f"nothing in it is readable: {members[0].reason}"
    elif status is FrameStatus.OK and not members:
        status, reason = FrameStatus.UNREADABLE, "an archive with nothing in it"
    yield MemberReading(member="", sha256=digest, size=size, status=status, reason=reason)
    yield from members


def _read_archive_member(content: Content, limits: Limits, frames: Callable[[bytes, str], _Frames]) -> MemberReading:
    if content.data is None:
        return _unreadable(content.member, content.reason)
    kind = kind_of(content.member)
    if kind in _IGNORED:
        return MemberReading(
            member=content.member,
            sha256=None,
            size=content.size,
            status=FrameStatus.IGNORED,
            reason=_IGNORED[kind],
        )
    return _read_content(content.member, content.member, content.data, kind, limits, frames)


def _read_content(
    member: str,
    name: str,
    data: bytes,
    kind: str,
    limits: Limits,
    frames: Callable[[bytes, str], _Frames],
    *,
    digest: bool = True,
) -> MemberReading:
    with _digest_of(data) if digest else nullcontext(lambda: None) as sha256:
        try:
            found = frames(decompress(data, name, limits) if kind == "compressed" else data, member)
        except InputError as error:
            return _unreadable(member, str(error), sha256(), len(data))
        return MemberReading(member=member, sha256=sha256(), size=len(data), status=FrameStatus.OK, frames=found)


@contextmanager
def _digest_of(data: bytes) -> Iterator[Callable[[], str]]:
    """The SHA-256 of a file's content; of a large one it is taken in another thread, while its pixels are hashed."""
    if len(data) < _LARGE:
        yield hashlib.sha256(data).hexdigest
        return
    with ThreadPoolExecutor(1) as beside:
        yield beside.submit(lambda: hashlib.sha256(data).hexdigest()).result
