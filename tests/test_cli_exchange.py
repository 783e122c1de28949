"""Lists as VOTable and FITS: astropy reads back what json says, and the validators have nothing to say."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from astropy.io import fits
from astropy.io.votable import parse
from astropy.io.votable.ucd import parse_ucd
from astropy.table import Table

from avcd.catalog import Catalog
from avcd.frame import ImageType, ProductKind
from avcd.views import exchange
from catalogue import apply, make_frame, make_spec, of_frame, record, run
from homes import make_home

LISTS = ("frames", "nights", "observations", "products", "masters", "jobs", "files")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    made = make_home(tmp_path_factory.mktemp("home"))
    catalog = Catalog(made.database_url)
    light = make_frame("light", s_ra=10.25, s_dec=-60.5, gain_e_per_adu=1.5, warnings=("é conflict",))
    other = make_frame("other", target_name="Große Wolke", exposure_s=None, n_combined=3)
    delivered = make_frame("dark", image_type=ImageType.MASTER_DARK, filter=None, target_name=None)
    record(catalog, light, other, delivered)
    apply(catalog, make_spec(ProductKind.MASTER_BIAS, "bias", of_frame(light)))
    run(catalog, metrics={"level": 300.5})
    catalog.close()
    return made


def output(home, *words: str) -> bytes:
    ended = subprocess.run([sys.executable, "-m", "avcd", *words, "--home", str(home.path)], capture_output=True)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def plain(value):
    """A cell as Python has it; None where it is not known."""
    if value is np.ma.masked:
        return None
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, float) and value != value:
        return None
    return value


@pytest.mark.parametrize("form", ["votable", "fits"])
@pytest.mark.parametrize("name", LISTS)
def test_a_reader_gets_what_json_says(home, name, form):
    rows = json.loads(output(home, name, "--format", "json"))
    table = Table.read(io.BytesIO(output(home, name, "--format", form)), format=form)
    assert table.colnames == list(rows[0])
    assert len(table) == len(rows)
    for row, read in zip(rows, table, strict=True):
        for key, value in row.items():
            found = plain(read[key])
            if isinstance(value, (dict, list)):
                assert (
                    json.loads(found.encode().decode("unicode_escape") if form == "fits" and "\\x" in found else found)
                    == value
                )
            elif isinstance(value, str):
                expected = value.encode("ascii", "backslashreplace").decode() if form == "fits" else value
                assert (found or "") == expected
            elif value is None:
                assert found in (None, "")
            else:
                assert found == value, key


def test_columns_have_units_ucds_and_descriptions(home):
    words = ("frames", "--columns", "id,exposure_s,s_ra,gain_e_per_adu", "--format")
    votable = parse(io.BytesIO(output(home, *words, "votable")), verify="exception").get_first_table()
    fields = {one.name: one for one in votable.fields}
    assert list(fields) == ["id", "exposure_s", "s_ra", "gain_e_per_adu"]
    assert str(fields["s_ra"].unit) == "deg"
    assert fields["s_ra"].ucd == "pos.eq.ra;meta.main"
    assert "right ascension" in fields["s_ra"].description
    with fits.open(io.BytesIO(output(home, *words, "fits"))) as opened:
        header = opened[1].header
        assert (header["TUNIT2"], header["TUNIT3"]) == ("s", "deg")
        assert header["TCOMM4"] == "conversion [electron / adu]"  # FITS does not list the electron
        assert header["TUCD3"] == "pos.eq.ra;meta.main"


def test_every_ucd_is_one(home):
    for _, ucd, description in exchange._ABOUT.values():
        assert parse_ucd(ucd, check_controlled_vocabulary=True)
        assert description


@pytest.mark.skipif(not shutil.which("fitsverify"), reason="fitsverify is not here; .ci/run installs it")
@pytest.mark.parametrize("name", LISTS)
def test_fitsverify_has_nothing_to_say(home, name, tmp_path):
    path = tmp_path / "list.fits"
    path.write_bytes(output(home, name, "--format", "fits"))
    said = subprocess.run(["fitsverify", "-q", str(path)], capture_output=True, text=True)
    assert "verification OK" in said.stdout, said.stdout


def test_an_unknown_column_writes_nothing(home):
    words = [
        sys.executable,
        "-m",
        "avcd",
        "frames",
        "--columns",
        "nope",
        "--format",
        "votable",
        "--home",
        str(home.path),
    ]
    ended = subprocess.run(words, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "there is no nope" in ended.stderr
