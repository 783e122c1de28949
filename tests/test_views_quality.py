"""Rows of quality: what a night comes to."""

from __future__ import annotations

import pytest

from avcd.inspection import Limits
from avcd.views.quality import KEYS, NIGHT_KEYS, night_rows, quality_row


def frame(number: int, night: str = "2026-01-15", **metrics):
    about = {"id": str(number), "path": f"{number}.fits", "telescope": "T1", "night": night, "filter": "V",
             "date_obs": f"2026-01-15T2{number // 6}:{number % 6}0:00.000", "exposure_s": 60.0}  # fmt: skip
    return quality_row(about, metrics, Limits())


def test_rows_have_every_key_and_rounded_figures():
    row = frame(1, fwhm_px=3.14159265, background=1234.5678, transparency=0.2)
    assert tuple(row) == KEYS
    assert (row["fwhm_px"], row["background"]) == (3.142, 1234.6)
    assert row["faults"] == ["clouds"]
    assert row["evidence"][0].startswith("clouds: its stars have 20% of the light")
    assert row["zero_point_mag"] is None


def test_a_night_is_the_median_of_its_good_frames():
    rows = [frame(number, fwhm_px=3.0 + 0.1 * number, transparency=1.0, depth=1.0) for number in range(6)]
    rows.append(frame(6, fwhm_px=3.6, transparency=0.2, depth=0.05))
    rows.append(frame(1, night="2026-01-16", fwhm_px=5.0))
    first, second = night_rows(rows)
    assert tuple(first) == NIGHT_KEYS
    assert (first["frames"], first["faulty"], first["faults"]) == (7, 1, ["clouds 1"])
    assert first["fwhm_px"] == pytest.approx(3.25)
    assert first["sharpest_px"] == 3.0
    assert first["transparency"] == 1.0
    assert first["depth_s"] == pytest.approx(6 * 60 + 3)
    assert first["drift_px_h"] == pytest.approx(0.6)  # a tenth of a pixel in ten minutes
    assert (second["frames"], second["drift_px_h"], second["depth_s"]) == (1, None, None)


def test_one_wild_width_does_not_make_a_drift():
    rows = [frame(number, fwhm_px=9.0 if number == 5 else 3.0) for number in range(9)]
    assert night_rows(rows)[0]["drift_px_h"] == pytest.approx(0.0)
