"""What is cut off raw frames before they meet others, by their headers and by the rules."""

from __future__ import annotations

import pytest

from avcd.association import Rules, readout_values, trimmed
from avcd.association.loading import read_rules
from avcd.errors import ConfigError
from avcd.frame import CalibLevel, Frame, ImageType

HEADER = {"overscan_section": "[1:28,1:1024]", "trim_section": "[29:1052,1:1024]"}


def frame(**values: object) -> Frame:
    known = {"image_type": ImageType.SCIENCE, "instrument": "cam", "binning": "1x1", "naxis1": 1052, "naxis2": 1024}
    return Frame(id="f", **{**known, **values})


def rules(tmp_path, text: str) -> Rules:
    path = tmp_path / "match.toml"
    path.write_text(text)
    return read_rules(path)


def test_a_raw_frame_has_the_size_of_what_is_kept():
    found = trimmed(frame(**HEADER), Rules())
    assert (found.naxis1, found.naxis2) == (1024, 1024)
    assert readout_values(found, Rules()) == {
        "overscan": "[1:28,1:1024]", "overscan_method": "median", "trim": "[29:1052,1:1024]"}  # fmt: skip


@pytest.mark.parametrize(
    "done",
    [
        {"calib_level": CalibLevel.CALIBRATED},
        {"calibration": frozenset({"bias"})},
        {"image_type": ImageType.MASTER_BIAS},
    ],
)
def test_what_was_calibrated_before_is_left_as_it_is(done):
    one = trimmed(frame(**HEADER, **done), Rules())
    assert (one.naxis1, one.naxis2) == (1052, 1024)
    assert readout_values(one, Rules()) == {}


def test_the_rules_of_a_camera_go_before_its_headers(tmp_path):
    mine = rules(tmp_path, '[instrument."CAM".overscan]\nsection = "[3:20,1:1024]"\ndegree = 3\nmethod = "mean"\n')
    values = readout_values(trimmed(frame(**HEADER), mine), mine)
    assert values["overscan"] == "[3:20,1:1024]"
    assert (values["overscan_method"], values["overscan_degree"]) == ("mean", 3)
    assert values["trim"] == HEADER["trim_section"]


def test_sections_of_the_rules_are_of_unbinned_pixels_of_which_whole_ones_count(tmp_path):
    mine = rules(tmp_path, '[overscan]\nsection = "[2:29,1:1024]"\n[trim]\nsection = "[31:1052,1:1024]"\n')
    found = trimmed(frame(binning="2x2", naxis1=526, naxis2=512), mine)
    assert (found.overscan_section, found.trim_section) == ("[2:14,1:512]", "[16:526,1:512]")
    assert (found.naxis1, found.naxis2) == (511, 512)


def test_sections_of_the_rules_are_not_for_subframes(tmp_path):
    mine = rules(tmp_path, '[overscan]\nsection = "[1:28,1:1024]"\n')
    assert trimmed(frame(window="200,200", naxis1=100, naxis2=100), mine).overscan_section is None
    assert trimmed(frame(window="0,0"), mine).overscan_section == "[1:28,1:1024]"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[overscan]\nsection = "1:28"\n', "first pixel 1"),
        ('[overscan]\nmethod = "mode"\n', "median"),
        ("[overscan]\ndegree = -2\n", "-1"),
        ("[trim]\nsubtract = true\n", "subtract"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_place(tmp_path, text, said):
    with pytest.raises(ConfigError, match=said) as raised:
        rules(tmp_path, text)
    assert "match.toml" in str(raised.value)
