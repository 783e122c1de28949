"""HiPS: the sky that went in can be read from the tiles, whoever reads them."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from fields import SHAPE, Sky, world

from avcd.compose.hips import TILE_PX, Sheet, order_of, write_hips
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


def test_a_survey_of_nothing_is_refused(tmp_path):
    with pytest.raises(ProcessingError, match="at least one"):
        write_hips([], tmp_path / "sky")
