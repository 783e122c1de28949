"""Frames and masters for the tests of matching: one science frame, and masters that fit it but for what is said."""

from __future__ import annotations

import random
from dataclasses import replace

from avcd.association import load_rules
from avcd.frame import Candidate, Frame, ImageType

RULES = load_rules()
NOON = 61000.0  # MJD; differences of eighths of a day from here are exact, so that two masters can be equally near
SCIENCE = Frame(
    id="science", image_type=ImageType.SCIENCE, telescope="T20", instrument="FLI", binning="1x1", naxis1=100, naxis2=80,
    window="0,0", exposure_s=60.0, set_temperature_c=-20.0, ccd_temperature_c=-20.1, gain=1.0, offset=10.0,
    readout_mode="slow", filter="r", t_min=NOON, night="2025-11-21",
)  # fmt: skip
KINDS = {"bias": ImageType.BIAS, "dark": ImageType.DARK, "flat": ImageType.FLAT}
DELIVERED = {"bias": ImageType.MASTER_BIAS, "dark": ImageType.MASTER_DARK, "flat": ImageType.MASTER_FLAT}


def candidate(
    name: str,
    kind: str = "dark",
    *,
    origin: str = "product",
    bias_included: bool | None = False,
    valid: tuple[float | None, float | None] = (None, None),
    **changes,
) -> Candidate:
    image_type = DELIVERED[kind] if origin == "frame" else KINDS[kind]
    values = {"id": f"like-{name}", "image_type": image_type, "t_min": NOON - 0.5, "night": "2025-11-20", **changes}
    if kind == "bias":
        values.setdefault("exposure_s", 0.0)
    like = replace(SCIENCE, **values)
    return Candidate(
        id=name, origin=origin, like=like, bias_included=bias_included, valid_from=valid[0], valid_until=valid[1]
    )


# The usual value, and others that just fit, just do not, are missing, or are another camera's. The usual one comes more often,
# so that enough masters serve.
VALUES = {
    "telescope": ["T20", "T21", None],
    "instrument": ["FLI", "FLI 2", "ZWO ASI294MC Pro", None],
    "detector": [None, "ccd1"],
    "naxis1": [100, 50, None],
    "window": ["0,0", "5,5", None],
    "binning": ["1x1", "2x2", None],
    "gain": [1.0, 2.0, None],
    "offset": [10.0, 20.0, None],
    "readout_mode": ["slow", "fast", None],
    "filter": ["r", "B", "Blue", None],
    "set_temperature_c": [-20.0, -19.5, -20.5, -20.6, -15.0, None],
    "ccd_temperature_c": [-20.1, -19.1, -21.1, -21.2, -15.0, None],
    "exposure_s": [60.0, 60.6, 60.7, 30.0, 120.0, 120.5, 5.0, 5.1, 0.0, None],
    "days": [0.5, 0.0, -0.5, 7.0, -7.0, 7.125, -30.0, 30.125, 90.0, 90.125, -400.0, None],
}
NIGHTS = ["2025-11-21", "2025-11-20", None]
INTERVALS = [(None, None)] * 6 + [(NOON - 1, None), (None, NOON + 1), (NOON, NOON + 5), (None, NOON), (NOON + 1, None)]


def any_values(chance: random.Random, oddness: float) -> dict[str, object]:
    """Values of a frame: each is the usual one, but for a part of ``oddness``."""
    values = {name: some[0] if chance.random() > oddness else chance.choice(some) for name, some in VALUES.items()}
    if chance.random() < 2 * oddness:  # no set-point, or no temperature at all
        values |= {"set_temperature_c": None} | ({"ccd_temperature_c": None} if chance.random() < 0.5 else {})
    days = chance.choice(VALUES["days"]) if chance.random() < 0.5 else chance.uniform(-100, 100)
    del values["days"]
    return {**values, "t_min": None if days is None else NOON + days, "night": chance.choice(NIGHTS)}


def any_candidate(
    chance: random.Random, number: int, kind: str, oddness: float = 0.06, *, only_scaled: bool = False
) -> Candidate:
    """One master of a made-up catalogue; its id does not tell when it was made."""
    values = any_values(chance, oddness)
    if kind == "dark" and only_scaled:
        values["exposure_s"] = chance.choice([30.0, 29.0, 45.0, 90.0, 119.0, 120.5])
    elif kind == "dark" and chance.random() < 0.4:
        values["exposure_s"] = chance.choice(VALUES["exposure_s"])
    valid = chance.choice(INTERVALS) if chance.random() < 0.3 else (None, None)
    if valid != (None, None) and chance.random() < 0.2:
        values["t_min"] = None
    return candidate(
        f"{chance.getrandbits(24):06x}-{number:05d}",
        kind,
        origin=chance.choice(["product", "product", "frame"]),
        bias_included=chance.choice([False, False, True, None]),
        valid=valid,
        **values,
    )


def any_frame(chance: random.Random, oddness: float = 0.06) -> Frame:
    """A frame that may need something."""
    image_type = chance.choice([ImageType.SCIENCE, ImageType.SCIENCE, ImageType.FLAT])
    return replace(SCIENCE, image_type=image_type, **any_values(chance, oddness))
