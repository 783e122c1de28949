"""Header cards as avcd reads them are astropy's, card by card, on real headers and on twenty thousand spoilt ones."""

from __future__ import annotations

import bz2
import gzip
import json
import math
import random
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from avcd.errors import ArchiveError, FrameError, HeaderError
from avcd.headers import cards
from avcd.headers.cards import Header, read_cards
from avcd.headers.quick import read_header
from avcd.headers.structure import header_end, read_parts

DATA = Path(__file__).resolve().parent.parent / "data"
# What the standard allows and files hold, each in its own way hard to read.
HARD = [
    "LONG    = 'a long text that goes on and&'",
    "CONTINUE  'on, beyond one card&' / of a",
    "CONTINUE  ' and ends' / comment",
    "HIERARCH ESO DET CHIP1 ID = 'CCD-44' / name",
    "HIERARCH  lower case = 12.5",
    "OBSERVER= 'O''Neill''s    '           / a quote in it",
    "EMPTY   = ''                 / nothing",
    "BLANKS  = '    '",
    "EXPTIME =                1.5e1 / lower-case exponent",
    "DOUBLE  =              1.5D-03",
    "WHOLE   =                 +007",
    "HUGE    =                1E400",
    "SIGNED  =            - 12.5 E 3",
    "COMPLEX =           (1.5, -2.0)",
    "FLAG    =                    T/no blank",
    "NOVALUE =                      / undefined",
    "DP1     = 'AXIS.1: 2.0'",
    "NOTE    = 'RA: twelve' / a colon",
    "COMMENT = 'looks like a value'",
    "COMMENT   twice",
    "COMMENT   twice",
    "HISTORY done",
    "",
    "        = 'no keyword'",
    "lower   = 5",
    "TWO WRDS=                    5",
    "KEY     =5",
    "NOEQUAL   5",
    "SLASHED = 'a / b' / c / d",
    "UNCLOSED= 'text",
    "BAD     = twelve or so / words",
    "DATE-OBS= '2024-01-01T00:00:00' /    ",
    "DATE-OBS= 'a second one'",
]


def block(lines):
    return "".join(line.ljust(80) for line in lines).encode("latin-1")


def expected(data):
    """The cards as astropy reads them: values as Python's, undefined None, what cannot be read as text."""
    found, problems = [], []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for card in fits.Header.fromstring(data.decode("ascii")).cards:
            try:
                value, comment = card.value, card.comment
            except fits.VerifyError:
                card.verify("silentfix")
                value, comment = card.value, card.comment
                problems.append(f"{card.keyword} is not readable: {value!r}")
            if isinstance(value, fits.card.Undefined):
                value = None
            elif isinstance(value, complex) or (isinstance(value, float) and not math.isfinite(value)):
                value = str(value)
            found.append((card.keyword, type(value).__name__, value, comment or ""))
    return found, problems


def ours(data):
    header = read_cards(data)
    return [(one.keyword, type(one.value).__name__, one.value, one.comment) for one in header.cards], list(
        header.problems
    )


def real_headers():
    for path in sorted((DATA / "feder").glob("*.fit")):
        data = path.read_bytes()
        yield path.name, data[: header_end(data, 0)]
    for path in sorted((DATA / "headers").iterdir()):
        lines = path.read_bytes().decode("ascii", "replace").replace("\ufffd", "?").splitlines()
        cards = [line[:80] for line in lines if line.strip() and line.strip() != "END"]
        if path.suffix == ".txt":
            yield path.name, block(cards)


REAL = dict(real_headers())


@pytest.mark.parametrize("name", sorted(REAL))
def test_real_headers_are_read_as_astropy_reads_them(name):
    assert ours(REAL[name]) == expected(REAL[name])


def test_every_shared_header_is_read_as_astropy_reads_it(shared_data):
    seen = 0
    for path in sorted(one for one in shared_data.rglob("*.f*") if one.is_file()):
        data = bz2.decompress(path.read_bytes()) if path.suffix == ".bz2" else path.read_bytes()
        if not data.startswith(b"SIMPLE"):
            continue
        begin = 0
        for part in read_parts(data):
            header = data[begin : header_end(data, begin)]
            assert ours(header) == expected(header), (path.name, part.number)
            begin, seen = part.end, seen + 1
    assert seen >= 60


@pytest.mark.parametrize("line", [*HARD[3:]])
def test_hard_cards_are_read_as_astropy_reads_them(line):
    assert ours(block([line])) == expected(block([line]))


def test_a_whole_header_of_hard_cards_keeps_order_and_duplicates():
    found, problems = ours(block(HARD))
    assert (found, problems) == expected(block(HARD))
    texts = {keyword: value for keyword, _, value, _ in found}
    assert texts["LONG"] == "a long text that goes on andon, beyond one card and ends"
    assert texts["OBSERVER"] == "O'Neill's"
    assert [value for keyword, _, value, _ in found if keyword == "COMMENT"] == [
        "= 'looks like a value'",
        "  twice",
        "  twice",
    ]


POOL = [HARD, *([data[at : at + 80].decode() for at in range(0, len(data), 80)] for data in REAL.values())]
LETTERS = "".join(map(chr, range(32, 127)))


def spoilt(rng):
    """Some cards of a real header, changed here and there."""
    lines = rng.choice(POOL)
    start = rng.randrange(len(lines))
    chosen = [line.ljust(80) for line in lines[start : start + rng.randint(1, 8)]]
    for _ in range(rng.randint(1, 4)):
        number = rng.randrange(len(chosen))
        line, at = chosen[number], rng.choice([rng.randrange(80), rng.randrange(12), rng.randrange(8, 34)])
        change = rng.randrange(7)
        if change == 0:
            line = line[:at] + rng.choice(LETTERS) + line[at + 1 :]
        elif change == 1:
            line = line[:at] + rng.choice("'/=&.+-EDTF0 (),:") + line[at + 1 :]
        elif change == 2:
            line = line[:at] + line[at + 1 :]
        elif change == 3:
            line = line[:at] + rng.choice(["''", "'", " ", "E", "CONTINUE", "= ", " / "]) + line[at:]
        elif change == 4:
            chosen.insert(number, rng.choice(HARD))
            continue
        elif change == 5:
            line = line[:8] + rng.choice(["= ", "  ", " =", "=="]) + line[10:]
        else:
            line = rng.choice(["CONTINUE", "HIERARCH", "COMMENT ", "        "]) + line[8:]
        chosen[number] = line[:80].ljust(80)
    return block(line[:80] for line in chosen)


@settings(max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**32))
def test_spoilt_headers_are_read_as_astropy_reads_them_or_refused_by_both(seed):
    rng = random.Random(seed)
    for _ in range(20):
        data = spoilt(rng)
        try:
            wanted = expected(data)
        except (ValueError, fits.VerifyError):
            with pytest.raises(HeaderError):
                ours(data)
        else:
            assert ours(data) == wanted


def test_the_texts_kept_are_json_of_the_cards():
    header = read_cards(block([*HARD, "QUOTED  = 'a \"b\" \\c'"]))
    _, text = header.texts()
    assert json.loads(text.cards) == [list(one) for one in header.cards]
    values = {}
    for one in header.cards:
        if one.keyword not in ("COMMENT", "HISTORY", ""):
            values.setdefault(one.keyword, one.value)
    assert json.loads(text.values) == values
    assert values["DATE-OBS"] == "2024-01-01T00:00:00"


def test_cards_that_differ_in_their_value_alone_are_parsed_once(monkeypatch):
    """They are put together from what stands around the value, in the header and in JSON: as if each were the first."""
    forms = (
        "CCD-TEMP=%21.4f / [\xb0C]",
        "DATE-OBS= '2026-01-15T21:36:%06.3f' / UTC \x01",
        'FOCUS   =%21d / "steps"',
        "NOTE    = 'Ω is \\ and \" %05.2f'",
        "COMMENT %g",
    )
    learnt = []
    real = cards._learn
    monkeypatch.setattr(cards, "_learn", lambda images: learnt.append(len(images)) or real(images))
    for number in range(20):
        lines = [(form % (number + 0.25 if "f" in form or "g" in form else number)).ljust(80) for form in forms]
        header = read_cards("".join(lines).encode("latin-1", "replace"))
        again = Header(header.cards)
        assert header.texts() == again.texts()
        assert json.loads(header.texts()[1].cards) == [list(one) for one in header.cards]
        assert header.first("CCD-TEMP").value == number + 0.25
    assert learnt == [5] + 19 * [1], "only the comment is new every time"


def test_a_problem_is_told_every_time_though_cards_are_known():
    line = block(["SPOILT  = twelve or so"])
    assert read_cards(line).problems == read_cards(line).problems == ("SPOILT is not readable: 'twelve or so'",)


def comparable(cards):
    return [(one.keyword, one.value, one.comment) for one in cards]


def without_structure(cards):
    skipped = ("SIMPLE", "XTENSION", "EXTEND", "PCOUNT", "GCOUNT", "CHECKSUM", "DATASUM", "BITPIX", "EXTNAME")
    return [one for one in comparable(cards) if one[0] not in skipped and not one[0].startswith("NAXIS")]


@pytest.mark.parametrize("kind", ["RICE_1", "GZIP_1", "GZIP_2", "HCOMPRESS_1", "PLIO_1", "NOCOMPRESS"])
def test_a_packed_images_header_is_the_images_own(kind, tmp_path):
    source = DATA / "feder" / "uint16.fit"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data, header = fits.getdata(source, header=True)
        packed = fits.CompImageHDU((data // 300).astype(np.int16), header, compression_type=kind)
        fits.HDUList([fits.PrimaryHDU(), packed]).writeto(tmp_path / "x.fits.fz")
        with fits.open(tmp_path / "x.fits.fz") as hdus:
            wanted = without_structure(hdus[1].header.cards)
    found = read_header(tmp_path / "x.fits.fz")
    assert without_structure(found.cards) == wanted
    assert [found.first(key).value for key in ("BITPIX", "NAXIS", "NAXIS1")] == [16, 2, data.shape[1]]
    assert not [one for one in found.cards if one.keyword.startswith(("ZNAXIS", "TFORM", "TFIELDS", "ZCMPTYPE"))]


@pytest.fixture
def copies(tmp_path):
    """One real frame in every kind of file."""
    content = (DATA / "feder" / "uint16.fit").read_bytes()
    found = {kind: tmp_path / f"x.fit{kind}" for kind in ("", ".gz", ".bz2", ".zip")}
    found[""].write_bytes(content)
    found[".gz"].write_bytes(gzip.compress(content))
    found[".bz2"].write_bytes(bz2.compress(content))
    with zipfile.ZipFile(found[".zip"], "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("readme.txt", "no frame")
        archive.writestr("x.fit", content)
    return found


@pytest.mark.parametrize("kind", ["", ".gz", ".bz2", ".zip"])
def test_the_quick_reader_gives_the_header_of_every_kind_of_file(kind, copies):
    header = REAL["uint16.fit"]
    assert comparable(read_header(copies[kind]).cards) == [(one[0], one[2], one[3]) for one in expected(header)[0]]


@pytest.mark.parametrize("kind", ["", ".gz"])
def test_the_quick_reader_reads_no_further_than_end(kind, copies, tmp_path):
    whole = copies[kind].read_bytes()
    cut = tmp_path / f"cut.fit{kind}"
    cut.write_bytes(whole[: 2 * 2880])  # the pixels are gone
    assert read_header(cut).first("INSTRUME") == read_header(copies[kind]).first("INSTRUME")


def test_the_quick_reader_takes_the_first_image_with_what_the_primary_says(tmp_path):
    primary = fits.PrimaryHDU(header=fits.Header({"TELESCOP": "T1", "FILTER": "g"}))
    table = fits.BinTableHDU.from_columns([fits.Column("X", "E", array=np.arange(3.0))])
    image = fits.ImageHDU(np.zeros((4, 5), np.int16), fits.Header({"FILTER": "r"}))
    path = tmp_path / "x.fits"
    fits.HDUList([primary, table, image]).writeto(path)
    header = read_header(path)
    assert (header.first("TELESCOP").value, header.first("FILTER").value, header.first("NAXIS1").value) == (
        "T1",
        "r",
        5,
    )
    packed = tmp_path / "x.fits.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert read_header(packed).cards == header.cards


@pytest.mark.parametrize(
    ("name", "content", "error", "reason"),
    [
        ("x.fits", b"", FrameError, "empty file"),
        ("x.fits", b"no picture" * 300, FrameError, "not a FITS file"),
        ("x.fits", b"SIMPLE  =".ljust(80) * 36, FrameError, "has no END"),
        ("x.fits.gz", b"no gzip", ArchiveError, "broken compression"),
        ("x.zip", b"no zip", ArchiveError, "broken compression"),
    ],
)
def test_the_quick_reader_says_what_is_wrong(name, content, error, reason, tmp_path):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(error, match=reason):
        read_header(path)
