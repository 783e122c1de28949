"""From a header and a path to a Frame: normalised values, each with the card or rule it came from, and warnings.

The header wins over the name wherever both speak, unless the profile says otherwise for a value; that they disagree
is a recorded warning. A value that neither gives is None.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

from avcd.frame import CalibLevel, Card, Frame, ImageType
from avcd.headers.gathering import Gathered, Hdu, find_cards
from avcd.headers.geometry import (
    read_airmass,
    read_detector,
    read_position,
    read_scale,
    read_sections,
    read_site,
    read_target,
)
from avcd.headers.groups import observation_of, session_of
from avcd.headers.names import read_names, transform
from avcd.headers.profile import NUMBERS, Reading, typed
from avcd.headers.profiles import Profiles
from avcd.headers.times import read_times
from avcd.headers.values import to_number

_TEXTS = ("telescope", "instrument", "target_name", "filter", "readout_mode", "bunit", "user")
# Read by rules of their own.
_PLAIN_NUMBERS = tuple(one for one in NUMBERS if one not in ("s_ra", "s_dec", "pixel_scale_arcsec"))
_TEMPERATURES = ("set_temperature_c", "ccd_temperature_c")
_POSITIVE = ("gain_e_per_adu", "read_noise_e", "saturation_adu")
_COUNTS = ("n_combined", "sequence_total")
_ELECTRONS = re.compile(r"(?:photo-?)?e(?:lectrons?|-)?(?![a-z])")
_LETTERS = {"B": "bias", "D": "dark", "F": "flat"}
_MASTERS = {
    ImageType.BIAS: ImageType.MASTER_BIAS,
    ImageType.DARK: ImageType.MASTER_DARK,
    ImageType.FLAT: ImageType.MASTER_FLAT,
}
_NOTHING = ("n/a", "na", "none", "unknown", "-", "null")
_NO_FILTER = (ImageType.BIAS, ImageType.DARK, ImageType.DARK_FLAT, ImageType.MASTER_BIAS, ImageType.MASTER_DARK)
_KELVIN = re.compile(r"\b[kK]elvins?\b|[\[(]\s*(?:deg\s*)?K\s*[\])]|\bin K\b|\bdeg(?:rees?)?[ _.]?K\b")
_CELSIUS = re.compile(r"\b(?:[cC]elsius|deg(?:rees?)?[ _.]?C|in C)\b|[\[(]\s*C\s*[\])]|°C")
_ZERO_C_K = 273.15
_COLDEST_C = -_ZERO_C_K
_HOTTEST_C = 150.0  # no detector works at this; in kelvin it is colder than any that is cooled by electricity
_HOTTEST_K = 350.0
_LONGEST_S = 30 * 86400.0
_MOST_FRAMES = 1_000_000


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

    Raises
    ------
    ConfigError
        ``profile`` or ``site`` does not exist.
    """
    path = f"{relative_path}/{member}" if member else relative_path
    (frame,) = translate_all([(hdu, path)], profiles, profile=profile, site=site)
    return frame


def translate_all(
    hdus: Iterable[tuple[Hdu, str]], profiles: Profiles, *, profile: str | None = None, site: str | None = None
) -> list[Frame]:
    """The frames of some HDUs, each with its path. Every step is taken for all of them before the next.

    Raises
    ------
    ConfigError
        ``profile`` or ``site`` does not exist.
    """
    read = [(hdu, path, hdu.first_cards) for hdu, path in hdus]
    chosen = [profiles.profile(profile) if profile else profiles.recognise(cards, path) for _, path, cards in read]
    found = [find_cards(one, cards) for one, (_, _, cards) in zip(chosen, read, strict=True)]
    gathered = [
        Gathered(hdu, path, profiles, site, one, cards, some, warnings=list(hdu.problems))
        for (hdu, path, cards), one, some in zip(read, chosen, found, strict=True)
    ]
    for step in _STEPS:
        for one in gathered:
            step(one)
    return [_frame(one) for one in gathered]


def _read_type(gathered: Gathered) -> None:
    if gathered.hdu.is_table:
        gathered.put("image_type", ImageType.TABLE, "structure")
        return
    unknown = []
    for card, _ in gathered.found_cards("image_type"):
        word = " ".join(str(card.value).lower().replace("_", " ").split())
        known = gathered.profile.image_types.get(word)
        if known is None:
            unknown.append(f"{card.keyword}={card.value!r} is no known type of image")
            continue
        gathered.put("image_type", known, f"card {card.keyword}")
        if word in gathered.profile.combined:
            gathered.put("calib_level", CalibLevel.COMBINED, f"card {card.keyword}")
        return
    gathered.warnings += unknown


def _read_plain(gathered: Gathered) -> None:
    found = gathered.found
    for name in _TEXTS:
        for card, reading in found.get(name, ()):
            text = str(card.value).strip()
            if text.lower() not in _NOTHING:
                gathered.put(name, text, reading.source)
                break
    for name in _PLAIN_NUMBERS:
        for card, reading in found.get(name, ()):
            number = to_number(card.value)
            if number is not None and name in _TEMPERATURES:
                number = _celsius(gathered, card, reading, number)
            if number is None or not _possible(name, number):
                gathered.warnings.append(f"{card.keyword}={card.value!r} is no value of {name}")
                continue
            gathered.put(name, int(number) if name in _COUNTS else number, reading.source)
            break


def _celsius(gathered: Gathered, card: Card, reading: Reading, number: float) -> float | None:
    """A temperature in degrees Celsius; None where its number cannot be its unit's."""
    if reading.unit == "K" or _says_kelvin(card.comment):
        return number - _ZERO_C_K
    if number <= _HOTTEST_C:
        return number
    if number > _HOTTEST_K or _CELSIUS.search(card.comment):
        return None
    gathered.warnings.append(f"{card.keyword}={card.value!r} is taken as kelvin: no camera is so hot")
    return number - _ZERO_C_K


@lru_cache(maxsize=256)
def _says_kelvin(comment: str) -> bool:
    return _KELVIN.search(comment) is not None


def _possible(name: str, number: float) -> bool:
    if name in _POSITIVE:
        return number > 0
    if name in _TEMPERATURES:
        return number >= _COLDEST_C  # -999 and the like stand for a sensor that did not answer
    if name == "exposure_s":
        return 0 <= number <= _LONGEST_S
    if name in _COUNTS:
        return 0 <= number <= _MOST_FRAMES
    return number >= 0 or name != "airmass"


def _read_history(gathered: Gathered) -> None:
    """What HISTORY says was done to the pixels, where no card does."""
    if "HISTORY" not in gathered.cards:
        return
    wanted = [one for one in gathered.profile.history if not one.gives <= gathered.found.keys()]
    if not wanted:
        return
    lines = "\n".join([str(one.value).strip() for one in gathered.hdu.cards if one.keyword == "HISTORY"])
    lowered = lines.lower()
    applied: frozenset[str] = frozenset()
    for pattern in wanted:
        if pattern.contains not in lowered:
            continue
        for found in pattern.regex.finditer(lines):
            for name, text in {**pattern.values, **found.groupdict()}.items():
                value = typed(name, text)
                if name == "calibration":
                    applied |= {one.lower() for one in value}
                else:
                    gathered.put(name, value, "card HISTORY")
    if applied:
        gathered.put("calibration", applied, "card HISTORY")


def _read_defaults(gathered: Gathered) -> None:
    """What the profile says of every frame that does not say it."""
    for name, value in gathered.profile.defaults.items():
        gathered.put(name, value, f"profile {gathered.profile.name}")
    if gathered.number("BITPIX") == 16 and gathered.number("BZERO") == 32768:
        # Whatever the detector could hold, the converter's numbers end here.
        gathered.put("saturation_adu", 65535.0, "16-bit pixels")


def _transform(gathered: Gathered) -> None:
    """Rewrite values as the profile says; a closed shutter has no filter, whatever glass was in front of it."""
    for name in {*gathered.profile.rewriting, "filter"} & gathered.values.keys():
        gathered.values[name] = transform(gathered.profile, name, gathered.values[name])
    if gathered.values.get("image_type") in _NO_FILTER:
        gathered.drop("filter")
    detector = gathered.card("detector")
    if detector:
        # Each chip of a mosaic is a camera of its own: its pixels are calibrated by no other's.
        gathered.replace("detector", str(detector[0].value).strip(), detector[1].source)


def _read_calibration(gathered: Gathered) -> None:
    """What was already done to the pixels, from CALSTAT (MaxIm DL: B, D, F; M a master), HISTORY or the file name."""
    found = gathered.card("calibration")
    image_type = gathered.values.get("image_type", ImageType.UNKNOWN)
    if found:
        status = str(found[0].value).strip().upper()
        source = f"card {found[0].keyword}"
        gathered.replace("calibration", frozenset(_LETTERS[one] for one in status if one in _LETTERS), source)
        if "M" in status and image_type in _MASTERS:
            image_type = _MASTERS[image_type]
            gathered.replace("image_type", image_type, source)
        if image_type is ImageType.MASTER_DARK:
            gathered.put("bias_included", "B" not in status, source)
    done = gathered.values.get("calibration", frozenset())
    if image_type.is_master:
        gathered.put("calib_level", CalibLevel.COMBINED, "image type")
    elif image_type is ImageType.SCIENCE and gathered.values.get("n_combined", 1) > 1:
        gathered.put("calib_level", CalibLevel.COMBINED, gathered.sources["n_combined"])
    elif image_type is ImageType.SCIENCE and "flat" in done:
        gathered.put("calib_level", CalibLevel.CALIBRATED, gathered.sources["calibration"])
    elif image_type is ImageType.SCIENCE and not done:
        _read_traces(gathered)
    product = gathered.cards.get("AVCDID")
    if product is not None:
        gathered.put("product_id", str(product.value), "card AVCDID")
        level = gathered.number("CALLEVEL")
        if level in (CalibLevel.RAW, CalibLevel.CALIBRATED, CalibLevel.COMBINED):
            gathered.replace("calib_level", int(level), "card CALLEVEL")


def _read_traces(gathered: Gathered) -> None:
    """What only a calibration leaves behind, where nothing says that there was one: nothing is done twice."""
    unit = str(gathered.values.get("bunit", "")).strip().lower()
    if _ELECTRONS.match(unit):
        gathered.put("calib_level", CalibLevel.CALIBRATED, gathered.sources["bunit"])
    elif gathered.values.get("pedestal_adu"):
        # Programs add it to what they have subtracted something from, so that no pixel falls below zero.
        gathered.put("calib_level", CalibLevel.CALIBRATED, gathered.sources["pedestal_adu"])
        gathered.warnings.append(
            f"a pedestal of {gathered.values['pedestal_adu']:g} says that it was calibrated, and nothing says how far"
        )


# In this order: of two sources of a value the first one counts, and some look at what others found.
_STEPS: tuple[Callable[[Gathered], None], ...] = (
    _read_type,
    _read_plain,
    read_detector,
    read_sections,
    read_names,
    _read_history,
    read_position,
    read_scale,
    _read_defaults,
    _transform,
    read_target,
    _read_calibration,
    read_site,
    read_times,
    read_airmass,
)


def _frame(gathered: Gathered) -> Frame:
    hdu = gathered.hdu
    image_type = gathered.values.setdefault("image_type", ImageType.UNKNOWN)
    if image_type is ImageType.UNKNOWN and not (
        gathered.sources.get("image_type") or any("type of image" in one for one in gathered.warnings)
    ):
        gathered.warnings.append("neither header nor name says what type of image this is")
    values: dict[str, Any] = gathered.values
    if "AVCDID" not in gathered.cards:  # avcd's own product is linked to its row; it is no input of any group
        if image_type is ImageType.SCIENCE:
            values["obs_id"] = observation_of(values)
        elif image_type.is_raw_calibration:
            values["session_id"] = session_of(values)
    return Frame(
        id=hdu.id,
        pixel_sha256=hdu.pixel_sha256,
        profile=gathered.profile.name,
        profile_version=gathered.profile.version,
        warnings=tuple(gathered.warnings),
        sources=gathered.sources,
        cards=hdu.cards,
        header_text=hdu.header_text,
        exposure_id=hdu.exposure_id,
        **values,
    )
