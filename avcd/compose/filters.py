"""Filters by wavelength: what a composite orders its channels by.

Names are matched whole, never by substring ('B' is not 'Blue'); single letters keep their case, because Sloan's r and
Cousins's R are two filters.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

# Effective wavelengths in nm. Johnson-Cousins: Bessell 1990 (PASP 102, 1181); Sloan: Fukugita et al. 1996 (AJ 111, 1748);
# 2MASS: Cohen et al. 2003 (AJ 126, 1090); Pan-STARRS: Tonry et al. 2012 (ApJ 750, 99); DECam: Abbott et al. 2018 (ApJS
# 239, 18); ZTF: Bellm et al. 2019 (PASP 131, 018002); Euclid: Schirmer et al. 2022 (A&A 662, A92); lines at rest in air;
# LRGB and one-shot names: middle of the usual band.
_JOHNSON = {"U": 365.0, "B": 445.0, "V": 551.0, "R": 658.0, "I": 806.0}
_SLOAN = {"u": 354.3, "g": 477.0, "r": 623.1, "i": 762.5, "z": 913.4}
_PANSTARRS = {"g": 481.0, "r": 617.0, "i": 752.0, "z": 866.0, "y": 962.0, "w": 608.0}
_DECAM = {"u": 355.0, "g": 473.0, "r": 642.0, "i": 784.0, "z": 926.0, "Y": 1009.0}
_ZTF = {"g": 472.0, "r": 634.0, "i": 789.0}
_EUCLID = {"Y": 1081.0, "J": 1367.0, "H": 1771.0}
_INFRARED = {"Z": 880.0, "y": 962.0, "Y": 1020.0, "J": 1235.0, "H": 1662.0, "K": 2159.0}
_LETTERS = {**_JOHNSON, **_SLOAN, **_INFRARED}
_WORDS = {
    "ks": 2159.0,
    "red": 640.0, "green": 530.0, "blue": 450.0,
    "luminance": 550.0, "lum": 550.0, "l": 550.0, "clear": 550.0, "w": 550.0,
    "ha": 656.3, "halpha": 656.3, "hydrogenalpha": 656.3, "hydrogen": 656.3, "hb": 486.1, "hbeta": 486.1,
    "oiii": 500.7, "o3": 500.7, "oxygen": 500.7, "sii": 672.4, "s2": 672.4, "sulfur": 672.4, "sulphur": 672.4, "sul": 672.4,
    "nii": 658.3, "n2": 658.3, "oi": 630.0, "hei": 587.6, "heii": 468.6,
    "zs": 870.0, "rc": 658.0, "ic": 806.0, "vis": 715.0, "vr": 626.0,
}  # fmt: skip
_SYSTEMS = {
    **{name: {**_SLOAN, "y": 962.0} for name in ("sdss", "sloan")},
    **dict.fromkeys(("panstarrs", "ps1"), _PANSTARRS),
    **dict.fromkeys(("z", "ztf"), _ZTF),
    "decam": _DECAM,
    **dict.fromkeys(("johnson", "bessel", "bessell", "cousins", "kron", "johnsoncousins"), _JOHNSON),
    **{name: {**_INFRARED, "Ks": 2159.0} for name in ("2mass", "ukidss")},
    **dict.fromkeys(("euclid", "nir", "nisp"), _EUCLID),
}  # fmt: skip
# Space filters are named by their wavelength: Hubble's optical ones in nm, all others in units of 10 nm.
_HUBBLE = frozenset(
    (218, 220, 225, 250, 275, 280, 330, 336, 343, 344, 350, 370, 373, 375, 380, 390, 395, 435, 437, 438, 439, 450, 467,
     469, 475, 487, 502, 547, 550, 555, 569, 588, 600, 606, 621, 622, 625, 631, 645, 656, 657, 658, 660, 665, 673, 675,
     680, 689, 702, 763, 775, 791, 814, 845, 850, 892, 953)
)  # fmt: skip
_SPACE = re.compile(r"[fF](\d{3,4})([wWmMnN]2?|[lL][pP]|[xX])\Z")
# Narrow filters of both telescopes that show one line.
_SPACE_LINES = {"F656N": "ha", "F657N": "ha", "F658N": "ha", "F502N": "oiii", "F673N": "sii", "F487N": "hb",
                "F660N": "nii", "F631N": "oi"}  # fmt: skip
_DECAM_CARD = re.compile(r"\w+ DECam .*?\s(\d{4,5}(?:\.\d+)?) \d")  # "g DECam SDSS c0001 4720.0 1520.0"
_ENERGY = re.compile(r"(\d+(?:\.\d+)?)\s*(?:-|to)\s*(\d+(?:\.\d+)?)\s*[kK]e[vV]\Z")
_KEV_NM = 1.23984  # the wavelength of a photon of 1 keV
_WIDTH = re.compile(r"[ _-]*\d+(\.\d+)? ?(nm|NM|Nm)\Z")  # "Ha 7nm"
_ORDINAL = re.compile(r"([a-zA-Z])\.0+\Z")  # Pan-STARRS writes r.00000
_WHEELS = re.compile(r"[;/,+]")  # two wheels: "F444W;F405N", "CLEAR1L;F606W", "F115W;CLEAR"
_EMPTY_WHEEL = re.compile(r"clear\d?[a-z]?|open|empty|none|n/?a|pupil", re.IGNORECASE)
# A line by any of its names.
_LINES = {
    **dict.fromkeys(("ha", "halpha", "hydrogenalpha", "hydrogen"), "ha"),
    **dict.fromkeys(("hb", "hbeta"), "hb"),
    **dict.fromkeys(("oiii", "o3", "oxygen"), "oiii"),
    **dict.fromkeys(("sii", "s2", "sulfur", "sulphur", "sul"), "sii"),
    **dict.fromkeys(("nii", "n2"), "nii"),
    "oi": "oi", "hei": "hei", "heii": "heii",
}  # fmt: skip
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
        or a line in any spelling; a space filter such as F814W (Hubble's in nm, Hubble's infrared and Webb's in 10 nm);
        of two wheels ("F444W;F405N") the narrower; a band of energies ("0.5-1.5 keV").

    Examples
    --------
    >>> wavelength_nm("H-Alpha"), wavelength_nm("B"), wavelength_nm("Blue"), wavelength_nm("none")
    (656.3, 445.0, 450.0, None)
    """
    energies = _ENERGY.match(name.strip())
    if energies:
        return 2 * _KEV_NM / (float(energies[1]) + float(energies[2]))
    card = _DECAM_CARD.match(name.strip())
    if card:
        return float(card[1]) / 10
    text = _one_wheel(_WIDTH.sub("", name.strip()))
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


def _one_wheel(text: str) -> str:
    """Of the filters in several wheels the one that tells; the text itself where there is but one."""
    parts = [one.strip() for one in _WHEELS.split(text)]
    known = [one for one in parts if one and not _EMPTY_WHEEL.fullmatch(one)]
    if len(parts) < 2 or not known:
        return text
    return min(known, key=lambda one: (one[-1:].upper() not in ("N", "M"), parts.index(one)))


def line_of(name: str) -> str | None:
    """The emission line that a narrow filter shows: ha, hb, oiii, sii, nii, oi, hei, heii; None for a broad one."""
    text = _one_wheel(_WIDTH.sub("", name.strip()))
    return _SPACE_LINES.get(text.upper()) or _LINES.get(_plain(text))


def means_band(name: str, band: str, systems: Iterable[str] = ()) -> bool:
    """Whether a filter's name means a band.

    Parameters
    ----------
    name
        As the header has it.
    band
        A space filter (F606W), which must be that very one; a line, by any of its names; else a letter or word, whose
        wavelength is compared within four per cent, for surveys differ by that in what they call r.
    systems
        Whose letters they may be, beside the plain ones: "PS1", "Euclid".
    """
    if _SPACE.match(band):
        return _one_wheel(name.strip()).upper() == band.upper()
    if line_of(band) or line_of(name):
        return line_of(band) == line_of(name)
    if is_white(band) or is_white(name):
        return is_white(band) and is_white(name)
    found = wavelength_nm(name)
    wanted = [wavelength_nm(text) for text in (band, *(f"{system} {band}" for system in systems))]
    return found is not None and any(nm is not None and abs(found - nm) <= 0.04 * nm for nm in wanted)


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
