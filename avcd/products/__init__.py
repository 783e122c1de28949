"""Products on disk: avcd's FITS format, and publishing that is whole or not at all.

A FITS product has the image as its primary HDU (float32, unit in BUNIT), then MASK (uint16 bit plane, its bits named
in the header), UNCERT (float32, one standard deviation), further planes (`PLANES`) of some products, PROVENANCE (one row
an input) and PARAMETERS, then any further tables. Every HDU carries CHECKSUM and DATASUM. Equal content gives equal bytes: nothing of time, host, path or
attempt goes in.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import warnings
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from astropy.io import fits

from avcd import faults
from avcd.encoding import encoded, write_hdus, write_image
from avcd.errors import ProductError, StorageError
from avcd.frame import MaskBit
from avcd.products.heads import parameter_texts, parameters_hdu, primary_head, provenance_hdu
from avcd.products.planes import read_plane
from avcd.products.verifying import verify_fits
from avcd.reduction.planes import MaskedImage
from avcd.work import PublishedFile

if TYPE_CHECKING:
    from astropy.table import Table
    from astropy.wcs import WCS

__all__ = [
    "PLANES",
    "ImageContent",
    "as_written",
    "celestial_wcs",
    "image_headers",
    "publish",
    "read_image_product",
    "record_hdus",
    "sweep_temporaries",
    "verify_fits",
    "verify_picture",
    "write_image_fits",
    "write_table_fits",
]

_TEMPORARY = ".part"
# Images that only some products have: how many inputs each pixel kept or is made of; the smooth sky; weights.
PLANES: Mapping[str, type[np.generic]] = {
    "COUNT": np.uint16,
    "BACKGROUND": np.float32,
    "WEIGHT": np.float32,
    "COVERAGE": np.uint16,
}
_PLANE_MEANING = {
    "COUNT": ("count", "how many frames a pixel kept"),
    "BACKGROUND": ("background", "the smooth sky"),
    "WEIGHT": ("weight", "sum of the weights of what is in a pixel"),
    "COVERAGE": ("coverage", "how many frames are in a pixel"),
}
_TIFF_STARTS = (b"II*\0", b"MM\0*")
_RECORDS = ("PROVENANCE", "PARAMETERS")
_PROVENANCE = ("role", "id", "name", "sha256")  # the columns of the table
# File systems allow 255 bytes; a temporary name is the product's with the token and more.
_LONGEST_NAME = 150
# What each mask bit means, in its card's comment.
_BIT_MEANING = {
    MaskBit.HOT: "hot: too bright in the master dark",
    MaskBit.DEAD: "dead: too little response",
    MaskBit.USER: "named by the observer",
    MaskBit.SATURATED: "saturated",
    MaskBit.COSMIC_RAY: "cosmic ray, replaced",
    MaskBit.NO_DATA: "no input contributed",
    MaskBit.NON_FINITE: "not a number in the input",
    MaskBit.FEW_INPUTS: "few inputs survived rejection",
    MaskBit.RESPONSE: "odd response by the flats",
    MaskBit.REPAIRED: "bad, replaced from its neighbours",
}


@dataclass(frozen=True)
class ImageContent:
    """An image product in memory.

    ``data`` float32 (ny, nx), ``mask`` uint16 of `MaskBit`, ``uncertainty`` one standard deviation in the same unit;
    ``header`` the cards that describe it; ``provenance`` rows of role, id, name, sha256; ``planes``: further
    images of the same shape, by their HDU's name (`PLANES`).
    """

    data: np.ndarray
    unit: str
    mask: np.ndarray | None = None
    uncertainty: np.ndarray | None = None
    header: fits.Header = field(default_factory=fits.Header)
    provenance: Sequence[Mapping[str, str]] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    tables: Mapping[str, Table] = field(default_factory=dict)
    planes: Mapping[str, np.ndarray] = field(default_factory=dict)

    def to_image(self) -> MaskedImage:
        """The image itself; its world coordinates are those of the header, where that has celestial ones."""
        wcs = celestial_wcs(self.header)
        return MaskedImage(self.data, self.unit, self.mask, self.uncertainty, self.header, wcs)


def celestial_wcs(header: fits.Header) -> WCS | None:
    """The celestial world coordinates of a header; None when it has none."""
    if "CTYPE1" not in header:
        return None
    from astropy.wcs import WCS, FITSFixedWarning  # longer in loading than most products in reading

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)
        found = WCS(header, naxis=2)
    return found if found.has_celestial else None


def write_image_fits(content: ImageContent, stream: BinaryIO) -> None:
    """Write an image product; the same content gives the same bytes.

    Raises
    ------
    ValueError
        The planes differ in shape.
    """
    shape = content.data.shape
    planes: dict[str, np.ndarray] = {"SCI": content.data}
    if content.mask is not None:
        planes["MASK"] = content.mask
    if content.uncertainty is not None:
        planes["UNCERT"] = content.uncertainty
    planes |= content.planes
    for name, plane in planes.items():
        if plane.shape != shape:
            raise ValueError(f"{name} has shape {plane.shape}, the image {shape}")
    if len(shape) == 2:
        for name, plane in planes.items():
            head = _primary_head(content) if name == "SCI" else _extension_head(name, content.unit)
            write_image(head, np.asarray(plane, dtype=_stored_type(name)), stream)
    else:
        hdus = _image_hdus(planes, content.unit, as_written(content.header))
        for header, data in _where_tables_follow(hdus):
            stream.write(header.tostring().encode("ascii") + data)
    stream.write(record_hdus(content.provenance, content.parameters))
    if content.tables:
        # Tables are written behind an empty primary, which is not part of them.
        tables = [fits.PrimaryHDU(), *(fits.BinTableHDU(table, name=name) for name, table in content.tables.items())]
        stream.write(b"".join(head.tostring().encode("ascii") + raw for head, raw in list(encoded(tables))[1:]))


def _primary_head(content: ImageContent) -> bytes:
    head = primary_head(content.header, content.unit)
    if head is not None:
        return head
    hdus = _image_hdus({"SCI": np.zeros((1, 1), np.float32)}, content.unit, as_written(content.header))
    return _first_head(hdus, 0)


@lru_cache(maxsize=64)
def _extension_head(name: str, unit: str) -> bytes:
    planes = {one: np.zeros((1, 1), _stored_type(one)) for one in ("SCI", name)}
    return _first_head(_image_hdus(planes, unit, fits.Header()), 1)


def _first_head(hdus: list[Any], number: int) -> bytes:
    """The header of one of some HDUs as astropy writes it where tables follow."""
    return _where_tables_follow(hdus)[number][0].tostring().encode("ascii")


def _where_tables_follow(hdus: list[Any]) -> list[tuple[fits.Header, bytes]]:
    return list(encoded([*hdus, fits.ImageHDU()]))[:-1]  # whatever it is that follows


def _image_hdus(planes: Mapping[str, np.ndarray], unit: str, header: fits.Header) -> list[Any]:
    """The HDUs of an image's planes, the first the primary."""
    hdus: list[Any] = []
    for name, plane in planes.items():
        pixels = np.ascontiguousarray(plane, dtype=_stored_type(name))
        hdu = fits.ImageHDU(pixels, name=name) if hdus else fits.PrimaryHDU(pixels, header)
        hdus.append(hdu)
        if name == "SCI":
            hdu.header["EXTNAME"] = name
        elif name == "MASK":
            for number, bit in enumerate(MaskBit):
                hdu.header[f"MSKBIT{number}"] = (bit.name, f"{int(bit)}: {_BIT_MEANING[bit]}")
        elif name == "UNCERT":
            hdu.header["UTYPE"] = ("STDDEV", "one standard deviation")
        else:
            hdu.header["CONTENT"] = _PLANE_MEANING[name]
        if unit and name in ("SCI", "UNCERT"):
            hdu.header["BUNIT"] = unit
    return hdus


def _stored_type(name: str) -> type[np.generic]:
    if name in PLANES:
        return PLANES[name]
    return np.uint16 if name == "MASK" else np.float32


def image_headers(
    shape: tuple[int, int], names: Iterable[str], unit: str, header: fits.Header
) -> dict[str, fits.Header]:
    """The headers that `write_image_fits` would write for planes of this shape, their sums still to be filled in."""
    planes = {name: np.zeros((1, 1), _stored_type(name)) for name in names}
    hdus = _image_hdus(planes, unit, header)
    hdus.append(fits.ImageHDU())  # for the tables that always follow
    found = {name: one for name, (one, _) in zip(planes, encoded(hdus), strict=False)}
    for one in found.values():
        one["NAXIS1"], one["NAXIS2"] = shape[1], shape[0]
    return found


def write_table_fits(
    table: Table,
    name: str,
    header: fits.Header,
    provenance: Sequence[Mapping[str, str]],
    parameters: Mapping[str, Any],
    stream: BinaryIO,
    further: Mapping[str, Table] | None = None,
) -> None:
    """Write a product that is a table: an empty primary with ``header``, the table, ``further`` ones by name, PROVENANCE
    and PARAMETERS.
    """
    hdus = [
        fits.PrimaryHDU(header=as_written(header)),
        fits.BinTableHDU(table, name=name),
        *(fits.BinTableHDU(one, name=title) for title, one in (further or {}).items()),
    ]
    write_hdus(hdus, stream)
    stream.write(record_hdus(provenance, parameters))


def as_written(header: fits.Header) -> fits.Header:
    """A header after one writing and reading: over-long comments are cut now, and not between sum and file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fits.verify.VerifyWarning)
        return fits.Header.fromstring(header.tostring())


def record_hdus(provenance: Sequence[Mapping[str, str]], parameters: Mapping[str, Any]) -> bytes:
    """The tables PROVENANCE and PARAMETERS as they stand in the file; one without rows is left out."""
    columns = {name: [_ascii(str(row[name])) for row in provenance] for name in _PROVENANCE}
    found = provenance_hdu(columns) if provenance else b""
    return found + (parameters_hdu(parameter_texts(parameters)) if parameters else b"")


def _ascii(text: str) -> str:
    """Tables hold ASCII; other letters are written as escapes, so that two names never become one."""
    return text.encode("unicode_escape").decode("ascii")


def _unescaped(text: str) -> str:
    return text.encode("ascii").decode("unicode_escape")


def read_image_product(path: Path, *, pixels: bool = True) -> ImageContent:
    """Read an image product.

    Parameters
    ----------
    pixels
        Without them only what it says of itself is read: its planes are empty.

    Raises
    ------
    ProductError
        The file is missing, or not in avcd's format.
    """
    try:
        # Opened here, not by astropy, which leaves a file open that it cannot make sense of.
        with warnings.catch_warnings(), path.open("rb") as stream:
            warnings.simplefilter("error", fits.verify.VerifyWarning)
            with fits.open(stream, memmap=False) as hdus:
                return _content(hdus, stream, pixels)
    except (OSError, LookupError, TypeError, ValueError, fits.VerifyError, fits.verify.VerifyWarning) as error:
        raise ProductError(f"{path.name} cannot be read as a product: {error}") from error


def _content(hdus: fits.HDUList, stream: BinaryIO, pixels: bool) -> ImageContent:
    header = hdus[0].header.copy()
    unit = str(header.get("BUNIT", ""))
    by_name = {hdu.name: hdu for hdu in hdus}
    kinds: Mapping[str, type[np.generic]] = {"MASK": np.uint16, "UNCERT": np.float32, **PLANES} if pixels else {}
    data = read_plane(hdus[0], stream, np.float32) if pixels else np.empty((0, 0), np.float32)
    planes = {name: read_plane(by_name[name], stream, kind) for name, kind in kinds.items() if name in by_name}
    mask, uncertainty = planes.pop("MASK", None), planes.pop("UNCERT", None)
    provenance = [
        {name: _unescaped(str(row[name])) for name in _PROVENANCE} for row in _rows(by_name.get("PROVENANCE"))
    ]
    parameters = {str(row["name"]): json.loads(row["value"]) for row in _rows(by_name.get("PARAMETERS"))}
    more = [one for one in by_name.values() if isinstance(one, fits.BinTableHDU) and one.name not in _RECORDS]
    tables = {one.name: _table_of(one) for one in more}
    return ImageContent(data, unit, mask, uncertainty, header, provenance, parameters, tables, planes)


def _table_of(hdu: Any) -> Table:
    from astropy.table import Table  # longer in loading than most products in reading

    return Table(hdu.data)


def _rows(hdu: Any) -> Any:
    return () if hdu is None else hdu.data


def verify_picture(path: Path) -> None:
    """Check that a picture can be decoded.

    Raises
    ------
    ProductError
        It cannot.
    """
    import tifffile  # both take longer to load than most that is done without pictures
    from PIL import Image

    try:
        with path.open("rb") as stream:
            is_tiff = stream.read(4) in _TIFF_STARTS
        if is_tiff:  # Pillow knows no colour of 16 bits
            tifffile.imread(path)
            return
        with Image.open(path) as picture:
            picture.verify()
        with Image.open(path) as picture:  # after verify() a picture must be opened again
            picture.load()
    except (OSError, SyntaxError, ValueError, tifffile.TiffFileError) as error:
        raise ProductError(f"{path.name} is no readable picture: {error}") from error


def publish(
    archive: Path,
    relative: str,
    write: Callable[[BinaryIO], None],
    verify: Callable[[Path], str | None],
    token: str,
    *,
    digest: bool = True,
) -> PublishedFile:
    """Put one file into the archive: temporary name, write, fsync and verify, rename, fsync the directory.

    A crash leaves at most a temporary file, which `sweep_temporaries` removes; an error leaves nothing.

    Parameters
    ----------
    relative
        POSIX path below the archive.
    write, verify
        Write the content to a stream; check the written file, raising ProductError. A check that has read all of the
        file may answer with its SHA-256.
    token
        Of the lease: keeps two attempts' temporary files apart.
    digest
        Whether the file's SHA-256 is asked for where the check does not say it.

    Returns
    -------
    PublishedFile
        Path, SHA-256 ("": not known) and size of what is in place.

    Raises
    ------
    StorageError
        The disk is full, or the file system answers with an error.
    ProductError
        What was written does not verify.
    ValueError
        The path leads out of the archive.
    """
    target = archive / relative
    if archive.resolve() not in target.resolve().parents:
        raise ValueError(f"{relative!r} is outside the archive")
    temporary = target.with_name(f".{target.name[:_LONGEST_NAME]}.{token}{_TEMPORARY}")
    try:
        _make_directory(target.parent)
        with temporary.open("xb") as stream:
            write(stream)
            stream.flush()
            faults.reach("written")
            with ThreadPoolExecutor(1) as beside:  # the disk is waited for while the processor checks
                synced = beside.submit(os.fsync, stream.fileno())
                sha256 = verify(temporary) or (_digest(temporary) if digest else "")
                synced.result()
        faults.reach("fsynced")
        size = temporary.stat().st_size
        temporary.replace(target)
        _fsync_directory(target.parent)
        faults.reach("renamed")
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise StorageError(f"cannot write {relative}: {error.strerror or error}") from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return PublishedFile(relative, sha256, size)


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _make_directory(path: Path) -> None:
    """Make a directory and those above it; a name is only there for good once the directory it stands in is synced."""
    missing = []
    while not path.is_dir():
        missing.append(path)
        path = path.parent
    for one in reversed(missing):
        one.mkdir(exist_ok=True)
        _fsync_directory(one.parent)


def _fsync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sweep_temporaries(archive: Path, live: Callable[[], Container[str]] = frozenset) -> int:
    """Remove what interrupted attempts left; returns how many files.

    Parameters
    ----------
    live
        The tokens of the leases that hold: what other daemons are writing into this archive at this moment stays.
    """
    found = list(archive.rglob(f".*{_TEMPORARY}"))
    # Asked after the look: what was there then had its lease before.
    held = live() if found else ()
    left = [path for path in found if path.name.removesuffix(_TEMPORARY).rpartition(".")[2] not in held]
    for path in left:
        path.unlink(missing_ok=True)
    return len(left)
