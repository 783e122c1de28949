"""Images of files brought onto one grid: which one gives it, and how the others lie on it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from astropy.wcs import WCS
from astropy.wcs.utils import proj_plane_pixel_scales

from avcd.compose.registration import Registration, RegistrationInput, register
from avcd.errors import ProcessingError
from avcd.frame import MaskBit
from avcd.reduction.planes import MaskedImage
from avcd.sky.detection import detect_sources
from avcd.standalone.inputs import FrameFile

_STARS = 150  # enough to register on, and no slower for a rich field


def saturated_plane(ccd: MaskedImage, file: FrameFile) -> np.ndarray | None:
    """The mask plane; of files without one, what is saturated by the header or by 16 bits."""
    if ccd.mask is not None:
        return np.asarray(ccd.mask)
    level = file.frame.saturation_adu
    if level is None:
        return None
    saturated = np.asarray(ccd.data) >= level
    return np.where(saturated, np.uint16(MaskBit.SATURATED), np.uint16(0)) if saturated.any() else None


def finest(worlds: Sequence[WCS | None]) -> int:
    """The image of the smallest pixels, whose grid the others are brought onto: else the first."""
    scales = [np.inf if one is None else float(np.min(proj_plane_pixel_scales(one))) for one in worlds]
    best = min(scales)
    return next((index for index, one in enumerate(scales) if one <= best * 1.001), 0)


def registrations(
    frames: Sequence[MaskedImage],
    planes: Sequence[np.ndarray | None],
    worlds: Sequence[WCS | None],
    filters: Sequence[str],
    reference: int,
) -> tuple[list[Registration], list[str]]:
    """Where each image lies on the reference: as it is, where all show the same places pixel by pixel; and notes.

    Raises
    ------
    ProcessingError
        One fits in no way.
    """
    same = Registration("identity", np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), rms_px=0.0)
    alike = [
        one.data.shape == frames[reference].data.shape and _is_same_grid(world, worlds[reference], one.data.shape)
        for one, world in zip(frames, worlds, strict=True)
    ]
    if all(alike):
        return [same] * len(frames), []
    inputs = []
    for ccd, plane, world in zip(frames, planes, worlds, strict=True):
        sources = detect_sources(ccd.data, plane, saturation=None, sigma=5.0, minimum_px=5)
        stars = np.column_stack([sources.x, sources.y])[:_STARS]
        inputs.append(RegistrationInput(np.asarray(ccd.data), plane, world, stars))
    found = register(inputs, reference)
    failed = [f"{name}: {one.warning}" for name, one in zip(filters, found, strict=True) if one.method == "failed"]
    if failed:
        raise ProcessingError("; ".join(failed) + "; solve them first, as avcd reduce --solve does")
    return found, [f"{name}: {one.warning}" for name, one in zip(filters, found, strict=True) if one.warning]


def _is_same_grid(one: WCS | None, other: WCS | None, shape: tuple[int, ...]) -> bool:
    """Whether two images' pixels show the same places, to a tenth of a pixel."""
    if one is None or other is None:
        return False
    ny, nx = shape[-2:]
    x, y = np.array([0, nx - 1, 0, nx - 1, nx / 2]), np.array([0, 0, ny - 1, ny - 1, ny / 2])
    there = other.all_world2pix(*one.all_pix2world(x, y, 0), 0, quiet=True)
    return bool(np.nanmax(np.hypot(there[0] - x, there[1] - y)) < 0.1)
