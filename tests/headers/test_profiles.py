"""Profiles are data that is checked: what is wrong is named by file and key."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from avcd.errors import ConfigError
from avcd.frame import Card, ImageType
from avcd.headers.gathering import Hdu
from avcd.headers.profiles import load_profiles
from avcd.headers.translation import translate


@pytest.fixture
def home(tmp_path):
    (tmp_path / "instruments").mkdir()
    return tmp_path


def test_shipped_profiles_are_there(profiles):
    for name in ("generic", "itelescope", "astep", "arcsat", "prompt", "lco", "feder", "sdss"):
        assert profiles.profile(name).name == name
    assert profiles.site("mayhill").code == "H06"
    assert profiles.site_of("T05").name == "mayhill"


def test_an_unknown_name_says_which_there_are(profiles):
    with pytest.raises(ConfigError, match="no instrument profile is named 'x'; there are app, arcsat"):
        profiles.profile("x")
    with pytest.raises(ConfigError, match="no site is named 'x'"):
        profiles.site("x")


def test_a_homes_profile_and_site_are_used_and_win(home):
    (home / "instruments" / "mine.toml").write_text(
        """
        inherits = "generic"
        priority = 50
        date_obs = "end"
        [[match]]
        cards = { INSTRUME = "^Mine" }
        [cards]
        exposure_s = { keys = ["SHUTTIME"], unit = "s" }
        [image_types]
        "sky" = "science"
        [filters]
        "no 3" = "R"
        [defaults]
        telescope = "My 30 cm"
        site = "garden"
        """
    )
    (home / "sites.toml").write_text("[garden]\nlatitude_deg = 50\nlongitude_deg = 170\n")
    profiles = load_profiles(home)
    assert profiles.profile("mine").image_types["light"] is ImageType.SCIENCE
    cards = {
        "INSTRUME": "Mine 1",
        "IMAGETYP": "Sky",
        "SHUTTIME": 60.0,
        "FILTER": "no 3",
        "DATE-OBS": "2026-01-15T00:01:00",
    }
    hdu = Hdu("0", "1", tuple(Card(key, value) for key, value in cards.items()), (5, 6), False)
    frame = translate(hdu, "x.fit", "", profiles)
    assert (frame.profile, frame.telescope, frame.filter, frame.exposure_s) == ("mine", "My 30 cm", "R", 60.0)
    assert frame.date_obs == "2026-01-15T00:00:00.000"
    assert (frame.night, frame.night_rule, frame.site) == ("2026-01-14", "site", "garden")
    assert frame.sources["exposure_s"] == "card SHUTTIME"
    assert frame.sources["telescope"] == "profile mine"


def test_the_worked_example_of_the_docs(home):
    text = (Path(__file__).parents[2] / "docs" / "instruments.md").read_text(encoding="utf-8")
    for name, block in re.findall(r"```toml\n# (\S+)\n(.*?)```", text, re.DOTALL):
        (home / name).write_text(block)
    cards = {
        "INSTRUME": "TCP CCD",
        "IMAGETYP": "object",
        "INSFILTE": "SDSSr",
        "EXPTIME": 30.0,
        "DATE-OBS": "2023-03-14T01:02:03",
    }
    hdu = Hdu("0", "1", tuple(Card(key, value) for key, value in cards.items()), (5, 6), False)
    frame = translate(hdu, "230313/x.fits", "", load_profiles(home))
    assert (frame.profile, frame.telescope, frame.filter, frame.bunit) == ("astrodart", "IAC80", "SDSSr", "adu")
    assert (frame.gain_e_per_adu, frame.read_noise_e, frame.pixel_scale_arcsec) == (4.23, 6.5, 0.322)
    assert (frame.site, frame.night, frame.obs_id) == ("teide", "2023-03-13", "iac80/2023-03-13/no-target")
    assert (frame.sources["filter"], frame.sources["read_noise_e"]) == ("card INSFILTE", "profile astrodart")
    assert frame.warnings == ()
    both = (*hdu.cards, Card("FILTER", "g"), Card("GAIN", 2.0, "e-/ADU"), Card("SECPIX", 0.3))
    frame = translate(Hdu("0", "1", both, (5, 6), False), "x.fits", "", load_profiles(home))
    # The renamed key comes first; what the header says wins over what is always so.
    assert (frame.filter, frame.gain_e_per_adu, frame.pixel_scale_arcsec) == ("SDSSr", 2.0, 0.3)


def test_a_profile_inherits_from_one_that_inherits(home):
    (home / "instruments" / "mine.toml").write_text(
        'inherits = "itelescope"\npriority = 90\n[[match]]\npath = "^mine/"\n'
    )
    frame = translate(
        Hdu("0", "1", (Card("TELESCOP", "iTelescope 9"),), (5, 6), False),
        "mine/raw-T05-me-M31-20240101-010203-Ha-BIN1-E-300-001.fit",
        "",
        load_profiles(home),
    )
    assert (frame.profile, frame.telescope, frame.filter) == ("mine", "T05", "Ha")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[names]]\npattern = 'x'\ncontains = 'X'", "in small letters: write 'x'"),
        ("[[history]]\npattern = '(?P<filter>x)'", "no such value: filter"),
        ("[defaults]\ngain_e_per_adu = 'two'", "gain_e_per_adu = 'two' is no number"),
        ("[defaults]\nimage_type = 'sciense'", "'sciense' is not a valid ImageType"),
        ("colour = 3", "colour: Extra inputs"),
        ("[cards]\nexposure = { keys = ['X'] }", "cards: .*no such value: exposure"),
        ("[cards]\ngain = { keys = ['X'], units = 's' }", "cards.gain.units: Extra inputs"),
        ("[cards]\ngain = { keys = ['X'], unit = 'furlong' }", "cards.gain.unit"),
        ("[image_types]\n'light' = 'sciense'", "image_types.light"),
        ("[[names]]\npattern = '(?P<colour>x)'", "no such value: colour"),
        ("[[names]]\npattern = '(x'", "missing \\)"),
        ("[[match]]\npath = '(x'", "missing \\)"),
        ("[defaults]\nsite = 'atlantis'", "no site is named 'atlantis'"),
        ("[defaults]\ncolour = 1", "no such value: colour"),
        ("prefer_name = ['colour']", "no such value: colour"),
        ("[transforms]\ntelescope = [['(', 'x']]", "missing \\)"),
        ("inherits = 'nobody'", "no such profile, or a circle"),
        ("inherits = 'bad'", "no such profile, or a circle"),
        ("date_obs = 'noon'", "date_obs"),
        ("x = ", "not valid TOML"),
    ],
)
def test_mistakes_are_named_by_file_and_key(text, words, home):
    (home / "instruments" / "bad.toml").write_text(text)
    with pytest.raises(ConfigError, match=r"(?s)bad\.toml: .*" + words):
        load_profiles(home)


@pytest.mark.parametrize(
    ("text", "words"),
    [("garden = 3", "a site is a table"), ("[garden]\nlatitude_deg = 95\nlongitude_deg = 0", "garden|latitude_deg")],
)
def test_mistakes_in_sites_are_named(text, words, home):
    (home / "sites.toml").write_text(text)
    with pytest.raises(ConfigError, match=r"sites\.toml: .*" + words):
        load_profiles(home)
