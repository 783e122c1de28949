"""Colour composites: filters to channels, white stars, a neutral sky, one stretch for all channels; or as the user says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from scipy.ndimage import binary_dilation, find_objects, label

from avcd.compose.blocks import block_means, filled, grid_step, opened, usable
from avcd.compose.components import principal_components
from avcd.compose.enhancing import Enhancement, enhance
from avcd.compose.filters import wavelength_nm
from avcd.compose.levels import Level, grey_gains, measure_level, noise_of, star_gains, step_of
from avcd.compose.mixing import COLOURS, Mix, choose_mix, mix_of
from avcd.compose.toning import Balanced, Lupton, Separate, lupton, separate
from avcd.errors import ProcessingError
from avcd.frame import MaskBit

MODES = ("balanced", "scientific", "sdss", "manual")
_LEAST_SPAN = 20.0  # in standard deviations of the noise, as of a single filter
_MOST_HEADROOM = 6.0
_STRIP_PX = 32_768  # pixels that are worked on at a time: what a processor's cache holds
_THREADS = 2
_RING_PX = 3  # around a saturated core, where its colour is read
_LARGEST_CORE_PX = 24  # with its ring: a star's, and not a galaxy's
_MOST_CORES = 400
_LACKING = 0.75
_BALANCES = ("auto", "stars", "grey", "none")

Tone = Balanced | Lupton | Separate


@dataclass(frozen=True)
class Channel:
    """One filter's image on the common grid: ``data`` (ny, nx), and a plane of `MaskBit` or None."""

    filter: str
    data: np.ndarray
    mask: np.ndarray | None


@dataclass(frozen=True)
class RgbImage:
    """A composite.

    ``rgb`` of shape (ny, nx, 3), float32 from 0 to 1, row 0 at the bottom; ``assignment``: which filters went where;
    ``steps``: sentences that say what was done; ``record``: the same as data; ``notes``: what an observer should know.
    """

    rgb: np.ndarray
    assignment: Mapping[str, str]
    notes: tuple[str, ...]
    steps: tuple[str, ...] = ()
    record: Mapping[str, Any] = field(default_factory=dict)


def compose_rgb(channels: Sequence[Channel], params: Mapping[str, Any]) -> RgbImage:
    """A picture from two or more filters, the longest wavelength in red where nothing else is said.

    In the mode "balanced" every channel's sky goes to the same grey and the typical star to white; the stretch works on the
    intensity alone, so that a star's colour is the same from its wings to its core, and a saturated core has the colour of
    its surroundings. "sdss" is Lupton's asinh of the light as it is; "scientific" puts one interval and stretch on each
    colour by itself, "manual" one of its own on each.

    Parameters
    ----------
    channels
        Of one shape; order does not matter.
    params
        Of the recipe, and perhaps composite (a name that `choose_mix` knows), or red, green, blue, luminance (`mix_of`); clahe,
        unsharp, enhance_stars (`Enhancement.of`).

    Returns
    -------
    RgbImage

    Raises
    ------
    ProcessingError
        The filters do not make this composite, two images are of one filter, shapes differ, or a parameter is wrong.
    """
    _check(channels, params)
    mix = _mix([one.filter for one in channels], params)
    by_name = {one.filter: one for one in channels}
    wanted = Enhancement.of(params)
    picture = _Composition([by_name[name] for name in mix.filters], mix, params)
    rgb, record = picture.draw(), picture.record()
    if wanted.record:
        rgb, record["enhancement"] = enhance(rgb, wanted), wanted.record
    return RgbImage(rgb, picture.mix.assignment, picture.notes(channels), (*picture.steps(), *wanted.steps), record)


def _check(channels: Sequence[Channel], params: Mapping[str, Any]) -> None:
    if len({one.filter for one in channels}) < len(channels):
        raise ProcessingError("two channels of a composite have one filter")
    if len({one.data.shape for one in channels}) > 1:
        raise ProcessingError("the channels of a composite differ in size")
    if params["stretch"] not in ("asinh", "linear"):
        raise ProcessingError(f"stretch is {params['stretch']!r}, neither asinh nor linear")
    if params["mode"] not in MODES:
        raise ProcessingError(f"mode is {params['mode']!r}, none of {', '.join(MODES)}")
    if params["white_balance"] not in _BALANCES:
        raise ProcessingError(f"white_balance is {params['white_balance']!r}, none of {', '.join(_BALANCES)}")
    if not 1 <= params["jpeg_quality"] <= 95:
        raise ProcessingError(f"jpeg_quality is {params['jpeg_quality']}: it goes from 1 to 95")
    if params["gamma"] <= 0:
        raise ProcessingError(f"gamma is {params['gamma']:g}: it is greater than 0")


def _mix(names: Sequence[str], params: Mapping[str, Any]) -> Mix:
    texts = {colour: str(params.get(colour, "")) for colour in (*COLOURS, "luminance")}
    if any(texts.values()):
        return mix_of(texts, names)
    composite = str(params.get("composite", "auto"))
    found = choose_mix(composite, names)
    if found is None:
        what = "" if composite == "auto" else f"{composite!r} of "
        raise ProcessingError(f"a composite needs two filters of known wavelength: no {what}{', '.join(sorted(names))}")
    return found


def _has(channel: Channel, bit: MaskBit) -> np.ndarray | None:
    """Where a bit is set; None where it is nowhere."""
    if channel.mask is None:
        return None
    found = (channel.mask & np.uint16(bit)) != 0
    return found if found.any() else None


class _Composition:
    """One picture: its levels measured first, then drawn strip by strip."""

    def __init__(self, channels: Sequence[Channel], mix: Mix, params: Mapping[str, Any]) -> None:
        self.mix, self.params = mix, params
        self.balanced = params["mode"] == "balanced"
        self.by_name = {one.filter: one for one in channels}
        ny, nx = channels[0].data.shape
        self.shape = (ny, nx)
        with ThreadPoolExecutor(_THREADS) as threads:
            measured = list(threads.map(self._measure, channels))
        self.data = {one.filter: data for one, (data, _, _) in zip(channels, measured, strict=True)}
        self.little = {one.filter: little for one, (_, little, _) in zip(channels, measured, strict=True)}
        self.levels = {one.filter: level for one, (_, _, level) in zip(channels, measured, strict=True)}
        self.shares: tuple[float, ...] = ()
        if mix.components:
            self.mix = self._found_components()
        self.unseen = self._unseen()
        saturated = [found for one in channels if (found := _has(one, MaskBit.SATURATED)) is not None]
        self.saturated = np.logical_or.reduce(saturated) if saturated else None
        self.gains = np.ones(3)
        self.balance = self._balance()
        self.tone = self._tone()

    def _measure(self, channel: Channel) -> tuple[np.ndarray, np.ndarray, Level]:
        """A filter's image without gaps, the means of its blocks, and its level."""
        good = usable(channel.data, channel.mask)
        data = filled(channel.data, good)
        if not self.balanced:
            return data, block_means(data, None, step_of(self.shape)), Level(0.0, 1.0)
        little = block_means(data, good, step_of(self.shape))
        percentiles = float(self.params["black_percentile"]), float(self.params["white_percentile"])
        return (
            data,
            np.nan_to_num(little),
            measure_level(data, good, little, *percentiles, without_stars=self.mix.lines),
        )

    def _found_components(self) -> Mix:
        """The three principal components of the filters' images, each above its sky."""
        scaled = {}
        for name, little in self.little.items():
            scaled[name] = self.levels[name].scale(little, (little.shape[0], little.shape[1]))
        found = principal_components(scaled)
        self.shares = found.shares
        return replace(self.mix, weights=dict(zip(COLOURS, found.weights, strict=True)))

    def _unseen(self) -> list[np.ndarray | None]:
        """Where none of a colour's images has data: the margins that dithering leaves, not single dead pixels."""
        found: list[np.ndarray | None] = []
        for colour in COLOURS:
            empty = [_has(self.by_name[name], MaskBit.NO_DATA) for name in self.mix.weights[colour]]
            known = [one for one in empty if one is not None]
            found.append(opened(np.logical_and.reduce(known)) if len(known) == len(empty) else None)
        return found

    def _balance(self) -> str:
        """Measure what makes white; returns by what."""
        wanted = str(self.params["white_balance"])
        if wanted == "auto":  # a line's brightness in stars says nothing of the nebula's colour
            wanted = "none" if self.mix.lines or self.mix.components or not self.balanced else "stars"
        if wanted == "none":
            return wanted
        step = step_of(self.shape)
        rgb = self._mixed(self.little, (0, 0), next(iter(self.little.values())).shape)
        dark = np.zeros(rgb.shape[1:], bool)
        core = dark if self.saturated is None else block_means(self.saturated, None, step) > 0
        if wanted == "stars":
            self.gains = star_gains(rgb, core)
        else:
            self.gains = grey_gains(rgb)
        return wanted

    def _mixed(self, data: Mapping[str, np.ndarray], corner: tuple[int, int], whole: tuple[int, ...]) -> np.ndarray:
        """The three colours of filters' pixels, a part at ``corner`` of an image of the size ``whole``."""
        rgb = np.empty((3, *next(iter(data.values())).shape), np.float32)
        size = (whole[0], whole[1])
        for index, colour in enumerate(COLOURS):
            for number, (name, weight) in enumerate(self.mix.weights[colour].items()):
                scaled = self.levels[name].scale(data[name], size, corner, weight * float(self.gains[index]))
                if number == 0:
                    rgb[index] = scaled
                else:
                    rgb[index] += scaled
        return rgb

    def _samples(self) -> tuple[np.ndarray, np.ndarray | None]:
        """The three colours, shape (3, n), and the luminance on an even grid of pixels."""
        step = grid_step(self.shape)
        pixels = {name: data[::step, ::step] for name, data in self.data.items()}
        size = next(iter(pixels.values())).shape
        rgb = self._mixed(pixels, (0, 0), size).reshape(3, -1)
        if self.mix.luminance is None:
            return rgb, None
        luminance = self.mix.luminance
        return rgb, self.levels[luminance].scale(pixels[luminance], (size[0], size[1])).ravel()

    def _tone(self) -> Tone:
        params = self.params
        rgb, luminance = self._samples()
        gamma = float(params["gamma"])
        if params["mode"] == "sdss":
            return lupton(list(rgb), float(params["q"]), float(params["lupton_stretch"]), params["minimum"], gamma)
        if not self.balanced:
            return separate(list(rgb), params["intervals"], params["stretches"], gamma)
        intensity = rgb.mean(axis=0) if luminance is None else luminance
        noise = noise_of(intensity)
        white = float(np.percentile(intensity, float(params["white_percentile"])))
        white = max(white, _LEAST_SPAN * noise, 1e-9)
        # Where objects are few and small the percentile lies below them all: half way, in magnitudes, to the brightest
        # keeps the structure of a small bright nebula.
        brightest = float(np.percentile(intensity, 99.995)) / white
        headroom = float(np.sqrt(np.clip(brightest, 1.0, _MOST_HEADROOM**2)))
        softening = float(params["asinh_softening"]) if params["stretch"] == "asinh" else None
        saturation, grey = float(params["saturation"]), float(params["sky_grey"])
        # Of three alike it is the intensity's noise.
        colour_noise = max(noise_of(plane) for plane in rgb) / np.sqrt(3)
        return Balanced(white, noise / white, float(colour_noise) / white, headroom, softening, saturation, grey, gamma)

    def draw(self) -> np.ndarray:
        """The picture, shape (ny, nx, 3)."""
        picture = np.empty((*self.shape, 3), np.float32)
        cores = np.zeros(self.shape, bool) if self.saturated is None else self.saturated.copy()
        high = max(1, _STRIP_PX // self.shape[1])

        def strip(start: int) -> None:
            rows = slice(start, min(start + high, self.shape[0]))
            light = self._light(rows, slice(0, self.shape[1]))
            if isinstance(self.tone, Balanced):
                total = light[0] + light[1]
                total += light[2]
                cores[rows] |= total > np.float32(3 * self.tone.white * self.tone.headroom)
            toned = self._toned(light)
            for index in range(3):
                picture[rows, :, index] = toned[index]

        with ThreadPoolExecutor(_THREADS) as threads:
            list(threads.map(strip, range(0, self.shape[0], high)))
        if isinstance(self.tone, Balanced) and cores.any():
            self._colour_cores(picture, cores)
        empty = [_has(one, MaskBit.NO_DATA) for one in self.by_name.values()]
        known = [one for one in empty if one is not None]
        if len(known) == len(empty):
            picture[np.logical_and.reduce(known)] = 0
        return picture

    def _colour_cores(self, picture: np.ndarray, cores: np.ndarray) -> None:
        """The brightest pixels that tell no colour drawn again in that of what is around them."""
        step = step_of(self.shape)
        near = cores if step == 1 else block_means(_padded(cores, step), None, step) > 0
        regions, count = label(near, np.ones((3, 3), bool))
        sizes = np.bincount(regions.ravel(), minlength=count + 1)[1:]
        # Without a mask the largest tell: there are no more saturated stars than these in any picture.
        largest = set((np.argsort(-sizes, kind="stable")[:_MOST_CORES] + 1).tolist())
        for number, found in enumerate(find_objects(regions), start=1):
            rows, columns = (
                slice(max(one.start * step - _RING_PX, 0), min(one.stop * step + _RING_PX, size))
                for one, size in zip(found, self.shape, strict=True)
            )
            every = cores[rows, columns]
            core = every & (regions[_of_blocks(rows, columns, step)] == number)
            saturated = self.saturated is not None and bool(self.saturated[rows, columns][core].any())
            if not saturated and (number not in largest or max(core.shape) > _LARGEST_CORE_PX + 2 * step):
                continue
            light = _with_core(self._light(rows, columns), core, every, sure=saturated)
            if light is not None:
                picture[rows, columns][core] = np.moveaxis(self._toned(light), 0, -1)[core]

    def _light(self, rows: slice, columns: slice) -> np.ndarray:
        """The three colours, and the luminance if there is one, of a part of the picture: shape (3 or 4, …)."""
        corner = (rows.start, columns.start)
        pixels = {name: self.data[name][rows, columns] for name in self.mix.filters}
        rgb = self._mixed(pixels, corner, self.shape)
        unseen = [one if one is None else one[rows, columns] for one in self.unseen]
        if any(one is not None and one.any() for one in unseen):
            rgb = _grey_where_unseen(rgb, unseen)
        if self.mix.luminance is None:
            return rgb
        luminance = self.levels[self.mix.luminance].scale(pixels[self.mix.luminance], self.shape, corner)
        return np.concatenate([rgb, luminance[None]])

    def _toned(self, light: np.ndarray) -> np.ndarray:
        return np.asarray(self.tone(light[:3], light[3] if len(light) > 3 else None))

    def notes(self, channels: Sequence[Channel]) -> tuple[str, ...]:
        """What an observer should know."""
        said = any(one.startswith("not in the composite") for one in self.mix.notes)
        missing = sorted({one.filter for one in channels} - set(self.mix.filters))
        more = (f"not in the composite: {', '.join(missing)}",) if missing and not said else ()
        return (*self.mix.notes, *more)

    def record(self) -> dict[str, Any]:
        """All that was measured and done, as data."""
        levels = {
            name: {"sky": one.sky, "white": one.white, "gradient": [one.across, one.along], "noise": one.noise}
            for name, one in self.levels.items()
        }
        return {
            "channels": {colour: dict(self.mix.weights[colour]) for colour in COLOURS},
            "luminance": self.mix.luminance,
            "wavelength_nm": {name: wavelength_nm(name) for name in self.mix.filters},
            "levels": levels if self.balanced else {},
            "white_balance": {"by": self.balance, **dict(zip(COLOURS, map(float, self.gains), strict=True))},
            "tone": _told(self.tone),
            **({"variance": dict(zip(COLOURS, self.shares, strict=False))} if self.shares else {}),
        }

    def steps(self) -> tuple[str, ...]:
        """All that was done, in sentences."""
        found = [f"{colour}: {text}" for colour, text in self.mix.assignment.items()]
        if self.balanced:
            found += [
                f"{name}: sky {one.sky:.6g}, gradient {one.across:.4g} {one.along:.4g}, white {one.white:.6g}"
                for name, one in self.levels.items()
            ]
        if self.shares:
            found.append("principal components, of all variance: " + " ".join(f"{one:.4f}" for one in self.shares))
        gains = " ".join(f"{one:.4f}" for one in self.gains)
        found.append(f"white balance by {self.balance}: {gains}")
        told = ", ".join(f"{name} {value}" for name, value in _told(self.tone).items())
        return (*found, f"mode {self.params['mode']}: {told}")


def _padded(plane: np.ndarray, step: int) -> np.ndarray:
    """A plane whose sides are whole numbers of blocks."""
    return np.pad(plane, [(0, -size % step) for size in plane.shape])


def _of_blocks(rows: slice, columns: slice, step: int) -> tuple[np.ndarray, np.ndarray]:
    """The index of each pixel's block."""
    y, x = np.arange(rows.start, rows.stop) // step, np.arange(columns.start, columns.stop) // step
    return np.ix_(y, x)  # type: ignore[return-value]


def _with_core(light: np.ndarray, core: np.ndarray, cores: np.ndarray, *, sure: bool) -> np.ndarray | None:
    """A core in the colour of what is around it, at least as bright; None where its own colour is to be believed.

    Images without a mask do not say what is saturated (``sure`` is false): a core that has far less of one colour than its
    own wings is saturated in that one.
    """
    ring = binary_dilation(core, np.ones((3, 3), bool), iterations=_RING_PX) & ~cores
    around = np.maximum(light[:3][:, ring], 0).sum(axis=1)
    inside = np.maximum(light[:3][:, core], 0).sum(axis=1)
    if around.min(initial=np.inf) <= 0 or inside.sum() <= 0:
        return None
    colour = around / around.mean()
    if not sure and (inside / inside.mean() / colour).min() > _LACKING:
        return None
    bright = light[:3].mean(axis=0)
    bright = np.maximum(bright, bright[ring].max())
    found = light.copy()
    found[:3] = np.where(core, colour[:, None, None] * bright, light[:3])
    return found


def _told(tone: Tone) -> dict[str, Any]:
    if isinstance(tone, Separate):
        names = zip(COLOURS, tone.limits, tone.stretches, strict=True)
        return {
            colour: {"limits": [low, high], "stretch": type(stretch).__name__.removesuffix("Stretch").lower()}
            for colour, (low, high), stretch in names
        } | {"gamma": tone.gamma}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(tone).items()}


def _grey_where_unseen(rgb: np.ndarray, unseen: Sequence[np.ndarray | None]) -> np.ndarray:
    """Where a colour is lacking there is no telling the hue: the mean of those at hand."""
    seen = np.stack([np.ones(rgb.shape[1:], bool) if one is None else ~one for one in unseen])
    number = seen.sum(axis=0)
    grey = np.where(seen, rgb, 0).sum(axis=0) / np.maximum(number, 1)
    return np.where(number < 3, grey, rgb).astype(np.float32)
