"""Commands on files alone: no home, no catalogue."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cli_calls import Call

FEDER = Path(__file__).resolve().parent / "data" / "feder"


@pytest.fixture
def call(capsys, tmp_path, monkeypatch):
    """The command line in an empty directory, where no home is."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AVCD_HOME", raising=False)
    return Call(capsys)


def test_header_shows_every_card_in_order(call):
    said = call("header", FEDER / "uint16.fit", "--format", "json")
    assert said.code == 0
    assert [one["keyword"] for one in said.json[:4]] == ["SIMPLE", "BITPIX", "NAXIS", "NAXIS1"]
    assert {"keyword": "EXPTIME", "value": 90.0, "comment": "Exposure time in seconds"} in [
        {key: one[key] for key in ("keyword", "value", "comment")} for one in said.json
    ]
    assert "Apogee Alta" in call("header", FEDER / "uint16.fit").out


def test_header_gives_one_line_a_file_for_chosen_keys(call, tmp_path):
    said = call("header", *sorted(FEDER.glob("uint16*.fit")), "--keys", "filter, EXPTIME,NOTTHERE", "--format", "csv")
    lines = said.out.splitlines()
    assert lines[0] == "file,FILTER,EXPTIME,NOTTHERE"
    assert len(lines) == 5
    assert sorted(line.split(",", 1)[1] for line in lines[1:]) == [",90.0,", "R,90.0,", "R,90.0,", "R,90.0,"]


def test_header_goes_on_after_a_file_it_cannot_read_and_says_so(call, tmp_path):
    (tmp_path / "broken.fits").write_bytes(b"no picture" * 1000)
    shutil.copyfile(FEDER / "uint16.fit", tmp_path / "good.fits")
    said = call("header", "broken.fits", "gone.fits", "good.fits", "-k", "FILTER", "--format", "json")
    assert said.code == 1
    assert said.json == [{"file": "good.fits", "FILTER": "R"}]
    assert "avcd: broken.fits: not a FITS file" in said.err
    assert "avcd: gone.fits: No such file or directory" in said.err
