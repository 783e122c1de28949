"""Event lists: tables of photons, each with its place and energy, as X-ray observatories deliver them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from astropy.io import fits

from avcd.config import Limits
from avcd.errors import FrameError, InputError
from avcd.headers.archives import member_bytes
from avcd.headers.pixels import merged_header, open_hdus

NAME = "EVENTS"
_COLUMN = re.compile(
    r"^(T(TYPE|FORM|UNIT|DISP|NULL|SCAL|ZERO|DIM|L?MIN|L?MAX|DMIN|DMAX|CTYP|CRPX|CRVL|CDLT|CUNI|CNAM)\d+|REFXC\w+|REFYC\w+)$"
)
_EV = {"ev": 1.0, "kev": 1000.0}
# Channels of pulse height that are energies: their width in eV.
_CHANNEL_EV = {"XMM": 1.0, "CHANDRA": 14.6}


@dataclass(frozen=True)
class SkyAxis:
    """How places along a column are places on the sky: at ``pixel`` (1-based) the coordinate is ``value`` deg; ``step`` deg a pixel."""

    kind: str
    pixel: float
    value: float
    step: float


@dataclass(frozen=True)
class Events:
    """Photons: ``x``, ``y`` 1-based places in the pixels of the ``axes``, ``energy_ev``, all of shape (n,), and the table's header."""

    x: np.ndarray
    y: np.ndarray
    energy_ev: np.ndarray
    axes: tuple[SkyAxis, SkyAxis]
    header: fits.Header


def read_events(path: Path, member: str, hdu: int) -> Events:
    """The events of a table.

    Parameters
    ----------
    path, member, hdu
        As catalogued; ``member`` is "" for a file that is no archive.

    Raises
    ------
    FrameError
        It cannot be read, or does not say where on the sky and of what energy events are; the message says what is missing.
    """
    name = PurePosixPath(member or path.name).name
    try:
        with open_hdus(member_bytes(path, member, Limits()), scaled=True) as hdus:
            header = merged_header(hdus[hdu].header, hdus[0].header)
            columns = {one.name.upper(): number + 1 for number, one in enumerate(hdus[hdu].columns)}
            missing = [one for one in ("X", "Y") if one not in columns]
            if missing:
                raise FrameError(f"{name}: its table of events has no column {', '.join(missing)}")
            axes = tuple(_axis(header, columns[one], one, name) for one in ("X", "Y"))
            data = hdus[hdu].data
            x, y = (np.array(data.field(columns[one] - 1), dtype=np.float64) for one in ("X", "Y"))
            energy = _energies(data, columns, header, name)
    except InputError as error:
        raise error if isinstance(error, FrameError) else FrameError(f"{name} cannot be read: {error}") from error
    except OSError as error:
        raise FrameError(f"{name} cannot be read: {error.strerror or error}") from error
    known = np.isfinite(x) & np.isfinite(y) & np.isfinite(energy)
    for keyword in [one for one in header if _COLUMN.match(one)]:
        del header[keyword]
    return Events(x[known], y[known], energy[known], (axes[0], axes[1]), header)


def _axis(header: fits.Header, column: int, letter: str, name: str) -> SkyAxis:
    """What the column's cards say, or those that XMM's software writes for both of its axes."""
    for cards in (
        [f"{stem}{column}" for stem in ("TCTYP", "TCRPX", "TCRVL", "TCDLT")],
        [f"REF{letter}{stem}" for stem in ("CTYP", "CRPX", "CRVL", "CDLT")],
    ):
        if all(one in header for one in cards):
            kind, *numbers = (header[one] for one in cards)
            return SkyAxis(str(kind).strip(), *map(float, numbers))
    raise FrameError(
        f"{name}: column {letter} does not say where on the sky it is (TCTYP{column}, TCRPX{column}, TCRVL{column}, TCDLT{column})"
    )


def _energies(data: np.ndarray, columns: dict[str, int], header: fits.Header, name: str) -> np.ndarray:
    """In eV, from the energies; else from channels of pulse height whose width is known."""
    if "ENERGY" in columns:
        unit = str(header.get(f"TUNIT{columns['ENERGY']}", "eV")).strip().lower()
        if unit not in _EV:
            raise FrameError(f"{name}: its energies are in {unit}; eV and keV are known")
        return np.array(data.field(columns["ENERGY"] - 1), dtype=np.float64) * _EV[unit]  # type: ignore[attr-defined]
    telescope = str(header.get("TELESCOP", "")).strip().upper()
    width = _EV.get(str(header.get(f"TUNIT{columns.get('PI', 0)}", "")).strip().lower(), _CHANNEL_EV.get(telescope))
    if "PI" not in columns or width is None:
        raise FrameError(f"{name}: its events have no energies: neither a column ENERGY nor PI of Chandra or XMM")
    return np.array(data.field(columns["PI"] - 1), dtype=np.float64) * width  # type: ignore[attr-defined]
