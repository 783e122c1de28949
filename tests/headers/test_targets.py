"""Targets by their names: a home's own table, names that were resolved, and frames that do not say where they point."""

from __future__ import annotations

import pytest

from avcd.errors import ConfigError, TransientError
from avcd.frame import Card
from avcd.headers.gathering import Hdu
from avcd.headers.profiles import load_profiles
from avcd.headers.targets import Target, keep_resolved, key_of, load_targets
from avcd.headers.translation import translate
from avcd.sesame import ask_sesame
from avcd.views.targets import look_up

# As Sesame answered for M 42.
ANSWER = """# M 42\t#Q4150182
#=S=Simbad (via url):    1     0ms
%@ 3310876
%C.0 HII
%J 83.8220800 -5.3911100 = 05:35:17.29 -05:23:27.9
%J.E [~ ~ ~] D 1981MNRAS.194..693L
%I.0 M  42
#====Done (2026-Jan-15,20:00:00z)====
"""
NOTHING = "# Nobody's star\n#=S=Simbad (via url): 0\n#!SNV: No known catalog could be found\n"


def frame_of(home, **more):
    cards = {"IMAGETYP": "Light Frame", "OBJECT": "m 42", "DATE-OBS": "2026-01-15T04:00:00", "EXPTIME": 600.0,
             "SITELAT": 32.9, "SITELONG": -105.5, **more}  # fmt: skip
    listed = tuple(Card(key, value) for key, value in cards.items() if value is not None)
    hdu = Hdu(id="0" * 64, pixel_sha256="1" * 64, cards=listed, shape=(10, 12), is_table=False)
    return translate(hdu, "night/m42.fits", "", load_profiles(home))


@pytest.fixture
def home(tmp_path):
    (tmp_path / "targets.toml").write_text('"M 42" = "05:35:17.3, -05:23:28"\n', encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("spelt", ['"05:35:17.3, -05:23:28"', '"05:35:17.3 -05:23:28"', "[83.82208, -5.39111]",
                                   '"83.82208, -5.39111"', '"05 35 17.3, -05 23 28"'])  # fmt: skip
def test_a_place_may_be_written_in_many_ways(spelt, tmp_path):
    (tmp_path / "targets.toml").write_text(f'"M 42" = {spelt}\n', encoding="utf-8")
    found = load_targets(tmp_path)[key_of("m42")]
    assert (found.ra_deg, found.dec_deg) == pytest.approx((83.82208, -5.39111), abs=1e-5)


@pytest.mark.parametrize("spelt", ['"somewhere"', "[1]", "[400, 0]", "[10, 95]", "12", '"05:35:99, 2"'])
def test_a_place_that_is_none_is_told_with_file_and_target(spelt, tmp_path):
    (tmp_path / "targets.toml").write_text(f'"M 42" = {spelt}\n', encoding="utf-8")
    with pytest.raises(ConfigError, match=r"targets\.toml: 'M 42': write right ascension"):
        load_profiles(tmp_path)


def test_a_frame_without_pointing_is_where_its_target_is_and_says_so(home):
    found = frame_of(home)
    assert (found.s_ra, found.s_dec) == pytest.approx((83.82208, -5.39111), abs=1e-4)
    assert found.sources["s_ra"] == found.sources["s_dec"] == "targets.toml, by its name"
    assert found.airmass == pytest.approx(1.312, abs=0.003)  # sec z is 1.3140
    assert found.sources["airmass"] == "pointing, site and time"


def test_a_pointing_of_its_own_goes_before_and_calibrations_point_nowhere(home):
    told = frame_of(home, RA="10 00 00", DEC="+20 00 00")
    assert (told.s_ra, told.s_dec) == (150, 20)
    assert frame_of(home, IMAGETYP="Dark Frame").s_ra is None
    assert frame_of(home, OBJECT="M 43").s_ra is None
    assert frame_of(None).s_ra is None


def test_an_airmass_of_the_headers_own_stays(home):
    found = frame_of(home, AIRMASS=1.9)
    assert (found.airmass, found.sources["airmass"]) == (1.9, "card AIRMASS")
    assert frame_of(home, SITELAT=None, SITELONG=None).airmass is None
    assert frame_of(home, SITELAT=-80.0).airmass is not None
    assert frame_of(home, **{"DATE-OBS": "2026-01-15T18:00:00"}).airmass is None  # below the horizon


def test_what_was_resolved_is_kept_and_the_homes_own_table_goes_before(home):
    awkward = 'the "best" \\ star'
    keep_resolved(home, {"a": Target("M 42", 1.0, 2.0, "Sesame"), "b": Target(awkward, 10.5, -20.25, "Sesame")})
    keep_resolved(home, {"c": Target("NGC-7000", 314.75, 44.37, "Sesame")})
    found = load_targets(home)
    assert found[key_of("M_42")].source == "targets.toml"
    assert found[key_of(awkward)] == Target(awkward, 10.5, -20.25, "resolved.toml")
    assert found["ngc7000"].ra_deg == 314.75


def test_another_table_is_another_translation(home):
    before = load_profiles(home).digests()
    keep_resolved(home, {"a": Target("M 1", 83.6, 22.0, "Sesame")})
    after = load_profiles(home).digests()
    assert before[""] != after[""]
    assert {name for name in before if before[name] != after[name]} == {""}


def test_sesames_answer_is_understood():
    asked = []

    def fetch(url):
        asked.append(url)
        return ANSWER

    assert ask_sesame("M 42", fetch) == (83.82208, -5.39111)
    assert asked[0].endswith("?M%2042")
    assert ask_sesame("Nobody's star", lambda url: NOTHING) is None


def test_a_server_that_does_not_answer_is_told(monkeypatch):
    def fail(*_, **__):
        raise TimeoutError("timed out")

    monkeypatch.setattr("urllib.request.urlopen", fail)
    with pytest.raises(TransientError, match="does not answer"):
        ask_sesame("M 42")


def test_nobody_is_asked_for_what_is_known_or_unless_told(home):
    known = load_targets(home)
    asked = []

    def ask(name):
        asked.append(name)
        return (1.0, 2.0) if name == "M 1" else None

    rows, new = look_up(["M 42", "M 1", "m1", "X"], known, ask)
    assert asked == ["M 1", "X"]
    assert [(row["s_ra"], row["source"]) for row in rows] == [
        (known["m42"].ra_deg, "targets.toml"), (1.0, "Sesame"), (1.0, "Sesame"), (None, ""),
    ]  # fmt: skip
    assert list(new) == ["m1"]
    assert look_up(["X"], known, None)[0][0]["s_ra"] is None
