"""Other programs' names: links or copies of what serves, and of nothing else; never over anybody's file."""

from __future__ import annotations

import logging
from pathlib import Path, PurePosixPath

import pytest

from avcd.compat import Named, keep_names, named_products
from avcd.config import parse_home
from avcd.errors import ConfigError, StorageError


@pytest.fixture
def archive(tmp_path) -> Path:
    path = tmp_path / "archive"
    path.mkdir()
    for name in "abc":
        (path / f"{name}.fits").write_bytes(name.encode() * 100)
    return path


def named(archive: Path, id: str, name: str) -> Named:
    return Named(id, archive / f"{id}.fits", PurePosixPath(name))


def files(path: Path) -> dict[str, bytes]:
    found = {one.relative_to(path).as_posix(): one.read_bytes() for one in path.rglob("*") if one.is_file()}
    found.pop(".avcd-names.json", None)
    return found


@pytest.mark.parametrize("copy", [False, True])
def test_what_serves_is_there_and_what_was_superseded_or_removed_is_not(copy, archive, tmp_path):
    out = tmp_path / "out"
    first = [named(archive, "a", "n/n-CAMS_CAL/x_CAL.fits"), named(archive, "b", "n/n-CAMS_CAL/y_CAL.fits")]
    assert keep_names(first, out, copy=copy) == (2, 0)
    assert files(out) == {"n/n-CAMS_CAL/x_CAL.fits": b"a" * 100, "n/n-CAMS_CAL/y_CAL.fits": b"b" * 100}
    assert (out / first[0].name).samefile(archive / "a.fits") is not copy
    assert keep_names(first, out, copy=copy) == (0, 0)  # the same products stay
    superseded = [named(archive, "c", "n/n-CAMS_CAL/x_CAL.fits")]
    assert keep_names(superseded, out, copy=copy) == (1, 1)
    assert files(out) == {"n/n-CAMS_CAL/x_CAL.fits": b"c" * 100}
    assert (archive / "a.fits").read_bytes() == b"a" * 100  # the archive's own is not touched
    assert keep_names([], out, copy=copy) == (0, 1)
    assert files(out) == {}
    assert not (out / "n").exists()


def test_a_name_that_was_taken_away_comes_again(archive, tmp_path):
    wanted = [named(archive, "a", "cal-x.fits")]
    keep_names(wanted, tmp_path / "out", copy=False)
    (tmp_path / "out" / "cal-x.fits").unlink()
    assert keep_names(wanted, tmp_path / "out", copy=False) == (1, 0)
    assert files(tmp_path / "out") == {"cal-x.fits": b"a" * 100}


def test_nobodys_file_is_replaced_or_removed(archive, tmp_path, caplog):
    out = tmp_path / "out"
    out.mkdir()
    (out / "cal-x.fits").write_bytes(b"mine")
    with caplog.at_level(logging.WARNING):
        assert keep_names([named(archive, "a", "cal-x.fits")], out, copy=False) == (0, 0)
        assert keep_names([], out, copy=False) == (0, 0)
    assert "none of avcd's" in caplog.text
    assert files(out) == {"cal-x.fits": b"mine"}


def test_a_product_that_is_gone_does_not_stop_the_others(archive, tmp_path, caplog):
    wanted = [named(archive, "gone", "cal-g.fits"), named(archive, "b", "cal-y.fits")]
    with caplog.at_level(logging.WARNING):
        assert keep_names(wanted, tmp_path / "out", copy=False) == (1, 0)
    assert "not in the archive" in caplog.text


def test_where_links_cannot_be_made_there_are_copies(archive, tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.link", refuse)
    assert keep_names([named(archive, "a", "cal-x.fits")], tmp_path / "out", copy=False) == (1, 0)
    assert files(tmp_path / "out") == {"cal-x.fits": b"a" * 100}


def test_a_directory_that_cannot_be_written_is_worth_another_try(archive, tmp_path):
    (tmp_path / "out").write_text("in the way")
    with pytest.raises(StorageError, match="names of other programs"):
        keep_names([named(archive, "a", "cal-x.fits")], tmp_path / "out", copy=False)


def test_each_drop_directory_has_its_own_names(archive, caplog):
    def row(id: str, root: str, path: str, member: str = "") -> dict[str, str]:
        return {"id": id, "path": f"{id}.fits", "night": "2012-06-04", "root": root, "relative_path": path,
                "member": member}  # fmt: skip

    rows = [
        row("a", "south", "2012-06-04/2012-06-04-CAMS/2012-06-04_17.23.54_SCIENCE.fits"),
        row("b", "itel", "T05/RAW-T05-M 42-Red.fit.zip", "in/raw-T05-M 42-Red.fit"),
        row("c", "other", "x.fits"),
        row("d", "south", "loose.fits.gz"),
        row("e", "itel", "T05/raw-T05-M 42-Red.fts"),
    ]
    with caplog.at_level(logging.WARNING):
        found = named_products(rows, archive, {"south": "astep", "itel": "itelescope", "other": None})
    assert {one.id: str(one.name) for one in found} == {
        "a": "2012-06-04/2012-06-04-CAMS_CAL/2012-06-04_17.23.54_SCIENCE_CAL.fits",
        "b": "T05/cal-T05-M 42-Red.fits",
        "d": "2012-06-04-CAMS_CAL/loose_CAL.fits",
    }
    assert "another frame has this name too" in caplog.text


@pytest.mark.parametrize("path", ["drop", "drop/compat", "archive", "archive/compat", "."])
def test_names_go_neither_into_a_drop_directory_nor_into_the_archive(path, tmp_path):
    with pytest.raises(ConfigError, match="lie inside one another"):
        parse_home(tmp_path, {"compat": {"style": "astep", "path": path}}, tmp_path / "avcd.toml")


def test_a_drop_directory_may_go_without(tmp_path):
    drops = [{"name": "a", "path": "a"}, {"name": "b", "path": "b", "compat": "none"}]
    home = parse_home(tmp_path, {"compat": {"style": "astep"}, "drop": drops}, tmp_path / "avcd.toml")
    assert home.compat_styles == {"a": "astep", "b": None}
    assert home.compat_path == tmp_path / "compat"
