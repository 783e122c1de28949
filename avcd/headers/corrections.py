"""Values that an observer corrects: understood from words, and laid over a header that is then translated as any other.

A corrected value takes the place of every card, name and default of the profile that would give it, so that all that
follows from it (night, group, camera) is derived by the one set of rules.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from avcd.errors import ConfigError, HeaderError, ProcessingError, UsageError
from avcd.frame import CORRECTION, Card, Frame, ImageType
from avcd.headers.gathering import Hdu
from avcd.headers.profile import Key, NamePattern, Profile, Value
from avcd.headers.profiles import Profiles
from avcd.headers.translation import translate
from avcd.headers.values import iso_of_mjd, to_degrees, to_mjd, to_number
from avcd.sections import Section

_RECOGNISED_BY = ("telescope", "instrument")
_TEXTS = ("telescope", "instrument", "target_name", "filter", "readout_mode", "bunit", "user")
_NUMBERS: Mapping[str, str] = {
    "exposure_s": "seconds, 0 or more and less than 30 days",
    "set_temperature_c": "degrees Celsius",
    "ccd_temperature_c": "degrees Celsius",
    "gain": "the camera's setting, a number",
    "offset": "the camera's setting, a number",
    "gain_e_per_adu": "electrons per count, more than 0",
    "read_noise_e": "electrons, more than 0",
    "saturation_adu": "counts, more than 0",
    "pedestal_adu": "counts",
    "pixel_scale_arcsec": "arc seconds a pixel, more than 0",
    "airmass": "a number, 0 or more",
    "n_combined": "a whole number, 0 or more",
    "sequence_total": "a whole number, 0 or more",
}
_WHOLE = ("n_combined", "sequence_total")
_LETTERS = {"bias": "B", "dark": "D", "flat": "F"}
_TRUTHS = {"true": True, "t": True, "yes": True, "false": False, "f": False, "no": False}
# Other words for columns: those of the lists' options, and cards that no table of a profile names.
_MORE = {"TYPE": "image_type", "TARGET": "target_name", "EXPOSURE": "exposure_s", "XBINNING": "binning"}
_CARD_OF = {"site_longitude_deg": "site_longitude"}  # where a profile calls a value otherwise than a frame does
# No card gives them to every profile: they are laid over its defaults.
_BY_DEFAULT = ("bias_included", "site", "window")
# Cards that say the same as a corrected value, beside those that the profile names.
_SAYING_THE_SAME = {
    "binning": ("XBINNING", "YBINNING", "CCDBIN1", "CCDBIN2"),
    "window": ("XORGSUBF", "YORGSUBF"),
    "date_obs": ("TIMESYS", "MJD-OBS", "JD", "DATE-LOC"),
}
_MARK = "CORRECTED"
_MARKED = re.compile(rf"{_MARK} (\w+)")


@dataclass(frozen=True, slots=True)
class Correction:
    """What a value should be, by whom; None: it is not known, whatever the header says."""

    value: Any
    who: str


def correctable(profiles: Profiles) -> dict[str, str]:
    """What can be corrected: a column's name, or a usual card's, in capitals, to the column's name."""
    found = {name.upper(): name for name in _PARSERS}
    of_card = {card: name for name, card in _CARD_OF.items()}
    keys = [
        (key, of_card.get(name, name))
        for name, value in profiles.profile("generic").cards.items()
        for key in value.keys
        if of_card.get(name, name) in _PARSERS
    ]
    # A card that means one thing or the other by its comment comes last.
    for key, name in sorted(keys, key=lambda one: isinstance(one[0], Key)):
        found.setdefault(key.key if isinstance(key, Key) else key, name)
    return {**_MORE, **found}


def parse_correction(key: str, text: str, profiles: Profiles) -> tuple[str, Any]:
    """A column's name and its value, from KEY and VALUE as an observer writes them; an empty text is "not known".

    Raises
    ------
    UsageError
        No such value can be corrected, or the text is none; the message has the choices.
    """
    name = correctable(profiles).get(key.strip().upper())
    if name is None:
        raise UsageError(
            f"{key.strip()!r} cannot be corrected; what can: {', '.join(sorted(_PARSERS))}; or a card's name"
        )
    text = text.strip()
    if not text:
        return name, None
    try:
        return name, _PARSERS[name](text, profiles)
    except (ValueError, HeaderError, ConfigError) as error:
        raise UsageError(f"{key.strip()}={text}: {error}") from None


def _text(text: str, _profiles: Profiles) -> str:
    if not text.isprintable() or len(text) > 200:
        raise ValueError("is no text of a line")
    return text


def _number(name: str) -> Callable[[str, Profiles], float | int]:
    def parse(text: str, _profiles: Profiles) -> float | int:
        number = to_number(text)
        if number is None or (name in _WHOLE and number != int(number)):
            raise ValueError(f"{name} is {_NUMBERS[name]}")
        return int(number) if name in _WHOLE else number

    return parse


def _angle(unit: str, low: float, high: float, words: str) -> Callable[[str, Profiles], float]:
    def parse(text: str, _profiles: Profiles) -> float:
        # In hours only where it is written as hours, minutes and seconds are.
        degrees = to_degrees(text, "deg" if to_number(text) is not None else unit)
        if degrees is None or not low <= degrees <= high:
            raise ValueError(words)
        return degrees

    return parse


def _image_type(text: str, profiles: Profiles) -> str:
    word = " ".join(text.lower().replace("_", " ").split())
    known = profiles.profile("generic").image_types.get(word)
    choices = [one for one in ImageType if one is not ImageType.TABLE]
    found = known or next((one for one in choices if one.replace("_", " ") == word), None)
    if found is None:
        raise ValueError(f"is no type of image; there are {', '.join(choices)}")
    return str(found)


def _calibration(text: str, _profiles: Profiles) -> list[str]:
    words = [one for one in re.split(r"[\s,]+", text.lower()) if one]
    if len(words) == 1 and set(words[0]) <= set("bdf"):
        words = [name for name, letter in _LETTERS.items() if letter.lower() in words[0]]
    if not set(words) <= _LETTERS.keys():
        raise ValueError("what was applied is of bias, dark, flat, or of the letters BDF; nothing for none of them")
    return sorted(words)


def _binning(text: str, _profiles: Profiles) -> str:
    found = re.fullmatch(r"([1-9]\d?)(?:\s*[x*, ]\s*([1-9]\d?))?", text)
    if not found:
        raise ValueError("binning is as 2 or 2x2")
    return f"{found.group(1)}x{found.group(2) or found.group(1)}"


def _window(text: str, _profiles: Profiles) -> str:
    found = re.fullmatch(r"(\d{1,6})\s*,\s*(\d{1,6})", text)
    if not found:
        raise ValueError("a window is where it begins, in binned pixels, as 0,0")
    return f"{int(found.group(1))},{int(found.group(2))}"


def _section(text: str, _profiles: Profiles) -> str:
    try:
        return str(Section.parse(text))
    except ProcessingError as error:
        raise ValueError(str(error)) from None


def _truth(text: str, _profiles: Profiles) -> bool:
    if text.lower() not in _TRUTHS:
        raise ValueError("is true or false")
    return _TRUTHS[text.lower()]


def _site(text: str, profiles: Profiles) -> str:
    return profiles.site(text).name


def _date(text: str, _profiles: Profiles) -> str:
    """The start of the exposure, UTC."""
    number = to_number(text)
    return iso_of_mjd(to_mjd(text if number is None else f"MJD {number!r}"))


_PARSERS: Mapping[str, Callable[[str, Profiles], Any]] = {
    **dict.fromkeys(_TEXTS, _text),
    **{name: _number(name) for name in _NUMBERS},
    "image_type": _image_type,
    "date_obs": _date,
    "s_ra": _angle("hour", 0, 360, "right ascension is 0 to 360 degrees, or hours as 05:35:17"),
    "s_dec": _angle("deg", -90, 90, "declination is -90 to 90 degrees, or as -05:23:28"),
    "site": _site,
    "site_longitude_deg": _angle("deg", -180, 180, "longitude is -180 to 180 degrees, east positive"),
    "binning": _binning,
    "window": _window,
    "overscan_section": _section,
    "trim_section": _section,
    "calibration": _calibration,
    "bias_included": _truth,
}


def translate_corrected(
    hdu: Hdu, path: str, profiles: Profiles, base: Frame, corrections: Mapping[str, Correction], *, site: str | None
) -> Frame:
    """A frame with corrected values, and all that follows from them.

    Parameters
    ----------
    hdu, path, site
        As for `translate`.
    base
        The frame as it is without any correction.
    corrections
        By name of the value.

    Returns
    -------
    Frame
        The source of a corrected value is "correction by" somebody; its cards are those of the header.
    """
    if not corrections:
        return base
    given = {name: one.value for name, one in corrections.items()}
    for name, other in (("s_ra", "s_dec"), ("s_dec", "s_ra")):
        # A position is read from a pair of cards; what was wrong with one may have hidden the other.
        if name in given and other not in given and getattr(base, other) is not None:
            given[other] = getattr(base, other)
    profile = _adapted(_profile(hdu, path, profiles, base, given), given)
    said = {one for name in given for one in _SAYING_THE_SAME.get(name, ())}
    cards = [one for one in hdu.cards if one.keyword not in said]
    cards += [Card(f"{_MARK} {name}", _as_card(name, value)) for name, value in given.items() if value is not None]
    laid_over = replace(hdu, cards=tuple(cards), header_text=None, by_keyword=None)
    found = translate(laid_over, path, "", profiles.adapted(profile), profile=profile.name, site=site)
    return replace(
        found,
        cards=hdu.cards,
        header_text=hdu.header_text,
        sources=dict(_sources(found, base, corrections)),
        warnings=tuple(_MARKED.sub(r"corrected \1", one) for one in found.warnings),
    )


def _profile(hdu: Hdu, path: str, profiles: Profiles, base: Frame, given: Mapping[str, Any]) -> Profile:
    """The profile by the corrected telescope and camera, where they would have been recognised by them."""
    said = profiles.profile("generic").cards
    keys = {name: [key for key in said[name].keys if isinstance(key, str)] for name in _RECOGNISED_BY if name in given}
    before = hdu.first_cards
    if not keys or profiles.recognise(before, path).name != base.profile:  # the drop directory says which profile
        return profiles.profile(base.profile)
    cards = dict(before)
    for name, possible in keys.items():
        for key in [one for one in possible if one in cards] or possible[:1]:
            cards[key] = Card(key, given[name])
    return profiles.recognise(cards, path)


def check_effect(frame: Frame, corrections: Mapping[str, Any]) -> None:
    """Refuse corrections that a frame does not take.

    Raises
    ------
    UsageError
        A value is impossible, or something else gives it still.
    """
    for name, value in corrections.items():
        source = frame.sources.get(name, "")
        if source.startswith(CORRECTION):
            continue
        why = f"it comes from {source} still: correct that, too" if source else "such a frame has none, or not this"
        if name in _NUMBERS and not source:
            why = f"that is {_NUMBERS[name]}"
        elif name == "filter" and frame.image_type in (ImageType.BIAS, ImageType.DARK, ImageType.DARK_FLAT):
            why = f"a {frame.image_type} has no filter"
        raise UsageError(f"frame {frame.id[:12]}: {name} cannot be {value!r}: {why}")


def _adapted(profile: Profile, given: Mapping[str, Any]) -> Profile:
    """A profile in which the corrected values come from cards of their own, and from nowhere else."""
    cards, defaults = dict(profile.cards), {key: value for key, value in profile.defaults.items() if key not in given}
    for name, value in given.items():
        angle = name in ("s_ra", "s_dec", "site_longitude_deg")
        cards[_CARD_OF.get(name, name)] = Value(
            keys=() if value is None or name in _BY_DEFAULT else (f"{_MARK} {name}",), unit="deg" if angle else ""
        )
        if name in _BY_DEFAULT and value is not None:
            defaults[name] = value
    if "date_obs" in given:
        cards["time_obs"] = Value()
    if given.get("site") is not None and "site_longitude_deg" not in given:
        cards["site_longitude"] = Value()  # whoever names the site means its longitude
        cards["site_latitude"] = Value()
    words = {one.replace("_", " "): one for one in ImageType}
    changes = {
        "cards": cards,
        "defaults": defaults,
        "image_types": {**profile.image_types, **words},
        "prefer_name": tuple(one for one in profile.prefer_name if one not in given),
        "names": tuple(_without(one, given) for one in profile.names),
        "date_obs": "start" if "date_obs" in given else profile.date_obs,
    }
    # Made anew: a copy would keep what the profile has worked out from its cards already.
    return Profile.model_construct(**{**_fields(profile), **changes})


def _without(pattern: NamePattern, given: Mapping[str, Any]) -> NamePattern:
    """A pattern that says nothing of the corrected values."""
    text = pattern.pattern
    for name in given:
        text = text.replace(f"(?P<{name}>", "(?:")
    values = {key: value for key, value in pattern.values.items() if key not in given}
    return NamePattern.model_construct(**{**_fields(pattern), "pattern": text, "values": values})


def _fields(model: Profile | NamePattern) -> dict[str, Any]:
    return {name: getattr(model, name) for name in type(model).model_fields}


def _as_card(name: str, value: Any) -> str | int | float | bool:
    if name == "calibration":
        return "".join(_LETTERS[one] for one in value)
    if name == "image_type":
        return str(value).replace("_", " ")
    plain: str | int | float | bool = value
    return plain


def _sources(frame: Frame, base: Frame, corrections: Mapping[str, Correction]) -> Iterator[tuple[str, str]]:
    """Where the values come from, in an observer's words."""
    for name, source in frame.sources.items():
        marked = [one for one in _MARKED.findall(source) if one in corrections]
        if name in corrections and name in _BY_DEFAULT and source.startswith("profile "):
            marked = [name]
        if marked:
            yield name, f"{CORRECTION} by {corrections[marked[0]].who}"
        else:
            yield name, base.sources.get(name, source) if _MARKED.search(source) else source
    for name, one in corrections.items():
        if one.value is None and name not in frame.sources:
            yield name, f"{CORRECTION} by {one.who}"
