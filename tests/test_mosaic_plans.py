"""Which fields become a mosaic, by names of panels and by pointings; and that a late panel makes a new one."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from avcd.config import Processing
from avcd.frame import ImageType, ProductKind
from avcd.planner import target_of_panel
from test_planner import PROCESSING, made, make_frame, of_kind, snapshot

DONE = {"calibration": frozenset({"bias", "dark", "flat"})}


def panel(name: str, target: str, night="2026-01-15", band="R", **changes):
    return make_frame(
        name, ImageType.SCIENCE, 100, filter=band, target_name=target, night=night, obs_id=f"T20/{night}/{target}",
        **DONE, **changes,
    )  # fmt: skip


def mosaics(frames, processing=PROCESSING):
    return of_kind(made(snapshot(frames), processing), ProductKind.MOSAIC)


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("M31_x1_y2", "M31"),
        ("M31 x1y2", "M31"),
        ("NGC 7000-X10-Y3", "NGC 7000"),
        ("M31", None),
        (None, None),
        ("x1_y1", None),
    ],
)
def test_the_target_of_a_panel_is_in_its_name(name, target):
    assert target_of_panel(PROCESSING)(name) == target


def test_panels_of_one_target_make_a_mosaic_for_each_filter():
    frames = [panel(f"{x}{band}", f"M31_x{x}_y1", band=band) for x in (1, 2, 3) for band in ("R", "B")]
    found = mosaics(frames)
    assert {(one.target_name, one.filter, len(one.inputs)) for one in found} == {("M31", "R", 3), ("M31", "B", 3)}
    stacks = {one.id for one in of_kind(made(snapshot(frames)), ProductKind.STACK)}
    assert {ref.id for one in found for ref in one.inputs} == stacks
    assert found[0].observations == tuple(f"T20/2026-01-15/M31_x{x}_y1" for x in (1, 2, 3))


def test_a_late_panel_makes_another_mosaic_in_the_same_place():
    frames = [panel(str(x), f"M31_x{x}_y1") for x in (1, 2)]
    before, after = mosaics(frames), mosaics([*frames, panel("3", "M31_x3_y1", night="2026-01-20")])
    assert before[0].id != after[0].id
    assert before[0].slot == after[0].slot


def test_one_panel_alone_or_again_and_other_targets_make_none():
    assert not mosaics([panel("1", "M31_x1_y1"), panel("2", "M31_x1_y1", night="2026-01-16")])
    assert not mosaics([panel("1", "M31_x1_y1"), panel("2", "M33_x2_y1")])
    assert not mosaics([panel("1", "M31"), panel("2", "M33")])


def test_panels_far_apart_in_time_are_mosaics_of_their_own():
    frames = [panel(f"{x}{month}", f"M31_x{x}_y1", night=f"2026-{month}-15") for x in (1, 2) for month in ("01", "06")]
    assert len(mosaics(frames)) == 2
    assert len(mosaics(frames, replace_settings(mosaic_days=365.0))) == 1


def test_pointings_that_lie_apart_are_fields_with_a_stack_each():
    place = {"pixel_scale_arcsec": 1.0, "s_dec": 20.0}
    frames = [panel(str(n), "M31", s_ra=10.0 + ra, **place) for n, ra in enumerate((0.0, 0.001, 0.02, 0.0205))]
    stacks = of_kind(made(snapshot(frames)), ProductKind.STACK)
    assert sorted(len(one.inputs) for one in stacks) == [2, 2]
    assert len({one.path for one in stacks}) == 2
    assert [len(one.inputs) for one in mosaics(frames)] == [2]
    assert not mosaics(frames, replace_settings(mosaic_apart=0.0))
    assert not mosaics(frames, replace_settings(mosaics=False))


def test_dithered_frames_and_those_of_unknown_pointing_are_one_field():
    place = {"pixel_scale_arcsec": 1.0, "s_dec": 20.0}
    frames = [panel(str(n), "M31", s_ra=10.0 + 0.002 * n, **place) for n in range(3)] + [panel("9", "M31")]
    assert len(of_kind(made(snapshot(frames)), ProductKind.STACK)) == 1


def replace_settings(**changes) -> Processing:
    return Processing(**{**PROCESSING.model_dump(), **changes})


def test_a_pattern_without_a_target_is_refused():
    with pytest.raises(ValidationError, match="which is what of the name is the target"):
        Processing(mosaic_panels=r".*x\d+")


def test_the_order_of_frames_does_not_matter():
    frames = [panel(str(x), f"M31_x{x}_y1") for x in (1, 2, 3)]
    assert mosaics(frames) == mosaics(frames[::-1])
