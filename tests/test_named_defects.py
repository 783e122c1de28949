"""Bad pixels that an observer names: what the file may say, what it may leave out, and what is said of mistakes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from avcd.config import Processing
from avcd.errors import ConfigError
from avcd.frame import ImageType, ProductKind
from avcd.named_defects import draw_areas, read_named_defects, within_window
from avcd.planner import plan, planning_digest
from avcd.recipes import load_recipes
from test_planner import RULES, night, snapshot

WHOLE = """
bad_columns: [3, [5, 6]]
bad_rows: [10]
bad_rectangles:
  - [1, 2, 8, 9]
  - {rows: [4, 7], column: 12}
bad_pixels:
  - [9, 1]
  - {row: 9, column: 14}
2x2:
  bad_columns: 2
"""


@pytest.fixture
def read(tmp_path):
    def read_text(text: str):
        path = tmp_path / "bad.yaml"
        path.write_text(text, encoding="utf-8")
        return read_named_defects(path)

    return read_text


def drawn(areas, shape=(10, 14)) -> np.ndarray:
    plane, outside = draw_areas(areas, shape)
    assert not outside
    return plane


def test_numbers_are_those_of_fits(read):
    truth = np.zeros((10, 14), bool)
    truth[:, [2, 4, 5]] = True
    truth[9] = True
    truth[0:2, 7:9] = True
    truth[3:7, 11] = True
    truth[8, [0, 13]] = True
    np.testing.assert_array_equal(drawn(read(WHOLE).for_binning("1x1")), truth)
    np.testing.assert_array_equal(drawn(read(WHOLE).for_binning(None)), truth)


def test_a_binning_has_its_own_section_or_what_its_pixels_hold(read):
    found = read(WHOLE)
    assert np.flatnonzero(drawn(found.for_binning("2x2"), (5, 7)).all(axis=0)).tolist() == [1]
    whole = drawn(found.for_binning("1x1"))
    binned = whole.reshape(5, 2, 7, 2).any(axis=(1, 3))
    np.testing.assert_array_equal(drawn(read(WHOLE.split("2x2")[0]).for_binning("2x2"), (5, 7)), binned)
    across = whole.reshape(5, 2, 14).any(axis=1)
    np.testing.assert_array_equal(drawn(found.for_binning("1x2"), (5, 14)), across)


KEYS = ("bad_columns: [3]", "bad_rows: [4]", "bad_rectangles: [[1, 2, 3, 4]]", "bad_pixels: [[1, 2]]")


@pytest.mark.parametrize("text", ["", "# nothing\n", *KEYS, "bad_columns:\nbad_rows: []\n", "2x2:\n"])
def test_any_key_may_be_missing_and_any_may_be_empty(text, read):
    plane = drawn(read(text).for_binning("1x1"))
    assert plane.any() == (text in KEYS)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("bad_columns: [3]\nbad_cols: [4]\n", 2, "bad_cols: there is no such key"),
        ("2x2:\n  columns: [4]\n", 2, "2x2.columns: there is no such key"),
        ("bad_columns:\n  - 3\n  - x7\n", 3, "bad_columns, entry 2: x7 is no row or column"),
        ("bad_columns: [0]", 1, "whole numbers from 1 on"),
        ("bad_rows: [1.5]", 1, "bad_rows, entry 1: 1.5"),
        ("bad_columns: [[9, 3]]", 1, "the first, 9, is after the last, 3"),
        ("bad_columns: [[1, 2, 3]]", 1, "a range is"),
        ("bad_rectangles:\n- [1, 2, 3]\n", 2, "wanted is .row, row, column, column., here are 3 numbers"),
        ("bad_rectangles: [1, 2, 3, 4]", 1, "here are 1 numbers"),
        ("bad_rectangles: [[5, 2, 3, 4]]", 1, "the first row, 5, is after the last, 2"),
        ("bad_pixels:\n- {row: 4, col: 4}\n", 2, "entry 1, col: wanted are row"),
        ("bad_pixels: [{}]", 1, "names neither rows nor columns"),
        ("bad_rows: [4]\nbad_rows: [5]\n", 2, "bad_rows: stands here twice"),
        ("- 3\n- 4\n", 1, "keys with values are wanted"),
        ("telescope: [T20]", 1, "telescope: a name is wanted"),
        ("bad_rows: [4\n", 2, "not valid YAML"),
        ("bad_rows: !!python/object:os.system [4]\nbad_columns: {3: 4}", 2, "bad_columns, entry 1: a list or mapping"),
    ],
)
def test_a_mistake_is_told_with_file_line_and_key(text, line, words, read):
    with pytest.raises(ConfigError, match=words) as error:
        read(text)
    assert f"bad.yaml:{line}: " in str(error.value)


def test_a_file_that_is_not_there_or_no_text_is_told(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.yaml: No such file"):
        read_named_defects(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not a text file"):
        read_named_defects(tmp_path / "bad.yaml")


def test_what_lies_outside_of_the_image_is_told(read):
    plane, outside = draw_areas(read("bad_columns: [3, 15]\nbad_pixels: [[11, 2]]").for_binning(None), (10, 14))
    assert np.flatnonzero(plane.any(axis=0)).tolist() == [2]
    assert [one.split(" is not")[0] for one in outside] == ["column 15", "row 11, column 2"]


def test_a_subframe_takes_its_part(read):
    areas = read(WHOLE).for_binning("1x1")
    whole = drawn(areas)
    np.testing.assert_array_equal(drawn(within_window(areas, 4, 2, 9, 6), (6, 9)), whole[2:8, 4:13])


@pytest.fixture
def home(tmp_path):
    (tmp_path / "badpixels").mkdir()
    return tmp_path


def masks(home, frames) -> dict[str, object]:
    found = plan(snapshot(frames), load_recipes(home), RULES, Processing())
    return {one.kind: one for one in found.specs if one.kind is ProductKind.BAD_PIXEL_MASK or "named" in one.parameters}


def test_what_a_home_names_goes_into_the_masks_of_its_camera_alone(home):
    before = masks(home, night())[ProductKind.BAD_PIXEL_MASK]
    digest = planning_digest(load_recipes(home), RULES, Processing())
    (home / "badpixels" / "t21.yaml").write_text("telescope: T21\ninstrument: FLI\nbad_columns: [9]\n")
    assert masks(home, night())[ProductKind.BAD_PIXEL_MASK].id == before.id
    (home / "badpixels" / "t20.yaml").write_text("telescope: t20\ninstrument: fli\nbad_columns: [30, 31]\n")
    after = masks(home, night())[ProductKind.BAD_PIXEL_MASK]
    assert after.id != before.id
    assert after.parameters["named"] == [[None, None, 30, 30], [None, None, 31, 31]]
    assert planning_digest(load_recipes(home), RULES, Processing()) != digest
    part = [replace(one, window="20,0") if one.image_type is not ImageType.SCIENCE else one for one in night()]
    assert masks(home, part)[ProductKind.BAD_PIXEL_MASK].parameters["named"][0] == [None, None, 10, 10]


def test_a_home_s_file_says_whose_pixels_it_names(home):
    (home / "badpixels" / "t20.yaml").write_text("telescope: T20\nbad_columns: [30]\n")
    with pytest.raises(ConfigError, match=r"t20\.yaml: telescope and instrument"):
        load_recipes(home)


def test_a_recipe_cannot_name_pixels_itself(home):
    (home / "recipes").mkdir()
    (home / "recipes" / "mask.toml").write_text('kind = "bad_pixel_mask"\nname = "mine"\nversion = 1\nnamed = [{}]\n')
    with pytest.raises(ConfigError, match="named"):
        load_recipes(home)
