"""Gaia's stars by tiles: asked for once, moved to their epoch, the same at the poles and across 0 h. No network."""

from __future__ import annotations

import re
import threading

import numpy as np
import pytest
from astropy.coordinates import angular_separation
from astropy.table import MaskedColumn, Table

from avcd.errors import TransientError
from avcd.sky.gaia import GaiaStars, magnitudes


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
        self.colour = rng.uniform(-0.9, 5.4, len(self.ra))  # BP - RP
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
        table["phot_bp_mean_mag"] = MaskedColumn(
            self.mag[here] + 0.4 * self.colour[here], mask=np.arange(here.sum()) % 7 == 0
        )
        table["phot_rp_mean_mag"] = self.mag[here] - 0.6 * self.colour[here]
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


def test_magnitudes_of_other_bands_are_those_of_the_published_relations(tmp_path):
    """Riello et al. 2021, table C.2, reckoned by hand for colours of 0.5 and 2; and the Sun's own magnitudes."""
    for colour, band, less in ((0.5, "V", -0.0720), (2.0, "V", -0.7469), (0.5, "R", 0.1427), (0.5, "I", 0.3728)):
        found = magnitudes(band, np.array([10.0]), np.array([10.0 + 0.4 * colour]), np.array([10.0 - 0.6 * colour]))
        assert 10.0 - found[0] == pytest.approx(less, abs=1e-3)
    # Casagrande & VandenBerg 2018 (MNRAS 479, L102); Willmer 2018 (ApJS 236, 47), absolute, Vega.
    sun = {band: float(magnitudes(band, *(np.array([one]) for one in (4.67, 4.99, 4.17)))[0]) for band in "VRI"}
    assert sun == pytest.approx({"V": 4.81, "R": 4.43, "I": 4.10}, abs=0.06)


def test_stars_without_a_colour_or_beyond_the_relation_have_no_magnitude_in_other_bands(tmp_path):
    archive = Archive()
    all_of_them = GaiaStars(tmp_path, archive)
    others = {band: all_of_them.in_band(band).cone(200.0, -45.0, 0.3) for band in GaiaStars.bands}
    assert len(others["G"]) == len(others["RP"]) > len(others["BP"]) > len(others["V"]) > len(others["R"]) > 0
    assert all(np.all(np.diff(one.mag) >= 0) for one in others.values())
    assert len(set(archive.asked)) == len(archive.asked)


def test_an_archive_that_hangs_is_given_up(tmp_path):
    free = threading.Event()

    class Hanging:
        def launch_job_async(self, query):
            free.wait(20)
            raise ConnectionError

    with pytest.raises(TransientError, match=r"Gaia archive gave no answer within 0\.05 s"):
        GaiaStars(tmp_path, Hanging(), timeout_s=0.05).cone(200.0, -45.0, 0.1)
    free.set()
