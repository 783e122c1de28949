"""Star lists matched by triangles: ours against astroalign, in the same run, on the same lists.

Run by ``make bench``; prints fields solved, distinct answers of ten, and the median time of one match.
"""

from __future__ import annotations

import time

import numpy as np
import pytest

from avcd.compose.triangles import match_triangles

FIELDS, REPEATS, STARS = 20, 2, 60


def lists(rng: np.random.Generator, common: int, noise_px: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two lists of 60 stars with ``common`` of them in both, turned and shifted, and the rotation that was applied."""
    source = rng.uniform(0, 1000, (STARS, 2))
    angle = rng.uniform(0, 2 * np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    seen = source[rng.permutation(STARS)[:common]] @ turn.T + 30 + rng.normal(0, noise_px, (common, 2))
    return source, np.vstack([seen, rng.uniform(0, 1000, (STARS - common, 2))]), turn


@pytest.mark.parametrize(("common", "noise_px"), [(45, 0.3), (22, 0.8)])
def test_matching(common, noise_px):
    astroalign = pytest.importorskip("astroalign")

    def theirs(source, target):
        try:
            return astroalign.find_transform(source, target)[0].params[:2]
        except (astroalign.MaxIterError, ValueError):
            return None

    def ours(source, target):
        return match_triangles(source, target, scale_tolerance=0.02)

    rng = np.random.default_rng(3)
    fields = [lists(rng, common, noise_px) for _ in range(FIELDS)]
    print(f"\n{common} of {STARS} stars in common, {noise_px} px")
    for name, match in (("astroalign", theirs), ("avcd", ours)):
        solved, distinct, times = 0, 0, []
        for source, target, turn in fields:
            found = []
            for _ in range(REPEATS):
                start = time.perf_counter()
                found.append(match(source, target))
                times.append(time.perf_counter() - start)
            right = [one is not None and np.abs(one[:, :2] - turn).max() < 0.01 for one in found]
            solved += all(right)
            distinct = max(distinct, len({None if one is None else one.tobytes() for one in found}))
        print(f"{name:>10}: {solved}/{FIELDS} fields right each time, up to {distinct} different answers in {REPEATS},"
              f" {1e3 * np.median(times):.1f} ms")  # fmt: skip
