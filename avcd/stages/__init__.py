"""What jobs do: from inputs to content, one module for each family of products. No catalogue, no publishing here."""

from __future__ import annotations

from collections.abc import Callable

from avcd.frame import ProductKind
from avcd.stages.colour import compose_colour
from avcd.stages.masters import build_bad_pixels, build_bias, build_dark, build_flat
from avcd.stages.output import Opener, Output, OutputFile, Work
from avcd.stages.pictures import draw_preview
from avcd.stages.science import extract_sources, reduce_science
from avcd.stages.stacks import combine_observation
from avcd.work import Claim

__all__ = ["Opener", "Output", "OutputFile", "Work", "run_stage"]

_STAGES: dict[ProductKind, Callable[[Work], Output]] = {
    ProductKind.MASTER_BIAS: build_bias,
    ProductKind.MASTER_DARK: build_dark,
    ProductKind.MASTER_FLAT: build_flat,
    ProductKind.BAD_PIXEL_MASK: build_bad_pixels,
    ProductKind.REDUCED: reduce_science,
    ProductKind.SOURCES: extract_sources,
    ProductKind.STACK: combine_observation,
    ProductKind.RGB: compose_colour,
    ProductKind.PREVIEW: draw_preview,
}


def run_stage(claim: Claim, open_input: Opener, memory_bytes: int) -> Output:
    """Make the content of a claimed job's product.

    Raises
    ------
    AvcdError
        ProcessingError when the inputs cannot give this product; FrameError when one cannot be read.
    """
    return _STAGES[claim.spec.kind](Work(claim, open_input, memory_bytes))
