"""Plans compared: what is foretold of a decision is what the next plan does, and the reasons are the facts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from avcd.association import load_rules
from avcd.comparison import Difference, Made, compare_made, compare_plans, supposed
from avcd.config import Processing
from avcd.frame import Approval, ImageType, InputRef, ProductFact, ProductKind, ProductStatus, Snapshot
from avcd.planner import plan
from avcd.recipes import load_recipes
from avcd.views.changes import change_row, counts_as_text, difference_as_text, impact_as_text
from test_planner import closed, make_frame, night

RECIPES, RULES = load_recipes(), load_rules()
FRAMES = night()


def planned(snapshot: Snapshot, **settings):
    return plan(snapshot, RECIPES, RULES, Processing(previews=False, **settings))


def facts(frames=FRAMES, **changes) -> Snapshot:
    return Snapshot(camera="T20/FLI", frames=tuple(frames), closures=closed(frames), **changes)


def changes(before, after) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for one in compare_plans(before, after):
        found.setdefault(one.what, []).append(one.slot)
    return found


def id_of(name: str) -> str:
    return name.ljust(64, "0")


def test_the_same_plan_has_no_changes():
    assert compare_plans(planned(facts()), planned(facts(list(reversed(FRAMES))))) == []


@pytest.mark.parametrize("name", ["b0", "d1", "fRed0", "sRed0", "sBlue1"])
def test_what_differs_is_what_a_comparison_of_ids_says(name):
    """The oracle knows nothing of slots but what the plans say."""
    before = planned(facts())
    after = planned(supposed(facts(), id_of(name), approved=False))
    found = compare_plans(before, after)
    ids = [{one.id for one in each.specs} for each in (before, after)]
    assert {one.before.id for one in found if one.before} == ids[0] - ids[1]
    assert {one.after.id for one in found if one.after and one.after.id in ids[1]} == ids[1] - ids[0]
    assert [one.kind for one in found] == sorted((one.kind for one in found), key=list(ProductKind).index)


def test_rejecting_a_raw_dark_remakes_its_master_and_all_that_used_it():
    many = [*FRAMES, make_frame("d3", ImageType.DARK, 14)]
    found = compare_plans(planned(facts(many)), planned(supposed(facts(many), id_of("d0"), approved=False)))
    assert {one.what for one in found} == {"remade"}
    counts = {kind: sum(one.kind is kind for one in found) for kind in ProductKind}
    assert (counts[ProductKind.MASTER_DARK], counts[ProductKind.BAD_PIXEL_MASK], counts[ProductKind.REDUCED]) == (
        1,
        1,
        6,
    )
    assert (counts[ProductKind.MASTER_BIAS], counts[ProductKind.MASTER_FLAT], counts[ProductKind.RGB]) == (0, 0, 1)
    master, mask, first = (next(one for one in found if one.kind is kind) for kind in (
        ProductKind.MASTER_DARK, ProductKind.BAD_PIXEL_MASK, ProductKind.REDUCED))  # fmt: skip
    assert master.differences == (Difference("removed", "raw", before=id_of("d0")),)
    assert [one.what for one in mask.differences] == ["replaced"]
    assert {one.name for one in first.differences} == {"dark", "bad_pixels"}
    row = change_row(master, {id_of("d0"): "dark-0.fits"})
    assert row["reason"] == "without raw d00000000000 dark-0.fits"
    assert (row["before"], row["after"]) == (master.before.id, master.after.id)


def test_a_night_that_loses_its_only_dark_is_blocked_or_provisional():
    after = facts()
    for name in ("d0", "d1", "d2"):
        after = supposed(after, id_of(name), approved=False)
    lenient = {"provisional": True}
    found = changes(planned(facts(), **lenient), planned(after, **lenient))
    assert len([one for one in found["provisional"] if one.startswith("reduced")]) == 6
    assert {one.partition(":")[0] for one in found["gone"]} == {"master_dark", "bad_pixel_mask"}
    assert "final" in changes(planned(after, **lenient), planned(facts(), **lenient))
    strict = {"provisional": False}
    rows = [change_row(one, {}) for one in compare_plans(planned(facts(), **strict), planned(after, **strict))]
    assert len([one for one in rows if (one["kind"], one["change"]) == ("reduced", "blocked")]) == 6
    assert {one["reason"] for one in rows if one["kind"] == "reduced"} == {"dark: there is no dark for this camera"}
    back = changes(planned(after, **strict), planned(supposed(after, id_of("d2"), approved=True), **strict))
    assert len([one for one in back["new"] if one.startswith("reduced")]) == 6


def test_what_is_supposed_of_a_decision_touches_nothing_else():
    held = ProductFact("m", ProductKind.MASTER_DARK, "master_dark:x", ProductStatus.HELD)
    before = facts(products={"m": held}, rejected=frozenset({"m", "n"}), approved={"k": Approval(1.0, 2.0)})
    after = supposed(before, "m", approved=True)
    assert (after.rejected, after.approved) == ({"n"}, {"k": Approval(1.0, 2.0), "m": Approval()})
    assert after.products["m"].status is ProductStatus.SUPERSEDED
    after = supposed(before, "k", approved=False)
    assert (after.rejected, after.approved) == ({"m", "n", "k"}, {})
    assert supposed(before, "k", approved=True).approved["k"] == Approval(1.0, 2.0)
    assert before.products["m"] is held


def test_an_input_of_the_same_place_replaces_the_one_before():
    def made(*inputs: tuple[str, str], **parameters) -> Made:
        return Made(
            "stack", parameters.pop("version", 1), parameters, tuple(InputRef(*one, "product") for one in inputs)
        )

    slots = {"a1": "reduced:a", "a2": "reduced:a", "b": "reduced:b", "c": "reduced:c"}
    before = made(("reduced", "a1"), ("reduced", "b"), ("flat", "x"), sigma=3.0, provisional=True)
    after = made(("reduced", "a2"), ("reduced", "c"), ("flat", "y"), sigma=5.0, corrected=["0123: filter=r"])
    found = list(compare_made(before, after, slots))
    for one in (
        Difference("parameter", "sigma", 3.0, 5.0), Difference("replaced", "flat", "x", "y"),
        Difference("replaced", "reduced", "a1", "a2"), Difference("removed", "reduced", "b"),
        Difference("added", "reduced", after="c"), Difference("provisional", "provisional", True),
    ):  # fmt: skip
        assert one in found
    assert [difference_as_text(one) for one in found] == [
        "corrected, 0123: filter=r",
        "no longer provisional",
        "parameter sigma: 5 in place of 3",
        "flat: y in place of x",
        "reduced: a2 in place of a1",
        "without reduced b",
        "with reduced c",
    ]
    (newer,) = compare_made(before, replace(before, version=2), slots)
    assert difference_as_text(newer) == "recipe stack 2 in place of 1"


def test_a_table_of_changes_fits_and_counts():
    found = compare_plans(planned(facts()), planned(supposed(facts(), id_of("sRed0"), approved=False)))
    rows = [change_row(one, {}) for one in found]
    assert counts_as_text(rows) == "made again: 1 stack, 1 rgb; taken away: 1 reduced, 1 sources"
    text = impact_as_text("Rejecting frame sRed00000000", rows, 100)
    assert max(map(len, text.splitlines())) <= 100
    assert "without reduced" in text
    assert impact_as_text("Rejecting frame x", [], 100) == "Rejecting frame x: nothing would change\n"
