"""World coordinates written into the header of the very file, whose pixels stay as they are byte by byte."""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path

from astropy.io import fits

from avcd.cards import is_world, with_world
from avcd.errors import ProcessingError, StorageError
from avcd.sky.solutions import Solution
from avcd.standalone.inputs import FrameFile

_PLAIN = (".fits", ".fit", ".fts")
_SUMS = ("CHECKSUM", "ZHECKSUM")


def write_world(file: FrameFile, solution: Solution) -> None:
    """Replace the world coordinates in a file's header.

    The new file is written beside the old one and takes its place at once, or not at all. DATASUM goes on being right; a
    CHECKSUM, which would not, is left away.

    Raises
    ------
    ProcessingError
        The file is compressed, in an archive, or one of avcd's products.
    StorageError
        It cannot be written.
    """
    refuse_in_place(file)
    assert solution.wcs is not None
    path = file.path.resolve()
    with fits.open(path, memmap=False) as hdus:
        place = hdus[file.hdu].fileinfo()
        old = hdus[file.hdu].header
        header = _with_structure(
            old, with_world(old, solution.wcs, rms_arcsec=solution.rms_arcsec, matched=solution.matched)
        )
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        _rewrite(path, part, place["hdrLoc"], place["datLoc"], header.tostring().encode("ascii"))
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise StorageError(f"{path.name} cannot be written: {error.strerror or error}") from error


def refuse_in_place(file: FrameFile) -> None:
    """Refuse what has no header of its own to be written into.

    Raises
    ------
    ProcessingError
        With what to do instead.
    """
    if file.product is not None:
        raise ProcessingError("one of avcd's products stays as it was made; write a copy with -o")
    if file.member or not file.path.name.lower().endswith(_PLAIN):
        raise ProcessingError("it is compressed or in an archive; write a copy with -o")
    with fits.open(file.path) as hdus:
        if isinstance(hdus[file.hdu], fits.CompImageHDU):
            raise ProcessingError("its image is compressed; write a copy with -o")


def _with_structure(old: fits.Header, new: fits.Header) -> fits.Header:
    """The old header less its world coordinates, and the new ones after it; the order of all the rest kept."""
    found = old.copy()
    for keyword in {card.keyword for card in old.cards if is_world(card.keyword)} | set(_SUMS):
        found.remove(keyword, ignore_missing=True, remove_all=True)
    for card in new.cards:
        if is_world(card.keyword) or card.keyword in ("ASTRRMS", "ASTRNUM", "MJD-OBS"):
            found[card.keyword] = (card.value, card.comment)
    return found


def _rewrite(path: Path, part: Path, start: int, data: int, header: bytes) -> None:
    with path.open("rb") as source, part.open("wb") as target:
        target.write(source.read(start))
        target.write(header)
        source.seek(data)
        shutil.copyfileobj(source, target)
        target.flush()
        os.fsync(target.fileno())
    shutil.copymode(path, part)
