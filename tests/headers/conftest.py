"""Fixtures for reading headers: profiles, headers kept as text, and frames written on the spot."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from avcd.config import Limits
from avcd.frame import Card, Frame
from avcd.headers.gathering import Hdu
from avcd.headers.profiles import Profiles, load_profiles
from avcd.headers.reading import read_file
from avcd.headers.translation import translate

DATA = Path(__file__).resolve().parent.parent / "data"


@pytest.fixture(scope="session")
def data_directory() -> Path:
    return DATA


@pytest.fixture(scope="session")
def profiles() -> Profiles:
    return load_profiles()


@pytest.fixture
def read(profiles: Profiles) -> Callable[..., Any]:
    """Read a file under its own name, or under ``name``."""

    def _read(path: Path, name: str | None = None, limits: Limits | None = None) -> Any:
        return read_file(path, name or path.name, profiles, limits or Limits())

    return _read


@pytest.fixture
def translated(profiles: Profiles) -> Callable[..., Frame]:
    """Translate a header given as text, as a mapping or as cards, of an image of the given shape."""

    def _translate(header: Any, path: str = "x.fit", shape: tuple[int, ...] = (10, 12), **options: Any) -> Frame:
        if isinstance(header, Path):
            header = dumped_header(header)
        elif isinstance(header, dict):
            header = fits.Header([(key, *(one if isinstance(one, tuple) else (one,))) for key, one in header.items()])
        cards = tuple(Card(one.keyword, one.value, one.comment) for one in header.cards)
        hdu = Hdu(id="0" * 64, pixel_sha256="1" * 64, cards=cards, shape=shape, is_table=False)
        return translate(hdu, path, "", profiles, **options)

    return _translate


def dumped_header(path: Path) -> fits.Header:
    """A header from a text file of one card a line; long comments that were wrapped are cut off."""
    lines = path.read_text(encoding="utf-8").splitlines()
    cards = [line[:80].ljust(80) for line in lines if re.match(r"^([A-Z0-9_-]{1,8} *=|HIERARCH|HISTORY|COMMENT)", line)]
    return fits.Header.fromstring("".join(cards))


@pytest.fixture
def frame_file(tmp_path: Path) -> Callable[..., Path]:
    """Write a small frame: uint16 pixels that count up, and the header's cards."""

    def _write(name: str = "x.fits", cards: dict[str, Any] | None = None, data: np.ndarray | None = None) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.arange(120, dtype=np.uint16).reshape(10, 12) if data is None else data
        header = fits.Header()
        for keyword, value in (cards or {"IMAGETYP": "LIGHT"}).items():
            header[keyword] = value
        fits.PrimaryHDU(pixels, header).writeto(path)
        return path

    return _write
