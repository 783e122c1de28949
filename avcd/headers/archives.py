"""What lies in a file: the file itself, or the members of an archive, unpacked in memory and never onto the drop.

Limits are checked on the bytes that come out, not on the sizes an archive declares: a bomb lies about those.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from avcd.config import Limits
from avcd.errors import ArchiveError

_BLOCK = 1 << 20
_ALWAYS_BELIEVED = 16 << 20
FITS_SUFFIXES = (".fit", ".fits", ".fts")
FRAME_KINDS = ("fits", "fz", "compressed")  # of `kind_of`, that hold frames and are no archives
_COMPRESSED = (".gz", ".bz2")
_TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
_PICTURES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".gif", ".webp", ".bmp", ".thm", "thumbs.db")
_PASSED_OVER = ("shadow", "hidden", "picture", "other", "transfer")
_TRANSFERS = (".part", ".tmp", ".filepart", ".crdownload", ".partial", "~")


@dataclass(frozen=True)
class Content:
    """The bytes of a file or member, or the reason why there are none."""

    member: str
    data: bytes | None
    reason: str = ""
    size: int = 0


def kind_of(name: str) -> str:
    """What a file name promises: "fits", "fz", "compressed" (XISF too), "zip", "tar", "transfer" (unfinished), "shadow"
    (what macOS writes beside files), "hidden", "picture" or "other"."""
    lower = name.rpartition("/")[2].lower()
    if lower.startswith("."):
        return "shadow" if lower.startswith("._") or lower == ".ds_store" else "hidden"
    if lower.endswith(_TRANSFERS):
        return "transfer"
    if lower.endswith(".zip"):
        return "zip"
    if lower.endswith(_TARS):
        return "tar"
    if lower.endswith(".xisf"):
        return "compressed"
    if lower.endswith(_PICTURES):
        return "picture"
    if lower.endswith(".fz"):
        return "fz"
    for suffix in _COMPRESSED:
        if lower.endswith(suffix):
            return "compressed" if lower.removesuffix(suffix).endswith(FITS_SUFFIXES) else "other"
    return "fits" if lower.endswith(FITS_SUFFIXES) else "other"


def decompress(data: bytes, name: str, limits: Limits) -> bytes:
    """The content of a .gz, .bz2 or .xisf, as a FITS file.

    Raises
    ------
    ArchiveError
        Broken, cut short, or larger than the limits allow.
    """
    if name.lower().endswith(".xisf"):
        from avcd.headers.xisf import xisf_to_fits

        return xisf_to_fits(data, partial(check_growth, packed=len(data), name=name, limits=limits))
    opener = gzip.open if name.lower().endswith(".gz") else bz2.open
    try:
        with opener(io.BytesIO(data), "rb") as stream:
            return _bounded(stream, len(data), name, limits)
    except (OSError, EOFError, zlib.error, struct.error) as error:
        raise ArchiveError(f"broken compression: {error}") from None


def check_growth(size: int, packed: int, name: str, limits: Limits) -> None:
    """Whether ``packed`` bytes may grow to ``size``.

    Raises
    ------
    ArchiveError
        They may not; the message names the limit.
    """
    if size > limits.max_member_bytes:
        raise ArchiveError(f"{name} unpacks to more than {limits.max_member_bytes} bytes ([limits] max_member_bytes)")
    # The ratio says nothing of small files: a blank header block alone shrinks a hundredfold.
    if size > max(packed * limits.max_ratio, _ALWAYS_BELIEVED):
        raise ArchiveError(
            f"{name} has a compression ratio above {limits.max_ratio:g} ([limits] max_ratio): not unpacked"
        )


def _bounded(stream: IO[bytes] | gzip.GzipFile | bz2.BZ2File, packed: int, name: str, limits: Limits) -> bytes:
    """Read a stream to its end, or refuse it as soon as it grows beyond the limits."""
    parts = []
    size = 0
    while block := stream.read(_BLOCK):
        size += len(block)
        check_growth(size, packed, name, limits)
        parts.append(block)
    return b"".join(parts)


def archive_contents(path: Path, limits: Limits, only: str | None = None) -> Iterator[Content]:
    """Every member of a .zip, .tar or compressed .tar, or the one named ``only``; refused ones with their reason.

    Raises
    ------
    ArchiveError
        The archive itself cannot be read, has too many members, or unpacks to more than is believable.
    """
    return (_tar_contents if kind_of(path.name) == "tar" else _zip_contents)(path, limits, only)


def _tar_contents(path: Path, limits: Limits, only: str | None) -> Iterator[Content]:
    packed = path.stat().st_size
    try:
        with tarfile.open(path) as archive:
            members = _Members(packed, limits)
            for one in archive:
                if not one.isdir():
                    name, refused = members.named(one.name)
                    if refused or only in (None, name):
                        yield refused or members.added(_tar_member(archive, one, name, packed, limits))
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, OSError, ValueError) as error:
        raise ArchiveError(f"not a readable tar archive: {error}") from None


def _tar_member(archive: tarfile.TarFile, one: tarfile.TarInfo, name: str, packed: int, limits: Limits) -> Content:
    refused = _refused(name)
    if refused:
        return Content(name, None, refused)
    if not one.isreg():
        return Content(name, None, "a link or a device, no file")
    if kind_of(name) in _PASSED_OVER:
        return Content(name, b"", size=one.size)
    stream = archive.extractfile(one)
    assert stream is not None
    try:
        data = _bounded(stream, packed, name, limits)
    except ArchiveError as error:
        return Content(name, None, str(error))
    return Content(name, data, size=len(data))


class _Members:
    """Counts what an archive unpacks to, and tells members of one name apart."""

    def __init__(self, packed: int, limits: Limits) -> None:
        self._packed = packed
        self._limits = limits
        self._seen: dict[str, int] = {}
        self._count = 0
        self._total = 0

    def named(self, raw: str) -> tuple[str, Content | None]:
        """A member's name, and its refusal when there was one of this name.

        Raises
        ------
        ArchiveError
            There are too many members.
        """
        self._count += 1
        if self._count > self._limits.max_members:
            raise ArchiveError(f"an archive of more than {self._limits.max_members} members ([limits] max_members)")
        # Bytes that are no Unicode would not pass into the catalogue.
        name = raw.encode("utf-8", "replace").decode()
        self._seen[name] = number = self._seen.get(name, 0) + 1
        return name, Content(f"{name}#{number}", None, "a second member of this name") if number > 1 else None

    def added(self, content: Content) -> Content:
        """Count a member's bytes.

        Raises
        ------
        ArchiveError
            Members that share their bytes: each is believable, all together are not.
        """
        self._total += len(content.data or b"")
        if self._total > max(self._packed * self._limits.max_ratio, _ALWAYS_BELIEVED):
            raise ArchiveError(f"its members together have a compression ratio above {self._limits.max_ratio:g}")
        return content


def _refused(name: str) -> str:
    """Why a member of this name is not unpacked; empty when it may be."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if ".." in parts or name.startswith(("/", "\\")) or (parts and parts[0].endswith(":")):
        return "not safe: its name leads outside the archive (../ or an absolute path)"
    return "an archive inside an archive is not opened" if kind_of(name) in ("zip", "tar") else ""


def _zip_contents(path: Path, limits: Limits, only: str | None) -> Iterator[Content]:
    packed = path.stat().st_size
    try:
        with zipfile.ZipFile(path) as archive:
            members = _Members(packed, limits)
            files = [one for one in archive.infolist() if not one.is_dir()]
            if len(files) > limits.max_members:
                raise ArchiveError(
                    f"zip archive of {len(files)} members, above {limits.max_members} ([limits] max_members)"
                )
            for one in files:
                name, refused = members.named(one.filename)
                if refused or only in (None, name):
                    yield refused or members.added(_zip_member(archive, one, name, limits))
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError) as error:
        raise ArchiveError(f"not a readable zip archive: {error}") from None


def _zip_member(archive: zipfile.ZipFile, one: zipfile.ZipInfo, name: str, limits: Limits) -> Content:
    refused = _refused(name) or ("encrypted" if one.flag_bits & 1 else "")
    if refused:
        return Content(name, None, refused)
    if kind_of(name) in _PASSED_OVER:
        return Content(name, b"", size=one.file_size)
    try:
        with archive.open(one) as stream:
            data = _bounded(stream, one.compress_size, name, limits)
            return Content(name, data, size=len(data))
    except ArchiveError as error:
        return Content(name, None, str(error))
    except (
        zipfile.BadZipFile,
        zlib.error,
        lzma.LZMAError,
        EOFError,
        OSError,
        NotImplementedError,
        RuntimeError,
        ValueError,
        struct.error,
    ) as error:
        return Content(name, None, f"broken zip member: {error}")


def member_bytes(path: Path, member: str, limits: Limits) -> bytes:
    """The bytes of a file, or of one member of an archive, with .gz and .bz2 unpacked.

    Raises
    ------
    ArchiveError
        It is not there, or not readable.
    """
    if not member:
        data = path.read_bytes()
        return decompress(data, path.name, limits) if kind_of(path.name) == "compressed" else data
    for content in archive_contents(path, limits, only=member):
        if content.member == member:
            if content.data is None:
                raise ArchiveError(f"{member}: {content.reason}")
            return decompress(content.data, member, limits) if kind_of(member) == "compressed" else content.data
    raise ArchiveError(f"{path.name} has no member {member}")
