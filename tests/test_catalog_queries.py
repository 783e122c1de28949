"""What people ask the catalogue: lists with filters and order, and finding things by name. On both databases."""

import shutil

import pytest

from avcd.catalog import Catalog
from avcd.frame import FileReading, ImageType, ProductKind
from catalogue import (
    OBSERVATION,
    apply,
    make_frame,
    make_reading,
    make_spec,
    of_frame,
    record,
    run,
)

# The keys that the JSON contract promises.
FRAME_KEYS = {
    "id", "path", "member", "hdu", "sha256", "obs_id", "user", "calib_level", "image_type", "status", "telescope",
    "instrument", "target_name", "filter", "binning", "naxis1", "naxis2", "exposure_s", "set_temperature_c",
    "ccd_temperature_c", "gain", "offset", "readout_mode", "t_min", "date_obs", "night", "s_ra", "s_dec", "warnings",
}  # fmt: skip
PRODUCT_KEYS = {
    "id", "kind", "status", "path", "sha256", "recipe", "target_name", "filter", "night", "telescope", "inputs", "metrics",
    "wcs", "calib_level", "observations", "revision",
}  # fmt: skip
JOB_KEYS = {"id", "kind", "state", "reason", "attempts", "inputs"}
FILE_KEYS = {"path", "root", "member", "sha256", "size", "present", "frames", "status", "reason"}
GROUP_KEYS = {
    "id", "telescope", "target_name", "night", "frames", "exposure_s", "state", "closed_by", "revision",
}  # fmt: skip

RED = make_frame("red", t_min=61055.9)
LOWER_R = make_frame("lower r", filter="r", t_min=61055.8, exposure_s=30.0)
NO_TIME = make_frame("no time", t_min=None, filter=None)
NEXT_NIGHT = make_frame(
    "next", night="2026-01-16", t_min=61056.9, target_name="NGC 1, a", obs_id="t5/2026-01-16/ngc-1", telescope="T5"
)
BIAS = make_frame("bias", image_type=ImageType.BIAS, filter=None, exposure_s=0.0, t_min=61055.1, target_name=None)
ALL = (RED, LOWER_R, NO_TIME, NEXT_NIGHT, BIAS)


@pytest.fixture
def filled(catalog):
    record(catalog, *ALL)
    return catalog


def names(rows) -> list[str]:
    by_id = {RED.id: "red", LOWER_R.id: "r", NO_TIME.id: "no time", NEXT_NIGHT.id: "next", BIAS.id: "bias"}
    return [by_id[row["id"]] for row in rows]


def test_rows_have_the_keys_of_the_contract(filled):
    reduced = make_spec(ProductKind.REDUCED, "reduced", of_frame(RED))
    apply(filled, reduced)
    run(filled)
    assert set(next(filled.frames())) >= FRAME_KEYS
    assert set(next(filled.products())) >= PRODUCT_KEYS
    assert set(next(filled.jobs())) >= JOB_KEYS
    assert set(next(filled.files())) >= FILE_KEYS
    assert set(next(filled.nights())) >= GROUP_KEYS
    assert set(next(filled.observations())) >= GROUP_KEYS
    assert {"cards", "files", "metrics", "sources"} <= set(filled.frame_row(RED.id))
    assert {"inputs", "metrics", "used_by"} <= set(filled.product_row(reduced.id))


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, ["bias", "r", "red", "next", "no time"]),
        ({"sort": "-t_min"}, ["next", "red", "r", "bias", "no time"]),
        ({"sort": "filter", "limit": 3, "type": "science", "night": "2026-01-15"}, ["red", "r", "no time"]),
        ({"limit": 0}, []),
        ({"telescope": "t5"}, ["next"]),
        ({"target": "m42"}, ["r", "red", "no time"]),
        ({"target": "NGC 1, a"}, ["next"]),
        ({"filter": "r"}, ["r"]),
        ({"filter": "R"}, []),
        ({"filter": "r,Red"}, ["r", "red", "next"]),
        ({"type": "bias"}, ["bias"]),
        ({"type": ["bias", "science"], "filter": "r"}, ["r"]),
        ({"night": "2026-01-16"}, ["next"]),
        ({"since": "2026-01-16"}, ["next"]),
        ({"until": "2026-01-15"}, ["bias", "r", "red", "no time"]),
        ({"since": "2026-01-15T19:12", "until": "2026-01-15T21:36"}, ["r"]),
        ({"since": "2026-01-15T22:12+01:00"}, ["red", "next"]),
        ({"status": "ok"}, ["bias", "r", "red", "next", "no time"]),
        ({"status": "unreadable"}, []),
        ({"telescope": None, "limit": None}, ["bias", "r", "red", "next", "no time"]),
    ],
)
def test_frames_are_filtered_and_ordered_alike_on_either_database(filled, filters, expected):
    assert names(filled.frames(**filters)) == expected


def test_text_is_ordered_by_its_bytes_whatever_the_server_speaks(catalog):
    targets = ["b", "A", "a", "B", "Z", "é", "_", "10", "9"]
    record(catalog, *(make_frame(one, target_name=one) for one in targets))
    assert [row["target_name"] for row in catalog.frames(sort="target_name")] == sorted(targets)


def test_lists_longer_than_one_portion_are_whole(catalog):
    frames = [make_frame(f"{number}", t_min=61000.0 + number) for number in range(1203)]
    catalog.record_reading("drop", make_reading("many.fits", *frames), 1, 1, 1.0)
    assert [row["id"] for row in catalog.frames()] == [frame.id for frame in frames]
    assert len(next(catalog.files())["frames"]) == 1203


def test_a_list_may_be_left_half_read(filled):
    rows = filled.frames()
    next(rows)
    rows.close()
    record(filled, make_frame("another"))
    assert len(list(filled.frames())) == 6


def test_files_are_found_by_what_is_in_them(filled):
    broken = make_reading("broken.fits")
    filled.record_reading("a root", FileReading(relative_path="broken.fits", members=broken.members), 1, 1, 1.0)
    assert [row["frames"] for row in filled.files(telescope="T5")] == [[NEXT_NIGHT.id]]
    assert [row["path"] for row in filled.files(limit=1, sort="root")] == ["broken.fits"]
    assert len(list(filled.files())) == 6


def test_observations_and_nights_count_what_counts(filled):
    filled.flag(NO_TIME.id, "no time", "Ann", 1.0)
    filled.close_group("t5/2026-01-16/ngc-1", [NEXT_NIGHT.id], "quiet", 5.0)
    assert list(filled.observations()) == [
        {
            "id": OBSERVATION,
            "telescope": "T20",
            "target_name": "M 42",
            "night": "2026-01-15",
            "frames": {"science": {"Red": 1, "r": 1}},
            "exposure_s": {"Red": 60.0, "r": 30.0},
            "exposure_h": {"Red": 0.0167, "r": 0.0083},
            "fwhm_px": None,
            "fwhm_arcsec": None,
            "state": "open",
            "closed_by": None,
            "revision": 0,
        },
        {
            "id": "t5/2026-01-16/ngc-1",
            "telescope": "T5",
            "target_name": "NGC 1, a",
            "night": "2026-01-16",
            "frames": {"science": {"Red": 1}},
            "exposure_s": {"Red": 60.0},
            "exposure_h": {"Red": 0.0167},
            "fwhm_px": None,
            "fwhm_arcsec": None,
            "state": "closed",
            "closed_by": "quiet",
            "revision": 1,
        },
    ]
    nights = list(filled.nights())
    assert [(row["id"], row["state"]) for row in nights] == [("T20/2026-01-15", "open"), ("T5/2026-01-16", "closed")]
    assert nights[0]["frames"] == {"bias": {"none": 1}, "science": {"Red": 1, "r": 1}}
    assert [row["id"] for row in filled.nights(status="closed")] == ["T5/2026-01-16"]
    assert [row["id"] for row in filled.observations(sort="-night", limit=1)] == ["t5/2026-01-16/ngc-1"]
    assert list(filled.observations(telescope="T99")) == []


def test_things_are_found_by_id_name_and_beginning(filled):
    filled.record_reading("drop", make_reading("dir/Late frames.zip", NO_TIME, RED, member="in/x.fits"), 1, 1, 1.0)
    reduced = make_spec(ProductKind.REDUCED, "reduced", of_frame(RED), path="t20/reduced/m-42-red.fits")
    apply(filled, reduced)
    run(filled)
    both = sorted([("frame", NO_TIME.id), ("frame", RED.id)])
    expected = {
        RED.id: [("frame", RED.id)],
        RED.id[:10]: [("frame", RED.id)],
        RED.id[:10].upper(): [("frame", RED.id)],
        f"{RED.id[:8]}.fits": [("frame", RED.id)],
        "x.fits": both,
        "Late frames.zip": both,
        "dir/Late frames.zip": both,
        "Late": both,
        "m-42-red.fits": [("product", reduced.id)],
        "t20/reduced/m-42-red.fits": [("product", reduced.id)],
        "m-42": [("product", reduced.id)],
        reduced.id: [("product", reduced.id)],
        "%": [],
        "_": [],
        "": [],
        "nothing": [],
    }
    assert {text: filled.find(text) for text in expected} == expected


def test_products_and_jobs_are_filtered(filled):
    one = make_spec(ProductKind.REDUCED, "one", of_frame(RED))
    two = make_spec(ProductKind.PREVIEW, "two", of_frame(RED), filter=None, night="2026-01-14")
    apply(filled, one, two)
    assert [row["kind"] for row in filled.jobs(sort="kind")] == ["preview", "reduced"]
    run(filled)
    assert [row["id"] for row in filled.products()] == [two.id, one.id]
    assert [row["id"] for row in filled.products(type="reduced,stack")] == [one.id]
    assert [row["id"] for row in filled.products(since="2026-01-15")] == [one.id]
    assert list(filled.products(status="superseded")) == []
    assert [row["id"] for row in filled.jobs(status="done", type="preview")] == [two.id]


def test_stats_count_everything(filled):
    apply(filled, make_spec(ProductKind.REDUCED, "one", of_frame(RED)))
    stats = filled.stats()
    assert stats["frames"] == {"bias": 1, "science": 4}
    assert stats["files"] == {"ok": 5}
    assert stats["jobs"] == {"ready": 1}
    assert (stats["cameras"], stats["observations"], stats["open_groups"]) == (2, 2, 3)


def test_the_index_that_tells_most_is_chosen_by_sqlite(sqlite_template, tmp_path):
    """Without a look at samples it takes whichever of two indexes comes first."""
    path = tmp_path / "catalogue.sqlite"
    shutil.copyfile(sqlite_template, path)
    catalog = Catalog(f"sqlite:///{path}")
    record(catalog, *(make_frame(f"{n}", filter="r", target_name=f"Target {n}") for n in range(300)))
    catalog.analyse()
    with catalog.read() as connection:
        plan = connection.exec_driver_sql(
            "EXPLAIN QUERY PLAN SELECT id FROM frame WHERE filter IN ('r') AND target_name IN ('Target 7')"
        ).fetchall()
    catalog.close()
    assert "ix_frame_target_name" in str(plan)
