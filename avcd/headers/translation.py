"""From a header and a path to a Frame: normalised values, each with the card or rule it came from, and warnings.

The header wins over the name wherever both speak, unless the profile says otherwise for a value; that they disagree
is a recorded warning. A value that neither gives is None.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from avcd.errors import HeaderError
from avcd.frame import CalibLevel, Card, Frame, ImageType, canonical_json
from avcd.headers.profiles import Key, Profile, Profiles
from avcd.headers.values import iso_of_mjd, night_of, to_degrees, to_mjd, to_number
from avcd.naming import slug

_NUMBERS = (
    "exposure_s",
    "set_temperature_c",
    "ccd_temperature_c",
    "gain",
    "offset",
    "gain_e_per_adu",
    "read_noise_e",
    "saturation_adu",
    "pedestal_adu",
    "airmass",
    "n_combined",
    "sequence_total",
)
_TEXTS = ("telescope", "instrument", "target_name", "filter", "readout_mode", "bunit", "user")
_POSITIVE = ("gain_e_per_adu", "read_noise_e", "saturation_adu")
_LETTERS = {"B": "bias", "D": "dark", "F": "flat"}
_NOTHING = ("n/a", "na", "none", "unknown", "-", "null")
_NO_FILTER = (ImageType.BIAS, ImageType.DARK, ImageType.DARK_FLAT, ImageType.MASTER_BIAS, ImageType.MASTER_DARK)


@dataclass(frozen=True)
class Hdu:
    """One HDU as it was read: its identity, its cards, its shape (slowest axis first)."""

    id: str
    pixel_sha256: str
    cards: tuple[Card, ...]
    shape: tuple[int, ...]
    is_table: bool


@dataclass
class _Reading:
    """The values of one frame while they are gathered."""

    profile: Profile
    cards: Mapping[str, Card]
    path: str
    values: dict[str, Any] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def put(self, name: str, value: Any, source: str) -> None:
        if value is not None and name not in self.values:
            self.values[name] = value
            self.sources[name] = source

    def card(self, name: str) -> tuple[Card, str] | None:
        """The first card of a value that is there and is not blank, with its unit."""
        rule = self.profile.cards.get(name)
        for key in rule.keys if rule else ():
            card = self.cards.get(key.key if isinstance(key, Key) else key)
            if card is None or card.value is None or str(card.value).strip() == "":
                continue
            if isinstance(key, Key) and not re.search(key.comment, card.comment, re.IGNORECASE):
                continue
            return card, rule.unit if rule else ""
        return None


def translate(
    hdu: Hdu,
    relative_path: str,
    member: str,
    profiles: Profiles,
    *,
    profile: str | None = None,
    site: str | None = None,
) -> Frame:
    """The frame that an HDU holds.

    Parameters
    ----------
    hdu
        As read.
    relative_path, member
        The file's path below its drop directory and the archive member: names may say what headers do not.
    profiles
        Of the home.
    profile, site
        What the drop directory is set to; None: recognised.

    Returns
    -------
    Frame
        With every value known, the sources of each, and warnings for what was not certain.
    """
    cards: dict[str, Card] = {}
    for one in hdu.cards:
        cards.setdefault(one.keyword, one)
    path = f"{relative_path}/{member}" if member else relative_path
    chosen = profiles.profile(profile) if profile else profiles.recognise(cards, path)
    reading = _Reading(chosen, cards, path)
    _image_type(reading, hdu)
    _plain_values(reading)
    _geometry(reading, hdu)
    _names(reading)
    for name, value in chosen.defaults.items():
        reading.put(name, value, f"profile {chosen.name}")
    _transform(reading)
    _calibration(reading)
    _place(reading, profiles, site)
    _times(reading)
    _position(reading)
    _scale(reading)
    return _frame(reading, hdu)


def _image_type(reading: _Reading, hdu: Hdu) -> None:
    if hdu.is_table:
        reading.put("image_type", ImageType.TABLE, "structure")
        return
    found = reading.card("image_type")
    if found is None:
        return
    card, _ = found
    word = " ".join(str(card.value).lower().replace("_", " ").split())
    known = reading.profile.image_types.get(word)
    if known is None:
        reading.warnings.append(f"{card.keyword}={card.value!r} is no known type of image")
    else:
        reading.put("image_type", known, f"card {card.keyword}")


def _plain_values(reading: _Reading) -> None:
    for name in _TEXTS:
        found = reading.card(name)
        if found and str(found[0].value).strip().lower() not in _NOTHING:
            reading.put(name, str(found[0].value).strip(), f"card {found[0].keyword}")
    for name in _NUMBERS:
        found = reading.card(name)
        if not found:
            continue
        card, unit = found
        number = to_number(card.value)
        if number is None or (name in _POSITIVE and number <= 0) or (name == "exposure_s" and number < 0):
            reading.warnings.append(f"{card.keyword}={card.value!r} is no value of {name}")
            continue
        number = number - 273.15 if unit == "K" else number
        reading.put(name, int(number) if name in ("n_combined", "sequence_total") else number, f"card {card.keyword}")


def _geometry(reading: _Reading, hdu: Hdu) -> None:
    shape = hdu.shape
    while len(shape) > 2 and shape[0] == 1:
        shape = shape[1:]
    if len(shape) == 2:
        reading.put("naxis2", shape[0], "structure")
        reading.put("naxis1", shape[1], "structure")
    elif not hdu.is_table:
        reading.warnings.append(
            f"cube: {len(shape)} axes, {'x'.join(map(str, reversed(shape)))}; not processed as an image"
        )
        reading.values["image_type"] = ImageType.UNKNOWN
        reading.sources["image_type"] = "structure"
    cards = reading.cards
    binning = [to_number(cards[key].value) for key in ("XBINNING", "YBINNING") if key in cards]
    source = "cards XBINNING, YBINNING"
    if not binning and "CCDSUM" in cards:
        binning, source = [to_number(one) for one in str(cards["CCDSUM"].value).split()], "card CCDSUM"
    if binning and all(one is not None and one >= 1 for one in binning):
        reading.put("binning", f"{int(binning[0] or 1)}x{int(binning[-1] or 1)}", source)
    window = [to_number(cards[key].value) for key in ("XORGSUBF", "YORGSUBF") if key in cards]
    if len(window) == 2 and all(one is not None for one in window):
        reading.put("window", f"{int(window[0] or 0)},{int(window[1] or 0)}", "cards XORGSUBF, YORGSUBF")


def _names(reading: _Reading) -> None:
    """What the path says: fills what the header leaves open, and is compared with what it does say."""
    for pattern in reading.profile.names:
        found = pattern.regex.search(reading.path)
        if not found:
            continue
        groups = {key: value for key, value in found.groupdict().items() if value not in (None, "")}
        for name, text in {**pattern.values, **groups}.items():
            value = _typed(name, text)
            if value is None:
                continue
            if name in reading.profile.prefer_name and name in reading.values:
                del reading.values[name]
            known = reading.values.get(name)
            if known is None:
                reading.put(name, value, "file name")
            elif name in ("filter", "binning", "image_type", "exposure_s") and not _agree(reading, name, known, value):
                reading.warnings.append(f"{name}: the header says {known}, the name says {value}")


def _typed(name: str, text: Any) -> Any:
    if name == "image_type":
        return ImageType(text)
    if name == "binning" and isinstance(text, str) and "x" not in text:
        return f"{text}x{text}"
    if name == "calibration":
        return frozenset(text)
    if name in _NUMBERS:
        return to_number(text)
    return text.strip().replace("_", " ") if name == "target_name" and isinstance(text, str) else text


def _agree(reading: _Reading, name: str, known: Any, value: Any) -> bool:
    if name == "exposure_s":
        # Names give whole seconds.
        return abs(float(known) - float(value)) <= max(1.0, 0.01 * float(known))
    if name == "filter":
        filters = reading.profile.filters
        return bool(filters.get(known, known) == filters.get(value, value))
    return bool(known == value)


def _transform(reading: _Reading) -> None:
    """Rewrite values as the profile says (T5 to T05), and filters' names to their plain ones."""
    for name, rules in reading.profile.transforms.items():
        value = reading.values.get(name)
        for pattern, replacement in rules:
            if isinstance(value, str) and re.search(pattern, value):
                reading.values[name] = re.sub(pattern, replacement, value)
                break
    image_type = reading.values.get("image_type")
    if image_type in _NO_FILTER:
        reading.values.pop("filter", None)  # whatever glass was in front of a closed shutter
    elif "filter" in reading.values:
        reading.values["filter"] = reading.profile.filters.get(reading.values["filter"], reading.values["filter"])


def _calibration(reading: _Reading) -> None:
    """What was already done to the pixels, from CALSTAT (MaxIm DL: B, D, F; M a master) or the file name."""
    card = reading.card("calibration")
    status = str(card[0].value).strip().upper() if card else None
    image_type = reading.values.get("image_type", ImageType.UNKNOWN)
    if status is not None:
        reading.put("calibration", frozenset(_LETTERS[one] for one in status if one in _LETTERS), "card CALSTAT")
    if image_type is ImageType.MASTER_DARK and status:
        reading.put("bias_included", "B" not in status, "card CALSTAT")
    done = reading.values.get("calibration", frozenset())
    if image_type.is_master:
        reading.put("calib_level", CalibLevel.COMBINED, "image type")
    elif image_type is ImageType.SCIENCE and "flat" in done:
        reading.put("calib_level", CalibLevel.CALIBRATED, reading.sources.get("calibration", ""))
    product = reading.cards.get("AVCDID")
    if product is not None:
        reading.put("product_id", str(product.value), "card AVCDID")


def _place(reading: _Reading, profiles: Profiles, site: str | None) -> None:
    found = reading.card("site_longitude")
    if found:
        longitude = to_degrees(found[0].value, found[1] or "deg")
        if longitude is not None and -360 <= longitude <= 360:
            reading.put("site_longitude_deg", (longitude + 180) % 360 - 180, f"card {found[0].keyword}")
    name = reading.values.get("site") or site
    known = profiles.site(name) if name else profiles.site_of(reading.values.get("telescope"))
    if known:
        reading.put("site", known.name, "site")
        reading.put("site_longitude_deg", known.longitude_deg, f"site {known.name}")


def _times(reading: _Reading) -> None:
    found = reading.card("date_obs")
    scale = str(reading.cards["TIMESYS"].value).strip().lower() if "TIMESYS" in reading.cards else "utc"
    mjd = None
    if found:
        card, unit = found
        clock = reading.card("time_obs")
        try:
            if unit == "MJD" or to_number(card.value) is not None:
                mjd = to_number(card.value)
            else:
                mjd = to_mjd(str(card.value), str(clock[0].value) if clock else None, scale)
            source = f"card {card.keyword}"
        except HeaderError as error:
            reading.warnings.append(f"{card.keyword}: {error}")
    if mjd is None:
        return
    exposure = reading.values.get("exposure_s")
    if reading.profile.date_obs != "start":
        if exposure is None:
            reading.warnings.append(
                f"{card.keyword} is the {reading.profile.date_obs} of an exposure of unknown length"
            )
            return
        mjd -= exposure / 86400 * (0.5 if reading.profile.date_obs == "middle" else 1.0)
    reading.put("t_min", mjd, source)
    reading.put("t_max", mjd + exposure / 86400 if exposure is not None else None, source)
    reading.put("date_obs", iso_of_mjd(mjd), source)
    longitude = reading.values.get("site_longitude_deg")
    reading.put("night", night_of(mjd, longitude), "site" if longitude is not None else "utc")
    reading.put("night_rule", "site" if longitude is not None else "utc", "night")


def _position(reading: _Reading) -> None:
    cards = reading.cards
    world = str(cards["CTYPE1"].value) if "CTYPE1" in cards else ""
    reading.put("has_wcs", world.upper().startswith(("RA", "DEC")) and "CRVAL1" in cards, "cards CTYPE1, CRVAL1")
    right, up = reading.card("s_ra"), reading.card("s_dec")
    if right and up:
        ra, dec = to_degrees(right[0].value, right[1] or "hour_or_deg"), to_degrees(up[0].value, up[1] or "deg")
        if ra is None or dec is None or not (0 <= ra <= 360 and -90 <= dec <= 90):
            reading.warnings.append(
                f"{right[0].keyword}, {up[0].keyword}: no position: {right[0].value!r}, {up[0].value!r}"
            )
        elif ra == 0 and dec == 0:
            reading.warnings.append(f"{right[0].keyword}, {up[0].keyword} are both zero: taken as unknown")
        else:
            reading.put("s_ra", ra % 360, f"card {right[0].keyword}")
            reading.put("s_dec", dec, f"card {up[0].keyword}")
    if "s_ra" not in reading.values and reading.values.get("has_wcs"):
        ra, dec = to_number(cards["CRVAL1"].value), to_number(cards["CRVAL2"].value) if "CRVAL2" in cards else None
        if ra is not None and dec is not None:
            reading.put("s_ra", ra % 360, "card CRVAL1")
            reading.put("s_dec", dec, "card CRVAL2")


def _scale(reading: _Reading) -> None:
    """Arc seconds a pixel: a card, the WCS, or pixel size over focal length."""
    found = reading.card("pixel_scale_arcsec")
    number = to_number(found[0].value) if found else None
    if found and number and number > 0:
        reading.put("pixel_scale_arcsec", number, f"card {found[0].keyword}")
    matrix = [to_number(reading.cards[key].value) for key in ("CD1_1", "CD2_1") if key in reading.cards]
    if len(matrix) == 2 and matrix[0] is not None and matrix[1] is not None:
        reading.put("pixel_scale_arcsec", math.hypot(matrix[0], matrix[1]) * 3600 or None, "cards CD1_1, CD2_1")
    pixel, length = reading.card("pixel_size_um"), reading.card("focal_length_mm")
    size, focal = (to_number(one[0].value) if one else None for one in (pixel, length))
    if size and focal and size > 0 and focal > 0:
        # 206.265: arc seconds in a radian, over a thousand (um to mm). XPIXSZ counts binning already.
        reading.put("pixel_scale_arcsec", 206.264806 * size / focal, "cards XPIXSZ, FOCALLEN")


def _frame(reading: _Reading, hdu: Hdu) -> Frame:
    values = {key: value for key, value in reading.values.items() if key not in ("site_latitude_deg",)}
    image_type = values.setdefault("image_type", ImageType.UNKNOWN)
    if image_type is ImageType.UNKNOWN and not any("cube" in one or "type of image" in one for one in reading.warnings):
        reading.warnings.append("neither header nor name says what type of image this is")
    frame = Frame(
        id=hdu.id,
        pixel_sha256=hdu.pixel_sha256,
        profile=reading.profile.name,
        profile_version=reading.profile.version,
        warnings=tuple(reading.warnings),
        sources=reading.sources,
        cards=hdu.cards,
        **values,
    )
    group: dict[str, Any] = {}
    if image_type is ImageType.SCIENCE:
        group["obs_id"] = _observation(frame)
    elif image_type.is_raw_calibration:
        group["session_id"] = _session(frame)
    return Frame(**{**_fields(frame), **group})


def _fields(frame: Frame) -> dict[str, Any]:
    return {name: getattr(frame, name) for name in Frame.__dataclass_fields__}


def _joined(parts: Iterable[str | None]) -> str:
    return "/".join(one for one in parts if one)


def _observation(frame: Frame) -> str:
    target = slug(frame.target_name, "") if frame.target_name else ""
    if not target and frame.s_ra is not None and frame.s_dec is not None:
        hours, degrees = frame.s_ra / 15, abs(frame.s_dec)
        sign = "+" if frame.s_dec >= 0 else "-"
        target = f"j{int(hours):02d}{int(hours % 1 * 60):02d}{sign}{int(degrees):02d}{int(degrees % 1 * 60):02d}"
    return _joined(
        [
            slug(frame.telescope, "unknown-telescope"),
            frame.night or "no-night",
            target or "no-target",
            slug(frame.user, ""),
        ]
    )


def _session(frame: Frame) -> str:
    """One run of calibrations of one kind: same camera, night, type and settings."""
    temperature = frame.set_temperature_c if frame.set_temperature_c is not None else frame.ccd_temperature_c
    flat = frame.image_type is ImageType.FLAT
    settings = [
        frame.telescope,
        frame.instrument,
        frame.naxis1,
        frame.naxis2,
        frame.binning,
        frame.window,
        frame.gain,
        frame.offset,
        frame.readout_mode,
        None if temperature is None else round(temperature * 2) / 2,
        None if flat else frame.exposure_s,
        frame.filter if flat else None,
    ]
    digest = hashlib.sha256(canonical_json(settings).encode()).hexdigest()[:8]
    return _joined([slug(frame.telescope, "unknown-telescope"), frame.night or "no-night", frame.image_type, digest])
