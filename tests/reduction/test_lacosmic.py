"""L.A.Cosmic: astroscrappy's mask and cleaned pixels from compiled loops, and the cosmic rays that were put there."""

from __future__ import annotations

import astroscrappy
import numpy as np
import pytest
from cosmic_fields import READ_NOISE_E, SATURATION_E, make_field, recall_and_precision
from scipy.ndimage import binary_dilation

from avcd.compiling import available
from avcd.reduction import lacosmic
from avcd.reduction.lacosmic import detect_cosmic_rays

LIMITS = {"sigma_clip": 4.5, "sigma_fraction": 0.3, "object_limit": 5.0, "iterations": 4}
# Stars on 500 x 620 pixels, the brightest one's electrons, cosmic rays.
FIELDS = {
    "sparse": (30, 3e5, 60),
    "crowded": (6000, 3e5, 100),
    "saturated": (800, 3e8, 100),
    "many rays": (100, 1e6, 2000),
}
SHAPE = (500, 620)

needs_numba = pytest.mark.skipif(not available(), reason="Numba is not installed")


def theirs(image, mask, saturation=SATURATION_E, **other):
    limits = LIMITS | other
    return astroscrappy.detect_cosmics(
        image, inmask=mask, gain=1.0, readnoise=READ_NOISE_E, satlevel=saturation, sigclip=limits["sigma_clip"],
        sigfrac=limits["sigma_fraction"], objlim=limits["object_limit"], niter=limits["iterations"],
    )  # fmt: skip


def ours(image, mask, saturation=SATURATION_E, **other):
    return detect_cosmic_rays(image, mask, READ_NOISE_E, saturation, **(LIMITS | other))


def compare(image, mask, **other):
    wanted, wanted_clean = theirs(image, mask, **other)
    found, clean = ours(image, mask, **other)
    recall, precision = recall_and_precision(found, wanted)
    assert (min(recall, precision) >= 0.999) or not wanted.any()
    assert np.count_nonzero(found != wanted) <= 1e-3 * np.count_nonzero(wanted)
    np.testing.assert_array_equal(clean[found == wanted], wanted_clean[found == wanted])
    return found


@needs_numba
@pytest.mark.parametrize("kind", FIELDS)
@pytest.mark.parametrize("bad", [0.0, 1e-3])
def test_the_mask_is_astroscrappys(kind, bad):
    field = make_field(SHAPE, *FIELDS[kind])
    mask = np.random.default_rng(2).random(SHAPE) < bad
    assert compare(field.image, mask).any()


@needs_numba
@pytest.mark.parametrize("other", [{"iterations": 1}, {"iterations": 2}, {"iterations": 8}, {"object_limit": 1.5},
                                   {"sigma_clip": 3.0}, {"sigma_fraction": 0.8}, {"saturation": 1e30}])  # fmt: skip
def test_so_it_is_with_other_limits(other):
    field = make_field(SHAPE, 800, 3e6, 200, seed=4)
    assert compare(field.image, np.zeros(SHAPE, bool), **other).any()


@needs_numba
@pytest.mark.parametrize("shape", [(200_000 // 32 + 1, 32), (32, 200_000 // 32 + 1), (449, 451), (113, 1993)])
def test_so_it_is_at_the_borders_of_frames_of_any_shape(shape):
    field = make_field(shape, 60, 1e6, 500, seed=5)
    image = field.image.copy()
    for edge in (0, 2, 3, 6, -1, -4):
        image[edge, ::9] += 3000
        image[::11, edge] += 3000
    found = compare(image, np.zeros(shape, bool))
    # Within three pixels of the border there is no median, and nothing is found.
    assert found[3].any()
    assert found[:, -4].any()


@needs_numba
def test_where_no_good_neighbour_is_left_the_sky_is_taken():
    field = make_field(SHAPE, 0, 0, 30, seed=6)
    image, mask = field.image.copy(), np.zeros(SHAPE, bool)
    mask[100:112, 100:112] = True
    mask[105:107, 105:107] = False
    image[300:306, 300:306] += np.random.default_rng(1).uniform(0, 9000, (6, 6)).astype(np.float32)
    for sigma_clip in (0.5, 4.5):
        compare(image, mask, sigma_clip=sigma_clip, object_limit=0.1)


@needs_numba
@pytest.mark.parametrize("threads", [1, 3])
def test_tiles_and_threads_change_no_bit(monkeypatch, threads):
    field = make_field(SHAPE, 800, 3e6, 400, seed=7)
    whole = ours(field.image, np.zeros(SHAPE, bool))
    monkeypatch.setattr(lacosmic, "threads", lambda: threads)
    monkeypatch.setattr(lacosmic, "_FIRST_TILE", (40, 60))
    monkeypatch.setattr(lacosmic, "_LATER_TILE", (33, 47))
    parts = ours(field.image, np.zeros(SHAPE, bool))
    for one, other in zip(whole, parts, strict=True):
        assert one.tobytes() == other.tobytes()


def test_without_numba_the_mask_is_the_same(monkeypatch):
    field = make_field(SHAPE, 300, 3e6, 200, seed=8)
    quick = ours(field.image, np.zeros(SHAPE, bool))
    monkeypatch.setattr(lacosmic, "kernels", lambda name: None)
    plain = ours(field.image, np.zeros(SHAPE, bool))
    for one, other in zip(quick, plain, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_frame_that_is_not_finite_is_left_to_astroscrappy():
    image = make_field(SHAPE, 0, 0, 30).image.copy()
    image[50, 60] = np.nan
    mask = np.isnan(image)
    np.testing.assert_array_equal(ours(image, mask)[0], theirs(image, mask)[0])


def test_its_input_is_left_alone():
    field = make_field(SHAPE, 30, 1e5, 60)
    image, mask = field.image.copy(), np.zeros(SHAPE, bool)
    ours(image, mask)
    np.testing.assert_array_equal(image, field.image)
    assert not mask.any()


@pytest.mark.parametrize("kind", FIELDS)
def test_the_rays_that_were_put_there_are_found(kind):
    field = make_field(SHAPE, *FIELDS[kind], seed=9)
    found, _ = ours(field.image, np.zeros(SHAPE, bool))
    recall, _ = recall_and_precision(found, field.struck)
    # Beside a track its neighbours are taken, too: they do not count as wrong.
    _, precision = recall_and_precision(found, binary_dilation(field.struck, np.ones((3, 3), bool)))
    assert recall > 0.9
    assert precision > (0.9 if kind != "crowded" else 0.75)
