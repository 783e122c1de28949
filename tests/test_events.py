"""Event lists become images: every event counted once, sources where they are, bands by their energies."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from PIL import Image

from avcd.products import read_image_product, verify_fits
from cli_calls import Call

CENTRE = (350.85, 58.815)
STEP = 0.492 / 3600
# Sources: place on the sky from the centre [arcsec], events, energies [eV]: soft, medium and hard.
SOURCES = {
    "soft": (-40.0, 25.0, 400, (600, 1400)),
    "medium": (30.0, 40.0, 500, (1600, 2900)),
    "hard": (10.0, -45.0, 600, (3100, 6900)),
}
BANDS = {"soft": "0.5-1.5keV", "medium": "1.5-3keV", "hard": "3-7keV"}


def place_of(name: str) -> SkyCoord:
    east, north = SOURCES[name][:2]
    return SkyCoord(*CENTRE, unit="deg").spherical_offsets_by(east * units.arcsec, north * units.arcsec)


def write_events(path, telescope="CHANDRA"):
    """An event list with three sources and a background; returns how many events are in each band."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = ["RA---TAN", "DEC--TAN"], CENTRE, [4096.5, 4096.5]
    wcs.wcs.cdelt = [-STEP, STEP]
    rng = np.random.default_rng(8)
    x, y, energy = [rng.uniform(3900, 4300, 900)], [rng.uniform(3900, 4300, 900)], [rng.uniform(300, 9000, 900)]
    for name, (_, _, number, (low, high)) in SOURCES.items():
        px, py = wcs.all_world2pix([[place_of(name).ra.deg, place_of(name).dec.deg]], 1)[0]
        x.append(rng.normal(px, 1.0, number))
        y.append(rng.normal(py, 1.0, number))
        energy.append(rng.uniform(low, high, number))
    x, y, energy = (np.concatenate(one) for one in (x, y, energy))
    columns = [
        fits.Column("time", "1D", array=np.arange(len(x))),
        fits.Column("X", "1E", array=x),
        fits.Column("Y", "1E", array=y),
    ]
    if telescope == "XMM":
        energy = np.rint(energy)
        columns.append(fits.Column("PI", "1I", array=energy.astype(np.int16), unit="CHAN"))
    else:
        columns.append(fits.Column("energy", "1E", unit="eV", array=energy))
    table = fits.BinTableHDU.from_columns(columns, name="EVENTS")
    table.header.update(
        {
            "TELESCOP": telescope,
            "INSTRUME": "ACIS",
            "OBJECT": "Cas A",
            "EXPOSURE": 5000.0,
            "DATE-OBS": "2004-02-08T00:00:00",
        }
    )
    for axis, column in enumerate("XY" if telescope == "XMM" else "23"):
        stems = (
            ("TCTYP", "TCRPX", "TCRVL", "TCDLT")
            if telescope != "XMM"
            else (f"REF{column}{one}" for one in ("CTYP", "CRPX", "CRVL", "CDLT"))
        )
        values = wcs.wcs.ctype[axis], 4096.5, CENTRE[axis], wcs.wcs.cdelt[axis]
        for stem, value in zip(stems, values, strict=True):
            table.header[stem if telescope == "XMM" else f"{stem}{column}"] = value
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(path)
    energy = energy.astype(np.float32)
    return {name: int(((energy >= low) & (energy < high)).sum()) for name, (low, high) in
            {"soft": (500, 1500), "medium": (1500, 3000), "hard": (3000, 7000)}.items()}  # fmt: skip


@pytest.fixture
def call(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Call(capsys)


@pytest.mark.parametrize("telescope", ["CHANDRA", "XMM"])
def test_every_event_is_counted_once_and_sources_are_where_they_are(call, tmp_path, telescope):
    numbers = write_events(tmp_path / "acis.fits", telescope)
    said = call("bin", "acis.fits", "-o", "bands")
    assert said.code == 0, said.err
    assert said.out.split() == [f"bands/acis_{band}.fits" for band in BANDS.values()]
    for name, band in BANDS.items():
        path = tmp_path / "bands" / f"acis_{band}.fits"
        verify_fits(path)
        content = read_image_product(path)
        assert content.data.sum() == numbers[name]
        assert (content.unit, content.header["FILTER"]) == ("ct", band.replace("keV", " keV"))
        assert content.header["EXPTIME"] == 5000
        wcs = WCS(content.header)
        rows, columns = np.indices(content.data.shape)
        x, y = (float(one) for one in wcs.world_to_pixel(place_of(name)))
        near = content.data * (np.hypot(columns - x, rows - y) < 6)
        assert near.sum() > 0.95 * SOURCES[name][2]
        middle = wcs.pixel_to_world((columns * near).sum() / near.sum(), (rows * near).sum() / near.sum())
        assert (
            middle.separation(place_of(name)).arcsec < 0.12
        )  # of four hundred events that scatter by half an arcsecond
        for other in set(BANDS) - {name}:
            x, y = (float(one) for one in wcs.world_to_pixel(place_of(other)))
            assert (content.data * (np.hypot(columns - x, rows - y) < 6)).sum() < 15


def test_a_band_and_a_pixel_of_ones_own(call, tmp_path):
    write_events(tmp_path / "acis.fits")
    for scale, name in (("0.492", "fine.fits"), ("1.3", "coarse.fits")):
        said = call("bin", "acis.fits", "--energy", "500:1200", "--pixel-scale", scale, "-o", name)
        assert said.code == 0, said.err
    fine, coarse = (read_image_product(tmp_path / name) for name in ("fine.fits", "coarse.fits"))
    assert fine.data.sum() == coarse.data.sum() > 0
    assert abs(WCS(coarse.header).wcs.cdelt[1]) * 3600 == pytest.approx(1.3)
    places = [
        WCS(one.header).pixel_to_world(*np.array(np.unravel_index(one.data.argmax(), one.data.shape))[::-1])
        for one in (fine, coarse)
    ]
    assert places[0].separation(places[1]).arcsec < 1.5
    assert (
        "is there already"
        in call("bin", "acis.fits", "--energy", "500:1200", "--pixel-scale", "1.3", "-o", "coarse.fits").err
    )


def test_an_event_list_makes_a_picture_with_each_band_in_its_colour(call, tmp_path):
    write_events(tmp_path / "acis.fits")
    said = call(
        "rgb",
        "acis.fits",
        "--palette",
        "chandra",
        "--mode",
        "scientific",
        "--interval",
        "0:20",
        "--stretch",
        "linear",
        "-o",
        "cas.png",
    )
    assert said.code == 0, said.err
    with Image.open(tmp_path / "cas.png") as image:
        picture = np.asarray(image.convert("RGB")).astype(int)[::-1]
    call("bin", "acis.fits", "--energy", "soft", "-o", "soft.fits")
    wcs = WCS(fits.getheader(tmp_path / "soft.fits"))
    for colour, name in enumerate(("soft", "medium", "hard")):
        x, y = (round(float(one)) for one in wcs.world_to_pixel(place_of(name)))
        light = picture[y - 2 : y + 3, x - 2 : x + 3].sum(axis=(0, 1))
        assert light.argmax() == colour
        assert light[colour] > 5 * np.delete(light, colour).max()


def test_what_is_missing_is_named(call, tmp_path):
    write_events(tmp_path / "acis.fits")
    with fits.open(tmp_path / "acis.fits") as hdus:
        del hdus[1].header["TCTYP2"]
        hdus.writeto(tmp_path / "nowhere.fits")
    assert (
        "column X does not say where on the sky it is (TCTYP2"
        in call("bin", "nowhere.fits", "-o", "x.fits", "-e", "soft").err
    )
    fits.PrimaryHDU(np.zeros((8, 8), np.float32)).writeto(tmp_path / "image.fits")
    assert "0 event lists" in call("bin", "image.fits", "-o", "x.fits", "-e", "soft").err
    assert call("bin", "acis.fits", "-o", "x.fits", "-e", "warm").code == 2
    assert "need a directory" in call("bin", "acis.fits", "-o", "x.fits").err
