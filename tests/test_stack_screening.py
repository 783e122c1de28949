"""What is wrong with a stack's frames is told by their names, and left out where the recipe says so, and only there."""

from __future__ import annotations

import io

import numpy as np
import pytest
from astropy.io import fits

from avcd.errors import ConfigError
from avcd.frame import InputRef, ProductKind, ProductSpec, ProductStatus
from avcd.products import ImageContent, write_image_fits
from avcd.simulate.sky import StarTruth, paint_stars
from avcd.work import JobInput
from test_stages import Bench, bench  # noqa: F401

SHAPE = (240, 260)


def reduced(bench: Bench, name: str, factor: float = 1.0, seed: int = 1, **metrics) -> JobInput:  # noqa: F811
    """A reduced frame of sixty stars in electrons."""
    rng = np.random.default_rng(5)
    x, y = rng.uniform(10, SHAPE[1] - 10, 60), rng.uniform(10, SHAPE[0] - 10, 60)
    image = np.full(SHAPE, 200.0)
    paint_stars(image, StarTruth(x, y, factor * 10 ** rng.uniform(3.8, 5, 60), x, y), 3.0)
    rng = np.random.default_rng(seed)
    data = (rng.poisson(image) + rng.normal(0, 8, SHAPE)).astype(np.float32)
    spread = np.sqrt(np.maximum(data, 0) + 64).astype(np.float32)
    path = f"{name}.fits"
    with (bench.place.archive / path).open("wb") as stream:
        write_image_fits(ImageContent(data, "electron", np.zeros(SHAPE, np.uint16), spread), stream)
    identity = name.ljust(64, "0")
    spec = ProductSpec(
        id=identity, kind=ProductKind.REDUCED, slot=name, recipe="reduced", recipe_version=1, parameters={},
        inputs=(InputRef("raw", identity[::-1], "frame"),), status=ProductStatus.FINAL, path=path, exposure_s=60.0,
    )  # fmt: skip
    return JobInput(
        role="reduced", id=identity, origin="product", root="archive", relative_path=path, spec=spec, metrics=metrics
    )


def frames(bench: Bench) -> list[JobInput]:  # noqa: F811
    good = [reduced(bench, f"a-{seed}", seed=seed) for seed in (1, 2, 3)]
    return [*good, reduced(bench, "cloudy", 0.3, seed=4), reduced(bench, "trailed", seed=5, elongation=0.4)]


def combined(data: bytes) -> int:
    """How many frames a stack says that it is made of."""
    return int(fits.getheader(io.BytesIO(data))["NCOMBINE"])


def test_faults_are_told_by_name_and_nothing_is_left_out_unasked(bench):  # noqa: F811
    output, data = bench.run(bench.claim(ProductKind.STACK, *frames(bench)))
    assert output.metrics["frames_used"] == 5
    assert output.metrics["frames_screened_out"] == 0
    told = [one for one in output.warnings if "cloudy.fits" in one or "trailed.fits" in one]
    assert any(one.startswith("cloudy.fits: clouds: its stars have 30% of the light") for one in told)
    assert any(one.startswith("trailed.fits: trailing: ") for one in told)
    assert not any("left out" in one for one in told)
    assert not any("a-" in one for one in output.warnings)
    assert combined(data) == 5


def test_what_the_recipe_names_is_left_out_and_said(bench):  # noqa: F811
    inputs = frames(bench)
    output, data = bench.run(bench.claim(ProductKind.STACK, *inputs, leave_out=["clouds"]))
    assert output.metrics["frames_used"] == 4
    assert output.metrics["frames_screened_out"] == 1
    (told,) = (one for one in output.warnings if "cloudy.fits" in one)
    assert told.endswith("; left out")
    assert combined(data) == 4
    _, same = bench.run(bench.claim(ProductKind.STACK, *(one for one in inputs if one.relative_path != "cloudy.fits")))
    with fits.open(io.BytesIO(data)) as mine, fits.open(io.BytesIO(same)) as other:
        np.testing.assert_allclose(mine[0].data, other[0].data, rtol=1e-5)


def test_the_figures_go_to_the_frames(bench):  # noqa: F811
    output, _ = bench.run(bench.claim(ProductKind.STACK, *frames(bench)))
    by_name = {identity.rstrip("0"): figures for identity, figures in output.input_metrics.items()}
    assert by_name["cloudy"]["transparency"] == pytest.approx(0.3, abs=0.02)
    assert by_name["a-1"]["transparency"] == pytest.approx(1, abs=0.03)
    assert by_name["a-1"]["depth"] == pytest.approx(1, abs=0.1)


def test_limits_are_the_recipes(bench):  # noqa: F811
    strict = bench.claim(ProductKind.STACK, *frames(bench), screen_trailing=0.5, screen_clouds=0.1, screen_veil=0.2)
    assert not any("cloudy" in one or "trailed" in one for one in bench.run(strict)[0].warnings)
    with pytest.raises(ConfigError, match="leave_out"):
        bench.run(bench.claim(ProductKind.STACK, *frames(bench), leave_out=["rain"]))


def test_where_every_frame_has_a_fault_none_is_left_out(bench):  # noqa: F811
    inputs = [reduced(bench, f"t-{seed}", seed=seed, elongation=0.4) for seed in (1, 2)]
    output, data = bench.run(bench.claim(ProductKind.STACK, *inputs, leave_out=["trailing"]))
    assert combined(data) == 2
    assert "every frame has a fault that the recipe leaves out: none was" in output.warnings


def test_what_an_earlier_comparison_said_holds_no_more(bench):  # noqa: F811
    inputs = [reduced(bench, f"b-{seed}", seed=seed, transparency=0.1, stars_found=0.2) for seed in (1, 2)]
    output, _ = bench.run(bench.claim(ProductKind.STACK, *inputs, leave_out=["clouds"]))
    assert output.metrics["frames_used"] == 2
    assert not any("clouds" in one for one in output.warnings)


def test_what_a_stack_scales_by_is_what_its_frames_are_judged_by_beside_the_reference(bench):  # noqa: F811
    inputs = [reduced(bench, f"a-{seed}", light, seed=seed) for seed, light in ((1, 0.8), (2, 1.0), (3, 1.0), (4, 0.4))]
    output, _ = bench.run(bench.claim(ProductKind.STACK, *inputs))
    judged = {identity.rstrip("0"): figures["transparency"] for identity, figures in output.input_metrics.items()}
    assert judged["a-1"] == pytest.approx(0.8, abs=0.03)
    assert output.metrics["least_transparency"] == pytest.approx(judged["a-4"] / judged["a-1"], rel=0.04)
