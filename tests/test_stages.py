"""Stages by themselves: what they say of a product beside its pixels, in the header, the warnings and the figures."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from PIL import Image

from avcd.frame import Frame, ImageType, InputRef, MaskBit, ProductKind, ProductSpec, ProductStatus, product_identity
from avcd.products import ImageContent, read_image_product, write_image_fits
from avcd.recipes import load_recipes
from avcd.runner.worker import Workplace, open_inputs
from avcd.simulate.camera import Camera
from avcd.stages import Output, run_stage, stage_of
from avcd.work import Claim, JobInput

CAMERA = Camera(240, 260, 3, hot_fraction=2e-3)
RECIPES = load_recipes()
SECONDS = 60.0


class Bench:
    """Frames and products on disk, and claims on stages that use them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.place = Workplace({"drop": directory / "drop"}, directory / "archive", 2**28)
        for name in ("drop", "archive"):
            (directory / name).mkdir()

    def raw(self, name: str, data: np.ndarray, role: str = "raw", **values) -> JobInput:
        fits.PrimaryHDU(np.asarray(data, np.float32)).writeto(self.directory / "drop" / f"{name}.fits")
        frame = Frame(id=name.ljust(64, "0"), date_obs=f"2026-01-15T{name}", saturation_adu=65535.0, **values)
        return JobInput(role=role, id=frame.id, origin="frame", root="drop", relative_path=f"{name}.fits", frame=frame)

    def claim(self, kind: ProductKind, *inputs: JobInput, status=ProductStatus.FINAL, **parameters) -> Claim:
        recipe = RECIPES[kind]
        refs = tuple(InputRef(one.role, one.id, one.origin) for one in inputs)
        levels = {"lowest_level": 0.2, "highest_level": 0.8} if kind is ProductKind.MASTER_FLAT else {}
        values = {**recipe.parameters, **levels, **parameters}
        if status is ProductStatus.PROVISIONAL:
            values["provisional"] = True
        identity = product_identity(kind, recipe.name, recipe.version, values, refs)
        suffix = ".png" if kind in (ProductKind.PREVIEW, ProductKind.RGB) else ".fits"
        spec = ProductSpec(
            id=identity,
            kind=kind,
            slot=f"{kind}:slot",
            recipe=recipe.name,
            recipe_version=recipe.version,
            parameters=values,
            inputs=refs,
            status=status,
            path=f"{kind}-{identity[:12]}{suffix}",
            exposure_s=SECONDS,
            reason="flat: no candidate" if status is ProductStatus.PROVISIONAL else "",
        )
        return Claim(job_id=identity, token="t", attempt=1, spec=spec, inputs=inputs)

    def run(self, claim: Claim) -> tuple[Output, bytes]:
        output = run_stage(claim, open_inputs(self.place), self.place.memory_bytes)
        stream = io.BytesIO()
        output.files[0].write(stream)
        return output, stream.getvalue()

    def make(self, claim: Claim, role: str) -> JobInput:
        """Publish what a claim makes, as input of others."""
        output, data = self.run(claim)
        (self.place.archive / claim.spec.path).write_bytes(data)
        return JobInput(
            role=role,
            id=claim.spec.id,
            origin="product",
            root="archive",
            relative_path=claim.spec.path,
            spec=claim.spec,
            metrics=output.metrics,
            wcs=output.wcs,
        )


def exposures(number: int, exposure_s: float, light=0.0, filter_name: str | None = None, seed: int = 1):
    random = np.random.default_rng([seed, int(exposure_s)])
    return [CAMERA.expose(light, exposure_s, random, filter_name).counts for _ in range(number)]


def sky() -> np.ndarray:
    random = np.random.default_rng(4)
    y, x = np.indices(CAMERA.shape)
    light = np.full(CAMERA.shape, 700.0)
    for row, column in zip(random.uniform(15, 225, 40), random.uniform(15, 245, 40), strict=True):
        peak = random.uniform(2000, 20000)
        light += peak * np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * 1.7**2))
    return light


@pytest.fixture
def bench(tmp_path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
def masters(bench) -> dict[str, JobInput]:
    def raw(kind, frames, **values):
        return [bench.raw(f"{kind}-{index}", data, image_type=kind, **values) for index, data in enumerate(frames)]

    bias = bench.make(bench.claim(ProductKind.MASTER_BIAS, *raw(ImageType.BIAS, exposures(4, 0))), "bias")
    dark = bench.make(bench.claim(ProductKind.MASTER_DARK, *raw(ImageType.DARK, exposures(4, SECONDS)), bias), "dark")
    flats = raw(ImageType.FLAT, exposures(4, 4, 32000.0, "Red"), filter="Red")
    return {
        "bias": bias,
        "dark": dark,
        "flat": bench.make(bench.claim(ProductKind.MASTER_FLAT, *flats, bias), "flat"),
        "raw": bench.raw(
            "light",
            exposures(1, SECONDS, sky(), "Red")[0],
            image_type=ImageType.SCIENCE,
            exposure_s=SECONDS,
            gain_e_per_adu=CAMERA.gain_e_per_adu,
            read_noise_e=CAMERA.read_noise_e,
        ),
    }


def reduced(bench: Bench, inputs: dict[str, JobInput], *, without: tuple[str, ...] = (), **changes) -> Claim:
    chosen = [one for name, one in inputs.items() if name not in without]
    status = ProductStatus.PROVISIONAL if without else ProductStatus.FINAL
    return replace(bench.claim(ProductKind.REDUCED, *chosen, status=status, solve=False), **changes)


def damaged(bench: Bench, one: JobInput, factor) -> JobInput:
    """A master whose pixels are another's times a factor."""
    content = read_image_product(bench.place.archive / one.relative_path)
    path = one.relative_path.replace(".fits", "-wrong.fits")
    with (bench.place.archive / path).open("wb") as stream:
        write_image_fits(
            ImageContent(
                content.data * np.asarray(factor, np.float32), content.unit, content.mask, content.uncertainty
            ),
            stream,
        )
    return replace(one, relative_path=path, id=one.id[::-1])


def test_masters_carry_their_figures(masters):
    for name in ("bias", "dark", "flat"):
        metrics = masters[name].metrics
        assert metrics["noise"] == pytest.approx(metrics["expected_noise"], rel=0.15)
        assert metrics["outliers"] < 0.02
    assert masters["dark"].metrics["rate_adu_s"] == pytest.approx(0.05 / 1.4, abs=0.05)
    assert masters["dark"].metrics["exposure_s"] == SECONDS
    assert masters["flat"].metrics["structure"] == pytest.approx(0.18, abs=0.06)


def test_flats_that_are_left_out_are_named(bench, masters):
    frames = [*exposures(3, 4, 32000.0, "Red", seed=2), *exposures(1, 4, 4000.0, "Red", seed=2)]
    raw = [
        bench.raw(f"19:0{index}", data, image_type=ImageType.FLAT, filter="Red") for index, data in enumerate(frames)
    ]
    output, data = bench.run(bench.claim(ProductKind.MASTER_FLAT, *raw, masters["bias"]))
    named = "left out: flat Red 2026-01-15T19:03: 4% of the full well, not 20% to 80%"
    assert named in output.warnings
    header = fits.getheader(io.BytesIO(data))
    assert named in "".join(header["HISTORY"])
    assert header["NCOMBINE"] == 3
    assert output.metrics["frames_left_out"] == 1


def test_a_clean_frame_raises_no_warning(bench, masters):
    output, _ = bench.run(reduced(bench, masters))
    assert output.warnings == ()
    assert abs(output.metrics["hot_residue"]) < 0.05
    assert output.metrics["sky_gradient"] < 0.02


def test_a_dark_of_another_temperature_is_reported_by_name(bench, masters):
    dark = damaged(bench, masters["dark"], 0.5)
    output, _ = bench.run(reduced(bench, {**masters, "dark": dark}))
    (warning,) = output.warnings
    assert dark.relative_path in warning
    assert "hot pixels still stand out by" in warning
    assert output.metrics["hot_residue"] == pytest.approx(1, abs=0.1)
    over = damaged(bench, masters["dark"], 3.0)
    (warning,) = bench.run(reduced(bench, {**masters, "dark": over}))[0].warnings
    assert "holes" in warning


def test_a_flat_with_a_slope_is_reported_by_name(bench, masters):
    flat = damaged(bench, masters["flat"], 1 + 0.05 * np.linspace(-0.5, 0.5, CAMERA.nx)[None, :])
    output, _ = bench.run(reduced(bench, {**masters, "flat": flat}))
    (warning,) = output.warnings
    assert flat.relative_path in warning
    assert "the sky rises by" in warning
    assert output.metrics["sky_gradient"] == pytest.approx(0.05, abs=0.01)


def test_a_final_frame_tells_what_it_changed(bench, masters):
    before = bench.make(reduced(bench, masters, without=("bias", "dark", "flat")), "predecessor")
    header = fits.getheader(bench.place.archive / before.relative_path)
    assert header["AVCDSTAT"] == "provisional"
    assert "provisional: flat: no candidate" in "".join(header["HISTORY"])
    plain, expected = bench.run(reduced(bench, masters))
    assert not any(name.startswith("provisional") for name in plain.metrics)
    output, data = bench.run(reduced(bench, masters, predecessor=before))
    assert data == expected  # the bytes do not depend on what was there
    assert output.metrics["provisional_id"] == before.id
    bias_e = np.median(CAMERA.bias_pattern) * CAMERA.gain_e_per_adu
    assert output.metrics["provisional_median_difference"] == pytest.approx(-bias_e, rel=0.02)
    assert output.metrics["provisional_rms_difference"] > 5
    assert output.metrics["provisional_stars_matched"] >= 15
    assert output.warnings == plain.warnings


@pytest.mark.parametrize("shift_mag", [0.0, 0.1, -0.05])
def test_a_moved_zero_point_is_recorded(shift_mag, bench, masters):
    """The provisional frame is the final one's light times a factor: the factor comes back in magnitudes."""
    first = bench.make(reduced(bench, masters), "predecessor")
    before = damaged(bench, first, 10 ** (-0.4 * shift_mag))
    output, _ = bench.run(reduced(bench, masters, predecessor=before))
    assert output.metrics["provisional_zero_point_shift_mag"] == pytest.approx(shift_mag, abs=0.002)
    sky_e = output.metrics["background"]
    difference = sky_e * (1 - 10 ** (-0.4 * shift_mag))
    assert output.metrics["provisional_median_difference"] == pytest.approx(difference, abs=1)


def test_a_provisional_product_that_is_gone_or_unlike_fails_nothing(bench, masters):
    before = bench.make(reduced(bench, masters, without=("flat",)), "predecessor")
    path = bench.place.archive / before.relative_path
    whole = path.read_bytes()
    for damage in (lambda: path.write_bytes(b"no FITS"), path.unlink):
        damage()
        output, _ = bench.run(reduced(bench, masters, predecessor=before))
        assert any("what changed since the provisional product is not known" in one for one in output.warnings)
        assert output.metrics["provisional_id"] == before.id
        assert "provisional_rms_difference" not in output.metrics
    path.write_bytes(whole)
    with path.open("wb") as stream:
        write_image_fits(ImageContent(np.zeros((10, 12)), "adu"), stream)
    output, _ = bench.run(reduced(bench, masters, predecessor=before))
    assert any("12 x 10 px in adu, this one is of 260 x 240 px in electron" in one for one in output.warnings)


def test_a_final_stack_is_compared_with_the_provisional_one_on_one_grid_only(bench, masters):
    lights = [
        replace(masters["raw"], **vars_of(bench.raw(f"20:0{index}", data, image_type=ImageType.SCIENCE)))
        for index, data in enumerate(exposures(3, SECONDS, sky(), "Red", seed=6))
    ]
    made = [bench.make(reduced(bench, {**masters, "raw": one}), "reduced") for one in lights]
    before = bench.make(bench.claim(ProductKind.STACK, *made[:2], status=ProductStatus.PROVISIONAL), "predecessor")
    claim = replace(bench.claim(ProductKind.STACK, *made), predecessor=before)
    output, _ = bench.run(claim)
    assert output.metrics["provisional_zero_point_shift_mag"] == pytest.approx(0, abs=0.01)
    assert output.metrics["provisional_median_difference"] == pytest.approx(0, abs=3)
    assert 0 < output.metrics["provisional_rms_difference"] < 100
    counted = bench.make(bench.claim(ProductKind.STACK, *made), "stack")
    coverage = read_image_product(bench.place.archive / counted.relative_path).planes["COVERAGE"]
    assert np.median(coverage) == coverage.max() == 3
    content = read_image_product(bench.place.archive / before.relative_path)
    moved = ImageContent(np.roll(content.data, 1, axis=1), content.unit, content.mask)
    with (bench.place.archive / before.relative_path).open("wb") as stream:
        write_image_fits(moved, stream)
    output, _ = bench.run(claim)
    assert "provisional_rms_difference" not in output.metrics
    assert any("another grid" in one for one in output.warnings)


def vars_of(one: JobInput) -> dict:
    frame = replace(
        one.frame, exposure_s=SECONDS, gain_e_per_adu=CAMERA.gain_e_per_adu, read_noise_e=CAMERA.read_noise_e
    )
    return {"id": one.id, "relative_path": one.relative_path, "frame": frame}


def test_provisional_pictures_are_marked(bench, masters):
    before = bench.make(reduced(bench, masters, without=("flat",)), "image")
    sizes = {}
    for status in (ProductStatus.FINAL, ProductStatus.PROVISIONAL):
        _, data = bench.run(bench.claim(ProductKind.PREVIEW, before, status=status))
        sizes[status] = Image.open(io.BytesIO(data)).size
    final, provisional = sizes.values()
    assert provisional[1] > final[1]  # a strip below says it
    stacks = []
    for name in ("Red", "Blue"):
        light = bench.raw(f"21-{name}", exposures(1, SECONDS, sky(), name, seed=9)[0], image_type=ImageType.SCIENCE)
        one = bench.make(reduced(bench, {**masters, "raw": replace(masters["raw"], **vars_of(light))}), "reduced")
        stacks.append(bench.make(bench.claim(ProductKind.STACK, one), f"stack {name}"))
    pictures = {}
    for status in (ProductStatus.FINAL, ProductStatus.PROVISIONAL):
        output, data = bench.run(bench.claim(ProductKind.RGB, *stacks, status=status))
        tiff = io.BytesIO()
        output.files[1].write(tiff)
        pictures[status] = Image.open(io.BytesIO(data)), Image.open(tiff).tag_v2.get(270)
    assert pictures[ProductStatus.PROVISIONAL][0].height > pictures[ProductStatus.FINAL][0].height
    assert pictures[ProductStatus.PROVISIONAL][1] == "provisional"
    assert pictures[ProductStatus.FINAL][1] == "red Red; green Red+Blue; blue Blue"


def test_what_an_observer_names_is_in_the_mask_and_what_lies_outside_is_told(bench, masters):
    named = [[None, None, 30, 31], [12, 14, 900, 900]]
    output, data = bench.run(bench.claim(ProductKind.BAD_PIXEL_MASK, masters["dark"], named=named))
    with fits.open(io.BytesIO(data)) as hdus:
        user = (hdus["MASK"].data & int(MaskBit.USER)) != 0
    assert np.flatnonzero(user.all(axis=0)).tolist() == [29, 30]
    assert user.sum() == output.metrics["user_px"] == 2 * CAMERA.shape[0]
    assert [one.split(" is not")[0] for one in output.warnings] == ["rows 12 to 14, column 900"]


def test_master_flats_carry_the_gain_of_the_camera(masters):
    metrics = masters["flat"].metrics
    assert metrics["gain_e_per_adu"] == pytest.approx(CAMERA.gain_e_per_adu, rel=0.05)
    assert abs(metrics["gain_e_per_adu"] - CAMERA.gain_e_per_adu) < 4 * metrics["gain_error"]
    assert metrics["read_noise_e"] == pytest.approx(CAMERA.read_noise_e, rel=0.08)


def test_every_kind_of_product_has_its_stage():
    assert all(callable(stage_of(kind)) for kind in ProductKind)
