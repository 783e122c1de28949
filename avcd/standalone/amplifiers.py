"""Raw files of several amplifiers made into one image: where their parts are, from an observer's list or the header."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from avcd.cards import inherit, trimmed_header
from avcd.errors import ConfigError, ProcessingError
from avcd.reduction.amplifiers import Amplifier, grid_of, join_amplifiers, place_of
from avcd.reduction.planes import MaskedImage
from avcd.sections import Section

_OF_RAW = re.compile(r"(?:BIAS|TRIM|DATA|AMP|CCD|DET)SEC\d*|[BDCT]SEC\d+")
_KEYS = ("image", "overscan")


def read_amplifiers(path: Path) -> tuple[Amplifier, ...]:
    """An observer's list: a TOML file of ``[[amplifier]]``, each with ``image`` and, if it has one, ``overscan``.

    Raises
    ------
    ConfigError
        It cannot be read, or says something that has no meaning.
    """
    try:
        with path.open("rb") as stream:
            found = tomllib.load(stream)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None
    listed = found.get("amplifier")
    if list(found) != ["amplifier"] or not isinstance(listed, list) or not listed:
        raise ConfigError(
            f'{path}: it is to be a list of [[amplifier]], each with image = "[x1:x2,y1:y2]" and overscan'
        )
    return tuple(_amplifier(one, f"{path}: amplifier {number}") for number, one in enumerate(listed, 1))


def _amplifier(one: Any, where: str) -> Amplifier:
    texts = one if isinstance(one, dict) else {}
    if (
        not set(texts) <= set(_KEYS)
        or "image" not in texts
        or not all(isinstance(text, str) for text in texts.values())
    ):
        raise ConfigError(
            f'{where}: it is to have image = "[x1:x2,y1:y2]" and, if it has one, overscan, and nothing else'
        )
    try:
        return Amplifier(
            Section.parse(texts["image"]), Section.parse(texts["overscan"]) if "overscan" in texts else None
        )
    except ProcessingError as error:
        raise ConfigError(f"{where}: {error}") from None


def joined(
    ccd: MaskedImage, amplifiers: Sequence[Amplifier], *, method: str, degree: int | None
) -> tuple[MaskedImage, fits.Header, float, list[str]]:
    """One image of the amplifiers' parts, its header, the highest level that was subtracted, and what was done.

    Raises
    ------
    ProcessingError
        As `avcd.reduction.amplifiers.join_amplifiers`.
    """
    found = join_amplifiers(ccd, amplifiers, method=method, degree=degree)
    columns, rows = grid_of(amplifiers)
    levels, steps = [0.0], []
    how = f"{method} of each line" + ("" if degree is None else f", polynomial of degree {degree}")
    for one in amplifiers:
        if one.overscan is not None:
            y, x = int(place_of(one.image.y_first, rows)) - 1, int(place_of(one.image.x_first, columns)) - 1
            here = np.s_[y : y + one.image.shape[0], x : x + one.image.shape[1]]
            levels.append(float(np.nanmedian(ccd.data[one.image.slices(ccd.data.shape)] - found.data[here])))
            steps.append(f"overscan {one.overscan} subtracted from {one.image}: {how}, {levels[-1]:.2f} in the middle")
    steps.append(f"{len(amplifiers)} amplifiers put together to {found.data.shape[1]} x {found.data.shape[0]} pixels")
    return found, _header_of(ccd.header, columns, rows), max(levels), steps


def _header_of(
    header: Mapping[str, Any], columns: Sequence[tuple[int, int]], rows: Sequence[tuple[int, int]]
) -> fits.Header:
    own = inherit(fits.Header(header), keep_world=True)
    found = trimmed_header(own, columns[0][0], rows[0][0])  # for the window
    for keyword in [one for one in found if _OF_RAW.fullmatch(one)]:
        found.remove(keyword, ignore_missing=True, remove_all=True)
    for keyword, ranges in (("CRPIX1", columns), ("CRPIX2", rows)):
        if isinstance(own.get(keyword), (int, float)):
            found[keyword] = place_of(own[keyword], ranges)
    return found
