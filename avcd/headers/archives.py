"""What lies in a file: the file itself, or the members of an archive, unpacked in memory and never onto the drop.

Limits are checked on the bytes that come out, not on the sizes an archive declares: a bomb lies about those.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from avcd.config import Limits
from avcd.errors import ArchiveError

_BLOCK = 1 << 20
_ALWAYS_BELIEVED = 16 << 20
FITS_SUFFIXES = (".fit", ".fits", ".fts")
_COMPRESSED = (".gz", ".bz2")
_TRANSFERS = (".part", ".tmp", ".filepart", ".crdownload", ".partial", "~")


@dataclass(frozen=True)
class Content:
    """The bytes of a file or member, or the reason why there are none."""

    member: str
    data: bytes | None
    reason: str = ""
    size: int = 0


def kind_of(name: str) -> str:
    """What a file name promises: "fits", "fz", "compressed", "zip", "transfer" (unfinished), "hidden" or "other"."""
    lower = name.rpartition("/")[2].lower()
    if lower.startswith("."):
        return "hidden"
    if lower.endswith(_TRANSFERS):
        return "transfer"
    if lower.endswith(".zip"):
        return "zip"
    if lower.endswith(".fz"):
        return "fz"
    for suffix in _COMPRESSED:
        if lower.endswith(suffix):
            return "compressed" if lower.removesuffix(suffix).endswith(FITS_SUFFIXES) else "other"
    return "fits" if lower.endswith(FITS_SUFFIXES) else "other"


def decompress(data: bytes, name: str, limits: Limits) -> bytes:
    """The content of a .gz or .bz2.

    Raises
    ------
    ArchiveError
        Broken, cut short, or larger than the limits allow.
    """
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


def zip_contents(path: Path, limits: Limits, only: str | None = None) -> Iterator[Content]:
    """Every member of a zip file, or the one named ``only``; refused ones with their reason.

    Raises
    ------
    ArchiveError
        The archive itself cannot be read, has too many members, or unpacks to more than is believable.
    """
    packed = path.stat().st_size
    try:
        with zipfile.ZipFile(path) as archive:
            members = [one for one in archive.infolist() if not one.is_dir()]
            if len(members) > limits.max_members:
                raise ArchiveError(
                    f"zip archive of {len(members)} members, above {limits.max_members} ([limits] max_members)"
                )
            yield from _zip_members(archive, members, packed, limits, only)
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError) as error:
        raise ArchiveError(f"not a readable zip archive: {error}") from None


def _zip_members(
    archive: zipfile.ZipFile, members: list[zipfile.ZipInfo], packed: int, limits: Limits, only: str | None
) -> Iterator[Content]:
    seen: dict[str, int] = {}
    total = 0
    for one in members:
        # Bytes that are no Unicode would not pass into the catalogue.
        name = one.filename.encode("utf-8", "replace").decode()
        seen[name] = seen.get(name, 0) + 1
        if seen[name] > 1:
            yield Content(f"{name}#{seen[name]}", None, "a second member of this name")
        elif only in (None, name):
            content = _zip_member(archive, one, name, limits)
            total += len(content.data or b"")
            if total > max(packed * limits.max_ratio, _ALWAYS_BELIEVED):
                # Members that share their bytes: each is believable, all together are not.
                raise ArchiveError(f"its members together have a compression ratio above {limits.max_ratio:g}")
            yield content


def _zip_member(archive: zipfile.ZipFile, one: zipfile.ZipInfo, name: str, limits: Limits) -> Content:
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if ".." in parts or name.startswith(("/", "\\")) or (parts and parts[0].endswith(":")):
        return Content(name, None, "not safe: its name leads outside the archive (../ or an absolute path)")
    if one.flag_bits & 1:
        return Content(name, None, "encrypted")
    if kind_of(name) == "zip":
        return Content(name, None, "an archive inside an archive is not opened")
    if kind_of(name) in ("hidden", "other", "transfer"):
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
    for content in zip_contents(path, limits, only=member):
        if content.member == member:
            if content.data is None:
                raise ArchiveError(f"{member}: {content.reason}")
            return decompress(content.data, member, limits) if kind_of(member) == "compressed" else content.data
    raise ArchiveError(f"{path.name} has no member {member}")
