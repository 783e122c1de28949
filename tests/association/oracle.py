"""The rules of matching, stated a second time and as plainly as they can be: no index, no early end, exact arithmetic."""

from __future__ import annotations

from fractions import Fraction

from avcd.frame import Candidate, Frame, ImageType

HARD = ("telescope", "instrument", "detector", "window", "binning", "readout_mode")


def near(one: float, other: float, *tolerances: Fraction) -> bool:
    return abs(exact(one) - exact(other)) <= max(tolerances)


def exact(number: float) -> Fraction:
    return Fraction(str(number))


def judge_plainly(frame: Frame, kind: str, one: Candidate, rules) -> tuple[str, tuple | None]:
    """Pass, fail or unknown, and for a pass its place: the lowest is chosen."""
    like, marks = one.like, []

    def compare(wanted, found, same, may_be_dropped=True):
        if wanted is None:
            marks.append("pass")
        elif found is None:
            marks.append("pass" if may_be_dropped and one.origin == "frame" else "unknown")
        else:
            marks.append("pass" if same(wanted, found) else "fail")

    for name in HARD:
        compare(getattr(frame, name), getattr(like, name), str.__eq__)
    for name in ("gain", "offset"):
        tolerance = exact(getattr(rules.settings, name))
        compare(getattr(frame, name), getattr(like, name), lambda a, b, t=tolerance: near(a, b, t))
    ours, theirs = [(a.naxis1, a.naxis2) if a.naxis1 and a.naxis2 else None for a in (frame, like)]
    compare(ours, theirs, tuple.__eq__, may_be_dropped=False)
    if kind == "flat":
        compare(frame.filter, like.filter, str.__eq__, may_be_dropped=False)
        marks.append("unknown" if frame.filter is None and like.filter else "pass")
    elif None not in (frame.set_temperature_c, like.set_temperature_c):
        marks.append("pass" if near(frame.set_temperature_c, like.set_temperature_c, exact(rules.temperature.set_point_c)) else "fail")  # fmt: skip
    else:
        ours, theirs = [a.set_temperature_c if a.ccd_temperature_c is None else a.ccd_temperature_c for a in (frame, like)]  # fmt: skip
        compare(ours, theirs, lambda a, b: near(a, b, exact(rules.temperature.measured_c)))
    scaled = False
    if kind == "dark" and None in (frame.exposure_s, like.exposure_s):
        marks.append("unknown")
    elif kind == "dark":
        relative = exact(rules.exposure.relative) * exact(frame.exposure_s)
        if not near(frame.exposure_s, like.exposure_s, exact(rules.exposure.absolute_s), relative):
            ratio = exact(frame.exposure_s) / exact(like.exposure_s) if like.exposure_s else 0
            allowed = exact(rules.scaling.lowest_ratio) <= ratio <= exact(rules.scaling.highest_ratio)
            scaled = rules.scaling.allowed and one.bias_included is False and frame.image_type is not ImageType.FLAT
            marks.append("pass" if scaled and allowed else "fail")
    days = None if None in (frame.t_min, like.t_min) else abs(Fraction(frame.t_min) - Fraction(like.t_min))
    tiers = [number for number, limit in enumerate(rules.age.tiers(kind)) if days is not None and days <= exact(limit)]
    age = None
    if frame.t_min is None or (days is None and one.valid_from is None and one.valid_until is None):
        marks.append("unknown")
    elif one.valid_from is not None or one.valid_until is not None:
        age = -2 if (one.valid_from or 0) <= frame.t_min < (one.valid_until or 10**9) else None
        marks.append("pass" if age == -2 else "fail")
    else:
        age = -1 if kind == "flat" and frame.night and frame.night == like.night else min(tiers, default=None)
        marks.append("fail" if age is None else "pass")
    outcome = next((mark for mark in ("fail", "unknown") if mark in marks), "pass")
    return outcome, (scaled, age, days is None, days or 0, one.id) if outcome == "pass" else None


def choose_plainly(frame: Frame, kind: str, candidates: list[Candidate], rules) -> str | None:
    places = [place for one in candidates if (place := judge_plainly(frame, kind, one, rules.for_frame(frame))[1])]
    return min(places)[-1] if places else None
