"""Which observations and sessions are open, and what closing them records: on both databases."""

import threading

import pytest

from avcd.catalog import Catalog
from avcd.frame import Closure, ImageType
from catalogue import CAMERA, OBSERVATION, digest, make_frame, make_reading, record

A = make_frame("a", t_min=61055.5)
B = make_frame("b", t_min=61055.5 + 70 / 86400, exposure_s=65.0, site_longitude_deg=-110.0)
C = make_frame("c", t_min=61055.5 + 150 / 86400)


def subjects(catalog: Catalog) -> list[str]:
    return [group.subject for group in catalog.open_groups()]


def ids(*frames) -> tuple[str, ...]:
    return tuple(sorted(frame.id for frame in frames))


def test_an_open_group_says_what_the_rules_need(catalog):
    catalog.record_reading("drop", make_reading("t20/m42/a.fits", A), 1, 1, 100.0)
    catalog.record_reading("drop", make_reading("t20/m42/b.zip", B, member="b.fits"), 1, 1, 300.0)
    catalog.record_reading("nas", make_reading("c.fits", C), 1, 1, 200.0)
    (group,) = catalog.open_groups()
    assert (group.subject, group.is_observation, group.members) == (OBSERVATION, True, ids(A, B, C))
    assert (group.night, group.night_rule, group.newest_arrival) == ("2026-01-15", "utc", 300.0)
    assert group.longest_exposure_s == 65.0
    assert group.cadence_s == pytest.approx(75.0, abs=1e-3)
    assert group.roots == (("drop", "t20/m42"), ("nas", "."))
    assert group.site_longitude_deg == -110.0
    assert group.sequence_total is None
    assert group.closure is None


def test_sequences_of_several_filters_add_up(catalog):
    record(catalog, make_frame("r", sequence_total=5), make_frame("g", filter="Green", sequence_total=3))
    assert catalog.open_groups()[0].sequence_total == 8
    record(catalog, make_frame("b", filter="Blue"))
    assert catalog.open_groups()[0].sequence_total is None, "one frame that does not say makes it unknown"


def test_closing_is_once_and_a_late_frame_reopens(catalog):
    record(catalog, A, B)
    before = catalog.revision(CAMERA)
    assert catalog.close_group(OBSERVATION, [B.id, A.id], "quiet", 5.0) == Closure(OBSERVATION, ids(A, B), "quiet", 1)
    assert catalog.revision(CAMERA) == before + 1
    assert subjects(catalog) == []
    assert catalog.close_group(OBSERVATION, [A.id, B.id], "night", 6.0).rule == "quiet"
    assert catalog.revision(CAMERA) == before + 1
    record(catalog, C)
    (group,) = catalog.open_groups()
    assert (group.members, group.closure.members) == (ids(A, B, C), ids(A, B))
    assert catalog.snapshot(CAMERA).closures[OBSERVATION].members == ids(A, B), "the plan goes by the last closure"
    assert catalog.close_group(OBSERVATION, ids(A, B, C), "quiet", 7.0).revision == 2
    assert catalog.snapshot(CAMERA).closures == {OBSERVATION: Closure(OBSERVATION, ids(A, B, C), "quiet", 2)}


def test_a_frame_that_came_while_closing_keeps_the_group_open(catalog):
    record(catalog, A)
    members = catalog.open_groups()[0].members
    record(catalog, B)
    catalog.close_group(OBSERVATION, members, "quiet", 5.0)
    assert subjects(catalog) == [OBSERVATION]


def test_a_second_file_of_a_frame_does_not_reopen(catalog):
    record(catalog, A)
    catalog.close_group(OBSERVATION, [A.id], "quiet", 5.0)
    catalog.record_reading("drop", make_reading("copy.fits", A), 1, 1, 9.0)
    assert subjects(catalog) == []


def test_rejecting_a_member_reopens_and_taking_it_back_needs_nothing(catalog):
    record(catalog, A, B)
    catalog.close_group(OBSERVATION, ids(A, B), "quiet", 5.0)
    catalog.flag(A.id, "satellite", "Ann", 6.0)
    assert catalog.open_groups()[0].members == ids(B)
    assert catalog.snapshot(CAMERA).rejected == {A.id}
    catalog.unflag(A.id, "it is a comet", "Ann", 7.0)
    assert subjects(catalog) == []
    assert next(iter(catalog.observations()))["state"] == "closed"


def test_a_closed_group_without_usable_members_is_open_until_closed_as_empty(catalog):
    record(catalog, A)
    catalog.close_group(OBSERVATION, [A.id], "quiet", 5.0)
    catalog.flag(A.id, "clouds", "Ann", 6.0)
    (group,) = catalog.open_groups()
    assert (group.members, group.newest_arrival) == ((), 0.0)
    assert catalog.close_group(OBSERVATION, [], "quiet", 7.0).revision == 2
    assert subjects(catalog) == []


def test_a_frame_rejected_before_any_closure_makes_no_group(catalog):
    record(catalog, A)
    catalog.flag(A.id, "clouds", "Ann", 6.0)
    assert subjects(catalog) == []


def test_sessions_are_groups_and_masters_tables_and_own_products_are_not(catalog):
    record(
        catalog,
        make_frame("bias", image_type=ImageType.BIAS, filter=None),
        make_frame("master", image_type=ImageType.MASTER_BIAS),
        make_frame("odd", image_type=ImageType.UNKNOWN),
        make_frame("own", product_id=digest("product")),
    )
    (group,) = catalog.open_groups()
    assert (group.subject, group.is_observation) == ("t20/2026-01-15/bias/abc", False)
    catalog.close_group(group.subject, group.members, "night", 5.0)
    assert catalog.snapshot(CAMERA).closures[group.subject].members == group.members


def test_an_observation_of_two_cameras_is_closed_for_both(catalog):
    record(catalog, A, make_frame("other", instrument="Guider"))
    (group,) = catalog.open_groups()
    before = catalog.revision(CAMERA), catalog.revision("T20/Guider")
    catalog.close_group(group.subject, group.members, "quiet", 5.0)
    assert (catalog.revision(CAMERA), catalog.revision("T20/Guider")) == (before[0] + 1, before[1] + 1)
    assert catalog.snapshot("T20/Guider").closures[OBSERVATION].members == group.members


def test_two_that_close_at_once_make_one_revision(catalog_url):
    first = Catalog(catalog_url)
    record(first, A)
    barrier = threading.Barrier(4)
    found: list[int] = []

    def close() -> None:
        mine = Catalog(catalog_url)
        barrier.wait(10)
        found.append(mine.close_group(OBSERVATION, [A.id], "quiet", 5.0).revision)
        mine.close()

    threads = [threading.Thread(target=close) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert found == [1, 1, 1, 1]
    assert subjects(first) == []
    first.close()
