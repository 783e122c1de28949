"""Files and frames in the catalogue: identity, twice is once, replaced content, absence. On both databases."""

import dataclasses
import json
import os

import pytest
from sqlalchemy import text

from avcd.catalog import Catalog, session
from avcd.catalog.models import frames
from avcd.catalog.rows import FRAME_FIELDS
from avcd.errors import ConfigError, DatabaseBusyError, InputError, UsageError
from avcd.frame import Card, FileReading, Frame, FrameStatus, ImageType, MemberReading, ProductKind
from catalogue import (
    CAMERA,
    absent_files,
    apply,
    digest,
    known_files,
    make_frame,
    make_plan,
    make_reading,
    make_spec,
    of_frame,
    record,
    run,
    states,
)

LIGHT = make_frame("light")


def test_every_field_of_a_frame_has_a_column():
    assert set(FRAME_FIELDS) <= set(frames.c.keys())


def test_a_frame_comes_back_as_it_was_recorded(catalog):
    """Every field at once, each with a value that none of its neighbours has."""
    values = {}
    for number, field in enumerate(dataclasses.fields(Frame)):
        kind = str(field.type)
        if kind.startswith("str"):
            values[field.name] = f"{field.name} ñ"
        elif kind.startswith("float"):
            values[field.name] = number + 0.1
        elif kind.startswith("int"):
            values[field.name] = number
        elif kind.startswith("bool"):
            values[field.name] = True
    changes = {
        "image_type": ImageType.MASTER_DARK,
        "calibration": frozenset({"dark", "bias"}),
        "warnings": ("b", "a"),
        "sources": {"filter": "name pattern"},
        "cards": (
            Card("B", True, "x"),
            Card("A", None),
            Card("I", 2**40),
            Card("F", 0.1),
            Card("", "free"),
            Card("B", 2),
        ),
    }
    frame = Frame(**{**values, **changes})
    catalog.record_reading("drop", make_reading("x.fits", frame), 1, 1, 1.0)
    (found,) = catalog.snapshot(frame.camera).frames
    assert found == dataclasses.replace(frame, cards=())
    row = catalog.frame_row(frame.id)
    assert row["cards"] == [{"keyword": c.keyword, "value": c.value, "comment": c.comment} for c in frame.cards]
    assert row["header"] == {"B": True, "A": None, "I": 2**40, "F": 0.1}
    json.dumps(row)


def test_recording_twice_is_once(catalog):
    reading = make_reading("a/light.fits", LIGHT)
    assert catalog.record_reading("drop", reading, 2880, 5, 1000.0) == 1
    revision = catalog.revision(CAMERA)
    assert catalog.record_reading("drop", reading, 2880, 5, 2000.0) == 0
    assert catalog.revision(CAMERA) == revision
    assert [row["frames"] for row in catalog.files()] == [[LIGHT.id]]
    assert known_files(catalog, "drop") == {"a/light.fits": (2880, 5)}
    assert known_files(catalog, "other") == {}
    assert next(iter(catalog.files()))["first_seen"] == 1000.0


def test_one_frame_in_many_files_is_one_frame(catalog):
    assert catalog.record_reading("drop", make_reading("x.fits", LIGHT), 2880, 1, 1.0) == 1
    assert catalog.record_reading("drop", make_reading("0.fits.zip", LIGHT, member="x.fits"), 999, 1, 2.0) == 0
    assert catalog.record_reading("other", make_reading("x.fits", LIGHT), 2880, 1, 3.0) == 0
    rows = list(catalog.frames())
    assert len(rows) == 1
    # The plain file goes before the archive's member, whichever name comes first.
    assert (rows[0]["path"], rows[0]["member"], rows[0]["root"]) == ("x.fits", "", "drop")
    assert len(catalog.frame_row(LIGHT.id)["files"]) == 3
    assert len(list(catalog.files())) == 4  # the zip itself, too


def test_replaced_content_is_no_longer_linked_to_the_old_frame(catalog):
    other = make_frame("other")
    catalog.record_reading("drop", make_reading("x.fits", LIGHT), 2880, 1, 1.0)
    catalog.record_reading("drop", make_reading("x.fits", other, sha256=digest("new")), 2880, 2, 2.0)
    (row,) = catalog.files()
    assert (row["frames"], row["sha256"], row["first_seen"]) == ([other.id], digest("new"), 2.0)
    assert catalog.frame_row(LIGHT.id)["files"] == []
    assert known_files(catalog, "drop") == {"x.fits": (2880, 2)}


def test_members_that_left_an_archive_are_absent(catalog):
    zipped = make_reading("x.zip", LIGHT, member="a.fits")
    catalog.record_reading("drop", zipped, 1, 1, 1.0)
    catalog.record_reading("drop", FileReading(relative_path="x.zip", members=zipped.members[:1]), 2, 2, 2.0)
    assert {row["member"]: (row["present"], row["frames"]) for row in catalog.files()} == {
        "": (True, [LIGHT.id][:0]),
        "a.fits": (False, []),
    }
    catalog.mark_absent("drop", ["x.zip"])
    catalog.mark_present("drop", ["x.zip"])
    assert {row["member"]: row["present"] for row in catalog.files()} == {"": True, "a.fits": False}


def test_what_cannot_be_read_is_accounted_for(catalog):
    broken = MemberReading(
        member="", sha256=digest("b"), size=7, status=FrameStatus.UNREADABLE, reason="truncated: 7 bytes"
    )
    catalog.record_reading("drop", FileReading(relative_path="broken.fits", members=(broken,)), 7, 1, 1.0)
    (row,) = catalog.files(status="unreadable")
    assert (row["path"], row["reason"], row["frames"]) == ("broken.fits", "truncated: 7 bytes", [])
    assert list(catalog.frames()) == []
    (row,) = catalog.frames(status="unreadable")
    assert (row["status"], row["path"], row["warnings"]) == ("unreadable", "broken.fits", ["truncated: 7 bytes"])
    assert catalog.cameras() == []


@pytest.mark.parametrize(
    "name", ["Ñandú 星 β.fits", "a b'c\"d\\e%_.fits", os.fsdecode(b"bytes \xff\xe9.fits"), "new\nline.fits"]
)
def test_any_file_name_comes_back_byte_for_byte(catalog, name):
    catalog.record_reading("drop", make_reading(f"dir/{name}", LIGHT), 1, 1, 1.0)
    assert known_files(catalog, "drop") == {f"dir/{name}": (1, 1)}
    catalog.mark_absent("drop", [f"dir/{name}"])
    assert known_files(catalog, "drop") == {}
    (row,) = catalog.files()
    json.dumps(row).encode()
    row["path"].encode()
    assert catalog.find(name) == [("frame", LIGHT.id)]


def test_text_that_databases_refuse_is_escaped(catalog):
    odd = make_frame(
        "odd",
        target_name="M\x0042 \udcff",
        cards=(Card("OBJECT", "M\x0042"), Card("X", float("inf"))),
        gain=float("nan"),
    )
    catalog.record_reading("drop", make_reading("odd.fits", odd), 1, 1, 1.0)
    row = catalog.frame_row(odd.id)
    assert (row["target_name"], row["gain"]) == ("M\\x0042 \\udcff", None)
    assert [card["value"] for card in row["cards"]] == ["M\\x0042", "inf"]


def test_a_value_too_large_for_the_catalogue_is_an_input_error_and_leaves_nothing(catalog):
    huge = make_frame("huge", sequence_total=10**30)
    with pytest.raises(InputError, match="does not fit"):
        catalog.record_reading("drop", make_reading("huge.fits", huge), 1, 1, 1.0)
    assert list(catalog.files()) == []
    assert catalog.cameras() == []


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_of_two_readings_of_one_frame_the_fuller_holds_in_either_order(catalog, order):
    """The same content under a name that tells the filter and one that does not."""
    readings = [
        make_reading("x.fits", dataclasses.replace(LIGHT, filter=None)),
        make_reading("light-Red.fits", dataclasses.replace(LIGHT, filter="Red")),
    ]
    for index in order:
        catalog.record_reading("drop", readings[index], 1, 1, 1.0)
    (frame,) = catalog.snapshot(CAMERA).frames
    assert frame.filter == "Red"


def test_a_newer_profile_overwrites_and_an_older_does_not(catalog):
    newer = dataclasses.replace(LIGHT, profile_version=2, filter=None, instrument="Other")
    record(catalog, LIGHT)
    record(catalog, newer)
    record(catalog, LIGHT)
    assert catalog.cameras() == ["T20/Other"]
    assert catalog.snapshot("T20/Other").frames[0].filter is None
    # The camera it left is to be planned again, too: what it made of the frame must go.
    assert catalog.cameras_to_plan("d") == [CAMERA, "T20/Other"]


def test_every_new_fact_asks_for_a_plan_and_a_plan_settles_it(catalog):
    assert catalog.cameras_to_plan("d") == []
    record(catalog, LIGHT)
    assert catalog.cameras_to_plan("d") == [CAMERA]
    apply(catalog)
    assert catalog.cameras_to_plan("d") == []
    assert catalog.cameras_to_plan("other recipes") == [CAMERA]
    facts = catalog.unplanned(CAMERA, "d")
    record(catalog, make_frame("late"))
    catalog.apply_plan(make_plan(), "d", facts)
    assert catalog.cameras_to_plan("d") == [CAMERA], "a plan made before the late frame does not cover it"


def test_absent_files_keep_their_frames_and_come_back(catalog):
    record(catalog, LIGHT)
    path = f"{LIGHT.id[:8]}.fits"
    catalog.mark_absent("drop", [path])
    assert known_files(catalog, "drop") == {}
    assert absent_files(catalog, "drop") == {path: (2880, 1)}
    assert [row["present"] for row in catalog.frames()] == [False]
    catalog.mark_present("drop", [path])
    assert [row["present"] for row in catalog.frames()] == [True]


@pytest.mark.parametrize("how", ["mark_present", "record_reading"])
def test_jobs_that_died_for_want_of_a_file_may_run_when_it_is_back(catalog, how):
    record(catalog, LIGHT)
    spec = make_spec(ProductKind.REDUCED, "reduced", of_frame(LIGHT))
    apply(catalog, spec)
    path = f"{LIGHT.id[:8]}.fits"
    catalog.mark_absent("drop", [path])
    claim = catalog.claim_job("me", 60, 10.0)
    catalog.fail_job(claim, "input raw is gone", retry=False, max_attempts=3, backoff_s=1, now=11.0)
    assert catalog.snapshot(CAMERA).dead == {spec.id}
    apply(catalog)
    if how == "mark_present":
        catalog.mark_present("drop", [path])
    else:
        record(catalog, LIGHT)
    assert catalog.snapshot(CAMERA).dead == frozenset()
    assert catalog.cameras_to_plan("d") == [CAMERA]
    apply(catalog, spec)
    assert run(catalog) == ["reduced"]
    assert states(catalog) == {spec.id: "done"}


def test_frames_of_other_cameras_are_not_in_a_snapshot(catalog):
    record(
        catalog,
        LIGHT,
        make_frame("b", telescope="T5"),
        make_frame("t", image_type=ImageType.TABLE, status=FrameStatus.UNREADABLE),
    )
    assert [frame.id for frame in catalog.snapshot(CAMERA).frames] == [LIGHT.id]
    assert catalog.cameras() == ["T20/CCD", "T5/CCD"]


@pytest.mark.parametrize("url", ["nonsense", "mysql://h/d", "sqlite://", "sqlite:///:memory:"])
def test_other_databases_are_refused(url):
    with pytest.raises(ConfigError, match="database url"):
        Catalog(url)


def test_unknown_rows_and_filters_are_usage_errors(catalog):
    for call in (
        lambda: catalog.frame_row("x"),
        lambda: catalog.product_row("x"),
        lambda: list(catalog.frames(colour="red")),
        lambda: list(catalog.frames(sort="nonsense")),
        lambda: list(catalog.frames(sort="warnings")),
        lambda: list(catalog.frames(since="yesterday")),
        lambda: list(catalog.products(since="2026-01-15T12:00")),
        lambda: list(catalog.nights(sort="path")),
        lambda: list(catalog.jobs(limit=-1)),
    ):
        with pytest.raises(UsageError):
            call()


def test_a_connection_that_the_server_closed_is_made_anew(emptied_postgresql, monkeypatch):
    url = emptied_postgresql()
    catalog, administrator = Catalog(url), Catalog(url)

    def cut() -> None:
        with catalog.read() as connection:
            server = connection.execute(text("SELECT pg_backend_pid()")).scalar()
        with administrator.read() as connection:
            assert connection.execute(text("SELECT pg_terminate_backend(:server, 5000)"), {"server": server}).scalar()

    cut()
    with pytest.raises(DatabaseBusyError):  # it answered a moment ago: what fails so is tried again by its callers
        catalog.version()
    catalog.version()
    monkeypatch.setattr(session, "_TRUSTED_S", -1.0)  # as after a pause
    cut()
    assert catalog.version()[0] == catalog.version()[1]
    administrator.close()
    catalog.close()
