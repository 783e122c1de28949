"""Which filters go into which colour: by wavelength, by the palettes of narrow filters, by presets, or by an observer's mix.

A composite is named: "broadband", "narrowband", a palette ("sho"), a preset ("jwst-nircam"), or three filters from red to
blue ("F444W/F200W/F090W"). What a name comes to depends on the filters that are there, and on nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import log

from avcd.compose.filters import is_white, line_of, means_band, order_by_wavelength, wavelength_nm
from avcd.errors import ProcessingError

COLOURS = ("red", "green", "blue")
_TERM = re.compile(r"\s*(?:(\d*\.?\d+)\s*\*\s*)?(.+?)(?:\s*\*\s*(\d*\.?\d+))?\s*\Z")

# Lines to colours. Hubble's palette is in order of wavelength; of two lines the bluer one makes green and blue alike.
PALETTES: Mapping[str, tuple[str, str, str]] = {
    "sho": ("sii", "ha", "oiii"),
    "hoo": ("ha", "oiii", "oiii"),
    "hos": ("ha", "oiii", "sii"),
}
# The eye's colours: what a line looks like where it is bright. Every line that is there takes part.
_NATURAL: Mapping[str, tuple[float, float, float]] = {
    "ha": (1.0, 0.0, 0.15),  # with the hydrogen's blue lines, which follow it
    "nii": (1.0, 0.0, 0.0),
    "sii": (1.0, 0.0, 0.0),
    "oi": (1.0, 0.15, 0.0),
    "hei": (1.0, 0.8, 0.0),
    "oiii": (0.0, 1.0, 0.85),
    "hb": (0.0, 0.35, 1.0),
    "heii": (0.1, 0.0, 1.0),
}


@dataclass(frozen=True)
class Preset:
    """Triplets of filters from red to blue, the best first; ``systems`` whose letters they may be."""

    triplets: tuple[tuple[str, str, str], ...]
    systems: tuple[str, ...] = ()


PRESETS: Mapping[str, Preset] = {
    "jwst-nircam": Preset((("F444W", "F200W", "F090W"), ("F356W", "F200W", "F115W"), ("F277W", "F150W", "F090W"))),
    "jwst-ceers": Preset((("1.1*F444W", "0.75*F277W", "0.4*F115W + 0.4*F150W"),)),
    "jwst-jades": Preset((("1.1*F444W", "0.75*F200W", "0.4*F090W"),)),
    "jwst-miri": Preset((("F1800W", "F1000W", "F560W"),)),
    "hst-acs": Preset((("F814W", "F606W", "F435W"), ("F850LP", "F606W", "F475W"), ("F775W", "F555W", "F435W"))),
    "hst-uvis": Preset((("F814W", "F555W", "F438W"),)),
    "hst-uvis-lines": Preset((("F658N", "F656N", "F502N"),)),
    "hst-ir": Preset((("F160W", "F125W", "F105W"),)),
    "panstarrs": Preset((("i", "r", "g"), ("z", "i", "r")), ("PS1",)),
    "ztf": Preset((("i", "r", "g"),), ("ZTF",)),
    "sdss": Preset((("i", "r", "g"),), ("SDSS",)),
    "decam": Preset((("z", "r", "g"),), ("DECam",)),
    "euclid": Preset((("H", "J", "Y"),), ("Euclid",)),
    "2mass": Preset((("K", "H", "J"),), ("2MASS",)),
    "chandra": Preset((("0.5-1.5 keV", "1.5-3 keV", "3-7 keV"),)),
    "rgb": Preset((("Red", "Green", "Blue"), ("R", "V", "B"), ("I", "R", "V"))),
}

# What tells of a question, from red to blue: a line, or the shortest, longest and best wavelengths in nm.
Window = str | tuple[float, float, float]
SCIENCE: Mapping[str, tuple[Window, Window, Window]] = {
    # ionised hydrogen; the stars there are; the young and hot ones
    "star-formation": ("ha", (500.0, 950.0, 560.0), (100.0, 500.0, 400.0)),
    # old stars, the mean of all, young ones
    "stellar-population": ((740.0, 2600.0, 1000.0), (500.0, 740.0, 620.0), (300.0, 500.0, 430.0)),
    # hot dust, or where that is lacking the near infrared; gas that is ionised by hard light; what shines itself
    "agn": ((740.0, 30000.0, 4600.0), "oiii", (0.1, 500.0, 360.0)),
    # large molecules and warm dust, starlight that dust lets through, starlight that it does not
    "dust": ((5000.0, 30000.0, 7700.0), (1000.0, 5000.0, 2100.0), (300.0, 1000.0, 550.0)),
}
COMPONENTS = "components"


@dataclass(frozen=True)
class Mix:
    """What each colour is made of: the weight of each filter, by colour; and what carries the brightness, if one filter does.

    ``lines`` says that narrow filters make it, whose stars tell nothing of their colours. ``components``: the weights are yet to be found, as
    principal components of the images; till then they are all filters' mean.
    """

    weights: Mapping[str, Mapping[str, float]]
    luminance: str | None = None
    lines: bool = False
    notes: tuple[str, ...] = ()
    components: bool = False

    @property
    def filters(self) -> tuple[str, ...]:
        """All that take part, in the order of colours."""
        names = [name for colour in COLOURS for name in self.weights[colour]]
        return tuple(dict.fromkeys([*names, self.luminance] if self.luminance else names))

    @property
    def assignment(self) -> dict[str, str]:
        """In words, by colour: "Ha", or "0.7*Ha + 0.3*SII" where weights differ."""
        found = {}
        for colour in COLOURS:
            terms = self.weights[colour]
            equal = all(abs(weight * len(terms) - 1) < 1e-6 for weight in terms.values())
            found[colour] = (
                "+".join(terms) if equal else " + ".join(f"{weight:.6g}*{name}" for name, weight in terms.items())
            ).replace("+ -", "- ")
        return found | ({"luminance": self.luminance} if self.luminance else {})


def choose_mix(composite: str, names: Sequence[str]) -> Mix | None:
    """What a composite of some name is made of, with the filters there are; None where they do not suffice.

    Parameters
    ----------
    composite
        "auto" (broadband, else narrowband), "broadband", "narrowband", "wavelength" (all there is, the longest in red), "span" (the
        longest, the middle and the shortest), "lrgb", "natural", "components", a question of `SCIENCE`, a palette, a preset, or three
        filters "R/G/B".
    names
        Of the filters, as the headers have them; order does not matter.

    Raises
    ------
    ProcessingError
        There is no composite of this name.
    """
    known = order_by_wavelength(names)
    if composite == COMPONENTS:
        every = sorted(names)
        return Mix(dict.fromkeys(COLOURS, _mean(every)), components=True) if len(every) >= len(COLOURS) else None
    if composite in SCIENCE:
        return _of_windows(SCIENCE[composite], known)
    if composite in _KINDS:
        return _KINDS[composite](known)
    if composite in PALETTES:
        return _of_triplet(PALETTES[composite], known, lines=True)
    if composite in PRESETS:
        preset = PRESETS[composite]
        found = (_of_triplet(one, known, systems=preset.systems) for one in preset.triplets)
        return next((one for one in found if one), None)
    parts = composite.split("/")
    if len(parts) == 3:
        return _of_triplet((parts[0], parts[1], parts[2]), list(names))
    raise ProcessingError(f"{composite!r} is no composite; there are {', '.join(sorted(composites()))}, or R/G/B")


def composites() -> list[str]:
    """The names of all composites."""
    return [*_KINDS, COMPONENTS, *SCIENCE, *PALETTES, *PRESETS]


def mix_of(texts: Mapping[str, str], names: Sequence[str]) -> Mix:
    """An observer's own mix.

    Parameters
    ----------
    texts
        By "red", "green", "blue" and perhaps "luminance": a filter, or a sum as in ``0.8*Ha + 0.2*SII``.
    names
        Of the filters there are.

    Raises
    ------
    ProcessingError
        A colour is missing, or a filter.
    """
    missing = [colour for colour in COLOURS if not texts.get(colour)]
    if missing:
        raise ProcessingError(f"a mix needs all three colours; {', '.join(missing)} is not said")
    weights = {}
    for colour in COLOURS:
        found = _terms(texts[colour], names)
        if found is None:
            raise ProcessingError(f"{colour}: {texts[colour]!r}: there are the filters {', '.join(sorted(names))}")
        weights[colour] = found
    luminance = texts.get("luminance") or None
    if luminance is not None:
        luminance = next((name for name in names if means_band(name, str(luminance)) or name == luminance), None)
        if luminance is None:
            raise ProcessingError(
                f"luminance: {texts['luminance']!r}: there are the filters {', '.join(sorted(names))}"
            )
    return Mix(weights, luminance, lines=all(line_of(name) for terms in weights.values() for name in terms))


def _terms(text: str, names: Sequence[str], systems: Sequence[str] = ()) -> dict[str, float] | None:
    """'0.8*Ha + SII' as the weight of each filter; None where one is not there."""
    found: dict[str, float] = {}
    for part in text.split("+") if text not in names else [text]:
        term = _TERM.match(part)
        if term is None:
            return None
        band = term[2]
        exact = [name for name in names if name == band]
        alike = exact or [name for name in names if means_band(name, band, systems)]
        if not alike:
            return None
        found[alike[0]] = found.get(alike[0], 0.0) + float(term[1] or 1) * float(term[3] or 1)
    return found


def _of_triplet(
    triplet: tuple[str, str, str], names: Sequence[str], *, systems: Sequence[str] = (), lines: bool = False
) -> Mix | None:
    terms = [_terms(text, names, systems) for text in triplet]
    if any(one is None for one in terms):
        return None
    weights = {colour: one for colour, one in zip(COLOURS, terms, strict=True) if one is not None}
    return Mix(weights, lines=lines or all(line_of(name) for one in weights.values() for name in one))


def _broadband(known: Sequence[str]) -> Mix | None:
    """The broad filters by wavelength, with the luminance if there is one; a single line joins the colour it has."""
    lines = [name for name in known if line_of(name)]
    white = [name for name in known if is_white(name)]
    broad = [name for name in known if name not in lines and name not in white]
    if len(broad) < 2:
        if len({line_of(name) for name in lines}) >= 2:
            return None
        coloured = [name for name in known if name not in white]
        return _by_wavelength(coloured) or _by_wavelength(known)
    mix = _by_wavelength(broad)
    assert mix is not None
    if len(lines) == 1:
        mix = _with_line(mix, lines[0])
    luminance = white[0] if white and len(broad) >= 3 else None
    unused = [name for name in (*lines, *white) if name != luminance and name not in mix.filters]
    notes = (*mix.notes, f"not in the composite: {', '.join(sorted(unused))}") if unused else mix.notes
    return Mix(mix.weights, luminance, notes=notes)


def _with_line(mix: Mix, name: str) -> Mix:
    shares = dict(zip(COLOURS, _NATURAL[line_of(name) or "ha"], strict=True))
    weights = {
        colour: _mean([*mix.weights[colour], name] if shares[colour] >= 0.5 else list(mix.weights[colour]))
        for colour in COLOURS
    }
    return Mix(weights, mix.luminance, notes=mix.notes)


def _narrowband(known: Sequence[str]) -> Mix | None:
    """Hubble's palette where its three lines are there; else of two lines the redder in red, the other in green and blue."""
    for name in ("sho", "hoo"):
        found = _of_triplet(PALETTES[name], known, lines=True)
        if found:
            return found
    lines = [name for name in known if line_of(name)]
    return _natural(known) or (_by_wavelength(lines, lines=True) if len(lines) >= 2 else None)


def _natural(known: Sequence[str]) -> Mix | None:
    """Every line in the colour that the eye would see."""
    lines = [name for name in known if line_of(name)]
    shares = {name: dict(zip(COLOURS, _NATURAL[line_of(name) or "ha"], strict=True)) for name in lines}
    weights = {colour: {name: shares[name][colour] for name in lines if shares[name][colour] > 0} for colour in COLOURS}
    main = [[name for name, weight in weights[colour].items() if weight >= 0.5] for colour in COLOURS]
    if not main[0] or not (main[1] or main[2]):
        return None
    scaled = {
        colour: {
            name: round(weight / max(1, len(strong)), 6) for name, weight in (weights[colour] or dict(spare)).items()
        }
        for colour, strong, spare in zip(COLOURS, main, ({}, weights["blue"], weights["green"]), strict=True)
    }
    return Mix(scaled, lines=True)


def _lrgb(known: Sequence[str]) -> Mix | None:
    found = _broadband([name for name in known if not line_of(name)])
    return found if found is not None and found.luminance else None


def _auto(known: Sequence[str]) -> Mix | None:
    return _broadband(known) or _narrowband(known) or _by_wavelength(known)


def _by_wavelength(known: Sequence[str], *, lines: bool = False) -> Mix | None:
    """Filters, the longest first, to the three colours: those of one third of the span together."""
    names = list(known)
    if len(names) < 2:
        return None
    if len(names) == 2:
        weights = {"red": _mean(names[:1]), "green": _mean(names), "blue": _mean(names[1:])}
        return Mix(weights, lines=lines, notes=("two filters only: green is their mean",))
    if len(names) == 3:
        return Mix({colour: {name: 1.0} for colour, name in zip(COLOURS, names, strict=True)}, lines=lines)
    longest, shortest = wavelength_nm(names[0]) or 0.0, wavelength_nm(names[-1]) or 0.0
    groups: dict[str, list[str]] = {colour: [] for colour in COLOURS}
    for name in names:
        part = (longest - (wavelength_nm(name) or 0.0)) / max(longest - shortest, 1e-9)
        groups[COLOURS[min(int(part * 3), 2)]].append(name)
    if not groups["green"]:  # all at the ends: the one next to the middle goes there, from the end that has more
        red_has_more = len(groups["red"]) > len(groups["blue"])
        groups["green"].append(groups["red"].pop() if red_has_more else groups["blue"].pop(0))
    return Mix({colour: _mean(groups[colour]) for colour in COLOURS}, lines=lines)


def _span(known: Sequence[str]) -> Mix | None:
    """The longest, the shortest, and the one in the middle between them, in octaves; each alone."""
    names = [name for name in known if not is_white(name)]
    if len(names) < 3:
        return None
    longest, shortest = wavelength_nm(names[0]) or 0.0, wavelength_nm(names[-1]) or 0.0
    middle = _nearest(names[1:-1], (longest * shortest) ** 0.5)
    triplet = names[0], middle, names[-1]
    lines = all(line_of(name) for name in triplet)
    return Mix({colour: {name: 1.0} for colour, name in zip(COLOURS, triplet, strict=True)}, lines=lines)


def _nearest(names: Sequence[str], wanted_nm: float) -> str:
    return min(names, key=lambda name: (abs(log(max(wavelength_nm(name) or 0.0, 1e-9) / wanted_nm)), name))


def _of_windows(windows: Sequence[Window], known: Sequence[str]) -> Mix | None:
    """In each colour the filter that is best for it; None where one has none of its own."""
    chosen: list[str] = []
    for window in windows:
        rest = [name for name in known if name not in chosen and not is_white(name)]
        if isinstance(window, str):
            able = [name for name in rest if line_of(name) == window]
            chosen += able[:1]
        else:
            low, high, best = window
            able = [name for name in rest if low <= (wavelength_nm(name) or 0.0) < high and not line_of(name)]
            chosen += [_nearest(able, best)] if able else []
        if not able:
            return None
    return Mix({colour: {name: 1.0} for colour, name in zip(COLOURS, chosen, strict=True)})


def _mean(names: Sequence[str]) -> dict[str, float]:
    return dict.fromkeys(names, 1 / len(names))


_KINDS: Mapping[str, Callable[[Sequence[str]], Mix | None]] = {
    "auto": _auto,
    "broadband": _broadband,
    "narrowband": _narrowband,
    "wavelength": _by_wavelength,
    "span": _span,
    "lrgb": _lrgb,
    "natural": _natural,
}
