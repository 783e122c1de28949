"""Frames of one field held against the best: every fault on a frame that shows it, and none on a good one."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from avcd.inspection import Fault, Limits, inspect
from avcd.simulate.sky import StarTruth, paint_stars
from avcd.sky.detection import detect_sources
from avcd.sky.quality import measure_quality, trail_figures
from avcd.sky.relative import Member, compare_frames
from avcd.sky.trails import find_trails

SHAPE = (512, 540)
NY, NX = SHAPE


@functools.cache
def exposure(
    seed, shift=(0, 0), turned=False, factor=1.0, fwhm=3.0, sky=300.0, fault="", field=5, seconds=60.0, stars=150
):
    """A frame of 150 stars in electrons, what is measured on it, and how the first frame's pixels lie on it."""
    rng = np.random.default_rng(field)
    x, y = rng.uniform(0, NX, stars), rng.uniform(0, NY, stars)
    flux = 10 ** rng.uniform(3.3, 5.3, stars) * factor * seconds / 60
    if fault == "patchy":
        flux = flux * np.where(np.sin(x / 60) > 0, 1.0, 0.3)
    here_x, here_y = x + shift[0], y + shift[1]
    if turned:
        here_x, here_y = NX - 1 - here_x, NY - 1 - here_y
    image = np.full(SHAPE, sky * seconds / 60)
    paint_stars(image, StarTruth(here_x, here_y, flux, x, y), fwhm)
    if fault == "covered":
        image[300:] *= 0.02
    if fault == "trailed":
        image = sum(np.roll(image, step, axis=1) for step in range(8)) / 8
    if fault == "trail":
        rows, columns = np.indices(SHAPE)
        image += 60 * np.exp(-(((rows - 0.6 * columns - 60) / 1.5) ** 2))
    rng = np.random.default_rng(seed)
    data = (rng.poisson(image) + rng.normal(0, 8, SHAPE)).astype(np.float32)
    sources = detect_sources(data, None, gain=1.0)
    figures = {**measure_quality(data, None, sources), **trail_figures(find_trails(data, None, sources))}

    def to_frame(column, row):
        column, row = column + shift[0], row + shift[1]
        return (NX - 1 - column, NY - 1 - row) if turned else (column, row)

    member = Member(sources, SHAPE, to_frame, seconds, figures.get("fwhm_px"), figures["background"], figures["noise"])
    return member, figures


GOOD = ({"seed": 5}, {"seed": 6, "shift": (4, -3)}, {"seed": 7, "turned": True, "shift": (-12, 9)})


def compared(**changes):
    """The figures of one frame among three good ones, and those of the good ones."""
    frames = [exposure(**one) for one in GOOD] + [exposure(**{"seed": 20, **changes})]
    found = compare_frames([member for member, _ in frames], SHAPE)
    merged = [{**figures, **one.as_metrics()} for one, (_, figures) in zip(found, frames, strict=True)]
    return merged[-1], merged[:-1]


def faults(figures, **limits):
    return [one.fault for one in inspect(figures, Limits(**limits))]


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"factor": 0.7}, Fault.VEIL),
        ({"factor": 0.2}, Fault.CLOUDS),
        ({"factor": 0.003}, Fault.CLOUDS),
        ({"fault": "patchy"}, Fault.CLOUDS),
        ({"fault": "covered"}, Fault.OCCLUSION),
        ({"fault": "trailed"}, Fault.TRAILING),
        ({"fault": "trail"}, Fault.TRAILS),
        ({"fwhm": 5.5}, Fault.FOCUS),
        ({"field": 77}, Fault.WRONG_FIELD),
    ],
)
def test_every_fault_is_told_with_its_evidence_and_good_frames_have_none(changes, fault):
    bad, good = compared(**changes)
    findings = inspect(bad, Limits())
    assert [one.fault for one in findings] == [fault]
    assert any(character.isdigit() for character in findings[0].evidence)
    for figures in good:
        assert inspect(figures, Limits()) == ()


def test_a_frame_like_the_others_has_no_fault():
    like, good = compared()
    assert faults(like) == []
    assert all(one["transparency"] == pytest.approx(1, abs=0.02) for one in [like, *good])
    assert all(one["depth"] == pytest.approx(1, abs=0.08) for one in [like, *good])


@pytest.mark.parametrize("factor", [0.9, 0.6, 0.3])
def test_transparency_is_the_light_that_is_left(factor):
    figures, _ = compared(factor=factor, shift=(7, 5))
    assert figures["transparency"] == pytest.approx(factor, rel=0.02)


def test_exposures_of_different_length_are_compared_by_the_second():
    figures, _ = compared(seconds=20.0)
    assert figures["transparency"] == pytest.approx(1, abs=0.03)
    assert figures["sky_ratio"] == pytest.approx(1, abs=0.03)


def test_depth_tells_how_much_exposure_a_frame_is_worth():
    figures, _ = compared(factor=0.5)
    assert figures["depth"] == pytest.approx(0.25, rel=0.1)
    bright, _ = compared(sky=1200.0)
    assert bright["depth"] == pytest.approx((300 + 64) / (1200 + 64), rel=0.1)


def test_a_cloudy_first_frame_is_not_the_measure():
    frames = [exposure(seed=30, factor=0.02), exposure(**GOOD[0]), exposure(**GOOD[1])]
    found = compare_frames([member for member, _ in frames], SHAPE)
    assert found[0].transparency < 0.1
    assert [one.transparency for one in found[1:]] == pytest.approx([1, 1], abs=0.02)


def test_a_frame_that_could_not_be_registered_is_cloudy_or_elsewhere():
    def unregistered(**changes):
        member, figures = exposure(**changes)
        lost = Member(member.sources, SHAPE, None, 60.0, member.fwhm_px, member.sky, member.noise)
        found = compare_frames([exposure(**one)[0] for one in GOOD] + [lost], SHAPE)
        return faults({**figures, **found[-1].as_metrics()})

    assert unregistered(seed=31, factor=0.003) == [Fault.CLOUDS]
    assert unregistered(seed=32, field=77) == [Fault.WRONG_FIELD]


def test_a_covered_frame_makes_the_others_neither_wide_nor_bright():
    covered = exposure(seed=34, stars=0, sky=3.0)[0]
    found = compare_frames([exposure(**one)[0] for one in GOOD] + [covered], SHAPE)
    assert all(one.fwhm_ratio == pytest.approx(1, abs=0.03) for one in found[:-1])
    assert all(one.sky_ratio == pytest.approx(1, abs=0.03) for one in found[:-1])
    assert found[-1].transparency == 0


def test_of_a_single_frame_and_of_none_with_stars_nothing_is_said():
    member, _ = exposure(**GOOD[0])
    assert compare_frames([member], SHAPE)[0].as_metrics() == {"stars_expected": 0.0}
    empty = exposure(seed=33, stars=0)[0]
    assert all(one.transparency is None for one in compare_frames([empty, empty], SHAPE))
