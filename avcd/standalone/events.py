"""Event lists as images: one for each band of energies, all on one grid."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.wcs.utils import proj_plane_pixel_scales

from avcd.cards import inherit, sign, with_world
from avcd.compose.binning import BANDS, Band, EventGrid, count_events, grid_of_events, world_of_grid
from avcd.config import Limits
from avcd.errors import FrameError, UsageError
from avcd.frame import CalibLevel, ImageType
from avcd.headers.events import NAME, Events, read_events
from avcd.headers.profiles import Profiles
from avcd.headers.reading import read_file
from avcd.reduction.planes import MaskedImage
from avcd.standalone.inputs import FrameFile, open_files
from avcd.standalone.outputs import FITS_SUFFIXES, Task, Writer, paths_of
from avcd.standalone.planning import check_memory
from avcd.standalone.writing import Signed, writer_of

_UNIT = "ct"


@dataclass(frozen=True, eq=False, kw_only=True)
class BandFile(FrameFile):
    """One band of an event list, which is an image once it is counted."""

    events: Events
    band: Band
    grid: EventGrid

    @property
    def id(self) -> str:
        """Of the table, the band and the grid."""
        said = f"{self.frame.id} {self.band} {self.grid}"
        return hashlib.sha256(said.encode()).hexdigest()

    @property
    def name(self) -> str:
        """The path and the band."""
        return f"{self.path}[{self.band.name}]"

    @property
    def stem(self) -> str:
        """The file's and the band, as in events_0.5-1.5keV."""
        return f"{super().stem}_{self.band.name.replace(' ', '')}"

    @property
    def unit(self) -> str:
        """Photons."""
        return _UNIT

    def read(self) -> MaskedImage:
        """Counts, with the header of the table and the world coordinates of the pixels."""
        events, axes = self.events, self.events.axes
        counts = count_events(events.x, events.y, events.energy_ev, self.band, self.grid)
        wcs = world_of_grid(
            [one.kind for one in axes], [one.pixel for one in axes], [one.value for one in axes],
            [one.step for one in axes], self.grid,
        )  # fmt: skip
        header = with_world(inherit(events.header, keep_world=False), wcs, rms_arcsec=None, matched=None)
        header["FILTER"] = (self.band.name, "energies that are counted")
        header["E_MIN"], header["E_MAX"] = (
            (self.band.low_ev, "[eV] from this energy on"),
            (self.band.high_ev, "[eV] below this energy"),
        )
        if self.frame.exposure_s is not None:
            header["EXPTIME"] = (self.frame.exposure_s, "[s] exposure")
        return MaskedImage(counts, _UNIT, header=header, wcs=wcs)


def open_bands(path: Path, profiles: Profiles, bands: Sequence[Band], scale_arcsec: float | None) -> list[FrameFile]:
    """An event list's bands, each an image.

    Parameters
    ----------
    bands
        Empty: soft, medium and hard.
    scale_arcsec
        Side of a pixel; None: the least whole number of the events' own pixels with which no side has more than 2048.

    Raises
    ------
    FrameError
        There is no event list in it, or it cannot be read.
    """
    reading = read_file(path, f"{path.resolve().parent.name}/{path.name}", profiles, Limits())
    found = [
        (member, number, frame)
        for member in reading.members
        for number, frame in member.frames
        if frame.image_type is ImageType.TABLE and _name(frame.cards) == NAME
    ]
    if len(found) != 1:
        raise FrameError(
            reading.members[0].reason or f"there are {len(found)} event lists in it (tables named {NAME}), not one"
        )
    member, number, frame = found[0]
    events = read_events(path, member.member, number)
    step = abs(events.axes[1].step) * 3600
    grid = grid_of_events(events.x, events.y, None if scale_arcsec is None else scale_arcsec / step)
    image = replace(
        frame, image_type=ImageType.SCIENCE, naxis1=grid.shape[1], naxis2=grid.shape[0], bunit=_UNIT, has_wcs=True,
        pixel_scale_arcsec=step * grid.step,
    )  # fmt: skip
    return [
        BandFile(
            path,
            member.member,
            number,
            member.sha256 or "",
            replace(image, filter=band.name),
            events=events,
            band=band,
            grid=grid,
        )
        for band in bands or [Band(*one) for one in BANDS.values()]
    ]


def _name(cards: Sequence[object]) -> str:
    return next((str(one.value).strip().upper() for one in cards if one.keyword == "EXTNAME"), "")  # type: ignore[attr-defined]


def open_images_or_bands(path: Path, profiles: Profiles) -> list[FrameFile]:
    """The images of a file, or the soft, medium and hard bands of an event list.

    Raises
    ------
    FrameError, ProductError
        It holds neither, or cannot be read.
    """
    try:
        return open_files(path, profiles)
    except FrameError:
        try:
            return open_bands(path, profiles, (), None)
        except FrameError as error:
            if "event lists in it" not in str(error):
                raise
        raise


def place_bands(out: Path, files: Sequence[FrameFile]) -> list[Path]:
    """The path of each band's image.

    Raises
    ------
    UsageError
        One file is named for several, or two would have one name.
    """
    if out.name.lower().endswith(FITS_SUFFIXES) and not out.is_dir():
        if len(files) > 1:
            raise UsageError(f"-o {out}: several bands or files need a directory, as in: -o bands/")
        return [out for _ in files]
    paths = [out / f"{one.stem}.fits" for one in files]
    twice = [path for path in paths if paths.count(path) > 1]
    if twice:
        raise UsageError(f"two of the files would both become {twice[0]}; give them in two calls, with two -o")
    return paths


def plan_binning(file: FrameFile, out: Path, limit_bytes: int) -> Task:
    """The task that writes a band's image."""
    assert isinstance(file, BandFile)
    check_memory(file.frame, limit_bytes)
    parameters = {"low_ev": file.band.low_ev, "high_ev": file.band.high_ev, "step": file.grid.step}
    signed = Signed.of("bin", [("events", file)], parameters)
    return Task(signed.identity, signed.kind, out, paths_of([file]), partial(_make, file, signed))


def _make(file: BandFile, signed: Signed) -> tuple[Writer, Sequence[str]]:
    ccd = file.read()
    total = int(ccd.data.sum(dtype=np.float64))
    side = float(np.mean(proj_plane_pixel_scales(ccd.wcs))) * 3600
    steps = [f"{total} events of {file.band.name} counted in pixels of {side:.4g} arcsec"]
    header: fits.Header = sign(
        ccd.header, signed.identity, signed.kind, signed.recipe, signed.version, CalibLevel.CALIBRATED, steps
    )
    return writer_of(ccd, header, signed), [] if total else ["no event is of these energies"]
