"""The header cards of avcd's own products: what stands in them beside the pixels' structure.

A product keeps its first input's header (less what describes that file's bytes), says what it is and what was done,
and carries nothing that differs between two makings: no creation time, host, path or attempt.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.io import fits

from avcd.frame import Frame, ProductKind, ProductSpec, ProductStatus
from avcd.pointing import barycentric_jd, hour_angle

if TYPE_CHECKING:
    from astropy.wcs import WCS

# What describes a file's bytes, not its exposure; the writer sets its own.
_STRUCTURAL = re.compile(
    r"^(SIMPLE|XTENSION|BITPIX|NAXIS\d*|EXTEND|PCOUNT|GCOUNT|BSCALE|BZERO|BLANK|BUNIT|DATAMIN|DATAMAX|CHECKSUM|DATASUM"
    r"|ZHECKSUM|ZDATASUM|EXTNAME|EXTVER|INHERIT|PEDESTAL|CBLACK|CWHITE|CSTRETCH|GROUPS|TFIELDS|THEAP|Z\w+)$"
)
# Any older statement of world coordinates would contradict the one that is written.
_WORLD = re.compile(
    r"^(WCSAXES|WCSNAME|CTYPE\d|CRVAL\d|CRPIX\d|CDELT\d|CROTA\d|CUNIT\d|CD\d_\d|PC\d_\d|PV\d_\d+|LONPOLE|LATPOLE|RADESYS"
    r"|RADECSYS|EQUINOX|EPOCH|MJDREF|[AB]P?_ORDER|[AB]P?_\d_\d|[AB]_DMAX|TR\d_\d+)$"
)
_PEDESTAL = "PEDESTAL"
_READ_NOISE = "RDN-ADU"
_TYPES = {
    ProductKind.MASTER_BIAS: "MASTER BIAS",
    ProductKind.MASTER_DARK: "MASTER DARK",
    ProductKind.MASTER_FLAT: "MASTER FLAT",
    ProductKind.BAD_PIXEL_MASK: "BAD PIXEL MASK",
    ProductKind.REDUCED: "LIGHT",
    ProductKind.STACK: "STACK",
    ProductKind.MOSAIC: "MOSAIC",
}
_STANDING = {
    ProductStatus.FINAL: "made with all its calibrations",
    ProductStatus.PROVISIONAL: "something was missing; to be replaced",
}


def is_world(keyword: str) -> bool:
    """Whether a card is part of a statement of world coordinates."""
    return _WORLD.match(keyword) is not None


def inherit(source: fits.Header, *, keep_world: bool) -> fits.Header:
    """A copy of a header without what describes the old file's bytes.

    Parameters
    ----------
    keep_world
        Whether the world coordinates stay.

    Returns
    -------
    Header
        New; COMMENT and HISTORY kept in order; cards that do not follow the standard are left out.
    """
    found = fits.Header()
    for card in source.cards:
        if _STRUCTURAL.match(card.keyword) or (not keep_world and _WORLD.match(card.keyword)):
            continue
        if isinstance(card.value, float) and not np.isfinite(card.value):
            continue
        if card.is_blank or card.keyword == "":
            continue
        try:
            card.verify("exception")
        except fits.VerifyError:
            continue
        found.append(fits.Card(card.keyword, card.value, card.comment), end=True)
    return found


def describe(
    header: fits.Header,
    spec: ProductSpec,
    *,
    applied: Iterable[str] = (),
    steps: Iterable[str] = (),
    combined: int | None = None,
) -> fits.Header:
    """A header with the cards that say what a product is and how it was made.

    Parameters
    ----------
    header
        What it inherits; not changed.
    applied
        The corrections in it, of "bias", "dark", "flat": they make CALSTAT.
    steps
        One sentence for each thing that was done, for HISTORY.
    combined
        How many frames were combined.
    """
    found = header.copy()
    calibration = "".join(
        letter for letter, kind in zip("BDF", ("bias", "dark", "flat"), strict=True) if kind in set(applied)
    )
    values: Mapping[str, tuple[Any, str]] = {
        "IMAGETYP": (_TYPES.get(spec.kind, str(spec.kind).upper()), "type of image"),
        "OBJECT": (spec.target_name, "target"),
        "TELESCOP": (spec.telescope, "telescope"),
        "INSTRUME": (spec.instrument, "camera"),
        "FILTER": (spec.filter, "filter"),
        "EXPTIME": (spec.exposure_s, "[s] exposure"),
        "EXPOSURE": (spec.exposure_s, "[s] exposure"),
        "CALSTAT": (calibration or None, "B bias, D dark, F flat are applied"),
        "NCOMBINE": (combined, "frames combined"),
        "CREATOR": ("avcd", "made by"),
        "AVCDKIND": (str(spec.kind), "kind of product"),
        "AVCDID": (spec.id, ""),
        "AVCDRCP": (f"{spec.recipe} {spec.recipe_version}", "recipe and its version"),
        "AVCDSTAT": (str(spec.status), _STANDING.get(spec.status, "standing when it was made")),
        "CALLEVEL": (spec.calib_level, "ObsCore: 1 raw, 2 calibrated, 3 combined"),
        "OBS-ID": (spec.observations[0] if spec.observations else None, "observation"),
    }
    for keyword, (value, comment) in values.items():
        while keyword in found:
            del found[keyword]
        if value is not None:
            found[keyword] = (_ascii(value), comment)
    if spec.status is ProductStatus.PROVISIONAL:
        found["HISTORY"] = _ascii(f"provisional: {spec.reason}")
    for step in steps:
        found["HISTORY"] = _ascii(step)
    return found


_OF_ONE_EXPOSURE = ("DATE-BEG", "DATE-AVG", "DATE-END", "MJD-BEG", "MJD-AVG", "MJD-END")


def with_exposure(header: fits.Header, frame: Frame) -> fits.Header:
    """A header with what is known of an exposure: observer, site, place on the sky, begin, middle and end.

    Parameters
    ----------
    header
        What it inherits, whose words for these things stay; times and hour angle are reckoned anew.
    frame
        What is not known of it is left out. The hour angle wants a pointing and a longitude, the barycentric time a
        pointing.
    """
    found = header.copy()
    said: Mapping[str, tuple[Any, str]] = {
        "OBSERVER": (frame.user, "observer"),
        "SITENAME": (frame.site, "site"),
        "SITELONG": (frame.site_longitude_deg, "[deg] longitude of the site, east positive"),
        "RA": (frame.s_ra, "[deg] ICRS, of the pointing"),
        "DEC": (frame.s_dec, "[deg] ICRS, of the pointing"),
        "AIRMASS": (frame.airmass, "at mid-exposure (Pickering 2002)"),
    }
    placed = "RA" in header or "DEC" in header  # in whatever unit: one of each would contradict the other
    for keyword, (value, comment) in said.items():
        taken = placed if keyword in ("RA", "DEC") else keyword in header
        if value is not None and not taken:
            found[keyword] = (_ascii(value), comment)
    for keyword, (value, comment) in _moments(frame).items():
        found.remove(keyword, ignore_missing=True, remove_all=True)
        found[keyword] = (value, comment)
    return found


def _moments(frame: Frame) -> dict[str, tuple[Any, str]]:
    """The cards of an exposure's times."""
    if frame.t_min is None:
        return {}
    cards = _moment("BEG", frame.t_min, "begin of the exposure")
    if frame.t_max is None:
        return cards
    middle = (frame.t_min + frame.t_max) / 2
    cards |= _moment("AVG", middle, "middle of the exposure")
    cards |= _moment("END", frame.t_max, "end of the exposure")
    if frame.s_ra is None or frame.s_dec is None:
        return cards
    cards["BJD_TDB"] = (round(barycentric_jd(frame.s_ra, frame.s_dec, middle), 8), "[d] middle at the barycentre, TDB")
    if frame.site_longitude_deg is not None:
        angle = hour_angle(frame.s_ra, frame.s_dec, middle, frame.site_longitude_deg)
        cards["HA"] = (round(angle, 6), "[h] hour angle at mid-exposure")
    return cards


def sign(
    header: fits.Header, identity: str, kind: str, recipe: str, version: int, level: int, steps: Iterable[str]
) -> fits.Header:
    """A header with the cards of what was made of one frame, or of several of any kind, by a command on files.

    Parameters
    ----------
    header
        What it inherits, which goes on telling what the exposure is; not changed.
    identity, kind, recipe, version
        The product's id, and what made it.
    level
        ObsCore's calibration level.
    steps
        One sentence for each thing that was done, for HISTORY.
    """
    found = header.copy()
    values: Mapping[str, tuple[Any, str] | None] = {
        "CREATOR": ("avcd", "made by"),
        "AVCDKIND": (kind, "kind of product"),
        "AVCDID": (identity, ""),
        "AVCDRCP": (f"{recipe} {version}", "recipe and its version"),
        "AVCDSTAT": None,
        "CALLEVEL": (level, "ObsCore: 1 raw, 2 calibrated, 3 combined"),
    }
    for keyword, card in values.items():
        while keyword in found:
            del found[keyword]
        if card is not None:
            found[keyword] = (_ascii(card[0]), card[1])
    for step in steps:
        found["HISTORY"] = _ascii(step)
    return found


def sections_of(header: fits.Header) -> tuple[str | None, str | None]:
    """Where a header says that the overscan is, and the part to keep: BIASSEC; TRIMSEC, else DATASEC.

    A card of zeros, as some cameras of several amplifiers write it, says nothing.
    """
    texts = [str(header.get(keyword, "")).strip() for keyword in ("BIASSEC", "TRIMSEC", "DATASEC")]
    overscan, trimmed, data = (text if re.search("[1-9]", text) else None for text in texts)
    return overscan, trimmed or data


def trimmed_header(header: fits.Header, x_first: int, y_first: int) -> fits.Header:
    """A header after everything before a pixel (counted from one) was cut off: world coordinates and windows moved."""
    found = header.copy()
    for keyword in ("BIASSEC", "TRIMSEC", "DATASEC"):
        found.remove(keyword, ignore_missing=True, remove_all=True)
    for keyword, shift in (("CRPIX1", 1 - x_first), ("CRPIX2", 1 - y_first), ("XORGSUBF", x_first - 1),
                           ("YORGSUBF", y_first - 1)):  # fmt: skip
        if isinstance(found.get(keyword), (int, float)):
            found[keyword] = found[keyword] + shift
    return found


def pedestal_of(header: fits.Header) -> float:
    """What has to be added to the pixels before they are reckoned with; zero where nothing is said."""
    value = header.get(_PEDESTAL)
    return float(value) if isinstance(value, (int, float)) and np.isfinite(value) else 0.0


def with_pedestal(header: fits.Header, pedestal: float) -> fits.Header:
    """A header that says that something has still to be added to the pixels."""
    found = header.copy()
    if pedestal:
        found[_PEDESTAL] = (pedestal, "[adu] to be added to the pixels")
    return found


def with_saturation(header: fits.Header, saturation_adu: float) -> fits.Header:
    """A header that says where the detector saturates."""
    found = header.copy()
    found["SATURATE"] = (round(saturation_adu, 3), "[adu] saturation level")
    return found


def with_read_noise(header: fits.Header, read_noise_adu: float) -> fits.Header:
    """A master bias's header with the read noise that was measured on its frames."""
    found = header.copy()
    found[_READ_NOISE] = (read_noise_adu, "[adu] read noise, from pairs of its frames")
    return found


def read_noise_of(header: fits.Header) -> float | None:
    """The read noise that a master bias tells, adu; None where it does not."""
    value = header.get(_READ_NOISE)
    return float(value) if isinstance(value, (int, float)) else None


def with_combined(header: fits.Header, combined: int, exposure_s: float | None) -> fits.Header:
    """A header of what was combined from several frames."""
    found = header.copy()
    found["NCOMBINE"] = (combined, "frames combined")
    if exposure_s is not None:
        for keyword in ("EXPTIME", "EXPOSURE"):
            found.remove(keyword, ignore_missing=True, remove_all=True)
            found[keyword] = (exposure_s, "[s] exposure")
    return found


def zero_point_of(header: fits.Header) -> float | None:
    """The magnitude of one unit of the pixels, as the usual cards say it; None where none does."""
    return _number(header, "MAGZPT", "MAGZP", "MAGZERO", "MAGZEROP", "PHOTZP", "ZP")


def exposure_of(header: fits.Header) -> float | None:
    """Seconds; None where the header does not say, or nothing above zero."""
    found = _number(header, "EXPTIME", "EXPOSURE")
    return found if found is not None and found > 0 else None


def gain_of(header: fits.Header) -> float | None:
    """Electrons for one adu, where the header says so without doubt."""
    found = _number(header, "EGAIN")
    return found if found is not None and found > 0 else None


def time_of(header: fits.Header) -> float | None:
    """The start of the exposure as a modified Julian date; None where the header tells no time of day."""
    date = header.get("DATE-OBS")
    if not isinstance(date, str) or "T" not in date:
        return None
    from astropy.time import Time  # longer in loading than most that is done without times

    try:
        return float(Time(date.strip().removesuffix("Z"), format="isot", scale="utc").mjd)
    except ValueError:
        return None


def _number(header: fits.Header, *keywords: str) -> float | None:
    for keyword in keywords:
        value = header.get(keyword)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and np.isfinite(value):
            return float(value)
    return None


def _moment(name: str, mjd: float, comment: str) -> dict[str, tuple[Any, str]]:
    """A moment as date and as number: programs that read world coordinates want both, and complain otherwise."""
    from astropy.time import Time  # longer in loading than most that is done without times

    date = Time(mjd, format="mjd", scale="utc", precision=3).isot
    return {f"DATE-{name}": (date, f"{comment}, UTC"), f"MJD-{name}": (round(mjd, 9), f"[d] of DATE-{name}")}


def with_times(header: fits.Header, exposure_s: float, span: tuple[float, float, float] | None) -> fits.Header:
    """A header with a total exposure and, as modified Julian dates, its beginning, the middle of its light, and its end."""
    found = header.copy()
    found["TOTEXP"] = (round(exposure_s, 3), "[s] exposure of all frames together")
    if span is not None:
        words = "start of the first exposure", "middle of all, by their length", "end of the last exposure"
        for name, moment, comment in zip(("BEG", "AVG", "END"), span, words, strict=True):
            found.update(_moment(name, moment, comment))
    for keyword in ("BJD_TDB", "HA", *(() if span else _OF_ONE_EXPOSURE)):  # of the frame that gave the header
        found.remove(keyword, ignore_missing=True, remove_all=True)
    return found


def with_world(header: fits.Header, wcs: WCS, *, rms_arcsec: float | None, matched: int | None) -> fits.Header:
    """A header with the given world coordinates in place of any it had."""
    found = inherit(header, keep_world=False)
    for card in wcs.to_header(relax=True).cards:
        if card.keyword not in ("MJDREF", "DATE-OBS", "MJD-OBS") and not card.keyword.startswith("COMMENT"):
            found[card.keyword] = (card.value, card.comment)
    moment = _missing_mjd(found)
    if moment is not None:  # programs that read world coordinates want both, and complain otherwise
        found["MJD-OBS"] = (moment, "[d] of DATE-OBS")
    if rms_arcsec is not None:
        found["ASTRRMS"] = (round(rms_arcsec, 4), "[arcsec] rms of the plate solution")
    if matched is not None:
        found["ASTRNUM"] = (matched, "reference stars matched")
    return found


def with_zero_point(
    header: fits.Header, mag: float, scatter_mag: float, stars: int, band: str, catalogue: str, aperture_px: float
) -> fits.Header:
    """A header with the photometric zero point, what it rests on, and the aperture that it is for."""
    found = header.copy()
    found["MAGZPT"] = (round(mag, 4), "[mag] zero point: mag = MAGZPT - 2.5 lg(flux/s)")
    found["MAGZRMS"] = (round(scatter_mag, 4), "[mag] scatter of single stars about it")
    found["MAGZNUM"] = (stars, "stars that it rests on")
    found["MAGZBAND"] = (band, "band of the reference, no colour term")
    found["MAGZCAT"] = (_ascii(catalogue), "reference catalogue")
    found["MAGZAPER"] = (round(aperture_px, 3), "[px] radius of the aperture that it is for")
    return found


def zero_point_said(header: fits.Header) -> float | None:
    """The zero point that a header tells, magnitudes; None where it does not."""
    value = header.get("MAGZPT")
    return float(value) if isinstance(value, (int, float)) else None


def _missing_mjd(header: fits.Header) -> float | None:
    """DATE-OBS as a modified Julian date, where it has a time of day and no MJD-OBS stands beside it."""
    moment = None if "MJD-OBS" in header else time_of(header)
    return None if moment is None else round(moment, 9)


def _ascii(value: Any) -> Any:
    """FITS cards hold ASCII only."""
    return value.encode("ascii", "replace").decode().replace("\n", " ") if isinstance(value, str) else value
