"""What calibrations are missing, against a count made frame by frame; on both databases."""

from __future__ import annotations

import random

import pytest
from sqlalchemy import insert

from avcd.association import load_rules
from avcd.catalog.models import associations
from avcd.frame import Frame, ImageType
from avcd.views.gaps import gap_rows, gaps_as_text
from catalogue import make_frame, record

RULES = load_rules()
COLD = {"set_temperature_c": -15.0, "binning": "2x2", "exposure_s": 300.0}


def note(catalog, frame: Frame, *missing: str, **chosen: str) -> None:
    """What planning would write of a science frame, or of the session of a flat."""
    row = {
        "id": frame.session_id or frame.id,
        "camera": frame.camera,
        "subject": frame.session_id or frame.obs_id or "",
    }
    row |= {
        "t_min": frame.t_min,
        "night": frame.night,
        "best": False,
        **dict.fromkeys(("bias", "dark", "flat")),
        **chosen,
    }
    row["missing"] = dict.fromkeys(missing, "there is none") or None
    catalog.write(lambda connection: connection.execute(insert(associations), [row]))


def lights(catalog, count: int, *missing: str, name: str = "light", **changes) -> list[Frame]:
    made = [make_frame(f"{name} {number}", **{**COLD, **changes}) for number in range(count)]
    record(catalog, *made)
    for one in made:
        note(catalog, one, *missing)
    return made


def listed(catalog, night=None, **filters) -> list[dict]:
    return gap_rows(catalog.lacking(**filters), RULES, night)


def said(catalog, night=None) -> list[str]:
    return gaps_as_text(listed(catalog, night)).splitlines()


def flats(catalog, name: str = "flat", *missing: str, **changes) -> list[Frame]:
    settings = {**COLD, "exposure_s": 3.0, "image_type": ImageType.FLAT, "target_name": None, **changes}
    made = [make_frame(f"{name} {number}", **settings) for number in range(3)]
    record(catalog, *made)
    note(catalog, made[0], *missing)
    return made


def test_frames_that_lack_one_dark_are_one_line(catalog):
    for number in range(3):
        lights(catalog, 4 + (number < 2), "dark", name=f"target {number}", obs_id=f"t20/2026-01-15/target-{number}")
    (row,) = listed(catalog)
    assert (row["frames"], row["observations"], row["frees"], row["frees_in_order"]) == (14, 3, 14, 14)
    assert (row["image_type"], row["telescope"], row["binning"], row["temperature_c"], row["exposure_s"], row["filter"]) == (
        "dark", "T20", "2x2", -15.0, 300.0, None,
    )  # fmt: skip
    assert said(catalog) == ["T20 bin 2, −15 °C, 300 s dark: frees 14 frames of 3 observations"]


def test_a_frame_that_lacks_two_kinds_is_freed_by_both_and_by_neither_alone(catalog):
    lights(catalog, 6, "bias", "dark", name="both")
    lights(catalog, 2, "dark", name="dark")
    lights(catalog, 5, "flat", name="flat", filter="g")
    rows = {one["image_type"]: one for one in listed(catalog)}
    assert {key: (one["frames"], one["frees"], one["frees_in_order"]) for key, one in rows.items()} == {
        "flat": (5, 5, 5), "dark": (8, 2, 2), "bias": (6, 0, 6),
    }  # fmt: skip
    assert said(catalog) == [
        "T20 bin 2, g flat: frees 5 frames of 1 observation",
        "T20 bin 2, −15 °C, 300 s dark: frees 2 of the 8 frames of 1 observation that need it",
        "T20 bin 2, −15 °C bias: frees 6 frames of 1 observation, 6 of them once those above are there",
    ]


def test_what_was_chosen_and_waits_for_a_bias_is_no_gap(catalog):
    (frame,) = lights(catalog, 1, name="other")
    (light,) = [make_frame("waits", **COLD)]
    record(catalog, light)
    note(catalog, light, "bias", "dark", dark="a" * 64)
    assert frame
    assert [(one["image_type"], one["frees"]) for one in listed(catalog)] == [("bias", 1)]


def test_flats_that_wait_for_a_bias_are_not_to_be_taken_again(catalog):
    flats(catalog, "Red", "bias", "dark", filter="Red")
    flats(catalog, "long ago", "bias", "dark", filter="Blue", night="2025-01-15", session_id="t20/2025-01-15/flat/b")
    lights(catalog, 4, "flat", name="red", filter="Red")
    lights(catalog, 3, "flat", name="blue", filter="Blue")
    assert said(catalog) == [
        "T20 bin 2, −15 °C bias: frees 4 frames of 1 observation; and 2 sessions of flats",
        "T20 bin 2, Blue flat: frees 3 frames of 1 observation",
    ]


def test_flats_with_a_bias_alone_and_darks_without_one_do_not_wait(catalog):
    served = [make_frame("flat", image_type=ImageType.FLAT, **COLD)]
    darks = [make_frame("dark", image_type=ImageType.DARK, **COLD)]
    record(catalog, *served, *darks)
    note(catalog, served[0], "dark", bias="b" * 64)
    note(catalog, darks[0], "bias")
    assert listed(catalog) == []


def test_temperatures_and_exposures_that_one_dark_serves_are_one_gap(catalog):
    lights(catalog, 3, "dark", name="a")
    lights(catalog, 1, "dark", name="b", exposure_s=301.0)
    lights(catalog, 1, "dark", name="c", set_temperature_c=None, ccd_temperature_c=-15.4)
    lights(catalog, 1, "dark", name="d", set_temperature_c=None, ccd_temperature_c=-14.5)
    lights(catalog, 2, "dark", name="e", exposure_s=310.0)
    lights(catalog, 1, "dark", name="f", set_temperature_c=-20.0, ccd_temperature_c=-15.0)
    found = {(one["temperature_c"], one["exposure_s"]): one["frames"] for one in listed(catalog)}
    assert found == {(-15.0, 300.0): 6, (-15.0, 310.0): 2, (-20.0, 300.0): 1}


def test_cameras_and_their_settings_are_kept_apart_and_told_where_they_differ(catalog):
    lights(catalog, 3, "bias", name="a", gain=100.0, readout_mode="fast")
    lights(catalog, 2, "bias", name="b", gain=200.0, readout_mode="fast")
    lights(catalog, 1, "bias", name="c", telescope="T5", naxis1=65)
    assert said(catalog) == [
        "T20 bin 2, gain 100, −15 °C bias: frees 3 frames of 1 observation",
        "T20 bin 2, gain 200, −15 °C bias: frees 2 frames of 1 observation",
        "T5 bin 2, −15 °C bias: frees 1 frame of 1 observation",
    ]


def test_what_no_calibration_can_serve_says_so_and_comes_last(catalog):
    lights(catalog, 5, "dark", name="a", t_min=None)
    lights(catalog, 4, "dark", name="b", exposure_s=None)
    lights(catalog, 1, "dark", name="c")
    rows = listed(catalog)
    assert [(one["frames"], one["frees"], one["note"] is None) for one in rows] == [
        (1, 1, True),
        (5, 0, False),
        (4, 0, False),
    ]
    assert "avcd correct FRAME DATE-OBS=" in said(catalog)[1]
    assert "avcd correct FRAME EXPTIME=" in said(catalog)[2]


def test_a_nights_list_holds_what_that_night_can_serve(catalog):
    def night(date: str) -> list[tuple]:
        return [(one["image_type"], one["frames"], one["frees"]) for one in listed(catalog, date)]

    lights(catalog, 4, "flat", name="a", night="2026-01-15")
    lights(catalog, 2, "bias", "flat", name="b", night="2025-12-01")
    assert night("2026-01-15") == [("flat", 4, 4), ("bias", 2, 0)]
    assert night("2025-12-20") == [("flat", 6, 4), ("bias", 2, 0)]
    assert night("2026-02-14") == [("flat", 4, 4), ("bias", 2, 0)]
    assert night("2026-02-15") == [("bias", 2, 0)]
    assert night("2027-01-01") == []
    assert [one["frames"] for one in listed(catalog, since="2026-01-01")] == [4]
    assert (listed(catalog)[0]["first_night"], listed(catalog)[0]["last_night"]) == ("2025-12-01", "2026-01-15")


@pytest.mark.parametrize("seed", range(20))
def test_the_counts_are_those_of_a_count_frame_by_frame(seed):
    """The oracle looks at one frame after the other."""
    chance = random.Random(seed)
    rows = []
    for number in range(30):
        values = dict.fromkeys(("detector", "window", "gain", "offset", "readout_mode"))
        values |= {
            "image_type": "science",
            "telescope": chance.choice(["T1", "T2"]),
            "instrument": "CCD",
            "naxis1": 10,
            "naxis2": 10,
        }
        values |= {"binning": "1x1", "filter": chance.choice("gr"), "exposure_s": chance.choice([60.0, 300.0])}
        values |= {"temperature_c": -10.0, "has_time": True}
        members = [(f"o{chance.randrange(6)}", "2026-01-15", chance.randrange(1, 9)) for _ in range(2)]
        values |= {kind: chance.random() < 0.6 for kind in ("bias", "dark", "flat")}
        rows.append({**values, "members": members} if number else {**values, "bias": True, "members": members})

    def needed(row) -> set[tuple]:
        camera = row["telescope"]
        every = {
            "bias": ("bias", camera),
            "dark": ("dark", camera, row["exposure_s"]),
            "flat": ("flat", camera, row["filter"]),
        }
        return {value for kind, value in every.items() if row[kind]}

    def key(gap) -> tuple:
        last = {"bias": (), "dark": (gap["exposure_s"],), "flat": (gap["filter"],)}[gap["image_type"]]
        return gap["image_type"], gap["telescope"], *last

    def count(row) -> int:
        return sum(member[2] for member in row["members"])

    def freed(taken: set) -> int:
        return sum(count(row) for row in rows if needed(row) and needed(row) <= taken)

    found = gap_rows(rows, RULES)
    assert {key(one) for one in found} == set().union(*(needed(row) for row in rows))
    taken: set = set()
    for one in found:
        need = [row for row in rows if key(one) in needed(row)]
        assert one["frames"] == sum(count(row) for row in need)
        assert one["observations"] == len({member[0] for row in need for member in row["members"]})
        assert one["frees"] == freed({key(one)})
        before = freed(taken)
        taken.add(key(one))
        assert one["frees_in_order"] == freed(taken) - before
    # The first ones free as much for each of them as the best of all that one frame needs.
    every = [key(one) for one in found]
    best = max(freed(needed(row)) / len(needed(row)) for row in rows if needed(row))
    assert max(freed(set(every[:size])) / size for size in (1, 2, 3)) >= best
    assert gap_rows(chance.sample(rows, len(rows)), RULES) == found
