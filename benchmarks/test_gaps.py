"""What is missing in a catalogue of a million frames, of which a hundred thousand lack a calibration: how long
`avcd gaps` takes to say so. Run by ``make bench``; prints medians of five, warm.

AVCD_BENCH_FRAMES makes it smaller; a tenth of the frames lack something.
"""

from __future__ import annotations

import itertools
import os
import statistics
import time

import numpy as np
import pytest
from databases import database, settle

from avcd.association import load_rules
from avcd.catalog import Catalog
from avcd.catalog.bulk import insert_many
from avcd.catalog.models import associations, frames
from avcd.views.gaps import gap_rows, gaps_as_text

NUMBER = int(os.environ.get("AVCD_BENCH_FRAMES", "1000000"))
BATCH = 20_000
FILTERS = ("g", "r", "i", "Ha", "V")
LIMIT_S = 5.0


def rows(rng: np.random.Generator):
    """Frames of ten years of twenty telescopes with their associations; one in ten lacks a dark, a flat or more."""
    defaults = {
        column.name: column.default.arg(None) if column.default.is_callable else column.default.arg
        for column in frames.c
        if column.default is not None and not column.nullable
    }
    for number in range(NUMBER):
        night = str(np.datetime64("2016-01-01") + number * 3650 // NUMBER)
        science, telescope = number % 4 > 0, f"T{number % 20}"
        t_min = 57388.0 + number * 3650 / NUMBER
        target = f"{telescope}/{night}/target {number // 20 % 3}" if science else None
        frame = {
            **defaults, "id": f"{number:064x}", "camera": f"{telescope}/CCD", "precedence": "", "first_seen": 0.0,
            "pixel_sha256": f"{number:064x}", "image_type": "science" if science else "dark", "status": "ok", "calib_level": 1,
            "profile": "generic", "profile_version": 1, "telescope": telescope, "instrument": "CCD", "binning": "1x1",
            "naxis1": 4096, "naxis2": 4096, "filter": FILTERS[number % 7 % 5], "exposure_s": float((10, 60, 300)[number % 3]),
            "ccd_temperature_c": float(rng.normal(-20, 0.4)), "t_min": t_min, "night": night, "has_wcs": False,
            "obs_id": target, "calibration": [], "warnings": [], "sources": {}, "cards": [], "header": {},
        }  # fmt: skip
        kinds = [("dark",), ("flat",), ("bias", "dark"), ("bias", "dark", "flat")][int(rng.integers(4))]
        missing = dict.fromkeys(kinds, "nearest is 0123456789ab: age_days 95.2 instead of 0.0 (tolerance 90)")
        lacks = rng.random() < 100_000 / 750_000
        association = {
            "id": frame["id"], "camera": frame["camera"], "subject": target, "t_min": t_min, "night": night, "best": True,
            **{kind: None if lacks and kind in kinds else "m" * 64 for kind in ("bias", "dark", "flat")},
            "missing": missing if lacks else None,
        }  # fmt: skip
        yield frame, association if science else None


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def catalog(request, tmp_path_factory):
    with database(request.param, tmp_path_factory.mktemp("catalogue")) as url:
        opened = Catalog(url)
        opened.upgrade()
        source, start = rows(np.random.default_rng(1)), time.perf_counter()
        while batch := list(itertools.islice(source, BATCH)):

            def write(connection, batch=batch):
                insert_many(connection, frames, [frame for frame, _ in batch])
                insert_many(connection, associations, [one for _, one in batch if one is not None])

            opened.write(write)
        settle(opened)
        print(f"\n{request.param}: {NUMBER} frames written in {time.perf_counter() - start:.0f} s")
        yield opened
        opened.close()


@pytest.mark.parametrize("night", [None, "2020-06-10"])
def test_gaps(catalog, night):
    rules, times, found = load_rules(), [], []
    for _ in range(6):
        start = time.perf_counter()
        found = gap_rows(catalog.lacking(), rules, night)
        gaps_as_text(found)
        times.append(time.perf_counter() - start)
    lacking = sum(member[2] for one in catalog.lacking() for member in one["members"])
    taken = statistics.median(times[1:])
    what = f"gaps, {lacking} frames lack something" + (f", night {night}" if night else "")
    print(f"  {catalog.engine.dialect.name:>10}  {what:<60} {len(found):>6} rows {taken:>6.2f} s")
    assert taken < LIMIT_S
