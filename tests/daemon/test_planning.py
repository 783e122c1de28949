"""Planning what changed comes to the same as planning everything, whatever happened and in whatever order."""

from __future__ import annotations

import datetime
import shutil

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from avcd.association import load_rules
from avcd.catalog import Catalog
from avcd.catalog.candidates import association_to_row, master_to_row
from avcd.catalog.models import associations, candidates
from avcd.catalog.session import fetch
from avcd.config import Processing
from avcd.daemon.planning import Planning, plan_camera
from avcd.frame import Frame, ImageType, JobState, ProductKind, ProductSpec, ProductStatus, Wcs
from avcd.headers.groups import observation_of, session_of
from avcd.planner import plan
from avcd.recipes import load_recipes
from catalogue import CAMERA, make_reading, published

PLANNING = Planning(load_recipes(), load_rules(), Processing())
FIRST = 61055
TYPES = {
    "bias": (ImageType.BIAS, 0.0, None),
    "dark": (ImageType.DARK, 60.0, None),
    "long dark": (ImageType.DARK, 90.0, None),
    "dark flat": (ImageType.DARK_FLAT, 5.0, None),
    "flat r": (ImageType.FLAT, 5.0, "r"),
    "flat g": (ImageType.FLAT, 5.0, "g"),
    "light r": (ImageType.SCIENCE, 60.0, "r"),
    "light g": (ImageType.SCIENCE, 60.0, "g"),
    "delivered bias": (ImageType.MASTER_BIAS, 0.0, None),
    "delivered dark": (ImageType.MASTER_DARK, 60.0, None),
    "delivered flat": (ImageType.MASTER_FLAT, 5.0, "r"),
}  # fmt: skip


def make(what: str, day: int, number: int) -> Frame:
    image_type, exposure_s, filter_name = TYPES[what]
    start = FIRST + day + 0.8 + number / 1000 + list(TYPES).index(what) / 100
    date = datetime.datetime(1858, 11, 17) + datetime.timedelta(days=start)
    values = {
        "image_type": image_type, "telescope": "T20", "instrument": "CCD", "binning": "1x1", "naxis1": 64, "naxis2": 48,
        "exposure_s": exposure_s, "filter": filter_name, "set_temperature_c": -20.0, "t_min": start, "night": date.date().isoformat(),
    }  # fmt: skip
    about = {"date_obs": date.isoformat(), "profile": "generic", "profile_version": 1, "pixel_sha256": "p"}
    if image_type is ImageType.SCIENCE:
        about |= {"target_name": "M 42", "obs_id": observation_of({**values, "target_name": "M 42"})}
    elif image_type.is_raw_calibration:
        about["session_id"] = session_of(values)
    name = f"{what}-{day}-{number}".replace(" ", "").encode().hex()
    return Frame(id=name.ljust(64, "0")[:64], **values, **about)


def timeless(row: dict) -> dict:
    """Less the reasons: these are told as they were when the group was planned, `avcd why` tells them anew."""
    return {key: sorted(value or ()) if key == "missing" else value for key, value in row.items()}


def wcs_of(spec: ProductSpec) -> Wcs:
    """Every other frame is solved alone; the stars of another help some of the rest."""
    if spec.kind not in (ProductKind.REDUCED, ProductKind.SOURCES):
        return Wcs.NONE
    number = int(spec.id[-1] if any(one.role == "astrometry" for one in spec.inputs) else spec.slot.rstrip("0")[-1], 16)
    return Wcs.SOLVED if number % 2 else Wcs.REFUSED


class World:
    """A catalogue in which things happen; after each it is planned, and compared with a plan of everything."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.now = 1000.0
        self.counts: dict[tuple[str, int], int] = {}

    def take(self, what: str, day: int, number: int) -> None:
        for _ in range(number):
            count = self.counts[what, day] = self.counts.get((what, day), 0) + 1
            frame = make(what, day, count)
            self.catalog.record_reading("drop", make_reading(f"{frame.id[:40]}.fits", frame), 2880, 1, self.now)

    def close(self) -> None:
        for group in self.catalog.open_groups():
            self.catalog.close_group(group.subject, group.members, "idle", self.now)

    def work(self, number: int, end: str) -> None:
        for _ in range(number):
            self.now += 1
            claim = self.catalog.claim_job("me", 60, self.now)
            if claim is None:
                return
            if end == "dies":
                failure = {"retry": False, "max_attempts": 1, "backoff_s": 1.0, "now": self.now}
                self.catalog.fail_job(claim, "broken", **failure)
            else:
                held = "too noisy" if end == "held" and claim.spec.kind.startswith("master") else ""
                self.catalog.finish_job(claim, published(claim.spec, wcs=wcs_of(claim.spec)), self.now, held)
            self.plan()

    def judge(self, nth: int, kind: str) -> None:
        """Reject a frame or product, or take that back."""
        frames = sorted(row["id"] for row in self.catalog.frames())
        products = sorted(row["id"] for row in self.catalog.products())
        known = {"frame": frames, "product": products}[kind]
        if known:
            subject = known[nth % len(known)]
            if any(
                one["active"]
                for one in (self.catalog.frame_row(subject) if kind == "frame" else self.catalog.product_row(subject))[
                    "flags"
                ]
            ):
                self.catalog.unflag(subject, "after all", "Ann", self.now)
            else:
                self.catalog.flag(subject, "bad", "Ann", self.now)

    def plan(self) -> None:
        while CAMERA in self.catalog.cameras_to_plan(PLANNING.digest):
            plan_camera(self.catalog, CAMERA, PLANNING)

    def compare(self) -> None:
        whole = plan(self.catalog.snapshot(CAMERA), PLANNING.recipes, PLANNING.rules, PLANNING.processing)
        with self.catalog.read() as connection:
            for table, wanted in (
                (candidates, [master_to_row(CAMERA, one) for one in whole.masters]),
                (associations, [association_to_row(CAMERA, one) for one in whole.associations]),
            ):
                there = fetch(connection, select(table))
                assert {row["id"]: timeless(row) for row in there} == {row["id"]: timeless(row) for row in wanted}
        made = {row["id"]: row["status"] for row in self.catalog.products()}
        jobs = {row["id"]: row["state"] for row in self.catalog.jobs()}
        unmade = {one.id for one in whole.specs if one.id not in made}
        assert {one for one in jobs if jobs[one] not in (JobState.DONE, JobState.DEAD)} == (
            unmade | {one.id for one in whole.blocked}
        )
        for one in whole.specs:
            if one.id in made:
                assert made[one.id] == one.status
        wanted_ids = {one.id for one in whole.specs} | whole.kept
        slots = {
            row["slot"]
            for row in self.catalog.products()
            if row["id"] not in wanted_ids and row["status"] == ProductStatus.FINAL
        }
        assert slots <= {one.slot for one in whole.specs if one.id in unmade}, "serves until its successor exists"


STEPS = st.one_of(
    st.tuples(st.just("take"), st.sampled_from(sorted(TYPES)), st.sampled_from([0, 1, 4, 9, 40]), st.integers(1, 3)),
    st.tuples(st.just("close")),
    st.tuples(st.just("work"), st.integers(1, 8), st.sampled_from(["well", "well", "held", "dies"])),
    st.tuples(st.just("judge"), st.integers(0, 40), st.sampled_from(["frame", "product"])),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(STEPS, min_size=2, max_size=14))
@example([("take", "light r", 4, 2), ("take", "bias", 4, 3), ("take", "dark", 4, 3), ("take", "flat r", 4, 3), ("close",),
          ("work", 30, "well"), ("take", "dark", 9, 2), ("take", "bias", 0, 2), ("close",), ("work", 3, "held"),
          ("judge", 3, "product")])  # fmt: skip
def test_planning_what_changed_is_planning_everything(sqlite_template, tmp_path, steps):
    path = tmp_path / "catalogue.sqlite"
    shutil.copyfile(sqlite_template, path)
    catalog = Catalog(f"sqlite:///{path}")
    try:
        play(World(catalog), steps)
    finally:
        catalog.close()
        path.unlink()


def play(world: World, steps) -> None:
    for name, *arguments in steps:
        getattr(world, name)(*arguments)
        world.plan()
        if world.catalog.cameras():
            world.compare()


NIGHTS = [("take", "light r", 4, 2), ("take", "light g", 0, 2), ("take", "bias", 4, 3), ("take", "dark", 4, 3), ("take", "flat r", 4, 3),
          ("close",), ("work", 5, "well")]  # fmt: skip


@pytest.mark.parametrize(
    "steps",
    [
        [*NIGHTS, ("take", "flat g", 1, 3), ("close",), ("work", 30, "well")],
        [*NIGHTS, ("take", "dark", 0, 3), ("close",), ("work", 30, "well"), ("judge", 2, "product")],
        [*NIGHTS, ("take", "delivered dark", 1, 1), ("work", 2, "dies"), ("judge", 1, "frame")],
        [
            *NIGHTS,
            ("work", 40, "well"),
            ("take", "light r", 9, 3),
            ("close",),
            ("work", 40, "well"),
            ("take", "dark", 9, 3),
            ("close",),
            ("work", 40, "well"),
            ("judge", 5, "product"),
            ("work", 40, "well"),
        ],
    ],
)
def test_so_it_is_on_either_database(catalog, steps):
    play(World(catalog), steps)
    assert list(catalog.jobs())
