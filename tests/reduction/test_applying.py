"""A frame's arithmetic in strips: what the plain formulas say, whatever the strips and threads."""

from __future__ import annotations

import numpy as np
import pytest

from avcd.compiling import available
from avcd.frame import MaskBit
from avcd.reduction import applying
from avcd.reduction.applying import Terms, apply_terms

SHAPE = (61, 73)


def planes(number: int, level: float, scatter: float, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(level, scatter, SHAPE).astype(np.float32) for _ in range(number)]


@pytest.fixture
def terms() -> Terms:
    bias, dark = planes(2, 1000, 5, 1)
    bias_sigma, dark_sigma, response_sigma = (np.abs(one) for one in planes(3, 2, 0.2, 2))
    (response,) = planes(1, 1, 0.05, 3)
    masks = [np.zeros(SHAPE, np.uint16) for _ in range(2)]
    masks[0][3, 4], masks[1][3, 4], masks[1][5, 6] = MaskBit.HOT, MaskBit.USER, MaskBit.DEAD
    return Terms(
        read_noise=6.0, largest=1e15, saturation=60000.0, pedestal=100.0, gain_e_per_adu=1.5, zero=bias, bias=bias,
        dark=dark - 990, dark_sigma=dark_sigma, scale=0.5, shared_sigma=bias_sigma, response=response,
        response_sigma=response_sigma / 100, factor=1.5, masks=masks,
    )  # fmt: skip


@pytest.fixture
def raw() -> np.ndarray:
    return np.random.default_rng(4).integers(1500, 50000, SHAPE).astype(np.uint16)


def test_pixels_and_errors_are_those_of_the_formulas(raw, terms):
    data, sigma, mask = apply_terms(raw, None, terms)
    bias, dark, response = (np.asarray(one, np.float64) for one in (terms.bias, terms.dark, terms.response))
    frame = raw + 100.0
    light = frame - bias - 0.5 * dark
    variance = 36 + np.maximum(frame - bias, 0) / 1.5
    # The bias is in the dark, too: of it (1 - 1/2) counts.
    variance += 0.25 * terms.dark_sigma.astype(float) ** 2 + (1 - 2 * 0.5) * terms.shared_sigma.astype(float) ** 2
    wanted = 1.5 * light / response
    relative = variance / light**2 + (terms.response_sigma / response) ** 2
    np.testing.assert_allclose(data, wanted, rtol=1e-5)
    np.testing.assert_allclose(sigma, np.abs(wanted) * np.sqrt(relative), rtol=1e-5)
    assert (mask[3, 4], mask[5, 6]) == (MaskBit.HOT | MaskBit.USER, MaskBit.DEAD)
    assert np.count_nonzero(mask) == 2
    assert (data.dtype, sigma.dtype, mask.dtype) == (np.float32, np.float32, np.uint16)


def test_neither_strips_nor_threads_change_a_bit(raw, terms, monkeypatch):
    found = []
    for strip, workers in ((1 << 16, 1), (100, 1), (100, 3), (1000, 2)):
        monkeypatch.setattr(applying, "_STRIP_PX", strip)
        monkeypatch.setattr(applying, "threads", lambda workers=workers: workers)
        found.append(b"".join(one.tobytes() for one in apply_terms(raw, None, terms)))
    assert len(set(found)) == 1


@pytest.mark.skipif(not available(), reason="Numba is not installed")
@pytest.mark.parametrize("dtype", [np.uint16, np.float32, np.float64])
@pytest.mark.parametrize("change", [
    {}, {"gain_e_per_adu": None}, {"zero": 1000.0}, {"pedestal": None, "saturation": None, "factor": None},
    {"dark": None}, {"bias": None, "scale": 1.0}, {"shared_sigma": None}, {"dark_sigma": None}, {"norm": 0.98},
    {"response_sigma": None}, {"norm": 0.98, "response_sigma": None}, {"response": None}, {"own": True},
    {"masks": ()}, {"five": True},
])  # fmt: skip
def test_compiled_loops_change_no_bit(raw, terms, change, dtype, monkeypatch):
    values = {**vars(terms)}
    values |= {"bias_sigma": terms.response_sigma * 200} | {name: one for name, one in change.items() if name in values}
    values["response"] = response = None if values["response"] is None else values["response"].copy()
    if response is not None:
        response[7, 1:5] = (0, -1, np.nan, np.inf)
    if "own" in change:
        values["own_sigma"] = terms.dark_sigma
    if "five" in change:
        values["masks"] = [np.full(SHAPE, 1 << nth, np.uint16) for nth in range(6)]
    frame = raw.astype(dtype)
    if dtype is not np.uint16:
        frame[0, :4] = (np.nan, np.inf, -np.inf, 1e20)
    own = np.zeros(SHAPE, np.uint16)
    own[2, 2] = MaskBit.USER
    plain = apply_terms(frame, own, Terms(**values))
    monkeypatch.setattr(applying, "_WORTH_COMPILING", 0)
    for strip, workers in ((1 << 16, 1), (500, 3)):
        monkeypatch.setattr(applying, "_STRIP_PX", strip)
        monkeypatch.setattr(applying, "threads", lambda workers=workers: workers)
        found = apply_terms(frame, own, Terms(**values))
        for one, other in zip(plain, found, strict=True):
            assert one.tobytes() == other.tobytes()


def test_a_flat_is_divided_by_its_level_where_it_holds_light(raw, terms):
    flat = terms.response * 20000
    flat[3, 3] = 0
    level = 19000.0
    plain = Terms(read_noise=5.0, response=np.where(flat > 0, flat / np.float32(level), 1).astype(np.float32))
    found = apply_terms(raw, None, Terms(read_noise=5.0, response=flat, norm=level))
    for one, other in zip(found, apply_terms(raw, None, plain), strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_is_no_number_is_masked_and_zero(terms):
    raw = np.full(SHAPE, 2000, np.float32)
    raw[0, :5] = (np.nan, np.inf, -np.inf, 1e20, 61000)
    response = terms.response.copy()
    response[2, 2] = 0
    own = np.zeros(SHAPE, np.uint16)
    own[1, 1] = MaskBit.COSMIC_RAY
    data, sigma, mask = apply_terms(
        raw, own, Terms(read_noise=5.0, largest=1e15, saturation=60000.0, response=response)
    )
    assert (mask[0, :4] == MaskBit.NON_FINITE).all()
    assert mask[0, 4] == MaskBit.SATURATED
    assert mask[1, 1] == MaskBit.COSMIC_RAY
    assert mask[2, 2] == MaskBit.NON_FINITE
    assert (data[2, 2], sigma[2, 2]) == (0, 0)
    assert (data[0, :4] == 0).all()
    assert np.isfinite(data).all()
    assert np.isfinite(sigma).all()
    assert np.count_nonzero(own) == 1  # what was given is not changed
    assert np.isnan(raw[0, 0])
