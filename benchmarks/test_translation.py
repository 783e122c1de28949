"""How long a header takes to become a frame's values, by program: every frame that is catalogued pays it.

Run by ``make bench``; prints microseconds of processor time a frame, the best of many.
"""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from astropy.io import fits

from avcd.frame import Card
from avcd.headers.gathering import Hdu
from avcd.headers.profiles import load_profiles
from avcd.headers.translation import translate

HEADERS = Path(__file__).resolve().parent.parent / "tests" / "data" / "headers"
MOST_US = 500  # several times what it takes, for slow machines
NAMES = {
    "nina": "LIGHT/2021-03-02_21-19-00_LP_-10.00_30.00s_0001.fits",
    "maximdl": "T33/raw-T33-bcolyn-M17-20180704-000303-SII-BIN1-E-300-001.fit",
    "sgp": "M57/M57_30sec_1x1_HaOIII_frame12.fit",
    "megaprime": "1038843o.fits",
}


@pytest.mark.parametrize("program", NAMES)
def test_translation(program):
    lines = (HEADERS / f"header_{program}.hdr.txt").read_text(encoding="utf-8").splitlines()
    kept = [line[:80].ljust(80) for line in lines if re.match(r"([A-Z0-9_-]{1,8} *=|HIERARCH|HISTORY|COMMENT)", line)]
    header = fits.Header.fromstring("".join(kept))
    cards = tuple(Card(one.keyword, one.value, one.comment) for one in header.cards)
    hdu, profiles = Hdu("0" * 64, "1" * 64, cards, (1024, 1024), False), load_profiles()
    best = float("inf")
    for _ in range(100):
        start = time.process_time_ns()
        for _ in range(20):
            translate(hdu, NAMES[program], "", profiles)
        best = min(best, (time.process_time_ns() - start) / 20_000)
    print(f"\n{program}: {len(cards)} cards, {best:.0f} us")
    assert best < MOST_US
