"""One file's stars and quality, measured as the daemon does on its reduced frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from avcd.frame import Frame
from avcd.reduction.planes import MaskedImage
from avcd.sky.detection import Sources, detect_sources
from avcd.sky.psf import Psf, measure_psf
from avcd.sky.reference import Tycho2
from avcd.sky.zeropoint import ZeroPoint
from avcd.stages.figures import frame_figures, pointing_figures, zero_point_figures, zero_point_of
from avcd.stages.science import delivered_world
from avcd.stages.writing import clean
from avcd.standalone.inputs import FrameFile


@dataclass(frozen=True)
class Measured:
    """A file with its stars; ``figures`` are those of reduced frames, ``wcs`` what its header brings."""

    file: FrameFile
    ccd: MaskedImage
    sources: Sources
    psf: tuple[Psf, ...]
    figures: Mapping[str, Any]
    wcs: WCS | None
    zero_point: ZeroPoint | None

    @property
    def frame(self) -> Frame:
        """What is known of the exposure."""
        return self.file.frame


def measure_file(file: FrameFile, sigma: float, minimum_px: int) -> Measured:
    """Find a file's stars, and measure it.

    Parameters
    ----------
    sigma, minimum_px
        Of the detection, as of `detect_sources`.

    Raises
    ------
    ProcessingError
        The frame has no usable pixel.
    """
    ccd, frame = file.read(), file.frame
    electrons = file.unit == "electron"
    gain = 1.0 if electrons else frame.gain_e_per_adu
    saturation = frame.saturation_adu
    if saturation is not None and electrons:
        saturation *= frame.gain_e_per_adu or 1.0
    noise = ccd.uncertainty
    sources = detect_sources(
        ccd.data,
        ccd.mask,
        noise=noise,
        gain=gain if noise is None else None,
        saturation=None if ccd.mask is not None else saturation,
        sigma=sigma,
        minimum_px=minimum_px,
    )
    header = fits.Header(ccd.header)
    wcs = ccd.wcs or (delivered_world(header) if frame.has_wcs else None)
    ny, nx = ccd.data.shape
    figures = frame_figures(ccd.data, ccd.mask, sources, frame, header)
    zero_point = zero_point_of(sources, wcs, (ny, nx), Tycho2(), frame)
    if zero_point is not None:
        figures |= zero_point_figures(zero_point, figures, frame.exposure_s)
    figures |= pointing_figures(frame, wcs, (ny, nx))
    # Rounded by nobody: what is unknown is left out, so that every figure is a number or a word.
    known = {name: value for name, value in clean(figures).items() if value is not None}
    return Measured(file, ccd, sources, measure_psf(np.asarray(ccd.data), ccd.mask, sources), known, wcs, zero_point)
