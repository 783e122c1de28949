"""What observers decide and what they are told before and after: approve, reject, impact, why."""

from __future__ import annotations

import dataclasses
import shutil

import pytest

from avcd.catalog import Catalog
from avcd.config import Home, load_home
from avcd.frame import CalibLevel, ImageType
from catalogue import digest
from cli_calls import Call
from homes import make_home
from planned_home import bring_up_to_date, deliver, frame, frames, serving

DELIVERED = frame("delivered", ImageType.MASTER_DARK, 1, session_id=None, target_name=None)
VENDOR = dataclasses.replace(
    frame("vendor", ImageType.SCIENCE, 130, filter="Red", obs_id="T20/2026-01-15/other"),
    calib_level=CalibLevel.CALIBRATED,
    calibration=frozenset({"bias", "dark", "flat"}),
    sources={"calibration": "card CALSTAT", "calib_level": "card CALSTAT"},
)


@pytest.fixture(scope="module")
def made_home(tmp_path_factory) -> Home:
    home = make_home(tmp_path_factory.mktemp("decisions") / "home", processing={"previews": False})
    catalog = Catalog(home.database_url)
    deliver(catalog, [*frames(), DELIVERED, VENDOR])
    bring_up_to_date(catalog, home)
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


@pytest.fixture
def catalog(home):
    opened = Catalog(home.database_url)
    yield opened
    opened.close()


def slot_of(catalog, beginning: str) -> str:
    return next(identity for slot, identity in sorted(serving(catalog).items()) if slot.startswith(beginning))


def fits(text: str, width: int = 100) -> bool:
    return max(map(len, text.splitlines())) <= width


def test_a_master_is_approved_for_times_and_show_tells_who_when_and_why(call):
    said = call("approve", DELIVERED.id[:12], "--reason", "checked by eye", "--from", "2026-01-01", "--until",
                "2026-02-01T12:00")  # fmt: skip
    assert (said.code, said.err) == (0, "")
    assert said.out == f"frame {DELIVERED.id[:12]} is approved, valid from 2026-01-01T00:00 until 2026-02-01T12:00\n"
    (flag,) = call("show", DELIVERED.id, "--format", "json").json["flags"]
    assert (flag["kind"], flag["valid_from"], flag["valid_until"], flag["active"]) == (
        "approve",
        61041.0,
        61072.5,
        True,
    )
    assert flag["who"]
    text = call("show", DELIVERED.id).out
    assert "approve" in text
    assert "checked by eye" in text
    assert (
        call("unflag", DELIVERED.id, "--reason", "not so sure").out
        == f"frame {DELIVERED.id[:12]} is no longer approved\n"
    )
    assert "withdrawn" in call("show", DELIVERED.id).out
    assert call("unflag", DELIVERED.id, "--reason", "again").code == 2


def test_reject_and_approve_are_each_others_end(call, catalog):
    master = slot_of(catalog, "master_bias")
    assert call("reject", master, "--reason", "light leak").out == f"product {master[:12]} is rejected\n"
    assert call("approve", master, "--reason", "no leak").out == f"product {master[:12]} is approved\n"
    row = call("show", master, "--format", "json").json
    assert [(one["kind"], one["active"], one["withdrawn_reason"]) for one in row["flags"]] == [
        ("reject", False, "no leak"),
        ("approve", True, None),
    ]
    assert call("reject", master, "--reason", "a leak after all").code == 0
    assert call("show", master, "--format", "json").json["status"] == "rejected"
    assert call("unflag", master, "--reason", "enough").out == f"product {master[:12]} is no longer rejected\n"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["approve", DELIVERED.id, "--reason", " "], "--reason is empty"),
        (["reject", DELIVERED.id, "--reason", " "], "--reason is empty"),
        (["approve", DELIVERED.id, "--reason", "x", "--from", "soon"], "neither a date"),
        (["approve", DELIVERED.id, "--reason", "x", "--from", "2026-02-01", "--until", "2026-01-01"], "until before"),
        (["approve", digest("sRed0"), "--reason", "x"], "masters alone are approved"),
        (["reject", "nothing-like-it", "--reason", "x"], "no frame or product"),
        (["impact", "nothing-like-it"], "no frame or product"),
    ],
)
def test_what_cannot_be_decided_is_wrong_usage(call, words, says):
    said = call(*words)
    assert (said.code, said.out) == (2, "")
    assert says in said.err


def subjects(catalog) -> dict[str, str]:
    return {
        "a raw bias": digest("b1"), "a raw dark": digest("d0"), "a raw flat": digest("fBlue0"), "a light": digest("sRed0"),
        "a master": slot_of(catalog, "master_flat"), "a dark master": slot_of(catalog, "master_dark"),
        "a delivered master": DELIVERED.id, "a reduced frame": slot_of(catalog, "reduced"), "a stack": slot_of(catalog, "stack"),
        "a light its vendor calibrated": VENDOR.id,
    }  # fmt: skip


NAMES = ("a raw bias", "a raw dark", "a raw flat", "a light", "a master", "a dark master", "a delivered master",
         "a reduced frame", "a stack", "a light its vendor calibrated")  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_what_impact_foretells_is_what_happens(call, catalog, home, name):
    subject = subjects(catalog)[name]
    before = serving(catalog)
    foretold = call("impact", subject, "--format", "json").json
    assert (foretold["id"], foretold["decision"]) == (subject, "reject")
    assert serving(catalog) == before
    assert call("impact", subject).out.count("\n") >= len(foretold["changes"])
    assert call("reject", subject, "--reason", "clouds").code == 0
    bring_up_to_date(catalog, home, now=3000.0)
    after = serving(catalog)
    moved = {
        slot: (before.get(slot), after.get(slot)) for slot in before | after if before.get(slot) != after.get(slot)
    }
    assert moved == {one["slot"]: (one["before"], one["after"]) for one in foretold["changes"]}
    # And back: what approving or unflagging would bring is foretold alike.
    assert call("impact", subject, "--format", "json").json["changes"] == []
    back = call("impact", subject, "--approve", "--format", "json").json
    assert back["decision"] == "approve"
    assert call("unflag", subject, "--reason", "no clouds").code == 0
    bring_up_to_date(catalog, home, now=4000.0)
    assert serving(catalog) == before
    assert {one["slot"]: (one["before"], one["after"]) for one in back["changes"]} == {
        slot: (now, was) for slot, (was, now) in moved.items()
    }


def test_impact_is_told_in_a_sentence_and_a_table_that_fits(call, catalog):
    said = call("impact", digest("d0"))
    assert said.code == 0
    assert said.out.startswith(
        f"Rejecting frame {digest('d0')[:12]} would have\n  made again: 1 master_dark, 1 bad_pixel"
    )
    assert "without raw" in said.out
    assert fits(said.out)
    assert call("impact", digest("d0"), "--format", "csv").out.splitlines()[0].startswith("kind,slot,change")
    said = call("impact", DELIVERED.id, "--approve")
    assert said.out == f"Approving frame {DELIVERED.id[:12]}: nothing would change\n"


def test_why_a_product_was_made_again_names_the_rejection_and_who_did_it(call, catalog, home):
    first = serving(catalog)
    assert call("reject", digest("d0"), "--reason", "shutter stayed open").code == 0
    bring_up_to_date(catalog, home, now=3000.0)
    second = serving(catalog)
    place = next(slot for slot in first if slot.startswith("master_dark"))
    found = call("why", second[place], "--format", "json").json
    assert found["predecessor"]["id"] == first[place]
    assert found["revision"] == 2
    assert found["serving"] == [second[place]]
    (one,) = found["differences"]
    assert (one["what"], one["name"], one["before"], one["after"]) == ("removed", "raw", digest("d0"), None)
    assert one["text"].startswith(f"without raw {digest('d0')[:12]} dark-none-")
    assert "shutter stayed open" in one["because"]
    assert {one["id"] for one in found["inputs"]} >= {digest("d1"), digest("d2")}
    assert all(one["name"].endswith(".fits") for one in found["inputs"])
    # What used the dark says why the dark itself was made again.
    reduced = next(slot for slot in first if slot.startswith("reduced") and first[slot] != second.get(slot))
    said = call("why", second[reduced])
    words = " ".join(said.out.split())
    assert f"dark: dark-ccd-bin1x1-60s-{second[place][:12]}.fits in place of" in words
    assert f"it was made again: without raw {digest('d0')[:12]} dark-none-" in words
    assert "shutter stayed open" in words
    assert "made again after" in words
    assert fits(said.out)
    old = call("why", first[place])
    assert f"in its place serves {second[place]}" in old.out
    assert "the first of its place" in old.out


def test_why_tells_what_arrived_what_is_nearer_and_what_is_final_now(call, catalog, home):
    before = serving(catalog)
    late = frame("late flat", ImageType.FLAT, 40, exposure_s=5.0, filter="Red")
    deliver(catalog, [late], now=2500.0)
    bring_up_to_date(catalog, home, now=3000.0)
    place = next(slot for slot, identity in before.items() if slot.startswith("master_flat") and slot.endswith("Red"))
    found = call("why", serving(catalog)[place], "--format", "json").json
    (one,) = found["differences"]
    assert (one["what"], one["after"]) == ("added", late.id)
    assert one["because"] == "it arrived on 1970-01-01 00:41:40"


def test_why_a_provisional_frame_became_final(call, catalog, home):
    flats = [digest(f"fRed{number}") for number in range(3)]
    for one in flats:
        catalog.flag(one, "to be looked at", "Ann", 2500.0)
    bring_up_to_date(catalog, home, now=3000.0)
    place = f"reduced:{digest('sRed0')}"
    lacking = call("why", serving(catalog)[place], "--format", "json").json
    assert lacking["status"] == "provisional"
    texts = {one["text"]: one["because"] for one in lacking["differences"]}
    assert "provisional" in texts
    assert any(one.startswith("without flat") for one in texts)
    later = [frame(f"new{number}", ImageType.FLAT, 50 + number, exposure_s=5.0, filter="Red",
                   session_id="T20/2026-01-15/flat/new") for number in range(3)]  # fmt: skip
    deliver(catalog, later, now=3500.0)
    bring_up_to_date(catalog, home, now=4000.0)
    found = call("why", serving(catalog)[place], "--format", "json").json
    assert (found["status"], found["revision"]) == ("final", 3)
    assert {one["text"]: one["because"] for one in found["differences"]}[
        "no longer provisional"
    ] == "what was missing is there"


def test_why_a_frame_is_a_table_that_fits_and_in_full_every_criterion(call):
    said = call("why", digest("sRed0"))
    assert said.code == 0
    assert fits(said.out)
    assert "flat: " in said.out
    assert "filter: wanted Red, found Green" in " ".join(said.out.split())
    full = call("why", digest("sRed0"), "--full")
    assert fits(full.out)
    found = call("why", digest("sRed0"), "--format", "json").json
    verdicts = [verdict for need in found["needs"].values() for verdict in need["candidates"]]
    assert full.out.count("criterion") == len(verdicts)
    for name in ("wanted", "found", "tolerance", "outcome"):
        assert full.out.count(name) >= len(verdicts)
    assert all(verdict["path"] for verdict in verdicts)


def test_a_frame_that_its_vendor_calibrated_is_said_to_be_by_which_card(call):
    found = call("why", VENDOR.id, "--format", "json").json
    assert found["applied"] == dict.fromkeys(("bias", "dark", "flat", "bad_pixels"), "card CALSTAT")
    assert {kind: (one["chosen"], one["applied"]) for kind, one in found["needs"].items()} == dict.fromkeys(
        ("bias", "dark", "flat", "bad_pixels"), (None, "card CALSTAT")
    )
    text = call("why", VENDOR.id).out
    assert "flat: done before the frame was delivered (card CALSTAT), and not done again" in text


def test_of_many_candidates_those_that_fit_best_are_shown(call, catalog, home):
    many = [
        frame(f"bias {session} {number}", ImageType.BIAS, 200 + session, session_id=f"T20/2026-01-15/bias/{session}")
        for session in range(30)
        for number in range(2)
    ]
    deliver(catalog, many)
    said = call("why", digest("sRed0")).out
    assert "and 11 more that fit less well; --full shows them" in said
    found = call("why", digest("sRed0"), "--format", "json").json["needs"]["bias"]
    assert len(found["candidates"]) == 31
    assert said.index(found["chosen"][:12]) < said.index(found["candidates"][19]["id"][:12])
    assert found["candidates"][20]["id"][:12] not in said
    full = call("why", digest("sRed0"), "--full").out
    assert all(one["id"][:12] in full for one in found["candidates"])
