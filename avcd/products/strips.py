"""FITS products that are written strip by strip, as large as a disk; the file is that of `avcd.products.write_image_fits`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from astropy.io import fits

from avcd.encoding import folded, sign
from avcd.products import as_written, image_headers, record_hdus

_BLOCK = 2880


@dataclass(frozen=True)
class Encoded:
    """Rows of a plane as they stand in the file, and the sum of their 32-bit words."""

    raw: np.ndarray
    total: int


def encode_rows(rows: np.ndarray, dtype: Any, first: int) -> Encoded:
    """Rows of a plane of float32 or uint16, from ``first`` on, made ready: work that needs not be done by whoever writes."""
    if np.dtype(dtype) == np.uint16:
        stored = np.ascontiguousarray(rows, np.uint16) ^ np.uint16(0x8000)
        flat = stored.ravel()
        early = (first * rows.shape[1]) % 2  # a strip may begin in the middle of a word
        high, low = (int(flat[start::2].sum(dtype=np.uint64)) for start in (early, 1 - early))
        return Encoded(stored.byteswap(inplace=True), folded((high << 16) + low))
    values = np.ascontiguousarray(rows, np.float32)
    total = int(values.view(np.uint32).sum(dtype=np.uint64))
    return Encoded(values.byteswap(), folded(total))


@dataclass(frozen=True)
class PlanesContent:
    """An image product whose planes come in strips.

    ``strips`` yields (first row, {"SCI": rows, "MASK": rows, …}), each row once and in order, every plane in every strip, the rows perhaps
    encoded already; ``dtypes`` says what each plane is: float32 or uint16. The rest is that of `avcd.products.ImageContent`.
    """

    shape: tuple[int, int]
    dtypes: Mapping[str, Any]
    strips: Iterable[tuple[int, Mapping[str, np.ndarray | Encoded]]]
    unit: str
    header: fits.Header
    provenance: Sequence[Mapping[str, str]] = ()
    parameters: Mapping[str, Any] | None = None


@dataclass
class _Plane:
    """An image HDU on its way: its header, where its pixels begin in the stream, and their sum so far."""

    header: fits.Header
    dtype: np.dtype[Any]
    start: int
    total: int = 0


def write_planes(content: PlanesContent, stream: BinaryIO) -> None:
    """Write an image product; memory is that of one strip.

    Parameters
    ----------
    stream
        At its beginning, and one in which a place can be gone back to.

    Raises
    ------
    ValueError
        The strips are not the image's rows from the first to the last.
    """
    headers = image_headers(content.shape, content.dtypes, content.unit, as_written(content.header))
    planes: dict[str, _Plane] = {}
    place = 0
    for name, header in headers.items():
        dtype = np.dtype(content.dtypes[name])
        start = place + _padded(len(header.tostring().encode()))
        planes[name] = _Plane(header, dtype, start)
        place = start + _padded(content.shape[0] * content.shape[1] * dtype.itemsize)
    row = 0
    for first, rows in content.strips:
        if first != row:
            raise ValueError(f"rows from {first} on came where {row} was expected")
        for name, plane in planes.items():
            _write_rows(plane, rows[name], first, content.shape[1], stream)
        sci = rows["SCI"]
        row += len(sci.raw if isinstance(sci, Encoded) else sci)
    if row != content.shape[0]:
        raise ValueError(f"{row} rows came of {content.shape[0]}")
    for plane in planes.values():
        size = content.shape[0] * content.shape[1] * plane.dtype.itemsize
        stream.seek(plane.start + size)
        stream.write(b"\0" * (_padded(size) - size))
        signed = with_sums(plane.header, plane.total)
        stream.seek(plane.start - len(signed))
        stream.write(signed)
    stream.seek(place)
    stream.write(record_hdus(content.provenance, content.parameters or {}))


def _write_rows(plane: _Plane, rows: np.ndarray | Encoded, first: int, width: int, stream: BinaryIO) -> None:
    encoded = rows if isinstance(rows, Encoded) else encode_rows(rows, plane.dtype, first)
    stream.seek(plane.start + first * width * plane.dtype.itemsize)
    stream.write(encoded.raw.data)
    plane.total = folded(plane.total + encoded.total)


def _padded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK


def with_sums(header: fits.Header, data_sum: int) -> bytes:
    """A header with DATASUM and CHECKSUM, as it stands in the file (FITS 4.0, appendix J).

    Parameters
    ----------
    header
        It has the two cards already; not changed.
    data_sum
        Of the data, in ones' complement.
    """
    found = header.copy()
    sign(found, data_sum)
    return found.tostring().encode()
