"""The calibration frames to take: what is missing, put together by what would serve it, the most useful first."""

from __future__ import annotations

import datetime
import heapq
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from avcd.association import Rules, RuleSet
from avcd.frame import Frame
from avcd.views.tables import cell

Row = dict[str, Any]
KEYS = (
    "image_type", "telescope", "instrument", "detector", "binning", "temperature_c", "exposure_s", "filter", "gain", "offset",
    "readout_mode", "window", "naxis1", "naxis2", "frames", "observations", "sessions", "frees", "frees_in_order",
    "first_night", "last_night", "note",
)  # fmt: skip
_CAMERA = (
    "telescope", "instrument", "detector", "naxis1", "naxis2", "window", "binning", "gain", "offset", "readout_mode",
)  # fmt: skip
_KINDS = ("bias", "dark", "flat")
_NO_TIME = "the time of these frames is not known: avcd correct FRAME DATE-OBS=…"
_NO_EXPOSURE = "the exposure of these frames is not known: avcd correct FRAME EXPTIME=…"


class Gap(NamedTuple):
    """Calibration frames that one run would give: all that they have in common."""

    kind: str
    camera: tuple[Any, ...]  # the values of _CAMERA
    temperature_c: float | None
    exposure_s: float | None
    filter: str | None
    note: str  # why no calibration can serve, where none can

    def order(self) -> tuple[Any, ...]:
        """A key to sort by, whatever is not known."""
        return tuple((one is not None, one) for one in (*self.camera, *self[2:], _KINDS.index(self.kind)))


Member = tuple[str, str | None, int]  # an observation or a session, its night, how many frames of it


@dataclass(frozen=True)
class _Lacking:
    """Frames, or sessions of flats, that lack the same; None among the gaps: what cannot be had."""

    gaps: frozenset[Gap | None]
    is_session: bool
    members: Sequence[Member]

    @property
    def wanted(self) -> list[Gap]:
        return [one for one in self.gaps if one is not None]

    @property
    def frames(self) -> int:
        return 0 if self.is_session else sum(count for _, _, count in self.members)


@dataclass
class _Use:
    """What a gap is of use for."""

    frames: int = 0
    observations: set[str] = field(default_factory=set)
    sessions: set[str] = field(default_factory=set)
    nights: set[str] = field(default_factory=set)
    frees: int = 0
    frees_in_order: int = 0

    def add(self, lacking: _Lacking) -> None:
        self.nights.update(night for _, night, _ in lacking.members if night)
        (self.sessions if lacking.is_session else self.observations).update(group for group, _, _ in lacking.members)
        self.frames += lacking.frames


def gap_rows(lacking: Iterable[Mapping[str, Any]], rules: Rules, night: str | None = None) -> list[Row]:
    """The calibrations to take, those first that free most frames for each of them.

    A frame that lacks two kinds is freed by both together and by neither alone. Flats that wait for a bias (or for darks
    of their exposure) are not to be taken again: what they wait for stands for them with the frames that they would serve.

    Parameters
    ----------
    lacking
        As `avcd.catalog.Catalog.lacking` gives it.
    rules
        They say which exposures one dark serves, and how old a calibration may be.
    night
        The evening date on which they would be taken: frames for which that is too far away do not count. None: any.

    Returns
    -------
    list of dict
        ``frames`` and ``observations`` need it; ``sessions`` of flats do. It alone ``frees`` so many frames, and
        ``frees_in_order`` those that all above it in the list left waiting for it.
    """
    found = list(_needs(list(lacking), rules, night))
    uses: dict[Gap, _Use] = {}
    for one in found:
        for gap in one.wanted:
            uses.setdefault(gap, _Use()).add(one)
    order = _ordered(found, uses)
    place = {gap: number for number, gap in enumerate(order)}
    for one in found:
        if None not in one.gaps:
            uses[max(one.wanted, key=place.__getitem__)].frees_in_order += one.frames
            if len(one.gaps) == 1:
                uses[one.wanted[0]].frees += one.frames
    return [_row(gap, uses[gap]) for gap in order]


def gaps_as_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """One line for each gap: what to take and what that frees."""
    told = _distinguishing(rows)
    lines = [f"{name_of(row, told.get(row['telescope'], ()))}: {_worth(row)}" for row in rows]
    return "".join(f"{one}\n" for one in lines)


def name_of(row: Mapping[str, Any], also: Iterable[str] = ()) -> str:
    """What to take, as an observer says it: "T20 bin 2, −15 °C, 300 s dark"."""
    first, _, second = (row["binning"] or "").partition("x")
    binning = "" if not first else f" bin {first}" if first == second else f" bin {row['binning']}"
    parts = [_told(key, row) for key in also]
    if row["temperature_c"] is not None and row["image_type"] != "flat":
        parts.append(f"{row['temperature_c']:g} °C".replace("-", "−"))
    if row["image_type"] == "dark":
        parts.append("dark" if row["exposure_s"] is None else f"{row['exposure_s']:g} s dark")
    elif row["image_type"] == "flat":
        parts.append(f"{cell('', row['filter']) or 'no filter'} flat")
    else:
        parts.append("bias")
    # A bias needs no comma before its name.
    said = ", ".join(parts[:-1]) + (" " if row["image_type"] == "bias" else ", ") + parts[-1] if parts[1:] else parts[0]
    camera = f"{cell('', row['telescope']) or 'unknown telescope'}{binning}"
    return f"{camera}, {said}" if parts[1:] or row["image_type"] != "bias" else f"{camera} {said}"


def _told(key: str, row: Mapping[str, Any]) -> str:
    value = cell("", row[key]) or "unknown"
    if key == "naxis1":
        return f"{value}x{cell('', row['naxis2']) or 'unknown'} pixels"
    names = {
        "instrument": "",
        "detector": "",
        "readout_mode": "",
        "window": "window from ",
        "gain": "gain ",
        "offset": "offset ",
    }
    return names[key] + value


def _distinguishing(rows: Sequence[Mapping[str, Any]]) -> dict[Any, list[str]]:
    """For each telescope the settings in which its gaps differ, and which their names must therefore tell."""
    keys = ("instrument", "detector", "naxis1", "window", "gain", "offset", "readout_mode")
    values: dict[Any, dict[str, set[Any]]] = {}
    for row in rows:
        for key in keys:
            # The size follows from the binning.
            value = (row["binning"], row["naxis1"], row["naxis2"]) if key == "naxis1" else (row[key],)
            values.setdefault(row["telescope"], {}).setdefault(key, set()).add(value)
    found: dict[Any, list[str]] = {}
    for telescope, by_key in values.items():
        binnings = len({one[0] for one in by_key["naxis1"]})
        found[telescope] = [key for key in keys if len(by_key[key]) > (binnings if key == "naxis1" else 1)]
    return found


def _worth(row: Mapping[str, Any]) -> str:
    of = f"{_number(row['frames'], 'frame')} of {_number(row['observations'], 'observation')}"
    if row["note"]:
        return f"serves none of {of}; {row['note']}"
    flats = f"{_number(row['sessions'], 'session')} of flats" if row["sessions"] else ""
    if not row["frames"]:
        return f"frees {flats}"
    freed = row["frees_in_order"]
    if freed == row["frames"]:
        said = f"frees {of}"
    elif freed:
        said = f"frees {freed} of the {of} that need it"
    else:
        said = f"{of} need{'s' if row['frames'] == 1 else ''} it, and more"
    if freed > row["frees"]:
        said += f", {freed - row['frees']} of them once those above are there"
    return said + (f"; and {flats}" if flats else "")


def _number(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"


def _needs(rows: Sequence[Mapping[str, Any]], rules: Rules, night: str | None) -> Iterator[_Lacking]:
    """All that lack the same, with what they lack."""
    own = {key: _rules_of(rules, dict(zip(_CAMERA, key, strict=True))) for key in {_camera(row) for row in rows}}
    darks = _merged_exposures(rows, own)
    waiting = _waiting_flats(rows, darks)
    for row in rows:
        session = row["image_type"] == "flat"
        kinds = [kind for kind in _KINDS if row[kind] and (not session or kind == ("bias" if row["bias"] else "dark"))]
        gaps = [_gap(kind, row, darks) for kind in kinds]
        days = [own[gap.camera].age.tiers(gap.kind)[-1] for gap in gaps]
        alike: dict[frozenset[Gap | None], list[Member]] = {}
        if night is None and not any(gap in waiting for gap in gaps):
            alike[frozenset(gaps) | ({None} if any(gap.note for gap in gaps) else set())] = row["members"]
        else:
            for member in row["members"]:
                needed = [
                    _in_reach(gap, member[1], limit, night, waiting) for gap, limit in zip(gaps, days, strict=True)
                ]
                alike.setdefault(frozenset().union(*needed), []).append(member)
        yield from (_Lacking(needed, session, members) for needed, members in alike.items() if needed)


def _in_reach(
    gap: Gap, of: str | None, days: float, night: str | None, waiting: Mapping[Gap, Sequence[tuple[str | None, Gap]]]
) -> set[Gap | None]:
    """What frames of a night need to have a gap filled: nothing helps where None is among it."""
    if gap.note:
        return {None, gap}
    if night is not None and not _near(of, night, days):
        return {None}
    taken = [needed for when, needed in waiting.get(gap, ()) if _near(of, when, days)]
    return {min(taken, key=Gap.order) if taken else gap}


def _camera(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in _CAMERA)


def _rules_of(rules: Rules, settings: Mapping[str, Any]) -> RuleSet:
    return rules.for_frame(Frame(id="", **settings))


def _gap(kind: str, row: Mapping[str, Any], darks: Mapping[tuple[Any, ...], float]) -> Gap:
    note = "" if row["has_time"] else _NO_TIME
    exposure = None
    if kind == "dark" and row["exposure_s"] is None:
        note = note or _NO_EXPOSURE
    elif kind == "dark":
        exposure = darks[(*_camera(row), row["exposure_s"])]
    cold = row["temperature_c"] if kind != "flat" else None
    return Gap(kind, _camera(row), cold, exposure, row["filter"] if kind == "flat" else None, note)


def _merged_exposures(
    rows: Iterable[Mapping[str, Any]], own: Mapping[tuple[Any, ...], RuleSet]
) -> dict[tuple[Any, ...], float]:
    """For the camera's settings and an exposure that of the dark that serves it: the commonest one within tolerance."""
    counts: dict[tuple[Any, ...], dict[float, int]] = {}
    for row in rows:
        if row["dark"] and row["exposure_s"] is not None:
            of = counts.setdefault(_camera(row), {})
            of[row["exposure_s"]] = of.get(row["exposure_s"], 0) + sum(member[2] for member in row["members"])
    found: dict[tuple[Any, ...], float] = {}
    for camera, of in counts.items():
        tolerance: Callable[[float], float] = own[camera].exposure.tolerance_s
        taken: list[float] = []
        for exposure in sorted(of, key=lambda one: (-of[one], one)):
            near = [one for one in taken if abs(one - exposure) <= tolerance(exposure)]
            if not near:
                taken.append(exposure)
            found[(*camera, exposure)] = min(near, key=lambda one: (abs(one - exposure), one)) if near else exposure
    return found


def _waiting_flats(
    rows: Iterable[Mapping[str, Any]], darks: Mapping[tuple[Any, ...], float]
) -> dict[Gap, list[tuple[str | None, Gap]]]:
    """Flats that were taken and wait: the gap that they would fill, with the night and the gap they wait for."""
    found: dict[Gap, list[tuple[str | None, Gap]]] = {}
    for row in rows:
        if row["image_type"] == "flat" and (row["bias"] or row["dark"]):
            needed = _gap("bias" if row["bias"] else "dark", row, darks)
            if not needed.note:
                of = found.setdefault(_gap("flat", row, darks), [])
                of += [(night, needed) for _, night, _ in row["members"]]
    return found


def _near(one: str | None, other: str | None, days: float) -> bool:
    """Whether two nights are no further apart than that; not where one is not known."""
    if not one or not other:
        return False
    return abs((datetime.date.fromisoformat(one) - datetime.date.fromisoformat(other)).days) <= days


def _ordered(found: Iterable[_Lacking], uses: Mapping[Gap, _Use]) -> list[Gap]:
    """The gaps, again and again the set that frees most frames for each run of calibrations in it.

    Sets are few and of at most three gaps, so what one frees is the sum over its subsets; a heap keeps the best on top,
    and a set whose worth rises is put there again. Gaps go by number, which is their order where they are worth the same.
    """
    gaps = sorted(uses, key=lambda gap: (-uses[gap].frames, gap.order()))
    numbers = {gap: number for number, gap in enumerate(gaps)}
    left: dict[frozenset[int], tuple[int, int]] = {}
    holding: dict[int, set[frozenset[int]]] = {}
    heap: list[tuple[Any, ...]] = []

    def worth(one: frozenset[int]) -> tuple[float, float, int]:
        parts = [frozenset(some) for size in range(1, len(one) + 1) for some in itertools.combinations(one, size)]
        freed = [left[part] for part in parts if part in left]
        return -sum(frames for frames, _ in freed) / len(one), -sum(number for _, number in freed) / len(one), len(one)

    def put(one: frozenset[int]) -> None:
        heapq.heappush(heap, (*worth(one), sorted(one)))

    def add(one: frozenset[int], frames: int, sessions: int) -> None:
        before = left.get(one, (0, 0))
        left[one] = before[0] + frames, before[1] + sessions
        for gap in one:
            holding.setdefault(gap, set()).add(one)

    for each in found:
        if None not in each.gaps:
            add(frozenset(numbers[gap] for gap in each.wanted), each.frames, len(each.members) * each.is_session)
    for one in left:
        put(one)
    order: list[int] = []
    while heap:
        *told, listed = heapq.heappop(heap)
        best = frozenset(listed)
        if best not in left or tuple(told) != worth(best):
            continue
        order += listed
        for old in set().union(*(holding.pop(gap) for gap in listed)):
            counts, rest = left.pop(old), old - best
            for gap in rest:
                holding[gap].discard(old)
            if rest:
                add(rest, *counts)
                # It may be part of larger ones, which are worth more now.
                for larger in set.intersection(*(holding[gap] for gap in rest)):
                    put(larger)
    never = sorted(set(numbers.values()) - set(order), key=lambda number: (bool(gaps[number].note), number))
    return [gaps[number] for number in (*order, *never)]


def _row(gap: Gap, use: _Use) -> Row:
    values: Row = {"image_type": gap.kind, **dict(zip(_CAMERA, gap.camera, strict=True))}
    values |= {"temperature_c": gap.temperature_c, "exposure_s": gap.exposure_s, "filter": gap.filter}
    values |= {"frames": use.frames, "observations": len(use.observations), "sessions": len(use.sessions)}
    values |= {"frees": use.frees, "frees_in_order": use.frees_in_order, "note": gap.note or None}
    values |= {"first_night": min(use.nights, default=None), "last_night": max(use.nights, default=None)}
    return {key: values[key] for key in KEYS}
