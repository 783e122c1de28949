"""What a recipe names beside the bundled stars is asked, verified and told: Gaia, APASS, blind engines. No network."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from pictures import faint_stars, picture, write_picture
from scenes import world

from avcd.config import Astrometry
from avcd.errors import ConfigError, ProcessingError, TransientError
from avcd.frame import Frame, InputRef, ProductKind, ProductSpec, ProductStatus, Wcs, product_identity
from avcd.recipes import load_recipes
from avcd.runner.worker import Workplace, open_inputs
from avcd.sky.gaia import GaiaStars, magnitudes
from avcd.sky.reference import Stars, Tycho2
from avcd.sky.services import SkyServices
from avcd.stages import run_stage
from avcd.stages.astrometry import band_of
from avcd.work import Claim, JobInput
from cli_calls import Call
from homes import make_home, rows, run_until_idle

SHAPE, SCALE, SECONDS = (400, 500), 0.8, 60.0
RA, DEC = 110.0, 20.0
ZERO_POINT = 24.0
STARS = faint_stars(5, RA, DEC, 0.2, 120)
MAGS = ZERO_POINT - 2.5 * np.log10(STARS[2] / SECONDS)
TRUTH = world(RA, DEC, SCALE, SHAPE, 0.7, -1)


class Catalogue:
    """The field's stars behind the interface of a catalogue, with magnitudes in two bands."""

    name, area_deg2, bands = "Faint stars", 41253.0, ("V", "R")

    def __init__(self, band: str = "V", fails: Exception | None = None) -> None:
        self.band, self.fails = band, fails

    def in_band(self, band: str):
        return Catalogue(band, self.fails)

    def cone(self, ra_deg, dec_deg, radius_deg, limit=None):
        if self.fails is not None:
            raise self.fails
        near = np.hypot((STARS[0] - ra_deg) * np.cos(np.radians(dec_deg)), STARS[1] - dec_deg) < radius_deg
        order = np.flatnonzero(near)[np.argsort(MAGS[near])][:limit]
        return Stars(STARS[0][order], STARS[1][order], MAGS[order] - (0.5 if self.band == "R" else 0.0))


class Engine:
    """An engine that always finds the same."""

    name = "engine"

    def __init__(self, wcs: WCS | None) -> None:
        self.wcs = wcs

    def locate(self, xy, shape, widths):
        return self.wcs

    def check(self):
        return None


@dataclass(frozen=True)
class Services(SkyServices):
    """Services whose archives and engines are the tests'."""

    faint: Catalogue | None = None
    wcs: WCS | None = None

    def catalogue(self, name, t_min=None):
        return Tycho2() if name == "tycho2" else self.faint

    def engines(self, names):
        return tuple(Engine(self.wcs) for _ in names)


@pytest.fixture
def reduce(tmp_path):
    """Reduces a frame of the field as a recipe says: the outcome, and the header of the file."""
    (tmp_path / "drop").mkdir()
    write_picture(tmp_path / "drop" / "0.fits", picture(TRUTH, STARS, SHAPE))
    place = Workplace({"drop": tmp_path / "drop"}, tmp_path / "archive", 2**28)
    usual = Frame(
        id="0" * 64, exposure_s=SECONDS, filter="R", s_ra=RA + 0.02, s_dec=DEC - 0.01, pixel_scale_arcsec=SCALE * 1.03,
        calibration=frozenset({"bias", "dark", "flat"}), saturation_adu=65535.0, gain_e_per_adu=1.0,
    )  # fmt: skip

    def run(services: SkyServices, frame: Frame = usual, **parameters):
        one = JobInput(role="raw", id=frame.id, origin="frame", root="drop", relative_path="0.fits", frame=frame)
        recipe = load_recipes()[ProductKind.REDUCED]
        values = {**recipe.parameters, "cosmic_rays": "none", **parameters}
        refs = (InputRef("raw", frame.id, "frame"),)
        spec = ProductSpec(
            id=product_identity(recipe.kind, recipe.name, recipe.version, values, refs), kind=recipe.kind, slot="r",
            recipe=recipe.name, recipe_version=recipe.version, parameters=values, inputs=refs,
            status=ProductStatus.FINAL, path="r.fits", exposure_s=SECONDS,
        )  # fmt: skip
        claim = Claim(job_id=spec.id, token="t", attempt=1, spec=spec, inputs=(one,))
        output = run_stage(claim, open_inputs(place), place.memory_bytes, services=services)
        stream = io.BytesIO()
        output.files[0].write(stream)
        return output, fits.Header.fromstring(stream.getvalue())

    run.usual = usual
    return run


def error_px(header: fits.Header) -> float:
    x, y = np.array([0, 250, 499, 0, 499.0]), np.array([0, 200, 0, 399, 399.0])
    back = np.array(TRUTH.all_world2pix(*WCS(header).all_pix2world(x, y, 0), 0))
    return float(np.hypot(*(back - [x, y])).max())


def test_a_field_too_faint_for_tycho_is_solved_by_the_catalogue_that_the_recipe_names(reduce):
    services = Services(faint=Catalogue())
    alone, _ = reduce(services)
    assert alone.wcs is Wcs.REFUSED
    output, header = reduce(services, solve_references=["tycho2", "gaia"], zero_points=["gaia", "tycho2"])
    assert (output.wcs, output.metrics["astrometry_reference"]) == (Wcs.SOLVED, "Faint stars")
    assert error_px(header) < 0.7
    assert (header["MAGZCAT"], header["MAGZBAND"]) == ("Faint stars", "R")
    # The catalogue's R is half a magnitude brighter than V, by which the stars were painted; the aperture misses some light.
    assert header["MAGZPT"] == pytest.approx(ZERO_POINT - 0.5, abs=0.12)
    assert header["MAGZNUM"] == output.metrics["zero_point_stars"] > 15
    assert header["MAGZRMS"] == pytest.approx(output.metrics["zero_point_scatter_mag"], abs=1e-3)
    assert header["MAGZRMS"] < 0.1


def test_the_next_catalogue_serves_where_the_first_has_no_star(reduce):
    services = Services(faint=Catalogue())
    _, header = reduce(services, solve_references=["gaia"], zero_points=["tycho2", "apass"])
    assert header["MAGZCAT"] == "Faint stars"
    _, header = reduce(services, solve_references=["gaia"], zero_points=["tycho2"])
    assert "MAGZPT" not in header


def test_what_an_engine_finds_is_taken_only_where_the_stars_prove_it(reduce):
    lost = replace(reduce.usual, s_ra=None, s_dec=None)
    by_gaia = {"solve_references": ["tycho2", "gaia"], "solve_engines": ["index"]}
    output, header = reduce(Services(faint=Catalogue(), wcs=TRUTH), lost, **by_gaia)
    assert (output.wcs, output.metrics["astrometry_reference"]) == (Wcs.SOLVED, "Faint stars")
    assert error_px(header) < 0.7
    wrong = TRUTH.deepcopy()
    wrong.wcs.crval = [RA + 0.05, DEC]
    for wcs, parameters in ((wrong, by_gaia), (TRUTH, {"solve_engines": ["nova"]}), (None, by_gaia)):
        output, header = reduce(Services(faint=Catalogue(), wcs=wcs), lost, **parameters)
        assert output.wcs in (Wcs.NONE, Wcs.REFUSED)
        assert "CRVAL1" not in header
        assert "engine" in output.metrics["astrometry_reason"]


def test_an_archive_that_does_not_answer_is_waited_for_and_at_last_gone_without(reduce):
    services = Services(faint=Catalogue(fails=TransientError("the archive does not answer")))
    asked = {"solve_references": ["tycho2", "gaia"], "zero_points": ["gaia"]}
    with pytest.raises(TransientError):
        reduce(replace(services, patient=True), **asked)
    output, _ = reduce(services, **asked)
    assert output.wcs is Wcs.REFUSED
    assert [one for one in output.warnings if one.startswith("Faint stars was not asked: the archive")]
    missing = Services(faint=Catalogue(fails=ProcessingError("not installed")), patient=True)
    assert reduce(missing, **asked)[0].wcs is Wcs.REFUSED  # no waiting helps


@pytest.mark.parametrize(
    ("name", "bands", "band"),
    [("V", Catalogue.bands, "V"), ("Red", ("G", "BP", "RP", "V", "R", "I"), "R"), ("B", ("V", "B", "g", "r", "i"), "B"),
     ("Blue", ("V", "B", "g", "r", "i"), "B"), ("SDSS r", ("V", "B", "g", "r", "i"), "r"),
     ("I", ("V", "B", "g", "r", "i"), "i"), ("g", ("G", "BP", "RP", "V", "R", "I"), "BP"),
     ("H-Alpha", ("G", "BP", "RP", "V", "R", "I"), "R"), ("z", ("G", "BP", "RP", "V", "R", "I"), "I"),
     ("Luminance", ("G", "BP", "RP", "V", "R", "I"), "G"), (None, ("V", "B"), "V"), ("no such", ("V", "B"), "V")],
)  # fmt: skip
def test_the_band_most_like_the_filter_is_taken(name, bands, band):
    assert band_of(name, bands) == band


def test_an_unknown_catalogue_or_engine_in_a_recipe_is_refused(tmp_path):
    (tmp_path / "recipes").mkdir()
    text = 'kind = "reduced"\nname = "reduced"\nversion = 4\n[parameters]\n{} = ["{}"]\n'
    for key, word in (("solve_references", "usno"), ("solve_engines", "nowa"), ("zero_points", "apas")):
        (tmp_path / "recipes" / "reduced.toml").write_text(text.format(key, word))
        with pytest.raises(ConfigError, match=rf"{key} = .*{word}.*: each is one of"):
            load_recipes(tmp_path)


def test_what_is_not_installed_is_known_before_it_is_asked(tmp_path):
    services = SkyServices(Astrometry(index_directories=(str(tmp_path),), nova_key_file=tmp_path / "none"), tmp_path)
    said = services.lacking(["tycho2", "index", "nova"])
    assert len(said) == 2
    assert "index files" in said[0] or "avcd[blind]" in said[0]
    assert "nova_key_file" in said[1] or "avcd[archives]" in said[1]


class Archive:
    """Gaia's archive, holding the field's stars alone."""

    def launch_job_async(self, query):
        table = Table({"ra": STARS[0], "dec": STARS[1], "pmra": 0 * MAGS, "pmdec": 0 * MAGS, "phot_g_mean_mag": MAGS,
                       "phot_bp_mean_mag": MAGS + 0.4, "phot_rp_mean_mag": MAGS - 0.6})  # fmt: skip
        south, north, west, east = (
            float(query.split(f"{one} ")[1].split()[0]) for one in ("dec >=", "dec <", "ra >=", "ra <")
        )
        here = (table["ra"] >= west) & (table["ra"] < east) & (table["dec"] >= south) & (table["dec"] < north)
        self.get_results = lambda: table[here]
        return self


def test_the_daemon_solves_a_narrow_field_by_the_tiles_that_its_home_holds(tmp_path, capsys):
    home = make_home(tmp_path / "home", processing={"previews": False}, workers={"count": 1})
    GaiaStars(home.cache / "gaia-dr3", Archive()).cone(RA, DEC, 1.2)
    (home.path / "recipes").mkdir()
    (home.path / "recipes" / "reduced.toml").write_text(
        'kind = "reduced"\nname = "reduced"\nversion = 4\n[parameters]\nsolve_references = ["tycho2", "gaia"]\n'
        'zero_points = ["gaia"]\n'
    )
    write_picture(home.path / "drop" / "0.fits", picture(TRUTH, STARS, SHAPE), RA=RA + 0.02, DEC=DEC, PIXSCALE=SCALE,
                  CALSTAT="BDF")  # fmt: skip
    code, said = run_until_idle(home)
    assert code == 0, said
    found = next(one for one in rows(home, "products") if one["kind"] == "reduced")
    assert found["wcs"] == "solved", found
    metrics = found["metrics"]
    assert (metrics["astrometry_reference"], metrics["zero_point_catalogue"]) == ("Gaia DR3", "Gaia DR3")
    assert metrics["zero_point_band"] == "R"
    header = fits.getheader(home.archive / found["path"])
    assert (header["MAGZCAT"], header["MAGZBAND"], header["MAGZNUM"]) == ("Gaia DR3", "R", metrics["zero_point_stars"])
    assert error_px(header) < 0.7
    # A star's magnitude by the zero point, asked for by its name.
    star = int(np.argmin(MAGS + 100 * (np.hypot((STARS[0] - RA) * np.cos(np.radians(DEC)), STARS[1] - DEC) > 0.03)))
    (home.path / "targets.toml").write_text(f'"Star 3" = [{float(STARS[0][star])}, {float(STARS[1][star])}]\n')
    said = Call(capsys)("lightcurve", "star 3", "--home", home.path, "--filter", "R", "--format", "json")
    assert said.code == 0, said.err
    curve = said.json
    assert len(curve) == 1
    assert curve[0]["calibrated"] is True
    red = magnitudes("R", *(np.array([MAGS[star] + more]) for more in (0.0, 0.4, -0.6)))[0]
    assert curve[0]["mag"] == pytest.approx(red, abs=0.06)
