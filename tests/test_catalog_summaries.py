"""Nights and observations summed up: against the same sums done by hand, on both databases."""

import random
import statistics
import tracemalloc
from collections import defaultdict

import pytest
from sqlalchemy import event, insert

from avcd.catalog.models import frames
from avcd.catalog.queries import LIST_KEYS
from avcd.catalog.rows import frame_to_row
from avcd.frame import ImageType, ProductKind, ProductStatus
from catalogue import apply, digest, make_frame, make_spec, of_frame, published, record

CALIBRATION = {"filter": None, "target_name": None}


def reduce(catalog, frames, **figures) -> list:
    """Reduced frames with these figures (name to one value a frame)."""
    specs = [make_spec(ProductKind.REDUCED, f"reduced:{one.id}", of_frame(one)) for one in frames]
    apply(catalog, *specs)
    measured = {spec.id: {name: values[i] for name, values in figures.items()} for i, spec in enumerate(specs)}
    while (claim := catalog.claim_job("me", 60, 2000.0)) is not None:
        catalog.finish_job(claim, published(claim.spec, metrics=measured[claim.spec.id]), 2000.0)
    return specs


def test_a_night_sums_up_what_the_same_sums_by_hand_say(catalog):
    chance = random.Random(7)
    science = [
        make_frame(f"s{i}", night=f"2026-01-{15 + i % 3}", filter=chance.choice(["Red", "Green", None]),
                   exposure_s=chance.choice([30.0, 120.0, 600.0]), obs_id=f"t20/2026-01-{15 + i % 3}/m42", t_min=61000.0 + i)
        for i in range(40)
    ]  # fmt: skip
    darks = [make_frame(f"d{i}", image_type=ImageType.DARK, exposure_s=600.0, **CALIBRATION) for i in range(4)]
    record(catalog, *science, *darks)
    seeing = [round(chance.uniform(1.5, 6.0), 3) for _ in science]
    reduce(catalog, science, fwhm_px=seeing, fwhm_arcsec=[2 * one for one in seeing])
    hours, counts, widths = defaultdict(lambda: defaultdict(float)), defaultdict(lambda: defaultdict(int)), {}
    for frame, width in zip(science, seeing, strict=True):
        hours[frame.night][frame.filter or "none"] += frame.exposure_s / 3600
        counts[frame.night][frame.filter or "none"] += 1
        widths.setdefault(frame.night, []).append(width)
    nights = {row["night"]: row for row in catalog.nights()}
    assert set(nights) == set(hours)
    for night, row in nights.items():
        assert row["frames"]["science"] == counts[night]
        assert row["exposure_h"] == pytest.approx(hours[night], abs=1e-4)
        assert row["fwhm_px"] == pytest.approx(statistics.median(widths[night]), abs=1e-3)
        assert row["fwhm_arcsec"] == pytest.approx(2 * statistics.median(widths[night]), abs=1e-3)
    assert nights["2026-01-15"]["frames"]["dark"] == {"none": 4}, "darks count, and add no hours"
    assert [row["fwhm_px"] for row in catalog.observations()] == [nights[one]["fwhm_px"] for one in sorted(nights)]


def test_the_seeing_is_that_of_the_frames_chosen_and_of_products_that_serve(catalog):
    taken = [make_frame("r", t_min=1.0), make_frame("g", filter="Green", t_min=2.0), make_frame("x", t_min=3.0)]
    record(catalog, *taken)
    specs = reduce(catalog, taken, fwhm_px=[2.0, 4.0, 9.0])
    assert next(catalog.nights())["fwhm_px"] == 4.0
    assert next(catalog.nights(filter="Green"))["fwhm_px"] == 4.0
    assert next(catalog.nights(filter="Red"))["fwhm_px"] == 5.5
    catalog.flag(taken[2].id, "trailed", "Ann", 5.0)
    assert next(catalog.nights())["fwhm_px"] == 3.0
    apply(catalog, specs[0])
    assert {row["status"] for row in catalog.products()} == {str(ProductStatus.FINAL), str(ProductStatus.SUPERSEDED)}
    assert next(catalog.nights())["fwhm_px"] == 2.0


def test_nights_that_have_nothing_to_close(catalog):
    record(catalog, make_frame("odd", image_type=ImageType.UNKNOWN, session_id=None, night="2026-01-14"))
    record(catalog, make_frame("master", image_type=ImageType.MASTER_DARK, session_id=None, night="2026-01-16"))
    found = {row["night"]: (row["state"], row["closed_by"]) for row in catalog.nights()}
    assert found == {"2026-01-14": ("open", None), "2026-01-16": ("closed", "delivered")}
    assert [row["night"] for row in catalog.nights(status="closed")] == ["2026-01-16"]


def test_what_nobody_can_close_keeps_no_night_open(catalog):
    light = make_frame("light")
    record(catalog, light, make_frame("odd", image_type=ImageType.UNKNOWN, session_id=None))
    assert next(catalog.nights())["state"] == "open"
    catalog.close_group(light.obs_id, [light.id], "quiet", 5.0)
    assert (next(catalog.nights())["state"], next(catalog.nights())["closed_by"]) == ("closed", "quiet")


@pytest.mark.parametrize("sort", ["id", "-id", "night", "-night", "telescope", "-state", "target_name"])
def test_any_order_has_every_night_with_its_own_seeing(catalog, sort):
    taken = [
        make_frame(f"{scope} {night}", telescope=scope, night=f"2026-01-{night}", obs_id=f"{scope}/{night}")
        for scope in ("T20", "T5", None) for night in (15, 16)
    ]  # fmt: skip
    record(catalog, *taken)
    reduce(catalog, taken[::2], fwhm_px=[1.0, 2.0, 3.0])
    rows = list(catalog.nights(sort=sort))
    expected = {"T20/2026-01-15": 1.0, "T5/2026-01-15": 2.0, "unknown-telescope/2026-01-15": 3.0}
    assert {row["id"]: row["fwhm_px"] for row in rows} == dict.fromkeys((row["id"] for row in rows), None) | expected
    assert len(rows) == 6
    if sort.endswith("id"):
        assert [row["id"] for row in rows] == sorted((row["id"] for row in rows), reverse=sort.startswith("-"))
    assert [row["id"] for row in catalog.nights(sort=sort, limit=2)] == [row["id"] for row in rows][:2]


def many_nights(catalog, count: int) -> None:
    """Nights with two frames each, written without their files, which is quicker."""
    row = frame_to_row(make_frame("one"))
    rows = [
        {**row, "id": digest(f"{i} {j}"), "night": f"{2000 + i // 300:04d}-{i % 300:03d}", "obs_id": f"night {i}",
         "filter": f"F{j}", "first_seen": 1.0, "t_min": 50000.0 + i, "cards": [], "header": {}, "sources": {}}
        for i in range(count) for j in range(2)
    ]  # fmt: skip
    catalog.write(lambda connection: connection.execute(insert(frames), rows))


def test_a_hundred_nights_cost_as_many_queries_as_one(catalog):
    asked: list[str] = []
    event.listen(catalog.engine, "before_cursor_execute", lambda _c, _u, statement, *_: asked.append(statement))
    many_nights(catalog, 1)
    counts = []
    for more in (0, 100):
        many_nights(catalog, 101) if more else None
        asked.clear()
        assert len(list(catalog.nights())) == max(more + 1, 1)
        counts.append(len([one for one in asked if one.startswith(("SELECT", "WITH"))]))
        catalog.write(lambda connection: connection.execute(frames.delete()))
    assert counts[0] == counts[1] <= 5


@pytest.mark.parametrize("name", ["nights", "observations", "frames"])
def test_a_long_list_takes_no_more_memory_than_a_short_one(catalog, name):
    def peak() -> int:
        tracemalloc.start()
        count = sum(1 for _ in getattr(catalog, name)())
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert count >= 1500
        return found

    many_nights(catalog, 1500)
    peak()  # what is made once and kept is no matter of the list's length
    short = peak()
    catalog.write(lambda connection: connection.execute(frames.delete()))
    many_nights(catalog, 9000)
    assert peak() < 1.5 * short


@pytest.mark.parametrize("name", LIST_KEYS)
def test_every_list_has_the_keys_it_says(catalog, name):
    light = make_frame("light")
    record(catalog, light)
    reduce(catalog, [light], fwhm_px=[2.0])
    assert tuple(next(getattr(catalog, name)())) == LIST_KEYS[name]


def test_frames_that_could_not_be_read_have_the_same_keys(catalog):
    from avcd.frame import FileReading, FrameStatus, MemberReading

    broken = MemberReading(member="", sha256=None, size=0, status=FrameStatus.UNREADABLE, reason="empty")
    catalog.record_reading("drop", FileReading(relative_path="x.fits", members=(broken,)), 0, 1, 1.0)
    assert tuple(next(catalog.frames(status="unreadable"))) == LIST_KEYS["frames"]
