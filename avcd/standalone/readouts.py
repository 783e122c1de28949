"""Raw files without what was read out beside their image, for commands that measure them."""

from __future__ import annotations

from dataclasses import replace

from avcd.association.trimming import readout_values
from avcd.reduction.planes import MaskedImage
from avcd.stages.readout import Readout
from avcd.standalone.inputs import FrameFile, shipped_rules


def readout_of(file: FrameFile) -> Readout:
    """What is to be done to a file's pixels before they are those of its image: nothing to a product, or to a prepared frame.

    Parameters
    ----------
    file
        As `FrameFile.trimmed` gives it.
    """
    return Readout() if file.product else Readout.of(readout_values(file.frame, shipped_rules()))


def read_image(file: FrameFile) -> MaskedImage:
    """A file's image with its header: its overscan subtracted line by line, and cut off."""
    readout, whole = readout_of(file), file.read()
    return replace(readout.of_image(whole, None)[0], header=readout.of_header(whole.header))


def read_counts(file: FrameFile) -> tuple[MaskedImage, float]:
    """The pixels of a file's image as they were counted, and the level of its overscan as a whole, adu; 0 without any.

    The level of single lines is not subtracted: its own error would be in the noise that is measured.
    """
    readout, whole = readout_of(file), file.read()
    level = 0.0 if readout.overscan is None else readout.of_image(whole, None)[1]
    return Readout(keep=readout.keep).of_image(whole, None)[0], level
