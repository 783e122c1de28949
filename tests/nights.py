"""Small nights for whole-system tests."""

from __future__ import annotations

from pathlib import Path

from avcd.simulate import Delivery, Night, Size, deliver, make_night


def small_night(drop: Path, truth: Path | None = None) -> tuple[Night, Delivery]:
    """A night that is made in a second or two, delivered below one drop directory."""
    night = make_night(truth or drop.parent / "truth", size=Size.small())
    return night, deliver(night, {"itelescope": drop / "itelescope", "astep": drop / "astep"})
