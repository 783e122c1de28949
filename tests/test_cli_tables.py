"""Rows as table, json and csv."""

from __future__ import annotations

import csv
import io
import itertools
import json

import pytest

from avcd.views.tables import Format, render_table, write_rows

ROWS = [
    {"id": "a" * 64, "name": "M 42, north", "value": 1.5, "frames": {"science": {"Red": 3, "none": 1}}, "known": True},
    {"id": "b" * 64, "name": 'the "Ring"', "value": None, "frames": {}, "known": False},
    {"id": "c" * 64, "name": "ζ Ori\nand more", "value": -3, "frames": {"bias": {"none": 5}}, "known": None},
]
COLUMNS = ("id", "name", "value", "frames", "known")


def written(form: Format, rows=ROWS, **more) -> str:
    stream = io.StringIO()
    write_rows(rows, form, stream, COLUMNS, **more)
    return stream.getvalue()


def test_json_gives_back_what_went_in():
    assert json.loads(written(Format.JSON)) == ROWS


def test_csv_gives_back_what_went_in_as_text():
    found = list(csv.DictReader(io.StringIO(written(Format.CSV))))
    assert [one["name"] for one in found] == [one["name"] for one in ROWS]
    assert [one["value"] for one in found] == ["1.5", "", "-3"]
    assert json.loads(found[0]["frames"]) == ROWS[0]["frames"]


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_a_table_fits_its_width(width, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    lines = written(Format.TABLE, [{**one, "name": one["name"] * 9} for one in ROWS]).splitlines()
    assert max(map(len, lines)) <= width
    # Half a line is too little for five columns; but where an id fits, it is never cut off.
    assert width < 60 or any("aaaaaaaaaaaa" in line for line in lines)


def test_without_a_terminal_nothing_is_cut_off(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    long = "x" * 500
    assert long in written(Format.TABLE, [{**ROWS[0], "name": long}])


def test_a_table_shows_ids_short_counts_readable_and_control_characters_harmless():
    text = render_table(ROWS, COLUMNS, 200)
    assert "a" * 12 in text
    assert "a" * 13 not in text
    assert "science Red 3, none 1" in text
    assert "bias 5" in text
    assert r"ζ Ori\nand more" in text
    hostile = render_table([{"name": "\x1b[31mred\x1b[0m[bold]"}], ("name",), 80)
    assert "\x1b" not in hostile
    assert "[bold]" in hostile


def test_chosen_keys_are_shown_in_their_order_by_every_format():
    assert list(json.loads(written(Format.JSON, chosen=["value", "id"]))[0]) == ["value", "id"]
    assert written(Format.CSV, chosen=["value", "id"]).splitlines()[0] == "value,id"
    assert written(Format.TABLE, chosen=["value", "name"]).split()[:2] == ["value", "name"]


@pytest.mark.parametrize("form", list(Format))
def test_what_is_wrong_with_the_rows_shows_before_anything_is_written(form):
    def broken():
        raise RuntimeError("no such column")
        yield

    stream = io.StringIO()
    with pytest.raises(RuntimeError):
        write_rows(broken(), form, stream, COLUMNS)
    with pytest.raises(KeyError, match="nonsense"):
        write_rows(ROWS, form, stream, COLUMNS, chosen=["nonsense"])
    assert stream.getvalue() == ""


@pytest.mark.parametrize("form", [Format.JSON, Format.CSV])
def test_a_list_longer_than_memory_is_streamed(form):
    class Enough(Exception):
        pass

    class Stream(io.StringIO):
        def write(self, text: str) -> int:
            if "999" in text:
                raise Enough
            return len(text)

    with pytest.raises(Enough):  # an endless list: collecting it first would never end
        write_rows(({"value": number} for number in itertools.count()), form, Stream(), COLUMNS)


def test_nothing_is_an_empty_array_a_heading_or_silence():
    assert json.loads(written(Format.JSON, [])) == []
    assert written(Format.CSV, []) == ",".join(COLUMNS) + "\n"
    assert written(Format.TABLE, []) == ""


def test_json_is_valid_where_the_terminal_knows_only_ascii():
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", errors="strict")
    write_rows(ROWS, Format.JSON, stream, COLUMNS)
    stream.flush()
    assert json.loads(raw.getvalue().decode("ascii")) == ROWS


def test_json_never_holds_what_is_not_json():
    with pytest.raises(ValueError, match="JSON"):
        written(Format.JSON, [{"value": float("nan")}])
