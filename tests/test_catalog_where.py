"""The language of --where, on both databases: against plain Python over the same frames, and against nonsense."""

from __future__ import annotations

import contextlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avcd.catalog.models import frames
from avcd.catalog.where import parse_where
from avcd.errors import UsageError
from avcd.frame import Card, ProductKind
from catalogue import apply, make_frame, make_spec, of_frame, record, run

CHANCE = random.Random(5)
MANY = [
    make_frame(
        f"frame {number}",
        filter=CHANCE.choice(["r", "R", "g", "Ha", None]),
        exposure_s=CHANCE.choice([0.0, 10.0, 60.0, 300.0, None]),
        gain=CHANCE.choice([1.0, 2.5, None]),
        has_wcs=CHANCE.choice([True, False]),
        target_name=CHANCE.choice(["M 42", "NGC 869", "it's", None]),
        warnings=CHANCE.choice([(), ("a conflict",)]),
        cards=(
            Card("AIRMASS", CHANCE.choice([1.1, 1.5, 2, "unknown", True])),
            *([Card("DATE-OBS", CHANCE.choice(["2026-01-15", "2026-02-01"]))] if CHANCE.random() < 0.6 else []),
        ),
    )
    for number in range(60)
]


@pytest.fixture
def filled(catalog):
    record(catalog, *MANY)
    return catalog


def card(frame, keyword):
    return next((one.value for one in frame.cards if one.keyword == keyword), None)


def number(value):
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def below(value, limit):
    return value is not None and value < limit


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("filter = 'r'", lambda f: f.filter == "r"),
        ('filter == "R"', lambda f: f.filter == "R"),
        ("FILTER IN ('r', 'g') AND exposure_s >= 60", lambda f: f.filter in ("r", "g") and (f.exposure_s or 0) >= 60),
        ("filter != 'r'", lambda f: f.filter is not None and f.filter != "r"),
        ("not filter = 'r'", lambda f: f.filter is not None and f.filter != "r"),
        ("filter not in ('r', 'R')", lambda f: f.filter is not None and f.filter not in ("r", "R")),
        ("filter is null or gain is not null", lambda f: f.filter is None or f.gain is not None),
        ("exposure_s between 10 and 6e1", lambda f: f.exposure_s is not None and 10 <= f.exposure_s <= 60),
        ("60 < exposure_s", lambda f: f.exposure_s is not None and f.exposure_s > 60),
        ("exposure_s > -1.5", lambda f: f.exposure_s is not None),
        ("gain < exposure_s", lambda f: None not in (f.gain, f.exposure_s) and f.gain < f.exposure_s),
        ("target like 'ngc %'", lambda f: (f.target_name or "").startswith("NGC ")),
        ("target_name = 'it''s'", lambda f: f.target_name == "it's"),
        ("has_wcs = true and not (filter = 'g')", lambda f: f.has_wcs and f.filter not in ("g", None)),
        ("warnings is not null", lambda f: bool(f.warnings)),
        ("warnings is null", lambda f: not f.warnings),
        ("header.AIRMASS < 1.6", lambda f: below(number(card(f, "AIRMASS")), 1.6)),
        ("header.airmass = 2", lambda f: number(card(f, "AIRMASS")) == 2),
        ("header.AIRMASS = 'unknown'", lambda f: card(f, "AIRMASS") == "unknown"),
        ("header.AIRMASS = true", lambda f: card(f, "AIRMASS") is True),
        ("header.DATE-OBS like '2026-01%'", lambda f: (card(f, "DATE-OBS") or "").startswith("2026-01")),
        ("header.\"DATE-OBS\" is null", lambda f: card(f, "DATE-OBS") is None),
        ("header.AIRMASS < gain", lambda f: f.gain is not None and below(number(card(f, "AIRMASS")), f.gain)),
        ("filter='r' or filter='g' and exposure_s=60", lambda f: f.filter == "r" or (f.filter == "g" and f.exposure_s == 60)),
        ("(filter='r' or filter='g') and exposure_s=60", lambda f: f.filter in ("r", "g") and f.exposure_s == 60),
        ("header.NOSUCH is not null", lambda f: False),
    ],
)  # fmt: skip
def test_it_means_what_python_would_mean(filled, text, passes):
    expected = {one.id for one in MANY if passes(one)}
    assert {row["id"] for row in filled.frames(where=text)} == expected
    limited = [row["id"] for row in filled.frames(where=text, limit=3)]
    assert len(limited) == min(3, len(expected))
    assert set(limited) <= expected


def test_figures_of_products(filled):
    for index, one in enumerate(MANY[:4]):
        apply(filled, *(make_spec(ProductKind.REDUCED, f"reduced:{at}", of_frame(MANY[at])) for at in range(index + 1)))
        run(filled, metrics={"fwhm_px": 2.0 + index})
        del one
    found = [row["metrics"]["fwhm_px"] for row in filled.products(where="metric.fwhm_px >= 3 and kind = 'reduced'")]
    assert sorted(found) == [3.0, 4.0, 5.0]
    assert not list(filled.products(where="metric.stars > 0"))


@pytest.mark.parametrize(
    ("text", "at", "words"),
    [
        ("filtr = 'x'", 0, "no column filtr"),
        ("filter = 3", 9, "text cannot be compared with a number"),
        ("exposure_s = 'x'", 13, "a number cannot be compared with text"),
        ("filter = 'x", 9, "not understood"),
        ("exposure_s > ", 13, "expected here"),
        ("exposure_s 5", 11, "a comparison is expected"),
        ("filter = 'r' filter = 'g'", 13, "'and', 'or' or the end"),
        ("(filter = 'r'", 13, "')' is expected"),
        ("filter in ('r' 'g')", 15, "')' is expected"),
        ("filter; drop table frame", 6, "not understood"),
        ("1 = 1", 0, "one side must be a column"),
        ("header.A = header.B", 11, "the kind of both is open"),
        ("warnings = 'x'", 11, "cannot be compared"),
        ("header like 'x'", 0, "cannot be compared"),
        ("exposure_s like 'x'", 16, "compares text"),
        ("", 0, "expected here"),
        ("(" * 60 + "filter = 'r'" + ")" * 60, 50, "nested too deeply"),
    ],
)
def test_what_is_not_understood_is_shown_where_it_stands(text, at, words):
    with pytest.raises(UsageError) as error:
        parse_where(text, frames)
    message = str(error.value)
    assert words in message
    begin = max(0, at - 60)
    assert message.splitlines()[-1] == "  " + " " * (at - begin) + "^"


@settings(max_examples=400, deadline=None)
@given(st.text(alphabet="filtexposur_s.header'\"()=<>! andornotin123,;%-\x00é", max_size=60))
def test_any_text_is_a_condition_or_a_clear_refusal(text):
    with contextlib.suppress(UsageError):
        condition = parse_where(text, frames)
        assert not set(str(condition)) & set("%;é")  # values are bound, never written


def test_only_frames_have_a_header_and_where_filters_nights_and_files_too(filled):
    with pytest.raises(UsageError, match="only frames have a header"):
        list(filled.products(where="header.X = 1"))
    red = {one.id for one in MANY if one.filter == "r"}
    assert sum(len(row["frames"]) for row in filled.files(where="filter = 'r'")) == len(red)
    assert len(list(filled.nights(where="filter = 'r'"))) == 1
    assert not list(filled.observations(where="filter = 'nothing'"))
