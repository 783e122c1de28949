"""Gaia's stars by tiles: asked for once, moved to their epoch, the same at the poles and across 0 h. No network."""

from __future__ import annotations

import re

import numpy as np
import pytest
from astropy.coordinates import angular_separation
from astropy.table import MaskedColumn, Table

from avcd.errors import TransientError
from avcd.sky.gaia import GaiaStars


class Archive:
    """Answers as the archive does, from a sky of its own."""

    def __init__(self, number: int = 60_000) -> None:
        rng = np.random.default_rng(8)
        self.ra = rng.uniform(0, 360, number)
        self.dec = np.degrees(np.arcsin(rng.uniform(-1, 1, number)))
        # A crowd at the places that the tests look at.
        for ra, dec in ((359.9, 5.0), (80.0, 89.8), (200.0, -45.0)):
            self.ra = np.append(self.ra, (ra + rng.uniform(-0.6, 0.6, 200) / max(np.cos(np.radians(dec)), 0.01)) % 360)
            self.dec = np.append(self.dec, np.clip(dec + rng.uniform(-0.6, 0.6, 200), -90, 89.9999))
        self.pm = rng.normal(0, 50, (len(self.ra), 2))
        self.mag = rng.uniform(8, 17.9, len(self.ra))
        self.asked: list[str] = []
        self.fails = False

    def launch_job_async(self, query: str):
        self.asked.append(query)
        print("INFO: Query finished.")
        if self.fails:
            raise ConnectionError("no route to host")
        south, north, west, east = (float(one) for one in re.findall(r"(?:dec|ra) [<>]=? (-?[\d.]+)", query))
        here = (self.dec >= south) & (self.dec < north) & (self.ra >= west) & (self.ra < east)
        unknown = np.arange(here.sum()) % 5 == 0
        table = Table({"ra": self.ra[here], "dec": self.dec[here], "phot_g_mean_mag": self.mag[here]})
        table["pmra"] = MaskedColumn(self.pm[here, 0], mask=unknown)
        table["pmdec"] = MaskedColumn(self.pm[here, 1], mask=unknown)
        self.get_results = lambda: table
        return self


@pytest.mark.parametrize(("ra", "dec"), [(359.95, 5.1), (0.05, 5.0), (30.0, 89.9), (200.0, -45.0)])
def test_a_cone_holds_the_very_stars_of_the_archive(tmp_path, ra, dec):
    archive = Archive()
    found = GaiaStars(tmp_path, archive).cone(ra, dec, 0.4)
    distance = np.degrees(angular_separation(*np.radians([ra, dec]), np.radians(archive.ra), np.radians(archive.dec)))
    near = distance < 0.4
    assert len(found) == near.sum() > 5
    assert np.all(np.diff(found.mag) >= 0)
    np.testing.assert_allclose(np.sort(found.dec_deg), np.sort(archive.dec[near]))


def test_each_tile_is_asked_for_once_and_then_without_the_archive(tmp_path, capsys):
    archive = Archive()
    first = GaiaStars(tmp_path, archive).cone(200.0, -45.0, 0.2)
    asked = len(archive.asked)
    assert 1 <= asked <= 9
    again = GaiaStars(tmp_path, archive).cone(200.0, -45.0, 0.2)
    assert len(archive.asked) == asked
    offline = GaiaStars(tmp_path).cone(200.0, -45.0, 0.2)
    assert len(first) == len(again) == len(offline) > 0
    assert len(GaiaStars(tmp_path).cone(20.0, 45.0, 0.2)) == 0
    assert not list(tmp_path.glob("*.part"))
    assert capsys.readouterr().out == ""


def test_stars_are_where_they_are_at_the_epoch(tmp_path):
    archive = Archive()
    then, now = (GaiaStars(tmp_path, archive, epoch).cone(200.0, -45.0, 0.3) for epoch in (2016.0, 2026.0))
    motion = dict(zip(archive.mag, archive.pm[:, 1], strict=True))  # milliarcseconds a year
    before = dict(zip(then.mag, then.dec_deg, strict=True))
    moved = {mag: (dec - before[mag]) * 3.6e6 for mag, dec in zip(now.mag, now.dec_deg, strict=True) if mag in before}
    still = [mag for mag in moved if moved[mag] == 0]
    assert 0 < len(still) < len(moved) / 3  # one in five has no proper motion
    for mag in set(moved) - set(still):
        assert moved[mag] == pytest.approx(10 * motion[mag], abs=0.01)


def test_an_archive_that_does_not_answer_is_named_and_leaves_no_tile(tmp_path):
    archive = Archive()
    archive.fails = True
    with pytest.raises(TransientError, match="no route to host"):
        GaiaStars(tmp_path, archive).cone(200.0, -45.0, 0.1)
    assert not list(tmp_path.iterdir())


def test_a_wide_cone_asks_for_nothing(tmp_path):
    archive = Archive(10)
    assert len(GaiaStars(tmp_path, archive).cone(200.0, -45.0, 5.0)) == 0
    assert not archive.asked
