"""The HDUs of a product as they stand in the file: what is the same in many products is made by astropy once."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from astropy.io import fits

from avcd.encoding import CARD, SUM_COMMENT, encoded, padded_text, signed

# Where one of these is in a header, astropy does more to it than to add the cards of the structure.
_ASTROPYS = frozenset(
    ("SIMPLE", "XTENSION", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "NAXIS3", "EXTEND", "PCOUNT", "GCOUNT", "GROUPS", "BSCALE",
     "BZERO", "BLANK", "BUNIT", "EXTNAME", "EXTVER", "EXTLEVEL", "CHECKSUM", "DATASUM", "TFIELDS", "")
)  # fmt: skip
_COMMENTARY = ("COMMENT ", "HISTORY ")
_STRUCTURE = 6  # cards of a primary image that extensions follow


def primary_head(header: fits.Header, unit: str) -> bytes | None:
    """The header of an image that is a product's primary HDU, float32, as astropy writes it; axes and sums still to be set.

    Returns
    -------
    bytes or None
        None for a header that says something of a file's structure itself.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fits.verify.VerifyWarning)  # comments that are too long are cut
        text = header.tostring(endcard=False, padding=False)
    if any(text[start : start + 8].rstrip() in _ASTROPYS for start in range(0, len(text), CARD)):
        return None
    end = len(text)
    while end and text[end - CARD : end].startswith(_COMMENTARY):
        end -= CARD  # new cards come before the last words on what was done
    cards = (_structure(), text[:end], _naming(unit), text[end:])
    return padded_text("".join(cards))


@lru_cache(maxsize=1)
def _structure() -> str:
    head, _ = next(encoded([fits.PrimaryHDU(np.zeros((1, 1), np.float32)), fits.ImageHDU()]))
    return head.tostring()[: _STRUCTURE * CARD]


@lru_cache(maxsize=64)
def _naming(unit: str) -> str:
    found = fits.Header()
    found["EXTNAME"] = "SCI"
    if unit:
        found["BUNIT"] = unit
    found["CHECKSUM"] = ("0" * 16, SUM_COMMENT)
    found["DATASUM"] = ("0", SUM_COMMENT)
    return found.tostring(endcard=False, padding=False)


@lru_cache(maxsize=64)
def parameters_hdu(values: tuple[tuple[str, str], ...]) -> bytes:
    """The table PARAMETERS, of names and values in JSON."""
    columns = {"name": [name for name, _ in values], "value": [value for _, value in values]}
    return _table(columns, "PARAMETERS")


def provenance_hdu(columns: Mapping[str, Sequence[str]]) -> bytes:
    """The table PROVENANCE, of columns of ASCII text."""
    return _table(columns, "PROVENANCE")


def _table(columns: Mapping[str, Sequence[str]], title: str) -> bytes:
    """A table of text as an HDU; its header is that of any table of such columns."""
    arrays = {name: np.array(cells, dtype="S") for name, cells in columns.items()}
    kinds = tuple((name, one.dtype.str) for name, one in arrays.items())
    rows = np.empty(len(next(iter(arrays.values()))), dtype=list(kinds))
    for name, one in arrays.items():
        rows[name] = one
    raw = rows.tobytes()
    data = raw + bytes(-len(raw) % (36 * CARD))
    return signed(_table_head(kinds, len(rows), title), data) + data


@lru_cache(maxsize=256)
def _table_head(kinds: tuple[tuple[str, str], ...], rows: int, title: str) -> bytes:
    width = np.dtype(list(kinds)).itemsize
    found = fits.Header(
        [
            ("XTENSION", "BINTABLE", "binary table extension"),
            ("BITPIX", 8, "array data type"),
            ("NAXIS", 2, "number of array dimensions"),
            ("NAXIS1", width, "length of dimension 1"),
            ("NAXIS2", rows, "length of dimension 2"),
            ("PCOUNT", 0, "number of group parameters"),
            ("GCOUNT", 1, "number of groups"),
            ("TFIELDS", len(kinds), "number of table fields"),
        ]
    )
    for number, (name, kind) in enumerate(kinds, 1):
        found[f"TTYPE{number}"] = name
        found[f"TFORM{number}"] = f"{np.dtype(kind).itemsize}A"
    found["EXTNAME"] = (title, "extension name")
    found["CHECKSUM"] = ("0" * 16, SUM_COMMENT)
    found["DATASUM"] = ("0", SUM_COMMENT)
    return padded_text(found.tostring(endcard=False, padding=False))


def parameter_texts(parameters: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Parameters by name, their values in JSON."""
    return tuple((name, _json(parameters[name])) for name in sorted(parameters))


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
