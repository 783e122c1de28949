"""Masters laid on a frame: strip by strip, in a few threads, so that all that a strip needs stays near the processor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from avcd.compiling import kernels, threads
from avcd.frame import MaskBit

_STRIP_PX = 1 << 16
_WORTH_COMPILING = 1_000_000  # pixels from which compiled loops are worth their loading
_MASKS = 4  # that compiled loops join


@dataclass(frozen=True)
class Terms:
    """What is done to every pixel, in this order; None, or empty: it is not done. Arrays have the frame's shape.

    Attributes
    ----------
    largest
        Beyond it, to both sides, nothing is a number that a detector counted.
    saturation
        From which on a raw number is SATURATED.
    pedestal
        Added.
    read_noise
        One standard deviation, in the frame's unit.
    own_sigma
        What the frame brings beside its read-out and photon noise.
    gain_e_per_adu
        By which photon noise is reckoned, of what lies above ``zero`` (an array, or one number).
    bias, bias_sigma
        Subtracted; its own noise, where it is not in the dark's.
    dark, dark_sigma, scale
        Subtracted, times ``scale``.
    shared_sigma
        The noise of a bias that was subtracted from the dark and from the frame: it counts (1 - scale) times.
    response, response_sigma
        What pixels are divided by.
    norm
        The level of a flat that stands for the response: of level one it is divided by, and where it holds no light
        nothing is. None: the response is taken as it is.
    factor
        What pixels are multiplied with at last.
    masks
        Planes of `MaskBit` that are joined to the frame's.
    """

    read_noise: float
    own_sigma: np.ndarray | None = None
    largest: float = np.inf
    saturation: float | None = None
    pedestal: float | None = None
    gain_e_per_adu: float | None = None
    zero: np.ndarray | float | None = None
    bias: np.ndarray | None = None
    bias_sigma: np.ndarray | None = None
    dark: np.ndarray | None = None
    dark_sigma: np.ndarray | None = None
    scale: float = 1.0
    shared_sigma: np.ndarray | None = None
    response: np.ndarray | None = None
    response_sigma: np.ndarray | None = None
    norm: float | None = None
    factor: float | None = None
    masks: Sequence[np.ndarray] = ()


def apply_terms(raw: np.ndarray, mask: np.ndarray | None, terms: Terms) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Calibrate a frame.

    Parameters
    ----------
    raw : shape (ny, nx)
        Numbers of any type; not changed.
    mask : uint16, shape (ny, nx), or None
        Its plane of `MaskBit`; not changed.

    Returns
    -------
    data, sigma : float32, shape (ny, nx)
        The calibrated pixels and one standard deviation of each: independent errors propagated to first order.
    mask : uint16, shape (ny, nx)
        Joined with the masters'; NON_FINITE where raw or result is no number, which is zero then.
    """
    data, sigma = np.empty(raw.shape, np.float32), np.empty(raw.shape, np.float32)
    joined = np.zeros(raw.shape, np.uint16) if mask is None else np.array(mask, dtype=np.uint16)
    if raw.size >= _WORTH_COMPILING and (compiled := kernels("reduction.fused")) is not None:
        _apply_compiled(compiled, raw, terms, data, sigma, joined)
        return data, sigma, joined

    def work(rows: slice) -> None:
        with np.errstate(all="ignore"):  # of broken masters: what comes of them is masked; switched off by thread
            _start(raw[rows], terms, data[rows], joined[rows])
            _noise(data[rows], rows, terms, sigma[rows])
            if terms.own_sigma is not None:
                sigma[rows] += np.square(terms.own_sigma[rows])
            _subtract(data[rows], rows, terms, sigma[rows])
            _divide(data[rows], rows, terms, sigma[rows])
            np.sqrt(sigma[rows], out=sigma[rows])
            for plane in terms.masks:
                joined[rows] |= plane[rows]
            hide_broken(data[rows], sigma[rows], joined[rows])

    each_strip(raw.shape, work)
    return data, sigma, joined


def _apply_compiled(
    compiled: ModuleType, raw: np.ndarray, terms: Terms, data: np.ndarray, sigma: np.ndarray, joined: np.ndarray
) -> None:
    """The same in one pass."""
    photons = terms.gain_e_per_adu is not None and terms.zero is not None
    zero_plane = terms.zero if photons and isinstance(terms.zero, np.ndarray) else None
    values = (
        terms.largest,
        np.inf if terms.saturation is None else terms.saturation,
        terms.pedestal or 0.0,
        terms.read_noise**2,
        terms.gain_e_per_adu if photons else 0.0,
        terms.zero if photons and zero_plane is None else 0.0,
        terms.scale,
        1 - 2 * terms.scale,
        terms.norm or 0.0,
        terms.factor or 0.0,
        (terms.factor or 0.0) ** 2,
    )
    numbers = np.array(values, np.float64).astype(np.float32)
    dark_sigma = None if terms.dark is None else terms.dark_sigma
    shared = None if dark_sigma is None else terms.shared_sigma
    planes = (zero_plane, terms.own_sigma, terms.bias, terms.bias_sigma, terms.dark, dark_sigma, shared,
              terms.response, terms.response_sigma)  # fmt: skip
    flats = [_flat_plane(one, np.float32) for one in planes]
    masks = [_flat_plane(one, np.uint16) for one in terms.masks]
    masks += [_flat_plane(None, np.uint16)] * (_MASKS - len(masks))
    source = raw if raw.dtype == np.uint16 else raw.astype(np.float32, copy=False)
    given = np.ascontiguousarray(source).reshape(-1)
    columns = raw.shape[1]

    def work(rows: slice) -> None:
        compiled.apply_pixels(
            given, numbers, *flats, tuple(masks[:_MASKS]), data.reshape(-1), sigma.reshape(-1), joined.reshape(-1),
            rows.start * columns, rows.stop * columns, int(MaskBit.SATURATED), int(MaskBit.NON_FINITE),
        )  # fmt: skip
        for start in range(_MASKS, len(masks)):
            joined[rows] |= terms.masks[start][rows]

    each_strip(raw.shape, work)


def _flat_plane(plane: np.ndarray | None, dtype: type[np.generic]) -> np.ndarray:
    """A plane as one row of numbers; of no length where there is none."""
    return np.zeros(0, dtype) if plane is None else np.ascontiguousarray(plane, dtype).reshape(-1)


def each_strip(shape: tuple[int, ...], work: Callable[[slice], None]) -> None:
    """Do something to all rows of an image of this shape, a strip at a time, in as many threads as are worth it."""
    height = max(1, _STRIP_PX // max(1, shape[1]))
    strips = [slice(start, min(start + height, shape[0])) for start in range(0, shape[0], height)]
    workers = min(threads(), len(strips))
    if workers < 2:
        for one in strips:
            work(one)
        return

    def some(first: int) -> None:
        for one in strips[first::workers]:
            work(one)

    with ThreadPoolExecutor(workers) as pool:
        for _ in pool.map(some, range(workers)):
            pass


def _start(raw: np.ndarray, terms: Terms, data: np.ndarray, mask: np.ndarray) -> None:
    """The frame's own numbers, with those that are none masked and set to zero."""
    data[...] = raw
    highest, lowest = data.max(initial=-np.inf), data.min(initial=np.inf)
    if not (highest <= terms.largest and lowest >= -terms.largest):
        broken = ~(np.abs(data) <= np.float32(terms.largest)) | ~np.isfinite(data)
        mask[broken] |= np.uint16(MaskBit.NON_FINITE)
        data[broken] = 0
    if terms.saturation is not None and not highest < terms.saturation:
        mask[data >= terms.saturation] |= np.uint16(MaskBit.SATURATED)
    if terms.pedestal:
        data += np.float32(terms.pedestal)


def _noise(data: np.ndarray, rows: slice, terms: Terms, variance: np.ndarray) -> None:
    """The frame's own variance: read-out, and photons where a gain says how many there are."""
    if terms.gain_e_per_adu is None or terms.zero is None:
        variance.fill(terms.read_noise**2)
        return
    zero = terms.zero[rows] if isinstance(terms.zero, np.ndarray) else np.float32(terms.zero)
    np.subtract(data, zero, out=variance)
    np.maximum(variance, np.float32(0), out=variance)
    variance /= np.float32(terms.gain_e_per_adu)
    variance += np.float32(terms.read_noise**2)


def _subtract(data: np.ndarray, rows: slice, terms: Terms, variance: np.ndarray) -> None:
    if terms.bias is not None:
        data -= terms.bias[rows]
    if terms.bias_sigma is not None:
        variance += np.square(terms.bias_sigma[rows])
    if terms.dark is None:
        return
    scale = np.float32(terms.scale)
    data -= scaled(terms.dark[rows], terms.scale)
    if terms.dark_sigma is None:
        return
    own = np.square(terms.dark_sigma[rows] * scale)
    if terms.shared_sigma is not None:
        # frame - bias - scale * (raw dark - bias): the bias counts (1 - scale) times, not once and scale times.
        own += np.float32(1 - 2 * terms.scale) * np.square(terms.shared_sigma[rows])
        np.maximum(own, np.float32(0), out=own)
    variance += own


def scaled(dark: np.ndarray, scale: float) -> np.ndarray:
    """A dark, or pixels of it, as it is subtracted."""
    return dark if scale == 1.0 else dark * np.float32(scale)


def _divide(data: np.ndarray, rows: slice, terms: Terms, variance: np.ndarray) -> None:
    if terms.response is not None:
        response, sigma = terms.response[rows], None if terms.response_sigma is None else terms.response_sigma[rows]
        if terms.norm is not None:
            lit = np.isfinite(response) & (response > 0)
            response = np.where(lit, response / np.float32(terms.norm), np.float32(1))
            sigma = None if sigma is None else sigma / np.float32(terms.norm)
        data /= response
        if sigma is not None:
            variance += np.square(data * sigma)
        variance /= np.square(response)
    if terms.factor is not None:
        data *= np.float32(terms.factor)
        variance *= np.float32(terms.factor**2)


def hide_broken(data: np.ndarray, sigma: np.ndarray, mask: np.ndarray) -> None:
    """Mask what is no finite number, and set it to zero; in place."""
    if np.isfinite(data.sum() + sigma.sum()):
        return
    broken = ~np.isfinite(data) | ~np.isfinite(sigma)
    mask[broken] |= np.uint16(MaskBit.NON_FINITE)
    data[broken] = 0
    sigma[broken] = 0
