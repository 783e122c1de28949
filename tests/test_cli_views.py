"""Lists, one thing whole, why, plan, and what observers decide, over a small home with known facts."""

from __future__ import annotations

import csv
import io
import shutil
from dataclasses import replace

import pytest

from avcd.association import load_rules
from avcd.catalog import Catalog
from avcd.cli import main
from avcd.config import Processing, load_home
from avcd.frame import ImageType, ProductKind, Wcs
from avcd.planner import plan_offers
from avcd.recipes import load_recipes
from catalogue import (
    OBSERVATION,
    digest,
    make_frame,
    make_plan,
    make_reading,
    make_spec,
    of_frame,
    of_product,
    published,
)
from cli_calls import Call

LIGHTS = [make_frame(f"light {number}", t_min=61055.9 + number / 1000) for number in range(3)]
CALIBRATION = {"target_name": None, "filter": None, "exposure_s": 0.0}
BIASES = [make_frame(f"bias {number}", image_type=ImageType.BIAS, t_min=61055.8, **CALIBRATION) for number in range(3)]
OTHER = make_frame("other", telescope="T05", target_name="NGC 1", filter="Blue", night="2026-01-14", exposure_s=120.0,
                   t_min=61054.9, obs_id="t05/2026-01-14/ngc-1", date_obs="2026-01-14T21:36:00")  # fmt: skip
DELIVERED = make_frame("master", image_type=ImageType.MASTER_DARK, session_id=None, target_name=None, filter=None)
MASTER = make_spec(ProductKind.MASTER_BIAS, "bias", *[of_frame(one) for one in BIASES], filter=None, target_name=None,
                   observations=(), reason="3 frames")  # fmt: skip
REDUCED = make_spec(ProductKind.REDUCED, "reduced:0", of_frame(LIGHTS[0]), of_product(MASTER, "bias"))
PREVIEW = make_spec(ProductKind.PREVIEW, "preview:0", of_product(REDUCED, "image"), path="t20/preview/first.png")


@pytest.fixture(scope="module")
def made_home(tmp_path_factory):
    """A home with nine files, eight frames and three products."""
    path = tmp_path_factory.mktemp("views") / "home"
    with pytest.raises(SystemExit):
        main(["init", str(path)])
    catalog = Catalog(load_home(path).database_url)
    for frame in (*LIGHTS, *BIASES, OTHER, DELIVERED):
        name = {LIGHTS[0].id: "first \x1b[31mlight.fits"}.get(frame.id, f"{frame.image_type} {frame.id[:6]}.fits")
        catalog.record_reading("drop", make_reading(f"night/{name}", frame), 2880, 1, 1000.0)
    for group in catalog.open_groups():
        if not group.is_observation:
            catalog.close_group(group.subject, group.members, "quiet", 1500.0)
    offers = plan_offers(catalog.snapshot("T20/CCD"), load_recipes(), load_rules(), Processing())
    by_hand = replace(make_plan(MASTER, REDUCED, PREVIEW), masters=offers.masters)
    catalog.apply_plan(by_hand, "by hand", catalog.unplanned("T20/CCD", "by hand"))
    while (claim := catalog.claim_job("test", 60, 2000.0)) is not None:
        wcs = Wcs.SOLVED if claim.spec.kind is ProductKind.REDUCED else Wcs.NONE
        catalog.finish_job(claim, published(claim.spec, metrics={"fwhm_px": 2.5, "stars": 41}, wcs=wcs), 2000.0)
    catalog.close()
    return path


@pytest.fixture
def call(made_home, tmp_path, capsys, monkeypatch):
    path = tmp_path / "home"
    shutil.copytree(made_home, path)
    monkeypatch.setenv("AVCD_HOME", str(path))
    monkeypatch.setenv("COLUMNS", "200")
    return Call(capsys)


CONTRACT = {
    "frames": "id path member hdu sha256 obs_id user calib_level image_type status telescope instrument target_name filter "
    "binning naxis1 naxis2 exposure_s set_temperature_c ccd_temperature_c gain offset readout_mode t_min date_obs night s_ra "
    "s_dec warnings",
    "products": "id kind status path sha256 recipe target_name filter night telescope inputs metrics wcs calib_level "
    "observations revision",
    "jobs": "id kind state reason attempts inputs",
    "files": "path root member sha256 size present frames status reason",
    "nights": "id telescope target_name night frames exposure_s state closed_by revision",
    "observations": "id telescope target_name night frames exposure_s state closed_by revision",
    "masters": "id kind status path sha256 telescope night filter origin",
    "plan": "id kind state reason attempts inputs",
}


@pytest.mark.parametrize("name", CONTRACT)
def test_json_holds_the_promised_keys_and_goes_to_stdout_alone(call, name):
    said = call(name, "--format", "json")
    assert said.code == 0
    assert said.err == ""
    assert said.json
    for row in said.json:
        assert set(CONTRACT[name].split()) <= set(row)


@pytest.mark.parametrize("name", CONTRACT)
def test_the_formats_agree_on_what_there_is(call, name):
    count = len(call(name, "--format", "json").json)
    assert len(list(csv.reader(io.StringIO(call(name, "--format", "csv").out)))) == count + 1
    ids = [one.get("id") or one["path"] for one in call(name, "--format", "json").json]
    table = call(name, "--columns", "id" if name != "files" else "path").out
    assert len(table.splitlines()) == count + 2
    for one in ids:
        assert one[:12].strip() in table


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("name", CONTRACT)
def test_tables_fit_the_terminal(call, monkeypatch, name, width):
    monkeypatch.setenv("COLUMNS", str(width))
    assert max(map(len, call(name).out.splitlines())) <= width


def test_a_file_name_cannot_speak_to_the_terminal(call):
    for words in (["frames"], ["files"], ["show", LIGHTS[0].id[:10]]):
        said = call(*words)
        assert "light.fits" in said.out
        assert "\x1b" not in said.out


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--telescope", "t05"], {OTHER.id}),
        (["--night", "2026-01-14"], {OTHER.id}),
        (["--target", "ngc1"], {OTHER.id}),
        (["--filter", "Blue"], {OTHER.id}),
        (["--type", "bias"], {one.id for one in BIASES}),
        (["--type", "master_dark,bias", "--since", "2026-01-15"], {DELIVERED.id, *(one.id for one in BIASES)}),
        (["--until", "2026-01-14"], {OTHER.id}),
        (["--type", "science", "--sort=-t_min", "--limit", "1"], {LIGHTS[2].id}),
    ],
)
def test_filters_choose(call, options, expected):
    assert {one["id"] for one in call("frames", "--format", "json", *options).json} == expected


def test_nothing_found_is_exit_code_1_with_an_empty_array(call):
    said = call("frames", "--target", "nowhere", "--format", "json")
    assert said.code == 1
    assert said.json == []
    assert "nothing found" in said.err


@pytest.mark.parametrize("name", [one for one in CONTRACT if one != "plan"])
def test_an_empty_list_has_the_columns_of_a_full_one(call, name):
    full = call(name, "--format", "csv").out.splitlines()[0]
    empty = call(name, "--format", "csv", "--limit", "0")
    assert (empty.code, empty.out) == (1, full + "\n")
    wrong = call(name, "--columns", "nonsense", "--format", "csv", "--limit", "0")
    assert (wrong.code, wrong.out) == (2, "")


def test_masters_have_the_same_columns_when_only_delivered_ones_are_listed(call):
    every = call("masters", "--format", "csv").out.splitlines()[0]
    assert call("masters", "--format", "csv", "--type", "master_dark").out.splitlines()[0] == every


def test_nights_tell_hours_and_seeing(call):
    rows = {one["night"]: one for one in call("nights", "--format", "json").json}
    assert rows["2026-01-15"]["fwhm_px"] == 2.5
    assert rows["2026-01-15"]["exposure_h"] == {"Red": 0.05}
    assert rows["2026-01-14"]["fwhm_px"] is None
    assert "Red 0.05" in call("nights").out


@pytest.mark.parametrize(
    "words",
    [["frames", "--columns", "id,nonsense"], ["frames", "--sort", "nonsense"], ["masters", "--sort", "nonsense"],
     ["masters", "--type", "bias"], ["frames", "--since", "yesterday"], ["show", "nothing-like-it"],
     ["why", "nothing-like-it"], ["flag", "nothing-like-it", "--reason", "x"], ["close", "nothing-like-it"], ["flag", "first"]],
)  # fmt: skip
def test_what_is_not_there_is_wrong_usage_and_prints_no_data(call, words):
    said = call(*words, *(["--format", "json"] if words[0] in ("frames", "masters", "show", "why") else []))
    assert said.code == 2
    assert said.out == ""
    assert said.err


def test_masters_are_those_made_and_those_delivered(call):
    rows = {one["id"]: one for one in call("masters", "--format", "json").json}
    assert {key: (one["kind"], one["origin"]) for key, one in rows.items()} == {
        MASTER.id: ("master_bias", "built"),
        DELIVERED.id: ("master_dark", "delivered"),
    }
    assert [one["id"] for one in call("masters", "--format", "json", "--type", "master_dark").json] == [DELIVERED.id]
    assert [one["kind"] for one in call("masters", "--format", "json", "--sort=-kind", "--limit", "1").json] == [
        "master_dark"
    ]


def test_show_has_the_header_the_source_of_each_value_and_what_was_made(call, tmp_path):
    row = call("show", LIGHTS[0].id, "--format", "json").json
    assert [one["keyword"] for one in row["cards"]] == ["EXPTIME", "COMMENT", "COMMENT", "EXPTIME"]
    assert row["sources"]["exposure_s"] == "card EXPTIME"
    assert [one["id"] for one in row["used_by"]] == [REDUCED.id]
    text = call("show", LIGHTS[0].id[:8]).out
    assert "card EXPTIME" in text
    assert LIGHTS[0].id in text
    row = call("show", REDUCED.id[:10], "--format", "json").json
    assert row["metrics"] == {"fwhm_px": 2.5, "stars": 41}
    assert {one["id"] for one in row["inputs"]} == {LIGHTS[0].id, MASTER.id}
    assert row["pictures"] == [str(tmp_path / "home" / "archive" / "t20" / "preview" / "first.png")]


def test_an_ambiguous_name_is_refused_with_what_it_may_mean(call):
    said = call("show", "science")
    assert said.code == 2
    for one in (LIGHTS[1], LIGHTS[2], OTHER):
        assert one.id[:12] in said.err


def test_why_judges_every_candidate_by_every_criterion(call):
    found = call("why", LIGHTS[0].id, "--format", "json").json
    assert found["frame"] == LIGHTS[0].id
    assert set(found["needs"]) >= {"bias", "dark", "flat"}
    for need in found["needs"].values():
        assert set(need) >= {"chosen", "tier", "relaxation", "candidates"}
    candidates = found["needs"]["bias"]["candidates"]
    assert len(candidates) == 1
    assert {"id", "verdict", "criteria"} <= set(candidates[0])
    assert candidates[0]["verdict"] in ("pass", "fail", "unknown")
    for one in candidates[0]["criteria"]:
        assert {"name", "wanted", "found", "tolerance", "outcome"} <= set(one)
    assert found["needs"]["bias"]["chosen"] == candidates[0]["id"]
    text = call("why", LIGHTS[0].id).out
    assert f"bias: {candidates[0]['id'][:12]}" in text
    assert "flat: there is no candidate" in text


def test_why_names_what_did_not_agree(call):
    found = call("why", OTHER.id, "--format", "json").json
    assert found["needs"]["bias"] == {
        "chosen": None,
        "tier": None,
        "relaxation": found["needs"]["bias"]["relaxation"],
        "relax": [],
        "applied": None,
        "candidates": [],
    }
    dark = call("why", LIGHTS[0].id, "--format", "json").json["needs"]["dark"]["candidates"]
    assert [one["id"] for one in dark] == [DELIVERED.id]
    wrong = [one["name"] for one in dark[0]["criteria"] if one["outcome"] != "pass"]
    text = call("why", LIGHTS[0].id).out
    for name in wrong:
        assert f"{name}: wanted" in text


def test_why_a_product_tells_its_recipe_and_inputs(call):
    found = call("why", MASTER.id, "--format", "json").json
    assert found["product"] == MASTER.id
    assert found["reason"] == "3 frames"
    assert found["serving"] == [MASTER.id]
    assert {one["id"] for one in found["inputs"]} == {one.id for one in BIASES}
    assert "recipe master_bias version 1" in call("why", MASTER.id).out


def test_plan_lists_what_would_run_and_runs_nothing(call):
    before = call("jobs", "--format", "json").out, call("products", "--format", "json").out
    rows = call("plan", "--format", "json").json
    assert {one["state"] for one in rows} >= {"ready", "blocked"}
    masters = [one for one in rows if one["kind"] == "master_bias"]
    assert len(masters) == 1
    assert {one["id"] for one in masters[0]["inputs"]} == {one.id for one in BIASES}
    assert all(one["reason"] for one in rows if one["state"] == "blocked")
    assert (call("jobs", "--format", "json").out, call("products", "--format", "json").out) == before


def test_a_flag_takes_a_frame_out_of_the_plan_and_unflag_puts_it_back(call):
    def planned():
        return {ref["id"] for one in call("plan", "--format", "json").json for ref in one["inputs"]}

    assert LIGHTS[1].id in planned()
    assert call("flag", LIGHTS[1].id, "--reason", "clouds").code == 0
    assert LIGHTS[1].id not in planned()
    flags = call("show", LIGHTS[1].id, "--format", "json").json["flags"]
    assert [(one["reason"], one["active"]) for one in flags] == [("clouds", True)]
    assert flags[0]["who"]
    assert call("unflag", LIGHTS[1].id, "--reason", "thin ones").code == 0
    assert LIGHTS[1].id in planned()
    assert call("unflag", LIGHTS[1].id, "--reason", "again").code == 2


def test_a_note_rejects_nothing(call):
    assert call("flag", REDUCED.id, "--note", "--reason", "for the paper").code == 0
    row = call("show", REDUCED.id, "--format", "json").json
    assert row["status"] == "final"
    assert [one["kind"] for one in row["flags"]] == ["note"]


def test_close_declares_an_observation_complete_once(call):
    def states():
        return {one["id"]: (one["state"], one["closed_by"]) for one in call("observations", "--format", "json").json}

    assert states()[OBSERVATION][0] == "open"
    said = call("close", OBSERVATION)
    assert said.code == 0
    assert "3 frames" in said.out
    assert states()[OBSERVATION] == ("closed", "explicit")
    assert states()[OTHER.obs_id][0] == "open"
    assert "already" in call("close", OBSERVATION).out
    assert any(one["kind"] == "stack" for one in call("plan", "--format", "json").json)


def test_ids_are_hashes(call):
    assert digest("light 0") == LIGHTS[0].id
