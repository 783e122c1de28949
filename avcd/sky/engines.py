"""Blind solvers of others: astrometry.net's engine, its solve-field, and its web service, all behind one interface.

Each runs in a process or on a machine of its own, each with a timeout; the engine and solve-field are GPL, which is why
avcd talks to them and does not contain them. What they find is not believed but checked (`solve_blind`).
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS, FITSFixedWarning

from avcd.errors import ProcessingError, TransientError
from avcd.sky.tiles import answer_of

INDEX_DIRECTORIES = (
    Path("/usr/share/astrometry"),
    Path("/usr/local/astrometry/data"),
)  # where Debian's packages put them
_MOST_STARS = 200
_TRANSPORT_S = 30.0  # for what lies about the time that a web service is given for solving
_WIDEST_DEG, _NARROWEST_DEG = 10.0, 0.1


@dataclass(frozen=True)
class Widths:
    """The widths of fields that are looked for, degrees across the frame's first axis."""

    low_deg: float = _NARROWEST_DEG
    high_deg: float = _WIDEST_DEG

    @classmethod
    def around(cls, scale_arcsec: float, shape: tuple[int, ...], tolerance: float = 0.12) -> Widths:
        """Those that a scale, known that well, leaves possible."""
        width = scale_arcsec * shape[1] / 3600
        return cls(width * (1 - tolerance), width * (1 + tolerance))


class BlindEngine(Protocol):
    """What finds a field without knowing where the telescope pointed."""

    name: str

    def locate(self, xy: np.ndarray, shape: tuple[int, ...], widths: Widths) -> WCS | None:
        """World coordinates (TAN, or TAN-SIP) of a star list, (n, 2), 0-based, the brightest first; None: not found.

        Raises
        ------
        ProcessingError
            The engine is not installed, or fails; the message says what to do.
        TransientError
            It did not answer in time.
        """
        ...

    def check(self) -> Any:
        """See that it is here, without asking it.

        Raises
        ------
        ProcessingError
            It is not; the message says what to install.
        """
        ...


class IndexEngine:
    """astrometry.net's engine by the package `astrometry`, with index files of this machine."""

    name = "index"

    def __init__(self, directories: Sequence[Path] = INDEX_DIRECTORIES, timeout_s: float = 60.0) -> None:
        self._directories = tuple(directories)
        self._timeout_s = timeout_s

    def locate(self, xy: np.ndarray, shape: tuple[int, ...], widths: Widths) -> WCS | None:
        """See `BlindEngine`."""
        self.check()
        files = self._files()
        order = {
            "files": files,
            "stars": xy[:_MOST_STARS].tolist(),
            "arcsec_per_pixel": [one * 3600 / shape[1] for one in (widths.low_deg, widths.high_deg)],
        }
        said = _run([sys.executable, "-m", "avcd.sky.index_process"], self._timeout_s, self.name, json.dumps(order))
        found = json.loads(said)
        return None if found is None else _world(fits.Header([tuple(one) for one in found]))

    def check(self) -> None:
        """See `BlindEngine`."""
        if importlib.util.find_spec("astrometry") is None:
            raise ProcessingError("the package astrometry is not installed; install avcd[blind]")
        if not self._files():
            there = ", ".join(str(one) for one in self._directories)
            raise ProcessingError(
                f"no index files in {there}; install Debian's astrometry-data-tycho2, or name a directory with --index or "
                "[astrometry] index_directories"
            )

    def _files(self) -> list[str]:
        return sorted(str(path) for one in self._directories for path in one.glob("index-*.fits"))


class SolveField:
    """astrometry.net's solve-field of the PATH."""

    name = "solve-field"

    def __init__(self, timeout_s: float = 60.0, program: str = "solve-field") -> None:
        self._timeout_s = timeout_s
        self._program = program

    def locate(self, xy: np.ndarray, shape: tuple[int, ...], widths: Widths) -> WCS | None:
        """See `BlindEngine`."""
        program = self.check()
        with tempfile.TemporaryDirectory(prefix="avcd-") as directory:
            stars = Path(directory) / "stars.xyls"
            table = Table(np.asarray(xy[:_MOST_STARS]) + 1.0, names=("X", "Y"))
            fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU(table)]).writeto(stars)
            command = [
                program, str(stars), "--width", str(shape[1]), "--height", str(shape[0]), "--x-column", "X",
                "--y-column", "Y", "--scale-units", "degwidth", "--scale-low", f"{widths.low_deg:.5f}",
                "--scale-high", f"{widths.high_deg:.5f}", "--tweak-order", "1", "--no-plots", "--overwrite",
                "--dir", directory, "--cpulimit", str(max(1, int(self._timeout_s))),
            ]  # fmt: skip
            _run(command, self._timeout_s, self.name)
            solved = stars.with_suffix(".wcs")
            return _world(fits.getheader(solved)) if solved.is_file() else None

    def check(self) -> str:
        """See `BlindEngine`; where the program lies."""
        program = shutil.which(self._program)
        if program is None:
            raise ProcessingError(
                "solve-field is not on the PATH; install Debian's astrometry.net, with its index files"
            )
        return program


class NovaClient(Protocol):
    """What talks to the web service: astroquery's ``AstrometryNet``."""

    def solve_from_source_list(self, x: Any, y: Any, image_width: int, image_height: int, **settings: Any) -> Any:
        """The header of the solution; empty where there is none."""
        ...


class Nova:
    """nova.astrometry.net, or a server that speaks as it does; it keeps what it is sent, unlisted.

    Parameters
    ----------
    client
        Makes a client that knows its key: a new one for each field, for a session of the service ends after a while.
    """

    name = "nova"

    def __init__(self, client: Callable[[], NovaClient], timeout_s: float = 300.0) -> None:
        self._client = client
        self._timeout_s = timeout_s

    def locate(self, xy: np.ndarray, shape: tuple[int, ...], widths: Widths) -> WCS | None:
        """See `BlindEngine`."""
        client = self.check()
        stars = np.asarray(xy[:_MOST_STARS]) + 1.0

        def ask() -> Mapping[str, Any]:
            found: Mapping[str, Any] = client.solve_from_source_list(
                stars[:, 0], stars[:, 1], shape[1], shape[0], solve_timeout=self._timeout_s, verbose=False,
                scale_units="degwidth", scale_type="ul", scale_lower=widths.low_deg, scale_upper=widths.high_deg,
                tweak_order=1, publicly_visible="n",
            )  # fmt: skip
            return found

        try:
            header = answer_of("nova.astrometry.net", ask, self._timeout_s + _TRANSPORT_S)
        except TransientError as error:
            said = error.__cause__
            if type(said).__name__ == "TimeoutError":  # the client has a class of its own of that name
                raise TransientError(f"nova.astrometry.net gave no answer within {self._timeout_s:g} s") from None
            if "log in" in str(said):
                raise ProcessingError(
                    "nova.astrometry.net does not accept the key; copy it anew from the service's page My Profile"
                ) from None
            if isinstance(said, KeyError):  # it takes every answer for an acceptance
                raise TransientError("nova.astrometry.net did not accept the star list") from None
            raise
        return _world(fits.Header(header)) if header else None

    def check(self) -> NovaClient:
        """See `BlindEngine`; a client that knows its key."""
        return self._client()


def _run(command: list[str], timeout_s: float, name: str, said: str = "") -> str:
    try:
        done = subprocess.run(command, input=said, capture_output=True, text=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired:
        raise TransientError(f"{name} gave no answer within {timeout_s:g} s") from None
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise ProcessingError(f"{name} failed: {last[0] if last else f'exit code {done.returncode}'}")
    return done.stdout


def _world(header: fits.Header) -> WCS:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)
        return WCS(header, naxis=2)
