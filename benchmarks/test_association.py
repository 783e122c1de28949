"""Choosing a calibration: from shelves, by judging everything, and by the plain statement of the rules in the tests.

Run by ``make bench``; prints the median time for one kind of one frame, among masters of one camera.
"""

from __future__ import annotations

import random
import statistics
import time
from dataclasses import replace

import pytest
from calibrations import NOON, RULES, SCIENCE, candidate
from oracle import choose_plainly

from avcd.association import Pool, judge

FRAMES = 200


def library(number: int) -> list:
    """Years of masters of one camera: five exposures, three set-points, two binnings, eight filters."""
    chance = random.Random(number)
    found = []
    for one in range(number):
        kind = chance.choice(["bias", "dark", "dark", "flat", "flat"])
        exposure = {"bias": 0.0, "flat": round(chance.uniform(1, 20), 2)}.get(
            kind, chance.choice([30, 60, 120, 300, 600])
        )
        day = -chance.uniform(0, number / 5)
        found.append(
            candidate(
                f"{one:06d}", kind, exposure_s=float(exposure), set_temperature_c=chance.choice([-20.0, -10.0, 0.0]),
                ccd_temperature_c=round(chance.gauss(-20, 0.2), 2), filter=chance.choice("LRGBUVIH"),
                binning=chance.choice(["1x1", "1x1", "2x2"]), t_min=NOON + day, night=f"night {int(day)}",
                origin=chance.choice(["product"] * 9 + ["frame"]), bias_included=chance.choice([False, False, True]),
            )
        )  # fmt: skip
    return found


def frames(number: int) -> list:
    chance = random.Random(1)
    days = [-chance.uniform(0, number / 5) for _ in range(FRAMES)]
    return [
        replace(SCIENCE, **{
            "id": f"frame-{one}", "t_min": NOON + days[one], "night": f"night {int(days[one])}",
            "filter": chance.choice("LRGBUVIH"), "exposure_s": chance.choice([30.0, 45.0, 60.0, 300.0]),
            "ccd_temperature_c": round(chance.gauss(-20, 0.2), 3),
        }) for one in range(FRAMES)
    ]  # fmt: skip


def median_us(act, some) -> float:
    times = []
    for one in some:
        start = time.perf_counter()
        act(one)
        times.append(time.perf_counter() - start)
    return 1e6 * statistics.median(times)


@pytest.mark.parametrize("number", [100, 1000, 2000, 5000])
def test_choosing(number):
    masters = library(number)
    pool = Pool(masters)
    some = frames(number)
    few = some[: max(2, 4000 // number)]
    print(f"\n{number} masters, microseconds for one kind of one frame: shelves, every verdict, plain rules")
    for kind in ("bias", "dark", "flat"):
        of_kind = [
            one for one in masters if one.like.image_type.value == kind or one.like.image_type.value == f"master_{kind}"
        ]
        assert all(
            (choice and choice.candidate.id) == choose_plainly(one, kind, of_kind, RULES)
            for one in few
            for choice in [pool.choose(one, kind, RULES)]
        )
        quick = median_us(lambda one, kind=kind: pool.choose(one, kind, RULES), some)
        full = median_us(lambda one, kind=kind, of=of_kind: judge(one, kind, of, RULES), few)
        plain = median_us(lambda one, kind=kind, of=of_kind: choose_plainly(one, kind, of, RULES), few)
        print(f"{kind:>5}: {quick:8.1f} {full:10.0f} {plain:10.0f}")
