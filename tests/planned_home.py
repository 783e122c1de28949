"""A home with a planned night: three biases, three darks, flats and lights of three filters, all that follows made."""

from __future__ import annotations

from dataclasses import replace

from avcd.association import load_rules
from avcd.catalog import Catalog
from avcd.config import Home, Processing
from avcd.daemon.planning import Planning, plan_camera
from avcd.frame import Frame, ImageType
from avcd.recipes import load_recipes
from catalogue import CAMERA, digest, make_reading, run
from test_planner import make_frame, night


def frame(name: str, image_type: ImageType, minute: float, **changes) -> Frame:
    """A frame of the night, of the camera that the tests of the catalogue use."""
    made = make_frame(name, image_type, minute, instrument="CCD", **changes)
    return replace(made, id=digest(name), pixel_sha256=digest(f"pixels {name}"))


def frames() -> list[Frame]:
    """The night's frames, by names as the tests of the planner give them: b0 … b2, d0 … d2, fRed0 …, sRed0 …"""
    return [
        replace(one, id=digest(name), pixel_sha256=digest(f"pixels {name}"), instrument="CCD")
        for one in night()
        for name in [one.id.rstrip("0") + ("0" if one.id.rstrip("0")[-1] not in "12" else "")]
    ]


def deliver(catalog: Catalog, found: list[Frame], now: float = 1000.0) -> None:
    """Every frame in a file of its own, and every group complete."""
    for number, one in enumerate(found):
        name = f"{one.image_type}-{one.filter or 'none'}-{number:02d}-{one.id[:6]}.fits"
        catalog.record_reading("drop", make_reading(name, one), 2880, 1, now)
    for group in catalog.open_groups():
        catalog.close_group(group.subject, group.members, "idle", now)


def bring_up_to_date(
    catalog: Catalog, home: Home, now: float = 2000.0, processing: Processing | None = None
) -> list[str]:
    """Plan, and do every job; returns the slots of what was made."""
    planning = Planning(load_recipes(home.path), load_rules(home.path), processing or home.settings.processing)
    plan_camera(catalog, CAMERA, planning)
    done = run(catalog, now)
    plan_camera(catalog, CAMERA, planning)
    return done


def serving(catalog: Catalog) -> dict[str, str]:
    """What serves in each slot."""
    return {one["slot"]: one["id"] for one in catalog.products() if one["status"] in ("final", "provisional")}
