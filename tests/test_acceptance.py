"""Masters of good nights may serve; masters with a fault put into their frames may not, and the reason names it."""

from __future__ import annotations

import math
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from avcd.acceptance import Limits, unacceptable
from avcd.reduction.combine import ArraySource
from avcd.reduction.masters import build_master_bias, build_master_dark, build_master_flat
from avcd.simulate.camera import Camera

LIMITS = Limits()
RECIPES = Path(__file__).resolve().parent.parent / "config" / "recipes"
PARAMETERS = {
    kind: tomllib.loads((RECIPES / f"master_{kind}.toml").read_text(encoding="utf-8"))["parameters"]
    for kind in ("bias", "dark", "flat")
}
PARAMETERS["flat"] |= {"lowest_level": 0.2, "highest_level": 0.8}
CAMERA = Camera(200, 240, 7)
FULL_WELL = 65535.0
SECONDS = 60.0
Y, X = np.mgrid[-0.5:0.5:200j, -0.5:0.5:240j]


def frames(number: int, exposure_s: float = 0.0, light=0.0, *, filter_name=None, seed=1, camera=CAMERA):
    random = np.random.default_rng(seed)
    return [
        ArraySource(camera.expose(light, exposure_s, random, filter_name).counts.astype(np.float32))
        for _ in range(number)
    ]


def bias_of(sources):
    return build_master_bias(sources, PARAMETERS["bias"], full_well_adu=FULL_WELL)


BIAS = bias_of(frames(5))


def dark_of(sources, bias=BIAS.ccd, exposure_s=SECONDS):
    return build_master_dark(sources, bias, PARAMETERS["dark"], exposure_s=exposure_s, full_well_adu=FULL_WELL).metrics


def flat_of(sources, **changes):
    return build_master_flat(
        sources, BIAS.ccd, None, {**PARAMETERS["flat"], **changes}, full_well_adu=[FULL_WELL] * len(sources)
    ).metrics


def flats(number=5, light=32000.0, seed=1):
    return frames(number, 4, light, filter_name="Red", seed=seed)


DARK, FLAT = dark_of(frames(5, SECONDS)), flat_of(flats())
HEALTHY = {"bias": BIAS.metrics, "dark": DARK, "flat": FLAT}


@pytest.mark.parametrize("number", [2, 3, 5, 20])
@pytest.mark.parametrize("kind", ["bias", "dark", "flat"])
def test_a_healthy_master_may_serve_alone_and_after_another(kind, number):
    made = {
        "bias": lambda: bias_of(frames(number, seed=3)).metrics,
        "dark": lambda: dark_of(frames(number, SECONDS, seed=3)),
        "flat": lambda: flat_of(flats(number, seed=3)),
    }[kind]()
    assert unacceptable(kind, made, None, LIMITS) == ()
    assert unacceptable(f"master_{kind}", made, HEALTHY[kind], LIMITS) == ()
    assert 0.8 < made["noise"] / made["expected_noise"] < 1.25


def test_the_noise_is_what_two_masters_differ_by():
    """Fixed patterns are in both and cancel; what is left is the noise that each claims."""
    for make in (lambda seed: bias_of(frames(6, seed=seed)), lambda seed: _dark(frames(6, SECONDS, seed=seed))):
        one, other = make(1), make(2)
        difference = (one.ccd.data - other.ccd.data)[(one.ccd.mask | other.ccd.mask) == 0]
        scatter = np.diff(np.percentile(difference, [15.866, 84.134]))[0] / 2 / math.sqrt(2)
        for master in (one, other):
            assert master.metrics["noise"] == pytest.approx(scatter, rel=0.05)
            assert master.metrics["expected_noise"] == pytest.approx(scatter, rel=0.08)
    assert one.metrics["expected_noise"] > 1.015 * BIAS.metrics["expected_noise"] * math.sqrt(5 / 6)  # the dark current


def _dark(sources):
    return build_master_dark(sources, BIAS.ccd, PARAMETERS["dark"], exposure_s=SECONDS)


def saturated(sources):
    sources[2].array[:] = FULL_WELL
    return sources


def leaking(sources):
    sources[2].array[:] += (40 * (X + 0.5)).astype(np.float32)
    return sources


@pytest.mark.parametrize("fault", [saturated, leaking])
def test_one_bad_dark_among_five_is_noticed(fault):
    found = unacceptable("dark", dark_of(fault(frames(5, SECONDS, seed=4))), None, LIMITS)
    assert any("departs by" in one for one in found)


def test_a_bias_whose_level_jumped_is_held():
    jumped = bias_of([ArraySource(one.array + 50) for one in frames(5, seed=5)]).metrics
    assert unacceptable("bias", jumped, None, LIMITS) == ()  # who could tell?
    (reason,) = unacceptable("bias", jumped, BIAS.metrics, LIMITS)
    assert re.search(r"\+(49|50|51)\S* adu away from the previous", reason)
    within = frames(5, seed=5)
    within[4].array[:] += 50
    assert any("departs" in one for one in unacceptable("bias", bias_of(within).metrics, None, LIMITS))


def test_a_dark_taken_with_the_shutter_open_is_held():
    sky = frames(5, SECONDS, 1200.0, filter_name="Red", seed=6)
    assert any("its rate" in one for one in unacceptable("dark", dark_of(sky), DARK, LIMITS))
    stars = 1200.0 + field()
    found = unacceptable("dark", dark_of(frames(5, SECONDS, stars, filter_name="Red", seed=6)), None, LIMITS)
    assert any("the shutter was open" in one for one in found)
    dome = dark_of(frames(5, SECONDS, 70000.0, filter_name="Red", seed=6))
    assert any("of the saturation level: no dark" in one for one in unacceptable("dark", dome, None, LIMITS))


def field(number: int = 25, peak_e: float = 4000.0):
    random = np.random.default_rng(8)
    light = np.zeros(CAMERA.shape)
    y, x = np.indices(CAMERA.shape)
    for row, column in zip(random.uniform(8, 190, number), random.uniform(8, 230, number), strict=True):
        light += peak_e * random.uniform(0.7, 2) * np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * 1.6**2))
    return light


def test_a_flat_of_a_twilight_with_stars_is_held():
    """The telescope tracked: the stars are at one place in all flats, and no clipping takes them out."""
    found = unacceptable("flat", flat_of(frames(5, 4, 32000.0 + field(), filter_name="Red")), FLAT, LIMITS)
    assert any("star-like spots" in one for one in found)


def test_one_flat_under_a_cloud_is_noticed():
    clouded = flats(5, seed=9)
    clouded[1].array[:] = 1000 + (clouded[1].array - 1000) * (1 + 0.1 * X).astype(np.float32)
    found = unacceptable("flat", flat_of(clouded), None, LIMITS)
    assert any("as under a cloud" in one for one in found)


def test_flats_with_a_gradient_in_all_of_them_are_told_by_the_previous_master():
    sloping = flat_of(frames(5, 4, 32000.0 * (1 + 0.06 * X), filter_name="Red", seed=9))
    assert any("edge to edge changed by" in one for one in unacceptable("flat", sloping, FLAT, LIMITS))
    assert unacceptable("flat", sloping, None, LIMITS) == ()
    steep = flat_of(frames(5, 4, 32000.0 * (1 + 0.4 * X), filter_name="Red", seed=9))
    assert any("from edge to edge (limit" in one for one in unacceptable("flat", steep, None, LIMITS))


def test_a_read_out_three_times_as_noisy_is_held():
    loud = Camera(200, 240, 7, read_noise_e=3 * CAMERA.read_noise_e)
    noisy = {
        "bias": bias_of(frames(5, camera=loud)).metrics,
        "dark": dark_of(frames(5, SECONDS, camera=loud)),
    }
    for kind, metrics in noisy.items():
        (reason,) = unacceptable(kind, metrics, HEALTHY[kind], LIMITS)
        assert "noise of one frame" in reason
    # One such frame among five: nothing to compare with is needed.
    mixed = bias_of([*frames(4), *frames(1, camera=Camera(200, 240, 7, read_noise_e=40))])
    assert any("what its frames lead to expect" in one for one in unacceptable("bias", mixed.metrics, None, LIMITS))


def test_flats_of_a_wrong_level_that_had_to_be_used_are_held():
    dark_sky = flat_of(flats(5, 6000.0), minimum_frames=3)
    assert dark_sky["frames_outside"] == 5
    assert any("too dark or too bright" in one for one in unacceptable("flat", dark_sky, None, LIMITS))
    mixed = flat_of([*flats(3), *flats(2, 6000.0)], minimum_frames=3)
    assert (mixed["frames_left_out"], mixed["frames_outside"]) == (2, 0)
    assert unacceptable("flat", mixed, None, LIMITS) == ()


def test_what_was_not_measured_is_not_judged_and_what_could_not_be_is():
    for kind in ("bias", "dark", "flat"):
        assert unacceptable(kind, {}, HEALTHY[kind], LIMITS) == ()
        assert unacceptable(kind, HEALTHY[kind], {}, LIMITS) == ()
        for nothing in (None, math.nan):
            found = unacceptable(kind, {**HEALTHY[kind], "level": nothing}, None, LIMITS)
            assert any("level could not be measured" in one for one in found)
    single = bias_of(frames(1)).metrics
    assert "noise" not in single
    assert unacceptable("bias", single, BIAS.metrics, LIMITS) == ()
    with pytest.raises(ValueError, match="reduced"):
        unacceptable("reduced", {}, None, LIMITS)


def test_a_master_with_a_part_without_values_is_measured_on_the_rest():
    def cut(sources, rows):
        for one in sources:
            one.array[:rows] = np.nan
        return sources

    half = bias_of(cut(frames(5), 90)).metrics
    assert unacceptable("bias", half, BIAS.metrics, LIMITS) == ()
    assert half["noise"] == pytest.approx(BIAS.metrics["noise"], rel=0.1)
    nothing = bias_of(cut(frames(5), 200)).metrics
    assert any("could not be measured" in one for one in unacceptable("bias", nothing, None, LIMITS))


def test_darks_of_other_exposures_are_compared_by_their_rate_only():
    long = dark_of(frames(5, 4 * SECONDS, seed=7), exposure_s=4 * SECONDS)
    assert unacceptable("dark", long, DARK, LIMITS) == ()
    kept = dark_of(frames(5, SECONDS, seed=7), bias=None)  # its bias is in it
    assert unacceptable("dark", kept, DARK, LIMITS) == ()
    higher = {**kept, "level": kept["level"] + 50}
    assert unacceptable("dark", higher, kept, LIMITS)


def test_every_limit_and_figure_is_in_the_docs():
    text = (RECIPES.parent.parent / "docs" / "observer.md").read_text(encoding="utf-8")
    for name, field_info in Limits.model_fields.items():
        assert f"| `{name}` | {field_info.default:g} | {field_info.description} |" in text
    for metrics in HEALTHY.values():
        told = {"frames", "megapixels", "rejected_fraction", "read_noise_adu", "dead_px", "vignetting"}
        told |= {"level_lowest", "level_highest"}
        missing = [name for name in metrics if name not in told and f"`{name}`" not in text]
        assert not missing


@pytest.mark.shared
def test_the_masters_of_a_real_night_may_serve(shared_data):
    source = shared_data / "arcsat-2025-06-01"

    def read(pattern):
        return [ArraySource(fits.getdata(path).astype(np.float32)) for path in sorted(source.glob(pattern))]

    bias = bias_of(read("Bias*"))
    found = {"bias": bias.metrics, "dark": dark_of(read("Dark*"), bias.ccd, 10.0)}
    for name in ("H-Alpha", "g", "r", "z"):
        found[f"flat {name}"] = build_master_flat(
            read(f"domeflat_{name}_*"), bias.ccd, None, PARAMETERS["flat"], full_well_adu=[FULL_WELL] * 3
        ).metrics
    for name, metrics in found.items():
        assert unacceptable(name.split()[0], metrics, None, LIMITS) == (), name
        assert metrics["noise"] / metrics["expected_noise"] == pytest.approx(1, abs=0.1), name
