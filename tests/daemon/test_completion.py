"""An observation is complete at the first of: marker, count, quiet, roll-over."""

import datetime

import pytest

from avcd.config import Completion
from avcd.daemon.completion import due_closures, night_end, quiet_time_s
from avcd.work import Group

SETTINGS = Completion()
NIGHT = "2026-01-15"
MIDNIGHT = datetime.datetime(2026, 1, 16, tzinfo=datetime.UTC).timestamp()


def group(**changes) -> Group:
    values = {
        "subject": "t20/2026-01-15/m42",
        "is_observation": True,
        "members": ("a", "b"),
        "night": NIGHT,
        "night_rule": "site",
        "newest_arrival": MIDNIGHT,
        "longest_exposure_s": 60.0,
        "cadence_s": 70.0,
        "sequence_total": None,
        "roots": (("drop", "T20/m42"),),
    }
    return Group(**{**values, **changes})


def rule_at(now: float, one: Group, markers=()) -> str | None:
    found = due_closures([one], now, SETTINGS, markers)
    return found[0][1] if found else None


def test_quiet_time_is_the_longer_of_the_setting_and_three_cadences():
    assert rule_at(MIDNIGHT + 899, group()) is None
    assert rule_at(MIDNIGHT + 900, group()) == "quiet"
    slow = group(longest_exposure_s=1200.0, cadence_s=1230.0)
    assert quiet_time_s(slow, SETTINGS) == 3 * 2430
    assert rule_at(MIDNIGHT + 900, slow) is None


def test_count_closes_at_the_last_frame_of_a_sequence():
    assert rule_at(MIDNIGHT, group(sequence_total=3)) is None
    assert rule_at(MIDNIGHT, group(sequence_total=2)) == "count"


@pytest.mark.parametrize(
    ("marker", "expected"),
    [
        (("drop", "T20"), "explicit"),
        (("drop", "T20/m42"), "explicit"),
        (("drop", "."), "explicit"),
        (("drop", "T20/m4"), None),
        (("drop", "T20/m42/calibrated"), None),
        (("other", "T20"), None),
    ],
)
def test_a_marker_closes_what_lies_beside_and_below_it(marker, expected):
    assert rule_at(MIDNIGHT, group(), [marker]) == expected


def test_the_roll_over_follows_the_site_and_spares_late_deliveries():
    east = group(site_longitude_deg=150.0, longest_exposure_s=20000.0)
    assert night_end(east) == MIDNIGHT + 12 * 3600 - 10 * 3600
    just_before, after = night_end(east) + 3599, night_end(east) + 3600
    assert rule_at(just_before, east) is None
    assert rule_at(after, east) == "night"
    # A backlog arriving days later goes by the quiet time, or each of its frames would close the observation.
    late = group(newest_arrival=after + 86400, longest_exposure_s=20000.0)
    assert rule_at(after + 86400 + 10, late) is None
