"""HiPS: the sky that went in can be read from the tiles, whoever reads them."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.coordinates import ICRS, SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from astropy.wcs.utils import proj_plane_pixel_scales
from astropy_healpix import HEALPix
from fields import SHAPE, Sky, world

from avcd.compose.hips import TILE_PX, Sheet, order_of, write_hips
from avcd.compose.moc import tiles_of, write_moc
from avcd.errors import ProcessingError
from avcd.frame import MaskBit


def brightest(directory, order) -> SkyCoord:
    best, where = -np.inf, None
    for path in sorted((directory / f"Norder{order}").rglob("*.fits")):
        with fits.open(path) as hdus:
            data, wcs = hdus[0].data, WCS(hdus[0].header)
        if np.nanmax(data) > best:
            best = float(np.nanmax(data))
            y, x = np.unravel_index(np.nanargmax(data), data.shape)
            where = wcs.pixel_to_world(x, y)
    return where


def test_the_brightest_star_is_where_it_was_and_the_same_image_gives_the_same_bytes(tmp_path):
    sky = Sky(5, seed=3)
    data, stars = sky.frame(noise=0.5)
    sheet = Sheet(world(), data)
    assert order_of([sheet]) == 9
    for name in ("one", "two"):
        assert write_hips([sheet], tmp_path / name, order=8) > 9
    truth = world().pixel_to_world(*stars[0])
    assert brightest(tmp_path / "one", 8).separation(truth).arcsec < 2.5
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file())
    assert all((tmp_path / "one" / one).read_bytes() == (tmp_path / "two" / one).read_bytes() for one in files)
    said = (tmp_path / "one" / "properties").read_text()
    assert f"hips_tile_width      = {TILE_PX}" in said
    assert {int(path.name[6:]) for path in (tmp_path / "one").glob("Norder*")} == set(range(9))


def test_images_that_overlap_are_averaged_and_masked_pixels_are_empty(tmp_path):
    flat = np.full(SHAPE, 10.0, np.float32)
    mask = np.zeros(SHAPE, np.uint16)
    mask[:, :110] = int(MaskBit.NO_DATA)
    write_hips([Sheet(world(), flat), Sheet(world(), flat * 3, mask)], tmp_path / "sky", order=8)
    found = {}
    for path in (tmp_path / "sky" / "Norder8").rglob("*.fits"):
        with fits.open(path) as hdus:
            wcs = WCS(hdus[0].header)
            for name, (x, y) in {"left": (50, 100), "right": (170, 100), "outside": (400, 100)}.items():
                place = np.rint(wcs.world_to_pixel(world().pixel_to_world(x, y))).astype(int)
                if (place >= 0).all() and (place < TILE_PX).all():
                    found[name] = float(hdus[0].data[place[1], place[0]])
    assert found["left"] == pytest.approx(10)
    assert found["right"] == pytest.approx(20)
    assert np.isnan(found.get("outside", np.nan))


def test_of_many_images_each_counts_alike(tmp_path):
    levels = (10.0, 20.0, 60.0, 70.0)
    write_hips([Sheet(world(), np.full(SHAPE, one, np.float32)) for one in levels], tmp_path / "sky", order=6)
    for order in (4, 6):
        for _, path in tiles_of(tmp_path / "sky", order):
            np.testing.assert_allclose(np.nanmedian(fits.getdata(path)), 40.0, rtol=1e-6)
    assert not (tmp_path / "counts").exists()


def test_a_survey_of_nothing_is_refused(tmp_path):
    with pytest.raises(ProcessingError, match="at least one"):
        write_hips([], tmp_path / "sky")


# IVOA HiPS 1.0, section 4.4.1: what a survey must say of itself.
OBLIGATORY = {
    "creator_did", "obs_title", "dataproduct_type", "hips_version", "hips_release_date", "hips_status", "hips_frame", "hips_order",
    "hips_tile_format",
}  # fmt: skip


def properties(directory) -> dict[str, str]:
    lines = (directory / "properties").read_text().splitlines()
    return {name.strip(): value.strip() for name, _, value in (line.partition("=") for line in lines)}


def cells_of(path) -> tuple[np.ndarray, int]:
    """The cells of a MOC, all at its finest order."""
    with fits.open(path) as hdus:
        header, numbers = hdus[1].header, hdus[1].data["UNIQ"].astype(np.int64)
    assert (header["PIXTYPE"], header["ORDERING"], header["COORDSYS"]) == ("HEALPIX", "NUNIQ", "C")
    finest = header["MOCORDER"]
    found = []
    for number in numbers:
        order = (int(number).bit_length() - 1) // 2 - 1
        first = (int(number) - 4 * 4**order) << 2 * (finest - order)
        found.append(np.arange(first, first + 4 ** (finest - order)))
    return np.concatenate(found), finest


@pytest.mark.parametrize("frame", ["equatorial", "galactic"])
def test_a_survey_says_what_the_standard_demands_and_where_it_has_light(tmp_path, frame):
    data = np.full(SHAPE, 10.0, np.float32)
    about = {"creator_did": "ivo://avcd/P/1", "hips_release_date": "2026-01-15T20:00Z"}
    write_hips([Sheet(world(), data)], tmp_path / "sky", frame=frame, order=8, about=about)
    said = properties(tmp_path / "sky")
    assert set(said) >= OBLIGATORY
    assert (said["dataproduct_type"], said["hips_version"], said["hips_frame"]) == ("image", "1.4", frame)
    cells, order = cells_of(tmp_path / "sky" / "Moc.fits")
    assert order == 11
    grid = HEALPix(2**order, order="nested", frame=ICRS())
    rng = np.random.default_rng(2)
    x, y = rng.uniform(5, SHAPE[1] - 5, 300), rng.uniform(5, SHAPE[0] - 5, 300)
    assert np.isin(grid.skycoord_to_healpix(world().pixel_to_world(x, y)), cells).all()
    beyond = world().pixel_to_world(np.array([-400.0, SHAPE[1] + 400.0, 100.0]), np.array([100.0, 100.0, -400.0]))
    assert not np.isin(grid.skycoord_to_healpix(beyond), cells).any()
    area = np.prod(SHAPE) * np.prod(proj_plane_pixel_scales(world())) / 41252.96
    assert float(said["moc_sky_fraction"]) == pytest.approx(len(cells) / grid.npix, rel=1e-4)
    assert area < float(said["moc_sky_fraction"]) < 3 * area  # an image of few cells has many at its edge


def test_four_cells_become_one_larger(tmp_path):
    write_moc(tmp_path / "Moc.fits", np.array([*range(16), 20, 21]), 3)
    with fits.open(tmp_path / "Moc.fits") as hdus:
        assert hdus[1].data["UNIQ"].tolist() == [4 * 4 + 0, 4 * 64 + 20, 4 * 64 + 21]
    assert sorted(cells_of(tmp_path / "Moc.fits")[0]) == [*range(16), 20, 21]


def test_the_preview_shows_every_tile_of_the_third_order_in_its_place(tmp_path):
    write_hips([Sheet(world(), np.full(SHAPE, 10.0, np.float32))], tmp_path / "sky", order=4)
    whole = fits.getdata(tmp_path / "sky" / "Norder3" / "Allsky.fits")[::-1]
    assert whole.shape == (29 * 64, 27 * 64)
    lit = set()
    for number, path in tiles_of(tmp_path / "sky", 3):
        row, column = divmod(number, 27)
        part = whole[64 * row : 64 * row + 64, 64 * column : 64 * column + 64][::-1]
        tile = fits.getdata(path)
        assert np.nanmean(part) == pytest.approx(np.nanmean(tile), rel=1e-6)
        here, there = (np.argwhere(np.isfinite(one)).mean(axis=0) / len(one) for one in (part, tile))
        np.testing.assert_allclose(here, there, atol=0.02)
        lit.add(number)
    places = np.argwhere(np.isfinite(whole)) // 64
    assert {27 * row + column for row, column in places.tolist()} == lit
