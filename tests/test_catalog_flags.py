"""What observers decide, on both databases: the last word holds, and every word is kept."""

import pytest
from sqlalchemy import insert, update
from sqlalchemy.exc import IntegrityError

from avcd.catalog.models import flags, products
from avcd.errors import UsageError
from avcd.frame import ImageType, ProductKind, ProductStatus
from catalogue import CAMERA, apply, make_frame, make_spec, of_frame, record, run, statuses

BIAS = make_frame("bias", image_type=ImageType.BIAS, target_name=None, filter=None)
DELIVERED = make_frame("delivered", image_type=ImageType.MASTER_DARK, session_id=None, target_name=None, filter=None)
LIGHT = make_frame("light")
MASTER = make_spec(ProductKind.MASTER_BIAS, "bias", of_frame(BIAS), observations=())
RED = make_spec(ProductKind.REDUCED, "reduced", of_frame(LIGHT))


@pytest.fixture
def filled(catalog):
    record(catalog, BIAS, DELIVERED, LIGHT)
    apply(catalog, MASTER, RED)
    run(catalog)
    apply(catalog, MASTER, RED)
    return catalog


def history(catalog, subject) -> list[tuple]:
    """(kind, reason, whether it holds, who withdrew it and why) of every flag, in order."""
    row = catalog.product_row(subject) if subject in (MASTER.id, RED.id) else catalog.frame_row(subject)
    names = "kind", "reason", "active", "withdrawn_by", "withdrawn_reason"
    return [tuple(one[name] for name in names) for one in row["flags"]]


@pytest.mark.parametrize("subject", [MASTER.id, DELIVERED.id])
def test_an_approval_is_kept_with_its_times_and_causes_a_plan(filled, subject):
    assert filled.cameras_to_plan("d") == []
    filled.approve(subject, "checked", "Ann", 5.0, 61000.0, 61030.5)
    assert filled.cameras_to_plan("d") == [CAMERA]
    row = filled.product_row(subject) if subject == MASTER.id else filled.frame_row(subject)
    (flag,) = row["flags"]
    assert (flag["kind"], flag["who"], flag["flagged_at"], flag["reason"], flag["active"]) == (
        "approve", "Ann", 5.0, "checked", True,
    )  # fmt: skip
    assert (flag["valid_from"], flag["valid_until"]) == (61000.0, 61030.5)
    assert statuses(filled)[MASTER.id] == "final"


def test_other_times_replace_an_approval_and_the_same_ones_change_nothing(filled):
    filled.approve(DELIVERED.id, "checked", "Ann", 5.0, 61000.0)
    apply(filled, MASTER, RED)
    filled.approve(DELIVERED.id, "checked again", "Bob", 6.0, 61000.0)
    assert filled.cameras_to_plan("d") == []
    filled.approve(DELIVERED.id, "the camera was opened", "Bob", 7.0, 61000.0, 61010.0)
    assert filled.cameras_to_plan("d") == [CAMERA]
    assert history(filled, DELIVERED.id) == [
        ("approve", "checked", False, "Bob", "the camera was opened"),
        ("approve", "the camera was opened", True, None, None),
    ]


def test_the_last_word_holds(filled):
    filled.flag(MASTER.id, "a plane", "Ann", 5.0)
    assert filled.snapshot(CAMERA).rejected == {MASTER.id}
    assert statuses(filled)[MASTER.id] == "rejected"
    filled.approve(MASTER.id, "no plane", "Bob", 6.0)
    assert filled.snapshot(CAMERA).rejected == frozenset()
    apply(filled, MASTER, RED)
    assert statuses(filled)[MASTER.id] == "final"
    filled.flag(MASTER.id, "a plane after all", "Ann", 7.0)
    assert statuses(filled)[MASTER.id] == "rejected"
    assert history(filled, MASTER.id) == [
        ("reject", "a plane", False, "Bob", "no plane"),
        ("approve", "no plane", False, "Ann", "a plane after all"),
        ("reject", "a plane after all", True, None, None),
    ]
    assert filled.unflag(MASTER.id, "enough", "Bob", 8.0) == "reject"
    apply(filled, MASTER, RED)
    assert statuses(filled)[MASTER.id] == "final"
    with pytest.raises(UsageError, match="not rejected, and not approved"):
        filled.unflag(MASTER.id, "enough", "Bob", 9.0)


def test_withdrawing_an_approval_leaves_the_product_where_it_is(filled):
    filled.approve(MASTER.id, "checked", "Ann", 5.0)
    apply(filled, MASTER, RED)
    assert filled.unflag(MASTER.id, "too early", "Bob", 6.0) == "approve"
    assert statuses(filled)[MASTER.id] == "final"
    assert filled.cameras_to_plan("d") == [CAMERA]
    assert history(filled, MASTER.id) == [("approve", "checked", False, "Bob", "too early")]


def test_a_held_master_that_is_approved_serves_once_it_is_planned_again(filled):
    def hold(connection):
        connection.execute(update(products).where(products.c.id == MASTER.id).values(status=ProductStatus.HELD))

    filled.write(hold)
    assert statuses(filled)[MASTER.id] == "held"
    filled.approve(MASTER.id, "the sensor is new", "Ann", 5.0)
    apply(filled, MASTER, RED)
    assert statuses(filled)[MASTER.id] == "final"


def test_masters_alone_are_approved_for_times_in_order(filled):
    for subject, kind in ((RED.id, "reduced"), (LIGHT.id, "science"), (BIAS.id, "bias")):
        with pytest.raises(UsageError, match=f"is a {kind}, and masters alone"):
            filled.approve(subject, "good", "Ann", 5.0)
    with pytest.raises(UsageError, match="valid until before"):
        filled.approve(MASTER.id, "good", "Ann", 5.0, 61000.0, 61000.0)
    with pytest.raises(UsageError, match="no frame or product"):
        filled.approve("nonsense", "good", "Ann", 5.0)
    assert history(filled, MASTER.id) == []
    assert filled.cameras_to_plan("d") == []


def test_the_database_itself_refuses_two_approvals_at_once(filled):
    row = {"subject": MASTER.id, "kind": "approve", "who": "Ann", "flagged_at": 1.0, "reason": "r", "active": True}
    filled.write(lambda connection: connection.execute(insert(flags).values(**row)))
    with pytest.raises(IntegrityError):
        filled.write(lambda connection: connection.execute(insert(flags).values(**row)))
