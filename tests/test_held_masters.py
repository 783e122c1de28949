"""A dark that light fell into: its master is held, the one before serves on, and the observer has the last word."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from astropy.io import fits

from avcd.config import load_home
from cli_calls import Call
from homes import make_home, rows, run_until_idle

SIZE = (96, 128)
BIAS, RATE = 1000.0, 2.0


@pytest.fixture(scope="module")
def two_nights(tmp_path_factory):
    """A night with all its calibrations, and the next with five darks, the third of them leaked; processed."""
    home = make_home(tmp_path_factory.mktemp("held") / "home", workers={"count": 1}, processing={"previews": False})
    chance = np.random.default_rng(4)
    hot = chance.random(SIZE) < 0.01
    for number in range(3):
        take(home, chance, "Bias Frame", 15, number, BIAS)
        take(home, chance, "Dark Frame", 15, 10 + number, BIAS + RATE * 30 + 500 * hot, exposure_s=30)
    take(home, chance, "Light Frame", 15, 30, BIAS + RATE * 30 + 500 * hot + 200, exposure_s=30)
    for number in range(5):
        light = np.linspace(0, 900, SIZE[1])[None, :] if number == 2 else 0.0
        take(home, chance, "Dark Frame", 16, 10 + number, BIAS + RATE * 30 + 500 * hot + light, exposure_s=30)
    take(home, chance, "Light Frame", 16, 30, BIAS + RATE * 30 + 500 * hot + 200, exposure_s=30)
    done(home)
    return home


@pytest.fixture
def home(two_nights, tmp_path):
    """The processed home, to do with as one likes."""
    return load_home(shutil.copytree(two_nights.path, tmp_path / "home"))


@pytest.fixture
def call(capsys):
    return Call(capsys)


def take(home, chance, kind, day, minute, signal, exposure_s=0.0) -> None:
    header = fits.Header(
        {"IMAGETYP": kind, "EXPTIME": exposure_s, "DATE-OBS": f"2026-01-{day}T22:{minute:02d}:00", "XBINNING": 1, "YBINNING": 1,
         "TELESCOP": "Test", "INSTRUME": "CCD", "SET-TEMP": -20.0, "CCD-TEMP": -20.0, "EGAIN": 1.0, "FILTER": "V"}
    )  # fmt: skip
    if kind == "Light Frame":
        header["OBJECT"] = "M 42"
    level = np.broadcast_to(signal, SIZE)
    data = chance.poisson(np.maximum(level - BIAS, 0)) + BIAS + chance.normal(0, 5, SIZE)
    name = f"{kind.split()[0].lower()}-{day}-{minute}.fits"
    fits.PrimaryHDU(np.clip(np.rint(data), 0, 65535).astype(np.uint16), header).writeto(home.path / "drop" / name)


def done(home) -> None:
    code, said = run_until_idle(home)
    assert code == 0, said


def darks(home) -> dict[str, str]:
    """Night and standing of every master dark."""
    return {one["night"]: one["status"] for one in rows(home, "products", type="master_dark", sort="revision")}


def dark_of_the_second_light(home) -> tuple[str, str]:
    """Night and id of the dark that the second night's light was reduced with."""
    one = next(
        one
        for one in rows(home, "products", type="reduced")
        if one["night"] == "2026-01-16" and one["status"] in ("final", "provisional")
    )
    used = next(each["id"] for each in one["inputs"] if each["role"] == "dark")
    return next(each["night"] for each in rows(home, "products") if each["id"] == used), used


def identity(home, name: str) -> str:
    return next(one["id"] for one in rows(home, "frames") if one["path"].endswith(name))


def test_a_leaked_dark_holds_its_master_and_the_one_before_serves(home, call):
    assert darks(home) == {"2026-01-15": "final", "2026-01-16": "held"}
    held = next(one for one in rows(home, "products", type="master_dark") if one["status"] == "held")
    assert "one of its frames departs" in held["reason"]
    assert dark_of_the_second_light(home)[0] == "2026-01-15"
    told = call("why", "light-16-30.fits", "--home", home.path, "--format", "json").json["needs"]["dark"]
    assert told["chosen"] != held["id"]
    standing = next(one for one in told["candidates"] if one["id"] == held["id"])["criteria"][-1]
    assert (standing["name"], standing["found"], standing["outcome"]) == ("standing", "held", "fail")
    done(home)
    assert darks(home) == {"2026-01-15": "final", "2026-01-16": "held"}, "it stays held until somebody decides"


def test_the_leaked_frame_rejected_the_master_is_made_again_and_serves(home, call):
    leaked = "dark-16-12.fits"
    foretold = call("impact", leaked, "--home", home.path, "--format", "json").json["changes"]
    assert {one["kind"] for one in foretold} >= {"master_dark", "reduced"}
    call("reject", leaked, "--reason", "light leak", "--home", home.path)
    done(home)
    assert darks(home)["2026-01-16"] == "final"
    night, used = dark_of_the_second_light(home)
    assert night == "2026-01-16"
    made_of = next(one["inputs"] for one in rows(home, "products") if one["id"] == used)
    assert identity(home, leaked) not in {one["id"] for one in made_of}


def test_an_approved_master_serves_as_it_is(home, call):
    held = next(one["id"] for one in rows(home, "products", type="master_dark") if one["status"] == "held")
    call("approve", held, "--reason", "a new shutter", "--home", home.path)
    done(home)
    assert darks(home)["2026-01-16"] == "final"
    assert dark_of_the_second_light(home) == ("2026-01-16", held)
    call("unflag", held, "--reason", "it was the old one after all", "--home", home.path)
    done(home)
    assert darks(home)["2026-01-16"] == "held"
    assert dark_of_the_second_light(home)[0] == "2026-01-15"


def test_what_served_in_its_place_serves_until_the_held_one_is_approved(home, call):
    """The session's first revision was good; a leaked dark that came late holds the second, and the first goes on."""
    call("reject", "dark-16-12.fits", "--reason", "light leak", "--home", home.path)
    done(home)
    first = dark_of_the_second_light(home)[1]
    chance = np.random.default_rng(9)
    take(home, chance, "Dark Frame", 16, 20, BIAS + RATE * 30 + np.linspace(0, 900, SIZE[1])[None, :], exposure_s=30)
    done(home)
    assert dark_of_the_second_light(home) == ("2026-01-16", first)
    second = next(
        one for one in rows(home, "products", type="master_dark") if one["status"] == "held" and one["revision"] == 3
    )
    call("approve", second["id"], "--reason", "it was meant so", "--home", home.path)
    done(home)
    assert dark_of_the_second_light(home) == ("2026-01-16", second["id"])
    assert {one["id"]: one["status"] for one in rows(home, "products")}[first] == "superseded"
