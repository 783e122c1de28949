"""Blind engines, the first two for real; what they find is checked, and none is waited for too long."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from astropy.wcs import WCS
from scenes import sources_of
from skies import REFERENCE, draw_field

from avcd.errors import ProcessingError, TransientError
from avcd.frame import Wcs
from avcd.sky.blind import solve_blind
from avcd.sky.engines import INDEX_DIRECTORIES, IndexEngine, Nova, SolveField, Widths
from avcd.sky.solving import Hint

SEEDS = (1, 3, 9)  # fields of one to three degrees
HAS_INDEX = any(list(one.glob("index-*.fits")) for one in INDEX_DIRECTORIES)
needs_package = pytest.mark.skipif(
    importlib.util.find_spec("astrometry") is None or not HAS_INDEX,
    reason="the package astrometry, or Debian's astrometry-data-tycho2, is not installed",
)
needs_solve_field = pytest.mark.skipif(
    shutil.which("solve-field") is None or not HAS_INDEX,
    reason="solve-field, or Debian's astrometry-data-tycho2, is not installed",
)


@pytest.mark.parametrize(
    "engine",
    [pytest.param(IndexEngine(), marks=needs_package), pytest.param(SolveField(), marks=needs_solve_field)],
    ids=lambda one: one.name,
)
def test_fields_anywhere_are_solved_without_a_pointing(engine):
    for seed in SEEDS:
        field = draw_field(seed)
        found = solve_blind(
            field.sources, field.camera.shape, Hint(None, None, field.hint.scale_arcsec), [REFERENCE], engine
        )
        assert (found.state, found.reference) == (Wcs.SOLVED, "Tycho-2")
        assert np.median(field.error_px(found.wcs)) < 0.5


@needs_solve_field
def test_ours_agrees_with_solve_field():
    """Centre within half a pixel, scale within a ten-thousandth: each from the same list by its own way."""
    from avcd.sky.solving import solve_field

    for seed in SEEDS[1:]:
        field = draw_field(seed)
        ours = solve_field(field.sources, field.camera.shape, field.hint, REFERENCE).wcs
        xy = np.column_stack([field.sources.x, field.sources.y])
        theirs = SolveField().locate(xy, field.camera.shape, Widths.around(field.hint.scale_arcsec, field.camera.shape))
        middle = (np.array(field.camera.shape[::-1]) - 1) / 2
        back = np.array(theirs.all_world2pix(*ours.all_pix2world(*middle, 0), 0))
        assert np.hypot(*(back - middle)) < 0.5
        scales = [np.sqrt(abs(np.linalg.det(one.pixel_scale_matrix))) for one in (ours, theirs)]
        assert scales[0] / scales[1] == pytest.approx(1, abs=1e-4)


class Fixed:
    """An engine that always gives the same answer."""

    name = "fixed"

    def __init__(self, wcs: WCS | None) -> None:
        self.wcs = wcs

    def locate(self, xy, shape, widths):
        return self.wcs


def test_what_an_engine_finds_is_held_against_the_stars():
    field = draw_field(3)
    wrong = field.truth.deepcopy()
    wrong.wcs.crval = [(field.truth.wcs.crval[0] + 40) % 360, field.truth.wcs.crval[1]]
    near = field.truth.deepcopy()
    near.wcs.crpix = field.truth.wcs.crpix + 2.0
    states = {}
    for name, wcs in (("wrong", wrong), ("near", near), ("none", None)):
        found = solve_blind(field.sources, field.camera.shape, field.hint, [REFERENCE], Fixed(wcs))
        states[name] = found.state
        assert bool(found.reason) is (found.wcs is None)
        if found.wcs is not None:
            assert np.median(field.error_px(found.wcs)) < 0.5
    assert states == {"wrong": Wcs.REFUSED, "near": Wcs.SOLVED, "none": Wcs.REFUSED}


def test_what_no_reference_star_can_judge_is_said_to_be_so():
    field = draw_field(3)
    found = solve_blind(field.sources, field.camera.shape, field.hint, [], Fixed(field.truth))
    assert (found.state, found.verified) == (Wcs.SOLVED, False)
    assert "verify" in found.reason


def program(tmp_path: Path, text: str) -> str:
    path = tmp_path / "solve-field"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_an_engine_that_does_not_end_is_given_up(tmp_path):
    engine = SolveField(0.2, program(tmp_path, "exec tail -f /dev/null"))
    with pytest.raises(TransientError, match=r"within 0\.2 s"):
        engine.locate(np.ones((10, 2)), (100, 100), Widths())


def test_an_engine_that_fails_says_why(tmp_path):
    with pytest.raises(ProcessingError, match="no index files at all"):
        SolveField(5, program(tmp_path, "echo no index files at all >&2; exit 3")).locate(
            np.ones((10, 2)), (100, 100), Widths()
        )
    with pytest.raises(ProcessingError, match="PATH"):
        SolveField(5, "no-such-program").locate(np.ones((10, 2)), (100, 100), Widths())
    assert SolveField(5, program(tmp_path, "exit 0")).locate(np.ones((10, 2)), (100, 100), Widths()) is None


def test_missing_index_files_are_told_with_what_to_install(tmp_path):
    pytest.importorskip("astrometry", reason="the package astrometry is not installed")
    with pytest.raises(ProcessingError, match="astrometry-data-tycho2"):
        IndexEngine([tmp_path]).locate(np.ones((10, 2)), (100, 100), Widths())


class Answer:
    """One answer of the web service."""

    status_code = 200

    def __init__(self, said) -> None:
        self.text = said if isinstance(said, str) else json.dumps(said)

    def json(self):
        return json.loads(self.text)


@pytest.fixture
def nova(monkeypatch):
    """astroquery's client, its requests answered from a session: login, upload, waiting, the header."""
    core = pytest.importorskip("astroquery.astrometry_net.core", reason="astroquery is not installed")
    monkeypatch.setattr(core.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(core.conf, "api_key", "a-key")
    field = draw_field(9)
    header = field.truth.to_header().tostring()
    asked = []
    session = iter(
        [
            ("api/login", {"status": "success", "message": "authenticated user: ", "session": "s3ss10n"}),
            ("api/url_upload", {"status": "success", "subid": 7, "hash": "6024"}),
            ("api/submissions/7", {"processing_started": "None", "job_calibrations": [], "jobs": [], "images": []}),
            ("api/submissions/7", {"processing_started": "2026", "job_calibrations": [], "jobs": [12], "images": [3]}),
            ("api/jobs/12/info", {"status": "solving", "objects_in_field": []}),
            ("api/jobs/12/info", {"status": "success", "objects_in_field": []}),
            ("wcs_file/12", header),
        ]
    )

    def request(method, url, data=None, cache=True):
        where, said = next(session)
        assert url.endswith(where), (url, where)
        asked.append(json.loads(data["request-json"]) if data else None)
        return Answer(said)

    client = core.AstrometryNetClass()
    client._request = request
    return field, client, asked


def test_nova_is_asked_as_its_interface_wants_it(nova):
    field, client, asked = nova
    found = solve_blind(field.sources, field.camera.shape, field.hint, [REFERENCE], Nova(client, 60))
    assert found.state is Wcs.SOLVED
    assert np.median(field.error_px(found.wcs)) < 0.5
    upload = asked[1]
    assert (asked[0]["apikey"], upload["session"], upload["publicly_visible"]) == ("a-key", "s3ss10n", "n")
    assert (upload["image_width"], upload["image_height"]) == field.camera.shape[::-1]
    assert upload["x"][0] == pytest.approx(field.sources.x[0] + 1)
    assert upload["scale_lower"] < field.camera.field_deg < upload["scale_upper"]


def test_nova_not_answering_is_told():
    class Slow:
        def solve_from_source_list(self, *stars, **settings):
            raise TimeoutError("Solve timed out", 7)

    with pytest.raises(TransientError, match="no answer within 3 s"):
        Nova(Slow(), 3).locate(np.ones((10, 2)), (100, 100), Widths())


def test_few_stars_are_not_sent_anywhere():
    found = solve_blind(sources_of(np.ones((3, 2))), (100, 100), Hint(None, None, None), [REFERENCE], Fixed(None))
    assert "3 stars detected" in found.reason
