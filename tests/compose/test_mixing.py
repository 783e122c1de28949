"""Which filter goes into which colour: wavelengths, palettes, presets, an observer's own mix."""

from __future__ import annotations

import pytest

from avcd.compose.filters import line_of, wavelength_nm
from avcd.compose.mixing import COLOURS, PRESETS, choose_mix, composites, mix_of
from avcd.config import COMPOSITES
from avcd.errors import ProcessingError

NIGHT = ("Luminance", "Red", "Green", "Blue", "Ha", "OIII", "SII")


def assigned(composite: str, *names: str) -> tuple[str, ...] | None:
    found = choose_mix(composite, names)
    return None if found is None else tuple(found.assignment[colour] for colour in COLOURS)


@pytest.mark.parametrize(
    ("name", "nm"),
    [
        ("F444W", 4440), ("CLEAR;F115W", 1150), ("F444W;F405N", 4050), ("F814W", 814), ("F606W/CLEAR2S", 606),
        ("F850LP", 850), ("F160W", 1600), ("F1800W", 18000), ("F410M", 4100), ("F502N", 502),
        ("NIR_H", 1771), ("VIS", 715), ("zg", 472), ("ZTF r", 634), ("r.00000", 623.1), ("PS1 i", 752),
        ("g DECam SDSS c0001 4720.0 1520.0", 472), ("z DECam SDSS c0004 9260.0 1520.0", 926), ("DECam Y", 1009),
        ("2MASS Ks", 2159), ("SDSS u", 354.3), ("Bessell-B", 445), ("Ha 7nm", 656.3), ("Sulfur", 672.4),
    ],
)  # fmt: skip
def test_filters_of_many_observatories_are_known_by_their_wavelength(name, nm):
    assert wavelength_nm(name) == pytest.approx(nm, rel=1e-3)


def test_bands_of_x_rays_are_ordered_by_energy():
    assert wavelength_nm("0.5-1.5 keV") > wavelength_nm("1.5-3 keV") > wavelength_nm("3-7 keV")
    assert assigned("chandra", "3-7 keV", "0.5-1.5 keV", "1.5-3 keV") == ("0.5-1.5 keV", "1.5-3 keV", "3-7 keV")


def test_lines_are_known_by_any_of_their_names():
    for line, names in {
        "ha": ("Ha", "H-Alpha", "hydrogen", "Ha 3nm", "F656N", "Hα"),
        "oiii": ("OIII", "O3", "Oxygen", "F502N", "O-III"),
        "sii": ("SII", "S2", "sul", "Sulphur", "F673N"),
    }.items():
        assert {line_of(name) for name in names} == {line}
    assert [line_of(name) for name in ("R", "H", "F606W", "Halo")] == [None] * 4


def test_palettes_are_what_they_are_called():
    lines = ("Ha", "OIII", "SII")
    assert assigned("sho", *lines) == ("SII", "Ha", "OIII")
    assert assigned("hoo", *lines) == ("Ha", "OIII", "OIII")
    assert assigned("hos", *lines) == ("Ha", "OIII", "SII")
    assert assigned("sho", "Ha", "OIII") is None


def test_natural_colours_use_every_line_that_is_there():
    found = choose_mix("natural", ("Ha", "OIII", "SII"))
    assert set(found.filters) == {"Ha", "OIII", "SII"}
    assert set(found.weights["red"]) == {"Ha", "SII"}
    assert found.weights["green"]["OIII"] > 0.5 < found.weights["blue"]["OIII"]
    assert choose_mix("natural", ("Ha", "SII")) is None


def test_one_nights_filters_make_two_pictures():
    broad, narrow = choose_mix("broadband", NIGHT), choose_mix("narrowband", NIGHT)
    assert tuple(broad.assignment[colour] for colour in COLOURS) == ("Red", "Green", "Blue")
    assert broad.luminance == "Luminance"
    assert "Ha" in broad.notes[0]
    assert assigned("narrowband", *NIGHT) == ("SII", "Ha", "OIII")
    assert narrow.lines
    assert not broad.lines


def test_a_single_line_joins_the_colour_that_it_has():
    assert assigned("broadband", "g", "r", "z", "H-Alpha") == ("z+H-Alpha", "r", "g")
    assert assigned("broadband", "Red", "Green", "Blue", "OIII") == ("Red", "Green+OIII", "Blue+OIII")


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_preset_is_made_of_its_own_filters(name):
    for triplet in PRESETS[name].triplets:
        names = [part.split("*")[-1].strip() for text in triplet for part in text.split("+")]
        found = choose_mix(name, [*reversed(names), "F999N"])
        assert set(found.filters) <= set(names)
        assert found.filters[0] == triplet[0].split("*")[-1]


def test_a_preset_takes_its_second_choice_and_says_when_it_has_none():
    assert assigned("jwst-nircam", "F115W", "F200W", "F356W", "F277W") == ("F356W", "F200W", "F115W")
    assert assigned("jwst-nircam", "F115W", "F200W") is None
    assert assigned("jwst-ceers", "F115W", "F150W", "F277W", "F444W")[2] == "0.4*F115W + 0.4*F150W"
    assert assigned("panstarrs", "g.00000", "i.00000", "r.00000") == ("i.00000", "r.00000", "g.00000")
    assert assigned("euclid", "NIR_Y", "NIR_J", "NIR_H", "VIS") == ("NIR_H", "NIR_J", "NIR_Y")


def test_three_filters_may_be_named_outright():
    assert assigned("F444W/F200W/F090W", "F090W", "F444W", "F200W") == ("F444W", "F200W", "F090W")
    assert assigned("K/H/J", "J", "H", "Ks") == ("Ks", "H", "J")


def test_a_mix_of_ones_own():
    texts = {"red": "0.8*Ha + 0.2*SII", "green": "OIII", "blue": "OIII*0.5", "luminance": "Ha"}
    found = mix_of(texts, ("Ha", "SII", "OIII"))
    assert found.weights == {"red": {"Ha": 0.8, "SII": 0.2}, "green": {"OIII": 1.0}, "blue": {"OIII": 0.5}}
    assert found.luminance == "Ha"
    with pytest.raises(ProcessingError, match="there are the filters"):
        mix_of({**texts, "green": "NII"}, ("Ha", "SII", "OIII"))
    with pytest.raises(ProcessingError, match="all three colours"):
        mix_of({"red": "Ha"}, ("Ha", "SII", "OIII"))


def test_an_unknown_composite_is_answered_with_those_there_are():
    with pytest.raises(ProcessingError, match="sho"):
        choose_mix("hubble", ("Ha",))
    assert sorted(COMPOSITES) == sorted(composites())


def test_the_span_is_the_longest_the_middle_and_the_shortest():
    assert assigned("span", "g", "r", "i", "z", "u") == ("z", "r", "u")
    assert assigned("span", "F090W", "F444W", "F200W", "F115W", "L") == ("F444W", "F200W", "F090W")
    assert assigned("span", "r", "g") is None


@pytest.mark.parametrize(
    ("question", "names", "wanted"),
    [
        ("star-formation", ("B", "V", "R", "I", "Ha"), ("Ha", "V", "B")),
        ("star-formation", ("u", "g", "r", "H-Alpha"), ("H-Alpha", "r", "u")),
        ("stellar-population", ("u", "g", "r", "i", "z"), ("z", "r", "g")),
        ("agn", ("J", "OIII", "U", "V"), ("J", "OIII", "U")),
        ("dust", ("F770W", "F200W", "V", "F444W"), ("F770W", "F200W", "V")),
    ],
)
def test_a_question_chooses_the_filters_that_tell(question, names, wanted):
    assert assigned(question, *names) == wanted
    assert assigned(question, *reversed(names)) == wanted
    assert assigned(question, *names[-2:]) is None


def test_components_are_of_all_filters_and_of_three_at_least():
    found = choose_mix("components", ("x", "r", "g"))
    assert found.components
    assert set(found.filters) == {"x", "r", "g"}
    assert choose_mix("components", ("r", "g")) is None


@pytest.mark.parametrize("name", composites())
def test_no_filters_make_nothing(name):
    assert choose_mix(name, ()) is None
