"""When an observation or a calibration session is complete: pure rules over groups, with the clock handed in.

The first of: a marker file beside the frames; N of M frames where the headers say M; nothing new for a while; the
night's roll-over plus a grace. A group whose members changed since its last closure is open again.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from pathlib import PurePosixPath

from avcd.config import Completion
from avcd.work import Group


def due_closures(
    groups: Iterable[Group], now: float, settings: Completion, markers: Iterable[tuple[str, str]] = ()
) -> list[tuple[Group, str]]:
    """The groups that are complete, each with the rule that says so.

    Parameters
    ----------
    groups
        Open groups.
    now
        Seconds since the epoch.
    markers
        (root, relative directory) of every marker file found.

    Returns
    -------
    list of (group, rule)
        ``rule`` is "explicit", "count", "quiet" or "night".
    """
    marked = list(markers)
    found = []
    for group in groups:
        rule = _rule(group, now, settings, marked)
        if rule:
            found.append((group, rule))
    return found


def _rule(group: Group, now: float, settings: Completion, markers: list[tuple[str, str]]) -> str | None:
    if group.roots and all(any(_below(one, marker) for marker in markers) for one in group.roots):
        return "explicit"
    if group.sequence_total is not None and len(group.members) >= group.sequence_total:
        return "count"
    if now - group.newest_arrival >= quiet_time_s(group, settings):
        return "quiet"
    end = night_end(group)
    # What arrives after its night is over (a delivery, a backlog) goes by the quiet time alone: else every single
    # late frame would close its observation at once.
    if end is not None and now >= end + settings.grace_s > group.newest_arrival:
        return "night"
    return None


def quiet_time_s(group: Group, settings: Completion) -> float:
    """How long nothing new must have arrived: max(quiet, factor x (exposure + cadence)), in seconds."""
    return max(settings.quiet_s, settings.cadence_factor * (group.longest_exposure_s + group.cadence_s))


def night_end(group: Group) -> float | None:
    """The local noon that ends a group's night, in seconds since the epoch; None for a group without a night."""
    if group.night is None:
        return None
    noon = datetime.datetime.combine(
        datetime.date.fromisoformat(group.night) + datetime.timedelta(days=1), datetime.time(12), datetime.UTC
    ).timestamp()
    # Local mean solar noon comes four minutes earlier for each degree east.
    return noon - (group.site_longitude_deg or 0.0) * 240.0


def _below(place: tuple[str, str], marker: tuple[str, str]) -> bool:
    root, directory = place
    if root != marker[0]:
        return False
    above = PurePosixPath(marker[1])
    return PurePosixPath(directory) == above or above in PurePosixPath(directory).parents
