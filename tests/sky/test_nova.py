"""astrometry.net's web service: the whole exchange, with a server of our own that speaks as its interface is documented.

The answers are those of http://astrometry.net/doc/net/api.html: a login, the upload of a star list, the submission's and
the job's states while they are polled, and the header of the solution.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

import numpy as np
import pytest
from skies import REFERENCE, draw_field

from avcd.config import Astrometry
from avcd.errors import ProcessingError, TransientError
from avcd.frame import Wcs
from avcd.sky.blind import solve_blind
from avcd.sky.engines import Widths
from avcd.sky.services import SkyServices

core = pytest.importorskip("astroquery.astrometry_net.core", reason="astroquery is not installed")
KEY, SESSION = "a-key", "s3ss10n"
XY = np.linspace(1, 90, 40).reshape(20, 2)


class Service:
    """nova on 127.0.0.1: takes a list for every session that began with the key, and solves it at the third look."""

    def __init__(self, header: str = "", outcome: str = "success") -> None:
        self.header, self.outcome = header, outcome
        self.asked: list[tuple[str, dict]] = []
        self.broken: set[str] = set()
        self.free = threading.Event()  # of a service that hangs
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.reply(self.path, {})

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                self.reply(self.path, json.loads(parse_qs(body)["request-json"][0]))

            def reply(self, path, request):
                service.asked.append((path, request))
                status, said = service.answer(path, request)
                content = (said if isinstance(said, str) else json.dumps(said)).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *said):
                """Nothing: it would be in the tests' output."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def seen(self, part: str) -> list[dict]:
        return [request for path, request in self.asked if part in path]

    def answer(self, path, request):
        if any(one in path for one in self.broken):
            return 500, "Internal Server Error"
        if "hang" in self.outcome and "submissions" in path:
            self.free.wait(20)
        if path == "/api/login":
            if request["apikey"] != KEY:
                return 200, {"status": "error", "errormessage": "bad apikey"}
            return 200, {"status": "success", "message": "authenticated user: someone", "session": SESSION}
        if path == "/api/url_upload":
            if request["session"] != SESSION or self.outcome == "rejected":
                return 200, {"status": "error", "errormessage": "no session with that key"}
            return 200, {"status": "success", "subid": 16714, "hash": "6024b45a16bfb5af7a73735cbabdf2b462c11214"}
        looks = len(self.seen(path))
        if path == "/api/submissions/16714":
            begun = {"processing_started": "2026-01-15 22:00:00", "job_calibrations": [], "jobs": [14], "images": [3]}
            idle = {"processing_started": "None", "job_calibrations": [], "jobs": [], "images": []}
            return 200, begun if looks > 1 else idle
        if path == "/api/jobs/14/info":
            solving = self.outcome == "slow" or looks < 3
            return 200, {"status": "solving" if solving else self.outcome, "objects_in_field": []}
        return (200, self.header) if path == "/wcs_file/14" else (404, "Not Found")

    def close(self) -> None:
        self.free.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def nova(monkeypatch, tmp_path):
    """Makes a service, and an engine that asks it; the client's pauses pass at once, on a clock of their own."""
    now = [0.0]
    monkeypatch.setattr(core.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    monkeypatch.setattr(core.time, "time", lambda: now[0])
    monkeypatch.setattr(core.conf, "api_key", "")
    services = []

    def make(key: str = KEY, timeout_s: float = 60.0, **about):
        service = Service(**about)
        services.append(service)
        path = tmp_path / "key"
        path.write_text(key + "\n")
        settings = Astrometry(nova_key_file=path, nova_url=service.url + "/", nova_timeout_s=timeout_s)
        return service, SkyServices(settings, tmp_path).engines(["nova"])[0]

    yield make
    for one in services:
        one.close()


def test_a_field_is_sent_waited_for_and_found(nova):
    field = draw_field(9)
    service, engine = nova(header=field.truth.to_header().tostring())
    found = solve_blind(field.sources, field.camera.shape, field.hint, [REFERENCE], engine)
    assert (found.state, found.verified) == (Wcs.SOLVED, True)
    assert np.median(field.error_px(found.wcs)) < 0.5
    paths = [path for path, _ in service.asked]
    assert paths == [
        "/api/login", "/api/url_upload", *["/api/submissions/16714"] * 2, *["/api/jobs/14/info"] * 3, "/wcs_file/14",
    ]  # fmt: skip
    upload = service.seen("url_upload")[0]
    assert upload["publicly_visible"] == "n"
    assert (upload["image_width"], upload["image_height"]) == field.camera.shape[::-1]
    assert upload["x"][0] == pytest.approx(field.sources.x[0] + 1)
    assert upload["scale_units"] == "degwidth"
    assert upload["scale_lower"] < field.camera.field_deg < upload["scale_upper"]


def test_each_field_has_a_session_of_its_own(nova):
    field = draw_field(9)
    service, engine = nova(header=field.truth.to_header().tostring())
    for _ in range(2):
        assert engine.locate(XY, (100, 100), Widths()) is not None
    assert len(service.seen("login")) == 2


def test_a_field_that_it_cannot_solve_is_not_found(nova):
    service, engine = nova(outcome="failure")
    assert engine.locate(XY, (100, 100), Widths()) is None
    assert not service.seen("wcs_file")


def test_it_is_waited_for_as_long_as_was_said(nova):
    service, engine = nova(outcome="slow", timeout_s=7)
    with pytest.raises(TransientError, match="no answer within 7 s"):
        engine.locate(XY, (100, 100), Widths())
    assert len(service.seen("jobs/14/info")) == pytest.approx(7, abs=2)


def test_a_connection_that_hangs_is_given_up(nova, monkeypatch):
    monkeypatch.setattr("avcd.sky.engines._TRANSPORT_S", 0.1)
    _, engine = nova(outcome="hang", timeout_s=0.1)
    with pytest.raises(TransientError, match=r"no answer within 0\.2 s"):
        engine.locate(XY, (100, 100), Widths())


def test_a_wrong_key_is_told_and_nothing_is_sent(nova):
    service, engine = nova(key="another")
    with pytest.raises(ProcessingError, match="does not accept the key"):
        engine.locate(XY, (100, 100), Widths())
    assert not service.seen("url_upload")


def test_no_key_is_told_with_where_it_belongs(nova):
    service, engine = nova(key="")
    with pytest.raises(ProcessingError, match="nova_key_file"):
        engine.locate(XY, (100, 100), Widths())
    assert not service.asked


@pytest.mark.parametrize("where", ["login", "url_upload", "submissions", "wcs_file"])
def test_a_service_that_fails_may_be_asked_again(nova, where):
    service, engine = nova(header=draw_field(9).truth.to_header().tostring())
    service.broken = {where}
    with pytest.raises(TransientError, match=r"nova\.astrometry\.net"):
        engine.locate(XY, (100, 100), Widths())


def test_a_list_that_it_does_not_take_is_told(nova):
    _, engine = nova(outcome="rejected")
    with pytest.raises(TransientError, match="did not accept the star list"):
        engine.locate(XY, (100, 100), Widths())


def test_a_server_that_is_not_there_is_told(nova):
    service, engine = nova()
    service.server.server_close()
    with pytest.raises(TransientError, match=r"nova\.astrometry\.net"):
        engine.locate(XY, (100, 100), Widths())
