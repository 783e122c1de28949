"""What is read out of a detector beside its image: where the overscan is, and the part of a raw frame that is kept."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from avcd.association.rules import Rules
from avcd.frame import CalibLevel, Frame, ImageType
from avcd.sections import Section


def trimmed(frame: Frame, rules: Rules) -> Frame:
    """A frame as it is once its overscan was subtracted and cut off, which is how it meets others.

    Parameters
    ----------
    frame
        As the catalogue has it.
    rules
        Of the home.

    Returns
    -------
    Frame
        With the size of the part that is kept; ``overscan_section`` and ``trim_section`` are what is to be done, in the
        pixels of the raw frame: None where there is nothing to do, as of a frame from which something was subtracted
        before it was delivered.
    """
    mine = rules.for_frame(frame)
    if frame.overscan_section is frame.trim_section is None and not mine.overscan.section and not mine.trim.section:
        return frame
    raw = frame.image_type in (ImageType.SCIENCE, ImageType.UNKNOWN) or frame.image_type.is_raw_calibration
    if not raw or frame.calib_level > CalibLevel.RAW or frame.calibration or not frame.naxis1 or not frame.naxis2:
        return replace(frame, overscan_section=None, trim_section=None)
    overscan = _in_frame(mine.overscan.section, frame) if mine.overscan.section else frame.overscan_section
    keep = _in_frame(mine.trim.section, frame) if mine.trim.section else frame.trim_section
    found = replace(
        frame,
        overscan_section=overscan if mine.overscan.subtract else None,
        trim_section=keep if mine.trim.cut else None,
    )
    if found.trim_section is None:
        return found
    ny, nx = Section.parse(found.trim_section).shape
    return replace(found, naxis1=nx, naxis2=ny)


def _in_frame(text: str, frame: Frame) -> str | None:
    """A section of unbinned pixels in those of a frame, of which only whole ones count; None where a subframe was read."""
    if frame.window not in (None, "0,0"):
        return None
    whole = Section.parse(text)
    across, along = (int(one) for one in (frame.binning or "1x1").split("x"))
    x_first, y_first = -(-(whole.x_first - 1) // across) + 1, -(-(whole.y_first - 1) // along) + 1
    return str(Section(x_first, max(x_first, whole.x_last // across), y_first, max(y_first, whole.y_last // along)))


def readout_values(frame: Frame, rules: Rules) -> dict[str, Any]:
    """What of a `trimmed` frame shapes the pixels made of it: parameters of its product, none where nothing is done."""
    how = rules.for_frame(frame).overscan
    values: dict[str, Any] = {}
    if frame.overscan_section is not None:
        values |= {"overscan": frame.overscan_section, "overscan_method": how.method}
        if how.degree >= 0:
            values["overscan_degree"] = how.degree
    if frame.trim_section is not None:
        values["trim"] = frame.trim_section
    return values
