"""XISF, PixInsight's format, taken as the FITS file it could have been (XISF 1.0 specification, section 11).

The package xisf reads it; it stands under the GPL and is installed only by who asks for it: ``pip install 'avcd[xisf]'``.
"""

from __future__ import annotations

import importlib
import io
import math
import tempfile
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from astropy.io import fits

from avcd.errors import ArchiveError

_SIGNATURE = b"XISF0100"
_KEYWORDS = ".//{http://www.pixinsight.com/xisf}FITSKeyword"
_IMAGES = ".//{http://www.pixinsight.com/xisf}Image"
# What describes the file's bytes is written anew.
_STRUCTURE = ("SIMPLE", "XTENSION", "BITPIX", "NAXIS", "EXTEND", "PCOUNT", "GCOUNT", "BSCALE", "BZERO", "END", "")


def xisf_to_fits(data: bytes, check_size: Callable[[int], None]) -> bytes:
    """An XISF file's images with their FITS keywords as a FITS file; channels are the third axis.

    Parameters
    ----------
    data
        The whole file.
    check_size
        Raises for images that are too large to unpack [bytes].

    Raises
    ------
    ArchiveError
        It is no XISF file, or broken, or the package xisf is not installed.
    """
    if not data.startswith(_SIGNATURE):
        raise ArchiveError("not an XISF file: no signature at its beginning")
    try:
        reader: Any = importlib.import_module("xisf").XISF
    except ModuleNotFoundError:
        raise ArchiveError("to read XISF files: pip install 'avcd[xisf]'") from None
    # The package opens files by name only.
    with tempfile.NamedTemporaryFile(suffix=".xisf") as copy:
        copy.write(data)
        copy.flush()
        try:
            return _converted(reader(copy.name), check_size)
        except ArchiveError:
            raise
        except Exception as error:
            # Broken files bring forth errors of every class in the reader; each of them is the file's, and is its reason.
            raise ArchiveError(f"not readable as XISF: {error or type(error).__name__}") from error


def _converted(opened: Any, check_size: Callable[[int], None]) -> bytes:
    hdus: list[Any] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # long and odd keywords are many programs' daily bread
        for number, (found, element) in enumerate(
            zip(opened.get_images_metadata(), opened.get_metadata_xml().findall(_IMAGES), strict=True)
        ):
            check_size(math.prod(found["geometry"]) * np.dtype(found["dtype"]).itemsize)
            image = opened.read_image(number, "channels_first")
            pixels = image[0] if image.ndim == 3 and image.shape[0] == 1 else image
            hdu = (fits.ImageHDU if hdus else fits.PrimaryHDU)(pixels)
            hdu.header.extend(_cards(element), update=False)
            hdus.append(hdu)
        stream = io.BytesIO()
        fits.HDUList(hdus).writeto(stream, output_verify="silentfix")
    return stream.getvalue()


def _cards(image: Any) -> Iterator[fits.Card]:
    """The FITS keywords of an image: strings stand in quotes, as they do in FITS."""
    for one in image.findall(_KEYWORDS):
        name, value, comment = (str(one.attrib.get(key, "")) for key in ("name", "value", "comment"))
        if name.strip().upper().rstrip("0123456789") in _STRUCTURE:
            continue
        if name in ("COMMENT", "HISTORY"):
            yield fits.Card(name, comment or value)
            continue
        card = fits.Card.fromstring(f"{name.upper():8}= {value}")
        yield fits.Card(card.keyword, card.value, comment)
