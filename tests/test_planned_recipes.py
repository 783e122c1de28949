"""What recipes and settings leave out of a plan, and what a camera's overscan makes of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from avcd.association import read_rules
from avcd.config import Processing
from avcd.frame import ImageType, ProductKind
from avcd.planner import explain, plan
from test_planner import PROCESSING, RECIPES, RULES, make_frame, night, of_kind, snapshot


def test_cosmic_rays_are_left_to_a_stack_of_enough_frames():
    frames = [*night(), make_frame("sRed2", ImageType.SCIENCE, 103, filter="Red")]
    own = RECIPES[ProductKind.REDUCED]
    for many, searched in ((0, {"Red", "Green", "Blue"}), (3, {"Green", "Blue"}), (2, set())):
        changed = own.model_copy(update={"parameters": {**own.parameters, "cosmic_rays_stacked": many}})
        found = plan(snapshot(frames), {**RECIPES, ProductKind.REDUCED: changed}, RULES, PROCESSING)
        methods = {(one.filter, one.parameters["cosmic_rays"]) for one in of_kind(found, ProductKind.REDUCED)}
        assert methods == {(name, "lacosmic" if name in searched else "none") for name in ("Red", "Green", "Blue")}


@pytest.mark.parametrize(
    ("left_out", "kinds"),
    [
        ("sources", {ProductKind.SOURCES}),
        ("stacks", {ProductKind.STACK, ProductKind.RGB}),
        ("previews", {ProductKind.PREVIEW}),
    ],
)
def test_what_is_turned_off_is_not_made_and_nothing_else_changes(left_out, kinds):
    everything = plan(snapshot(night()), RECIPES, RULES, PROCESSING)
    less = plan(snapshot(night()), RECIPES, RULES, Processing(**{left_out: False}))
    gone = {one.id for one in everything.specs} - {one.id for one in less.specs}
    assert {one.kind for one in everything.specs if one.id in gone} - {ProductKind.PREVIEW} == kinds - {
        ProductKind.PREVIEW
    }
    assert not [one for one in less.specs if one.kind in kinds]
    assert {one.id for one in less.specs} <= {one.id for one in everything.specs}


SECTIONS = {"overscan_section": "[101:108,1:80]", "trim_section": "[1:100,1:80]", "naxis1": 108}


def test_trimmed_frames_meet_masters_of_the_size_that_is_kept():
    frames = [replace(one, **SECTIONS) for one in night()]
    delivered = make_frame("given", ImageType.MASTER_FLAT, 20, filter="Green", naxis1=100, session_id="given")
    flats = [one for one in frames if one.image_type is ImageType.FLAT and one.filter == "Green"]
    found = plan(snapshot([*(one for one in frames if one not in flats), delivered]), RECIPES, RULES, PROCESSING)
    assert not found.blocked
    used = Counter(ref.id for one in of_kind(found, ProductKind.REDUCED) for ref in one.inputs if ref.role == "flat")
    assert used[delivered.id] == 2
    for one in found.specs:
        if one.kind in (ProductKind.MASTER_BIAS, ProductKind.MASTER_DARK, ProductKind.MASTER_FLAT, ProductKind.REDUCED):
            assert one.parameters["overscan"] == SECTIONS["overscan_section"]
            assert one.parameters["trim"] == SECTIONS["trim_section"]
    assert {(one.candidate.like.naxis1, one.candidate.like.naxis2) for one in found.masters} == {(100, 80)}
    (need,) = (one for one in explain(snapshot(frames), RECIPES, RULES, frames[-1].id) if one.kind == "flat")
    size = next(one for one in need.candidates[0].criteria if one.name == "size")
    assert (size.wanted, size.found) == ("100x80", "100x80")


def test_frames_of_one_session_with_another_section_make_a_master_of_their_own():
    frames = night()
    odd = {one.id: replace(one, **SECTIONS) for one in frames if one.image_type is ImageType.BIAS}
    last = sorted(odd)[-1]
    odd[last] = replace(odd[last], overscan_section="[103:108,1:80]")
    found = plan(snapshot([odd.get(one.id, one) for one in frames]), RECIPES, RULES, PROCESSING)
    sizes = sorted(sum(ref.role == "raw" for ref in one.inputs) for one in of_kind(found, ProductKind.MASTER_BIAS))
    assert sizes == [1, 2]


def test_a_changed_section_makes_its_cameras_products_anew_and_no_section_none(tmp_path):
    path = tmp_path / "match.toml"
    path.write_text('[instrument."FL*".overscan]\nsection = "[91:100,1:80]"\n', encoding="utf-8")
    rules = read_rules(path)
    before = plan(snapshot(night()), RECIPES, RULES, PROCESSING)
    after = plan(snapshot(night()), RECIPES, rules, PROCESSING)
    kinds = {ProductKind.MASTER_BIAS, ProductKind.MASTER_DARK, ProductKind.MASTER_FLAT, ProductKind.REDUCED}
    for kind in kinds:
        assert not {one.id for one in of_kind(before, kind)} & {one.id for one in of_kind(after, kind)}
    assert not any("overscan" in one.parameters or "trim" in one.parameters for one in before.specs)
