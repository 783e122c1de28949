"""Filters by wavelength: what a composite orders its channels by.

Names are matched whole, never by substring ('B' is not 'Blue'); single letters keep their case, because Sloan's r and
Cousins's R are two filters.
"""

from __future__ import annotations

from collections.abc import Iterable

# Effective wavelengths in nm. Johnson-Cousins: Bessell 1990 (PASP 102, 1181); Sloan: Fukugita et al. 1996 (AJ 111, 1748);
# 2MASS: Cohen et al. 2003 (AJ 126, 1090); lines at rest in air; LRGB and one-shot names: middle of the usual band.
_LETTERS = {
    "U": 365.0, "B": 445.0, "V": 551.0, "R": 658.0, "I": 806.0,
    "u": 354.3, "g": 477.0, "r": 623.1, "i": 762.5, "z": 913.4, "Z": 880.0, "y": 1004.0, "Y": 1020.0,
    "J": 1235.0, "H": 1662.0, "K": 2159.0, "w": 608.0,
}  # fmt: skip
_WORDS = {
    "ks": 2159.0,
    "red": 640.0, "green": 530.0, "blue": 450.0,
    "luminance": 550.0, "lum": 550.0, "l": 550.0, "clear": 550.0,
    "ha": 656.3, "halpha": 656.3, "hydrogenalpha": 656.3, "hb": 486.1, "hbeta": 486.1,
    "oiii": 500.7, "o3": 500.7, "oxygen": 500.7, "sii": 672.4, "s2": 672.4, "sulfur": 672.4, "sulphur": 672.4,
    "nii": 658.3, "n2": 658.3, "oi": 630.0, "hei": 587.6, "heii": 468.6,
    "gp": 477.0, "rp": 623.1, "ip": 762.5, "up": 354.3, "zp": 913.4, "zs": 870.0,
    "gprime": 477.0, "rprime": 623.1, "iprime": 762.5, "uprime": 354.3, "zprime": 913.4,
    "sdssu": 354.3, "sdssg": 477.0, "sdssr": 623.1, "sdssi": 762.5, "sdssz": 913.4,
    "bessellu": 365.0, "bessellb": 445.0, "bessellv": 551.0, "bessellr": 658.0, "besselli": 806.0,
    "johnsonu": 365.0, "johnsonb": 445.0, "johnsonv": 551.0, "cousinsr": 658.0, "cousinsi": 806.0, "rc": 658.0, "ic": 806.0,
}  # fmt: skip
# Filters that pass everything carry brightness, not colour.
_WHITE = frozenset({"luminance", "lum", "l", "clear", "w"})


def _plain(name: str) -> str:
    return "".join(
        one for one in name.lower().replace("α", "alpha").replace("β", "beta") if one.isalnum() or one == "'"
    )


def wavelength_nm(name: str) -> float | None:
    """The effective wavelength of a filter in nm; None for a name that is not known.

    Examples
    --------
    >>> wavelength_nm("H-Alpha"), wavelength_nm("B"), wavelength_nm("Blue"), wavelength_nm("none")
    (656.3, 445.0, 450.0, None)
    """
    text = name.strip()
    if text in _LETTERS:
        return _LETTERS[text]
    plain = _plain(text)
    if plain.endswith("'"):  # r' and the like
        plain = plain[:-1] + "prime"
    if plain in _WORDS:
        return _WORDS[plain]
    return None


def is_white(name: str) -> bool:
    """Whether a filter passes (nearly) all light: luminance, clear."""
    return _plain(name) in _WHITE


def order_by_wavelength(names: Iterable[str]) -> list[str]:
    """Known filters, the longest wavelength first; unknown ones are left out, equal ones go by name."""
    known = [(wavelength_nm(name), name) for name in set(names)]
    return [
        name
        for nm, name in sorted(((nm, name) for nm, name in known if nm is not None), key=lambda one: (-one[0], one[1]))
    ]
