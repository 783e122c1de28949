"""Plans become jobs, jobs become products: on both databases."""

import dataclasses
import threading

import pytest
from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError

from avcd.catalog import Catalog
from avcd.catalog import jobs as jobs_module
from avcd.catalog.models import products
from avcd.errors import LeaseLostError, UsageError
from avcd.frame import Blocked, InputRef, JobState, ProductKind, ProductStatus, Wcs
from avcd.work import PublishedFile
from catalogue import (
    CAMERA,
    OBSERVATION,
    apply,
    digest,
    make_frame,
    make_plan,
    make_spec,
    of_frame,
    of_product,
    published,
    record,
    run,
    states,
    statuses,
)

A, B = make_frame("a"), make_frame("b")
RED_A = make_spec(ProductKind.REDUCED, "reduced:a", of_frame(A))
RED_B = make_spec(ProductKind.REDUCED, "reduced:b", of_frame(B))
STACK = make_spec(ProductKind.STACK, "stack", of_product(RED_A), of_product(RED_B), priority=-9)
STACK_A = make_spec(ProductKind.STACK, "stack", of_product(RED_A))
FAIL = {"max_attempts": 3, "backoff_s": 10.0}


@pytest.fixture
def filled(catalog):
    record(catalog, A, B)
    return catalog


def test_jobs_wait_for_the_products_they_name(filled):
    counts = apply(filled, STACK, RED_A, RED_B)
    assert str(counts) == "3 added"
    assert states(filled) == {STACK.id: "waiting", RED_A.id: "ready", RED_B.id: "ready"}
    assert filled.unfinished() == 3
    order = run(filled)
    assert order[-1] == "stack"
    assert sorted(order) == ["reduced:a", "reduced:b", "stack"]
    assert statuses(filled) == {STACK.id: "final", RED_A.id: "final", RED_B.id: "final"}
    assert filled.unfinished() == 0
    assert str(apply(filled, STACK, RED_A, RED_B)) == "3 kept"


def test_what_a_stack_measures_on_its_frames_is_kept_with_the_frames(filled):
    apply(filled, STACK, RED_A, RED_B)
    for _ in range(2):
        claim = filled.claim_job("me", 60, 1.0)
        filled.finish_job(claim, published(claim.spec, metrics={"stars": 7, "transparency": 1.0}), 1.0)
    claim = filled.claim_job("me", 60, 2.0)
    compared = {RED_A.id: {"transparency": 0.5, "depth": 0.2}, RED_B.id: {"transparency": None}}
    filled.finish_job(claim, published(STACK, metrics={"frames": 2}, input_metrics=compared), 2.0)
    assert filled.product_row(RED_A.id)["metrics"] == {"stars": 7, "transparency": 0.5, "depth": 0.2}
    assert filled.product_row(RED_B.id)["metrics"] == {"stars": 7}  # what is not known any more is not there
    assert filled.product_row(STACK.id)["metrics"] == {"frames": 2}
    assert [one["id"] for one in filled.products(where="metric.transparency < 0.7")] == [RED_A.id]


def test_a_stack_is_ready_at_once_when_its_last_input_is_made_not_before(filled):
    apply(filled, STACK, RED_A, RED_B)
    first, second = (filled.claim_job("me", 60, 1.0) for _ in range(2))
    filled.finish_job(first, published(first.spec), 2.0)
    assert states(filled)[STACK.id] == "waiting"
    assert filled.claim_job("me", 60, 3.0) is None
    filled.finish_job(second, published(second.spec), 3.0)
    assert states(filled)[STACK.id] == "ready"


def test_claims_go_by_priority_and_by_kind(filled):
    urgent = dataclasses.replace(RED_B, priority=-5)
    apply(filled, RED_A, urgent)
    assert filled.claim_job("me", 60, 1.0, kinds=[ProductKind.STACK]) is None
    assert filled.claim_job("me", 60, 1.0, kinds=[ProductKind.REDUCED]).job_id == urgent.id
    assert filled.claim_job("me", 60, 1.0).job_id == RED_A.id
    assert filled.claim_job("me", 60, 1.0) is None


def test_a_claim_says_where_the_bytes_are(filled):
    apply(filled, RED_A, RED_B, STACK)
    frame_claim = filled.claim_job("me", 60, 1.0)
    (raw,) = frame_claim.inputs
    source = A if raw.id == A.id else B
    assert (raw.role, raw.origin, raw.root, raw.relative_path) == ("raw", "frame", "drop", f"{source.id[:8]}.fits")
    assert raw.sha256 == digest(f"bytes {source.id[:8]}.fits")
    assert raw.frame == dataclasses.replace(source, cards=())
    assert frame_claim.spec == (RED_A if source is A else RED_B)
    metrics = {"fwhm_px": 2.5, "stars": 7, "solved": True, "note": "5", "none": None, "bad": float("nan")}
    filled.finish_job(frame_claim, published(frame_claim.spec, metrics=metrics, wcs=Wcs.SOLVED), 1.0)
    run(filled, now=1.0)
    row = filled.product_row(frame_claim.job_id)
    assert row["metrics"] == {"fwhm_px": 2.5, "stars": 7, "solved": True, "note": "5", "none": None, "bad": None}
    assert isinstance(row["metrics"]["solved"], bool)
    assert row["wcs"] == "solved"
    assert row["inputs"] == [{"role": "raw", "id": raw.id, "origin": "frame", "sha256": raw.sha256}]
    assert [one["id"] for one in row["used_by"]] == [STACK.id]
    stack = filled.product_row(STACK.id)
    assert [one["sha256"] for one in stack["inputs"]] == [digest(f"file {one.id}") for one in STACK.inputs]
    assert [one["kind"] for one in filled.frame_row(A.id)["used_by"]] == ["reduced"]


def test_product_inputs_carry_spec_and_figures(filled):
    apply(filled, RED_A, STACK_A)
    run_one = filled.claim_job("me", 60, 1.0)
    filled.finish_job(run_one, published(RED_A, metrics={"stars": 4}, wcs=Wcs.REFINED), 1.0)
    (one,) = filled.claim_job("me", 60, 1.0).inputs
    assert (one.root, one.relative_path, one.origin, one.wcs) == ("archive", RED_A.path, "product", Wcs.REFINED)
    assert one.spec == RED_A
    assert one.metrics == {"stars": 4}


def test_a_frame_without_file_gives_an_input_without_root(filled):
    gone = make_spec(ProductKind.REDUCED, "reduced:gone", InputRef("raw", digest("nowhere"), "frame"))
    apply(filled, gone)
    (one,) = filled.claim_job("me", 60, 1.0).inputs
    assert (one.root, one.frame) == ("", None)


def test_a_successor_supersedes_when_it_is_there_and_not_before(filled):
    apply(filled, RED_A, STACK_A)
    run(filled)
    counts = apply(filled, RED_A, RED_B, STACK)
    assert counts.superseded == 0
    assert statuses(filled)[STACK_A.id] == "final", "the old stack serves until the new one exists"
    run(filled)
    assert statuses(filled) == {RED_A.id: "final", RED_B.id: "final", STACK.id: "final", STACK_A.id: "superseded"}
    assert {row["id"]: row["revision"] for row in filled.products(type="stack")} == {STACK_A.id: 1, STACK.id: 2}


def test_what_is_right_again_serves_again_without_work(filled):
    apply(filled, RED_A, STACK_A)
    run(filled)
    apply(filled, RED_A, RED_B, STACK)
    run(filled)
    counts = apply(filled, RED_A, RED_B, STACK_A)
    assert (counts.revived, counts.superseded, counts.added) == (1, 1, 0)
    assert statuses(filled)[STACK_A.id] == "final"
    assert statuses(filled)[STACK.id] == "superseded"
    assert run(filled) == []


def test_what_nothing_wants_is_superseded_and_its_jobs_withdrawn(filled):
    apply(filled, RED_A, RED_B, STACK)
    claim = filled.claim_job("me", 60, 1.0)
    filled.finish_job(claim, published(claim.spec), 1.0)
    counts = apply(filled)
    assert (counts.superseded, counts.withdrawn) == (1, 2)
    assert statuses(filled) == {claim.job_id: "superseded"}
    assert states(filled) == {claim.job_id: "done"}


def test_a_job_dropped_while_it_ran_does_not_serve(filled):
    """The old reduction must not replace the new one by finishing late."""
    apply(filled, STACK_A, RED_A)
    run(filled)
    late = make_spec(ProductKind.STACK, "stack", of_product(RED_A), parameters={"sigma": 3.0})
    apply(filled, RED_A, late)
    claim = filled.claim_job("me", 60, 1.0)
    assert claim.job_id == late.id
    apply(filled, RED_A, STACK_A)
    assert statuses(filled)[STACK_A.id] == "final"
    filled.finish_job(claim, published(claim.spec), 2.0)
    assert statuses(filled)[STACK_A.id] == "final"
    assert statuses(filled)[late.id] == "superseded"


def test_a_dropped_job_that_fails_or_is_abandoned_is_gone(filled):
    for end in ("fail", "release", "lease"):
        apply(filled, RED_A)
        claim = filled.claim_job("me", 60, 1.0)
        apply(filled)
        assert filled.unfinished() == 1
        if end == "fail":
            assert filled.fail_job(claim, "x", retry=False, now=2.0, **FAIL) is JobState.READY
        elif end == "release":
            filled.release("me")
        else:
            assert filled.claim_job("me", 60, 100.0) is None
        assert states(filled) == {}
        assert filled.unfinished() == 0


def test_a_plan_that_comes_back_keeps_the_running_job(filled):
    apply(filled, RED_A)
    claim = filled.claim_job("me", 60, 1.0)
    apply(filled)
    apply(filled, RED_A)
    filled.finish_job(claim, published(claim.spec), 2.0)
    assert statuses(filled) == {RED_A.id: "final"}


def test_finishing_twice_is_refused_and_publishing_twice_gives_one_row(filled):
    apply(filled, RED_A)
    claim = filled.claim_job("me", 60, 1.0)
    filled.finish_job(claim, published(claim.spec), 2.0)
    with pytest.raises(LeaseLostError):
        filled.finish_job(claim, published(claim.spec), 2.0)
    with pytest.raises(LeaseLostError):
        filled.fail_job(claim, "x", retry=True, now=2.0, **FAIL)
    assert len(list(filled.products())) == 1


def test_the_lease_fences_a_worker_that_was_given_up(filled):
    apply(filled, RED_A)
    slow = filled.claim_job("slow", 60, 0.0)
    assert filled.claim_job("quick", 60, 60.0) is None
    quick = filled.claim_job("quick", 60, 60.1)
    assert (quick.job_id, quick.attempt) == (slow.job_id, 2)
    with pytest.raises(LeaseLostError):
        filled.finish_job(slow, published(slow.spec), 61.0)
    assert statuses(filled) == {}
    filled.finish_job(quick, published(quick.spec, metrics={"stars": 1}), 62.0)
    assert filled.product_row(RED_A.id)["metrics"] == {"stars": 1}


def test_a_renewed_lease_holds(filled):
    apply(filled, RED_A)
    claim = filled.claim_job("me", 60, 0.0)
    filled.renew([claim.token], 60, 50.0)
    assert filled.next_wakeup() == 110.0
    assert filled.claim_job("other", 60, 100.0) is None
    filled.finish_job(claim, published(claim.spec), 101.0)


def test_a_restart_gives_its_own_jobs_back_and_nobody_elses(filled):
    apply(filled, RED_A, RED_B)
    mine, theirs = filled.claim_job("me", 60, 0.0), filled.claim_job("them", 60, 0.0)
    assert filled.release("me") == 1
    assert states(filled) == {mine.job_id: "ready", theirs.job_id: "running"}
    assert filled.claim_job("me", 60, 0.0).job_id == mine.job_id
    with pytest.raises(LeaseLostError):
        filled.finish_job(mine, published(mine.spec), 1.0)


def test_failures_back_off_and_kill_at_last(filled):
    apply(filled, RED_A, STACK_A)
    revision = filled.revision(CAMERA)
    now = 0.0
    for pause_s in (10.0, 20.0):
        claim = filled.claim_job("me", 60, now)
        assert filled.fail_job(claim, "disk full", retry=True, now=now, **FAIL) is JobState.READY
        assert not filled.has_ready(now + pause_s - 0.1)
        assert filled.claim_job("me", 60, now + pause_s - 0.1) is None
        assert filled.next_wakeup() == now + pause_s
        now += pause_s
        assert filled.has_ready(now)
    assert filled.revision(CAMERA) == revision
    claim = filled.claim_job("me", 60, now)
    assert filled.fail_job(claim, "disk full", retry=True, now=now, **FAIL) is JobState.DEAD
    (row,) = filled.jobs(status="dead")
    assert (row["reason"], row["attempts"], row["id"]) == ("disk full", 3, RED_A.id)
    assert filled.snapshot(CAMERA).dead == {RED_A.id}
    assert filled.cameras_to_plan("d") == [CAMERA], "what waits for it must be planned another way"
    assert filled.next_wakeup() is None
    apply(filled, RED_A)
    assert states(filled) == {RED_A.id: "dead"}, "a plan does not raise the dead"


def test_attempts_given_back_or_lost_do_not_count_as_failures(filled):
    apply(filled, RED_A)
    for number in range(5):
        filled.claim_job("me", 1, 10.0 * number)
        if number % 2:
            filled.release("me")
    claim = filled.claim_job("me", 60, 100.0)
    assert claim.attempt == 6
    assert filled.fail_job(claim, "x", retry=True, now=100.0, **FAIL) is JobState.READY


def test_an_error_that_cannot_pass_kills_at_once_and_retry_forgets_it(filled):
    apply(filled, RED_A)
    claim = filled.claim_job("me", 60, 0.0)
    assert filled.fail_job(claim, "bad", retry=False, now=0.0, **FAIL) is JobState.DEAD
    assert filled.retry_job(RED_A.id)
    assert not filled.retry_job(RED_A.id)
    assert filled.cameras_to_plan("d") == [CAMERA]
    apply(filled, RED_A)
    assert run(filled) == ["reduced:a"]


def test_what_a_full_disk_stopped_is_tried_again_at_the_next_start_and_a_defect_is_not(filled):
    apply(filled, RED_A, RED_B)
    reasons = {True: "disk full", False: "a defect"}
    for retry, now in ((True, 0.0), (False, 1.0)):
        claim = filled.claim_job("me", 60, now)
        settings = {**FAIL, "max_attempts": 1}
        assert filled.fail_job(claim, reasons[retry], retry=retry, now=now, **settings) is JobState.DEAD
    assert filled.retry_interrupted() == 1
    assert [one["reason"] for one in filled.jobs(status="dead")] == ["a defect"]
    assert filled.cameras_to_plan("d") == [CAMERA]
    assert filled.retry_interrupted() == 0


def test_replanning_keeps_the_pause_of_a_failed_job(filled):
    apply(filled, RED_A)
    claim = filled.claim_job("me", 60, 0.0)
    filled.fail_job(claim, "busy", retry=True, now=0.0, **FAIL)
    apply(filled, dataclasses.replace(RED_A, priority=-3))
    assert filled.claim_job("me", 60, 5.0) is None
    assert filled.claim_job("me", 60, 10.0).attempt == 2


def test_blocked_products_are_jobs_with_their_reason(filled):
    blocked = Blocked(
        id=digest("blocked"),
        kind=ProductKind.REDUCED,
        slot="reduced:a",
        reason="flat: no candidate",
        telescope="T20",
        night="2026-01-15",
        inputs=(of_frame(A),),
    )
    assert apply(filled, blocked=(blocked,)).blocked == 1
    (row,) = filled.jobs(status="blocked")
    assert (row["reason"], row["telescope"]) == ("flat: no candidate", "T20")
    assert row["inputs"] == [{"role": "raw", "id": A.id, "origin": "frame"}]
    assert filled.unfinished() == 0
    assert filled.claim_job("me", 60, 0.0) is None
    apply(filled, blocked=(dataclasses.replace(blocked, reason="flat: too old"),))
    assert next(iter(filled.jobs()))["reason"] == "flat: too old"
    apply(filled, RED_A)
    assert states(filled) == {RED_A.id: "ready"}


def test_provisional_becomes_final_when_the_plan_says_so(filled):
    apply(filled, dataclasses.replace(RED_A, status=ProductStatus.PROVISIONAL, reason="flat: none"))
    run(filled)
    assert statuses(filled) == {RED_A.id: "provisional"}
    apply(filled, RED_A)
    row = filled.product_row(RED_A.id)
    assert (row["status"], row["reason"]) == ("final", "")


def test_two_products_for_one_slot_are_refused(filled):
    with pytest.raises(ValueError, match="two products for one slot: stack"):
        apply(filled, STACK, STACK_A)


def test_the_database_refuses_two_serving_products_of_one_slot(filled):
    apply(filled, RED_A)
    run(filled)
    with filled.read() as connection:
        row = dict(connection.execute(products.select()).mappings().one())
    row["id"] = digest("intruder")
    with pytest.raises(IntegrityError):
        filled.write(lambda connection: connection.execute(insert(products).values(**row)))


def test_two_cameras_may_have_slots_of_one_name(filled):
    """Two cameras on one telescope share observation names."""
    record(filled, make_frame("other", instrument="Guider"))
    apply(filled, STACK_A, RED_A)
    run(filled)
    other = make_spec(ProductKind.STACK, "stack", instrument="Guider")
    filled.apply_plan(
        dataclasses.replace(make_plan(other), camera="T20/Guider"), "d", filled.unplanned("T20/Guider", "d")
    )
    run(filled)
    assert statuses(filled)[STACK_A.id] == statuses(filled)[other.id] == "final"


def test_a_product_follows_its_frames_to_another_camera(filled):
    """A corrected header names another camera; the products' ids are as before."""
    apply(filled, RED_A)
    run(filled)
    corrected = dataclasses.replace(RED_A, instrument="CCD2", target_name="M 43")
    filled.apply_plan(
        dataclasses.replace(make_plan(corrected), camera="T20/CCD2"), "d", filled.unplanned("T20/CCD2", "d")
    )
    apply(filled)
    row = filled.product_row(RED_A.id)
    assert (row["status"], row["camera"], row["target_name"]) == ("final", "T20/CCD2", "M 43")


def test_rejecting_a_product_takes_it_away_and_withdrawing_brings_it_back(filled):
    apply(filled, RED_A)
    run(filled)
    apply(filled, RED_A)
    filled.flag(RED_A.id, "clouds", "Ann", 5.0)
    assert statuses(filled) == {RED_A.id: "rejected"}
    assert filled.snapshot(CAMERA).rejected == {RED_A.id}
    assert filled.cameras_to_plan("d") == [CAMERA]
    counts = apply(filled, RED_A)
    assert (counts.revived, counts.added) == (0, 0)
    assert statuses(filled) == {RED_A.id: "rejected"}
    filled.unflag(RED_A.id, "no clouds", "Bob", 6.0)
    assert filled.cameras_to_plan("d") == [CAMERA]
    apply(filled, RED_A)
    assert statuses(filled) == {RED_A.id: "final"}
    (flag,) = filled.product_row(RED_A.id)["flags"]
    assert (flag["who"], flag["reason"], flag["active"], flag["withdrawn_by"]) == ("Ann", "clouds", False, "Bob")


def test_a_stack_does_not_start_from_a_rejected_product(filled):
    apply(filled, RED_A)
    run(filled)
    filled.flag(RED_A.id, "clouds", "Ann", 5.0)
    apply(filled, RED_A, STACK_A)
    assert states(filled)[STACK_A.id] == "waiting"


def test_flags_of_what_does_not_exist(filled):
    with pytest.raises(UsageError, match="no frame or product"):
        filled.flag("nonsense", "r", "w", 1.0)
    with pytest.raises(UsageError, match="not rejected"):
        filled.unflag(A.id, "r", "w", 1.0)
    with pytest.raises(UsageError, match="none of"):
        filled.flag(A.id, "r", "w", 1.0, kind="nonsense")


def test_extra_files_and_views_of_products(filled):
    apply(filled, RED_A)
    claim = filled.claim_job("me", 60, 1.0)
    main = published(RED_A).files[0]
    extra = PublishedFile("t20/reduced/a.png", digest("png"), 9)
    done = published(RED_A, warnings=("few stars",), s_ra=83.8, s_dec=-5.4, environment={"numpy": "2"})
    filled.finish_job(claim, dataclasses.replace(done, files=(main, extra)), 3.0)
    row = filled.product_row(RED_A.id)
    assert (row["path"], row["sha256"], row["size"]) == (RED_A.path, main.sha256, 5760)
    assert row["extra_files"] == [{"path": extra.path, "sha256": extra.sha256, "size": 9}]
    assert (row["warnings"], row["s_ra"], row["s_dec"], row["environment"]) == (
        ["few stars"],
        83.8,
        -5.4,
        {"numpy": "2"},
    )
    assert (row["observations"], row["parameters"], row["recipe"]) == ([OBSERVATION], {"sigma": 5.0}, "reduced")
    fact = filled.snapshot(CAMERA).products[RED_A.id]
    assert (fact.kind, fact.slot, fact.status, fact.wcs) == (
        ProductKind.REDUCED,
        "reduced:a",
        ProductStatus.FINAL,
        Wcs.NONE,
    )


def test_many_claim_at_once_and_no_job_goes_twice(catalog_url):
    """Four daemons on one catalogue; every job is done exactly once, and what waits becomes ready."""
    catalog = Catalog(catalog_url)
    frames = [make_frame(f"f{number}") for number in range(24)]
    record(catalog, *frames)
    reduced = [make_spec(ProductKind.REDUCED, f"reduced:{one.id}", of_frame(one)) for one in frames]
    stack = make_spec(ProductKind.STACK, "stack", *(of_product(one) for one in reduced))
    apply(catalog, stack, *reduced)
    done: list[str] = []
    errors: list[BaseException] = []

    def work(owner: str) -> None:
        mine = Catalog(catalog_url)
        try:
            while catalog.unfinished():
                claim = mine.claim_job(owner, 600, 1.0)
                if claim is not None:
                    mine.finish_job(claim, published(claim.spec), 2.0)
                    done.append(claim.job_id)
        except BaseException as error:
            errors.append(error)
        finally:
            mine.close()

    threads = [threading.Thread(target=work, args=(f"owner {number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    catalog.close()
    assert errors == []
    assert len(done) == len(set(done)) == 25
    assert done[-1] == stack.id


def test_two_that_finish_at_once_leave_no_job_waiting_for_ever(emptied_postgresql, monkeypatch):
    """Each would see the other's product missing, were their transactions not one after the other."""
    catalog = Catalog(emptied_postgresql())
    record(catalog, A, B)
    apply(catalog, STACK, RED_A, RED_B)
    claims = [catalog.claim_job("me", 60, 1.0) for _ in range(2)]
    first_is_at_its_end, second_is_done = threading.Event(), threading.Event()
    make_ready = jobs_module._make_ready

    def make_ready_slowly(connection, product_id):
        make_ready(connection, product_id)
        if product_id == claims[0].job_id:
            first_is_at_its_end.set()
            second_is_done.wait(0.5)

    monkeypatch.setattr(jobs_module, "_make_ready", make_ready_slowly)
    first = threading.Thread(target=catalog.finish_job, args=(claims[0], published(claims[0].spec), 2.0))
    first.start()
    assert first_is_at_its_end.wait(10)
    catalog.finish_job(claims[1], published(claims[1].spec), 2.0)
    second_is_done.set()
    first.join(10)
    assert states(catalog)[STACK.id] == "ready"
    catalog.close()


def test_running_jobs_are_known_by_their_tokens_whoever_has_them_and_however_late_they_are(catalog):
    record(catalog, make_frame("a"), make_frame("b"))
    apply(catalog, *(make_spec(ProductKind.REDUCED, name, of_frame(make_frame(name))) for name in "ab"))
    first, second = catalog.claim_job("one home", 60, 100.0), catalog.claim_job("another", 10, 100.0)
    assert catalog.running_tokens() == {first.token, second.token}
    again = catalog.claim_job("a third", 60, 111.0)
    assert again.job_id == second.job_id
    assert catalog.running_tokens() == {first.token, again.token}
    catalog.finish_job(first, published(first.spec), 112.0)
    assert catalog.running_tokens() == {again.token}


def test_a_plan_from_older_facts_withdraws_nothing_of_a_newer_one(catalog):
    """Two daemons plan one camera; the slower one read its facts before the last frame came."""
    record(catalog, make_frame("a"))
    of_a = make_spec(ProductKind.REDUCED, "a", of_frame(make_frame("a")))
    older = catalog.unplanned(CAMERA, "alike")
    record(catalog, make_frame("b"))
    of_b = make_spec(ProductKind.REDUCED, "b", of_frame(make_frame("b")))
    newer = catalog.unplanned(CAMERA, "alike")
    catalog.apply_plan(make_plan(of_a, of_b), "alike", newer)
    assert catalog.apply_plan(make_plan(of_a), "alike", older).withdrawn == 0
    assert {row["slot"] for row in catalog.jobs()} == {"a", "b"}
    assert catalog.cameras_to_plan("alike") == []
    assert catalog.planned_digests() == {CAMERA: "alike"}
    catalog.apply_plan(make_plan(of_a), "by other recipes", older)
    assert catalog.cameras_to_plan("by other recipes") == [CAMERA], "planned, but from facts that are old"


def test_a_final_claim_names_the_provisional_product_that_it_replaces(filled):
    provisional = dataclasses.replace(RED_A, id=digest("provisional"), status=ProductStatus.PROVISIONAL)
    apply(filled, provisional)
    claim = filled.claim_job("me", 60, 100.0)
    assert claim.predecessor is None
    filled.finish_job(claim, published(provisional, metrics={"background": 7.0}), 101.0)
    apply(filled, RED_A, RED_B)
    claims = {}
    while (claim := filled.claim_job("me", 60, 200.0)) is not None:
        claims[claim.spec.id] = claim
    assert claims[RED_B.id].predecessor is None
    before = claims[RED_A.id].predecessor
    assert (before.role, before.id, before.relative_path) == ("predecessor", provisional.id, provisional.path)
    assert before.metrics == {"background": 7.0}
    assert [one.id for one in claims[RED_A.id].inputs] == [A.id]  # it is no input: nothing is made from it
    filled.finish_job(claims[RED_A.id], published(RED_A, metrics={"provisional_id": provisional.id}), 201.0)
    assert statuses(filled) == {provisional.id: "superseded", RED_A.id: "final"}
    apply(filled, RED_A, RED_B, dataclasses.replace(RED_A, id=digest("next"), slot="reduced:other"))
    assert filled.claim_job("me", 60, 300.0).predecessor is None
