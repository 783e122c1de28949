"""Candidates on shelves, for planning: the same choice as judging all of them, without looking at most of them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from avcd.association.criteria import (
    FIRST_TIER,
    SAME_NIGHT,
    SCALED,
    VALID,
    check_kind,
    has_interval,
    is_valid_at,
    kind_of,
    may_be_scaled,
    measured_temperature,
    settings_criteria,
    settings_key,
    tier_name,
    within,
)
from avcd.association.rules import ROUNDING, Rules, RuleSet
from avcd.frame import Candidate, Frame, Outcome

_MOST_REMEMBERED = 4096
_NEVER = float("inf")

Entry = tuple[float, str, Candidate]  # time, id
Rank = tuple[int, float, str]  # of the tier, days, id: the lowest wins


@dataclass(frozen=True, slots=True)
class Choice:
    """The master that serves a frame best."""

    candidate: Candidate
    tier: str
    tier_rank: int  # 0: valid at this time, 1: same night, 2 and more: the tiers of age; 100 more for a scaled dark
    days: (
        float | None
    )  # between frame and master; None: the master's time is not known, it is valid by an observer's word


class _Row:
    """Masters that differ in nothing but their time, and in the temperature that was measured."""

    def __init__(self, first: Candidate) -> None:
        self.first = first
        self.dated: list[Entry] = []
        self.nights: dict[str, list[Entry]] = {}
        self.intervals: list[Entry] = []
        self.undated: list[Entry] = []  # with an interval, and no time of their own

    def add(self, candidate: Candidate, *, by_night: bool) -> None:
        time, night = candidate.like.t_min, candidate.like.night
        entry = (_NEVER if time is None else time, candidate.id, candidate)
        if has_interval(candidate):
            _insert(self.undated if time is None else self.intervals, entry)
        elif time is not None:
            _insert(self.dated, entry)
            if by_night and night is not None:
                _insert(self.nights.setdefault(night, []), entry)

    def best(
        self, frame: Frame, time: float, reach: tuple[float, ...], serves: Callable[[Candidate], bool] | None
    ) -> tuple[Rank, Candidate] | None:
        """The best of the row for a time; ``serves`` tells by the measured temperature, None: all do."""
        if self.intervals or self.undated:

            def valid(one: Candidate) -> bool:
                return is_valid_at(one, time) and (serves is None or serves(one))

            found = _nearest(self.intervals, time, _NEVER, valid)
            if found:
                return (VALID, *found[:2]), found[2]
            for _, identity, one in self.undated:
                if valid(one):
                    return (VALID, _NEVER, identity), one
        if self.nights and frame.night in self.nights:
            found = _nearest(self.nights[frame.night], time, _NEVER, serves)
            if found:
                return (SAME_NIGHT, *found[:2]), found[2]
        found = _nearest(self.dated, time, reach[-1], serves)
        return ((FIRST_TIER + bisect_left(reach, found[0]), *found[:2]), found[2]) if found else None


def _key(entry: Entry) -> tuple[float, str]:
    return entry[:2]


def _insert(entries: list[Entry], entry: Entry) -> None:
    insort(entries, entry, key=_key)


def _nearest(
    entries: list[Entry], time: float, limit: float, serves: Callable[[Candidate], bool] | None
) -> Entry | None:
    """(days, id, candidate) of the nearest entry that serves, looked for from the time on both ways."""
    after = bisect_left(entries, (time,))
    before = after - 1
    number = len(entries)
    best: Entry | None = None
    while True:
        ahead = abs(time - entries[after][0]) if after < number else _NEVER
        behind = abs(time - entries[before][0]) if before >= 0 else _NEVER
        days = ahead if ahead < behind else behind
        # Of those that are equally near the lowest id wins, so that all of them are looked at.
        if days == _NEVER or days > limit or (best is not None and days > best[0]):
            return best
        if ahead < behind:
            entry = entries[after]
            after += 1
        else:
            entry = entries[before]
            before -= 1
        if (best is None or entry[1] < best[1]) and (serves is None or serves(entry[2])):
            best = (days, entry[1], entry[2])


class _Shelf:
    """Masters of one kind and the same settings, in rows by set-point, and by exposure for darks."""

    def __init__(self, kind: str, first: Candidate) -> None:
        self.kind = kind
        self.first = first
        self.rows: dict[tuple[Any, ...], _Row] = {}
        self.exposures: list[float] = []  # of the darks' rows, rising
        self.by_exposure: dict[float, list[_Row]] = {}

    def add(self, candidate: Candidate) -> None:
        like = candidate.like
        key: tuple[Any, ...] = ()
        if self.kind != "flat":
            key = (like.set_temperature_c,)
        if self.kind == "dark":
            if like.exposure_s is None:
                return  # serves nothing
            key = (like.set_temperature_c, like.exposure_s, candidate.bias_included)
        row = self.rows.get(key)
        if row is None:
            row = self.rows[key] = _Row(candidate)
            if self.kind == "dark":
                exposure = float(like.exposure_s or 0.0)
                if exposure not in self.by_exposure:
                    insort(self.exposures, exposure)
                self.by_exposure.setdefault(exposure, []).append(row)
        row.add(candidate, by_night=self.kind == "flat")

    def rows_for(self, frame: Frame, rules: RuleSet) -> Iterator[tuple[_Row, bool]]:
        """The rows whose exposure serves, those of the same exposure first, and whether their darks are scaled."""
        if self.kind != "dark":
            yield from ((row, False) for row in self.rows.values())
            return
        exposure = frame.exposure_s
        if exposure is None:
            return
        tolerance = rules.exposure.tolerance_s(exposure)
        room = tolerance * ROUNDING * ROUNDING  # a little more: `within` decides
        for one in self._exposures(exposure - room, exposure + room):
            if within(exposure, one, tolerance):
                yield from ((row, False) for row in self.by_exposure[one])
        scaling = rules.scaling
        if scaling.allowed and exposure > 0:
            lowest, highest = scaling.lowest_ratio, scaling.highest_ratio
            for one in self._exposures(exposure / highest / ROUNDING, exposure / lowest * ROUNDING):
                if one > 0 and lowest <= exposure / one <= highest and not within(exposure, one, tolerance):
                    for row in self.by_exposure[one]:
                        if may_be_scaled(frame, row.first, rules):
                            yield row, True

    def _exposures(self, lowest: float, highest: float) -> list[float]:
        return self.exposures[bisect_left(self.exposures, lowest) : bisect_right(self.exposures, highest)]


class Pool:
    """The candidates of one camera or of many, each kind on its own, arranged for choosing.

    Parameters
    ----------
    candidates
        In any order; a kind is told by what a candidate was made of. More may be added later.
    """

    def __init__(self, candidates: Iterable[Candidate] = ()) -> None:
        self._shelves: dict[str, dict[tuple[Any, ...], _Shelf]] = {"bias": {}, "dark": {}, "flat": {}}
        self._fitting: dict[tuple[Any, ...], list[_Shelf]] = {}
        self._number = 0
        for one in candidates:
            self.add(one)

    def __len__(self) -> int:
        """How many candidates there are."""
        return self._number

    def add(self, candidate: Candidate) -> None:
        """Put one more candidate in.

        Raises
        ------
        ValueError
            It is no bias, dark or flat.
        """
        kind = kind_of(candidate)
        key = (candidate.origin, *settings_key(candidate.like, with_filter=kind == "flat"))
        shelf = self._shelves[kind].get(key)
        if shelf is None:
            shelf = self._shelves[kind][key] = _Shelf(kind, candidate)
            self._fitting.clear()
        shelf.add(candidate)
        self._number += 1

    def choose(self, frame: Frame, kind: str, rules: Rules) -> Choice | None:
        """The candidate that `judge` would choose; None where none serves.

        Parameters
        ----------
        frame
            The frame that needs a calibration.
        kind
            "bias", "dark" or "flat".
        rules
            Of the home.

        Raises
        ------
        ValueError
            ``kind`` is none of the three.
        ConfigError
            The rules contradict each other for the frame's instrument.
        """
        own = rules.for_frame(frame)
        time = frame.t_min
        shelves = self._fitting_shelves(frame, kind, own)
        if time is None:
            return None
        best: tuple[Rank, Candidate] | None = None
        reach = own.age.reach[kind]
        for shelf in shelves:
            for row, scaled in shelf.rows_for(frame, own):
                if scaled and best is not None and best[0][0] < SCALED:
                    break  # whatever is scaled comes after all that is not
                serves: Callable[[Candidate], bool] | None = None
                if kind != "flat":
                    known = _serving(frame, row, own)
                    if known is False:
                        continue
                    serves = None if known is True else known
                found = row.best(frame, time, reach, serves)
                if found:
                    (rank, days, identity), candidate = found
                    place = (rank + SCALED if scaled else rank, days, identity)
                    if best is None or place < best[0]:
                        best = (place, candidate)
        if best is None:
            return None
        (rank, days, _), candidate = best
        return Choice(candidate, tier_name(kind, rank, own), rank, None if days == _NEVER else days)

    def _fitting_shelves(self, frame: Frame, kind: str, rules: RuleSet) -> list[_Shelf]:
        """The shelves whose settings are a frame's; found once for all frames that are alike."""
        key = (kind, rules.settings.gain, rules.settings.offset, *settings_key(frame, with_filter=kind == "flat"))
        found = self._fitting.get(key)
        if found is None:
            check_kind(kind)
            if len(self._fitting) >= _MOST_REMEMBERED:
                self._fitting.clear()
            found = self._fitting[key] = [
                shelf
                for shelf in self._shelves[kind].values()
                if all(one.outcome is Outcome.PASS for one in settings_criteria(frame, shelf.first, kind, rules))
            ]
        return found


def _serving(frame: Frame, row: _Row, rules: RuleSet) -> bool | Callable[[Candidate], bool]:
    """Whether a row's temperature serves, or how it is told for each of its masters."""
    wanted, found = frame.set_temperature_c, row.first.like.set_temperature_c
    if wanted is not None and found is not None:
        return within(wanted, found, rules.temperature.set_point_c)
    measured = measured_temperature(frame)
    if measured is None:
        return True
    delivered, tolerance = row.first.origin == "frame", rules.temperature.measured_c

    def serves(candidate: Candidate) -> bool:
        own = measured_temperature(candidate.like)
        return delivered if own is None else within(measured, own, tolerance)

    return serves
