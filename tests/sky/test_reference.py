"""The bundled table against stars whose positions and magnitudes are known from elsewhere (Hipparcos, SIMBAD)."""

from __future__ import annotations

import numpy as np
import pytest

from avcd.sky.reference import BUNDLED, Tycho2, pack_stars

KNOWN = {
    "Deneb": (310.357980, 45.280339, 1.31),
    "HD 209458": (330.794891, 18.884319, 7.70),
    "sigma Oct": (317.195, -88.956500, 5.45),
}


@pytest.fixture(scope="module")
def tycho() -> Tycho2:
    return Tycho2()


def separation_deg(ra, dec, other_ra, other_dec):
    def vector(r, d):
        r, d = np.radians(r), np.radians(d)
        return np.stack([np.cos(d) * np.cos(r), np.cos(d) * np.sin(r), np.sin(d)], axis=-1)

    return np.degrees(2 * np.arcsin(np.linalg.norm(vector(ra, dec) - vector(other_ra, other_dec), axis=-1) / 2))


@pytest.mark.parametrize("name", KNOWN)
def test_known_stars_stand_where_they_should(tycho, name):
    ra, dec, magnitude = KNOWN[name]
    found = tycho.cone(ra, dec, 3 / 3600)
    assert len(found) >= 1
    assert separation_deg(found.ra_deg[0], found.dec_deg[0], ra, dec) * 3600 < 1.0
    assert found.mag[0] == pytest.approx(magnitude, abs=0.15)


def test_whole_sky_is_there_in_fifteen_megabytes(tycho):
    assert len(tycho) == 1_871_011
    assert BUNDLED.stat().st_size <= 15_000_000
    assert b"Hog et al. 2000" in BUNDLED.read_bytes()[:1024]


@pytest.mark.parametrize(
    "centre", [(0.0, 0.0), (359.95, -30.2), (0.02, 60.0), (123.0, 90.0), (77.0, -89.7), (200.0, 89.2)]
)
def test_cone_holds_exactly_the_stars_within_it(tycho, centre):
    radius = 0.8
    everything = tycho.cone(*centre, 180.0)
    assert len(everything) == len(tycho)
    wanted = np.count_nonzero(separation_deg(everything.ra_deg, everything.dec_deg, *centre) <= radius)
    found = tycho.cone(*centre, radius)
    assert len(found) == wanted > 20
    assert np.all(separation_deg(found.ra_deg, found.dec_deg, *centre) <= radius + 1e-9)


def test_cone_gives_the_brightest_first_and_no_more_than_asked(tycho):
    found = tycho.cone(56.87, 24.1, 2.0)
    assert np.all(np.diff(found.mag) >= 0)
    few = tycho.cone(56.87, 24.1, 2.0, limit=10)
    assert len(few) == 10
    np.testing.assert_array_equal(few.ra_deg, found.ra_deg[:10])


def test_packing_and_reading_back_keeps_positions_and_magnitudes(tmp_path):
    generator = np.random.default_rng(4)
    ra = generator.uniform(0, 360, 500)
    dec = np.degrees(np.arcsin(generator.uniform(-1, 1, 500)))
    ra[:3], dec[:3] = [0.0, 359.99999, 10.0], [90.0, -90.0, 0.0]
    mag = generator.uniform(2, 12, 500)
    path = tmp_path / "stars.bin"
    path.write_bytes(pack_stars(ra, dec, mag))
    back = Tycho2(path).cone(0, 0, 180.0)
    assert len(back) == 500
    distance = separation_deg(back.ra_deg[:, None], back.dec_deg[:, None], ra[None], dec[None])
    partner = distance.argmin(axis=1)
    assert sorted(partner) == list(range(500))
    assert distance.min(axis=1).max() * 3600 < 0.05
    assert np.abs(back.mag - mag[partner]).max() <= 1 / 32 + 1e-9


def test_a_file_that_is_no_table_is_refused(tmp_path):
    path = tmp_path / "other.bin"
    path.write_bytes(b"x" * 4000)
    with pytest.raises(ValueError, match="no table of reference stars"):
        Tycho2(path)
