"""Read noise and gain of cameras, from the biases and flats among files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from avcd.errors import ProcessingError
from avcd.frame import Frame, ImageType
from avcd.reduction.noise import difference_histogram, read_noise_from_biases
from avcd.reduction.transfer import gain_of_frames
from avcd.standalone.inputs import FrameFile
from avcd.standalone.readouts import read_counts

_MOST_PAIRS = 10  # beyond these nothing is learnt
_FULL_PART = 0.9  # of the saturation level, above which a flat tells nothing
COLUMNS = ("camera", "binning", "gain", "night", "filter", "read_noise_adu", "gain_e_per_adu", "gain_scatter", "read_noise_e",
           "biases", "flats")  # fmt: skip


HISTOGRAM_COLUMNS = ("camera", "binning", "gain", "first", "second", "difference_adu", "pixels", "normal")


def difference_rows(files: Iterable[FrameFile]) -> list[dict[str, Any]]:
    """The histogram of the difference of the first two biases of each camera and setting: one row a bin.

    Returns
    -------
    list of dict
        `avcd.reduction.noise.difference_histogram`'s ``difference_adu``, ``pixels`` and ``normal``; ``first`` and ``second``
        name the files, ``title`` all of it in a line.
    """
    groups: dict[tuple[Any, ...], list[FrameFile]] = {}
    for file in files:
        if file.frame.image_type is ImageType.BIAS:
            groups.setdefault(_setting(file.frame), []).append(file)
    rows = []
    for setting in sorted(groups, key=str):
        pair = tuple(sorted(groups[setting], key=_in_time)[:2])
        if len(pair) < 2:
            continue
        like = pair[0].frame
        about = {"camera": like.camera, "binning": like.binning, "gain": like.gain, "first": pair[0].path.name,
                 "second": pair[1].path.name, "title": f"{like.camera} {like.binning or ''}: {pair[0].path.name} - "
                 f"{pair[1].path.name}"}  # fmt: skip
        rows += [{**about, **one} for one in difference_histogram(*_pair((pair[0], pair[1])))]
    return rows


def measure(files: Iterable[FrameFile], warn: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """Read noise and gain: one row for each camera and setting, and of flats for each filter.

    Parameters
    ----------
    files
        Biases and flats; others are passed over with a warning.
    warn
        Called with what a person should know.

    Yields
    ------
    dict
        ``read_noise_adu`` the mean of the pairs of biases; ``gain_e_per_adu`` the median of the pairs of flats, with their
        scatter; ``read_noise_e`` where both are known. ``gain`` is the camera's setting as its header has it.
    """
    groups: dict[tuple[Any, ...], dict[ImageType, list[FrameFile]]] = {}
    for file in files:
        if file.frame.image_type not in (ImageType.BIAS, ImageType.FLAT):
            warn(f"{file.name}: neither bias nor flat but {file.frame.image_type}: it takes no part")
            continue
        groups.setdefault(_setting(file.frame), {}).setdefault(file.frame.image_type, []).append(file)
    for setting in sorted(groups, key=str):
        yield from _measure_group(groups[setting], warn)


def _setting(frame: Frame) -> tuple[Any, ...]:
    """What the noise depends on."""
    return (frame.camera, frame.binning, frame.naxis1, frame.naxis2, frame.gain, frame.offset, frame.readout_mode)


def _measure_group(group: dict[ImageType, list[FrameFile]], warn: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    biases = sorted(group.get(ImageType.BIAS, []), key=_in_time)
    flats = group.get(ImageType.FLAT, [])
    like = (biases or flats)[0].frame
    row: dict[str, Any] = dict.fromkeys(COLUMNS)
    row |= {"camera": like.camera, "binning": like.binning, "gain": like.gain, "night": like.night,
            "biases": len(biases), "flats": 0}  # fmt: skip
    if len(biases) < 2:
        warn(f"{like.camera}: {len(biases)} biases; read noise needs two or more of one setting, and so does gain")
        return
    bias = np.asarray(np.mean([_above_overscan(one) for one in biases[:2]], axis=0, dtype=np.float64))
    noises = [read_noise_from_biases(*_pair(pair)) for pair in _pairs(biases)]
    row["read_noise_adu"] = float(np.mean(noises))
    by_filter: dict[str | None, list[FrameFile]] = {}
    for one in sorted(flats, key=_in_time):
        by_filter.setdefault(one.frame.filter, []).append(one)
    measured = [
        found
        for name, some in sorted(by_filter.items(), key=str)
        if (found := _measure_flats(name, some, bias, row["read_noise_adu"], warn)) is not None
    ]
    for found in measured or [{}]:
        whole = row | found
        if whole["gain_e_per_adu"] is not None:
            whole["read_noise_e"] = whole["read_noise_adu"] * whole["gain_e_per_adu"]
        yield whole


def _measure_flats(
    name: str | None, flats: Sequence[FrameFile], bias: np.ndarray, read_noise_adu: float, warn: Callable[[str], None]
) -> dict[str, Any] | None:
    """The gain by the flats of one filter."""
    title = f"flats of {name or 'no filter'}"
    gains = []
    for first, second in _pairs(flats):
        frames = [_counts(one) for one in (first, second)]
        limits = [one.frame.saturation_adu for one in (first, second)]
        if any(
            limit is not None and np.median(data) > _FULL_PART * limit
            for (data, _), limit in zip(frames, limits, strict=True)
        ):
            warn(f"{title}: {first.name} or {second.name} is near saturation: that pair takes no part")
            continue
        try:
            light = [np.asarray(data - level - bias) for data, level in frames]
            gains.append(gain_of_frames(light, read_noise_adu).gain_e_per_adu)
        except ProcessingError as error:
            warn(f"{title}: {first.name}, {second.name}: {error}")
    if not gains:
        if len(flats) < 2:
            warn(f"{title}: one frame; the gain needs two of a filter")
        return None
    scatter = float(np.std(gains, ddof=1)) if len(gains) > 1 else None
    return {"filter": name, "gain_e_per_adu": float(np.median(gains)), "gain_scatter": scatter, "flats": len(flats)}


def _pairs(files: Sequence[FrameFile]) -> list[tuple[FrameFile, FrameFile]]:
    return list(pairwise(files))[:_MOST_PAIRS]


def _pair(files: tuple[FrameFile, FrameFile]) -> tuple[np.ndarray, np.ndarray]:
    """The counts of two frames' images; NaN for what is masked."""
    return _counts(files[0])[0], _counts(files[1])[0]


def _counts(file: FrameFile) -> tuple[np.ndarray, float]:
    """The counts of a frame's image, NaN for what is masked; and the level of its overscan."""
    ccd, level = read_counts(file)
    return ccd.data if ccd.mask is None else np.where(ccd.mask != 0, np.nan, ccd.data), level


def _above_overscan(file: FrameFile) -> np.ndarray:
    data, level = _counts(file)
    return data - np.float32(level)


def _in_time(file: FrameFile) -> tuple[float, str]:
    return file.frame.t_min or 0.0, file.id
