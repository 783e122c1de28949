"""The pixels of frames, read by astropy."""

from __future__ import annotations

import io
import re
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import numpy as np
from astropy.io import fits

from avcd.config import Limits
from avcd.errors import FrameError, InputError
from avcd.frame import Card
from avcd.headers.archives import kind_of, member_bytes
from avcd.headers.cards import COMMENTARY
from avcd.headers.identity import STORED, is_content, pixel_hash
from avcd.headers.structure import Part

ONE_AT_A_TIME = threading.RLock()  # which warnings are shown is the whole process's: files are read in threads
_CONTROL_BYTES = re.compile(rb"[\x00-\x1f\x7f]")


def read_pixels(path: Path, member: str, hdu: int, limits: Limits | None = None) -> tuple[np.ndarray, fits.Header]:
    """The image of one HDU, in physical values.

    Parameters
    ----------
    path, member, hdu
        As catalogued; ``member`` is "" for a file that is no archive.
    limits
        What is too large to unpack; by default avcd's own defaults.

    Returns
    -------
    data, header
        float32, shape (ny, nx), the image's own copy; axes of length one in front are dropped. The header holds what
        an empty primary HDU says too, and no card that cannot be parsed.

    Raises
    ------
    FrameError
        It cannot be read, or is no 2-D image.
    """
    name = PurePosixPath(member or path.name).name
    try:
        content = member_bytes(path, member, limits or Limits())
        with open_hdus(content, scaled=True) as hdus:
            found = hdus[hdu].data
            # A table has named columns; only an image's pixels can be taken as numbers.
            image = np.array(found if found is not None else [], dtype=np.float32)
            header = merged_header(hdus[hdu].header, hdus[0].header)
    except InputError as error:
        raise FrameError(f"{name} cannot be read: {error}") from error
    except OSError as error:
        raise FrameError(f"{name} cannot be read: {error.strerror or error}") from error
    while image.ndim > 2 and image.shape[0] == 1:
        image = image[0]
    if image.ndim != 2:
        raise FrameError(f"{name}: HDU {hdu} is no 2-D image (shape {image.shape})")
    return image, header


def read_header(path: Path, member: str, hdu: int) -> fits.Header:
    """The header of one HDU, as `read_pixels` gives it; of a file that is no archive without reading its pixels.

    Raises
    ------
    FrameError
        It cannot be read.
    """
    if member or kind_of(path.name) != "fits":
        return read_pixels(path, member, hdu)[1]
    try:
        with path.open("rb") as stream, _opened(stream, scaled=True) as hdus:
            return merged_header(hdus[hdu].header, hdus[0].header)
    except InputError as error:
        raise FrameError(f"{path.name} cannot be read: {error}") from error
    except OSError as error:
        raise FrameError(f"{path.name} cannot be read: {error.strerror or error}") from error


@contextmanager
def open_hdus(data: bytes, *, scaled: bool) -> Iterator[fits.HDUList]:
    """A FITS file in memory, opened by astropy.

    Parameters
    ----------
    data
        The whole file.
    scaled
        Whether BSCALE and BZERO are applied to pixels.

    Raises
    ------
    FrameError
        It is not readable.
    """
    with _opened(io.BytesIO(data), scaled=scaled) as hdus:
        yield hdus


@contextmanager
def _opened(stream: BinaryIO, *, scaled: bool) -> Iterator[fits.HDUList]:
    try:
        with ONE_AT_A_TIME, warnings.catch_warnings():
            # Cards beside the standard are many observatories' daily bread; what cannot be read raises.
            warnings.simplefilter("ignore")
            with fits.open(stream, do_not_scale_image_data=not scaled, memmap=False) as hdus:
                yield hdus
    except InputError:
        raise
    except Exception as error:
        # Broken files bring forth errors of every class in the reader; each of them is the file's, and is its reason.
        raise FrameError(f"not readable as FITS: {error or type(error).__name__}") from error


def merged_header(own: fits.Header, primary: fits.Header) -> fits.Header:
    """An extension's header with what an empty primary HDU says of all extensions; an image's own header otherwise.

    Parameters
    ----------
    own, primary
        Of the HDU, and of the file's first. Neither is changed.

    Returns
    -------
    Header
        New, without cards that no reader understands.
    """
    found = readable_header(own)
    if own is primary or int(primary.get("NAXIS", 0)) > 0:
        return found
    for card in readable_header(primary).cards:
        commentary = card.keyword in COMMENTARY
        if is_content(Card(card.keyword, card.value)) and (commentary or card.keyword not in found):
            found.append(fits.Card(card.keyword, card.value, card.comment), end=True)
    return found


def readable_header(header: fits.Header) -> fits.Header:
    """A copy of a header without the cards that cannot be parsed."""
    found = fits.Header()
    for card in header.cards:
        try:
            _ = card.value, card.comment
        except fits.VerifyError:
            continue
        found.append(card, end=True, bottom=True)
    return found


def packed_digest(data: bytes, parts: Sequence[Part], number: int, scale: float, zero: float) -> str:
    """SHA-256 of a tile-compressed image's stored pixels, as `pixel_hash` would give it for the image itself.

    Parameters
    ----------
    data, parts
        The whole file, and its HDUs.
    number
        Of the image among them.
    scale, zero
        BSCALE and BZERO.

    Raises
    ------
    FrameError
        It cannot be unpacked.
    """
    with open_hdus(_printable(data, parts), scaled=False) as hdus:
        # The scaling stands in the cards still: the reader was told not to apply it.
        found = hdus[number].data
        stored = np.ascontiguousarray(found, dtype=found.dtype.newbyteorder(">"))
    bits = {text: bits for bits, text in STORED.items()}[stored.dtype.str]
    return pixel_hash(stored.tobytes(), bits, stored.shape, scale, zero)


def _printable(data: bytes, parts: Sequence[Part]) -> bytes:
    """The file with blanks in place of its headers' control characters, which astropy refuses."""
    ranges = [(0 if one.number == 0 else parts[one.number - 1].end, one.start) for one in parts]
    if not any(_CONTROL_BYTES.search(data, start, end) for start, end in ranges):
        return data
    cleaned = bytearray(data)
    for start, end in ranges:
        cleaned[start:end] = _CONTROL_BYTES.sub(b" ", data[start:end])
    return bytes(cleaned)
