"""APASS by tiles: the archive's very stars and magnitudes, each tile asked for once; zero points by it. No network."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from astropy.coordinates import angular_separation
from astropy.table import MaskedColumn, Table
from scenes import sources_of, world

from avcd.errors import TransientError
from avcd.sky.apass import Apass
from avcd.sky.zeropoint import measure_zero_point

RA, DEC = 200.0, -45.0
COLOURS = {"Vmag": 0.0, "Bmag": 0.7, "g_mag": 0.3, "r_mag": -0.2, "i_mag": -0.4}  # less V, of a star of mean colour


class Vizier:
    """Answers as VizieR does: primes are underscores, what was not measured is masked, no row is no table."""

    def __init__(self) -> None:
        rng = np.random.default_rng(2)
        self.ra = RA + rng.uniform(-0.8, 0.8, 900) / np.cos(np.radians(DEC))
        self.dec = DEC + rng.uniform(-0.8, 0.8, 900)
        self.v = rng.uniform(10, 16.5, 900)
        self.colour = rng.normal(0, 0.3, 900)
        self.unknown = rng.uniform(size=(5, 900)) < 0.1
        self.asked: list[dict] = []
        self.drops: tuple[str, ...] = ()
        self.fails = False

    def magnitudes(self, name: str) -> np.ndarray:
        return self.v + COLOURS[name] * (1 + self.colour)

    def query_constraints(self, catalog: str, **bounds: str) -> list[Table]:
        self.asked.append({"catalog": catalog, **bounds})
        if self.fails:
            raise ConnectionError("no route to host")
        (west, east), (south, north) = (
            (float(one) for one in re.fullmatch(r">=(-?[\d.]+) & <(-?[\d.]+)", bounds[name]).groups())
            for name in ("RAJ2000", "DEJ2000")
        )
        here = (self.ra >= west) & (self.ra < east) & (self.dec >= south) & (self.dec < north)
        if not here.any():
            return []
        table = Table({"RAJ2000": self.ra[here], "DEJ2000": self.dec[here]})
        for unknown, name in zip(self.unknown, COLOURS, strict=True):
            table[name] = MaskedColumn(self.magnitudes(name)[here], mask=unknown[here])
        table.remove_columns(list(self.drops))
        return [table]


def test_a_cone_holds_the_very_stars_with_a_magnitude_in_the_band(tmp_path):
    archive = Vizier()
    distance = np.degrees(angular_separation(*np.radians([RA, DEC]), np.radians(archive.ra), np.radians(archive.dec)))
    for row, (band, name) in enumerate(zip(Apass.bands, COLOURS, strict=True)):
        found = Apass(tmp_path, archive).in_band(band).cone(RA, DEC, 0.4)
        near = (distance < 0.4) & ~archive.unknown[row]
        assert len(found) == near.sum() > 50
        np.testing.assert_allclose(found.mag, np.sort(archive.magnitudes(name)[near]))
    assert {one["catalog"] for one in archive.asked} == {"II/336/apass9"}
    assert len({str(one) for one in archive.asked}) == len(archive.asked)
    assert len(Apass(tmp_path).cone(RA, DEC, 0.4)) > 50  # without the archive, by what is kept
    assert len(Apass(tmp_path, archive).cone(20.0, 40.0, 0.1)) == 0
    assert len(Apass(tmp_path, archive).cone(RA, DEC, 9.0)) == 0


def test_what_is_no_answer_is_told_and_not_kept(tmp_path):
    archive = Vizier()
    archive.fails = True
    with pytest.raises(TransientError, match="VizieR does not answer: no route"):
        Apass(tmp_path, archive).cone(RA, DEC, 0.1)
    archive.fails, archive.drops = False, ("r_mag",)
    with pytest.raises(TransientError, match="r'mag"):
        Apass(tmp_path, archive).cone(RA, DEC, 0.1)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("band", ["B", "V", "g", "r", "i"])
def test_the_zero_point_of_each_band_comes_back_with_its_scatter_and_stars(tmp_path, band):
    archive, shape, seconds, truth, scatter = Vizier(), (1000, 1200), 30.0, 22.3, 0.03
    rng = np.random.default_rng(5)
    wcs = world(RA, DEC, 3.0, shape, 1.0, -1)
    x, y = wcs.all_world2pix(archive.ra, archive.dec, 0)
    here = (x > 5) & (y > 5) & (x < shape[1] - 5) & (y < shape[0] - 5)
    name = dict(zip(Apass.bands, COLOURS, strict=True))[band]
    mag = archive.magnitudes(name)[here] + rng.normal(0, scatter, here.sum())
    flux = seconds * 10 ** (-0.4 * (mag - truth))
    sources = replace(sources_of(np.column_stack([x[here], y[here]])), flux=flux, flux_err=flux / 200)
    stars = Apass(tmp_path, archive).in_band(band)
    found = measure_zero_point(sources, wcs, shape, stars, exposure_s=seconds, band=band)
    assert found.mag == pytest.approx(truth, abs=4 * found.error_mag)
    assert found.scatter_mag == pytest.approx(scatter, rel=0.3)
    assert found.stars > 0.6 * here.sum()
    assert (found.catalogue, found.band) == ("APASS DR9", band)
