"""Resampling keeps light, places and masks; reproject, which shares no code with it, is the oracle."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from astropy.wcs import WCS
from reproject import reproject_interp

from avcd.compiling import available
from avcd.compose import resampling
from avcd.compose.mapping import PixelMap, Registration
from avcd.compose.resampling import Way, resample, resample_block
from avcd.errors import ProcessingError
from avcd.frame import MaskBit

SHAPE = (300, 320)


def world(scale=1.0, turn_deg=0.0, ra=40.0, dec=20.0, shape=SHAPE, projection="TAN") -> WCS:
    """World coordinates centred on a place, in seconds of arc a pixel."""
    found = WCS(naxis=2)
    found.wcs.ctype = [f"RA---{projection}", f"DEC--{projection}"]
    found.wcs.crval = [ra, dec]
    found.wcs.crpix = [shape[1] / 2 + 0.5, shape[0] / 2 + 0.5]
    angle = np.radians(turn_deg)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    found.wcs.cd = np.array([[-1.0, 0.0], [0.0, 1.0]]) @ turn * scale / 3600
    found.wcs.set()
    return found


def distorted() -> WCS:
    header = world().to_header()
    header["CTYPE1"], header["CTYPE2"] = "RA---TAN-SIP", "DEC--TAN-SIP"
    header.update({"A_ORDER": 2, "B_ORDER": 2, "A_2_0": 3e-5, "B_0_2": -2e-5, "A_1_1": 1e-5})
    return WCS(header)


def star_field(seed=2, number=30, sigma=1.7, background=0.0):
    """An image, its stars' places and fluxes; stars stand apart and away from the edges."""
    rng = np.random.default_rng(seed)
    places: list[np.ndarray] = []
    while len(places) < number:
        one = rng.uniform(60, np.array(SHAPE[::-1]) - 60)
        if all(np.hypot(*(one - other)) > 26 for other in places):
            places.append(one)
    flux = 10 ** rng.uniform(3.5, 5, number)
    y, x = np.indices(SHAPE)
    image = np.full(SHAPE, background)
    for (px, py), light in zip(places, flux, strict=True):
        image += light / (2 * np.pi * sigma**2) * np.exp(-((x - px) ** 2 + (y - py) ** 2) / 2 / sigma**2)
    return image.astype(np.float32), np.array(places), flux


def aperture(image, x, y, radius):
    """The sum within a circle, pixels divided finely at its rim, and the light's centre."""
    reach = int(radius) + 3
    row, column = round(float(y)), round(float(x))
    part = image[row - reach : row + reach + 1, column - reach : column + reach + 1].astype(float)
    fine = (np.arange(11) - 5) / 11
    dy = np.arange(row - reach, row + reach + 1)[:, None] + fine
    dx = np.arange(column - reach, column + reach + 1)[:, None] + fine
    inside = ((dy.ravel()[:, None] - y) ** 2 + (dx.ravel()[None, :] - x) ** 2) < radius**2
    share = inside.reshape(part.shape[0], 11, part.shape[1], 11).mean(axis=(1, 3))
    light = part * share
    rows, columns = np.indices(part.shape)
    total = light.sum()
    centre = (light * columns).sum() / total + column - reach, (light * rows).sum() / total + row - reach
    return total, centre


GRIDS = [(1.0, 0.0), (1.0, 33.0), (0.6, 10.0), (0.8, 90.0), (0.97, 0.0), (1.15, -71.0), (1.9, 20.0)]


@pytest.mark.parametrize("interpolation", ["bilinear", "lanczos3"])
@pytest.mark.parametrize(("scale", "turn"), GRIDS)
def test_flux_and_places_of_stars_are_kept(interpolation, scale, turn):
    image, places, _ = star_field()
    shape = tuple(int(one / min(scale, 1.0) * 1.1) for one in SHAPE)
    grid = world(scale, turn, ra=40.0 + 0.3 / 3600, shape=shape)
    registration = Registration("wcs", worlds=(grid, world()))
    found = resample(image, None, None, registration, shape, interpolation)
    x, y = registration.to_reference(places[:, 0], places[:, 1])
    inside = (x > 25) & (y > 25) & (x < shape[1] - 25) & (y < shape[0] - 25)
    assert inside.sum() > 12
    before, after, apart = [], [], []
    for (px, py), qx, qy in zip(places[inside], x[inside], y[inside], strict=True):
        before.append(aperture(image, px, py, 10.0)[0])
        total, centre = aperture(found.data, qx, qy, 10.0 / scale)
        after.append(total)
        apart.append(np.hypot(centre[0] - qx, centre[1] - qy))
    ratio = np.array(after) / np.array(before)
    beats = interpolation == "bilinear" and scale != 1
    assert np.abs(ratio - 1).max() < (6e-3 if beats else 1e-3)
    assert np.max(apart) < (0.03 if beats else 0.02)


@pytest.mark.parametrize("grid", [world(1.0, 12.0), world(0.9, 200.0), world(1.1, 5.0, ra=40.02), distorted()])
def test_pixels_are_those_of_reproject(grid):
    image, _, _ = star_field(background=100.0)
    here = world()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted, _ = reproject_interp((image, here), grid, SHAPE, order="bilinear", roundtrip_coords=False)
    found = resample(image, None, None, Registration("wcs", worlds=(grid, here)), SHAPE)
    both = np.isfinite(wanted) & (found.weight >= 0.999)
    assert both.mean() > 0.5
    pixels = PixelMap.of(Registration("wcs", worlds=(grid, here)), SHAPE)
    area = pixels.positions(*(np.arange(size, dtype=float) for size in SHAPE))[2]
    slope = float(np.hypot(*np.gradient(image)).max())
    # What a hundredth of a pixel would change at the steepest place of the brightest star.
    np.testing.assert_allclose(found.data[both], (wanted * area)[both], atol=0.01 * slope, rtol=2e-4)
    assert ((found.weight > 0) == np.isfinite(wanted)).mean() > 0.985


@pytest.mark.parametrize(
    ("grid", "there"),
    [
        (world(1.0, 12.0), world()),
        (distorted(), world()),
        (world(20.0, 3.0, projection="SIN"), world(20.0)),
        (world(90.0, 0.0, projection="ARC"), world(90.0, 40.0)),
    ],
)
def test_places_between_the_nets_points_are_good_to_a_hundredth_of_a_pixel(grid, there):
    registration = Registration("wcs", worlds=(grid, there))
    pixels = PixelMap.of(registration, SHAPE)
    rows, columns = np.arange(0, SHAPE[0], 7.0), np.arange(0, SHAPE[1], 7.0)
    x, y, _ = pixels.positions(rows, columns)
    true = registration.to_frame(*np.meshgrid(columns, rows))
    assert np.hypot(x - true[0], y - true[1]).max() < 0.01


def test_galactic_and_equatorial_grids_meet_on_the_sky():
    galactic = WCS(naxis=2)
    galactic.wcs.ctype = ["GLON-CAR", "GLAT-CAR"]
    galactic.wcs.crval = [0.0, 0.0]
    galactic.wcs.cdelt = [-5 / 3600, 5 / 3600]
    galactic.wcs.crpix = [100.0, 100.0]
    galactic.wcs.set()
    there = world(5.0, 0.0, ra=266.405, dec=-28.936)
    x, y = Registration("wcs", worlds=(galactic, there)).to_frame(np.array([99.0]), np.array([99.0]))
    sky = galactic.pixel_to_world(99.0, 99.0).icrs
    wanted = there.world_to_pixel(sky)
    np.testing.assert_allclose([x[0], y[0]], np.ravel(wanted), atol=1e-6)


def awkward(seed=5):
    """An image with all that may stand in one: gaps, bad, saturated and struck pixels."""
    image, _, _ = star_field(seed, background=50.0)
    rng = np.random.default_rng(seed)
    mask = np.zeros(SHAPE, np.uint16)
    for bit in (MaskBit.HOT, MaskBit.SATURATED, MaskBit.COSMIC_RAY, MaskBit.NO_DATA):
        mask[rng.integers(0, SHAPE[0], 400), rng.integers(0, SHAPE[1], 400)] |= int(bit)
    image[rng.integers(0, SHAPE[0], 200), rng.integers(0, SHAPE[1], 200)] = np.nan
    image[:, 40:44] = np.inf
    return image, mask, np.sqrt(np.abs(np.nan_to_num(image, posinf=0.0)) + 9).astype(np.float32)


@pytest.mark.skipif(not available(), reason="Numba is not installed")
@pytest.mark.parametrize("interpolation", resampling.INTERPOLATIONS)
@pytest.mark.parametrize("feather", [0.0, 25.0])
@pytest.mark.parametrize("planes", ["all", "none"])
def test_compiled_and_plain_loops_give_the_same(interpolation, feather, planes):
    image, mask, spread = awkward()
    if planes == "none":
        mask, spread = None, None
    pixels = PixelMap.of(Registration("wcs", worlds=(world(1.03, 27.0), world())), SHAPE, SHAPE)
    edges = np.array([0.0, SHAPE[0] - 1, 0.0, SHAPE[1] - 1])
    top, bottom, left, right = pixels.box
    found = [
        resample_block(image, mask, spread, pixels, (top, bottom), (left, right), way, edges=edges)
        for way in (Way.of(interpolation, 1e9, feather), Way(interpolation, feather))
    ]
    assert (found[0].weight > 0).mean() > 0.4
    for name in ("data", "mask", "weight", *(["variance"] if spread is not None else [])):
        np.testing.assert_array_equal(getattr(found[0], name), getattr(found[1], name), err_msg=name)


def test_unusable_pixels_take_no_part_and_their_neighbours_fill_in():
    image = np.full(SHAPE, 100.0, np.float32)
    mask = np.zeros(SHAPE, np.uint16)
    mask[100, 100], image[100, 100] = int(MaskBit.HOT), 6e4
    mask[150, 150], image[150, 150] = int(MaskBit.SATURATED), 5e4
    mask[50:60, 50:60] = int(MaskBit.NO_DATA)
    registration = Registration("stars", np.array([[1.0, 0.0, 0.3], [0.0, 1.0, 0.4]]))
    found = resample(image, mask, None, registration, SHAPE, "lanczos3")
    assert found.data[98:103, 98:103].max() == pytest.approx(100, abs=0.1)
    assert (found.mask[149:151, 149:151] & int(MaskBit.SATURATED) != 0).all()
    assert (found.weight[52:58, 52:58] == 0).all()
    assert (found.mask[52:58, 52:58] & int(MaskBit.NO_DATA) != 0).all()


def test_any_part_of_the_grid_is_as_in_the_whole():
    image, mask, spread = awkward()
    registration = Registration("wcs", worlds=(world(0.9, 40.0), world()))
    pixels = PixelMap.of(registration, SHAPE, SHAPE)
    whole = resample(image, mask, spread, registration, SHAPE)
    top, bottom, left, right = pixels.box
    for rows, columns in (((top, top + 37), (left, right)), ((top + 37, bottom), (left + 60, left + 131))):
        found = resample_block(image, mask, spread, pixels, rows, columns, Way())
        part = np.s_[rows[0] : rows[1], columns[0] : columns[1]]
        for name in ("data", "mask", "weight", "variance"):
            np.testing.assert_array_equal(getattr(found, name), getattr(whole, name)[part], err_msg=name)


def test_another_interpolation_is_refused_with_those_there_are():
    with pytest.raises(ProcessingError, match="nearest, bilinear, lanczos3"):
        Way.of("sinc", 1)
