"""Which frames of a session make one master: long enough, alike in size and temperature, and not too many."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from avcd.association.rules import ROUNDING, Rules
from avcd.frame import Frame, ImageType


def flat_is_too_short(frame: Frame, rules: Rules) -> str:
    """Why a flat is too short for the shutter of its camera; "" where it is not.

    A shutter that opens and closes leaves its own pattern in an exposure as short as that. A flat whose exposure is not
    known is not judged.
    """
    shortest = rules.for_frame(frame).flat.shortest_exposure_s
    if frame.exposure_s is None or frame.exposure_s * ROUNDING >= shortest:
        return ""
    return f"exposed for {frame.exposure_s:g} s, of at least {shortest:g} s for this camera's shutter"


def coherent(frames: Iterable[Frame], rules: Rules) -> list[list[Frame]]:
    """The frames of one session, divided so that each part may become one master.

    Within a part all frames have one size, overscan and part that is kept, and the temperatures of biases and darks (measured, else the set-point) lie
    within ``masters.temperature_spread_c`` of each other. The part that holds most frames is taken out first, of equal
    ones the coldest, then the largest of the rest, and so on. Frames without any temperature make a part of their own
    where others have one; where none has, all belong together. Flats are not divided by temperature.

    Parameters
    ----------
    frames
        Of one session, in any order.
    rules
        Of the home.

    Returns
    -------
    list of lists
        Each in time order, and they by their first frame; the same whatever the order of ``frames``.
    """
    sizes: dict[tuple[object, ...], list[Frame]] = {}
    for frame in frames:
        sizes.setdefault((frame.naxis1, frame.naxis2, frame.overscan_section, frame.trim_section), []).append(frame)
    parts = [part for some in sizes.values() for part in _by_temperature(some, rules)]
    return sorted(map(_in_time_order, parts), key=lambda one: _place(one[0]))


def _by_temperature(frames: list[Frame], rules: Rules) -> list[list[Frame]]:
    if frames[0].image_type is ImageType.FLAT:
        return [frames]
    spread = rules.for_frame(frames[0]).masters.temperature_spread_c * ROUNDING
    known = sorted(
        (one for one in frames if _temperature(one) is not None), key=lambda one: (_temperature(one), one.id)
    )
    unknown = [one for one in frames if _temperature(one) is None]
    parts = [unknown] if unknown else []
    while known:
        first, end = _fullest_window([_temperature(one) or 0.0 for one in known], spread)
        parts.append(known[first:end])
        del known[first:end]
    return parts


def _fullest_window(rising: Sequence[float], width: float) -> tuple[int, int]:
    """The part of rising numbers, none further than ``width`` from another, that holds most; the first of equal ones."""
    best = (0, 0)
    end = 0
    for first, lowest in enumerate(rising):
        while end < len(rising) and rising[end] - lowest <= width:
            end += 1
        if end - first > best[1] - best[0]:
            best = (first, end)
    return best


def _temperature(frame: Frame) -> float | None:
    return frame.ccd_temperature_c if frame.ccd_temperature_c is not None else frame.set_temperature_c


def at_most(frames: Iterable[Frame], number: int) -> list[Frame]:
    """No more than so many frames, evenly spaced in time order, the first and the last among them.

    Parameters
    ----------
    frames
        In any order.
    number
        The most to keep, at least 1; of many frames a single one is the middle one.

    Returns
    -------
    list
        In time order; the same whatever the order of ``frames``.

    Raises
    ------
    ValueError
        ``number`` is below 1.
    """
    if number < 1:
        raise ValueError(f"at most {number} frames: at least one is needed")
    ordered = _in_time_order(frames)
    if len(ordered) <= number:
        return ordered
    if number == 1:
        return [ordered[len(ordered) // 2]]
    steps, last = number - 1, len(ordered) - 1
    return [ordered[(2 * one * last + steps) // (2 * steps)] for one in range(number)]


def _in_time_order(frames: Iterable[Frame]) -> list[Frame]:
    return sorted(frames, key=_place)


def _place(frame: Frame) -> tuple[bool, float, str]:
    return frame.t_min is None, frame.t_min or 0.0, frame.id
