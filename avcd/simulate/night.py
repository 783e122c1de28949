"""One night of a small observatory: two telescopes, their calibrations and targets, and the truth about every frame."""

from __future__ import annotations

import datetime
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from avcd.simulate.camera import Camera
from avcd.simulate.sky import Field, StarTruth, paint_stars, stars_of
from avcd.sky.reference import ReferenceStars, Tycho2

_DATE = datetime.date(2026, 1, 15)
_MAYHILL = datetime.datetime(2026, 1, 16, 2, 0)  # UTC, evening at Mayhill
_CONCORDIA = datetime.datetime(2026, 1, 15, 12, 0)


@dataclass(frozen=True)
class Size:
    """How much is simulated."""

    px: int = 768
    calibrations: int = 5
    exposures: int = 3

    @classmethod
    def small(cls) -> Size:
        """A night for tests: seconds to make and to process."""
        return cls(px=320, calibrations=3, exposures=2)


@dataclass(frozen=True)
class Target:
    """What is observed. The field holds plenty of stars of the reference catalogue."""

    name: str
    ra_deg: float
    dec_deg: float


DOUBLE_CLUSTER = Target("NGC 869", 34.75, 57.13)
PLEIADES = Target("M45", 56.75, 24.12)
SOUTHERN = Target("NGC 3532", 166.41, -58.73)


@dataclass(frozen=True)
class SimulatedFrame:
    """One frame: where a delivery puts it, its bytes, what it is."""

    drop: str
    relative_path: str
    data: bytes
    image_type: str
    filter: str | None


@dataclass(frozen=True)
class Night:
    """A night: its frames in order of time, and the directory that holds the truth about them."""

    frames: tuple[SimulatedFrame, ...]
    truth: Path
    seed: int


class _Maker:
    """Makes frames and keeps their truth."""

    def __init__(
        self, directory: Path, seed: int, reference: ReferenceStars, progress: Callable[[str], None] | None
    ) -> None:
        self.directory, self.seed, self.reference, self._progress = directory, seed, reference, progress
        self.frames: list[SimulatedFrame] = []
        self._random = np.random.default_rng(seed)
        self._index: list[dict[str, object]] = []

    def add(self, drop: str, path: str, counts: np.ndarray, header: fits.Header, **truth: object) -> None:
        """Keep one frame."""
        stream = io.BytesIO()
        fits.PrimaryHDU(counts, header).writeto(stream)
        image_type, name = str(header.get("IMAGETYP", "")), header.get("FILTER")
        self.frames.append(SimulatedFrame(drop, path, stream.getvalue(), image_type, name))
        self._index.append({"drop": drop, "path": path, "type": image_type, "filter": name, **truth})
        if self._progress:
            self._progress(path)

    def random(self) -> np.random.Generator:
        """A generator for one exposure."""
        return np.random.default_rng(self._random.integers(2**63))

    def light(
        self,
        camera: Camera,
        field: Field,
        name: str,
        exposure_s: float,
        zero_point: float,
        sky_e_s: float,
        fwhm_px: float,
    ) -> tuple[np.ndarray, np.ndarray, StarTruth]:
        """A science exposure: counts, cosmic rays, stars."""
        stars = stars_of(field, camera.shape, name, exposure_s, zero_point, self.reference)
        image = np.full(camera.shape, sky_e_s * exposure_s)
        paint_stars(image, stars, fwhm_px)
        exposure = camera.expose(image, exposure_s, self.random(), name)
        return exposure.counts, exposure.cosmic_rays, stars

    def keep(self, path: str, stars: StarTruth, struck: np.ndarray, field: Field, shape: tuple[int, int]) -> None:
        """Write the truth about one science frame."""
        target = self.directory / (Path(path).name + ".npz")
        np.savez_compressed(
            target, x=stars.x, y=stars.y, electrons=stars.electrons, ra=stars.ra_deg, dec=stars.dec_deg,
            cosmic_rays=np.argwhere(struck), wcs=np.array(field.wcs(shape).to_header_string()),
        )  # fmt: skip

    def close(self, cameras: dict[str, Camera]) -> Night:
        """Write what is common to all frames."""
        for name, camera in cameras.items():
            arrays: dict[str, Any] = {f"flat_{one}": camera.response(one) for one in ("Red", "Green", "Blue", "R")}
            arrays |= {"bad_pixels": camera.bad_pixels, "bias": camera.bias_pattern, "dark_rate": camera.dark_rate}
            np.savez_compressed(self.directory / f"{name}.npz", **arrays)
        text = json.dumps({"seed": self.seed, "frames": self._index}, indent=1, sort_keys=True)
        (self.directory / "truth.json").write_text(text, encoding="utf-8")
        return Night(tuple(self.frames), self.directory, self.seed)


def make_night(
    directory: Path,
    seed: int = 20260115,
    *,
    size: Size | None = None,
    reference: ReferenceStars | None = None,
    progress: Callable[[str], None] | None = None,
) -> Night:
    """Simulate one night.

    Parameters
    ----------
    directory
        Where the truth is written: truth.json, and one .npz for each science frame and camera. Made if need be.
    seed
        The same seed gives the same bytes.
    size
        How much; the default is the demo's.
    progress
        Called with each frame's name.

    Returns
    -------
    Night
        Frames in memory, for `deliver`.
    """
    directory.mkdir(parents=True, exist_ok=True)
    size = size or Size()
    maker = _Maker(directory, seed, reference or Tycho2(), progress)
    mono = Camera(size.px, size.px, seed + 1)
    astep = Camera(size.px, size.px, seed + 2, gain_e_per_adu=2.0, read_noise_e=9.0, bias_adu=600.0)
    _itelescope(maker, mono, size)
    _astep(maker, astep, size)
    return maker.close({"T20": mono, "ASTEP": astep})


def _stamp(moment: datetime.datetime) -> str:
    return moment.isoformat(timespec="milliseconds")


def _t20_header(
    camera: Camera, kind: str, moment: datetime.datetime, exposure_s: float, name: str | None
) -> fits.Header:
    """As MaxIm DL and ACP write it for iTelescope: OBJECT and TELESCOP are often blank."""
    cards = {
        "DATE-OBS": (_stamp(moment), "YYYY-MM-DDThh:mm:ss observation start, UT"),
        "EXPTIME": (exposure_s, "Exposure time in seconds"),
        "EXPOSURE": (exposure_s, "Exposure time in seconds"),
        "SET-TEMP": (-25.0, "CCD temperature setpoint in C"),
        "CCD-TEMP": (-25.1, "CCD temperature at start of exposure in C"),
        "XPIXSZ": (9.0, "Pixel Width in microns (after binning)"),
        "YPIXSZ": (9.0, "Pixel Height in microns (after binning)"),
        "XBINNING": (1, "Binning factor in width"),
        "YBINNING": (1, "Binning factor in height"),
        "XORGSUBF": (0, "Subframe X position in binned pixels"),
        "YORGSUBF": (0, "Subframe Y position in binned pixels"),
        "READOUTM": ("8 MHz (RBI Flood)", "Readout mode of image"),
        "IMAGETYP": (kind, "Type of image"),
        "FOCALLEN": (9.0 * 206.264806 / _T20_SCALE * camera.nx / 768, "Focal length of telescope in mm"),
        "SWCREATE": ("MaxIm DL Version 6.50", "Name of software"),
        "SITELAT": ("32 54 12", "Latitude of the imaging location"),
        "SITELONG": ("-105 31 43", "Longitude of the imaging location"),
        "INSTRUME": ("FLI", "instrument or camera used"),
        "TELESCOP": ("", "telescope used to acquire this image"),
        "EGAIN": (camera.gain_e_per_adu, "Electronic gain in e-/ADU"),
        "PEDESTAL": (0, "Correction to add for zero-based ADU"),
    }
    if name:
        cards["FILTER"] = (name, "Filter used when taking image")
    return fits.Header([(key, *value) for key, value in cards.items()])


_T20_SCALE = 4.6  # arcsec/px of the full size; a field of about one degree
_ASTEP_SCALE = 4.7


def _itelescope(maker: _Maker, camera: Camera, size: Size) -> None:
    """An iTelescope-like mono camera: calibrations in folders of their own, lights named by the delivery."""
    scale = _T20_SCALE * 768 / size.px
    moment = _MAYHILL - datetime.timedelta(hours=2)
    number = 0

    def calibration(kind: str, folder: str, exposure_s: float, light: float, name: str | None = None) -> None:
        nonlocal moment, number
        for _ in range(size.calibrations):
            number += 1
            counts = camera.expose(light, exposure_s, maker.random(), name).counts
            word = {"Bias Frame": "Bias-000", "Dark Frame": f"Dark-{exposure_s:03.0f}", "Flat Field": f"Flat-{name}"}[
                kind
            ]
            local = moment - datetime.timedelta(hours=7)
            stem = f"T20-observer-{word}-LD{_DATE:%Y%m%d}-LT{local:%H%M%S}-BIN1"
            header = _t20_header(camera, kind, moment, exposure_s, name)
            maker.add("itelescope", f"T20/calibration/{folder}/{stem}.fit", counts, header)
            moment += datetime.timedelta(seconds=exposure_s + 12)

    calibration("Bias Frame", "Bias", 0.0, 0.0)
    calibration("Dark Frame", "Darks", 60.0, 0.0)
    for name in ("Red", "Green", "Blue"):
        calibration("Flat Field", "Flats", 4.0, 32000.0, name)
    moment = _MAYHILL
    for target in (DOUBLE_CLUSTER, PLEIADES):
        dithers = np.random.default_rng([maker.seed, 9]).uniform(-1, 1, (3 * size.exposures, 3))
        for index, name in enumerate(name for name in ("Red", "Green", "Blue") for _ in range(size.exposures)):
            shift = dithers[index] * [15 * scale / 3600, 15 * scale / 3600, 0.3]
            field = Field(
                target.ra_deg + shift[0] / np.cos(np.radians(target.dec_deg)),
                target.dec_deg + shift[1],
                scale,
                181 + shift[2],
                False,
            )
            counts, struck, stars = maker.light(camera, field, name, 60.0, 18.2, 12.0, 2.6)
            header = _t20_header(camera, "Light Frame", moment, 60.0, name)
            header["OBJECT"] = ("", "")
            # The pointing that the mount reports is a few arc minutes off.
            header["OBJCTRA"] = (_hours(target.ra_deg + 0.05), "Nominal Right Ascension of center of image")
            header["OBJCTDEC"] = (_degrees(target.dec_deg - 0.04), "Nominal Declination of center of image")
            local = moment - datetime.timedelta(hours=7)
            stem = f"raw-T20-observer-{target.name.replace(' ', '_')}-{_DATE:%Y%m%d}-{local:%H%M%S}-{name}-BIN1-W-060-{index + 1:03d}"
            path = f"T20/{target.name.replace(' ', '_')}/{stem}.fit"
            maker.keep(path, stars, struck, field, camera.shape)
            maker.add("itelescope", path, counts, header, target=target.name)
            moment += datetime.timedelta(seconds=75)


def _astep(maker: _Maker, camera: Camera, size: Size) -> None:
    """An ASTEP-like camera: a directory for the date, sky flats beside the science frames, one filter."""
    scale = _ASTEP_SCALE * 768 / size.px
    moment = _CONCORDIA
    night = f"{_DATE:%Y-%m-%d}"

    def frame(
        folder: str, word: str, kind: str, exposure_s: float, counts: np.ndarray, extra: dict[str, object]
    ) -> str:
        path = f"{night}/{night}-{folder}/{moment:%Y-%m-%d_%H.%M.%S}_{word}.fits"
        header = fits.Header(
            [
                ("DATE-OBS", _stamp(moment)),
                ("EXPTIME", exposure_s),
                ("IMAGETYP", kind),
                ("INSTRUME", "FLI Proline PL16801E"),
                ("CCD-TEMP", -35.0),
                ("SET-TEMP", -35.0),
                ("XBINNING", 1),
                ("YBINNING", 1),
                ("ORIGFILE", Path(path).name),
                ("GAIN", camera.gain_e_per_adu, "e-/ADU"),
                ("RDNOISE", camera.read_noise_e, "electrons"),
                *extra.items(),
            ]
        )
        maker.add("astep", path, counts, header)
        return path

    for folder, word, kind, exposure_s, light in (
        ("CAMS", "BIAS", "bias", 0.0, 0.0),
        ("CAMS", "DARK", "dark", 90.0, 0.0),
        ("CAMS_SKYFLAT", "DARK", "dark", 10.0, 0.0),
        ("CAMS_SKYFLAT", "SKYFLAT", "flat", 10.0, 40000.0),
    ):
        for _ in range(size.calibrations):
            name = "R" if kind == "flat" else None
            counts = camera.expose(light, exposure_s, maker.random(), name).counts
            frame(folder, word, kind, exposure_s, counts, {"FILTER": "R"} if name else {})
            moment += datetime.timedelta(seconds=exposure_s + 8)
    for index in range(size.exposures):
        field = Field(
            SOUTHERN.ra_deg + 0.004 * index, SOUTHERN.dec_deg - 0.003 * index, scale, 12.0 + 0.1 * index, True
        )
        counts, struck, stars = maker.light(camera, field, "R", 90.0, 17.8, 20.0, 3.1)
        extra = {"OBJECT": SOUTHERN.name, "FILTER": "R", "RA": SOUTHERN.ra_deg, "DEC": SOUTHERN.dec_deg, "SCALE": scale}
        path = frame("CAMS", "SCIENCE", "science", 90.0, counts, extra)
        maker.keep(path, stars, struck, field, camera.shape)
        moment += datetime.timedelta(seconds=100)


def _hours(ra_deg: float) -> str:
    seconds = ra_deg / 15 * 3600
    return f"{int(seconds // 3600):02d} {int(seconds % 3600 // 60):02d} {seconds % 60:05.2f}"


def _degrees(dec_deg: float) -> str:
    seconds = abs(dec_deg) * 3600
    return (
        f"{'-' if dec_deg < 0 else '+'}{int(seconds // 3600):02d} {int(seconds % 3600 // 60):02d} {seconds % 60:04.1f}"
    )
