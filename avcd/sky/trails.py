"""Trails of satellites and aircraft: straight lines across a frame, far fainter than what detection finds in a pixel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_closing, binary_dilation, uniform_filter

from avcd.frame import MaskBit
from avcd.sky.detection import Sources

_LONGEST_SIDE = 1024  # of the binned image that is searched
_USUAL_PX = 3.0  # width of a trail, where no stars tell how wide a point is
_WIDEST_PX = 6
_BRIGHT = 2.0  # sigma of a binned pixel, above which it counts
_MOST_BRIGHT = 30000  # of such pixels; more are a nebula or a bad background, no trail
_ANGLES = 360
_ALONG_AXES = np.radians(1.1)  # lines along rows and columns are the detector's
_LEAST_SIGMA = 12.0  # excess of bright pixels on a line over their chance number
_LEAST_PART = 0.3  # of the shorter side
_MOST_TRAILS = 5
_MOST_LINES = 12  # those of the detector among them
_BORDER = 0.02  # of a side: edges have structure of their own
_AROUND_PX = 3  # binned pixels beside a line that belong to it
_WING = 0.15  # sigma of a pixel: as far as a star has more light than this, its surroundings take no part
_SURROUNDINGS = 13  # binned pixels
_SPOT = 3.0  # sigma of a binned pixel, beyond which its light counts no more: a row of spots is no trail


@dataclass(frozen=True)
class Trail:
    """A straight trail: its ends in pixels of the frame, 0-based, and ``sigma``, by how much more of its pixels are bright
    than chance would have, in standard deviations of that number."""

    x1: float
    y1: float
    x2: float
    y2: float
    sigma: float

    @property
    def length_px(self) -> float:
        """From end to end, within the frame."""
        return float(np.hypot(self.x2 - self.x1, self.y2 - self.y1))


def find_trails(data: np.ndarray, mask: np.ndarray | None, sources: Sources) -> tuple[Trail, ...]:
    """Find straight trails, the most significant first, at most five.

    Parameters
    ----------
    data : ndarray, shape (ny, nx)
        The frame, background included.
    mask : ndarray of `MaskBit` planes or of bool, or None
        Lines along rows and columns are left out whether masked or not: they are the detector's.
    sources
        As detected on the frame; their surroundings take no part.

    Returns
    -------
    tuple of Trail
        Of at least 0.3 of the shorter side. Empty for frames of less than 64 pixels on a side.

    Notes
    -----
    Hough transform (Duda & Hart 1972, Comm. ACM 15, 11) of the pixels two sigma above the background, of an image binned
    to the width of a star; the number on each line is compared with the number that its length leads to expect.
    """
    if min(data.shape) < 64:
        return ()
    width = float(np.median(sources.fwhm_px)) if len(sources) else _USUAL_PX
    step = int(max(-(-max(data.shape) // _LONGEST_SIDE), min(round(width), min(data.shape) // 64, _WIDEST_PX), 1))
    signal, usable = _binned(data, mask, sources, step)
    bright = usable & (signal > _BRIGHT)
    found: list[Trail] = []
    for _ in range(_MOST_LINES):
        if len(found) == _MOST_TRAILS or not 10 <= np.count_nonzero(bright) <= _MOST_BRIGHT:
            break
        line = _best_line(bright, usable)
        if line is None:
            break
        angle, offset, sigma = line
        near = _beside(bright.shape, angle, offset)
        if abs(np.sin(2 * angle)) > np.sin(2 * _ALONG_AXES):
            trail = _ends(signal, usable & near, angle, offset, sigma, step, _LEAST_PART * min(bright.shape))
            if trail is not None:
                found.append(trail)
        bright &= ~binary_dilation(near, iterations=2)
    return tuple(found)


def _binned(data: np.ndarray, mask: np.ndarray | None, sources: Sources, step: int) -> tuple[np.ndarray, np.ndarray]:
    """Block means above the background in units of their scatter, and which blocks can be used."""
    ny, nx = data.shape[0] // step, data.shape[1] // step
    cut = np.s_[: ny * step, : nx * step]
    good = np.isfinite(data[cut])
    if mask is not None:
        kept = mask[cut] if mask.dtype == bool else mask[cut] & ~np.uint16(MaskBit.FEW_INPUTS | MaskBit.COSMIC_RAY)
        good &= kept == 0
    values = np.where(good, data[cut] - sources.background[cut], np.float32(0))
    # What is far above the noise is a star's or a cosmic ray's, and must not make its whole block bright.
    ceiling = 5.0 * np.float32(np.median(sources.background_rms[::16, ::16]))
    np.clip(values, -ceiling, ceiling, out=values)
    count = _sums(good, step)
    mean = _sums(values, step) / np.maximum(count, 1)
    usable = count >= 0.6 * step**2
    border = max(2, int(_BORDER * min(ny, nx)))
    usable[:border] = usable[-border:] = False
    usable[:, :border] = usable[:, -border:] = False
    _leave_out_stars(usable, sources, step)
    mean -= _around(mean, usable)
    for axis in (0, 1):  # what a whole row or column has in common is the detector's
        lines = usable.sum(axis=axis, keepdims=True)
        mean -= np.where(usable, mean, np.float32(0)).sum(axis=axis, keepdims=True) / np.maximum(lines, 1)
    shown = mean[usable]
    if not shown.size:
        return mean, usable
    middle = float(np.median(shown))
    spread = 1.4826 * float(np.median(np.abs(shown - middle)))
    return (mean - middle) / max(spread, 1e-12), usable


def _sums(values: np.ndarray, step: int) -> np.ndarray:
    """Sums over blocks; rows first, which lie together."""
    ny, nx = values.shape
    rows = values.reshape(ny // step, step, nx).sum(axis=1, dtype=np.float32)
    return np.asarray(rows.reshape(ny // step, nx // step, step).sum(axis=2))


def _around(mean: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """The light around each block: what a nebula or a bad background has, and a trail has not."""
    weight = uniform_filter(usable.astype(np.float32), _SURROUNDINGS)
    light = uniform_filter(np.where(usable, mean, np.float32(0)), _SURROUNDINGS)
    return np.asarray(light / np.maximum(weight, 1e-3))


def _leave_out_stars(usable: np.ndarray, sources: Sources, step: int) -> None:
    ny, nx = usable.shape
    noise = max(float(np.median(sources.background_rms[::16, ::16])), 1e-12)
    # Where the wings of a Moffat star (beta 3, as wide at half maximum as its core) sink below a part of the noise.
    wings = np.maximum(sources.peak / (_WING * noise), 1.0) ** (1 / 6)
    radius = np.clip(0.98 * sources.fwhm_px * wings, 2.0, 100.0) / step + 0.5
    for x, y, reach in zip((sources.x + 0.5) / step - 0.5, (sources.y + 0.5) / step - 0.5, radius, strict=True):
        rows = np.arange(max(int(y - reach), 0), min(int(y + reach) + 2, ny))
        columns = np.arange(max(int(x - reach), 0), min(int(x + reach) + 2, nx))
        if len(rows) and len(columns):
            far = (rows[:, None] - y) ** 2 + (columns[None, :] - x) ** 2 > reach**2
            usable[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] &= far


def _best_line(bright: np.ndarray, usable: np.ndarray) -> tuple[float, int, float] | None:
    """Angle of the normal, distance from the middle, and excess of the line that holds most bright pixels beyond chance."""
    ny, nx = bright.shape
    row, column = np.nonzero(bright)
    y, x = row - (ny - 1) / 2, column - (nx - 1) / 2
    reach = int(np.ceil(np.hypot(nx, ny) / 2)) + 1
    part = len(x) / max(int(usable.sum()), 1)
    sample_row, sample_column = np.nonzero(usable[::4, ::4])
    sample_y, sample_x = 4.0 * sample_row - (ny - 1) / 2, 4.0 * sample_column - (nx - 1) / 2
    best: tuple[float, int, float] | None = None
    least = _LEAST_PART * min(nx, ny)
    for angle in np.arange(_ANGLES) * np.pi / _ANGLES:
        cosine, sine = np.cos(angle), np.sin(angle)
        # Two neighbouring rows of the transform together: a line need not lie along one.
        counts = np.bincount((x * cosine + y * sine + reach + 0.5).astype(np.int64), minlength=2 * reach + 2)
        sampled = np.bincount(
            (sample_x * cosine + sample_y * sine + reach + 0.5).astype(np.int64), minlength=2 * reach + 2
        )
        pixels = 16.0 * np.convolve(sampled, np.ones(5) / 5, mode="same")
        counts, pixels = counts[:-1] + counts[1:], pixels[:-1] + pixels[1:]
        expected = part * pixels
        excess = np.where(pixels >= 1.5 * least, (counts - expected) / np.sqrt(np.maximum(expected, 1.0)), 0.0)
        index = int(excess.argmax())
        if excess[index] >= _LEAST_SIGMA and (best is None or excess[index] > best[2]):
            best = float(angle), index - reach, float(excess[index])
    return best


def _beside(shape: tuple[int, ...], angle: float, offset: int) -> np.ndarray:
    """The pixels near a line."""
    ny, nx = shape
    y, x = np.arange(ny)[:, None] - (ny - 1) / 2, np.arange(nx)[None, :] - (nx - 1) / 2
    return np.asarray(np.abs(x * np.cos(angle) + y * np.sin(angle) - offset - 0.5) <= _AROUND_PX / 2)


def _ends(
    signal: np.ndarray, usable: np.ndarray, angle: float, offset: int, sigma: float, step: int, least: float
) -> Trail | None:
    """The part of a line along which there is light; None where it is too short, or some single spots."""
    ny, nx = signal.shape
    reach = int(np.hypot(nx, ny) / 2) + 2
    row, column = np.nonzero(usable)
    along = ((column - (nx - 1) / 2) * -np.sin(angle) + (row - (ny - 1) / 2) * np.cos(angle) + reach).astype(np.int64)
    window = np.ones(max(int(least / 3), 10))
    clipped = np.clip(signal[row, column], -_SPOT, _SPOT)
    light = np.convolve(np.bincount(along, clipped, minlength=2 * reach), window, mode="same")
    pixels = np.convolve(np.bincount(along, minlength=2 * reach), window, mode="same")
    mean = light / np.maximum(pixels, 1)
    known = np.flatnonzero(pixels > 0.2 * _AROUND_PX * len(window))
    if not len(known):
        return None
    # Half of what the trail itself has, and more than the noise of a window; behind stars it goes on as before and after.
    least_light = np.maximum(0.4 * np.percentile(mean[known], 90), 2.0 / np.sqrt(np.maximum(pixels[known], 1)))
    place = np.arange(2 * reach)
    filled = np.interp(place, known, (mean[known] > least_light).astype(float)) > 0.5
    filled = binary_closing(filled, np.ones(len(window))) & (place >= known[0]) & (place <= known[-1])
    edges = np.flatnonzero(np.diff(np.concatenate([[False], filled, [False]]).astype(np.int8)))
    if not len(edges):
        return None
    starts, stops = edges[::2], edges[1::2]
    longest = int((stops - starts).argmax())
    if stops[longest] - starts[longest] < least:
        return None
    ends: list[float] = []
    for position in (starts[longest] - reach, stops[longest] - 1 - reach):
        x = (offset + 0.5) * np.cos(angle) - position * np.sin(angle) + (nx - 1) / 2
        y = (offset + 0.5) * np.sin(angle) + position * np.cos(angle) + (ny - 1) / 2
        ends += [float((x + 0.5) * step - 0.5), float((y + 0.5) * step - 0.5)]
    return Trail(ends[0], ends[1], ends[2], ends[3], sigma)
