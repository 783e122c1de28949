"""What to take and what other rules would change, as a person or a script asks for it: gaps, rules."""

from __future__ import annotations

import csv
import dataclasses
import io
import shutil

import pytest
from sqlalchemy import insert, select

from avcd.association import load_rules
from avcd.catalog import Catalog
from avcd.catalog.models import associations
from avcd.config import load_home
from avcd.frame import ImageType
from catalogue import CAMERA, digest
from cli_calls import Call
from homes import make_home
from planned_home import bring_up_to_date, deliver, frame, frames

KEYS = ("image_type", "telescope", "instrument", "binning", "temperature_c", "exposure_s", "filter", "gain", "offset",
        "readout_mode", "frames", "observations")  # fmt: skip
# Lights that nothing serves: of an exposure without darks, and of a filter without flats.
LONG = [frame(f"long {number}", ImageType.SCIENCE, 140 + number, exposure_s=300.0, filter="Red") for number in range(4)]
HALPHA = [
    frame(f"ha {number}", ImageType.SCIENCE, 150 + number, filter="Ha", obs_id="T20/2026-01-15/ic")
    for number in range(2)
]


@pytest.fixture(scope="module")
def made_home(tmp_path_factory):
    home = make_home(tmp_path_factory.mktemp("outlook") / "home", processing={"previews": False})
    catalog = Catalog(home.database_url)
    deliver(catalog, [*frames(), *LONG, *HALPHA])
    bring_up_to_date(catalog, home)
    lacking = {**dict.fromkeys([one.id for one in LONG], "dark"), **dict.fromkeys([one.id for one in HALPHA], "flat")}
    with catalog.read() as connection:
        noted = set(connection.execute(select(associations.c.id)).scalars())
    rows = [
        {
            "id": one.id, "camera": CAMERA, "subject": one.obs_id, "t_min": one.t_min, "night": one.night, "best": True,
            **dict.fromkeys(("bias", "dark", "flat")), "missing": {lacking[one.id]: "none fits"},
        }
        for one in (*LONG, *HALPHA)
        if one.id not in noted
    ]  # fmt: skip
    if rows:
        catalog.write(lambda connection: connection.execute(insert(associations), rows))
    catalog.close()
    return home


@pytest.fixture
def home(made_home, tmp_path, monkeypatch):
    shutil.copytree(made_home.path, tmp_path / "home")
    monkeypatch.setenv("AVCD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "100")
    return load_home(tmp_path / "home")


@pytest.fixture
def call(home, capsys):
    return Call(capsys)


def test_gaps_are_lines_for_people_and_rows_for_programs(call):
    said = call("gaps")
    assert said.code == 0
    assert said.out == (
        "T20 bin 1, −20 °C, 300 s dark: frees 4 frames of 1 observation\nT20 bin 1, Ha flat: frees 2 frames of 1 observation\n"
    )
    rows = call("gaps", "--format", "json").json
    assert all(set(KEYS) <= set(one) for one in rows)
    assert [(one["image_type"], one["frames"], one["observations"], one["frees"]) for one in rows] == [
        ("dark", 4, 1, 4), ("flat", 2, 1, 2),
    ]  # fmt: skip
    table = list(csv.DictReader(io.StringIO(call("gaps", "--format", "csv").out)))
    assert [one["exposure_s"] for one in table] == ["300.0", ""]
    assert [one.split() for one in call("gaps", "--columns", "image_type,frames").out.splitlines()[2:]] == [
        ["dark", "4"], ["flat", "2"],
    ]  # fmt: skip


def test_gaps_for_scripts(call):
    assert call("gaps", "--check").code == 1
    nothing = call("gaps", "--telescope", "T99", "--check", "--format", "json")
    assert (nothing.code, nothing.json) == (0, [])
    assert "no calibration frames are missing" in nothing.err
    assert call("gaps", "--night", "2026-02-20", "--check").out.startswith("T20 bin 1, −20 °C, 300 s dark: frees 4")
    assert len(call("gaps", "--night", "2026-01-16", "--format", "json").json) == 2
    assert call("gaps", "--night", "2027-01-16", "--check").code == 0
    assert [one["filter"] for one in call("gaps", "--filter", "Ha", "--format", "json").json] == ["Ha"]
    assert len(call("gaps", "--limit", "1", "--format", "json").json) == 1
    for words in (["--night", "tonight"], ["--columns", "nonsense"], ["--since", "soon"]):
        assert call("gaps", *words).code == 2


def test_gaps_says_when_it_is_behind(call, home):
    catalog = Catalog(home.database_url)
    catalog.flag(digest("b0"), "hot", "Ann", 5000.0)
    catalog.close()
    assert f"{CAMERA}: changed since the last plan" in call("gaps").err


def test_rules_are_checked_with_all_that_is_wrong(call, home, tmp_path):
    assert call("rules", "check").out == f"the shipped rules: sound, digest {load_rules().digest[:12]}\n"
    own = home.path / "match.toml"
    own.write_text("[temperature]\nset_point_c = 2.0\n", encoding="utf-8")
    said = call("rules", "check")
    assert (said.code, said.out) == (0, f"{own}: sound, digest {load_rules(home.path).digest[:12]}\n")
    other = tmp_path / "other.toml"
    other.write_text("[age]\ndark_days = [30.0, 7.0]\n[temperature]\nwarm = 1\n", encoding="utf-8")
    said = call("rules", "check", other)
    assert (said.code, said.out) == (2, "")
    assert "other.toml" in said.err
    assert "dark_days" in said.err
    assert "warm" in said.err
    assert "/tmp/tmp" not in said.err
    assert call("rules", "check", tmp_path / "nowhere.toml").code == 2


def test_a_changed_rule_set_is_foretold_frame_by_frame(call, tmp_path):
    strict, lenient = tmp_path / "strict.toml", tmp_path / "lenient.toml"
    strict.write_text("[temperature]\nset_point_c = 0.5\n", encoding="utf-8")
    lenient.write_text("[exposure]\nrelative = 20.0\n[scaling]\nallowed = false\n", encoding="utf-8")
    rows = call("rules", "diff", strict, lenient, "--format", "json").json
    matched = {one["id"] for one in rows if (one["kind"], one["change"]) == ("dark", "matched") and one["id"]}
    assert matched == {one.id for one in LONG}
    assert all(one["before"] is None and one["after"] for one in rows if one["change"] == "matched")
    # Flats of 5 s may now have the dark of 60 s.
    assert {one["subject"] for one in rows if one["image_type"] == "flat"} == {
        one.session_id for one in frames() if one.image_type is ImageType.FLAT
    }
    back = call("rules", "diff", lenient, strict, "--format", "json").json
    assert {(one["subject"], one["id"], one["kind"], one["before"], one["after"]) for one in back} == {
        (one["subject"], one["id"], one["kind"], one["after"], one["before"]) for one in rows
    }
    text = call("rules", "diff", lenient).out
    assert max(map(len, text.splitlines())) <= 100
    assert text.splitlines()[0].split() == ["camera", "kind", "another", "matched", "unmatched"]
    same = call("rules", "diff", strict)
    assert (same.code, same.out) == (0, "")
    assert "no frame would be given another calibration" in same.err


def test_the_oracle_of_a_rule_change_is_asking_why_of_every_frame(call, home, tmp_path):
    """The home's rules changed for real: what `why` chooses then, by name, against what the difference foretold."""

    def chosen() -> dict[tuple[str, str], str | None]:
        found = {}
        for one in (*LONG, *HALPHA, *(each for each in frames() if each.image_type is ImageType.SCIENCE)):
            needs = call("why", one.id, "--format", "json").json["needs"]
            found |= {(one.id, kind): needs[kind]["chosen"] for kind in ("bias", "dark", "flat")}
        return found

    new = tmp_path / "new.toml"
    new.write_text(
        "[exposure]\nrelative = 5.0\n[scaling]\nallowed = false\n[age]\nflat_days = [0.001]\n", encoding="utf-8"
    )
    rows = call("rules", "diff", new, "--format", "json").json
    foretold = {(one["id"], one["kind"]): one["change"] for one in rows if one["id"]}
    before = chosen()
    shutil.copyfile(new, home.path / "match.toml")
    after = chosen()
    served = {key for key in before if (before[key] is None) != (after[key] is None)}
    assert served == {key for key, change in foretold.items() if change != "another"}
    assert {key for key in served if after[key]} == {key for key, change in foretold.items() if change == "matched"}


def test_frames_of_the_test_are_what_they_are_said_to_be():
    assert {one.exposure_s for one in LONG} == {300.0}
    assert dataclasses.replace(LONG[0], id="x").camera == CAMERA
