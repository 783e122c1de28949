"""Filters by wavelength: what a composite orders its channels by.

Names are matched whole, never by substring ('B' is not 'Blue'); single letters keep their case, because Sloan's r and
Cousins's R are two filters.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

# Effective wavelengths in nm. Johnson-Cousins: Bessell 1990 (PASP 102, 1181); Sloan: Fukugita et al. 1996 (AJ 111, 1748);
# 2MASS: Cohen et al. 2003 (AJ 126, 1090); lines at rest in air; LRGB and one-shot names: middle of the usual band.
_JOHNSON = {"U": 365.0, "B": 445.0, "V": 551.0, "R": 658.0, "I": 806.0}
_SLOAN = {"u": 354.3, "g": 477.0, "r": 623.1, "i": 762.5, "z": 913.4}
_INFRARED = {"Z": 880.0, "y": 962.0, "Y": 1020.0, "J": 1235.0, "H": 1662.0, "K": 2159.0}
_LETTERS = {**_JOHNSON, **_SLOAN, **_INFRARED}
_WORDS = {
    "ks": 2159.0,
    "red": 640.0, "green": 530.0, "blue": 450.0,
    "luminance": 550.0, "lum": 550.0, "l": 550.0, "clear": 550.0, "w": 550.0,
    "ha": 656.3, "halpha": 656.3, "hydrogenalpha": 656.3, "hydrogen": 656.3, "hb": 486.1, "hbeta": 486.1,
    "oiii": 500.7, "o3": 500.7, "oxygen": 500.7, "sii": 672.4, "s2": 672.4, "sulfur": 672.4, "sulphur": 672.4,
    "nii": 658.3, "n2": 658.3, "oi": 630.0, "hei": 587.6, "heii": 468.6,
    "zs": 870.0, "rc": 658.0, "ic": 806.0,
}  # fmt: skip
_SYSTEMS = {
    **{name: {**_SLOAN, "y": 962.0} for name in ("sdss", "sloan", "panstarrs", "ps1", "z", "decam")},
    **dict.fromkeys(("johnson", "bessel", "bessell", "cousins", "kron", "johnsoncousins"), _JOHNSON),
    **{name: {**_INFRARED, "Ks": 2159.0} for name in ("2mass", "euclid", "ukidss")},
}
# Space filters are named by their wavelength, in units that depend on the instrument.
_HUBBLE = (225, 275, 336, 350, 390, 435, 438, 475, 502, 550, 555, 606, 625, 656, 657, 658, 673, 775, 814, 850)
_SPACE = re.compile(r"[fF](\d{3,4})([wWmMnN]2?|[lL][pP]|[xX])\Z")
_WIDTH = re.compile(r"[ _-]*\d+(\.\d+)? ?(nm|NM|Nm)\Z")  # "Ha 7nm"
_ORDINAL = re.compile(r"([a-zA-Z])\.0+\Z")  # Pan-STARRS writes r.00000
# Filters that pass everything carry brightness, not colour.
_WHITE = frozenset({"luminance", "lum", "l", "clear", "w"})


def _plain(name: str) -> str:
    return "".join(one for one in name.lower().replace("α", "alpha").replace("β", "beta") if one.isalnum())


def wavelength_nm(name: str) -> float | None:
    """The effective wavelength of a filter in nm; None for a name that is not known.

    Parameters
    ----------
    name
        As the header has it: a photometric letter (case counts), with the name of its system, a prime or a p; a word
        or a line in any spelling; a space filter such as F814W (Hubble's in nm, Hubble's infrared and Webb's in 10 nm).

    Examples
    --------
    >>> wavelength_nm("H-Alpha"), wavelength_nm("B"), wavelength_nm("Blue"), wavelength_nm("none")
    (656.3, 445.0, 450.0, None)
    """
    text = _WIDTH.sub("", name.strip())
    text = _ORDINAL.sub(r"\1", text)
    if text in _LETTERS:
        return _LETTERS[text]
    plain = _plain(text)
    if plain in _WORDS:
        return _WORDS[plain]
    space = _SPACE.match(text)
    if space:
        return float(space[1]) if int(space[1]) in _HUBBLE else 10 * float(space[1])
    return _with_system(text)


def _with_system(text: str) -> float | None:
    """'SDSS r', "Sloan g'", 'Bessell-B', "r'", 'ip', 'gprime', 'zg' (ZTF), 'Cousins_R'."""
    primed = re.sub(r"(?<=[a-z])(p\*?|['’*]|[ _-]?prime)\Z", "", text)
    if primed != text and primed in _SLOAN:
        return _SLOAN[primed]
    if primed in ("SDSS" + one for one in _SLOAN):
        return _SLOAN[primed[-1]]
    parts = re.match(r"(.*?)[ _.:/-]*([A-Za-z]s?)\Z", primed)
    if parts is None:
        return None
    return _SYSTEMS.get(_plain(parts[1]), {}).get(parts[2])


def is_white(name: str) -> bool:
    """Whether a filter passes (nearly) all light: luminance, clear."""
    return _plain(name) in _WHITE


def order_by_wavelength(names: Iterable[str]) -> list[str]:
    """Known filters, the longest wavelength first; unknown ones are left out, equal ones go by name."""
    known = [(wavelength_nm(name), name) for name in set(names)]
    pairs = sorted(((nm, name) for nm, name in known if nm is not None), key=lambda one: (-one[0], one[1]))
    return [name for _, name in pairs]
