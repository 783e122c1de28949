"""Resampling onto a grid: flux kept, mask and uncertainty carried, any part of the grid alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np

from avcd.compiling import kernels
from avcd.compose.mapping import PixelMap, Registration
from avcd.errors import ProcessingError
from avcd.frame import MaskBit

# Pixels with these bits hold no light to use.
UNUSABLE = np.uint16(
    MaskBit.HOT | MaskBit.DEAD | MaskBit.USER | MaskBit.NO_DATA | MaskBit.NON_FINITE | MaskBit.RESPONSE
)
# These hold something (a star's lower limit, a value from the neighbours) that serves where there is nothing better.
SECOND_CHOICE = np.uint16(MaskBit.SATURATED | MaskBit.COSMIC_RAY | MaskBit.REPAIRED)
INTERPOLATIONS = ("nearest", "bilinear", "lanczos3")
_LEAST_COVER = 0.5
_LEAST_SHARE = 0.01  # of a neighbour's light, for its mask bits to be taken over
_FRACTIONS = 1024  # of a pixel, for which Lanczos's weights are known
_LOBES = 3
_ALIKE = 0.003  # sides of pixels that differ by no more are alike
_COARSER = (
    1.25  # side of a grid's pixel, in the frame's, from which bilinear reads the frame in several places for each
)
# Pixels from which compiled loops are worth their loading, a second.
_WORTH_COMPILING = 2_000_000
_NO_EDGES = np.zeros(4)


@dataclass(frozen=True)
class Resampled:
    """A frame, or a part of it, on a grid's pixels.

    ``data`` float32, 0 where there is none; ``mask`` uint16; ``variance`` float32 or None; ``weight`` float32: how
    much of each pixel usable pixels cover, 0 (none, or less than half) to 1. All of one shape.
    """

    data: np.ndarray
    mask: np.ndarray
    variance: np.ndarray | None
    weight: np.ndarray

    @property
    def uncertainty(self) -> np.ndarray | None:
        """One standard deviation; None where it is not known."""
        return None if self.variance is None else np.sqrt(self.variance)


@dataclass(frozen=True)
class Way:
    """How pixels are interpolated.

    ``interpolation`` is one of `INTERPOLATIONS`; within ``feather_px`` of the frame's ``edges`` (first and last row and column
    with data) weights fall to nothing; ``compiled`` the module of compiled loops, or None.
    """

    interpolation: str = "bilinear"
    feather_px: float = 0.0
    compiled: ModuleType | None = None

    @classmethod
    def of(cls, interpolation: str, pixels: float, feather_px: float = 0.0) -> Way:
        """The way for so many pixels in all: compiled where that is worth it.

        Raises
        ------
        ProcessingError
            ``interpolation`` is none of those there are.
        """
        if interpolation not in INTERPOLATIONS:
            raise ProcessingError(f"interpolation is {interpolation!r}, none of {', '.join(INTERPOLATIONS)}")
        return cls(interpolation, feather_px, kernels("compose.kernels") if pixels >= _WORTH_COMPILING else None)


def resample(
    data: np.ndarray,
    mask: np.ndarray | None,
    uncertainty: np.ndarray | None,
    registration: Registration,
    shape: tuple[int, int],
    interpolation: str = "bilinear",
) -> Resampled:
    """Bring a frame onto a grid.

    Parameters
    ----------
    data, mask, uncertainty : shape (ny, nx)
        Not changed. Unusable pixels take no part: their neighbours' weights grow instead.
    registration
        Of this frame on the grid, not failed.
    shape
        Of the grid, (ny, nx).
    interpolation
        "nearest", "bilinear" or "lanczos3" (Duchon 1979, J. Appl. Meteor. 18, 1016; three lobes, weights normalised; where one of the 36
        pixels is missing or unusable, bilinear). Lanczos-3 keeps a star's flux to a thousandth on any grid; bilinear does where pixels are of one size,
        and to half a per cent where they differ a little.

    Returns
    -------
    Resampled
        Surface brightness times the ratio of pixel areas, so that a star's flux is kept; where the grid is coarser, the mean of
        several places in each of its pixels. NO_DATA where less than half of a pixel is covered; elsewhere the bits of
        all pixels that share in the value. The variance is the mean of that of the pixels that share in: the field's scatter,
        not the smaller one that interpolation's correlations would feign.

    Raises
    ------
    ProcessingError
        ``interpolation`` is none of those.
    ValueError
        The registration failed.
    """
    ny, nx = data.shape
    pixels = PixelMap.of(registration, shape, (ny, nx))
    way = Way.of(interpolation, shape[0] * shape[1])
    whole = Resampled(
        np.zeros(shape, np.float32),
        np.full(shape, MaskBit.NO_DATA, np.uint16),
        None if uncertainty is None else np.zeros(shape, np.float32),
        np.zeros(shape, np.float32),
    )
    top, bottom, left, right = pixels.box
    if pixels.is_empty:
        return whole
    part = np.s_[top:bottom, left:right]
    found = resample_block(data, mask, uncertainty, pixels, (top, bottom), (left, right), way)
    whole.data[part], whole.mask[part], whole.weight[part] = found.data, found.mask, found.weight
    if whole.variance is not None and found.variance is not None:
        whole.variance[part] = found.variance
    return whole


def resample_block(
    data: Any,
    mask: Any,
    uncertainty: Any,
    pixels: PixelMap,
    rows: tuple[int, int],
    columns: tuple[int, int],
    way: Way,
    every: int = 1,
    edges: np.ndarray = _NO_EDGES,
    into: Resampled | None = None,
) -> Resampled:
    """As `resample`, for the grid's rows and columns from and to before only, or for every so many-th of them.

    Only the part of the frame that these need is touched: it may be an array mapped from a file. The values do not
    depend on how the grid is divided. They are written to ``into``, arrays of the block's shape with any content, where
    that is given.
    """
    height, width = -(-(rows[1] - rows[0]) // every), -(-(columns[1] - columns[0]) // every)
    if pixels.is_identity and data.shape == pixels.shape and not way.feather_px:
        part = (slice(rows[0], rows[1], every), slice(columns[0], columns[1], every))
        return _put(_as_it_is(*(None if one is None else one[part] for one in (data, mask, uncertainty))), into)
    times = _places(way.interpolation, pixels.scale)
    first = rows[0] + (0.5 / times - 0.5), columns[0] + (0.5 / times - 0.5)
    step = 1 / times if times > 1 else float(every)
    if times > 1 and every > 1:
        return _put(
            _thinned(resample_block(data, mask, uncertainty, pixels, rows, columns, way, 1, edges), every), into
        )
    margin = _LOBES if way.interpolation == "lanczos3" else 1
    last = first[0] + step * (height * times - 1), first[1] + step * (width * times - 1)
    window = pixels.window((first[0], last[0]), (first[1], last[1]), data.shape, margin)
    cut = _Cut.of(data, mask, uncertainty, window)
    found = (
        into if into is not None and times == 1 else _blank((height * times, width * times), cut.variance is not None)
    )
    if window[0] < window[1]:
        places = (first[0], step, first[1], step)
        if way.compiled is not None:
            _interpolate_compiled(cut, pixels, places, way, edges, found, way.compiled)
        else:
            _interpolate_plainly(cut, pixels, places, way, edges, found)
    else:
        _empty(found)
    return found if times == 1 else _put(_averaged(found, times), into)


def _places(interpolation: str, scale: float) -> int:
    """In how many places along a side the frame is read for one pixel of the grid.

    Pixels of a little another size than the frame's beat against these: a star's light would depend on where it stands.
    """
    if interpolation == "nearest":
        return 1
    if interpolation == "bilinear":
        return int(np.ceil(scale)) if scale > _COARSER else 1
    return 1 if abs(scale - 1) <= _ALIKE else int(np.ceil(scale)) + 1


@dataclass(frozen=True)
class _Cut:
    """A window of a frame."""

    data: np.ndarray
    mask: np.ndarray | None
    variance: np.ndarray | None
    top: int
    left: int

    @classmethod
    def of(cls, data: Any, mask: Any, uncertainty: Any, window: tuple[int, int, int, int]) -> _Cut:
        part = (slice(window[0], window[1]), slice(window[2], window[3]))
        return cls(
            np.ascontiguousarray(data[part], dtype=np.float32),
            None if mask is None else np.ascontiguousarray(mask[part], dtype=np.uint16),
            None if uncertainty is None else np.square(np.ascontiguousarray(uncertainty[part], dtype=np.float32)),
            window[0],
            window[2],
        )


def _blank(shape: tuple[int, int], has_variance: bool) -> Resampled:
    """Arrays with any content."""
    planes = (np.empty(shape, np.float32) for _ in range(3))
    return Resampled(next(planes), np.empty(shape, np.uint16), next(planes) if has_variance else None, next(planes))


def _empty(block: Resampled) -> None:
    """Leave nothing in a block."""
    block.data[...], block.mask[...], block.weight[...] = 0, MaskBit.NO_DATA, 0
    if block.variance is not None:
        block.variance[...] = 0


def _put(found: Resampled, into: Resampled | None) -> Resampled:
    """A block, copied to where it is wanted."""
    if into is None:
        return found
    into.data[...], into.mask[...], into.weight[...] = found.data, found.mask, found.weight
    if into.variance is not None and found.variance is not None:
        into.variance[...] = found.variance
    return into


@cache
def _table(interpolation: str) -> np.ndarray:
    """The weights of the pixels along an axis by the fraction of a pixel; shape (fractions + 1, taps)."""
    if interpolation != "lanczos3":
        return np.ones((2, 1 if interpolation == "nearest" else 2), np.float32)
    distance = np.arange(_FRACTIONS + 1)[:, None] / _FRACTIONS - np.arange(1 - _LOBES, _LOBES + 1)
    weights = np.sinc(distance) * np.sinc(distance / _LOBES)
    weights /= weights.sum(axis=1, keepdims=True)  # flux is kept wherever a star lies
    found = weights.astype(np.float32)
    found.setflags(write=False)
    return found


_NOTHING = np.zeros((1, 1), np.float32)
_NO_MASK = np.zeros((1, 1), np.uint16)


def _interpolate_compiled(
    cut: _Cut,
    pixels: PixelMap,
    places: tuple[float, ...],
    way: Way,
    edges: np.ndarray,
    into: Resampled,
    module: ModuleType,
) -> None:
    net = pixels.net
    module.interpolate(
        cut.data,
        _NO_MASK if cut.mask is None else cut.mask,
        _NOTHING if cut.variance is None else cut.variance,
        cut.mask is not None,
        cut.variance is not None,
        cut.top, cut.left, net.x, net.y, net.area, float(net.row), float(net.column), float(net.step), *map(float, places),
        _table(way.interpolation), edges, float(way.feather_px), int(UNUSABLE), int(MaskBit.NO_DATA), _LEAST_SHARE, _LEAST_COVER,
        into.data, into.mask, _NOTHING if into.variance is None else into.variance, into.weight,
    )  # fmt: skip


def _interpolate_plainly(
    cut: _Cut, pixels: PixelMap, places: tuple[float, ...], way: Way, edges: np.ndarray, into: Resampled
) -> None:
    """What `avcd.compose.kernels.interpolate` does, to the bit."""
    rows, columns = into.data.shape
    x, y, area64 = pixels.positions(places[0] + np.arange(rows) * places[1], places[2] + np.arange(columns) * places[3])
    area = area64.astype(np.float32)
    height, width = cut.data.shape
    x_in, y_in = x - cut.left, y - cut.top
    inside = (x_in > -1.0) & (y_in > -1.0) & (x_in < width) & (y_in < height)
    x_in, y_in = np.where(inside, x_in, 0.0), np.where(inside, y_in, 0.0)
    nearest = way.interpolation == "nearest"
    if nearest:
        x_in, y_in = np.floor(x_in + 0.5), np.floor(y_in + 0.5)
    i, j = np.floor(x_in).astype(np.int64), np.floor(y_in).astype(np.int64)
    right, up = (x_in - i).astype(np.float32), (y_in - j).astype(np.float32)
    padded = _Padded.of(cut)
    one = np.float32(1)
    sides = (one - up, up), (one - right, right)
    ends = (0,) if nearest else (0, 1)
    corners = [(padded.index(j + m, i + n), sides[1][n] * sides[0][m]) for m in ends for n in ends]
    total, value = np.zeros_like(right), np.zeros_like(right)
    own, plain, plain_own = np.zeros_like(right), np.zeros_like(right), np.zeros_like(right)
    bits, every = np.zeros(right.shape, np.uint16), np.zeros(right.shape, np.uint16)
    for place, share in corners:
        here = padded.mask.take(place)
        light = padded.data.take(place)
        usable = np.isfinite(light) & ((here & UNUSABLE) == 0)
        total += np.where(usable, share, np.float32(0))
        light = np.where(np.isfinite(light), light, np.float32(0))
        value += np.where(usable, share * light, np.float32(0))
        plain += light * share
        every |= np.where(usable, here, ~np.uint16(0))
        bits |= np.where(share > _LEAST_SHARE, here, np.uint16(0))
        if cut.variance is not None:
            noise = padded.variance.take(place)
            own += np.where(usable, share * noise, np.float32(0))
            plain_own += noise * share
    within = (i >= 0) & (j >= 0) & (i + len(ends) <= width) & (j + len(ends) <= height)
    whole = within & (every == 0)
    if way.interpolation == "lanczos3":
        plain, whole, bits = _lanczos(padded, i, j, right, up, plain, bits, (height, width))
    covered = inside & (whole | (total >= _LEAST_COVER))
    safe = np.where(total >= _LEAST_COVER, total, one)
    into.data[...] = np.where(covered, np.where(whole, plain * area, value * (area / safe)), 0)
    kept = np.where(whole, bits, bits & ~UNUSABLE)
    into.mask[...] = np.where(covered, kept, np.where(inside, bits, 0) | np.uint16(MaskBit.NO_DATA))
    if into.variance is not None:
        into.variance[...] = np.where(covered, np.where(whole, plain_own, own / safe) * area * area, 0)
    cover = np.where(covered, np.where(whole, one, np.minimum(total, one)), 0).astype(np.float32)
    if way.feather_px > 0:
        depth = np.minimum(np.minimum(y - edges[0], edges[1] - y), np.minimum(x - edges[2], edges[3] - x)) + 1.0
        rise = np.maximum(np.minimum(depth / float(way.feather_px), 1.0), 1e-3)
        cover = np.where(covered, cover * rise, 0).astype(np.float32)
    into.weight[...] = cover


@dataclass(frozen=True)
class _Padded:
    """A window as flat arrays with a border of nothing wide enough for every interpolation."""

    data: np.ndarray
    mask: np.ndarray
    variance: np.ndarray
    width: int

    @classmethod
    def of(cls, cut: _Cut) -> _Padded:
        def bordered(plane: np.ndarray, value: float) -> np.ndarray:
            return np.pad(plane, _LOBES + 1, constant_values=value).ravel()

        shape = cut.data.shape
        return cls(
            bordered(cut.data, np.nan),
            bordered(np.zeros(shape, np.uint16) if cut.mask is None else cut.mask, 0),
            bordered(np.zeros((1, 1), np.float32) if cut.variance is None else cut.variance, 0),
            shape[1] + 2 * _LOBES + 2,
        )

    def index(self, row: np.ndarray, column: np.ndarray) -> np.ndarray:
        """Where pixels of the window stand."""
        return np.asarray((row + _LOBES + 1) * self.width + column + _LOBES + 1)


def _lanczos(
    padded: _Padded, i: np.ndarray, j: np.ndarray, right: np.ndarray, up: np.ndarray, plain: np.ndarray, near: np.ndarray,
    shape: tuple[int, int],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Values, where they are whole, and the bits there."""
    table = _table("lanczos3")
    across = table[(right.astype(np.float64) * _FRACTIONS + 0.5).astype(np.int64)]
    down = table[(up.astype(np.float64) * _FRACTIONS + 0.5).astype(np.int64)]
    before = _LOBES - 1
    value, bad = np.zeros_like(plain), np.zeros(plain.shape, np.uint16)
    with np.errstate(invalid="ignore"):
        for m in range(2 * _LOBES):
            line = np.zeros_like(plain)
            for n in range(2 * _LOBES):
                place = padded.index(j - before + m, i - before + n)
                line += across[..., n] * padded.data.take(place)
                bad |= padded.mask.take(place)
            value += down[..., m] * line
    within = (
        (i >= before) & (j >= before) & (i + 2 * _LOBES - before <= shape[1]) & (j + 2 * _LOBES - before <= shape[0])
    )
    whole = within & ((bad & UNUSABLE) == 0) & np.isfinite(value)
    return np.where(whole, value, plain), whole, np.where(whole & (bad == 0), np.uint16(0), near)


def _thinned(found: Resampled, every: int) -> Resampled:
    part = np.s_[::every, ::every]
    variance = None if found.variance is None else found.variance[part]
    return Resampled(found.data[part], found.mask[part], variance, found.weight[part])


def _averaged(found: Resampled, times: int) -> Resampled:
    """Blocks of so many places a side, as the mean of those that have light; nothing where less than half of them have."""

    def blocks(plane: np.ndarray) -> np.ndarray:
        rows, columns = plane.shape[0] // times, plane.shape[1] // times
        return plane.reshape(rows, times, columns, times).swapaxes(1, 2).reshape(rows, columns, times * times)

    seen = blocks(found.weight) > 0
    count = seen.sum(axis=2, dtype=np.float32)
    covered = count >= times * times * _LEAST_COVER
    safe = np.where(covered, count, 1).astype(np.float32)
    bits = blocks(found.mask)
    joined = np.bitwise_or.reduce(np.where(seen, bits, 0), axis=2)
    lost = np.bitwise_or.reduce(bits, axis=2) | np.uint16(MaskBit.NO_DATA)
    variance = None
    if found.variance is not None:
        variance = np.where(covered, blocks(found.variance).sum(axis=2) / safe, 0).astype(np.float32)
    return Resampled(
        np.where(covered, blocks(found.data).sum(axis=2) / safe, 0).astype(np.float32),
        np.where(covered, joined, lost).astype(np.uint16),
        variance,
        np.where(covered, blocks(found.weight).sum(axis=2) / (times * times), 0).astype(np.float32),
    )


def _as_it_is(data: Any, mask: Any, uncertainty: Any) -> Resampled:
    """The reference itself: no value is touched."""
    values = np.asarray(data, dtype=np.float32)
    plane = np.zeros(values.shape, np.uint16) if mask is None else np.asarray(mask, dtype=np.uint16)
    usable = np.isfinite(values) & ((plane & UNUSABLE) == 0)
    bits = np.where(usable, plane, plane | np.uint16(MaskBit.NO_DATA))
    variance = None
    if uncertainty is not None:
        variance = np.where(usable, np.square(np.asarray(uncertainty, dtype=np.float32)), 0)
    return Resampled(np.where(usable, values, np.float32(0)), bits, variance, usable.astype(np.float32))
