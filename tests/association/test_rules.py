"""Rule sets: what is wrong is said at once, with file, line and key; overrides go by the instrument's name or pattern."""

from __future__ import annotations

import re
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from calibrations import RULES, SCIENCE, candidate
from hypothesis import given, settings
from hypothesis import strategies as st

from avcd.association import Rules, RuleSet, judge, load_rules, read_rules
from avcd.association.rules import fits, may_meet
from avcd.errors import ConfigError

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def faults(tmp_path):
    """The faults of a rule set as (line, key, message)."""
    path = tmp_path / "match.toml"

    def _faults(text: str) -> list[tuple[int, str, str]]:
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ConfigError) as error:
            load_rules(tmp_path)
        found = []
        for line in str(error.value).splitlines():
            assert line.startswith(f"{path}:"), line
            parts = re.fullmatch(r"(\d+): (?:((?:\w|\.|\"[^\"]*\")+): )?(.*)", line.removeprefix(f"{path}:"))
            assert parts, line
            found.append((int(parts[1]), parts[2] or "", parts[3]))
        return found

    return _faults


@pytest.mark.parametrize(
    ("text", "line", "key", "words"),
    [
        ("[age]\ndark_days = [30.0, 7.0]\n", 2, "age.dark_days", "the tier of 7 days .* is never reached"),
        ("[age]\nflat_days = [\n  7,\n  7,\n]\n", 4, "age.flat_days", "is never reached"),
        ("age.flat_days = [\n  7, # a week\n  -1,\n]\n", 3, "age.flat_days", "greater than 0, not -1"),
        ("[age]\nbias_days = []\n", 2, "age.bias_days", "nothing could ever match"),
        ("[scaling]\n\nlowest_ratio = 3.0\n", 3, "scaling.lowest_ratio", "no dark could ever be scaled"),
        ("[scaling]\nlowest_ratio=1.0\nhighest_ratio=1.005", 3, "scaling.highest_ratio", "scaled darks are never reached"),
        ("[exposure]\nrelative = 1.5", 2, "exposure.relative", "scaled darks are never reached"),
        ("[flat]\nhighest_level = 0.2", 2, "flat.highest_level", "no flat could ever serve"),
        ("flat = { lowest_level = 80 }", 1, "flat.lowest_level", "less than or equal to 1, not 80"),
        ("[temperature]\nset_point = 1.0\n", 2, "temperature.set_point", "no such key; there are set_point_c, measured_c"),
        ("[temprature]\nset_point_c = 1.0\n", 1, "temprature", "no such key; there are temperature, .*instrument"),
        ("temperature = 5", 1, "temperature", "is no table, but 5"),
        ('[temperature]\nmeasured_c = "1.0"', 2, "temperature.measured_c", "valid number, not '1.0'"),
        ("[temperature]\nmeasured_c = nan", 2, "temperature.measured_c", "finite number, not nan"),
        ("[temperature]\nmeasured_c = true", 2, "temperature.measured_c", "valid number, not True"),
        ("[masters]\nmost_frames = 0", 2, "masters.most_frames", "greater than or equal to 1, not 0"),
        ("[masters]\nmost_frames = 2.5", 2, "masters.most_frames", "valid integer"),
        ("[scaling]\nallowed = 1", 2, "scaling.allowed", "valid boolean"),
        ("\nversion = 0", 2, "version", "greater than or equal to 1"),
        ("instrument = 3", 1, "instrument", "is no table"),
        ("[instrument]\nQHY = 3", 2, "instrument.QHY", "is no table"),
        ('[instrument."A*".scaling]\n\nfoo = 1', 3, 'instrument."A*".scaling.foo', "no such key"),
        ('[instrument."A*".age]\nbias_days=[9, 8]', 2, 'instrument."A*".age.bias_days', "never reached"),
        ('[instrument."A*"]\nscaling.lowest_ratio = 9', 2, 'instrument."A*".scaling.lowest_ratio', "ever be scaled"),
        ('[instrument."A*".flat]\n[instrument."a**".scaling]', 2, 'instrument."a**"', "fits what 'A\\*' on line 1 fits"),
        ('[instrument.""]\nflat = {}', 1, 'instrument.""', "no instrument has an empty name"),
        ("[exposure\n", 1, "", "not valid TOML"),
        ("[age]\n[age]\n", 2, "", "not valid TOML"),
    ],
)  # fmt: skip
def test_a_fault_is_named_by_line_and_key(faults, text, line, key, words):
    found = faults(text)
    assert [one[:2] for one in found] == [(line, key)]
    assert re.search(words, found[0][2])


def test_all_faults_of_a_file_are_told_at_once_and_once(faults):
    text = """\
[age]
dark_days = [30.0, 7.0]
month_days = [1]
[temperature]
set_point_c = -1
[flat]
lowest_level = 0.9
[instrument."X*".temperature]
measured = 1
[instrument.Y.age]
flat_days = [0]
[instrument.Z.masters]
most_frames = 5
"""
    assert [one[:2] for one in faults(text)] == [
        (2, "age.dark_days"),
        (3, "age.month_days"),
        (5, "temperature.set_point_c"),
        (7, "flat.lowest_level"),
        (9, 'instrument."X*".temperature.measured'),
        (11, "instrument.Y.age.flat_days"),
    ]


def test_sections_that_contradict_each_other_for_some_instrument(faults, tmp_path):
    text = '[instrument."ZWO*".scaling]\nhighest_ratio = 0.8\n\n[instrument."*Pro"]\nscaling.lowest_ratio = 0.9\n'
    ((line, key, message),) = faults(text)
    assert (line, key) == (5, 'instrument."*Pro".scaling.lowest_ratio')
    assert message.endswith('no dark could ever be scaled (together with [instrument."ZWO*"])')
    apart = text.replace("*Pro", "QHY*")
    (tmp_path / "match.toml").write_text(apart, encoding="utf-8")
    assert load_rules(tmp_path).for_instrument("QHY600").scaling.lowest_ratio == 0.9


def test_a_file_that_is_not_there_or_no_text(tmp_path):
    with pytest.raises(ConfigError, match="no such file of rules"):
        read_rules(tmp_path / "none.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read as text"):
        read_rules(tmp_path / "binary.toml")


def test_a_homes_rules_override_key_by_key_and_camera_by_camera(tmp_path):
    text = '[temperature]\nset_point_c = 2.0\n[instrument."QHY".temperature]\nset_point_c = 5.0\n'
    (tmp_path / "match.toml").write_text(text, encoding="utf-8")
    rules = load_rules(tmp_path)
    assert rules.digest != RULES.digest
    warm = candidate("warm", set_temperature_c=-22.0)
    assert judge(SCIENCE, "dark", [warm], rules).chosen == "warm"
    assert judge(SCIENCE, "dark", [warm], RULES).chosen is None
    other = replace(SCIENCE, instrument="QHY")
    warmer = candidate("warmer", instrument="QHY", set_temperature_c=-25.0)
    assert judge(other, "dark", [warmer], rules).chosen == "warmer"
    assert rules.default.temperature.measured_c == RULES.default.temperature.measured_c


PATTERNS = """\
[instrument."*"]
temperature.set_point_c = 9
masters.most_frames = 9
[instrument."ZWO*"]
temperature.set_point_c = 8
scaling.highest_ratio = 8
[instrument."ZWO ASI294*"]
temperature.set_point_c = 7
[instrument."zwo asi294mc PRO"]
temperature.set_point_c = 6
[instrument."Camera [1]"]
temperature.set_point_c = 5
[instrument."Camera [12]"]
temperature.set_point_c = 4
"""


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(
    ("name", "set_point_c", "highest_ratio", "most_frames"),
    [
        ("ZWO ASI294MC Pro", 6, 8, 9),
        ("ZWO ASI294MM", 7, 8, 9),
        ("zwo asi120", 8, 8, 9),
        ("FLI", 9, 2, 9),
        ("Camera [1]", 5, 2, 9),  # a name is a name, whatever it looks like
        ("Camera 1", 4, 2, 9),
        (None, 0.5, 2, 64),
    ],
)
def test_the_most_particular_section_wins_key_by_key(tmp_path, name, set_point_c, highest_ratio, most_frames, reverse):
    sections = re.findall(r"\[instrument[^\n]*\n(?:[a-z][^\n]*\n)+", PATTERNS)
    text = "".join(reversed(sections)) if reverse else PATTERNS
    (tmp_path / "match.toml").write_text(text, encoding="utf-8")
    found = load_rules(tmp_path).for_frame(replace(SCIENCE, instrument=name))
    values = (found.temperature.set_point_c, found.scaling.highest_ratio, found.masters.most_frames)
    assert values == (set_point_c, highest_ratio, most_frames)


GLOB = st.text(alphabet="ab*?", max_size=6)


@settings(deadline=None)
@given(GLOB, GLOB, st.text(alphabet="ab", max_size=8))
def test_patterns_that_fit_one_name_are_known_to_meet(one, other, name):
    if fits(one, name) and fits(other, name):
        assert may_meet(one, other)
    assert may_meet(one, other) == may_meet(other, one)


@pytest.mark.parametrize(
    ("one", "other", "meet"),
    [("ZWO*", "QHY*", False), ("*Pro", "ZWO*", True), ("a?c", "ab*", True), ("a?c", "abd*", False), ("", "*", True),
     ("a", "", False), ("A[12]", "a1", True), ("x*y", "x*z", False)],
)  # fmt: skip
def test_patterns_that_never_meet_are_told_apart(one, other, meet):
    assert may_meet(one, other) is meet


def test_darks_of_cameras_that_glow_are_not_scaled():
    glowing = ["ZWO ASI294MC Pro", "ZWO ASI294MM Pro", "ZWO ASI1600MM Pro", "ZWO ASI183MC Pro", "ZWO ASI178MM", "QHY163M",
               "QHY183C", "QHY294M", "QHY5III178C", "Seestar S50", "DWARFII", "Atik Horizon"]  # fmt: skip
    even = ["FLI", "ZWO ASI2600MM Pro", "ZWO ASI533MC Pro", "QHY600M", "QHY268C", "Apogee USB/Net", "SBIG ST-7", None]
    assert [one for one in glowing if RULES.for_instrument(one).scaling.allowed] == []
    assert [one for one in even if not RULES.for_instrument(one).scaling.allowed] == []
    frame = replace(SCIENCE, instrument="ZWO ASI183MC Pro")
    need = judge(frame, "dark", [candidate("half", instrument="ZWO ASI183MC Pro", exposure_s=30.0)], RULES)
    assert need.chosen is None
    assert need.candidates[0].criteria[-2].note == "not scaled: switched off for this camera"


def test_a_homes_own_section_leaves_the_rest_of_the_shipped_one(tmp_path):
    text = '[instrument."ZWO ASI294MC Pro".temperature]\nset_point_c = 2\n[instrument."*asi183*".scaling]\nallowed = true\n'
    (tmp_path / "match.toml").write_text(text, encoding="utf-8")
    rules = load_rules(tmp_path)
    assert not rules.for_instrument("ZWO ASI294MC Pro").scaling.allowed
    assert rules.for_instrument("ZWO ASI294MC Pro").temperature.set_point_c == 2
    assert rules.for_instrument("ZWO ASI183MM").scaling.allowed


def leaves(table, path=()):
    for key, value in table.items():
        yield from leaves(value, (*path, key)) if isinstance(value, dict) else [((*path, key), value)]


def test_the_shipped_rules_are_those_of_the_code_and_every_key_is_explained():
    text = (REPOSITORY / "config" / "match" / "default.toml").read_text(encoding="utf-8")
    table = tomllib.loads(text)
    table.pop("instrument")
    assert table.pop("version") == 1
    coded = {path: list(value) if isinstance(value, tuple) else value for path, value in leaves(RuleSet().model_dump())}
    assert dict(leaves(table)) == coded
    page = (REPOSITORY / "docs" / "matching.md").read_text(encoding="utf-8")
    assert [".".join(path) for path in coded if f"`{'.'.join(path)}`" not in page] == []


def test_a_rule_set_is_one_value():
    assert Rules().digest == Rules().digest
    rules = Rules()
    rules.for_instrument("X")
    assert rules == Rules()
