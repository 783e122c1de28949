"""What of a product's file is made once, and not by astropy every time, is astropy's to the last byte."""

from __future__ import annotations

import io
import json
import warnings

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from avcd.products import ImageContent, as_written, write_image_fits

DATA = np.random.default_rng(3).normal(1, 1, (37, 41)).astype(np.float32)
ROWS = [{"role": "raw", "id": "a" * 64, "name": "n\xe4me", "sha256": "b" * 64},
        {"role": "bias", "id": "c", "name": "", "sha256": ""}]  # fmt: skip
PARAMETERS = {"x": 1, "b": [1, 2], "c": None}


def header(case: str) -> fits.Header:
    found = fits.Header()
    if case == "empty":
        return found
    found["HISTORY"] = "only words"
    if case == "words":
        return found
    found["EXPTIME"] = (1.5, "[s] exposure")
    found["OBJECT"] = ("M 42", "a comment that is too long for its card, and is cut " * 2)
    found["HIERARCH LONG KEYWORD"] = 3
    found["LONGTEXT"] = ("x" * 150, "goes on")
    found["COMMENT"] = "in the middle"
    found["GAIN"] = 1.6
    found["HISTORY"] = "bias subtracted"
    if case == "named":
        found["EXTNAME"], found["BUNIT"] = "MINE", "adu"
    if case == "blank":
        found.append(("", ""))
    if case == "structure":
        found = fits.Header([*fits.PrimaryHDU(np.zeros((3, 3), np.int16)).header.cards, *found.cards])
        found["BZERO"] = 5
    return found


def by_astropy(content: ImageContent) -> bytes:
    """The same product by astropy alone."""
    primary = fits.PrimaryHDU(content.data, as_written(content.header))
    primary.header["EXTNAME"] = "SCI"
    uncertainty = fits.ImageHDU(content.uncertainty, name="UNCERT")
    uncertainty.header["UTYPE"] = ("STDDEV", "one standard deviation")
    for one in (primary, uncertainty):
        if content.unit:
            one.header["BUNIT"] = content.unit
    texts = {name: [row[name].encode("unicode_escape") for row in ROWS] for name in ROWS[0]}
    values = {"name": [name.encode() for name in sorted(PARAMETERS)],
              "value": [json.dumps(PARAMETERS[name], separators=(",", ":")).encode() for name in sorted(PARAMETERS)]}  # fmt: skip
    tables = [fits.BinTableHDU(Table({name: np.array(cells, "S") for name, cells in columns.items()}), name=title)
              for title, columns in (("PROVENANCE", texts), ("PARAMETERS", values))]  # fmt: skip
    whole = fits.HDUList([primary, uncertainty, *tables])
    whole.update_extend()
    for hdu in whole:
        hdu.add_datasum(when="HDU checksum")
        hdu.add_checksum(when="HDU checksum")
    stream = io.BytesIO()
    whole.writeto(stream)
    return stream.getvalue()


@pytest.mark.parametrize("unit", ["electron", ""])
@pytest.mark.parametrize("case", ["empty", "words", "usual", "named", "blank", "structure"])
def test_a_product_is_what_astropy_would_have_written(case, unit):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fits.verify.VerifyWarning)
        content = ImageContent(DATA, unit, None, np.abs(DATA), header(case), ROWS, PARAMETERS)
        for _ in range(2):  # what is kept from the first time serves the second
            stream = io.BytesIO()
            write_image_fits(content, stream)
            assert stream.getvalue() == by_astropy(content)
