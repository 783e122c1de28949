"""Every program's header, card by card: the whole of what it comes out as, and where each value is from."""

from __future__ import annotations

import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from avcd.frame import Frame

PROGRAMS = tomllib.loads((Path(__file__).parent / "programs.toml").read_text(encoding="utf-8"))
NOT_READ = {"id", "pixel_sha256", "status", "profile_version", "sources", "cards", "calib_level", "calibration"}


def test_every_header_has_its_table(data_directory):
    names = {path.name for path in (data_directory / "headers").glob("header_*.hdr.txt")}
    assert {f"header_{program}.hdr.txt" for program in PROGRAMS} == names


@pytest.mark.parametrize("program", PROGRAMS)
def test_headers_of_many_programs(program, data_directory, translated):
    table = PROGRAMS[program]
    shape = (3, 1920, 1080) if program == "seestar" else tuple(table[name][0] for name in ("naxis2", "naxis1"))
    frame = translated(data_directory / "headers" / f"header_{program}.hdr.txt", shape=shape)
    wanted = {name: value for name, value in table.items() if isinstance(value, list) and name != "warnings"}
    assert (frame.profile, frame.obs_id, list(frame.warnings)) == (
        *(table["profile"], table.get("obs_id")),
        table["warnings"],
    )
    assert frame.sources == {name: source for name, (_, source) in wanted.items()}
    for name, (value, _) in wanted.items():
        found = getattr(frame, name)
        if isinstance(value, list):
            value, found = set(value), set(found)
        assert found == (pytest.approx(value, abs=2e-9) if isinstance(value, float) else value), name
    for name in {one.name for one in fields(Frame)} - wanted.keys() - NOT_READ - {"profile", "obs_id", "warnings"}:
        assert getattr(frame, name) in (None, "unknown", False), name
