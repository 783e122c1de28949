"""Reading a file: what is in it, frame by frame; every file gets an answer, with the reason where it is not usable."""

from __future__ import annotations

import hashlib
import io
import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from avcd.config import Limits
from avcd.errors import InputError
from avcd.frame import FileReading, Frame, FrameStatus, MemberReading
from avcd.headers.archives import Content, archive_contents, decompress, kind_of
from avcd.headers.gathering import Hdu
from avcd.headers.hdus import find_hdus
from avcd.headers.profiles import Profiles
from avcd.headers.translation import translate_all

_IGNORED = {
    "shadow": "what macOS keeps beside files",
    "hidden": "hidden file",
    "picture": "a picture: preview or thumbnail",
    "transfer": "the name of an unfinished transfer",
    "other": "not a FITS file name",
}
_LARGE = 8 * 2**20  # [bytes] from which on a thread is worth its start
_Hdus = Sequence[tuple[int, Hdu]]


class OpenMember(NamedTuple):
    """A file or an archive's member as far as it is read without understanding it: its HDUs are no frames yet."""

    reading: MemberReading
    hdus: _Hdus = ()


class OpenFile(NamedTuple):
    """All that is in one path: the file itself first, then its members."""

    relative_path: str
    members: tuple[OpenMember, ...]

    @property
    def cards(self) -> int:
        """How many header cards there are."""
        return sum([len(hdu.cards) for one in self.members for _, hdu in one.hdus])


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
    """All that is in one file: `open_file` and `understand` one after the other; their parameters are explained there.

    Raises
    ------
    ConfigError
        ``profile`` or ``site`` does not exist.
    """
    opened = open_file(path, relative_path, limits, digest=digest)
    return understand([opened], profiles, profile=profile, site=site)[0]


def content_of(path: Path | str) -> bytes:
    """All bytes of a file."""
    with io.FileIO(path) as stream:  # half the time of a buffered one
        return stream.readall()


def open_file(
    path: Path | str, relative_path: str, limits: Limits, *, content: bytes | None = None, digest: bool = True
) -> OpenFile:
    """The HDUs of one file. Never raises for what is in it: the reason is part of the answer.

    Parameters
    ----------
    path, relative_path
        Where it is; its path below the drop directory.
    limits
        What is too large to unpack.
    content
        Its bytes, where they are at hand already; of an archive, or what is ignored, they are not asked for.
    digest
        Whether the SHA-256 of files that are no archives is asked for, beside that of their pixels.

    Returns
    -------
    OpenFile
        The file itself first, then, for an archive, its members.
    """
    try:
        members = tuple(_read_members(path, relative_path.rpartition("/")[2], limits, content, digest=digest))
    except OSError as error:
        members = (_unreadable("", f"cannot be read: {error.strerror or error}"),)
    return OpenFile(relative_path, members)


def understand(
    opened: Sequence[OpenFile], profiles: Profiles, *, profile: str | None = None, site: str | None = None
) -> list[FileReading]:
    """The frames of files, from their HDUs and from their paths, which may say what headers do not. Never raises for what they say.

    Parameters
    ----------
    profiles
        How headers are read.
    profile, site
        Set by the drop directory; None: recognised from the header.

    Raises
    ------
    ConfigError
        ``profile`` or ``site`` does not exist.
    """

    def translated(hdus: Sequence[tuple[Hdu, str]]) -> list[Frame]:
        return translate_all(hdus, profiles, profile=profile, site=site)

    members = iter(_understood([(file.relative_path, one) for file in opened for one in file.members], translated))
    return [_joined(file.relative_path, list(itertools.islice(members, len(file.members)))) for file in opened]


def _joined(relative_path: str, members: Sequence[MemberReading]) -> FileReading:
    """A file with its members; an archive of which no member is readable is not readable itself."""
    file, *others = members
    if others and all(one.status is FrameStatus.UNREADABLE for one in others):
        reason = f"nothing in it is readable: {others[0].reason}"
        file = replace(file, status=FrameStatus.UNREADABLE, reason=reason)
    return FileReading(relative_path=relative_path, members=(file, *others))


def _understood(
    members: Sequence[tuple[str, OpenMember]], translated: Callable[[Sequence[tuple[Hdu, str]]], list[Frame]]
) -> list[MemberReading]:
    """Members, each after the path of its file, with the frames that their HDUs are translated to."""
    hdus = [
        (hdu, f"{path}/{one.reading.member}" if one.reading.member else path)
        for path, one in members
        for _, hdu in one.hdus
    ]
    try:
        frames = iter(translated(hdus))
    except (InputError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        if len(members) > 1:  # whichever it is, the others are understood
            return [reading for one in members for reading in _understood([one], translated)]
        # No header may stop the service: whatever it says, the file is accounted for.
        reason = str(error) if isinstance(error, InputError) else f"its header is not understood: {error!r}"
        before = members[0][1].reading
        return [_unreadable(before.member, reason, before.sha256, before.size).reading]
    return [_with_frames(one, frames) if one.hdus else one.reading for _, one in members]


def _with_frames(opened: OpenMember, frames: Iterator[Frame]) -> MemberReading:
    numbered = tuple([(number, next(frames)) for number, _ in opened.hdus])
    read = opened.reading
    return MemberReading(member=read.member, sha256=read.sha256, size=read.size, status=read.status, frames=numbered)


def _unreadable(member: str, reason: str, sha256: str | None = None, size: int = 0) -> OpenMember:
    return _without_hdus(member, sha256, size, FrameStatus.UNREADABLE, reason)


def _without_hdus(member: str, sha256: str | None, size: int, status: FrameStatus, reason: str) -> OpenMember:
    return OpenMember(MemberReading(member=member, sha256=sha256, size=size, status=status, reason=reason))


def _read_members(
    path: Path | str, name: str, limits: Limits, content: bytes | None, *, digest: bool
) -> Iterator[OpenMember]:
    kind = kind_of(name)
    if kind in _IGNORED:
        yield _without_hdus("", *_file_digest(path), FrameStatus.IGNORED, _IGNORED[kind])
    elif kind in ("zip", "tar"):
        yield from _read_archive(Path(path), limits)
    else:
        data = content_of(path) if content is None else content
        yield _read_content("", name, data, kind, limits, digest=digest)


def _file_digest(path: Path | str) -> tuple[str, int]:
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest(), os.fstat(stream.fileno()).st_size


def _read_archive(path: Path, limits: Limits) -> Iterator[OpenMember]:
    digest, size = _file_digest(path)
    members: list[OpenMember] = []
    status, reason = FrameStatus.OK, ""
    try:
        members += [_read_archive_member(content, limits) for content in archive_contents(path, limits)]
    except InputError as error:
        members, status, reason = [], FrameStatus.UNREADABLE, str(error)
    if status is FrameStatus.OK and not members:
        status, reason = FrameStatus.UNREADABLE, "an archive with nothing in it"
    yield _without_hdus("", digest, size, status, reason)
    yield from members


def _read_archive_member(content: Content, limits: Limits) -> OpenMember:
    if content.data is None:
        return _unreadable(content.member, content.reason)
    kind = kind_of(content.member)
    if kind in _IGNORED:
        return _without_hdus(content.member, None, content.size, FrameStatus.IGNORED, _IGNORED[kind])
    return _read_content(content.member, content.member, content.data, kind, limits)


def _read_content(member: str, name: str, data: bytes, kind: str, limits: Limits, *, digest: bool = True) -> OpenMember:
    sha256: str | None = None
    hdus: _Hdus = ()
    reason = ""
    with ThreadPoolExecutor(1) if digest and len(data) >= _LARGE else nullcontext() as beside:
        # Of a large file the hash is taken in another thread, while its pixels are hashed.
        coming = beside.submit(_sha256, data) if beside else None
        try:
            hdus = find_hdus(decompress(data, name, limits) if kind == "compressed" else data, limits)
        except InputError as error:
            reason = str(error)
        if digest:
            sha256 = coming.result() if coming else _sha256(data)
    status = FrameStatus.UNREADABLE if reason else FrameStatus.OK
    return OpenMember(MemberReading(member=member, sha256=sha256, size=len(data), status=status, reason=reason), hdus)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
