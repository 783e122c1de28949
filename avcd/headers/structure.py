"""Whether a file is a whole FITS file, found from its headers alone, before anything else believes them."""

from __future__ import annotations

import warnings

from astropy.io import fits

from avcd.errors import FrameError

BLOCK = 2880
_CARD = 80
_MOST_AXES = 999


def check_structure(data: bytes) -> list[tuple[int, int]]:
    """Whether every HDU's header ends and its data are all there.

    Returns
    -------
    list of (int, int)
        Where each header begins and ends [bytes].

    Raises
    ------
    FrameError
        It says exactly what is missing.
    """
    if not data:
        raise FrameError("empty file")
    if not data.startswith(b"SIMPLE  ="):
        raise FrameError("not a FITS file: no SIMPLE card at its beginning")
    headers = []
    position = 0
    while position < len(data):
        end = _header_end(data, position)
        if end is None:
            break
        headers.append((position, end))
        size = data_size(_header(data[position:end]))
        padded = -(-size // BLOCK) * BLOCK
        # The last block's padding may be missing: some programs leave it out, and nothing is lost with it.
        if end + size > len(data):
            raise FrameError(f"truncated: {len(data)} of {end + padded} bytes")
        position = end + padded
    return headers


def _header_end(data: bytes, start: int) -> int | None:
    """Where the header that begins at ``start`` ends; None when padding or special records lie there, and no HDU."""
    if start and not data.startswith(b"XTENSION", start):
        return None
    position = start
    while position < len(data):
        block = data[position : position + BLOCK]
        position += BLOCK
        if any(block[card : card + _CARD].rstrip() == b"END" for card in range(0, len(block), _CARD)):
            return position
    raise FrameError(f"truncated: the header at byte {start} has no END in {len(data)} bytes")


def _header(block: bytes) -> fits.Header:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return fits.Header.fromstring(block.decode("ascii", "replace"))


def data_size(header: fits.Header) -> int:
    """Bytes of data that a header announces (FITS standard 4.0, section 4.4.1), without padding.

    Raises
    ------
    FrameError
        The cards that say so are missing or make no sense.
    """
    count = _integer(header, "NAXIS")
    bits = _integer(header, "BITPIX")
    if bits not in (8, 16, 32, 64, -32, -64):
        raise FrameError(f"not readable as FITS: BITPIX={bits}")
    if not 0 <= count <= _MOST_AXES:
        raise FrameError(f"not readable as FITS: NAXIS={count}")
    axes = [_integer(header, f"NAXIS{number}") for number in range(1, count + 1)]
    extra, groups = _integer(header, "PCOUNT", 0), _integer(header, "GCOUNT", 1)
    if min([*axes, extra, groups, 0]) < 0:
        raise FrameError("not readable as FITS: a negative size in its header")
    if axes and axes[0] == 0 and header.get("GROUPS") is True:
        axes = axes[1:]  # random groups
    elements = 1 if axes else 0
    for axis in axes:
        elements *= axis
    return abs(bits) // 8 * groups * (extra + elements)


def _integer(header: fits.Header, keyword: str, default: int | None = None) -> int:
    try:
        value = header[keyword]
    except KeyError:
        if default is not None:
            return default
        raise FrameError(f"not readable as FITS: no {keyword} card") from None
    except fits.VerifyError:
        value = None
    if isinstance(value, bool) or not isinstance(value, int):
        raise FrameError(f"not readable as FITS: {keyword} is no whole number")
    return value
