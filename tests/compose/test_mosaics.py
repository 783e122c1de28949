"""Tiles with backgrounds of their own become one picture without seams; other programs' mosaics are no better."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.wcs import WCS

from avcd.compose import coadding, engines, resampling
from avcd.compose.grids import Grid, best_grid
from avcd.compose.mapping import Registration
from avcd.compose.mosaics import Soundness, StripFigures, Tile, plan_mosaic
from avcd.errors import ProcessingError
from avcd.frame import MaskBit

SIDE, NOISE = 320, 10.0
PARAMETERS = {"interpolation": "bilinear", "match": "plane", "feather_px": 30.0, "weighted": True}
MEMORY = 64 * 2**20


def place(dx: float, dy: float, turn_deg: float) -> WCS:
    """World coordinates of a tile whose middle lies so many pixels from the mosaic's."""
    found = WCS(naxis=2)
    found.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    found.wcs.crval = [150.0 - dx / 3600 / np.cos(np.radians(2)), 2.0 + dy / 3600]
    found.wcs.crpix = [SIDE / 2 + 0.5, SIDE / 2 + 0.5]
    angle = np.radians(turn_deg)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    found.wcs.cd = np.array([[-1.0, 0.0], [0.0, 1.0]]) @ turn / 3600
    found.wcs.set()
    return found


class Field:
    """Ten overlapping tiles of one sky, with constant, planar and curved offsets that are known."""

    def __init__(self, seed: int = 3, slope: float = 40.0, curve: float = 0.0, stars: int = 400):
        rng = np.random.default_rng(seed)
        v, u = (np.indices((SIDE, SIDE)) + 0.5) / SIDE - 0.5
        self.worlds, self.images, self.offsets = [], [], []
        first = place(0, 0, 0)
        xy = rng.uniform(-3.0 * SIDE, 3.0 * SIDE, (stars, 2))
        sky = first.pixel_to_world(*(xy + SIDE / 2).T)
        flux = 10 ** rng.uniform(3, 4.8, stars)
        for row in range(2):
            for column in range(5):
                dx, dy = 0.82 * SIDE * (column - 2) + rng.uniform(-4, 4), 0.82 * SIDE * (row - 0.5) + rng.uniform(-4, 4)
                wcs = place(-dx, dy, rng.uniform(-1, 1))
                a, b, c = rng.uniform(-100, 100), *rng.uniform(-slope, slope, 2)
                q = rng.uniform(-curve, curve, 3)
                offset = a + b * u + c * v + q[0] * u * u + q[1] * u * v + q[2] * v * v
                image = 1000 + offset + rng.normal(0, NOISE, (SIDE, SIDE))
                _add_stars(image, *wcs.world_to_pixel(sky), flux)
                self.worlds.append(wcs)
                self.images.append(image.astype(np.float32))
                self.offsets.append(offset)
        self.grid = best_grid([(wcs, (SIDE, SIDE)) for wcs in self.worlds])

    def tiles(self, grid: Grid | None = None) -> list[Tile]:
        grid = grid or self.grid
        return [
            Tile(image, None, None, Registration("wcs", worlds=(grid.wcs, wcs)))
            for image, wcs in zip(self.images, self.worlds, strict=True)
        ]


def _add_stars(image, x, y, flux, sigma=1.6):
    for px, py, light in zip(x, y, flux, strict=True):
        i, j = round(float(px)), round(float(py))
        if 8 <= i < SIDE - 8 and 8 <= j < SIDE - 8:
            rows, columns = np.mgrid[j - 8 : j + 9, i - 8 : i + 9]
            shape = np.exp(-((columns - px) ** 2 + (rows - py) ** 2) / 2 / sigma**2)
            image[j - 8 : j + 9, i - 8 : i + 9] += light / (2 * np.pi * sigma**2) * shape


def whole(mosaic):
    strips = list(mosaic.strips(lambda one: one))
    return {
        name: np.concatenate([getattr(one, name) for one in strips])
        for name in ("data", "mask", "uncertainty", "weight", "coverage")
    }


def steps(field: Field, mosaic) -> np.ndarray:
    """What is left between every two tiles that meet, beside their offsets, in units of the noise: level differences of their overlaps."""
    found = []
    layers = mosaic.matched.layers
    rows, columns = field.grid.shape
    y, x = np.arange(0, rows, 6), np.arange(0, columns, 6)
    left = []
    for layer, offset in zip(layers, field.offsets, strict=True):
        px, py, _ = layer.pixels.positions(y.astype(float), x.astype(float))
        inside = (px >= 0) & (py >= 0) & (px <= SIDE - 1) & (py <= SIDE - 1)
        i, j = (np.where(inside, one, 0).round().astype(int) for one in (px, py))
        left.append(np.where(inside, offset[j, i] - layer.sky_at(y, x), np.nan))
    for a in range(len(left)):
        for b in range(a):
            difference = left[a] - left[b]
            if np.isfinite(difference).sum() > 30:
                found.append(np.sqrt(np.nanmean(difference**2)))
    return np.array(found) / NOISE


@pytest.mark.parametrize(("match", "slope"), [("level", 0.0), ("plane", 40.0)])
def test_known_offsets_are_found_to_a_twentieth_of_the_noise(match, slope):
    field = Field(slope=slope)
    mosaic = plan_mosaic(field.tiles(), field.grid, {**PARAMETERS, "match": match}, MEMORY)
    assert mosaic.matched.before > 3 * NOISE
    assert len(steps(field, mosaic)) >= 13
    assert steps(field, mosaic).max() < 0.05


def test_curved_gradients_need_curved_surfaces():
    field = Field(curve=30.0)
    planes = steps(field, plan_mosaic(field.tiles(), field.grid, PARAMETERS, MEMORY)).max()
    curved = steps(field, plan_mosaic(field.tiles(), field.grid, {**PARAMETERS, "match": "curved"}, MEMORY)).max()
    assert planes > 0.1
    assert curved < 0.06


def test_stars_do_not_pull_the_background():
    field = Field(stars=6000)
    mosaic = plan_mosaic(field.tiles(), field.grid, PARAMETERS, MEMORY)
    assert steps(field, mosaic).max() < 0.07


def test_light_is_kept_and_what_is_claimed_of_the_noise_is_true():
    field = Field(slope=0.0, stars=0)
    found = whole(plan_mosaic(field.tiles(), field.grid, {**PARAMETERS, "interpolation": "nearest"}, MEMORY))
    single = found["coverage"] == 1
    assert np.std(found["data"][single]) == pytest.approx(np.median(found["uncertainty"][single]), rel=0.1)
    double = found["coverage"] == 2
    assert np.median(found["uncertainty"][double]) < 0.95 * np.median(found["uncertainty"][single])
    assert (found["mask"][found["coverage"] == 0] & int(MaskBit.NO_DATA) != 0).all()
    assert np.isnan(found["data"][found["coverage"] == 0]).all()
    np.testing.assert_array_equal(found["weight"] > 0, found["coverage"] > 0)


def test_strips_and_loops_never_change_the_result(monkeypatch):
    field = Field(stars=50)
    field.images[3][100:140, 50:90] = np.nan
    masks = [np.zeros((SIDE, SIDE), np.uint16) for _ in field.images]
    masks[2][10:200, 200:230] = int(MaskBit.SATURATED)
    masks[4][10:30, :] = int(MaskBit.HOT)
    tiles = [
        Tile(one.data, mask, np.sqrt(one.data), one.registration)
        for one, mask in zip(field.tiles(), masks, strict=True)
    ]
    plain = whole(plan_mosaic(tiles, field.grid, PARAMETERS, MEMORY))
    monkeypatch.setattr(coadding, "_MOST_ROWS", 37)
    monkeypatch.setattr(coadding, "_CHUNK", 100)
    monkeypatch.setattr(resampling, "_WORTH_COMPILING", 1)
    other = whole(plan_mosaic(tiles, field.grid, PARAMETERS, MEMORY))
    for name in plain:
        np.testing.assert_array_equal(plain[name], other[name], err_msg=name)


def test_what_is_saturated_counts_only_where_nothing_is_better():
    field = Field(slope=0.0, stars=0)
    tiles = field.tiles()
    mask = np.full((SIDE, SIDE), int(MaskBit.SATURATED), np.uint16)
    tiles[0] = Tile(np.full((SIDE, SIDE), 6e4, np.float32), mask, None, tiles[0].registration)
    found = whole(plan_mosaic(tiles, field.grid, {**PARAMETERS, "match": "none"}, MEMORY))
    bright = found["data"] > 5e4
    assert bright.any()
    assert (found["mask"][bright] & int(MaskBit.SATURATED) != 0).all()
    assert (found["coverage"][bright] == 1).all()


def test_gaps_and_false_light_are_told():
    field = Field(stars=0)
    tiles = [tile for index, tile in enumerate(field.tiles()) if index not in (2, 7)]
    tiles[0].data[50, 50] = 1e10
    mosaic = plan_mosaic(tiles, field.grid, PARAMETERS, MEMORY)
    soundness = Soundness()
    for figures in mosaic.strips(lambda one: StripFigures.of(one, field.grid.shape[0] * field.grid.shape[1])):
        soundness.add(figures)
    said = " ".join(soundness.warnings())
    assert "without a value" in said
    assert "times the faintest" in said
    assert mosaic.matched.groups == 2


def test_a_grid_somewhere_else_is_an_error():
    field = Field(stars=0)
    far = place(90000, 0, 0)
    with pytest.raises(ProcessingError, match="none of the images lies on the grid"):
        plan_mosaic(field.tiles(Grid(far, (100, 100))), Grid(far, (100, 100)), PARAMETERS, MEMORY)


@pytest.mark.parametrize("by", ["swarp", "montage", "montage's programs"])
def test_other_programs_make_the_same_picture_with_seams_no_smaller(by, monkeypatch):
    engine = by.split("'")[0]
    if by != engine:
        monkeypatch.setattr(engines, "_package", lambda: None)
    if not engines.is_installed(engine):
        pytest.skip(f"{engine} is not installed (Debian's package {engine}, or the extra montage)")
    field = Field(stars=0)
    mosaic = plan_mosaic(field.tiles(), field.grid, PARAMETERS, MEMORY)
    ours = whole(mosaic)["data"]
    theirs, weight = engines.mosaic_by(engine, mosaic.matched.layers, field.grid, PARAMETERS)
    assert theirs.shape == ours.shape
    both = np.isfinite(ours) & (weight > 0)
    assert both.sum() > 0.98 * np.isfinite(ours).sum()
    # Their backgrounds are their own: on a scale of stars the two are one picture.
    difference = (ours - theirs)[both]
    assert 1.4826 * np.median(np.abs(difference - np.median(difference))) < 2 * NOISE
    assert edge_steps(ours, field) <= edge_steps(theirs, field) + 0.02


def edge_steps(image: np.ndarray, field: Field) -> float:
    """The root mean square of the steps across all tiles' edges, in units of the noise."""
    rows, columns = np.indices(image.shape)
    seen = np.isfinite(image)
    terms = np.stack([np.ones(seen.sum()), columns[seen], rows[seen]], axis=1)
    # One plane over all of it is no seam.
    image = image - np.tensordot(
        np.linalg.lstsq(terms, image[seen], rcond=None)[0], np.stack([np.ones_like(rows), columns, rows]), 1
    )
    found = []
    for wcs in field.worlds:
        for side in range(4):
            for part in np.linspace(0.15, 0.85, 6):
                levels = []
                for depth in (-14, 14):
                    along, across = part * SIDE, (depth if side < 2 else SIDE - 1 - depth)
                    x, y = (across, along) if side % 2 else (along, across)
                    px, py = field.grid.wcs.world_to_pixel(wcs.pixel_to_world(x, y))
                    i, j = round(float(px)), round(float(py))
                    part_of = image[max(j - 12, 0) : j + 13, max(i - 12, 0) : i + 13]
                    levels.append(
                        np.nanmean(part_of) if part_of.size > 500 and np.isfinite(part_of).mean() > 0.9 else np.nan
                    )
                found.append(levels[0] - levels[1])
    values = np.array(found)[np.isfinite(found)]
    assert len(values) > 30
    return float(np.sqrt(np.mean(values**2)) / NOISE)
