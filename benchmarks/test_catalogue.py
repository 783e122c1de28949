"""A catalogue of a million frames: how long its lists take. Run by ``make bench``; prints medians of seven, warm.

AVCD_BENCH_FRAMES makes it smaller.
"""

from __future__ import annotations

import itertools
import os
import statistics
import time

import numpy as np
import pytest
from databases import database, settle

from avcd.catalog import Catalog
from avcd.catalog.bulk import insert_many
from avcd.catalog.models import frames, metadata

NUMBER = int(os.environ.get("AVCD_BENCH_FRAMES", "1000000"))
BATCH = 20_000
FILTERS = ("g", "r", "i", "Ha", "V")
QUERIES = {
    "telescope and night": {"telescope": "T3", "night": "2020-06-10"},
    "night and filter": {"night": "2020-06-10", "filter": "r"},
    "target and filter": {"target": "Target 123", "filter": "r"},
    "telescope and type, first 100": {"telescope": "T4", "type": "dark", "limit": 100},
    "telescope and filter, newest 100": {"telescope": "T3", "filter": "r", "sort": "-t_min", "limit": 100},
    "where exposure and airmass, first 100": {"where": "exposure_s > 100 and header.AIRMASS < 1.2", "limit": 100},
    "cone of 1 degree": {"cone": "120 30 1"},
    "cone of 1 degree at the pole": {"cone": "120 89.5 1"},
}


def rows(rng: np.random.Generator):
    """Frames as ten years of twenty telescopes leave them."""
    defaults = {
        column.name: column.default.arg(None) if column.default.is_callable else column.default.arg
        for column in frames.c
        if column.default is not None and not column.nullable
    }
    for number in range(NUMBER):
        night = np.datetime64("2016-01-01") + number * 3650 // NUMBER
        ra, dec = float(rng.uniform(0, 360)), float(np.degrees(np.arcsin(rng.uniform(-1, 1))))
        kind = "science" if number % 4 else "dark"
        telescope = f"T{number % 20}"
        exposure = float((10, 60, 300)[number % 3])
        yield {
            **defaults, "id": f"{number:064x}", "camera": f"{telescope}/CCD", "precedence": "", "first_seen": 0.0,
            "pixel_sha256": f"{number:064x}", "image_type": kind, "status": "ok", "calib_level": 1, "profile": "generic",
            "profile_version": 1, "telescope": telescope, "instrument": "CCD", "target_name": f"Target {number % 5003}",
            "filter": FILTERS[number % 7 % 5], "exposure_s": exposure, "t_min": 57388.0 + number * 3650 / NUMBER,
            "night": str(night), "s_ra": ra, "s_dec": dec, "has_wcs": False, "calibration": [], "warnings": [], "sources": {},
            "cards": [], "header": {"AIRMASS": 1 + number % 100 / 100, "EXPTIME": exposure},
        }  # fmt: skip


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def catalog(request, tmp_path_factory):
    with database(request.param, tmp_path_factory.mktemp("catalogue")) as url:
        opened = Catalog(url)
        opened.upgrade()
        source, start = rows(np.random.default_rng(1)), time.perf_counter()
        while batch := list(itertools.islice(source, BATCH)):
            opened.write(lambda connection, batch=batch: insert_many(connection, frames, batch))
        settle(opened)
        print(
            f"\n{request.param}: {NUMBER} frames written in {time.perf_counter() - start:.0f} s; {len(metadata.tables)} tables"
        )
        yield opened
        opened.close()


@pytest.mark.parametrize("name", QUERIES)
def test_list(catalog, name):
    times, count = [], 0
    for _ in range(8):
        start = time.perf_counter()
        count = sum(1 for _ in catalog.frames(**QUERIES[name]))
        times.append(time.perf_counter() - start)
    assert count or NUMBER < 1_000_000, "a list of nothing"
    print(
        f"  {catalog.engine.dialect.name:>10}  {name:<38} {count:>6} rows {1e3 * statistics.median(times[1:]):>8.1f} ms"
    )
