"""Planning in a catalogue of a million frames and twenty thousand masters: one night more, and nothing new.

Run by ``make bench``; prints medians. AVCD_BENCH_FRAMES makes it smaller.
"""

from __future__ import annotations

import datetime
import itertools
import os
import statistics
import time

import pytest
from databases import database, settle

from avcd.association import load_rules
from avcd.catalog import Catalog
from avcd.catalog.bulk import insert_many
from avcd.catalog.inputs import frame_rows
from avcd.catalog.models import associations, cameras, candidates, frames
from avcd.catalog.rows import frame_to_row, row_to_frame
from avcd.config import Processing
from avcd.daemon.planning import Planning, plan_camera
from avcd.frame import FileReading, Frame, FrameStatus, ImageType, MemberReading, Snapshot
from avcd.headers.groups import observation_of, session_of
from avcd.planner.building import PlanBuilder
from avcd.planner.science import calibration_of
from avcd.recipes import load_recipes

NUMBER = int(os.environ.get("AVCD_BENCH_FRAMES", "1000000"))
TELESCOPES, NIGHTS, FIRST = 20, 3650, 57388
EVERY = 22  # nights between two series of calibrations: six masters each, twenty thousand in all
BATCH = 20_000
KINDS = [
    (ImageType.BIAS, 0.0, None), (ImageType.DARK, 60.0, None), (ImageType.DARK, 300.0, None),
    (ImageType.FLAT, 5.0, "r"), (ImageType.FLAT, 5.0, "g"), (ImageType.FLAT, 5.0, "i"),
]  # fmt: skip
PLANNING = Planning(load_recipes(), load_rules(), Processing())


def make(
    name: str, telescope: int, night: int, part: float, image_type: ImageType, exposure_s: float, filter_: str | None
):
    date = (datetime.date(2016, 1, 1) + datetime.timedelta(days=night)).isoformat()
    values = {
        "image_type": image_type, "telescope": f"T{telescope}", "instrument": "CCD", "binning": "1x1", "naxis1": 1024,
        "naxis2": 1024, "exposure_s": exposure_s, "filter": filter_, "set_temperature_c": -20.0, "ccd_temperature_c": -20.1,
        "gain": 1.0, "window": "0,0", "night": date, "t_min": FIRST + night + 0.8 + 0.4 * part,
    }  # fmt: skip
    group = {}
    if image_type is ImageType.SCIENCE:
        target = f"Target {int(1e6 * part) % 7}"
        group = {"target_name": target, "obs_id": observation_of({**values, "target_name": target})}
    elif image_type.is_raw_calibration:
        group = {"session_id": session_of(values)}
    return Frame(id=name.ljust(64, "x"), pixel_sha256=name, profile="generic", profile_version=1, **values, **group)


def old_frames():
    """Ten years of lights, every telescope's every night."""
    for number in range(NUMBER):
        telescope, night = number % TELESCOPES, number * NIGHTS // NUMBER
        exposure_s, filter_ = (60.0, 300.0)[number % 2], "rgi"[number % 3]
        part = (number // TELESCOPES % 14) / 14
        yield make(f"{number:064x}", telescope, night, part, ImageType.SCIENCE, exposure_s, filter_)


def masters():
    """Six masters of every telescope every three weeks."""
    for telescope, night in itertools.product(range(TELESCOPES), range(0, NIGHTS, EVERY)):
        for number, (image_type, exposure_s, filter_) in enumerate(KINDS):
            yield (
                master_id(telescope, night, number),
                make("like", telescope, night, 0.01, image_type, exposure_s, filter_),
            )


def master_id(telescope: int, night: int, number: int) -> str:
    return f"a{telescope:02d}{night:05d}{number}".ljust(64, "f")


def candidate_row(identity: str, like: Frame) -> dict:
    names = ("image_type", "telescope", "instrument", "binning", "naxis1", "naxis2", "exposure_s", "filter", "gain",
             "set_temperature_c", "ccd_temperature_c", "window", "night", "t_min", "session_id")  # fmt: skip
    about = {name: getattr(like, name) for name in names if getattr(like, name) is not None}
    return {"id": identity, "camera": like.camera, "subject": like.session_id, "kind": str(like.image_type), "origin": "product",
            "like": {"id": "like", **about}, "bias_included": False if like.image_type is ImageType.DARK else None,
            "n_combined": 10, "mask": None, "valid_from": None, "valid_until": None}  # fmt: skip


def association_row(frame: Frame) -> dict:
    telescope = int(frame.telescope[1:])
    night = int(frame.t_min) - FIRST
    nearest = min(round(night / EVERY) * EVERY, (NIGHTS - 1) // EVERY * EVERY)
    days = abs(frame.t_min - (FIRST + nearest + 0.8))
    numbers = {"bias": 0, "dark": 1 if frame.exposure_s == 60 else 2, "flat": 3 + "rgi".index(frame.filter)}
    row = {"id": frame.id, "camera": frame.camera, "subject": frame.obs_id, "t_min": frame.t_min, "night": frame.night}
    for kind, number in numbers.items():
        row[kind], row[f"{kind}_days"] = master_id(telescope, nearest, number), days
    return {**row, "best": True, "missing": None}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def catalog(request, tmp_path_factory):
    with database(request.param, tmp_path_factory.mktemp("catalogue")) as url:
        opened = Catalog(url)
        opened.upgrade()
        source, start = old_frames(), time.perf_counter()
        while batch := list(itertools.islice(source, BATCH)):
            rows = [{**frame_to_row(one), "first_seen": 0.0} for one in batch]
            opened.write(lambda connection, rows=rows: insert_many(connection, frames, rows))
            chosen = [association_row(one) for one in batch]
            opened.write(lambda connection, rows=chosen: insert_many(connection, associations, rows))
        served = [candidate_row(*one) for one in masters()]
        opened.write(lambda connection: insert_many(connection, candidates, served))
        named = [{"name": f"T{one}/CCD", "revision": 1, "planned_revision": 1, "planned_digest": PLANNING.digest,
                  "masters_version": 1} for one in range(TELESCOPES)]  # fmt: skip
        opened.write(lambda connection: insert_many(connection, cameras, named))
        settle(opened)
        print(f"\n{request.param}: {NUMBER} frames and {len(served)} masters in {time.perf_counter() - start:.0f} s")
        yield opened
        opened.close()


class Associator:
    """Chooses for one frame after the other, as the planner does; the masters are indexed when a plan changed them."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog, self._masters, self._builder = catalog, None, None

    def __call__(self, identity: str):
        with self._catalog.read() as connection:
            frame = row_to_frame(frame_rows(connection, [identity])[identity])
            masters = self._catalog.masters(connection, frame.camera)
        if masters is not self._masters:
            self._masters = masters
            snapshot = Snapshot(camera=frame.camera, subjects=frozenset(), masters=masters)
            self._builder = PlanBuilder(snapshot, PLANNING.recipes, PLANNING.rules, PLANNING.processing)
        return calibration_of(self._builder, frame)


class Driver:
    """The peer: the database's driver alone reads the frame and what its camera's masters are at, in one transaction."""

    def __init__(self, catalog: Catalog) -> None:
        self._raw = catalog.engine.raw_connection()
        self._mark = "?" if catalog.engine.dialect.name == "sqlite" else "%s"

    def __call__(self, identity: str, camera: str) -> None:
        cursor = self._raw.cursor()
        cursor.execute(f"SELECT * FROM frame WHERE id = {self._mark}", (identity,))
        assert cursor.fetchone()
        cursor.execute(f"SELECT masters_version FROM camera WHERE name = {self._mark}", (camera,))
        assert cursor.fetchone()
        self._raw.rollback()


def say(catalog: Catalog, what: str, times: list[float], more: object = "") -> None:
    name = catalog.engine.dialect.name
    print(f"  {name:>10}  {what:<46} {1e3 * statistics.median(times):>8.2f} ms  {more}")


def test_nothing_new(catalog):
    times = []
    for _ in range(20):
        start = time.perf_counter()
        assert catalog.cameras_to_plan(PLANNING.digest) == []
        times.append(time.perf_counter() - start)
    say(catalog, "planning an unchanged catalogue", times)


def test_one_frame(catalog):
    wanted = [f"{number:064x}" for number in range(0, NUMBER, max(1, NUMBER // 200))]
    associate, read = Associator(catalog), Driver(catalog)
    associate(wanted[0])
    times, peer = [], []
    for identity in wanted:
        start = time.perf_counter()
        found = associate(identity)
        middle = time.perf_counter()
        read(identity, "T0/CCD")
        times.append(middle - start)
        peer.append(time.perf_counter() - middle)
        assert not found.missing
    say(catalog, "associating one science frame", times)
    say(catalog, "peer: its row, by the driver alone", peer)


def test_a_night(catalog):
    """A night of 500 frames, lights and calibrations, on one telescope after the other."""
    times, concerned = [], []
    for telescope in range(5):
        camera = f"T{telescope}/CCD"
        new = [make(f"b{telescope}{number}n", telescope, NIGHTS, number / 500, ImageType.SCIENCE, (60.0, 300.0)[number % 2], "rgi"[number % 3])
               for number in range(440)]  # fmt: skip
        new += [make(f"c{telescope}{kind}{number}", telescope, NIGHTS, 0.02 + number / 1e4, *KINDS[kind])
                for kind in range(6) for number in range(10)]  # fmt: skip
        for one in new:
            member = MemberReading(member="", sha256=one.id, size=1, status=FrameStatus.OK, frames=((0, one),))
            catalog.record_reading("drop", FileReading(relative_path=f"{one.id}.fits", members=(member,)), 1, 1, 1000.0)
        for group in catalog.open_groups():
            catalog.close_group(group.subject, group.members, "night", 1000.0)
        start = time.perf_counter()
        counts = plan_camera(catalog, camera, PLANNING)
        times.append(time.perf_counter() - start)
        concerned.append(counts.added)
        assert counts.added >= 440  # a reduced frame of every light, and more
    say(catalog, "planning a night of 500 new frames", times, f"{concerned} jobs")
