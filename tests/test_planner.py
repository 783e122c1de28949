"""The planner: what should exist follows from the facts alone, and nothing else moves when one fact does."""

import datetime
import random
from dataclasses import replace

import pytest

from avcd.association import load_rules
from avcd.config import Processing
from avcd.errors import UsageError
from avcd.frame import Approval, Closure, Frame, ImageType, ProductFact, ProductKind, ProductStatus, Snapshot
from avcd.planner import explain, plan, planning_digest
from avcd.recipes import load_recipes

RECIPES, RULES, PROCESSING = load_recipes(), load_rules(), Processing()
EVENING = 61055.0  # MJD of 2026-01-15, 0 h
NIGHT = "2026-01-15"


def make_frame(name: str, image_type: ImageType, minute: float, **changes) -> Frame:
    start = EVENING + 0.8 + minute / 1440
    date = datetime.datetime(1858, 11, 17) + datetime.timedelta(days=start)
    filter_ = changes.get("filter")
    raw = image_type.is_raw_calibration
    values = {
        "id": name.ljust(64, "0"),
        "image_type": image_type,
        "telescope": "T20",
        "instrument": "FLI",
        "binning": "1x1",
        "naxis1": 100,
        "naxis2": 80,
        "window": "0,0",
        "exposure_s": 0.0 if image_type is ImageType.BIAS else 60.0,
        "set_temperature_c": -20.0,
        "ccd_temperature_c": -20.1,
        "t_min": start,
        "date_obs": date.isoformat(),
        "night": NIGHT,
        "session_id": f"T20/{NIGHT}/{image_type}/{filter_}" if raw else None,
        "obs_id": f"T20/{NIGHT}/m42" if image_type is ImageType.SCIENCE else None,
        "target_name": "M42" if image_type is ImageType.SCIENCE else None,
    }
    return Frame(**{**values, **changes})


def night() -> list[Frame]:
    frames = [make_frame(f"b{n}", ImageType.BIAS, n) for n in range(3)]
    frames += [make_frame(f"d{n}", ImageType.DARK, 10 + n) for n in range(3)]
    for number, name in enumerate(("Red", "Green", "Blue")):
        frames += [
            make_frame(f"f{name}{n}", ImageType.FLAT, 30 + 5 * number + n, exposure_s=5.0, filter=name)
            for n in range(3)
        ]
        frames += [make_frame(f"s{name}{n}", ImageType.SCIENCE, 100 + 5 * number + n, filter=name) for n in range(2)]
    return frames


def closed(frames: list[Frame]) -> dict[str, Closure]:
    members: dict[str, list[str]] = {}
    for one in frames:
        members.setdefault(one.session_id or one.obs_id, []).append(one.id)
    return {subject: Closure(subject, tuple(sorted(ids)), "idle") for subject, ids in members.items()}


def snapshot(frames: list[Frame], **changes) -> Snapshot:
    return Snapshot(**{"camera": "T20/FLI", "frames": tuple(frames), "closures": closed(frames), **changes})


def made(found: Snapshot, processing: Processing = PROCESSING):
    return plan(found, RECIPES, RULES, processing)


def of_kind(found, kind: ProductKind):
    return [one for one in found.specs if one.kind is kind]


def test_a_whole_night_is_planned_down_to_the_composite():
    found = made(snapshot(night()))
    counts = {kind: len(of_kind(found, kind)) for kind in ProductKind}
    assert counts == {
        ProductKind.MASTER_BIAS: 1,
        ProductKind.MASTER_DARK: 1,
        ProductKind.MASTER_FLAT: 3,
        ProductKind.BAD_PIXEL_MASK: 1,
        ProductKind.REDUCED: 6,
        ProductKind.SOURCES: 6,
        ProductKind.STACK: 3,
        ProductKind.MOSAIC: 0,
        ProductKind.RGB: 1,
        ProductKind.PREVIEW: 21 + 6 + 6 + 3 + 1,
    }
    assert not found.blocked
    assert {one.status for one in found.specs} == {ProductStatus.FINAL}
    flats = {one.id: one.filter for one in of_kind(found, ProductKind.MASTER_FLAT)}
    for one in of_kind(found, ProductKind.REDUCED):
        roles = {ref.role: ref.id for ref in one.inputs}
        assert set(roles) == {"raw", "bias", "dark", "flat", "bad_pixels"}
        assert flats[roles["flat"]] == one.filter


def test_the_order_of_the_facts_does_not_matter():
    frames = night()
    first = made(snapshot(frames))
    random.Random(1).shuffle(frames)
    assert made(snapshot(frames)) == first


def test_ids_name_existing_inputs_only_and_inputs_go_first():
    found = made(snapshot(night()))
    priority = {one.id: one.priority for one in found.specs}
    frames = {one.id for one in night()}
    for one in found.specs:
        for ref in one.inputs:
            assert (ref.id in priority) if ref.origin == "product" else (ref.id in frames)
            if ref.origin == "product":
                assert priority[ref.id] < one.priority


def with_lines() -> list[Frame]:
    frames = night()
    for number, name in enumerate(("Luminance", "Ha", "OIII", "SII")):
        frames.append(make_frame(f"f{name}", ImageType.FLAT, 60 + number, exposure_s=5.0, filter=name))
        frames.append(make_frame(f"s{name}", ImageType.SCIENCE, 150 + number, filter=name))
    return frames


def composites(found) -> dict[str, list[str]]:
    """The name of each composite in its path, and its filters."""
    return {
        one.path.rsplit("/", 1)[-1].split("-")[1]: sorted(ref.role.removeprefix("stack ") for ref in one.inputs)
        for one in of_kind(found, ProductKind.RGB)
    }


def test_broad_and_narrow_filters_make_a_picture_each():
    assert composites(made(snapshot(with_lines()))) == {
        "rgb": ["Blue", "Green", "Luminance", "Red"],
        "narrowband": ["Ha", "OIII", "SII"],
    }


def test_the_composites_are_those_of_the_settings():
    facts = snapshot(with_lines())
    chosen = Processing(composites=("hoo", "SII/Ha/Blue", "jwst-nircam", "natural"))
    assert composites(made(facts, chosen)) == {
        "hoo": ["Ha", "OIII"], "sii": ["Blue", "Ha", "SII"], "natural": ["Ha", "OIII", "SII"],
    }  # fmt: skip
    assert not composites(made(facts, Processing(composites=())))
    alike = Processing(composites=("sho", "narrowband"))  # one picture under two names is made once
    assert len(composites(made(facts, alike))) == 1
    with pytest.raises(ValueError, match="no three filters"):
        Processing(composites=("hubble",))


def test_another_composite_leaves_those_there_are_alone():
    facts = snapshot(with_lines())
    before = {one.id for one in of_kind(made(facts), ProductKind.RGB)}
    more = made(facts, Processing(composites=("natural", "broadband", "narrowband")))
    assert before < {one.id for one in of_kind(more, ProductKind.RGB)}


def test_one_more_flat_remakes_its_filter_and_nothing_else():
    frames = night()
    before = {one.id: one for one in made(snapshot(frames)).specs}
    frames.append(make_frame("fRed9", ImageType.FLAT, 40, exposure_s=5.0, filter="Red"))
    after = {one.id: one for one in made(snapshot(frames)).specs}
    new = [one for identity, one in after.items() if identity not in before]
    counts = {kind: sum(one.kind is kind for one in new) for kind in ProductKind}
    assert {kind: count for kind, count in counts.items() if count} == {
        ProductKind.MASTER_FLAT: 1,
        ProductKind.REDUCED: 2,
        ProductKind.SOURCES: 2,
        ProductKind.STACK: 1,
        ProductKind.RGB: 1,
        ProductKind.PREVIEW: 1 + 1 + 2 + 1 + 1,  # the flat itself, its master, the frames, the stack, the colours
    }
    assert all(one.filter in ("Red", None) for one in new)


def test_masters_wait_for_their_session_and_reduced_frames_for_no_closure():
    frames = night()
    closures = closed(frames)
    open_observation = {key: value for key, value in closures.items() if not key.endswith("m42")}
    found = made(snapshot(frames, closures=open_observation))
    assert len(of_kind(found, ProductKind.REDUCED)) == 6
    assert not of_kind(found, ProductKind.STACK)
    assert not of_kind(made(snapshot(frames, closures={})), ProductKind.MASTER_BIAS)


def test_a_missing_flat_blocks_with_its_reason_then_gives_a_provisional_frame():
    frames = [one for one in night() if not (one.image_type is ImageType.FLAT and one.filter == "Red")]
    strict = made(snapshot(frames), Processing(provisional=False))
    assert len(strict.blocked) == 2
    assert all(one.reason.startswith("flat:") and one.kind is ProductKind.REDUCED for one in strict.blocked)
    found = made(snapshot(frames))
    provisional = [one for one in of_kind(found, ProductKind.REDUCED) if one.status is ProductStatus.PROVISIONAL]
    assert [one.filter for one in provisional] == ["Red", "Red"]
    assert all("flat" not in {ref.role for ref in one.inputs} for one in provisional)
    stacks = {one.filter: one.status for one in of_kind(found, ProductKind.STACK)}
    assert stacks == {"Red": "provisional", "Green": "final", "Blue": "final"}


def test_a_rejected_dark_remakes_what_used_it():
    frames = night()
    dark = next(one for one in frames if one.image_type is ImageType.DARK)
    before = {one.id for one in made(snapshot(frames)).specs}
    after = made(snapshot(frames, rejected=frozenset({dark.id})))
    assert len(of_kind(after, ProductKind.MASTER_DARK)[0].inputs) == 3  # two darks and the bias
    assert {one.kind for one in after.specs if one.id in before} == {"master_bias", "master_flat", "preview"}


def test_a_master_whose_job_died_serves_nobody():
    found = made(snapshot(night()))
    dead = of_kind(found, ProductKind.MASTER_DARK)[0].id
    after = made(snapshot(night(), dead=frozenset({dead})))
    assert not of_kind(after, ProductKind.MASTER_DARK)
    assert all("dark:" in one.reason for one in of_kind(after, ProductKind.REDUCED))


def test_a_dark_that_keeps_its_bias_stands_for_the_bias_too():
    frames = [one for one in night() if one.image_type is not ImageType.BIAS]
    found = made(snapshot(frames))
    assert not of_kind(found, ProductKind.MASTER_FLAT)  # neither bias nor a dark of their exposure
    roles = {ref.role for ref in of_kind(found, ProductKind.REDUCED)[0].inputs}
    assert roles == {"raw", "dark", "bad_pixels"}
    assert all(one.reason.startswith("flat:") for one in of_kind(found, ProductKind.REDUCED))


def test_a_vendor_calibrated_frame_is_never_calibrated_again():
    frames = [
        replace(one, calib_level=2, calibration=frozenset({"bias", "dark", "flat"})) if one.obs_id else one
        for one in night()
    ]
    found = made(snapshot(frames))
    for one in of_kind(found, ProductKind.REDUCED):
        assert [ref.role for ref in one.inputs] == ["raw"]
        assert one.status is ProductStatus.FINAL


def twin_of(frame: Frame) -> Frame:
    """The same exposure as its vendor calibrated it."""
    return replace(frame, id="v" + frame.id[1:], calib_level=2, calibration=frozenset({"bias", "dark", "flat"}))


@pytest.mark.parametrize(("lost", "wanted"), [(None, "s"), (ImageType.FLAT, "v")])
def test_a_light_delivered_raw_and_calibrated_is_stacked_once(lost, wanted):
    frames = [one for one in night() if one.image_type is not lost]
    lights = [one for one in frames if one.obs_id]
    found = made(snapshot([*frames, *map(twin_of, lights)]))
    raw_of = {
        one.id: next(ref.id for ref in one.inputs if ref.role == "raw") for one in of_kind(found, ProductKind.REDUCED)
    }
    for one in of_kind(found, ProductKind.STACK):
        used = sorted(raw_of[ref.id][0] for ref in one.inputs)
        assert used == [wanted] * 2, "two exposures, each once: raw where all calibrations are there, else the vendor's"
        assert (one.status, one.exposure_s) == (ProductStatus.FINAL, 120.0)


def test_a_delivered_master_serves_as_it_is():
    frames = [one for one in night() if one.image_type is not ImageType.DARK]
    delivered = make_frame("master", ImageType.MASTER_DARK, 20, bias_included=True, session_id=None)
    found = made(snapshot([*frames, delivered], closures=closed(frames)))
    assert not of_kind(found, ProductKind.MASTER_DARK)
    for one in of_kind(found, ProductKind.REDUCED):
        assert {ref.role: ref.id for ref in one.inputs}["dark"] == delivered.id


def test_tonight_goes_before_the_backlog():
    tonight = night()
    backlog = [
        replace(one, id="9" + one.id[:-1], night="2025-12-01", t_min=one.t_min - 45,
                session_id=one.session_id and one.session_id.replace(NIGHT, "2025-12-01"),
                obs_id=one.obs_id and one.obs_id.replace(NIGHT, "2025-12-01"))
        for one in night()
    ]  # fmt: skip
    found = made(snapshot(tonight + backlog))
    new = [one.priority for one in found.specs if one.night == NIGHT]
    old = [one.priority for one in found.specs if one.night == "2025-12-01"]
    assert max(new) < min(old)


def test_an_old_master_that_tonight_needs_goes_with_tonight():
    darks = [
        replace(one, night="2026-01-12", t_min=one.t_min - 3, session_id="T20/2026-01-12/dark")
        for one in night()
        if one.image_type is ImageType.DARK
    ]
    frames = [one for one in night() if one.image_type is not ImageType.DARK] + darks
    found = made(snapshot(frames))
    master = of_kind(found, ProductKind.MASTER_DARK)[0]
    assert master.night == "2026-01-12"
    assert master.priority < min(one.priority for one in of_kind(found, ProductKind.REDUCED))


def test_why_names_the_wrong_filter_flat_too():
    frames = night()
    science = next(one for one in frames if one.filter == "Red" and one.obs_id)
    needs = {one.kind: one for one in explain(snapshot(frames), RECIPES, RULES, science.id)}
    assert set(needs) == {"bias", "dark", "flat", "bad_pixels"}
    assert all(one.chosen for one in needs.values())
    failed = [one for one in needs["flat"].candidates if one.outcome == "fail"]
    assert len(failed) == 2
    assert all(any(c.name == "filter" and c.outcome == "fail" for c in one.criteria) for one in failed)
    with pytest.raises(UsageError):
        explain(snapshot(frames), RECIPES, RULES, "nothing")


def test_a_changed_parameter_changes_the_digest_and_the_ids():
    recipe = RECIPES[ProductKind.MASTER_BIAS]
    other = {**RECIPES, ProductKind.MASTER_BIAS: recipe.model_copy(update={"version": recipe.version + 1})}
    assert planning_digest(other, RULES, PROCESSING) != planning_digest(RECIPES, RULES, PROCESSING)
    before = {one.id for one in made(snapshot(night())).specs if one.kind is ProductKind.MASTER_BIAS}
    after = {
        one.id for one in plan(snapshot(night()), other, RULES, PROCESSING).specs if one.kind is ProductKind.MASTER_BIAS
    }
    assert not before & after


def masters_of(found, kind: ProductKind) -> list[set[str]]:
    """The raw frames of each master, by the beginnings of their ids."""
    return [
        {ref.id.rstrip("0") for ref in one.inputs if ref.role == "raw"}
        for one in sorted(of_kind(found, kind), key=lambda one: one.slot)
    ]


def test_darks_taken_before_the_camera_was_cold_make_a_master_of_their_own():
    frames = [one for one in night() if one.image_type is not ImageType.DARK]
    frames += [
        make_frame(f"d{n}x", ImageType.DARK, 10 + n, ccd_temperature_c=one)
        for n, one in enumerate([-17.0, -18.5, -20.0, -20.1, -19.9])
    ]
    found = made(snapshot(frames))
    assert masters_of(found, ProductKind.MASTER_DARK) == [{"d0x"}, {"d1x"}, {"d2x", "d3x", "d4x"}]
    slots = [one.slot for one in found.specs]
    assert len(set(slots)) == len(slots)


def test_a_master_is_made_of_so_many_frames_at_most_and_says_so():
    frames = [make_frame(f"b{n}x", ImageType.BIAS, n / 10) for n in range(100)]
    found = made(snapshot(frames))
    (master,) = of_kind(found, ProductKind.MASTER_BIAS)
    assert len(master.inputs) == 64
    assert master.reason == "64 of 100 frames, evenly spaced"


def test_flats_too_short_for_the_shutter_are_left_out_and_named(tmp_path):
    text = '[instrument."FLI".flat]\nshortest_exposure_s = 2.0\n'
    (tmp_path / "match.toml").write_text(text, encoding="utf-8")
    rules = load_rules(tmp_path)
    frames = [one for one in night() if not (one.image_type is ImageType.FLAT and one.filter == "Red")]
    frames += [
        make_frame(f"r{n}x", ImageType.FLAT, 30 + n, exposure_s=s, filter="Red") for n, s in enumerate((0.5, 3, 4))
    ]
    found = plan(snapshot(frames), RECIPES, rules, PROCESSING)
    red = next(one for one in of_kind(found, ProductKind.MASTER_FLAT) if one.filter == "Red")
    assert {ref.id.rstrip("0") for ref in red.inputs if ref.role == "raw"} == {"r1x", "r2x"}
    assert "1 exposed for 0.5 s, of at least 2 s for this camera's shutter" in red.reason
    short = [replace(one, exposure_s=0.5) if one.filter == "Red" and one.session_id else one for one in frames]
    (blocked,) = [one for one in plan(snapshot(short), RECIPES, rules, PROCESSING).blocked if one.kind == "master_flat"]
    assert "0 of at least 1 frames" in blocked.reason


def held_facts(frames: list[Frame], *others: ProductFact) -> tuple[Snapshot, str]:
    """The night with its dark's master held, and that master's id."""
    facts = snapshot(frames)
    (master,) = of_kind(made(facts), ProductKind.MASTER_DARK)
    held = ProductFact(master.id, master.kind, master.slot, ProductStatus.HELD, published=2.0, held=True)
    others = [replace(one, slot=master.slot) for one in others]
    return replace(facts, products={one.id: one for one in (held, *others)}), master.id


def darks_used(found) -> set[str]:
    return {ref.id for one in of_kind(found, ProductKind.REDUCED) for ref in one.inputs if ref.role == "dark"}


def test_a_held_master_serves_nothing_until_it_is_approved():
    facts, held = held_facts(night())
    found = made(facts)
    assert darks_used(found) == set()
    assert {one.status for one in of_kind(found, ProductKind.REDUCED)} == {ProductStatus.PROVISIONAL}
    assert [one.status for one in found.specs if one.id == held] == [ProductStatus.HELD]
    approved = made(replace(facts, approved={held: Approval()}))
    assert darks_used(approved) == {held}
    assert [one.status for one in approved.specs if one.id == held] == [ProductStatus.FINAL]


def test_what_served_in_the_place_of_a_held_master_goes_on():
    earlier = [
        ProductFact(name, ProductKind.MASTER_DARK, "", status, published=when)
        for name, status, when in (
            ("older", ProductStatus.SUPERSEDED, 0.5), ("last", ProductStatus.SUPERSEDED, 1.0),
            ("bad", ProductStatus.REJECTED, 1.5),
        )
    ]  # fmt: skip
    found = made(held_facts(night(), *earlier)[0])
    assert darks_used(found) == found.kept == {"last"}


def test_why_shows_what_is_held_or_rejected_and_that_it_would_fit():
    frames = night()
    science = next(one.id for one in frames if one.obs_id)
    facts, held = held_facts(frames)
    need = next(one for one in explain(facts, RECIPES, RULES, science) if one.kind == "dark")
    (verdict,) = need.candidates
    assert (need.chosen, verdict.candidate_id, verdict.criteria[-1].found) == (None, held, "held")
    assert need.relaxation == f"{held[:12]} would fit: it is held"
    facts = replace(facts, products={}, rejected=frozenset({held}))
    need = next(one for one in explain(facts, RECIPES, RULES, science) if one.kind == "dark")
    assert need.candidates[0].criteria[-1].found == "rejected"


def test_a_master_given_other_times_serves_within_them_alone():
    frames = night()
    (master,) = of_kind(made(snapshot(frames)), ProductKind.MASTER_DARK)
    later = Approval(valid_from=EVENING + 10)
    assert darks_used(made(snapshot(frames, approved={master.id: later}))) == set()
    earlier = Approval(valid_until=EVENING + 10)
    assert darks_used(made(snapshot(frames, approved={master.id: earlier}))) == {master.id}


def test_an_observation_whose_frames_were_all_rejected_and_that_has_a_new_one_is_planned():
    frames = night()
    lights = [one.id for one in frames if one.obs_id]
    late = make_frame("late", ImageType.SCIENCE, 200, filter="Red")
    found = made(replace(snapshot(frames, rejected=frozenset(lights)), frames=(*frames, late)))
    assert {ref.id for one in of_kind(found, ProductKind.REDUCED) for ref in one.inputs if ref.role == "raw"} == {
        late.id
    }
    assert not of_kind(found, ProductKind.STACK)
