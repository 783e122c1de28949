"""Reading a file: what is in it, frame by frame; every file gets an answer, with the reason where it is not usable."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning

from avcd.config import Limits
from avcd.errors import FrameError, InputError
from avcd.frame import Card, FileReading, Frame, FrameStatus, MemberReading
from avcd.headers.archives import decompress, kind_of, member_bytes, zip_contents
from avcd.headers.identity import frame_identity, header_digest, pixel_digest
from avcd.headers.profiles import Profiles
from avcd.headers.translation import Hdu, translate

_BLOCK = 2880
_IGNORED = {
    "hidden": "hidden file",
    "transfer": "the name of an unfinished transfer",
    "other": "not a FITS file name",
}


def read_file(
    path: Path,
    relative_path: str,
    profiles: Profiles,
    limits: Limits,
    *,
    profile: str | None = None,
    site: str | None = None,
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
    """

    def frames(data: bytes, member: str) -> tuple[tuple[int, Frame], ...]:
        return tuple(
            (number, translate(hdu, relative_path, member, profiles, profile=profile, site=site))
            for number, hdu in _hdus(data)
        )

    kind = kind_of(relative_path)
    try:
        size = path.stat().st_size
        if kind in _IGNORED:
            reading = MemberReading(
                member="", sha256=_file_digest(path), size=size, status=FrameStatus.IGNORED, reason=_IGNORED[kind]
            )
            return FileReading(relative_path=relative_path, members=(reading,))
        if kind == "zip":
            return FileReading(relative_path=relative_path, members=tuple(_read_zip(path, size, limits, frames)))
        data = path.read_bytes()
    except OSError as error:
        reading = MemberReading(
            member="",
            sha256=None,
            size=0,
            status=FrameStatus.UNREADABLE,
            reason=f"cannot be read: {error.strerror or error}",
        )
        return FileReading(relative_path=relative_path, members=(reading,))
    digest = hashlib.sha256(data).hexdigest()
    reading = _read_member("", path.name, data, digest, size, kind, limits, frames)
    return FileReading(relative_path=relative_path, members=(reading,))


def _file_digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _read_zip(path: Path, size: int, limits: Limits, frames: Any) -> Iterator[MemberReading]:
    digest = _file_digest(path)
    members: list[MemberReading] = []
    status, reason = FrameStatus.OK, ""
    try:
        for content in zip_contents(path, limits):
            kind = kind_of(content.member)
            if content.data is None:
                members.append(
                    MemberReading(
                        member=content.member, sha256=None, size=0, status=FrameStatus.UNREADABLE, reason=content.reason
                    )
                )
            elif kind in _IGNORED:
                members.append(
                    MemberReading(
                        member=content.member, sha256=None, size=0, status=FrameStatus.IGNORED, reason=_IGNORED[kind]
                    )
                )
            else:
                inner = hashlib.sha256(content.data).hexdigest()
                members.append(
                    _read_member(
                        content.member, content.member, content.data, inner, len(content.data), kind, limits, frames
                    )
                )
    except InputError as error:
        status, reason = FrameStatus.UNREADABLE, str(error)
    if status is FrameStatus.OK and members and all(one.status is FrameStatus.UNREADABLE for one in members):
        status, reason = FrameStatus.UNREADABLE, f"nothing in it is readable: {members[0].reason}"
    yield MemberReading(member="", sha256=digest, size=size, status=status, reason=reason)
    yield from members


def _read_member(
    member: str, name: str, data: bytes, digest: str, size: int, kind: str, limits: Limits, frames: Any
) -> MemberReading:
    try:
        content = decompress(data, name, limits) if kind == "compressed" else data
        found = frames(content, member)
    except InputError as error:
        return MemberReading(member=member, sha256=digest, size=size, status=FrameStatus.UNREADABLE, reason=str(error))
    return MemberReading(member=member, sha256=digest, size=size, status=FrameStatus.OK, frames=found)


def _hdus(data: bytes) -> Iterator[tuple[int, Hdu]]:
    """The HDUs that hold something, with their numbers; a file of tables alone gives its first table.

    Raises
    ------
    FrameError
        Not FITS, or truncated, or nothing in it.
    """
    _check_structure(data)
    try:
        with warnings.catch_warnings():
            # Non-standard cards are many observatories' daily bread; what cannot be read raises.
            warnings.simplefilter("ignore", AstropyUserWarning)
            warnings.simplefilter("ignore", fits.verify.VerifyWarning)
            with fits.open(io.BytesIO(data), do_not_scale_image_data=True, memmap=False) as hdus:
                found = [(number, _hdu(one)) for number, one in enumerate(hdus) if _has_image(one)]
                if not found:
                    tables = [
                        (number, one)
                        for number, one in enumerate(hdus)
                        if isinstance(one, fits.hdu.table._TableLikeMixin)
                    ]
                    found = [(number, _table(one, data)) for number, one in tables[:1]]
    except (OSError, TypeError, ValueError, KeyError, IndexError, fits.VerifyError) as error:
        raise FrameError(f"not readable as FITS: {error}") from None
    if not found:
        raise FrameError("holds neither an image nor a table")
    yield from found


def _check_structure(data: bytes) -> None:
    """Whether every HDU's header ends and its data are all there; says exactly what is missing."""
    if not data:
        raise FrameError("empty file")
    if not data.startswith(b"SIMPLE  ="):
        raise FrameError("not a FITS file: no SIMPLE card at its beginning")
    position = 0
    while position < len(data):
        start = position
        while True:
            block = data[position : position + _BLOCK]
            if len(block) < _BLOCK:
                if start and not data[start:].strip(b"\0 "):
                    return  # padding after the last HDU
                raise FrameError(f"truncated: the header at byte {start} has no END in {len(data)} bytes")
            position += _BLOCK
            if any(block[card : card + 80].rstrip() == b"END" for card in range(0, _BLOCK, 80)):
                break
            if start and not block.startswith((b"XTENSION", b"SIMPLE")) and position - start == _BLOCK:
                return  # special records or padding, which are no HDU
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            header = fits.Header.fromstring(data[start:position].decode("ascii", "replace"))
        size = _data_size(header)
        if position + size > len(data):
            raise FrameError(f"truncated: {len(data)} of {position + -(-size // _BLOCK) * _BLOCK} bytes")
        position += -(-size // _BLOCK) * _BLOCK


def _data_size(header: fits.Header) -> int:
    """Bytes of data that a header announces (FITS standard 4.0, section 4.4.1)."""
    try:
        axes = [int(header[f"NAXIS{number}"]) for number in range(1, int(header.get("NAXIS", 0)) + 1)]
        elements = int(np.prod(axes, dtype=object)) if axes else 0
        return (
            abs(int(header["BITPIX"])) // 8 * int(header.get("GCOUNT", 1)) * (int(header.get("PCOUNT", 0)) + elements)
        )
    except (KeyError, TypeError, ValueError) as error:
        raise FrameError(f"not readable as FITS: {error}") from None


def _has_image(hdu: Any) -> bool:
    image = isinstance(hdu, (fits.PrimaryHDU, fits.ImageHDU, fits.CompImageHDU))
    return image and int(hdu.header.get("NAXIS", 0)) > 0 and hdu.data is not None


def _cards(header: fits.Header) -> tuple[Card, ...]:
    found = []
    for card in header.cards:
        value = card.value
        if isinstance(value, fits.card.Undefined):
            value = None
        elif not isinstance(value, (str, bool, int, float)) and value is not None:
            value = str(value)
        found.append(Card(card.keyword, value, card.comment or ""))
    return tuple(found)


def _hdu(hdu: Any) -> Hdu:
    cards = _cards(hdu.header)
    data = hdu.data
    # Scaling is in the cards still: the reader was told not to apply it.
    pixels = pixel_digest(data, float(hdu.header.get("BSCALE", 1.0)), float(hdu.header.get("BZERO", 0.0)))
    return Hdu(
        id=frame_identity(pixels, header_digest(cards)),
        pixel_sha256=pixels,
        cards=cards,
        shape=tuple(int(one) for one in data.shape),
        is_table=False,
    )


def _table(hdu: Any, data: bytes) -> Hdu:
    cards = _cards(hdu.header)
    pixels = hashlib.sha256(data).hexdigest()
    return Hdu(
        id=frame_identity(pixels, header_digest(cards)), pixel_sha256=pixels, cards=cards, shape=(), is_table=True
    )


def read_pixels(path: Path, member: str, hdu: int, limits: Limits | None = None) -> tuple[np.ndarray, fits.Header]:
    """The image of one HDU, in physical values.

    Parameters
    ----------
    path, member, hdu
        As catalogued; ``member`` is "" for a file that is no archive.

    Returns
    -------
    data, header
        float32, shape (ny, nx); an axis of length one in front is dropped.

    Raises
    ------
    FrameError
        It cannot be read, or is no 2-D image.
    """
    try:
        content = member_bytes(path, member, limits or Limits())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyUserWarning)
            warnings.simplefilter("ignore", fits.verify.VerifyWarning)
            with fits.open(io.BytesIO(content), memmap=False) as hdus:
                data, header = hdus[hdu].data, hdus[hdu].header.copy()
    except InputError as error:
        raise FrameError(str(error)) from error
    except (OSError, TypeError, ValueError, IndexError, fits.VerifyError) as error:
        raise FrameError(f"{PurePosixPath(member or path.name).name} cannot be read: {error}") from error
    image = np.asarray(data, dtype=np.float32) if data is not None else np.empty(0, np.float32)
    while image.ndim > 2 and image.shape[0] == 1:
        image = image[0]
    if image.ndim != 2:
        raise FrameError(f"{PurePosixPath(member or path.name).name}: HDU {hdu} is no 2-D image (shape {image.shape})")
    return image, header
